//! Why a connection to a node does not come about or ends.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bitcoin::Network;

use super::convert::BadData;

/// The Bitcoin Core versions whose interface was run with this code.
pub(super) const SUPPORTED: &str = "v31.99 (the development branch of autumn 2026)";

/// Each says what was expected, what came, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum IpcError {
    #[error("no socket at {}: start Bitcoin Core with `-ipcbind=unix`, or set the right path", path.display())]
    NoSocket { path: PathBuf },
    #[error("nobody listens at {}: start Bitcoin Core with `-ipcbind=unix`", path.display())]
    Refused { path: PathBuf },
    #[error("no permission for {}: run as the user of the node, or give this user's group access", path.display())]
    Permission { path: PathBuf },
    #[error("can not connect to {}: {error}", path.display())]
    Connect { path: PathBuf, error: io::Error },
    #[error("{what}: {error}")]
    Call { what: &'static str, error: capnp::Error },
    #[error("{what}: no answer in {} s; is the node overloaded, or is that no Bitcoin Core?", limit.as_secs())]
    Timeout { what: &'static str, limit: Duration },
    #[error(
        "the node's mining interface is older than {SUPPORTED}: it has no {0}; update Bitcoin Core, or use another source"
    )]
    TooOld(&'static str),
    #[error(
        "the node's mining interface is newer than {SUPPORTED}: it has {0}; update this program, or use another source"
    )]
    TooNew(&'static str),
    #[error("the node sent something that makes no sense: {0}")]
    Bad(#[from] BadData),
    #[error("the node is starting")]
    Starting,
    #[error("the node is shutting down")]
    ShuttingDown,
    #[error("the node is still syncing: wait until it has caught up with the chain")]
    Syncing,
    #[error("expected a node on {expected}, but this one is on {got}: set the socket of the right node")]
    WrongChain { expected: Network, got: Network },
    #[error("the coinbase needs {weight} weight units, but a block has {most}: ask for smaller outputs")]
    Constraints { weight: u64, most: u64 },
    #[error("internal: a task ended early: {0}")]
    Task(String),
}

impl IpcError {
    pub(super) fn connect(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoSocket { path },
            io::ErrorKind::ConnectionRefused => Self::Refused { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path },
            _ => Self::Connect { path, error },
        }
    }
}
