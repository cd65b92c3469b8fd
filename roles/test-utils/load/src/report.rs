//! What a run found, as a table, as JSON, and as a plot.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::{
    plot::{Chart, Series, svg},
    process::Usage,
    stats::{Arrivals, Broadcast, Reasons, Stats, Times},
};

/// What a run found. Times in milliseconds unless the name says otherwise.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Address of the pool.
    pub pool: String,
    /// Encrypted or not.
    pub noise: bool,
    /// `standard` or `extended`.
    pub channel: &'static str,
    /// The first miners.
    pub connections: Connections,
    /// Those that came and went.
    pub waves: Option<Connections>,
    /// What they sent.
    pub shares: Option<Shares>,
    /// New previous hashes, from the first miner that heard of each.
    pub tips: Option<FanOut>,
    /// New jobs on the same previous hash, likewise; extended channels only.
    pub jobs: Option<FanOut>,
    /// Why miners with work lost their connection.
    pub lost: Reasons,
    /// Memory and descriptors of the pool at the end; only with its process id.
    pub pool_at_end: Option<Usage>,
    /// Memory and descriptors of the swarm at the end.
    pub client_at_end: Usage,
    /// Once a second.
    pub timeline: Vec<Point>,
}

/// Times of many events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half take no longer.
    pub p50: f64,
    /// 99 of 100 take no longer.
    pub p99: f64,
    /// None takes longer.
    pub max: f64,
}

/// Connections, from connect to the first work.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connections {
    /// How many were tried.
    pub asked: u64,
    /// How many had work.
    pub connected: u64,
    /// Why others had not.
    pub failed: Reasons,
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// Connections that had work, a second.
    pub per_second: f64,
    /// From connect to the first work.
    pub latency: Latency,
    /// Processor time of the pool for each, in microseconds; only with its process id.
    pub pool_cpu_us: Option<f64>,
    /// Resident memory of the pool that came with each, in bytes; only with its process id.
    pub pool_bytes: Option<f64>,
    /// Processor time of the swarm for each, in microseconds.
    pub client_cpu_us: f64,
}

/// Shares and their answers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Shares {
    /// How many were sent.
    pub submitted: u64,
    /// How many the pool says that it accepted.
    pub accepted: u64,
    /// How many its acknowledgements cover.
    pub acknowledged: u64,
    /// How many it refused, by reason.
    pub rejected: Reasons,
    /// How many had no answer when all was over.
    pub unanswered: u64,
    /// How many were due and not sent, as too many waited for their answer already.
    pub held_back: u64,
    /// How long they were sent, in seconds.
    pub seconds: f64,
    /// Accepted, a second.
    pub per_second: f64,
    /// From sending a share to its acknowledgement.
    pub latency: Latency,
    /// Shares that an acknowledgement covers on average.
    pub per_acknowledgement: f64,
    /// Hashes for a share on average: one where the target is the easiest.
    pub hashes_per_share: f64,
    /// Processor time of the pool for each, in microseconds; only with its process id.
    pub pool_cpu_us: Option<f64>,
    /// Processor time of the swarm for each, in microseconds.
    pub client_cpu_us: f64,
}

/// How something spread over the miners: the median over all broadcasts of each figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FanOut {
    /// Broadcasts that were seen.
    pub broadcasts: usize,
    /// Miners that got one.
    pub miners: usize,
    /// Until the first had it.
    pub first: f64,
    /// Until half of them had it.
    pub p50: f64,
    /// Until 99 of 100 had it.
    pub p99: f64,
    /// Until all had it.
    pub max: f64,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Seconds since the start.
    pub second: f64,
    /// Miners with work.
    pub live: u64,
    /// Shares accepted, a second.
    pub accepted: f64,
    /// Shares refused, a second.
    pub rejected: f64,
    /// Resident memory of the pool, in bytes.
    pub pool_bytes: Option<u64>,
}

/// What both sides had used at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// The pool, if its process is known.
    pub pool: Option<Usage>,
    /// This process.
    pub client: Usage,
}

impl Used {
    /// At this moment; `pool_pid` is the pool's process.
    pub fn now(pool_pid: Option<u32>) -> Self {
        Self { pool: pool_pid.and_then(|pid| Usage::of(pid).ok()), client: Usage::own() }
    }
}

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A part of a whole that may be nothing.
fn each(total: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { total / count as f64 }
}

fn cpu_us(before: Usage, after: Usage, count: u64) -> f64 {
    each(after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6, count)
}

impl From<&Times> for Latency {
    fn from(times: &Times) -> Self {
        Self { p50: ms(times.quantile(0.5)), p99: ms(times.quantile(0.99)), max: ms(times.max()) }
    }
}

