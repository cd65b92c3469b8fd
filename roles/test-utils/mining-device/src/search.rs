//! What there is to search for one job, and how threads share it without overlap.
//!
//! The space has four axes: nonce, version bits, extranonce (extended jobs) and time. Where each thread can have an
//! extranonce of its own, it searches all nonces and versions of it. Else the threads split the version bits, or, where
//! these may not be rolled, the nonces. A thread walks its nonces first, then its versions; when all of that is searched, it
//! goes on one second later, at most to the time that the protocol grants (sv2-spec §5.3.11). A core takes minutes for the
//! nonces alone, so time is always there.

use roles_logic_sv2::{Header, channel::client::Work};

/// Number of values of a nonce.
const NONCES: u64 = 1 << 32;

/// One job as the threads get it.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// One for each thread, each with another extranonce; or a single one that the threads split.
    pub works: Vec<Work>,
    /// Bits of the version that may be rolled, as far as the work allows it too.
    pub version_mask: u32,
}

impl Assignment {
    /// The part of thread number `index` of `threads`; `None` if there is no work for it.
    pub fn search(&self, index: u32, threads: u32) -> Option<Search> {
        let of_its_own = self.works.get(index as usize).filter(|_| self.works.len() == threads as usize);
        match of_its_own {
            Some(work) => Some(Search::new(*work, self.version_mask, 0, 1)),
            None => self.works.first().map(|work| Search::new(*work, self.version_mask, index, threads)),
        }
    }
}

/// One header with a range of nonces to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Header whose nonce is to be replaced.
    pub header: Header,
    /// First nonce.
    pub first_nonce: u32,
    /// How many to try, at most 2^32.
    pub nonces: u64,
}

/// The part of a job's space that belongs to one thread.
#[derive(Clone, Debug)]
pub struct Search {
    work: Work,
    version_mask: u32,
    versions: Versions,
    first_nonce: u32,
    nonces: u64,
    ntime: u32,
    /// Number of the next version; `None` when all at this time are done.
    next: Option<u64>,
}

impl Search {
    /// Part number `index` of `parts`.
    pub fn new(work: Work, version_mask: u32, index: u32, parts: u32) -> Self {
        let version_mask = version_mask & work.version_mask;
        let (index, parts) = (u64::from(index), u64::from(parts.max(1)));
        let count = 1 << version_mask.count_ones();
        let (versions, first_nonce, nonces) = if count >= parts {
            (Versions { first: index, step: parts, count }, 0, NONCES)
        } else {
            let (start, end) = (NONCES * index / parts, NONCES * (index + 1) / parts);
            (Versions { first: 0, step: 1, count }, start as u32, end - start)
        };
        Self { work, version_mask, versions, first_nonce, nonces, ntime: work.min_ntime, next: Some(versions.first) }
    }

    /// What is searched.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The next header to hash; `None` if all up to `max_ntime` is searched.
    pub fn next_segment(&mut self, max_ntime: u32) -> Option<Segment> {
        let number = match self.next {
            Some(number) => number,
            None if self.ntime < max_ntime => {
                self.ntime += 1;
                self.versions.first
            }
            None => return None,
        };
        self.next = self.versions.after(number);
        // The job's own version comes first; the server may have set bits within the mask.
        let version = self.work.version ^ deposit(number, self.version_mask);
        let header = self.work.header(version, self.ntime, self.first_nonce);
        Some(Segment { header, first_nonce: self.first_nonce, nonces: self.nonces })
    }
}

/// Numbers `first`, `first + step`, … below `count`.
#[derive(Clone, Copy, Debug)]
struct Versions {
    first: u64,
    step: u64,
    count: u64,
}

impl Versions {
    fn after(&self, number: u64) -> Option<u64> {
        number.checked_add(self.step).filter(|next| *next < self.count)
    }
}

