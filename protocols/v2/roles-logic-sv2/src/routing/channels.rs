//! Upstream channels and the downstream channels behind them.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::RangeInclusive;

use mining_sv2::SetGroupChannel;

use super::RoutingError;
use crate::ids::ChannelId;

/// The channels of one upstream connection, each with the downstream channels that it serves: one where the proxy passes
/// channels on, several where it splits an extended channel's search space.
///
/// Ids of downstream channels are per downstream connection, from [`Channels::next_id`](crate::channel::group::Channels::next_id).
#[derive(Clone, Debug)]
pub struct ChannelMap<D> {
    limit: usize,
    upstream: BTreeMap<ChannelId, Upstream<D>>,
    downstream: BTreeMap<(D, ChannelId), ChannelId>,
}

#[derive(Clone, Debug)]
struct Upstream<D> {
    group: ChannelId,
    members: BTreeSet<(D, ChannelId)>,
}

/// A downstream channel that was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detached {
    /// The upstream channel that it was behind.
    pub upstream: ChannelId,
    /// Nothing is behind that any more: close it, or keep it for channels to come.
    pub was_last: bool,
}

impl<D: Copy + Ord> ChannelMap<D> {
    /// For at most `limit` channels on each side.
    pub const fn new(limit: usize) -> Self {
        Self { limit, upstream: BTreeMap::new(), downstream: BTreeMap::new() }
    }

    /// Number of downstream channels.
    pub fn len(&self) -> usize {
        self.downstream.len()
    }

    /// Whether there are no downstream channels.
    pub fn is_empty(&self) -> bool {
        self.downstream.is_empty()
    }

    /// Adds a channel that the upstream server opened.
    pub fn open(&mut self, channel: ChannelId, group: ChannelId) -> Result<(), RoutingError> {
        if channel == group || self.upstream.contains_key(&channel) || self.is_group(channel) {
            return Err(RoutingError::ChannelInUse(channel));
        }
        if self.upstream.contains_key(&group) {
            return Err(RoutingError::ChannelInUse(group));
        }
        self.check_room(self.upstream.len())?;
        self.upstream.insert(channel, Upstream { group, members: BTreeSet::new() });
        Ok(())
    }

    /// Puts a downstream channel behind an upstream channel.
    pub fn attach(&mut self, upstream: ChannelId, to: D, downstream: ChannelId) -> Result<(), RoutingError> {
        if self.downstream.contains_key(&(to, downstream)) {
            return Err(RoutingError::ChannelInUse(downstream));
        }
        self.check_room(self.downstream.len())?;
        let channel = self.upstream.get_mut(&upstream).ok_or(RoutingError::UnknownChannel(upstream))?;
        channel.members.insert((to, downstream));
        self.downstream.insert((to, downstream), upstream);
        Ok(())
    }

    /// Takes out a downstream channel that was closed.
    pub fn detach(&mut self, from: D, downstream: ChannelId) -> Option<Detached> {
        let upstream = self.downstream.remove(&(from, downstream))?;
        let mut was_last = false;
        if let Some(channel) = self.upstream.get_mut(&upstream) {
            channel.members.remove(&(from, downstream));
            was_last = channel.members.is_empty();
        }
        Some(Detached { upstream, was_last })
    }

    /// Takes out all channels of a downstream connection that is gone.
    pub fn detach_all(&mut self, from: D) -> Vec<Detached> {
        let range = (from, ChannelId(0))..=(from, ChannelId(u32::MAX));
        let gone: Vec<ChannelId> = self.downstream.range(range).map(|((_, id), _)| *id).collect();
        gone.into_iter().filter_map(|id| self.detach(from, id)).collect()
    }

    /// Takes out an upstream channel, or all of a group's (sv2-spec §5.3.9), and returns the downstream channels behind, which
    /// have to be closed. None for an id that is not known.
    pub fn close(&mut self, upstream: ChannelId) -> Vec<(D, ChannelId)> {
        let closed: Vec<ChannelId> = self.upstream_channels(upstream).map(|(id, _)| *id).collect();
        let behind: Vec<(D, ChannelId)> =
            closed.iter().filter_map(|id| self.upstream.remove(id)).flat_map(|channel| channel.members).collect();
        for member in &behind {
            self.downstream.remove(member);
        }
        behind
    }

    /// Moves upstream channels to another group (sv2-spec §5.3.22). Ids of channels that are not open are passed over: they
    /// may have been closed on the way.
    pub fn set_group(&mut self, message: &SetGroupChannel<'_>) -> Result<(), RoutingError> {
        let group = ChannelId(message.group_channel_id);
        if self.upstream.contains_key(&group) {
            return Err(RoutingError::ChannelInUse(group));
        }
        for id in message.channel_ids.iter() {
            if let Some(channel) = self.upstream.get_mut(&ChannelId(id)) {
                channel.group = group;
            }
        }
        Ok(())
    }

    /// The upstream channel that a downstream channel is behind.
    pub fn upstream_of(&self, from: D, downstream: ChannelId) -> Option<ChannelId> {
        self.downstream.get(&(from, downstream)).copied()
    }

    /// The downstream channels that a message from upstream is for: those behind the channel, or behind all channels of the
    /// group. By upstream channel, then by downstream connection.
    pub fn addressed(&self, upstream: ChannelId) -> Result<impl Iterator<Item = (D, ChannelId)> + '_, RoutingError> {
        if !self.upstream.contains_key(&upstream) && !self.is_group(upstream) {
            return Err(RoutingError::UnknownChannel(upstream));
        }
        Ok(self.upstream_channels(upstream).flat_map(|(_, channel)| channel.members.iter().copied()))
    }

    fn upstream_channels(&self, id: ChannelId) -> impl Iterator<Item = (&ChannelId, &Upstream<D>)> {
        self.upstream.range(self.range(id)).filter(move |(channel, it)| **channel == id || it.group == id)
    }

    /// Where to look for the channels that are addressed.
    fn range(&self, id: ChannelId) -> RangeInclusive<ChannelId> {
        if self.upstream.contains_key(&id) { id..=id } else { ChannelId(0)..=ChannelId(u32::MAX) }
    }

    fn is_group(&self, id: ChannelId) -> bool {
        self.upstream.values().any(|channel| channel.group == id)
    }

    fn check_room(&self, len: usize) -> Result<(), RoutingError> {
        if len < self.limit { Ok(()) } else { Err(RoutingError::Full { limit: self.limit }) }
    }
}
