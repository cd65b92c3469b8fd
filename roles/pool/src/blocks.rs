//! Found blocks, from the share that solved them until the chain has decided.
//!
//! A found block is handed to every source that can take it, as a solution to the source whose template it solves and as a
//! raw block to all that take one, and written to disk at the same time. What was not delivered is tried again whenever a
//! source comes up, a tip moves or [`RETRY_AFTER`] has passed, until a node has decided or the chain is
//! [`GIVE_UP_DEPTH`] blocks past it. Sans-io: the hub carries out what [`BlockBook`] returns.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bitcoin::{BlockHash, hashes::Hash};
use template_source::{Command, Solution, SubmitOutcome, SubmitPath, Tip};

/// Found blocks that are kept in memory, decided ones included; the oldest decided one makes room.
///
/// On regtest every other hash is a block, so there must be a bound; on a chain with value it is never reached.
pub const MAX_FOUND_BLOCKS: usize = 4096;

/// Undecided blocks that are kept in memory, each with up to 4 MB of transactions; the oldest makes room, its file stays.
pub const MAX_OPEN_BLOCKS: usize = 128;

/// An undelivered block is offered again after this long.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Blocks that the chain may grow past a found one before it is given up.
pub const GIVE_UP_DEPTH: u32 = 6;

/// A block that a miner found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// Hash of the block.
    pub hash: BlockHash,
    /// Height in the chain.
    pub height: u32,
    /// The block that it builds on.
    pub prev_hash: BlockHash,
    /// User identity of the channel.
    pub finder: String,
    /// Unix seconds of the find.
    pub found_at: u64,
    /// The source whose template was solved; absent after a restart.
    pub origin: Option<Origin>,
    /// Consensus-serialised block, once its transactions are known.
    pub raw: Option<Arc<Vec<u8>>>,
}

/// Where the solved template came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index of the source.
    pub source: usize,
    /// The solution to hand in.
    pub solution: Solution,
}

/// What became of a found block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// No node has decided yet.
    Open,
    /// A node took it.
    Accepted,
    /// Every node that was asked refused it; the last reason.
    Rejected(String),
    /// The chain went on without it before any node could be reached.
    Lost,
}

impl BlockState {
    /// The word that stands for the state in files and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Rejected(_) => "rejected",
            Self::Lost => "lost",
        }
    }
}

/// What the hub has to do for the book.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a command to a source.
    Command {
        /// Index of the source.
        source: usize,
        /// What to send.
        command: Command,
    },
    /// Write the block's file anew; also when only the state changed.
    Persist {
        /// The block.
        block: FoundBlock,
        /// Its state.
        state: BlockState,
    },
}

#[derive(Debug)]
struct Entry {
    block: FoundBlock,
    state: BlockState,
    /// Per source and way: in flight, failed or refused.
    attempts: BTreeMap<(usize, Way), Attempt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Solution,
    Raw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    InFlight,
    /// Handed over without an answer to come.
    Sent,
    Failed {
        at: Duration,
    },
    Refused,
}

/// A source as the book sees it.
#[derive(Clone, Copy, Debug)]
struct SourceState {
    up: bool,
    raw_blocks: bool,
}

/// All found blocks and what was tried with them.
#[derive(Debug)]
pub struct BlockBook {
    sources: Vec<SourceState>,
    entries: BTreeMap<BlockHash, Entry>,
    /// Hashes in the order of their finds, for the bound.
    order: Vec<BlockHash>,
}

impl BlockBook {
    /// A book for sources that take raw blocks or do not, in the order of the configuration.
    pub fn new(raw_blocks: impl IntoIterator<Item = bool>) -> Self {
        let sources = raw_blocks.into_iter().map(|raw_blocks| SourceState { up: false, raw_blocks }).collect();
        Self { sources, entries: BTreeMap::new(), order: Vec::new() }
    }

    /// Takes up a found block. Returns false, and does nothing, when it is known.
    pub fn found(&mut self, now: Duration, block: FoundBlock, actions: &mut Vec<Action>) -> bool {
        if self.entries.contains_key(&block.hash) {
            return false;
        }
        self.make_room();
        let hash = block.hash;
        let entry = Entry { block, state: BlockState::Open, attempts: BTreeMap::new() };
        // Submission first: the disk may be slow, and both happen at the same time.
        let entry = self.entries.entry(hash).or_insert(entry);
        self.order.push(hash);
        offer(entry, &self.sources, now, actions);
        actions.push(Action::Persist { block: entry.block.clone(), state: BlockState::Open });
        true
    }

    /// Adds the raw block to a found one whose transactions were not known.
    pub fn complete(&mut self, now: Duration, hash: BlockHash, raw: Arc<Vec<u8>>, actions: &mut Vec<Action>) {
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        if entry.block.raw.is_none() {
            entry.block.raw = Some(raw);
            actions.push(Action::Persist { block: entry.block.clone(), state: entry.state.clone() });
            offer(entry, &self.sources, now, actions);
        }
    }

