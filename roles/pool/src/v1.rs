//! One miner's connection of Stratum V1: subscription, workers, jobs, shares. Sans-io.
//!
//! To the rest of the pool it is an extended channel of Stratum V2 (`roles_logic_sv2::channel::server`) with the same jobs,
//! verdicts, ledger and promise: a share is answered with `true` when it is durable ([`Acknowledge`](crate::session::Acknowledge)), and a block comes before
//! everything else. `docs/spec/v1.md` says what of the extranonce is whose, and where there was a choice.
//!
//! # Limits
//! Those of [`SessionConfig`]; workers by [`MAX_WORKERS`](stratum_v1::session::server::MAX_WORKERS), shares that wait for the disk by
//! [`MAX_OWED`].

mod announce;
mod difficulty;
mod shares;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use roles_logic_sv2::{
    ChannelId, Target, accounting,
    channel::server::{Channel, Open},
    ids::JobId,
    vardiff::{
        Vardiff,
        policy::{Device, TargetPolicy},
    },
};
use stratum_runtime::{
    bucket::TokenBucket,
    core::{Core, Sink},
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

use crate::{
    hold::{Held, HeldShares},
    hub::Candidate,
    ledger::{Record, RejectCounts, Worker},
    limits::SessionLimits,
    payouts::{Miner, Payee},
    registry::{ChannelGuard, ConnectionGuard, Kind, NewChannel, NewConnection, Protocol},
    session::{OUTBOUND_BASE, SessionConfig, conduct::Conduct, vardiff::LOOK_INTERVAL},
    snapshot::Snapshot,
    user::Policy,
};

/// Bytes of extranonce that the pool sets and the miner sees: what every device takes.
pub const EXTRANONCE1: usize = 4;
/// Bytes of extranonce that the miner rolls: some devices break with more, others want no less.
pub const EXTRANONCE2: usize = 8;
/// Shares of a connection that may wait for the disk; at the bound they are refused.
pub const MAX_OWED: usize = accounting::MAX_PENDING;
/// Bits of nVersion that miners of Stratum V1 may roll: firmware in the field knows those of BIP 320 and not more.
pub const VERSION_MASK: u32 = const_sv2::limits::BIP320_VERSION_MASK;

/// A miner's connection.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    server: Server,
    /// What was subscribed to.
    channel: Option<Channel>,
    /// Whom blocks pay: the first worker's.
    payee: Option<Arc<Payee>>,
    /// By user name.
    workers: HashMap<String, Member>,
    /// The first one's name: whose a block is that came under a name that was not authorized.
    first_worker: Option<Arc<Worker>>,
    wishes: Wishes,
    /// What holds for the device's targets.
    targets: TargetPolicy,
    vardiff: Option<Vardiff>,
    told: Told,
    snapshot: Option<Arc<Snapshot>>,
    /// Who waits for the next records under way to the disk, in order; nobody for those of refusals.
    owed: VecDeque<Option<Owed>>,
    /// Shares whose block is not on disk yet.
    held: HeldShares<Pending>,
    /// What others see of it, once it is open.
    card: Option<ConnectionGuard>,
    /// What the device calls itself.
    device: String,
    deadline: Option<Duration>,
    /// When the target is looked at next.
    look: Option<Duration>,
    /// When refused shares are recorded.
    rejects_at: Option<Duration>,
    invalid_shares: TokenBucket,
    conduct: Conduct,
    draining: bool,
    closed: bool,
    peer: SocketAddr,
    label: String,
}

/// A share whose record is under way to the disk.
#[derive(Debug)]
struct Owed {
    request: Pending,
    /// Where it is a block.
    block: Option<Held>,
}

/// A worker of the connection.
#[derive(Debug)]
struct Member {
    /// Counts the connection's workers from 1 up.
    number: u32,
    worker: Arc<Worker>,
    /// What others see of it, once the connection is open.
    card: Option<ChannelGuard>,
    /// Refused shares that are yet to be recorded.
    rejects: RejectCounts,
}

