//! Records that must be on disk before they are answered (`docs/adr/0018-durable-before-acknowledged.md`).
//!
//! A shard hands the records of one turn of its event loop to a [`Journal`] in one go, and remembers in order whose they were.
//! When the journal's durable position passes them, their cores are told.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::watch;

/// Records of one shard that may wait for the disk before it stops reading from those who add to them.
///
/// More than a second of 50,000 shares each second; a disk answers in some milliseconds.
pub const UNDURABLE_RECORDS: usize = 65_536;

/// How long a shard waits for a journal that is behind before it reads on and lets nothing more be recorded.
///
/// Among what is unread there may be a block, which does not need the journal and must not wait for it longer.
pub const JOURNAL_PATIENCE: Duration = Duration::from_secs(1);

/// How many records a journal has been given: the first one's position is 1.
pub type Position = u64;

/// How far a journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every record up to this position is on disk. Never goes back.
    pub durable: Position,
    /// Nothing can be written at present. Records past `durable` stay unanswered until it is over.
    pub failed: bool,
}

/// Writes records to disk in the order in which it is given them.
///
/// What was given but never became durable may be on disk or not. A journal whose disk failed may go on only if it writes
/// everything past its last durable position again; otherwise it stays failed.
pub trait Journal<R>: Send + Sync + 'static {
    /// Takes the records out of `records`, and returns the position of the last one. Does not wait for the disk.
    ///
    /// The shards bound what is under way, see [`Bounds`].
    fn append(&self, records: &mut Vec<R>) -> Position;

    /// How far the journal is, as it changes. A closed channel counts as failed for good.
    fn progress(&self) -> watch::Receiver<Progress>;
}

/// The journal takes no record at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal takes no record at present")]
pub struct JournalFull;

/// What may be under way to a journal.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Undurable records of one shard at which it stops reading from those who add to them. At twice as many, which
    /// takes peers that all arrive at once, nothing more can be recorded.
    pub records: usize,
    /// How long it stops at most; see [`JOURNAL_PATIENCE`].
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { records: UNDURABLE_RECORDS, patience: JOURNAL_PATIENCE }
    }
}

/// Where records go, and how many may be under way.
pub struct Recording<R> {
    /// Writes the records.
    pub journal: Arc<dyn Journal<R>>,
    /// For each shard.
    pub bounds: Bounds,
}

impl<R> Clone for Recording<R> {
    fn clone(&self) -> Self {
        Self { journal: self.journal.clone(), bounds: self.bounds }
    }
}

impl<R> std::fmt::Debug for Recording<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// Whether a shard's journal keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Keeps,
    Behind {
        since: Duration,
    },
    /// Nothing more is recorded until the backlog is gone.
    Refuses,
}

/// A shard's records: those of the present turn, and whose the ones under way are.
pub(crate) struct Records<R> {
    recording: Option<Recording<R>>,
    turn: Vec<R>,
    /// Whose records follow each other, oldest first; the last ones are of the present turn.
    owners: VecDeque<(u64, u32)>,
    /// For each turn under way: its position, and how many of `owners` it has.
    turns: VecDeque<(Position, usize)>,
    /// Of `owners`, those of the present turn.
    owners_of_turn: usize,
    undurable: usize,
    progress: Progress,
    pace: Pace,
}

