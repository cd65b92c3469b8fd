//! What an operator sets. [`DEFAULT`] is the commented default that `stratum config template-provider` prints.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bitcoin::Network;
use serde::Deserialize;
use template_source::{TemplateSource, config::SourceConfig};

/// The commented default configuration.
pub const DEFAULT: &str = include_str!("default.toml");

/// Prefix of the environment variables that override the file.
pub const ENVIRONMENT: &str = "STRATUM_TEMPLATE_PROVIDER";

/// Smallest `message_bytes`: a solution with the longest coinbase transaction that SubmitSolution carries.
pub const MIN_MESSAGE_BYTES: u32 = 65_557;

/// The configuration of a Template Provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateProviderConfig {
    /// The chain whose templates are served.
    pub network: Network,
    /// File with the secret authority key; needed when a listener uses noise.
    pub authority_key_file: Option<PathBuf>,
    /// How long a certificate is valid; a new one is made at half of it.
    #[serde(default = "default_certificate_hours")]
    pub certificate_hours: u32,
    /// For debugging: a file that gets the secret keys of every encrypted connection.
    pub debug_key_log: Option<PathBuf>,
    /// Where clients connect.
    pub listen: Vec<Listen>,
    /// Where templates come from.
    pub source: SourceConfig,
    /// What a client may use up.
    #[serde(default)]
    pub limits: Limits,
}

/// One listening socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Encrypted with noise; off only for networks that are trusted.
    #[serde(default = "yes")]
    pub noise: bool,
}

/// What a client may use up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Clients at a time; more wait in the system's queue.
    pub clients: usize,
    /// Longest message from a client, in bytes; at least [`MIN_MESSAGE_BYTES`].
    pub message_bytes: u32,
    /// Seconds for the noise handshake.
    pub handshake_seconds: u64,
    /// Seconds from then on for SetupConnection.
    pub setup_seconds: u64,
    /// Seconds from then on for CoinbaseOutputConstraints.
    pub constraints_seconds: u64,
    /// A client is dropped when it takes so many seconds for 64 KiB, or for what waits if that is less.
    pub unsent_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 64,
            message_bytes: 256 * 1024,
            handshake_seconds: 10,
            setup_seconds: 10,
            constraints_seconds: 10,
            unsent_seconds: 30,
        }
    }
}

/// Why a configuration makes no Template Provider; the text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

impl TemplateProviderConfig {
    /// Checks what types can not express.
    ///
    /// # Errors
    /// The first thing that is wrong, and what to do.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let wrong = |text: &str| Err(InvalidConfig(text.to_owned()));
        if self.listen.is_empty() {
            return wrong("listen: name at least one [[listen]] with an address");
        }
        if self.authority_key_file.is_none() && self.listen.iter().any(|listen| listen.noise) {
            return wrong(
                "authority_key_file: a listener with noise needs the authority's key; make one with `stratum keygen`",
            );
        }
        if self.certificate_hours == 0 {
            return wrong("certificate_hours: expected at least 1");
        }
        if self.limits.clients == 0 {
            return wrong("limits.clients: expected at least 1");
        }
        if self.limits.message_bytes < MIN_MESSAGE_BYTES {
            return Err(InvalidConfig(format!(
                "limits.message_bytes: expected at least {MIN_MESSAGE_BYTES}, what a solution may take; got {}",
                self.limits.message_bytes
            )));
        }
        self.source.check(self.network).map_err(|error| InvalidConfig(error.to_string()))
    }

    /// Makes the configured source. It is not contacted yet.
    ///
    /// # Errors
    /// As [`TemplateProviderConfig::check`].
    pub fn build_source(&self) -> Result<Arc<dyn TemplateSource>, InvalidConfig> {
        self.source.build(self.network).map_err(|error| InvalidConfig(error.to_string()))
    }

    /// How long a certificate is valid.
    pub fn certificate_validity(&self) -> Duration {
        Duration::from_secs(u64::from(self.certificate_hours) * 3600)
    }
}

fn yes() -> bool {
    true
}

fn default_certificate_hours() -> u32 {
    24
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> TemplateProviderConfig {
        stratum_runtime::config::parse(text, "default", ENVIRONMENT, std::iter::empty()).unwrap()
    }

    #[test]
    fn the_default_is_valid_and_states_the_defaults() {
        let config = parse(DEFAULT);
        config.check().unwrap();
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.certificate_hours, default_certificate_hours());
        assert_eq!(config.build_source().unwrap().name(), "bitcoin-ipc");
    }

    #[test]
    fn each_mistake_says_what_to_do() {
        let error = |change: fn(&mut TemplateProviderConfig)| {
            let mut config = parse(DEFAULT);
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(error(|c| c.listen.clear()).contains("[[listen]]"));
        assert!(error(|c| c.authority_key_file = None).contains("stratum keygen"));
        assert!(error(|c| c.certificate_hours = 0).contains("certificate_hours"));
        assert!(error(|c| c.limits.clients = 0).contains("limits.clients"));
        assert!(error(|c| c.limits.message_bytes = 65_556).contains("65557"));
        assert!(error(|c| c.source = SourceConfig::Devnet { nbits: None }).contains("network = \"regtest\""));
    }
}
