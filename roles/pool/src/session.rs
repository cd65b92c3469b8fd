//! One miner's connection of Stratum V2: setup, channels, jobs, shares (sv2-spec §3.6, §5.3). Sans-io.

mod announce;
pub(crate) mod conduct;
mod open;
#[cfg(test)]
mod tests;
pub(crate) mod vardiff;

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use binary_sv2::Str0_255;
use bitcoin::hashes::Hash as _;
use common_messages_sv2::{CommonMessages, Reconnect, SetupConnectionError, SetupConnectionSuccess};
use const_sv2::error_code;
use extensions_sv2::ExtensionNegotiation;
use framing_sv2::Header;
use mining_sv2::{CloseChannel, Mining, SetCustomMiningJobError, SubmitSharesError, UpdateChannel, UpdateChannelError};
use roles_logic_sv2::{
    accounting::{AckBatch, AckLimits, Ticket},
    channel::{
        group::{Channels, Member},
        server::{Channel, target_for_request},
    },
    extensions_message,
    extranonce::Space,
    ids::{ChannelId, JobId, SequenceNumber},
    setup::{MiningTerms, Request, Support, answer_extensions},
    share::{RejectReason, Rules, Share, Verdict},
    vardiff::{
        Vardiff,
        policy::{Device, TargetPolicies, TargetPolicy},
    },
};
use share_ledger::Difficulty;
use stratum_runtime::{
    bucket::TokenBucket,
    core::{Core, Sink},
};

use self::conduct::Conduct;
use crate::{
    hold::{Held, HeldShares, Hold},
    hub::Candidate,
    ledger::{Record, RejectCounts, Worker},
    limits::SessionLimits,
    payouts::{Payee, Payouts},
    registry::{ChannelGuard, ConnectionGuard, NewConnection, Protocol, Registry},
    snapshot::Snapshot,
    user::Policy,
};

/// Bytes that may wait for a peer, besides [`OUTBOUND_PER_CHANNEL`] for each of its channels.
pub const OUTBOUND_BASE: usize = 64 * 1024;
/// See [`OUTBOUND_BASE`].
pub const OUTBOUND_PER_CHANNEL: usize = 256;

/// Code of SubmitShares.Error for a share that was good, and that the ledger could not take (sv2-spec §5.3.14). Nobody was
/// credited, and the miner knows.
pub const NOT_RECORDED: &str = "not-recorded";

/// Refused shares are recorded this long after the first of them, as one number for each reason.
pub const REJECTS_INTERVAL: Duration = Duration::from_secs(60);

/// When a share is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acknowledge {
    /// When it is on disk: an acknowledged share outlives a power cut.
    #[default]
    Durable,
    /// When it was received and found good. It is written all the same, but a crash may take the last ones.
    Received,
}

/// What all sessions of a listener share.
#[derive(Debug)]
pub struct SessionConfig {
    /// Where channels get their search space from.
    pub space: Space,
    /// Whom blocks pay.
    pub payouts: Arc<Payouts>,
    /// What miners may choose from; the first holds for those who name none.
    pub policies: Vec<Policy>,
    /// What shares are judged by.
    pub rules: Rules,
    /// Which targets devices may have, and start with.
    pub targets: TargetPolicies,
    /// Whether targets follow what a channel delivers.
    pub vardiff: bool,
    /// When shares are acknowledged.
    pub acknowledge: Acknowledge,
    /// How many acknowledgements are put into one message.
    pub ack_limits: AckLimits,
    /// Channels on one connection.
    pub max_channels: usize,
    /// Time for SetupConnection.
    pub setup: Duration,
    /// Time from then on for the first channel.
    pub first_channel: Duration,
    /// What a connection may use up.
    pub limits: SessionLimits,
    /// Where connections and channels are shown.
    pub registry: Arc<Registry>,
    /// What the registry is to call the listener.
    pub listener: usize,
}

