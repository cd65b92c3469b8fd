//! The running translator: sockets, shards, the hub's task, connections upstream.

mod dial;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rand_core::{OsRng, RngCore as _};
use roles_logic_sv2::extranonce::{LayoutError, Space};
use stratum_runtime::{
    core::{Clock, Peer},
    http::Server,
    letters::Post,
    listener::{self, Entrance, accept_loop},
    shard::{LAST_REPORTS, Protocols, Security, Service, Shard, Surroundings},
    shutdown::Shutdown,
    sockets::Inherited,
    tls::{TlsError, TlsFiles, TlsIdentity},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};

use self::dial::{Connections, LinkInput};
use crate::{
    api::{self, Insight},
    config::{Http, InvalidConfig, Listen, Tls, TranslatorConfig},
    hub::{Hub, Output, RouteStatus, UpstreamStatus},
    room,
    session::{Commons, Session, SessionConfig},
    snapshot::{Crowd, Report, Snapshot},
    stats::Registry,
};

/// Reports that wait for the hub; when it is full, the shards stop reading from those who have more.
const REPORT_QUEUE: usize = 4_096;
/// What comes of upstreams and waits for the hub; when it is full, they are not read from.
const LINK_QUEUE: usize = 256;
/// Reports and frames that the hub takes before it sends what came of them.
const INPUTS_PER_TURN: usize = 256;
/// Files that are open beside miners' connections: upstreams, logs, with room to spare.
const FILES_BESIDE_CONNECTIONS: u64 = 100;
/// How long connections upstream may take to send what is left.
const LAST_FRAMES: Duration = Duration::from_secs(2);

/// Why a translator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no translator.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// No certificate for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address can not be listened on.
    #[error("listen {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The space of miners' numbers.
    #[error("extranonce: {0}")]
    Extranonce(#[from] LayoutError),
    /// The API can not be listened on.
    #[error("http.operator {address}: {source}; name another address, or set http.enabled = false")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no threads.
    #[error("threads: {0}")]
    Threads(io::Error),
}

/// Routes and upstreams, for people.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// See [`RouteStatus`].
    pub routes: Vec<RouteStatus>,
    /// See [`UpstreamStatus`].
    pub upstreams: Vec<UpstreamStatus>,
}

/// A running translator. It ends when its shutdown token is cancelled.
#[derive(Debug)]
pub struct Translator {
    addresses: Vec<SocketAddr>,
    registry: Registry,
    status: Arc<Mutex<Status>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    sessions: watch::Sender<Arc<SessionConfig>>,
    tls: Vec<Arc<TlsIdentity>>,
    tasks: Vec<JoinHandle<()>>,
    shards: Vec<Arc<Shard<Session>>>,
    http: Option<(SocketAddr, Server)>,
}

