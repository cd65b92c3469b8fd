//! The share ledger in the pool: what sessions record, and how it gets to `share_ledger`.
//!
//! A session hands a [`Record`] for each accepted share to its shard, which gives them to a [`LedgerJournal`] at the end of
//! the turn. That one looks up whose they are and appends them. When the ledger says that they are on disk, the shard tells the
//! session, and the session acknowledges. While the ledger can not write, shares wait, up to the shard's bound
//! (`stratum_runtime::journal::UNDURABLE_RECORDS`), and mining goes on.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bitcoin::{BlockHash, Transaction, consensus::deserialize, hashes::Hash};
use roles_logic_sv2::share::{BlockCandidate, RejectReason};
use share_ledger::{
    BlockEvent, BlockStep, Difficulty, Health, Queue, Rejects, Share, ShareHash, ShareLedger, Timestamp, Work, WorkerId,
};
use stratum_runtime::journal::{Journal, Position, Progress, UNDURABLE_RECORDS};
use template_source::SubmitOutcome;
use tokio::sync::watch;

use crate::{blocks::BlockState, hub::PoolEvent, payouts::POOL_ACCOUNT};

/// What a record takes in the log at the most, about: a refusal with its reason.
const MAX_RECORD_BYTES: usize = 112;

// The shards stop before the ledger's queue is full, so that appending never fails.
const _: () = assert!(2 * UNDURABLE_RECORDS * MAX_RECORD_BYTES <= share_ledger::DEFAULT_QUEUE_BYTES);

/// Who is credited: a device of an account.
#[derive(Debug)]
pub struct Worker {
    account: String,
    name: String,
    /// The ledger's number for it, once it has an accepted share: names without work take no space there.
    id: OnceLock<WorkerId>,
}

impl Worker {
    /// Without a number so far.
    pub fn new(account: String, name: String) -> Self {
        Self { account, name, id: OnceLock::new() }
    }

    /// The account's name; [`POOL_ACCOUNT`] for nobody's.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The device's name within the account; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Account and device, for people.
impl std::fmt::Display for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&*self.account, &*self.name) {
            (account, "") => f.write_str(account),
            (POOL_ACCOUNT, name) => f.write_str(name),
            (account, name) => write!(f, "{account}.{name}"),
        }
    }
}

/// What a session has recorded.
#[derive(Clone, Debug)]
pub enum Record {
    /// An accepted share; it is answered when the record is durable.
    Share {
        /// Whose it is.
        worker: Arc<Worker>,
        /// Since the unix epoch.
        at: Duration,
        /// What it is credited with.
        work: u128,
        /// Hash of its header.
        hash: BlockHash,
    },
    /// Refused shares of some time.
    Rejects {
        /// Whose they are; nobody's when they were for no channel.
        worker: Option<Arc<Worker>>,
        /// Since the unix epoch.
        at: Duration,
        /// Why.
        reason: &'static str,
        /// How many.
        count: u32,
    },
}

/// A queue of the ledger as the journal of one shard. Until the ledger is [open](Self::open), records wait in memory, within the
/// shard's bounds.
pub struct LedgerJournal {
    /// One shard's, so that nobody waits for it.
    appending: Mutex<Appending>,
    progress: watch::Sender<Progress>,
}

enum Appending {
    Waiting { records: Vec<Record>, given: Position },
    Open(Open),
}

struct Open {
    ledger: Arc<dyn ShareLedger>,
    queue: Box<dyn Queue>,
    /// Kept for its room.
    records: Vec<share_ledger::Record>,
    /// Whom work counts for when the ledger takes no more accounts.
    fallback: WorkerId,
    /// Positions that were given out before the ledger's own.
    before: Position,
}

impl Default for LedgerJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl LedgerJournal {
    /// Without a ledger yet.
    pub fn new() -> Self {
        let appending = Mutex::new(Appending::Waiting { records: Vec::new(), given: 0 });
        Self { appending, progress: watch::Sender::default() }
    }

    /// Appends what has waited, and from now on goes on in the ledger. Only the first ledger counts.
    pub fn open(&self, ledger: Arc<dyn ShareLedger>, fallback: WorkerId) {
        let mut appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let Appending::Waiting { records, given } = &mut *appending else { return };
        let progress = ledger.progress();
        let mut open = Open { queue: ledger.queue(), ledger, records: Vec::new(), fallback, before: *given };
        // What has waited is durable when the last of it is.
        let first = if records.is_empty() { 0 } else { open.append(records) };
        follow(progress, first, open.before, self.progress.clone());
        *appending = Appending::Open(open);
    }
}

impl Open {
    /// Returns the position in the ledger.
    fn append(&mut self, records: &mut Vec<Record>) -> Position {
        let mut converted = std::mem::take(&mut self.records);
        converted.clear();
        converted.extend(records.drain(..).map(|record| self.convert(record)));
        let position = match self.queue.append(&converted) {
            Ok(position) => position.0,
            Err(error) => {
                // What the shards let through fits the queue. If it ever did not, nothing must be acknowledged.
                tracing::error!(records = converted.len(), "shares are not recorded and stay unanswered: {error}");
                Position::MAX
            }
        };
        self.records = converted;
        position
    }

