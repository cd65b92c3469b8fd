//! Found blocks, from the share that solved them until the chain has decided.
//!
//! A found block is handed to every source that can take it, as a solution to the source whose template it solves and as a
//! raw block to all that take one, and written to disk at the same time. What was not delivered is tried again whenever a
//! source comes up, a tip moves or [`RETRY_AFTER`] has passed, until each source has decided or the chain is
//! [`GIVE_UP_DEPTH`] blocks past it. One node's word is not the end: it may go and take the block along.
//!
//! ```text
//! Open ──> Accepted <──> Orphaned      Confirmed and, as deep, Orphaned are final.
//!  ├─────> Rejected        │           A tip that is the block itself overrules Rejected and Lost.
//!  └─────> Lost            v
//!          Accepted ──> Confirmed
//! ```
//!
//! How deep a block is, only nodes can tell (`docs/adr/0017-confirmations-come-from-nodes.md`): the one whose tip moved is asked.
//! Sans-io: the hub carries out what [`BlockBook`] returns.

mod depth;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bitcoin::{BlockHash, hashes::Hash};
use template_source::{Command, Solution, SubmitOutcome, SubmitPath, Tip};

/// Found blocks that are kept in memory, decided ones included; the oldest decided one makes room.
///
/// On regtest every other hash is a block, so there must be a bound; on a chain with value it is never reached.
pub const MAX_FOUND_BLOCKS: usize = 4096;

/// Blocks that are still offered to sources, each with up to 4 MB of transactions. The oldest accepted one makes room, or else the
/// oldest one, which is forgotten here; the files of both stay.
pub const MAX_OPEN_BLOCKS: usize = 128;

/// An undelivered block is offered again after this long.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Blocks that the chain may grow past a found one before it is offered to nobody any more.
pub const GIVE_UP_DEPTH: u32 = 6;

/// A block is final this deep unless told otherwise: as deep as its reward can be spent.
pub const CONFIRMATIONS: u32 = 100;

/// What Bitcoin Core says of a block when it does not have the one before (BIP 22).
const UNKNOWN_PARENT: &str = "prev-blk-not-found";

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
    /// Consensus-serialised block, once its transactions are known, and as long as it is offered.
    pub raw: Option<Arc<Vec<u8>>>,
    /// Indices of the sources that took it, or have had it as their tip.
    pub accepted_by: BTreeSet<usize>,
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
    /// So deep in the chain that it counts as final.
    Confirmed,
    /// A node took it, and the best chain goes without it.
    Orphaned,
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
            Self::Confirmed => "confirmed",
            Self::Orphaned => "orphaned",
            Self::Rejected(_) => "rejected",
            Self::Lost => "lost",
        }
    }

    /// Whether time will tell: what a new process has to take up.
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Open | Self::Accepted | Self::Orphaned)
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
    /// The block has a new state.
    Changed {
        /// The block, without its bytes.
        block: FoundBlock,
        /// Its state.
        state: BlockState,
    },
    /// A node told how deep the block is, and that is news.
    Deep {
        /// Hash of the block.
        hash: BlockHash,
        /// Depth in the chain; the tip is 1 deep. 0 when the chain goes without it.
        confirmations: u32,
    },
}

#[derive(Debug)]
struct Entry {
    block: FoundBlock,
    state: BlockState,
    /// It goes to sources that have not decided.
    offered: bool,
    /// Per source and way: in flight, failed, refused or taken.
    attempts: BTreeMap<(usize, Way), Attempt>,
    /// What a node told last.
    confirmations: u32,
    /// Nothing will change its state any more.
    is_final: bool,
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
    Accepted,
}

/// A source as the book sees it.
#[derive(Clone, Copy, Debug)]
struct SourceState {
    up: bool,
    raw_blocks: bool,
    /// Height of its tip; 0 until it told one.
    height: u32,
}

/// All found blocks and what was tried with them.
#[derive(Debug)]
pub struct BlockBook {
    sources: Vec<SourceState>,
    entries: BTreeMap<BlockHash, Entry>,
    /// Hashes in the order of their finds, for the bound.
    order: Vec<BlockHash>,
    /// Depth at which a block is final.
    confirmations: u32,
}

impl BlockBook {
    /// A book for sources that take raw blocks or do not, in the order of the configuration.
    pub fn new(raw_blocks: impl IntoIterator<Item = bool>) -> Self {
        let source = |raw_blocks| SourceState { up: false, raw_blocks, height: 0 };
        Self {
            sources: raw_blocks.into_iter().map(source).collect(),
            entries: BTreeMap::new(),
            order: Vec::new(),
            confirmations: CONFIRMATIONS,
        }
    }

    /// Calls blocks final at this depth; at least 1.
    pub fn set_confirmations(&mut self, confirmations: u32) {
        self.confirmations = confirmations.max(1);
    }

