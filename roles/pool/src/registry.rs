//! Who is connected, and what each channel has done so far: what the API and the metrics show.
//!
//! A session has a card for its connection and one for each channel. On the path of a share it writes its own card's counters, as plain
//! stores: no lock, no other thread's cache line. The registry's locks are taken when a connection or channel opens or
//! closes. Whoever shows something reads the cards; [`Registry::sweep`] does so every few seconds for estimates of hashrates and sums
//! of the whole pool.
//!
//! # Limits
//! A card takes less than [`CARD_BYTES`]. There are as many as connections and channels, which `[limits]` bounds.

mod estimate;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use roles_logic_sv2::share::RejectReason;
use share_ledger::Difficulty;
use tokio::sync::broadcast;

use self::estimate::{Decay, Meter};
pub use self::estimate::{Hashrates, SWEEP};
use crate::{
    ledger::Worker,
    session::NOT_RECORDED,
    user::{Policy, is_hidden},
};

/// Bytes of a channel's card, at most.
pub const CARD_BYTES: usize = 256;
/// Longest description of a device that a card keeps, in characters.
pub const MAX_DEVICE: usize = 96;
/// Changes that an observer of [`Registry::changes`] may be behind before it misses some.
const CHANGE_QUEUE: usize = 1024;
/// Parts with a lock each, so that shards seldom wait for each other when many miners come at once.
const PARTS: usize = 64;
/// Reasons for refused shares: those of the protocol, and that the ledger took nothing.
pub const REASONS: usize = RejectReason::ALL.len() + 1;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Stratum V1.
    V1,
    /// Stratum V2.
    V2,
}

impl Protocol {
    /// For programs: `v1`, `v2`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A standard channel of Stratum V2.
    Standard,
    /// An extended channel of Stratum V2.
    Extended,
    /// The one that a connection of Stratum V1 is.
    V1,
}

impl Kind {
    /// For programs: `standard`, `extended`, `v1`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
            Self::V1 => "v1",
        }
    }
}

/// The code of a reason for refused shares, by its place in [`Sums::rejected`].
pub fn reason(place: usize) -> &'static str {
    RejectReason::ALL.get(place).map_or(NOT_RECORDED, RejectReason::error_code)
}

/// A connection that is set up.
#[derive(Debug)]
pub struct Connection {
    /// Never used twice in a process.
    pub id: u64,
    /// Index of its listener.
    pub listener: usize,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whence it came.
    pub address: SocketAddr,
    /// What the device calls itself; may be empty.
    pub device: String,
    /// When it was set up, since the unix epoch.
    pub since: Duration,
    closing: AtomicBool,
    channels: Mutex<BTreeMap<u32, Arc<Channel>>>,
}

impl Connection {
    /// Its channels, by id.
    pub fn channels(&self) -> Vec<Arc<Channel>> {
        lock(&self.channels).values().cloned().collect()
    }

    /// Asks the session to close the connection; it does when it next hears of the pool's state.
    pub fn close(&self) {
        self.closing.store(true, Relaxed);
    }
}

/// What is known of a new connection.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection<'a> {
    /// Index of its listener.
    pub listener: usize,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whence it came.
    pub address: SocketAddr,
    /// What the device calls itself, in parts: vendor, hardware, firmware.
    pub device: &'a [&'a str],
}

/// What is known of a new channel.
#[derive(Clone, Debug)]
pub struct NewChannel {
    /// Its id on its connection.
    pub id: u32,
    /// What it is.
    pub kind: Kind,
    /// How its blocks are paid.
    pub policy: Policy,
    /// Whose it is.
    pub worker: Arc<Worker>,
    /// Difficulty of its first target.
    pub difficulty: f64,
}