/// A miner's connection.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    state: State,
    deadline: Option<Duration>,
    /// When the channels' targets are looked at next.
    look: Option<Duration>,
    channels: Channels<Box<OpenChannel>>,
    groups: Vec<Group>,
    /// What holds for the device's targets.
    targets: TargetPolicy,
    snapshot: Option<Arc<Snapshot>>,
    /// Records under way to the disk, in order.
    owed: VecDeque<Owed>,
    /// Shares whose block is not on disk yet.
    held: HeldShares<(ChannelId, Ticket)>,
    /// Channels with shares to be acknowledged at the end of the turn.
    unacknowledged: Vec<ChannelId>,
    /// When a batch of acknowledgements ends by time.
    ack_at: Option<Duration>,
    rejects: Rejects,
    conduct: Conduct,
    /// What others see of it, once it is set up.
    card: Option<ConnectionGuard>,
    /// The server is about to end.
    draining: bool,
    peer: SocketAddr,
    label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AwaitSetup,
    Open(MiningTerms),
    Closed,
}

/// Records that follow each other.
#[derive(Debug)]
struct Owed {
    /// Whose shares they are; none for records that nobody waits for.
    channel: Option<ChannelId>,
    count: usize,
    /// A single share that is a block.
    block: Option<(Ticket, Held)>,
}

/// Refused shares that are yet to be recorded, besides those of open channels.
#[derive(Debug, Default)]
struct Rejects {
    /// When they are recorded.
    at: Option<Duration>,
    /// For channels that are not open.
    astray: RejectCounts,
    /// Of channels that were closed.
    closed: Vec<(Arc<Worker>, RejectCounts)>,
}

/// A group of channels: they have one payee and one full extranonce size.
#[derive(Clone, Copy, Debug)]
struct Group {
    id: ChannelId,
    payee: u64,
    full_extranonce_size: usize,
}

/// A channel, and what it was told.
#[derive(Debug)]
struct OpenChannel {
    channel: Channel,
    /// Whom its shares are credited to.
    worker: Arc<Worker>,
    payee: Arc<Payee>,
    acks: AckBatch,
    told: Told,
    /// What sets its target, if not the client alone.
    vardiff: Option<Vardiff>,
    /// Spare jobs that it got behind the active one.
    spares_used: usize,
    /// Refused shares that are yet to be recorded.
    rejects: RejectCounts,
    /// Invalid shares that it may still submit.
    invalid_shares: TokenBucket,
    /// What others see of it.
    card: ChannelGuard,
}

/// What a channel knows of tips and jobs.
#[derive(Debug, Default)]
struct Told {
    /// Number of the tip that was announced; 0 is none.
    tip: u64,
    /// The last job that was sent as active, or activated.
    active: Option<JobId>,
    /// Future jobs that were sent for the tip to come.
    futures: Vec<JobId>,
}

impl Member for Box<OpenChannel> {
    fn channel(&self) -> &Channel {
        &self.channel
    }

    fn channel_mut(&mut self) -> &mut Channel {
        &mut self.channel
    }
}

impl Session {
    /// A session with a peer that connected at `now`.
    pub fn new(now: Duration, peer: SocketAddr, config: Arc<SessionConfig>) -> Self {
        let deadline = Some(now + config.setup);
        let label = peer.to_string();
        Self {
            conduct: Conduct::new(now, config.limits),
            card: None,
            draining: false,
            targets: *config.targets.port(),
            config,
            state: State::AwaitSetup,
            deadline,
            look: None,
            channels: Channels::new(),
            groups: Vec::new(),
            snapshot: None,
            owed: VecDeque::new(),
            held: HeldShares::default(),
            unacknowledged: Vec::new(),
            ack_at: None,
            rejects: Rejects::default(),
            peer,
            label,
        }
    }

    fn close<S: Sink>(&mut self, sink: &mut S, reason: impl std::fmt::Display) {
        // Shares that came before, in the same read, were good all the same.
        self.acknowledge(sink);
        self.state = State::Closed;
        (self.deadline, self.look, self.ack_at) = (None, None, None);
        self.rejects.closed.extend(self.channels.iter_mut().map(|open| open.take_rejects()));
        self.channels = Channels::new();
        self.held = HeldShares::default();
        sink.disconnect(reason);
    }

    /// Closes a connection that no honest peer could have made, before anything was opened on it.
    fn close_for_abuse<S: Sink>(&mut self, sink: &mut S, reason: impl std::fmt::Display) {
        self.state = State::Closed;
        self.deadline = None;
        sink.disconnect_for_abuse(reason);
    }

