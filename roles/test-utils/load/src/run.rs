//! A whole run: connections, waves, shares, and what came of them.

use std::{
    io,
    time::{Duration, Instant},
};

use network_helpers::Security;

use crate::{
    config::{ChannelKind, Pace, SwarmConfig},
    process::Usage,
    report::{Connections, FanOut, Point, Report, Shares, Used},
    stats::{Broadcast, Now, Stats},
    swarm::{Swarm, Watch},
    worker::Group,
};

/// How long to wait for the pool to see that a wave has gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The swarm.
    pub swarm: SwarmConfig,
    /// Miners that stay.
    pub connections: u64,
    /// Connections on their way at a time.
    pub in_flight: usize,
    /// How often others come and go.
    pub waves: u32,
    /// How many they are.
    pub wave_connections: u64,
    /// Shares to send; without, the miners only listen.
    pub shares: Option<Pace>,
    /// How long they send or listen.
    pub time: Duration,
    /// The pool's process, on this machine.
    pub pool_pid: Option<u32>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system gives no threads, event loops or memory.
    #[error("can not go on: {0}")]
    Io(#[from] io::Error),
    /// The pool's process can not be looked at.
    #[error("--pool-pid {pid}: {source}; give the process id of a pool on this machine")]
    Pool {
        /// The process.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// Does all of `plan`; `progress` gets a line a second and says whether to go on.
///
/// # Errors
/// See [`RunError`]. A pool that refuses everybody is no error; the report says so.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&str) -> bool) -> Result<Report, RunError> {
    if let Some(pid) = plan.pool_pid {
        Usage::of(pid).map_err(|source| RunError::Pool { pid, source })?;
    }
    let mut swarm = Swarm::start(&plan.swarm)?;
    let mut recorder = Recorder { pool_pid: plan.pool_pid, progress, timeline: Vec::new(), last: None, stopped: false };
    let mut all = Stats::default();
    let mut report = Report {
        pool: plan.swarm.pool.to_string(),
        noise: matches!(plan.swarm.security, Security::Noise { .. }),
        channel: match plan.swarm.channel {
            ChannelKind::Standard => "standard",
            ChannelKind::Extended { .. } => "extended",
        },
        ..Report::default()
    };
    report.connections = connect(plan, &mut swarm, &mut recorder, &mut all, (Group::Base, plan.connections, 1))?;
    if plan.waves > 0 && report.connected() && !recorder.stopped {
        let waves = (Group::Wave, plan.wave_connections, plan.waves);
        report.waves = Some(connect(plan, &mut swarm, &mut recorder, &mut all, waves)?);
    }
    if report.connected() && !recorder.stopped {
        match plan.shares {
            Some(pace) => report.shares = Some(submit(plan, pace, &mut swarm, &mut recorder, &mut all)?),
            None => swarm.idle(plan.time, &mut recorder)?,
        }
    }
    all.add(swarm.take()?);
    report.tips = FanOut::of_all(&all.arrivals, |one| matches!(one, Broadcast::Tip(_)));
    report.jobs = FanOut::of_all(&all.arrivals, |one| matches!(one, Broadcast::Job(_)));
    report.lost = all.lost;
    let used = Used::now(plan.pool_pid);
    (report.pool_at_end, report.client_at_end) = (used.pool, used.client);
    report.timeline = recorder.timeline;
    Ok(report)
}

/// Connects `count` miners `times` times over. Those of a wave go again, and the pool's memory is looked at when they have gone.
fn connect(
    plan: &Plan,
    swarm: &mut Swarm,
    recorder: &mut Recorder<'_>,
    all: &mut Stats,
    (group, count, times): (Group, u64, u32),
) -> Result<Connections, RunError> {
    let before = Used::now(plan.pool_pid);
    let (mut stats, mut time, mut asked) = (Stats::default(), Duration::ZERO, 0);
    for _ in 0..times {
        let start = Instant::now();
        swarm.connect(group, count, plan.in_flight, recorder)?;
        time += start.elapsed();
        asked += count;
        stats.add(swarm.take()?);
        if group == Group::Wave {
            swarm.close(group)?;
            let base = before.pool.map_or(0, |pool| pool.descriptors);
            let gone = || {
                let pool = plan.pool_pid.and_then(|pid| Usage::of(pid).ok());
                pool.is_none_or(|pool| pool.descriptors <= base)
            };
            swarm.until(GONE_WITHIN, |_| gone())?;
        }
        if recorder.stopped {
            break;
        }
    }
    let found = Connections::new(asked, &stats, time, before, Used::now(plan.pool_pid));
    all.add(stats);
    Ok(found)
}

fn submit(
    plan: &Plan,
    pace: Pace,
    swarm: &mut Swarm,
    recorder: &mut Recorder<'_>,
    all: &mut Stats,
) -> Result<Shares, RunError> {
    all.add(swarm.take()?);
    let (before, start) = (Used::now(plan.pool_pid), Instant::now());
    swarm.submit(pace, plan.time, recorder)?;
    let after = Used::now(plan.pool_pid);
    let stats = swarm.take()?;
    let time = plan.time.min(start.elapsed());
    let found = Shares::new(&stats, swarm.now().in_flight, time, before, after);
    all.add(stats);
    Ok(found)
}

/// Writes down each second, and tells of it.
struct Recorder<'p> {
    pool_pid: Option<u32>,
    progress: &'p mut dyn FnMut(&str) -> bool,
    timeline: Vec<Point>,
    last: Option<(Duration, Now)>,
    stopped: bool,
}

impl Watch for Recorder<'_> {
    fn look(&mut self, elapsed: Duration, now: Now) -> bool {
        let (then, before) = self.last.unwrap_or_default();
        let passed = elapsed.saturating_sub(then);
        if passed < Duration::from_secs(1) {
            return !self.stopped;
        }
        self.last = Some((elapsed, now));
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / passed.as_secs_f64();
        let point = Point {
            second: elapsed.as_secs_f64(),
            live: now.live,
            accepted: rate(now.accepted, before.accepted),
            rejected: rate(now.rejected, before.rejected),
            pool_bytes: self.pool_pid.and_then(|pid| Usage::of(pid).ok()).map(|usage| usage.resident),
        };
        self.timeline.push(point);
        let line = format!(
            "{:>4.0} s  {} live, {} connecting, {} failed, {} lost; {:.0} shares/s accepted, {:.0} refused, {} waiting",
            point.second, now.live, now.connecting, now.failed, now.lost, point.accepted, point.rejected, now.in_flight
        );
        self.stopped |= !(self.progress)(&line);
        !self.stopped
    }
}
