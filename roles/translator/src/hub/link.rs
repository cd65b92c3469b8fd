//! One upstream: the connection, the channels on it, and the shares that wait for their verdict there. Sans-io.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use binary_sv2::{Message, Str0_255, U256};
use common_messages_sv2::Reconnect;
use const_sv2::extension::WORKER_HASHRATE_TRACKING;
use extensions_sv2::tlv::append_user_identity;
use framing_sv2::Header;
use mining_sv2::{
    CloseChannel, Mining as Message_, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess,
    SubmitSharesExtended, UpdateChannel,
};
use noise_sv2::url::EndpointUrl;
use roles_logic_sv2::{
    ChannelId,
    channel::{
        client::ClientChannel,
        clients::{ClientChannels, Handled},
    },
    protocol::Mining,
    session::client::{
        Connecting, Device, End, Incoming, Negotiation, Open, Output as Asked, Progress, setup_connection,
    },
};
use stratum_runtime::{backoff::Backoff, core::ConnectionId, redirect};

use super::{HubConfig, Output, UpstreamConfig};
use crate::{
    job::{ChannelKey, ChannelState, MinerJob},
    room::{Room, WANTED},
    snapshot::{ForwardedShare, Letter, UpstreamVerdict},
};

/// Shares of a channel that may wait for the upstream's verdict. At the bound further ones are answered with an error at once.
pub const MAX_PENDING: usize = 16_384;
/// A share that was sent so long ago and has no verdict shows an upstream that is no good any more, although its connection stands.
const VERDICT_DEADLINE: Duration = Duration::from_secs(60);
/// An upstream that sends nothing for so long is gone: pools send jobs more often than that.
const SILENCE: Duration = Duration::from_secs(300);
/// A connection that lasted so long was a good one; the delay before the next starts over.
const GOOD_CONNECTION: Duration = Duration::from_secs(60);
/// What servers may ask us to wait before we go elsewhere is not waited for: miners would stand still.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const MOST_DELAY: Duration = Duration::from_secs(30);
/// How far the hashrate must be from what the upstream was told before it is told anew.
const UPDATE_FACTOR: f64 = 1.15;

/// Whose a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// All miners of the upstream's route.
    Route,
    /// One miner.
    Miner(ConnectionId),
}

/// What a link tells the hub.
#[derive(Debug)]
pub enum LinkEvent {
    /// Channels can be opened.
    Up,
    /// A channel was opened, or something about it changed.
    Changed(Owner),
    /// The upstream closed a channel.
    Closed(Owner),
    /// The upstream opens no channel; with its code.
    Refused(Owner, Arc<str>),
}

/// Numbers that the whole translator counts up.
#[derive(Debug, Default)]
pub struct Counters {
    channel: u64,
    job: u32,
}

enum Phase {
    Resting { until: Duration },
    Dialling,
    Connecting(Connecting<Mining>),
    Open(Open<Mining>),
}

struct Opening {
    owner: Owner,
    /// Bytes of extranonce asked for.
    size: u16,
    identity: Arc<str>,
    hashrate: f32,
    deadline: Duration,
}

struct Channel {
    key: ChannelKey,
    owner: Owner,
    room: Room,
    job: Option<Arc<MinerJob>>,
    pending: VecDeque<PendingShare>,
    next_sequence: u32,
    announced: f32,
    announced_at: Duration,
}

struct PendingShare {
    sequence: u32,
    to: ConnectionId,
    ticket: u32,
    since: Duration,
}

