//! The whole miner against a small scripted server on the loopback interface.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use binary_sv2::{B0_32, B0_64K, Message, Seq0_255, Sv2Option, U256};
use bitcoin::hashes::Hash as _;
use common_messages_sv2::{CommonMessages, Reconnect, SetupConnection, SetupConnectionSuccess};
use mining_device::{ChannelKind, Error, MinerConfig, Status, run};
use mining_sv2::{
    Mining, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess,
    SetNewPrevHash, SubmitSharesError, SubmitSharesSuccess,
};
use network_helpers::{Connection, ServerSecurity};
use noise_sv2::{AuthoritySecretKey, ServerIdentity, Validity};
use rand_core::OsRng;
use roles_logic_sv2::{Header, SplitCoinbase, Target};
use stratum_runtime::shutdown::Shutdown;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

const EASY: Target = Target::from_zero_bits(2);
const MIN_NTIME: u32 = 1_700_000_000;
const NBITS: u32 = 0x207f_ffff;
const PREV_HASH: [u8; 32] = [3; 32];
const MERKLE_ROOT: [u8; 32] = [4; 32];
const VERSION: u32 = 0x2000_0000;
const PREFIX: [u8; 12] = [9; 12];
const EXTENDED: ChannelKind = ChannelKind::Extended { min_extranonce_size: 4 };

/// A listener that shows certificates of its authority, or speaks plainly.
struct Server {
    listener: TcpListener,
    authority: AuthoritySecretKey,
    security: ServerSecurity,
}

impl Server {
    async fn with(authority: AuthoritySecretKey) -> Self {
        let identity = ServerIdentity::issue(&authority, Validity { from: 0, until: u32::MAX }, &mut OsRng).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, authority, security: ServerSecurity::Noise(Arc::new(identity)) }
    }

    async fn noise() -> Self {
        Self::with(AuthoritySecretKey::generate(&mut OsRng).unwrap()).await
    }

    async fn plain() -> Self {
        Self { security: ServerSecurity::Plain, ..Self::noise().await }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn config(&self, channel: ChannelKind) -> MinerConfig {
        let url = format!("stratum2+tcp://127.0.0.1:{}/{}", self.port(), self.authority.public_key());
        MinerConfig {
            channel,
            plain: matches!(self.security, ServerSecurity::Plain),
            threads: NonZeroU32::new(2),
            nominal_hashrate: Some(1e6),
            reconnect_first: Duration::from_millis(1),
            reconnect_most: Duration::from_millis(20),
            ..MinerConfig::new(url.parse().unwrap(), "alice.worker")
        }
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        Peer(Connection::accept(stream, self.security.clone()).await.unwrap())
    }
}

/// A miner's connection as the server has it.
struct Peer(Connection);

impl Peer {
    async fn send<M: Message>(&mut self, message: &M) {
        self.0.send(message).await.unwrap();
    }

    async fn setup(&mut self) -> SetupConnection<'static> {
        let frame = self.0.read_frame().await.unwrap();
        let message = CommonMessages::decode(frame.header().message_type(), frame.payload()).unwrap().into_owned();
        let CommonMessages::SetupConnection(setup) = message else { panic!("{message:?}") };
        setup
    }

    async fn mining(&mut self) -> Mining<'static> {
        let frame = self.0.read_frame().await.unwrap();
        Mining::decode(frame.header().message_type(), frame.payload()).unwrap().into_owned()
    }

    /// Up to an open channel and a started job.
    async fn start(&mut self) {
        self.setup().await;
        self.send(&SetupConnectionSuccess { used_version: 2, flags: 0 }).await;
        let (target, group_channel_id) = (EASY.into(), 2);
        match self.mining().await {
            Mining::OpenStandardMiningChannel(open) => {
                let request_id = open.request_id;
                let extranonce_prefix = B0_32::from_truncated(&PREFIX);
                let success = OpenStandardMiningChannelSuccess {
                    request_id,
                    channel_id: 1,
                    target,
                    extranonce_prefix,
                    group_channel_id,
                };
                self.send(&success).await;
                self.send(&standard_job()).await;
            }
            Mining::OpenExtendedMiningChannel(open) => {
                let success = OpenExtendedMiningChannelSuccess {
                    request_id: open.request_id,
                    channel_id: 1,
                    target,
                    extranonce_size: 8,
                    extranonce_prefix: B0_32::from_truncated(&PREFIX),
                    group_channel_id,
                };
                self.send(&success).await;
                self.send(&extended_job()).await;
            }
            other => panic!("{other:?}"),
        }
        let prev_hash = U256::from_le_bytes(PREV_HASH);
        self.send(&SetNewPrevHash { channel_id: 1, job_id: 7, prev_hash, min_ntime: MIN_NTIME, nbits: NBITS }).await;
    }
}

