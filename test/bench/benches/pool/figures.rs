//! What is measured, over all repetitions, and the table of it.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{plan::Plan, server::Kind};

/// Names a figure within a run.
pub type Key = String;

/// Measurements of both pools, by key; one for each repetition.
#[derive(Default)]
pub struct Figures {
    ours: BTreeMap<Key, Vec<f64>>,
    sri: BTreeMap<Key, Vec<f64>>,
}

impl Figures {
    pub fn add(&mut self, kind: Kind, key: impl Into<Key>, value: f64) {
        let key = key.into();
        eprintln!("    {kind:?}: {key} = {value:.3}");
        match kind {
            Kind::Ours => self.ours.entry(key).or_default().push(value),
            Kind::Sri => self.sri.entry(key).or_default().push(value),
        }
    }

    /// The median of the repetitions.
    fn median(&self, kind: Kind, key: &str) -> Option<f64> {
        let all = match kind {
            Kind::Ours => &self.ours,
            Kind::Sri => &self.sri,
        };
        let mut values = all.get(key)?.clone();
        values.sort_unstable_by(f64::total_cmp);
        let upper = values.get(values.len() / 2)?;
        let lower = values.get((values.len() - 1) / 2)?;
        Some((lower + upper) / 2.0)
    }
}

/// A line of the table.
struct Row {
    text: String,
    key: Key,
    unit: &'static str,
    to_reach: String,
}

fn row(text: impl Into<String>, key: impl Into<Key>, unit: &'static str, to_reach: impl Into<String>) -> Row {
    Row { text: text.into(), key: key.into(), unit, to_reach: to_reach.into() }
}

/// Everything as Markdown.
pub fn markdown(figures: &Figures, plan: &Plan) -> String {
    let mut text = String::from("| The pool | Ours | SRI | Ours / SRI | To reach |\n|---|--:|--:|--:|--:|\n");
    for row in pool_rows(plan) {
        let (ours, sri) = (figures.median(Kind::Ours, &row.key), figures.median(Kind::Sri, &row.key));
        let ratio = ours.zip(sri).map_or_else(dash, |(ours, sri)| number(ours / sri));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {ratio} | {} |",
            row.text,
            value(ours, row.unit),
            value(sri, row.unit),
            row.to_reach
        );
    }
    text.push_str("\n| The swarm and the disk, meanwhile | Ours | SRI |\n|---|--:|--:|\n");
    for row in other_rows(plan) {
        let [ours, sri] = [Kind::Ours, Kind::Sri].map(|kind| value(figures.median(kind, &row.key), row.unit));
        let _ = writeln!(text, "| {} | {ours} | {sri} |", row.text);
    }
    text
}

fn pool_rows(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for size in &plan.sizes {
        let tenth = "≤ 0.1 of SRI's";
        let who = format!("new tip with its template, {size} miners");
        rows.push(row(format!("{who}: p50"), format!("together {size} p50"), "ms", tenth));
        rows.push(row(format!("{who}: first miner"), format!("together {size} first"), "ms", "≤ 2 ms"));
        rows.push(row(format!("{who}: p99"), format!("together {size} p99"), "ms", ""));
    }
    for size in &plan.sizes {
        let who = format!("new tip, template sent ahead, {size} miners");
        rows.push(row(format!("{who}: p50"), format!("ahead {size} p50"), "ms", ""));
        rows.push(row(format!("{who}: first miner"), format!("ahead {size} first"), "ms", "≤ 2 ms"));
        rows.push(row(format!("{who}: p99"), format!("ahead {size} p99"), "ms", ""));
    }
    let wave = plan.wave;
    rows.push(row(format!("memory per connection, {wave} fresh"), "memory fresh", "KiB", "≤ 12 KiB"));
    let waves = plan.waves;
    let again = format!("memory per connection, {wave} after {waves} such waves");
    rows.push(row(again, "memory after waves", "KiB", "as fresh"));
    rows.push(row("memory held when all have gone", "memory held", "MiB", "flat"));
    let last = plan.sizes.last().copied().unwrap_or_default();
    rows.push(row(format!("memory per connection, {last} fresh"), "memory all", "KiB", ""));
    rows.push(row("processor time per connection set up", "set-up cpu", "µs", "≤ 220 µs"));
    rows.push(row("set-ups a second, 64 in flight", "set-ups", "/s", ""));
    for flood in plan.floods {
        let who = format!("flood from {flood} miners");
        rows.push(row(format!("{who}: shares a second"), format!("flood {flood} rate"), "/s", "≥ 2 of SRI's"));
        rows.push(row(format!("{who}: processor time per share"), format!("flood {flood} cpu"), "µs", "≤ 5 µs"));
        let to_reach = if flood == plan.floods[0] { "≤ 60 ms" } else { "" };
        rows.push(row(format!("{who}: acknowledged, p99"), format!("flood {flood} p99"), "ms", to_reach));
    }
    let rate = plan.rate;
    let who = format!("{rate:.0} shares a second in all");
    rows.push(row(format!("{who}: acknowledged, p50"), "paced p50", "ms", ""));
    rows.push(row(format!("{who}: acknowledged, p99"), "paced p99", "ms", "durable: ≤ 2 × fdatasync + 3 ms"));
    rows.push(row(format!("{who}: processor time per share"), "paced cpu", "µs", ""));
    rows.push(row(format!("{who}, `acknowledge = \"received\"`: p99"), "received p99", "ms", "≤ 1 ms"));
    rows
}

fn other_rows(plan: &Plan) -> Vec<Row> {
    let mut rows = vec![row("swarm's processor time per connection set up", "set-up client", "µs", "")];
    for flood in plan.floods {
        let text = format!("swarm's processor time per share, flood from {flood} miners");
        rows.push(row(text, format!("flood {flood} client"), "µs", ""));
        let text = format!("refused of 1,000 shares, flood from {flood} miners (stale at a new tip)");
        rows.push(row(text, format!("flood {flood} refused"), "", ""));
    }
    rows.push(row("swarm's processor time per share, paced", "paced client", "µs", ""));
    rows.push(row("fdatasync of 4 KiB in the pool's folder, p50", "fdatasync p50", "ms", ""));
    rows.push(row("fdatasync of 4 KiB in the pool's folder, p99", "fdatasync p99", "ms", ""));
    rows.push(row("processors busy with other programs, on average", "others", "", ""));
    rows
}

fn dash() -> String {
    "–".to_owned()
}

fn value(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(dash, |value| format!("{} {unit}", number(value)).trim_end().to_owned())
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e4 => format!("{:.0}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.095 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
