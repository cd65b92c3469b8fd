//! What is due to one receiver, and when: in order, one at a time, again and again until it has arrived.
//!
//! Sans-io: time and randomness are arguments.

use std::{collections::VecDeque, time::Duration};

use crate::message::Message;

/// Notifications that wait for one receiver. The oldest one makes room, one that is no news of a block before one that is.
pub const MAX_WAITING: usize = 256;

/// What is no news of a block is not worth delivering after this long.
pub const MAX_AGE: Duration = Duration::from_secs(3600);

/// Pause after the first failure; doubled with each further one.
pub const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Longest pause between two attempts.
pub const MOST_RETRY: Duration = Duration::from_secs(300);

/// The queue of one receiver.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Message>,
    /// The first one that waits is being delivered.
    in_flight: bool,
    /// Attempts that have failed since the last success.
    failures: u32,
    /// Not before.
    due: Duration,
    dropped: u64,
    kept_changed: bool,
}

/// What to send now.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The notification.
    pub message: Message,
    /// Notifications that this receiver never got, since the last one that arrived.
    pub dropped: u64,
    /// 1 for the first attempt since a success.
    pub attempt: u32,
}

impl Outbox {
    /// Adds a notification; returns those that made room for it, or have been too old.
    pub fn push(&mut self, message: Message) -> Option<Message> {
        self.kept_changed |= message.event.is_kept();
        self.waiting.push_back(message);
        if self.waiting.len() <= MAX_WAITING {
            return None;
        }
        // What is under way is not taken back.
        let first = usize::from(self.in_flight);
        let mut candidates = self.waiting.iter().enumerate().skip(first);
        let victim = candidates.find(|(_, message)| !message.event.is_kept()).map_or(first, |(index, _)| index);
        let victim = self.waiting.remove(victim)?;
        self.kept_changed |= victim.event.is_kept();
        self.dropped += 1;
        Some(victim)
    }

    /// Puts what an earlier process has not delivered before all that waits, without what is there already.
    pub fn restore(&mut self, messages: Vec<Message>) {
        let first = usize::from(self.in_flight);
        for message in messages.into_iter().rev() {
            if self.waiting.len() < MAX_WAITING && self.waiting.iter().all(|waiting| waiting.id != message.id) {
                self.waiting.insert(first, message);
            }
        }
    }

    /// Adds to what the receiver is told to have missed.
    pub fn missed(&mut self, count: u64) {
        self.dropped = self.dropped.saturating_add(count);
    }

