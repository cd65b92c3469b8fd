//! Which source's templates are mined.
//!
//! Sources stand in order of preference. The active one is left when it goes down, and when it is stuck: another source has had
//! a higher tip for [`Failover::stuck_after`]. A preferred source is gone back to when it has kept up for
//! [`Failover::settle`] and is not behind the active one. While the last active source was ahead of all others, its jobs go on for
//! as long as a stuck one would be kept.
//!
//! Sources tell no work of their chains, so that height stands for it: two sound nodes differ only as long as one has not
//! heard of the other's blocks.

use std::time::Duration;

/// When sources change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// A source whose tip has been lower than another's for this long is stuck. Two sound nodes differ for a second or two.
    pub stuck_after: Duration,
    /// How long a preferred source must have kept up before it is used again, so that one that comes and goes does not
    /// give miners new work each time.
    pub settle: Duration,
}

impl Default for Failover {
    fn default() -> Self {
        Self { stuck_after: Duration::from_secs(5), settle: Duration::from_secs(5) }
    }
}

/// A source as far as selection goes.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    up: bool,
    /// Height of the block to mine; none until the first tip after the source came up.
    height: Option<u32>,
    /// Since when another one is higher.
    behind_since: Option<Duration>,
    /// When it caught up after it came up or was stuck.
    kept_up_since: Option<Duration>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Selector {
    failover: Failover,
    sources: Vec<Standing>,
    active: Option<usize>,
    /// Height that is mined, and when the source that gave it was lost.
    lost: Option<(u32, Duration)>,
    /// What was due by then has been decided.
    decided_at: Option<Duration>,
}

impl Selector {
    pub(super) fn new(sources: usize) -> Self {
        Self {
            failover: Failover::default(),
            sources: vec![Standing::default(); sources],
            active: None,
            lost: None,
            decided_at: None,
        }
    }

    pub(super) fn set(&mut self, failover: Failover) {
        self.failover = failover;
    }

    pub(super) fn active(&self) -> Option<usize> {
        self.active
    }

    /// A source is up; its first tip is still to come.
    pub(super) fn up(&mut self, source: usize) {
        self.sources[source] = Standing { up: true, ..Standing::default() };
    }

    pub(super) fn down(&mut self, now: Duration, source: usize) {
        let height = self.sources[source].height;
        if let Some(height) = height.filter(|_| self.active == Some(source)) {
            self.lost = Some((height, now));
        }
        self.sources[source] = Standing::default();
    }

    /// A source has a tip, to be built on at `height`.
    pub(super) fn tip(&mut self, source: usize, height: u32) {
        if self.sources[source].up {
            self.sources[source].height = Some(height);
        }
    }

    /// Decides anew. Gives the source that is to be used from now on, if it changes.
    pub(super) fn select(&mut self, now: Duration) -> Option<usize> {
        self.decided_at = Some(now);
        self.compare(now);
        let chosen = self.choose(now)?;
        if self.active == Some(chosen) {
            // It may have come back before another one could be used.
            if self.sources[chosen].height.is_some() {
                self.lost = None;
            }
            return None;
        }
        self.active = Some(chosen);
        self.lost = None;
        Some(chosen)
    }