/// An upstream.
pub struct Link {
    index: usize,
    config: UpstreamConfig,
    url: EndpointUrl,
    /// Where the upstream wants us next time.
    redirected: Option<EndpointUrl>,
    phase: Phase,
    /// Counts connections, so that what comes late of an earlier one is known.
    attempt: u64,
    backoff: Backoff,
    negotiation: Negotiation,
    connected_at: Duration,
    last_input: Duration,
    channels: ClientChannels,
    open: BTreeMap<ChannelId, Channel>,
    owners: BTreeMap<Owner, ChannelId>,
    keys: BTreeMap<ChannelKey, ChannelId>,
    opening: BTreeMap<u32, Opening>,
    /// Who waits for a channel.
    asked: BTreeSet<Owner>,
    next_request: u32,
    /// Bytes of extranonce that are asked for; less when the upstream refuses.
    wanted: u16,
    /// Length of extranonce2 on the channel that was opened last.
    extranonce2: Option<usize>,
    /// That has changed, and was not told.
    pub is_resized: bool,
    /// Since when a channel with a job is there, or channels can be opened where each miner has its own.
    pub ready_since: Option<Duration>,
    /// It has not failed since it was last wanted anew.
    pub is_fresh: bool,
    /// Since when nobody needs it.
    pub spare_since: Option<Duration>,
    /// Why it is down.
    pub problem: Option<String>,
    /// What the upstream confirmed and refused since the start, in shares.
    pub confirmed: u64,
    /// See `confirmed`.
    pub refused: u64,
}

/// What a link needs of its hub to act.
pub struct Surroundings<'a> {
    pub config: &'a HubConfig,
    pub counters: &'a mut Counters,
    pub random: u32,
    pub out: &'a mut VecDeque<Output>,
}

impl Link {
    pub fn new(index: usize, config: UpstreamConfig) -> Self {
        Self {
            index,
            url: config.url.clone(),
            redirected: None,
            config,
            phase: Phase::Resting { until: Duration::ZERO },
            attempt: 0,
            backoff: Backoff::new(FIRST_DELAY, MOST_DELAY),
            negotiation: Negotiation::new(&[WORKER_HASHRATE_TRACKING]),
            connected_at: Duration::ZERO,
            last_input: Duration::ZERO,
            channels: ClientChannels::new(),
            open: BTreeMap::new(),
            owners: BTreeMap::new(),
            keys: BTreeMap::new(),
            opening: BTreeMap::new(),
            asked: BTreeSet::new(),
            next_request: 0,
            wanted: WANTED,
            extranonce2: None,
            is_resized: false,
            ready_since: None,
            is_fresh: true,
            spare_since: None,
            problem: None,
            confirmed: 0,
            refused: 0,
        }
    }

    /// What it is called in logs.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// On its way to be ready.
    pub const fn is_coming(&self) -> bool {
        self.ready_since.is_none() && !matches!(self.phase, Phase::Resting { .. })
    }

    pub const fn is_resting(&self) -> bool {
        matches!(self.phase, Phase::Resting { .. })
    }

    /// Bytes that a miner of its own channel is likely to roll.
    pub fn likely_extranonce2(&self) -> usize {
        self.extranonce2.unwrap_or(crate::room::EXTRANONCE2)
    }

    /// Connects, if it is time.
    pub fn dial(&mut self, now: Duration, around: &mut Surroundings<'_>) {
        if let Phase::Resting { until } = self.phase
            && until <= now
        {
            self.attempt += 1;
            self.phase = Phase::Dialling;
            self.last_input = now;
            let (upstream, attempt, url) = (self.index, self.attempt, self.url.clone());
            around.out.push_back(Output::Dial { upstream, attempt, url, plain: self.config.plain });
        }
    }

    pub const fn is_attempt(&self, attempt: u64) -> bool {
        self.attempt == attempt && !matches!(self.phase, Phase::Resting { .. })
    }

    /// The connection came about, which took this long.
    pub fn connected(&mut self, now: Duration, took: Duration, around: &mut Surroundings<'_>) {
        let device = Device {
            vendor: "stratum",
            hardware_version: "translator",
            firmware: env!("CARGO_PKG_VERSION"),
            device_id: "",
        };
        let host = self.url.host().to_owned();
        let setup = setup_connection::<Mining>(0, &host, self.url.port(), &device);
        let connecting = Connecting::new(now, around.config.setup, &setup);
        self.phase = Phase::Connecting(connecting.with_extensions(&self.negotiation, took));
        (self.connected_at, self.last_input) = (now, now);
        self.send(&setup, around);
    }