    /// What is to be delivered now, if anything. It is under way until [`delivered`](Self::delivered) or [`failed`](Self::failed).
    pub fn poll(&mut self, now: Duration) -> Option<Delivery> {
        if self.in_flight || now < self.due {
            return None;
        }
        let too_old = |message: &Message| {
            !message.event.is_kept() && Duration::from_millis(message.time).saturating_add(MAX_AGE) < now
        };
        while self.waiting.front().is_some_and(too_old) {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        let message = self.waiting.front()?.clone();
        self.in_flight = true;
        Some(Delivery { message, dropped: self.dropped, attempt: self.failures.saturating_add(1) })
    }

    /// When [`poll`](Self::poll) will have something, if nothing is added before.
    pub fn poll_timeout(&self) -> Option<Duration> {
        (!self.in_flight && !self.waiting.is_empty()).then_some(self.due)
    }

    /// What was under way has arrived; `told` is how many it said were dropped.
    pub fn delivered(&mut self, told: u64) {
        if std::mem::take(&mut self.in_flight) {
            self.kept_changed |= self.waiting.pop_front().is_some_and(|message| message.event.is_kept());
            self.dropped = self.dropped.saturating_sub(told);
            self.failures = 0;
            self.due = Duration::ZERO;
        }
    }

    /// What was under way has not arrived. `random` is between 0 and 1: it spreads the attempts of many pools. Returns the pause
    /// until the next attempt.
    pub fn failed(&mut self, now: Duration, random: f64) -> Duration {
        self.in_flight = false;
        let doubled = FIRST_RETRY.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        let pause = doubled.min(MOST_RETRY).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        self.failures = self.failures.saturating_add(1);
        self.due = now + pause;
        pause
    }

    /// Number of notifications that have not arrived.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all have arrived.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What a restart must not lose, if that has changed since the last call.
    pub fn take_kept(&mut self) -> Option<Vec<Message>> {
        std::mem::take(&mut self.kept_changed)
            .then(|| self.waiting.iter().filter(|message| message.event.is_kept()).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Kind;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn message(n: usize, event: Kind) -> Message {
        let time = NOW.as_millis() as u64;
        Message { id: format!("{n:032x}"), time, event, text: String::new(), data: serde_json::Map::new() }
    }

    fn ids(outbox: &mut Outbox, now: Duration) -> Vec<usize> {
        let mut ids = Vec::new();
        while let Some(delivery) = outbox.poll(now) {
            ids.push(usize::from_str_radix(&delivery.message.id, 16).unwrap());
            outbox.delivered(delivery.dropped);
        }
        ids
    }

    #[test]
    fn one_at_a_time_and_in_order() {
        let mut outbox = Outbox::default();
        assert_eq!((outbox.poll(NOW), outbox.poll_timeout()), (None, None));
        for n in 1..=3 {
            assert_eq!(outbox.push(message(n, Kind::NodeLost)), None);
        }
        let first = outbox.poll(NOW).unwrap();
        assert_eq!((first.message.id.as_str(), first.attempt), (message(1, Kind::Test).id.as_str(), 1));
        assert_eq!((outbox.poll(NOW), outbox.poll_timeout()), (None, None), "it is under way");
        outbox.failed(NOW, 1.0);
        let again = outbox.poll(NOW + FIRST_RETRY).unwrap();
        assert_eq!((&again.message, again.attempt), (&first.message, 2), "nothing overtakes it");
        outbox.delivered(0);
        assert_eq!(ids(&mut outbox, NOW), [2, 3], "without a pause");
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_vary_by_half() {
        let mut outbox = Outbox::default();
        outbox.push(message(1, Kind::BlockFound));
        let mut now = NOW;
        let mut pauses = Vec::new();
        for _ in 0..40 {
            outbox.poll(now).unwrap();
            let pause = outbox.failed(now, 1.0);
            assert_eq!(outbox.poll_timeout(), Some(now + pause));
            assert_eq!(outbox.poll(now + pause - Duration::from_nanos(1)), None);
            now += pause;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(pauses.last(), Some(&300));
        outbox.poll(now).unwrap();
        assert_eq!(outbox.failed(now, 0.0), MOST_RETRY / 2);
        outbox.poll(now + MOST_RETRY).unwrap();
        outbox.delivered(0);
        outbox.push(message(2, Kind::BlockFound));
        outbox.poll(now).unwrap();
        assert_eq!(outbox.failed(now, 1.0), FIRST_RETRY, "a success forgets the failures");
    }

    #[test]
    fn blocks_make_room_last_and_the_receiver_hears_of_it() {
        let mut outbox = Outbox::default();
        outbox.push(message(0, Kind::BlockFound));
        for n in 1..MAX_WAITING {
            assert_eq!(outbox.push(message(n, Kind::WorkerOffline)), None);
        }
        let first = outbox.poll(NOW).unwrap();
        assert_eq!(first.message.event, Kind::BlockFound);
        for n in 0..MAX_WAITING - 1 {
            let victim = outbox.push(message(1_000 + n, Kind::BlockFound)).unwrap();
            assert_eq!(victim, message(n + 1, Kind::WorkerOffline), "the oldest that is no block");
        }
        let victim = outbox.push(message(2_000, Kind::BlockFound)).unwrap();
        assert_eq!(victim.id, message(1_000, Kind::Test).id, "not the one under way");
        assert_eq!(outbox.len(), MAX_WAITING);
        outbox.delivered(first.dropped);
        let next = outbox.poll(NOW).unwrap();
        assert_eq!(next.dropped, MAX_WAITING as u64);
        outbox.delivered(next.dropped);
        assert_eq!(outbox.poll(NOW).unwrap().dropped, 0, "told once");
    }

    #[test]
    fn what_is_old_is_not_told_unless_it_is_of_a_block() {
        let mut outbox = Outbox::default();
        outbox.push(message(1, Kind::NodeLost));
        outbox.push(message(2, Kind::BlockFound));
        outbox.push(message(3, Kind::NodeBack));
        assert_eq!(ids(&mut outbox, NOW + MAX_AGE), [1, 2, 3]);
        outbox.push(message(1, Kind::NodeLost));
        outbox.push(message(2, Kind::BlockFound));
        outbox.push(message(3, Kind::NodeBack));
        assert_eq!(ids(&mut outbox, NOW + MAX_AGE + Duration::from_millis(1)), [2]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn news_of_blocks_outlive_a_restart() {
        let mut outbox = Outbox::default();
        outbox.push(message(1, Kind::NodeLost));
        assert_eq!(outbox.take_kept(), None);
        outbox.push(message(2, Kind::BlockFound));
        outbox.push(message(3, Kind::BlockAccepted));
        let kept = outbox.take_kept().unwrap();
        assert_eq!(kept, [message(2, Kind::BlockFound), message(3, Kind::BlockAccepted)]);
        assert_eq!(outbox.take_kept(), None, "nothing has changed");
        let mut next = Outbox::default();
        next.push(message(4, Kind::NodeLost));
        next.push(message(3, Kind::BlockAccepted));
        next.restore(kept);
        assert_eq!(ids(&mut next, NOW), [2, 4, 3], "none twice");
        assert_eq!(next.take_kept(), Some(vec![]));
    }

    proptest! {
        /// Whatever happens, the bound holds, and what arrives is in the order in which it was added.
        #[test]
        fn bounded_and_in_order(steps in prop::collection::vec(0_u8..6, 0..2_000)) {
            let (mut outbox, mut now, mut added, mut last) = (Outbox::default(), NOW, 0, None);
            let mut flying = None;
            for step in steps {
                match step {
                    0..=2 => {
                        let event = if added % 2 == 0 { Kind::BlockFound } else { Kind::NodeLost };
                        outbox.push(message(added, event));
                        added += 1;
                    }
                    3 => flying = outbox.poll(now).or(flying),
                    4 => if let Some(delivery) = flying.take() {
                        outbox.delivered(delivery.dropped);
                        prop_assert!(last < Some(delivery.message.id.clone()));
                        last = Some(delivery.message.id);
                    },
                    _ => if flying.take().is_some() {
                        now += outbox.failed(now, 0.5);
                    },
                }
                prop_assert!(outbox.len() <= MAX_WAITING);
            }
        }
    }
}