/// An open channel. Its session writes, everybody may read.
#[derive(Debug)]
pub struct Channel {
    number: u64,
    /// Its id on its connection.
    pub id: u32,
    /// What it is.
    pub kind: Kind,
    /// How its blocks are paid.
    pub policy: Policy,
    /// The connection that it is on.
    pub connection: Arc<Connection>,
    /// Whose it is.
    pub worker: Arc<Worker>,
    /// When it was opened, since the unix epoch.
    pub since: Duration,
    difficulty: AtomicU64,
    accepted: AtomicU64,
    work: AtomicU64,
    last: AtomicU64,
    best: AtomicU32,
    rejected: [AtomicU32; REASONS],
    meter: Mutex<Meter>,
}

/// Counts of shares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Accepted shares.
    pub accepted: u64,
    /// What they were credited with, in hashes.
    pub work: f64,
    /// Refused shares by [`reason`].
    pub rejected: [u64; REASONS],
    /// The best of the accepted shares.
    pub best: f64,
    /// When the last share was accepted, in unix milliseconds; 0 for never.
    pub last: u64,
}

impl Sums {
    /// Adds what others did.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.work += other.work;
        self.rejected.iter_mut().zip(other.rejected).for_each(|(sum, count)| *sum += count);
        self.best = self.best.max(other.best);
        self.last = self.last.max(other.last);
    }
}

// Only the session writes, so that adding needs no more than a load and a store.
impl Channel {
    /// A share was accepted.
    pub fn accepted(&self, now: Duration, work: u128, reached: Difficulty) {
        self.accepted.store(self.accepted.load(Relaxed) + 1, Relaxed);
        let sum = f64::from_bits(self.work.load(Relaxed)) + work as f64;
        self.work.store(sum.to_bits(), Relaxed);
        self.last.store(milliseconds(now), Relaxed);
        let reached = reached.get() as f32;
        if reached > f32::from_bits(self.best.load(Relaxed)) {
            self.best.store(reached.to_bits(), Relaxed);
        }
    }

    /// A share was refused.
    pub fn rejected(&self, reason: RejectReason) {
        self.refuse(reason as usize);
    }

    /// A share was good, and the ledger did not take it.
    pub fn not_recorded(&self) {
        self.refuse(REASONS - 1);
    }

    fn refuse(&self, place: usize) {
        if let Some(count) = self.rejected.get(place) {
            count.store(count.load(Relaxed).saturating_add(1), Relaxed);
        }
    }

    /// It has another target.
    pub fn set_difficulty(&self, difficulty: f64) {
        self.difficulty.store(difficulty.to_bits(), Relaxed);
    }

    /// Difficulty of its target.
    pub fn difficulty(&self) -> f64 {
        f64::from_bits(self.difficulty.load(Relaxed))
    }

    /// What it did so far.
    pub fn sums(&self) -> Sums {
        Sums {
            accepted: self.accepted.load(Relaxed),
            work: f64::from_bits(self.work.load(Relaxed)),
            rejected: self.rejected.each_ref().map(|count| count.load(Relaxed).into()),
            best: f32::from_bits(self.best.load(Relaxed)).into(),
            last: self.last.load(Relaxed),
        }
    }

    /// How fast it is.
    pub fn hashrates(&self, now: Duration) -> Hashrates {
        let work = f64::from_bits(self.work.load(Relaxed));
        lock(&self.meter).hashrates(now, work)
    }
}

/// A worker came, or the last of its channels went.
#[derive(Clone, Debug)]
pub struct WorkerChange {
    /// Which one.
    pub worker: Arc<Worker>,
    /// Whether it has a channel now.
    pub online: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Registry {
    next: AtomicU64,
    connections: [Mutex<HashMap<u64, Arc<Connection>>>; PARTS],
    channels: [Mutex<Channels>; PARTS],
    accounts: [Mutex<HashMap<String, Account>>; PARTS],
    changes: broadcast::Sender<WorkerChange>,
    pool: Mutex<(Meter, Sums)>,
}

#[derive(Debug, Default)]
struct Channels {
    open: HashMap<u64, Arc<Channel>>,
    /// What those did that are closed.
    closed: Sums,
}

/// Channels of an account, by name of the worker.
#[derive(Debug, Default)]
struct Account {
    channels: BTreeMap<Place, Arc<Channel>>,
    workers: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    name: Name,
    number: u64,
}

#[derive(Debug)]
struct Name(Arc<Worker>);

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.name().cmp(other.0.name())
    }
}

