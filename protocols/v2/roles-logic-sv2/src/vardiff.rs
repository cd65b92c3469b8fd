//! Variable difficulty: which target a channel should have, from the work that it delivers.
//!
//! Targets step in powers of two. What is measured is work and not shares, so that shares which arrive late, found on a target
//! that was replaced since, tell as much as any other. A target is changed when what was measured can not be chance: a test of
//! the Poisson distribution over windows of every length, against a band of [`DEAD_BAND`] around the wanted rate. After a
//! change, what was measured before the device changed is forgotten.
//!
//! Floors, ceilings and starts by port and by device are in [`policy`].
//!
//! How it behaves is measured by `cargo xtask vardiff`, in `docs/vardiff.md`.
//!
//! ```
//! use core::time::Duration;
//! use roles_logic_sv2::{Target, TargetBounds, vardiff::Vardiff};
//!
//! // A device that calls itself 1 TH/s gets the target for 12 shares a minute of that …
//! let mut vardiff = Vardiff::new(Duration::ZERO, 12.0, TargetBounds::NONE, Target::MAX, 1e12);
//! assert_eq!(vardiff.target(), Target::from_zero_bits(42));
//! // … and is a hundred times as fast: a share every 50 ms.
//! let mut shares = (1..).map(|i| vardiff.on_share(Duration::from_millis(50 * i), 1 << 42));
//! let (count, target) = shares.by_ref().enumerate().find_map(|(i, target)| Some((i + 1, target?))).unwrap();
//! assert_eq!((count, target), (13, Target::from_zero_bits(49)));
//! ```

mod history;
pub mod policy;
#[cfg(test)]
mod tests;

use core::time::Duration;

use history::{History, Window};

use crate::target::{Target, TargetBounds, nearest_log2};

/// A rate is as good as the wanted one when it is within this factor of it. More than √2, the most that a target which is a
/// power of two misses the rate by: so there is always a target from which a steady device is not moved.
pub const DEAD_BAND: f64 = 1.5;
/// How far outside the dead band, in standard deviations, a target has to be to be made harder. Little, because it is soon put right
/// if it was chance; what it prevents is a flood.
const RISE_CONFIDENCE: f64 = 3.3;
/// The same for an easier target.
const FALL_CONFIDENCE: f64 = 3.8;
/// Shares before a target is made harder. Fewer would tell that it has to be, but not by how much.
pub const MIN_SHARES: f64 = 13.0;
/// Shares that can show the moment when the device became faster.
const FEW_SHARES: f64 = 4.0;
/// A harder target needs too much work over this many share intervals, too: what a stalled connection held back comes at once.
const HORIZON: f64 = 10.0;
/// How far a short window may exceed the horizon: a burst looks as fast as you like.
const BURST_LIMIT: f64 = 1024.0;
/// Wanted shares in whose time a device that sends none counts as silent. At the edge of the dead band it happens by chance once
/// in 3,000 shares.
pub const SILENCE: f64 = 12.0;
/// Powers of two by which a silent device is eased at first, and by which more each time that it stays silent.
pub const SILENT_STEPS: (u32, u32) = (1, 2);
/// The hardest target has this many zero bits: the most whose work fits 128 bits.
const MAX_BITS: u32 = 127;
/// Seconds that the shortest window counts as; nothing is measured more finely.
const SHORTEST: f64 = 1e-6;

/// The controller of one channel's target. Takes a little over a kilobyte; no call allocates.
#[derive(Clone, Debug)]
pub struct Vardiff {
    /// Shares a second to aim at.
    rate: f64,
    bounds: TargetBounds,
    /// The easiest target allowed, as a number of zero bits.
    easiest: u32,
    hardest: u32,
    /// Zero bits of the blocks' target: a harder one for shares would lose blocks.
    network: u32,
    bits: u32,
    nominal: f32,
    /// Times in a row that the device was eased without a share.
    silent: u32,
    history: History,
}

impl Vardiff {
    /// A controller whose first target is the one for `nominal` hashes per second, within `bounds` and the client's `max_target`.
    ///
    /// A share rate that is not a positive number counts as 1.
    pub fn new(now: Duration, shares_per_minute: f32, bounds: TargetBounds, max_target: Target, nominal: f32) -> Self {
        let positive = shares_per_minute.is_finite() && shares_per_minute > 0.0;
        let rate = f64::from(if positive { shares_per_minute } else { 1.0 }) / 60.0;
        let client = bounds.for_client(max_target);
        let (easiest, hardest) = range(client);
        let target = Target::for_hashrate(nominal, (rate * 60.0) as f32, client);
        let history = History::new(now.as_secs_f64());
        let bits = zero_bits(target).clamp(easiest, hardest);
        Self { rate, bounds, easiest, hardest, network: MAX_BITS, bits, nominal, silent: 0, history }
    }

    /// Begins with this target instead, within the bounds.
    #[must_use]
    pub fn with_start(mut self, target: Target) -> Self {
        self.bits = zero_bits(target).clamp(self.easiest, self.hardest);
        self
    }

