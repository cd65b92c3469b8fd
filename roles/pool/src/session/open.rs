//! Opening channels (sv2-spec §5.3.2 to §5.3.6).

use std::{sync::Arc, time::Duration};

use binary_sv2::Str0_255;
use const_sv2::error_code::open_mining_channel as code;
use mining_sv2::{OpenExtendedMiningChannel, OpenMiningChannelError, OpenStandardMiningChannel};
use roles_logic_sv2::{
    OpenSuccess, RequestId, Target,
    accounting::AckBatch,
    channel::server::{Channel, Open},
    ids::ChannelId,
    setup::MiningTerms,
    vardiff::Vardiff,
};
use stratum_runtime::core::Sink;

use super::{Group, OpenChannel, Session, Told, vardiff::LOOK_INTERVAL};
use crate::{
    ledger::{RejectCounts, Worker},
    payouts::{Miner, Payee, Refused},
    registry::{Kind, NewChannel},
    user::Policy,
};

/// What either kind of channel is asked for with.
struct Wanted<'a> {
    request_id: u32,
    user: &'a [u8],
    nominal_hash_rate: f32,
    max_target: Target,
    /// Bytes of extranonce to roll; absent for a standard channel.
    extranonce_size: Option<usize>,
}

/// Why there is no channel: a code of sv2-spec §5.3.6, and what is wrong with the user identity, if that is it.
struct Refusal {
    code: &'static str,
    user: Option<Refused>,
}

impl From<&'static str> for Refusal {
    fn from(code: &'static str) -> Self {
        Self { code, user: None }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooManyPayees => code::CHANNEL_CAPACITY_EXHAUSTED.into(),
            refused => Self { code: code::INVALID_USER_IDENTITY, user: Some(refused) },
        }
    }
}

/// The code comes first, for programs; the rest of it is for people.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code)?;
        self.user.as_ref().map_or(Ok(()), |user| write!(f, ": {user}"))
    }
}

impl Session {
    pub(super) fn open_standard<S: Sink>(
        &mut self,
        now: Duration,
        terms: MiningTerms,
        request: &OpenStandardMiningChannel<'_>,
        sink: &mut S,
    ) {
        let wanted = Wanted {
            request_id: request.request_id,
            user: request.user_identity.as_bytes(),
            nominal_hash_rate: request.nominal_hash_rate,
            max_target: request.max_target.into(),
            extranonce_size: None,
        };
        self.open(now, terms.check_standard_channel(), &wanted, sink);
    }

    pub(super) fn open_extended<S: Sink>(
        &mut self,
        now: Duration,
        terms: MiningTerms,
        request: &OpenExtendedMiningChannel<'_>,
        sink: &mut S,
    ) {
        let wanted = Wanted {
            request_id: request.request_id,
            user: request.user_identity.as_bytes(),
            nominal_hash_rate: request.nominal_hash_rate,
            max_target: request.max_target.into(),
            // Devices in the field expect exactly the size that they asked for.
            extranonce_size: Some(request.min_extranonce_size.into()),
        };
        self.open(now, terms.check_extended_channel(), &wanted, sink);
    }

    fn open<S: Sink>(&mut self, now: Duration, allowed: Result<(), &'static str>, wanted: &Wanted<'_>, sink: &mut S) {
        let opened = allowed.map_err(Refusal::from).and_then(|()| self.make(now, wanted));
        match opened {
            Ok(open) => self.answer(now, wanted.request_id, open, sink),
            Err(refusal) => {
                let user = wanted.user.escape_ascii();
                tracing::info!(peer = self.label, %user, "channel refused: {refusal}");
                let text = refusal.to_string();
                let error_code = Str0_255::from_truncated(&text);
                sink.send(&OpenMiningChannelError { request_id: wanted.request_id, error_code });
            }
        }
    }

