//! What both views have.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use share_ledger::{MAX_ROWS, Reader};
use stratum_runtime::http::{ApiError, ErrorAnswer, Event, Path, Query};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    dto::{self, AccountPage, History, HistoryOf, Page, Part},
    view::{self, View},
};
use crate::registry::Channel;

/// Most items of a list in one answer.
pub const MAX_LIMIT: u16 = 500;
/// Items of a list where nothing is said.
pub const DEFAULT_LIMIT: u16 = 50;
/// Most points of a history.
pub const MAX_POINTS: u64 = 2_000;
/// Longest name or search text, in bytes: names are no longer.
pub const MAX_TEXT: usize = share_ledger::MAX_NAME_BYTES;
/// Blocks on the page of an account.
const BLOCKS_OF_ACCOUNT: usize = 50;
/// Shortest time that the work of a period which is not over is divided by, in seconds.
const SHORTEST: u64 = 10;

pub(super) fn router() -> OpenApiRouter<View> {
    OpenApiRouter::new()
        .routes(routes!(pool))
        .routes(routes!(history))
        .routes(routes!(account))
        .routes(routes!(blocks))
        .routes(routes!(template))
        .routes(routes!(events))
}

/// The list of accounts is public only if the operator says so.
pub(super) fn list_of_accounts() -> OpenApiRouter<View> {
    OpenApiRouter::new().routes(routes!(accounts))
}

/// Offset and limit, in their bounds.
pub(super) fn bounds(offset: u32, limit: Option<u16>) -> Result<(usize, usize), ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid(format!("limit: expected 1 to {MAX_LIMIT}")));
    }
    Ok((offset as usize, usize::from(limit)))
}

pub(super) fn text(name: &str, text: String) -> Result<String, ApiError> {
    if text.len() > MAX_TEXT {
        return Err(ApiError::invalid(format!("{name}: expected at most {MAX_TEXT} bytes")));
    }
    Ok(text)
}

/// The pool as a whole
#[utoipa::path(get, path = "/api/v1/pool", tag = "pool", responses((status = OK, body = dto::Pool)))]
async fn pool(State(view): State<View>) -> Json<dto::Pool> {
    Json(view.pool().await)
}

/// Shares over time
#[utoipa::path(get, path = "/api/v1/history", tag = "pool", params(HistoryOf), responses(
    (status = OK, body = History),
    (status = BAD_REQUEST, body = ErrorAnswer, description = "A range of more than 2,000 periods, or a name that is missing"),
    (status = NOT_FOUND, body = ErrorAnswer, description = "No such account or worker"),
    (status = SERVICE_UNAVAILABLE, body = ErrorAnswer, description = "The ledger's database is not there yet"),
))]
async fn history(State(view): State<View>, Query(of): Query<HistoryOf>) -> Result<Json<History>, ApiError> {
    let now = view.now().as_secs();
    let period = match of.period {
        dto::Period::Minute => share_ledger::Period::Minute,
        dto::Period::Hour => share_ledger::Period::Hour,
        dto::Period::Day => share_ledger::Period::Day,
    };
    let seconds = period.seconds();
    let to = of.to.map_or(now + 1, |to| to.div_ceil(1000)).min(now + 1);
    let from = of.from.map_or(to.saturating_sub(60 * seconds), |from| from / 1000);
    // The period that `from` is in belongs to it.
    let from = from / seconds * seconds;
    if to.saturating_sub(from).div_ceil(seconds) > MAX_POINTS {
        let message = format!("expected at most {MAX_POINTS} periods from `from` to `to`");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "too-many-points", message));
    }
    let named = |name: &str, given: Option<String>| match given {
        Some(given) => text(name, given),
        None => Err(ApiError::invalid(format!("{name}: expected a name"))),
    };
    let names = match of.subject {
        dto::Subject::Pool => None,
        dto::Subject::Account => Some((named("account", of.account)?, None)),
        dto::Subject::Worker => Some((named("account", of.account)?, Some(named("worker", of.worker)?))),
    };
    let found = view.records.query(move |reader| {
        let Some(subject) = subject(reader, names)? else { return Ok(None) };
        let points = reader.series(subject, period, from, to)?;
        Ok(Some((points, reader.rejects(subject, period, from, to)?)))
    });
    let Some((points, rejects)) = found.await? else { return Err(unknown()) };
    Ok(Json(History {
        period_seconds: seconds,
        points: without_gaps(points, seconds, to, now),
        rejects: rejects
            .into_iter()
            .map(|point| dto::RejectPoint { start: 1000 * point.start, reason: point.reason, count: point.count })
            .collect(),
    }))
}