    fn id(&self, worker: &Worker) -> WorkerId {
        *worker.id.get_or_init(|| {
            self.ledger.worker(&worker.account, &worker.name).unwrap_or_else(|error| {
                tracing::error!(%worker, "work is credited to the pool: {error}");
                self.fallback
            })
        })
    }

    fn convert(&self, record: Record) -> share_ledger::Record {
        match record {
            Record::Share { worker, at, work, hash } => {
                let hash = hash.to_byte_array();
                let (worker, reached) = (self.id(&worker), Difficulty::of_hash(&hash));
                Share { at: timestamp(at), worker, work: Work(work), hash: ShareHash::of(&hash), reached }.into()
            }
            Record::Rejects { worker, at, reason, count } => {
                let worker = worker.and_then(|worker| worker.id.get().copied()).unwrap_or(WorkerId::NOBODY);
                Rejects { at: timestamp(at), worker, reason: reason.into(), count: count.into() }.into()
            }
        }
    }
}

impl Journal<Record> for LedgerJournal {
    fn append(&self, records: &mut Vec<Record>) -> Position {
        let mut appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *appending {
            Appending::Waiting { records: waiting, given } => {
                *given += records.len() as Position;
                waiting.append(records);
                *given
            }
            Appending::Open(open) => open.append(records).saturating_add(open.before),
        }
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

/// The ledger's progress in a shard's terms, for as long as the ledger lives: nothing is durable before the ledger's position
/// `first`, and the shard's positions are `before` ahead.
///
/// A ledger that can not write does not count as failed: shares are taken and wait until it can, up to the shards' bound.
fn follow(
    mut ledger: watch::Receiver<share_ledger::Progress>,
    first: Position,
    before: Position,
    journal: watch::Sender<Progress>,
) {
    tokio::spawn(async move {
        loop {
            let durable = ledger.borrow_and_update().durable.0;
            if durable >= first {
                let durable = durable.saturating_add(before);
                journal.send_if_modified(|known| std::mem::replace(&mut known.durable, durable) != durable);
            }
            if ledger.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Calls `tell` with each change of the ledger's health.
pub fn watch_health(mut health: watch::Receiver<Health>, tell: impl Fn(Option<String>) + Send + 'static) {
    tokio::spawn(async move {
        let mut was_failing = false;
        loop {
            let reason = match &*health.borrow_and_update() {
                Health::Ok => None,
                Health::Failing { reason, .. } => Some(reason.clone()),
            };
            if reason.is_some() || was_failing {
                was_failing = reason.is_some();
                tell(reason);
            }
            if health.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Writes the life of found blocks down.
pub struct BlockLog {
    ledger: Arc<dyn ShareLedger>,
    queue: Box<dyn Queue>,
    /// The sources as the configuration names them.
    nodes: Vec<String>,
    /// Heights of blocks whose steps may come; the oldest makes room.
    heights: std::collections::VecDeque<(BlockHash, u32)>,
}

/// Blocks whose height is remembered for their later steps.
const MAX_HEIGHTS: usize = 4_096;

impl BlockLog {
    /// For sources with these names.
    pub fn new(ledger: Arc<dyn ShareLedger>, nodes: Vec<String>) -> Self {
        let queue = ledger.queue();
        Self { ledger, queue, nodes, heights: std::collections::VecDeque::new() }
    }

    /// Takes note of a block from before the restart.
    pub fn remember(&mut self, hash: BlockHash, height: u32) {
        if self.heights.len() >= MAX_HEIGHTS {
            self.heights.pop_front();
        }
        self.heights.push_back((hash, height));
    }

    /// A share solved a block that was not known.
    pub fn found(&mut self, now: Duration, height: u32, candidate: &BlockCandidate, worker: &Worker) {
        self.remember(candidate.hash, height);
        let id = match worker.id.get() {
            Some(id) => *id,
            // A block counts for its finder even if the share that found it was refused.
            None => self.ledger.worker(&worker.account, &worker.name).unwrap_or(WorkerId::NOBODY),
        };
        let coinbase: Result<Transaction, _> = deserialize(&candidate.coinbase_tx());
        let outputs = coinbase.map(|coinbase| coinbase.output).unwrap_or_default();
        let value = outputs.iter().fold(0, |sum: u64, output| sum.saturating_add(output.value.to_sat()));
        let reached = Difficulty::of_hash(candidate.hash.as_byte_array());
        self.append(now, candidate.hash, BlockStep::Found { worker: id, value, reached });
    }

    /// What the hub told of a block.
    pub fn note(&mut self, now: Duration, event: &PoolEvent) {
        let node = |source: &usize| self.nodes.get(*source).cloned().unwrap_or_default();
        let (hash, step) = match event {
            PoolEvent::BlockSubmitted { hash, source, .. } => (*hash, BlockStep::Submitted { node: node(source) }),
            PoolEvent::BlockAnswered { hash, source, outcome, .. } => match outcome {
                SubmitOutcome::Accepted => (*hash, BlockStep::Accepted { node: node(source) }),
                SubmitOutcome::Rejected(reason) => {
                    (*hash, BlockStep::Rejected { node: node(source), reason: reason.clone() })
                }
                _ => return,
            },
            PoolEvent::BlockDecided(block, BlockState::Orphaned) => (block.hash, BlockStep::Orphaned),
            PoolEvent::BlockDecided(block, BlockState::Lost) => (block.hash, BlockStep::Lost),
            PoolEvent::BlockDepth { hash, confirmations } if *confirmations > 0 => {
                (*hash, BlockStep::Confirmed { depth: *confirmations })
            }
            _ => return,
        };
        self.append(now, hash, step);
    }

    fn append(&self, now: Duration, hash: BlockHash, step: BlockStep) {
        let Some((_, height)) = self.heights.iter().rev().find(|(known, _)| *known == hash) else { return };
        let hash = share_ledger::BlockHash(hash.to_byte_array());
        let event = BlockEvent { at: timestamp(now), hash, height: *height, step };
        if let Err(error) = self.queue.append(&[event.into()]) {
            tracing::error!(%hash, "a block's life is not recorded: {error}");
        }
    }
}

/// Of the log of blocks there is nothing to see.
impl std::fmt::Debug for BlockLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockLog").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

fn timestamp(at: Duration) -> Timestamp {
    Timestamp(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
}

/// Counts of refused shares by reason.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RejectCounts([u32; RejectReason::ALL.len()]);

impl RejectCounts {
    /// One more. True for the first one.
    pub fn count(&mut self, reason: RejectReason) -> bool {
        let first = self.0.iter().all(|count| *count == 0);
        // The reasons are listed in their order.
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
        first
    }

    /// Takes out what there is.
    pub fn take(&mut self) -> impl Iterator<Item = (RejectReason, u32)> + use<> {
        RejectReason::ALL.into_iter().zip(std::mem::take(&mut self.0)).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use share_ledger::{Config, Ledger, Reader};

    use super::*;

    fn share(worker: &Arc<Worker>, n: u8) -> Record {
        let hash = BlockHash::from_byte_array([n; 32]);
        Record::Share { worker: worker.clone(), at: Duration::from_secs(1_800_000_000), work: 1 << 40, hash }
    }

    #[tokio::test]
    async fn records_become_durable_and_accounts_are_made_by_work() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(&Config::new(folder.path())).unwrap());
        let fallback = ledger.worker(POOL_ACCOUNT, "").unwrap();
        let journal = LedgerJournal::new();
        journal.open(ledger.clone(), fallback);
        let [alice, idle] = ["alice", "idle"].map(|name| Arc::new(Worker::new(name.into(), "rig".into())));
        let at = Duration::from_secs(1_800_000_000);
        let rejects = |worker: &Arc<Worker>, count| Record::Rejects {
            worker: Some(worker.clone()),
            at,
            reason: RejectReason::Duplicate.error_code(),
            count,
        };
        let mut records = vec![share(&alice, 1), rejects(&idle, 3), share(&alice, 2), rejects(&alice, 2)];
        let position = journal.append(&mut records);
        assert!(records.is_empty());
        journal.progress().wait_for(|progress| progress.durable >= position).await.unwrap();
        drop(journal);
        Arc::into_inner(ledger).unwrap().close();
        let mut reader = Reader::open(folder.path()).unwrap();
        assert_eq!(reader.account("alice").unwrap().unwrap().totals.work, Work(2 << 40));
        assert!(reader.account("idle").unwrap().is_none(), "no work, no account");
    }

    /// A new process takes shares while the ledger is still the old one's.
    #[tokio::test]
    async fn what_comes_before_the_ledger_is_durable_only_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = LedgerJournal::new();
        let alice = Arc::new(Worker::new("alice".into(), String::new()));
        let mut early = Vec::new();
        for n in 1..=3 {
            early.push(share(&alice, n));
            assert_eq!(journal.append(&mut early), Position::from(n));
        }
        assert_eq!(*journal.progress().borrow(), Progress::default(), "nothing is on disk");
        let ledger = Arc::new(Ledger::open(&Config::new(folder.path())).unwrap());
        journal.open(ledger.clone(), WorkerId::NOBODY);
        journal.progress().wait_for(|progress| progress.durable >= 3).await.unwrap();
        let last = journal.append(&mut vec![share(&alice, 4)]);
        assert!(last > 3, "positions go on");
        journal.progress().wait_for(|progress| progress.durable >= last).await.unwrap();
        drop(journal);
        Arc::into_inner(ledger).unwrap().close();
        let mut reader = Reader::open(folder.path()).unwrap();
        assert_eq!(reader.account("alice").unwrap().unwrap().totals.work, Work(4 << 40));
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let mut counts = RejectCounts::default();
        assert!(counts.count(RejectReason::Stale));
        assert!(!counts.count(RejectReason::TooManyShares));
        assert!(!counts.count(RejectReason::Stale));
        assert!(counts.take().eq([(RejectReason::Stale, 2), (RejectReason::TooManyShares, 1)]));
        assert_eq!(counts.take().next(), None);
    }
}
