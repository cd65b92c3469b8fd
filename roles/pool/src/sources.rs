//! Template sources by their configuration.

use std::sync::Arc;

use template_source::{
    TemplateSource,
    bitcoin_ipc::{BitcoinIpc, BitcoinIpcConfig},
    devnet::{Devnet, DevnetConfig},
    sv2::RemoteTemplateProvider,
};

use crate::config::{InvalidConfig, PoolConfig, Source};

/// Makes the configured sources, in order. None is contacted yet.
///
/// # Errors
/// When a URL can not be read, or a devnet is configured beside a chain of value.
pub fn build(config: &PoolConfig) -> Result<Vec<Arc<dyn TemplateSource>>, InvalidConfig> {
    config.source.iter().map(|source| one(config, source)).collect()
}

fn one(config: &PoolConfig, source: &Source) -> Result<Arc<dyn TemplateSource>, InvalidConfig> {
    match source {
        Source::BitcoinIpc { socket } => {
            let node = BitcoinIpcConfig::at_socket(socket);
            Ok(Arc::new(BitcoinIpc::new(BitcoinIpcConfig { expected_network: Some(config.network), ..node })))
        }
        Source::Sv2 { url } => {
            let url = url.parse().map_err(|e| InvalidConfig::Other(format!("source.url: {e}")))?;
            Ok(Arc::new(RemoteTemplateProvider::new(url)))
        }
        Source::Devnet { nbits } => {
            if config.network != bitcoin::Network::Regtest {
                let text = "source.kind: the devnet follows regtest's rules; set network = \"regtest\"";
                return Err(InvalidConfig::Other(text.to_owned()));
            }
            let devnet = Devnet::new(devnet(*nbits)).map_err(|e| InvalidConfig::Other(format!("source: {e}")))?;
            Ok(Arc::new(devnet))
        }
    }
}

fn devnet(nbits: Option<u32>) -> DevnetConfig {
    let default = DevnetConfig::default();
    DevnetConfig { nbits: nbits.map_or(default.nbits, bitcoin::CompactTarget::from_consensus), ..default }
}
