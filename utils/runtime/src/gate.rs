//! Who is let in: half-open connections, connections per address, bans.
//!
//! A connection is half-open until its core says that it is [established](crate::core::Core::is_established). Half-open ones have
//! a bounded pool of their own, so that a flood of them takes nothing from those who work. Where the pool is full, the oldest
//! half-open connection of the address that has most of them makes room for a new one.
//!
//! Bans exist only for abuse before a connection is established. They hold for one address at one listener, never follow from
//! a bare connect, and never hold an address that has connections with work accepted of late. IPv6 addresses count by their
//! first 64 bits.
//!
//! The gate is asked when a connection begins, is established, and ends: never on the path of a share.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::bucket::{Rate, TokenBucket};

/// A half-open connection has this long before it can be dropped for another, so that a storm of honest reconnects does not eat itself.
pub const HALF_OPEN_GRACE: Duration = Duration::from_secs(2);

/// An address whose last accepted work is not older than this is not banned.
pub const WORK_MEMORY: Duration = Duration::from_secs(900);

/// Addresses with offences that are remembered. At the bound the one that offended least lately is forgotten.
pub const REMEMBERED_OFFENDERS: usize = 16_384;

/// What the gate allows.
#[derive(Clone, Copy, Debug)]
pub struct GateLimits {
    /// Half-open connections in all.
    pub half_open: usize,
    /// Connections of one address; more are closed at once.
    pub per_address: usize,
    /// Offences that an address may commit at a listener; over it, it is banned there.
    pub offences: Rate,
    /// How long a ban lasts.
    pub ban: Duration,
}

/// An address as limits count it: IPv4 whole, IPv6 by its first 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey(IpAddr);

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        })
    }
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// For abuse before.
    #[error("its address is banned at this listener")]
    Banned,
    /// The address has all the connections that one may have.
    #[error("its address has too many connections")]
    TooMany,
    /// All half-open connections are too young to be dropped; try again.
    #[error("too many connections are being set up")]
    Full,
}

/// An address that is not let in at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The address; of IPv6 the network of 64 bits.
    pub address: IpAddr,
    /// The listener.
    pub listener: usize,
    /// Until when, since the unix epoch.
    pub until: Duration,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Gate {
    limits: GateLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    addresses: HashMap<AddressKey, Address>,
    /// Half-open connections, oldest first.
    half_open: BTreeMap<u64, HalfOpen>,
    /// Addresses by how many half-open connections they have.
    crowds: BTreeSet<(usize, AddressKey)>,
    offenders: Offenders,
}

/// An address that has connections.
#[derive(Debug, Default)]
struct Address {
    connections: usize,
    half_open: BTreeSet<u64>,
    work: Arc<LastWork>,
}

/// When an address last had work accepted, in seconds since the unix epoch.
#[derive(Debug, Default)]
struct LastWork(AtomicU64);

impl LastWork {
    fn is_recent(&self, now: Duration) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        last > 0 && now.saturating_sub(Duration::from_secs(last)) <= WORK_MEMORY
    }
}

#[derive(Debug)]
struct HalfOpen {
    since: Duration,
    address: AddressKey,
    drop: Arc<Notify>,
}

type Offender = (AddressKey, usize);

#[derive(Debug, Default)]
struct Offenders {
    known: HashMap<Offender, Offences>,
    /// By when they last offended.
    order: BTreeSet<(Duration, Offender)>,
}

#[derive(Debug)]
struct Offences {
    bucket: TokenBucket,
    last: Duration,
    banned_until: Duration,
}

impl Gate {
    /// An open gate.
    pub fn new(limits: GateLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Lets a connection from `address` to a listener in, as a half-open one.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn enter(self: &Arc<Self>, now: Duration, listener: usize, address: IpAddr) -> Result<Ticket, Refused> {
        let key = AddressKey::from(address);
        let mut state = self.state();
        let known = state.addresses.get(&key);
        let works = known.is_some_and(|known| known.work.is_recent(now));
        if !works && state.offenders.are_banned(now, (key, listener)) {
            return Err(Refused::Banned);
        }
        if known.is_some_and(|known| known.connections >= self.limits.per_address) {
            return Err(Refused::TooMany);
        }
        self.admit(&mut state, now, listener, key)
    }

    /// Lets a connection in from a proxy that speaks for others: no limit but that of half-open connections holds for it.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn enter_proxy(self: &Arc<Self>, now: Duration, listener: usize, proxy: IpAddr) -> Result<Ticket, Refused> {
        self.admit(&mut self.state(), now, listener, AddressKey::from(proxy))
    }

    /// Half-open connections at present.
    pub fn half_open(&self) -> usize {
        self.state().half_open.len()
    }

