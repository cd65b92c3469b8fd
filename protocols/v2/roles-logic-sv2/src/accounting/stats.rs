//! What a channel did so far: shares, work, the best of them, and how fast it is.

use core::time::Duration;

use bitcoin::{BlockHash, hashes::Hash as _};

use crate::{
    share::{RejectReason, Verdict},
    target::Target,
};

/// Parts of a period that are counted on their own. An estimate covers the last 11 of them and what there is of the newest.
const PARTS: usize = 12;
/// Shorter than this nothing is measured, so that the first share of a channel makes no record.
const SHORTEST: Duration = Duration::from_secs(5);

/// What a hashrate is estimated over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// The last minute.
    Minute,
    /// The last ten minutes.
    TenMinutes,
    /// The last hour.
    Hour,
    /// The last day.
    Day,
}

impl Period {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Minute, Self::TenMinutes, Self::Hour, Self::Day];

    /// How long it is.
    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::TenMinutes => 600,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }

    /// Seconds of one of its [`PARTS`].
    const fn part(self) -> u64 {
        self.length().as_secs() / PARTS as u64
    }
}

/// Counts one channel's verdicts. Takes about half a kilobyte; no call allocates.
///
/// ```
/// use core::time::Duration;
/// use bitcoin::{BlockHash, hashes::Hash};
/// use roles_logic_sv2::{accounting::{Period, ShareStats}, share::Verdict};
///
/// let opened = Duration::from_secs(1_700_000_000);
/// let mut stats = ShareStats::new(opened);
/// let share = Verdict::Accepted { work: 3_000_000, difficulty: 0.0, hash: BlockHash::all_zeros(), block: None };
/// stats.record(opened + Duration::from_secs(30), &share);
/// assert_eq!(stats.hashrate(opened + Duration::from_secs(30), Period::Minute), 100_000.0);
/// // Nothing more comes.
/// assert_eq!(stats.hashrate(opened + Duration::from_secs(300), Period::Minute), 0.0);
/// assert_eq!(stats.hashrate(opened + Duration::from_secs(300), Period::Hour), 10_000.0);
/// ```
#[derive(Clone, Debug)]
pub struct ShareStats {
    opened: Duration,
    accepted: u64,
    work: u128,
    rejected: [u32; RejectReason::ALL.len()],
    /// The least hash of an accepted share, as a number.
    best: Option<Target>,
    last: Option<Duration>,
    rates: [Rate; Period::ALL.len()],
}

impl ShareStats {
    /// For a channel that is opened now.
    pub const fn new(opened: Duration) -> Self {
        let rate = Rate { newest: 0, work: [0.0; PARTS] };
        let (rejected, rates) = ([0; RejectReason::ALL.len()], [rate; Period::ALL.len()]);
        Self { opened, accepted: 0, work: 0, rejected, best: None, last: None, rates }
    }

    /// Counts a share by its verdict. Counters stay at their maximum.
    pub fn record(&mut self, now: Duration, verdict: &Verdict) {
        match verdict {
            Verdict::Accepted { work, hash, .. } => self.accept(now, *work, hash),
            Verdict::Rejected { reason, .. } => self.reject(*reason),
        }
    }

    fn accept(&mut self, now: Duration, work: u128, hash: &BlockHash) {
        self.accepted = self.accepted.saturating_add(1);
        self.work = self.work.saturating_add(work);
        let hash = Target::from_le_bytes(hash.to_byte_array());
        self.best = Some(self.best.map_or(hash, |best| best.min(hash)));
        self.last = self.last.max(Some(now));
        let elapsed = self.elapsed(now).as_secs();
        for (rate, period) in self.rates.iter_mut().zip(Period::ALL) {
            rate.add(elapsed / period.part(), work as f64);
        }
    }

