//! A world: what is in it, and its one queue of events.

mod miners;
mod nodes;
mod providers;
mod server;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bitcoin::{Block, BlockHash, CompactTarget};
use pool::{
    blocks::{BlockState, FoundBlock},
    hub::Candidate,
    session::Acknowledge,
};
use template_source::Command;

use crate::{
    Counters, Outcome,
    checks::{Checks, Facts, Observation, Violation},
    fault::Fault,
    miner::{Habit, Miner},
    node::{Character, Node},
    options::Options,
    pool::{Disk, Numbered, Process, ServerSide},
    provider::Client,
    rng::Rng,
    subscription::Subscription,
    trace::Trace,
    wire::Pipe,
};

/// When every world begins.
pub const START: Duration = Duration::from_secs(1_800_000_000);
/// Virtual time at the end for everything to be delivered, longer than a retry and a node's restart.
const DRAIN: Duration = Duration::from_secs(60);
/// Steps after which a world is taken for one that does not end.
const MAX_STEPS: u64 = 5_000_000;

/// Something that is going to happen.
#[derive(Debug)]
enum Event {
    /// A source's report reaches the hub.
    Source {
        source: usize,
        epoch: u64,
        event: template_source::Event,
    },
    /// A command reaches a source.
    Command {
        source: usize,
        epoch: u64,
        command: Command,
    },
    HubTimer {
        epoch: u64,
    },
    /// A found block's file is written.
    Stored {
        epoch: u64,
        block: FoundBlock,
        state: BlockState,
    },
    /// A session's report reaches the hub.
    Candidate {
        epoch: u64,
        candidate: Box<Candidate>,
    },
    /// The next records are on disk.
    Durable {
        epoch: u64,
    },
    /// The transactions of a block have not come.
    NoBytes {
        epoch: u64,
        hash: BlockHash,
    },
    /// A shard looks for a snapshot.
    Broadcast {
        epoch: u64,
        shard: usize,
    },
    /// A shard goes on with a broadcast.
    Turn {
        epoch: u64,
        shard: usize,
        notice: Numbered,
        rest: VecDeque<u64>,
    },
    Connect {
        miner: usize,
    },
    /// Bytes arrive at the pool.
    AtPool {
        conn: u64,
    },
    /// The pool reads.
    PoolReads {
        conn: u64,
    },
    /// The peer's end of the connection reaches the pool.
    PoolEof {
        conn: u64,
    },
    /// Bytes arrive at the miner.
    AtMiner {
        conn: u64,
    },
    MinerReads {
        conn: u64,
    },
    /// The pool's end of the connection reaches the miner.
    MinerEof {
        conn: u64,
    },
    /// The socket takes bytes again.
    Writable {
        conn: u64,
    },
    SessionTimer {
        conn: u64,
    },
    Hash {
        miner: usize,
    },
    Act {
        miner: usize,
    },
    /// Somebody else finds blocks, in place of so many of the newest.
    External {
        node: usize,
        depth: usize,
    },
    /// New transactions at a node.
    Fees {
        node: usize,
    },
    Stop {
        node: usize,
    },
    Start {
        node: usize,
    },
    /// A block reaches another node.
    Propagate {
        node: usize,
        block: Arc<Block>,
    },
    /// A node's report reaches a client of its Template Provider.
    Told {
        client: u64,
        event: template_source::Event,
    },
    /// A client's command reaches the node.
    Asked {
        client: u64,
        command: Command,
    },
    /// Bytes arrive at a Template Provider.
    AtProvider {
        client: u64,
    },
    ProviderTimer {
        client: u64,
    },
    /// The pool's attempt to connect to a Template Provider ends.
    Dialled {
        source: usize,
        epoch: u64,
    },
    /// Bytes of a Template Provider arrive at the pool.
    AtUpstream {
        source: usize,
        client: u64,
    },
    UpstreamReads {
        source: usize,
        client: u64,
    },
    UpstreamTimer {
        source: usize,
        epoch: u64,
    },
    /// A connection to a Template Provider breaks.
    Breaks {
        node: usize,
    },
    Crash,
    /// The pool is told to stop.
    Stopping,
    /// It has seen through what it had to.
    Stopped {
        epoch: u64,
    },
    Restart,
}

/// A connection between a miner and a process of the pool.
#[derive(Debug)]
struct Conn {
    miner: usize,
    server: Option<ServerSide>,
    client_open: bool,
    up: Pipe,
    down: Pipe,
    /// Bytes that the socket takes.
    window: usize,
    delay: (u64, u64),
    pool_reads: bool,
    miner_reads: bool,
}

