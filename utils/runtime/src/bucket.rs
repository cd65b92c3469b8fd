//! Token buckets: how often something may happen, with bursts.

use std::time::Duration;

/// So many in a second over time, and at most so many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// What comes back each second.
    pub per_second: f64,
    /// What an unused bucket holds.
    pub burst: f64,
}

/// What is left of a [`Rate`]. It may be overdrawn: then nothing is left until the debt is paid off.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    level: f64,
    at: Duration,
}

impl TokenBucket {
    /// A full bucket.
    pub fn full(now: Duration, rate: Rate) -> Self {
        Self { level: rate.burst, at: now }
    }

    /// Spends `count`, also when that is more than there is.
    pub fn spend(&mut self, now: Duration, rate: Rate, count: f64) {
        self.refill(now, rate);
        self.level -= count;
    }

    /// Spends `count` if there is that much.
    pub fn try_spend(&mut self, now: Duration, rate: Rate, count: f64) -> bool {
        self.refill(now, rate);
        let enough = self.level >= count;
        if enough {
            self.level -= count;
        }
        enough
    }

    /// Puts `count` back, up to a full bucket.
    pub fn give_back(&mut self, rate: Rate, count: f64) {
        self.level = (self.level + count).min(rate.burst);
    }

    /// When an overdrawn bucket will be at zero again; `None` while it is not overdrawn.
    pub fn in_debt_until(&self, rate: Rate) -> Option<Duration> {
        if self.level >= 0.0 {
            return None;
        }
        // A rate of zero never pays off; a year is as good as that, and fits every clock.
        let seconds = (-self.level / rate.per_second).min(365.0 * 86_400.0);
        Some(self.at + Duration::from_secs_f64(seconds))
    }

    /// Whether nothing was spent of late, so that a new bucket would be no different.
    pub fn is_full(&mut self, now: Duration, rate: Rate) -> bool {
        self.refill(now, rate);
        self.level >= rate.burst
    }

    fn refill(&mut self, now: Duration, rate: Rate) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + passed * rate.per_second).min(rate.burst);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 10.0 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = TokenBucket::full(at(0), RATE);
        assert!((0..10).all(|_| bucket.try_spend(at(0), RATE, 1.0)));
        assert!(!bucket.try_spend(at(0), RATE, 1.0));
        assert!(bucket.try_spend(at(1), RATE, 2.0));
        assert!(!bucket.try_spend(at(1), RATE, 1.0));
        assert!(!bucket.is_full(at(5), RATE));
        assert!(bucket.is_full(at(6), RATE));
        assert!(!bucket.try_spend(at(100), RATE, 11.0), "never more than a burst");
    }

    #[test]
    fn debt_is_paid_off_at_the_rate() {
        let mut bucket = TokenBucket::full(at(0), RATE);
        bucket.spend(at(0), RATE, 10.0);
        assert_eq!(bucket.in_debt_until(RATE), None);
        bucket.spend(at(0), RATE, 6.0);
        assert_eq!(bucket.in_debt_until(RATE), Some(at(3)));
        bucket.give_back(RATE, 2.0);
        assert_eq!(bucket.in_debt_until(RATE), Some(at(2)));
        assert!(!bucket.try_spend(at(2), RATE, 1.0));
    }

    #[test]
    fn odd_rates_and_clocks_do_no_harm() {
        let never = Rate { per_second: 0.0, burst: 1.0 };
        let mut bucket = TokenBucket::full(at(9), never);
        bucket.spend(at(0), never, 3.0);
        assert!(bucket.in_debt_until(never).is_some_and(|until| until > at(0)));
    }
}