    /// A source came up: what it has not decided is offered to it.
    pub fn source_up(&mut self, now: Duration, source: usize, actions: &mut Vec<Action>) {
        if let Some(state) = self.sources.get_mut(source) {
            state.up = true;
        }
        for entry in self.entries.values_mut() {
            // What was in flight, or only sent, when the connection broke may have got lost.
            entry.attempts.retain(|(at, _), attempt| *at != source || *attempt == Attempt::Refused);
            offer(entry, &self.sources, now, actions);
        }
    }

    /// A source went down.
    pub fn source_down(&mut self, source: usize) {
        if let Some(state) = self.sources.get_mut(source) {
            state.up = false;
        }
    }

    /// A source answered a submission. Returns the block when this decided it.
    pub fn submitted(
        &mut self,
        now: Duration,
        source: usize,
        hash: BlockHash,
        path: SubmitPath,
        outcome: SubmitOutcome,
        actions: &mut Vec<Action>,
    ) -> Option<(FoundBlock, BlockState)> {
        let entry = self.entries.get_mut(&hash)?;
        let way = match path {
            SubmitPath::Solution => Way::Solution,
            SubmitPath::RawBlock => Way::Raw,
        };
        let attempt = match &outcome {
            SubmitOutcome::Accepted | SubmitOutcome::Sent => Attempt::Sent,
            SubmitOutcome::Rejected(_) => Attempt::Refused,
            SubmitOutcome::Failed(_) => Attempt::Failed { at: now },
        };
        entry.attempts.insert((source, way), attempt);
        match outcome {
            SubmitOutcome::Accepted => decide(entry, BlockState::Accepted, actions),
            SubmitOutcome::Sent | SubmitOutcome::Failed(_) => {
                offer(entry, &self.sources, now, actions);
                None
            }
            SubmitOutcome::Rejected(reason) => {
                let pending = entry.attempts.values().any(|attempt| *attempt != Attempt::Refused);
                let undelivered = self
                    .sources
                    .iter()
                    .enumerate()
                    .any(|(i, s)| s.raw_blocks && !entry.attempts.contains_key(&(i, Way::Raw)));
                if pending || undelivered { None } else { decide(entry, BlockState::Rejected(reason), actions) }
            }
        }
    }

    /// A source moved to a new tip, to be built on at `next_height`. Returns blocks that this decided.
    pub fn tip(
        &mut self,
        now: Duration,
        tip: &Tip,
        next_height: u32,
        actions: &mut Vec<Action>,
    ) -> Vec<(FoundBlock, BlockState)> {
        let mut decided = Vec::new();
        for entry in self.entries.values_mut() {
            if entry.block.hash == tip.prev_hash {
                decided.extend(decide(entry, BlockState::Accepted, actions));
            } else if entry.state == BlockState::Open && next_height > entry.block.height.saturating_add(GIVE_UP_DEPTH)
            {
                decided.extend(decide(entry, BlockState::Lost, actions));
            } else {
                offer(entry, &self.sources, now, actions);
            }
        }
        decided
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let open = self.entries.values().filter(|entry| entry.state == BlockState::Open);
        open.flat_map(|entry| entry.attempts.values())
            .filter_map(|attempt| match attempt {
                Attempt::Failed { at } => Some(*at + RETRY_AFTER),
                _ => None,
            })
            .min()
    }

    /// Offers again what failed [`RETRY_AFTER`] ago.
    pub fn handle_timeout(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for entry in self.entries.values_mut() {
            offer(entry, &self.sources, now, actions);
            // A source that is down has its turn when it comes up; forget the failure so that no timer spins on it.
            let sources = &self.sources;
            entry.attempts.retain(|(source, _), attempt| {
                !matches!(attempt, Attempt::Failed { at } if *at + RETRY_AFTER <= now)
                    || sources.get(*source).is_some_and(|s| s.up)
            });
        }
    }

    /// Number of blocks in `state`'s word; for tests and statistics.
    pub fn count(&self, word: &str) -> usize {
        self.entries.values().filter(|entry| entry.state.word() == word).count()
    }

    fn make_room(&mut self) {
        let is_open = |hash: &BlockHash| self.entries.get(hash).is_some_and(|e| e.state == BlockState::Open);
        let index = if self.count("open") >= MAX_OPEN_BLOCKS {
            // The oldest open one has the most hopeless place in the chain.
            self.order.iter().position(is_open)
        } else if self.entries.len() >= MAX_FOUND_BLOCKS {
            self.order.iter().position(|hash| !is_open(hash))
        } else {
            None
        };
        if let Some(index) = index {
            let hash = self.order.remove(index);
            self.entries.remove(&hash);
        }
    }
}

