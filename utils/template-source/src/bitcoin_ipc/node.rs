//! A connection to a node: its interface in our own terms.
//!
//! Everything here lives on one thread, for Cap'n Proto's capabilities do not travel between threads.

use std::{future::Future, path::Path, time::Duration};

use bitcoin::{BlockHash, Network, hashes::Hash};
use bitcoin_capnp_types::{
    init_capnp::init,
    mining_capnp::{block_template, mining},
    proxy_capnp::{context, thread, thread_map},
    rpc_capnp::rpc,
};
use capnp::message::ReaderOptions;
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use serde_json::{Value, json};
use tokio::{io::BufReader, net::UnixStream, task::AbortHandle};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::{
    convert::{self, BadData, Header},
    error::IpcError,
};
use crate::{CoinbaseTemplate, Confirmations, Constraints, NodeStatus, Solution, SubmitOutcome, Transactions};

/// Words of 8 bytes that one message of the node may have: room for the largest block, several times over.
const MAX_MESSAGE_WORDS: usize = 2 << 20;

/// How long the node may take for what it does at once: connecting, and small questions.
const PROMPT: Duration = Duration::from_secs(10);

/// How long the node may take to build a template or to give a block. It may be writing its caches to disk meanwhile.
const PATIENT: Duration = Duration::from_secs(120);

/// How long the node waits for a new tip before it answers that there is none. When we go away, a thread of the node lives on
/// for at most this time.
const TIP_WAIT: Duration = Duration::from_secs(30);

/// Most weight that can be reserved: all of a block.
const MAX_RESERVED_WEIGHT: u64 = 4_000_000;

/// Most sigop cost of a block.
const MAX_SIGOPS_COST: u64 = 80_000;

/// A template that the node keeps for us until the last clone of its handle is dropped. The interface's `destroy` is not
/// used: it would take the template away from under a call that is still running.
pub(super) type Handle = block_template::Client;

/// A template as the node built it.
#[derive(Clone)]
pub(super) struct NodeTemplate {
    pub(super) handle: Handle,
    pub(super) header: Header,
    pub(super) height: u32,
    pub(super) coinbase: CoinbaseTemplate,
    pub(super) merkle_path: Vec<[u8; 32]>,
}

/// What a template is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuildOptions {
    pub(super) constraints: Constraints,
    /// False for a block without transactions.
    pub(super) use_mempool: bool,
    /// Waits until the node has caught up with the headers it knows.
    pub(super) cooldown: bool,
}

/// Threads of the node that work for us. Calls on one of them wait for each other; calls on different ones do not.
#[derive(Clone)]
struct Lanes {
    /// Waits for tips, nearly always.
    tip: thread::Client,
    /// Builds templates.
    build: thread::Client,
    /// Builds transaction-free templates, which must not wait for full ones.
    quick: thread::Client,
    /// Gives whole blocks, and answers questions.
    data: thread::Client,
    /// Takes solutions and blocks.
    submit: thread::Client,
}

/// A node whose schema we know.
#[derive(Clone)]
pub(super) struct Node {
    mining: mining::Client,
    rpc: rpc::Client,
    lanes: Lanes,
}

/// Ends the connection when dropped.
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection before it is known what the node can do.
pub(super) struct Opening {
    init: init::Client,
    lanes: Lanes,
}

impl Opening {
    /// Connects and has the node start threads for us. Must run within a `LocalSet`.
    pub(super) async fn connect(path: &Path) -> Result<(Self, Driver), IpcError> {
        let stream = UnixStream::connect(path).await.map_err(|error| IpcError::connect(path, error))?;
        let (reader, writer) = stream.into_split();
        let mut options = ReaderOptions::new();
        options.traversal_limit_in_words(Some(MAX_MESSAGE_WORDS));
        let network = VatNetwork::new(BufReader::new(reader).compat(), writer.compat_write(), Side::Client, options);
        let mut system = RpcSystem::new(Box::new(network), None);
        let init: init::Client = system.bootstrap(Side::Server);
        let driver = Driver(tokio::task::spawn_local(system).abort_handle());
        let lanes = within("start threads", PROMPT, Self::lanes(&init)).await?;
        Ok((Self { init, lanes }, driver))
    }