impl Connections {
    /// Of connections that were tried in `time`.
    pub fn new(asked: u64, stats: &Stats, time: Duration, before: Used, after: Used) -> Self {
        let connected = stats.set_up.len();
        let pool = before.pool.zip(after.pool);
        Self {
            asked,
            connected,
            failed: stats.failed.clone(),
            seconds: time.as_secs_f64(),
            per_second: connected as f64 / time.as_secs_f64().max(1e-9),
            latency: Latency::from(&stats.set_up),
            pool_cpu_us: pool.map(|(before, after)| cpu_us(before, after, connected)),
            pool_bytes: pool.map(|(before, after)| each(after.resident as f64 - before.resident as f64, connected)),
            client_cpu_us: cpu_us(before.client, after.client, connected),
        }
    }
}

impl Shares {
    /// Of shares that were sent for `time`; `in_flight` had no answer at the end.
    pub fn new(stats: &Stats, in_flight: u64, time: Duration, before: Used, after: Used) -> Self {
        let accepted = stats.accepted;
        let pool = before.pool.zip(after.pool);
        Self {
            submitted: stats.submitted,
            accepted,
            acknowledged: stats.acknowledged.len(),
            rejected: stats.rejected.clone(),
            unanswered: stats.unanswered + in_flight,
            held_back: stats.held_back,
            seconds: time.as_secs_f64(),
            per_second: accepted as f64 / time.as_secs_f64().max(1e-9),
            latency: Latency::from(&stats.acknowledged),
            per_acknowledgement: each(accepted as f64, stats.acknowledgements),
            hashes_per_share: each(stats.hashes as f64, stats.submitted),
            pool_cpu_us: pool.map(|(before, after)| cpu_us(before, after, accepted)),
            client_cpu_us: cpu_us(before.client, after.client, accepted),
        }
    }
}

impl FanOut {
    /// How one broadcast spread; `since` is when its source sent it, else the first arrival counts. Needs at least one
    /// arrival.
    pub fn of(times: &[Duration], since: Option<Duration>) -> Option<Self> {
        let (first, last) = (*times.first()?, *times.last()?);
        let since = since.unwrap_or(first);
        let at = |quantile: f64| {
            let index = (times.len() as f64 * quantile).ceil() as usize;
            times.get(index.saturating_sub(1)).copied().unwrap_or(last)
        };
        let after = |time: Duration| ms(time.saturating_sub(since));
        Some(Self {
            broadcasts: 1,
            miners: times.len(),
            first: after(first),
            p50: after(at(0.5)),
            p99: after(at(0.99)),
            max: after(last),
        })
    }

    /// The median of each figure.
    pub fn median(all: &[Self]) -> Option<Self> {
        let median = |of: fn(&Self) -> f64| {
            let mut values: Vec<f64> = all.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(Self {
            broadcasts: all.len(),
            miners: median(|one| one.miners as f64)? as usize,
            first: median(|one| one.first)?,
            p50: median(|one| one.p50)?,
            p99: median(|one| one.p99)?,
            max: median(|one| one.max)?,
        })
    }

    /// The median over all broadcasts of a kind, each from its first arrival.
    pub fn of_all(arrivals: &Arrivals, wanted: fn(&Broadcast) -> bool) -> Option<Self> {
        let all: Vec<_> =
            arrivals.broadcasts().filter(wanted).filter_map(|one| Self::of(&arrivals.of(one), None)).collect();
        Self::median(&all)
    }
}

impl Report {
    /// Whether any miner ever had work.
    pub fn connected(&self) -> bool {
        self.connections.connected > 0
    }

    /// As JSON, over several lines.
    ///
    /// # Errors
    /// Never in practice: all of it can be written as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// For people.
    pub fn table(&self) -> String {
        let noise = if self.noise { "noise" } else { "plain" };
        let mut text = format!("{} over {noise}, {} channels\n", self.pool, self.channel);
        connections(&mut text, "connections", &self.connections);
        if let Some(waves) = &self.waves {
            connections(&mut text, "waves", waves);
        }
        if let Some(shares_found) = &self.shares {
            shares(&mut text, shares_found);
        }
        for (name, fan_out) in [("new tips", self.tips), ("new jobs", self.jobs)] {
            if let Some(FanOut { broadcasts, miners, p50, p99, max, .. }) = fan_out {
                row(&mut text, name, &format!("{broadcasts} to {miners} miners"));
                row(
                    &mut text,
                    "  after the first miner",
                    &format!("p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"),
                );
            }
        }
        reasons(&mut text, "  lost", &self.lost);
        if let Some(pool) = self.pool_at_end {
            row(&mut text, "pool at the end", &usage(pool));
        }
        row(&mut text, "swarm at the end", &usage(self.client_at_end));
        text
    }

    /// As a plot: miners, shares and the pool's memory over time.
    pub fn svg(&self) -> String {
        let chart = |title: &str, series: Vec<Series>| Chart {
            title: title.to_owned(),
            x_label: "seconds".to_owned(),
            log_x: false,
            series,
        };
        let line = |name: &str, of: &dyn Fn(&Point) -> Option<f64>| Series {
            name: name.to_owned(),
            points: self.timeline.iter().filter_map(|point| Some((point.second, of(point)?))).collect(),
        };
        let mut charts = vec![chart("miners with work", vec![line("miners", &|point| Some(point.live as f64))])];
        if self.shares.is_some() {
            let accepted = line("accepted", &|point| Some(point.accepted));
            let rejected = line("refused", &|point| Some(point.rejected));
            charts.push(chart("shares a second", vec![accepted, rejected]));
        }
        if self.pool_at_end.is_some() {
            let memory = line("resident", &|point| Some(point.pool_bytes? as f64 / f64::from(1 << 20)));
            charts.push(chart("memory of the pool, MiB", vec![memory]));
        }
        svg(&charts)
    }
}

fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:<26}{value}");
}

