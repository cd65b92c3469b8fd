//! The pool as a whole: a listener, its connections, and what the test says and sees.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, time::Duration};

use network_helpers::ServerSecurity;
use noise_sv2::{AuthoritySecretKey, ServerIdentity, Validity, url::EndpointUrl};
use rand_core::OsRng;
use roles_logic_sv2::{
    Target,
    extranonce::{Layout, Space},
    utils::{Mutex, Poisoned},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::{
    connection::{Context, serve},
    core::{Counts, Session},
    jobs::{Jobs, Round},
    script::Script,
};

/// Connections at once; further ones wait.
pub const MAX_CONNECTIONS: usize = 64;

/// What a pool is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What shares must meet, unless the client asks for a harder target.
    pub target: Target,
    /// What blocks must meet. The default is so hard that no test finds one.
    pub nbits: u32,
    /// Not encrypted.
    pub plain: bool,
    /// The authority that signs its certificate; a new one where absent. Two pools with the same one may send miners to each
    /// other.
    pub authority: Option<AuthoritySecretKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { target: Target::from_zero_bits(4), nbits: 0x1701_0000, plain: false, authority: None }
    }
}

/// Why a pool does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gives no port.
    #[error("can not listen on the loopback interface: {0}")]
    Listen(#[from] io::Error),
    /// No key or certificate could be made.
    #[error("can not make a certificate: {0}")]
    Certificate(#[from] noise_sv2::Error),
}

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that are over.
    pub ended: u64,
    /// Why the last of them is.
    pub last_end: Option<String>,
    /// Channels opened.
    pub opened: u64,
    /// Channels that clients closed.
    pub closed: u64,
    /// Shares that count.
    pub accepted: u64,
    /// Shares that do not.
    pub rejected: u64,
    /// Hashes that make blocks.
    pub blocks: u64,
}

impl Status {
    fn add(&mut self, counts: Counts) {
        self.opened += counts.opened;
        self.closed += counts.closed;
        self.accepted += counts.accepted;
        self.rejected += counts.rejected;
        self.blocks += counts.blocks;
    }
}

/// The system's clock, which is read once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    unix: Duration,
}

impl Clock {
    fn start() -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), unix }
    }

    pub(crate) fn now(&self) -> Duration {
        self.unix + self.start.elapsed()
    }

    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.start + at.saturating_sub(self.unix)
    }
}

/// A running pool. Dropping it ends it, with all connections.
#[derive(Debug)]
pub struct TestPool {
    url: EndpointUrl,
    authority: AuthoritySecretKey,
    clock: Clock,
    jobs: Mutex<Jobs>,
    rounds: watch::Sender<Round>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

struct Listening {
    listener: TcpListener,
    security: ServerSecurity,
    clock: Clock,
    target: Target,
    space: Space,
    scripts: VecDeque<Script>,
    rounds: watch::Receiver<Round>,
    status: watch::Sender<Status>,
}

impl TestPool {
    /// Listens on a free port of the loopback interface. The n-th connection gets the n-th script.
    pub async fn start(settings: Settings, scripts: Vec<Script>) -> Result<Self, StartError> {
        let authority = match settings.authority {
            Some(authority) => authority,
            None => AuthoritySecretKey::generate(&mut OsRng)?,
        };
        let validity = Validity { from: 0, until: u32::MAX };
        let identity = Arc::new(ServerIdentity::issue(&authority, validity, &mut OsRng)?);
        let security = if settings.plain { ServerSecurity::Plain } else { ServerSecurity::Noise(identity) };
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let port = listener.local_addr()?.port();
        let key = (!settings.plain).then(|| authority.public_key());
        let url = EndpointUrl::new("127.0.0.1", port, key).map_err(io::Error::other)?;
        let clock = Clock::start();
        let mut jobs = Jobs::new(settings.nbits);
        let (rounds, round) = watch::channel(jobs.next_tip(clock.now()));
        let (sender, status) = watch::channel(Status::default());
        let space = Space::new(Layout::SV2_DEFAULT, 0, 1).map_err(io::Error::other)?;
        let listening = Listening {
            listener,
            security,
            clock,
            target: settings.target,
            space,
            scripts: scripts.into(),
            rounds: round,
            status: sender,
        };
        let task = tokio::spawn(listening.run());
        Ok(Self { url, authority, clock, jobs: Mutex::new(jobs), rounds, status, task })
    }

    /// Where it listens, with the authority's key where it is encrypted.
    pub fn url(&self) -> &EndpointUrl {
        &self.url
    }

    /// Who signs its certificate.
    pub fn authority(&self) -> &AuthoritySecretKey {
        &self.authority
    }

    /// A new block: all channels get a tip and a job on it.
    ///
    /// # Errors
    /// A call of this or [`TestPool::new_job`] panicked before.
    pub fn new_tip(&self) -> Result<(), Poisoned> {
        let round = self.jobs.with(|jobs| jobs.next_tip(self.clock.now()))?;
        self.rounds.send_replace(round);
        Ok(())
    }

    /// A new job for all channels, on the same tip.
    ///
    /// # Errors
    /// A call of this or [`TestPool::new_tip`] panicked before.
    pub fn new_job(&self) -> Result<(), Poisoned> {
        let present = self.rounds.borrow().clone();
        let round = self.jobs.with(|jobs| jobs.next_job(&present))?;
        self.rounds.send_replace(round);
        Ok(())
    }

    /// What has happened so far.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until something has happened.
    ///
    /// # Panics
    /// When the pool's task is gone, which does not happen while the pool is there.
    pub async fn wait(&mut self, condition: impl FnMut(&Status) -> bool) -> Status {
        self.status.wait_for(condition).await.expect("the pool runs").clone()
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listening {
    async fn run(mut self) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("not accepted: {error}");
                    continue;
                }
            };
            let script = self.scripts.pop_front().unwrap_or_default();
            self.status.send_modify(|status| status.connections += 1);
            let (status, round, target) = (self.status.clone(), self.rounds.borrow().clone(), self.target);
            let space = self.space.clone();
            let count = {
                let status = status.clone();
                move |counts: Counts| {
                    if counts != Counts::default() {
                        status.send_modify(|status| status.add(counts));
                    }
                }
            };
            let context =
                Context { security: self.security.clone(), clock: self.clock, rounds: self.rounds.clone(), count };
            connections.spawn(async move {
                let session = |now| Session::new(now, space, target, round);
                if let Err(stop) = serve(stream, session, script, context).await {
                    tracing::debug!("connection ended: {stop}");
                    status.send_modify(|status| {
                        status.ended += 1;
                        status.last_end = Some(stop.to_string());
                    });
                }
                drop(place);
            });
        }
    }
}