    async fn lanes(init: &init::Client) -> Result<Lanes, capnp::Error> {
        let answer = init.construct_request().send().promise.await?;
        let threads = answer.get()?.get_thread_map()?;
        Ok(Lanes {
            tip: lane(&threads, "tip").await?,
            build: lane(&threads, "build").await?,
            quick: lane(&threads, "quick").await?,
            data: lane(&threads, "data").await?,
            submit: lane(&threads, "submit").await?,
        })
    }

    /// Asks for the mining interface, which a node gives when it has loaded its chain: this may take minutes. A node with
    /// another schema is refused.
    pub(super) async fn mining(self) -> Result<Node, IpcError> {
        let lane = &self.lanes.data;
        let mut request = self.init.make_mining_request();
        set(request.get().init_context(), lane);
        let mining = match request.send().promise.await {
            Ok(answer) => answer.get().and_then(|result| result.get_result()).map_err(call("makeMining"))?,
            Err(error) if is_unimplemented(&error) => return Err(IpcError::TooOld("makeMining @3")),
            Err(error) => return Err(IpcError::Call { what: "makeMining", error }),
        };
        // Has no effect, and came after `submitBlock`, which could not be tried without one.
        let mut request = mining.get_transactions_by_tx_i_d_request();
        set(request.get().init_context(), lane);
        request.get().init_txids(0);
        match within("getTransactionsByTxID", PROMPT, request.send().promise).await {
            Ok(_) => {}
            Err(IpcError::Call { error, .. }) if is_unimplemented(&error) => {
                return Err(IpcError::TooOld("getTransactionsByTxID @8"));
            }
            Err(error) => return Err(error),
        }
        let mut request = self.init.make_rpc_request();
        set(request.get().init_context(), lane);
        let answer = within("makeRpc", PROMPT, request.send().promise).await?;
        let rpc = answer.get().and_then(|result| result.get_result()).map_err(call("makeRpc"))?;
        Ok(Node { mining, rpc, lanes: self.lanes })
    }
}

/// How a node is. Must run within a `LocalSet`.
pub(super) async fn status(path: &Path) -> Result<NodeStatus, String> {
    let text = |error: IpcError| error.to_string();
    let (opening, _driver) = Opening::connect(path).await.map_err(text)?;
    let node = within_or("makeMining", PATIENT, opening.mining()).await.map_err(text)?;
    let chain = node.call_rpc("getblockchaininfo", json!([])).await.map_err(text)?;
    let network = node.call_rpc("getnetworkinfo", json!([])).await.map_err(text)?;
    NodeStatus::from_json(&chain, &network)
}

/// Within a limit of time.
async fn within_or<T>(
    what: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, IpcError>>,
) -> Result<T, IpcError> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(IpcError::Timeout { what, limit }))
}

async fn lane(threads: &thread_map::Client, name: &str) -> Result<thread::Client, capnp::Error> {
    let mut request = threads.make_thread_request();
    request.get().set_name(name);
    request.send().promise.await?.get()?.get_result()
}

impl Node {
    pub(super) async fn is_test_chain(&self) -> Result<bool, IpcError> {
        let mut request = self.mining.is_test_chain_request();
        set(request.get().init_context(), &self.lanes.data);
        let answer = within("isTestChain", PROMPT, request.send().promise).await?;
        Ok(answer.get().map_err(call("isTestChain"))?.get_result())
    }

    pub(super) async fn is_initial_block_download(&self) -> Result<bool, IpcError> {
        let mut request = self.mining.is_initial_block_download_request();
        set(request.get().init_context(), &self.lanes.data);
        let answer = within("isInitialBlockDownload", PROMPT, request.send().promise).await?;
        Ok(answer.get().map_err(call("isInitialBlockDownload"))?.get_result())
    }

