//! Records as bytes (`docs/operate/ledger.md`, "Format of the log").
//!
//! All numbers are little-endian; "number" below is LEB128. Times are not in the records: a clock entry holds for what
//! follows it, up to the end of the batch.

use std::borrow::Cow;

use crate::record::{
    AccountId, BlockEvent, BlockHash, BlockStep, Difficulty, MAX_NAME_BYTES, MAX_REASON_BYTES, Rejects, Share,
    ShareHash, Timestamp, Work, WorkerId, cut,
};

/// Bytes of a share whose work is a power of two, without its share of clock entry and batch header.
pub const SHARE_BYTES: usize = 1 + 4 + ShareHash::BYTES + 4;

/// Most bytes that one entry takes: a worker with its names, or a refused block.
pub(crate) const MAX_ENTRY_BYTES: usize = 1 + 8 + 32 + 4 + 1 + 2 * (1 + MAX_NAME_BYTES);

/// Or'ed with the logarithm of the work.
const SHARE: u8 = 0x80;
const CLOCK: u8 = 1;
const SHARE_OF_ANY_WORK: u8 = 2;
const WORKER: u8 = 3;
const REJECTS: u8 = 4;
const BLOCK: u8 = 5;
const SUM: u8 = 6;
const GAP: u8 = 7;
const END: u8 = 8;

const FOUND: u8 = 0;
const SUBMITTED: u8 = 1;
const ACCEPTED: u8 = 2;
const REJECTED: u8 = 3;
const CONFIRMED: u8 = 4;
const ORPHANED: u8 = 5;
const LOST: u8 = 6;

/// What a log holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A worker, before its first share.
    Worker(WorkerEntry),
    /// An accepted share.
    Share(Share),
    /// Refused shares; in a summary those of a period, `at` its start.
    Rejects(Rejects),
    /// A step in the life of a block.
    Block(Box<BlockEvent>),
    /// All accepted shares of a worker in a period; in summaries only.
    Sum(Sum),
    /// Batches that could not be read any more when the summary was made.
    Gap {
        /// Sequence number of the first.
        first: u64,
        /// Sequence number of the last.
        last: u64,
    },
    /// The summary is complete.
    End,
}

/// A worker gets its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerEntry {
    /// When.
    pub at: Timestamp,
    /// Its id.
    pub id: WorkerId,
    /// The id of its account.
    pub account_id: AccountId,
    /// Name of the account.
    pub account: String,
    /// Name of the worker.
    pub worker: String,
}

/// Accepted shares of a worker in a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum {
    /// Start of the period.
    pub start: Timestamp,
    /// Whose.
    pub worker: WorkerId,
    /// How many.
    pub shares: u64,
    /// What they were credited with.
    pub work: Work,
    /// The best of them.
    pub best: Difficulty,
}

/// Appends entries to bytes.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    clock: Option<Timestamp>,
    newest: Timestamp,
}