    /// All blocks, the oldest find first, with state and depth.
    pub fn blocks(&self) -> impl Iterator<Item = (&FoundBlock, &BlockState, u32)> {
        let entries = self.order.iter().filter_map(|hash| self.entries.get(hash));
        entries.map(|entry| (&entry.block, &entry.state, entry.confirmations))
    }

    /// Takes up a found block. Returns false, and does nothing, when it is known.
    pub fn found(&mut self, now: Duration, block: FoundBlock, actions: &mut Vec<Action>) -> bool {
        let hash = block.hash;
        if !self.insert(block, BlockState::Open) {
            return false;
        }
        // Submission first: the disk may be slow, and both happen at the same time.
        if let Some(entry) = self.entries.get_mut(&hash) {
            offer(entry, &self.sources, now, actions);
            actions.push(Action::Persist { block: entry.block.clone(), state: BlockState::Open });
        }
        true
    }

    /// Takes up a block that was undecided when the last process ended. Sources are offered it now, or when they come up.
    pub fn restore(&mut self, now: Duration, block: FoundBlock, state: BlockState, actions: &mut Vec<Action>) {
        let hash = block.hash;
        if self.insert(block, state)
            && let Some(entry) = self.entries.get_mut(&hash)
        {
            offer(entry, &self.sources, now, actions);
        }
    }

    fn insert(&mut self, block: FoundBlock, state: BlockState) -> bool {
        if self.entries.contains_key(&block.hash) {
            return false;
        }
        self.make_room();
        let hash = block.hash;
        let offered = state.is_undecided() && (state == BlockState::Open || block.raw.is_some());
        let attempts = BTreeMap::new();
        self.entries.insert(hash, Entry { block, state, offered, attempts, confirmations: 0, is_final: false });
        self.order.push(hash);
        true
    }

    /// Adds the raw block to a found one whose transactions were not known.
    pub fn complete(&mut self, now: Duration, hash: BlockHash, raw: Arc<Vec<u8>>, actions: &mut Vec<Action>) {
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        if entry.block.raw.is_none() {
            entry.block.raw = Some(raw);
            actions.push(Action::Persist { block: entry.block.clone(), state: entry.state.clone() });
            offer(entry, &self.sources, now, actions);
            if !entry.offered {
                entry.block.raw = None;
            }
        }
    }

