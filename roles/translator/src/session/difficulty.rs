//! A miner's difficulty: a power of two, never harder than the upstream's.
//!
//! Devices differ in when they apply a new difficulty: at once, or with the next job. So all jobs at hand take shares by either, and
//! credit no more than the work done under either ([`JobTarget`](roles_logic_sv2::share::JobTarget)).

use std::time::Duration;

use roles_logic_sv2::{
    Target,
    vardiff::{Vardiff, policy::Start},
};
use stratum_v1::session::Wishes;

use super::{LOOK_INTERVAL, Session};
use crate::job::ChannelState;

/// The first difficulty, as a power of two, of a miner that wishes for none where the configuration says nothing: 1024, which is right for
/// 1 TH/s.
const DEFAULT_START: u32 = 10;
/// Zero bits of difficulty 1.
const BITS_OF_1: u32 = 32;
/// Most zero bits of a target whose work fits 128 bits.
const MAX_BITS: u32 = 127;

/// Zero bits of the target of a difficulty, a power of two next to it.
fn bits(difficulty: f64, round: fn(f64) -> f64) -> u32 {
    // The cast saturates; NaN is no difficulty and gives zero.
    (round(difficulty.log2()) + f64::from(BITS_OF_1)).clamp(0.0, f64::from(MAX_BITS)) as u32
}

impl Session {
    /// A first target: what the miner wishes for, else what the configuration says, within its bounds.
    pub(super) fn start(&mut self, now: Duration) -> Target {
        let hint = match (self.wishes.start, self.policy.start) {
            (Some(difficulty), _) => Some(Target::from_zero_bits(bits(difficulty, f64::floor))),
            (None, Start::Nominal(None)) => Some(Target::from_zero_bits(BITS_OF_1 + DEFAULT_START)),
            (None, _) => None,
        };
        let (policy, max_target) = (self.policy, self.max_target());
        // Neither a hashrate of zero nor a wish within the bounds is refused.
        let first = policy.first_target(0.0, max_target, hint).unwrap_or(policy.bounds.easiest);
        if !self.config.vardiff {
            return first;
        }
        let vardiff = Vardiff::new(now, policy.shares_per_minute, policy.bounds, max_target, 0.0).with_start(first);
        let target = vardiff.target();
        self.vardiff = Some(vardiff);
        target
    }

    /// The easiest target that the miner wants, as far as the bounds admit it.
    fn max_target(&self) -> Target {
        let wanted = self.wishes.minimum.map_or(Target::MAX, |least| Target::from_zero_bits(bits(least, f64::ceil)));
        wanted.max(self.policy.bounds.hardest)
    }

    /// The target of the difficulty that stands for one of as many zero bits, easy enough that no share for the upstream is lost.
    pub(super) fn exact(&self, target: Target) -> Target {
        let upstream = self.channel.as_ref().map_or(Target::ZERO, |channel| channel.target);
        let mut exponent = target.leading_zeros().min(MAX_BITS) as i32 - BITS_OF_1 as i32;
        while exponent > -(BITS_OF_1 as i32) && Target::from_difficulty_log2(exponent) < upstream {
            exponent -= 1;
        }
        match exponent {
            // The easiest difficulty there is: what it stands for is anything.
            ..=-32 => Target::MAX,
            _ => Target::from_difficulty_log2(exponent),
        }
    }

    /// Takes note of the upstream's target: no miner's is to be harder, or shares that the upstream would credit were never found.
    pub(super) fn limit_target(&mut self, now: Duration, channel: &ChannelState) {
        let Some(target) = self.target else { return };
        let wanted = self.vardiff.as_mut().map_or(target, |vardiff| {
            vardiff.set_network_target(channel.target);
            vardiff.target()
        });
        self.retarget(now, wanted);
    }

    /// Takes note of what the miner wishes for, and does it where it is at work. Devices repeat a wish as a sign of life.
    pub(super) fn wish(&mut self, now: Duration, wishes: Wishes) {
        let before = std::mem::replace(&mut self.wishes, wishes);
        let Some(present) = self.target.filter(|_| before != wishes) else { return };
        let target = match &mut self.vardiff {
            _ if before.start != wishes.start => self.start(now),
            None => present.min(self.max_target()),
            Some(_) => {
                let max_target = self.max_target();
                self.vardiff.as_mut().map_or(present, |vardiff| {
                    vardiff.update(now, 0.0, max_target);
                    vardiff.target()
                })
            }
        };
        self.retarget(now, target);
    }

    /// Changes the difficulty, if it is another one.
    pub(super) fn retarget(&mut self, now: Duration, target: Target) {
        let exact = self.exact(target);
        let Some(before) = self.target.replace(exact).filter(|before| *before != exact) else { return };
        self.given.iter_mut().filter(|given| !given.retired).for_each(|given| given.target.widen(exact));
        let hashrate = self.vardiff.as_ref().and_then(|vardiff| vardiff.hashrate(now));
        let (from, to) = (before.difficulty(), exact.difficulty());
        tracing::debug!(peer = self.label, from, to, hashrate, "difficulty changed");
        self.tell_difficulty();
    }

    /// Says which difficulty holds, where the miner does not know.
    pub(super) fn tell_difficulty(&mut self) {
        let Some(target) = self.target.filter(|target| self.told_target != Some(*target)) else { return };
        let least = 2f64.powi(-(BITS_OF_1 as i32));
        let difficulty = if target == Target::MAX { least } else { target.difficulty() };
        if self.server.set_difficulty(difficulty).is_ok() {
            self.told_target = Some(target);
            if let Some(presence) = &self.presence {
                presence.change(|stats| stats.difficulty = Some(difficulty));
            }
        }
    }

    /// Eases a difficulty that is too high.
    pub(super) fn look(&mut self, now: Duration) {
        self.look = self.vardiff.is_some().then(|| now + LOOK_INTERVAL);
        // Without a job a device has nothing to deliver.
        let has_job = self.channel.is_some() && self.given.back().is_some_and(|given| !given.retired);
        let vardiff = self.vardiff.as_mut().filter(|_| has_job);
        if let Some(target) = vardiff.and_then(|vardiff| vardiff.on_timer(now)) {
            self.retarget(now, target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_are_rounded_to_powers_of_two() {
        for (difficulty, floor, ceil) in
            [(1.0, 32, 32), (1024.0, 42, 42), (1000.0, 41, 42), (0.001, 22, 23), (1e-300, 0, 0), (1e300, 127, 127)]
        {
            assert_eq!((bits(difficulty, f64::floor), bits(difficulty, f64::ceil)), (floor, ceil));
        }
    }
}
