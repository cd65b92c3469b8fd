//! Hashrates from work that is counted up: averages in which older work weighs less and less.
//!
//! The weight falls by the factor e in half of the period. Such an average is as old, and as unsteady, as a plain one over the whole period, and needs one
//! number instead of a list. It falls as soon as nothing comes: after a period of silence an eighth is left, after two a
//! fiftieth.

use std::time::Duration;

/// Pause between two times that all estimates are brought up to date.
pub const SWEEP: Duration = Duration::from_secs(5);

/// Shorter than this nothing is measured, so that the first share of a channel makes no record.
const SHORTEST: f64 = 5.0;

/// Seconds in which the weight of work falls by the factor e: half of a minute, ten minutes, an hour, a day.
const TIMES: [f64; 4] = [30.0, 300.0, 1_800.0, 43_200.0];

/// Hashes per second over the last minute, ten minutes, hour and day; of what is younger, over its life.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hashrates {
    /// Over a minute.
    pub m1: f64,
    /// Over ten minutes.
    pub m10: f64,
    /// Over an hour.
    pub h1: f64,
    /// Over a day.
    pub h24: f64,
}

impl std::ops::AddAssign for Hashrates {
    fn add_assign(&mut self, other: Self) {
        let (Self { m1, m10, h1, h24 }, o) = (self, other);
        (*m1, *m10, *h1, *h24) = (*m1 + o.m1, *m10 + o.m10, *h1 + o.h1, *h24 + o.h24);
    }
}

/// What is left of the weights after some time; the same for all that is brought up to date at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decay {
    left: [f64; TIMES.len()],
}

impl Decay {
    pub fn over(time: Duration) -> Self {
        Self { left: TIMES.map(|falls_in| (-time.as_secs_f64() / falls_in).exp()) }
    }
}

/// Estimates of something whose work is counted up elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    since: Duration,
    at: Duration,
    work: f64,
    rates: [f64; TIMES.len()],
}

impl Meter {
    pub fn new(now: Duration) -> Self {
        Self { since: now, at: now, work: 0.0, rates: [0.0; TIMES.len()] }
    }

    /// When it was last up to date.
    pub fn at(&self) -> Duration {
        self.at
    }

    /// Takes account of the work since the last time. `decay` is over the same time, or a longer one for what is new.
    pub fn advance(&mut self, now: Duration, work: f64, decay: &Decay) {
        let decay = if self.at == self.since { &Decay::over(now.saturating_sub(self.at)) } else { decay };
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let rate = (work - self.work) / seconds;
        for (average, left) in self.rates.iter_mut().zip(decay.left) {
            *average = *average * left + rate * (1.0 - left);
        }
        (self.at, self.work) = (now, work);
    }

    /// With the work up to now.
    pub fn hashrates(&self, now: Duration, work: f64) -> Hashrates {
        let mut ahead = *self;
        // What came within the last moment counts, too.
        let now = now.max(self.at + Duration::from_millis(1));
        ahead.advance(now, work, &Decay::over(now.saturating_sub(self.at)));
        let age = now.saturating_sub(self.since).as_secs_f64();
        let age = age.max(SHORTEST);
        let mut rates = ahead.rates.into_iter().zip(TIMES).map(|(average, falls_in)| {
            // Of what is young, most of the weight would be on the time before.
            average / (1.0 - (-age / falls_in).exp())
        });
        let mut next = || rates.next().unwrap_or_default();
        Hashrates { m1: next(), m10: next(), h1: next(), h24: next() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_800_000_000);

    fn at(seconds: f64) -> Duration {
        START + Duration::from_secs_f64(seconds)
    }

    fn all(rates: Hashrates) -> [f64; 4] {
        [rates.m1, rates.m10, rates.h1, rates.h24]
    }

    /// Swept every five seconds, with a thousand hashes a second until `until`.
    fn steady(until: u64, end: u64) -> Meter {
        let mut meter = Meter::new(START);
        for seconds in (5..=end).step_by(5) {
            let work = 1_000.0 * seconds.min(until) as f64;
            meter.advance(at(seconds as f64), work, &Decay::over(SWEEP));
        }
        meter
    }

    #[test]
    fn what_is_steady_is_told_as_it_is_from_the_beginning() {
        for age in [5, 10, 60, 600, 86_400] {
            for rate in all(steady(age, age).hashrates(at(age as f64), 1_000.0 * age as f64)) {
                assert!((rate - 1_000.0).abs() < 1.0, "{rate} after {age} s");
            }
        }
        // Between two sweeps, too.
        for rate in all(steady(600, 600).hashrates(at(602.5), 602_500.0)) {
            assert!((rate - 1_000.0).abs() < 1.0, "{rate}");
        }
    }

    #[test]
    fn silence_is_seen_the_short_periods_first() {
        let work = 1_000.0 * 86_400.0;
        let mut before = [f64::MAX; 4];
        for (silent, period) in [(60, 0), (600, 1), (3_600, 2), (86_400, 3)] {
            let end = 86_400 + silent;
            let rates = all(steady(86_400, end).hashrates(at(end as f64), work));
            assert!((rates[period] - 135.0).abs() < 30.0, "{period}: {rates:?}");
            assert!(rates.iter().zip(before).all(|(rate, before)| *rate < before), "{rates:?} {before:?}");
            before = rates;
        }
        let gone = all(steady(86_400, 86_400).hashrates(at(86_400.0 + 1_200.0), work));
        assert!(gone[0] < 1e-6 && gone[1] < 30.0 && gone[2] > 400.0, "without a sweep: {gone:?}");
    }

    #[test]
    fn the_first_share_makes_no_record_and_time_may_stand_still() {
        let meter = Meter::new(START);
        assert_eq!(all(meter.hashrates(START, 0.0)), [0.0; 4]);
        for rate in all(meter.hashrates(START, 5_000.0)) {
            assert!(rate > 900.0 && rate < 1_100.0, "as if it were five seconds old: {rate}");
        }
        let mut meter = steady(60, 60);
        let before = all(meter.hashrates(at(60.0), 60_000.0));
        meter.advance(at(60.0), 60_000.0, &Decay::over(Duration::ZERO));
        meter.advance(at(1.0), 60_000.0, &Decay::over(Duration::ZERO));
        assert_eq!(all(meter.hashrates(at(60.0), 60_000.0)), before);
    }
}
