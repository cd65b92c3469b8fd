//! The channels of one connection and the groups that they are in, as the server keeps them (sv2-spec §5.2.3).
//!
//! A job, a tip or a target for a group counts for each of its members, or, if one of them can not take it, for none.
//! Channels and groups get their ids from one counter that never goes back: no id ever means two things.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::{fmt, time::Duration};

use binary_sv2::Seq0_64K;
use mining_sv2::{SetCustomMiningJob, SetCustomMiningJobSuccess, SetGroupChannel, SetTarget};

use crate::{
    channel::{
        Kind,
        server::{Channel, ChannelError},
    },
    custom::{self, CustomJobError, CustomRules, Tokens},
    ids::{ChannelId, JobId},
    job::Job,
    target::Target,
    tip::Tip,
};

/// Groups with members that a connection may have: each (payout, version policy) takes one, so that a proxy whose miners are
/// all paid at addresses of their own has as many as channels. One more is refused; a group without members makes room.
pub const MAX_GROUPS: usize = 4_096;

/// What a server keeps per channel: the channel itself, or a struct of its own around it.
pub trait Member {
    /// The channel.
    fn channel(&self) -> &Channel;
    /// The channel, to be changed.
    fn channel_mut(&mut self) -> &mut Channel;
}

impl Member for Channel {
    fn channel(&self) -> &Channel {
        self
    }

    fn channel_mut(&mut self) -> &mut Channel {
        self
    }
}

/// Why channels and groups are left as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// All ids were given out.
    IdsExhausted,
    /// The connection has [`MAX_GROUPS`] groups.
    TooManyGroups,
    /// The connection has no such channel.
    UnknownChannel(ChannelId),
    /// The connection has no such group.
    UnknownGroup(ChannelId),
    /// The id was not taken from [`Channels::next_id`], or is in use.
    Id(ChannelId),
    /// A channel's full extranonce does not have the group's size (sv2-spec §5.3.22).
    ExtranonceSize {
        /// The channel.
        channel: ChannelId,
        /// The group's size, in bytes.
        expected: usize,
        /// The channel's, in bytes.
        got: usize,
    },
    /// A member can not take the job or tip.
    Member {
        /// The member.
        channel: ChannelId,
        /// Why.
        error: ChannelError,
    },
    /// More channels than a SetGroupChannel can name.
    TooManyMembers(usize),
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdsExhausted => f.write_str("expected a connection with channel ids left, got one that used all up"),
            Self::TooManyGroups => write!(f, "expected at most {MAX_GROUPS} groups, got one more"),
            Self::UnknownChannel(id) => write!(f, "expected an open channel, got {id}"),
            Self::UnknownGroup(id) => write!(f, "expected a group of the connection, got {id}"),
            Self::Id(id) => write!(f, "expected an id that was handed out and is free, got {id}"),
            Self::ExtranonceSize { channel, expected, got } => {
                write!(
                    f,
                    "expected a full extranonce of {expected} bytes in the group, got channel {channel} with {got}"
                )
            }
            Self::Member { channel, error } => write!(f, "channel {channel}: {error}"),
            Self::TooManyMembers(count) => write!(f, "expected channels that one message can name, got {count}"),
        }
    }
}

impl core::error::Error for GroupError {}

/// A group: its members all have one full extranonce size. Its id is from the same counter as the channels'.
#[derive(Clone, Debug)]
pub struct GroupChannel {
    id: ChannelId,
    full_size: usize,
    members: BTreeSet<ChannelId>,
}

impl GroupChannel {
    /// Id within the connection.
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// Size of the full extranonce of each member, in bytes.
    pub const fn full_extranonce_size(&self) -> usize {
        self.full_size
    }

    /// Whether it takes less time to go through all of so many channels than to look up each member.
    fn is_most_of(&self, channels: usize) -> bool {
        self.members.len().saturating_mul(4) >= channels
    }

    /// The open channels of the group, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = ChannelId> + '_ {
        self.members.iter().copied()
    }
}

/// All channels and groups of one connection.
#[derive(Debug)]
pub struct Channels<M = Channel> {
    last_id: u32,
    channels: BTreeMap<ChannelId, M>,
    groups: BTreeMap<ChannelId, GroupChannel>,
}

impl<M> Default for Channels<M> {
    fn default() -> Self {
        Self { last_id: 0, channels: BTreeMap::new(), groups: BTreeMap::new() }
    }
}

impl<M: Member> Channels<M> {
    /// None yet; the first id will be 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// An id that no channel or group of the connection has or ever had.
    pub fn next_id(&mut self) -> Result<ChannelId, GroupError> {
        self.last_id = self.last_id.checked_add(1).ok_or(GroupError::IdsExhausted)?;
        Ok(ChannelId(self.last_id))
    }

