//! A share that is a block is acknowledged when the block's file is on disk, too
//! (`docs/adr/0024-a-block-is-on-disk-before-its-share-is-acknowledged.md`).
//!
//! The session makes a pair: the [`Hold`] goes with the candidate to whoever writes the file, the [`Held`] stays. Nothing waits
//! for anything but the acknowledgement: when the hold is dropped, by whomever, the session may answer.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// Between two looks at whether a hold is over: this long at the least. A file takes some milliseconds.
pub const SHORTEST_LOOK: Duration = Duration::from_millis(4);

/// The same at the most; for a disk that is full, or that hangs.
pub const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Keeps an acknowledgement back for as long as it lives.
#[derive(Debug, Default)]
pub struct Hold(#[expect(dead_code, reason = "what counts is that it is there")] Arc<()>);

/// The other end of a [`Hold`].
#[derive(Debug)]
pub struct Held(Weak<()>);

impl Hold {
    /// A hold, and the end that sees when it is over.
    pub fn new() -> (Self, Held) {
        let hold = Arc::new(());
        let held = Held(Arc::downgrade(&hold));
        (Self(hold), held)
    }
}

impl Held {
    /// Whether the hold was let go.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The shares of one session whose block is on its way to the disk, each with what it takes to answer it.
#[derive(Debug)]
pub(crate) struct HeldShares<T> {
    /// As many as the session has pending shares, which is bounded.
    shares: Vec<(T, Held)>,
    /// Since when there are some.
    since: Duration,
    look: Option<Duration>,
}

impl<T> Default for HeldShares<T> {
    fn default() -> Self {
        Self { shares: Vec::new(), since: Duration::ZERO, look: None }
    }
}

impl<T> HeldShares<T> {
    pub fn add(&mut self, now: Duration, share: T, held: Held) {
        if self.shares.is_empty() {
            self.since = now;
        }
        self.shares.push((share, held));
        self.plan(now);
    }

    /// Those that wait no longer.
    pub fn take_over(&mut self, now: Duration) -> Vec<T> {
        let over = self.shares.extract_if(.., |(_, held)| held.is_over()).map(|(share, _)| share).collect();
        self.plan(now);
        over
    }

    /// When to look again.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.look
    }

    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// The longer the disk takes, the less it matters to hear of it at once.
    fn plan(&mut self, now: Duration) {
        let pause = (now.saturating_sub(self.since) / 2).clamp(SHORTEST_LOOK, LONGEST_LOOK);
        self.look = (!self.shares.is_empty()).then(|| now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_over_when_it_is_dropped() {
        let (hold, held) = Hold::new();
        assert!(!held.is_over());
        drop(hold);
        assert!(held.is_over());
    }

    #[test]
    fn looks_become_rarer() {
        let at = |milliseconds: u64| Duration::from_millis(1_000_000 + milliseconds);
        let mut shares = HeldShares::default();
        assert_eq!(shares.poll_timeout(), None);
        let (first, held) = Hold::new();
        shares.add(at(0), 1, held);
        assert_eq!(shares.poll_timeout(), Some(at(4)));
        assert_eq!(shares.take_over(at(4)), [0; 0]);
        assert_eq!(shares.poll_timeout(), Some(at(8)));
        assert_eq!(shares.take_over(at(100)), [0; 0]);
        assert_eq!(shares.poll_timeout(), Some(at(150)));
        shares.take_over(at(60_000));
        assert_eq!(shares.poll_timeout(), Some(at(61_000)));
        let (_second, held) = Hold::new();
        shares.add(at(60_000), 2, held);
        drop(first);
        assert_eq!(shares.take_over(at(61_000)), [1]);
        assert!(!shares.is_empty());
    }
}