/// Sends the block every way that has not been tried, or failed long enough ago.
fn offer(entry: &mut Entry, sources: &[SourceState], now: Duration, actions: &mut Vec<Action>) {
    if entry.state != BlockState::Open {
        return;
    }
    let ready = |attempt: Option<&Attempt>| match attempt {
        None => true,
        Some(Attempt::Failed { at }) => *at + RETRY_AFTER <= now,
        Some(_) => false,
    };
    for (source, state) in sources.iter().enumerate().filter(|(_, state)| state.up) {
        if let Some(origin) = entry.block.origin.as_ref().filter(|origin| origin.source == source)
            && ready(entry.attempts.get(&(source, Way::Solution)))
        {
            entry.attempts.insert((source, Way::Solution), Attempt::InFlight);
            actions.push(Action::Command { source, command: Command::SubmitSolution(origin.solution.clone()) });
        }
        if let Some(raw) = entry.block.raw.as_ref().filter(|_| state.raw_blocks)
            && ready(entry.attempts.get(&(source, Way::Raw)))
        {
            entry.attempts.insert((source, Way::Raw), Attempt::InFlight);
            let command = Command::SubmitBlock { hash: entry.block.hash, block: raw.clone() };
            actions.push(Action::Command { source, command });
        }
    }
}

fn decide(entry: &mut Entry, state: BlockState, actions: &mut Vec<Action>) -> Option<(FoundBlock, BlockState)> {
    // A block that was refused or given up and then shows up as the tip is accepted after all.
    let change = entry.state == BlockState::Open || (state == BlockState::Accepted && entry.state != state);
    if !change {
        return None;
    }
    entry.state = state.clone();
    actions.push(Action::Persist { block: entry.block.clone(), state: state.clone() });
    // The file has the transactions; nobody submits them again.
    let decided = FoundBlock { raw: entry.block.raw.take(), ..entry.block.clone() };
    Some((decided, state))
}

/// The hash of a serialised block header, or of a block, from its first 80 bytes; `None` when it is shorter.
pub fn header_hash(block: &[u8]) -> Option<BlockHash> {
    block.get(..80).map(|header| BlockHash::from_raw_hash(bitcoin::hashes::sha256d::Hash::hash(header)))
}

#[cfg(test)]
mod tests {
    use template_source::TemplateId;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn hash(n: u8) -> BlockHash {
        BlockHash::from_byte_array([n; 32])
    }

    fn block(n: u8, raw: bool) -> FoundBlock {
        let solution = Solution {
            template_id: TemplateId(7),
            hash: hash(n),
            version: 0,
            header_timestamp: 0,
            header_nonce: 0,
            coinbase_tx: vec![],
        };
        FoundBlock {
            hash: hash(n),
            height: 100,
            prev_hash: hash(0),
            finder: "alice".into(),
            found_at: 0,
            origin: Some(Origin { source: 0, solution }),
            raw: raw.then(|| Arc::new(vec![n])),
        }
    }

    fn tip(n: u8) -> Tip {
        Tip { template_id: TemplateId(1), prev_hash: hash(n), header_timestamp: 0, nbits: 0, target: [0; 32] }
    }

    fn ways(actions: &[Action]) -> Vec<(usize, &'static str)> {
        actions
            .iter()
            .map(|action| match action {
                Action::Command { source, command: Command::SubmitSolution(_) } => (*source, "solution"),
                Action::Command { source, .. } => (*source, "raw"),
                Action::Persist { state, .. } => (usize::MAX, state.word()),
            })
            .collect()
    }

    fn book(up: &[usize]) -> BlockBook {
        let mut book = BlockBook::new([true, true]);
        for source in up {
            book.source_up(NOW, *source, &mut Vec::new());
        }
        book
    }

    #[test]
    fn goes_to_every_source_and_to_disk_at_once() {
        let (mut book, mut actions) = (book(&[0, 1]), Vec::new());
        book.found(NOW, block(1, true), &mut actions);
        assert_eq!(ways(&actions), [(0, "solution"), (0, "raw"), (1, "raw"), (usize::MAX, "open")]);
        actions.clear();
        book.found(NOW, block(1, true), &mut actions);
        assert_eq!(actions, [], "one candidate is submitted once");
    }

    #[test]
    fn raw_block_follows_when_its_transactions_arrive() {
        let (mut book, mut actions) = (book(&[0, 1]), Vec::new());
        book.found(NOW, block(1, false), &mut actions);
        assert_eq!(ways(&actions), [(0, "solution"), (usize::MAX, "open")]);
        actions.clear();
        book.complete(NOW, hash(1), Arc::new(vec![1]), &mut actions);
        assert_eq!(ways(&actions), [(usize::MAX, "open"), (0, "raw"), (1, "raw")]);
    }

