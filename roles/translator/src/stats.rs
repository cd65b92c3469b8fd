//! What miners were told of their shares: the numbers behind the API, and behind the promise that "accepted" means something.
//!
//! A share that was answered with `true` is in exactly one of three tallies: confirmed by the upstream, provisional while the upstream
//! keeps its verdict to itself, or local, when it did not meet the upstream's target and was of use here alone.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bitcoin::BlockHash;
use roles_logic_sv2::{
    Target,
    accounting::{Period, ShareStats},
    share::Verdict,
};
use stratum_runtime::core::ConnectionId;

/// Reasons for refusals that are told apart; an upstream may invent codes. What is over counts as `other`.
pub const MAX_REASONS: usize = 32;

/// Shares and their work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Shares.
    pub shares: u64,
    /// Their work, by the miner's difficulty.
    pub work: u128,
}

impl Tally {
    fn add(&mut self, work: u128) {
        self.shares += 1;
        self.work = self.work.saturating_add(work);
    }

    fn remove(&mut self, work: u128) {
        self.shares = self.shares.saturating_sub(1);
        self.work = self.work.saturating_sub(work);
    }

    fn merge(&mut self, other: &Self) {
        self.shares += other.shares;
        self.work = self.work.saturating_add(other.work);
    }
}

/// What became of shares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Answered with `true`: the sum of the three that follow.
    pub accepted: Tally,
    /// The upstream accepted them.
    pub confirmed: Tally,
    /// The upstream has not said what becomes of them.
    pub provisional: Tally,
    /// Of no use upstream, which only wants harder ones.
    pub local: Tally,
    /// Of the provisional ones, those that the upstream refused afterwards.
    pub refused_late: Tally,
    /// Answered with an error, by reason.
    pub rejected: BTreeMap<String, u64>,
}

impl Tallies {
    fn reject(&mut self, reason: &str) {
        let full = self.rejected.len() >= MAX_REASONS && !self.rejected.contains_key(reason);
        *self.rejected.entry(if full { "other" } else { reason }.to_owned()).or_default() += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.accepted.merge(&other.accepted);
        self.confirmed.merge(&other.confirmed);
        self.provisional.merge(&other.provisional);
        self.local.merge(&other.local);
        self.refused_late.merge(&other.refused_late);
        for (reason, count) in &other.rejected {
            let full = self.rejected.len() >= MAX_REASONS && !self.rejected.contains_key(reason);
            *self.rejected.entry(if full { "other".to_owned() } else { reason.clone() }).or_default() += count;
        }
    }
}

/// Why a share that was answered with `true` was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The upstream said so.
    Confirmed,
    /// The upstream said nothing for too long.
    Provisional,
    /// It is not for the upstream.
    Local,
}

/// One miner's connection, as others may look at it.
#[derive(Clone, Debug)]
pub struct MinerStats {
    /// Where it comes from.
    pub address: SocketAddr,
    /// When it came, since the unix epoch.
    pub since: Duration,
    /// What it calls itself.
    pub user_agent: String,
    /// The user names that it has authorized, the first one first.
    pub workers: Vec<String>,
    /// The route that it is on.
    pub route: Option<usize>,
    /// The difficulty that it was told last.
    pub difficulty: Option<f64>,
    /// Accepted shares over time.
    pub shares: ShareStats,
    /// What it was told.
    pub tallies: Tallies,
}

impl MinerStats {
    fn new(now: Duration, address: SocketAddr) -> Self {
        Self {
            address,
            since: now,
            user_agent: String::new(),
            workers: Vec::new(),
            route: None,
            difficulty: None,
            shares: ShareStats::new(now),
            tallies: Tallies::default(),
        }
    }

    /// Hashes per second, as accepted shares tell.
    pub fn hashrate(&self, now: Duration) -> f64 {
        self.shares.hashrate(now, Period::TenMinutes)
    }

    /// A share was answered with `true`.
    pub fn accept(&mut self, now: Duration, ground: Ground, work: u128, hash: BlockHash) {
        self.shares.record(now, &Verdict::Accepted { work, difficulty: 0.0, hash, block: None });
        self.tallies.accepted.add(work);
        match ground {
            Ground::Confirmed => &mut self.tallies.confirmed,
            Ground::Provisional => &mut self.tallies.provisional,
            Ground::Local => &mut self.tallies.local,
        }
        .add(work);
    }

    /// The upstream accepted a provisional share.
    pub fn confirm_late(&mut self, work: u128) {
        self.tallies.provisional.remove(work);
        self.tallies.confirmed.add(work);
    }

    /// The upstream refused a provisional share.
    pub fn refuse_late(&mut self, work: u128) {
        self.tallies.refused_late.add(work);
    }

    /// A share was answered with an error.
    pub fn reject(&mut self, reason: &str) {
        self.tallies.reject(reason);
    }