    fn setup<S: Sink>(&mut self, now: Duration, header: Header, payload: &[u8], sink: &mut S) {
        let message = match CommonMessages::decode(header.message_type(), payload) {
            Ok(CommonMessages::SetupConnection(message)) if header.extension_type() == 0 => message,
            Ok(_) => return self.close_for_abuse(sink, "expected SetupConnection first (sv2-spec §3.6.1)"),
            Err(error) => return self.close_for_abuse(sink, format_args!("expected SetupConnection first: {error}")),
        };
        match Support::MINING.answer(&Request::from(&message)) {
            Ok(accepted) => {
                let terms = match MiningTerms::new(message.flags, accepted.flags) {
                    Ok(terms) => terms,
                    Err(error) => return self.close(sink, error),
                };
                self.label = format!("{} ({} {})", self.peer, message.vendor, message.firmware);
                let text = |field: &Str0_255<'_>| std::str::from_utf8(field.as_bytes()).unwrap_or_default().to_owned();
                let [vendor, hardware, firmware] =
                    [&message.vendor, &message.hardware_version, &message.firmware].map(text);
                let device = Device { vendor: &vendor, hardware_version: &hardware, firmware: &firmware };
                self.targets = *self.config.targets.for_device(&device);
                let device = &[&*vendor, &*hardware, &*firmware];
                let (listener, address) = (self.config.listener, self.peer);
                let new = NewConnection { listener, protocol: Protocol::V2, address, device };
                self.card = Some(self.config.registry.connect(now, new));
                self.state = State::Open(terms);
                self.deadline = Some(now + self.config.first_channel);
                sink.send(&SetupConnectionSuccess::from(accepted));
                self.ask_to_reconnect(sink);
            }
            Err(refused) => {
                sink.send(&SetupConnectionError::from(refused));
                self.close(sink, format_args!("SetupConnection refused: {refused}"));
            }
        }
    }

    fn extension<S: Sink>(&mut self, header: Header, payload: &[u8], sink: &mut S) {
        if header.extension_type() != const_sv2::extension::EXTENSIONS_NEGOTIATION {
            // sv2-spec §3.4.1: messages of unknown extensions are ignored.
            return;
        }
        match ExtensionNegotiation::decode(header.message_type(), payload) {
            Ok(ExtensionNegotiation::RequestExtensions(request)) => {
                let answer = answer_extensions(request.requested_extensions.iter(), &[], &[]);
                match extensions_message(request.request_id, answer.as_deref()) {
                    Ok(success) => sink.send(&success),
                    Err(refused) => sink.send(&refused),
                }
            }
            Ok(other) => self.close(sink, format_args!("{} is for clients", other.name())),
            Err(error) => self.close(sink, error),
        }
    }

    fn mining<S: Sink<Report = Candidate, Record = Record>>(
        &mut self,
        now: Duration,
        terms: MiningTerms,
        message: Mining<'_>,
        sink: &mut S,
    ) {
        self.conduct.count(now, &message);
        match message {
            Mining::OpenStandardMiningChannel(request) => self.open_standard(now, terms, &request, sink),
            Mining::OpenExtendedMiningChannel(request) => self.open_extended(now, terms, &request, sink),
            Mining::UpdateChannel(request) => self.update(now, request, sink),
            Mining::CloseChannel(request) => self.close_channel(&request, sink),
            Mining::SubmitSharesStandard(share) => {
                self.submit(now, ChannelId(share.channel_id), &Share::from(&share), sink);
            }
            Mining::SubmitSharesExtended(share) => {
                self.submit(now, ChannelId(share.channel_id), &Share::from(&share), sink);
            }
            Mining::SetCustomMiningJob(request) => sink.send(&SetCustomMiningJobError {
                channel_id: request.channel_id,
                request_id: request.request_id,
                error_code: Str0_255::from_truncated(error_code::set_custom_mining_job::JD_NOT_SUPPORTED),
            }),
            other => self.close(sink, format_args!("{} is for clients", other.name())),
        }
    }