/// What the miner knows.
#[derive(Debug, Default)]
struct Told {
    /// The target that the last difficulty stands for.
    target: Option<Target>,
    /// The last job.
    job: Option<JobId>,
    /// Spare jobs that it got behind a job that all got.
    spares_used: usize,
    /// It was said that the coinbase is long.
    long_coinbase: bool,
}

/// What a session's sink takes.
pub trait PoolSink: Sink<Report = Candidate, Record = Record> {}

impl<S: Sink<Report = Candidate, Record = Record>> PoolSink for S {}

impl Session {
    /// A session with a peer that connected at `now`.
    pub fn new(now: Duration, peer: SocketAddr, config: Arc<SessionConfig>) -> Self {
        let SessionLimits { invalid_shares, .. } = config.limits;
        Self {
            server: Server::new(Config { version_mask: config.rules.version_mask & VERSION_MASK }),
            channel: None,
            payee: None,
            workers: HashMap::new(),
            first_worker: None,
            wishes: Wishes::default(),
            targets: *config.targets.port(),
            vardiff: None,
            told: Told::default(),
            snapshot: None,
            owed: VecDeque::new(),
            held: HeldShares::default(),
            card: None,
            device: String::new(),
            deadline: Some(now + config.setup + config.first_channel),
            look: None,
            rejects_at: None,
            invalid_shares: TokenBucket::full(now, invalid_shares),
            conduct: Conduct::new(now, config.limits),
            draining: false,
            closed: false,
            peer,
            label: peer.to_string(),
            config,
        }
    }

    fn event<S: PoolSink>(&mut self, now: Duration, event: Event, sink: &mut S) {
        if !matches!(event, Event::Submit { .. }) {
            self.conduct.count_request(now);
        }
        match event {
            Event::Subscribe { request, subscribe } => self.subscribe(now, request, &subscribe, sink),
            Event::Authorize { request, authorize } => self.authorize(now, request, &authorize, sink),
            Event::Submit { request, submit } => self.submit(now, request, &submit, sink),
            Event::Configured { minimum_difficulty, .. } => {
                if let Some(least) = minimum_difficulty {
                    self.wish(now, self.wishes.with_minimum(least), sink);
                }
            }
            Event::SuggestDifficulty(difficulty) => self.suggested(now, difficulty, sink),
            Event::SuggestTarget(mut target) => {
                target.reverse();
                self.suggested(now, Target::from_le_bytes(target).difficulty(), sink);
            }
            Event::Refused { method, refusal, share } => {
                tracing::debug!(peer = self.label, method, "request refused: {refusal}");
                if let Some(share) = share {
                    self.save_block(now, &share, sink);
                }
            }
            Event::UserAgent(_) | Event::ExtranonceSubscribed | Event::Alive => {}
        }
    }

    fn subscribe<S: PoolSink>(&mut self, now: Duration, request: Pending, subscribe: &Subscribe, sink: &mut S) {
        if self.channel.is_none() {
            let (vendor, firmware) = subscribe.user_agent.split_once('/').unwrap_or((&subscribe.user_agent, ""));
            self.targets = *self.config.targets.for_device(&Device { vendor, hardware_version: "", firmware });
            let Some(channel) = self.open() else {
                let full = Refusal::with_reason(ErrorCode::Other, "No room for more miners");
                return self.server.refuse(request, &full);
            };
            self.label = format!("{} ({})", self.peer, subscribe.user_agent.escape_debug());
            self.channel = Some(channel);
            self.device.clone_from(&subscribe.user_agent);
        }
        if let Some(prefix) = self.channel.as_ref().map(Channel::prefix) {
            let (_, extranonce1) = prefix.as_bytes().split_at(prefix.len().saturating_sub(EXTRANONCE1));
            self.server.subscribed(request, extranonce1, EXTRANONCE2);
        }
        self.begin(now, sink);
        self.ask_to_reconnect();
    }

