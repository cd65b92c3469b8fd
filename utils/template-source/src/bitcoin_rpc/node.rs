//! A node: its calls in our own terms.

use std::{sync::Arc, time::Duration};

use bitcoin::{BlockHash, Network, hex::DisplayHex};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    error::RpcError,
    gbt::{BlockTemplate, Known},
    http::{Client, Limit, plain, read},
};
use crate::{Confirmations, NodeStatus, SubmitOutcome, consensus::MAX_BLOCK_WEIGHT};

/// How long the node may take for small questions.
const PROMPT: Duration = Duration::from_secs(10);

/// How long the node may take to build or check a block. It may be writing its caches to disk meanwhile.
const PATIENT: Duration = Duration::from_secs(120);

/// Most bytes of a small answer.
const SMALL: usize = 1 << 20;

/// Most bytes of a template: 4,000,000 bytes of transactions in hexadecimal, and some 300 bytes of other fields for each
/// of up to 16,666, twice over.
const LARGE: usize = 24 << 20;

const PROMPTLY: Limit = Limit { time: Some(PROMPT), bytes: SMALL };
const PATIENTLY: Limit = Limit { time: Some(PATIENT), bytes: SMALL };

/// A node whose chain is the expected one.
#[derive(Clone, Debug)]
pub(super) struct Node {
    client: Client,
    pub(super) network: Network,
    /// Version and address, for messages.
    pub(super) description: String,
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
}

#[derive(Deserialize)]
struct NetworkInfo {
    subversion: String,
}

#[derive(Deserialize)]
struct HeaderInfo {
    confirmations: i64,
}

impl Node {
    /// Asks who is there. A node on another chain than `expected` is refused.
    pub(super) async fn open(client: Client, expected: Option<Network>) -> Result<Self, RpcError> {
        let body = client.call("getblockchaininfo", "[]", PROMPTLY).await?;
        let info: ChainInfo = required("getblockchaininfo", &body)?;
        let network = Network::from_core_arg(&info.chain).ok();
        let network = match (network, expected) {
            (Some(network), None) => network,
            (Some(network), Some(expected)) if network == expected => network,
            (_, Some(expected)) => return Err(RpcError::WrongChain { expected, got: plain(&info.chain) }),
            (None, None) => {
                let error = format!("chain `{}` is not known", plain(&info.chain));
                return Err(RpcError::Answer { what: "getblockchaininfo", error });
            }
        };
        let body = client.call("getnetworkinfo", "[]", PROMPTLY).await?;
        let info: NetworkInfo = required("getnetworkinfo", &body)?;
        let agent = plain(&info.subversion);
        let description = format!("node {agent} at {} (RPC), chain {}", client.address(), network.to_core_arg());
        Ok(Self { client, network, description })
    }

    /// A template on the node's tip; with an id, when it differs from the one that the id came with.
    pub(super) async fn template(&self, long_poll: Option<&str>, known: Arc<Known>) -> Result<BlockTemplate, RpcError> {
        const WHAT: &str = "getblocktemplate";
        let mut request = json!({ "rules": ["segwit"], "capabilities": ["coinbasevalue", "longpoll", "proposal"] });
        if self.network == Network::Signet {
            request["rules"] = json!(["segwit", "signet"]);
        }
        // A node that waits for news may take any time. It would not notice that we go away, and keep a thread for each
        // call that was given up: so none is, as long as the node answers other calls.
        let mut limit = Limit { time: Some(PATIENT), bytes: LARGE };
        if let Some(id) = long_poll {
            request["longpollid"] = id.into();
            limit.time = None;
        }
        let body = self.client.call(WHAT, &json!([request]).to_string(), limit).await?;
        // Megabytes of JSON and hexadecimal.
        let read = tokio::task::spawn_blocking(move || {
            let json: &RawValue = required(WHAT, &body)?;
            Ok(BlockTemplate::from_json(json.get().as_bytes(), &known)?)
        });
        read.await.map_err(|error| RpcError::Task(error.to_string()))?
    }

