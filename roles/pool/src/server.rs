//! The running pool: sockets, shards, the hub's task, template sources, disk.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use roles_logic_sv2::{
    extranonce::{Layout, LayoutError, Space},
    job::Constraints,
    share::Rules,
    target::{Target, TargetBounds, WORK_OF_DIFFICULTY_1},
};
use share_ledger::{LEDGER_FOLDER, Ledger, OpenError, ShareLedger, WorkerId};
use stratum_runtime::{
    core::Clock,
    identity::{Identity, KeyFileError, load_authority_key},
    journal::{Bounds, Progress, Recording},
    key_log::{self, KeyLogFileError},
    listener::accept_loop,
    shard::{Limits, Security, Service, Shard, Surroundings},
    shutdown::Shutdown,
};
use template_source::{Command, Event, SubmitOutcome, SubmitPath, TemplateSource, config::SourceConfig};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, broadcast, mpsc, watch},
    task::JoinHandle,
};

use crate::{
    blocks::BlockState,
    config::{InvalidConfig, Listen, PoolConfig, Shares},
    epoch,
    hub::{Candidate, Hub, Output, PoolEvent},
    ledger::{self, BlockLog, LedgerJournal},
    payouts::{POOL_ACCOUNT, Payouts},
    session::{Session, SessionConfig},
    snapshot::Snapshot,
    store::{self, BlockStore},
};

/// Block candidates that wait for the hub; when it is full, the shards stop reading from those who find more.
const CANDIDATE_QUEUE: usize = 256;

/// How long the shards may take to end. They give up before that.
const LAST_CANDIDATES: Duration = Duration::from_secs(8);

/// Events of all sources that wait for the hub.
const SOURCE_QUEUE: usize = 64;

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
    shards: Vec<Arc<Shard<Session>>>,
    ledger: Arc<Ledger>,
    // Held, so that no other pool uses the folder.
    _lock: fs::File,
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
        let data = |source| StartError::Data { path: config.data_dir.clone(), source };
        fs::create_dir_all(&config.data_dir).map_err(data)?;
        let lock = epoch::lock(&config.data_dir).map_err(data)?;
        let epoch = epoch::next(&config.data_dir).map_err(data)?;
        let store = BlockStore::open(&config.data_dir).map_err(data)?;
        let constraints = payouts.constraints();
        let space = Space::new(LAYOUT, config.server_id.into(), epoch)?;

        let clock = Clock::start();
        let mut hub = Hub::new(
            payouts.factory().clone(),
            &sources.iter().map(|source| source.capabilities()).collect::<Vec<_>>(),
        );
        hub = hub
            .with_job_refresh(Duration::from_secs(config.shares.job_refresh_seconds))
            .with_recycler(space.recycler());
        hub = hub.with_failover(config.nodes.failover()).with_confirmations(config.nodes.confirmations);
        let shared = SharedLedger::open(&config.data_dir).await.map_err(StartError::Ledger)?;
        let mut block_log = shared.block_log(config);
        for (block, state) in store.undecided().map_err(data)? {
            block_log.remember(block.hash, block.height);
            if state == BlockState::Open {
                tracing::warn!(hash = %block.hash, height = block.height, "found block from before the restart is submitted again");
            }
            hub.restore(block, state);
        }
        let listeners = bind(config).await?;
        let (events, _) = broadcast::channel(EVENT_QUEUE);
        let (snapshots, snapshot) = watch::channel(Arc::new(Snapshot::default()));
        let (candidates, found) = mpsc::channel(CANDIDATE_QUEUE);
        shared.report_health(&events);
        let shards = spawn_shards(config.shards, || Surroundings {
            clock,
            notices: snapshot.clone(),
            reports: candidates.clone(),
            recording: Some(Recording { journal: Arc::new(shared.journal()), bounds: Bounds::default() }),
            shutdown: shutdown.clone(),
        })?;
        // The hub ends when the last shard has dropped its end.
        drop(candidates);
        let mut pool = Self {
            addresses: listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            identity,
            events: events.clone(),
            tasks: Vec::new(),
            shards,
            ledger: shared.ledger,
            _lock: lock,
        };
        pool.listen(config, listeners, &space, &payouts, &shutdown);
        let store = store::Writer::start(move |block, state| store.write(block, state)).map_err(data)?;
        let driver = Driver::new(clock, hub, sources, constraints, snapshots, events, store, block_log);
        pool.tasks.push(tokio::spawn(driver.run(found, shutdown)));
        Ok(pool)
    }

    /// The addresses that miners can connect to, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The public authority key that miners need, where a listener uses noise.
    pub fn authority(&self) -> Option<noise_sv2::AuthorityPublicKey> {
        self.identity.as_ref().map(|identity| identity.public_key())
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
        // What the shards have appended is written before the ledger's threads end.
        let ledger = self.ledger;
        if let Err(error) = tokio::task::spawn_blocking(move || drop(ledger)).await {
            tracing::error!("the ledger could not be closed: {error}");
        }
    }

    fn listen(
        &mut self,
        config: &PoolConfig,
        listeners: Vec<TcpListener>,
        space: &Space,
        payouts: &Arc<Payouts>,
        shutdown: &Shutdown,
    ) {
        let limits = Limits {
            message_bytes: config.limits.message_bytes,
            handshake: Duration::from_secs(config.limits.handshake_seconds),
            unsent: Duration::from_secs(config.limits.unsent_seconds),
        };
        let places = Arc::new(Semaphore::new(config.limits.connections.min(Semaphore::MAX_PERMITS)));
        for (listener, listen) in listeners.into_iter().zip(&config.listen) {
            let security = match (&self.identity, listen.noise) {
                (Some(identity), true) => Security::Noise(identity.clone()),
                _ => Security::Plain,
            };
            let session = Arc::new(session_config(config, listen, space.clone(), payouts.clone()));
            let make = Arc::new(move |now, peer| Session::new(now, peer, session.clone()));
            let service = Arc::new(Service { security, limits, make });
            let shards = self.shards.clone();
            let mut turn = 0;
            let serve = move |connection| {
                if let Some(shard) = shards.get(turn % shards.len()) {
                    shard.serve(connection, service.clone());
                }
                turn += 1;
            };
            self.tasks.push(tokio::spawn(accept_loop(listener, places.clone(), shutdown.clone(), serve)));
        }
    }
}