fn unknown() -> ApiError {
    ApiError::not_found("nobody of this name has had a share accepted")
}

/// Whose sums are meant; none for a name that is not known.
fn subject(
    reader: &mut Reader,
    names: Option<(String, Option<String>)>,
) -> Result<Option<share_ledger::Subject>, share_ledger::DatabaseError> {
    let Some((account, worker)) = names else { return Ok(Some(share_ledger::Subject::Pool)) };
    let Some(account) = reader.account(&account)? else { return Ok(None) };
    let Some(worker) = worker else { return Ok(Some(share_ledger::Subject::Account(account.id))) };
    Ok(reader.worker(account.id, &worker)?.map(|worker| share_ledger::Subject::Worker(worker.id)))
}

/// Periods without a share are left out in the ledger.
fn without_gaps(points: Vec<share_ledger::Point>, seconds: u64, to: u64, now: u64) -> Vec<dto::Point> {
    let Some(first) = points.first().map(|point| point.start) else { return Vec::new() };
    let mut known = points.into_iter().peekable();
    let starts = (first..to).step_by(seconds as usize);
    let point = |start| {
        let point = known.next_if(|point| point.start == start);
        let (shares, work, best) = point.map_or((0, 0.0, 0.0), |p| (p.shares, p.work.0 as f64, p.best.get()));
        let passed = now.saturating_sub(start).clamp(SHORTEST, seconds);
        dto::Point { start: 1000 * start, shares, work, hashrate: work / passed as f64, best }
    };
    starts.map(point).collect()
}

/// All accounts
#[utoipa::path(get, path = "/api/v1/accounts", tag = "miners", params(dto::AccountsOf), responses(
    (status = OK, body = Page<dto::Account>),
    (status = BAD_REQUEST, body = ErrorAnswer, description = "A limit or search that is out of bounds"),
    (status = SERVICE_UNAVAILABLE, body = ErrorAnswer, description = "The ledger's database is not there yet"),
))]
async fn accounts(
    State(view): State<View>,
    Query(of): Query<dto::AccountsOf>,
) -> Result<Json<Page<dto::Account>>, ApiError> {
    let (offset, limit) = bounds(of.offset, of.limit)?;
    let search = text("search", of.search)?;
    let total = match search.is_empty() {
        true => Some(view.records.summary(view.insight.confirmations).await?.overview.accounts),
        false => None,
    };
    let order = match of.order {
        dto::Order::Name => share_ledger::Order::Name,
        dto::Order::Work => share_ledger::Order::Work,
        dto::Order::Best => share_ledger::Order::Best,
        dto::Order::LastShare => share_ledger::Order::LastShare,
    };
    let (registry, now) = (view.insight.registry.clone(), view.now());
    let items = view.records.query(move |reader| {
        let found = reader.accounts(&search, order, offset, limit)?;
        let item = |known: share_ledger::Account| {
            let channels = registry.account(&known.name);
            view::account(reader, known, &channels, now)
        };
        found.into_iter().map(item).collect::<Result<Vec<_>, _>>()
    });
    Ok(Json(Page { items: items.await?, total, offset: offset as u64 }))
}

