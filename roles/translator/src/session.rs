//! One miner's connection: subscription, workers, jobs, difficulty, shares. Sans-io.
//!
//! The miner's shares are judged here, against its own difficulty. Those that the upstream wants go to the hub and are answered when
//! the upstream has spoken; all others are answered from here, and counted as local.
//!
//! # Limits
//! [`MAX_GIVEN`] jobs, [`MAX_WAITING`] shares without a verdict; workers by [`MAX_WORKERS`](stratum_v1::session::server::MAX_WORKERS);
//! rates by [`SessionConfig`].

mod difficulty;
mod jobs;
mod shares;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use framing_sv2::Header;
use roles_logic_sv2::{
    Target,
    extranonce::{Extranonce, Slot, Space},
    share::{DEFAULT_SHARE_QUOTA, SeenShares},
    vardiff::{
        Vardiff,
        policy::{Device, TargetPolicies, TargetPolicy},
    },
};
use stratum_runtime::{
    bucket::{Rate, TokenBucket},
    core::{ConnectionId, Core, Peer, Protocol, Sink},
};
use stratum_v1::{
    ErrorCode, Refusal,
    miner::{Authorize, Subscribe},
    pool::Reconnect,
    session::{
        Wishes,
        server::{Config, Event, Pending, Server},
    },
};

use self::{jobs::Given, shares::Waiting};
use crate::{
    job::ChannelState,
    names,
    room::{EXTRANONCE1, Room, Sharing},
    snapshot::{Crowd, Letter, Member, Report, RouteUp, Snapshot},
    stats::{Presence, Registry},
};

/// Jobs that a miner may submit shares for, old ones included.
pub const MAX_GIVEN: usize = 32;
/// Shares of a connection that may wait for the upstream's verdict; at the bound they are refused.
pub const MAX_WAITING: usize = 4_096;
/// How often an easier difficulty is thought about.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes that may wait for a miner before it is not read from any more: some jobs, of up to 16 KiB each in practice.
const OUTBOUND_LIMIT: usize = 64 * 1024;

/// What the configuration says about sessions of a listener.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Whether miners share a channel.
    pub sharing: Sharing,
    /// Bits of nVersion that miners may roll at most.
    pub version_mask: u32,
    /// Difficulties.
    pub targets: TargetPolicies,
    /// Whether difficulties follow what a miner delivers.
    pub vardiff: bool,
    /// Seconds by which a share's nTime may run ahead.
    pub ntime_tolerance: u32,
    /// How long a share waits for the upstream's verdict before it is answered provisionally.
    pub verdict_patience: Duration,
    /// Time for subscription and authorization, and for a route to come up again.
    pub patience: Duration,
    /// Lines that a miner may send.
    pub lines: Rate,
    /// Invalid shares that a miner may send.
    pub invalid_shares: Rate,
}

/// What all sessions share.
#[derive(Clone, Debug)]
pub struct Commons {
    /// The numbers that tell miners apart in their extranonces.
    pub slots: Space,
    /// Who is there.
    pub registry: Registry,
    /// How many are on each route.
    pub crowd: Crowd,
}

/// A miner's connection.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    commons: Commons,
    id: ConnectionId,
    peer: SocketAddr,
    label: String,
    server: Server,
    snapshot: Option<Arc<Snapshot>>,
    member: Option<Member>,
    presence: Option<Presence>,
    slot: Option<Slot>,
    /// A subscription that waits for a channel.
    waiting_subscription: Option<Pending>,
    /// Extranonce1 and the length of extranonce2, as the miner has them.
    told_extranonce: Option<(Vec<u8>, usize)>,
    /// Names upstream, by user name.
    workers: BTreeMap<String, Arc<str>>,
    /// The first worker's user name, until a channel of the miner's own was asked for.
    first_worker: Option<Arc<str>>,
    channel: Option<Arc<ChannelState>>,
    wishes: Wishes,
    policy: TargetPolicy,
    vardiff: Option<Vardiff>,
    /// The target of jobs to come, once the first difficulty is told.
    target: Option<Target>,
    told_target: Option<Target>,
    /// Bits of nVersion that the miner has agreed on, and those of them that it was told last.
    agreed_mask: u32,
    told_mask: u32,
    given: VecDeque<Given>,
    seen: SeenShares,
    waiting: BTreeMap<u32, Waiting>,
    next_ticket: u32,
    /// Everything before is answered, provisionally or not.
    next_unanswered: u32,
    look: Option<Duration>,
    /// When a miner without a job is sent away.
    deadline: Option<Duration>,
    lines: TokenBucket,
    invalid_shares: TokenBucket,
    last_work: Option<Duration>,
    closed: bool,
}