fn standard_job() -> NewMiningJob {
    let merkle_root = U256::from_le_bytes(MERKLE_ROOT);
    NewMiningJob { channel_id: 1, job_id: 7, min_ntime: Sv2Option::None, version: VERSION, merkle_root }
}

fn extended_job() -> NewExtendedMiningJob<'static> {
    NewExtendedMiningJob {
        channel_id: 1,
        job_id: 7,
        min_ntime: Sv2Option::None,
        version: VERSION,
        version_rolling_allowed: false,
        merkle_path: Seq0_255::try_from_iter([U256::from_le_bytes([5; 32])]).unwrap(),
        coinbase_tx_prefix: B0_64K::try_from(vec![1; 50]).unwrap(),
        coinbase_tx_suffix: B0_64K::try_from(vec![2; 50]).unwrap(),
    }
}

/// The header of a share, put together as a server does it; fails for a share that is none.
fn check_share(share: &Mining<'_>) -> u32 {
    let prev_hash = bitcoin::BlockHash::from_byte_array(PREV_HASH);
    let (header, number) = match share {
        Mining::SubmitSharesStandard(s) => {
            assert_eq!((s.version ^ VERSION) & !0x1fff_e000, 0);
            let merkle_root = MERKLE_ROOT;
            let (version, ntime, nonce) = (s.version, s.ntime, s.nonce);
            (Header { version, prev_hash, merkle_root, ntime, nbits: NBITS, nonce }, s.sequence_number)
        }
        Mining::SubmitSharesExtended(s) => {
            assert_eq!((s.version, s.extranonce.as_bytes().len()), (VERSION, 8));
            let full = [&PREFIX, s.extranonce.as_bytes()].concat();
            let merkle_root = SplitCoinbase::new(vec![1; 50], vec![2; 50]).merkle_root(&full, &[[5; 32]]);
            let (version, ntime, nonce) = (s.version, s.ntime, s.nonce);
            (Header { version, prev_hash, merkle_root, ntime, nbits: NBITS, nonce }, s.sequence_number)
        }
        other => panic!("{other:?}"),
    };
    assert!(EASY.is_met_by(&header.hash()), "{header:?}");
    assert!(header.ntime >= MIN_NTIME);
    number
}

struct Miner {
    task: JoinHandle<Result<(), Error>>,
    shutdown: Shutdown,
    status: watch::Receiver<Status>,
}

impl Miner {
    fn start(config: MinerConfig) -> Self {
        let (sender, status) = watch::channel(Status::default());
        let shutdown = Shutdown::new();
        Self { task: tokio::spawn(run(config, shutdown.clone(), sender)), shutdown, status }
    }

    async fn wait(&mut self, condition: impl FnMut(&Status) -> bool) -> Status {
        self.status.wait_for(condition).await.unwrap().clone()
    }

    async fn stop(self) -> Status {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        self.status.borrow().clone()
    }
}

