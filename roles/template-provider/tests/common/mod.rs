//! A running Template Provider, its source, and what a client does with a template.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use binary_sv2::Str0_255;
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Witness,
    block::{Header, Version},
    consensus::{deserialize_partial, serialize},
    hashes::{Hash, HashEngine, sha256d},
    transaction,
};
use common_messages_sv2::SetupConnection;
use noise_sv2::{AuthorityPublicKey, url::EndpointUrl};
use stratum_runtime::{identity::create_authority_key, shutdown::Shutdown};
use template_provider::{
    TemplateProvider,
    config::{Limits, Listen, TemplateProviderConfig},
};
use template_source::{
    Capabilities, CoinbaseTemplate, Command, Constraints, Event, Solution, Subscription, Template, TemplateId,
    TemplateSource, Tip, Transactions,
    config::SourceConfig,
    devnet::{self, Devnet, DevnetConfig},
    sv2::RemoteTemplateProvider,
};
use tokio::sync::{Notify, mpsc, watch};

/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Fixture {
    pub devnet: Devnet,
    pub config: TemplateProviderConfig,
    provider: TemplateProvider,
    shutdown: Shutdown,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// Serves a devnet whose transactions come only when they are asked for.
    pub async fn devnet() -> Self {
        Self::start(true, None).await
    }

    /// The same without noise.
    pub async fn plain() -> Self {
        Self::start(false, None).await
    }

    /// Serves a source of canned templates.
    pub async fn scripted(source: Scripted) -> Self {
        Self::start(true, Some(Arc::new(source))).await
    }

    async fn start(noise: bool, source: Option<Arc<dyn TemplateSource>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("authority.key");
        create_authority_key(&key).unwrap();
        let devnet = Devnet::new(DevnetConfig { transactions_per_tick: 0, ..DevnetConfig::default() }).unwrap();
        let config = TemplateProviderConfig {
            network: Network::Regtest,
            authority_key_file: Some(key),
            certificate_hours: 24,
            debug_key_log: None,
            listen: vec![Listen { address: ([127, 0, 0, 1], 0).into(), noise }],
            source: SourceConfig::Devnet { nbits: None },
            limits: Limits::default(),
        };
        let shutdown = Shutdown::new();
        let source = source.unwrap_or_else(|| Arc::new(devnet.clone()));
        let provider = TemplateProvider::start(&config, source, shutdown.clone()).await.unwrap();
        Self { devnet, config, provider, shutdown, folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.provider.addresses()[0]
    }

    pub fn authority(&self) -> AuthorityPublicKey {
        self.provider.authority().unwrap()
    }

    /// A client of this server.
    pub fn client(&self) -> RemoteTemplateProvider {
        client(self.address(), self.config.listen[0].noise.then(|| self.authority()))
    }

    /// Ends the server; its key lives as long as the folder.
    pub async fn end(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        self.provider.join().await;
        self.folder
    }
}

pub fn client(address: SocketAddr, authority: Option<AuthorityPublicKey>) -> RemoteTemplateProvider {
    let url = EndpointUrl::new(&address.ip().to_string(), address.port(), authority).unwrap();
    RemoteTemplateProvider::new(url)
}

/// The first thing that `wanted` finds among a subscription's events.
pub async fn until<T>(subscription: &mut Subscription, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = subscription.events.recv().await.expect("the subscription ended");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("the event did not come")
}

/// The next tip and the template that it activates.
pub async fn tip(subscription: &mut Subscription) -> (Arc<Template>, Tip) {
    let mut templates = vec![];
    until(subscription, |event| match event {
        Event::Template(template) => {
            templates.push(template);
            None
        }
        Event::Tip(tip) => templates.iter().find(|t| t.id == tip.template_id).map(|t| (t.clone(), tip)),
        _ => None,
    })
    .await
}

pub fn setup(protocol: u8) -> SetupConnection<'static> {
    SetupConnection {
        protocol,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: Str0_255::EMPTY,
        endpoint_port: 0,
        vendor: Str0_255::from_truncated("test"),
        hardware_version: Str0_255::EMPTY,
        firmware: Str0_255::EMPTY,
        device_id: Str0_255::EMPTY,
    }
}

