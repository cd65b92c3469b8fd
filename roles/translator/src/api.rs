//! The translator as it shows itself: an HTTP API and metrics for its operator (`docs/operate/translator.md`).
//!
//! Times are unix milliseconds, hashrates hashes per second, work hashes. What is not known is null.

use std::{net::TcpListener, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{CounterVec, Encoder as _, GaugeVec, Opts, Registry as Metrics, TextEncoder};
use roles_logic_sv2::accounting::{Period, ShareStats};
use serde::{Deserialize, Serialize};
use stratum_runtime::{
    core::Clock,
    http::{ApiError, Check, Hosts, Limits, Query, Readiness, Server, Site},
    shutdown::Shutdown,
};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    config::Http,
    server::Status,
    stats::{MinerStats, Registry, Tallies, Tally},
};

/// Most elements of a list in one answer.
pub const MAX_LIMIT: u16 = 500;
/// Elements of a list when no limit is given.
const DEFAULT_LIMIT: u16 = 50;

/// Where the API knows everything from.
#[derive(Clone)]
pub(crate) struct Insight {
    pub clock: Clock,
    pub started_at: Duration,
    pub registry: Registry,
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
}

/// Estimates over the last minute, ten minutes, hour and day.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Hashrate {
    /// Over a minute.
    pub m1: f64,
    /// Over ten minutes.
    pub m10: f64,
    /// Over an hour.
    pub h1: f64,
    /// Over a day.
    pub h24: f64,
}

impl Hashrate {
    fn of(now: Duration, shares: &ShareStats) -> Self {
        let [m1, m10, h1, h24] = Period::ALL.map(|period| shares.hashrate(now, period));
        Self { m1, m10, h1, h24 }
    }

    fn add(&mut self, other: Self) {
        self.m1 += other.m1;
        self.m10 += other.m10;
        self.h1 += other.h1;
        self.h24 += other.h24;
    }
}

/// Shares and their work.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Sum {
    /// Shares.
    pub shares: u64,
    /// Work, by the miner's difficulty.
    pub work: f64,
}

impl From<Tally> for Sum {
    fn from(tally: Tally) -> Self {
        Self { shares: tally.shares, work: tally.work as f64 }
    }
}

/// Shares that were answered with an error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Rejected {
    /// Why, as an error code of Stratum V2.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What became of shares. `accepted` is the sum of the three that follow.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Shares {
    /// Answered with `true`.
    pub accepted: Sum,
    /// The upstream accepted them.
    pub confirmed: Sum,
    /// The upstream has not said.
    pub provisional: Sum,
    /// Below the upstream's target.
    pub local: Sum,
    /// Of the provisional ones, those that the upstream refused afterwards.
    pub refused_late: Sum,
    /// Answered with an error.
    pub rejected: Vec<Rejected>,
}

impl From<&Tallies> for Shares {
    fn from(tallies: &Tallies) -> Self {
        let rejected =
            tallies.rejected.iter().map(|(reason, count)| Rejected { reason: reason.clone(), count: *count });
        Self {
            accepted: tallies.accepted.into(),
            confirmed: tallies.confirmed.into(),
            provisional: tallies.provisional.into(),
            local: tallies.local.into(),
            refused_late: tallies.refused_late.into(),
            rejected: rejected.collect(),
        }
    }
}

/// A route.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Route {
    /// What it is called.
    pub name: String,
    /// Its part of the hashrate, beside those of the others.
    pub weight: f64,
    /// The upstream in use.
    pub active: Option<String>,
}

/// An upstream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Upstream {
    /// What it is called.
    pub name: String,
    /// `active`, `ready`, `connecting` or `down`.
    pub state: String,
    /// Channels there.
    pub channels: u64,
    /// Shares without a verdict.
    pub pending: u64,
    /// Shares that it accepted.
    pub confirmed: u64,
    /// Shares that it refused.
    pub refused: u64,
    /// Why it is down.
    pub problem: Option<String>,
}

/// The translator as a whole.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Translator {
    /// Version of the program.
    pub version: String,
    /// When it was started.
    pub started_at: u64,
    /// When this was asked.
    pub now: u64,
    /// Miners that are connected.
    pub miners: u64,
    /// What they do together.
    pub hashrate: Hashrate,
    /// What became of all shares since the start.
    pub shares: Shares,
    /// The routes.
    pub routes: Vec<Route>,
    /// The upstreams.
    pub upstreams: Vec<Upstream>,
}