    /// Bans that hold now.
    pub fn bans(&self, now: Duration) -> Vec<Ban> {
        let state = self.state();
        let banned = state.offenders.known.iter().filter(|(_, offences)| offences.banned_until > now);
        let mut bans: Vec<_> = banned
            .map(|((key, listener), offences)| Ban {
                address: key.0,
                listener: *listener,
                until: offences.banned_until,
            })
            .collect();
        bans.sort_unstable_by_key(|ban| (ban.address, ban.listener));
        bans
    }

    /// Lifts the bans of an address, and forgets what led to them. Returns at how many listeners it was banned.
    pub fn unban(&self, now: Duration, address: IpAddr) -> usize {
        let key = AddressKey::from(address);
        let offenders = &mut self.state().offenders;
        let mut lifted = 0;
        offenders.known.retain(|(known, _), offences| {
            let is_it = *known == key;
            lifted += usize::from(is_it && offences.banned_until > now);
            !is_it
        });
        offenders.order.retain(|(_, (known, _))| *known != key);
        lifted
    }

    /// Drops one half-open connection, for want of something that all connections need. False when there is none.
    pub fn shed(&self) -> bool {
        self.state().drop_one(None)
    }

    fn admit(
        self: &Arc<Self>,
        state: &mut State,
        now: Duration,
        listener: usize,
        key: AddressKey,
    ) -> Result<Ticket, Refused> {
        if state.half_open.len() >= self.limits.half_open && !state.drop_one(Some(now)) {
            return Err(Refused::Full);
        }
        let id = state.next_id;
        state.next_id += 1;
        let drop = Arc::new(Notify::new());
        state.half_open.insert(id, HalfOpen { since: now, address: key, drop: drop.clone() });
        let address = state.addresses.entry(key).or_default();
        address.connections += 1;
        let work = address.work.clone();
        state.crowd(key, |half_open| half_open.insert(id));
        Ok(Ticket { gate: self.clone(), id, listener, address: key, half_open: Some(drop), work })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells the oldest half-open connection of the most crowded address to go. With a time, only one that has had its grace.
    fn drop_one(&mut self, now: Option<Duration>) -> bool {
        // The oldest of the most crowded address may still be young where that of another is not.
        let ripe = |half_open: &HalfOpen| now.is_none_or(|now| half_open.since + HALF_OPEN_GRACE <= now);
        let crowded = self.crowds.iter().rev().take(CROWDS_LOOKED_AT).find_map(|(_, key)| {
            let oldest = *self.addresses.get(key)?.half_open.first()?;
            self.half_open.get(&oldest).filter(|half_open| ripe(half_open)).map(|_| oldest)
        });
        let oldest = || self.half_open.iter().next().filter(|(_, half_open)| ripe(half_open)).map(|(id, _)| *id);
        let Some(id) = crowded.or_else(oldest) else { return false };
        if let Some(HalfOpen { address, drop, .. }) = self.half_open.remove(&id) {
            drop.notify_one();
            self.crowd(address, |half_open| half_open.remove(&id));
        }
        true
    }

    /// Changes an address's half-open connections.
    fn crowd<T>(&mut self, key: AddressKey, change: impl FnOnce(&mut BTreeSet<u64>) -> T) {
        let Some(address) = self.addresses.get_mut(&key) else { return };
        let before = address.half_open.len();
        change(&mut address.half_open);
        let after = address.half_open.len();
        if before > 0 {
            self.crowds.remove(&(before, key));
        }
        if after > 0 {
            self.crowds.insert((after, key));
        }
    }

    fn no_longer_half_open(&mut self, id: u64) {
        if let Some(HalfOpen { address, .. }) = self.half_open.remove(&id) {
            self.crowd(address, |half_open| half_open.remove(&id));
        }
    }

    fn leave(&mut self, id: u64, key: AddressKey) {
        self.no_longer_half_open(id);
        if let Some(address) = self.addresses.get_mut(&key) {
            address.connections -= 1;
            if address.connections == 0 {
                self.addresses.remove(&key);
            }
        }
    }
}

/// Addresses among which one with an old half-open connection is looked for; beyond, age alone decides.
const CROWDS_LOOKED_AT: usize = 8;

impl Offenders {
    fn are_banned(&self, now: Duration, who: Offender) -> bool {
        self.known.get(&who).is_some_and(|offences| offences.banned_until > now)
    }

