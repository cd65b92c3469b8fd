//! HTTP: what every role shares to show itself to people and programs.
//!
//! A [`Server`] has a thread and an event loop of its own, which run with low priority, so that miners are served first. What it
//! serves is a [`Site`]: the role's API, its OpenAPI document and a page about it (`/openapi.json`, `/docs`), `/healthz` and `/readyz`, and
//! the files of a dashboard.
//!
//! # What it refuses
//! With an [`ApiError`]: requests without the [`Token`] where one is needed, names of hosts that it does not have
//! ([`Hosts`]), requests over a limit. Nothing is allowed to other origins (no CORS).
//!
//! # Limits
//! [`Limits`] per listener; [`MAX_HEADER_BYTES`], [`MAX_BODY_BYTES`], [`HEADER_TIME`], [`REQUEST_TIME`], [`READ_TIME`]; subscribers of [`Events`].

mod assets;
mod config;
mod docs;
mod error;
mod events;
mod extract;
mod guard;
mod health;
#[cfg(test)]
mod tests;
mod token;

use std::{io, net::TcpListener, sync::Arc, thread, time::Duration};

use axum::{Router, extract::DefaultBodyLimit};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinSet};
use utoipa::openapi::OpenApi;

pub use self::{
    assets::{Asset, Assets},
    config::HttpConfig,
    error::{ApiError, ErrorAnswer, ErrorBody},
    events::{Event, Events},
    extract::{Path, Query},
    guard::Hosts,
    health::{Check, Readiness, Ready},
    token::{Authorized, Token, TokenError},
};
use crate::{
    listener::{SocketTimeouts, set_options},
    shutdown::Shutdown,
};

/// Longest head of a request, in bytes: method, path, query and headers. A longer one is answered with 431, an endless one closed.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Longest body of a request, in bytes. Requests of the APIs have none, or a few fields.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// How long a client may take for the head of a request, counted from the last answer: also how long an idle connection is kept.
pub const HEADER_TIME: Duration = Duration::from_secs(15);
/// How long an answer may take to begin. Over it, it is 503.
pub const REQUEST_TIME: Duration = Duration::from_secs(15);
/// Queries that run at the same time, each in a thread of its own; more wait, up to [`REQUEST_TIME`].
pub const QUERY_THREADS: usize = 4;
/// How long answers that have begun may take when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, for example for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// How much the server's threads step back behind the others (the system's nice value).
const NICE: i32 = 10;
/// How long a client may leave unread what is sent to it. After that the system closes its connection.
pub const READ_TIME: Duration = Duration::from_secs(15);
/// Silence after which the system asks whether a client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What a listener holds against its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time; further ones wait in the system's queue.
    pub connections: usize,
    /// See [`HEADER_TIME`].
    pub header_time: Duration,
    /// See [`REQUEST_TIME`].
    pub request_time: Duration,
    /// See [`READ_TIME`].
    pub read_time: Duration,
}

impl Limits {
    /// So many connections, and the usual times.
    pub const fn new(connections: usize) -> Self {
        Self { connections, header_time: HEADER_TIME, request_time: REQUEST_TIME, read_time: READ_TIME }
    }
}

/// What one listener serves.
pub struct Site {
    /// The role's own routes.
    pub api: Router,
    /// What is said about them.
    pub openapi: OpenApi,
    /// Whether the role can do its work.
    pub readiness: Readiness,
    /// The dashboard.
    pub assets: Assets,
    /// What the server may be called; anything where it is none.
    pub hosts: Option<Hosts>,
    /// What is held against clients.
    pub limits: Limits,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("hosts", &self.hosts).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Site {
    /// All routes, with what guards them.
    fn router(self) -> Router {
        let Self { api, openapi, readiness, assets, hosts, limits } = self;
        let router = api
            .merge(health::routes(readiness))
            .merge(docs::routes(&openapi))
            .fallback(move |request| async move { assets::serve(assets, &request) })
            .method_not_allowed_fallback(async || ApiError::method_not_allowed());
        guard::protect(router, hosts, limits.request_time).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    handle: Handle,
    thread: thread::JoinHandle<()>,
}

impl Server {
    /// Serves each site on its socket until `shutdown`. The sockets are listening already, so that an address which is taken is an
    /// error before this.
    ///
    /// # Errors
    /// When the system gives no thread or event loop.
    pub fn start(sites: Vec<(TcpListener, Site)>, shutdown: Shutdown) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(QUERY_THREADS)
            .thread_name("http-query")
            .on_thread_start(step_back)
            .build()?;
        let handle = runtime.handle().clone();
        let serve = {
            let _entered = runtime.enter();
            let mut serve = JoinSet::new();
            for (socket, site) in sites {
                socket.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(socket)?;
                let limits = site.limits;
                serve.spawn_on(accept(listener, site.router(), limits, shutdown.clone()), &handle);
            }
            serve
        };
        let thread = thread::Builder::new().name("http".to_owned()).spawn(move || {
            step_back();
            runtime.block_on(async move {
                shutdown.cancelled().await;
                serve.join_all().await;
            });
            // A query that hangs does not hold up the end.
            runtime.shutdown_timeout(LAST_ANSWERS);
        })?;
        Ok(Self { handle, thread })
    }

    /// Where to spawn what belongs to the server: tasks there run with its priority, and end with it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for the server's thread after shutdown.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the HTTP server has panicked");
        }
    }
}

/// Lets other threads go first. Where that can not be, nothing is lost.
fn step_back() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

async fn accept(listener: tokio::net::TcpListener, router: Router, limits: Limits, shutdown: Shutdown) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(MAX_HEADER_BYTES);
    let timeouts = SocketTimeouts { keepalive: KEEPALIVE, unacknowledged: limits.read_time };
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, _)| (stream, place))
        };
        let next = tokio::select! {
            () = shutdown.cancelled() => break,
            next = next => next,
        };
        let (stream, place) = match next {
            Ok(next) => next,
            Err(error) => {
                tracing::debug!("can not accept an HTTP connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // It may be gone by now.
        if set_options(&stream, timeouts).is_err() {
            continue;
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!("an HTTP connection ended: {error}");
            }
            drop(place);
        });
    }
    drop(listener);
    // What takes longer is cut off.
    let _ = tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await;
}
