//! SIGHUP: what of a changed configuration holds at once, and what needs a new process.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use roles_logic_sv2::extranonce::Space;
use stratum_runtime::config::{self, differences};
use tokio::{signal::unix::Signal, sync::watch};

use crate::{
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
}

impl Reloader {
    pub(crate) fn new(
        config: &PoolConfig,
        space: &Space,
        payouts: &Arc<Payouts>,
        registry: &Arc<Registry>,
    ) -> Result<Self, InvalidConfig> {
        let session = |(index, listen): (usize, &Listen)| {
            let session = session_config(config, listen, index, space.clone(), payouts.clone(), registry.clone())?;
            Ok((listen.clone(), watch::Sender::new(Arc::new(session))))
        };
        let listeners = config.listen.iter().enumerate().map(session).collect::<Result<_, InvalidConfig>>()?;
        Ok(Self { listeners, space: space.clone(), payouts: payouts.clone(), registry: registry.clone() })
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

/// Reads the configuration again at each SIGHUP, for ever. One that is wrong changes nothing. `running` is what holds now.
pub(crate) async fn on_hangup(mut hangups: Signal, path: PathBuf, mut running: toml::Table, reloader: Arc<Reloader>) {
    while hangups.recv().await.is_some() {
        let changed = crate::cli::load(&path).and_then(|config| Ok((config, table(&path)?)));
        let (config, table) = match changed {
            Ok(changed) => changed,
            Err(error) => {
                tracing::error!("the configuration was not reloaded: {error}");
                continue;
            }
        };
        let changed = differences(&running, &table);
        let (reloaded, waiting): (Vec<_>, Vec<_>) = changed.iter().partition(|key| RELOADED.contains(&key.as_str()));
        if let Err(error) = reloader.reload(&config) {
            tracing::error!("the configuration stays as it was: {error}");
            continue;
        }
        tracing::info!(?reloaded, "configuration reloaded, for connections to come");
        if !waiting.is_empty() {
            tracing::warn!(?waiting, "these changes need a new process: start it with --take-over");
        }
        // What needs a new process is told again at the next reload.
        for key in reloaded {
            config::copy(key, &table, &mut running);
        }
    }
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
