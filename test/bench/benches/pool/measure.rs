//! The measurements, each on a pool of its own process.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use load::{
    Group, Pace, Swarm, Watch,
    report::{Connections, FanOut, Shares, Used, ms},
    stats::{Broadcast, Now, Stats, Times},
};

use super::{
    figures::Figures,
    plan::Plan,
    provider::{Provider, Sent},
    server::{Kind, Purpose, Server},
};

/// Connections on their way at a time.
const IN_FLIGHT: usize = 64;
/// What a template has ahead of its tip.
const AHEAD: Duration = Duration::from_millis(1_500);
/// How long a tip may take to all miners.
const SPREAD: Duration = Duration::from_secs(20);
/// Time for what else a pool does with a new tip.
const REST: Duration = Duration::from_millis(500);
/// In a flood: so often comes a new tip, times the number of miners. Pools bound the shares of a channel on one (ours to
/// 16,384), and a tip makes all shares stale that are under way.
const TIP_EVERY: Duration = Duration::from_millis(15);

/// When miners heard of tips: for the plot, in milliseconds.
#[derive(Default)]
pub struct Spreads(pub Vec<(Kind, bool, Vec<f64>)>);

/// Set-up, and how tips spread.
pub fn connections(
    kind: Kind,
    plan: &Plan,
    provider: &Provider,
    figures: &mut Figures,
    spreads: &mut Spreads,
) -> io::Result<()> {
    let server = Server::start(kind, Purpose::General, provider)?;
    let mut swarm = Swarm::start(&server.swarm())?;
    let (before, mut stats, mut time, mut done) = (used(&server), Stats::default(), Duration::ZERO, 0);
    let (mut pool_cpu, mut client_cpu) = (Duration::ZERO, Duration::ZERO);
    for &size in &plan.sizes {
        let (start, from) = (Instant::now(), used(&server));
        swarm.connect(Group::Base, size - done, IN_FLIGHT, &mut ())?;
        time += start.elapsed();
        let to = used(&server);
        if let (Some(from), Some(to)) = (from.pool, to.pool) {
            pool_cpu += to.cpu.saturating_sub(from.cpu);
        }
        client_cpu += to.client.cpu.saturating_sub(from.client.cpu);
        done = size;
        stats.add(swarm.take()?);
        for prepared in [false, true] {
            let last = plan.sizes.last() == Some(&size);
            let name = if prepared { "ahead" } else { "together" };
            let (spread, times) = spread(plan, provider, &mut swarm, prepared)?;
            figures.add(kind, format!("{name} {size} first"), spread.first);
            figures.add(kind, format!("{name} {size} p50"), spread.p50);
            figures.add(kind, format!("{name} {size} p99"), spread.p99);
            if last {
                spreads.0.push((kind, prepared, times));
            }
        }
    }
    let found = Connections::new(done, &stats, time, before, used(&server));
    complain(&found.failed);
    figures.add(kind, "set-ups", found.per_second);
    figures.add(kind, "set-up cpu", pool_cpu.as_secs_f64() * 1e6 / found.connected as f64);
    figures.add(kind, "set-up client", client_cpu.as_secs_f64() * 1e6 / found.connected as f64);
    figures.add(kind, "memory all", found.pool_bytes.unwrap_or_default() / 1024.0);
    Ok(())
}

/// The median of some tips, and all times of the last.
fn spread(plan: &Plan, provider: &Provider, swarm: &mut Swarm, prepared: bool) -> io::Result<(FanOut, Vec<f64>)> {
    let (mut all, mut last) = (Vec::new(), Vec::new());
    for _ in 0..plan.tips {
        if prepared {
            provider.prepare()?;
            thread::sleep(AHEAD);
        }
        swarm.take()?;
        let Sent { at, prev_hash } = provider.tip(prepared)?;
        let times = arrivals(swarm, prev_hash)?;
        let since = at.saturating_duration_since(swarm.origin());
        all.extend(FanOut::of(&times, Some(since)));
        last = times.into_iter().map(|time| ms(time.saturating_sub(since))).collect();
        thread::sleep(REST);
    }
    let median = FanOut::median(&all).ok_or_else(|| io::Error::other("no miner heard of a new tip"))?;
    Ok((median, last))
}

/// Waits until all miners have heard of a tip.
fn arrivals(swarm: &mut Swarm, prev_hash: [u8; 32]) -> io::Result<Vec<Duration>> {
    let (start, mut stats) = (Instant::now(), Stats::default());
    loop {
        thread::sleep(Duration::from_millis(200));
        stats.add(swarm.take()?);
        let times = stats.arrivals.of(Broadcast::Tip(prev_hash));
        let live = swarm.now().live as usize;
        if times.len() >= live {
            return Ok(times);
        }
        if start.elapsed() >= SPREAD {
            eprintln!("    only {} of {live} miners heard of the tip within {SPREAD:?}", times.len());
            return Ok(times);
        }
    }
}

