//! The honest part of a connection, without socket and clock: what a pool answers.

use std::{sync::Arc, time::Duration};

use binary_sv2::{Message, Str0_255};
use common_messages_sv2::SetupConnectionError;
use const_sv2::error_code::{open_mining_channel, set_custom_mining_job, submit_shares, update_channel};
use framing_sv2::{Frame as _, Header, Sv2Frame};
use mining_sv2::{
    CloseChannel, OpenExtendedMiningChannel, OpenMiningChannelError, OpenStandardMiningChannel, SetCustomMiningJob,
    SetCustomMiningJobError, SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, UpdateChannel,
    UpdateChannelError,
};
use roles_logic_sv2::{
    ChannelId, JobId, OpenSuccess, RequestId, SequenceNumber, Target,
    accounting::AckBatch,
    channel::{
        Kind,
        group::Channels,
        server::{Channel, Open as NewChannel},
    },
    dispatch::MiningServerHandler,
    extranonce::Space,
    protocol::Mining,
    session::{
        Violation,
        server::{AwaitSetup, Incoming, Offer, Open},
    },
    setup::{Refused, Support},
    share::{Rules, Share, Verdict},
};

use crate::jobs::Round;

/// Channels on one connection.
pub const MAX_CHANNELS: usize = 64;

/// Time for SetupConnection.
const SETUP: Duration = Duration::from_secs(10);

/// Why a connection ends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The client broke the protocol.
    #[error("{0}")]
    Violation(#[from] Violation),
    /// The client was refused.
    #[error("refused: {0}")]
    Refused(Refused),
    /// The client closed its last channel.
    #[error("all channels are closed")]
    Left,
}

/// What has happened on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Channels opened.
    pub opened: u64,
    /// Shares that count.
    pub accepted: u64,
    /// Shares that do not.
    pub rejected: u64,
    /// Hashes that make blocks.
    pub blocks: u64,
    /// Channels that the client closed.
    pub closed: u64,
}

#[derive(Debug)]
enum State {
    Setup(AwaitSetup),
    Open(Open<Mining>),
    Ended,
}

/// An honest pool's side of a connection.
#[derive(Debug)]
pub struct Session {
    state: State,
    serving: Serving,
}

#[derive(Debug)]
struct Serving {
    space: Space,
    target: Target,
    round: Round,
    channels: Channels,
    group: Option<ChannelId>,
    sent: Vec<Sv2Frame<'static>>,
    counts: Counts,
}

impl Session {
    /// A client has connected. `target` is what its shares must meet, if it can.
    pub fn new(now: Duration, space: Space, target: Target, round: Round) -> Self {
        let state = State::Setup(AwaitSetup::new(now, SETUP));
        let (channels, sent, counts) = (Channels::new(), vec![], Counts::default());
        Self { state, serving: Serving { space, target, round, channels, group: None, sent, counts } }
    }

    /// Takes a frame; what is to be sent comes out of [`Session::take_sent`], after an error as well.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn handle_frame(&mut self, now: Duration, header: Header, payload: &[u8]) -> Result<(), End> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => Ok(()),
            State::Setup(state) => {
                let requested = state.handle_frame(header, payload)?;
                match requested.accept(now, &Support::MINING, Offer::NONE) {
                    Ok((open, success)) => {
                        self.serving.send(&success);
                        self.state = State::Open(open);
                        Ok(())
                    }
                    Err(refused) => {
                        self.serving.send(&SetupConnectionError::from(refused));
                        Err(End::Refused(refused))
                    }
                }
            }
            State::Open(mut open) => {
                match open.receive(header, payload)? {
                    Incoming::Message(message) => message.dispatch(&mut self.serving, &mut { now })?,
                    Incoming::Extensions(Ok(success)) => self.serving.send(&success),
                    Incoming::Extensions(Err(refused)) => self.serving.send(&refused),
                    Incoming::ForChannel(_) | Incoming::Ignored => {}
                }
                self.state = State::Open(open);
                Ok(())
            }
        }
    }

    /// Tells all channels of a new tip or job.
    pub fn handle_round(&mut self, now: Duration, round: &Round) {
        let same_tip = round.tip_number == self.serving.round.tip_number;
        self.serving.round = round.clone();
        for id in self.serving.channels.iter().map(Channel::id).collect::<Vec<_>>() {
            self.serving.announce(now, id, same_tip);
        }
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.state {
            State::Setup(state) => Some(state.poll_timeout()),
            State::Open(open) => open.poll_timeout(),
            State::Ended => None,
        }
    }

    /// # Errors
    /// The client missed a deadline.
    pub fn handle_timeout(&self, now: Duration) -> Result<(), End> {
        match &self.state {
            State::Setup(state) => Ok(state.handle_timeout(now)?),
            State::Open(open) => Ok(open.handle_timeout(now)?),
            State::Ended => Ok(()),
        }
    }

    /// What is to be sent, in order.
    pub fn take_sent(&mut self) -> Vec<Sv2Frame<'static>> {
        std::mem::take(&mut self.serving.sent)
    }

    /// What has happened since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.serving.counts)
    }
}