    /// Counts a share that was refused elsewhere, for example because the connection has no such channel.
    pub fn reject(&mut self, reason: RejectReason) {
        // `ALL` has the variants in their order: a test sees to it.
        if let Some(count) = self.rejected.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Shares accepted.
    pub const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Work of the shares accepted.
    pub const fn work(&self) -> u128 {
        self.work
    }

    /// Shares refused for this reason.
    pub fn rejected(&self, reason: RejectReason) -> u32 {
        self.rejected.get(reason as usize).copied().unwrap_or(0)
    }

    /// Shares refused, whatever the reason.
    pub fn rejected_in_all(&self) -> u64 {
        self.rejected.iter().map(|count| u64::from(*count)).sum()
    }

    /// The least hash of all shares accepted; what it would have met tells how lucky it was.
    pub const fn best(&self) -> Option<Target> {
        self.best
    }

    /// Difficulty that the best accepted share would have met, for people.
    pub fn best_difficulty(&self) -> Option<f64> {
        self.best.map(|best| best.difficulty())
    }

    /// When the last share was accepted.
    pub const fn last_accepted(&self) -> Option<Duration> {
        self.last
    }

    /// Hashes per second that the work accepted in the last `period` stands for, give or take a twelfth of the period at its
    /// beginning. Of a channel that is younger, over its whole life, five seconds at the least. Falls while nothing comes, to zero.
    pub fn hashrate(&self, now: Duration, period: Period) -> f64 {
        let Some((rate, period)) = self.rates.iter().zip(Period::ALL).find(|(_, other)| *other == period) else {
            return 0.0;
        };
        let elapsed = self.elapsed(now);
        let newest = elapsed.as_secs() / period.part();
        let since = Duration::from_secs((newest + 1).saturating_sub(PARTS as u64) * period.part());
        rate.sum(newest) / elapsed.saturating_sub(since).max(SHORTEST).as_secs_f64()
    }

    fn elapsed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.opened)
    }
}

/// Work by the part of a period in which it came. Parts are numbered since the channel was opened.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// The newest part that work came in.
    newest: u64,
    /// The work of part n at n modulo the length.
    work: [f64; PARTS],
}

impl Rate {
    fn add(&mut self, part: u64, work: f64) {
        // A clock that steps back adds to what is newest.
        let part = part.max(self.newest);
        // The places of the parts between are used again.
        for skipped in (self.newest + 1..=part).take(PARTS) {
            self.work[place(skipped)] = 0.0;
        }
        self.work[place(part)] += work;
        self.newest = part;
    }

    /// Work of the last parts when `newest` is the one at hand.
    fn sum(&self, newest: u64) -> f64 {
        let parts = (0..PARTS as u64).filter_map(|ago| self.newest.checked_sub(ago));
        // Added up anew each time: differences would add up their errors.
        parts.filter(|part| part + PARTS as u64 > newest).map(|part| self.work[place(part)]).sum()
    }
}