    /// A new group for channels of this full extranonce size.
    pub fn open_group(&mut self, full_extranonce_size: usize) -> Result<ChannelId, GroupError> {
        if self.groups.len() >= MAX_GROUPS {
            self.groups.retain(|_, group| !group.members.is_empty());
        }
        if self.groups.len() >= MAX_GROUPS {
            return Err(GroupError::TooManyGroups);
        }
        let id = self.next_id()?;
        self.groups.insert(id, GroupChannel { id, full_size: full_extranonce_size, members: BTreeSet::new() });
        Ok(id)
    }

    /// Adds a channel that was opened with an id from [`next_id`](Self::next_id), to the group that it names.
    pub fn insert(&mut self, member: M) -> Result<(), GroupError> {
        let channel = member.channel();
        let (id, group, got) = (channel.id(), channel.group_id(), channel.full_extranonce_size());
        if id.0 == 0 || id.0 > self.last_id || self.channels.contains_key(&id) || self.groups.contains_key(&id) {
            return Err(GroupError::Id(id));
        }
        let group = self.groups.get_mut(&group).ok_or(GroupError::UnknownGroup(group))?;
        if group.full_size != got {
            return Err(GroupError::ExtranonceSize { channel: id, expected: group.full_size, got });
        }
        group.members.insert(id);
        self.channels.insert(id, member);
        Ok(())
    }

    /// Number of open channels.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// True when no channel is open.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// An open channel.
    pub fn get(&self, id: ChannelId) -> Option<&M> {
        self.channels.get(&id)
    }

    /// An open channel, to be changed. What concerns a group's members alike goes through the methods here.
    pub fn get_mut(&mut self, id: ChannelId) -> Option<&mut M> {
        self.channels.get_mut(&id)
    }

    /// All open channels, by id.
    pub fn iter(&self) -> impl Iterator<Item = &M> {
        self.channels.values()
    }

