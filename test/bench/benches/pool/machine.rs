//! What others do on the machine meanwhile, as Linux tells it in /proc.

use std::{fs, time::Instant};

/// Ticks of the system's accounting in a second, as Linux shows them to programs.
const TICKS: f64 = 100.0;

/// A span of time.
pub struct Span {
    start: Instant,
    busy: f64,
    own: f64,
}

impl Span {
    pub fn start() -> Self {
        Self { start: Instant::now(), busy: busy().unwrap_or_default(), own: own().unwrap_or_default() }
    }

    /// Processors that were busy with other programs since, on average. Pools that were measured must have been waited for.
    pub fn others(&self) -> Option<f64> {
        let busy = busy()? - self.busy - (own()? - self.own);
        Some((busy / self.start.elapsed().as_secs_f64()).max(0.0))
    }
}

/// Seconds that all processors together were not idle: user, nice, system, irq, softirq, steal.
fn busy() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<f64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let sum: f64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| fields.get(*index)).sum();
    Some(sum / TICKS)
}

/// Seconds of this process and of its children that were waited for.
fn own() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let sum: f64 = rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    Some(sum / TICKS)
}
