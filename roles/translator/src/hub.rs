//! The hub: upstreams, which of them is used, the channels there, and what miners are told of it. Sans-io.
//!
//! Miners are spread over **routes** by weight. A route has upstreams in order of preference; one is **active**. When the active one
//! fails, the next that is ready takes its place at once; a preferred one takes it back once it has been ready for
//! [`HubConfig::settle`]. A route without any upstream that is up lends its miners to one that has.

mod link;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bitcoin::BlockHash;
use framing_sv2::Header;
use noise_sv2::url::EndpointUrl;
use roles_logic_sv2::extranonce::{Recycler, Space};
use stratum_runtime::core::ConnectionId;

pub use self::link::MAX_PENDING;
use self::link::{Counters, Link, LinkEvent, Owner, Surroundings};
use crate::{
    names,
    room::Sharing,
    snapshot::{Letter, Report, RouteState, RouteUp, Snapshot, UpstreamVerdict},
    stats::Registry,
};

/// How often the hub looks at the clock.
const TICK: Duration = Duration::from_millis(500);
/// How often hashrates are added up.
const HASHRATE_INTERVAL: Duration = Duration::from_secs(10);
/// How often miners are moved between routes, so that what a move did shows before the next.
const BALANCE_INTERVAL: Duration = Duration::from_secs(60);
/// Miners that are moved at a time.
const MOVES: usize = 16;
/// How long a route waits for a preferred upstream that is on its way while another one is ready or could be tried.
const GRACE: Duration = Duration::from_secs(2);
/// How long a connection that is not needed any more is kept, for the verdicts on shares that are on their way.
const SPARE: Duration = Duration::from_secs(10);
/// Tips that are remembered, to tell new ones.
const KNOWN_TIPS: usize = 16;

/// An upstream, as configured.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// What it is called in logs and the API.
    pub name: String,
    /// Where it is.
    pub url: EndpointUrl,
    /// Without encryption.
    pub plain: bool,
    /// The account: `user_identity` of a shared channel, and the beginning of a miner's own.
    pub user: String,
}

/// A route, as configured.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// What it is called.
    pub name: String,
    /// How much of the hashrate it is to have, beside the others.
    pub weight: f64,
    /// Its upstreams, the preferred one first.
    pub upstreams: Vec<usize>,
}

/// What the configuration says to the hub.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Whether miners share a channel.
    pub sharing: Sharing,
    /// Bits of nVersion that miners may roll at most.
    pub version_mask: u32,
    /// All upstreams.
    pub upstreams: Vec<UpstreamConfig>,
    /// All routes.
    pub routes: Vec<RouteConfig>,
    /// Time for SetupConnection.Success, and for the answer to a request for a channel.
    pub setup: Duration,
    /// How long a preferred upstream must have been ready before it is used again.
    pub settle: Duration,
    /// Least time between two messages about a channel's hashrate.
    pub update_interval: Duration,
    /// Hashes per second that a miner is taken for before it has shown what it can.
    pub miner_hashrate: f64,
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Output {
    /// Connect, and tell [`Hub::handle_connected`] or [`Hub::handle_disconnected`].
    Dial {
        /// Index of the upstream.
        upstream: usize,
        /// To be repeated with all that comes of the connection.
        attempt: u64,
        /// Where to.
        url: EndpointUrl,
        /// Without encryption.
        plain: bool,
    },
    /// Close the connection, what was sent first.
    HangUp {
        /// Index of the upstream.
        upstream: usize,
        /// Which connection.
        attempt: u64,
    },
    /// Send a frame.
    Send {
        /// Index of the upstream.
        upstream: usize,
        /// Which connection.
        attempt: u64,
        /// Header of the frame.
        header: Header,
        /// The rest.
        payload: Vec<u8>,
    },
    /// Deliver a letter.
    Letter {
        /// Whose it is.
        to: ConnectionId,
        /// What it says.
        letter: Letter,
    },
    /// Tell all sessions.
    Publish(Arc<Snapshot>),
}