    /// Waits until the node's tip is another block than `current`, and gives it; gives `current` when there was none for
    /// a while.
    pub(super) async fn wait_tip(&self, current: BlockHash) -> Result<BlockHash, IpcError> {
        const WHAT: &str = "waitTipChanged";
        let mut request = self.mining.wait_tip_changed_request();
        set(request.get().init_context(), &self.lanes.tip);
        request.get().set_current_tip(current.as_byte_array());
        // In milliseconds.
        request.get().set_timeout(TIP_WAIT.as_secs_f64() * 1000.0);
        let answer = within(WHAT, TIP_WAIT + PATIENT, request.send().promise).await?;
        let result = answer.get().map_err(call(WHAT))?;
        if !result.has_result() {
            return Err(IpcError::ShuttingDown);
        }
        let hash = result.get_result().and_then(|block| block.get_hash()).map_err(call(WHAT))?;
        Ok(convert::block_hash(hash)?)
    }

    /// Has the node build a template on its tip.
    pub(super) async fn build(&self, options: BuildOptions) -> Result<NodeTemplate, IpcError> {
        const WHAT: &str = "createNewBlock";
        let lane = if options.use_mempool { &self.lanes.build } else { &self.lanes.quick };
        let weight = options.constraints.reserved_weight();
        if weight > MAX_RESERVED_WEIGHT {
            return Err(IpcError::Constraints { weight, most: MAX_RESERVED_WEIGHT });
        }
        // The node counts sigops cost: a legacy sigop costs 4 (`docs/spec/sigops.md`).
        let sigops = (4 * u64::from(options.constraints.max_additional_sigops)).min(MAX_SIGOPS_COST);
        let mut request = self.mining.create_new_block_request();
        set(request.get().init_context(), lane);
        request.get().set_cooldown(options.cooldown);
        let mut create = request.get().init_options();
        create.set_use_mempool(options.use_mempool);
        create.set_block_reserved_weight(weight);
        create.set_coinbase_output_max_additional_sigops(sigops);
        let promise = request.send().promise;
        // A node that waits for its own cooldown may take any time.
        let answer =
            if options.cooldown { promise.await.map_err(call(WHAT))? } else { within(WHAT, PATIENT, promise).await? };
        let result = answer.get().map_err(call(WHAT))?;
        if !result.has_result() {
            return Err(IpcError::ShuttingDown);
        }
        let handle = result.get_result().map_err(call(WHAT))?;
        self.read_template(handle, lane).await
    }

    async fn read_template(&self, handle: Handle, lane: &thread::Client) -> Result<NodeTemplate, IpcError> {
        let mut header = handle.get_block_header_request();
        set(header.get().init_context(), lane);
        let mut coinbase = handle.get_coinbase_tx_request();
        set(coinbase.get().init_context(), lane);
        let mut path = handle.get_coinbase_merkle_path_request();
        set(path.get().init_context(), lane);
        // All three leave before the first answer is awaited.
        let (header, coinbase, path) = (header.send(), coinbase.send(), path.send());
        let header = within("getBlockHeader", PATIENT, header.promise).await?;
        let header = header.get().and_then(|result| result.get_result()).map_err(call("getBlockHeader"))?;
        let header = convert::header(header)?;
        let coinbase = within("getCoinbaseTx", PATIENT, coinbase.promise).await?;
        let coinbase = coinbase.get().and_then(|result| result.get_result()).map_err(call("getCoinbaseTx"))?;
        let (coinbase, height) = read_coinbase(coinbase)?;
        let path = within("getCoinbaseMerklePath", PATIENT, path.promise).await?;
        let path = path.get().and_then(|result| result.get_result()).map_err(call("getCoinbaseMerklePath"))?;
        let hashes = path.iter().map(|hash| hash.map_err(|_| BadData::Missing { what: "hash of the merkle path" }));
        let merkle_path = convert::merkle_path(path.len(), hashes)?;
        Ok(NodeTemplate { handle, header, height, coinbase, merkle_path })
    }

