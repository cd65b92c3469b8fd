//! The database of what is queried, derived from the log.
//!
//! Each transaction adds what some batches change, and the position that is reached by that: a crash neither loses nor
//! doubles anything. A database that is damaged, does not fit the log or fell behind what was summed up is made again
//! beside the old one and takes its place when it is complete.

mod apply;
mod delta;
mod schema;
mod values;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use apply::prune;
use apply::{Accounts, Meta};
use delta::Delta;
use rusqlite::Connection;
#[cfg(test)]
pub(crate) use schema::open as open_to_write;
pub(crate) use schema::open_to_read;
pub use schema::{DATABASE_VERSION, DatabaseError};
pub(crate) use values::{int, uint};

use crate::{
    disk::Disk,
    log::{LogReader, Mode, ReadError, Step, WorkerEntry},
};

/// Name of the database in the ledger's folder.
pub const DATABASE: &str = "ledger.db";

/// The database could not follow the log.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Because of the database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Because of the log.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// Because of the file system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl IndexError {
    /// Whether the database has to be made again.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            Self::Database(error) => error.is_broken(),
            Self::Log(ReadError::SummedUp(_)) => true,
            Self::Log(ReadError::Io(_)) | Self::Io(_) => false,
        }
    }
}

/// A database and the log that it follows.
pub(crate) struct Index<D: Disk> {
    connection: Connection,
    accounts: Accounts,
    reader: LogReader<D>,
    meta: Meta,
}

impl<D: Disk> Index<D> {
    /// Opens the database at `path`, which has to belong to this log. `last` is the log's last batch.
    pub(crate) fn open(path: &Path, disk: &Arc<D>, log_id: u64, last: u64) -> Result<Self, IndexError> {
        let connection = schema::open(path)?;
        let meta = apply::meta(&connection)?.unwrap_or(Meta { log_id, position: 0 });
        if meta.log_id != log_id {
            return Err(DatabaseError::Inconsistent("it was made from another log".into()).into());
        }
        if meta.position > last {
            let message = format!("it knows batch {}, the log ends at {last}", meta.position);
            return Err(DatabaseError::Inconsistent(message).into());
        }
        let accounts = apply::workers(&connection)?.iter().map(|worker| (worker.id, worker.account_id)).collect();
        let reader = LogReader::open(disk.clone(), meta.position, Mode::Live)?;
        Ok(Self { connection, accounts, reader, meta })
    }

    /// Sequence number of the last batch that is in the database.
    pub(crate) fn position(&self) -> u64 {
        self.meta.position
    }

    /// All workers that the database knows.
    pub(crate) fn workers(&self) -> Result<Vec<WorkerEntry>, IndexError> {
        Ok(apply::workers(&self.connection)?)
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Adds one transaction of what is in the log up to batch `limit`. False when there was nothing to add. After an
    /// error it has to be opened again.
    pub(crate) fn follow(&mut self, limit: u64) -> Result<bool, IndexError> {
        let mut delta = Delta::default();
        while let Some(step) = self.reader.next(limit)? {
            match step {
                Step::Damage(damage) => delta.add_damage(&damage),
                Step::Batch(batch) => {
                    delta.add_batch(&batch);
                    if batch.complete && delta.is_full() {
                        break;
                    }
                }
            }
        }
        let position = self.reader.position();
        if position == self.meta.position {
            return Ok(false);
        }
        let meta = Meta { position, ..self.meta };
        apply::apply(&mut self.connection, &mut self.accounts, &delta, meta)?;
        self.meta = meta;
        Ok(true)
    }
}

/// Makes the database again from the log up to batch `limit`, beside the old one, and puts it in its place.
/// `on_progress` is told the last batch done; when it says false, the work ends without a result.
///
/// # Errors
/// As database, log and file system report; the old database is as it was.
pub(crate) fn rebuild<D: Disk>(
    path: &Path,
    disk: &Arc<D>,
    log_id: u64,
    limit: u64,
    mut on_progress: impl FnMut(u64) -> bool,
) -> Result<bool, IndexError> {
    let new = with_suffix(path, ".new");
    remove_database(&new)?;
    let mut index = Index::open(&new, disk, log_id, limit)?;
    // Until it is complete, nobody misses it.
    index.connection.pragma_update(None, "synchronous", "OFF")?;
    while index.follow(limit)? {
        if !on_progress(index.position()) {
            drop(index);
            remove_database(&new)?;
            return Ok(false);
        }
    }
    let Index { connection, .. } = index;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)?;
    fs::File::open(&new)?.sync_all()?;
    // Without these the old database is an older one, but a sound one.
    for suffix in ["-wal", "-shm"] {
        remove_if_there(&with_suffix(path, suffix))?;
    }
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()?;
    Ok(true)
}

fn remove_database(path: &Path) -> io::Result<()> {
    ["", "-wal", "-shm", "-journal"].iter().try_for_each(|suffix| remove_if_there(&with_suffix(path, suffix)))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