impl Account {
    fn has(&self, worker: &Arc<Worker>) -> bool {
        let place = |number| Place { name: Name(worker.clone()), number };
        self.channels.range(place(0)..=place(u64::MAX)).next().is_some()
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that are set up.
    pub connections: usize,
    /// Open channels.
    pub channels: usize,
    /// Accounts with a channel.
    pub accounts: usize,
    /// Workers with a channel.
    pub workers: usize,
}

impl Registry {
    /// Nobody is there.
    pub fn new(now: Duration) -> Arc<Self> {
        Arc::new(Self {
            next: AtomicU64::new(1),
            connections: std::array::from_fn(|_| Mutex::default()),
            channels: std::array::from_fn(|_| Mutex::default()),
            accounts: std::array::from_fn(|_| Mutex::default()),
            changes: broadcast::Sender::new(CHANGE_QUEUE),
            pool: Mutex::new((Meter::new(now), Sums::default())),
        })
    }

    /// A connection is set up; it is known until the guard is dropped.
    pub fn connect(self: &Arc<Self>, now: Duration, new: NewConnection<'_>) -> ConnectionGuard {
        let id = self.next.fetch_add(1, Relaxed);
        let words = new.device.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ");
        let connection = Arc::new(Connection {
            id,
            listener: new.listener,
            protocol: new.protocol,
            address: new.address,
            device: words.chars().filter(|c| !is_hidden(*c)).take(MAX_DEVICE).collect(),
            since: now,
            closing: AtomicBool::new(false),
            channels: Mutex::default(),
        });
        lock(part(&self.connections, id)).insert(id, connection.clone());
        ConnectionGuard { registry: self.clone(), connection }
    }

    /// Workers that come and go, from now on.
    pub fn changes(&self) -> broadcast::Receiver<WorkerChange> {
        self.changes.subscribe()
    }

    /// The connection of this id.
    pub fn connection(&self, id: u64) -> Option<Arc<Connection>> {
        lock(part(&self.connections, id)).get(&id).cloned()
    }

    /// All connections, the oldest first.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> =
            self.connections.iter().flat_map(|part| lock(part).values().cloned().collect::<Vec<_>>()).collect();
        all.sort_unstable_by_key(|connection| connection.id);
        all
    }

    /// The channels of an account, by name of the worker.
    pub fn account(&self, name: &str) -> Vec<Arc<Channel>> {
        let accounts = lock(part(&self.accounts, hash(name)));
        accounts.get(name).map(|account| account.channels.values().cloned().collect()).unwrap_or_default()
    }

    /// How many there are of everything.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for accounts in &self.accounts {
            let accounts = lock(accounts);
            counts.accounts += accounts.len();
            counts.workers += accounts.values().map(|account| account.workers).sum::<usize>();
        }
        counts.connections = self.connections.iter().map(|part| lock(part).len()).sum();
        counts.channels = self.channels.iter().map(|part| lock(part).open.len()).sum();
        counts
    }

    /// Calls `each` with every open channel, and returns what closed ones did. No lock is held meanwhile.
    pub fn each_channel(&self, mut each: impl FnMut(&Channel)) -> Sums {
        let mut closed = Sums::default();
        let mut open = Vec::new();
        for part in &self.channels {
            {
                let part = lock(part);
                closed.add(&part.closed);
                open.extend(part.open.values().cloned());
            }
            open.drain(..).for_each(|channel| each(&channel));
        }
        closed
    }

    /// Brings all estimates up to date; to be called every [`SWEEP`].
    pub fn sweep(&self, now: Duration) {
        let decay = Decay::over(now.saturating_sub(lock(&self.pool).0.at()));
        let mut sums = Sums::default();
        let closed = self.each_channel(|channel| {
            let did = channel.sums();
            lock(&channel.meter).advance(now, did.work, &decay);
            sums.add(&did);
        });
        sums.add(&closed);
        let mut pool = lock(&self.pool);
        pool.0.advance(now, sums.work, &decay);
        pool.1 = sums;
    }

    /// How fast the whole pool is, as of the last [sweep](Self::sweep).
    pub fn hashrates(&self, now: Duration) -> Hashrates {
        let pool = lock(&self.pool);
        pool.0.hashrates(now, pool.1.work)
    }

    /// What all channels did since the process started, as of the last [sweep](Self::sweep). Nothing in it ever shrinks.
    pub fn sums(&self) -> Sums {
        lock(&self.pool).1
    }

    fn tell(&self, worker: &Arc<Worker>, online: bool) {
        // It may be that nobody watches.
        let _ = self.changes.send(WorkerChange { worker: worker.clone(), online });
    }
}

