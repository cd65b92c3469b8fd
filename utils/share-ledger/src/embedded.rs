//! The ledger on this machine: a log, and a database beside it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    hash::{BuildHasher, Hasher},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

use crate::{
    clock::now,
    config::Config,
    disk::{Disk, Folder},
    index::{DATABASE, DatabaseError, Index, IndexError},
    journal::{Journal, LogQueue, lock},
    keeper::{Follower, Keeper},
    ledger::{Health, Position, Progress, Queue, ShareLedger, TooManyAccounts},
    log::{self, Entry, LogReader, Mode, ReadError, Step},
    record::WorkerId,
    registry::Registry,
};

/// Name of the ledger's folder in the data folder of a pool.
pub const LEDGER_FOLDER: &str = "ledger";

/// Name of the folder of the log's files, in the ledger's folder.
pub const LOG_FOLDER: &str = "log";

/// Name of the file that the process which has the ledger holds locked.
const LOCK: &str = "lock";

/// A ledger can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The database is of a later version.
    #[error(transparent)]
    Database(DatabaseError),
    /// The log can not be read; also when it is of a later version.
    #[error("the log can not be read: {0}")]
    Log(#[from] ReadError),
    /// As the system reports.
    #[error("{}: {error}", path.display())]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// The embedded ledger. Its threads end when it is dropped, after what was appended is written.
pub struct Ledger {
    journal: Journal,
    keeper: Keeper,
    registry: Mutex<Registry>,
    /// Released last.
    _lock: Lock,
}

/// Keeps other processes out.
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Closing the file would do only if no child process had it, too, as one has that is about to start.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("progress", &*self.journal.shared.progress().borrow()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens, and makes where needed, the ledger in `config.folder`. Blocks while the end of the log is read; a
    /// database that can not be used is made again in the background.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let (lock, disk) = open_folder(&config.folder)?;
        Self::open_on(config, disk, lock)
    }

    fn open_on<D: Disk>(config: &Config, disk: Arc<D>, lock: Lock) -> Result<Self, OpenError> {
        let recovered = log::recover(&disk, random()).map_err(ReadError::Io)?;
        let (log_id, last) = (recovered.log_id, recovered.last);
        let database = config.folder.join(DATABASE);
        let (index, problem) = match Index::open(&database, &disk, log_id, last) {
            Ok(index) => (Some(index), None),
            Err(IndexError::Database(error @ DatabaseError::FromTheFuture { .. })) => {
                return Err(OpenError::Database(error));
            }
            Err(error) => (None, Some(error)),
        };
        let registry = match index.as_ref().map(|index| load_registry(&disk, index)) {
            Some(Ok(registry)) => registry,
            Some(Err(_)) | None => read_registry(&disk, Registry::default(), 0)?,
        };
        let spawned = |error| OpenError::Io { path: config.folder.clone(), error };
        let journal =
            Journal::start(disk.clone(), recovered, config.segment_bytes, config.queue_bytes, config.commit_interval)
                .map_err(spawned)?;
        let follower = Follower {
            disk,
            database,
            log_id,
            last,
            retention: config.retention,
            interval: config.index_interval,
            shared: journal.shared.clone(),
            index,
        };
        let keeper = Keeper::start(follower, problem).map_err(spawned)?;
        Ok(Self { journal, keeper, registry: Mutex::new(registry), _lock: lock })
    }

    /// Whether the database follows the log, as it changes. Acknowledgements do not depend on it.
    pub fn index_health(&self) -> watch::Receiver<Health> {
        self.keeper.health.clone()
    }

    /// Up to which position records are in the database.
    pub fn indexed(&self) -> watch::Receiver<Position> {
        self.keeper.indexed.clone()
    }

    /// Writes what was appended, lets the database catch up, and ends. When the log can not be written, what is not
    /// durable is given up. The same happens on a drop.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.journal.close();
        self.keeper.close();
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.end();
    }
}

impl ShareLedger for Ledger {
    fn queue(&self) -> Box<dyn Queue> {
        Box::new(LogQueue::new(self.journal.shared.clone()))
    }

    fn worker(&self, account: &str, worker: &str) -> Result<WorkerId, TooManyAccounts> {
        let mut registry = lock(&self.registry);
        let (id, new) = registry.worker(account, worker, now())?;
        // Sent before the registry is free again: whoever learns of the id appends after this.
        if let Some(entry) = new {
            self.journal.shared.register(&entry);
        }
        Ok(id)
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.journal.shared.progress()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.journal.shared.health()
    }
}

/// Makes the folders where needed, and locks them against other processes.
pub(crate) fn open_folder(folder: &Path) -> Result<(Lock, Arc<Folder>), OpenError> {
    let log = folder.join(LOG_FOLDER);
    fs::create_dir_all(&log).map_err(|error| OpenError::Io { path: log.clone(), error })?;
    let path = folder.join(LOCK);
    let failed = |error| OpenError::Io { path: path.clone(), error };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok((Lock(file), Arc::new(Folder::new(log)))),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// What the database knows, and what the log has after that.
fn load_registry<D: Disk>(disk: &Arc<D>, index: &Index<D>) -> Result<Registry, IndexError> {
    let mut registry = Registry::default();
    index.workers()?.iter().for_each(|worker| registry.insert(worker));
    Ok(read_registry(disk, registry, index.position())?)
}

fn read_registry<D: Disk>(disk: &Arc<D>, mut registry: Registry, position: u64) -> Result<Registry, ReadError> {
    let mut reader = LogReader::open(disk.clone(), position, Mode::AtRest)?;
    while let Some(step) = reader.next(u64::MAX)? {
        let Step::Batch(batch) = step else { continue };
        for entry in batch.entries().map_while(Result::ok) {
            match entry {
                Entry::Worker(worker) => registry.insert(&worker),
                // Where its name is lost in damage, the id must not become somebody else's.
                Entry::Share(share) => registry.reserve(share.worker),
                Entry::Sum(sum) => registry.reserve(sum.worker),
                _ => {}
            }
        }
    }
    Ok(registry)
}

/// For the id of a new log; from the randomness of the standard library's hash tables.
pub(crate) fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