    fn update<S: Sink>(&mut self, now: Duration, request: UpdateChannel, sink: &mut S) {
        let UpdateChannel { channel_id, nominal_hash_rate, maximum_target } = request;
        let TargetPolicy { shares_per_minute: per_minute, bounds, .. } = self.targets;
        let refused = match self.channels.get_mut(ChannelId(channel_id)) {
            None => error_code::update_channel::INVALID_CHANNEL_ID,
            Some(open) => {
                let max_target = maximum_target.into();
                match target_for_request(nominal_hash_rate, max_target, per_minute, bounds) {
                    Ok(named) => {
                        open.channel.set_max_target(max_target);
                        let target = match &mut open.vardiff {
                            Some(vardiff) => {
                                vardiff.update(now, nominal_hash_rate, max_target);
                                vardiff.target()
                            }
                            None => self.snapshot.as_ref().map_or(named, |snapshot| snapshot.keep_blocks(named)),
                        };
                        return open.retarget(now, target, self.snapshot.as_deref(), sink);
                    }
                    Err(error) => error.error_code(),
                }
            }
        };
        sink.send(&UpdateChannelError { channel_id, error_code: Str0_255::from_truncated(refused) });
    }

    fn close_channel<S: Sink>(&mut self, request: &CloseChannel<'_>, sink: &mut S) {
        let id = ChannelId(request.channel_id);
        // A channel's last shares may have come in the same read.
        self.acknowledge(sink);
        let closed = self.channels.close(id);
        if closed.is_empty() {
            tracing::debug!(peer = self.label, channel = id.0, "CloseChannel for a channel that is not open");
        }
        self.rejects.closed.extend(closed.into_iter().map(|mut open| open.take_rejects()));
        if self.channels.is_empty() {
            self.close(sink, format_args!("all channels closed: {}", request.reason_code));
        }
    }

    fn submit<S: Sink<Report = Candidate, Record = Record>>(
        &mut self,
        now: Duration,
        id: ChannelId,
        share: &Share,
        sink: &mut S,
    ) {
        let sequence_number = share.sequence_number;
        let Some(open) = self.channels.get_mut(id) else {
            self.rejects.astray.count(RejectReason::InvalidChannelId);
            self.rejects.at.get_or_insert(now + REJECTS_INTERVAL);
            refuse(id, sequence_number, RejectReason::InvalidChannelId, sink);
            if !self.conduct.tolerates_astray(now) {
                self.close(sink, "too many shares for channels that are not open");
            }
            return;
        };
        let verdict = open.channel.submit(now, share);
        // A block comes before everything else, whatever is wrong with the share.
        let held = verdict.block().map(|block| {
            let (hold, held) = Hold::new();
            sink.report(Candidate { candidate: block.clone(), finder: open.worker.clone(), hold });
            held
        });
        match verdict {
            Verdict::Accepted { work, difficulty, hash, .. } => {
                tracing::trace!(peer = self.label, channel = id.0, difficulty, "share accepted");
                self.conduct.last_work = Some(now);
                let record = Record::Share { worker: open.worker.clone(), at: now, work, hash };
                // Either bound is the journal's, and met when it is far behind.
                let taken = open.acks.begin(sequence_number, work).ok().filter(|ticket| {
                    let taken = sink.persist(record).is_ok();
                    if !taken {
                        open.acks.reject(*ticket);
                    }
                    taken
                });
                match taken {
                    None => {
                        open.card.not_recorded();
                        let error_code = Str0_255::from_truncated(NOT_RECORDED);
                        let SequenceNumber(sequence_number) = sequence_number;
                        sink.send(&SubmitSharesError { channel_id: id.0, sequence_number, error_code });
                    }
                    Some(ticket) => {
                        open.card.accepted(now, work, Difficulty::of_hash(hash.as_byte_array()));
                        let block = held.map(|held| {
                            open.acks.hold(ticket);
                            (ticket, held)
                        });
                        match (self.config.acknowledge, block) {
                            (Acknowledge::Durable, block) => owe(&mut self.owed, Some(id), block),
                            (Acknowledge::Received, Some((ticket, held))) => {
                                owe(&mut self.owed, None, None);
                                self.held.add(now, (id, ticket), held);
                            }
                            (Acknowledge::Received, None) => {
                                owe(&mut self.owed, None, None);
                                open.acks.accept(ticket);
                                if self.unacknowledged.last() != Some(&id) {
                                    self.unacknowledged.push(id);
                                }
                            }
                        }
                    }
                }
                if let Some(target) = open.vardiff.as_mut().and_then(|vardiff| vardiff.on_share(now, work)) {
                    open.retarget(now, target, self.snapshot.as_deref(), sink);
                }
            }
            Verdict::Rejected { reason, .. } => {
                tracing::debug!(peer = self.label, worker = %open.worker, channel = id.0, "share rejected: {reason}");
                open.rejects.count(reason);
                open.card.rejected(reason);
                self.rejects.at.get_or_insert(now + REJECTS_INTERVAL);
                refuse(id, sequence_number, reason, sink);
                if !self.conduct.tolerates(now, &mut open.invalid_shares, reason) {
                    self.close_flooded(id, sink);
                }
            }
        }
    }

