//! The thread that follows the log with the database, and sums up old shares. Whatever fails here, shares do not wait
//! for it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    clock::now,
    config::Retention,
    disk::Disk,
    index::{self, Index, IndexError},
    journal::Shared,
    ledger::{Health, Position},
    log::summary,
};

/// How often old sums and shares are looked for.
const CLEANING: Duration = Duration::from_secs(60);

/// How long to wait after a failure of the database.
const RETRY: Duration = Duration::from_secs(2);

/// How long the database may still catch up when the ledger is closed. The next process goes on where it ends.
const LAST_WORK: Duration = Duration::from_secs(10);

/// The thread, and how to end it.
pub(crate) struct Keeper {
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) indexed: watch::Receiver<Position>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Follower<D: Disk> {
    pub(crate) disk: Arc<D>,
    pub(crate) database: PathBuf,
    pub(crate) log_id: u64,
    /// Sequence number of the last batch that was found at the start; it may take a moment until it counts as durable.
    pub(crate) last: u64,
    pub(crate) retention: Retention,
    pub(crate) interval: Duration,
    pub(crate) shared: Arc<Shared>,
    /// Already open where it was in order.
    pub(crate) index: Option<Index<D>>,
}

impl Keeper {
    /// Starts the thread. `problem` is what kept the database from being opened.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start<D: Disk>(follower: Follower<D>, problem: Option<IndexError>) -> std::io::Result<Self> {
        let closing = Arc::new(AtomicBool::new(false));
        let (health_sender, health) = watch::channel(Health::Ok);
        let (indexed_sender, indexed) = watch::channel(Position(0));
        let run =
            Run { follower, closing: closing.clone(), health: health_sender, indexed: indexed_sender, cleaned: None };
        let thread = thread::Builder::new().name("ledger-index".into()).spawn(move || run.run(problem))?;
        Ok(Self { health, indexed, closing, thread: Some(thread) })
    }

    /// Lets the database catch up and ends.
    pub(crate) fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.closing.store(true, Ordering::Release);
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the thread that keeps the ledger's database has panicked");
        }
    }
}

struct Run<D: Disk> {
    follower: Follower<D>,
    closing: Arc<AtomicBool>,
    health: watch::Sender<Health>,
    indexed: watch::Sender<Position>,
    cleaned: Option<Instant>,
}

impl<D: Disk> Run<D> {
    fn run(mut self, problem: Option<IndexError>) {
        if let Some(problem) = problem {
            self.failed(problem);
        }
        loop {
            let closing = self.closing.load(Ordering::Acquire);
            let pause = match self.catch_up() {
                Ok(()) => self.follower.interval,
                Err(error) => {
                    self.failed(error);
                    RETRY
                }
            };
            if closing {
                return;
            }
            if self.cleaned.is_none_or(|at| at.elapsed() >= CLEANING) {
                self.cleaned = Some(Instant::now());
                self.clean();
            }
            thread::park_timeout(pause);
        }
    }

    fn catch_up(&mut self) -> Result<(), IndexError> {
        let durable = self.follower.shared.durable();
        let Follower { disk, database, log_id, last, index, .. } = &mut self.follower;
        let index = match index {
            Some(index) => index,
            None => index.insert(Index::open(database, disk, *log_id, durable.sequence.max(*last))?),
        };
        let mut end = None;
        while index.follow(durable.sequence)? {
            if self.closing.load(Ordering::Acquire)
                && *end.get_or_insert_with(|| Instant::now() + LAST_WORK) < Instant::now()
            {
                break;
            }
        }
        if !self.health.borrow().is_ok() {
            tracing::info!("the ledger's database is up to date again");
            self.health.send_replace(Health::Ok);
        }
        self.indexed.send_if_modified(|indexed| std::mem::replace(indexed, durable.position) != durable.position);
        Ok(())
    }

    fn failed(&mut self, error: IndexError) {
        self.follower.index = None;
        let reason = error.to_string();
        let since = match &*self.health.borrow() {
            Health::Failing { since, .. } => *since,
            Health::Ok => now(),
        };
        tracing::error!("the ledger's database fails; shares are acknowledged all the same: {reason}");
        self.health.send_replace(Health::Failing { reason, since });
        if error.is_broken() {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        tracing::warn!("the ledger's database is made again from the log");
        let Follower { disk, database, log_id, shared, .. } = &self.follower;
        let closing = &self.closing;
        let limit = shared.durable().sequence;
        match index::rebuild(database, disk, *log_id, limit, |_| !closing.load(Ordering::Acquire)) {
            Ok(true) => tracing::info!("the ledger's database has been made again"),
            Ok(false) => {}
            Err(error) => tracing::error!("the ledger's database can not be made again now: {error}"),
        }
    }

    fn clean(&mut self) {
        let Follower { disk, retention, shared, index, .. } = &mut self.follower;
        let now = now();
        if let Some(index) = index
            && let Err(error) = index::prune(index.connection(), retention, now)
        {
            tracing::warn!("old sums can not be removed from the ledger's database: {error}");
        }
        // While the database is behind, shares are only summed up where they take too much space: it will have to be
        // made again.
        let (indexed, retention) = match index {
            Some(index) => (index.position(), *retention),
            None => (u64::MAX, Retention { shares: Duration::MAX, hours: Duration::MAX, ..*retention }),
        };
        let active = shared.durable().active_file;
        loop {
            let done = match summary::plan(&**disk, now, &retention, active, indexed) {
                Ok(None) => return,
                Ok(Some(plan)) => summary::carry_out(disk, &plan),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = done {
                tracing::warn!("old shares can not be summed up: {error}");
                return;
            }
            if self.closing.load(Ordering::Acquire) {
                return;
            }
        }
    }
}