/// A miner.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Miner {
    /// Names its connection.
    pub id: String,
    /// Where it comes from.
    pub address: String,
    /// What it calls itself.
    pub device: String,
    /// The user names that it has authorized.
    pub workers: Vec<String>,
    /// The route that it is on.
    pub route: Option<String>,
    /// When it connected.
    pub connected_at: u64,
    /// The difficulty that it was told last.
    pub difficulty: Option<f64>,
    /// What it does.
    pub hashrate: Hashrate,
    /// What became of its shares.
    pub shares: Shares,
    /// Difficulty of its best share.
    pub best: Option<f64>,
    /// When its last share was accepted.
    pub last_share_at: Option<u64>,
}

/// Part of the list of miners.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Miners {
    /// The part.
    pub items: Vec<Miner>,
    /// How many there are in all.
    pub total: u64,
    /// Where the part begins.
    pub offset: u64,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Part {
    /// Where to begin; 0 without it.
    #[serde(default)]
    pub offset: u32,
    /// How many at most, up to 500; 50 without it.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Insight {
    fn hashrate(&self) -> (u64, Hashrate) {
        let (now, mut count, mut sum) = (self.clock.now(), 0, Hashrate::default());
        self.registry.for_each(|_, miner| {
            count += 1;
            sum.add(Hashrate::of(now, &miner.shares));
        });
        (count, sum)
    }

    fn miner(&self, id: String, miner: &MinerStats, status: &Status) -> Miner {
        let route = miner.route.and_then(|route| status.routes.get(route));
        Miner {
            id,
            address: miner.address.to_string(),
            device: miner.user_agent.clone(),
            workers: miner.workers.clone(),
            route: route.map(|route| route.name.clone()),
            connected_at: millis(miner.since),
            difficulty: miner.difficulty,
            hashrate: Hashrate::of(self.clock.now(), &miner.shares),
            shares: (&miner.tallies).into(),
            best: miner.shares.best_difficulty(),
            last_share_at: miner.shares.last_accepted().map(millis),
        }
    }
}

/// The translator as a whole.
#[utoipa::path(get, path = "/api/v1/translator", responses((status = 200, body = Translator)))]
async fn translator(State(insight): State<Insight>) -> Json<Translator> {
    let (miners, hashrate) = insight.hashrate();
    let status = (insight.status)();
    let routes =
        status.routes.into_iter().map(|route| Route { name: route.name, weight: route.weight, active: route.active });
    let upstreams = status.upstreams.into_iter().map(|upstream| Upstream {
        state: match (upstream.is_active, upstream.is_ready, upstream.is_connected) {
            (true, ..) => "active",
            (false, true, _) => "ready",
            (false, false, true) => "connecting",
            (false, false, false) => "down",
        }
        .to_owned(),
        name: upstream.name,
        channels: upstream.channels as u64,
        pending: upstream.pending as u64,
        confirmed: upstream.confirmed,
        refused: upstream.refused,
        problem: upstream.problem,
    });
    Json(Translator {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: millis(insight.started_at),
        now: millis(insight.clock.now()),
        miners,
        hashrate,
        shares: (&insight.registry.totals()).into(),
        routes: routes.collect(),
        upstreams: upstreams.collect(),
    })
}

/// The miners that are connected, in the order in which they came to their threads.
#[utoipa::path(get, path = "/api/v1/miners", params(Part), responses((status = 200, body = Miners)))]
async fn miners(State(insight): State<Insight>, Query(part): Query<Part>) -> Result<Json<Miners>, ApiError> {
    let limit = part.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid(format!("limit: expected 1 to {MAX_LIMIT}")));
    }
    let status = (insight.status)();
    let (total, miners) = insight.registry.part(part.offset as usize, usize::from(limit));
    let items = miners.iter().map(|(id, miner)| insight.miner(id.to_string(), miner, &status)).collect();
    Ok(Json(Miners { items, total: total as u64, offset: part.offset.into() }))
}

/// `/metrics`: collected when Prometheus asks. No label is a miner's or a worker's.
async fn metrics(State(insight): State<Insight>) -> Response {
    match render(&insight) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => ApiError::internal(error.to_string()).into_response(),
    }
}

