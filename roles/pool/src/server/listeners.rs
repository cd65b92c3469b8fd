//! What listeners need before anybody connects: sockets and certificates.

use std::sync::Arc;

use stratum_runtime::{
    listener,
    sockets::Inherited,
    tls::{TlsError, TlsIdentity},
};

use super::StartError;
use crate::config::{PoolConfig, Tls};

/// The certificates of the listeners that have one.
pub(crate) fn load_certificates(config: &PoolConfig) -> Result<Vec<Option<Arc<TlsIdentity>>>, TlsError> {
    let load = |tls: &Tls| TlsIdentity::load(tls.files()).map(Arc::new);
    config.listen.iter().map(|listen| listen.tls.as_ref().map(load).transpose()).collect()
}

/// Opens the listening sockets, or takes those that were passed.
pub(super) fn bind(config: &PoolConfig, inherited: &mut Inherited) -> Result<Vec<std::net::TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for listen in &config.listen {
        let address = listen.address;
        let failed = |source| StartError::Listen { address, source };
        let passed = inherited.take(listen.socket.as_deref(), address);
        let inherited = passed.is_some();
        let listener = passed.map_or_else(|| listener::listen(address, listen.ipv6_only), Ok).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        tracing::info!(address = %local, name = listen.name, v2 = listen.v2, noise = listen.noise, v1 = listen.v1, tls = listen.tls.is_some(), inherited, "listening for miners");
        listeners.push(listener);
    }
    Ok(listeners)
}