/// Mines a template, with one output that pays all to anyone.
pub fn solve(template: &Template, tip: &Tip) -> Solution {
    let coinbase = coinbase(&template.coinbase);
    let root = template.merkle_path.iter().fold(coinbase.compute_txid().to_byte_array(), |left, right| {
        let mut engine = sha256d::Hash::engine();
        engine.input(&left);
        engine.input(right);
        sha256d::Hash::from_engine(engine).to_byte_array()
    });
    let mut header = Header {
        version: Version::from_consensus(template.version as i32),
        prev_blockhash: tip.prev_hash,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: tip.header_timestamp,
        bits: CompactTarget::from_consensus(tip.nbits),
        nonce: 0,
    };
    assert!(devnet::solve(&mut header));
    Solution {
        template_id: template.id,
        hash: header.block_hash(),
        version: template.version,
        header_timestamp: header.time,
        header_nonce: header.nonce,
        coinbase_tx: serialize(&coinbase),
    }
}

fn coinbase(template: &CoinbaseTemplate) -> Transaction {
    let mut script_sig = template.script_sig_prefix.clone();
    script_sig.extend([4, 1, 2, 3, 4]);
    let payout =
        TxOut { value: Amount::from_sat(template.value_remaining), script_pubkey: ScriptBuf::from(vec![0x51]) };
    let mut output = vec![payout];
    let mut rest = template.outputs.as_slice();
    while !rest.is_empty() {
        let (fixed, used) = deserialize_partial(rest).unwrap();
        output.push(fixed);
        rest = &rest[used..];
    }
    let witness = if template.has_witness_commitment() { Witness::from_slice(&[[0; 32]]) } else { Witness::new() };
    Transaction {
        version: transaction::Version(template.version as i32),
        lock_time: bitcoin::absolute::LockTime::from_consensus(template.lock_time),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from(script_sig),
            sequence: Sequence(template.sequence),
            witness,
        }],
        output,
    }
}

/// A source with one tip, and the same transactions for every template.
#[derive(Clone)]
pub struct Scripted {
    transactions: Transactions,
    /// How many templates beyond the first there are.
    announced: watch::Sender<u64>,
    /// Told when transactions were asked for and given.
    pub answered: Arc<Notify>,
}

impl Scripted {
    pub fn new(transactions: Transactions) -> Self {
        Self { transactions, announced: watch::Sender::new(0), answered: Arc::default() }
    }

    /// Gives all subscriptions one more template.
    pub fn announce(&self) {
        self.announced.send_modify(|count| *count += 1);
    }

    fn template(id: u64, future: bool) -> Event {
        let coinbase = CoinbaseTemplate {
            version: 2,
            script_sig_prefix: vec![0x51],
            sequence: 0,
            value_remaining: 0,
            outputs_count: 0,
            outputs: vec![],
            lock_time: 0,
        };
        let (id, merkle_path) = (TemplateId(id), vec![[1; 32]]);
        Event::Template(Arc::new(Template { id, future, height: 1, version: 4, coinbase, merkle_path }))
    }

    async fn run(self, events: mpsc::Sender<Event>, mut commands: mpsc::Receiver<Command>) {
        let up = Event::Up { network: None, description: "scripted".into() };
        let tip = Event::Tip(Tip {
            template_id: TemplateId(1),
            prev_hash: BlockHash::all_zeros(),
            header_timestamp: 1,
            nbits: 0x207f_ffff,
            target: [0xff; 32],
        });
        let mut waiting = vec![tip, Self::template(1, true), up];
        let mut announced = self.announced.subscribe();
        loop {
            while let Some(event) = waiting.pop() {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = events.closed() => return,
                Ok(()) = announced.changed() => {
                    let id = 1 + *announced.borrow_and_update();
                    waiting.push(Self::template(id, false));
                }
                Some(command) = commands.recv() => if let Command::RequestTransactions(id) = command {
                    waiting.push(Event::Transactions { id, result: Ok(self.transactions.clone()) });
                    self.answered.notify_one();
                },
            }
        }
    }
}

impl TemplateSource for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { raw_blocks: false }
    }

    fn subscribe(&self, _: Constraints) -> Subscription {
        let (sender, events) = mpsc::channel(8);
        let (commands, receiver) = mpsc::channel(8);
        tokio::spawn(self.clone().run(sender, receiver));
        Subscription { events, commands }
    }
}