    /// The channel, not yet one of the connection's.
    fn make(&mut self, now: Duration, wanted: &Wanted<'_>) -> Result<OpenChannel, Refusal> {
        let full = code::CHANNEL_CAPACITY_EXHAUSTED;
        if self.channels.len() >= self.config.max_channels {
            return Err(full.into());
        }
        let config = self.config.clone();
        let Wanted { nominal_hash_rate, max_target, .. } = *wanted;
        let targets = self.targets;
        let target = targets.first_target(nominal_hash_rate, max_target, None).map_err(|error| error.error_code())?;
        let target = self.snapshot.as_ref().map_or(target, |snapshot| snapshot.keep_blocks(target));
        let Miner { account, worker, payee } = config.payouts.miner(&config.policies, wanted.user)?;
        let slot = config.space.allocate().map_err(|_| full)?;
        let group_channel_id = self.group(&payee, slot.full_prefix().len()).ok_or(full)?;
        // Ids are never used twice on a connection; a peer that uses up all of them has to connect anew.
        let channel_id = self.channels.next_id().map_err(|_| full)?;
        let open = Open { channel_id, group_channel_id, slot, max_target, target, rules: config.rules };
        let channel = match wanted.extranonce_size {
            None => Channel::standard(open),
            Some(size) => Channel::extended(open, size).map_err(|_| code::MIN_EXTRANONCE_SIZE_TOO_LARGE)?,
        };
        let vardiff = config.vardiff.then(|| {
            Vardiff::new(now, targets.shares_per_minute, targets.bounds, max_target, nominal_hash_rate)
                .with_start(channel.target())
        });
        let worker = Arc::new(Worker::new(account, worker));
        let kind = if wanted.extranonce_size.is_some() { Kind::Extended } else { Kind::Standard };
        let policy = if payee.is_pool() { Policy::Pool } else { Policy::Solo };
        let difficulty = channel.target().difficulty();
        let new = NewChannel { id: channel_id.0, kind, policy, worker: worker.clone(), difficulty };
        // A session without one is not set up, and has been asked for no channel.
        let card = self.card.as_ref().ok_or(full)?.open(now, new);
        Ok(OpenChannel {
            channel,
            worker,
            payee,
            acks: AckBatch::with_limits(config.ack_limits),
            told: Told::default(),
            vardiff,
            spares_used: 0,
            rejects: RejectCounts::default(),
            invalid_shares: self.conduct.of_channel(now),
            card,
        })
    }

    /// The group for a new channel: its members are paid alike, so that one job serves them all. None when there are too many.
    fn group(&mut self, payee: &Payee, full_extranonce_size: usize) -> Option<ChannelId> {
        let payee = payee.number();
        let fits = |group: &&Group| (group.payee, group.full_extranonce_size) == (payee, full_extranonce_size);
        if let Some(group) = self.groups.iter().find(fits) {
            return Some(group.id);
        }
        let id = self.channels.open_group(full_extranonce_size).ok()?;
        // Groups without channels may have made room.
        let Self { groups, channels, .. } = self;
        groups.retain(|group| channels.group(group.id).is_some());
        groups.push(Group { id, payee, full_extranonce_size });
        Some(id)
    }

    /// Sends the answer, and behind it the channel's first job (sv2-spec §5.3.15).
    fn answer<S: Sink>(&mut self, now: Duration, request_id: u32, open: OpenChannel, sink: &mut S) {
        let OpenChannel { channel, worker, payee, .. } = &open;
        let (id, kind, difficulty) = (channel.id(), channel.kind(), channel.target().difficulty());
        let solo = !payee.is_pool();
        tracing::info!(peer = self.label, %worker, channel = id.0, ?kind, difficulty, solo, "channel opened");
        match channel.open_success(RequestId(request_id)) {
            OpenSuccess::Standard(message) => sink.send(&message),
            OpenSuccess::Extended(message) => sink.send(&message),
        }
        self.deadline = None;
        if open.vardiff.is_some() && self.look.is_none() {
            self.look = Some(now + LOOK_INTERVAL);
        }
        if let Err(error) = self.channels.insert(Box::new(open)) {
            tracing::error!(peer = self.label, channel = id.0, "channel can not be kept: {error}");
            return self.close(sink, "internal error: a channel does not fit its group");
        }
        if let Some(snapshot) = self.snapshot.clone() {
            self.announce_to(now, id, &snapshot, sink);
        }
    }
}
