//! `/metrics`: what Prometheus asks for, collected when it asks (`docs/adr/0027-metrics-are-collected-when-asked-for.md`).
//!
//! No metric has a label for an account, a worker or an address: the number of series depends on the configuration alone.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{
    Encoder, TextEncoder,
    core::Collector,
    process_collector::ProcessCollector,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use stratum_runtime::http::ApiError;

use super::view::View;
use crate::registry::{Protocol, REASONS, reason};

/// Metrics of one name, with a value for each set of labels.
struct Family(MetricFamily);

impl Family {
    fn new(kind: MetricType, name: &str, help: &str) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(format!("stratum_pool_{name}"));
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self(family)
    }

    fn with(mut self, labels: &[(&str, &str)], value: f64) -> Self {
        let labels = labels.iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut metric = Metric::default();
        metric.set_label(labels.collect());
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.mut_metric().push(metric);
        self
    }
}

fn gauge(name: &str, help: &str) -> Family {
    Family::new(MetricType::GAUGE, name, help)
}

fn counter(name: &str, help: &str) -> Family {
    Family::new(MetricType::COUNTER, name, help)
}

pub(super) fn router() -> axum::Router<View> {
    axum::Router::new().route("/metrics", get(metrics))
}

pub(super) async fn metrics(State(view): State<View>) -> Result<Response, ApiError> {
    let mut families: Vec<MetricFamily> = all(&view).await.into_iter().map(|family| family.0).collect();
    // A family without a value is not to be there.
    families.retain(|family| !family.get_metric().is_empty());
    families.extend(ProcessCollector::for_self().collect());
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    encoder.encode(&families, &mut text).map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response())
}

async fn all(view: &View) -> Vec<Family> {
    let insight = &view.insight;
    let (facts, now, state) = (&insight.facts, view.now(), insight.board.state());
    let mut families = vec![
        gauge("info", "What runs; always 1.")
            .with(&[("version", env!("CARGO_PKG_VERSION")), ("network", &facts.network.to_string())], 1.0),
        gauge("start_time_seconds", "When the process started, unix time.").with(&[], facts.started_at.as_secs_f64()),
        gauge("event_subscribers", "Who watches what happens, in both views.").with(&[], insight.subscribers() as f64),
    ];
    families.extend(miners(view));
    families.extend(shares(view));
    let (mut up, mut active, mut height) = (
        gauge("node_up", "Whether a template source answers."),
        gauge("node_active", "Whether miners work on the templates of a source."),
        gauge("node_height", "Height of a source's tip."),
    );
    for (index, node) in state.nodes.iter().enumerate() {
        let labels = &[("node", &*node.name), ("index", &*index.to_string())];
        up = up.with(labels, f64::from(u8::from(node.is_up)));
        active = active.with(labels, f64::from(u8::from(node.is_active)));
        if let Some(value) = node.height {
            height = height.with(labels, value.into());
        }
    }
    families.extend([up, active, height]);
    if let Some(mined) = &state.mined {
        let age = |at| now.saturating_sub(at).as_secs_f64();
        families.extend([
            gauge("tip_height", "Height of the block that miners build on.")
                .with(&[], mined.tip.height.saturating_sub(1).into()),
            gauge("tip_age_seconds", "Time since the pool heard of the tip.").with(&[], age(mined.tip_at)),
            gauge("template_age_seconds", "Time since the template came that is mined.")
                .with(&[], age(mined.received_at)),
            gauge("job_age_seconds", "Time since the newest job was made.").with(&[], age(mined.job_at)),
            gauge("template_value_satoshis", "What a block may pay.")
                .with(&[], mined.template.coinbase.value_remaining as f64),
            gauge("network_difficulty", "Difficulty of the block to be found.")
                .with(&[], mined.tip.tip.target.difficulty()),
        ]);
        if let Some(transactions) = &mined.transactions {
            let name = "template_transactions";
            families
                .push(gauge(name, "Transactions of the template that is mined.").with(&[], transactions.len() as f64));
        }
    }
    let is = |ok: bool| f64::from(u8::from(ok));
    families.extend([
        counter("blocks_found_total", "Blocks found since the process started.").with(&[], state.found as f64),
        gauge("ledger_up", "Whether shares are recorded, and so acknowledged.")
            .with(&[], is(state.has_ledger && state.ledger.is_none())),
        gauge("ledger_index_up", "Whether the ledger's database follows its log.").with(&[], is(state.index.is_none())),
    ]);
    if let Ok(summary) = view.records.summary(insight.confirmations).await {
        let counts = summary.blocks();
        families.push(
            gauge("blocks", "Blocks of all times by what became of them.")
                .with(&[("state", "accepted")], counts.accepted as f64)
                .with(&[("state", "confirmed")], counts.confirmed as f64)
                .with(&[("state", "orphaned")], counts.orphaned as f64),
        );
    }
    families
}

/// Who is there.
fn miners(view: &View) -> Vec<Family> {
    let insight = &view.insight;
    let counts = insight.registry.counts();
    // Listeners may have a name in common; a series may not be there twice.
    let mut set_up = BTreeMap::new();
    for listener in &insight.facts.listeners {
        for protocol in [Protocol::V1, Protocol::V2] {
            set_up.insert((&*listener.name, protocol.word()), 0_u32);
        }
    }
    for connection in insight.registry.connections() {
        let listener = insight.facts.listeners.get(connection.listener);
        let count = listener.and_then(|listener| set_up.get_mut(&(&*listener.name, connection.protocol.word())));
        count.into_iter().for_each(|count| *count += 1);
    }
    let connections = set_up.into_iter().fold(
        gauge("connections", "Connections of miners that are set up."),
        |family, ((listener, protocol), count)| {
            family.with(&[("listener", listener), ("protocol", protocol)], count.into())
        },
    );
    vec![
        connections,
        gauge("half_open_connections", "Connections without a channel.").with(&[], insight.gate.half_open() as f64),
        gauge("banned_addresses", "Addresses that may not connect, for abuse.")
            .with(&[], insight.gate.bans(view.now()).len() as f64),
        gauge("channels", "Open channels.").with(&[], counts.channels as f64),
        gauge("workers", "Workers with a channel.").with(&[], counts.workers as f64),
        gauge("accounts", "Accounts with a channel.").with(&[], counts.accounts as f64),
    ]
}

/// What they did.
fn shares(view: &View) -> Vec<Family> {
    let registry = &view.insight.registry;
    let (sums, rates) = (registry.sums(), registry.hashrates(view.now()));
    let mut rejected = counter("shares_rejected_total", "Refused shares of open channels, by reason.");
    for place in 0..REASONS {
        rejected = rejected.with(&[("reason", reason(place))], sums.rejected[place] as f64);
    }
    let mut families = vec![
        counter("shares_accepted_total", "Accepted shares.").with(&[], sums.accepted as f64),
        rejected,
        counter("work_hashes_total", "Hashes that accepted shares stand for.").with(&[], sums.work),
        gauge("hashrate_hashes_per_second", "Estimate of the miners' hashrate over a time.")
            .with(&[("window", "1m")], rates.m1)
            .with(&[("window", "10m")], rates.m10)
            .with(&[("window", "1h")], rates.h1)
            .with(&[("window", "24h")], rates.h24),
        gauge("best_share_difficulty", "Difficulty of the best share since the process started.").with(&[], sums.best),
    ];
    if sums.last > 0 {
        let name = "last_share_timestamp_seconds";
        families.push(gauge(name, "When the last share was accepted, unix time.").with(&[], sums.last as f64 / 1000.0));
    }
    families
}