impl<R: 'static> Records<R> {
    pub(crate) fn new(recording: Option<Recording<R>>) -> Self {
        let progress = recording.as_ref().map(|recording| *recording.journal.progress().borrow());
        Self {
            recording,
            turn: Vec::new(),
            owners: VecDeque::new(),
            turns: VecDeque::new(),
            owners_of_turn: 0,
            undurable: 0,
            progress: progress.unwrap_or_default(),
            pace: Pace::Keeps,
        }
    }

    /// Whether there is a journal to wait for.
    pub(crate) fn are_kept(&self) -> bool {
        self.recording.is_some()
    }

    /// The end of the records that wait for a disk; its changes go to [`advance`](Self::advance).
    pub(crate) fn progress(&self) -> Option<watch::Receiver<Progress>> {
        self.recording.as_ref().map(|recording| recording.journal.progress())
    }

    /// Adds a record of the core that has its turn.
    pub(crate) fn push(&mut self, record: R) -> Result<(), JournalFull> {
        let Some(Recording { bounds, .. }) = &self.recording else { return Ok(()) };
        if self.progress.failed || self.pace == Pace::Refuses || self.undurable >= bounds.records.saturating_mul(2) {
            return Err(JournalFull);
        }
        self.turn.push(record);
        self.undurable += 1;
        Ok(())
    }

    /// The last `count` records are this owner's. True when they are the first of this turn.
    pub(crate) fn attribute(&mut self, now: Duration, owner: u64, count: u32) -> bool {
        let first = self.owners_of_turn == 0;
        self.owners.push_back((owner, count));
        self.owners_of_turn += 1;
        self.judge(now);
        first
    }

    /// The turn ends: its records go to the journal.
    pub(crate) fn end_turn(&mut self) {
        let Some(Recording { journal, .. }) = &self.recording else { return };
        if self.owners_of_turn > 0 {
            let position = journal.append(&mut self.turn);
            self.turns.push_back((position, std::mem::take(&mut self.owners_of_turn)));
            self.turn.clear();
        }
    }

    /// The journal has got so far. [`next_durable`](Self::next_durable) says whose records that are.
    pub(crate) fn advance(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// The next records that are durable: whose they are, and how many.
    pub(crate) fn next_durable(&mut self, now: Duration) -> Option<(u64, u32)> {
        let (position, owners) = self.turns.front_mut()?;
        if *position > self.progress.durable {
            return None;
        }
        *owners -= 1;
        if *owners == 0 {
            self.turns.pop_front();
        }
        let (owner, count) = self.owners.pop_front()?;
        self.undurable -= count as usize;
        self.judge(now);
        Some((owner, count))
    }

    /// Whether those who add records are not to be read from for now.
    pub(crate) fn hold_readers(&self) -> bool {
        !self.progress.failed && matches!(self.pace, Pace::Behind { .. })
    }

    /// Whether somebody who waits for `count` records may hope for them.
    pub(crate) fn are_answered(&self, count: usize) -> bool {
        count == 0 || !self.progress.failed
    }

    /// When [`lose_patience`](Self::lose_patience) is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        match (self.pace, &self.recording) {
            (Pace::Behind { since }, Some(recording)) => Some(since + recording.bounds.patience),
            _ => None,
        }
    }

    /// From now on nothing is recorded until the backlog is gone, but peers are read from.
    pub(crate) fn lose_patience(&mut self, now: Duration) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.pace = Pace::Refuses;
        }
    }

    fn judge(&mut self, now: Duration) {
        let Some(Recording { bounds, .. }) = &self.recording else { return };
        self.pace = match self.pace {
            Pace::Keeps if self.undurable >= bounds.records => Pace::Behind { since: now },
            // Half, so that a journal that barely keeps up does not switch readers on and off with each write.
            Pace::Behind { .. } | Pace::Refuses if self.undurable <= bounds.records / 2 => Pace::Keeps,
            pace => pace,
        };
    }
}