impl Encoder {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, and the time of the newest entry. The encoder begins anew.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Timestamp) {
        let taken = std::mem::take(self);
        (taken.bytes, taken.newest)
    }

    #[inline]
    fn clock(&mut self, at: Timestamp) {
        if self.clock != Some(at) {
            let mut entry = [CLOCK; 9];
            entry[1..].copy_from_slice(&at.0.to_le_bytes());
            self.bytes.extend_from_slice(&entry);
            self.clock = Some(at);
            self.newest = self.newest.max(at);
        }
    }

    #[inline]
    pub(crate) fn share(&mut self, share: &Share) {
        self.clock(share.at);
        let Share { worker, work: Work(work), hash, reached, .. } = share;
        let mut entry = [0; SHARE_BYTES];
        entry[1..5].copy_from_slice(&worker.0.to_le_bytes());
        entry[5..17].copy_from_slice(&hash.0);
        entry[17..].copy_from_slice(&reached.as_f32().to_le_bytes());
        if work.is_power_of_two() {
            entry[0] = SHARE | work.trailing_zeros() as u8;
            self.bytes.extend_from_slice(&entry);
        } else {
            entry[0] = SHARE_OF_ANY_WORK;
            self.bytes.extend_from_slice(&entry);
            self.bytes.extend_from_slice(&work.to_le_bytes());
        }
    }

    pub(crate) fn worker(&mut self, entry: &WorkerEntry) {
        self.clock(entry.at);
        self.bytes.push(WORKER);
        self.bytes.extend_from_slice(&entry.id.0.to_le_bytes());
        self.bytes.extend_from_slice(&entry.account_id.0.to_le_bytes());
        self.text(&entry.account, MAX_NAME_BYTES);
        self.text(&entry.worker, MAX_NAME_BYTES);
    }

    pub(crate) fn rejects(&mut self, rejects: &Rejects) {
        self.clock(rejects.at);
        self.bytes.push(REJECTS);
        self.number(rejects.worker.0.into());
        self.number(rejects.count.into());
        self.text(&rejects.reason, MAX_REASON_BYTES);
    }

    pub(crate) fn block(&mut self, event: &BlockEvent) {
        self.clock(event.at);
        self.bytes.push(BLOCK);
        self.bytes.extend_from_slice(&event.hash.0);
        self.bytes.extend_from_slice(&event.height.to_le_bytes());
        match &event.step {
            BlockStep::Found { worker, value, reached } => {
                self.bytes.push(FOUND);
                self.bytes.extend_from_slice(&worker.0.to_le_bytes());
                self.bytes.extend_from_slice(&value.to_le_bytes());
                self.bytes.extend_from_slice(&reached.as_f32().to_le_bytes());
            }
            BlockStep::Submitted { node } => self.step(SUBMITTED, &[node]),
            BlockStep::Accepted { node } => self.step(ACCEPTED, &[node]),
            BlockStep::Rejected { node, reason } => self.step(REJECTED, &[node, reason]),
            BlockStep::Confirmed { depth } => {
                self.bytes.push(CONFIRMED);
                self.bytes.extend_from_slice(&depth.to_le_bytes());
            }
            BlockStep::Orphaned => self.bytes.push(ORPHANED),
            BlockStep::Lost => self.bytes.push(LOST),
        }
    }

    fn step(&mut self, step: u8, texts: &[&str]) {
        self.bytes.push(step);
        texts.iter().for_each(|text| self.text(text, MAX_NAME_BYTES));
    }

    pub(crate) fn sum(&mut self, sum: &Sum) {
        self.clock(sum.start);
        self.bytes.push(SUM);
        self.number(sum.worker.0.into());
        self.number(sum.shares.into());
        self.number(sum.work.0);
        self.bytes.extend_from_slice(&sum.best.as_f32().to_le_bytes());
    }

    pub(crate) fn gap(&mut self, first: u64, last: u64) {
        self.bytes.push(GAP);
        self.number(first.into());
        self.number(last.into());
    }

    pub(crate) fn end(&mut self) {
        self.bytes.push(END);
    }

    fn text(&mut self, text: &str, limit: usize) {
        let text = cut(text, limit);
        self.bytes.push(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

/// Bytes that are no entries, although their checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid entry")]
pub struct Malformed;

/// The entries of a batch. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    clock: Timestamp,
}

impl<'a> Entries<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, clock: Timestamp(0) }
    }

    /// The next entry; clock entries are taken up on the way.
    fn read(&mut self) -> Option<Result<Entry, Malformed>> {
        loop {
            let (&tag, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            if tag != CLOCK {
                return Some(self.entry(tag).ok_or(Malformed));
            }
            match self.take() {
                Some(bytes) => self.clock = Timestamp(u64::from_le_bytes(bytes)),
                None => return Some(Err(Malformed)),
            }
        }
    }

    fn entry(&mut self, tag: u8) -> Option<Entry> {
        Some(match tag {
            SHARE.. => Entry::Share(self.share(Some(1 << (tag & !SHARE)))?),
            SHARE_OF_ANY_WORK => Entry::Share(self.share(None)?),
            WORKER => Entry::Worker(WorkerEntry {
                at: self.clock,
                id: WorkerId(self.u32()?),
                account_id: AccountId(self.u32()?),
                account: self.text(MAX_NAME_BYTES)?,
                worker: self.text(MAX_NAME_BYTES)?,
            }),
            REJECTS => Entry::Rejects(Rejects {
                at: self.clock,
                worker: WorkerId(self.number()?.try_into().ok()?),
                count: self.number()?.try_into().ok()?,
                reason: Cow::Owned(self.text(MAX_REASON_BYTES)?),
            }),
            BLOCK => Entry::Block(Box::new(BlockEvent {
                at: self.clock,
                hash: BlockHash(self.take()?),
                height: self.u32()?,
                step: self.step()?,
            })),
            SUM => Entry::Sum(Sum {
                start: self.clock,
                worker: WorkerId(self.number()?.try_into().ok()?),
                shares: self.number()?.try_into().ok()?,
                work: Work(self.number()?),
                best: self.difficulty()?,
            }),
            GAP => Entry::Gap { first: self.number()?.try_into().ok()?, last: self.number()?.try_into().ok()? },
            END => Entry::End,
            _ => return None,
        })
    }

    fn share(&mut self, work: Option<u128>) -> Option<Share> {
        Some(Share {
            at: self.clock,
            worker: WorkerId(self.u32()?),
            hash: ShareHash(self.take()?),
            reached: self.difficulty()?,
            work: Work(match work {
                Some(work) => work,
                None => u128::from_le_bytes(self.take()?),
            }),
        })
    }

    fn step(&mut self) -> Option<BlockStep> {
        let [step] = self.take()?;
        Some(match step {
            FOUND => BlockStep::Found {
                worker: WorkerId(self.u32()?),
                value: u64::from_le_bytes(self.take()?),
                reached: self.difficulty()?,
            },
            SUBMITTED => BlockStep::Submitted { node: self.text(MAX_NAME_BYTES)? },
            ACCEPTED => BlockStep::Accepted { node: self.text(MAX_NAME_BYTES)? },
            REJECTED => BlockStep::Rejected { node: self.text(MAX_NAME_BYTES)?, reason: self.text(MAX_NAME_BYTES)? },
            CONFIRMED => BlockStep::Confirmed { depth: self.u32()? },
            ORPHANED => BlockStep::Orphaned,
            LOST => BlockStep::Lost,
            _ => return None,
        })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn difficulty(&mut self) -> Option<Difficulty> {
        let difficulty = f32::from_le_bytes(self.take()?);
        (difficulty.is_finite() && difficulty.is_sign_positive()).then(|| Difficulty::from_f32(difficulty))
    }

    /// LEB128, of at most 128 bits and without padding.
    fn number(&mut self) -> Option<u128> {
        let mut number = 0;
        for shift in (0..128).step_by(7) {
            let [byte] = self.take()?;
            let bits = u128::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self, limit: usize) -> Option<String> {
        let [len] = self.take()?;
        let (text, rest) = self.bytes.split_at_checked(len.into())?;
        self.bytes = rest;
        let text = str::from_utf8(text).ok()?;
        (text.len() <= limit).then(|| text.to_owned())
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.read();
        if matches!(entry, Some(Err(_))) {
            self.bytes = &[];
        }
        entry
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        for entry in entries {
            match entry {
                Entry::Worker(worker) => encoder.worker(worker),
                Entry::Share(share) => encoder.share(share),
                Entry::Rejects(rejects) => encoder.rejects(rejects),
                Entry::Block(event) => encoder.block(event),
                Entry::Sum(sum) => encoder.sum(sum),
                Entry::Gap { first, last } => encoder.gap(*first, *last),
                Entry::End => encoder.end(),
            }
        }
        encoder.take().0
    }

    fn timestamps() -> impl Strategy<Value = Timestamp> {
        prop_oneof![Just(Timestamp(1_800_000_000_000)), any::<u64>().prop_map(Timestamp)]
    }

    fn works() -> impl Strategy<Value = Work> {
        prop_oneof![(0..128_u32).prop_map(|bits| Work(1 << bits)), any::<u128>().prop_map(Work)]
    }

    fn difficulties() -> impl Strategy<Value = Difficulty> {
        any::<f64>().prop_map(Difficulty::new)
    }

    fn workers() -> impl Strategy<Value = WorkerId> {
        any::<u32>().prop_map(WorkerId)
    }

    fn names() -> impl Strategy<Value = String> {
        "\\PC{0,60}"
    }

    fn steps() -> impl Strategy<Value = BlockStep> {
        prop_oneof![
            (workers(), any::<u64>(), difficulties()).prop_map(|(worker, value, reached)| BlockStep::Found {
                worker,
                value,
                reached
            }),
            names().prop_map(|node| BlockStep::Submitted { node }),
            names().prop_map(|node| BlockStep::Accepted { node }),
            (names(), names()).prop_map(|(node, reason)| BlockStep::Rejected { node, reason }),
            any::<u32>().prop_map(|depth| BlockStep::Confirmed { depth }),
            Just(BlockStep::Orphaned),
            Just(BlockStep::Lost),
        ]
    }

    pub(crate) fn entries() -> impl Strategy<Value = Entry> {
        prop_oneof![
            4 => (timestamps(), workers(), works(), any::<[u8; 12]>(), difficulties()).prop_map(
                |(at, worker, work, hash, reached)| Entry::Share(Share { at, worker, work, hash: ShareHash(hash), reached })
            ),
            1 => (timestamps(), workers(), any::<u32>(), names(), names()).prop_map(
                |(at, id, account, a, worker)| Entry::Worker(WorkerEntry { at, id, account_id: AccountId(account), account: a, worker })
            ),
            1 => (timestamps(), workers(), any::<u64>(), "[a-z-]{0,64}").prop_map(
                |(at, worker, count, reason)| Entry::Rejects(Rejects { at, worker, count, reason: reason.into() })
            ),
            1 => (timestamps(), any::<[u8; 32]>(), any::<u32>(), steps()).prop_map(
                |(at, hash, height, step)| Entry::Block(Box::new(BlockEvent { at, hash: BlockHash(hash), height, step }))
            ),
            1 => (timestamps(), workers(), any::<u64>(), works(), difficulties()).prop_map(
                |(start, worker, shares, work, best)| Entry::Sum(Sum { start, worker, shares, work, best })
            ),
            1 => (any::<u64>(), any::<u64>()).prop_map(|(first, last)| Entry::Gap { first, last }),
            1 => Just(Entry::End),
        ]
    }

    proptest! {
        #[test]
        fn entries_come_back_as_they_were(list in proptest::collection::vec(entries(), 0..20)) {
            let bytes = encode(&list);
            prop_assert!(bytes.len() <= list.len() * (9 + MAX_ENTRY_BYTES));
            let read: Vec<Entry> = Entries::new(&bytes).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn any_bytes_are_read_without_harm_and_what_is_read_is_written_the_same(bytes: Vec<u8>) {
            let read: Vec<Entry> = Entries::new(&bytes).map_while(Result::ok).collect();
            let again: Vec<Entry> = Entries::new(&encode(&read)).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(again, read);
        }

        #[test]
        fn what_is_cut_short_is_no_entry(entry in entries(), part in 0.0..1.0) {
            let bytes = encode(&[entry]);
            let cut = (bytes.len() as f64 * part) as usize;
            // A clock entry alone is whole, and no entry.
            let clock_only = cut == 0 || (cut == 9 && bytes[0] == CLOCK);
            let read = Entries::new(&bytes[..cut]).next();
            prop_assert_eq!(read, if clock_only { None } else { Some(Err(Malformed)) });
        }
    }

    #[test]
    fn a_share_takes_21_bytes_and_the_clock_9_when_it_moves() {
        let share = Share {
            at: Timestamp(7),
            worker: WorkerId(1),
            work: Work(1 << 40),
            hash: ShareHash([1; 12]),
            reached: Difficulty::new(5.0),
        };
        let bytes = encode(&[Entry::Share(share), Entry::Share(share)]);
        assert_eq!(bytes.len(), 9 + 2 * 21);
        let later = Share { at: Timestamp(8), work: Work(3), ..share };
        assert_eq!(encode(&[Entry::Share(share), Entry::Share(later)]).len(), 9 + 21 + 9 + 37);
    }

    #[test]
    fn long_names_are_cut() {
        let entry = WorkerEntry {
            at: Timestamp(0),
            id: WorkerId(1),
            account_id: AccountId(1),
            account: "a".repeat(300),
            worker: "é".repeat(200),
        };
        let bytes = encode(&[Entry::Worker(entry)]);
        let Some(Ok(Entry::Worker(read))) = Entries::new(&bytes).next() else { panic!("no worker") };
        assert_eq!((read.account.len(), read.worker.len()), (255, 254));
    }
}