/// See the module's documentation.
pub struct World {
    seed: u64,
    options: Options,
    now: Duration,
    end: Duration,
    next: u64,
    /// Boxed, since a tree moves its entries about.
    queue: BTreeMap<(Duration, u64), Box<Event>>,
    rng: Rng,
    checks: Checks,
    violation: Option<Violation>,
    trace: Trace,
    counters: Counters,
    nodes: Vec<Node>,
    /// What the nodes tell the pool's process themselves.
    direct: Vec<Option<Subscription>>,
    /// Connections to Template Providers, those that are gone but for their found blocks included.
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    /// Until when a node's Template Provider is down.
    provider_away: Vec<Duration>,
    /// The pool is told to stop in the moment of its next block.
    stop_at_block: bool,
    /// When the last report and the last command of each source arrive.
    source_lines: Vec<(Duration, Duration)>,
    process: Option<Process>,
    shards: usize,
    turn: usize,
    acknowledge: Acknowledge,
    disk: Disk,
    disk_line: Duration,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    miners: Vec<Miner>,
    places: Vec<Option<u64>>,
}

impl World {
    /// What follows from a seed.
    pub fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let count = rng.range(options.miners.0, options.miners.1);
        let seconds = rng.range(options.seconds.0, options.seconds.1).min(options.miner_seconds / count);
        let end = START + Duration::from_secs(seconds);
        let bits = easy_bits((options.hashes / options.blocks.max(1)).max(2).ilog2() + rng.below(2) as u32);
        let nodes = nodes(&mut rng, bits);
        let acknowledge = if rng.chance(600) { Acknowledge::Durable } else { Acknowledge::Received };
        let raw_path = nodes.iter().any(|node| node.capabilities().raw_blocks);
        let facts = Facts { raw_path, durable: acknowledge == Acknowledge::Durable };
        let hashrate = options.hashes as f32 / (count * seconds) as f32;
        let miners: Vec<_> = (0..count).map(|_| miner(&mut rng, hashrate)).collect();
        Self {
            seed,
            options,
            now: START,
            end,
            next: 0,
            queue: BTreeMap::new(),
            shards: rng.range(1, 2) as usize,
            acknowledge: match options.fault {
                Some(Fault::AckUnwritten) => Acknowledge::Received,
                _ => acknowledge,
            },
            turn: if rng.chance(700) { rng.range(1, 3) } else { 64 } as usize,
            rng,
            checks: Checks::new(facts),
            violation: None,
            trace: Trace::new(options.trace),
            counters: Counters::default(),
            source_lines: vec![(START, START); nodes.len()],
            direct: nodes.iter().map(|_| None).collect(),
            clients: BTreeMap::new(),
            next_client: 1,
            provider_away: vec![START; nodes.len()],
            stop_at_block: false,
            nodes,
            process: None,
            disk: Disk::default(),
            disk_line: START,
            conns: BTreeMap::new(),
            next_conn: 1,
            places: vec![None; miners.len()],
            miners,
        }
    }

    /// Lets it all happen.
    pub fn run(mut self) -> Outcome {
        self.plan();
        let over = self.end + DRAIN;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > over || self.violation.is_some() {
                break;
            }
            self.now = at;
            self.trace.step();
            self.step(*event);
            if self.trace.steps() > MAX_STEPS {
                self.fail("the world", "does not come to an end".into());
            }
        }
        self.observe(&Observation::Over);
        self.counters.worlds = 1;
        self.counters.durable_worlds = u64::from(self.acknowledge == Acknowledge::Durable);
        self.counters.acknowledged = self.checks.acknowledged;
        self.counters.steps = self.trace.steps();
        Outcome { seed: self.seed, trace: self.trace, counters: self.counters, violation: self.violation }
    }

    /// Draws what will happen by itself.
    fn plan(&mut self) {
        self.start_process();
        for node in 0..self.nodes.len() {
            self.later_random(1, 40_000, Event::External { node, depth: 0 });
            self.later_random(1, 9_000, Event::Fees { node });
            self.later_random(10_000, 400_000, Event::Stop { node });
            if self.nodes[node].character.remote {
                self.later_random(5_000, 100_000, Event::Breaks { node });
            }
        }
        if self.rng.chance(700) || self.options.fault == Some(Fault::BlockNotRestored) {
            let millis = (self.end - START).as_millis() as u64;
            self.later_random(millis / 4, millis, Event::Crash);
        }
        match self.rng.below(3) {
            0 => self.later_random(5_000, (self.end - START).as_millis() as u64, Event::Stopping),
            1 => self.stop_at_block = true,
            _ => {}
        }
        for miner in 0..self.miners.len() {
            self.later_random(0, 10_000, Event::Connect { miner });
            self.later_random(0, 5_000, Event::Hash { miner });
            self.later_random(5_000, 200_000, Event::Act { miner });
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Source { source, epoch, event } => self.source_reports(source, epoch, event),
            Event::Command { source, epoch, command } => self.command_arrives(source, epoch, command),
            Event::HubTimer { epoch } => self.hub_timer(epoch),
            Event::Stored { epoch, block, state } => self.stored(epoch, block, state),
            Event::Candidate { epoch, candidate } => self.candidate_arrives(epoch, *candidate),
            Event::Durable { epoch } => self.durable(epoch),
            Event::NoBytes { epoch, hash } => self.let_go(epoch, hash),
            Event::Broadcast { epoch, shard } => self.broadcast(epoch, shard),
            Event::Turn { epoch, shard, notice, rest } => self.turn(epoch, shard, &notice, rest),
            Event::Connect { miner } => self.connect(miner),
            Event::AtPool { conn } => self.at_pool(conn),
            Event::PoolReads { conn } => self.pool_reads(conn),
            Event::PoolEof { conn } => self.pool_eof(conn),
            Event::AtMiner { conn } => self.at_miner(conn),
            Event::MinerReads { conn } => self.miner_reads(conn),
            Event::MinerEof { conn } => self.miner_eof(conn),
            Event::Writable { conn } => self.settle(conn),
            Event::SessionTimer { conn } => self.session_timer(conn),
            Event::Hash { miner } => self.hash(miner),
            Event::Act { miner } => self.act(miner),
            Event::External { node, depth } => self.external(node, depth),
            Event::Fees { node } => self.fees(node),
            Event::Stop { node } => self.stop(node),
            Event::Start { node } => self.start(node),
            Event::Propagate { node, block } => self.propagate(node, &block),
            Event::Told { client, event } => self.told(client, event),
            Event::Asked { client, command } => self.asked(client, command),
            Event::AtProvider { client } => self.at_provider(client),
            Event::ProviderTimer { client } => self.provider_timer(client),
            Event::Dialled { source, epoch } => self.dialled(source, epoch),
            Event::AtUpstream { source, client } => self.at_upstream(source, client),
            Event::UpstreamReads { source, client } => self.upstream_reads(source, client),
            Event::UpstreamTimer { source, epoch } => self.upstream_timer(source, epoch),
            Event::Breaks { node } => self.breaks(node),
            Event::Crash => self.crash(),
            Event::Stopping => self.stopping(),
            Event::Stopped { epoch } => self.stopped(epoch),
            Event::Restart => self.start_process(),
        }
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.next += 1;
        self.queue.insert((at, self.next), Box::new(event));
    }

    /// After a random time between two numbers of milliseconds.
    fn later_random(&mut self, low: u64, high: u64, event: Event) {
        let at = self.now + self.rng.millis(low, high);
        self.at(at, event);
    }

    /// True until it is time to wind up.
    fn is_busy(&self) -> bool {
        self.now < self.end
    }

    fn unix(&self) -> u32 {
        self.now.as_secs() as u32
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        if self.violation.is_none()
            && let Err(violation) = self.checks.observe(self.now, observation)
        {
            self.violation = Some(violation);
        }
    }

    fn fail(&mut self, check: &'static str, what: String) {
        self.violation.get_or_insert(Violation { check, what });
    }

    fn note(&mut self, what: &'static str, who: u64, detail: u64) {
        self.trace.note(self.now, what, who, detail);
    }

    fn note_hash(&mut self, what: &'static str, who: u64, hash: &BlockHash) {
        self.note(what, who, short(hash));
    }
}

