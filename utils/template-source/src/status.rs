//! How a node is: what `stratum doctor` and `stratum solo` ask before anything else.

use bitcoin::Network;
use serde::Deserialize;
use serde_json::Value;

/// What a node says of itself (`getblockchaininfo`, `getnetworkinfo`).
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Its chain.
    pub network: Network,
    /// Its name and version.
    pub agent: String,
    /// Height of its tip.
    pub blocks: u32,
    /// Height of the best header that it knows.
    pub headers: u32,
    /// Whether it still loads the chain: it gives no templates then.
    pub is_syncing: bool,
    /// Its guess of how much of the chain it has checked, 0 to 1.
    pub progress: f64,
    /// Time of its tip, in unix seconds; absent before Bitcoin Core 23.
    pub tip_time: Option<u64>,
    /// Nodes that it is connected to.
    pub connections: u32,
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    blocks: u32,
    headers: u32,
    #[serde(default)]
    initialblockdownload: bool,
    #[serde(default)]
    verificationprogress: f64,
    time: Option<u64>,
}

#[derive(Deserialize)]
struct NetworkInfo {
    #[serde(default)]
    subversion: String,
    #[serde(default)]
    connections: u32,
}

impl NodeStatus {
    /// Reads the node's answers. Text of the node is without control characters, and bounded.
    pub(crate) fn from_json(chain: &Value, network: &Value) -> Result<Self, String> {
        let bad =
            |what: &str, error: serde_json::Error| format!("{what}: the answer is not what it should be: {error}");
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
        let ChainInfo { chain, blocks, headers, initialblockdownload, verificationprogress, time } =
            ChainInfo::deserialize(chain).map_err(|error| bad("getblockchaininfo", error))?;
        let NetworkInfo { subversion, connections } =
            NetworkInfo::deserialize(network).map_err(|error| bad("getnetworkinfo", error))?;
        let network = Network::from_core_arg(&chain).map_err(|_| format!("chain `{}` is not known", plain(&chain)))?;
        Ok(Self {
            network,
            agent: plain(&subversion),
            blocks,
            headers,
            is_syncing: initialblockdownload,
            progress: if verificationprogress.is_finite() { verificationprogress.clamp(0.0, 1.0) } else { 0.0 },
            tip_time: time,
            connections,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read() {
        let chain = json!({"chain": "main", "blocks": 7, "headers": 9, "initialblockdownload": true,
            "verificationprogress": 0.5, "time": 1_800_000_000, "pruned": false});
        let network = json!({"subversion": "/Satoshi:31.99.0/\n", "connections": 3});
        let status = NodeStatus::from_json(&chain, &network).unwrap();
        assert_eq!((status.network, status.agent.as_str()), (Network::Bitcoin, "/Satoshi:31.99.0/"));
        assert_eq!((status.blocks, status.headers, status.is_syncing, status.progress), (7, 9, true, 0.5));
        assert_eq!((status.tip_time, status.connections), (Some(1_800_000_000), 3));
        // Other nodes say less.
        let old = NodeStatus::from_json(&json!({"chain": "testnet4", "blocks": 7, "headers": 7}), &json!({})).unwrap();
        assert_eq!((old.network, old.is_syncing, old.tip_time), (Network::Testnet4, false, None));
        for bad in [json!(null), json!({"chain": "main"}), json!({"chain": "x\n", "blocks": 1, "headers": 1})] {
            assert!(!NodeStatus::from_json(&bad, &network).unwrap_err().contains('\n'));
        }
    }
}