    /// Sends the peer to the same endpoint again, once it may be spoken to.
    fn ask_to_reconnect<S: Sink>(&mut self, sink: &mut S) {
        if self.draining && matches!(self.state, State::Open(_)) {
            self.acknowledge(sink);
            sink.send(&Reconnect { new_host: Str0_255::from_truncated(""), new_port: 0 });
        }
    }

    /// Closes a channel that has submitted too many invalid shares, and then its connection.
    fn close_flooded<S: Sink>(&mut self, id: ChannelId, sink: &mut S) {
        self.acknowledge(sink);
        let closed = self.channels.close(id);
        self.rejects.closed.extend(closed.into_iter().map(|mut open| open.take_rejects()));
        let reason_code = Str0_255::from_truncated("too-many-invalid-shares");
        sink.send(&CloseChannel { channel_id: id.0, reason_code });
        tracing::info!(peer = self.label, channel = id.0, "channel closed: too many invalid shares");
        if self.channels.is_empty() || !self.conduct.tolerates_loss() {
            self.close(sink, "too many invalid shares");
        }
    }

    /// Acknowledges all that may be, however new it is.
    fn acknowledge<S: Sink>(&mut self, sink: &mut S) {
        for open in self.channels.iter_mut() {
            if let Some(ack) = open.acks.flush() {
                sink.send(&ack.message(open.channel.id()));
            }
        }
    }

    /// Acknowledges a channel's batch if it is full or its time has come.
    fn acknowledge_due<S: Sink>(&mut self, now: Duration, id: ChannelId, sink: &mut S) {
        let Some(open) = self.channels.get_mut(id) else { return };
        // At the end there may be no later time.
        let due = if self.draining { open.acks.flush() } else { open.acks.poll(now) };
        if let Some(ack) = due {
            sink.send(&ack.message(id));
        }
        self.ack_at = [self.ack_at, open.acks.poll_timeout()].into_iter().flatten().min();
    }

    /// Acknowledges shares whose block is on disk by now.
    fn release_held<S: Sink>(&mut self, now: Duration, sink: &mut S) {
        for (id, ticket) in self.held.take_over(now) {
            if let Some(open) = self.channels.get_mut(id) {
                open.acks.accept(ticket);
                self.unacknowledged.push(id);
            }
        }
        self.acknowledge_decided(now, sink);
    }

    /// Acknowledges what was decided, in one message for each channel.
    fn acknowledge_decided<S: Sink>(&mut self, now: Duration, sink: &mut S) {
        let mut ids = std::mem::take(&mut self.unacknowledged);
        ids.drain(..).for_each(|id| self.acknowledge_due(now, id, sink));
        self.unacknowledged = ids;
    }

    /// Records what was refused since the last time.
    fn record_rejects<S: Sink<Record = Record>>(&mut self, now: Duration, sink: &mut S) {
        self.rejects.at = None;
        let open = self.channels.iter_mut().map(|open| open.take_rejects());
        let closed = self.rejects.closed.drain(..);
        let named = closed.chain(open).map(|(worker, counts)| (Some(worker), counts));
        for (worker, mut counts) in named.chain([(None, std::mem::take(&mut self.rejects.astray))]) {
            for (reason, count) in counts.take() {
                let record = Record::Rejects { worker: worker.clone(), at: now, reason: reason.error_code(), count };
                // What is refused while the ledger is far behind is not counted: it is no money.
                if sink.persist(record).is_ok() {
                    owe(&mut self.owed, None, None);
                }
            }
        }
    }
}

impl OpenChannel {
    fn take_rejects(&mut self) -> (Arc<Worker>, RejectCounts) {
        (self.worker.clone(), std::mem::take(&mut self.rejects))
    }
}

fn owe(owed: &mut VecDeque<Owed>, channel: Option<ChannelId>, block: Option<(Ticket, Held)>) {
    match owed.back_mut() {
        Some(last) if last.channel == channel && last.block.is_none() && block.is_none() => last.count += 1,
        _ => owed.push_back(Owed { channel, count: 1, block }),
    }
}