/// What a session's sink takes.
pub trait HubSink: Sink<Report = Report, Record = Infallible> {}

impl<S: Sink<Report = Report, Record = Infallible>> HubSink for S {}

impl Session {
    /// A session with a peer that connected at `now`.
    pub fn new(now: Duration, peer: Peer, config: Arc<SessionConfig>, commons: Commons) -> Self {
        Self {
            id: peer.connection,
            peer: peer.address,
            label: peer.address.to_string(),
            server: Server::new(Config { version_mask: config.version_mask }),
            snapshot: None,
            member: None,
            // Sv2 miners are sent away.
            presence: matches!(peer.protocol, Protocol::V1 { .. })
                .then(|| commons.registry.enter(now, peer.connection, peer.address)),
            slot: None,
            waiting_subscription: None,
            told_extranonce: None,
            workers: BTreeMap::new(),
            first_worker: None,
            channel: None,
            wishes: Wishes::default(),
            policy: *config.targets.port(),
            vardiff: None,
            target: None,
            told_target: None,
            agreed_mask: 0,
            told_mask: 0,
            given: VecDeque::new(),
            seen: SeenShares::new(),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            next_unanswered: 0,
            look: None,
            deadline: Some(now + config.patience),
            lines: TokenBucket::full(now, config.lines),
            invalid_shares: TokenBucket::full(now, config.invalid_shares),
            last_work: None,
            closed: false,
            config,
            commons,
        }
    }

    fn event<S: HubSink>(&mut self, now: Duration, event: Event, sink: &mut S) {
        match event {
            Event::Subscribe { request, subscribe } => self.subscribe(now, request, &subscribe, sink),
            Event::Authorize { request, authorize } => self.authorize(now, request, &authorize, sink),
            Event::Submit { request, submit } => self.submit(now, request, &submit, sink),
            Event::Configured { version_mask, minimum_difficulty, .. } => {
                (self.agreed_mask, self.told_mask) = (version_mask, version_mask);
                if let Some(difficulty) = minimum_difficulty {
                    self.wish(now, self.wishes.with_minimum(difficulty));
                }
            }
            Event::SuggestDifficulty(difficulty) => self.wish(now, self.wishes.with_suggestion(difficulty)),
            Event::SuggestTarget(mut target) => {
                target.reverse();
                self.wish(now, self.wishes.with_suggestion(Target::from_le_bytes(target).difficulty()));
            }
            Event::Refused { method, refusal, .. } => {
                let method = method.escape_debug();
                tracing::debug!(peer = self.label, %method, "request refused: {refusal}");
            }
            Event::UserAgent(_) | Event::ExtranonceSubscribed | Event::Alive => {}
        }
    }

    fn subscribe<S: HubSink>(&mut self, now: Duration, request: Pending, subscribe: &Subscribe, sink: &mut S) {
        if self.slot.is_none() {
            let Ok(slot) = self.commons.slots.allocate() else {
                let full = Refusal::with_reason(ErrorCode::Other, "No room for more miners");
                return self.server.refuse(request, &full);
            };
            self.slot = Some(slot);
            let agent = &subscribe.user_agent;
            let (vendor, firmware) = agent.split_once('/').unwrap_or((agent, ""));
            self.policy = *self.config.targets.for_device(&Device { vendor, hardware_version: "", firmware });
            self.label = format!("{} ({})", self.peer, agent.escape_debug());
            if let Some(presence) = &self.presence {
                presence.change(|stats| stats.user_agent.clone_from(agent));
            }
        }
        if let Some(earlier) = self.waiting_subscription.replace(request) {
            self.server.refuse(earlier, &Refusal::with_reason(ErrorCode::Other, "Subscribed again"));
        }
        self.join();
        self.answer_subscription();
        self.take_channel(now, sink);
    }

