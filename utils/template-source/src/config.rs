//! Template sources as configuration files name them, the same for every role.

use std::{path::PathBuf, sync::Arc};

use bitcoin::{CompactTarget, Network};
use noise_sv2::url::EndpointUrl;
use serde::Deserialize;

use crate::{
    NodeStatus, TemplateSource,
    bitcoin_ipc::{BitcoinIpc, BitcoinIpcConfig},
    bitcoin_rpc::{BitcoinRpc, BitcoinRpcConfig, Endpoint, Login, Secret},
    devnet::{Devnet, DevnetConfig},
    sv2::RemoteTemplateProvider,
};

/// One template source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub enum SourceConfig {
    /// Bitcoin Core's mining interface over its Unix socket.
    BitcoinIpc {
        /// The socket, for example `node.sock` in the chain's data folder.
        socket: PathBuf,
    },
    /// A Bitcoin node's JSON-RPC over HTTP. One way to log in: `cookie_file`, or `user` and one of the passwords.
    BitcoinRpc {
        /// `http://host:port`; without a port, that of the chain.
        url: String,
        /// The file that the node writes at each start, `.cookie` in the folder of its chain.
        cookie_file: Option<PathBuf>,
        /// The node's `-rpcuser`, or the name of its `-rpcauth`.
        user: Option<String>,
        /// The password.
        password: Option<Secret>,
        /// A file that holds the password alone.
        password_file: Option<PathBuf>,
        /// Whether the node is asked what it thinks of our blocks, once for each tip.
        #[serde(default = "yes")]
        check_proposals: bool,
    },
    /// A remote Template Provider.
    Sv2 {
        /// `stratum2+tcp://host:port/authority-key`.
        url: String,
        /// Without noise, for trusted networks; the URL has no key then.
        #[serde(default)]
        plain: bool,
    },
    /// The embedded devnet; its blocks have no value.
    Devnet {
        /// Compact target of every block; regtest's when absent.
        nbits: Option<u32>,
    },
}

/// Why a configuration makes no source; the text names the key and says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source.{key}: {reason}")]
pub struct InvalidSource {
    key: &'static str,
    reason: String,
}

impl SourceConfig {
    /// Whether found blocks can be handed in whole, so that they do not depend on who made the template.
    pub fn takes_raw_blocks(&self) -> bool {
        !matches!(self, Self::Sv2 { .. })
    }

    /// Checks what types can not express.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check(&self, network: Network) -> Result<(), InvalidSource> {
        let invalid = |key, reason: String| Err(InvalidSource { key, reason });
        match self {
            Self::BitcoinIpc { .. } => Ok(()),
            Self::BitcoinRpc { .. } => self.rpc(network).map(drop),
            Self::Sv2 { url, plain } => match (endpoint(url)?.authority(), plain) {
                (Some(_), false) | (None, true) => Ok(()),
                (None, false) => invalid(
                    "url",
                    "it names no authority key; add the Template Provider's key, or set plain = true for a connection \
                     without encryption in a trusted network"
                        .to_owned(),
                ),
                (Some(_), true) => invalid(
                    "plain",
                    "the URL names an authority key, which only a connection with noise uses".to_owned(),
                ),
            },
            Self::Devnet { .. } if network != Network::Regtest => {
                invalid("kind", "the devnet follows regtest's rules; set network = \"regtest\"".to_owned())
            }
            Self::Devnet { nbits } => devnet(*nbits).check().or_else(|error| invalid("nbits", error.to_string())),
        }
    }

    /// Makes the source for a chain. It is not contacted yet.
    ///
    /// # Errors
    /// As [`SourceConfig::check`].
    pub fn build(&self, network: Network) -> Result<Arc<dyn TemplateSource>, InvalidSource> {
        self.check(network)?;
        Ok(match self {
            Self::BitcoinIpc { socket } => {
                let node = BitcoinIpcConfig::at_socket(socket);
                Arc::new(BitcoinIpc::new(BitcoinIpcConfig { expected_network: Some(network), ..node }))
            }
            Self::BitcoinRpc { .. } => Arc::new(BitcoinRpc::new(self.rpc(network)?)),
            Self::Sv2 { url, .. } => Arc::new(RemoteTemplateProvider::new(endpoint(url)?)),
            Self::Devnet { nbits } => {
                let devnet = Devnet::new(devnet(*nbits));
                Arc::new(devnet.map_err(|error| InvalidSource { key: "nbits", reason: error.to_string() })?)
            }
        })
    }

    /// Asks a Bitcoin node how it is, once; nothing for a source of another kind.
    ///
    /// # Errors
    /// Why there is no answer, and what to do.
    pub async fn status(&self, network: Network) -> Option<Result<NodeStatus, String>> {
        match self {
            Self::BitcoinIpc { socket } => Some(BitcoinIpc::new(BitcoinIpcConfig::at_socket(socket)).status().await),
            Self::BitcoinRpc { .. } => Some(match self.rpc(network) {
                Ok(config) => BitcoinRpc::new(config).status().await,
                Err(error) => Err(error.to_string()),
            }),
            Self::Sv2 { .. } | Self::Devnet { .. } => None,
        }
    }

    fn rpc(&self, network: Network) -> Result<BitcoinRpcConfig, InvalidSource> {
        let invalid = |key, reason: &str| InvalidSource { key, reason: reason.to_owned() };
        let Self::BitcoinRpc { url, cookie_file, user, password, password_file, check_proposals } = self else {
            return Err(invalid("kind", "expected bitcoin-rpc"));
        };
        let endpoint =
            Endpoint::parse(url, BitcoinRpcConfig::default_port(network)).map_err(|reason| invalid("url", reason))?;
        let login = match (cookie_file.clone(), user.clone(), password.clone(), password_file.clone()) {
            (Some(cookie), None, None, None) => Login::CookieFile(cookie),
            (None, Some(user), Some(password), None) => Login::Password { user, password },
            (None, Some(user), None, Some(file)) => Login::PasswordFile { user, file },
            _ => {
                let reason =
                    "set one way to log in: cookie_file alone, or user with password_file, or user with password";
                return Err(invalid("cookie_file", reason));
            }
        };
        let node = BitcoinRpcConfig::new(endpoint, login);
        Ok(BitcoinRpcConfig { expected_network: Some(network), checks_proposals: *check_proposals, ..node })
    }
}

