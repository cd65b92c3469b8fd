//! A pool of one's own, and a miner that does as told.

use std::{sync::Arc, time::Duration};

use binary_sv2::{IntoOwned, Str0_255, U256};
use bitcoin::{BlockHash, Network};
use common_messages_sv2::SetupConnection;
use framing_sv2::Header;
use mining_sv2::{
    Mining, OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesError, SubmitSharesSuccess,
};
use network_helpers::{Connection, Security};
use noise_sv2::AuthorityPublicKey;
use pool::{
    Pool, PoolConfig, PoolEvent,
    blocks::{BlockState, FoundBlock},
    config::{Limits, Listen, Nodes, Shares},
    user::Policy,
};
use roles_logic_sv2::channel::client::{ClientChannel, Submission};
use stratum_runtime::{identity::create_authority_key, shutdown::Shutdown};
use tempfile::TempDir;
use template_source::{TemplateSource, config::SourceConfig};
use tokio::sync::broadcast;

/// How long anything may take. Only a failing test ever waits this long.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The script that blocks of a test pool pay: P2WPKH of the generator point.
pub const PAYOUT_SCRIPT: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";

/// The tag of a test pool's blocks.
pub const TAG: &str = "/integration/";

/// A pool on free ports, with noise on the first and without on the second.
#[derive(Debug)]
pub struct TestPool {
    pool: Option<Pool>,
    config: PoolConfig,
    authority: AuthorityPublicKey,
    folder: Arc<TempDir>,
    shutdown: Shutdown,
    events: broadcast::Receiver<PoolEvent>,
}

impl TestPool {
    /// Starts a pool with these sources, in order of preference.
    pub async fn start(sources: Vec<Arc<dyn TemplateSource>>) -> Self {
        Self::start_with(sources, |_| {}).await
    }

    /// Starts a pool whose configuration `change` had a look at.
    pub async fn start_with(sources: Vec<Arc<dyn TemplateSource>>, change: impl FnOnce(&mut PoolConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = folder.path().join("authority.key");
        let authority = create_authority_key(&key).expect("an authority key");
        let address = "127.0.0.1:0".parse().expect("an address");
        let listen = |noise| Listen { noise, policies: vec![Policy::Pool, Policy::Solo], ..Listen::new(address) };
        let mut config = PoolConfig {
            coinbase_tag: TAG.to_owned(),
            authority_key_file: Some(key),
            shards: 2,
            listen: vec![listen(true), listen(false)],
            source: vec![SourceConfig::Devnet { nbits: None }],
            nodes: Nodes { settle_seconds: 0, ..Nodes::default() },
            shares: Shares { ntime_tolerance: 7200, ..Shares::default() },
            // Miners of these tests do not go when they are told to.
            limits: Limits { drain_seconds: 0, ..Limits::default() },
            ..PoolConfig::new(Network::Regtest, &format!("raw({PAYOUT_SCRIPT})"), folder.path().join("data"))
        };
        change(&mut config);
        Self::run(config, authority, Arc::new(folder), sources).await
    }

    async fn run(
        config: PoolConfig,
        authority: AuthorityPublicKey,
        folder: Arc<TempDir>,
        sources: Vec<Arc<dyn TemplateSource>>,
    ) -> Self {
        let shutdown = Shutdown::new();
        let pool = Pool::start(&config, sources, shutdown.clone()).await.expect("the pool starts");
        let events = pool.events();
        Self { pool: Some(pool), config, authority, folder, shutdown, events }
    }

    /// Stops the pool and starts a new process' worth of it on the same folder, with these sources.
    pub async fn restart(mut self, sources: Vec<Arc<dyn TemplateSource>>) -> Self {
        self.stop().await;
        let (config, authority, folder) = (self.config.clone(), self.authority, self.folder.clone());
        Self::run(config, authority, folder, sources).await
    }

    /// Stops the pool and waits until it has.
    pub async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(pool) = self.pool.take() {
            tokio::time::timeout(LIMIT, pool.join()).await.expect("the pool stops");
        }
    }

    /// Where miners connect, with noise.
    pub fn address(&self) -> String {
        self.pool.as_ref().expect("the pool runs").addresses()[0].to_string()
    }

    /// Where miners connect without noise.
    pub fn plain_address(&self) -> String {
        self.pool.as_ref().expect("the pool runs").addresses()[1].to_string()
    }

    /// The URL for miners.
    pub fn url(&self) -> String {
        format!("stratum2+tcp://{}/{}", self.address(), self.authority)
    }

    /// How to connect with noise.
    pub fn security(&self) -> Security {
        Security::Noise { authority: Some(self.authority) }
    }

