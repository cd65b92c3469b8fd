//! Acknowledging shares in batches (SubmitShares.Success, sv2-spec §5.3.13), and counting them ([`ShareStats`]).
//!
//! A share is *pending* from the moment it is judged acceptable until it is durable. Batches follow the order of submission:
//! one never reaches past a share that is still pending, however soon later ones were done. A batch ends by count or by time,
//! whichever is first ([`AckLimits`]).

mod stats;

use alloc::collections::VecDeque;
use core::time::Duration;

pub use stats::{Period, ShareStats};

use crate::{ids::SequenceNumber, target::WORK_OF_DIFFICULTY_1};

/// Shares of one channel that may be pending; at the bound the channel's input has to wait, or the share be refused.
pub const MAX_PENDING: usize = 4_096;

/// When a batch is acknowledged, if it is not flushed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckLimits {
    /// Shares that end a batch; 0 counts as 1.
    pub count: u32,
    /// Time after which the first share of a batch is acknowledged; zero is at once.
    pub delay: Duration,
}

impl Default for AckLimits {
    /// 16 shares or a second: few answers to a fast device, and no slow one waits for long.
    fn default() -> Self {
        Self { count: 16, delay: Duration::from_secs(1) }
    }
}

/// What one SubmitShares.Success says, besides the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Sequence number of the last share in the batch.
    pub last_sequence_number: SequenceNumber,
    /// Shares in the batch.
    pub new_submits_accepted_count: u32,
    /// Their difficulty, rounded down; what is cut off counts in the next batch.
    pub new_shares_sum: u64,
}

/// Names a pending share in its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// [`MAX_PENDING`] shares are waiting already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPending;

impl core::fmt::Display for TooManyPending {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "expected at most {MAX_PENDING} shares to wait for their acknowledgement")
    }
}

impl core::error::Error for TooManyPending {}

/// The shares of one channel that are to be acknowledged.
#[derive(Clone, Debug, Default)]
pub struct AckBatch {
    limits: AckLimits,
    /// When the batch at hand was first seen to have shares.
    since: Option<Duration>,
    /// Ticket of the first pending share.
    first: u64,
    pending: VecDeque<Pending>,
    last: Option<SequenceNumber>,
    count: u32,
    /// Work of the batch and what the last one left over; under `WORK_OF_DIFFICULTY_1` after each batch.
    work: u128,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    sequence_number: SequenceNumber,
    work: u128,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Undecided,
    /// Undecided, and not one of those that become durable in their order.
    Held,
    Accepted,
    Rejected,
}

impl AckBatch {
    /// Nothing to acknowledge.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing to acknowledge, and other limits than the default.
    pub fn with_limits(limits: AckLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes up a share that is good but not yet durable, in the order of submission.
    pub fn begin(&mut self, sequence_number: SequenceNumber, work: u128) -> Result<Ticket, TooManyPending> {
        if self.pending.len() >= MAX_PENDING {
            return Err(TooManyPending);
        }
        let ticket = Ticket(self.first + self.pending.len() as u64);
        self.pending.push_back(Pending { sequence_number, work, state: State::Undecided });
        Ok(ticket)
    }

    /// The share is durable: it may be acknowledged. An old ticket changes nothing.
    pub fn accept(&mut self, ticket: Ticket) {
        self.decide(ticket, State::Accepted);
    }

    /// The share was refused after all, and is answered on its own. An old ticket changes nothing.
    pub fn reject(&mut self, ticket: Ticket) {
        self.decide(ticket, State::Rejected);
    }

    /// The share waits for more than the others do: only [`accept`](Self::accept) and [`reject`](Self::reject) decide it. An old
    /// ticket changes nothing.
    pub fn hold(&mut self, ticket: Ticket) {
        self.decide(ticket, State::Held);
    }

    /// The next `count` undecided shares are durable, in the order of submission; those that are [held](Self::hold) do not count.
    pub fn accept_next(&mut self, count: usize) {
        let undecided = self.pending.iter_mut().filter(|pending| pending.state == State::Undecided);
        undecided.take(count).for_each(|pending| pending.state = State::Accepted);
        self.settle();
    }

    /// All shares up to and including this one are durable, as after a flush of the ledger. Held ones stay held.
    pub fn accept_through(&mut self, ticket: Ticket) {
        let upto = ticket.0.saturating_sub(self.first);
        for (index, pending) in self.pending.iter_mut().enumerate() {
            if index as u64 <= upto && ticket.0 >= self.first && pending.state == State::Undecided {
                pending.state = State::Accepted;
            }
        }
        self.settle();
    }

    /// Takes up a share and acknowledges it at once where nothing is waited for.
    pub fn record(&mut self, sequence_number: SequenceNumber, work: u128) -> Result<(), TooManyPending> {
        let ticket = self.begin(sequence_number, work)?;
        self.accept(ticket);
        Ok(())
    }

    fn decide(&mut self, ticket: Ticket, state: State) {
        let index = ticket.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(pending) = index.and_then(|index| self.pending.get_mut(index))
            && matches!(pending.state, State::Undecided | State::Held)
        {
            pending.state = state;
        }
        self.settle();
    }

    /// Moves what is decided from the front into the batch.
    fn settle(&mut self) {
        let is_decided = |pending: &Pending| matches!(pending.state, State::Accepted | State::Rejected);
        while let Some(pending) = self.pending.front().copied().filter(is_decided) {
            self.pending.pop_front();
            self.first += 1;
            if pending.state == State::Accepted {
                self.last = Some(pending.sequence_number);
                self.count = self.count.saturating_add(1);
                self.work = self.work.saturating_add(pending.work);
            }
        }
    }

    /// Shares in the batch so far: compare with the batch size.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Shares that are not yet decided, or wait for one before them.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Ends the batch if it is full or its time has come. To be called after shares were decided, and at
    /// [`poll_timeout`](Self::poll_timeout): the delay counts from the first call that finds a share.
    pub fn poll(&mut self, now: Duration) -> Option<Ack> {
        self.last?;
        let due = self.since.get_or_insert(now).saturating_add(self.limits.delay);
        if self.count >= self.limits.count || due <= now { self.flush() } else { None }
    }

    /// When to call [`poll`](Self::poll) at the latest.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.since.map(|since| since.saturating_add(self.limits.delay))
    }

