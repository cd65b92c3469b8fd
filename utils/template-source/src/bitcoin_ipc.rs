//! Templates of a Bitcoin Core node, over its mining interface (`bitcoin-node -ipcbind=unix`).
//!
//! The interface is Cap'n Proto over a Unix socket. Its schema changes between releases without a version number, so a
//! connection begins with calls that tell the generations apart and change nothing: `makeMining` has another ordinal before
//! v31, `getTransactionsByTxID` of no transactions is there since `submitBlock` is, and `submitSolution` moved to a later ordinal
//! after v31.99. Every generation that was not run with this code is refused, with [`Event::Down`].
//!
//! # What it asks of the node
//! Each subscription has its own thread, its own connection, and up to five threads of the node. It waits for new tips with
//! `waitTipChanged`. On one it has the node build a block without transactions first, for the few header fields that a [`Tip`]
//! needs, then a full one; every `fee_check_interval` it asks for another full one and passes it on if its fees have risen.
//! (`waitNext` would build a block every second for the same, and delay the news of a tip by the time a full block takes.)
//!
//! # Limits
//! Templates of the last 3 tips take solutions, 128 at most. An answer of the node may have 16 MiB, a block 4,000,000 bytes.
//! 16 requests for transactions and 64 submissions can be under way; more are answered with an error at once.
//!
//! ```no_run
//! use template_source::{Constraints, Event, TemplateSource, bitcoin_ipc::{BitcoinIpc, BitcoinIpcConfig}};
//! # async fn run() {
//! let config = BitcoinIpcConfig::in_datadir("/var/lib/bitcoin".as_ref(), bitcoin::Network::Regtest);
//! let mut subscription = BitcoinIpc::new(config).subscribe(Constraints::default());
//! while let Some(event) = subscription.events.recv().await {
//!     if let Event::Tip(tip) = event {
//!         println!("mining on {}", tip.prev_hash);
//!     }
//! }
//! # }
//! ```

mod convert;
mod error;
mod node;
mod session;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bitcoin::Network;
use tokio::sync::{mpsc, oneshot};

use self::session::End;
#[cfg(doc)]
use crate::Tip;
use crate::{
    COMMAND_QUEUE, Capabilities, Constraints, EVENT_QUEUE, Event, NodeStatus, Subscription, TemplateSource,
    subscription::{
        backoff::{Backoff, RETRY_MOST},
        port::{Closed, Port},
    },
};

/// Where the node is, and how often to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitcoinIpcConfig {
    /// The node's socket, by default `node.sock` in the folder of its chain.
    pub socket: PathBuf,
    /// Refuses a node on another chain.
    pub expected_network: Option<Network>,
    /// How often a new template is built to see whether fees have risen. Not zero.
    pub fee_check_interval: Duration,
    /// Satoshis by which the fees must have risen for a new template, beyond the first with transactions on a tip.
    pub fee_threshold: u64,
}

impl BitcoinIpcConfig {
    /// How often fees are looked at unless told otherwise.
    pub const FEE_CHECK_INTERVAL: Duration = Duration::from_secs(10);
    /// The rise in fees that is worth a new template unless told otherwise.
    pub const FEE_THRESHOLD: u64 = 1_000;

    /// A node by the path of its socket, on any chain.
    pub fn at_socket(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            expected_network: None,
            fee_check_interval: Self::FEE_CHECK_INTERVAL,
            fee_threshold: Self::FEE_THRESHOLD,
        }
    }

    /// A node by its data folder (`-datadir`) and its chain, which the node must be on.
    pub fn in_datadir(datadir: &Path, network: Network) -> Self {
        let folder = match network {
            Network::Bitcoin => datadir.to_owned(),
            Network::Testnet => datadir.join("testnet3"),
            // Testnet4, signet and regtest are called as in `-chain`.
            _ => datadir.join(network.to_core_arg()),
        };
        Self { expected_network: Some(network), ..Self::at_socket(folder.join("node.sock")) }
    }
}

/// A Bitcoin Core node as a source of templates.
#[derive(Clone, Debug)]
pub struct BitcoinIpc {
    config: BitcoinIpcConfig,
}

impl BitcoinIpc {
    /// Nothing is connected until somebody subscribes.
    pub fn new(config: BitcoinIpcConfig) -> Self {
        Self { config }
    }

    /// Asks the node how it is, once. Its chain may be any; a node whose interface is not supported is an error.
    ///
    /// # Errors
    /// Why there is no answer, and what to do.
    pub async fn status(&self) -> Result<NodeStatus, String> {
        let (sender, answer) = oneshot::channel();
        let socket = self.config.socket.clone();
        let ask = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let status = match runtime {
                Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, node::status(&socket)),
                Err(error) => Err(error.to_string()),
            };
            // Who asked may have gone.
            let _ = sender.send(status);
        };
        std::thread::Builder::new().name("bitcoin-ipc".into()).spawn(ask).map_err(|error| error.to_string())?;
        answer.await.unwrap_or_else(|_| Err("internal: a thread ended early".to_owned()))
    }
}

impl TemplateSource for BitcoinIpc {
    fn name(&self) -> &str {
        "bitcoin-ipc"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { raw_blocks: true }
    }

    fn subscribe(&self, constraints: Constraints) -> Subscription {
        let (events, user_events) = mpsc::channel(EVENT_QUEUE);
        let (user_commands, commands) = mpsc::channel(COMMAND_QUEUE);
        let config = self.config.clone();
        let port = Port::new(events.clone(), commands, constraints);
        // Cap'n Proto's capabilities stay on one thread, so each subscription has one.
        let thread = std::thread::Builder::new().name("bitcoin-ipc".into()).spawn(move || run_thread(&config, port));
        if let Err(error) = thread {
            let reason = format!("can not start a thread: {error}");
            // The queue is empty, and the subscription ends with this event.
            let _ = events.try_send(Event::Down { reason, retry_in: RETRY_MOST });
        }
        Subscription { events: user_events, commands: user_commands }
    }
}

fn run_thread(config: &BitcoinIpcConfig, mut port: Port) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let local = tokio::task::LocalSet::new();
            let Closed = local.block_on(&runtime, keep_connected(config, &mut port));
        }
        Err(error) => {
            let reason = format!("can not start a runtime: {error}");
            port.emit(Event::Down { reason, retry_in: RETRY_MOST });
        }
    }
}

/// Connects again and again until the user has gone.
async fn keep_connected(config: &BitcoinIpcConfig, port: &mut Port) -> Closed {
    let mut backoff = Backoff::default();
    loop {
        let start = Instant::now();
        let end = match session::open(config, port).await {
            Ok(session) => session.run(port).await,
            Err(end) => end,
        };
        let End::Lost(error) = end else { return Closed };
        if let Err(closed) = backoff.wait(port, start.elapsed(), &error).await {
            return closed;
        }
    }
}