async fn bind(config: &PoolConfig) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for listen in &config.listen {
        let address = listen.address;
        let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
        let local = listener.local_addr().map_err(|source| StartError::Listen { address, source })?;
        tracing::info!(address = %local, noise = listen.noise, "listening for miners");
        listeners.push(listener);
    }
    Ok(listeners)
}

fn spawn_shards(
    wanted: usize,
    surroundings: impl Fn() -> Surroundings<Session>,
) -> Result<Vec<Arc<Shard<Session>>>, StartError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let count = if wanted == 0 { cores } else { wanted };
    (0..count).map(|index| Shard::spawn(index, surroundings()).map(Arc::new).map_err(StartError::Threads)).collect()
}

/// What the configuration says about sessions of a listener, for channels out of `space`.
pub fn session_config(config: &PoolConfig, listen: &Listen, space: Space, payouts: Arc<Payouts>) -> SessionConfig {
    let Shares { per_minute, vardiff, min_difficulty, max_difficulty, start_difficulty, .. } = config.shares;
    let easiest = Target::from_zero_bits(work_bits(min_difficulty).ceil() as u32);
    let not_harder = |difficulty: f64| Target::from_zero_bits(work_bits(difficulty).floor() as u32);
    let hardest = max_difficulty.map_or(TargetBounds::NONE.hardest, not_harder);
    SessionConfig {
        space,
        payouts,
        policies: listen.policies.clone(),
        rules: Rules { ntime_tolerance: config.shares.ntime_tolerance, ..Rules::default() },
        bounds: TargetBounds { easiest, hardest },
        start: start_difficulty.map(not_harder),
        shares_per_minute: per_minute,
        vardiff,
        acknowledge: config.ledger.acknowledge,
        ack_limits: config.ledger.ack_limits(),
        max_channels: config.limits.channels,
        setup: Duration::from_secs(config.limits.setup_seconds),
        first_channel: Duration::from_secs(config.limits.first_channel_seconds),
    }
}

/// Logarithm to base 2 of a difficulty's work, between 0 and 127.
fn work_bits(difficulty: f64) -> f64 {
    (difficulty * WORK_OF_DIFFICULTY_1 as f64).max(1.0).log2().min(127.0)
}