const fn place(part: u64) -> usize {
    (part % PARTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const OPENED: Duration = Duration::from_secs(1_000_000);

    fn at(seconds: u64) -> Duration {
        OPENED + Duration::from_secs(seconds)
    }

    fn hash(byte: u8) -> BlockHash {
        let mut bytes = [0; 32];
        bytes[28] = byte;
        BlockHash::from_byte_array(bytes)
    }

    fn accepted(work: u128, byte: u8) -> Verdict {
        Verdict::Accepted { work, difficulty: 1.0, hash: hash(byte), block: None }
    }

    #[test]
    fn shares_are_counted_by_their_verdict() {
        let mut stats = ShareStats::new(OPENED);
        assert_eq!((stats.best_difficulty(), stats.last_accepted(), stats.rejected_in_all()), (None, None, 0));
        stats.record(at(1), &accepted(1 << 80, 8));
        stats.record(at(3), &accepted(5, 2));
        stats.record(at(2), &accepted(0, 4)); // a clock that steps back
        assert_eq!((stats.accepted(), stats.work(), stats.last_accepted()), (3, (1 << 80) + 5, Some(at(3))));
        assert_eq!(stats.best(), Some(Target::from_le_bytes(hash(2).to_byte_array())));
        // 0x0000ffff · 2^208 over 2 · 2^224.
        assert_eq!(stats.best_difficulty(), Some(65_535.0 / 131_072.0));
        for (times, reason) in (1..).zip(RejectReason::ALL) {
            (0..times).for_each(|_| stats.record(at(4), &Verdict::Rejected { reason, block: None }));
        }
        for (times, reason) in (1..).zip(RejectReason::ALL) {
            assert_eq!(stats.rejected(reason), times, "{reason}");
        }
        assert_eq!((stats.rejected_in_all(), stats.accepted()), (55, 3));
        stats.record(at(5), &accepted(u128::MAX, 4));
        assert_eq!(stats.work(), u128::MAX);
    }

    #[test]
    fn a_silent_device_s_hashrate_falls_to_nothing_the_short_periods_first() {
        let mut stats = ShareStats::new(OPENED);
        // A day of a share each ten seconds.
        (1..=8_640).for_each(|i| stats.record(at(10 * i), &accepted(10_000, 1)));
        let all = |stats: &ShareStats, seconds| Period::ALL.map(|period| stats.hashrate(at(seconds), period));
        for (rate, period) in all(&stats, 86_400).into_iter().zip(Period::ALL) {
            assert!((rate - 1_000.0).abs() < 200.0, "{period:?}: {rate}");
        }
        let mut before = all(&stats, 86_400);
        let mut gone = [0; 4];
        for seconds in (86_460..3 * 86_400).step_by(60) {
            let now = all(&stats, seconds);
            for (i, period) in Period::ALL.into_iter().enumerate() {
                // Between the ends of two parts the same work is divided by more time.
                let part_ended = seconds / period.part() != (seconds - 60) / period.part();
                assert!(
                    now[i] < before[i] || now[i] == 0.0 || part_ended,
                    "{period:?} at {seconds}: {before:?} {now:?}"
                );
                if now[i] == 0.0 && gone[i] == 0 {
                    gone[i] = seconds - 86_400;
                }
            }
            before = now;
        }
        assert_eq!(gone, [60, 600, 3_600, 86_400]);
    }

    #[test]
    fn a_young_channel_is_measured_over_its_life() {
        let mut stats = ShareStats::new(OPENED);
        stats.record(at(0), &accepted(5_000, 1));
        for period in Period::ALL {
            assert_eq!(stats.hashrate(at(0), period), 1_000.0, "five seconds at the least");
            assert_eq!(stats.hashrate(at(5), period), 1_000.0);
            assert_eq!(stats.hashrate(at(10), period), 500.0);
            assert_eq!(stats.hashrate(Duration::ZERO, period), 1_000.0, "a clock that steps back");
        }
        assert_eq!(stats.hashrate(at(59), Period::Minute), 5_000.0 / 59.0);
        assert_eq!(stats.hashrate(at(60), Period::Minute), 0.0);
        assert_eq!(stats.hashrate(at(86_399), Period::Day), 5_000.0 / 86_399.0);
    }

    #[test]
    fn small() {
        assert!(size_of::<ShareStats>() <= 576, "{}", size_of::<ShareStats>());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Against a list of all shares.
        #[test]
        fn as_a_list_would_say(
            steps in prop::collection::vec((0u64..2_000, 0u64..1_000_000), 1..100),
            squeeze in 1u64..500, after in 0u64..100_000,
        ) {
            let (mut stats, mut list, mut now) = (ShareStats::new(OPENED), Vec::new(), 0);
            for (seconds, work) in steps {
                now += seconds / squeeze;
                stats.record(at(now), &accepted(work.into(), 1));
                list.push((now, work));
            }
            for now in [now, now + after] {
                for period in Period::ALL {
                    let part = period.length().as_secs() / 12;
                    let since = (now / part).saturating_sub(11) * part;
                    let work: u64 = list.iter().filter(|(at, _)| *at >= since).map(|(_, work)| work).sum();
                    let expected = work as f64 / (now - since).max(5) as f64;
                    prop_assert_eq!(stats.hashrate(at(now), period), expected, "{:?} at {}", period, now);
                }
            }
        }
    }
}
