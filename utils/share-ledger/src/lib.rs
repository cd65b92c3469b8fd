//! The share ledger of a pool: accepted shares that no power cut takes away, and what is derived from them.
//!
//! Records go through a [`Queue`] to a log of their own, which is written and synced in batches by one thread. The pool
//! acknowledges a share when [`Progress::durable`] has passed it. A second thread follows the log and keeps a database
//! of accounts, workers, sums per minute, hour and day, and blocks, for queries ([`Reader`]); it can always be made
//! again from the log, and may fail without shares having to wait. Shares that are old become sums per hour, and later
//! per day, in the log itself.
//!
//! The traits [`ShareLedger`] and [`Queue`] are what a pool needs; [`Ledger`] is the one that needs no server.
//! `docs/operate/ledger.md` has the format, backup, retention and what to do when a disk is full.
//!
//! # Limits and what is refused
//! A queue is bounded in bytes ([`Config::queue_bytes`]); names in length ([`MAX_NAME_BYTES`]) and number
//! ([`MAX_WORKERS_PER_ACCOUNT`], [`MAX_WORKERS`]). What was not written whole is never reported durable; a failed sync
//! is never repeated on the same file. A second process is refused, as is a log or a database of a later version.
//!
//! # Example
//! ```
//! use share_ledger::{Config, Difficulty, Ledger, Reader, Share, ShareHash, ShareLedger, Timestamp, Work};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let ledger = Ledger::open(&Config::new(folder))?;
//! let queue = ledger.queue();
//! let hash = [7; 32];
//! let share = Share {
//!     at: Timestamp::from_secs(1_800_000_000),
//!     worker: ledger.worker("alice", "rig1")?,
//!     work: Work(1 << 40),
//!     hash: ShareHash::of(&hash),
//!     reached: Difficulty::of_hash(&hash),
//! };
//! let position = queue.append(&[share.into()])?;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! ledger.progress().wait_for(|progress| progress.durable >= position).await?;
//! // Now SubmitShares.Success may leave.
//! # Ok::<_, tokio::sync::watch::error::RecvError>(())
//! # })?;
//! ledger.close();
//! assert_eq!(Reader::open(folder)?.account("alice")?.map(|alice| alice.totals.work), Some(Work(1 << 40)));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod backup;
mod clock;
mod config;
pub mod disk;
mod embedded;
mod index;
mod journal;
mod keeper;
mod ledger;
pub mod log;
mod maintenance;
mod query;
mod record;
mod registry;

#[cfg(test)]
mod test_disk;
#[cfg(test)]
mod tests;

pub use backup::{BackedUp, BackupError, backup};
pub use config::{
    Config, DEFAULT_COMMIT_INTERVAL, DEFAULT_INDEX_INTERVAL, DEFAULT_QUEUE_BYTES, DEFAULT_SEGMENT_BYTES, MAX_WORKERS,
    MAX_WORKERS_PER_ACCOUNT, Retention,
};
pub use embedded::{LEDGER_FOLDER, LOG_FOLDER, Ledger, OpenError};
pub use index::{DATABASE, DATABASE_VERSION, DatabaseError, IndexError};
pub use ledger::{Full, Health, Position, Progress, Queue, ShareLedger, TooManyAccounts};
pub use maintenance::{
    DatabaseState, LogFiles, RebuildError, Rebuilt, Verification, log_files, read_log, rebuild, verify,
};
pub use query::{
    Account, Block, BlockCounts, BlockLife, MAX_POINTS, MAX_ROWS, Order, Overview, Period, Point, Reader, RejectPoint,
    RejectRow, Subject, SumRow, Totals, Worker,
};
pub use record::{
    AccountId, BlockEvent, BlockHash, BlockStep, Difficulty, MAX_NAME_BYTES, MAX_REASON_BYTES, Record, Rejects, Share,
    ShareHash, Timestamp, Work, WorkerId,
};