/// Moves what goes into and comes out of the hub.
struct Driver {
    clock: Clock,
    hub: Hub,
    commands: Vec<mpsc::Sender<Command>>,
    source_events: mpsc::Receiver<(usize, Event)>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    events: broadcast::Sender<PoolEvent>,
    store: store::Writer,
    block_log: BlockLog,
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
        block_log: BlockLog,
    ) -> Self {
        let constraints = template_source::Constraints {
            max_additional_size: constraints.max_additional_size,
            max_additional_sigops: constraints.max_additional_sigops,
        };
        let (sender, source_events) = mpsc::channel(SOURCE_QUEUE);
        let mut commands = Vec::new();
        for (index, source) in sources.into_iter().enumerate() {
            let mut subscription = source.subscribe(constraints);
            commands.push(subscription.commands);
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(event) = subscription.events.recv().await {
                    if sender.send((index, event)).await.is_err() {
                        return;
                    }
                }
                let reason = "the source has ended".to_owned();
                let _ = sender.send((index, Event::Down { reason, retry_in: Duration::MAX })).await;
            });
        }
        Self { clock, hub, commands, source_events, snapshots, events, store, block_log }
    }

    async fn run(mut self, mut candidates: mpsc::Receiver<Candidate>, shutdown: Shutdown) {
        loop {
            self.carry_out();
            let deadline = self.hub.poll_timeout();
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                // Candidates first: a block is worth more than a template.
                Some(candidate) = candidates.recv() => self.candidate(candidate),
                Some((source, event)) = self.source_events.recv() => {
                    self.hub.handle_source(self.clock.now(), source, event);
                }
                () = timer => self.hub.handle_timeout(self.clock.now()),
            }
        }
        // What was found in the last moment is still submitted and written: the shards end when they have told of it.
        let last = async {
            while let Some(candidate) = candidates.recv().await {
                self.candidate(candidate);
                self.carry_out();
            }
        };
        if tokio::time::timeout(LAST_CANDIDATES, last).await.is_err() {
            tracing::error!("a shard did not end within {LAST_CANDIDATES:?}");
        }
        let store = self.store;
        if let Err(error) = tokio::task::spawn_blocking(move || store.finish()).await {
            tracing::error!("found blocks could not be written: {error}");
        }
    }

    fn candidate(&mut self, candidate: Candidate) {
        let now = self.clock.now();
        let found = candidate.clone();
        if let Some(height) = self.hub.handle_candidate(now, candidate) {
            self.block_log.found(now, height, &found.candidate, &found.finder);
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
                    self.block_log.note(self.clock.now(), &event);
                    // Nobody needs to be watching.
                    let _ = self.events.send(event);
                }
            }
        }
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

/// The ledger, and what is known of its progress.
struct SharedLedger {
    ledger: Arc<Ledger>,
    progress: watch::Receiver<Progress>,
    fallback: WorkerId,
}

impl SharedLedger {
    async fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let config = share_ledger::Config::new(data_dir.join(LEDGER_FOLDER));
        let path = config.folder.clone();
        // It reads the end of its log.
        let opened = tokio::task::spawn_blocking(move || Ledger::open(&config)).await;
        let ledger = opened.unwrap_or_else(|error| Err(OpenError::Io { path, error: io::Error::other(error) }))?;
        // The pool's own account is there from the first start.
        let fallback = ledger.worker(POOL_ACCOUNT, "").unwrap_or(WorkerId::NOBODY);
        Ok(Self { progress: ledger::follow(&ledger), ledger: Arc::new(ledger), fallback })
    }

    /// A queue for one shard.
    fn journal(&self) -> LedgerJournal {
        LedgerJournal::new(self.ledger.clone(), self.fallback, self.progress.clone())
    }

    fn block_log(&self, config: &PoolConfig) -> BlockLog {
        BlockLog::new(self.ledger.clone(), config.source.iter().map(node_name).collect())
    }

    fn report_health(&self, events: &broadcast::Sender<PoolEvent>) {
        let tell = |make: fn(Option<String>) -> PoolEvent| {
            let events = events.clone();
            move |failing| {
                let event = make(failing);
                log(&event);
                // Nobody needs to be watching.
                let _ = events.send(event);
            }
        };
        ledger::watch_health(self.ledger.health(), tell(|failing| PoolEvent::Ledger { failing }));
        ledger::watch_health(self.ledger.index_health(), tell(|failing| PoolEvent::LedgerIndex { failing }));
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