    /// Finds the miner a route, once it is known which there are.
    fn join(&mut self) {
        if self.slot.is_none() || self.member.is_some() {
            return;
        }
        let Some(snapshot) = self.snapshot.as_ref().filter(|snapshot| !snapshot.routes.is_empty()) else { return };
        let member = self.commons.crowd.join(snapshot);
        if let Some(presence) = &self.presence {
            presence.change(|stats| stats.route = Some(member.route()));
        }
        self.member = Some(member);
    }

    /// Answers a subscription as soon as it is known what the miner will roll.
    fn answer_subscription(&mut self) {
        let Some(slot) = self.slot.as_ref().map(Slot::index) else { return };
        let extranonce = match (&self.told_extranonce, &self.channel, self.up()) {
            (Some(told), ..) => told.clone(),
            (None, Some(channel), _) => channel.extranonce(slot),
            (None, None, Some(RouteUp::Shared(channel))) => channel.extranonce(slot),
            // Most devices name their worker only when they have an answer. The channel that follows is likely to fit.
            (None, None, Some(RouteUp::Own { extranonce2 })) => {
                match Room::new(Sharing::Own, EXTRANONCE1 + extranonce2) {
                    Ok(room) => (room.extranonce1(&Extranonce::EMPTY, slot), room.extranonce2()),
                    Err(_) => return,
                }
            }
            (None, None, None) => return,
        };
        if let Some(request) = self.waiting_subscription.take() {
            self.server.subscribed(request, &extranonce.0, extranonce.1);
            self.told_extranonce = Some(extranonce);
        }
    }

    /// Where the miner's route leads.
    fn up(&self) -> Option<&RouteUp> {
        let route = self.member.as_ref()?.route();
        self.snapshot.as_ref()?.routes.get(route)?.up.as_ref()
    }

    fn authorize<S: HubSink>(&mut self, now: Duration, request: Pending, authorize: &Authorize, sink: &mut S) {
        let Authorize { username, password } = authorize;
        if self.workers.is_empty() {
            self.first_worker = Some(username.as_str().into());
        }
        if !self.workers.contains_key(username) {
            self.workers.insert(username.clone(), names::field(username).into());
            if let Some(presence) = &self.presence {
                presence.change(|stats| stats.workers.push(username.clone()));
            }
            tracing::info!(peer = self.label, worker = %username.escape_debug(), "worker authorized");
        }
        self.server.authorized(request, username);
        self.wish(now, self.wishes.with_password(password));
        self.take_channel(now, sink);
    }

    /// Whether jobs are sent.
    fn is_open(&self) -> bool {
        self.server.is_subscribed() && !self.workers.is_empty()
    }

    /// Takes over what the route's shared channel is now.
    fn take_channel<S: HubSink>(&mut self, now: Duration, sink: &mut S) {
        if self.config.sharing == Sharing::Own {
            if let (Some(member), Some(username)) =
                (&self.member, self.first_worker.take_if(|_| self.server.is_subscribed()))
            {
                sink.report(Report::Open { from: self.id, route: member.route(), username });
            }
            return self.go_on(now, sink);
        }
        let channel = match self.up() {
            Some(RouteUp::Shared(channel)) => Some(channel.clone()),
            _ => None,
        };
        self.change_channel(now, channel, sink);
    }

    fn change_channel<S: HubSink>(&mut self, now: Duration, channel: Option<Arc<ChannelState>>, sink: &mut S) {
        let had_channel = self.channel.is_some();
        self.channel = channel;
        if self.channel.is_none() && had_channel {
            // What is on its way is for nobody.
            self.given.iter_mut().for_each(|given| given.retired = true);
            self.deadline = Some(now + self.config.patience);
        }
        self.answer_subscription();
        self.go_on(now, sink);
    }

    /// Gives the miner what it does not have yet.
    fn go_on<S: HubSink>(&mut self, now: Duration, sink: &mut S) {
        if let Some(channel) = self.channel.clone().filter(|_| self.is_open()) {
            self.announce(now, &channel, sink);
        }
    }