impl Translator {
    /// Starts a translator. Must be called within a tokio runtime. `inherited` are sockets that are open already.
    ///
    /// # Errors
    /// Only what is wrong at the start: see [`StartError`]. An upstream that does not answer is no error; it is retried.
    pub fn start(config: &TranslatorConfig, mut inherited: Inherited, shutdown: Shutdown) -> Result<Self, StartError> {
        config.check()?;
        let hub_config = Arc::new(config.hub()?);
        let sessions = watch::Sender::new(Arc::new(config.session()?));
        let slots = Space::new(room::slots()?, 0, 0)?;
        let registry = Registry::default();
        let commons =
            Commons { slots: slots.clone(), registry: registry.clone(), crowd: Crowd::new(hub_config.routes.len()) };
        let (files, connections) = (listener::raise_file_limit(), config.limits.connections as u64);
        if files < connections.saturating_add(FILES_BESIDE_CONNECTIONS) {
            tracing::warn!(
                files,
                connections,
                "more connections are allowed than files; raise the limit of open files"
            );
        }
        let listeners = bind(config, &mut inherited)?;
        let Http { enabled, operator, .. } = config.http;
        let api = enabled.then(|| listener::listen(operator, false)).transpose();
        let api = api.map_err(|source| StartError::Http { address: operator, source })?;
        if api.is_some() && !operator.ip().is_loopback() {
            tracing::warn!(address = %operator, "whoever can connect to http.operator sees all of the translator");
        }
        let clock = Clock::start();
        let (publisher, snapshots) = watch::channel(Arc::new(Snapshot::default()));
        let (reports, reported) = mpsc::channel(REPORT_QUEUE);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let shards = (0..if config.shards == 0 { cores } else { config.shards })
            .map(|index| {
                let surroundings = Surroundings {
                    clock,
                    notices: snapshots.clone(),
                    reports: reports.clone(),
                    recording: None,
                    shutdown: shutdown.clone(),
                    drain: Duration::from_secs(config.limits.drain_seconds),
                };
                Shard::spawn(index, surroundings).map(Arc::new).map_err(StartError::Threads)
            })
            .collect::<Result<Vec<_>, _>>()?;
        // The hub ends when the last shard has dropped its end.
        drop(reports);
        let status = Arc::new(Mutex::new(Status::default()));
        let (link_inputs, from_links) = mpsc::channel(LINK_QUEUE);
        let driver = Driver {
            clock,
            hub: Hub::new(clock.now(), hub_config.clone(), registry.clone(), &slots, OsRng.next_u64()),
            post: Post::new(shards.iter().map(|shard| &**shard)),
            publisher,
            connections: Connections::new(hub_config.upstreams.len(), hub_config.setup, link_inputs),
            status: status.clone(),
        };
        let mut translator = Self {
            addresses: listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            registry,
            status,
            snapshots,
            sessions,
            tls: Vec::new(),
            tasks: vec![tokio::spawn(driver.run(reported, from_links))],
            shards,
            http: None,
        };
        if let Some(socket) = api {
            let address = socket.local_addr().map_err(StartError::Threads)?;
            tracing::info!(%address, "API at http://{address}");
            let insight = Insight {
                clock,
                started_at: clock.now(),
                registry: translator.registry.clone(),
                status: {
                    let status = translator.status.clone();
                    Arc::new(move || status.lock().unwrap_or_else(PoisonError::into_inner).clone())
                },
            };
            let server = api::start(&config.http, socket, insight, shutdown.clone()).map_err(StartError::Threads)?;
            translator.http = Some((address, server));
        }
        translator.listen(config, listeners, clock, &commons, &shutdown)?;
        Ok(translator)
    }

    /// The addresses that miners can connect to, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Who is connected, and what became of shares.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Routes and upstreams, as they were half a second ago at the most.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What sessions are told, as it changes.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Gives new connections what a changed configuration says of difficulties and limits, and reads certificates again.
    ///
    /// # Errors
    /// What is wrong with it; then nothing changes.
    pub fn reload(&self, config: &TranslatorConfig) -> Result<(), StartError> {
        let session = Arc::new(config.session()?);
        self.tls.iter().try_for_each(|identity| identity.reload())?;
        self.sessions.send_replace(session);
        Ok(())
    }

    /// Waits until everything has stopped after shutdown.
    pub async fn join(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!("a task of the translator failed: {error}");
            }
        }
        let shards: Vec<_> = self.shards.into_iter().filter_map(Arc::into_inner).collect();
        let joined = tokio::task::spawn_blocking(|| shards.into_iter().for_each(Shard::join)).await;
        if let Err(error) = joined {
            tracing::error!("a shard could not be joined: {error}");
        }
        if let Some((_, server)) = self.http
            && let Err(error) = tokio::task::spawn_blocking(|| server.join()).await
        {
            tracing::error!("the HTTP server could not be joined: {error}");
        }
    }

    /// Where the API is served.
    pub fn operator_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(address, _)| *address)
    }

    fn listen(
        &mut self,
        config: &TranslatorConfig,
        listeners: Vec<std::net::TcpListener>,
        clock: Clock,
        commons: &Commons,
        shutdown: &Shutdown,
    ) -> Result<(), StartError> {
        let (limits, gate, timeouts) =
            (config.limits.of_connections(), config.limits.gate(), config.limits.of_sockets());
        let places = Arc::new(Semaphore::new(config.limits.connections.min(Semaphore::MAX_PERMITS)));
        let entrance = Entrance { clock, places, gate: gate.clone(), timeouts, shutdown: shutdown.clone() };
        for (index, (listener, listen)) in listeners.into_iter().zip(&config.listen).enumerate() {
            let tls = listen.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
            self.tls.extend(tls.clone());
            // Plain Stratum V2 is let in to be told that it is wrong here.
            let v1 = listen.tls.as_ref().is_none_or(|tls| !tls.only);
            let protocols = Protocols { v2: Some(Security::Plain), v1, tls };
            let (sessions, commons) = (self.sessions.subscribe(), commons.clone());
            let make =
                Arc::new(move |now, peer: Peer| Session::new(now, peer, sessions.borrow().clone(), commons.clone()));
            let service = Arc::new(Service { protocols, limits, gate: gate.clone(), listener: index, make });
            let shards = self.shards.clone();
            let mut turn = 0;
            let serve = move |connection| {
                if let Some(shard) = shards.get(turn % shards.len()) {
                    shard.serve(connection, service.clone());
                }
                turn += 1;
            };
            let address = listen.address;
            let listener = TcpListener::from_std(listener).map_err(|source| StartError::Listen { address, source })?;
            self.tasks.push(tokio::spawn(accept_loop(listener, index, listen.proxy.clone(), entrance.clone(), serve)));
        }
        Ok(())
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(&self) -> Result<TlsIdentity, TlsError> {
        TlsIdentity::load(TlsFiles { certificates: self.certificate_file.clone(), key: self.key_file.clone() })
    }
}

