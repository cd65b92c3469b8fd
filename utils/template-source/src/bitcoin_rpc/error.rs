//! Why a node does not answer, or not as it should.

use std::{io, time::Duration};

use bitcoin::Network;

use super::{gbt::BadTemplate, login::BadSecretFile, room::NoRoom};

/// Each says what was expected, what came, and what to do. None has a secret in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RpcError {
    #[error("login: {0}")]
    Login(#[from] BadSecretFile),
    #[error("can not connect to {address}: {error}; is the node running with -server=1, and is the address right?")]
    Connect { address: String, error: io::Error },
    #[error("{what}: no answer in {} s; is the node overloaded?", limit.as_secs())]
    Timeout { what: &'static str, limit: Duration },
    #[error("{what}: {error}; is that a Bitcoin node?")]
    Http { what: &'static str, error: hyper::Error },
    #[error("{what}: the answer has over {most} bytes")]
    TooLong { what: &'static str, most: usize },
    #[error("{what}: the connection broke: {error}")]
    Broken { what: &'static str, error: String },
    #[error("the node refuses the login: check cookie_file, or user and password")]
    Unauthorized,
    #[error("the node refuses this address: start it with -rpcallowip for it")]
    Forbidden,
    #[error("the node has too many requests in its queue: raise its -rpcworkqueue, or ask it less")]
    Busy,
    #[error("{what}: HTTP status {status}; is that a Bitcoin node?")]
    Status { what: &'static str, status: u16 },
    #[error("{what}: the answer is not what it should be: {error}")]
    Answer { what: &'static str, error: String },
    #[error("the node is starting: {0}")]
    Starting(String),
    #[error("the node is still syncing: wait until it has caught up with the chain")]
    Syncing,
    #[error("the node has no connection to other nodes, or is shutting down: {0}")]
    NotConnected(String),
    #[error("{what}: the node says {code}: {message}")]
    Node { what: &'static str, code: i64, message: String },
    #[error("expected a node on {expected}, but this one is on {got}: set the url of the right node")]
    WrongChain { expected: Network, got: String },
    #[error("the node's template can not be used: {0}")]
    Template(#[from] BadTemplate),
    #[error(transparent)]
    Room(#[from] NoRoom),
    #[error("the node refuses a block of its own template: {0}")]
    Proposal(String),
    #[error("internal: a task ended early: {0}")]
    Task(String),
}

impl RpcError {
    /// Whether a node has looked at what it was given; else it may never have seen it.
    pub(super) fn is_verdict(&self) -> bool {
        // Bitcoin Core's numbers below -32000 are those of JSON-RPC: it did not understand the request.
        matches!(self, Self::Node { code, .. } if *code > -32_000)
    }
}
