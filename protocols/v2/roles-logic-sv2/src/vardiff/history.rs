//! Accepted work over time, in fewer and fewer places the longer ago it was.

/// Seconds within which shares count as one arrival: what a stalled connection held back comes at once, and says nothing about
/// the time in which it was found.
const RESOLUTION: f64 = 0.002;
/// Arrivals that are kept one by one; older ones are kept in pairs, fours, eights, …
const SINGLES: usize = 12;
/// Places for pairs, as many for fours, and so on.
const PER_SIZE: usize = 3;
/// Arrivals in the largest place.
const LARGEST: u32 = 32;
/// Places in all: singles, five sizes above them, and one that is being made.
const PLACES: usize = SINGLES + 5 * PER_SIZE + 1;

/// What was accepted after the place before.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// When the last arrival in it began, and ended.
    begin: f64,
    end: f64,
    work: f64,
    square: f64,
    arrivals: u32,
}

/// What was accepted from `start` until now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Seconds.
    pub start: f64,
    /// Sum of the shares' work.
    pub work: f64,
    /// Sum of its squares: tells few large shares from many small ones.
    pub square: f64,
}

/// The last arrivals of a channel, about two hundred. Of fixed size; adding a share allocates nothing.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// When it begins, in seconds.
    since: f64,
    /// Oldest first.
    places: [Place; PLACES],
    len: usize,
}

impl History {
    pub(super) const fn new(since: f64) -> Self {
        let empty = Place { begin: 0.0, end: 0.0, work: 0.0, square: 0.0, arrivals: 0 };
        Self { since, places: [empty; PLACES], len: 0 }
    }

    /// When the last share came, or the history began.
    pub(super) fn last(&self) -> f64 {
        self.kept().last().map_or(self.since, |place| place.end)
    }

    /// Adds a share. A time before the last one's counts as that one's.
    pub(super) fn push(&mut self, now: f64, work: f64) {
        if let Some(last) = self.places[..self.len].last_mut()
            && now < last.begin + RESOLUTION
        {
            last.end = last.end.max(now);
            last.work += work;
            last.square += work * work;
            return;
        }
        let end = now.max(self.last());
        if let Some(free) = self.places.get_mut(self.len) {
            *free = Place { begin: end, end, work, square: work * work, arrivals: 1 };
            self.len += 1;
        }
        let (mut size, mut limit) = (1, SINGLES);
        loop {
            let first = self.kept().iter().position(|place| place.arrivals == size);
            let count = self.kept().iter().filter(|place| place.arrivals == size).count();
            let Some(first) = first.filter(|_| count > limit) else { return };
            if size == LARGEST {
                self.since = self.places[first].end;
                self.remove(first);
                return;
            }
            let old = self.places[first];
            let merged = &mut self.places[first + 1];
            merged.work += old.work;
            merged.square += old.square;
            merged.arrivals += old.arrivals;
            self.remove(first);
            (size, limit) = (size * 2, PER_SIZE);
        }
    }

    /// Forgets what was before `start`, which is the start of a window.
    pub(super) fn forget_before(&mut self, start: f64) {
        while self.len > 0 && self.places[0].end <= start {
            self.remove(0);
        }
        self.since = self.since.max(start);
    }

    /// Windows that end now and begin with each place's end, the shortest first; the last one is the whole history.
    pub(super) fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        let mut sum = Window { start: self.last(), work: 0.0, square: 0.0 };
        let starts = (0..=self.len).rev().map(|i| match i.checked_sub(1) {
            Some(before) => (i, self.places[before].end),
            None => (i, self.since),
        });
        starts.map(move |(i, start)| {
            if let Some(place) = self.kept().get(i) {
                sum.work += place.work;
                sum.square += place.square;
            }
            sum.start = start;
            sum
        })
    }

    fn kept(&self) -> &[Place] {
        &self.places[..self.len]
    }

    fn remove(&mut self, index: usize) {
        self.places.copy_within(index + 1..self.len, index);
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_run_from_now_backwards() {
        let mut history = History::new(10.0);
        history.push(11.0, 2.0);
        history.push(13.0, 4.0);
        let windows: [(f64, f64, f64); 3] = {
            let mut windows = history.windows().map(|w| (w.start, w.work, w.square));
            core::array::from_fn(|_| windows.next().unwrap())
        };
        assert_eq!(windows, [(13.0, 0.0, 0.0), (11.0, 4.0, 16.0), (10.0, 6.0, 20.0)]);
        history.forget_before(11.0);
        assert_eq!(history.windows().last().unwrap().work, 4.0);
        assert_eq!(history.since, 11.0);
        history.push(5.0, 1.0);
        assert_eq!(history.last(), 13.0, "time does not run backwards");
        history.push(13.001, 8.0);
        let Place { work, square, .. } = history.places[0];
        assert_eq!((history.len, work, square), (1, 13.0, 81.0), "shares that come together are kept together");
        let mut history = History::new(0.0);
        for (now, arrivals) in [(0.0, 1), (RESOLUTION / 2.0, 1), (RESOLUTION, 2), (RESOLUTION * 1.9, 2)] {
            history.push(now, 1.0);
            assert_eq!(history.len, arrivals, "{now}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bounded_and_exact_for_what_it_keeps(shares in 0usize..2_000) {
            let mut history = History::new(0.0);
            for i in 1..=shares {
                history.push(i as f64, 1.0);
                prop_assert!(history.len < PLACES, "room for one more is always there");
            }
            // One share a second: each window holds as many shares as it is seconds long.
            for window in history.windows() {
                prop_assert_eq!(window.work, shares as f64 - window.start);
                prop_assert_eq!(window.square, window.work);
            }
            let whole = history.windows().last().unwrap();
            prop_assert!(whole.work >= shares.min(150) as f64);
            prop_assert!(whole.work <= 210.0);
        }
    }
}