fn yes() -> bool {
    true
}

fn endpoint(url: &str) -> Result<EndpointUrl, InvalidSource> {
    url.parse().map_err(|error| {
        let reason = format!("{error}; expected stratum2+tcp://host:port/authority-key, got {url:?}");
        InvalidSource { key: "url", reason }
    })
}

fn devnet(nbits: Option<u32>) -> DevnetConfig {
    let default = DevnetConfig::default();
    DevnetConfig { nbits: nbits.map_or(default.nbits, CompactTarget::from_consensus), ..default }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    fn sv2(url: &str, plain: bool) -> SourceConfig {
        SourceConfig::Sv2 { url: url.to_owned(), plain }
    }

    fn error(source: &SourceConfig, network: Network) -> String {
        assert_eq!(source.build(network).err(), source.check(network).err());
        source.check(network).unwrap_err().to_string()
    }

    #[test]
    fn sources_are_made_as_configured() {
        let ipc = SourceConfig::BitcoinIpc { socket: "node.sock".into() };
        assert_eq!(ipc.build(Network::Bitcoin).unwrap().name(), "bitcoin-ipc");
        let devnet = SourceConfig::Devnet { nbits: None };
        assert_eq!(devnet.build(Network::Regtest).unwrap().name(), "devnet");
        for remote in [sv2(&format!("stratum2+tcp://tp:8442/{KEY}"), false), sv2("stratum2+tcp://tp:8442", true)] {
            assert!(!remote.takes_raw_blocks());
            assert!(!remote.build(Network::Bitcoin).unwrap().capabilities().raw_blocks);
        }
    }

    /// From JSON, which stands for any format.
    fn rpc(text: &str) -> SourceConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_node_takes_one_way_to_log_in() {
        let with = |login: &str| rpc(&format!(r#"{{"kind":"bitcoin-rpc","url":"http://127.0.0.1"{login}}}"#));
        for login in [
            r#","cookie_file":"c""#,
            r#","user":"a","password":"hunter2""#,
            r#","user":"a","password_file":"p","check_proposals":false"#,
        ] {
            let source = with(login);
            assert!(source.takes_raw_blocks());
            assert_eq!(source.build(Network::Bitcoin).unwrap().name(), "bitcoin-rpc");
            assert!(!format!("{source:?}").contains("hunter2"));
        }
        for login in ["", r#","cookie_file":"c","user":"a""#, r#","password":"hunter2""#, r#","user":"a""#] {
            let text = error(&with(login), Network::Bitcoin);
            assert!(text.contains("one way to log in") && !text.contains("hunter2"), "{text}");
        }
        let text =
            error(&rpc(r#"{"kind":"bitcoin-rpc","url":"http://a:hunter2@node","cookie_file":"c"}"#), Network::Bitcoin);
        assert!(text.starts_with("source.url:") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn no_encryption_only_on_demand() {
        let text = error(&sv2("stratum2+tcp://tp:8442", false), Network::Bitcoin);
        assert!(text.starts_with("source.url:") && text.contains("plain = true"), "{text}");
        let text = error(&sv2(&format!("stratum2+tcp://tp:8442/{KEY}"), true), Network::Bitcoin);
        assert!(text.starts_with("source.plain:"), "{text}");
    }

    #[test]
    fn each_mistake_says_what_to_do() {
        assert!(error(&sv2("tp:8442", false), Network::Bitcoin).contains("stratum2+tcp://host:port"));
        assert!(error(&SourceConfig::Devnet { nbits: None }, Network::Bitcoin).contains("network = \"regtest\""));
        assert!(error(&SourceConfig::Devnet { nbits: Some(0) }, Network::Regtest).starts_with("source.nbits:"));
    }
}