fn latency(Latency { p50, p99, max }: Latency) -> String {
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")
}

fn usage(Usage { cpu, resident, descriptors }: Usage) -> String {
    let mebibytes = resident as f64 / f64::from(1 << 20);
    format!("{mebibytes:.1} MiB, {descriptors} descriptors, {:.2} s of processor time", cpu.as_secs_f64())
}

fn reasons(text: &mut String, name: &str, reasons: &Reasons) {
    for (reason, times) in reasons {
        row(text, name, &format!("{times} × {reason}"));
    }
}

fn connections(text: &mut String, name: &str, found: &Connections) {
    row(text, name, &format!("{} of {} in {:.2} s", found.connected, found.asked, found.seconds));
    row(text, "  set up", &format!("{:.0} a second", found.per_second));
    row(text, "  connect to first work", &latency(found.latency));
    reasons(text, "  failed", &found.failed);
    if let (Some(cpu), Some(bytes)) = (found.pool_cpu_us, found.pool_bytes) {
        row(text, "  pool, for each", &format!("{cpu:.0} µs of processor time, {:.1} KiB", bytes / 1024.0));
    }
    row(text, "  swarm, for each", &format!("{:.0} µs of processor time", found.client_cpu_us));
}

fn shares(text: &mut String, found: &Shares) {
    row(text, "shares", &format!("{} sent in {:.2} s", found.submitted, found.seconds));
    row(text, "  accepted", &format!("{}, {:.0} a second", found.accepted, found.per_second));
    if found.acknowledged != found.accepted {
        row(text, "  covered by answers", &format!("{}, not what the pool says", found.acknowledged));
    }
    row(text, "  acknowledged after", &latency(found.latency));
    row(text, "  an acknowledgement", &format!("covers {:.1} shares", found.per_acknowledgement));
    reasons(text, "  refused", &found.rejected);
    for (name, count) in [("  without an answer", found.unanswered), ("  held back", found.held_back)] {
        if count > 0 {
            row(text, name, &count.to_string());
        }
    }
    row(text, "  a share took", &format!("{:.2} hashes", found.hashes_per_share));
    if let Some(cpu) = found.pool_cpu_us {
        row(text, "  pool, for each", &format!("{cpu:.2} µs of processor time"));
    }
    row(text, "  swarm, for each", &format!("{:.2} µs of processor time", found.client_cpu_us));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(times: &[u64]) -> Vec<Duration> {
        times.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_broadcast_is_measured_from_its_source_or_its_first_miner() {
        let times = millis(&(1..=100).map(|n| 10 + n).collect::<Vec<_>>());
        let from_source = FanOut::of(&times, Some(Duration::from_millis(10))).unwrap();
        assert_eq!((from_source.first, from_source.p50, from_source.p99, from_source.max), (1.0, 50.0, 99.0, 100.0));
        let from_first = FanOut::of(&times, None).unwrap();
        assert_eq!((from_first.first, from_first.p50, from_first.max, from_first.miners), (0.0, 49.0, 99.0, 100));
        assert_eq!(FanOut::of(&[], None), None);
    }

    #[test]
    fn broadcasts_are_summed_up_by_their_medians() {
        let all: Vec<_> = [10, 30, 20].iter().filter_map(|n| FanOut::of(&millis(&[0, *n]), None)).collect();
        let median = FanOut::median(&all).unwrap();
        assert_eq!((median.broadcasts, median.miners, median.max), (3, 2, 20.0));
        assert_eq!(FanOut::median(&[]), None);
    }

    #[test]
    fn nothing_divides_by_zero() {
        let found = Shares::new(&Stats::default(), 0, Duration::ZERO, Used::default(), Used::default());
        assert_eq!((found.per_second, found.client_cpu_us, found.pool_cpu_us), (0.0, 0.0, None));
        let report = Report { shares: Some(found), ..Report::default() };
        assert!(!report.connected());
        assert!(report.table().contains("shares") && report.svg().ends_with("</svg>\n"));
    }

    #[test]
    fn json_has_what_the_table_has() {
        let used = Used { pool: Some(Usage { resident: 4096, ..Usage::default() }), ..Used::default() };
        let mut stats = Stats::default();
        stats.set_up.record(Duration::from_millis(2));
        let connections =
            Connections::new(1, &stats, Duration::from_secs(1), Used { pool: Some(Usage::default()), ..used }, used);
        let report = Report { connections, ..Report::default() };
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["connections"]["connected"], 1);
        assert_eq!(json["connections"]["pool_bytes"], 4096.0);
        assert!(json["shares"].is_null());
        assert!(report.table().contains("4.0 KiB"));
    }
}
