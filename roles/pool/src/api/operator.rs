//! What only the operator has.

use std::net::IpAddr;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use stratum_runtime::http::{ApiError, Authorized, ErrorAnswer, Path, Query};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    board,
    dto::{self, ConnectionsOf, Done, Page, Reloaded},
    routes::{bounds, text},
    view::{View, milliseconds},
};
use crate::registry::{Channel, Connection};

/// Channels that a connection in a list shows.
const CHANNELS_SHOWN: usize = 100;

pub(super) fn router() -> OpenApiRouter<View> {
    OpenApiRouter::new()
        .routes(routes!(nodes))
        .routes(routes!(connections))
        .routes(routes!(bans))
        .routes(routes!(reload))
        .routes(routes!(drain))
        .routes(routes!(unban))
        .routes(routes!(close))
}

/// Where templates come from and blocks go
#[utoipa::path(get, path = "/api/v1/nodes", tag = "operator", responses((status = OK, body = Vec<dto::Node>)))]
async fn nodes(State(view): State<View>) -> Json<Vec<dto::Node>> {
    let nodes = view.insight.board.state().nodes;
    Json(nodes.into_iter().enumerate().map(|(index, node)| self::node(index, node)).collect())
}

pub(super) fn node(index: usize, node: board::Node) -> dto::Node {
    dto::Node {
        index: index as u64,
        kind: node.kind.to_owned(),
        description: node.description.unwrap_or(node.name),
        state: if node.is_up { "up" } else { "down" }.to_owned(),
        active: node.is_active,
        height: node.height,
        since: milliseconds(node.since),
        problem: node.problem,
        raw_blocks: node.raw_blocks,
        solutions: true,
    }
}

/// Connections that are set up, the oldest first
#[utoipa::path(get, path = "/api/v1/connections", tag = "operator", params(ConnectionsOf), responses(
    (status = OK, body = Page<dto::Connection>),
    (status = BAD_REQUEST, body = ErrorAnswer, description = "A limit or search that is out of bounds"),
))]
async fn connections(
    State(view): State<View>,
    Query(of): Query<ConnectionsOf>,
) -> Result<Json<Page<dto::Connection>>, ApiError> {
    let (offset, limit) = bounds(of.offset, of.limit)?;
    let search = text("search", of.search)?.to_lowercase();
    let mut found = view.insight.registry.connections();
    found.retain(|connection| matches(connection, &search));
    let total = Some(found.len() as u64);
    let items = found.iter().skip(offset).take(limit).map(|connection| shown(&view, connection)).collect();
    Ok(Json(Page { items, total, offset: offset as u64 }))
}

fn matches(connection: &Connection, search: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(search);
    search.is_empty()
        || has(&connection.address.to_string())
        || has(&connection.device)
        || connection.channels().iter().any(|channel| has(channel.worker.account()) || has(channel.worker.name()))
}

fn shown(view: &View, connection: &Connection) -> dto::Connection {
    let channels = connection.channels();
    let listener = view.insight.facts.listeners.get(connection.listener);
    dto::Connection {
        id: connection.id,
        address: connection.address.to_string(),
        listener: listener.map(|listener| listener.name.clone()).unwrap_or_default(),
        protocol: connection.protocol.word().to_owned(),
        device: connection.device.clone(),
        connected_at: milliseconds(connection.since),
        channels: channels.iter().take(CHANNELS_SHOWN).map(|channel| self::channel(view, channel)).collect(),
        channels_total: channels.len() as u64,
    }
}

fn channel(view: &View, channel: &Channel) -> dto::Channel {
    let sums = channel.sums();
    dto::Channel {
        id: channel.id,
        kind: channel.kind.word().to_owned(),
        account: channel.worker.account().to_owned(),
        worker: channel.worker.name().to_owned(),
        policy: channel.policy.to_string(),
        difficulty: channel.difficulty(),
        hashrate: channel.hashrates(view.now()).into(),
        shares: sums.accepted,
        rejected: dto::rejected(&sums),
        best: sums.best,
        last_share_at: (sums.last > 0).then_some(sums.last),
    }
}

