//! Jobs, kept once for all connections that got the same, and the search for shares.

use std::{
    collections::{VecDeque, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    rc::Rc,
};

use bitcoin::{BlockHash, hashes::Hash as _};
use mining_sv2::{NewExtendedMiningJob, NewMiningJob};
use roles_logic_sv2::{Header, SplitCoinbase, Target, extranonce::Extranonce};

/// Contents that a thread remembers, to recognise that the next connection got the same.
const REMEMBERED: usize = 16;

/// Shares that are searched with one extranonce before the next: a merkle root costs as much as twenty shares.
pub const SHARES_PER_EXTRANONCE: u32 = 16;

/// Hashes that one connection may take before others have their turn.
pub const HASHES_PER_TURN: u32 = 4_096;

/// Bytes of a job message that differ between connections: channel and job id.
const IDS: usize = 8;

/// A job, without its ids.
pub(crate) struct Job {
    /// The same for all connections that got the same content; 0 on a standard channel, where each has its own.
    pub key: u64,
    version: u32,
    root: Root,
}

enum Root {
    Fixed([u8; 32]),
    Rolled { coinbase: SplitCoinbase, path: Vec<[u8; 32]> },
}

impl Job {
    pub fn standard(message: &NewMiningJob) -> Self {
        Self { key: 0, version: message.version, root: Root::Fixed(message.merkle_root.to_le_bytes()) }
    }

    fn extended(message: &NewExtendedMiningJob<'_>, full_size: usize, key: u64) -> Self {
        let (prefix, suffix) = (message.coinbase_tx_prefix.as_bytes(), message.coinbase_tx_suffix.as_bytes());
        let path = message.merkle_path.iter().map(|hash| hash.to_le_bytes()).collect();
        let coinbase = SplitCoinbase::for_size(prefix.to_vec(), suffix.to_vec(), full_size);
        Self { key, version: message.version, root: Root::Rolled { coinbase, path } }
    }
}

/// The last extended jobs of a thread, by content.
#[derive(Default)]
pub(crate) struct Jobs {
    /// Latest first.
    known: VecDeque<(Vec<u8>, usize, Rc<Job>)>,
}

impl Jobs {
    /// The job of a message, for extranonces of `full_size` bytes; `payload` is what `message` was decoded from.
    pub fn extended(&mut self, message: &NewExtendedMiningJob<'_>, payload: &[u8], full_size: usize) -> Rc<Job> {
        let content = payload.get(IDS..).unwrap_or_default();
        let known = self.known.iter().find(|(bytes, size, _)| *size == full_size && bytes == content);
        if let Some((_, _, job)) = known {
            return job.clone();
        }
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let job = Rc::new(Job::extended(message, full_size, hasher.finish().max(1)));
        self.known.truncate(REMEMBERED - 1);
        self.known.push_front((content.to_vec(), full_size, job.clone()));
        job
    }
}

/// A share that meets the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    /// On an extended channel.
    pub extranonce: Option<Extranonce>,
}

/// What a connection works on. It finds no share twice.
pub(crate) struct Search {
    pub job_id: u32,
    job: Rc<Job>,
    header: Header,
    /// Hashes at or below it are shares.
    pub target: Target,
    prefix: Extranonce,
    /// Bytes that are rolled.
    size: usize,
    extranonce: u64,
    /// Shares left for this extranonce; 0 where the merkle root is not made yet.
    left: u32,
    /// Nothing is left to try.
    used_up: bool,
}

/// The previous hash and what comes with it.
#[derive(Clone, Copy)]
pub(crate) struct Tip {
    pub prev_hash: [u8; 32],
    pub nbits: u32,
    pub ntime: u32,
}

impl Search {
    /// A search from the start; `prefix` and `size` are the channel's.
    pub fn new(job_id: u32, job: Rc<Job>, tip: Tip, target: Target, prefix: Extranonce, size: usize) -> Self {
        let header = Header {
            version: job.version,
            prev_hash: BlockHash::from_byte_array(tip.prev_hash),
            merkle_root: [0; 32],
            ntime: tip.ntime,
            nbits: tip.nbits,
            nonce: 0,
        };
        Self { job_id, job, header, target, prefix, size, extranonce: 0, left: 0, used_up: false }
    }