/// Spreads the low bits of `value` over the one bits of `mask`, lowest first.
fn deposit(value: u64, mask: u32) -> u32 {
    let mut spread = 0;
    let (mut value, mut mask) = (value, mask);
    while mask != 0 && value != 0 {
        let lowest = mask & mask.wrapping_neg();
        if value & 1 == 1 {
            spread |= lowest;
        }
        mask ^= lowest;
        value >>= 1;
    }
    spread
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{collections::HashSet, time::Duration};

    use binary_sv2::{B0_32, B0_64K, Seq0_255, U256};
    use const_sv2::limits::{BIP320_VERSION_MASK, BIP323_VERSION_MASK};
    use mining_sv2::{NewExtendedMiningJob, OpenExtendedMiningChannelSuccess, SetNewPrevHash};
    use proptest::prelude::*;
    use roles_logic_sv2::{Target, channel::client::ClientChannel};

    use super::*;

    pub(crate) const MIN_NTIME: u32 = 1_700_000_000;
    pub(crate) const VERSION: u32 = 0x2000_0000;

    /// Works of an extended channel, as many as asked for or there are.
    pub(crate) fn works(count: usize, extranonce_size: u16, version_rolling_allowed: bool, ntime: u32) -> Vec<Work> {
        let mut channel = ClientChannel::extended(&OpenExtendedMiningChannelSuccess {
            request_id: 0,
            channel_id: 1,
            target: Target::MAX.into(),
            extranonce_size,
            extranonce_prefix: B0_32::from_truncated(&[9; 4]),
            group_channel_id: 2,
        })
        .unwrap();
        let job = NewExtendedMiningJob {
            channel_id: 1,
            job_id: 7,
            min_ntime: None,
            version: VERSION,
            version_rolling_allowed,
            merkle_path: Seq0_255::try_from_iter([U256::from_le_bytes([8; 32])]).unwrap(),
            coinbase_tx_prefix: B0_64K::try_from(&[1u8; 60][..]).unwrap(),
            coinbase_tx_suffix: B0_64K::try_from(&[2u8; 50][..]).unwrap(),
        };
        channel.on_new_extended_mining_job(&job).unwrap();
        let prev_hash = U256::from_le_bytes([3; 32]);
        let tip = SetNewPrevHash { channel_id: 1, job_id: 7, prev_hash, min_ntime: ntime, nbits: 0x207f_ffff };
        channel.on_set_new_prev_hash(Duration::ZERO, &tip).unwrap();
        std::iter::from_fn(|| channel.work()).take(count).collect()
    }

    pub(crate) fn assignment(works_count: usize, extranonce_size: u16, version_mask: u32) -> Assignment {
        Assignment { works: works(works_count, extranonce_size, version_mask != 0, MIN_NTIME), version_mask }
    }

    /// Everything that a thread searches until `seconds` have passed.
    fn walk(assignment: &Assignment, index: u32, threads: u32, seconds: u32) -> Vec<Segment> {
        let mut search = assignment.search(index, threads).unwrap();
        std::iter::from_fn(|| search.next_segment(MIN_NTIME + seconds)).collect()
    }

    #[test]
    fn bits_are_spread_within_the_mask() {
        assert_eq!(deposit(0, BIP320_VERSION_MASK), 0);
        assert_eq!(deposit(1, BIP320_VERSION_MASK), 1 << 13);
        assert_eq!(deposit(0xffff, BIP320_VERSION_MASK), BIP320_VERSION_MASK);
        assert_eq!(deposit(0b101, 0b1101_0000), 0b1001_0000);
        let all: HashSet<u32> = (0..1 << 12).map(|value| deposit(value, BIP323_VERSION_MASK)).collect();
        assert_eq!(all.len(), 1 << 12);
    }

    #[test]
    fn the_first_segment_is_the_job_as_it_came() {
        let segment = walk(&assignment(1, 4, 0b11 << 13), 0, 1, 0).remove(0);
        assert_eq!((segment.header.version, segment.header.ntime), (VERSION, MIN_NTIME));
        assert_eq!((segment.first_nonce, segment.nonces), (0, 1 << 32));
    }

    #[test]
    fn a_work_that_forbids_rolling_overrides_the_mask() {
        let fixed = Assignment { works: works(1, 4, false, MIN_NTIME), version_mask: BIP323_VERSION_MASK };
        let versions: Vec<u32> = walk(&fixed, 0, 1, 3).iter().map(|segment| segment.header.version).collect();
        assert_eq!(versions, [VERSION; 4]);
    }

    #[test]
    fn time_is_rolled_last_and_no_faster_than_it_passes() {
        let mut search = assignment(1, 4, 0b11 << 13).search(0, 1).unwrap();
        let mut times = |elapsed| -> Vec<u32> {
            std::iter::from_fn(|| search.next_segment(MIN_NTIME + elapsed))
                .map(|s| s.header.ntime - MIN_NTIME)
                .collect()
        };
        assert_eq!(times(0), [0; 4]);
        assert_eq!(times(0), [0u32; 0]);
        assert_eq!(times(2), [1, 1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn time_does_not_wrap() {
        let last = Assignment { works: works(1, 4, false, u32::MAX), version_mask: 0 };
        let mut search = last.search(0, 1).unwrap();
        assert!(search.next_segment(u32::MAX).is_some());
        assert_eq!(search.next_segment(u32::MAX), None);
    }

    #[test]
    fn no_work_is_no_search() {
        assert!(Assignment { works: Vec::new(), version_mask: 0 }.search(0, 1).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Together the threads search everything that was handed out, and nothing twice.
        #[test]
        fn threads_are_disjoint_and_complete(
            threads in 1u32..40, version_bits in 0u32..6, extranonce_size in 0u16..3, seconds in 0u32..2,
        ) {
            let mask = ((1 << version_bits) - 1) << 13;
            let assignment = assignment(threads as usize, extranonce_size, mask);
            let extranonces = if assignment.works.len() == threads as usize { u64::from(threads) } else { 1 };
            let mut total = 0;
            let mut ranges = Vec::new();
            for index in 0..threads {
                for Segment { header, first_nonce, nonces } in walk(&assignment, index, threads, seconds) {
                    prop_assert_eq!((header.version ^ VERSION) & !mask, 0);
                    prop_assert!(header.ntime - MIN_NTIME <= seconds);
                    total += nonces;
                    let start = u64::from(first_nonce);
                    ranges.push((header.version, header.merkle_root, header.ntime, start, start + nonces));
                }
            }
            prop_assert_eq!(total, (u64::from(seconds + 1) * extranonces) << (32 + version_bits));
            ranges.sort();
            for pair in ranges.windows(2) {
                let ((v0, x0, t0, _, end), (v1, x1, t1, start, _)) = (&pair[0], &pair[1]);
                prop_assert!((v0, x0, t0) != (v1, x1, t1) || end <= start, "{:?}", pair);
            }
        }
    }
}
