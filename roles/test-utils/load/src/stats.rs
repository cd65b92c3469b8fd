//! What a thread counts and times, and how that of several is put together.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use hdrhistogram::Histogram;

/// Longest time that is told apart from longer ones: two minutes, in nanoseconds.
const LONGEST: u64 = 120_000_000_000;

/// Significant digits of a time.
const DIGITS: u8 = 3;

/// Different reasons that are counted; further ones count as "other".
const MAX_REASONS: usize = 64;

/// Tips and jobs whose arrival is kept; the oldest make room.
pub const MAX_BROADCASTS: usize = 256;

/// Times, with their distribution.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        // The bounds are sound, so this fails for lack of memory only.
        #[expect(clippy::expect_used, reason = "constants that a test tries")]
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("sound bounds"))
    }
}

impl Times {
    /// Adds a time; longer than two minutes counts as that.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time that the part `quantile` of all does not exceed; zero when there are none.
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }
}

/// How often each of a few reasons came up.
pub type Reasons = BTreeMap<String, u64>;

/// Counts `reason`, within bounds whatever a pool makes up.
pub(crate) fn count(reasons: &mut Reasons, reason: &str, times: u64) {
    let known = reasons.contains_key(reason) || reasons.len() < MAX_REASONS;
    *reasons.entry(if known { reason } else { "other" }.to_owned()).or_default() += times;
}

/// What a pool tells all its miners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broadcast {
    /// A new previous hash, in the byte order of a block header.
    Tip([u8; 32]),
    /// A job on the present tip, by a hash of its content.
    Job(u64),
}

/// When each miner got what all of them get; times since the swarm's start.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// Oldest first.
    known: VecDeque<(Broadcast, Vec<Duration>)>,
}

impl Arrivals {
    pub(crate) fn record(&mut self, broadcast: Broadcast, at: Duration) {
        match self.known.iter_mut().rev().find(|(known, _)| *known == broadcast) {
            Some((_, times)) => times.push(at),
            None => self.insert(broadcast, vec![at]),
        }
    }

    fn insert(&mut self, broadcast: Broadcast, times: Vec<Duration>) {
        if self.known.len() >= MAX_BROADCASTS {
            self.known.pop_front();
        }
        self.known.push_back((broadcast, times));
    }

    fn add(&mut self, other: Self) {
        for (broadcast, times) in other.known {
            match self.known.iter_mut().find(|(known, _)| *known == broadcast) {
                Some((_, all)) => all.extend(times),
                None => self.insert(broadcast, times),
            }
        }
    }

    /// The times of one broadcast, in order.
    pub fn of(&self, broadcast: Broadcast) -> Vec<Duration> {
        let times = self.known.iter().find(|(known, _)| *known == broadcast).map(|(_, times)| times.clone());
        let mut times = times.unwrap_or_default();
        times.sort_unstable();
        times
    }

    /// All broadcasts that arrived, oldest first.
    pub fn broadcasts(&self) -> impl Iterator<Item = Broadcast> + '_ {
        self.known.iter().map(|(broadcast, _)| *broadcast)
    }
}

/// What happened on one thread, or on all, in a span of time.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// From connect to the first work.
    pub set_up: Times,
    /// Connections that did not come so far.
    pub failed: Reasons,
    /// Connections that had work and ended all the same.
    pub lost: Reasons,
    /// Shares sent.
    pub submitted: u64,
    /// Hashes that it took to find them.
    pub hashes: u64,
    /// Shares accepted, as the pool counts them.
    pub accepted: u64,
    /// From sending a share to its acknowledgement; one for each share that one covers.
    pub acknowledged: Times,
    /// Messages that acknowledge shares.
    pub acknowledgements: u64,
    /// Shares refused.
    pub rejected: Reasons,
    /// Shares that were due and not sent, as the connection's window was full.
    pub held_back: u64,
    /// Shares without an answer on connections that ended.
    pub unanswered: u64,
    /// When tips and jobs arrived.
    pub arrivals: Arrivals,
    /// Bytes received and sent, encrypted.
    pub bytes: (u64, u64),
}