/// The first half of a block hash that is not all zeros, for the trace.
fn short(hash: &BlockHash) -> u64 {
    let bytes: &[u8; 32] = hash.as_ref();
    bytes.iter().take(6).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Compact target that one hash in 2^`bits` meets, about.
fn easy_bits(bits: u32) -> CompactTarget {
    let exponent = 256 - bits;
    // Three bytes of mantissa, whose top bit stays clear.
    let size = (exponent + 2).div_ceil(8);
    let mantissa = 1u32 << (exponent - 8 * (size - 3));
    CompactTarget::from_consensus(size << 24 | mantissa)
}

fn nodes(rng: &mut Rng, bits: CompactTarget) -> Vec<Node> {
    let count = rng.range(1, 2);
    // One takes whole blocks of the pool, but where the only one is behind a Template Provider.
    let raw = rng.below(count);
    let lone_remote = count == 1 && rng.chance(300);
    let time = START.as_secs() as u32 - 600;
    (0..count)
        .map(|index| {
            let remote = if index == raw { lone_remote } else { rng.chance(600) };
            let raw_blocks = index == raw || rng.chance(600);
            Node::new(bits, time, Character { prepares: rng.chance(700), raw_blocks, remote })
        })
        .collect()
}

fn miner(rng: &mut Rng, hashrate: f32) -> Miner {
    let habit = match rng.below(20) {
        0..=9 => Habit::Plain,
        10..=12 => Habit::SlowReader,
        13 | 14 => Habit::Late,
        15 | 16 => Habit::Repeats,
        17 => Habit::HalfOpen,
        _ => Habit::Hostile,
    };
    let channels = if rng.chance(700) { 1 } else { rng.range(2, 5) };
    let extended = (0..channels).map(|_| rng.chance(600)).collect();
    Miner::new(habit, hashrate, extended, rng.fork())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_targets_are_exact_powers() {
        for bits in 1..30 {
            let target = bitcoin::Target::from_compact(easy_bits(bits));
            assert_eq!(target.to_le_bytes().iter().map(|byte| byte.count_ones()).sum::<u32>(), 1, "{bits}");
            assert_eq!(easy_bits(bits), target.to_compact_lossy(), "{bits}");
        }
    }
}
