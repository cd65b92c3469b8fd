//! Measures several ways to do the same work side by side.
//!
//! All ways of a [`Row`] take turns, a millisecond or so each, for many rounds, and the fastest turn of each counts: on a
//! machine with other work to do, the minimum is what the code costs, and the ratio of two minima of the same run means
//! something where either alone does not.
//!
//! **Limits.** Single thread, warm caches: what code costs, not what a service does. `cargo xtask bench wire` runs the
//! rows of the wire stack, `cargo xtask bench core` those of the mining core.
//!
//! ```
//! use stratum_bench::{Row, markdown, measure};
//!
//! let (mut a, mut b) = (0_u64, 0_u64);
//! let row = Row::new("add").ours(|| a = a.wrapping_add(1)).sri(|| b = b.wrapping_mul(3));
//! println!("{}", markdown(&[measure(row, 2)]));
//! ```

use std::time::{Duration, Instant};

/// How long one turn takes at the least, so that reading the clock does not show.
const TURN: Duration = Duration::from_millis(1);

/// A way to do the work once.
type Way<'w> = Box<dyn FnMut() + 'w>;

/// What ours is to reach.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    nanoseconds: f64,
    /// What the limit took where the target was set.
    limit: Option<f64>,
}

/// One piece of work, and the ways to do it.
pub struct Row<'w> {
    name: &'static str,
    target: Option<Target>,
    ours: Option<Way<'w>>,
    sri: Option<Way<'w>>,
    limit: Option<Way<'w>>,
}

impl<'w> Row<'w> {
    /// Work of this name, with no way to do it yet.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, target: None, ours: None, sri: None, limit: None }
    }

    /// Whether the name contains `part`.
    #[must_use]
    pub fn is_called(&self, part: &str) -> bool {
        self.name.contains(part)
    }

    /// What ours is to reach, in nanoseconds.
    #[must_use]
    pub fn target(self, nanoseconds: f64) -> Self {
        Self { target: Some(Target { nanoseconds, limit: None }), ..self }
    }

    /// What ours is to reach where the limit takes `limit` nanoseconds, and on other hardware in proportion.
    #[must_use]
    pub fn target_at(self, nanoseconds: f64, limit: f64) -> Self {
        Self { target: Some(Target { nanoseconds, limit: Some(limit) }), ..self }
    }

    /// Our implementation.
    #[must_use]
    pub fn ours(self, way: impl FnMut() + 'w) -> Self {
        Self { ours: Some(Box::new(way)), ..self }
    }

    /// The reference implementation.
    #[must_use]
    pub fn sri(self, way: impl FnMut() + 'w) -> Self {
        Self { sri: Some(Box::new(way)), ..self }
    }

    /// The least that the hardware has to do for it, by the fastest library at hand.
    #[must_use]
    pub fn limit(self, way: impl FnMut() + 'w) -> Self {
        Self { limit: Some(Box::new(way)), ..self }
    }
}

/// What a row took: nanoseconds for doing the work once, where that way exists.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The work.
    pub name: &'static str,
    /// What ours is to reach.
    pub target: Option<Target>,
    /// Our implementation.
    pub ours: Option<f64>,
    /// The reference implementation.
    pub sri: Option<f64>,
    /// The least the hardware has to do.
    pub limit: Option<f64>,
}

/// Lets the ways of a row take turns for `rounds` rounds, and keeps the fastest turn of each.
#[must_use]
pub fn measure(row: Row<'_>, rounds: usize) -> Measured {
    let mut ways = [row.ours, row.sri, row.limit].map(|way| way.map(Turns::new));
    for _ in 0..rounds {
        ways.iter_mut().flatten().for_each(Turns::take);
    }
    let [ours, sri, limit] = ways.map(|way| way.map(|turns| turns.best));
    Measured { name: row.name, target: row.target, ours, sri, limit }
}

/// One way, how often it fits into a turn, and its best turn so far.
struct Turns<'w> {
    way: Way<'w>,
    repeat: u32,
    best: f64,
}

impl<'w> Turns<'w> {
    fn new(way: Way<'w>) -> Self {
        let mut turns = Self { way, repeat: 1, best: f64::INFINITY };
        while turns.time() < TURN {
            turns.repeat = turns.repeat.saturating_mul(2);
        }
        turns
    }

    fn time(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..self.repeat {
            (self.way)();
        }
        start.elapsed()
    }

    fn take(&mut self) {
        let nanoseconds = self.time().as_secs_f64() * 1e9 / f64::from(self.repeat);
        self.best = self.best.min(nanoseconds);
    }
}

/// The rows as a table in Markdown.
#[must_use]
pub fn markdown(rows: &[Measured]) -> String {
    let mut table = String::from(
        "| Work, one core | Ours | SRI | SRI / ours | Limit of this hardware | Ours / limit | To reach |\n\
         |---|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        table.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            row.name,
            time(row.ours),
            time(row.sri),
            ratio(row.sri, row.ours),
            time(row.limit),
            ratio(row.ours, row.limit),
            row.target.map_or_else(String::new, to_reach),
        ));
    }
    table
}

fn time(nanoseconds: Option<f64>) -> String {
    match nanoseconds {
        None => "–".into(),
        Some(ns) if ns < 10.0 => format!("{ns:.1} ns"),
        Some(ns) if ns < 1_000.0 => format!("{ns:.0} ns"),
        Some(ns) if ns < 10_000.0 => format!("{:.2} µs", ns / 1e3),
        Some(ns) if ns < 100_000.0 => format!("{:.1} µs", ns / 1e3),
        Some(ns) => format!("{:.0} µs", ns / 1e3),
    }
}

fn to_reach(target: Target) -> String {
    let absolute = time(Some(target.nanoseconds));
    match target.limit {
        None => format!("≤ {absolute}"),
        Some(limit) => format!("≤ {absolute} at a limit of {}: {:.2}", time(Some(limit)), target.nanoseconds / limit),
    }
}

fn ratio(of: Option<f64>, to: Option<f64>) -> String {
    match (of, to) {
        (Some(of), Some(to)) => format!("{:.2}", of / to),
        _ => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_measured_and_shown() {
        let mut count = [0_u64; 2];
        let [ours, limit] = &mut count;
        let row = Row::new("count").target(5_000.0).ours(|| *ours += 1).limit(|| *limit += 1);
        let measured = measure(row, 3);
        assert!(measured.ours.is_some_and(|ns| ns.is_finite()) && measured.sri.is_none());
        assert!(count.iter().all(|count| *count > 3));
        let table = markdown(&[measured]);
        assert!(table.ends_with("| ≤ 5.00 µs |\n") && table.contains("| – | – |"), "{table}");
        assert_eq!(
            to_reach(Target { nanoseconds: 27_000.0, limit: Some(24_400.0) }),
            "≤ 27.0 µs at a limit of 24.4 µs: 1.11"
        );
    }

    #[test]
    fn times_are_shown_in_fitting_units() {
        let shown = [1.25, 25.0, 900.0, 6_800.0, 24_400.0, 362_000.0].map(|ns| time(Some(ns)));
        assert_eq!(shown, ["1.2 ns", "25 ns", "900 ns", "6.80 µs", "24.4 µs", "362 µs"]);
        assert_eq!(ratio(Some(6.0), Some(4.0)), "1.50");
    }
}
