//! Which shares were accepted: a table per tip, sized by what it holds.

use alloc::{collections::VecDeque, vec, vec::Vec};

use bitcoin::{BlockHash, hashes::Hash as _};

use crate::share::RejectReason;

/// Tips whose shares are remembered, so that a reorganisation to and fro can not credit a share twice.
pub const REMEMBERED_TIPS: usize = 3;

/// Slots of a table with one share.
const LEAST_SLOTS: usize = 64;
/// What stands in a free slot.
const FREE: u64 = 0;

/// The shares that one channel had accepted, to recognise duplicates. Never forgets one of the current tip.
///
/// Keeps 8 bytes of each hash: two of a channel's shares look the same by chance once in 2^36 full tables. Tables double as
/// they fill, and serve again for later tips: in the steady state a share costs no allocation.
#[derive(Clone, Debug)]
pub struct SeenShares {
    tip: BlockHash,
    current: Table,
    /// Latest first.
    earlier: VecDeque<(BlockHash, Table)>,
}

impl SeenShares {
    /// Nothing was seen.
    pub fn new() -> Self {
        Self { tip: BlockHash::all_zeros(), current: Table::new(), earlier: VecDeque::new() }
    }

    /// From now on shares are for this tip. If it was left for another one lately, its shares are still known.
    pub fn on_tip(&mut self, prev_hash: BlockHash) {
        let left = core::mem::replace(&mut self.tip, prev_hash);
        if left == prev_hash {
            return;
        }
        let known = self.earlier.iter().position(|(tip, _)| *tip == prev_hash);
        let known = known.and_then(|index| self.earlier.remove(index)).map(|(_, table)| table);
        if self.current.len == 0 {
            if let Some(table) = known {
                self.current = table;
            }
            return;
        }
        let next = known.unwrap_or_else(|| {
            let oldest = if self.earlier.len() < REMEMBERED_TIPS - 1 { None } else { self.earlier.pop_back() };
            oldest.map_or(Table::new(), |(_, table)| table.emptied())
        });
        self.earlier.push_front((left, core::mem::replace(&mut self.current, next)));
    }

    /// Shares of the current tip.
    pub const fn len(&self) -> usize {
        self.current.len
    }

    /// True when the current tip has no shares.
    pub const fn is_empty(&self) -> bool {
        self.current.len == 0
    }

    /// Remembers a share of the current tip.
    ///
    /// # Errors
    /// `Duplicate` when it is known, `TooManyShares` when there are `quota` already.
    pub fn insert(&mut self, hash: &BlockHash, quota: usize) -> Result<(), RejectReason> {
        let vacancy = self.vacancy(hash).ok_or(RejectReason::Duplicate)?;
        self.fill(vacancy, quota)
    }

    /// Where a share that is not known would go; `None` when it is known.
    pub(super) fn vacancy(&self, hash: &BlockHash) -> Option<Vacancy> {
        self.current.vacancy(key(hash))
    }

    /// Remembers the share of a vacancy, which must be the newest one.
    pub(super) fn fill(&mut self, vacancy: Vacancy, quota: usize) -> Result<(), RejectReason> {
        if self.current.len >= quota {
            return Err(RejectReason::TooManyShares);
        }
        self.current.fill(vacancy);
        Ok(())
    }
}

impl Default for SeenShares {
    fn default() -> Self {
        Self::new()
    }
}

/// A free slot, and the key that is to stand there.
#[derive(Debug)]
pub(super) struct Vacancy {
    key: u64,
    slot: usize,
}

/// The least significant bytes: work makes only the other end predictable.
fn key(hash: &BlockHash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.to_byte_array();
    // A key that looks free is changed; another one in 2^64 is not made more likely by it.
    u64::from_le_bytes([a, b, c, d, e, f, g, h]).max(FREE + 1)
}

/// A set of keys with open addressing: a key is in the first free slot from its home on.
///
/// The keys are bytes of hashes, so homes are spread evenly. To crowd one home a miner would have to find shares whose hashes
/// agree in these bits, too: many times the work for some steps of a few nanoseconds.
#[derive(Clone, Debug)]
struct Table {
    /// A power of two of them, half of them taken at the most, so that a search takes a step or two; or none.
    slots: Vec<u64>,
    len: usize,
}

impl Table {
    const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    /// Where the key is, or the free slot where it would be.
    fn slot(&self, key: u64) -> usize {
        let mask = self.slots.len().wrapping_sub(1);
        let mut index = key as usize & mask;
        while let Some(&taken) = self.slots.get(index) {
            if taken == key || taken == FREE {
                break;
            }
            index = (index + 1) & mask;
        }
        index
    }

    fn vacancy(&self, key: u64) -> Option<Vacancy> {
        let slot = self.slot(key);
        (self.slots.get(slot) != Some(&key)).then_some(Vacancy { key, slot })
    }

    fn fill(&mut self, Vacancy { key, mut slot }: Vacancy) {
        if self.len * 2 >= self.slots.len() {
            self.grow();
            slot = self.slot(key);
        }
        if let Some(free) = self.slots.get_mut(slot) {
            *free = key;
            self.len += 1;
        }
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(LEAST_SLOTS);
        let old = core::mem::replace(&mut self.slots, vec![FREE; slots]);
        for key in old.into_iter().filter(|key| *key != FREE) {
            let index = self.slot(key);
            if let Some(slot) = self.slots.get_mut(index) {
                *slot = key;
            }
        }
    }

