//! One process of the pool: its real hub and sessions, and a model of what drives them.
//!
//! The model follows `stratum_runtime::shard` and `pool::server`: snapshots reach each shard as its newest one only, a session with
//! unsent bytes is passed over and gets the newest later, reading stops while too much is unsent,
//! records are durable in order and some time later.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Display,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use binary_sv2::Message;
use bitcoin::BlockHash;
use pool::{
    PoolConfig,
    blocks::{BlockState, FoundBlock},
    hold::Hold,
    hub::{Candidate, Hub},
    ledger::Record,
    payouts::Payouts,
    registry::Registry,
    server::session_config,
    session::{Acknowledge, Session, SessionConfig},
    snapshot::Snapshot,
};
use roles_logic_sv2::extranonce::{Layout, Space};
use stratum_runtime::{
    core::{Core, Sink},
    journal::JournalFull,
};
use template_source::Constraints;

use crate::{
    node::Node,
    provider::Upstream,
    wire::{Frame, Inbox},
};

/// Channels on one connection; few, so that the bound is met.
pub const MAX_CHANNELS: usize = 6;
/// Longest message from a miner, in bytes.
pub const MAX_MESSAGE: usize = 128 * 1024;
/// Depth at which a found block is final; deeper than any reorganisation, and met in a world's time.
pub const CONFIRMATIONS: u32 = 8;
/// A peer whose oldest unsent byte is this old is dropped.
pub const UNSENT: Duration = Duration::from_secs(30);

/// What the pool gets of a solo miner's block, in millionths; as in `CONFIG`.
pub const FEE_MILLIONTHS: u64 = 15_000;
/// The script of the pool's payout; as in `CONFIG`.
pub const POOL_SCRIPT: &[u8] = &[0x51];
/// Bytes of the full extranonce.
pub const FULL_SIZE: usize = 20;

/// 4,096 channels for each of 65,536 starts: a world opens fewer, and a new process pays nothing for the table.
fn layout() -> Layout {
    Layout::new(8, 16, 12, FULL_SIZE).expect("36 bits fit into 20 bytes")
}

const CONFIG: &str = r#"
network = "regtest"
payout = "raw(51)"
data_dir = "unused"
source = []
[shares]
per_minute = 12.0
min_difficulty = 0.0
ntime_tolerance = 60
[limits]
channels = 6
[http]
operator = false
[solo]
fee_percent = 1.5
[[listen]]
address = "127.0.0.1:0"
policies = ["pool", "solo"]
"#;

/// The pool's process.
#[derive(Debug)]
pub struct Process {
    /// Number of the start.
    pub epoch: u64,
    /// The hub.
    pub hub: Hub,
    /// What sessions share.
    pub config: Arc<SessionConfig>,
    /// The newest snapshot, and its number.
    pub snapshot: Numbered,
    /// What each shard has to do.
    pub shards: Vec<Shard>,
    /// Commands on their way to each source.
    pub commands: Vec<usize>,
    /// When the hub's timer is set to.
    pub timer: Option<Duration>,
    /// Its ends of connections to Template Providers, for sources that are remote.
    pub upstreams: Vec<Option<Upstream>>,
    /// An orderly stop has begun.
    pub stopping: bool,
    /// Future templates that came, for a hub that is broken on purpose.
    pub future_templates: usize,
    /// The share ledger's journal.
    pub journal: Journal,
    /// Blocks on their way to the disk, once for each write.
    pub storing: Vec<BlockHash>,
    /// Acknowledgements that wait for a block.
    pub holds: Vec<(BlockHash, Hold)>,
}

/// The share ledger's journal: what waits for the disk.
#[derive(Debug, Default)]
pub struct Journal {
    /// When the last of it is on disk.
    pub written: Duration,
    /// Shares of each connection's turn, in their order.
    pub waiting: VecDeque<Batch>,
}

/// Records of one connection's turn.
#[derive(Debug)]
pub struct Batch {
    /// The connection.
    pub conn: u64,
    /// How many records.
    pub records: usize,
    /// The shares among them.
    pub shares: Vec<BlockHash>,
}

/// A snapshot, and how many came before it.
#[derive(Clone, Debug, Default)]
pub struct Numbered {
    /// Counts up.
    pub number: u64,
    /// Tip and jobs.
    pub snapshot: Arc<Snapshot>,
}

/// One shard's part in a broadcast.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shard {
    /// There is a snapshot that it has not seen.
    pub changed: bool,
    /// It is putting one through its sessions.
    pub busy: bool,
}

