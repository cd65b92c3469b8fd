//! Ours, and what others do, written anew from what their sources say.

use std::time::Duration;

use roles_logic_sv2::{Target, TargetBounds, vardiff::Vardiff};

use crate::{SHARES_PER_MINUTE, devices::Device};

/// Whose algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `roles_logic_sv2::vardiff`, and a job behind each SetTarget.
    Ours,
    /// ckpool: starts at difficulty 42, looks after 72 shares or 240 s, 18 shares a minute.
    Ckpool,
    /// The reference implementation (SRI), `channels_sv2` 8.0: looks once a minute.
    Sri,
}

impl Algorithm {
    /// All of them, ours first.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Ckpool, Self::Sri];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Ckpool => "ckpool",
            Self::Sri => "SRI",
        }
    }

    /// Whether the pool sends a job right behind a new target.
    pub(crate) const fn sends_job(self) -> bool {
        matches!(self, Self::Ours)
    }

    /// Seconds between its timers; none where only shares make it think.
    pub(crate) const fn timer(self) -> Option<f64> {
        match self {
            Self::Ours => Some(5.0),
            Self::Ckpool => None,
            Self::Sri => Some(60.0),
        }
    }

    /// Shares a second that it aims at.
    pub(crate) const fn rate(self) -> f64 {
        match self {
            Self::Ours | Self::Sri => SHARES_PER_MINUTE / 60.0,
            Self::Ckpool => 0.3,
        }
    }

    pub(crate) fn start(self, device: &Device) -> Box<dyn Controller> {
        match self {
            Self::Ours => Box::new(Vardiff::new(
                Duration::ZERO,
                SHARES_PER_MINUTE as f32,
                TargetBounds::NONE,
                Target::MAX,
                device.nominal as f32,
            )),
            Self::Ckpool => Box::new(Ckpool::default()),
            Self::Sri => Box::new(Sri::new(device.nominal)),
        }
    }
}

/// What all have in common. Targets are the work of a share.
pub(crate) trait Controller {
    /// Work of a share on jobs from now on.
    fn work(&self) -> f64;
    /// So many shares of this work arrived.
    fn on_shares(&mut self, now: f64, work: f64, count: u64);
    fn on_timer(&mut self, now: f64);
    /// Whether a share of this work may change the target. If not, shares may come in bulk.
    fn cares_for(&self, work: f64) -> bool;
    /// The least work that it can set.
    fn least(&self) -> f64 {
        1.0
    }
}

impl Controller for Vardiff {
    fn work(&self) -> f64 {
        self.target().work() as f64
    }

    fn on_shares(&mut self, now: f64, work: f64, count: u64) {
        for _ in 0..count {
            self.on_share(Duration::from_secs_f64(now), work as u128);
        }
    }

    fn on_timer(&mut self, now: f64) {
        Self::on_timer(self, Duration::from_secs_f64(now));
    }

    fn cares_for(&self, _work: f64) -> bool {
        true
    }
}

/// 2^32 hashes, as ckpool counts difficulty.
const DIFFICULTY: f64 = 4_294_967_296.0;

/// `add_submit` of ckpool's stratifier. No timer: a device that is silent stays where it is.
#[derive(Debug)]
struct Ckpool {
    difficulty: f64,
    /// Of the first share, the last one, and the last change.
    first: Option<f64>,
    last: f64,
    changed: f64,
    /// Shares since then.
    shares: u64,
    /// Difficulty per second, decaying over a minute and over five.
    one: f64,
    five: f64,
}

impl Default for Ckpool {
    fn default() -> Self {
        Self { difficulty: 42.0, first: None, last: 0.0, changed: 0.0, shares: 0, one: 0.0, five: 0.0 }
    }
}

/// ckpool's decaying average.
fn decay(average: &mut f64, added: f64, seconds: f64, interval: f64) {
    if seconds > 0.0 {
        let weight = 1.0 - (-(seconds / interval).min(36.0)).exp();
        *average = (*average + added / seconds * weight) / (1.0 + weight);
    }
}

/// What such an average lacks, so long after its start.
fn bias(seconds: f64, interval: f64) -> f64 {
    1.0 - (-(seconds / interval).min(36.0)).exp()
}

impl Controller for Ckpool {
    fn work(&self) -> f64 {
        self.difficulty * DIFFICULTY
    }

    fn on_shares(&mut self, now: f64, work: f64, count: u64) {
        let difficulty = work / DIFFICULTY;
        let first = *self.first.get_or_insert_with(|| {
            (self.last, self.changed) = (now, now);
            now
        });
        let since = |then: f64| (now - then).max(0.001);
        for (average, interval) in [(&mut self.one, 60.0), (&mut self.five, 300.0)] {
            decay(average, difficulty * count as f64, since(self.last), interval);
        }
        self.last = now;
        self.shares += count;
        if self.shares < 72 && since(self.changed) < 240.0 {
            return;
        }
        if difficulty != self.difficulty {
            self.shares = 0;
            return;
        }
        let rate =
            if self.shares >= 72 { self.one / bias(since(first), 60.0) } else { self.five / bias(since(first), 300.0) };
        let ratio = rate / self.difficulty;
        if ratio > 0.15 && ratio < 0.4 {
            return;
        }
        let optimal = (rate * 3.33).round().max(1.0);
        if optimal == self.difficulty {
            return;
        }
        let only_one = optimal < self.difficulty && self.shares == 1;
        self.changed = now;
        if only_one {
            return;
        }
        self.shares = 0;
        self.difficulty = optimal;
    }

    fn on_timer(&mut self, _now: f64) {}

    fn cares_for(&self, work: f64) -> bool {
        work == self.work()
    }

    fn least(&self) -> f64 {
        DIFFICULTY
    }
}

/// `VardiffState` of SRI's `channels_sv2`, asked once a minute as its pool does.
#[derive(Debug)]
struct Sri {
    hashrate: f64,
    shares: u64,
    /// Of the last change.
    changed: f64,
}

impl Sri {
    fn new(nominal: f64) -> Self {
        Self { hashrate: nominal, shares: 0, changed: 0.0 }
    }
}

impl Controller for Sri {
    fn work(&self) -> f64 {
        (self.hashrate * 60.0 / SHARES_PER_MINUTE).max(1.0)
    }

    fn on_shares(&mut self, _now: f64, _work: f64, count: u64) {
        self.shares += count;
    }

    fn on_timer(&mut self, now: f64) {
        let seconds = now - self.changed;
        if seconds <= 15.0 {
            return;
        }
        let before = self.hashrate.max(1.0);
        let measured = self.work() * self.shares as f64 / seconds;
        let percent = (measured - before).abs() / before * 100.0;
        let limits = [(100.0, 0.0), (60.0, 60.0), (50.0, 120.0), (45.0, 180.0), (30.0, 240.0), (15.0, 300.0)];
        if !limits.iter().any(|(least, after)| percent >= *least && seconds >= *after) {
            return;
        }
        let new = if self.shares == 0 {
            before
                / if seconds <= 30.0 {
                    1.5
                } else if seconds < 60.0 {
                    2.0
                } else {
                    3.0
                }
        } else if percent > 1_000.0 {
            before
                * if seconds <= 30.0 {
                    10.0
                } else if seconds < 60.0 {
                    5.0
                } else {
                    3.0
                }
        } else {
            measured
        };
        self.hashrate = new.max(1.0);
        (self.shares, self.changed) = (0, now);
    }

    fn cares_for(&self, _work: f64) -> bool {
        false
    }
}