    /// Least hash of an accepted share.
    pub const fn best(&self) -> Option<Target> {
        self.shares.best()
    }
}

/// All miners that are connected, and what became of the shares of those that are gone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    miners: Mutex<BTreeMap<ConnectionId, Arc<Mutex<MinerStats>>>>,
    gone: Mutex<Gone>,
}

#[derive(Debug, Default)]
struct Gone {
    tallies: Tallies,
    /// Those that the hub has not heard of.
    departed: Vec<ConnectionId>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Takes up a miner, until what is returned is dropped.
    pub fn enter(&self, now: Duration, id: ConnectionId, address: SocketAddr) -> Presence {
        let stats = Arc::new(Mutex::new(MinerStats::new(now, address)));
        lock(&self.0.miners).insert(id, stats.clone());
        Presence { id, stats, registry: self.clone() }
    }

    /// How many are connected, and some of them.
    pub fn part(&self, offset: usize, limit: usize) -> (usize, Vec<(ConnectionId, MinerStats)>) {
        let miners = lock(&self.0.miners);
        let part = miners.iter().skip(offset).take(limit).map(|(id, stats)| (*id, lock(stats).clone()));
        (miners.len(), part.collect())
    }

    /// Looks at each miner.
    pub fn for_each(&self, mut look: impl FnMut(ConnectionId, &MinerStats)) {
        let miners: Vec<_> = lock(&self.0.miners).iter().map(|(id, stats)| (*id, stats.clone())).collect();
        miners.iter().for_each(|(id, stats)| look(*id, &lock(stats)));
    }

    /// Miners that are connected.
    pub fn len(&self) -> usize {
        lock(&self.0.miners).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What became of all shares since the start.
    pub fn totals(&self) -> Tallies {
        // Held throughout, so that no miner is missed or counted twice while it leaves.
        let miners = lock(&self.0.miners);
        let mut totals = lock(&self.0.gone).tallies.clone();
        miners.values().for_each(|stats| totals.merge(&lock(stats).tallies));
        totals
    }

    /// Those that have left since the last call.
    pub fn departed(&self) -> Vec<ConnectionId> {
        std::mem::take(&mut lock(&self.0.gone).departed)
    }
}

/// A miner's place in the registry.
#[derive(Debug)]
pub struct Presence {
    id: ConnectionId,
    stats: Arc<Mutex<MinerStats>>,
    registry: Registry,
}

impl Presence {
    /// Changes the miner's numbers. Only whoever reads them is in the way, for a moment.
    pub fn change<T>(&self, change: impl FnOnce(&mut MinerStats) -> T) -> T {
        change(&mut lock(&self.stats))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut miners = lock(&self.registry.0.miners);
        let mut gone = lock(&self.registry.0.gone);
        gone.tallies.merge(&lock(&self.stats).tallies);
        gone.departed.push(self.id);
        miners.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn enter(registry: &Registry, number: u64) -> Presence {
        registry.enter(NOW, ConnectionId { shard: 0, number }, "127.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn accepted_is_the_sum_of_three_whatever_comes_later() {
        let registry = Registry::default();
        let miner = enter(&registry, 1);
        miner.change(|stats| {
            for (ground, work) in [(Ground::Confirmed, 1), (Ground::Provisional, 10), (Ground::Provisional, 100)] {
                stats.accept(NOW, ground, work, BlockHash::all_zeros());
            }
            stats.accept(NOW, Ground::Local, 1_000, BlockHash::all_zeros());
            stats.confirm_late(10);
            stats.refuse_late(100);
            stats.reject("stale-share");
        });
        let check = |tallies: &Tallies| {
            let Tallies { accepted, confirmed, provisional, local, .. } = tallies;
            assert_eq!(accepted.work, confirmed.work + provisional.work + local.work);
            assert_eq!(accepted.shares, confirmed.shares + provisional.shares + local.shares);
            assert_eq!(
                (confirmed.work, provisional.work, local.work, tallies.refused_late.work),
                (11, 100, 1_000, 100)
            );
            assert_eq!(tallies.rejected, BTreeMap::from([("stale-share".to_owned(), 1)]));
        };
        check(&registry.totals());
        drop(miner);
        check(&registry.totals());
        assert_eq!((registry.len(), registry.departed().len(), registry.departed().len()), (0, 1, 0));
    }

    #[test]
    fn reasons_are_bounded() {
        let mut tallies = Tallies::default();
        (0..2 * MAX_REASONS).for_each(|number| tallies.reject(&number.to_string()));
        assert_eq!((tallies.rejected.len(), tallies.rejected["other"]), (MAX_REASONS + 1, MAX_REASONS as u64));
        let mut merged = Tallies::default();
        merged.merge(&tallies);
        merged.merge(&tallies);
        assert_eq!(merged.rejected.values().sum::<u64>(), 4 * MAX_REASONS as u64);
        assert!(merged.rejected.len() <= MAX_REASONS + 1);
    }
}
