//! The running Template Provider: sockets, one task per client, and one that watches the source for the log.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bitcoin::Network;
use network_helpers::ServerSecurity;
use noise_sv2::AuthorityPublicKey;
use stratum_runtime::{
    bucket::Rate,
    core::Clock,
    gate::{Gate, GateLimits},
    identity::{Identity, KeyFileError, load_authority_key},
    key_log::{self, KeyLogFileError},
    listener::{self, Entrance, Proxies, SocketTimeouts, accept_loop},
    shutdown::Shutdown,
};
use template_source::{Constraints, Event, Template, TemplateSource};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};
use tracing::Instrument;

use crate::{
    client::{Context, serve},
    config::{InvalidConfig, TemplateProviderConfig},
    session::Settings,
};

/// Clients that are gone while found blocks of theirs are still being delivered. Blocks of further ones are not tried again.
pub const LINGERING_CLIENTS: usize = 64;

/// After so much silence the system asks whether a client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Why a Template Provider did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no Template Provider.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// No authority key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key log can not be written.
    #[error(transparent)]
    KeyLog(#[from] KeyLogFileError),
    /// An address can not be listened on.
    #[error("listen {address}: {source}; is another program using the port?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A running Template Provider. It ends when its shutdown token is cancelled.
#[derive(Debug)]
pub struct TemplateProvider {
    addresses: Vec<SocketAddr>,
    identity: Option<Arc<Identity>>,
    tasks: Vec<JoinHandle<()>>,
}

impl TemplateProvider {
    /// Starts to serve `source`; the one that the configuration names is made by
    /// [`TemplateProviderConfig::build_source`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Only what is wrong at the start: see [`StartError`]. A source that does not answer is no error; it is retried.
    pub async fn start(
        config: &TemplateProviderConfig,
        source: Arc<dyn TemplateSource>,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        config.check()?;
        let identity = match &config.authority_key_file {
            Some(path) => Some(Arc::new(Identity::new(load_authority_key(path)?, config.certificate_validity()))),
            None => None,
        };
        let seconds = Duration::from_secs;
        let context = Arc::new(Context {
            clock: Clock::start(),
            settings: Settings {
                setup: seconds(config.limits.setup_seconds),
                constraints: seconds(config.limits.constraints_seconds),
                network: config.network,
                raw_blocks: source.capabilities().raw_blocks,
            },
            key_log: key_log::open(config.debug_key_log.as_deref())?,
            handshake: seconds(config.limits.handshake_seconds),
            message_bytes: config.limits.message_bytes,
            unsent: seconds(config.limits.unsent_seconds),
            lingering: Arc::new(Semaphore::new(LINGERING_CLIENTS)),
            source: source.clone(),
            shutdown: shutdown.clone(),
        });
        let mut provider = Self { addresses: Vec::new(), identity, tasks: Vec::new() };
        provider.listen(config, &context)?;
        provider.tasks.push(tokio::spawn(watch(source, config.network, shutdown)));
        Ok(provider)
    }

    /// The addresses that clients can connect to, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The public authority key that clients need, where a listener uses noise.
    pub fn authority(&self) -> Option<AuthorityPublicKey> {
        self.identity.as_ref().map(|identity| identity.public_key())
    }

    /// Waits until everything has stopped after shutdown.
    pub async fn join(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!("a task of the Template Provider failed: {error}");
            }
        }
    }

    fn listen(&mut self, config: &TemplateProviderConfig, context: &Arc<Context>) -> Result<(), StartError> {
        // Clients are few and known: the number of places is all that the gate has to keep.
        let clients = config.limits.clients.min(Semaphore::MAX_PERMITS);
        let never = Rate { per_second: 0.0, burst: f64::INFINITY };
        let limits = GateLimits { half_open: clients, per_address: clients, offences: never, ban: Duration::ZERO };
        let entrance = Entrance {
            clock: context.clock,
            places: Arc::new(Semaphore::new(clients)),
            gate: Gate::new(limits),
            timeouts: SocketTimeouts { keepalive: KEEPALIVE, unacknowledged: context.unsent },
            shutdown: context.shutdown.clone(),
        };
        let mut listeners = Vec::new();
        for listen in &config.listen {
            let address = listen.address;
            let failed = |source| StartError::Listen { address, source };
            let listener = listener::listen(address, false).and_then(TcpListener::from_std).map_err(failed)?;
            let local = listener.local_addr().map_err(failed)?;
            tracing::info!(address = %local, noise = listen.noise, "listening for Template Distribution");
            self.addresses.push(local);
            listeners.push((listener, self.identity.clone().filter(|_| listen.noise)));
        }
        for (listener, identity) in listeners {
            self.tasks.push(tokio::spawn(accept(listener, identity, entrance.clone(), context.clone())));
        }
        Ok(())
    }
}

/// Accepts clients until shutdown, then waits for their tasks.
async fn accept(listener: TcpListener, identity: Option<Arc<Identity>>, entrance: Entrance, context: Arc<Context>) {
    let mut clients = JoinSet::new();
    accept_loop(listener, 0, Proxies::default(), entrance, |accepted| {
        while let Some(ended) = clients.try_join_next() {
            if let Err(error) = ended {
                tracing::error!("a client's task failed: {error}");
            }
        }
        let security = match &identity {
            None => ServerSecurity::Plain,
            Some(identity) => match identity.current(context.clock.now()) {
                Ok(certified) => ServerSecurity::Noise(certified),
                Err(error) => {
                    return tracing::error!(peer = %accepted.peer, "refused, as there is no certificate: {error}");
                }
            },
        };
        let span = tracing::info_span!("client", peer = %accepted.peer);
        clients.spawn(serve(accepted, security, context.clone()).instrument(span));
    })
    .await;
    while let Some(ended) = clients.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a client's task failed: {error}");
        }
    }
}

/// Tells the log what the source does, once for all clients and also while there is none.
async fn watch(source: Arc<dyn TemplateSource>, network: Network, shutdown: Shutdown) {
    let mut subscription = source.subscribe(Constraints::default());
    let mut futures: Vec<Arc<Template>> = Vec::new();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = subscription.events.recv() => event,
        };
        match event {
            None => {
                return tracing::error!(
                    source = source.name(),
                    "the template source has ended; restart to serve again"
                );
            }
            Some(Event::Up { network: Some(got), .. }) if got != network => {
                tracing::error!(
                    source = source.name(),
                    "expected templates of {network}, the source is on {got}; correct `network` or the source"
                );
            }
            Some(Event::Up { description, .. }) => {
                tracing::info!(source = source.name(), "template source up: {description}")
            }
            Some(Event::Down { reason, retry_in }) => {
                tracing::warn!(source = source.name(), "template source down: {reason}; trying again in {retry_in:?}");
            }
            Some(Event::Template(template)) if template.future => futures.push(template),
            Some(Event::Tip(tip)) => {
                let height =
                    futures.iter().find(|template| template.id == tip.template_id).map(|template| template.height);
                futures.retain(|template| template.id > tip.template_id);
                tracing::info!(height, prev_hash = %tip.prev_hash, "new tip");
            }
            Some(_) => {}
        }
    }
}