    /// Where the operator's view is served.
    pub fn operator(&self) -> std::net::SocketAddr {
        self.pool.as_ref().expect("the pool runs").operator_address().expect("it is served")
    }

    /// Where the public view is served.
    pub fn public(&self) -> std::net::SocketAddr {
        self.pool.as_ref().expect("the pool runs").public_address().expect("it is served")
    }

    /// The header that changes need.
    pub fn authorization(&self) -> String {
        let file = self.config.data_dir.join(pool::api::TOKEN_FILE);
        let token = std::fs::read_to_string(file).expect("the token's file");
        format!("authorization: Bearer {}\r\n", token.trim())
    }

    /// The folder of found blocks.
    pub fn blocks_folder(&self) -> std::path::PathBuf {
        self.config.data_dir.join("blocks")
    }

    /// The folder of the share ledger.
    pub fn ledger_folder(&self) -> std::path::PathBuf {
        self.config.data_dir.join(share_ledger::LEDGER_FOLDER)
    }

    /// Waits for the next event that `pick` takes.
    ///
    /// # Panics
    /// When none comes.
    pub async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&PoolEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                match self.events.recv().await {
                    Ok(event) => {
                        if let Some(found) = pick(&event) {
                            return found;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => panic!("the pool ended before: {what}"),
                }
            }
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("did not happen: {what}"))
    }

    /// Waits until a node has accepted a block, this one if named.
    pub async fn until_accepted(&mut self, hash: Option<BlockHash>) -> FoundBlock {
        self.until("a block is accepted", |event| match event {
            PoolEvent::BlockDecided(block, BlockState::Accepted) if hash.is_none_or(|hash| hash == block.hash) => {
                Some(block.clone())
            }
            _ => None,
        })
        .await
    }

    /// Waits until miners are to build on this block.
    pub async fn until_tip(&mut self, hash: BlockHash) -> u32 {
        self.until("a tip", |event| match event {
            PoolEvent::NewTip { prev_hash, height, .. } if *prev_hash == hash => Some(*height),
            _ => None,
        })
        .await
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Which kind of channel a miner opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Header-only mining.
    Standard,
    /// Rolls eight bytes of extranonce.
    Extended,
}

/// A miner with one channel, that hashes when told.
#[derive(Debug)]
pub struct TestMiner {
    connection: Connection,
    /// The channel as the miner sees it.
    pub channel: ClientChannel,
    /// Acknowledgements, in order.
    pub acks: Vec<SubmitSharesSuccess>,
    /// Refusals, in order.
    pub errors: Vec<SubmitSharesError<'static>>,
    /// Jobs received.
    pub jobs: usize,
    next_nonce: u32,
}

/// SetupConnection for the mining protocol.
pub fn setup_connection(flags: u32) -> SetupConnection<'static> {
    SetupConnection {
        protocol: const_sv2::protocol::MINING,
        min_version: 2,
        max_version: 2,
        flags,
        endpoint_host: Str0_255::from_truncated("127.0.0.1"),
        endpoint_port: 0,
        vendor: Str0_255::from_truncated("integration test"),
        hardware_version: Str0_255::from_truncated(""),
        firmware: Str0_255::from_truncated(""),
        device_id: Str0_255::from_truncated(""),
    }
}

/// OpenExtendedMiningChannel with eight bytes to roll.
pub fn open_extended(user: &str) -> OpenExtendedMiningChannel<'_> {
    OpenExtendedMiningChannel {
        request_id: 1,
        user_identity: Str0_255::from_truncated(user),
        nominal_hash_rate: 0.0,
        max_target: U256::from_le_bytes([0xff; 32]),
        min_extranonce_size: 8,
    }
}

impl TestMiner {
    /// Shares that were acknowledged. One message may be for several.
    pub fn acknowledged(&self) -> u32 {
        self.acks.iter().map(|ack| ack.new_submits_accepted_count).sum()
    }

    /// Connects, opens a channel and waits for the first work.
    pub async fn open(pool: &TestPool, kind: ChannelKind, user: &str) -> Self {
        let connection = Connection::connect(&pool.address(), pool.security()).await.expect("the pool answers");
        Self::open_on(connection, kind, user).await
    }