    /// The target that jobs should have from now on: a power of two less one.
    pub const fn target(&self) -> Target {
        Target::from_zero_bits(self.bits)
    }

    /// Hashes per second that the work accepted lately stands for; `None` before the first share.
    pub fn hashrate(&self, now: Duration) -> Option<f64> {
        let whole = self.history.windows().last().filter(|window| window.work > 0.0)?;
        Some(whole.work / (now.as_secs_f64() - whole.start).max(SHORTEST))
    }

    /// Forgets all shares, as when the first job goes out only now. The target stays.
    pub const fn restart(&mut self, now: Duration) {
        self.history = History::new(now.as_secs_f64());
    }

    /// Takes note of the target of blocks: no target is, or is made, harder than that, unless the client wants it so.
    pub fn set_network_target(&mut self, target: Target) {
        self.network = target.leading_zeros();
        self.bits = self.bits.min(self.network).max(self.easiest);
    }

    /// An accepted share of this work, judged by its own job's target. Returns a harder target where it is time for one.
    pub fn on_share(&mut self, now: Duration, work: u128) -> Option<Target> {
        if work == 0 {
            return None;
        }
        let now = now.as_secs_f64();
        self.silent = 0;
        self.history.push(now, work as f64);
        let limit = self.hardest.min(self.network);
        let (start, bits) = (self.bits < limit).then(|| self.too_easy(now))??;
        let bits = bits.min(limit);
        (bits > self.bits).then(|| self.change(start, bits))
    }

    /// To be called every few seconds. Returns an easier target where the device delivers too little, or nothing.
    pub fn on_timer(&mut self, now: Duration) -> Option<Target> {
        let (start, bits) = self.too_hard(now.as_secs_f64())?;
        let (before, bits) = (self.bits, bits.clamp(self.easiest, self.bits));
        // Silence is forgotten at the floor, too: who is heard again after hours is judged by what comes then.
        let target = self.change(start, bits);
        (bits < before).then_some(target)
    }

    /// An UpdateChannel whose `max_target` was found admissible (sv2-spec §5.3.7). Returns the target if it is another one now.
    ///
    /// A nominal hashrate that changes scales what was measured; one that is only repeated says nothing.
    pub fn update(&mut self, now: Duration, nominal: f32, max_target: Target) -> Option<Target> {
        let before = self.bits;
        (self.easiest, self.hardest) = range(self.bounds.for_client(max_target));
        if nominal != self.nominal {
            let measured = self.measured().filter(|_| self.nominal > 0.0);
            let hashrate = match measured {
                Some(measured) => measured * f64::from(nominal) / f64::from(self.nominal),
                None => f64::from(nominal),
            };
            self.bits = nearest_log2(hashrate / self.rate);
            self.nominal = nominal;
            self.restart(now);
        }
        self.bits = self.bits.clamp(self.easiest, self.hardest).min(self.network).max(self.easiest);
        (self.bits != before).then(|| self.target())
    }

    /// The hashrate over the whole history, if there are shares enough to tell.
    fn measured(&self) -> Option<f64> {
        let whole = self.history.windows().last()?;
        let seconds = self.history.last() - whole.start;
        (self.shares(&whole) >= MIN_SHARES && seconds > 0.0).then(|| whole.work / seconds)
    }

    /// When the device became too fast for its target, and the right number of zero bits.
    fn too_easy(&self, now: f64) -> Option<(f64, u32)> {
        let excess = |window: &Window, least: f64| {
            // Most windows end here, without a division.
            if window.work < least * self.work() || window.work <= self.wanted(window, now) * DEAD_BAND {
                return None;
            }
            let (shares, expected) = (self.shares(window), self.expected(window, now) * DEAD_BAND);
            (shares >= least && differ(shares, expected, RISE_CONFIDENCE)).then_some((shares, expected))
        };
        self.history.windows().find_map(|window| excess(&window, MIN_SHARES))?;
        let horizon = self.horizon(now)?;
        if horizon.work < self.wanted(&horizon, now) * DEAD_BAND {
            return None;
        }
        let excesses = self.history.windows().filter_map(|window| {
            let (shares, expected) = excess(&window, FEW_SHARES)?;
            Some((window, shares, expected))
        });
        // If it became faster only a few shares ago, the next ones will tell by how much.
        let (window, shares) = most_evident(excesses).filter(|(_, shares)| *shares >= MIN_SHARES)?;
        // The window may begin with the wait before it became faster: its last two thirds may tell better. Half a share less,
        // because the window ends with a share that raised the alarm.
        let rate = |window: &Window| {
            let count = self.shares(window);
            window.work * (1.0 - 0.5 / count) / (now - window.start).max(SHORTEST)
        };
        let inner = self.history.windows().filter(|inner| inner.start > window.start);
        let inner = inner.filter(|inner| self.shares(inner) >= shares * 2.0 / 3.0);
        let mut hashrate = inner.map(|inner| rate(&inner)).fold(rate(&window), f64::max);
        if (now - horizon.start) * self.rate >= HORIZON {
            hashrate = hashrate.min(horizon.work / (now - horizon.start) * BURST_LIMIT);
        }
        Some((window.start, nearest_log2(hashrate / self.rate)))
    }