/// A journal whose disk is the test.
#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Mutex;

    use super::*;

    /// Keeps what it is given; the test says what is durable, and may wait for what is given.
    pub(crate) struct Held<R> {
        pub records: Mutex<Vec<R>>,
        pub appended: watch::Sender<Position>,
        pub progress: watch::Sender<Progress>,
    }

    impl<R> Held<R> {
        pub fn new() -> Arc<Self> {
            let records = Mutex::default();
            Arc::new(Self { records, appended: watch::Sender::default(), progress: watch::Sender::default() })
        }

        pub async fn wait_for(&self, position: Position) {
            self.appended.subscribe().wait_for(|appended| *appended >= position).await.unwrap();
        }

        pub fn write_to_disk(&self, durable: Position) {
            self.progress.send_replace(Progress { durable, failed: false });
        }

        pub fn fail(&self) {
            self.progress.send_modify(|progress| progress.failed = true);
        }
    }

    impl<R: Send + 'static> Journal<R> for Held<R> {
        fn append(&self, records: &mut Vec<R>) -> Position {
            let mut held = self.records.lock().unwrap();
            held.append(records);
            self.appended.send_replace(held.len() as Position);
            held.len() as Position
        }

        fn progress(&self) -> watch::Receiver<Progress> {
            self.progress.subscribe()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::Held, *};

    const START: Duration = Duration::from_secs(100);

    fn records(bound: usize) -> (Arc<Held<u32>>, Records<u32>) {
        let journal = Held::new();
        let bounds = Bounds { records: bound, patience: Duration::from_secs(1) };
        (journal.clone(), Records::new(Some(Recording { journal, bounds })))
    }

    fn durable(position: Position) -> Progress {
        Progress { durable: position, failed: false }
    }

    fn add(records: &mut Records<u32>, owner: u64, values: &[u32]) -> bool {
        values.iter().for_each(|value| records.push(*value).unwrap());
        records.attribute(START, owner, values.len() as u32)
    }

    #[test]
    fn a_turn_goes_out_whole_and_its_owners_come_back_in_order() {
        let (journal, mut records) = records(100);
        assert!(add(&mut records, 1, &[10, 11]), "the first of a turn");
        assert!(!add(&mut records, 2, &[20]));
        records.end_turn();
        assert!(add(&mut records, 1, &[12]), "the first of the next");
        assert_eq!(*journal.records.lock().unwrap(), [10, 11, 20], "the second turn has not ended");
        records.end_turn();
        records.end_turn();
        assert_eq!(records.next_durable(START), None);
        // A part of a turn answers nobody: it is durable as a whole.
        records.advance(durable(2));
        assert_eq!(records.next_durable(START), None);
        records.advance(durable(4));
        assert_eq!(records.next_durable(START), Some((1, 2)));
        assert_eq!(records.next_durable(START), Some((2, 1)));
        assert_eq!(records.next_durable(START), Some((1, 1)));
        assert_eq!(records.next_durable(START), None);
    }

    #[test]
    fn readers_are_held_at_the_bound_until_half_of_it() {
        let (_journal, mut records) = records(4);
        add(&mut records, 1, &[1, 2, 3]);
        assert!(!records.hold_readers());
        add(&mut records, 2, &[4]);
        assert!(records.hold_readers());
        records.end_turn();
        add(&mut records, 3, &[5]);
        records.end_turn();
        records.advance(durable(4));
        assert_eq!(records.next_durable(START), Some((1, 3)));
        assert!(!records.hold_readers(), "two are left");
    }

    #[test]
    fn twice_the_bound_is_all_there_is() {
        let (_journal, mut records) = records(2);
        add(&mut records, 1, &[1, 2, 3, 4]);
        assert_eq!(records.push(5), Err(JournalFull));
    }

    #[test]
    fn without_patience_readers_are_not_held_but_nothing_is_recorded() {
        let (_journal, mut records) = records(2);
        add(&mut records, 1, &[1, 2]);
        records.end_turn();
        let end = START + Duration::from_secs(1);
        assert_eq!(records.poll_timeout(), Some(end));
        records.lose_patience(end - Duration::from_nanos(1));
        assert!(records.hold_readers());
        records.lose_patience(end);
        assert!(!records.hold_readers());
        assert_eq!((records.push(3), records.poll_timeout()), (Err(JournalFull), None));
        records.advance(durable(2));
        records.next_durable(end);
        assert_eq!(records.push(3), Ok(()), "the backlog is gone");
    }

    #[test]
    fn a_failed_journal_takes_nothing_and_holds_nobody_up() {
        let (_journal, mut records) = records(2);
        add(&mut records, 1, &[1, 2]);
        records.end_turn();
        records.advance(Progress { durable: 0, failed: true });
        assert_eq!(records.push(3), Err(JournalFull));
        assert!(!records.hold_readers());
        assert_eq!(records.next_durable(START), None);
        records.advance(durable(2));
        assert_eq!(records.next_durable(START), Some((1, 2)), "it has written them after all");
        assert_eq!(records.push(3), Ok(()));
    }
}