    /// Opens a channel on a connection.
    pub async fn open_on(mut connection: Connection, kind: ChannelKind, user: &str) -> Self {
        let flags = match kind {
            ChannelKind::Standard => const_sv2::flags::mining::REQUIRES_STANDARD_JOBS,
            ChannelKind::Extended => 0,
        };
        connection.send(&setup_connection(flags)).await.expect("the connection is open");
        let (header, _) = read(&mut connection).await;
        assert_eq!(header.message_type(), const_sv2::message_type::common::SETUP_CONNECTION_SUCCESS);
        let opening = open_extended(user);
        match kind {
            ChannelKind::Extended => connection.send(&opening).await,
            ChannelKind::Standard => {
                let OpenExtendedMiningChannel { request_id, user_identity, nominal_hash_rate, max_target, .. } =
                    opening;
                connection
                    .send(&OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target })
                    .await
            }
        }
        .expect("the connection is open");
        let (header, payload) = read(&mut connection).await;
        let channel = match Mining::decode(header.message_type(), &payload).expect("a message") {
            Mining::OpenStandardMiningChannelSuccess(success) => ClientChannel::standard(&success),
            Mining::OpenExtendedMiningChannelSuccess(success) => {
                ClientChannel::extended(&success).expect("a sound channel")
            }
            other => panic!("expected the channel, got {other:?}"),
        };
        let mut miner = Self { connection, channel, acks: Vec::new(), errors: Vec::new(), jobs: 0, next_nonce: 0 };
        while miner.channel.work().is_none() {
            miner.step().await;
        }
        miner
    }

    /// Takes up one message.
    pub async fn step(&mut self) {
        self.try_step().await.expect("the connection is open");
    }

    /// Takes up one message; an error is the end of the connection.
    pub async fn try_step(&mut self) -> Result<(), network_helpers::Error> {
        let frame = tokio::time::timeout(LIMIT, self.connection.read_frame()).await.expect("a message in time")?;
        let (header, payload) = (frame.header(), frame.payload().to_vec());
        match Mining::decode(header.message_type(), &payload).expect("a message") {
            Mining::NewMiningJob(job) => {
                self.jobs += 1;
                self.channel.on_new_mining_job(&job).expect("a sound job");
            }
            Mining::NewExtendedMiningJob(job) => {
                self.jobs += 1;
                self.channel.on_new_extended_mining_job(&job).expect("a sound job");
            }
            Mining::SetNewPrevHash(tip) => {
                self.channel.on_set_new_prev_hash(now(), &tip).expect("a tip for a job that is known");
            }
            Mining::SetTarget(target) => {
                self.channel.on_set_target(&target);
            }
            Mining::SubmitSharesSuccess(ack) => self.acks.push(ack),
            Mining::SubmitSharesError(error) => self.errors.push(error.into_owned()),
            other => panic!("a pool does not send {other:?} here"),
        }
        Ok(())
    }

    /// Takes up messages until the work builds on `prev_hash`.
    pub async fn until_tip(&mut self, prev_hash: BlockHash) {
        while self.channel.work().is_none_or(|work| work.prev_hash != prev_hash) {
            self.step().await;
        }
    }

    /// Takes up messages until `enough` holds.
    pub async fn until(&mut self, mut enough: impl FnMut(&Self) -> bool) {
        while !enough(self) {
            self.step().await;
        }
    }

    /// The block that the current work builds on.
    pub fn prev_hash(&mut self) -> BlockHash {
        self.channel.work().expect("there is work").prev_hash
    }

    /// Hashes until a block is found, and submits it. Its hash.
    pub async fn mine_block(&mut self) -> BlockHash {
        let work = self.channel.work().expect("there is work");
        let (mut nonce, version, ntime) = (self.next_nonce, work.version, work.min_ntime);
        let hash = loop {
            let hash = work.header(version, ntime, nonce).hash();
            if work.network_target().is_met_by(&hash) {
                break hash;
            }
            nonce = nonce.wrapping_add(1);
        };
        self.next_nonce = nonce.wrapping_add(1);
        let submission = self.channel.submit(&work, version, ntime, nonce);
        self.submit(&submission).await;
        hash
    }

    /// Sends a share.
    pub async fn submit(&mut self, submission: &Submission) {
        self.try_submit(submission).await.expect("the connection is open");
    }

    /// Sends a share; an error is the end of the connection.
    pub async fn try_submit(&mut self, submission: &Submission) -> Result<(), network_helpers::Error> {
        match submission {
            Submission::Standard(share) => self.connection.send(share).await,
            Submission::Extended(share) => self.connection.send(share).await,
        }
    }
}

/// The next frame of a connection.
///
/// # Panics
/// When none comes.
pub async fn read(connection: &mut Connection) -> (Header, Vec<u8>) {
    let frame = tokio::time::timeout(LIMIT, connection.read_frame()).await.expect("a message in time");
    let frame = frame.expect("a frame");
    (frame.header(), frame.payload().to_vec())
}

/// Time since the unix epoch.
pub fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970")
}