    /// Has the node check a block without proof of work.
    pub(super) async fn propose(&self, block: &[u8]) -> Result<(), RpcError> {
        const WHAT: &str = "getblocktemplate";
        let params =
            format!(r#"[{{"mode":"proposal","rules":["segwit","signet"],"data":"{}"}}]"#, block.to_lower_hex_string());
        let body = self.client.call(WHAT, &params, PATIENTLY).await?;
        match read::<String>(WHAT, &body) {
            Ok(None) => Ok(()),
            // The tip has moved on, or the node knows the block: nothing that is wrong with it.
            Ok(Some(verdict)) if verdict.starts_with("inconclusive") || verdict == "duplicate" => Ok(()),
            Ok(Some(verdict)) => Err(RpcError::Proposal(plain(&verdict))),
            Err(RpcError::Node { message, .. }) => Err(RpcError::Proposal(message)),
            Err(error) => Err(error),
        }
    }

    /// Where a block is in the node's chain.
    pub(super) async fn confirmations(&self, hash: BlockHash) -> Result<Confirmations, RpcError> {
        const WHAT: &str = "getblockheader";
        let body = self.client.call(WHAT, &format!(r#"["{hash}"]"#), PROMPTLY).await?;
        match required::<HeaderInfo>(WHAT, &body) {
            // -1: beside the best chain.
            Ok(HeaderInfo { confirmations }) => {
                Ok(u32::try_from(confirmations).map_or(Confirmations::NotInChain, Confirmations::InChain))
            }
            // Bitcoin Core's "Block not found".
            Err(RpcError::Node { code: -5, .. }) => Ok(Confirmations::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Hands in a whole block.
    pub(super) async fn submit(&self, block: &[u8]) -> SubmitOutcome {
        const WHAT: &str = "submitblock";
        // A block has at most as many bytes as weight units.
        if block.len() as u64 > MAX_BLOCK_WEIGHT {
            let reason = format!("{} bytes, but a block has at most {MAX_BLOCK_WEIGHT}", block.len());
            return SubmitOutcome::Rejected(reason);
        }
        let params = format!(r#"["{}"]"#, block.to_lower_hex_string());
        let body = match self.client.call(WHAT, &params, PATIENTLY).await {
            Ok(body) => body,
            Err(error) => return SubmitOutcome::Failed(error.to_string()),
        };
        match read::<String>(WHAT, &body) {
            Ok(verdict) => outcome(verdict.as_deref()),
            Err(error) if error.is_verdict() => SubmitOutcome::Rejected(error.to_string()),
            Err(error) => SubmitOutcome::Failed(error.to_string()),
        }
    }
}

/// What `submitblock` says (BIP 22): nothing for a block that the node takes.
fn outcome(verdict: Option<&str>) -> SubmitOutcome {
    match verdict {
        // The node has it already, or stored it beside the best chain.
        None | Some("duplicate" | "inconclusive" | "duplicate-inconclusive") => SubmitOutcome::Accepted,
        Some(reason) => SubmitOutcome::Rejected(plain(reason)),
    }
}

/// How a node is.
pub(super) async fn status(client: &Client) -> Result<NodeStatus, String> {
    let ask = async |what: &'static str| -> Result<Value, RpcError> {
        required(what, &client.call(what, "[]", PROMPTLY).await?)
    };
    let chain = ask("getblockchaininfo").await.map_err(|error| error.to_string())?;
    let network = ask("getnetworkinfo").await.map_err(|error| error.to_string())?;
    NodeStatus::from_json(&chain, &network)
}

fn required<'a, T: Deserialize<'a>>(what: &'static str, body: &'a [u8]) -> Result<T, RpcError> {
    read(what, body)?.ok_or_else(|| RpcError::Answer { what, error: "the result is null".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_the_node_has_counts_as_accepted() {
        for verdict in [None, Some("duplicate"), Some("inconclusive")] {
            assert_eq!(outcome(verdict), SubmitOutcome::Accepted);
        }
        for verdict in ["high-hash", "duplicate-invalid", "rejected", ""] {
            assert_eq!(outcome(Some(verdict)), SubmitOutcome::Rejected(verdict.to_owned()));
        }
    }
}
