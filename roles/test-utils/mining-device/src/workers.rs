//! Threads that hash.
//!
//! The driver puts an assignment into a slot and raises a generation counter; threads read the counter between batches of
//! nonces and park while there is nothing to do. Shares go through a bounded queue: when its reader is slow, threads wait.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use roles_logic_sv2::{Header, Target, channel::client::Work};
use tokio::sync::mpsc;

use crate::{
    hasher::Scanner,
    search::{Assignment, Search, Segment},
};

/// Nonces between two looks at the generation counter: a fifth of a millisecond with SHA instructions, two without.
const BATCH: u32 = 1_024;

/// Shares that wait for the connection's task; threads that find more wait too.
pub const SHARE_QUEUE: usize = 64;

/// Most threads; more than any machine has cores.
pub const MAX_THREADS: u32 = 1_024;

/// How long a thread that has searched everything waits for time to pass.
const SECOND: Duration = Duration::from_secs(1);

/// A nonce that meets the target of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundShare {
    /// When it was found: a number that [`Workers::assign`] returned, or a later one.
    pub generation: u64,
    /// What was searched.
    pub work: Work,
    /// Full version, rolled bits included.
    pub version: u32,
    /// Time in the header.
    pub ntime: u32,
    /// The nonce.
    pub nonce: u32,
}

/// What the threads have done since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Hashes computed.
    pub hashes: u64,
    /// Time that threads spent hashing, added up over threads.
    pub busy: Duration,
}

impl Effort {
    /// Hashes per second that `threads` threads make while they hash, between `earlier` and now; `None` if they did not.
    pub fn speed_since(&self, earlier: &Effort, threads: u32) -> Option<f64> {
        let busy = self.busy.saturating_sub(earlier.busy).as_secs_f64();
        let hashes = self.hashes.saturating_sub(earlier.hashes);
        (busy > 0.0 && hashes > 0).then(|| hashes as f64 / busy * f64::from(threads))
    }
}

/// The hashing threads; dropping them ends them.
#[derive(Debug)]
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    shares: mpsc::Receiver<FoundShare>,
}

#[derive(Debug)]
struct Shared {
    /// Number of the newest order; the same as in the slot, readable without its lock.
    generation: AtomicU64,
    slot: Mutex<Slot>,
    changed: Condvar,
    /// One for each thread.
    counters: Vec<Counter>,
    /// Least time between two shares of one thread.
    pause: Duration,
    /// Origin of the clock on which works count time.
    origin: Instant,
}

#[derive(Debug)]
struct Slot {
    order: Option<Order>,
    generation: u64,
    stop: bool,
}

/// What a thread is to do.
#[derive(Clone, Debug)]
struct Order {
    generation: u64,
    assignment: Arc<Assignment>,
    target: Target,
}

/// On a cache line of its own, since its thread writes it all the time.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter {
    hashes: AtomicU64,
    busy_nanos: AtomicU64,
}