    /// All open channels, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut M> {
        self.channels.values_mut()
    }

    /// A group.
    pub fn group(&self, id: ChannelId) -> Option<&GroupChannel> {
        self.groups.get(&id)
    }

    /// All groups, by id.
    pub fn groups(&self) -> impl Iterator<Item = &GroupChannel> {
        self.groups.values()
    }

    /// The channels that a message with this id is for: one, or a group's; none when nothing has the id.
    pub fn addressed(&self, id: ChannelId) -> impl Iterator<Item = &M> {
        let group = self.groups.get(&id);
        let (dense, sparse): (Option<_>, Option<_>) =
            if group.is_some_and(|group| group.is_most_of(self.channels.len())) {
                (Some(id), None)
            } else {
                (None, group)
            };
        let in_group = dense.into_iter().flat_map(|id| self.channels.values().filter(move |member| is_in(*member, id)));
        let members = sparse.into_iter().flat_map(|group| group.members.iter().copied());
        let own = self.channels.contains_key(&id).then_some(id);
        in_group.chain(members.chain(own).filter_map(|id| self.channels.get(&id)))
    }

    /// Changes each channel that a message with this id is for, by id, until one fails.
    pub fn try_for_each_mut<E>(
        &mut self,
        id: ChannelId,
        mut change: impl FnMut(&mut M) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { channels, groups, .. } = self;
        if let Some(group) = groups.get(&id) {
            if group.is_most_of(channels.len()) {
                return channels.values_mut().filter(|member| is_in(*member, id)).try_for_each(change);
            }
            return group.members.iter().try_for_each(|id| channels.get_mut(id).map_or(Ok(()), &mut change));
        }
        channels.get_mut(&id).map_or(Ok(()), change)
    }

    fn known(&self, id: ChannelId) -> Result<(), GroupError> {
        let known = self.channels.contains_key(&id) || self.groups.contains_key(&id);
        if known { Ok(()) } else { Err(GroupError::UnknownChannel(id)) }
    }

    /// Closes a channel, or all of a group's (sv2-spec §5.3.9), and returns them. A group stays, for channels to come, until there
    /// are [`MAX_GROUPS`].
    pub fn close(&mut self, id: ChannelId) -> Vec<M> {
        let closed: Vec<ChannelId> = self.addressed(id).map(|member| member.channel().id()).collect();
        let group_of = |channels: &BTreeMap<_, M>, id| channels.get(&id).map(|m| m.channel().group_id());
        for &channel in &closed {
            if let Some(group) = group_of(&self.channels, channel).and_then(|group| self.groups.get_mut(&group)) {
                group.members.remove(&channel);
            }
        }
        closed.iter().filter_map(|channel| self.channels.remove(channel)).collect()
    }

    /// Moves channels to a group, all or none, with the message that tells (sv2-spec §5.3.22). Not for a connection with
    /// `REQUIRES_STANDARD_JOBS`: see [`MiningTerms`](crate::setup::MiningTerms).
    pub fn set_group(&mut self, group: ChannelId, ids: &[ChannelId]) -> Result<SetGroupChannel<'static>, GroupError> {
        let expected = self.groups.get(&group).ok_or(GroupError::UnknownGroup(group))?.full_size;
        for &id in ids {
            let channel = self.channels.get(&id).ok_or(GroupError::UnknownChannel(id))?.channel();
            let got = channel.full_extranonce_size();
            if got != expected {
                return Err(GroupError::ExtranonceSize { channel: id, expected, got });
            }
        }
        let channel_ids =
            Seq0_64K::try_from_iter(ids.iter().map(|id| id.0)).map_err(|_| GroupError::TooManyMembers(ids.len()))?;
        for &id in ids {
            let Some(channel) = self.channels.get_mut(&id).map(Member::channel_mut) else { continue };
            if let Some(old) = self.groups.get_mut(&channel.group_id()) {
                old.members.remove(&id);
            }
            channel.set_group_id(group);
            if let Some(new) = self.groups.get_mut(&group) {
                new.members.insert(id);
            }
        }
        Ok(SetGroupChannel { group_channel_id: group.0, channel_ids })
    }

    /// A job for a channel or a group; with `min_ntime` for the current tip, else a future job.
    pub fn on_new_job(
        &mut self,
        now: Duration,
        to: ChannelId,
        job: &Arc<Job>,
        min_ntime: Option<u32>,
    ) -> Result<(), GroupError> {
        self.known(to)?;
        for channel in self.addressed(to).map(Member::channel) {
            channel.check_new_job(job, min_ntime).map_err(|error| GroupError::member(channel, error))?;
        }
        self.try_for_each_mut(to, |member| {
            let channel = member.channel_mut();
            let result = channel.on_new_job(now, job.clone(), min_ntime);
            result.map_err(|error| GroupError::member(channel, error)) // checked above
        })
    }

    /// A tip for a channel or a group; each must have the job as a future job (sv2-spec §5.3.17).
    pub fn on_set_new_prev_hash(
        &mut self,
        now: Duration,
        to: ChannelId,
        job_id: JobId,
        tip: &Arc<Tip>,
    ) -> Result<(), GroupError> {
        self.known(to)?;
        if let Some(channel) = self.addressed(to).map(Member::channel).find(|channel| !channel.has_future_job(job_id)) {
            return Err(GroupError::member(channel, ChannelError::UnknownFutureJob(job_id)));
        }
        self.try_for_each_mut(to, |member| {
            let channel = member.channel_mut();
            let result = channel.on_set_new_prev_hash(now, job_id, tip.clone());
            result.map_err(|error| GroupError::member(channel, error)) // checked above
        })
    }

    /// Answers a SetCustomMiningJob for an extended channel or a group, whose standard channels are left alone
    /// (sv2-spec §5.3.18).
    pub fn on_set_custom_mining_job(
        &mut self,
        now: Duration,
        request: &SetCustomMiningJob<'_>,
        tokens: &impl Tokens,
        rules: &CustomRules,
        id: impl FnOnce() -> JobId,
    ) -> Result<SetCustomMiningJobSuccess, CustomJobError> {
        let to = ChannelId(request.channel_id);
        let is_extended = |channel: &Channel| channel.kind() != Kind::Standard;
        // All members of a group have one tip: the last that was told to the group. Whoever lags behind is left alone.
        let first = self.addressed(to).map(Member::channel).find(|channel| is_extended(channel));
        let first = first.ok_or(CustomJobError::Channel)?;
        let tip = first.tip().ok_or(CustomJobError::StaleTip)?.clone();
        let job = custom::build(now, request, first.full_extranonce_size(), &tip, tokens, rules, id)?;
        let job = Arc::new(job);
        let on_tip = |channel: &Channel| channel.tip().is_some_and(|other| other.prev_hash == tip.prev_hash);
        self.try_for_each_mut(to, |member| {
            let channel = member.channel_mut();
            if !is_extended(channel) || !on_tip(channel) {
                return Ok(());
            }
            // A fresh id on a channel with a tip: there is nothing left to refuse.
            let result = channel.on_new_job(now, job.clone(), Some(request.min_ntime));
            result.map_err(|_| CustomJobError::Channel)
        })?;
        let SetCustomMiningJob { channel_id, request_id, .. } = *request;
        Ok(SetCustomMiningJobSuccess { channel_id, request_id, job_id: job.id().0 })
    }

    /// A target for a channel or a group, with the message that tells (sv2-spec §5.3.21). No member's `max_target` is passed:
    /// the hardest of them holds for all.
    pub fn set_target(&mut self, to: ChannelId, target: Target) -> Result<SetTarget, GroupError> {
        self.known(to)?;
        let target = self.addressed(to).map(|member| member.channel().max_target()).fold(target, Target::min);
        self.try_for_each_mut(to, |member| {
            member.channel_mut().set_target(target);
            Ok::<_, GroupError>(())
        })?;
        Ok(SetTarget { channel_id: to.0, maximum_target: target.into() })
    }
}

fn is_in<M: Member>(member: &M, group: ChannelId) -> bool {
    member.channel().group_id() == group
}

impl GroupError {
    const fn member(channel: &Channel, error: ChannelError) -> Self {
        Self::Member { channel: channel.id(), error }
    }
}