impl Stats {
    /// Adds what another thread counted, or the same at another time.
    pub fn add(&mut self, other: Self) {
        self.set_up.add(&other.set_up);
        self.acknowledged.add(&other.acknowledged);
        for (reason, times) in other.failed {
            count(&mut self.failed, &reason, times);
        }
        for (reason, times) in other.lost {
            count(&mut self.lost, &reason, times);
        }
        for (reason, times) in other.rejected {
            count(&mut self.rejected, &reason, times);
        }
        self.submitted += other.submitted;
        self.hashes += other.hashes;
        self.accepted += other.accepted;
        self.acknowledgements += other.acknowledgements;
        self.held_back += other.held_back;
        self.unanswered += other.unanswered;
        self.bytes = (self.bytes.0 + other.bytes.0, self.bytes.1 + other.bytes.1);
        self.arrivals.add(other.arrivals);
    }

    /// Shares refused, whatever for.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// What can be watched while it happens.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub connecting: AtomicU64,
    pub live: AtomicU64,
    pub failed: AtomicU64,
    pub lost: AtomicU64,
    pub in_flight: AtomicU64,
    pub accepted: AtomicU64,
    pub rejected: AtomicU64,
}

/// `Gauges` at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Connections on their way.
    pub connecting: u64,
    /// Connections with work.
    pub live: u64,
    /// Connections that failed, since the start.
    pub failed: u64,
    /// Connections that ended after they had work, since the start.
    pub lost: u64,
    /// Shares without an answer yet.
    pub in_flight: u64,
    /// Shares accepted since the start.
    pub accepted: u64,
    /// Shares refused since the start.
    pub rejected: u64,
}

impl Gauges {
    /// Adds what they say to `now`.
    pub fn add_to(&self, now: &mut Now) {
        let Self { connecting, live, failed, lost, in_flight, accepted, rejected } = self;
        for (gauge, sum) in [
            (connecting, &mut now.connecting),
            (live, &mut now.live),
            (failed, &mut now.failed),
            (lost, &mut now.lost),
            (in_flight, &mut now.in_flight),
            (accepted, &mut now.accepted),
            (rejected, &mut now.rejected),
        ] {
            *sum += gauge.load(Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn times_have_quantiles_within_a_thousandth() {
        let mut times = Times::default();
        assert_eq!((times.len(), times.quantile(0.5), times.max()), (0, Duration::ZERO, Duration::ZERO));
        (1..=1_000).for_each(|n| times.record(MS * n));
        let near = |got: Duration, expected: Duration| got.abs_diff(expected) <= expected / 500;
        assert!(near(times.quantile(0.5), 500 * MS) && near(times.quantile(0.99), 990 * MS));
        times.record(Duration::MAX);
        assert!(near(times.max(), Duration::from_nanos(LONGEST)));
    }

    #[test]
    fn reasons_are_bounded() {
        let mut reasons = Reasons::new();
        (0..1_000).for_each(|n| count(&mut reasons, &n.to_string(), 1));
        assert_eq!((reasons.len(), reasons["other"]), (MAX_REASONS + 1, 1_000 - MAX_REASONS as u64));
        count(&mut reasons, "0", 2);
        assert_eq!(reasons["0"], 3);
    }

    #[test]
    fn arrivals_of_threads_come_together_in_order() {
        let (tip, job) = (Broadcast::Tip([1; 32]), Broadcast::Job(2));
        let mut one = Arrivals::default();
        one.record(tip, 5 * MS);
        one.record(job, 7 * MS);
        let mut other = Arrivals::default();
        other.record(tip, 3 * MS);
        one.add(other);
        assert_eq!(one.of(tip), [3 * MS, 5 * MS]);
        assert_eq!(one.of(Broadcast::Job(9)), Vec::<Duration>::new());
        assert_eq!(one.broadcasts().collect::<Vec<_>>(), [tip, job]);
        (0..1_000).for_each(|n| one.record(Broadcast::Job(100 + n), MS));
        assert_eq!(one.broadcasts().count(), MAX_BROADCASTS);
    }

    #[test]
    fn sums_leave_nothing_out() {
        let mut a = Stats { submitted: 3, accepted: 2, bytes: (5, 6), ..Stats::default() };
        a.acknowledged.record(MS);
        count(&mut a.rejected, "stale-share", 1);
        let mut sum = a.clone();
        sum.add(a);
        assert_eq!((sum.submitted, sum.accepted, sum.bytes), (6, 4, (10, 12)));
        assert_eq!((sum.rejected_total(), sum.acknowledged.len()), (2, 2));
    }
}