/// An address that may not connect.
#[derive(Debug, Serialize, ToSchema)]
struct Ban {
    /// The address; of IPv6 its first 64 bits.
    address: String,
    /// Name of the listener.
    listener: String,
    /// Until when.
    until: u64,
}

/// Addresses that may not connect, for abuse
#[utoipa::path(get, path = "/api/v1/operator/bans", tag = "operator", responses((status = OK, body = Vec<Ban>)))]
async fn bans(State(view): State<View>) -> Json<Vec<Ban>> {
    let listeners = &view.insight.facts.listeners;
    let bans = view.insight.gate.bans(view.now()).into_iter().map(|ban| Ban {
        address: ban.address.to_string(),
        listener: listeners.get(ban.listener).map(|listener| listener.name.clone()).unwrap_or_default(),
        until: milliseconds(ban.until),
    });
    Json(bans.collect())
}

/// Lets an address connect again
#[utoipa::path(delete, path = "/api/v1/operator/bans/{address}", tag = "operator", security(("token" = [])),
    params(("address" = String, Path, description = "The address")), responses(
    (status = OK, body = Done, description = "At how many listeners it was banned"),
    (status = BAD_REQUEST, body = ErrorAnswer, description = "No address"),
    (status = UNAUTHORIZED, body = ErrorAnswer),
))]
async fn unban(_: Authorized, State(view): State<View>, Path(address): Path<IpAddr>) -> Json<Done> {
    let count = view.insight.gate.unban(view.now(), address) as u64;
    tracing::info!(%address, count, "the operator lets an address connect again");
    Json(Done { count })
}

/// Reads the configuration again, as SIGHUP does
#[utoipa::path(post, path = "/api/v1/operator/reload", tag = "operator", security(("token" = [])), responses(
    (status = OK, body = Reloaded),
    (status = UNAUTHORIZED, body = ErrorAnswer),
    (status = CONFLICT, body = ErrorAnswer, description = "The configuration is wrong, or comes from no file; nothing changed"),
))]
async fn reload(_: Authorized, State(view): State<View>) -> Result<Json<Reloaded>, ApiError> {
    let conflict = |message: String| ApiError::new(StatusCode::CONFLICT, "not-reloaded", message);
    view.insight.reloader.request().await.map(Json).map_err(conflict)
}

/// Sends all miners away and ends the pool, as SIGTERM does
#[utoipa::path(post, path = "/api/v1/operator/drain", tag = "operator", security(("token" = [])), responses(
    (status = ACCEPTED, description = "The pool ends when its miners are gone, or `limits.drain_seconds` are over"),
    (status = UNAUTHORIZED, body = ErrorAnswer),
))]
async fn drain(_: Authorized, State(view): State<View>) -> StatusCode {
    tracing::info!("the operator ends the pool");
    view.insight.shutdown.cancel();
    StatusCode::ACCEPTED
}

/// Closes a connection
#[utoipa::path(post, path = "/api/v1/operator/connections/{id}/close", tag = "operator", security(("token" = [])),
    params(("id" = u64, Path, description = "As `/api/v1/connections` tells it")), responses(
    (status = ACCEPTED, description = "It is closed when its session next has its turn"),
    (status = BAD_REQUEST, body = ErrorAnswer, description = "No number"),
    (status = UNAUTHORIZED, body = ErrorAnswer),
    (status = NOT_FOUND, body = ErrorAnswer),
))]
async fn close(_: Authorized, State(view): State<View>, Path(id): Path<u64>) -> Result<StatusCode, ApiError> {
    let connection = view.insight.registry.connection(id);
    let connection = connection.ok_or_else(|| ApiError::not_found("there is no such connection"))?;
    tracing::info!(peer = %connection.address, id, "the operator closes a connection");
    connection.close();
    view.insight.nudge.notify_one();
    Ok(StatusCode::ACCEPTED)
}