/// A connection, until it ends.
#[derive(Debug)]
pub struct ConnectionGuard {
    registry: Arc<Registry>,
    connection: Arc<Connection>,
}

impl ConnectionGuard {
    /// A channel is open; it is known until the guard is dropped.
    pub fn open(&self, now: Duration, new: NewChannel) -> ChannelGuard {
        let NewChannel { id, kind, policy, worker, difficulty } = new;
        let registry = self.registry.clone();
        let number = registry.next.fetch_add(1, Relaxed);
        let channel = Arc::new(Channel {
            number,
            id,
            kind,
            policy,
            connection: self.connection.clone(),
            worker: worker.clone(),
            since: now,
            difficulty: AtomicU64::new(difficulty.to_bits()),
            accepted: AtomicU64::new(0),
            work: AtomicU64::new(0),
            last: AtomicU64::new(0),
            best: AtomicU32::new(0),
            rejected: std::array::from_fn(|_| AtomicU32::new(0)),
            meter: Mutex::new(Meter::new(now)),
        });
        lock(&self.connection.channels).insert(id, channel.clone());
        lock(part(&registry.channels, number)).open.insert(number, channel.clone());
        let is_new = {
            let mut accounts = lock(part(&registry.accounts, hash(worker.account())));
            let account = accounts.entry(worker.account().to_owned()).or_default();
            let is_new = !account.has(&worker);
            account.workers += usize::from(is_new);
            account.channels.insert(Place { name: Name(worker.clone()), number }, channel.clone());
            is_new
        };
        if is_new {
            registry.tell(&worker, true);
        }
        ChannelGuard { registry, channel }
    }

    /// Whether the operator wants it closed.
    pub fn is_to_close(&self) -> bool {
        self.connection.closing.load(Relaxed)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        lock(part(&self.registry.connections, self.connection.id)).remove(&self.connection.id);
    }
}

/// A channel, until it ends.
#[derive(Debug)]
pub struct ChannelGuard {
    registry: Arc<Registry>,
    channel: Arc<Channel>,
}

impl Deref for ChannelGuard {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl Drop for ChannelGuard {
    fn drop(&mut self) {
        let Self { registry, channel } = self;
        let (number, worker) = (channel.number, &channel.worker);
        {
            let mut on = lock(&channel.connection.channels);
            if on.get(&channel.id).is_some_and(|known| known.number == number) {
                on.remove(&channel.id);
            }
        }
        {
            let mut part = lock(part(&registry.channels, number));
            part.open.remove(&number);
            part.closed.add(&channel.sums());
        }
        let has_gone = {
            let mut accounts = lock(part(&registry.accounts, hash(worker.account())));
            let Some(account) = accounts.get_mut(worker.account()) else { return };
            account.channels.remove(&Place { name: Name(worker.clone()), number });
            let has_gone = !account.has(worker);
            account.workers -= usize::from(has_gone);
            if account.channels.is_empty() {
                accounts.remove(worker.account());
            }
            has_gone
        };
        if has_gone {
            registry.tell(worker, false);
        }
    }
}

fn part<T>(parts: &[T; PARTS], key: u64) -> &T {
    &parts[(key % PARTS as u64) as usize]
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}