/// Memory: fresh, and after waves.
pub fn memory(kind: Kind, plan: &Plan, provider: &Provider, figures: &mut Figures) -> io::Result<()> {
    let server = Server::start(kind, Purpose::General, provider)?;
    let mut swarm = Swarm::start(&server.swarm())?;
    let base = server.usage()?;
    let grown = |server: &Server| -> io::Result<f64> { Ok(server.usage()?.resident as f64 - base.resident as f64) };
    let wave = plan.wave as f64 * 1024.0;
    for number in 0..=plan.waves {
        swarm.connect(Group::Wave, plan.wave, IN_FLIGHT, &mut ())?;
        complain(&swarm.take()?.failed);
        if number == 0 {
            figures.add(kind, "memory fresh", grown(&server)? / wave);
        }
        if number == plan.waves {
            figures.add(kind, "memory after waves", grown(&server)? / wave);
        }
        swarm.close(Group::Wave)?;
        let gone = || server.usage().is_ok_and(|usage| usage.descriptors <= base.descriptors);
        if !swarm.until(SPREAD, |_| gone())? {
            eprintln!("    the pool still has connections of a wave that has gone");
        }
    }
    thread::sleep(REST);
    figures.add(kind, "memory held", grown(&server)? / f64::from(1 << 20));
    Ok(())
}

/// Shares as fast as they are acknowledged.
pub fn floods(kind: Kind, plan: &Plan, provider: &Provider, figures: &mut Figures) -> io::Result<()> {
    let server = Server::start(kind, Purpose::General, provider)?;
    let mut swarm = Swarm::start(&server.swarm())?;
    let mut connected = 0;
    for miners in plan.floods {
        swarm.connect(Group::Base, miners - connected, IN_FLIGHT, &mut ())?;
        connected = miners;
        let (found, refused) = submit(&server, &mut swarm, provider, Pace::AsAcknowledged, plan.time)?;
        figures.add(kind, format!("flood {miners} rate"), found.per_second);
        figures.add(kind, format!("flood {miners} cpu"), found.pool_cpu_us.unwrap_or_default());
        figures.add(kind, format!("flood {miners} p99"), found.latency.p99);
        figures.add(kind, format!("flood {miners} client"), found.client_cpu_us);
        figures.add(kind, format!("flood {miners} refused"), refused);
    }
    Ok(())
}

/// Shares at a rate that any pool takes.
pub fn paced(kind: Kind, purpose: Purpose, plan: &Plan, provider: &Provider, figures: &mut Figures) -> io::Result<()> {
    let server = Server::start(kind, purpose, provider)?;
    let mut swarm = Swarm::start(&server.swarm())?;
    swarm.connect(Group::Base, plan.floods[0], IN_FLIGHT, &mut ())?;
    let (found, _) = submit(&server, &mut swarm, provider, Pace::PerSecond(plan.rate), plan.time)?;
    if purpose == Purpose::Received {
        figures.add(kind, "received p99", found.latency.p99);
        return Ok(());
    }
    figures.add(kind, "paced p50", found.latency.p50);
    figures.add(kind, "paced p99", found.latency.p99);
    figures.add(kind, "paced cpu", found.pool_cpu_us.unwrap_or_default());
    figures.add(kind, "paced client", found.client_cpu_us);
    let syncs = syncs(server.folder.path(), plan.syncs)?;
    figures.add(kind, "fdatasync p50", ms(syncs.quantile(0.5)));
    figures.add(kind, "fdatasync p99", ms(syncs.quantile(0.99)));
    Ok(())
}

/// Sends shares, with a new tip every now and then. Also how many of a thousand were refused.
fn submit(
    server: &Server,
    swarm: &mut Swarm,
    provider: &Provider,
    pace: Pace,
    time: Duration,
) -> io::Result<(Shares, f64)> {
    let Sent { prev_hash, .. } = provider.tip(false)?;
    arrivals(swarm, prev_hash)?;
    swarm.take()?;
    let every = (pace == Pace::AsAcknowledged).then(|| TIP_EVERY * swarm.now().live as u32);
    let mut tips = Tips { provider, every, last: Instant::now() };
    let before = used(server);
    swarm.submit(pace, time, &mut tips)?;
    let after = used(server);
    let stats = swarm.take()?;
    complain(&stats.lost);
    complain(&stats.rejected);
    let found = Shares::new(&stats, swarm.now().in_flight, time, before, after);
    let refused = stats.rejected_total() as f64 * 1e3 / stats.submitted.max(1) as f64;
    Ok((found, refused))
}

/// New tips during a flood.
struct Tips<'p> {
    provider: &'p Provider,
    every: Option<Duration>,
    last: Instant,
}

impl Watch for Tips<'_> {
    fn look(&mut self, _: Duration, now: Now) -> bool {
        if self.every.is_some_and(|every| self.last.elapsed() >= every) {
            self.last = Instant::now();
            // A pool that is gone shows in the figures.
            let _ = self.provider.tip(false);
        }
        now.live > 0
    }
}

fn used(server: &Server) -> Used {
    Used::now(Some(server.pid()))
}

fn complain(reasons: &load::stats::Reasons) {
    for (reason, times) in reasons {
        eprintln!("    {times} × {reason}");
    }
}

/// How long it takes to make 4 KiB durable that are appended to a file.
fn syncs(folder: &Path, count: u32) -> io::Result<Times> {
    let mut file = File::create(folder.join("syncs"))?;
    let mut times = Times::default();
    for _ in 0..count {
        file.write_all(&[0x5a; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.record(start.elapsed());
    }
    Ok(times)
}
