//! SIGHUP: what of a changed configuration holds at once, and what needs a new process.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use roles_logic_sv2::extranonce::Space;
use stratum_runtime::{
    config::{self, differences},
    tls::TlsIdentity,
};
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    api::Reloaded,
    config::{ENVIRONMENT, InvalidConfig, Listen, PoolConfig},
    payouts::Payouts,
    registry::Registry,
    server::session_config,
    session::SessionConfig,
};

/// Keys that hold for connections made after a reload. All others need a new process (`stratum pool --take-over`).
const RELOADED: &[&str] = &[
    "shares.per_minute",
    "shares.vardiff",
    "shares.min_difficulty",
    "shares.max_difficulty",
    "shares.start_difficulty",
    "shares.ntime_tolerance",
    "limits.channels",
    "limits.setup_seconds",
    "limits.first_channel_seconds",
    "limits.requests_per_second",
    "limits.requests_burst",
    "limits.shares_per_second",
    "limits.shares_burst",
    "limits.invalid_shares_per_second",
    "limits.invalid_shares_burst",
];

/// Gives sessions to come what a changed configuration says.
#[derive(Debug)]
pub struct Reloader {
    listeners: Vec<(Listen, watch::Sender<Arc<SessionConfig>>)>,
    space: Space,
    payouts: Arc<Payouts>,
    registry: Arc<Registry>,
    asking: mpsc::Sender<Request>,
    asked: Mutex<Option<mpsc::Receiver<Request>>>,
    certificates: Vec<Arc<TlsIdentity>>,
}

/// Where the outcome goes. What was wrong is in the log: a configuration may have secrets in it.
type Request = oneshot::Sender<Result<Reloaded, ()>>;

impl Reloader {
    pub(crate) fn new(
        config: &PoolConfig,
        space: &Space,
        payouts: &Arc<Payouts>,
        registry: &Arc<Registry>,
        certificates: Vec<Arc<TlsIdentity>>,
    ) -> Result<Self, InvalidConfig> {
        let session = |(index, listen): (usize, &Listen)| {
            let session = session_config(config, listen, index, space.clone(), payouts.clone(), registry.clone())?;
            Ok((listen.clone(), watch::Sender::new(Arc::new(session))))
        };
        let listeners = config.listen.iter().enumerate().map(session).collect::<Result<_, InvalidConfig>>()?;
        let (space, payouts, registry) = (space.clone(), payouts.clone(), registry.clone());
        let (asking, asked) = mpsc::channel(1);
        Ok(Self { listeners, space, payouts, registry, asking, asked: Mutex::new(Some(asked)), certificates })
    }

    /// Requests to read the configuration again; given out once.
    fn requests(&self) -> Option<mpsc::Receiver<Request>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has the configuration file read again, and waits for what comes of it.
    ///
    /// # Errors
    /// A text for people: there is no file, or it is wrong. Then nothing has changed.
    pub async fn request(&self) -> Result<Reloaded, String> {
        if self.asked.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err("this pool's configuration is not from a file".to_owned());
        }
        let (answer, outcome) = oneshot::channel();
        let asked = self.asking.send(answer).await.is_ok();
        match outcome.await {
            Ok(Ok(reloaded)) if asked => Ok(reloaded),
            _ => Err("the configuration is wrong, and nothing changed; the log says what to do".to_owned()),
        }
    }

    /// Reads the files of certificates again; a listener whose files are wrong goes on with what it has.
    pub fn reload_certificates(&self) {
        for certificate in &self.certificates {
            match certificate.reload() {
                Ok(()) => tracing::info!(?certificate, "certificate read again, for connections to come"),
                Err(error) => tracing::error!("the certificate stays as it was: {error}"),
            }
        }
    }

    /// What new sessions of each listener get.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = watch::Receiver<Arc<SessionConfig>>> {
        self.listeners.iter().map(|(_, sessions)| sessions.subscribe())
    }

    /// From now on new connections get what `config` says, as far as that can change.
    ///
    /// # Errors
    /// What is wrong with it; then nothing changes.
    pub fn reload(&self, config: &PoolConfig) -> Result<(), InvalidConfig> {
        let session = |(index, (listen, _)): (usize, &(Listen, _))| {
            let Self { space, payouts, registry, .. } = self;
            session_config(config, listen, index, space.clone(), payouts.clone(), registry.clone()).map(Arc::new)
        };
        let changed = self.listeners.iter().enumerate().map(session).collect::<Result<Vec<_>, _>>()?;
        for ((_, sessions), session) in self.listeners.iter().zip(changed) {
            sessions.send_replace(session);
        }
        Ok(())
    }
}

/// The keys and values of the configuration as they are now, with what the environment overrides.
pub(crate) fn table(path: &Path) -> Result<toml::Table, String> {
    config::load(path, ENVIRONMENT, std::env::vars()).map_err(|error| error.to_string())
}

/// Reads the configuration again at each SIGHUP and each request, for ever. One that is wrong changes nothing. `running` is what
/// holds now.
pub(crate) async fn run(mut hangups: Signal, path: PathBuf, mut running: toml::Table, reloader: Arc<Reloader>) {
    let Some(mut requests) = reloader.requests() else { return };
    loop {
        let answer = tokio::select! {
            hangup = hangups.recv() => match hangup {
                Some(()) => None,
                None => return,
            },
            request = requests.recv() => match request {
                Some(answer) => Some(answer),
                None => return,
            },
        };
        reloader.reload_certificates();
        let outcome = again(&path, &mut running, &reloader);
        match &outcome {
            Ok(Reloaded { reloaded, waiting }) => {
                tracing::info!(?reloaded, "configuration reloaded, for connections to come");
                if !waiting.is_empty() {
                    tracing::warn!(?waiting, "these changes need a new process: start it with --take-over");
                }
            }
            Err(error) => tracing::error!("the configuration was not reloaded: {error}"),
        }
        if let Some(answer) = answer {
            // Who asked may be gone.
            let _ = answer.send(outcome.map_err(drop));
        }
    }
}

fn again(path: &Path, running: &mut toml::Table, reloader: &Reloader) -> Result<Reloaded, String> {
    let config = crate::cli::load(path)?;
    let table = table(path)?;
    let changed = differences(running, &table);
    let (reloaded, waiting): (Vec<_>, Vec<_>) = changed.into_iter().partition(|key| RELOADED.contains(&key.as_str()));
    reloader.reload(&config).map_err(|error| error.to_string())?;
    // What needs a new process is told again at the next reload.
    reloaded.iter().for_each(|key| config::copy(key, &table, running));
    Ok(Reloaded { reloaded, waiting })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_reloaded_exists() {
        let default: toml::Table = crate::config::DEFAULT.parse().unwrap();
        // Those that have no default are commented out.
        for key in RELOADED.iter().filter(|key| !["shares.max_difficulty", "shares.start_difficulty"].contains(key)) {
            let (table, key) = key.split_once('.').unwrap();
            assert!(default[table].as_table().unwrap().contains_key(key), "{table}.{key}");
        }
    }
}