    /// The channel that stands for the connection.
    fn open(&self) -> Option<Channel> {
        let SessionConfig { space, rules, .. } = &*self.config;
        let open = Open {
            channel_id: ChannelId(1),
            group_channel_id: ChannelId(0),
            slot: space.allocate().ok()?,
            max_target: Target::MAX,
            target: self.targets.bounds.easiest,
            rules: *rules,
        };
        // The pool's layout leaves more than that; what is not rolled stays zero.
        Channel::extended(open, space.layout().max_rollable()).ok()
    }

    fn authorize<S: PoolSink>(&mut self, now: Duration, request: Pending, authorize: &Authorize, sink: &mut S) {
        let Authorize { username, password } = authorize;
        if !self.workers.contains_key(username) {
            let Miner { account, worker, payee } = match self.miner(username) {
                Ok(miner) => miner,
                Err(reason) => {
                    let user = username.escape_debug();
                    tracing::info!(peer = self.label, %user, "worker refused: {reason}");
                    return self.server.refuse(request, &Refusal::with_reason(ErrorCode::Unauthorized, reason));
                }
            };
            let worker = Arc::new(Worker::new(account, worker));
            tracing::info!(peer = self.label, %worker, solo = !payee.is_pool(), "worker authorized");
            self.payee.get_or_insert(payee);
            self.first_worker.get_or_insert_with(|| worker.clone());
            let number = self.workers.len() as u32 + 1;
            let member = Member { number, worker, card: None, rejects: RejectCounts::default() };
            self.workers.insert(username.clone(), member);
            self.show_workers(now);
        }
        self.server.authorized(request, username);
        self.wish(now, self.wishes.with_password(password), sink);
        self.begin(now, sink);
    }

    fn miner(&self, username: &str) -> Result<Miner, String> {
        let miner = self.config.payouts.miner(&self.config.policies, username.as_bytes());
        let miner = miner.map_err(|refused| refused.to_string())?;
        match &self.payee {
            // All workers of a connection work on one job.
            Some(payee) if payee.number() != miner.payee.number() => {
                Err("expected workers of one connection to be paid alike; open another connection".to_owned())
            }
            _ => Ok(miner),
        }
    }

    /// Whether jobs are sent: the miner has subscribed, and it is known whom they pay.
    fn is_open(&self) -> bool {
        self.channel.is_some() && self.payee.is_some()
    }

    /// The first difficulty and the first job, once there is all that they need.
    fn begin<S: PoolSink>(&mut self, now: Duration, sink: &mut S) {
        if !self.is_open() || self.told.target.is_some() {
            return;
        }
        self.deadline = None;
        let target = self.start(now);
        if let Some(channel) = &mut self.channel {
            channel.set_target(target);
        }
        self.look = self.vardiff.is_some().then(|| now + LOOK_INTERVAL);
        let difficulty = self.channel.as_ref().map(|channel| channel.target().difficulty());
        tracing::info!(peer = self.label, difficulty, "miner of Stratum V1 begins");
        let (listener, address, device) = (self.config.listener, self.peer, &[&*self.device]);
        let new = NewConnection { listener, protocol: Protocol::V1, address, device };
        self.card = Some(self.config.registry.connect(now, new));
        self.show_workers(now);
        self.tell_difficulty();
        if let Some(snapshot) = self.snapshot.clone() {
            self.announce(now, &snapshot, sink);
        }
    }

    /// Gives each worker a card, so that others see it.
    fn show_workers(&mut self, now: Duration) {
        let (Some(card), Some(channel), Some(payee)) = (&self.card, &self.channel, &self.payee) else { return };
        let (policy, difficulty) =
            (if payee.is_pool() { Policy::Pool } else { Policy::Solo }, channel.target().difficulty());
        for Member { number, worker, card: own, .. } in self.workers.values_mut().filter(|member| member.card.is_none())
        {
            let worker = worker.clone();
            *own = Some(card.open(now, NewChannel { id: *number, kind: Kind::V1, policy, worker, difficulty }));
        }
    }

    /// Answers shares whose block is on disk by now.
    fn release_held(&mut self, now: Duration) {
        for request in self.held.take_over(now) {
            self.server.accept(request);
        }
    }