    fn close<S: HubSink>(&mut self, sink: &mut S, reason: impl std::fmt::Display) {
        self.flush(sink);
        self.closed = true;
        (self.look, self.deadline) = (None, None);
        sink.disconnect(reason);
    }

    /// Sends what the session has to say.
    fn flush<S: HubSink>(&mut self, sink: &mut S) {
        let lines = std::mem::take(self.server.output());
        if !lines.is_empty() {
            sink.send_lines(&lines);
        }
    }
}

impl ChannelState {
    /// What a miner with this slot has as extranonce1, and the length of its extranonce2: for the current job if there is one.
    fn extranonce(&self, slot: u32) -> (Vec<u8>, usize) {
        let prefix = self.job.as_ref().map_or(&self.prefix, |job| &job.prefix);
        (self.room.extranonce1(prefix, slot), self.room.extranonce2())
    }
}

impl Core for Session {
    type Notice = Snapshot;
    type Report = Report;
    type Letter = Letter;
    type Record = Infallible;

    fn handle_frame<S: HubSink>(&mut self, _: Duration, _: Header, _: &[u8], sink: &mut S) {
        self.closed = true;
        sink.disconnect("expected Stratum V1: devices of Stratum V2 connect to the pool, or to a proxy");
    }

    fn handle_line<S: HubSink>(&mut self, now: Duration, line: &[u8], sink: &mut S) {
        if self.closed {
            return;
        }
        self.lines.spend(now, self.config.lines, 1.0);
        match self.server.handle_line(line) {
            Ok(Some(event)) => self.event(now, event, sink),
            Ok(None) => {}
            Err(error) if self.is_open() => return self.close(sink, error),
            Err(error) => {
                self.closed = true;
                return sink.disconnect_for_abuse(error);
            }
        }
        if !self.closed {
            self.flush(sink);
        }
    }

    fn finish_input<S: HubSink>(&mut self, _: Duration, _: &mut S) {}

    fn handle_notice<S: HubSink>(&mut self, now: Duration, notice: &Arc<Snapshot>, sink: &mut S) {
        if self.closed {
            return;
        }
        self.snapshot = Some(notice.clone());
        self.join();
        self.answer_subscription();
        self.take_channel(now, sink);
        self.flush(sink);
    }

    fn handle_letter<S: HubSink>(&mut self, now: Duration, letter: Letter, sink: &mut S) {
        if self.closed {
            return;
        }
        match letter {
            Letter::Verdict { ticket, verdict } => self.verdict(now, ticket, verdict, sink),
            Letter::Channel(channel) => self.change_channel(now, channel, sink),
            Letter::Refused(reason) => {
                return self.close(sink, format_args!("the upstream gives no channel: {}", reason.escape_debug()));
            }
            Letter::Move(route) => {
                self.member = self.member.take().map(|member| member.moved(route));
                if let Some(presence) = &self.presence {
                    presence.change(|stats| stats.route = Some(route));
                }
                self.take_channel(now, sink);
            }
        }
        self.flush(sink);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        [self.deadline, self.look, self.next_provisional()].into_iter().flatten().min()
    }

    fn handle_timeout<S: HubSink>(&mut self, now: Duration, sink: &mut S) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let has_come = self.is_open() || self.waiting_subscription.is_some();
            let reason =
                if has_come { "no upstream is up" } else { "no subscription and no worker within the time allowed" };
            return self.close(sink, reason);
        }
        self.answer_provisionally(now);
        if self.look.is_some_and(|look| look <= now) {
            self.look(now);
        }
        self.flush(sink);
    }

    fn handle_drain<S: HubSink>(&mut self, _: Duration, sink: &mut S) {
        if self.server.is_subscribed() {
            self.server.reconnect(&Reconnect::default());
        }
        self.flush(sink);
    }

    fn is_established(&self) -> bool {
        self.is_open()
    }

    fn last_work(&self) -> Option<Duration> {
        self.last_work
    }

    fn paused_until(&self) -> Option<Duration> {
        self.lines.in_debt_until(self.config.lines)
    }

    fn outbound_limit(&self) -> usize {
        OUTBOUND_LIMIT
    }

    fn label(&self) -> Option<&str> {
        Some(&self.label)
    }
}
