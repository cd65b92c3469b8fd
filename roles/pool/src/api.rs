//! The pool as it shows itself: dashboard, HTTP API and metrics, for its operator and for miners (`docs/operate/http.md`).
//!
//! Nothing here is on the path of a share: the server has a thread of its own, which reads what others have written down.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
};

use axum::Router;
use stratum_runtime::{
    http::{Asset, Check, Hosts, HttpConfig, Limits, Readiness, Server, Site, Token, TokenError},
    listener,
    shutdown::Shutdown,
    sockets::Inherited,
};
use tokio::sync::watch;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use crate::{config::PoolConfig, snapshot::Snapshot};

/// The token's file in the data folder, unless the configuration names another.
pub const TOKEN_FILE: &str = "http.token";

/// Why the API can not be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// An address can not be listened on.
    #[error("{view} {address}: {source}; name another address, or false")]
    Listen {
        /// Whose view: the key of the configuration.
        view: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The system gives no threads.
    #[error("{0}")]
    Threads(io::Error),
}

/// The listening sockets of both views.
#[derive(Debug, Default)]
pub(crate) struct Views {
    operator: Option<TcpListener>,
    public: Option<TcpListener>,
}

impl Views {
    pub fn bind(config: &HttpConfig, inherited: &mut Inherited) -> Result<Self, HttpError> {
        let mut bind = |view, address: Option<SocketAddr>| -> Result<_, HttpError> {
            let Some(address) = address else { return Ok(None) };
            let passed = inherited.take(None, address);
            let inherited = passed.is_some();
            let failed = |source| HttpError::Listen { view, address, source };
            let socket = passed.map_or_else(|| listener::listen(address, false), Ok).map_err(failed)?;
            let address = socket.local_addr().map_err(failed)?;
            tracing::info!(view, %address, inherited, "dashboard and API at http://{address}");
            Ok(Some(socket))
        };
        let views = Self { operator: bind("operator", config.operator)?, public: bind("public", config.public)? };
        if let Some(address) = config.operator.filter(|address| !address.ip().is_loopback()) {
            tracing::warn!(%address, "whoever can connect to http.operator sees all of the pool");
        }
        Ok(views)
    }

    pub fn sockets(&self) -> impl Iterator<Item = &TcpListener> {
        self.operator.iter().chain(&self.public)
    }
}

/// The running server.
#[derive(Debug)]
pub(crate) struct Http {
    pub operator: Option<SocketAddr>,
    pub public: Option<SocketAddr>,
    server: Option<Server>,
    ending: Shutdown,
}

impl Http {
    pub fn start(
        config: &PoolConfig,
        views: Views,
        snapshot: watch::Receiver<Arc<Snapshot>>,
    ) -> Result<Self, HttpError> {
        let address = |socket: &Option<TcpListener>| socket.as_ref().and_then(|socket| socket.local_addr().ok());
        let (operator, public) = (address(&views.operator), address(&views.public));
        let ending = Shutdown::new();
        if operator.is_none() && public.is_none() {
            return Ok(Self { operator, public, server: None, ending });
        }
        let _token = Token::load_or_create(&token_file(&config.http, &config.data_dir))?;
        let mut sites = Vec::new();
        for (socket, hosts) in [(views.operator, Some(Hosts::new(&config.http.hosts))), (views.public, None)] {
            let Some(socket) = socket else { continue };
            let site = Site {
                api: Router::new(),
                openapi: openapi(),
                readiness: readiness(snapshot.clone()),
                assets,
                hosts,
                limits: Limits::new(config.http.connections),
            };
            sites.push((socket, site));
        }
        let server = Server::start(sites, ending.clone()).map_err(HttpError::Threads)?;
        Ok(Self { operator, public, server: Some(server), ending })
    }

    /// Ends the server when it is cancelled.
    pub fn ending(&self) -> Shutdown {
        self.ending.clone()
    }

    pub async fn end(self) {
        self.ending.cancel();
        let Some(server) = self.server else { return };
        if let Err(error) = tokio::task::spawn_blocking(move || server.join()).await {
            tracing::error!("the HTTP server could not be joined: {error}");
        }
    }
}

/// Where the token is.
pub fn token_file(config: &HttpConfig, data_dir: &Path) -> std::path::PathBuf {
    config.token_file.clone().unwrap_or_else(|| data_dir.join(TOKEN_FILE))
}

fn assets(name: &str) -> Option<Asset> {
    stratum_dashboard::get(name).map(|file| Asset { bytes: file.bytes, hash: file.hash })
}

fn openapi() -> OpenApi {
    let info = InfoBuilder::new().title("Stratum pool").version(env!("CARGO_PKG_VERSION"));
    OpenApiBuilder::new().info(info.build()).build()
}

fn readiness(snapshot: watch::Receiver<Arc<Snapshot>>) -> Readiness {
    Readiness::new(move || {
        let ok = snapshot.borrow().tip.is_some();
        let detail = (!ok).then(|| "no node has delivered a template yet".to_owned());
        vec![Check { name: "template".to_owned(), ok, detail }]
    })
}