    /// Ends the connection, with all that depends on it.
    pub fn fail(&mut self, now: Duration, reason: impl std::fmt::Display, around: &mut Surroundings<'_>) -> Vec<Owner> {
        let reason = reason.to_string();
        if now.saturating_sub(self.connected_at) > GOOD_CONNECTION && self.ready_since.is_some() {
            self.backoff.reset();
        }
        let delay = self.backoff.delay(around.random);
        tracing::warn!(upstream = self.name(), "upstream lost: {reason}; next try in {delay:?}");
        self.is_fresh = false;
        self.problem = Some(reason);
        self.end(now + delay, around)
    }

    /// Ends the connection because nobody needs it.
    pub fn dismiss(&mut self, now: Duration, around: &mut Surroundings<'_>) -> Vec<Owner> {
        if !self.is_resting() {
            tracing::info!(upstream = self.name(), "connection closed: not needed now");
        }
        self.is_fresh = true;
        self.end(now, around)
    }

    fn end(&mut self, until: Duration, around: &mut Surroundings<'_>) -> Vec<Owner> {
        if !self.is_resting() {
            around.out.push_back(Output::HangUp { upstream: self.index, attempt: self.attempt });
        }
        self.phase = Phase::Resting { until };
        self.url = self.redirected.take().unwrap_or_else(|| self.config.url.clone());
        (self.ready_since, self.spare_since) = (None, None);
        self.opening.clear();
        self.asked.clear();
        self.channels = ClientChannels::new();
        self.keys.clear();
        let lost = std::mem::take(&mut self.open);
        for channel in lost.into_values() {
            lose(channel, around);
        }
        std::mem::take(&mut self.owners).into_keys().collect()
    }

    /// A frame came. An error ends the connection.
    pub fn frame(
        &mut self,
        now: Duration,
        header: Header,
        payload: &[u8],
        around: &mut Surroundings<'_>,
    ) -> Result<Vec<LinkEvent>, String> {
        self.last_input = now;
        match std::mem::replace(&mut self.phase, Phase::Dialling) {
            Phase::Connecting(connecting) => match connecting.handle_frame(now, header, payload) {
                Ok(Progress::Open(open)) => {
                    let extensions = open.extensions();
                    tracing::info!(upstream = self.name(), url = %self.url, ?extensions, "upstream connected");
                    self.phase = Phase::Open(open);
                    self.problem = None;
                    Ok(vec![LinkEvent::Up])
                }
                Ok(Progress::Waiting(connecting, asked)) => {
                    self.phase = Phase::Connecting(connecting);
                    match asked {
                        Some(Asked::Send(message)) => self.send(&message, around),
                        Some(Asked::Reconnect(message)) => return Err(self.redirect(&message)),
                        None => {}
                    }
                    Ok(Vec::new())
                }
                Err(end) => Err(self.ended(&end)),
            },
            Phase::Open(mut open) => {
                let received = open.receive(header, payload);
                let incoming = match received {
                    Ok(Incoming::EndpointChanged(_)) => {
                        let request = open.request_extensions(&[WORKER_HASHRATE_TRACKING]);
                        self.phase = Phase::Open(open);
                        self.send(&request, around);
                        return Ok(Vec::new());
                    }
                    other => other,
                };
                self.phase = Phase::Open(open);
                match incoming.map_err(|violation| violation.to_string())? {
                    Incoming::Message(message) => {
                        let message = message.decode().map_err(|error| error.to_string())?;
                        self.message(now, &message, around)
                    }
                    Incoming::Reconnect(message) => Err(self.redirect(&message)),
                    _ => Ok(Vec::new()),
                }
            }
            other => {
                self.phase = other;
                Err("expected nothing before the connection is set up".to_owned())
            }
        }
    }