impl Serving {
    fn send<M: Message>(&mut self, message: &M) {
        match Sv2Frame::from_message(message) {
            Ok(frame) => self.sent.push(frame),
            Err(error) => tracing::error!("{} does not fit a frame: {error}", M::NAME),
        }
    }

    /// Gives a channel the newest job, with its tip if that is new to it.
    fn announce(&mut self, now: Duration, id: ChannelId, same_tip: bool) {
        let Round { tip, job, .. } = self.round.clone();
        let min_ntime = same_tip.then_some(tip.min_ntime);
        let Some(channel) = self.channels.get_mut(id) else { return };
        if channel.on_new_job(now, job.clone(), min_ntime).is_err() {
            return;
        }
        match channel.kind() {
            Kind::Standard => {
                if let Some(message) = channel.new_mining_job(job.id()) {
                    self.send(&message);
                }
            }
            Kind::Extended { .. } => self.send(&job.new_extended_mining_job(id, min_ntime)),
        }
        if !same_tip {
            self.start(now, id, job.id());
        }
    }

    fn start(&mut self, now: Duration, id: ChannelId, job: JobId) {
        let tip = Arc::clone(&self.round.tip);
        if let Some(channel) = self.channels.get_mut(id)
            && channel.on_set_new_prev_hash(now, job, tip.clone()).is_ok()
        {
            self.send(&tip.set_new_prev_hash(id, job));
        }
    }

    fn open(
        &mut self,
        now: Duration,
        request_id: u32,
        max_target: Target,
        make: impl FnOnce(NewChannel) -> Result<Channel, &'static str>,
    ) {
        match self.new_channel(max_target).and_then(make) {
            Ok(channel) => {
                let (id, success) = (channel.id(), channel.open_success(RequestId(request_id)));
                if let Err(error) = self.channels.insert(channel) {
                    return tracing::error!("the channel has no place: {error}");
                }
                match success {
                    OpenSuccess::Standard(message) => self.send(&message),
                    OpenSuccess::Extended(message) => self.send(&message),
                }
                self.counts.opened += 1;
                self.announce(now, id, false);
            }
            Err(code) => {
                let error_code = Str0_255::from_truncated(code);
                self.send(&OpenMiningChannelError { request_id, error_code });
            }
        }
    }