    /// Ends the batch now, as before a channel is closed; `None` when there is nothing to acknowledge.
    pub fn flush(&mut self) -> Option<Ack> {
        let last_sequence_number = self.last.take()?;
        self.since = None;
        let sum = self.work / WORK_OF_DIFFICULTY_1;
        self.work %= WORK_OF_DIFFICULTY_1;
        Some(Ack {
            last_sequence_number,
            new_submits_accepted_count: core::mem::take(&mut self.count),
            new_shares_sum: u64::try_from(sum).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn ack(last: u32, count: u32, sum: u64) -> Option<Ack> {
        Some(Ack { last_sequence_number: SequenceNumber(last), new_submits_accepted_count: count, new_shares_sum: sum })
    }

    #[test]
    fn never_covers_an_undecided_share() {
        let mut batch = AckBatch::new();
        let tickets: [Ticket; 4] =
            core::array::from_fn(|i| batch.begin(SequenceNumber(i as u32), WORK_OF_DIFFICULTY_1).unwrap());
        batch.accept(tickets[2]);
        batch.accept(tickets[1]);
        assert_eq!(batch.flush(), None);
        batch.accept(tickets[0]);
        assert_eq!(batch.flush(), ack(2, 3, 3));
        assert_eq!(batch.flush(), None);
        batch.accept(tickets[0]); // an old ticket
        batch.accept(tickets[3]);
        assert_eq!(batch.flush(), ack(3, 1, 1));
    }

    #[test]
    fn shares_become_durable_in_their_order() {
        let mut batch = AckBatch::new();
        let begin = |batch: &mut AckBatch, n| batch.begin(SequenceNumber(n), WORK_OF_DIFFICULTY_1).unwrap();
        let tickets: Vec<Ticket> = (0..4).map(|n| begin(&mut batch, n)).collect();
        batch.reject(tickets[1]);
        batch.accept_next(2);
        assert_eq!(batch.flush(), ack(2, 2, 2));
        batch.accept_next(9);
        assert_eq!((batch.flush(), batch.pending()), (ack(3, 1, 1), 0));
        batch.accept_next(1);
        assert_eq!(batch.flush(), None);
    }

    #[test]
    fn a_held_share_becomes_durable_by_its_ticket_alone() {
        let mut batch = AckBatch::new();
        let begin = |batch: &mut AckBatch, n| batch.begin(SequenceNumber(n), WORK_OF_DIFFICULTY_1).unwrap();
        let tickets: Vec<Ticket> = (0..4).map(|n| begin(&mut batch, n)).collect();
        batch.hold(tickets[1]);
        batch.hold(tickets[3]);
        batch.accept_next(1);
        batch.accept_next(1);
        assert_eq!(batch.flush(), ack(0, 1, 1), "no batch reaches past a share that is held");
        batch.accept_through(tickets[2]);
        assert_eq!(batch.flush(), None);
        batch.accept(tickets[1]);
        assert_eq!(batch.flush(), ack(2, 2, 2));
        // What is decided can not be held any more.
        batch.hold(tickets[1]);
        batch.reject(tickets[3]);
        assert_eq!((batch.flush(), batch.pending()), (None, 0));
    }

    #[test]
    fn a_rejected_share_is_passed_over() {
        let mut batch = AckBatch::new();
        let a = batch.begin(SequenceNumber(10), WORK_OF_DIFFICULTY_1).unwrap();
        let b = batch.begin(SequenceNumber(11), WORK_OF_DIFFICULTY_1).unwrap();
        let c = batch.begin(SequenceNumber(12), WORK_OF_DIFFICULTY_1).unwrap();
        batch.accept_through(a);
        batch.reject(b);
        assert_eq!(batch.flush(), ack(10, 1, 1));
        batch.accept_through(c);
        batch.accept_through(a);
        assert_eq!(batch.flush(), ack(12, 1, 1));
    }

    #[test]
    fn the_remainder_is_carried() {
        let mut batch = AckBatch::new();
        let mut sum = 0;
        for i in 0..10 {
            batch.record(SequenceNumber(i), WORK_OF_DIFFICULTY_1 * 3 / 4).unwrap();
            sum += batch.flush().unwrap().new_shares_sum;
        }
        assert_eq!(sum, 7);
    }

    #[test]
    fn a_batch_ends_by_count_or_by_time() {
        let at = |milliseconds: u64| Duration::from_millis(1_000_000 + milliseconds);
        let mut batch = AckBatch::with_limits(AckLimits { count: 3, delay: Duration::from_millis(100) });
        let record = |batch: &mut AckBatch, number| batch.record(SequenceNumber(number), WORK_OF_DIFFICULTY_1).unwrap();
        assert_eq!((batch.poll(at(0)), batch.poll_timeout()), (None, None));
        record(&mut batch, 0);
        record(&mut batch, 1);
        assert_eq!((batch.poll(at(10)), batch.poll_timeout(), batch.count()), (None, Some(at(110)), 2));
        assert_eq!(batch.poll(at(109)), None);
        assert_eq!((batch.poll(at(110)), batch.poll_timeout()), (ack(1, 2, 2), None));
        assert_eq!(batch.poll(at(500)), None);
        (2..5).for_each(|number| record(&mut batch, number));
        assert_eq!((batch.poll(at(500)), batch.poll_timeout()), (ack(4, 3, 3), None));
        record(&mut batch, 5);
        assert_eq!(batch.poll(at(600)), None);
        // A flush between starts the time anew.
        assert_eq!((batch.flush(), batch.poll_timeout()), (ack(5, 1, 1), None));
        record(&mut batch, 6);
        assert_eq!((batch.poll(at(700)), batch.poll_timeout()), (None, Some(at(800))));
        // What is undecided starts no time.
        let mut batch = AckBatch::new();
        let ticket = batch.begin(SequenceNumber(7), 1).unwrap();
        assert_eq!((batch.poll(at(0)), batch.poll_timeout()), (None, None));
        batch.accept(ticket);
        assert_eq!((batch.poll(at(50)), batch.poll_timeout()), (None, Some(at(1_050))));
        // No count and no delay: each share on its own.
        for limits in [AckLimits { count: 0, ..AckLimits::default() }, AckLimits { delay: Duration::ZERO, count: 9 }] {
            let mut batch = AckBatch::with_limits(limits);
            batch.record(SequenceNumber(1), 0).unwrap();
            assert_eq!(batch.poll(at(0)), ack(1, 1, 0));
        }
    }

    #[test]
    fn bounded() {
        let mut batch = AckBatch::new();
        let first = batch.begin(SequenceNumber(0), 1).unwrap();
        for i in 1..MAX_PENDING {
            batch.begin(SequenceNumber(i as u32), 1).unwrap();
        }
        assert_eq!(batch.begin(SequenceNumber(0), 1), Err(TooManyPending));
        assert_eq!((batch.pending(), batch.count()), (MAX_PENDING, 0));
        assert_eq!(TooManyPending.to_string(), "expected at most 4096 shares to wait for their acknowledgement");
        batch.accept(first);
        assert!(batch.begin(SequenceNumber(0), u128::MAX).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_accepted_share_is_counted_once(works in prop::collection::vec(0u64..1 << 40, 1..40), order: u64) {
            let mut batch = AckBatch::new();
            let mut tickets: Vec<_> = works
                .iter()
                .enumerate()
                .map(|(i, &work)| batch.begin(SequenceNumber(i as u32), work.into()).unwrap())
                .collect();
            let (mut count, mut sum, mut state) = (0, 0, order);
            while !tickets.is_empty() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let index = (state >> 33) as usize % tickets.len();
                batch.accept(tickets.swap_remove(index));
                if let Some(ack) = batch.flush() {
                    // All undecided shares come after the one named last.
                    prop_assert!(tickets.iter().all(|t| t.0 > ack.last_sequence_number.0.into()));
                    count += ack.new_submits_accepted_count;
                    sum += ack.new_shares_sum;
                }
            }
            prop_assert_eq!(count as usize, works.len());
            let work: u128 = works.iter().map(|&work| u128::from(work)).sum();
            prop_assert_eq!(u128::from(sum), work / WORK_OF_DIFFICULTY_1);
        }
    }
}
