//! The two traits that a pool needs of a ledger.

use tokio::sync::watch;

use crate::record::{Record, Timestamp, WorkerId};

/// How many records a ledger has been given since it was opened, through all its queues: the first one's position is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// How far a ledger is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every record up to this position is on the disk and will be there after a power cut. Never goes back.
    pub durable: Position,
    /// Nothing can be written at present; [`ShareLedger::health`] says why. What was appended is kept, and `durable`
    /// goes on when writing works again.
    pub failing: bool,
}

/// Whether something works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Ok,
    /// It does not, and is tried again.
    Failing {
        /// What the system or the database said, for people.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

impl Health {
    /// Whether it works.
    pub const fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }
}

/// A queue has no room. Nothing of what was to be appended was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger's queue is full")]
pub struct Full;

/// There are too many accounts for another one: [`MAX_WORKERS`](crate::MAX_WORKERS). A pool refuses the channel, or
/// credits itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger has no room for another account")]
pub struct TooManyAccounts;

/// Keeps shares, refused shares and blocks so that no record is lost that was reported durable, and none counts twice.
///
/// What all implementations have in common, the embedded [`Ledger`](crate::Ledger) and those on servers to come.
/// Queries are not part of it.
pub trait ShareLedger: Send + Sync + 'static {
    /// A queue of its own for a shard or for another part of the pool.
    fn queue(&self) -> Box<dyn Queue>;

    /// The id of a worker of an account; a new worker, and its account, are taken down before any share that has the
    /// id. To be called when a share was accepted, not when a channel was opened: then names without work take no
    /// space. Does not wait for the disk. A worker without a name of its own has the empty one. Past the bounds on
    /// workers ([`MAX_WORKERS_PER_ACCOUNT`](crate::MAX_WORKERS_PER_ACCOUNT), [`MAX_WORKERS`](crate::MAX_WORKERS)) the
    /// id is that of the account's worker without name.
    ///
    /// # Errors
    /// [`TooManyAccounts`] for an account that has no worker yet.
    fn worker(&self, account: &str, worker: &str) -> Result<WorkerId, TooManyAccounts>;

    /// How far the records are, as it changes.
    fn progress(&self) -> watch::Receiver<Progress>;

    /// Whether records can be written, as it changes.
    fn health(&self) -> watch::Receiver<Health>;
}

/// Takes records for a ledger.
pub trait Queue: Send + Sync {
    /// Takes all records, in their order, and returns the position of the last one (of an empty slice: of the last that
    /// was given before). Does not wait for the disk. All of them become durable at the same time.
    ///
    /// # Errors
    /// [`Full`] when what this queue has not yet on the disk would take more than its bound in bytes. Records with a
    /// [`BlockEvent`](crate::BlockEvent) among them are taken all the same: blocks are few.
    fn append(&self, records: &[Record]) -> Result<Position, Full>;
}