    /// When the device became too slow for its target, and the right number of zero bits.
    fn too_hard(&mut self, now: f64) -> Option<(f64, u32)> {
        let lacks = self.history.windows().filter_map(|window| {
            if window.work >= self.wanted(&window, now) / DEAD_BAND {
                return None;
            }
            let (shares, expected) = (self.shares(&window), self.expected(&window, now) / DEAD_BAND);
            let too_few =
                if shares == 0.0 { expected >= SILENCE / DEAD_BAND } else { differ(shares, expected, FALL_CONFIDENCE) };
            too_few.then_some((window, shares, expected))
        });
        let (window, shares) = most_evident(lacks)?;
        if shares == 0.0 {
            // Nothing tells how slow it is, or whether it runs at all.
            let (first, more) = SILENT_STEPS;
            self.silent += 1;
            return Some((now, self.bits.saturating_sub(first + more * (self.silent - 1))));
        }
        let work = window.work * (1.0 + 0.5 / shares);
        let bits = nearest_log2(work / (now - window.start).max(SHORTEST) / self.rate);
        Some((window.start, bits))
    }

    /// The shortest window of [`HORIZON`] share intervals or more, or all there is.
    fn horizon(&self, now: f64) -> Option<Window> {
        let long_enough = |window: &Window| (now - window.start) * self.rate >= HORIZON;
        self.history.windows().find(long_enough).or_else(|| self.history.windows().last())
    }

    /// Work of one share in a window: that of the target in force, or more when old shares with more work prevail.
    ///
    /// Never less: a thousand late shares of a target that was a thousand times easier tell no more than one of now.
    fn unit(&self, window: &Window) -> f64 {
        // Without work the quotient is no number, and `max` passes over it.
        self.work().max(window.square / window.work)
    }

    /// A window's work as a number of shares.
    fn shares(&self, window: &Window) -> f64 {
        window.work / self.unit(window)
    }

    /// The same for a device that is exactly right for the target in force.
    fn expected(&self, window: &Window, now: f64) -> f64 {
        self.wanted(window, now) / self.unit(window)
    }

    /// Work of such a device in the time of a window.
    fn wanted(&self, window: &Window, now: f64) -> f64 {
        self.work() * self.rate * (now - window.start).max(SHORTEST)
    }

    /// Work of a share on the target in force: 2^bits.
    const fn work(&self) -> f64 {
        f64::from_bits((1023 + self.bits as u64) << 52)
    }

    fn change(&mut self, start: f64, bits: u32) -> Target {
        self.history.forget_before(start);
        self.bits = bits;
        self.target()
    }
}

/// Whether two counts of Poisson events differ by more than so many standard deviations; one of them is what is expected.
///
/// √(n + 3/8) has a standard deviation of ½ whatever n (Anscombe 1948). Squared twice, so that it needs no roots.
fn differ(a: f64, b: f64, deviations: f64) -> bool {
    let (a, b) = (a + 0.375, b + 0.375);
    let sum = a + b - deviations * deviations / 4.0;
    sum > 0.0 && sum * sum > 4.0 * a * b
}

/// Logarithm of how much likelier a count is if its mean is what it was than if its mean was `expected`: what changed, and
/// when, is where this is largest.
fn evidence(count: f64, expected: f64) -> f64 {
    count * natural_log(count / expected) - (count - expected)
}

/// Of windows with their shares, counted and expected, the one with the most evidence, and its shares.
fn most_evident(windows: impl Iterator<Item = (Window, f64, f64)>) -> Option<(Window, f64)> {
    let weighed = windows.map(|(window, shares, expected)| (evidence(shares, expected), window, shares));
    let (_, window, shares) = weighed.max_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
    Some((window, shares))
}

/// `core` has no logarithm. Of a positive normal number, to six digits; of zero it is some large negative number.
fn natural_log(value: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let exponent = (value.to_bits() >> 52) as f64 - 1023.0;
    let mantissa = f64::from_bits((value.to_bits() & MANTISSA) + (1023 << 52));
    // ln m = 2 artanh((m − 1) / (m + 1)); with m between 1 and 2 this is at most a third.
    let x = (mantissa - 1.0) / (mantissa + 1.0);
    let square = x * x;
    let series =
        1.0 + square * (1.0 / 3.0 + square * (0.2 + square * (1.0 / 7.0 + square * (1.0 / 9.0 + square / 11.0))));
    exponent * core::f64::consts::LN_2 + 2.0 * x * series
}

/// Zero bits of the target rounded to the harder side.
const fn zero_bits(target: Target) -> u32 {
    target.round_to_harder().leading_zeros()
}

/// The bounds as numbers of zero bits; the easiest target wins where the two cross.
fn range(bounds: TargetBounds) -> (u32, u32) {
    let easiest = zero_bits(bounds.easiest).min(MAX_BITS);
    // A power of two that is not harder than the bound.
    let hardest = bounds.hardest.leading_zeros().min(MAX_BITS);
    (easiest, hardest.max(easiest))
}