    fn ended(&mut self, end: &End) -> String {
        if *end == End::ExtensionsUnanswered {
            self.negotiation.unanswered();
        }
        end.to_string()
    }

    /// Goes where the upstream wants us, if it may; the next connection is there.
    fn redirect(&mut self, message: &Reconnect<'_>) -> String {
        let host = message.new_host.to_string();
        match redirect::follow(&self.config.url, self.config.plain, &self.url, &host, message.new_port) {
            Ok(url) => {
                self.redirected = Some(url.clone());
                format!("the upstream asks to reconnect to {url}")
            }
            Err(refusal) => format!("the upstream asks to reconnect elsewhere, which is not done: {refusal}"),
        }
    }

    fn message(
        &mut self,
        now: Duration,
        message: &Message_<'_>,
        around: &mut Surroundings<'_>,
    ) -> Result<Vec<LinkEvent>, String> {
        match message {
            Message_::OpenExtendedMiningChannelSuccess(success) => self.opened(now, success, around),
            Message_::OpenMiningChannelError(error) => {
                let code: Arc<str> = error.error_code.to_string().into();
                Ok(self.open_refused(now, error.request_id, &code, around))
            }
            Message_::SubmitSharesSuccess(success) => {
                self.confirm(ChannelId(success.channel_id), success.last_sequence_number, around);
                Ok(Vec::new())
            }
            Message_::SubmitSharesError(error) => {
                let code = error.error_code.to_string();
                self.refuse(ChannelId(error.channel_id), error.sequence_number, &code, around);
                Ok(Vec::new())
            }
            Message_::UpdateChannelError(error) => {
                let code = error.error_code.to_string();
                tracing::warn!(upstream = self.name(), "the upstream does not take the hashrate: {code}");
                Ok(Vec::new())
            }
            message => self.channel_message(now, message, around),
        }
    }

    fn channel_message(
        &mut self,
        now: Duration,
        message: &Message_<'_>,
        around: &mut Surroundings<'_>,
    ) -> Result<Vec<LinkEvent>, String> {
        let mut changed = Vec::new();
        let handled =
            self.channels.handle(now, message, |id, _| changed.push(id)).map_err(|error| error.to_string())?;
        if let Message_::SetExtranoncePrefix(prefix) = message {
            changed.push(ChannelId(prefix.channel_id));
        }
        match handled {
            Handled::Done => Ok(changed.into_iter().filter_map(|id| self.renew(id, around)).collect()),
            Handled::Closed(closed) => {
                let reason = match message {
                    Message_::CloseChannel(close) => close.reason_code.to_string(),
                    _ => String::new(),
                };
                tracing::warn!(
                    upstream = self.name(),
                    channels = closed.len(),
                    "the upstream closes channels: {reason}"
                );
                Ok(closed.into_iter().filter_map(|id| self.forget(id, around).map(LinkEvent::Closed)).collect())
            }
            Handled::Unknown(id) => {
                tracing::debug!(upstream = self.name(), %id, "message for a channel that is not open");
                Ok(Vec::new())
            }
            Handled::NotForChannels => {
                Err("expected what a server sends to a client that has asked for extended channels".to_owned())
            }
        }
    }

    /// Asks for a channel.
    pub fn open(
        &mut self,
        now: Duration,
        owner: Owner,
        identity: Arc<str>,
        hashrate: f32,
        around: &mut Surroundings<'_>,
    ) {
        if !self.is_open() || self.has(owner) {
            return;
        }
        self.next_request = self.next_request.wrapping_add(1);
        let message = OpenExtendedMiningChannel {
            request_id: self.next_request,
            user_identity: Str0_255::from_truncated(&identity),
            nominal_hash_rate: hashrate,
            max_target: U256::from_le_bytes([0xff; 32]),
            min_extranonce_size: self.wanted,
        };
        self.send(&message, around);
        let deadline = now + around.config.setup;
        self.asked.insert(owner);
        self.opening.insert(self.next_request, Opening { owner, size: self.wanted, identity, hashrate, deadline });
    }