    /// The transactions of a template.
    pub(super) async fn transactions(&self, handle: &Handle) -> Result<Transactions, IpcError> {
        let mut request = handle.get_block_request();
        set(request.get().init_context(), &self.lanes.data);
        let answer = within("getBlock", PATIENT, request.send().promise).await?;
        let block = answer.get().and_then(|result| result.get_result()).map_err(call("getBlock"))?;
        Ok(convert::transactions(block)?)
    }

    /// Hands in a solution. The node's answer does not say whether the block is valid, so it is asked for that too.
    pub(super) async fn submit_solution(&self, handle: &Handle, solution: &Solution) -> SubmitOutcome {
        const WHAT: &str = "submitSolution";
        // `submitSolution` in the schema of v31.99; what the bindings call by that name is a later ordinal.
        let mut request = handle.submit_solution_old7_request();
        set(request.get().init_context(), &self.lanes.submit);
        let mut params = request.get();
        params.set_version(solution.version);
        params.set_timestamp(solution.header_timestamp);
        params.set_nonce(solution.header_nonce);
        params.set_coinbase(&solution.coinbase_tx);
        let answer = match within(WHAT, PATIENT, request.send().promise).await {
            Ok(answer) => answer,
            Err(error) => return failed_or_rejected(error),
        };
        match answer.get() {
            Ok(result) if result.get_result() => self.verdict(solution.hash).await,
            Ok(_) => SubmitOutcome::Rejected("the node refused the solution; its log tells why".into()),
            Err(error) => SubmitOutcome::Failed(format!("{WHAT}: {error}")),
        }
    }

    /// What the node thinks of a block that it has processed.
    async fn verdict(&self, hash: BlockHash) -> SubmitOutcome {
        let header = match self.call_rpc("getblockheader", json!([hash.to_string()])).await {
            Ok(header) => header,
            Err(error @ IpcError::Bad(_)) => {
                return SubmitOutcome::Rejected(format!(
                    "the node took the solution but does not know block {hash}: {error}"
                ));
            }
            Err(_) => return SubmitOutcome::Sent,
        };
        if header["confirmations"].as_i64().is_some_and(|confirmations| confirmations > 0) {
            return SubmitOutcome::Accepted;
        }
        // Not in the active chain: either a valid block that lost, or an invalid one.
        let Ok(tips) = self.call_rpc("getchaintips", json!([])).await else { return SubmitOutcome::Sent };
        let name = hash.to_string();
        let mut tips = tips.as_array().into_iter().flatten();
        match tips.find(|tip| tip["hash"] == name.as_str()) {
            Some(tip) if tip["status"] == "invalid" => {
                SubmitOutcome::Rejected("the node found the block invalid; its log tells why".into())
            }
            _ => SubmitOutcome::Accepted,
        }
    }