    /// Counts an offence; true when it leads to a ban.
    fn count(&mut self, now: Duration, who: Offender, limits: &GateLimits) -> bool {
        if !self.known.contains_key(&who)
            && self.known.len() >= REMEMBERED_OFFENDERS
            && let Some((_, forgotten)) = self.order.pop_first()
        {
            self.known.remove(&forgotten);
        }
        let offences = self.known.entry(who).or_insert_with(|| Offences {
            bucket: TokenBucket::full(now, limits.offences),
            last: now,
            banned_until: Duration::ZERO,
        });
        self.order.remove(&(offences.last, who));
        offences.last = now;
        self.order.insert((now, who));
        if offences.bucket.try_spend(now, limits.offences, 1.0) {
            return false;
        }
        offences.banned_until = now + limits.ban;
        true
    }
}

/// A connection that was let in, until it is dropped.
#[derive(Debug)]
pub struct Ticket {
    gate: Arc<Gate>,
    id: u64,
    listener: usize,
    address: AddressKey,
    half_open: Option<Arc<Notify>>,
    work: Arc<LastWork>,
}

impl Ticket {
    /// The address that this connection counts for.
    pub fn address(&self) -> AddressKey {
        self.address
    }

    /// Whether the connection is not established yet.
    pub fn is_half_open(&self) -> bool {
        self.half_open.is_some()
    }

    /// The connection is established.
    pub fn establish(&mut self) {
        if self.half_open.take().is_some() {
            self.gate.state().no_longer_half_open(self.id);
        }
    }

