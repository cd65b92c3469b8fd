//! The running pool: sockets, shards, the hub's task, template sources, disk.

mod listeners;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use bitcoin::BlockHash;
use roles_logic_sv2::{
    extranonce::{Layout, LayoutError, Space},
    job::Constraints,
    share::Rules,
};
use share_ledger::{LEDGER_FOLDER, Ledger, OpenError, ShareLedger, WorkerId};
use stratum_runtime::{
    core::{Clock, Peer},
    gate::Gate,
    identity::{Identity, KeyFileError, load_authority_key},
    journal::{Bounds, Recording},
    key_log::{self, KeyLogFileError},
    listener::{self, Entrance, accept_loop},
    shard::{LAST_REPORTS, Protocols, Security, Service, Shard, Surroundings},
    shutdown::Shutdown,
    tls::{TlsError, TlsIdentity},
};
use template_source::{Command, Event, SubmitOutcome, SubmitPath, TemplateSource, config::SourceConfig};
use tokio::{
    net::TcpListener,
    sync::{Notify, broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use self::listeners::bind;
pub(crate) use self::listeners::load_certificates;
use crate::{
    api::{self, Board, Facts, Http, HttpError, Insight, ListenerFacts, Views},
    blocks::BlockState,
    config::{InvalidConfig, Listen, PoolConfig},
    connection::Connection,
    epoch,
    hub::{Candidate, Hub, Output, PoolEvent},
    ledger::{self, BlockLog, LedgerJournal},
    notify::Notifications,
    payouts::{POOL_ACCOUNT, Payouts},
    profile,
    registry::Registry,
    reload::Reloader,
    session::SessionConfig,
    snapshot::Snapshot,
    store::{self, BlockStore},
    succession::{self, Beginning, Estate},
};

/// Block candidates that wait for the hub; when it is full, the shards stop reading from those who find more.
const CANDIDATE_QUEUE: usize = 256;

/// How long the shards may take to end once the drain is over. They give up before that.
const LAST_CANDIDATES: Duration = Duration::from_secs(LAST_REPORTS.as_secs() + 3);

/// How long sources may take for what they were handed last. They give up before that.
const LAST_COMMANDS: Duration = Duration::from_secs(7);

/// Events of all sources that wait for the hub.
const SOURCE_QUEUE: usize = 64;

/// Files that are open beside connections: sources, ledger, blocks, logs, with room to spare.
pub const FILES_BESIDE_CONNECTIONS: u64 = 200;

/// Events that a slow observer may be behind before it misses some.
const EVENT_QUEUE: usize = 1024;

/// The full extranonce and how its bits are split; see `docs/spec/extranonce.md`.
const LAYOUT: Layout = Layout::SV2_DEFAULT;

/// Why a pool did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no pool.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// No authority key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// No certificate for TLS.
    #[error("listen: {0}")]
    Tls(#[from] TlsError),
    /// The key log can not be written.
    #[error(transparent)]
    KeyLog(#[from] KeyLogFileError),
    /// The data folder can not be used.
    #[error("data_dir {path}: {source}")]
    Data {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// An address can not be listened on.
    #[error("listen {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The HTTP API can not be served.
    #[error("http: {0}")]
    Http(#[from] HttpError),
    /// The server id does not fit the extranonce.
    #[error("server_id: {0}")]
    Extranonce(#[from] LayoutError),
    /// The share ledger can not be opened.
    #[error("the share ledger: {0}")]
    Ledger(OpenError),
    /// The system gives no threads.
    #[error("shards: {0}")]
    Threads(io::Error),
}

/// A running pool. It ends when its shutdown token is cancelled.
#[derive(Debug)]
pub struct Pool {
    addresses: Vec<SocketAddr>,
    identity: Option<Arc<Identity>>,
    events: broadcast::Sender<PoolEvent>,
    tasks: Vec<JoinHandle<()>>,
    shards: Vec<Arc<Shard<Connection>>>,
    ledger: Arc<OnceLock<Arc<Ledger>>>,
    reloader: Arc<Reloader>,
    http: Option<Http>,
}

impl Pool {
    /// Starts a pool with these sources, in order of preference. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Only what is wrong at the start: see [`StartError`]. A source that does not answer is no error; it is retried.
    pub async fn start(
        config: &PoolConfig,
        sources: Vec<Arc<dyn TemplateSource>>,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        Self::begin(config, sources, Beginning::default(), shutdown).await
    }

    /// Like [`start`](Self::start), on sockets that are open already, or in the place of a process that is still there.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn begin(
        config: &PoolConfig,
        sources: Vec<Arc<dyn TemplateSource>>,
        beginning: Beginning,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        let Beginning { mut inherited, succession } = beginning;
        config.check()?;
        let payouts = Arc::new(Payouts::new(config, LAYOUT.full_size())?);
        let identity = match &config.authority_key_file {
            Some(path) => {
                let identity = Identity::new(load_authority_key(path)?, config.certificate_validity());
                let key_log = key_log::open(config.debug_key_log.as_deref())?;
                Some(Arc::new(identity.with_key_log(key_log)))
            }
            None => None,
        };
        let certificates = load_certificates(config)?;
        let data = |source| StartError::Data { path: config.data_dir.clone(), source };
        fs::create_dir_all(&config.data_dir).map_err(data)?;
        let store = BlockStore::open(&config.data_dir).map_err(data)?;
        // A successor has its epoch before anything else is its own.
        let estate: EstateToCome = match &succession {
            None => {
                let estate = Estate::take(&config.data_dir, &store).map_err(data)?;
                let ledger = open_ledger(&config.data_dir).await.map_err(StartError::Ledger)?;
                Box::pin(std::future::ready(Ok((estate, ledger))))
            }
            Some(_) => {
                let (folder, store) = (config.data_dir.clone(), store.clone());
                Box::pin(async move {
                    let estate = Estate::inherit(folder.clone(), store).await?;
                    Ok((estate, inherit_ledger(&folder).await))
                })
            }
        };
        let epoch = epoch::next(&config.data_dir).map_err(data)?;
        let constraints = payouts.constraints();
        let space = Space::new(LAYOUT, config.server_id.into(), epoch)?;

        let clock = Clock::start();
        let registry = Registry::new(clock.now());
        let mut hub = Hub::new(
            payouts.factory().clone(),
            &sources.iter().map(|source| source.capabilities()).collect::<Vec<_>>(),
        );
        hub = hub
            .with_job_refresh(Duration::from_secs(config.shares.job_refresh_seconds))
            .with_recycler(space.recycler());
        hub = hub.with_failover(config.nodes.failover()).with_confirmations(config.nodes.confirmations);
        let (files, connections) = (listener::raise_file_limit(), config.limits.connections as u64);
        if files < connections.saturating_add(FILES_BESIDE_CONNECTIONS) {
            tracing::warn!(
                files,
                connections,
                "more connections are allowed than files; raise the limit of open files"
            );
        }
        let listeners = bind(config, &mut inherited)?;
        let views = Views::bind(&config.http, &mut inherited)?;
        for address in inherited.left_over() {
            tracing::warn!(%address, "a socket that was passed is not in the configuration, and is closed");
        }
        let sockets = listeners.iter().chain(views.sockets()).map(std::net::TcpListener::try_clone);
        let sockets = sockets.collect::<io::Result<_>>().map_err(data)?;
        let (events, _) = broadcast::channel(EVENT_QUEUE);
        let nodes = config.source.iter().map(node_name).collect();
        let notifications = Notifications::start(config, nodes, clock, events.subscribe())?;
        let (snapshots, snapshot) = watch::channel(Arc::new(Snapshot::default()));
        let (candidates, found) = mpsc::channel(CANDIDATE_QUEUE);
        let mut books = Books::new(config);
        let shards = spawn_shards(config.shards, || Surroundings {
            clock,
            notices: snapshot.clone(),
            reports: candidates.clone(),
            recording: Some(Recording { journal: books.journal(), bounds: Bounds::default() }),
            shutdown: shutdown.clone(),
            drain: config.limits.drain(),
        })?;
        // The hub ends when the last shard has dropped its end.
        drop(candidates);
        let mut pool = Self {
            addresses: listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            identity,
            events: events.clone(),
            tasks: Vec::new(),
            shards,
            ledger: books.ledger.clone(),
            reloader: Arc::new(Reloader::new(
                config,
                &space,
                &payouts,
                &registry,
                certificates.iter().flatten().cloned().collect(),
            )?),
            http: None,
        };
        let sources_known = config.source.iter().map(node_name).zip(config.source.iter().map(node_kind));
        let capabilities = sources.iter().map(|source| source.capabilities());
        let sources_known = sources_known.zip(capabilities).map(|((name, kind), able)| (name, kind, able));
        let board = Arc::new(Board::new(clock.now(), sources_known));
        let (gate, nudge, ending) = (config.limits.gate(), Arc::<Notify>::default(), Shutdown::new());
        let insight = Insight {
            facts: pool.facts(config, clock.now()),
            clock,
            registry,
            board: board.clone(),
            gate: gate.clone(),
            reloader: pool.reloader.clone(),
            shutdown: shutdown.clone(),
            nudge: nudge.clone(),
            confirmations: config.nodes.confirmations,
            watchers: api::watchers(&config.http, &ending),
        };
        pool.http = Some(Http::start(config, views, insight, events.subscribe(), ending.clone())?);
        let accepting = shutdown.child_token();
        let accepts = pool.listen(config, listeners, &certificates, (clock, gate), &accepting).map_err(data)?;
        if let Some(succession) = succession {
            pool.tasks.push(tokio::spawn(succession::confirm(succession, snapshots.subscribe(), shutdown.clone())));
        }
        let (owned, owns) = oneshot::channel();
        let folder = config.data_dir.clone();
        let accepting = (accepting, ending, accepts);
        let offer = succession::offer(folder, owns, sockets, accepting, shutdown.clone());
        pool.tasks.push(tokio::spawn(offer));
        let store = store::Writer::start(move |block, state| store.write(block, state)).map_err(data)?;
        let mut driver = Driver::new(clock, hub, sources, constraints, snapshots, events, store, books);
        driver.notifications = notifications;
        (driver.board, driver.nudge) = (board, nudge);
        pool.tasks.push(tokio::spawn(driver.run(found, (estate, owned), config.limits.drain(), shutdown)));
        Ok(pool)
    }

    /// The addresses that miners can connect to, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the operator's view is served, if it is.
    pub fn operator_address(&self) -> Option<SocketAddr> {
        self.http.as_ref()?.operator
    }

    /// Where the public view is served, if it is.
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.http.as_ref()?.public
    }

    /// The public authority key that miners need, where a listener uses noise.
    pub fn authority(&self) -> Option<noise_sv2::AuthorityPublicKey> {
        self.identity.as_ref().map(|identity| identity.public_key())
    }

    /// Changes what can be changed while the pool runs.
    pub fn reloader(&self) -> Arc<Reloader> {
        self.reloader.clone()
    }

    /// What happens from now on. A receiver that is too slow misses events.
    pub fn events(&self) -> broadcast::Receiver<PoolEvent> {
        self.events.subscribe()
    }

    /// Waits until everything has stopped after shutdown.
    pub async fn join(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!("a task of the pool failed: {error}");
            }
        }
        let shards: Vec<_> = self.shards.into_iter().filter_map(Arc::into_inner).collect();
        let joined = tokio::task::spawn_blocking(|| shards.into_iter().for_each(Shard::join)).await;
        if let Err(error) = joined {
            tracing::error!("a shard could not be joined: {error}");
        }
        // Until here it could be seen how all ends.
        if let Some(http) = self.http {
            http.end().await;
        }
        // What the shards have appended is written before the ledger's threads end.
        let ledger = self.ledger;
        if let Err(error) = tokio::task::spawn_blocking(move || drop(ledger)).await {
            tracing::error!("the ledger could not be closed: {error}");
        }
    }

    /// What of it does not change.
    fn facts(&self, config: &PoolConfig, now: Duration) -> Facts {
        let listeners = config.listen.iter().zip(&self.addresses).map(|(listen, address)| ListenerFacts {
            name: listen.name.clone().unwrap_or_else(|| address.to_string()),
            address: address.to_string(),
            noise: listen.noise,
            v1: listen.v1,
        });
        Facts {
            network: config.network,
            devnet: config.source.iter().any(|source| matches!(source, SourceConfig::Devnet { .. })),
            coinbase_tag: config.coinbase_tag.clone(),
            authority_key: self.authority().map(|key| key.to_string()),
            listeners: listeners.collect(),
            started_at: now,
        }
    }

    fn listen(
        &self,
        config: &PoolConfig,
        listeners: Vec<std::net::TcpListener>,
        certificates: &[Option<Arc<TlsIdentity>>],
        (clock, gate): (Clock, Arc<Gate>),
        shutdown: &Shutdown,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let limits = config.limits.of_connections();
        let (places, timeouts, shutdown) = (config.limits.places(), config.limits.of_sockets(), shutdown.clone());
        let entrance = Entrance { clock, places, gate: gate.clone(), timeouts, shutdown };
        let mut accepts = Vec::new();
        let listeners = listeners.into_iter().zip(&config.listen).zip(self.reloader.sessions());
        for (index, ((listener, listen), sessions)) in listeners.enumerate() {
            let security = match (&self.identity, listen.noise) {
                (Some(identity), true) => Security::Noise(identity.clone()),
                _ => Security::Plain,
            };
            let tls = certificates.get(index).cloned().flatten();
            let protocols = Protocols { v2: listen.v2.then_some(security), v1: listen.clear_v1(), tls };
            let make = Arc::new(move |now, peer: Peer| Connection::new(now, peer, sessions.borrow().clone()));
            let service = Arc::new(Service { protocols, limits, gate: gate.clone(), listener: index, make });
            let shards = self.shards.clone();
            let mut turn = 0;
            let serve = move |connection| {
                if let Some(shard) = shards.get(turn % shards.len()) {
                    shard.serve(connection, service.clone());
                }
                turn += 1;
            };
            let listener = TcpListener::from_std(listener)?;
            accepts.push(tokio::spawn(accept_loop(listener, index, listen.proxy.clone(), entrance.clone(), serve)));
        }
        Ok(accepts)
    }
}

fn spawn_shards(
    wanted: usize,
    mut surroundings: impl FnMut() -> Surroundings<Connection>,
) -> Result<Vec<Arc<Shard<Connection>>>, StartError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let count = if wanted == 0 { cores } else { wanted };
    (0..count).map(|index| Shard::spawn(index, surroundings()).map(Arc::new).map_err(StartError::Threads)).collect()
}

/// What the pool's coinbases need of each template.
///
/// # Errors
/// When the configuration makes no coinbase.
pub fn constraints(config: &PoolConfig) -> Result<template_source::Constraints, InvalidConfig> {
    Ok(constraints_of(Payouts::new(config, LAYOUT.full_size())?.constraints()))
}

fn constraints_of(
    Constraints { max_additional_size, max_additional_sigops }: Constraints,
) -> template_source::Constraints {
    template_source::Constraints { max_additional_size, max_additional_sigops }
}

/// What the configuration says about sessions of a listener, for channels out of `space`. `registry` shows them, and calls the
/// listener `listener`.
///
/// # Errors
/// When it contradicts itself.
pub fn session_config(
    config: &PoolConfig,
    listen: &Listen,
    listener: usize,
    space: Space,
    payouts: Arc<Payouts>,
    registry: Arc<Registry>,
) -> Result<SessionConfig, InvalidConfig> {
    let (targets, vardiff) = profile::targets(&config.shares, listen)?;
    Ok(SessionConfig {
        space,
        payouts,
        policies: listen.policies.clone(),
        rules: Rules { ntime_tolerance: config.shares.ntime_tolerance, ..Rules::default() },
        targets,
        vardiff,
        acknowledge: config.ledger.acknowledge,
        ack_limits: config.ledger.ack_limits(),
        max_channels: config.limits.channels,
        setup: Duration::from_secs(config.limits.setup_seconds),
        first_channel: Duration::from_secs(config.limits.first_channel_seconds),
        limits: config.limits.of_sessions(),
        registry,
        listener,
    })
}

/// Moves what goes into and comes out of the hub.
struct Driver {
    clock: Clock,
    hub: Hub,
    commands: Vec<mpsc::Sender<Command>>,
    source_events: mpsc::Receiver<(usize, Event)>,
    /// Carry the sources' events here.
    carriers: Vec<JoinHandle<()>>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    events: broadcast::Sender<PoolEvent>,
    store: store::Writer,
    books: Books,
    notifications: Option<Notifications>,
    /// What others see of it.
    board: Arc<Board>,
    /// Gives each session its turn although nothing has changed.
    nudge: Arc<Notify>,
}

/// The data folder, when it is this process' own.
type EstateToCome = Pin<Box<dyn Future<Output = io::Result<(Estate, Arc<Ledger>)>> + Send>>;

async fn come<T>(estate: &mut Option<(EstateToCome, T)>) -> io::Result<(Estate, Arc<Ledger>)> {
    match estate {
        Some((estate, _)) => estate.await,
        None => std::future::pending().await,
    }
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "called once, with all that the hub moves")]
    fn new(
        clock: Clock,
        hub: Hub,
        sources: Vec<Arc<dyn TemplateSource>>,
        constraints: Constraints,
        snapshots: watch::Sender<Arc<Snapshot>>,
        events: broadcast::Sender<PoolEvent>,
        store: store::Writer,
        books: Books,
    ) -> Self {
        let constraints = constraints_of(constraints);
        let (sender, source_events) = mpsc::channel(SOURCE_QUEUE);
        let (mut commands, mut carriers) = (Vec::new(), Vec::new());
        for (index, source) in sources.into_iter().enumerate() {
            let mut subscription = source.subscribe(constraints);
            commands.push(subscription.commands);
            let sender = sender.clone();
            carriers.push(tokio::spawn(async move {
                while let Some(event) = subscription.events.recv().await {
                    if sender.send((index, event)).await.is_err() {
                        return;
                    }
                }
                let reason = "the source has ended".to_owned();
                let _ = sender.send((index, Event::Down { reason, retry_in: Duration::MAX })).await;
            }));
        }
        let (board, nudge) = (Arc::new(Board::new(clock.now(), [])), Arc::default());
        Self {
            clock,
            hub,
            commands,
            source_events,
            carriers,
            snapshots,
            events,
            store,
            books,
            notifications: None,
            board,
            nudge,
        }
    }

    /// Goes on after shutdown until the last shard has ended. `estate` comes with a word for who waits for it.
    async fn run(
        mut self,
        mut candidates: mpsc::Receiver<Candidate>,
        estate: (EstateToCome, oneshot::Sender<()>),
        drain: Duration,
        shutdown: Shutdown,
    ) {
        let mut estate = Some(estate);
        // Released when all is on the disk.
        let mut lock = None;
        let mut give_up = None;
        loop {
            self.carry_out();
            let deadline = self.hub.poll_timeout();
            tokio::select! {
                biased;
                taken = come(&mut estate) => {
                    lock = self.take_up(taken);
                    if let Some((_, owned)) = estate.take().filter(|_| lock.is_some()) {
                        // Nobody waits for it when all has ended.
                        let _ = owned.send(());
                    }
                }
                () = shutdown.cancelled(), if give_up.is_none() => {
                    give_up = Some(self.clock.now() + drain + LAST_CANDIDATES);
                }
                () = self.clock.sleep_until(give_up) => {
                    tracing::error!("a shard did not end within {:?}", drain + LAST_CANDIDATES);
                    break;
                }
                // Candidates first: a block is worth more than a template.
                candidate = candidates.recv() => match candidate {
                    Some(candidate) => self.candidate(candidate),
                    // The shards end when they have told of what was found in the last moment.
                    None => break,
                },
                Some((source, event)) = self.source_events.recv() => {
                    self.hub.handle_source(self.clock.now(), source, event);
                    self.take_what_came_along(&candidates);
                }
                () = self.nudge.notified() => self.snapshots.send_modify(|_| {}),
                () = self.clock.sleep_until(deadline) => self.hub.handle_timeout(self.clock.now()),
            }
        }
        last_commands(self.carriers, self.commands).await;
        let store = self.store;
        if let Err(error) = tokio::task::spawn_blocking(move || store.finish()).await {
            tracing::error!("found blocks could not be written: {error}");
        }
        if let Some(notifications) = self.notifications {
            notifications.finish().await;
        }
        drop(lock);
    }

    /// Sees to the blocks of the processes before this one.
    fn take_up(&mut self, estate: io::Result<(Estate, Arc<Ledger>)>) -> Option<fs::File> {
        let (Estate { lock, blocks }, ledger) = match estate {
            Ok(estate) => estate,
            Err(error) => {
                tracing::error!("the data folder can not be taken up, so that no share is acknowledged: {error}");
                return None;
            }
        };
        for (block, state) in blocks {
            if state == BlockState::Open {
                tracing::warn!(hash = %block.hash, height = block.height, "found block from before the restart is submitted again");
            }
            self.books.remember(block.hash, block.height);
            self.hub.restore(self.clock.now(), block, state);
        }
        self.books.open(ledger, &self.events, &self.board);
        self.board.has_ledger();
        if let Some(notifications) = &self.notifications {
            notifications.own_data_folder();
        }
        Some(lock)
    }

    /// A tip mostly comes together with its template. If the shards heard of the template alone first, they would write to some miners
    /// twice, and to those the tip last. Found blocks still go first.
    fn take_what_came_along(&mut self, candidates: &mpsc::Receiver<Candidate>) {
        for _ in 0..SOURCE_QUEUE {
            if !candidates.is_empty() {
                return;
            }
            let Ok((source, event)) = self.source_events.try_recv() else { return };
            self.hub.handle_source(self.clock.now(), source, event);
        }
    }

    fn candidate(&mut self, mut found: Candidate) {
        let now = self.clock.now();
        let hash = found.candidate.hash;
        self.store.hold(hash, std::mem::take(&mut found.hold));
        match self.hub.handle_candidate(now, &found) {
            Some(height) => self.books.note(now, Note::Found(height, found)),
            None => self.store.is_known(hash),
        }
    }

    /// Does what the hub wants. Waits for nothing: not for a source, nor for the disk.
    fn carry_out(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Publish(snapshot) => {
                    self.snapshots.send_replace(snapshot);
                }
                Output::Command { source, command } => self.command(source, command),
                Output::Persist { block, state } => self.store.write(block, state),
                Output::Event(event) => {
                    log(&event);
                    self.board.note(self.clock.now(), &event);
                    self.books.note(self.clock.now(), Note::Event(event.clone()));
                    // Nobody needs to be watching.
                    let _ = self.events.send(event);
                }
            }
        }
        self.board.look(self.clock.now(), &self.hub);
    }

    /// Never waits for a source; a block that it has no room for is tried again.
    fn command(&mut self, source: usize, command: Command) {
        let Some(sender) = self.commands.get(source) else { return };
        let Err(error) = sender.try_send(command) else { return };
        let reason = error.to_string();
        let (mpsc::error::TrySendError::Full(command) | mpsc::error::TrySendError::Closed(command)) = error;
        let reason = format!("the template source is behind: {reason}");
        let failed = |hash, path| Event::Submitted { hash, path, outcome: SubmitOutcome::Failed(reason.clone()) };
        let answer = match command {
            Command::SubmitSolution(solution) => failed(solution.hash, SubmitPath::Solution),
            Command::SubmitBlock { hash, .. } => failed(hash, SubmitPath::RawBlock),
            Command::RequestTransactions(id) => Event::Transactions { id, result: Err(reason) },
            Command::RequestConfirmations(hash) => Event::Confirmations { hash, result: Err(reason) },
            Command::SetConstraints(_) => return tracing::warn!(source, "{reason}"),
        };
        self.hub.handle_source(self.clock.now(), source, answer);
    }
}