    /// For another tip. A table that turned out far too large is given up, so that a burst does not stay for ever.
    fn emptied(mut self) -> Self {
        if self.len * 16 < self.slots.len() && self.slots.len() > LEAST_SLOTS {
            return Self::new();
        }
        self.slots.fill(FREE);
        self.len = 0;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn hash(low: u64, high: u8) -> BlockHash {
        let mut bytes = [high; 32];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        BlockHash::from_byte_array(bytes)
    }

    #[test]
    fn a_quota_of_shares_is_kept_whole() {
        let mut seen = SeenShares::new();
        assert!(seen.is_empty() && SeenShares::default().is_empty());
        let all: Vec<_> = (0..1000u64).map(|i| hash(i.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0)).collect();
        for hash in &all {
            assert_eq!(seen.fill(seen.vacancy(hash).unwrap(), 1000), Ok(()));
        }
        assert_eq!(seen.fill(seen.vacancy(&hash(2, 1)).unwrap(), 1000), Err(RejectReason::TooManyShares));
        assert!(all.iter().all(|hash| seen.vacancy(hash).is_none()));
        assert_eq!((seen.len(), seen.current.slots.len(), seen.is_empty()), (1000, 2048, false));
    }

    #[test]
    fn shares_are_inserted_once_and_up_to_the_quota() {
        let mut seen = SeenShares::new();
        assert_eq!(seen.insert(&hash(1, 0), 2), Ok(()));
        assert_eq!(seen.insert(&hash(1, 0), 2), Err(RejectReason::Duplicate));
        assert_eq!(seen.insert(&hash(2, 0), 2), Ok(()));
        assert_eq!(seen.insert(&hash(3, 0), 2), Err(RejectReason::TooManyShares));
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn keys_of_one_home_and_the_key_that_looks_free() {
        let mut table = Table::new();
        let keys: Vec<u64> = (1..=40).map(|i| i << 32 | 63).chain([key(&hash(0, 9))]).collect();
        for key in &keys {
            table.fill(table.vacancy(*key).unwrap());
            assert!(table.vacancy(*key).is_none());
        }
        assert!(keys.iter().all(|key| table.vacancy(*key).is_none()));
        assert_eq!((table.len, table.slots.len(), table.vacancy(62).map(|v| v.slot)), (41, 128, Some(62)));
    }

    #[test]
    fn tables_serve_again_unless_far_too_large() {
        let mut seen = SeenShares::new();
        let fill = |seen: &mut SeenShares, tip: u8, shares: u64| {
            seen.on_tip(hash(0, tip));
            (1..=shares).for_each(|i| seen.fill(seen.vacancy(&hash(i * 77, tip)).unwrap(), 100_000).unwrap());
        };
        (1..=3).for_each(|tip| fill(&mut seen, tip, 100));
        fill(&mut seen, 4, 0);
        assert_eq!((seen.len(), seen.current.slots.len()), (0, 256));
        assert!(seen.vacancy(&hash(77, 1)).is_some());
        fill(&mut seen, 4, 1000);
        // Tips without shares take no table, and push none out.
        (5..=9).for_each(|tip| fill(&mut seen, tip, 0));
        fill(&mut seen, 4, 0);
        assert_eq!(seen.len(), 1000);
        fill(&mut seen, 10, 1);
        for tip in 11..=12 {
            fill(&mut seen, tip, 1);
        }
        let kept = |slots, len| Table { slots: vec![FREE; slots], len }.emptied().slots.len();
        assert_eq!(
            [kept(4096, 256), kept(4096, 255), kept(LEAST_SLOTS, 1), kept(2 * LEAST_SLOTS, 1)],
            [4096, 0, LEAST_SLOTS, 0]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Against a set per tip, of which the last three with shares are kept.
        #[test]
        fn as_sets_do(steps in prop::collection::vec((0u8..6, 0u64..200), 1..400)) {
            let mut seen = SeenShares::new();
            let mut sets: VecDeque<(u8, BTreeSet<u64>)> = VecDeque::from([(9, BTreeSet::new())]);
            seen.on_tip(hash(0, 9));
            for (step, value) in steps {
                if value < 5 {
                    let next = sets.iter().position(|(tip, _)| *tip == step);
                    let next = next.and_then(|index| sets.remove(index)).unwrap_or((step, BTreeSet::new()));
                    sets.retain(|(_, set)| !set.is_empty());
                    sets.push_front(next);
                    sets.truncate(REMEMBERED_TIPS);
                    seen.on_tip(hash(0, step));
                } else {
                    let vacancy = seen.vacancy(&hash(value, 0));
                    prop_assert_eq!(vacancy.is_some(), sets[0].1.insert(value));
                    vacancy.into_iter().for_each(|vacancy| seen.fill(vacancy, usize::MAX).unwrap());
                }
                prop_assert_eq!(seen.len(), sets[0].1.len());
            }
        }
    }
}