fn bind(config: &TranslatorConfig, inherited: &mut Inherited) -> Result<Vec<std::net::TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for Listen { address, socket, ipv6_only, tls, .. } in &config.listen {
        let failed = |source| StartError::Listen { address: *address, source };
        let passed = inherited.take(socket.as_deref(), *address);
        let listener = passed.map_or_else(|| listener::listen(*address, *ipv6_only), Ok).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        tracing::info!(address = %local, tls = tls.is_some(), "listening for miners of Stratum V1");
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Moves what goes into and comes out of the hub.
struct Driver {
    clock: Clock,
    hub: Hub,
    post: Post<crate::snapshot::Letter>,
    publisher: watch::Sender<Arc<Snapshot>>,
    connections: Connections,
    status: Arc<Mutex<Status>>,
}

impl Driver {
    async fn run(mut self, mut reports: mpsc::Receiver<Report>, mut links: mpsc::Receiver<LinkInput>) {
        loop {
            self.put_out();
            let deadline = self.hub.poll_timeout();
            tokio::select! {
                biased;
                () = self.clock.sleep_until(Some(deadline)) => {
                    self.hub.handle_timeout(self.clock.now());
                    self.tell_status();
                }
                Some(input) = links.recv() => {
                    self.link(input);
                    for _ in 1..INPUTS_PER_TURN {
                        let Ok(input) = links.try_recv() else { break };
                        self.link(input);
                    }
                }
                report = reports.recv() => {
                    let Some(report) = report else { break };
                    self.hub.handle_report(self.clock.now(), report);
                    for _ in 1..INPUTS_PER_TURN {
                        let Ok(report) = reports.try_recv() else { break };
                        self.hub.handle_report(self.clock.now(), report);
                    }
                }
            }
        }
        self.hub.stop(self.clock.now());
        self.put_out();
        self.connections.end(LAST_FRAMES).await;
    }

    fn link(&mut self, input: LinkInput) {
        let now = self.clock.now();
        match input {
            LinkInput::Connected { upstream, attempt, took } => self.hub.handle_connected(now, upstream, attempt, took),
            LinkInput::Ended { upstream, attempt, reason } => {
                self.hub.handle_disconnected(now, upstream, attempt, &reason);
            }
            LinkInput::Frame { upstream, attempt, header, payload } => {
                self.hub.handle_frame(now, upstream, attempt, header, &payload);
            }
        }
    }

    fn tell_status(&self) {
        let (routes, upstreams) = self.hub.status();
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Status { routes, upstreams };
    }

    fn put_out(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Letter { to, letter } => self.post.send(to, letter),
                Output::Publish(snapshot) => {
                    self.tell_status();
                    self.publisher.send_replace(snapshot);
                }
                Output::Dial { upstream, attempt, url, plain } => self.connections.dial(upstream, attempt, url, plain),
                Output::HangUp { upstream, attempt } => self.connections.hang_up(upstream, attempt),
                Output::Send { upstream, attempt, header, payload } => {
                    self.connections.send(upstream, attempt, header, payload);
                }
            }
        }
    }
}

/// How long a translator takes at most to end after shutdown, beside the drain.
pub const LAST_WORDS: Duration = Duration::from_secs(LAST_REPORTS.as_secs() + LAST_FRAMES.as_secs());