    /// Where a block is in the node's chain.
    pub(super) async fn confirmations(&self, hash: BlockHash) -> Result<Confirmations, IpcError> {
        const WHAT: &str = "getblockheader";
        match self.call_rpc(WHAT, json!([hash.to_string()])).await {
            Ok(header) => match header["confirmations"].as_i64() {
                // -1: beside the best chain.
                Some(depth) => Ok(u32::try_from(depth).map_or(Confirmations::NotInChain, Confirmations::InChain)),
                None => Err(IpcError::Bad(BadData::Rpc { method: WHAT, problem: "it has no confirmations".into() })),
            },
            Err(IpcError::Bad(BadData::NotFound)) => Ok(Confirmations::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Hands in a whole block.
    pub(super) async fn submit_block(&self, block: &[u8]) -> SubmitOutcome {
        const WHAT: &str = "submitBlock";
        if block.len() > convert::MAX_BLOCK_LEN {
            return SubmitOutcome::Rejected(format!(
                "{} bytes, but a block has at most {}",
                block.len(),
                convert::MAX_BLOCK_LEN
            ));
        }
        let mut request = self.mining.submit_block_request();
        set(request.get().init_context(), &self.lanes.submit);
        request.get().set_block(block);
        let answer = match within(WHAT, PATIENT, request.send().promise).await {
            Ok(answer) => answer,
            Err(error) => return failed_or_rejected(error),
        };
        let read = || -> Result<(bool, String, String), capnp::Error> {
            let result = answer.get()?;
            let text = |text: capnp::text::Reader<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
            Ok((result.get_result(), text(result.get_reason()?), text(result.get_debug()?)))
        };
        match read() {
            Ok((accepted, reason, debug)) => raw_outcome(accepted, &reason, &debug),
            Err(error) => SubmitOutcome::Failed(format!("{WHAT}: {error}")),
        }
    }

    /// The chain and the version that the node names.
    pub(super) async fn describe(&self) -> Result<(Network, String), IpcError> {
        let chain = self.call_rpc("getblockchaininfo", json!([])).await?;
        let chain = chain["chain"].as_str().unwrap_or_default();
        let network = Network::from_core_arg(chain).map_err(|_| BadData::Rpc {
            method: "getblockchaininfo",
            problem: format!("chain `{}` is not known", chain.escape_debug()),
        })?;
        let info = self.call_rpc("getnetworkinfo", json!([])).await?;
        let agent: String =
            info["subversion"].as_str().unwrap_or("?").chars().filter(|c| !c.is_control()).take(100).collect();
        Ok((network, agent))
    }

    async fn call_rpc(&self, method: &'static str, params: Value) -> Result<Value, IpcError> {
        let bad = |problem: String| IpcError::Bad(BadData::Rpc { method, problem });
        let mut request = self.rpc.execute_rpc_request();
        set(request.get().init_context(), &self.lanes.submit);
        let call_text = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        request.get().set_request(call_text.as_str());
        request.get().set_uri("/");
        request.get().set_user("stratum");
        let answer = within("executeRpc", PATIENT, request.send().promise).await?;
        let text = answer.get().and_then(|result| result.get_result()).map_err(call("executeRpc"))?;
        let mut reply: Value = serde_json::from_slice(text.as_bytes()).map_err(|error| bad(error.to_string()))?;
        match &reply["error"] {
            Value::Null => Ok(reply["result"].take()),
            // -28: the node is still starting.
            error if error["code"] == -28 => Err(IpcError::Starting),
            // -5: there is no such block.
            error if error["code"] == -5 => Err(IpcError::Bad(BadData::NotFound)),
            error => {
                Err(bad(error["message"].as_str().unwrap_or("an error without a message").chars().take(200).collect()))
            }
        }
    }

    /// Ends what the node does for us, so that none of its threads waits on.
    pub(super) async fn interrupt(&self) {
        // The answer only tells that it has arrived; without one there is nothing left to end.
        let _ = within("interrupt", Duration::from_secs(1), self.mining.interrupt_request().send().promise).await;
    }

    /// Refuses a schema that is newer than those we know: later ones have `submitSolution` at another ordinal.
    ///
    /// An empty coinbase is no transaction, so a node that knows the ordinal refuses it before it does anything.
    pub(super) async fn refuse_newer(&self, handle: &Handle) -> Result<(), IpcError> {
        let mut request = handle.submit_solution_request();
        set(request.get().init_context(), &self.lanes.submit);
        request.get().set_coinbase(&[]);
        match within("submitSolution @10", PROMPT, request.send().promise).await {
            Err(IpcError::Call { error, .. }) if is_unimplemented(&error) => Ok(()),
            Err(error @ IpcError::Timeout { .. }) => Err(error),
            Err(IpcError::Call { what, error }) if error.kind == capnp::ErrorKind::Disconnected => {
                Err(IpcError::Call { what, error })
            }
            _ => Err(IpcError::TooNew("submitSolution @10")),
        }
    }
}

fn read_coinbase(
    coinbase: bitcoin_capnp_types::mining_capnp::coinbase_tx::Reader<'_>,
) -> Result<(CoinbaseTemplate, u32), IpcError> {
    let what = "getCoinbaseTx";
    let outputs = coinbase.get_required_outputs().map_err(call(what))?;
    let raw = convert::RawCoinbase {
        version: coinbase.get_version(),
        sequence: coinbase.get_sequence(),
        script_sig_prefix: coinbase.get_script_sig_prefix().map_err(call(what))?,
        witness: coinbase.get_witness().map_err(call(what))?,
        block_reward_remaining: coinbase.get_block_reward_remaining(),
        lock_time: coinbase.get_lock_time(),
    };
    let each = outputs.iter().map(|output| output.map_err(|_| BadData::Missing { what: "required output" }));
    Ok(convert::coinbase(&raw, outputs.len(), each)?)
}

/// What `submitBlock` says, as a verdict. "inconclusive" is a block that was stored and is not on the best chain.
fn raw_outcome(accepted: bool, reason: &str, debug: &str) -> SubmitOutcome {
    match reason {
        _ if accepted => SubmitOutcome::Accepted,
        "duplicate" | "inconclusive" => SubmitOutcome::Accepted,
        "" => SubmitOutcome::Rejected("the node gave no reason".into()),
        _ => {
            let text = if debug.is_empty() { reason.to_owned() } else { format!("{reason}: {debug}") };
            SubmitOutcome::Rejected(text.chars().filter(|c| !c.is_control()).take(300).collect())
        }
    }
}

/// A node that throws has looked at the block; one that does not answer may never have seen it.
fn failed_or_rejected(error: IpcError) -> SubmitOutcome {
    match &error {
        IpcError::Call { error: call, .. } if call.kind == capnp::ErrorKind::Failed => {
            SubmitOutcome::Rejected(error.to_string())
        }
        _ => SubmitOutcome::Failed(error.to_string()),
    }
}

fn set(mut context: context::Builder<'_>, lane: &thread::Client) {
    context.set_thread(lane.clone());
}

fn call(what: &'static str) -> impl FnOnce(capnp::Error) -> IpcError {
    move |error| IpcError::Call { what, error }
}

fn is_unimplemented(error: &capnp::Error) -> bool {
    error.kind == capnp::ErrorKind::Unimplemented
}

async fn within<T>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, capnp::Error>>,
) -> Result<T, IpcError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(call(what)),
        Err(_) => Err(IpcError::Timeout { what, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_the_node_has_counts_as_accepted() {
        assert_eq!(raw_outcome(true, "", ""), SubmitOutcome::Accepted);
        assert_eq!(raw_outcome(false, "duplicate", ""), SubmitOutcome::Accepted);
        assert_eq!(raw_outcome(false, "inconclusive", ""), SubmitOutcome::Accepted);
    }

    #[test]
    fn a_refusal_carries_the_reason_of_the_node() {
        assert_eq!(raw_outcome(false, "high-hash", ""), SubmitOutcome::Rejected("high-hash".into()));
        assert_eq!(
            raw_outcome(false, "bad-cb-amount", "pays\ntoo much"),
            SubmitOutcome::Rejected("bad-cb-amount: paystoo much".into())
        );
        assert_eq!(raw_outcome(false, "duplicate-invalid", ""), SubmitOutcome::Rejected("duplicate-invalid".into()));
        assert!(matches!(raw_outcome(false, "", ""), SubmitOutcome::Rejected(_)));
    }

    #[test]
    fn only_an_answer_of_the_node_is_a_refusal() {
        let error = |error| IpcError::Call { what: "submitBlock", error };
        assert!(matches!(failed_or_rejected(error(capnp::Error::failed("x".into()))), SubmitOutcome::Rejected(_)));
        assert!(matches!(failed_or_rejected(error(capnp::Error::disconnected("x".into()))), SubmitOutcome::Failed(_)));
        let late = IpcError::Timeout { what: "submitBlock", limit: PROMPT };
        assert!(matches!(failed_or_rejected(late), SubmitOutcome::Failed(_)));
    }
}
