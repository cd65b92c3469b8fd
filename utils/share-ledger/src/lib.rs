//! The share ledger of a pool: accepted shares that no power cut takes away, and what is derived from them.
//!
//! Records go through a [`Queue`] to a log of their own, which is written and synced in batches by one thread. The pool acknowledges a
//! share when [`Progress::durable`] has passed it. A second thread follows the log and keeps a database of accounts, workers, sums per
//! minute, hour and day, and blocks, for queries; it can always be made again from the log, and may fail without shares
//! having to wait.
//!
//! # Limits and what is refused
//! A queue is bounded in bytes ([`Config::queue_bytes`]); names in length ([`MAX_NAME_BYTES`]) and number
//! ([`MAX_WORKERS_PER_ACCOUNT`], [`MAX_WORKERS`]). What was not written whole is never reported durable; a failed sync is
//! never repeated on the same file. A second process is refused, as is a log or a database of a later version.

mod config;
pub mod disk;
mod ledger;
pub mod log;
mod record;
#[cfg(test)]
mod test_disk;

pub use config::{
    Config, DEFAULT_COMMIT_INTERVAL, DEFAULT_INDEX_INTERVAL, DEFAULT_QUEUE_BYTES, DEFAULT_SEGMENT_BYTES, MAX_WORKERS,
    MAX_WORKERS_PER_ACCOUNT, Retention,
};
pub use ledger::{Full, Health, Position, Progress, Queue, ShareLedger, TooManyAccounts};
pub use record::{
    AccountId, BlockEvent, BlockHash, BlockStep, Difficulty, MAX_NAME_BYTES, MAX_REASON_BYTES, Record, Rejects, Share,
    ShareHash, Timestamp, Work, WorkerId,
};