/// An account with its workers and blocks
///
/// What a miner bookmarks. Offset and limit choose among its workers.
#[utoipa::path(get, path = "/api/v1/accounts/{account}", tag = "miners",
    params(("account" = String, Path, description = "Name of the account, often an address"), Part), responses(
    (status = OK, body = AccountPage),
    (status = BAD_REQUEST, body = ErrorAnswer, description = "A name or limit that is out of bounds"),
    (status = NOT_FOUND, body = ErrorAnswer, description = "Nobody of this name has connected, or had a share accepted"),
    (status = SERVICE_UNAVAILABLE, body = ErrorAnswer, description = "The ledger's database is not there yet"),
))]
async fn account(
    State(view): State<View>,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Json<AccountPage>, ApiError> {
    let (offset, limit) = bounds(part.offset, part.limit)?;
    let name = text("account", name)?;
    let (registry, now, shown) = (view.insight.registry.clone(), view.now(), view.clone());
    let page = view.records.query(move |reader| {
        let channels = registry.account(&name);
        let Some(known) = reader.account(&name)? else {
            return Ok((!channels.is_empty()).then(|| strangers_page(name, &channels, offset, limit)));
        };
        let id = known.id;
        let of = share_ledger::Subject::Account(id);
        let mut workers = Vec::new();
        for worker in reader.workers(id, offset, limit)? {
            let on: Vec<_> = channels.iter().filter(|channel| channel.worker.name() == worker.name).collect();
            workers.push(view::worker(reader, worker, &on, now)?);
        }
        let mut workers_total = known.workers;
        // Those who have just come, where all others are there to compare.
        if offset == 0 && workers.len() as u64 == known.workers {
            let new = by_worker(&channels).into_iter().filter(|(name, _)| workers.iter().all(|w| w.worker != *name));
            let new: Vec<_> = new.map(|(name, on)| view::present(name.to_owned(), &on)).collect();
            workers_total += new.len() as u64;
            workers.extend(new.into_iter().take(limit - workers.len().min(limit)));
        }
        let blocks = view::blocks_of(reader, id, BLOCKS_OF_ACCOUNT)?;
        let rejected = view::refused(reader, of, now.as_secs())?;
        Ok(Some(AccountPage {
            account: view::account(reader, known, &channels, now)?,
            workers,
            workers_total,
            rejected,
            blocks: blocks.into_iter().map(|(block, life)| shown.block(block, life)).collect(),
        }))
    });
    page.await?.map(Json).ok_or_else(unknown)
}

fn by_worker(channels: &[Arc<Channel>]) -> Vec<(&str, Vec<&Arc<Channel>>)> {
    let chunks = channels.chunk_by(|one, next| one.worker.name() == next.worker.name());
    chunks.map(|chunk| (chunk[0].worker.name(), chunk.iter().collect())).collect()
}

fn strangers_page(name: String, channels: &[Arc<Channel>], offset: usize, limit: usize) -> AccountPage {
    let workers = by_worker(channels);
    AccountPage {
        account: view::stranger(name, channels),
        workers_total: workers.len() as u64,
        workers: workers
            .into_iter()
            .skip(offset)
            .take(limit)
            .map(|(name, on)| view::present(name.to_owned(), &on))
            .collect(),
        rejected: Vec::new(),
        blocks: Vec::new(),
    }
}

/// Found blocks, the highest first
#[utoipa::path(get, path = "/api/v1/blocks", tag = "pool", params(Part), responses(
    (status = OK, body = Page<dto::Block>),
    (status = BAD_REQUEST, body = ErrorAnswer, description = "A limit or offset that is out of bounds"),
    (status = SERVICE_UNAVAILABLE, body = ErrorAnswer, description = "The ledger's database is not there yet"),
))]
async fn blocks(State(view): State<View>, Query(part): Query<Part>) -> Result<Json<Page<dto::Block>>, ApiError> {
    let (offset, limit) = bounds(part.offset, part.limit)?;
    if offset + limit > MAX_ROWS {
        return Err(ApiError::invalid(format!("offset and limit: expected at most {MAX_ROWS} together")));
    }
    let total = view.records.summary(view.insight.confirmations).await?.blocks().found;
    let found = view.records.query(move |reader| {
        let mut found = reader.blocks(None, offset + limit)?;
        view::lives(reader, found.split_off(offset.min(found.len())))
    });
    let items = found.await?.into_iter().map(|(block, life)| view.block(block, life)).collect();
    Ok(Json(Page { items, total: Some(total), offset: offset as u64 }))
}

/// What is mined; null until a node has delivered
#[utoipa::path(get, path = "/api/v1/template", tag = "pool", responses((status = OK, body = Option<dto::Template>)))]
async fn template(State(view): State<View>) -> Result<Json<Option<dto::Template>>, ApiError> {
    view.template().await.map(Json)
}

/// What happens, as it happens
///
/// Server-sent events with JSON: `pool` (as `/api/v1/pool`, every two seconds), `tip`, `block`, `ledger`; for the operator also
/// `node` and `worker`.
#[utoipa::path(get, path = "/api/v1/events", tag = "pool", responses(
    (status = OK, content_type = "text/event-stream", body = String),
    (status = SERVICE_UNAVAILABLE, body = ErrorAnswer, description = "Too many watch already"),
))]
async fn events(State(view): State<View>) -> Result<Response, ApiError> {
    let first = Event::new("pool", &view.pool().await).map_err(ApiError::internal)?;
    view.events.subscribe(Some(first))
}