#[tokio::test]
async fn shares_are_right_counted_and_followed_by_good_bye() {
    for (server, channel) in [
        (Server::noise().await, ChannelKind::Standard),
        (Server::noise().await, EXTENDED),
        (Server::plain().await, ChannelKind::Standard),
        (Server::plain().await, EXTENDED),
    ] {
        let mut miner = Miner::start(server.config(channel));
        let mut peer = server.accept().await;
        peer.start().await;
        for expected in 0..10 {
            assert_eq!(check_share(&peer.mining().await), expected);
        }
        let (last_sequence_number, new_submits_accepted_count, new_shares_sum) = (8, 9, 20);
        let success =
            SubmitSharesSuccess { channel_id: 1, last_sequence_number, new_submits_accepted_count, new_shares_sum };
        peer.send(&success).await;
        let error_code = "low-difficulty".try_into().unwrap();
        peer.send(&SubmitSharesError { channel_id: 1, sequence_number: 9, error_code }).await;
        let status = miner.wait(|status| status.rejected_total() == 1).await;
        assert_eq!((status.accepted, status.credited, status.rejected["low-difficulty"]), (9, 20, 1));
        assert!(status.submitted >= 10 && status.connected && status.jobs == 1 && status.target == Some(EASY));
        let stopping = tokio::spawn(miner.stop());
        while !matches!(peer.mining().await, Mining::CloseChannel(_)) {}
        let status = stopping.await.unwrap();
        assert!(!status.connected && status.disconnects == 0);
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let server = Server::noise().await;
    let mut miner = Miner::start(server.config(ChannelKind::Standard));
    for _ in 0..3 {
        let mut peer = server.accept().await;
        peer.start().await;
        check_share(&peer.mining().await);
    }
    let mut peer = server.accept().await;
    peer.start().await;
    let status = miner.wait(|status| status.channels_opened == 4 && status.submitted > 3).await;
    assert_eq!(status.disconnects, 3);
    miner.stop().await;
}

#[tokio::test]
async fn a_server_that_misbehaves_costs_one_connection_each_time() {
    let server = Server::noise().await;
    let mut miner = Miner::start(server.config(ChannelKind::Standard));
    let mut peer = server.accept().await;
    peer.setup().await;
    peer.send(&standard_job()).await;
    let status = miner.wait(|status| status.disconnects == 1).await;
    let expected = "expected SetupConnection.Success or SetupConnection.Error, got NewMiningJob";
    assert_eq!(status.last_error.as_deref(), Some(expected));

    let mut peer = server.accept().await;
    peer.start().await;
    peer.send(&SetNewPrevHash { job_id: 99, ..new_tip() }).await;
    let status = miner.wait(|status| status.disconnects == 2).await;
    assert!(status.last_error.unwrap().contains("job 99"));
    miner.stop().await;
}

fn new_tip() -> SetNewPrevHash {
    let prev_hash = U256::from_le_bytes([8; 32]);
    SetNewPrevHash { channel_id: 1, job_id: 7, prev_hash, min_ntime: MIN_NTIME, nbits: NBITS }
}

#[tokio::test]
async fn an_impostor_gets_no_work() {
    let (server, impostor) = (Server::noise().await, Server::noise().await);
    let mut config = impostor.config(ChannelKind::Standard);
    let key = server.authority.public_key();
    config.url = format!("stratum2+tcp://127.0.0.1:{}/{key}", impostor.port()).parse().unwrap();
    let mut miner = Miner::start(config);
    let (stream, _) = impostor.listener.accept().await.unwrap();
    let _ = Connection::accept(stream, impostor.security.clone()).await;
    let status = miner.wait(|status| status.disconnects == 1).await;
    assert!(status.last_error.unwrap().contains("certificate"));
    miner.stop().await;
}

#[tokio::test]
async fn a_redirection_is_followed_to_the_same_authority_and_undone_for_another() {
    let first = Server::noise().await;
    let second = Server::with(first.authority.clone()).await;
    let stranger = Server::noise().await;
    let mut miner = Miner::start(first.config(ChannelKind::Standard));
    let redirect = |server: &Server| Reconnect { new_host: "localhost".try_into().unwrap(), new_port: server.port() };

    let mut peer = first.accept().await;
    peer.start().await;
    peer.send(&redirect(&second)).await;
    let mut peer = second.accept().await;
    peer.start().await;
    miner.wait(|status| status.channels_opened == 2).await;

    peer.send(&redirect(&stranger)).await;
    let (stream, _) = stranger.listener.accept().await.unwrap();
    let _ = Connection::accept(stream, stranger.security.clone()).await;
    let mut peer = first.accept().await;
    peer.start().await;
    let status = miner.wait(|status| status.channels_opened == 3).await;
    assert!(status.last_error.unwrap().contains("certificate"));
    miner.stop().await;
}

#[tokio::test]
async fn an_absent_server_is_waited_for_and_waiting_can_be_ended() {
    let server = Server::noise().await;
    let config = server.config(ChannelKind::Standard);
    drop(server);
    let mut miner = Miner::start(config);
    let status = miner.wait(|status| status.disconnects >= 3).await;
    assert!(status.last_error.unwrap().contains("is the address right and the server up?"));
    let mut slow = Server::noise().await.config(ChannelKind::Standard);
    slow.reconnect_first = Duration::from_secs(3_600);
    slow.reconnect_most = Duration::from_secs(3_600);
    miner.stop().await;
    let mut miner = Miner::start(slow);
    miner.wait(|status| status.disconnects == 1).await;
    miner.stop().await;
}

#[tokio::test]
async fn a_bad_configuration_is_the_only_thing_that_is_fatal() {
    let mut config = Server::noise().await.config(ChannelKind::Standard);
    config.version_mask = u32::MAX;
    let miner = Miner::start(config);
    assert!(matches!(miner.task.await.unwrap(), Err(Error::Config(_))));
}