    /// Whether a channel is open, or asked for.
    pub fn has(&self, owner: Owner) -> bool {
        self.owners.contains_key(&owner) || self.asked.contains(&owner)
    }

    fn opened(
        &mut self,
        now: Duration,
        success: &OpenExtendedMiningChannelSuccess,
        around: &mut Surroundings<'_>,
    ) -> Result<Vec<LinkEvent>, String> {
        let Some(Opening { owner, hashrate, .. }) = self.opening.remove(&success.request_id) else {
            return Err("expected an answer to a request for a channel, got another".to_owned());
        };
        let is_wanted = self.asked.remove(&owner);
        let mut client = ClientChannel::extended(success).map_err(|error| error.to_string())?;
        if let Phase::Open(open) = &self.phase {
            client.set_version_mask(open.terms().version_mask(around.config.version_mask));
        }
        let id = client.id();
        self.channels.insert(client).map_err(|error| error.to_string())?;
        if !is_wanted {
            // Its miner has gone meanwhile.
            self.close(id, around);
            return Ok(Vec::new());
        }
        let room = match Room::new(around.config.sharing, usize::from(success.extranonce_size)) {
            Ok(room) => room,
            Err(error) => {
                self.close(id, around);
                return Ok(vec![LinkEvent::Refused(owner, error.to_string().into())]);
            }
        };
        tracing::info!(
            upstream = self.name(),
            channel = %id,
            extranonce2 = room.extranonce2(),
            prefix = %roles_logic_sv2::extranonce::Extranonce::from(success.extranonce_prefix),
            "channel opened"
        );
        self.is_resized = self.extranonce2.replace(room.extranonce2()) != Some(room.extranonce2());
        around.counters.channel += 1;
        let key = ChannelKey(around.counters.channel);
        let channel = Channel {
            key,
            owner,
            room,
            job: None,
            pending: VecDeque::new(),
            next_sequence: 0,
            announced: hashrate,
            announced_at: now,
        };
        self.open.insert(id, channel);
        self.keys.insert(key, id);
        self.owners.insert(owner, id);
        Ok(vec![LinkEvent::Changed(owner)])
    }

    fn open_refused(
        &mut self,
        now: Duration,
        request: u32,
        code: &Arc<str>,
        around: &mut Surroundings<'_>,
    ) -> Vec<LinkEvent> {
        let Some(Opening { owner, size, identity, hashrate, .. }) = self.opening.remove(&request) else {
            return Vec::new();
        };
        if !self.asked.remove(&owner) {
            return Vec::new();
        }
        let is_size = &**code == const_sv2::error_code::open_mining_channel::MIN_EXTRANONCE_SIZE_TOO_LARGE;
        if is_size && size > around.config.sharing.least() {
            // Others may have been refused before.
            self.wanted = self.wanted.min(size - 1);
            tracing::debug!(upstream = self.name(), bytes = self.wanted, "asking for less extranonce");
            self.open(now, owner, identity, hashrate, around);
            return Vec::new();
        }
        vec![LinkEvent::Refused(owner, code.clone())]
    }

    /// Closes a miner's channel.
    pub fn close_owned(&mut self, owner: Owner, around: &mut Surroundings<'_>) {
        self.asked.remove(&owner);
        if let Some(id) = self.owners.get(&owner).copied() {
            self.close(id, around);
        }
    }

    fn close(&mut self, id: ChannelId, around: &mut Surroundings<'_>) {
        self.channels.remove(id);
        self.forget(id, around);
        self.send(&CloseChannel { channel_id: id.0, reason_code: Str0_255::from_truncated("") }, around);
    }