fn render(insight: &Insight) -> prometheus::Result<Vec<u8>> {
    let metrics = Metrics::new();
    let name = |name: &str| format!("stratum_translator_{name}");
    let gauge = |named: &str, help: &str, labels: &[&str]| {
        let gauge = GaugeVec::new(Opts::new(name(named), help), labels)?;
        metrics.register(Box::new(gauge.clone()))?;
        Ok::<_, prometheus::Error>(gauge)
    };
    let counter = |named: &str, help: &str, labels: &[&str]| {
        let counter = CounterVec::new(Opts::new(name(named), help), labels)?;
        metrics.register(Box::new(counter.clone()))?;
        Ok::<_, prometheus::Error>(counter)
    };
    let (miners, hashrate) = insight.hashrate();
    gauge("miners", "Miners that are connected.", &[])?.with_label_values::<&str>(&[]).set(miners as f64);
    let rate = gauge("hashrate_hps", "Hashes per second over ten minutes, as accepted shares tell.", &[])?;
    rate.with_label_values::<&str>(&[]).set(hashrate.m10);
    let totals = insight.registry.totals();
    let shares = counter("shares_accepted_total", "Shares that were answered with true, by who says so.", &["ground"])?;
    let work = counter("work_accepted_total", "Their work in hashes.", &["ground"])?;
    // What is provisional may become confirmed: only the sum of both never shrinks.
    let upstream = [totals.confirmed, totals.provisional];
    let forwarded = upstream.iter().fold((0, 0.0), |sum, tally| (sum.0 + tally.shares, sum.1 + tally.work as f64));
    for (ground, (count, sum)) in [("upstream", forwarded), ("local", (totals.local.shares, totals.local.work as f64))]
    {
        shares.with_label_values(&[ground]).inc_by(count as f64);
        work.with_label_values(&[ground]).inc_by(sum);
    }
    let provisional = gauge("shares_provisional", "Shares that were answered without the upstream's verdict.", &[])?;
    provisional.with_label_values::<&str>(&[]).set(totals.provisional.shares as f64);
    let rejected = counter("shares_rejected_total", "Shares that were answered with an error.", &["reason"])?;
    for (reason, count) in &totals.rejected {
        rejected.with_label_values(&[reason.as_str()]).inc_by(*count as f64);
    }
    let up = gauge("upstream_ready", "Whether an upstream could be used.", &["upstream"])?;
    let active = gauge("upstream_active", "Whether a route uses an upstream.", &["upstream"])?;
    let pending = gauge("upstream_shares_pending", "Shares without a verdict.", &["upstream"])?;
    let verdicts = counter("upstream_verdicts_total", "What upstreams said of shares.", &["upstream", "verdict"])?;
    for upstream in (insight.status)().upstreams {
        let label = [upstream.name.as_str()];
        up.with_label_values(&label).set(f64::from(u8::from(upstream.is_ready)));
        active.with_label_values(&label).set(f64::from(u8::from(upstream.is_active)));
        pending.with_label_values(&label).set(upstream.pending as f64);
        verdicts.with_label_values(&[label[0], "accepted"]).inc_by(upstream.confirmed as f64);
        verdicts.with_label_values(&[label[0], "refused"]).inc_by(upstream.refused as f64);
    }
    let mut text = Vec::new();
    TextEncoder::new().encode(&metrics.gather(), &mut text)?;
    Ok(text)
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Stratum translator",
    description = "The operator's view. Times are unix milliseconds, hashrates hashes per second, work hashes. What is not known is null."
))]
struct Document;

fn site(config: &Http, insight: Insight) -> Site {
    let router = OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(translator)).routes(routes!(miners));
    let (router, openapi) = router.split_for_parts();
    let status = insight.status.clone();
    let readiness = Readiness::new(move || {
        let routes = (status)().routes;
        let check = |route: crate::hub::RouteStatus| {
            let ok = route.active.is_some();
            let detail = (!ok).then(|| "no upstream of the route is up".to_owned());
            Check { name: format!("route {}", route.name), ok, detail }
        };
        routes.into_iter().map(check).collect()
    });
    Site {
        api: router.route("/metrics", get(metrics)).with_state(insight),
        openapi,
        readiness,
        assets: |_| None,
        hosts: Some(Hosts::new(&config.hosts)),
        limits: Limits::new(config.connections),
    }
}

/// Serves the API until `shutdown`.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    config: &Http,
    socket: TcpListener,
    insight: Insight,
    shutdown: Shutdown,
) -> std::io::Result<Server> {
    Server::start(vec![(socket, site(config, insight))], shutdown)
}
