//! The pool as it shows itself: dashboard, HTTP API and metrics, for its operator and for miners (`docs/operate/http.md`).
//!
//! Nothing here is on the path of a share: the server has a thread of its own, which reads what others have written down.

mod board;
mod dto;
mod metrics;
mod operator;
mod pump;
mod records;
mod routes;
#[cfg(test)]
mod tests;
mod view;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use bitcoin::Network;
use share_ledger::LEDGER_FOLDER;
use stratum_runtime::{
    core::Clock,
    gate::Gate,
    http::{ApiError, Asset, Check, Events, Hosts, HttpConfig, Limits, Readiness, Server, Site, Token, TokenError},
    listener,
    shutdown::Shutdown,
    sockets::Inherited,
};
use tokio::sync::{Notify, broadcast};
use utoipa::openapi::{
    InfoBuilder, OpenApi, OpenApiBuilder,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

pub use self::{
    board::{Board, Mined, Node, State},
    dto::Reloaded,
    routes::{DEFAULT_LIMIT, MAX_LIMIT, MAX_POINTS, MAX_TEXT},
};
use self::{
    records::Records,
    view::{Inner, View},
};
use crate::{config::PoolConfig, hub::PoolEvent, registry::Registry, reload::Reloader};

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

/// What does not change while the pool runs.
#[derive(Debug)]
pub(crate) struct Facts {
    pub network: Network,
    pub devnet: bool,
    pub coinbase_tag: String,
    pub authority_key: Option<String>,
    pub listeners: Vec<ListenerFacts>,
    pub started_at: Duration,
}

/// Where miners connect.
#[derive(Debug)]
pub(crate) struct ListenerFacts {
    pub name: String,
    pub address: String,
    pub noise: bool,
    pub v1: bool,
}

/// Where the API knows everything from, and what it can set off.
#[derive(Debug)]
pub(crate) struct Insight {
    pub facts: Facts,
    pub clock: Clock,
    pub registry: Arc<Registry>,
    pub board: Arc<Board>,
    pub gate: Arc<Gate>,
    pub reloader: Arc<Reloader>,
    /// Ends the pool.
    pub shutdown: Shutdown,
    /// Gives each session its turn.
    pub nudge: Arc<Notify>,
    /// Depth at which a block is final.
    pub confirmations: u32,
    /// Who watches, in either view.
    pub watchers: [Events; 2],
}

impl Insight {
    fn subscribers(&self) -> usize {
        self.watchers.iter().map(Events::subscribers).sum()
    }
}

/// Watchers of both views, the operator's first. They are let go when `ending` is cancelled.
pub(crate) fn watchers(config: &HttpConfig, ending: &Shutdown) -> [Events; 2] {
    [(); 2].map(|()| Events::new(config.subscribers, ending.clone()))
}

impl Http {
    pub fn start(
        config: &PoolConfig,
        views: Views,
        insight: Insight,
        events: broadcast::Receiver<PoolEvent>,
        ending: Shutdown,
    ) -> Result<Self, HttpError> {
        let address = |socket: &Option<TcpListener>| socket.as_ref().and_then(|socket| socket.local_addr().ok());
        let (operator, public) = (address(&views.operator), address(&views.public));
        if operator.is_none() && public.is_none() {
            return Ok(Self { operator, public, server: None, ending });
        }
        let http = &config.http;
        let token = Token::load_or_create(&token_file(http, &config.data_dir))?;
        let records = Records::new(config.data_dir.join(LEDGER_FOLDER));
        let (insight, sizes) = (Arc::new(insight), Arc::default());
        let changes = insight.registry.changes();
        let sockets = [(views.operator, Some(Hosts::new(&http.hosts))), (views.public, None)];
        let (mut shown, mut sites) = (Vec::new(), Vec::new());
        for ((socket, hosts), events) in sockets.into_iter().zip(&insight.watchers) {
            let Some(socket) = socket else { continue };
            let is_operator = hosts.is_some();
            let view = View::new(Inner {
                insight: insight.clone(),
                is_operator,
                names_accounts: is_operator || http.public_accounts,
                events: events.clone(),
                token: token.clone(),
                records: records.clone(),
                sizes: Arc::clone(&sizes),
            });
            let (api, openapi) = api(&view);
            let (readiness, limits) = (readiness(insight.board.clone()), Limits::new(http.connections));
            sites.push((socket, Site { api, openapi, readiness, assets, hosts, limits }));
            shown.push(view);
        }
        let server = Server::start(sites, ending.clone()).map_err(HttpError::Threads)?;
        server.handle().spawn(pump::run(shown, events, changes));
        Ok(Self { operator, public, server: Some(server), ending })
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

/// The routes of a view, and what is said about them.
fn api(view: &View) -> (Router, OpenApi) {
    let about = if view.is_operator {
        "The operator's view. What changes something needs the token of the pool's token file, as a bearer token."
    } else {
        "The public view."
    };
    let units = "Times are unix milliseconds, hashrates hashes per second, work hashes, amounts satoshi. What is not known is null.";
    let info = InfoBuilder::new()
        .title("Stratum pool")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(format!("{about} {units}")))
        .build();
    let mut router = OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build()).merge(routes::router());
    if view.names_accounts {
        router = router.merge(routes::list_of_accounts());
    }
    if view.is_operator {
        router = router.merge(operator::router());
    }
    let (mut router, mut openapi) = router.split_for_parts();
    if view.is_operator {
        router = router.merge(metrics::router());
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    } else {
        // Not the dashboard's page, which an application's path gets.
        router = router.route("/metrics", get(async || ApiError::not_found("metrics are the operator's")));
    }
    (router.with_state(view.clone()), openapi)
}

fn readiness(board: Arc<Board>) -> Readiness {
    Readiness::new(move || {
        let state = board.state();
        let check = |name: &str, ok: bool, problem: &str| {
            let detail = (!ok).then(|| problem.to_owned());
            Check { name: name.to_owned(), ok, detail }
        };
        vec![
            check("template", state.mined.is_some(), "no node has delivered a template yet"),
            check("node", state.nodes.iter().any(|node| node.is_up), "no node answers; miners keep their last jobs"),
            check("ledger", state.has_ledger && state.ledger.is_none(), "shares can not be recorded; they wait"),
        ]
    })
}