    fn new_channel(&mut self, max_target: Target) -> Result<NewChannel, &'static str> {
        let full = open_mining_channel::CHANNEL_CAPACITY_EXHAUSTED;
        if self.channels.len() >= MAX_CHANNELS {
            return Err(full);
        }
        let slot = self.space.allocate().map_err(|_| full)?;
        let group_channel_id = match self.group {
            Some(group) => group,
            None => *self.group.insert(self.channels.open_group(slot.full_prefix().len()).map_err(|_| full)?),
        };
        let channel_id = self.channels.next_id().map_err(|_| full)?;
        let (target, rules) = (self.target, Rules::default());
        Ok(NewChannel { channel_id, group_channel_id, slot, max_target, target, rules })
    }

    fn submit(&mut self, now: Duration, id: ChannelId, share: &Share) {
        let Some(channel) = self.channels.get_mut(id) else {
            return self.refuse(id, share.sequence_number, submit_shares::INVALID_CHANNEL_ID);
        };
        let verdict = channel.submit(now, share);
        self.counts.blocks += u64::from(verdict.block().is_some());
        match verdict {
            Verdict::Accepted { work, .. } => {
                self.counts.accepted += 1;
                // One answer for each share: tests wait for them.
                let mut batch = AckBatch::new();
                let counted = batch.record(share.sequence_number, work);
                if let (Ok(_), Some(ack)) = (counted, batch.flush()) {
                    self.send(&ack.message(id));
                }
            }
            Verdict::Rejected { reason, .. } => {
                self.counts.rejected += 1;
                self.send(&reason.message(id, share.sequence_number));
            }
        }
    }

    fn refuse(&mut self, id: ChannelId, sequence_number: SequenceNumber, code: &'static str) {
        self.counts.rejected += 1;
        let error_code = Str0_255::from_truncated(code);
        self.send(&SubmitSharesError { channel_id: id.0, sequence_number: sequence_number.0, error_code });
    }
}

/// What a client says, at the time that is the context.
impl MiningServerHandler<Duration> for Serving {
    type Error = End;

    fn open_standard_mining_channel(
        &mut self,
        now: &mut Duration,
        message: OpenStandardMiningChannel<'_>,
    ) -> Result<(), End> {
        let make = |open| Ok(Channel::standard(open));
        self.open(*now, message.request_id, message.max_target.into(), make);
        Ok(())
    }

    fn open_extended_mining_channel(
        &mut self,
        now: &mut Duration,
        message: OpenExtendedMiningChannel<'_>,
    ) -> Result<(), End> {
        let size = usize::from(message.min_extranonce_size);
        let make = |open| Channel::extended(open, size).map_err(|_| open_mining_channel::MIN_EXTRANONCE_SIZE_TOO_LARGE);
        self.open(*now, message.request_id, message.max_target.into(), make);
        Ok(())
    }

    fn update_channel(&mut self, _: &mut Duration, message: UpdateChannel) -> Result<(), End> {
        let UpdateChannel { channel_id, maximum_target, .. } = message;
        match self.channels.get_mut(ChannelId(channel_id)) {
            Some(channel) => channel.set_max_target(maximum_target.into()),
            None => {
                let error_code = Str0_255::from_truncated(update_channel::INVALID_CHANNEL_ID);
                self.send(&UpdateChannelError { channel_id, error_code });
            }
        }
        Ok(())
    }

    fn close_channel(&mut self, _: &mut Duration, message: CloseChannel<'_>) -> Result<(), End> {
        self.counts.closed += self.channels.close(ChannelId(message.channel_id)).len() as u64;
        if self.channels.is_empty() { Err(End::Left) } else { Ok(()) }
    }

    fn submit_shares_standard(&mut self, now: &mut Duration, message: SubmitSharesStandard) -> Result<(), End> {
        self.submit(*now, ChannelId(message.channel_id), &Share::from(&message));
        Ok(())
    }

    fn submit_shares_extended(
        &mut self,
        now: &mut Duration,
        message: SubmitSharesExtended,
        _: &[u8],
    ) -> Result<(), End> {
        self.submit(*now, ChannelId(message.channel_id), &Share::from(&message));
        Ok(())
    }

    fn set_custom_mining_job(&mut self, _: &mut Duration, message: SetCustomMiningJob<'_>) -> Result<(), End> {
        let SetCustomMiningJob { channel_id, request_id, .. } = message;
        let error_code = Str0_255::from_truncated(set_custom_mining_job::JD_NOT_SUPPORTED);
        self.send(&SetCustomMiningJobError { channel_id, request_id, error_code });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
