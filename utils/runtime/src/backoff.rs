//! How long to wait before the next try to connect.

use std::time::Duration;

/// Delays that double from `first` to `most`, each cut by a random part of up to a half, so that clients that lost the same
/// server do not come back at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// The first delay, and the longest.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first.min(most) }
    }

    /// The delay before the next try; `random` is any number, drawn anew for each.
    pub fn delay(&mut self, random: u32) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.most);
        let cut = (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX));
        whole - cut
    }

    /// Starts over, after a connection that was good.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_most_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(3));
        let delays: Vec<u128> = (0..5).map(|_| backoff.delay(0).as_millis()).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 3_000, 3_000]);
        backoff.reset();
        assert_eq!(backoff.delay(0).as_millis(), 500);
    }

    #[test]
    fn chance_cuts_up_to_a_half() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(backoff.delay(u32::MAX), Duration::from_millis(500));
        let middle = backoff.delay(u32::MAX / 2);
        assert!(middle > Duration::from_millis(749) && middle < Duration::from_millis(751), "{middle:?}");
    }
}
