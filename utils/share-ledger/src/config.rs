//! Where a ledger is and what it keeps.

use std::{path::PathBuf, time::Duration};

/// Size at which a segment of the log is followed by a new one, unless configured otherwise: about 50 minutes of 1,000
/// shares each second.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

/// What a queue may hold that is not on the disk, in bytes of the log, unless configured otherwise: 1.5 million shares.
/// At the bound appending to the queue fails until the disk has caught up.
pub const DEFAULT_QUEUE_BYTES: usize = 32 << 20;

/// Time from the start of one write to that of the next, at least, unless configured otherwise. Fewer writes wear a
/// disk less; shares wait for their acknowledgement so much longer at most.
pub const DEFAULT_COMMIT_INTERVAL: Duration = Duration::from_millis(2);

/// How often the database follows the log, unless configured otherwise.
pub const DEFAULT_INDEX_INTERVAL: Duration = Duration::from_secs(1);

/// Workers of one account that are told apart. Further ones are credited to the account's worker without name, so that
/// no work is lost; the largest farms that mine to one account have some ten thousand devices.
pub const MAX_WORKERS_PER_ACCOUNT: usize = 16_384;

/// Workers of all accounts that are told apart; each takes some 200 bytes of memory, and who earns one accepted share
/// can make one. Past it, new workers of known accounts are credited to the account's worker without name, and new
/// accounts are refused.
pub const MAX_WORKERS: usize = 1 << 20;

/// A ledger on this machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of log and database; made where needed. One process at a time has it.
    pub folder: PathBuf,
    /// See [`DEFAULT_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// See [`DEFAULT_QUEUE_BYTES`].
    pub queue_bytes: usize,
    /// See [`DEFAULT_COMMIT_INTERVAL`].
    pub commit_interval: Duration,
    /// See [`DEFAULT_INDEX_INTERVAL`].
    pub index_interval: Duration,
    /// What is kept for how long.
    pub retention: Retention,
}

impl Config {
    /// The defaults, in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            commit_interval: DEFAULT_COMMIT_INTERVAL,
            index_interval: DEFAULT_INDEX_INTERVAL,
            retention: Retention::default(),
        }
    }
}

/// What is kept for how long. Sums per day, blocks, accounts and workers are kept for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Shares one by one, by age. Older ones are kept as sums per worker and hour.
    pub shares: Duration,
    /// Shares one by one, by bytes of the log: the oldest are summed up before their time when there are more.
    pub share_bytes: u64,
    /// Sums per minute, in the database.
    pub minutes: Duration,
    /// Sums per hour. Older ones are kept as sums per day.
    pub hours: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Default for Retention {
    fn default() -> Self {
        Self { shares: HOUR * 72, share_bytes: 16 << 30, minutes: HOUR * 48, hours: HOUR * 24 * 60 }
    }
}