    /// Waits until this half-open connection has to make room for another; for ever once it is established.
    pub async fn dropped(&self) {
        match &self.half_open {
            Some(drop) => drop.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Work of this connection was accepted at this time.
    pub fn worked(&self, at: Duration) {
        let seconds = at.as_secs();
        if self.work.0.load(Ordering::Relaxed) < seconds {
            self.work.0.store(seconds, Ordering::Relaxed);
        }
    }

    /// Counts abuse by this connection, if it is not established. True when its address is banned now.
    pub fn offend(&self, now: Duration) -> bool {
        if !self.is_half_open() || self.work.is_recent(now) {
            return false;
        }
        self.gate.state().offenders.count(now, (self.address, self.listener), &self.gate.limits)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.state().leave(self.id, self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const LIMITS: GateLimits = GateLimits {
        half_open: 4,
        per_address: 3,
        offences: Rate { per_second: 0.1, burst: 2.0 },
        ban: Duration::from_secs(600),
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_dropped(ticket: &Ticket) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(ticket.dropped()).poll(&mut context).is_ready()
    }

    fn bans(gate: &Arc<Gate>, now: Duration, listener: usize, address: &str) -> usize {
        let ticket = gate.enter(now, listener, ip(address)).unwrap();
        (0..100).position(|_| ticket.offend(now)).unwrap()
    }

    #[test]
    fn addresses_are_counted_by_network() {
        let key = |text| AddressKey::from(ip(text));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn the_most_crowded_address_makes_room() {
        let gate = Gate::new(LIMITS);
        let honest = gate.enter(NOW, 0, ip("192.0.2.1")).unwrap();
        let crowd: Vec<_> = (0..3).map(|_| gate.enter(NOW, 0, ip("192.0.2.2")).unwrap()).collect();
        let later = NOW + HALF_OPEN_GRACE;
        assert_eq!(
            gate.enter(later - Duration::from_nanos(1), 0, ip("192.0.2.3")).unwrap_err(),
            Refused::Full,
            "nobody has had its grace"
        );
        let newcomer = gate.enter(later, 0, ip("192.0.2.3")).unwrap();
        assert_eq!(crowd.iter().map(is_dropped).collect::<Vec<_>>(), [true, false, false], "the oldest goes");
        assert!(!is_dropped(&honest) && !is_dropped(&newcomer));
        let _second = gate.enter(later, 0, ip("192.0.2.4")).unwrap();
        assert!(is_dropped(&crowd[1]));
        // One each is left: now age decides.
        let _third = gate.enter(later, 0, ip("192.0.2.5")).unwrap();
        assert!(is_dropped(&honest) ^ is_dropped(&crowd[2]));
    }

    #[test]
    fn the_established_are_not_dropped_and_leave_room() {
        let gate = Gate::new(LIMITS);
        let mut tickets: Vec<_> = (0..4).map(|i| gate.enter(NOW, 0, ip(&format!("192.0.2.{i}"))).unwrap()).collect();
        tickets[0].establish();
        let _more = gate.enter(NOW, 0, ip("192.0.2.9")).unwrap();
        assert!(!tickets.iter().any(is_dropped));
        tickets.iter_mut().for_each(Ticket::establish);
        assert!(gate.shed(), "the newcomer");
        assert!(!gate.shed(), "the established stay, whatever is short");
    }

    #[test]
    fn a_ban_is_seen_and_can_be_lifted() {
        let gate = Gate::new(LIMITS);
        for listener in [0, 1] {
            bans(&gate, NOW, listener, "192.0.2.1");
        }
        bans(&gate, NOW, 0, "2001:db8::1");
        let until = NOW + LIMITS.ban;
        let seen: Vec<_> = gate.bans(NOW).iter().map(|ban| (ban.address, ban.listener, ban.until)).collect();
        let network = ip("2001:db8::");
        assert_eq!(seen, [(ip("192.0.2.1"), 0, until), (ip("192.0.2.1"), 1, until), (network, 0, until)]);
        assert_eq!(gate.bans(until), [], "over");
        assert_eq!(gate.unban(NOW, ip("192.0.2.2")), 0);
        assert_eq!(gate.unban(NOW, ip("192.0.2.1")), 2);
        assert_eq!(gate.unban(NOW, ip("2001:db8::77")), 1, "the same network");
        assert_eq!(gate.bans(NOW), []);
        let ticket = gate.enter(NOW, 0, ip("192.0.2.1")).unwrap();
        assert!(!ticket.offend(NOW), "what led to the ban is forgotten");
        assert_eq!(gate.half_open(), 1);
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let gate = Gate::new(LIMITS);
        let mut tickets: Vec<_> = (0..3).map(|_| gate.enter(NOW, 0, ip("2001:db8::1")).unwrap()).collect();
        tickets.iter_mut().for_each(Ticket::establish);
        assert_eq!(gate.enter(NOW, 0, ip("2001:db8::2")).unwrap_err(), Refused::TooMany);
        tickets.pop();
        gate.enter(NOW, 0, ip("2001:db8::2")).unwrap();
        let _proxied: Vec<_> = (0..4).map(|_| gate.enter_proxy(NOW, 0, ip("2001:db8::2")).unwrap()).collect();
    }

    #[test]
    fn abuse_leads_to_a_ban_at_one_listener_for_a_time() {
        let gate = Gate::new(LIMITS);
        assert_eq!(bans(&gate, NOW, 0, "192.0.2.1"), 2, "the third offence");
        assert_eq!(gate.enter(NOW, 0, ip("192.0.2.1")).unwrap_err(), Refused::Banned);
        gate.enter(NOW, 1, ip("192.0.2.1")).unwrap();
        gate.enter(NOW, 0, ip("192.0.2.2")).unwrap();
        let end = NOW + LIMITS.ban;
        assert!(gate.enter(end - Duration::from_nanos(1), 0, ip("192.0.2.1")).is_err());
        gate.enter(end, 0, ip("192.0.2.1")).unwrap();
    }

    #[test]
    fn rare_offences_are_forgiven() {
        let gate = Gate::new(LIMITS);
        let ticket = gate.enter(NOW, 0, ip("192.0.2.1")).unwrap();
        assert!((0..100).all(|n| !ticket.offend(NOW + Duration::from_secs(10 * n))));
    }

    #[test]
    fn an_address_that_works_is_never_banned() {
        let gate = Gate::new(LIMITS);
        let mut miner = gate.enter(NOW, 0, ip("192.0.2.1")).unwrap();
        miner.establish();
        let stranger = gate.enter(NOW, 0, ip("192.0.2.1")).unwrap();
        assert!((0..3).any(|_| stranger.offend(NOW)));
        assert!(gate.enter(NOW, 0, ip("192.0.2.1")).is_err());
        miner.worked(NOW);
        gate.enter(NOW, 0, ip("192.0.2.1")).unwrap();
        assert!(!(0..100).any(|_| stranger.offend(NOW)));
        let later = NOW + WORK_MEMORY + Duration::from_secs(1);
        assert!((0..3).any(|_| stranger.offend(later)), "its work is long past");
    }

    #[test]
    fn the_established_do_not_offend() {
        let gate = Gate::new(LIMITS);
        let mut ticket = gate.enter(NOW, 0, ip("192.0.2.1")).unwrap();
        ticket.establish();
        assert!(!(0..100).any(|_| ticket.offend(NOW)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let gate = Gate::new(GateLimits { offences: Rate { per_second: 0.0, burst: 0.0 }, ..LIMITS });
        for n in 0..REMEMBERED_OFFENDERS as u32 + 1 {
            let address = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            let now = NOW + Duration::from_millis(n.into());
            assert!(gate.enter(now, 0, address).unwrap().offend(now));
        }
        let end = NOW + Duration::from_secs(60);
        gate.enter(end, 0, ip("10.0.0.0")).unwrap();
        assert!(gate.enter(end, 0, ip("10.0.0.1")).is_err());
        let state = gate.state();
        assert_eq!((state.offenders.known.len(), state.offenders.order.len()), (16_384, 16_384));
        assert!(state.addresses.is_empty() && state.half_open.is_empty() && state.crowds.is_empty());
    }
}