    /// A source came up: it is offered what the chain has not gone past, also what it had taken before. A node that
    /// was killed may have lost its last blocks.
    pub fn source_up(&mut self, now: Duration, source: usize, actions: &mut Vec<Action>) {
        if let Some(state) = self.sources.get_mut(source) {
            *state = SourceState { up: true, height: 0, ..*state };
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

    /// A source answered a submission.
    pub fn submitted(
        &mut self,
        now: Duration,
        source: usize,
        hash: BlockHash,
        path: SubmitPath,
        outcome: SubmitOutcome,
        actions: &mut Vec<Action>,
    ) {
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        let way = match path {
            SubmitPath::Solution => Way::Solution,
            SubmitPath::RawBlock => Way::Raw,
        };
        let outcome = match outcome {
            // That is no verdict: the node may hear of the block before at any moment, and on a branch that is not its best.
            SubmitOutcome::Rejected(reason) if reason == UNKNOWN_PARENT => SubmitOutcome::Failed(reason),
            outcome => outcome,
        };
        let attempt = match &outcome {
            SubmitOutcome::Accepted => Attempt::Accepted,
            SubmitOutcome::Sent => Attempt::Sent,
            SubmitOutcome::Rejected(_) => Attempt::Refused,
            SubmitOutcome::Failed(_) => Attempt::Failed { at: now },
        };
        entry.attempts.insert((source, way), attempt);
        match outcome {
            SubmitOutcome::Accepted => accepted(entry, source, actions),
            SubmitOutcome::Sent | SubmitOutcome::Failed(_) => offer(entry, &self.sources, now, actions),
            SubmitOutcome::Rejected(reason) if entry.state == BlockState::Open => {
                let pending = entry.attempts.values().any(|attempt| *attempt != Attempt::Refused);
                let undelivered = self
                    .sources
                    .iter()
                    .enumerate()
                    .any(|(i, s)| s.raw_blocks && !entry.attempts.contains_key(&(i, Way::Raw)));
                if !pending && !undelivered {
                    change(entry, BlockState::Rejected(reason), actions);
                }
            }
            SubmitOutcome::Rejected(_) => {}
        }
    }

    /// A source moved to a new tip, to be built on at `next_height`.
    pub fn tip(&mut self, now: Duration, source: usize, tip: &Tip, next_height: u32, actions: &mut Vec<Action>) {
        if let Some(state) = self.sources.get_mut(source) {
            state.height = next_height.saturating_sub(1);
        }
        for entry in self.entries.values_mut() {
            let is_past = next_height > entry.block.height.saturating_add(GIVE_UP_DEPTH);
            if entry.block.hash == tip.prev_hash {
                accepted(entry, source, actions);
                entry.is_tip(actions);
            } else if is_past && entry.offered {
                entry.withdraw();
                if entry.state == BlockState::Open {
                    change(entry, BlockState::Lost, actions);
                }
            } else {
                if tip.prev_hash == entry.block.prev_hash {
                    // A node that did not know the block before this one does now.
                    let is_done = |attempt: &Attempt| !matches!(attempt, Attempt::Refused | Attempt::Failed { .. });
                    entry.attempts.retain(|(at, _), attempt| *at != source || is_done(attempt));
                }
                offer(entry, &self.sources, now, actions);
            }
        }
        self.ask(source, actions);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let offered = self.entries.values().filter(|entry| entry.offered);
        offered
            .flat_map(|entry| entry.attempts.values())
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
            // A source that is down has its turn when it comes up, one that has the block by another way has none; forget
            // the failure so that no timer spins on it.
            entry.attempts.retain(|_, attempt| !matches!(attempt, Attempt::Failed { at } if *at + RETRY_AFTER <= now));
        }
    }

    /// Number of blocks in memory.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when no block is in memory.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of blocks that are still offered to sources.
    pub fn offered(&self) -> usize {
        self.entries.values().filter(|entry| entry.offered).count()
    }

    /// Number of blocks in `state`'s word; for tests and statistics.
    pub fn count(&self, word: &str) -> usize {
        self.entries.values().filter(|entry| entry.state.word() == word).count()
    }

    fn make_room(&mut self) {
        if self.offered() >= MAX_OPEN_BLOCKS {
            let accepted = self.position(|entry| entry.offered && entry.state != BlockState::Open);
            if let Some(entry) = accepted.and_then(|index| self.entries.get_mut(&self.order[index])) {
                entry.withdraw();
            } else if let Some(index) = self.position(|entry| entry.offered) {
                // The oldest open one has the most hopeless place in the chain.
                self.forget(index);
            }
        }
        if self.entries.len() >= MAX_FOUND_BLOCKS {
            let decided = self.position(|entry| entry.is_final || !entry.state.is_undecided());
            let index = decided.or_else(|| self.position(|entry| !entry.offered)).unwrap_or(0);
            self.forget(index);
        }
    }

    /// The oldest find that `wanted` likes.
    fn position(&self, wanted: impl Fn(&Entry) -> bool) -> Option<usize> {
        self.order.iter().position(|hash| self.entries.get(hash).is_some_and(&wanted))
    }

    fn forget(&mut self, index: usize) {
        let hash = self.order.remove(index);
        self.entries.remove(&hash);
    }
}

impl Entry {
    /// Offers it to nobody any more. The file has the bytes.
    fn withdraw(&mut self) {
        self.offered = false;
        self.block.raw = None;
    }
}

/// Sends the block every way that has not been tried, or failed long enough ago, to sources that do not have it.
fn offer(entry: &mut Entry, sources: &[SourceState], now: Duration, actions: &mut Vec<Action>) {
    if !entry.offered {
        return;
    }
    let ready = |attempt: Option<&Attempt>| match attempt {
        None => true,
        Some(Attempt::Failed { at }) => *at + RETRY_AFTER <= now,
        Some(_) => false,
    };
    for (source, state) in sources.iter().enumerate().filter(|(_, state)| state.up) {
        if [Way::Solution, Way::Raw].iter().any(|way| entry.attempts.get(&(source, *way)) == Some(&Attempt::Accepted)) {
            continue;
        }
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

/// A source has the block. Overrules whatever was thought of it, but for what is final.
fn accepted(entry: &mut Entry, source: usize, actions: &mut Vec<Action>) {
    let is_news = entry.block.accepted_by.insert(source);
    match entry.state {
        BlockState::Open | BlockState::Rejected(_) | BlockState::Lost => change(entry, BlockState::Accepted, actions),
        _ if is_news => actions.push(Action::Persist { block: entry.block.clone(), state: entry.state.clone() }),
        _ => {}
    }
}

fn change(entry: &mut Entry, state: BlockState, actions: &mut Vec<Action>) {
    entry.state = state.clone();
    actions.push(Action::Persist { block: entry.block.clone(), state: state.clone() });
    actions.push(Action::Changed { block: FoundBlock { raw: None, ..entry.block.clone() }, state });
}

/// The hash of a serialised block header, or of a block, from its first 80 bytes; `None` when it is shorter.
pub fn header_hash(block: &[u8]) -> Option<BlockHash> {
    block.get(..80).map(|header| BlockHash::from_raw_hash(bitcoin::hashes::sha256d::Hash::hash(header)))
}
