//! Templates of a Bitcoin node, over its JSON-RPC: `getblocktemplate` (BIP 22, 23, 9, 145) and `submitblock`.
//!
//! Any node that speaks them will do, on this machine or another. Prefer [`bitcoin_ipc`](crate::bitcoin_ipc) where it can be
//! had: it tells of a new tip sooner and asks less of the node.
//!
//! # What it asks of the node
//! Each call has a connection of its own. One waits at the node for a new tip (long poll) and takes up one of its
//! `-rpcthreads`; when the subscription ends, the node notices with the next tip or after a minute. Every `fee_check_interval`
//! another one looks for fees; Bitcoin Core builds a new template for it at most every five seconds.
//!
//! # Room for the coinbase
//! `getblocktemplate` takes no constraints. Bitcoin Core leaves as much as `-blockreservedweight` says. Where that is less than the
//! user of the templates needs, or the sigops are, transactions of the lowest fee rates are left out, none that another one depends
//! on, and a warning says so once. On the first template, and on the first of each tip, the node is asked whether it would take a
//! block with the largest coinbase allowed (`proposal`); if not, that is [`Event::Down`](crate::Event::Down) with its reason.
//!
//! # What it refuses
//! Nodes on another chain, templates with rules that are not known (BIP 9), with fields that contradict each other or with
//! transactions that are not what they are said to be; signets whose blocks need a signature; answers that are too long.
//!
//! # Limits
//! Templates of the last 3 tips take solutions, 128 at most; they share their transactions. A template may have 24 MiB of JSON, a
//! block 4,000,000 bytes. 64 submissions can be under way; more are answered with an error at once. Small answers have 10
//! seconds, templates and blocks 120.
//!
//! ```no_run
//! use template_source::{Constraints, Event, TemplateSource, bitcoin_rpc::{BitcoinRpc, BitcoinRpcConfig, Endpoint, Login}};
//! # async fn run() -> Result<(), &'static str> {
//! let login = Login::CookieFile("/var/lib/bitcoind/.cookie".into());
//! let config = BitcoinRpcConfig::new(Endpoint::parse("http://127.0.0.1:8332", 8332)?, login);
//! let mut subscription = BitcoinRpc::new(config).subscribe(Constraints::default());
//! while let Some(event) = subscription.events.recv().await {
//!     if let Event::Tip(tip) = event {
//!         println!("mining on {}", tip.prev_hash);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod gbt;
mod http;
mod login;
mod node;
mod room;
mod session;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod work;

use std::time::{Duration, Instant};

use bitcoin::Network;
use tokio::sync::mpsc;

pub use self::{
    gbt::{BadTemplate, BlockTemplate, Known, MAX_LONG_POLL_ID, MAX_TRANSACTIONS, TemplateTransaction},
    http::Endpoint,
    login::{BadSecretFile, Login, MAX_SECRET_FILE, Secret},
    room::{NoRoom, select},
};
use self::{http::Client, session::End};
use crate::{
    COMMAND_QUEUE, Capabilities, Constraints, EVENT_QUEUE, NodeStatus, Subscription, TemplateSource,
    subscription::{
        backoff::Backoff,
        port::{Closed, Port},
    },
};

/// Where the node is, how to log in, and how often to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitcoinRpcConfig {
    /// Where the node listens.
    pub endpoint: Endpoint,
    /// How to log in.
    pub login: Login,
    /// Refuses a node on another chain.
    pub expected_network: Option<Network>,
    /// Whether the node is asked what it thinks of our blocks, once for each tip.
    pub checks_proposals: bool,
    /// How often to look whether fees have risen. Not zero.
    pub fee_check_interval: Duration,
    /// Satoshis by which the fees must have risen for a new template, beyond the first with transactions on a tip.
    pub fee_threshold: u64,
}

impl BitcoinRpcConfig {
    /// How often fees are looked at unless told otherwise.
    pub const FEE_CHECK_INTERVAL: Duration = Duration::from_secs(10);
    /// The rise in fees that is worth a new template unless told otherwise.
    pub const FEE_THRESHOLD: u64 = 1_000;

    /// A node on any chain.
    pub fn new(endpoint: Endpoint, login: Login) -> Self {
        Self {
            endpoint,
            login,
            expected_network: None,
            checks_proposals: true,
            fee_check_interval: Self::FEE_CHECK_INTERVAL,
            fee_threshold: Self::FEE_THRESHOLD,
        }
    }

    /// The port that a node of a chain listens on unless told otherwise.
    pub fn default_port(network: Network) -> u16 {
        match network {
            Network::Bitcoin => 8332,
            Network::Testnet => 18_332,
            Network::Signet => 38_332,
            Network::Regtest => 18_443,
            // Testnet4.
            _ => 48_332,
        }
    }
}

/// A Bitcoin node as a source of templates.
#[derive(Clone, Debug)]
pub struct BitcoinRpc {
    config: BitcoinRpcConfig,
}

impl BitcoinRpc {
    /// Nothing is connected until somebody subscribes.
    pub fn new(config: BitcoinRpcConfig) -> Self {
        Self { config }
    }

    /// Asks the node how it is, once. Its chain may be any.
    ///
    /// # Errors
    /// Why there is no answer, and what to do.
    pub async fn status(&self) -> Result<NodeStatus, String> {
        node::status(&Client::new(self.config.endpoint.clone(), self.config.login.clone())).await
    }
}

impl TemplateSource for BitcoinRpc {
    fn name(&self) -> &str {
        "bitcoin-rpc"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { raw_blocks: true }
    }

    fn subscribe(&self, constraints: Constraints) -> Subscription {
        let (events, user_events) = mpsc::channel(EVENT_QUEUE);
        let (user_commands, commands) = mpsc::channel(COMMAND_QUEUE);
        let config = self.config.clone();
        let mut port = Port::new(events, commands, constraints);
        // Ends when the user has dropped the subscription.
        tokio::spawn(async move {
            let Closed = keep_connected(&config, &mut port).await;
        });
        Subscription { events: user_events, commands: user_commands }
    }
}

/// Connects again and again until the user has gone.
async fn keep_connected(config: &BitcoinRpcConfig, port: &mut Port) -> Closed {
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