/// Waits until the sources have seen through what they were handed: for blocks of the last moment.
async fn last_commands(carriers: Vec<JoinHandle<()>>, commands: Vec<mpsc::Sender<Command>>) {
    // A source ends when nobody reads its events.
    carriers.iter().for_each(JoinHandle::abort);
    let ended = async {
        for commands in commands {
            commands.closed().await;
        }
    };
    if tokio::time::timeout(LAST_COMMANDS, ended).await.is_err() {
        tracing::error!("a template source did not end within {LAST_COMMANDS:?}");
    }
}

async fn open_ledger(data_dir: &Path) -> Result<Arc<Ledger>, OpenError> {
    let config = share_ledger::Config::new(data_dir.join(LEDGER_FOLDER));
    let path = config.folder.clone();
    // It reads the end of its log.
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&config)).await;
    opened.unwrap_or_else(|error| Err(OpenError::Io { path, error: io::Error::other(error) })).map(Arc::new)
}

/// Waits for the process before this one to let go of the ledger, and for a disk that is full: the miners are here already, and
/// their shares wait.
async fn inherit_ledger(data_dir: &Path) -> Arc<Ledger> {
    loop {
        let pause = match open_ledger(data_dir).await {
            Ok(ledger) => return ledger,
            Err(OpenError::InUse(_)) => succession::LOOK,
            Err(error) => {
                tracing::error!("the share ledger can not be opened, shares wait for their acknowledgement: {error}");
                LEDGER_RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Pause after a ledger that could not be opened when a process takes over.
const LEDGER_RETRY: Duration = Duration::from_secs(5);

/// Notes of blocks that may wait until the ledger is this process' own; further ones are lost to the ledger, not to the nodes.
const MAX_WAITING_NOTES: usize = 4_096;

/// What the ledger is to know of blocks.
enum Note {
    Found(u32, Candidate),
    Event(PoolEvent),
}

/// The ledger's side of the pool: the shards' journals and the life of blocks. What comes before the ledger is this process' own
/// waits, and so do the acknowledgements of its shares.
struct Books {
    ledger: Arc<OnceLock<Arc<Ledger>>>,
    journals: Vec<Arc<LedgerJournal>>,
    nodes: Vec<String>,
    blocks: Option<BlockLog>,
    /// Blocks from before this process.
    known: Vec<(BlockHash, u32)>,
    waiting: Vec<(Duration, Note)>,
}

impl Books {
    fn new(config: &PoolConfig) -> Self {
        Self {
            ledger: Arc::default(),
            journals: Vec::new(),
            nodes: config.source.iter().map(node_name).collect(),
            blocks: None,
            known: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// For one shard.
    fn journal(&mut self) -> Arc<LedgerJournal> {
        let journal = Arc::new(LedgerJournal::new());
        self.journals.push(journal.clone());
        journal
    }

    fn remember(&mut self, hash: BlockHash, height: u32) {
        self.known.push((hash, height));
    }

    fn note(&mut self, now: Duration, note: Note) {
        match (&mut self.blocks, note) {
            (Some(blocks), Note::Found(height, found)) => blocks.found(now, height, &found.candidate, &found.finder),
            (Some(blocks), Note::Event(event)) => blocks.note(now, &event),
            (None, note) if self.waiting.len() < MAX_WAITING_NOTES => self.waiting.push((now, note)),
            (None, _) => tracing::error!("the ledger will not know all of what happened before it was taken over"),
        }
    }

    /// The ledger is this process' own from now on.
    fn open(&mut self, ledger: Arc<Ledger>, events: &broadcast::Sender<PoolEvent>, board: &Arc<Board>) {
        // The pool's own account is there from the first start.
        let fallback = ledger.worker(POOL_ACCOUNT, "").unwrap_or(WorkerId::NOBODY);
        self.journals.iter().for_each(|journal| journal.open(ledger.clone(), fallback));
        let tell = |make: fn(Option<String>) -> PoolEvent| {
            let (events, board) = (events.clone(), board.clone());
            move |failing| {
                let event = make(failing);
                log(&event);
                // Since when is not asked of the ledger.
                board.note(Duration::ZERO, &event);
                // Nobody needs to be watching.
                let _ = events.send(event);
            }
        };
        ledger::watch_health(ledger.health(), tell(|failing| PoolEvent::Ledger { failing }));
        ledger::watch_health(ledger.index_health(), tell(|failing| PoolEvent::LedgerIndex { failing }));
        let mut blocks = BlockLog::new(ledger.clone(), std::mem::take(&mut self.nodes));
        self.known.drain(..).for_each(|(hash, height)| blocks.remember(hash, height));
        self.blocks = Some(blocks);
        for (at, note) in std::mem::take(&mut self.waiting) {
            self.note(at, note);
        }
        // It is set once: the data folder comes once.
        let _ = self.ledger.set(ledger);
    }
}

/// What kind a source is, as the configuration says it.
fn node_kind(source: &SourceConfig) -> &'static str {
    match source {
        SourceConfig::BitcoinIpc { .. } => "bitcoin-ipc",
        SourceConfig::BitcoinRpc { .. } => "bitcoin-rpc",
        SourceConfig::Sv2 { .. } => "sv2",
        SourceConfig::Devnet { .. } => "devnet",
    }
}

/// What the ledger calls a source: what it is, and where. No password is in it.
fn node_name(source: &SourceConfig) -> String {
    match source {
        SourceConfig::BitcoinIpc { socket } => format!("bitcoin-ipc {}", socket.display()),
        SourceConfig::BitcoinRpc { url, .. } => format!("bitcoin-rpc {}", url.rsplit('@').next().unwrap_or_default()),
        SourceConfig::Sv2 { url, .. } => format!("sv2 {url}"),
        SourceConfig::Devnet { .. } => "devnet".to_owned(),
    }
}

fn log(event: &PoolEvent) {
    match event {
        PoolEvent::Ledger { failing: Some(reason) } => {
            tracing::error!("the share ledger can not be written, shares wait for their acknowledgement: {reason}");
        }
        PoolEvent::Ledger { failing: None } => tracing::info!("the share ledger is written again"),
        PoolEvent::LedgerIndex { failing: Some(reason) } => {
            tracing::error!("the ledger's database does not follow its log; shares are safe: {reason}");
        }
        PoolEvent::LedgerIndex { failing: None } => tracing::info!("the ledger's database follows its log again"),
        PoolEvent::BlockFound(block) => {
            tracing::info!(height = block.height, hash = %block.hash, finder = block.finder, "block found");
        }
        PoolEvent::BlockSubmitted { hash, source, path } => tracing::info!(%hash, source, ?path, "block submitted"),
        PoolEvent::BlockAnswered { hash, source, path, outcome } => match outcome {
            SubmitOutcome::Accepted | SubmitOutcome::Sent => {
                tracing::info!(%hash, source, ?path, ?outcome, "block taken")
            }
            // Another way may have got it through before.
            SubmitOutcome::Rejected(why) | SubmitOutcome::Failed(why) => {
                tracing::warn!(%hash, source, ?path, "block not taken: {why}");
            }
        },
        PoolEvent::BlockDecided(block, state @ (BlockState::Accepted | BlockState::Confirmed)) => {
            tracing::info!(height = block.height, hash = %block.hash, finder = block.finder, "block {}", state.word());
        }
        PoolEvent::BlockDecided(block, state) => {
            tracing::error!(height = block.height, hash = %block.hash, finder = block.finder, ?state, "block not accepted");
        }
        PoolEvent::BlockDepth { hash, confirmations } => {
            tracing::debug!(%hash, confirmations, "depth of a found block")
        }
        PoolEvent::SourceUp { source, description } => tracing::info!(source, "template source up: {description}"),
        PoolEvent::SourceDown { source, reason } => {
            tracing::warn!(source, "template source down: {reason}; miners keep their jobs");
        }
        PoolEvent::SourceSelected { source } => tracing::info!(source, "miners work on templates of this source"),
        PoolEvent::NewTip { prev_hash, height, source } => {
            tracing::info!(source, height, prev_hash = %prev_hash, "new tip");
        }
    }
}