    /// The next share, if one is found within `budget` hashes; what was used is taken off.
    pub fn next(&mut self, budget: &mut u32) -> Option<Found> {
        while *budget > 0 && !self.used_up {
            if self.left == 0 {
                self.roll()?;
            }
            *budget -= 1;
            let found = self.target.is_met_by(&self.header.hash()).then(|| self.found());
            if found.is_some() {
                self.left -= 1;
            }
            match self.header.nonce.checked_add(1) {
                Some(nonce) if self.left > 0 => self.header.nonce = nonce,
                _ => self.advance(),
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn found(&self) -> Found {
        let Header { nonce, ntime, version, .. } = self.header;
        let extranonce = match self.job.root {
            Root::Fixed(_) => None,
            Root::Rolled { .. } => Extranonce::from_counter(self.extranonce, self.size).ok(),
        };
        Found { nonce, ntime, version, extranonce }
    }

    /// Makes the merkle root of the present extranonce.
    fn roll(&mut self) -> Option<()> {
        match &self.job.root {
            Root::Fixed(root) => {
                self.header.merkle_root = *root;
                self.left = u32::MAX;
            }
            Root::Rolled { coinbase, path } => {
                let rolled = Extranonce::from_counter(self.extranonce, self.size).ok()?;
                let full = self.prefix.join(rolled.as_bytes()).ok()?;
                self.header.merkle_root = coinbase.merkle_root(full.as_bytes(), path);
                self.left = SHARES_PER_EXTRANONCE;
            }
        }
        Some(())
    }

    /// The next extranonce, from the first nonce on.
    fn advance(&mut self) {
        self.header.nonce = 0;
        self.left = 0;
        let values = 1u64.checked_shl(8 * self.size as u32).unwrap_or(0); // 0: all of 64 bits
        self.extranonce = self.extranonce.wrapping_add(1);
        self.used_up = matches!(self.job.root, Root::Fixed(_)) || self.extranonce == values;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use binary_sv2::{B0_64K, Seq0_255, Sv2Option, U256, to_bytes};

    use super::*;

    const TIP: Tip = Tip { prev_hash: [7; 32], nbits: 0x1d00_ffff, ntime: 1_700_000_000 };

    fn message(job_id: u32, version: u32) -> NewExtendedMiningJob<'static> {
        NewExtendedMiningJob {
            channel_id: job_id + 1,
            job_id,
            min_ntime: Sv2Option::None,
            version,
            version_rolling_allowed: true,
            merkle_path: Seq0_255::try_from_iter([U256::from_le_bytes([1; 32])]).unwrap(),
            coinbase_tx_prefix: B0_64K::try_from(&[2; 60][..]).unwrap(),
            coinbase_tx_suffix: B0_64K::try_from(&[3; 60][..]).unwrap(),
        }
    }

    fn extended(size: usize, target: Target) -> Search {
        let prefix = Extranonce::from_counter(5, 4).unwrap();
        let message = message(1, 0x2000_0000);
        let job = Jobs::default().extended(&message, &to_bytes(&message).unwrap(), 4 + size);
        Search::new(1, job, TIP, target, prefix, size)
    }

    #[test]
    fn the_same_content_is_one_job_whoever_gets_it() {
        let mut jobs = Jobs::default();
        let mut job = |id, version, size| {
            let message = message(id, version);
            jobs.extended(&message, &to_bytes(&message).unwrap(), size)
        };
        let first = job(1, 4, 20);
        assert!(Rc::ptr_eq(&first, &job(2, 4, 20)));
        assert!(!Rc::ptr_eq(&first, &job(1, 5, 20)));
        assert!(!Rc::ptr_eq(&first, &job(1, 4, 12)));
        for version in 0..100 {
            job(1, 100 + version, 20);
        }
        assert!(jobs.known.len() <= REMEMBERED);
    }

    #[test]
    fn shares_are_new_and_meet_the_target() {
        let mut search = extended(2, Target::from_zero_bits(3));
        let mut seen = BTreeSet::new();
        let mut hashes = 0;
        for _ in 0..100 {
            let mut budget = 1_000;
            let found = search.next(&mut budget).unwrap();
            hashes += 1_000 - budget;
            let extranonce = found.extranonce.unwrap();
            let full = search.prefix.join(extranonce.as_bytes()).unwrap();
            let Root::Rolled { coinbase, path } = &search.job.root else { unreachable!() };
            let merkle_root = coinbase.merkle_root(full.as_bytes(), path);
            let header = Header { nonce: found.nonce, merkle_root, ..search.header };
            assert!(Target::from_zero_bits(3).is_met_by(&header.hash()));
            assert!(seen.insert((extranonce.as_bytes().to_vec(), found.nonce)));
        }
        assert!(seen.iter().map(|(extranonce, _)| extranonce).collect::<BTreeSet<_>>().len() >= 6);
        assert!((200..4_000).contains(&hashes), "about 800, got {hashes}");
    }

    #[test]
    fn a_search_ends_with_its_extranonces() {
        let mut search = extended(1, Target::MAX);
        let found = std::iter::from_fn(|| search.next(&mut 10)).count();
        assert_eq!(found, 256 * SHARES_PER_EXTRANONCE as usize);
    }

    #[test]
    fn a_hard_target_takes_no_more_than_the_budget() {
        let mut search = extended(4, Target::ZERO);
        let mut budget = 100;
        assert_eq!((search.next(&mut budget), budget), (None, 0));
    }

    #[test]
    fn a_standard_channel_has_its_nonces_only() {
        let root = U256::from_le_bytes([9; 32]);
        let message =
            NewMiningJob { channel_id: 1, job_id: 1, min_ntime: Sv2Option::None, version: 1, merkle_root: root };
        let prefix = Extranonce::from_counter(0, 20).unwrap();
        let mut search = Search::new(1, Rc::new(Job::standard(&message)), TIP, Target::MAX, prefix, 0);
        assert_eq!(search.next(&mut 1).map(|found| (found.nonce, found.extranonce)), Some((0, None)));
        search.header.nonce = u32::MAX;
        assert!(search.next(&mut 1).is_some());
        assert!(search.next(&mut 1).is_none());
    }
}