    /// When [`select`](Self::select) may decide otherwise although nothing happens.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let Failover { stuck_after, settle } = self.failover;
        let stuck = self.sources.iter().filter_map(|one| one.behind_since).map(|since| since + stuck_after);
        let active = self.active.unwrap_or(0);
        let settled = self.sources[..active.min(self.sources.len())]
            .iter()
            .filter_map(|one| one.kept_up_since)
            .map(|since| since + settle);
        let given_up = self.lost.map(|(_, at)| at + stuck_after);
        stuck.chain(settled).chain(given_up).filter(|at| self.decided_at.is_none_or(|last| *at > last)).min()
    }

    /// Notes who is behind.
    fn compare(&mut self, now: Duration) {
        let lead = self.sources.iter().filter_map(|one| one.height).max();
        for one in &mut self.sources {
            match (one.height, lead) {
                (Some(height), Some(lead)) if height < lead => {
                    let since = *one.behind_since.get_or_insert(now);
                    if since + self.failover.stuck_after <= now {
                        one.kept_up_since = None;
                    }
                }
                (Some(_), _) => {
                    one.behind_since = None;
                    one.kept_up_since.get_or_insert(now);
                }
                (None, _) => {}
            }
        }
    }

    fn choose(&self, now: Duration) -> Option<usize> {
        let Failover { stuck_after, settle } = self.failover;
        let height = |index: usize| self.sources.get(index).and_then(|one| one.height);
        let is_stuck = |index: usize| self.sources[index].behind_since.is_some_and(|since| since + stuck_after <= now);
        if let Some(active) = self.active.filter(|active| height(*active).is_some() && !is_stuck(*active)) {
            let settled = |index: &usize| self.sources[*index].kept_up_since.is_some_and(|since| since + settle <= now);
            let preferred = (0..active).filter(settled).find(|index| height(*index) >= height(active));
            return preferred.or(Some(active));
        }
        // What is mined now may be higher than what the others have.
        let held = self.lost.filter(|(_, at)| *at + stuck_after > now).map(|(height, _)| height);
        let lead = (0..self.sources.len()).filter_map(height).max()?;
        (0..self.sources.len()).find(|index| height(*index) == Some(lead) && held.is_none_or(|held| lead >= held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs(1_000) + Duration::from_secs_f64(seconds)
    }

    /// Two sources, the first preferred.
    struct Pair(Selector);

    impl Pair {
        fn new() -> Self {
            Self(Selector::new(2))
        }

        fn up(&mut self, now: f64, source: usize, height: u32) -> Option<usize> {
            self.0.up(source);
            self.tip(now, source, height)
        }

        fn tip(&mut self, now: f64, source: usize, height: u32) -> Option<usize> {
            self.0.tip(source, height);
            self.0.select(at(now))
        }

        fn down(&mut self, now: f64, source: usize) -> Option<usize> {
            self.0.down(at(now), source);
            self.0.select(at(now))
        }

        /// Both on the same tip, the first active.
        fn both() -> Self {
            let mut pair = Self::new();
            assert_eq!(pair.up(0.0, 0, 100), Some(0));
            assert_eq!(pair.up(0.0, 1, 100), None);
            assert_eq!(pair.0.poll_timeout(), None);
            pair
        }
    }

    #[test]
    fn the_first_that_has_a_tip_is_used_and_the_preferred_one_when_it_settled() {
        let mut pair = Pair::new();
        pair.0.up(1);
        assert_eq!(pair.0.select(at(0.0)), None, "no tip yet");
        assert_eq!(pair.tip(0.0, 1, 100), Some(1));
        assert_eq!(pair.up(1.0, 0, 100), None);
        assert_eq!(pair.0.poll_timeout(), Some(at(6.0)));
        assert_eq!(pair.0.select(at(5.9)), None);
        assert_eq!(pair.0.select(at(6.0)), Some(0));
        assert_eq!(pair.0.poll_timeout(), None);
    }

    #[test]
    fn a_source_that_goes_down_is_left_at_once() {
        let mut pair = Pair::both();
        assert_eq!(pair.down(1.0, 0), Some(1));
        // It is back, on an older tip: used when it has caught up and settled.
        assert_eq!(pair.up(2.0, 0, 98), None);
        assert_eq!(pair.0.select(at(20.0)), None);
        assert_eq!(pair.tip(21.0, 0, 99), None);
        assert_eq!(pair.tip(22.0, 0, 100), None);
        assert_eq!(pair.0.poll_timeout(), Some(at(27.0)));
        assert_eq!(pair.0.select(at(27.0)), Some(0));
    }

    #[test]
    fn one_that_comes_and_goes_is_not_followed() {
        let mut pair = Pair::both();
        assert_eq!(pair.down(1.0, 0), Some(1));
        for second in 2..20 {
            assert_eq!(pair.up(f64::from(second), 0, 100), None);
            assert_eq!(pair.down(f64::from(second) + 0.9, 0), None);
        }
    }

    #[test]
    fn a_stuck_source_is_left_and_a_slow_one_is_not() {
        let mut pair = Pair::both();
        // Slow by two seconds.
        assert_eq!(pair.tip(10.0, 1, 101), None);
        assert_eq!(pair.0.poll_timeout(), Some(at(15.0)));
        assert_eq!(pair.tip(12.0, 0, 101), None);
        assert_eq!(pair.0.poll_timeout(), None);
        // Stuck; further blocks do not start the time anew.
        assert_eq!(pair.tip(20.0, 1, 102), None);
        assert_eq!(pair.tip(23.0, 1, 103), None);
        assert_eq!(pair.0.select(at(24.9)), None);
        assert_eq!(pair.0.select(at(25.0)), Some(1));
        // It moves again, and is gone back to when it has caught up for a while.
        assert_eq!(pair.tip(30.0, 0, 102), None);
        assert_eq!(pair.tip(31.0, 0, 103), None);
        assert_eq!(pair.0.select(at(36.0)), Some(0));
    }

    #[test]
    fn going_back_waits_until_the_preferred_one_has_the_newest_tip() {
        let mut pair = Pair::new();
        assert_eq!(pair.up(0.0, 1, 100), Some(1));
        assert_eq!(pair.up(0.0, 0, 100), None);
        assert_eq!(pair.tip(4.9, 1, 101), None);
        assert_eq!(pair.0.select(at(5.0)), None, "settled, and behind at this moment");
        assert_eq!(pair.tip(5.1, 0, 101), Some(0));
    }

    #[test]
    fn the_jobs_of_a_source_that_was_ahead_go_on_for_a_while() {
        let mut pair = Pair::both();
        pair.tip(1.0, 0, 101);
        assert_eq!(pair.down(2.0, 0), None, "nobody is sent back by a block");
        assert_eq!(pair.0.poll_timeout(), Some(at(7.0)));
        assert_eq!(pair.tip(3.0, 1, 101), Some(1));

        let mut pair = Pair::both();
        pair.tip(1.0, 0, 101);
        assert_eq!(pair.down(2.0, 0), None);
        assert_eq!(pair.0.select(at(6.9)), None);
        assert_eq!(pair.0.select(at(7.0)), Some(1), "the block was lost with it");

        let mut pair = Pair::both();
        pair.tip(1.0, 0, 101);
        assert_eq!(pair.down(2.0, 0), None);
        assert_eq!(pair.up(3.0, 0, 101), None, "back in time, and still the one");
        assert_eq!(pair.0.active(), Some(0));
        assert_eq!(pair.0.select(at(60.0)), None);
    }

    #[test]
    fn a_lone_source_is_kept_whatever_it_does() {
        let mut one = Selector::new(1);
        one.up(0);
        one.tip(0, 100);
        assert_eq!(one.select(at(0.0)), Some(0));
        one.down(at(1.0), 0);
        assert_eq!(one.select(at(1.0)), None);
        assert_eq!(one.select(at(100.0)), None);
        one.up(0);
        one.tip(0, 50);
        assert_eq!(one.select(at(101.0)), None);
        assert_eq!(one.active(), Some(0));
        assert_eq!(one.poll_timeout(), None);
    }

    #[test]
    fn a_reorganisation_to_fewer_blocks_is_no_reason_to_stay() {
        // An operator's `invalidateblock` at the preferred node: the other one's chain has more work.
        let mut pair = Pair::both();
        assert_eq!(pair.tip(1.0, 0, 99), None);
        assert_eq!(pair.0.select(at(6.0)), Some(1));
    }
}
