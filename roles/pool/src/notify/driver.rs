//! Runs [`Watch`] and [`Presence`]: one task, and one look into the ledger's database now and then.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use share_ledger::{DatabaseError, LEDGER_FOLDER, Reader, Timestamp, WorkerId};
use stratum_notify::{Kind, Notifier};
use stratum_runtime::core::Clock;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
};

use super::{
    News, Watch, origin,
    presence::{self, Presence},
};
use crate::{
    config::{InvalidConfig, PoolConfig},
    hub::PoolEvent,
};

/// Pause between two looks at who delivers shares.
const LOOK: Duration = Duration::from_secs(30);

/// The task that tells operators what happens.
pub(crate) struct Notifications {
    owned: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl Notifications {
    /// Starts it, if anybody is to be told.
    pub(crate) fn start(
        config: &PoolConfig,
        nodes: Vec<String>,
        clock: Clock,
        events: broadcast::Receiver<PoolEvent>,
    ) -> Result<Option<Self>, InvalidConfig> {
        if config.notify.is_empty() {
            return Ok(None);
        }
        let notifier = Notifier::start(&config.notify, &origin(config), clock).map_err(InvalidConfig::Other)?;
        let wants_workers = config.notify.wants(Kind::WorkerOffline) || config.notify.wants(Kind::WorkerBack);
        let workers = wants_workers.then(|| Workers {
            presence: Presence::new(clock.now(), Duration::from_secs(config.notify.worker_offline_minutes * 60)),
            minutes: config.notify.worker_offline_minutes,
            accounts: config.notify.accounts.clone(),
            ledger: config.data_dir.join(LEDGER_FOLDER),
            reader: None,
        });
        let (owned, owns) = mpsc::channel(1);
        let next_look = workers.is_some().then(|| clock.now() + LOOK);
        let watch = Watch::new(clock.now(), nodes);
        let task = Task { clock, notifier, watch, workers, next_look, data_dir: config.data_dir.clone() };
        Ok(Some(Self { owned, task: tokio::spawn(task.run(events, owns)) }))
    }

    /// The data folder is this process' own from now on, so that what must not be lost can be kept there.
    pub(crate) fn own_data_folder(&self) {
        // Said once, and there is room for it.
        let _ = self.owned.try_send(());
    }

    /// Delivers what can be delivered in some seconds, and ends.
    pub(crate) async fn finish(self) {
        drop(self.owned);
        if let Err(error) = self.task.await {
            tracing::error!("the task of the notifications failed: {error}");
        }
    }
}

struct Task {
    clock: Clock,
    notifier: Notifier,
    watch: Watch,
    /// Away while it looks.
    workers: Option<Workers>,
    next_look: Option<Duration>,
    data_dir: PathBuf,
}

type Look = JoinHandle<(Workers, Vec<News>)>;

async fn looked(look: &mut Option<Look>) -> Option<(Workers, Vec<News>)> {
    let Some(handle) = look else { return std::future::pending().await };
    let result = handle.await;
    *look = None;
    result.inspect_err(|error| tracing::error!("nobody watches the workers any more: {error}")).ok()
}

impl Task {
    async fn run(mut self, mut events: broadcast::Receiver<PoolEvent>, mut owned: mpsc::Receiver<()>) {
        let mut look: Option<Look> = None;
        loop {
            tokio::select! {
                biased;
                // Before the events that follow it: what is kept there is older.
                word = owned.recv() => match word {
                    Some(()) => self.notifier.keep_in(self.data_dir.clone()).await,
                    None => break,
                },
                event = events.recv() => match event {
                    Ok(event) => self.event(&event),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::error!(missed, "too many events at once: not all are told");
                    }
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                () = self.clock.sleep_until(self.watch.poll_timeout()) => {
                    let news = self.watch.handle_timeout(self.clock.now());
                    self.tell(news);
                }
                () = self.clock.sleep_until(self.next_look) => {
                    self.next_look = None;
                    look = self.look();
                }
                done = looked(&mut look) => {
                    // Who has panicked does not come back.
                    if let Some((workers, news)) = done {
                        self.workers = Some(workers);
                        self.next_look = Some(self.clock.now() + LOOK);
                        self.tell(news);
                    }
                }
            }
        }
        while let Ok(event) = events.try_recv() {
            self.event(&event);
        }
        self.notifier.finish().await;
    }

    fn event(&mut self, event: &PoolEvent) {
        let news = self.watch.handle(self.clock.now(), event);
        self.tell(news);
    }

    fn tell(&self, news: impl IntoIterator<Item = News>) {
        for News { event, text, data } in news {
            self.notifier.notify(event, text, data);
        }
    }

    fn look(&mut self) -> Option<Look> {
        let (mut workers, now) = (self.workers.take()?, self.clock.now());
        let knows = self.watch.knows_shares();
        Some(tokio::task::spawn_blocking(move || {
            let news = if knows { workers.look(now) } else { workers.wait(now) };
            (workers, news)
        }))
    }
}

/// Who delivers shares, by the ledger's database.
struct Workers {
    presence: Presence,
    minutes: u64,
    accounts: BTreeSet<String>,
    ledger: PathBuf,
    reader: Option<Reader>,
}

impl Workers {
    fn look(&mut self, now: Duration) -> Vec<News> {
        match self.try_look(now) {
            Ok(news) => news,
            Err(error) => {
                tracing::debug!("who delivers shares is not known: {error}");
                self.reader = None;
                self.wait(now)
            }
        }
    }

    /// Nothing is known: nobody is silent.
    fn wait(&mut self, now: Duration) -> Vec<News> {
        self.presence.restart(now);
        Vec::new()
    }

    fn try_look(&mut self, now: Duration) -> Result<Vec<News>, DatabaseError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.ledger)?),
        };
        let delivered = reader.active_since(self.presence.from(now))?;
        let changes = self.presence.update(now, delivered);
        let mut named = |list: Vec<(WorkerId, Timestamp)>| -> Result<Vec<_>, DatabaseError> {
            let mut named = Vec::new();
            for (id, last) in list {
                let Some((account, worker)) = reader.names(id)? else { continue };
                if self.accounts.is_empty() || self.accounts.contains(&account) {
                    named.push((account, worker, last));
                }
            }
            Ok(named)
        };
        let (offline, back) = (named(changes.offline)?, named(changes.back)?);
        let offline = presence::news(Kind::WorkerOffline, self.minutes, &offline);
        Ok(offline.into_iter().chain(presence::news(Kind::WorkerBack, self.minutes, &back)).collect())
    }
}