    #[test]
    fn a_failed_solution_is_retried_and_the_raw_block_decides() {
        let (mut book, mut actions) = (book(&[0]), Vec::new());
        book.found(NOW, block(1, true), &mut actions);
        actions.clear();
        let failed = SubmitOutcome::Failed("gone".into());
        assert_eq!(book.submitted(NOW, 0, hash(1), SubmitPath::Solution, failed, &mut actions), None);
        assert_eq!(actions, [], "not before its time");
        assert_eq!(book.poll_timeout(), Some(NOW + RETRY_AFTER));
        book.handle_timeout(NOW + RETRY_AFTER, &mut actions);
        assert_eq!(ways(&actions), [(0, "solution")]);
        let decided = book.submitted(NOW, 0, hash(1), SubmitPath::RawBlock, SubmitOutcome::Accepted, &mut actions);
        assert_eq!(decided.unwrap().1, BlockState::Accepted);
        assert_eq!(book.poll_timeout(), None);
    }

    #[test]
    fn waits_for_a_node_that_is_gone() {
        let (mut book, mut actions) = (book(&[]), Vec::new());
        book.found(NOW, block(1, true), &mut actions);
        assert_eq!(ways(&actions), [(usize::MAX, "open")]);
        actions.clear();
        book.source_up(NOW, 1, &mut actions);
        assert_eq!(ways(&actions), [(1, "raw")]);
        // The connection breaks before the answer: offered again.
        book.source_down(1);
        actions.clear();
        book.source_up(NOW, 1, &mut actions);
        assert_eq!(ways(&actions), [(1, "raw")]);
    }

    #[test]
    fn rejected_only_when_all_ways_are_refused() {
        let (mut book, mut actions) = (book(&[0, 1]), Vec::new());
        book.found(NOW, block(1, true), &mut actions);
        let refused = || SubmitOutcome::Rejected("high-hash".into());
        assert_eq!(book.submitted(NOW, 0, hash(1), SubmitPath::Solution, refused(), &mut actions), None);
        assert_eq!(book.submitted(NOW, 0, hash(1), SubmitPath::RawBlock, refused(), &mut actions), None);
        let decided = book.submitted(NOW, 1, hash(1), SubmitPath::RawBlock, refused(), &mut actions);
        assert_eq!(decided.unwrap().1, BlockState::Rejected("high-hash".into()));
        // And a tip that is this very block has the last word.
        let decided = book.tip(NOW, &tip(1), 101, &mut actions);
        assert_eq!(decided[0].1, BlockState::Accepted);
    }

    #[test]
    fn the_tip_decides_where_the_protocol_has_no_answer() {
        let (mut book, mut actions) = (book(&[0]), Vec::new());
        book.found(NOW, block(1, false), &mut actions);
        assert_eq!(book.submitted(NOW, 0, hash(1), SubmitPath::Solution, SubmitOutcome::Sent, &mut actions), None);
        assert_eq!(book.tip(NOW, &tip(9), 100, &mut actions), []);
        assert_eq!(book.tip(NOW, &tip(1), 101, &mut actions).len(), 1);
        assert_eq!(book.count("accepted"), 1);
    }

    #[test]
    fn is_given_up_when_the_chain_is_far_past_it() {
        let (mut book, mut actions) = (book(&[]), Vec::new());
        book.found(NOW, block(1, true), &mut actions);
        assert_eq!(book.tip(NOW, &tip(9), 100 + GIVE_UP_DEPTH, &mut actions), []);
        let decided = book.tip(NOW, &tip(9), 101 + GIVE_UP_DEPTH, &mut actions);
        assert_eq!(decided[0].1, BlockState::Lost);
    }

    #[test]
    fn the_book_is_bounded_and_drops_decided_blocks_first() {
        let (mut book, mut actions) = (book(&[0]), Vec::new());
        let nth = |n: usize| BlockHash::from_byte_array(std::array::from_fn(|i| (n >> (8 * (i % 2))) as u8));
        for n in 0..MAX_OPEN_BLOCKS + 10 {
            book.found(NOW, FoundBlock { hash: nth(n), ..block(0, true) }, &mut actions);
        }
        assert_eq!(book.count("open"), MAX_OPEN_BLOCKS);
        for n in 10..MAX_FOUND_BLOCKS + 20 {
            book.found(NOW, FoundBlock { hash: nth(n), ..block(0, true) }, &mut actions);
            book.submitted(NOW, 0, nth(n), SubmitPath::RawBlock, SubmitOutcome::Accepted, &mut actions);
        }
        assert_eq!(book.count("open"), 0);
        assert_eq!(book.count("accepted"), MAX_FOUND_BLOCKS);
        assert!(book.entries.values().all(|entry| entry.block.raw.is_none()), "decided blocks hold no transactions");
    }
}