    fn forget(&mut self, id: ChannelId, around: &mut Surroundings<'_>) -> Option<Owner> {
        let channel = self.open.remove(&id)?;
        let owner = channel.owner;
        self.keys.remove(&channel.key);
        self.owners.remove(&owner);
        lose(channel, around);
        Some(owner)
    }

    /// Takes over what changed about a channel.
    fn renew(&mut self, id: ChannelId, around: &mut Surroundings<'_>) -> Option<LinkEvent> {
        let client = self.channels.get(id)?;
        let channel = self.open.get_mut(&id)?;
        let job = client.extended_job();
        let is_known = |have: &Arc<MinerJob>| {
            job.as_ref().is_some_and(|job| have.upstream_id == job.job_id && have.tip.prev_hash == job.tip.prev_hash)
        };
        if !channel.job.as_ref().is_some_and(is_known) {
            channel.job = job.map(|job| {
                around.counters.job = around.counters.job.wrapping_add(1);
                MinerJob::new(around.counters.job, channel.key, channel.room, around.config.version_mask, &job)
            });
        }
        Some(LinkEvent::Changed(channel.owner))
    }

    /// What the miners of a channel are to know.
    pub fn state(&self, owner: Owner) -> Option<Arc<ChannelState>> {
        let id = self.owners.get(&owner)?;
        let (client, channel) = (self.channels.get(*id)?, self.open.get(id)?);
        let target = client.target();
        Some(Arc::new(ChannelState {
            key: channel.key,
            upstream: self.index,
            room: channel.room,
            prefix: *client.prefix(),
            job: channel.job.clone(),
            job_target: client.extended_job().map_or(target, |job| job.target),
            target,
        }))
    }

    /// The account upstream.
    pub fn account(&self) -> Arc<str> {
        self.config.user.as_str().into()
    }

    /// Whether a channel is one of this upstream's.
    pub fn holds(&self, channel: ChannelKey) -> bool {
        self.keys.contains_key(&channel)
    }

    /// Sends a share of one of our channels. False when the channel is not here.
    pub fn submit(&mut self, now: Duration, share: &ForwardedShare, around: &mut Surroundings<'_>) -> bool {
        let Some(id) = self.keys.get(&share.channel).copied() else { return false };
        let Some(channel) = self.open.get_mut(&id) else { return false };
        if channel.pending.len() >= MAX_PENDING {
            answer(share.from, share.ticket, UpstreamVerdict::Lost("upstream-congested"), around);
            return true;
        }
        let sequence = channel.next_sequence;
        channel.next_sequence = sequence.wrapping_add(1);
        channel.pending.push_back(PendingShare { sequence, to: share.from, ticket: share.ticket, since: now });
        let message = SubmitSharesExtended {
            channel_id: id.0,
            sequence_number: sequence,
            job_id: share.job_id.0,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: share.rolled.into(),
        };
        let names_workers = matches!(&self.phase, Phase::Open(open) if open.has_extension(WORKER_HASHRATE_TRACKING));
        let worker = names_workers.then(|| share.worker.as_bytes());
        self.send_with(&message, worker, around);
        true
    }

    fn confirm(&mut self, id: ChannelId, last: u32, around: &mut Surroundings<'_>) {
        let Some(channel) = self.open.get_mut(&id) else { return };
        // Numbers wrap; what is behind `last` is no more than half of them away.
        let covered = |share: &PendingShare| last.wrapping_sub(share.sequence) < 1 << 31;
        while channel.pending.front().is_some_and(covered) {
            let Some(share) = channel.pending.pop_front() else { return };
            self.confirmed += 1;
            answer(share.to, share.ticket, UpstreamVerdict::Accepted, around);
        }
    }

