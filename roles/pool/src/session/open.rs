//! Opening channels (sv2-spec §5.3.2 to §5.3.6).

use std::time::Duration;

use binary_sv2::{Str0_255, U256};
use const_sv2::error_code::open_mining_channel as code;
use mining_sv2::{OpenExtendedMiningChannel, OpenMiningChannelError, OpenStandardMiningChannel};
use roles_logic_sv2::{
    OpenSuccess, RequestId,
    accounting::AckBatch,
    channel::{
        group::{GroupChannel, GroupError},
        server::{Channel, Open, target_for_request},
    },
    ids::ChannelId,
    setup::MiningTerms,
    vardiff::Vardiff,
};
use stratum_runtime::core::Sink;

use super::{OpenChannel, Session, SessionConfig, Told, vardiff::LOOK_INTERVAL};

/// What both kinds of channels ask for.
struct Wanted<'a> {
    request_id: u32,
    user: &'a Str0_255<'a>,
    nominal_hash_rate: f32,
    max_target: U256,
}

impl Session {
    pub(super) fn open_standard<S: Sink>(
        &mut self,
        now: Duration,
        terms: MiningTerms,
        request: &OpenStandardMiningChannel<'_>,
        sink: &mut S,
    ) {
        let OpenStandardMiningChannel { request_id, user_identity: user, nominal_hash_rate, max_target } = request;
        let wanted =
            Wanted { request_id: *request_id, user, nominal_hash_rate: *nominal_hash_rate, max_target: *max_target };
        let channel = terms.check_standard_channel().and_then(|()| self.open(&wanted)).map(Channel::standard);
        self.answer_open(now, channel, &wanted, sink);
    }

    pub(super) fn open_extended<S: Sink>(
        &mut self,
        now: Duration,
        terms: MiningTerms,
        request: &OpenExtendedMiningChannel<'_>,
        sink: &mut S,
    ) {
        let OpenExtendedMiningChannel { request_id, user_identity: user, nominal_hash_rate, max_target, .. } = request;
        let wanted =
            Wanted { request_id: *request_id, user, nominal_hash_rate: *nominal_hash_rate, max_target: *max_target };
        // Devices in the field expect exactly the size that they asked for.
        let size = usize::from(request.min_extranonce_size);
        let channel = terms
            .check_extended_channel()
            .and_then(|()| self.open(&wanted))
            .and_then(|open| Channel::extended(open, size).map_err(|_| code::MIN_EXTRANONCE_SIZE_TOO_LARGE));
        self.answer_open(now, channel, &wanted, sink);
    }

    /// What a new channel is made of, or the code of the error.
    fn open(&mut self, wanted: &Wanted<'_>) -> Result<Open, &'static str> {
        if self.channels.len() >= self.config.max_channels {
            return Err(code::CHANNEL_CAPACITY_EXHAUSTED);
        }
        let max_target = wanted.max_target.into();
        let (per_minute, bounds) = (self.config.shares_per_minute, self.config.bounds);
        let named = target_for_request(wanted.nominal_hash_rate, max_target, per_minute, bounds)
            .map_err(|error| error.error_code())?;
        let start = self.config.start.filter(|_| wanted.nominal_hash_rate == 0.0);
        let target = start.map_or(named, |start| bounds.for_client(max_target).clamp(start));
        let target = self.snapshot.as_ref().map_or(target, |snapshot| snapshot.keep_blocks(target));
        let slot = self.config.space.allocate().map_err(|_| code::CHANNEL_CAPACITY_EXHAUSTED)?;
        // Ids are never used twice on a connection; a peer that uses up all of them has to connect anew.
        let group_channel_id = self.group(slot.full_prefix().len()).map_err(|_| code::CHANNEL_CAPACITY_EXHAUSTED)?;
        let channel_id = self.channels.next_id().map_err(|_| code::CHANNEL_CAPACITY_EXHAUSTED)?;
        Ok(Open { channel_id, group_channel_id, slot, max_target, target, rules: self.config.rules })
    }

    /// The group for a new channel. A group's jobs are the same for all its members.
    fn group(&mut self, full_extranonce_size: usize) -> Result<ChannelId, GroupError> {
        let fits = |group: &&GroupChannel| group.full_extranonce_size() == full_extranonce_size;
        let group = self.channels.groups().find(fits).map(GroupChannel::id);
        group.map_or_else(|| self.channels.open_group(full_extranonce_size), Ok)
    }

    /// Sends the answer, and behind it the channel's first job (sv2-spec §5.3.15).
    fn answer_open<S: Sink>(
        &mut self,
        now: Duration,
        channel: Result<Channel, &'static str>,
        wanted: &Wanted<'_>,
        sink: &mut S,
    ) {
        let (request_id, user) = (wanted.request_id, wanted.user.to_string());
        let channel = match channel {
            Ok(channel) => channel,
            Err(code) => {
                tracing::info!(peer = self.label, user, "channel refused: {code}");
                let error_code = Str0_255::from_truncated(code);
                return sink.send(&OpenMiningChannelError { request_id, error_code });
            }
        };
        let (id, kind, difficulty) = (channel.id(), channel.kind(), channel.target().difficulty());
        tracing::info!(peer = self.label, user, channel = id.0, ?kind, difficulty, "channel opened");
        match channel.open_success(RequestId(request_id)) {
            OpenSuccess::Standard(message) => sink.send(&message),
            OpenSuccess::Extended(message) => sink.send(&message),
        }
        self.deadline = None;
        let SessionConfig { shares_per_minute, bounds, vardiff, .. } = *self.config;
        let vardiff = vardiff.then(|| {
            let max_target = wanted.max_target.into();
            Vardiff::new(now, shares_per_minute, bounds, max_target, wanted.nominal_hash_rate)
                .with_start(channel.target())
        });
        if vardiff.is_some() && self.look.is_none() {
            self.look = Some(now + LOOK_INTERVAL);
        }
        let open = OpenChannel { channel, user, acks: AckBatch::new(), told: Told::default(), vardiff, spares_used: 0 };
        if let Err(error) = self.channels.insert(Box::new(open)) {
            tracing::error!(peer = self.label, channel = id.0, "channel can not be kept: {error}");
            return self.close(sink, "internal error: a channel does not fit its group");
        }
        if let Some(snapshot) = self.snapshot.clone() {
            self.announce_to(now, id, &snapshot, sink);
        }
    }
}
