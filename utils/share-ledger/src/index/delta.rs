//! What some batches change, added up in memory first: the database is touched once for a worker and minute, not once
//! for a share.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    log::{Damage, Entry, ReadBatch, Resolution},
    record::{BlockEvent, Difficulty, Timestamp, Work, WorkerId},
};

pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 3600;
pub(super) const DAY: u64 = 86_400;

/// Sums that are added up before they go to the database. A minute of 100,000 workers, or an hour of fewer.
pub(crate) const MAX_SUMS: usize = 100_000;

/// The shortest period of which sums are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Period {
    Minute,
    Hour,
    Day,
}

impl Period {
    pub(super) const fn seconds(self) -> u64 {
        match self {
            Self::Minute => MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    const fn of(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Shares => Self::Minute,
            Resolution::Hours => Self::Hour,
            Resolution::Days => Self::Day,
        }
    }

    /// Start in unix seconds.
    pub(super) const fn start(self, seconds: u64) -> u64 {
        seconds - seconds % self.seconds()
    }
}

/// Accepted shares added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) shares: u64,
    pub(crate) work: Work,
    pub(crate) best: Difficulty,
    pub(crate) best_at: Timestamp,
    pub(crate) last: Timestamp,
}

impl Bucket {
    pub(crate) fn add(&mut self, other: &Self) {
        self.shares = self.shares.saturating_add(other.shares);
        self.work = self.work.saturating_add(other.work);
        if self.shares == other.shares || other.best > self.best {
            (self.best, self.best_at) = (other.best, other.best_at);
        }
        self.last = self.last.max(other.last);
    }
}

/// Period, its start in unix seconds, and the worker.
pub(super) type Key = (Period, u64, WorkerId);

/// What some batches change.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    pub(super) workers: Vec<crate::log::WorkerEntry>,
    pub(super) shares: HashMap<Key, Bucket>,
    pub(super) rejects: HashMap<(Key, Cow<'static, str>), u64>,
    pub(super) blocks: Vec<BlockEvent>,
    pub(super) damage: Vec<(u64, u64)>,
}

impl Delta {
    /// Whether there is as much as one transaction should have.
    pub(crate) fn is_full(&self) -> bool {
        self.shares.len() + self.rejects.len() + self.workers.len() + self.blocks.len() >= MAX_SUMS
    }

    pub(crate) fn add_damage(&mut self, damage: &Damage) {
        tracing::error!("the share log is damaged: {damage}");
        self.damage.push((damage.first, damage.last));
    }

    pub(crate) fn add_batch(&mut self, batch: &ReadBatch<'_>) {
        let period = Period::of(batch.resolution);
        for entry in batch.entries() {
            match entry {
                Ok(entry) => self.add(period, entry),
                Err(malformed) => {
                    tracing::error!("batch {} of the share log: {malformed}", batch.sequence);
                    self.damage.push((batch.sequence, batch.sequence));
                }
            }
        }
    }

    fn add(&mut self, period: Period, entry: Entry) {
        match entry {
            Entry::Share(share) => {
                let bucket =
                    Bucket { shares: 1, work: share.work, best: share.reached, best_at: share.at, last: share.at };
                self.bucket(period, share.at, share.worker).add(&bucket);
            }
            Entry::Sum(sum) => {
                let bucket =
                    Bucket { shares: sum.shares, work: sum.work, best: sum.best, best_at: sum.start, last: sum.start };
                self.bucket(period, sum.start, sum.worker).add(&bucket);
            }
            Entry::Rejects(rejects) => {
                let key = (period, period.start(rejects.at.secs()), rejects.worker);
                let count = self.rejects.entry((key, rejects.reason)).or_default();
                *count = count.saturating_add(rejects.count);
            }
            Entry::Worker(worker) => self.workers.push(worker),
            Entry::Block(event) => self.blocks.push(*event),
            Entry::Gap { first, last } => self.damage.push((first, last)),
            Entry::End => {}
        }
    }

    fn bucket(&mut self, period: Period, at: Timestamp, worker: WorkerId) -> &mut Bucket {
        self.shares.entry((period, period.start(at.secs()), worker)).or_default()
    }
}