    fn refuse(&mut self, id: ChannelId, sequence: u32, code: &str, around: &mut Surroundings<'_>) {
        let Some(channel) = self.open.get_mut(&id) else { return };
        let found = channel.pending.iter().position(|share| share.sequence == sequence);
        let Some(share) = found.and_then(|index| channel.pending.remove(index)) else {
            tracing::debug!(
                upstream = self.config.name,
                sequence,
                "a refusal of a share that does not wait for one: {code}"
            );
            return;
        };
        self.refused += 1;
        answer(share.to, share.ticket, UpstreamVerdict::Rejected(code.into()), around);
    }

    /// Tells the upstream a channel's hashrate, if it is another one and was not told lately.
    pub fn update(&mut self, now: Duration, owner: Owner, hashrate: f64, around: &mut Surroundings<'_>) {
        let Some(id) = self.owners.get(&owner).copied() else { return };
        let Some(channel) = self.open.get_mut(&id) else { return };
        let ratio = hashrate / f64::from(channel.announced);
        let is_other = !(1.0 / UPDATE_FACTOR..=UPDATE_FACTOR).contains(&ratio);
        if hashrate <= 0.0 || !is_other || now < channel.announced_at + around.config.update_interval {
            return;
        }
        (channel.announced, channel.announced_at) = (hashrate as f32, now);
        let maximum_target = U256::from_le_bytes([0xff; 32]);
        self.send(&UpdateChannel { channel_id: id.0, nominal_hash_rate: hashrate as f32, maximum_target }, around);
    }

    /// Looks at the clock. An error ends the connection.
    pub fn tick(&mut self, now: Duration) -> Result<(), String> {
        match &self.phase {
            Phase::Resting { .. } | Phase::Dialling => return Ok(()),
            Phase::Connecting(connecting) => {
                let result = connecting.handle_timeout(now);
                return result.map_err(|end| self.ended(&end));
            }
            Phase::Open(_) => {}
        }
        if self.opening.values().any(|opening| opening.deadline <= now) {
            return Err("the upstream does not answer a request for a channel".to_owned());
        }
        let oldest = self.open.values().filter_map(|channel| channel.pending.front()).map(|share| share.since).min();
        if oldest.is_some_and(|since| since + VERDICT_DEADLINE <= now) {
            return Err(format!("the upstream has not answered a share for {VERDICT_DEADLINE:?}"));
        }
        if self.last_input + SILENCE <= now {
            return Err(format!("the upstream has sent nothing for {SILENCE:?}"));
        }
        Ok(())
    }

    /// Shares without a verdict.
    pub fn pending(&self) -> usize {
        self.open.values().map(|channel| channel.pending.len()).sum()
    }

    /// Channels that are open.
    pub fn channels(&self) -> usize {
        self.open.len()
    }

    fn send<M: Message>(&self, message: &M, around: &mut Surroundings<'_>) {
        self.send_with(message, None, around);
    }

    /// Sends a message, with the worker's name behind it.
    fn send_with<M: Message>(&self, message: &M, worker: Option<&[u8]>, around: &mut Surroundings<'_>) {
        let Ok(mut payload) = binary_sv2::to_bytes(message) else { return };
        if let Some(worker) = worker {
            // Names are cut to fit.
            let _ = append_user_identity(&mut payload, worker);
        }
        if let Ok(header) = Header::of::<M>(payload.len()) {
            around.out.push_back(Output::Send { upstream: self.index, attempt: self.attempt, header, payload });
        }
    }
}

/// Tells a session what became of its share.
fn answer(to: ConnectionId, ticket: u32, verdict: UpstreamVerdict, around: &mut Surroundings<'_>) {
    around.out.push_back(Output::Letter { to, letter: Letter::Verdict { ticket, verdict } });
}

/// Nobody will say what becomes of the shares of a channel that has ended.
fn lose(channel: Channel, around: &mut Surroundings<'_>) {
    for share in channel.pending {
        answer(share.to, share.ticket, UpstreamVerdict::Lost("upstream-lost"), around);
    }
}