impl Process {
    /// Starts a process for these sources.
    ///
    /// # Panics
    /// When the fixed configuration makes no pool.
    pub fn start(now: Duration, epoch: u64, nodes: &[Node], shards: usize, acknowledge: Acknowledge) -> Self {
        let mut config: PoolConfig = toml::from_str(CONFIG).expect("a fixed configuration");
        config.ledger.acknowledge = acknowledge;
        let payouts = Arc::new(Payouts::new(&config, FULL_SIZE).expect("a fixed payout"));
        let space = Space::new(layout(), 1, epoch).expect("a small server id");
        let sources: Vec<_> = nodes.iter().map(Node::capabilities).collect();
        let reserved = payouts.constraints();
        let constraints = Constraints {
            max_additional_size: reserved.max_additional_size,
            max_additional_sigops: reserved.max_additional_sigops,
        };
        let upstream = |node: &Node| node.character.remote.then(|| Upstream::new(now, constraints));
        let refresh = Duration::from_secs(config.shares.job_refresh_seconds);
        let hub = Hub::new(payouts.factory().clone(), &sources).with_job_refresh(refresh);
        Self {
            epoch,
            hub: hub.with_recycler(space.recycler()).with_confirmations(CONFIRMATIONS),
            config: Arc::new(
                session_config(&config, &config.listen[0], 0, space, payouts, Registry::new(now))
                    .expect("a fixed configuration"),
            ),
            snapshot: Numbered::default(),
            shards: vec![Shard::default(); shards],
            commands: vec![0; sources.len()],
            timer: None,
            upstreams: nodes.iter().map(upstream).collect(),
            stopping: false,
            future_templates: 0,
            journal: Journal::default(),
            storing: Vec::new(),
            holds: Vec::new(),
        }
    }

    /// The server's side of a new connection.
    pub fn accept(&self, now: Duration, conn: u64) -> ServerSide {
        let peer = SocketAddr::from(([127, 0, 0, 1], (conn & 0xffff) as u16));
        ServerSide {
            session: Session::new(now, peer, self.config.clone()),
            out: Out::default(),
            unsent: Vec::new(),
            sent: 0,
            stale: false,
            oldest_unsent: None,
            inbox: Inbox::default(),
            shard: conn as usize % self.shards.len(),
            timer: None,
        }
    }
}

/// What a shard keeps of one connection.
#[derive(Debug)]
pub struct ServerSide {
    /// The core.
    pub session: Session,
    /// What the core put out in this step.
    pub out: Out,
    /// Bytes that the socket has not taken.
    pub unsent: Vec<u8>,
    sent: u64,
    /// A snapshot was passed over.
    pub stale: bool,
    oldest_unsent: Option<(u64, Duration)>,
    /// Received bytes.
    pub inbox: Inbox,
    /// The shard that serves it.
    pub shard: usize,
    /// When its timer is set to.
    pub timer: Option<Duration>,
}

/// The sink of a session.
#[derive(Debug, Default)]
pub struct Out {
    /// Messages, encoded.
    pub frames: Vec<Frame>,
    /// Found blocks.
    pub reports: Vec<Candidate>,
    /// What it put out for the ledger.
    pub records: Vec<Record>,
    /// Why the connection ends.
    pub gone: Option<String>,
}

impl Sink for Out {
    type Report = Candidate;
    type Record = Record;

    fn send<M: Message>(&mut self, message: &M) {
        if self.gone.is_none() {
            self.frames.push(Frame::of(message));
        }
    }

    fn disconnect(&mut self, reason: impl Display) {
        self.gone.get_or_insert_with(|| reason.to_string());
    }

    fn report(&mut self, report: Candidate) {
        self.reports.push(report);
    }

    fn persist(&mut self, record: Record) -> Result<(), JournalFull> {
        self.records.push(record);
        Ok(())
    }
}

impl ServerSide {
    /// Takes up to `room` unsent bytes for the socket.
    pub fn write(&mut self, now: Duration, room: usize) -> Vec<u8> {
        let count = room.min(self.unsent.len());
        let bytes = self.unsent.drain(..count).collect();
        self.sent += count as u64;
        let queued = self.sent + self.unsent.len() as u64;
        self.oldest_unsent = match self.oldest_unsent {
            _ if queued == self.sent => None,
            Some((position, since)) if position > self.sent => Some((position, since)),
            _ => Some((queued, now)),
        };
        bytes
    }

    /// When a peer that does not read is dropped.
    pub fn drop_at(&self) -> Option<Duration> {
        self.oldest_unsent.map(|(_, since)| since + UNSENT)
    }

    /// When there is something to do without input.
    pub fn deadline(&self) -> Option<Duration> {
        [self.session.poll_timeout(), self.drop_at()].into_iter().flatten().min()
    }

    /// Whether the peer is read from.
    pub fn is_readable(&self) -> bool {
        self.unsent.len() < self.session.outbound_limit()
    }
}

/// Found blocks on disk, as `pool::store` keeps them: what is not there is gone with the process.
#[derive(Debug, Default)]
pub struct Disk {
    /// The last epoch that was taken.
    pub epoch: u64,
    blocks: BTreeMap<BlockHash, (FoundBlock, BlockState)>,
}

impl Disk {
    /// Writes a block's file anew; its bytes stay once they are there.
    pub fn write(&mut self, block: FoundBlock, state: BlockState) {
        let raw = self.blocks.get(&block.hash).and_then(|(block, _)| block.raw.clone()).or(block.raw.clone());
        self.blocks.insert(block.hash, (FoundBlock { raw, origin: None, ..block }, state));
    }

    /// Whether the block's bytes are there.
    pub fn has_bytes(&self, hash: &BlockHash) -> bool {
        self.blocks.get(hash).is_some_and(|(block, _)| block.raw.is_some())
    }

    /// Blocks that a new process takes up.
    pub fn undecided(&self) -> Vec<(FoundBlock, BlockState)> {
        let undecided = self.blocks.values().filter(|(block, state)| state.is_undecided() && block.raw.is_some());
        let mut blocks: Vec<_> = undecided.cloned().collect();
        blocks.sort_by_key(|(block, _)| block.found_at);
        blocks
    }
}