struct Route {
    config: RouteConfig,
    /// Place in [`RouteConfig::upstreams`].
    active: Option<usize>,
    /// Since when none is.
    down_since: Duration,
}

/// A miner with a channel of its own.
struct Member {
    route: usize,
    username: Arc<str>,
    /// The upstream that its channel is with, as it was told.
    told: Option<usize>,
}

/// A route, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteStatus {
    /// What it is called.
    pub name: String,
    /// How much of the hashrate it is to have.
    pub weight: f64,
    /// The upstream in use.
    pub active: Option<String>,
}

/// An upstream, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamStatus {
    /// What it is called.
    pub name: String,
    /// Whether channels can be opened.
    pub is_connected: bool,
    /// Whether it could be used, or is.
    pub is_ready: bool,
    /// Whether a route uses it.
    pub is_active: bool,
    /// Channels.
    pub channels: usize,
    /// Shares without a verdict.
    pub pending: usize,
    /// Shares that it accepted since the start.
    pub confirmed: u64,
    /// Shares that it refused since the start.
    pub refused: u64,
    /// Why it is down.
    pub problem: Option<String>,
}

/// See the module's documentation.
pub struct Hub {
    config: Arc<HubConfig>,
    links: Vec<Link>,
    routes: Vec<Route>,
    members: BTreeMap<ConnectionId, Member>,
    registry: Registry,
    counters: Counters,
    recycler: Option<Recycler>,
    tips: VecDeque<BlockHash>,
    random: u64,
    next_tick: Duration,
    next_hashrates: Duration,
    next_balance: Duration,
    /// Channels of miners that have moved on, kept for the verdicts on shares that are on their way.
    closing: VecDeque<(Duration, usize, ConnectionId)>,
    changed: bool,
    stopped: bool,
    out: VecDeque<Output>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub that connects to its upstreams at the first [`handle_timeout`](Self::handle_timeout). `slots` are what miners' extranonces
    /// come from; `seed` is any number, another one for each process.
    pub fn new(now: Duration, config: Arc<HubConfig>, registry: Registry, slots: &Space, seed: u64) -> Self {
        let links = config.upstreams.iter().cloned().enumerate().map(|(index, upstream)| Link::new(index, upstream));
        let routes = config.routes.iter().map(|config| Route { config: config.clone(), active: None, down_since: now });
        Self {
            links: links.collect(),
            routes: routes.collect(),
            members: BTreeMap::new(),
            registry,
            counters: Counters::default(),
            recycler: slots.recycler(),
            tips: VecDeque::new(),
            random: seed,
            next_tick: now,
            next_hashrates: now + HASHRATE_INTERVAL,
            next_balance: now + BALANCE_INTERVAL,
            closing: VecDeque::new(),
            changed: true,
            stopped: false,
            out: VecDeque::new(),
            config,
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub const fn poll_timeout(&self) -> Duration {
        self.next_tick
    }

    /// The routes and upstreams as they are.
    pub fn status(&self) -> (Vec<RouteStatus>, Vec<UpstreamStatus>) {
        let active: Vec<Option<usize>> = self.routes.iter().map(Route::upstream).collect();
        let routes = self.routes.iter().zip(&active).map(|(route, active)| RouteStatus {
            name: route.config.name.clone(),
            weight: route.config.weight,
            active: active.map(|index| self.links[index].name().to_owned()),
        });
        let upstreams = self.links.iter().enumerate().map(|(index, link)| UpstreamStatus {
            name: link.name().to_owned(),
            is_connected: link.is_open(),
            is_ready: link.ready_since.is_some(),
            is_active: active.contains(&Some(index)),
            channels: link.channels(),
            pending: link.pending(),
            confirmed: link.confirmed,
            refused: link.refused,
            problem: link.problem.clone(),
        });
        (routes.collect(), upstreams.collect())
    }

    /// A connection that was asked for came about, and took this long.
    pub fn handle_connected(&mut self, now: Duration, upstream: usize, attempt: u64, took: Duration) {
        self.with_link(upstream, |link, around| {
            if link.is_attempt(attempt) {
                link.connected(now, took, around);
            }
        });
    }

    /// A connection did not come about, or ended.
    pub fn handle_disconnected(&mut self, now: Duration, upstream: usize, attempt: u64, reason: &str) {
        if self.links.get(upstream).is_some_and(|link| link.is_attempt(attempt)) {
            self.fail(now, upstream, reason);
            self.steer(now);
        }
    }

    /// A frame came.
    pub fn handle_frame(&mut self, now: Duration, upstream: usize, attempt: u64, header: Header, payload: &[u8]) {
        if !self.links.get(upstream).is_some_and(|link| link.is_attempt(attempt)) {
            return;
        }
        let events = self.with_link(upstream, |link, around| link.frame(now, header, payload, around));
        match events {
            Some(Ok(events)) if events.is_empty() => return,
            Some(Ok(events)) => events.into_iter().for_each(|event| self.event(now, upstream, event)),
            Some(Err(reason)) => self.fail(now, upstream, &reason),
            None => return,
        }
        self.steer(now);
    }

    /// A session reports.
    pub fn handle_report(&mut self, now: Duration, report: Report) {
        match report {
            Report::Share(share) => {
                let index = self.links.iter().position(|link| link.holds(share.channel));
                let sent =
                    index.and_then(|index| self.with_link(index, |link, around| link.submit(now, &share, around)));
                if sent != Some(true) {
                    let verdict = UpstreamVerdict::Lost("upstream-lost");
                    self.letter(share.from, Letter::Verdict { ticket: share.ticket, verdict });
                }
            }
            Report::Open { from, route, username } => {
                self.members.insert(from, Member { route, username, told: None });
                self.seat(now, from);
            }
        }
    }

    /// Looks at the clock.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now < self.next_tick || self.stopped {
            return;
        }
        self.next_tick = now + TICK;
        for index in 0..self.links.len() {
            if let Some(Err(reason)) = self.with_link(index, |link, _| link.tick(now)) {
                self.fail(now, index, &reason);
            }
        }
        for gone in self.registry.departed() {
            if self.members.remove(&gone).is_some() {
                for index in 0..self.links.len() {
                    self.with_link(index, |link, around| link.close_owned(Owner::Miner(gone), around));
                }
            }
        }
        while self.closing.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, upstream, miner)) = self.closing.pop_front() else { break };
            // It may have come back.
            if self.members.get(&miner).is_none_or(|member| member.told != Some(upstream)) {
                self.with_link(upstream, |link, around| link.close_owned(Owner::Miner(miner), around));
            }
        }
        if self.next_hashrates <= now {
            self.next_hashrates = now + HASHRATE_INTERVAL;
            self.tell_hashrates(now);
        }
        if self.next_balance <= now {
            self.next_balance = now + BALANCE_INTERVAL;
            self.balance(now);
        }
        self.steer(now);
    }

    /// The end: connections are closed once what was sent has left.
    pub fn stop(&mut self, now: Duration) {
        self.stopped = true;
        for index in 0..self.links.len() {
            self.with_link(index, |link, around| link.dismiss(now, around));
        }
    }

    fn with_link<T>(&mut self, index: usize, act: impl FnOnce(&mut Link, &mut Surroundings<'_>) -> T) -> Option<T> {
        let random = self.next_random();
        let Self { config, links, counters, out, .. } = self;
        Some(act(links.get_mut(index)?, &mut Surroundings { config, counters, random, out }))
    }

    /// SplitMix64.
    fn next_random(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 32) as u32
    }

    fn letter(&mut self, to: ConnectionId, letter: Letter) {
        self.out.push_back(Output::Letter { to, letter });
    }

    fn event(&mut self, now: Duration, upstream: usize, event: LinkEvent) {
        match event {
            LinkEvent::Up if self.config.sharing == Sharing::Shared => {
                let hashrate = self.hashrate_of_route(now, upstream);
                self.with_link(upstream, |link, around| {
                    let identity = link.account();
                    link.open(now, Owner::Route, identity, hashrate, around);
                });
            }
            LinkEvent::Up => self.ready(now, upstream),
            LinkEvent::Changed(owner) => {
                let resized = self.links.get_mut(upstream).is_some_and(|link| std::mem::take(&mut link.is_resized));
                self.changed |= resized || owner == Owner::Route;
                let Some(state) = self.links.get(upstream).and_then(|link| link.state(owner)) else { return };
                if let Some(job) = &state.job {
                    self.note_tip(now, job.tip.prev_hash);
                    match owner {
                        Owner::Route => self.ready(now, upstream),
                        Owner::Miner(miner) => self.serve(now, miner, upstream),
                    }
                }
            }
            LinkEvent::Closed(Owner::Route) => self.fail(now, upstream, "the upstream closed the channel"),
            LinkEvent::Refused(Owner::Route, code) => {
                self.fail(now, upstream, &format!("the upstream opens no channel: {}", code.escape_debug()));
            }
            LinkEvent::Closed(Owner::Miner(miner)) => {
                if self.members.get(&miner).is_some_and(|member| member.told == Some(upstream)) {
                    self.untell(miner);
                }
                self.seat(now, miner);
            }
            LinkEvent::Refused(Owner::Miner(miner), code) => self.letter(miner, Letter::Refused(code)),
        }
    }

    fn ready(&mut self, now: Duration, upstream: usize) {
        if let Some(link) = self.links.get_mut(upstream) {
            link.ready_since.get_or_insert(now);
        }
    }

    fn fail(&mut self, now: Duration, upstream: usize, reason: &str) {
        self.changed = true;
        let owners = self.with_link(upstream, |link, around| link.fail(now, reason, around)).unwrap_or_default();
        self.lost(upstream, owners);
    }

    /// The channels of these are gone.
    fn lost(&mut self, upstream: usize, owners: Vec<Owner>) {
        for owner in owners {
            if let Owner::Miner(miner) = owner
                && self.members.get(&miner).is_some_and(|member| member.told == Some(upstream))
            {
                self.untell(miner);
            }
        }
    }

    fn untell(&mut self, miner: ConnectionId) {
        if let Some(member) = self.members.get_mut(&miner) {
            member.told = None;
            self.letter(miner, Letter::Channel(None));
        }
    }

    /// Chooses each route's upstream, and connects to those that are needed.
    fn steer(&mut self, now: Duration) {
        if self.stopped {
            return;
        }
        let mut needed = vec![false; self.links.len()];
        for index in 0..self.routes.len() {
            self.choose(now, index);
            let route = &self.routes[index];
            let upstreams = &route.config.upstreams;
            let last = route.active.unwrap_or_else(|| self.frontier(now, route));
            upstreams.iter().take(last + 1).for_each(|upstream| needed[*upstream] = true);
        }
        for (index, needed) in needed.into_iter().enumerate() {
            self.keep(now, index, needed);
        }
        if std::mem::take(&mut self.changed) {
            self.publish(now);
        }
    }

    fn choose(&mut self, now: Duration, index: usize) {
        let route = &self.routes[index];
        let upstreams = &route.config.upstreams;
        let ready = |place: &usize| upstreams.get(*place).and_then(|upstream| self.links[*upstream].ready_since);
        let active = route.active.filter(|place| ready(place).is_some());
        let next = match active {
            Some(active) => {
                let settled = |place: &usize| ready(place).is_some_and(|since| since + self.config.settle <= now);
                (0..active).find(settled).or(Some(active))
            }
            None => (0..upstreams.len()).find(|place| ready(place).is_some()).filter(|place| {
                let is_coming = |place: usize| self.links[upstreams[place]].is_coming();
                now >= route.down_since + GRACE || !(0..*place).any(is_coming)
            }),
        };
        if next == route.active {
            return;
        }
        self.changed = true;
        let names = (&route.config.name, next.map(|place| self.links[upstreams[place]].name().to_owned()));
        match names {
            (route, Some(upstream)) => tracing::info!(route, upstream, "route leads to upstream"),
            (route, None) => tracing::warn!(route, "no upstream of the route is up"),
        }
        let route = &mut self.routes[index];
        if next.is_none() && route.active.is_some() {
            route.down_since = now;
        }
        route.active = next;
    }

    /// The last place in a route without an active upstream that is worth a try: those before it have failed, or take long.
    fn frontier(&self, now: Duration, route: &Route) -> usize {
        let upstreams = &route.config.upstreams;
        let has_failed =
            |place: usize| self.links[upstreams[place]].is_resting() && !self.links[upstreams[place]].is_fresh;
        let late = now >= route.down_since + GRACE;
        (0..upstreams.len()).find(|place| !late && !has_failed(*place)).unwrap_or(upstreams.len().saturating_sub(1))
    }

    fn keep(&mut self, now: Duration, index: usize, needed: bool) {
        let link = &mut self.links[index];
        if needed {
            link.spare_since = None;
            self.with_link(index, |link, around| link.dial(now, around));
        } else if !link.is_resting() && *link.spare_since.get_or_insert(now) + SPARE <= now {
            let owners = self.with_link(index, |link, around| link.dismiss(now, around)).unwrap_or_default();
            self.lost(index, owners);
            self.changed = true;
        }
    }

    fn publish(&mut self, now: Duration) {
        let own: Vec<Option<usize>> = self.routes.iter().map(Route::upstream).collect();
        let any = own.iter().flatten().next().copied();
        let up = |upstream: usize| match self.config.sharing {
            Sharing::Shared => self.links[upstream].state(Owner::Route).map(RouteUp::Shared),
            Sharing::Own => Some(RouteUp::Own { extranonce2: self.links[upstream].likely_extranonce2() }),
        };
        let states = self
            .routes
            .iter()
            .zip(&own)
            .map(|(route, own)| RouteState { weight: route.config.weight, up: own.or(any).and_then(up) });
        let snapshot = Snapshot { routes: states.collect() };
        self.out.push_back(Output::Publish(Arc::new(snapshot)));
        if self.config.sharing == Sharing::Own {
            let miners: Vec<_> = self.members.keys().copied().collect();
            miners.into_iter().for_each(|miner| self.seat(now, miner));
        }
    }

    /// The upstream that a route's miners mine for.
    fn upstream_of(&self, route: usize) -> Option<usize> {
        let own = self.routes.get(route).and_then(Route::upstream);
        own.or_else(|| self.routes.iter().find_map(Route::upstream))
    }

    /// Sees to it that a miner has a channel with the upstream of its route.
    fn seat(&mut self, now: Duration, miner: ConnectionId) {
        let Some(member) = self.members.get(&miner) else { return };
        let Some(upstream) = self.upstream_of(member.route).filter(|upstream| member.told != Some(*upstream)) else {
            return;
        };
        let (owner, username) = (Owner::Miner(miner), member.username.clone());
        if self.links[upstream].state(owner).is_some_and(|state| state.job.is_some()) {
            // It comes back to a channel that was not closed yet.
            return self.serve(now, miner, upstream);
        }
        let hashrate = self.config.miner_hashrate as f32;
        self.with_link(upstream, |link, around| {
            let identity = names::identity(&link.account(), &username).into();
            link.open(now, owner, identity, hashrate, around);
        });
    }

    /// Tells a miner what its channel is now, if that is with the upstream of its route.
    fn serve(&mut self, now: Duration, miner: ConnectionId, upstream: usize) {
        let Some(member) = self.members.get(&miner) else { return };
        if self.upstream_of(member.route) != Some(upstream) && member.told != Some(upstream) {
            return;
        }
        let Some(state) = self.links[upstream].state(Owner::Miner(miner)) else { return };
        let before = self.members.get_mut(&miner).and_then(|member| member.told.replace(upstream));
        self.letter(miner, Letter::Channel(Some(state)));
        if let Some(before) = before.filter(|before| *before != upstream) {
            self.closing.push_back((now + SPARE, before, miner));
        }
    }

    fn note_tip(&mut self, now: Duration, tip: BlockHash) {
        if self.tips.contains(&tip) {
            return;
        }
        if self.tips.len() >= KNOWN_TIPS {
            self.tips.pop_front();
        }
        self.tips.push_back(tip);
        if let Some(recycler) = &mut self.recycler {
            recycler.on_tip(now);
        }
    }

    /// What the miners of the upstream's route can do, as far as is known.
    fn hashrate_of_route(&self, now: Duration, upstream: usize) -> f32 {
        let route = self.routes.iter().position(|route| route.config.upstreams.contains(&upstream));
        let mut sum = 0.0;
        self.registry.for_each(|_, miner| {
            if miner.route == route {
                sum += Some(miner.hashrate(now)).filter(|rate| *rate > 0.0).unwrap_or(self.config.miner_hashrate);
            }
        });
        sum.max(self.config.miner_hashrate) as f32
    }

    fn tell_hashrates(&mut self, now: Duration) {
        let mut routes = vec![0.0; self.routes.len()];
        let mut miners = Vec::new();
        let own = self.config.sharing == Sharing::Own;
        self.registry.for_each(|id, miner| {
            let rate = miner.hashrate(now);
            if own {
                miners.push((id, rate));
            } else if let Some(sum) = miner.route.and_then(|route| routes.get_mut(route)) {
                *sum += rate;
            }
        });
        for (route, rate) in routes.into_iter().enumerate() {
            if let Some(upstream) = self.routes[route].upstream() {
                self.with_link(upstream, |link, around| link.update(now, Owner::Route, rate, around));
            }
        }
        for (miner, rate) in miners {
            if let Some(upstream) = self.members.get(&miner).and_then(|member| member.told) {
                self.with_link(upstream, |link, around| link.update(now, Owner::Miner(miner), rate, around));
            }
        }
    }

    /// Moves miners from routes that have more than their share of the hashrate to those that have less.
    fn balance(&mut self, now: Duration) {
        let weights: f64 = self.routes.iter().map(|route| route.config.weight).sum();
        if self.routes.len() < 2 || weights <= 0.0 || self.routes.iter().any(|route| route.active.is_none()) {
            return;
        }
        let mut miners = Vec::new();
        let mut rates = vec![0.0; self.routes.len()];
        self.registry.for_each(|id, miner| {
            let rate = miner.hashrate(now);
            if let Some(route) = miner.route.filter(|route| *route < rates.len() && rate > 0.0) {
                rates[route] += rate;
                miners.push((id, route, rate));
            }
        });
        let whole: f64 = rates.iter().sum();
        miners.sort_by(|a, b| b.2.total_cmp(&a.2));
        for _ in 0..MOVES {
            let excess: Vec<f64> = self
                .routes
                .iter()
                .zip(&rates)
                .map(|(route, rate)| rate - whole * route.config.weight / weights)
                .collect();
            let most = (0..excess.len()).max_by(|a, b| excess[*a].total_cmp(&excess[*b]));
            let least = (0..excess.len()).min_by(|a, b| excess[*a].total_cmp(&excess[*b]));
            let (Some(from), Some(to)) = (most, least) else { return };
            // A miner that is more than what is out of balance would only turn it round.
            let limit = excess[from].min(-excess[to]);
            let Some(index) = miners.iter().position(|(_, route, rate)| *route == from && *rate <= limit) else {
                return;
            };
            let (miner, _, rate) = miners.swap_remove(index);
            rates[from] -= rate;
            rates[to] += rate;
            self.letter(miner, Letter::Move(to));
            if let Some(member) = self.members.get_mut(&miner) {
                member.route = to;
                self.seat(now, miner);
            }
        }
    }
}

impl Route {
    /// Index of the active upstream.
    fn upstream(&self) -> Option<usize> {
        self.config.upstreams.get(self.active?).copied()
    }
}