fn refuse<S: Sink>(id: ChannelId, share: SequenceNumber, reason: RejectReason, sink: &mut S) {
    sink.send(&reason.message(id, share));
}

impl Core for Session {
    type Notice = Snapshot;
    type Report = Candidate;
    type Letter = std::convert::Infallible;
    type Record = Record;

    fn handle_frame<S: Sink<Report = Candidate, Record = Record>>(
        &mut self,
        now: Duration,
        header: Header,
        payload: &[u8],
        sink: &mut S,
    ) {
        let terms = match self.state {
            State::Closed => return,
            State::AwaitSetup => return self.setup(now, header, payload, sink),
            State::Open(terms) => terms,
        };
        if header.extension_type() != 0 {
            return self.extension(header, payload, sink);
        }
        match Mining::decode(header.message_type(), payload) {
            Ok(message) => self.mining(now, terms, message, sink),
            Err(error) => self.close(sink, error),
        }
    }

    fn finish_input<S: Sink<Report = Candidate, Record = Record>>(&mut self, now: Duration, sink: &mut S) {
        self.acknowledge_decided(now, sink);
        if !self.rejects.closed.is_empty() {
            self.record_rejects(now, sink);
        }
    }

    fn handle_durable<S: Sink<Report = Candidate, Record = Record>>(
        &mut self,
        now: Duration,
        mut count: usize,
        sink: &mut S,
    ) {
        while count > 0
            && let Some(next) = self.owed.front_mut()
        {
            let durable = count.min(next.count);
            let channel = next.channel;
            count -= durable;
            next.count -= durable;
            let done = if next.count == 0 { self.owed.pop_front() } else { None };
            let Some(id) = channel else { continue };
            if let Some((ticket, held)) = done.and_then(|done| done.block) {
                self.held.add(now, (id, ticket), held);
            } else if let Some(open) = self.channels.get_mut(id) {
                open.acks.accept_next(durable);
                if self.unacknowledged.last() != Some(&id) {
                    self.unacknowledged.push(id);
                }
            }
        }
        self.release_held(now, sink);
    }

    fn handle_notice<S: Sink<Report = Candidate, Record = Record>>(
        &mut self,
        now: Duration,
        notice: &Arc<Snapshot>,
        sink: &mut S,
    ) {
        if self.card.as_ref().is_some_and(ConnectionGuard::is_to_close) {
            return self.close(sink, "closed by the operator");
        }
        self.snapshot = Some(notice.clone());
        self.announce(now, notice, sink);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        [self.deadline, self.look, self.ack_at, self.rejects.at, self.held.poll_timeout()].into_iter().flatten().min()
    }

    fn handle_timeout<S: Sink<Report = Candidate, Record = Record>>(&mut self, now: Duration, sink: &mut S) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let missing = if self.state == State::AwaitSetup { "SetupConnection" } else { "channel" };
            self.close(sink, format_args!("no {missing} within the time allowed"));
        }
        if self.look.is_some_and(|look| look <= now) {
            self.look(now, sink);
        }
        if self.held.poll_timeout().is_some_and(|at| at <= now) {
            self.release_held(now, sink);
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            self.ack_at = None;
            let ids: Vec<ChannelId> = self.channels.iter().map(|open| open.channel.id()).collect();
            ids.into_iter().for_each(|id| self.acknowledge_due(now, id, sink));
        }
        if self.rejects.at.is_some_and(|at| at <= now) || !self.rejects.closed.is_empty() {
            self.record_rejects(now, sink);
        }
    }

    fn handle_drain<S: Sink<Report = Candidate>>(&mut self, _now: Duration, sink: &mut S) {
        self.draining = true;
        self.ask_to_reconnect(sink);
    }

    fn owes_answers(&self) -> bool {
        !self.held.is_empty()
    }

    fn is_established(&self) -> bool {
        matches!(self.state, State::Open(_)) && !self.channels.is_empty()
    }

    fn last_work(&self) -> Option<Duration> {
        self.conduct.last_work
    }

    fn paused_until(&self) -> Option<Duration> {
        self.conduct.paused_until()
    }

    fn outbound_limit(&self) -> usize {
        OUTBOUND_BASE + OUTBOUND_PER_CHANNEL * self.channels.len()
    }

    fn label(&self) -> Option<&str> {
        Some(&self.label)
    }
}
