//! Template sources for a real node, which look for new transactions often.

use std::{sync::Arc, time::Duration};

use bitcoin::Network;
use template_source::{
    TemplateSource,
    bitcoin_ipc::{BitcoinIpc, BitcoinIpcConfig},
    bitcoin_rpc::{BitcoinRpc, BitcoinRpcConfig, Endpoint, Login},
};

use crate::core::CoreNode;

const OFTEN: Duration = Duration::from_millis(100);

/// How the node's mining interface is asked.
pub fn ipc_config(node: &CoreNode) -> BitcoinIpcConfig {
    let config = BitcoinIpcConfig::in_datadir(node.datadir(), Network::Regtest);
    BitcoinIpcConfig { fee_check_interval: OFTEN, fee_threshold: 1, ..config }
}

/// The node over its mining interface.
pub fn ipc(node: &CoreNode) -> Arc<dyn TemplateSource> {
    Arc::new(BitcoinIpc::new(ipc_config(node)))
}

/// How the node's JSON-RPC is asked.
///
/// # Panics
/// Never: the node has a sound URL.
pub fn rpc_config(node: &CoreNode) -> BitcoinRpcConfig {
    let endpoint = Endpoint::parse(&node.rpc_url(), 0).expect("a URL");
    let config = BitcoinRpcConfig::new(endpoint, Login::CookieFile(node.cookie_file()));
    let network = Some(Network::Regtest);
    BitcoinRpcConfig { expected_network: network, fee_check_interval: OFTEN, fee_threshold: 1, ..config }
}

/// The node over its JSON-RPC.
///
/// # Panics
/// Never, as [`rpc_config`].
pub fn rpc(node: &CoreNode) -> Arc<dyn TemplateSource> {
    Arc::new(BitcoinRpc::new(rpc_config(node)))
}
