//! Difficulties: powers of two, what the miner wishes, and what it delivers.
//!
//! A target of Stratum V2 is 2^n − 1, one of Stratum V1 that of a difficulty 2^k: 0.0015 % harder. The channel has the latter, so that
//! a share is credited with exactly the work that it takes.

use std::time::Duration;

use roles_logic_sv2::{
    Target,
    vardiff::{Vardiff, policy::Start},
};

use stratum_v1::session::Wishes;

use super::{PoolSink, Session};
use crate::session::vardiff::LOOK_INTERVAL;

/// The first difficulty, as a power of two, of a miner that wishes for none where the listener says nothing: 64, which is right for
/// 55 GH/s. What is faster gets a harder one within some dozens of shares, what is slower an easier one within five minutes.
pub const DEFAULT_START: i32 = 6;

/// Powers of two that difficulties may be: work from 1 to 2^127.
const EXPONENTS: std::ops::RangeInclusive<i32> = -32..=95;

/// The power of two next to a difficulty.
fn exponent(difficulty: f64, round: fn(f64) -> f64) -> i32 {
    // The cast is exact within the range, and saturates outside of it.
    (round(difficulty.log2()) as i32).clamp(*EXPONENTS.start(), *EXPONENTS.end())
}

/// Zero bits of the target that stands for a difficulty in Stratum V2.
fn bits(exponent: i32) -> u32 {
    (exponent + 32).unsigned_abs()
}

impl Session {
    /// The target of the difficulty that stands for a target of as many zero bits, easy enough that no block is lost.
    fn exact(&self, target: Target) -> Target {
        let network = self.snapshot.as_ref().and_then(|snapshot| snapshot.tip.as_ref()).map(|active| active.tip.target);
        let (least, most) = EXPONENTS.into_inner();
        let mut exponent = (target.leading_zeros() as i32 - 32).clamp(least, most);
        while exponent > least && network.is_some_and(|network| Target::from_difficulty(2f64.powi(exponent)) < network)
        {
            exponent -= 1;
        }
        Target::from_difficulty(2f64.powi(exponent))
    }

    /// A first target: what the miner wishes for, else what the listener says, within its bounds.
    pub(super) fn start(&mut self, now: Duration) -> Target {
        let policy = self.targets;
        let max_target = self.max_target();
        let hint = match (self.wishes.start, policy.start) {
            (Some(difficulty), _) => Some(Target::from_zero_bits(bits(exponent(difficulty, f64::floor)))),
            (None, Start::Nominal(None)) => Some(Target::from_zero_bits(bits(DEFAULT_START))),
            (None, _) => None,
        };
        // Neither a hashrate of zero nor a wish within the bounds is refused.
        let mut first = policy.first_target(0.0, max_target, hint).unwrap_or(policy.bounds.easiest);
        if self.config.vardiff {
            let vardiff = Vardiff::new(now, policy.shares_per_minute, policy.bounds, max_target, 0.0).with_start(first);
            first = vardiff.target();
            self.vardiff = Some(vardiff);
        }
        if let Some(channel) = &mut self.channel {
            channel.set_max_target(max_target);
        }
        self.exact(first)
    }

    /// The easiest target that the miner wants, as far as the listener's bounds admit it.
    fn max_target(&self) -> Target {
        let wanted =
            self.wishes.minimum.map_or(Target::MAX, |least| Target::from_zero_bits(bits(exponent(least, f64::ceil))));
        wanted.max(self.targets.bounds.hardest)
    }

    /// A difficulty that the miner would like; devices repeat it as a sign of life.
    pub(super) fn suggested<S: PoolSink>(&mut self, now: Duration, difficulty: f64, sink: &mut S) {
        self.wish(now, self.wishes.with_suggestion(difficulty), sink);
    }

    /// Takes note of what the miner wishes for, and does it, where it is at work.
    pub(super) fn wish<S: PoolSink>(&mut self, now: Duration, wishes: Wishes, sink: &mut S) {
        let before = std::mem::replace(&mut self.wishes, wishes);
        if self.told.target.is_none() || before == wishes {
            return;
        }
        if before.start != wishes.start {
            let target = self.start(now);
            return self.retarget(now, target, sink);
        }
        let max_target = self.max_target();
        let Some(channel) = &mut self.channel else { return };
        channel.set_max_target(max_target);
        let target = match &mut self.vardiff {
            Some(vardiff) => {
                vardiff.update(now, 0.0, max_target);
                vardiff.target()
            }
            None => channel.target().min(max_target),
        };
        self.retarget(now, target, sink);
    }

    /// Sends a difficulty if it is another one, and behind it a job with new content.
    pub(super) fn retarget<S: PoolSink>(&mut self, now: Duration, target: Target, sink: &mut S) {
        let exact = self.exact(target);
        let Some(channel) = &mut self.channel else { return };
        let before = channel.target();
        if channel.set_target_for_all(exact) == before {
            return;
        }
        let difficulty = channel.target().difficulty();
        self.workers
            .values()
            .filter_map(|member| member.card.as_ref())
            .for_each(|card| card.set_difficulty(difficulty));
        let hashrate = self.vardiff.as_ref().and_then(|vardiff| vardiff.hashrate(now));
        let (from, to) = (before.difficulty(), difficulty);
        tracing::debug!(peer = self.label, from, to, hashrate, "difficulty changed");
        self.tell_difficulty();
        self.send_spare(now, sink);
    }

    /// Eases a target that is harder than that of the blocks to come.
    pub(super) fn keep_blocks(&mut self) {
        let Some(target) = self.channel.as_ref().map(|channel| channel.target()) else { return };
        let exact = self.exact(target);
        if let Some(channel) = &mut self.channel
            && exact > target
        {
            channel.set_target_for_all(exact);
        }
    }

    /// Says which difficulty holds from the next job on, where the miner does not know.
    pub(super) fn tell_difficulty(&mut self) {
        let Some(target) = self.channel.as_ref().map(|channel| channel.target()) else { return };
        if self.told.target != Some(target) && self.server.set_difficulty(target.difficulty()).is_ok() {
            self.told.target = Some(target);
        }
    }

    /// Eases a target that is too hard.
    pub(super) fn look<S: PoolSink>(&mut self, now: Duration, sink: &mut S) {
        self.look = self.vardiff.is_some().then(|| now + LOOK_INTERVAL);
        // Before its first job a device has nothing to deliver.
        let vardiff = self.vardiff.as_mut().filter(|_| self.told.job.is_some());
        if let Some(target) = vardiff.and_then(|vardiff| vardiff.on_timer(now)) {
            self.retarget(now, target, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_are_rounded_to_powers_of_two() {
        for (difficulty, floor, ceil) in
            [(1.0, 0, 0), (1024.0, 10, 10), (1000.0, 9, 10), (0.001, -10, -9), (1e-300, -32, -32), (1e300, 95, 95)]
        {
            assert_eq!((exponent(difficulty, f64::floor), exponent(difficulty, f64::ceil)), (floor, ceil));
        }
    }
}