impl Workers {
    /// Starts `threads` threads, idle at first. Together they find at most about `max_shares_per_second`: a thread rests
    /// after a share until its part of a second is over. That bites only when the target is far too easy.
    ///
    /// `origin` is the zero of the clock on which assigned works count time.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start(threads: u32, max_shares_per_second: f64, origin: Instant) -> std::io::Result<Self> {
        let threads = threads.clamp(1, MAX_THREADS);
        let pause = f64::from(threads) / max_shares_per_second;
        let shared = Arc::new(Shared {
            generation: AtomicU64::new(0),
            slot: Mutex::new(Slot { order: None, generation: 0, stop: false }),
            changed: Condvar::new(),
            counters: (0..threads).map(|_| Counter::default()).collect(),
            pause: Duration::try_from_secs_f64(pause).unwrap_or(Duration::ZERO),
            origin,
        });
        let (sender, shares) = mpsc::channel(SHARE_QUEUE);
        let mut this = Self { shared, threads: Vec::new(), shares };
        for index in 0..threads {
            let thread = Thread { shared: this.shared.clone(), index, count: threads, shares: sender.clone() };
            let builder = thread::Builder::new().name(format!("hasher-{index}"));
            // On an error the threads that did start end with `this`.
            this.threads.push(builder.spawn(move || thread.run())?);
        }
        Ok(this)
    }

    /// Number of threads.
    pub fn count(&self) -> u32 {
        self.threads.len() as u32
    }

    /// Replaces what is hashed, and returns its generation; shares of lower ones are for older assignments.
    pub fn assign(&self, assignment: Assignment, target: Target) -> u64 {
        let assignment = Arc::new(assignment);
        self.shared.order(|generation, _| Some(Order { generation, assignment, target }))
    }

    /// Goes on with the same assignment at another target. No nonce is tried again.
    pub fn retarget(&self, target: Target) {
        self.shared.order(|generation, order| order.map(|order| Order { generation, target, ..order }));
    }

    /// Stops hashing until the next assignment; shares that come still are of a lower generation than the one returned.
    pub fn rest(&self) -> u64 {
        self.shared.order(|_, _| None)
    }

    /// The next share, of whatever generation. Cancel-safe; `None` never comes while the threads live.
    pub async fn next_share(&mut self) -> Option<FoundShare> {
        self.shares.recv().await
    }

    /// A share that waits already.
    pub fn try_next_share(&mut self) -> Option<FoundShare> {
        self.shares.try_recv().ok()
    }

    /// What was done so far.
    pub fn effort(&self) -> Effort {
        self.shared.counters.iter().fold(Effort::default(), |sum, counter| Effort {
            hashes: sum.hashes.wrapping_add(counter.hashes.load(Ordering::Relaxed)),
            busy: sum.busy + Duration::from_nanos(counter.busy_nanos.load(Ordering::Relaxed)),
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // A thread may wait for room in the queue; closing it lets it go.
        self.shares.close();
        self.shared.lock().stop = true;
        self.rest();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Nothing panics while it holds the lock, and each write leaves the slot whole.
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, make: impl FnOnce(u64, Option<Order>) -> Option<Order>) -> u64 {
        let mut slot = self.lock();
        slot.generation += 1;
        slot.order = make(slot.generation, slot.order.take());
        self.generation.store(slot.generation, Ordering::Release);
        self.changed.notify_all();
        slot.generation
    }

    fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Parks until there is an order of another generation than `seen`; `None` at the end.
    fn next_order(&self, seen: u64) -> Option<Order> {
        let idle = |slot: &mut Slot| !slot.stop && slot.order.as_ref().is_none_or(|order| order.generation == seen);
        let slot = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        slot.order.clone().filter(|_| !slot.stop)
    }

    /// Parks until `until`, unless the order changes before.
    fn rest(&self, generation: u64, until: Instant) {
        let duration = until.saturating_duration_since(Instant::now());
        if !duration.is_zero() {
            let current = |slot: &mut Slot| slot.generation == generation;
            drop(self.changed.wait_timeout_while(self.lock(), duration, current));
        }
    }

    /// Brings `order` up to date; false if its assignment is over.
    fn renew(&self, order: &mut Order) -> bool {
        if self.is_current(order.generation) {
            return true;
        }
        match &self.lock().order {
            Some(newest) if Arc::ptr_eq(&newest.assignment, &order.assignment) => {
                order.clone_from(newest);
                true
            }
            _ => false,
        }
    }
}

struct Thread {
    shared: Arc<Shared>,
    index: u32,
    count: u32,
    shares: mpsc::Sender<FoundShare>,
}

/// The assignment is over: there is a newer one, or none, or the threads are to end.
struct Over;

impl Thread {
    fn run(self) {
        let mut seen = 0;
        let mut not_before = Instant::now();
        while let Some(mut order) = self.shared.next_order(seen) {
            if let Some(search) = order.assignment.search(self.index, self.count) {
                let _ = self.mine(&mut order, search, &mut not_before);
            }
            seen = order.generation;
        }
    }

    /// Searches until the assignment is over. `not_before` is when the next share may be found, whatever the assignment.
    fn mine(&self, order: &mut Order, mut search: Search, not_before: &mut Instant) -> Result<(), Over> {
        loop {
            let max_ntime = search.work().max_ntime(self.shared.origin.elapsed());
            match search.next_segment(max_ntime) {
                Some(segment) => self.scan(order, search.work(), &segment, not_before)?,
                None => self.rest(order, Instant::now() + SECOND)?,
            }
        }
    }

    fn scan(&self, order: &mut Order, work: &Work, segment: &Segment, not_before: &mut Instant) -> Result<(), Over> {
        let mut scanner = Scanner::new(&segment.header);
        let mut done = 0;
        while done < segment.nonces {
            self.rest(order, *not_before)?;
            let first = segment.first_nonce.wrapping_add(done as u32);
            let count = (segment.nonces - done).min(BATCH.into()) as u32;
            let start = Instant::now();
            let found = scanner.scan(first, count, &order.target);
            let tried = found.map_or(count, |nonce| nonce.wrapping_sub(first) + 1);
            self.count(tried, start.elapsed());
            done += u64::from(tried);
            if let Some(nonce) = found {
                self.submit(order.generation, work, segment, nonce)?;
                *not_before = Instant::now() + self.shared.pause;
            }
        }
        Ok(())
    }

    fn submit(&self, generation: u64, work: &Work, segment: &Segment, nonce: u32) -> Result<(), Over> {
        let Header { version, ntime, .. } = segment.header;
        let share = FoundShare { generation, work: *work, version, ntime, nonce };
        self.shares.blocking_send(share).map_err(|_| Over)
    }

    /// Rests until `until` or until the assignment is over, however often the target changes meanwhile.
    fn rest(&self, order: &mut Order, until: Instant) -> Result<(), Over> {
        loop {
            self.shared.rest(order.generation, until);
            if !self.shared.renew(order) {
                return Err(Over);
            }
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }

    fn count(&self, hashes: u32, busy: Duration) {
        if let Some(counter) = self.shared.counters.get(self.index as usize) {
            counter.hashes.fetch_add(hashes.into(), Ordering::Relaxed);
            counter.busy_nanos.fetch_add(busy.as_nanos() as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use const_sv2::limits::BIP320_VERSION_MASK;

    use super::*;
    use crate::search::tests::{MIN_NTIME, VERSION, assignment};

    /// No limit that matters to a test.
    const UNLIMITED: f64 = 1e9;

    fn start(threads: u32, max_shares_per_second: f64) -> Workers {
        Workers::start(threads, max_shares_per_second, Instant::now()).unwrap()
    }

    fn work() -> Assignment {
        assignment(1, 4, BIP320_VERSION_MASK)
    }

    #[tokio::test]
    async fn every_share_meets_its_target_and_none_comes_twice() {
        let target = Target::from_zero_bits(4);
        for (assignment, mask) in
            [(work(), BIP320_VERSION_MASK), (assignment(1, 0, 0), 0), (assignment(3, 4, 1 << 13), 1 << 13)]
        {
            let mut workers = start(3, UNLIMITED);
            let generation = workers.assign(assignment, target);
            let mut distinct = HashSet::new();
            for _ in 0..200 {
                let share = workers.next_share().await.unwrap();
                let header = share.work.header(share.version, share.ntime, share.nonce);
                assert!(target.is_met_by(&header.hash()), "{share:?}");
                assert_eq!((share.version ^ VERSION) & !mask, 0, "{share:?}");
                assert_eq!((share.generation, share.ntime), (generation, MIN_NTIME));
                assert!(distinct.insert(header.to_bytes()), "{share:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_regtest_block_is_found() {
        let mut workers = start(1, UNLIMITED);
        let target = Target::from_compact(0x207f_ffff).unwrap();
        workers.assign(work(), target);
        let share = workers.next_share().await.unwrap();
        assert!(share.work.network_target() == target && share.work.job_id.0 == 7);
    }

    #[tokio::test]
    async fn a_new_assignment_replaces_the_old() {
        let mut workers = start(2, UNLIMITED);
        workers.assign(work(), Target::ZERO);
        let second = workers.assign(work(), Target::MAX);
        assert_eq!(workers.next_share().await.unwrap().generation, second);
        let rest = workers.rest();
        assert!(rest > second);
        let third = workers.assign(work(), Target::MAX);
        while workers.next_share().await.unwrap().generation < third {}
    }

    #[tokio::test]
    async fn retargeting_goes_on_where_it_was() {
        let mut workers = start(1, UNLIMITED);
        let generation = workers.assign(work(), Target::MAX);
        let mut nonces = Vec::new();
        for i in 0..300 {
            if i % 3 == 0 {
                // Both are met by every hash, so that each nonce is a share.
                let mut easy = [0xff; 32];
                easy[0] = i as u8;
                workers.retarget(Target::from_le_bytes(easy));
            }
            let share = workers.next_share().await.unwrap();
            assert!(share.generation >= generation);
            nonces.push(share.nonce);
        }
        assert_eq!(nonces, (0..300).collect::<Vec<u32>>());
        let hard = Target::from_zero_bits(12);
        workers.retarget(hard);
        loop {
            let share = workers.next_share().await.unwrap();
            if hard.is_met_by(&share.work.header(share.version, share.ntime, share.nonce).hash()) {
                break;
            }
        }
    }

    #[tokio::test]
    async fn dropping_ends_threads_that_idle_hash_wait_or_rest() {
        // Each would hang in `drop` if its threads did not notice.
        drop(start(2, UNLIMITED));
        let hashing = start(2, UNLIMITED);
        hashing.assign(work(), Target::ZERO);
        while hashing.effort().hashes == 0 {
            tokio::task::yield_now().await;
        }
        drop(hashing);
        let full = start(2, UNLIMITED);
        full.assign(work(), Target::MAX);
        while full.effort().hashes <= SHARE_QUEUE as u64 {
            tokio::task::yield_now().await;
        }
        drop(full);
        let mut resting = start(1, 1e-6);
        resting.assign(work(), Target::MAX);
        resting.next_share().await.unwrap();
        drop(resting);
    }

    #[tokio::test]
    async fn an_easy_target_is_held_to_the_rate_across_assignments() {
        let begin = Instant::now();
        let mut workers = start(1, 1_000.0);
        for _ in 0..20 {
            let generation = workers.assign(work(), Target::MAX);
            while workers.next_share().await.unwrap().generation < generation {}
        }
        assert!(begin.elapsed() >= Duration::from_millis(19), "a share each millisecond, as asked for");
    }

    #[test]
    fn speed_counts_only_the_time_spent_hashing() {
        let earlier = Effort { hashes: 100, busy: Duration::from_secs(1) };
        let later = Effort { hashes: 1_100, busy: Duration::from_secs(3) };
        assert_eq!(later.speed_since(&earlier, 4), Some(2_000.0));
        assert_eq!(later.speed_since(&later, 4), None);
    }
}