    fn close<S: PoolSink>(&mut self, now: Duration, sink: &mut S, reason: impl std::fmt::Display) {
        self.record_rejects(now, sink);
        self.flush(sink);
        self.end();
        sink.disconnect(reason);
    }

    fn end(&mut self) {
        self.closed = true;
        (self.deadline, self.look, self.rejects_at) = (None, None, None);
        self.channel = None;
        self.held = HeldShares::default();
        self.workers.clear();
        self.card = None;
    }

    /// Sends what the session has to say.
    fn flush<S: PoolSink>(&mut self, sink: &mut S) {
        let lines = std::mem::take(self.server.output());
        if !lines.is_empty() {
            sink.send_lines(&lines);
        }
    }

    /// Sends the peer to the same endpoint again, once it may be spoken to.
    fn ask_to_reconnect(&mut self) {
        if self.draining && self.server.is_subscribed() {
            self.server.reconnect(&Reconnect::default());
        }
    }
}

impl Core for Session {
    type Notice = Snapshot;
    type Report = Candidate;
    type Record = Record;
    type Letter = std::convert::Infallible;

    fn handle_frame<S: PoolSink>(&mut self, _: Duration, _: framing_sv2::Header, _: &[u8], sink: &mut S) {
        sink.disconnect("expected Stratum V1");
    }

    fn handle_line<S: PoolSink>(&mut self, now: Duration, line: &[u8], sink: &mut S) {
        if self.closed {
            return;
        }
        match self.server.handle_line(line) {
            Ok(Some(event)) => self.event(now, event, sink),
            Ok(None) => self.conduct.count_request(now),
            Err(error) if self.is_open() => return self.close(now, sink, error),
            Err(error) => {
                self.end();
                return sink.disconnect_for_abuse(error);
            }
        }
        self.flush(sink);
    }

    fn finish_input<S: PoolSink>(&mut self, _: Duration, _: &mut S) {}

    fn handle_durable<S: PoolSink>(&mut self, now: Duration, count: usize, sink: &mut S) {
        for Owed { request, block } in self.owed.drain(..count.min(self.owed.len())).flatten() {
            match block {
                None => self.server.accept(request),
                Some(block) => self.held.add(now, request, block),
            }
        }
        self.release_held(now);
        self.flush(sink);
    }

    fn handle_notice<S: PoolSink>(&mut self, now: Duration, notice: &Arc<Snapshot>, sink: &mut S) {
        if self.card.as_ref().is_some_and(ConnectionGuard::is_to_close) {
            return self.close(now, sink, "closed by the operator");
        }
        self.snapshot = Some(notice.clone());
        self.announce(now, notice, sink);
        self.flush(sink);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        [self.deadline, self.look, self.rejects_at, self.held.poll_timeout()].into_iter().flatten().min()
    }

    fn handle_timeout<S: PoolSink>(&mut self, now: Duration, sink: &mut S) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return self.close(now, sink, "no worker within the time allowed");
        }
        if self.look.is_some_and(|look| look <= now) {
            self.look(now, sink);
        }
        if self.held.poll_timeout().is_some_and(|at| at <= now) {
            self.release_held(now);
        }
        if self.rejects_at.is_some_and(|at| at <= now) {
            self.record_rejects(now, sink);
        }
        self.flush(sink);
    }

    fn handle_drain<S: PoolSink>(&mut self, _: Duration, sink: &mut S) {
        self.draining = true;
        self.ask_to_reconnect();
        self.flush(sink);
    }

    fn owes_answers(&self) -> bool {
        !self.held.is_empty()
    }

    fn is_established(&self) -> bool {
        self.is_open()
    }

    fn last_work(&self) -> Option<Duration> {
        self.conduct.last_work
    }

    fn paused_until(&self) -> Option<Duration> {
        self.conduct.paused_until()
    }

    fn outbound_limit(&self) -> usize {
        OUTBOUND_BASE
    }

    fn label(&self) -> Option<&str> {
        Some(&self.label)
    }
}
