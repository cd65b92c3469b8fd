//! All channels of one connection as their client keeps them: messages find their channels, through groups, too.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::{ops::RangeInclusive, time::Duration};

use mining_sv2::{Mining, NewExtendedMiningJob, SetGroupChannel};

use crate::{
    channel::client::{Change, ClientChannel, ClientError, ExtendedRoot},
    ids::ChannelId,
};

/// What became of a server's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// These channels took it; what changed for each was told.
    Done,
    /// The server closed these channels (sv2-spec §5.3.9).
    Closed(Vec<ChannelId>),
    /// No channel or group has this id: what was on its way while we closed a channel, or a mistake of the server's.
    Unknown(ChannelId),
    /// It is an answer or a matter of the connection, for the caller.
    NotForChannels,
}

/// The open channels of one connection.
#[derive(Clone, Debug, Default)]
pub struct ClientChannels {
    channels: BTreeMap<ChannelId, ClientChannel>,
}

impl ClientChannels {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a channel that was opened. Refused when its id is in use, or when it does not fit its group.
    pub fn insert(&mut self, channel: ClientChannel) -> Result<(), ClientError> {
        let id = channel.id();
        if channel.group_id() == id || self.channels.contains_key(&id) || self.is_group(id) {
            return Err(ClientError::GroupIsChannel(id));
        }
        self.check_group(channel.group_id(), [&channel])?;
        self.channels.insert(id, channel);
        Ok(())
    }

    /// Takes out a channel that we close.
    pub fn remove(&mut self, id: ChannelId) -> Option<ClientChannel> {
        self.channels.remove(&id)
    }

    /// An open channel.
    pub fn get(&self, id: ChannelId) -> Option<&ClientChannel> {
        self.channels.get(&id)
    }

    /// An open channel, to take work from it.
    pub fn get_mut(&mut self, id: ChannelId) -> Option<&mut ClientChannel> {
        self.channels.get_mut(&id)
    }

    /// All open channels, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ClientChannel> {
        self.channels.values()
    }

    /// Gives a message to the channels that it is for, and tells `changed` what each has to do. After an error the
    /// connection is of no use: the server broke the protocol.
    pub fn handle(
        &mut self,
        now: Duration,
        message: &Mining<'_>,
        mut changed: impl FnMut(ChannelId, Change),
    ) -> Result<Handled, ClientError> {
        match self.take(now, message, &mut changed) {
            Err(ClientError::UnknownChannel(id)) => Ok(Handled::Unknown(id)),
            result => result,
        }
    }

    fn take(
        &mut self,
        now: Duration,
        message: &Mining<'_>,
        changed: &mut impl FnMut(ChannelId, Change),
    ) -> Result<Handled, ClientError> {
        match message {
            Mining::NewMiningJob(job) => {
                let channel = self.own(ChannelId(job.channel_id))?;
                changed(channel.id(), channel.on_new_mining_job(job)?);
            }
            Mining::NewExtendedMiningJob(job) => self.on_extended_job(job, changed)?,
            Mining::SetNewPrevHash(tip) => {
                for channel in self.addressed(tip.channel_id)? {
                    changed(channel.id(), channel.on_set_new_prev_hash(now, tip)?);
                }
            }
            Mining::SetTarget(target) => {
                for channel in self.addressed(target.channel_id)? {
                    changed(channel.id(), channel.on_set_target(target));
                }
            }
            Mining::SetExtranoncePrefix(prefix) => {
                self.own(ChannelId(prefix.channel_id))?.on_set_extranonce_prefix(prefix)?;
            }
            Mining::SetGroupChannel(group) => self.on_set_group(group)?,
            Mining::CloseChannel(close) => {
                let closed: Vec<ChannelId> = self.addressed(close.channel_id)?.map(|channel| channel.id()).collect();
                self.channels.retain(|id, _| !closed.contains(id));
                return Ok(Handled::Closed(closed));
            }
            _ => return Ok(Handled::NotForChannels),
        }
        Ok(Handled::Done)
    }

    fn on_extended_job(
        &mut self,
        job: &NewExtendedMiningJob<'_>,
        changed: &mut impl FnMut(ChannelId, Change),
    ) -> Result<(), ClientError> {
        // A group has one size, so its members share what is decoded.
        let mut root = None;
        for channel in self.addressed(job.channel_id)? {
            let size = channel.full_extranonce_size();
            let root = root.get_or_insert_with(|| Arc::new(ExtendedRoot::new(job, size)));
            changed(channel.id(), channel.on_extended_job(job, root)?);
        }
        Ok(())
    }

    fn on_set_group(&mut self, message: &SetGroupChannel<'_>) -> Result<(), ClientError> {
        let group = ChannelId(message.group_channel_id);
        if self.channels.contains_key(&group) {
            return Err(ClientError::GroupIsChannel(group));
        }
        let ids: Vec<ChannelId> = message.channel_ids.iter().map(ChannelId).collect();
        self.check_group(group, ids.iter().filter_map(|id| self.channels.get(id)))?;
        for id in ids {
            if let Some(channel) = self.channels.get_mut(&id) {
                channel.set_group_id(group);
            }
        }
        Ok(())
    }

    /// Whether a group with these channels added would have one full extranonce size.
    fn check_group<'a>(
        &'a self,
        group: ChannelId,
        added: impl IntoIterator<Item = &'a ClientChannel>,
    ) -> Result<(), ClientError> {
        let mut expected = None;
        for channel in self.channels.values().filter(|channel| channel.group_id() == group).chain(added) {
            let got = channel.full_extranonce_size();
            let expected = *expected.get_or_insert(got);
            if got != expected {
                return Err(ClientError::GroupSize { channel: channel.id(), expected, got });
            }
        }
        Ok(())
    }

    fn is_group(&self, id: ChannelId) -> bool {
        self.channels.values().any(|channel| channel.group_id() == id)
    }

    /// The channel that a message names, which must not be for groups.
    fn own(&mut self, id: ChannelId) -> Result<&mut ClientChannel, ClientError> {
        let is_group = self.is_group(id);
        let error = if is_group { ClientError::NotForGroups(id) } else { ClientError::UnknownChannel(id) };
        self.channels.get_mut(&id).ok_or(error)
    }

    fn addressed(&mut self, id: u32) -> Result<impl Iterator<Item = &mut ClientChannel>, ClientError> {
        let range = self.range(ChannelId(id))?;
        Ok(self.channels.range_mut(range).map(|(_, channel)| channel).filter(move |channel| channel.is_addressed(id)))
    }

    fn range(&self, id: ChannelId) -> Result<RangeInclusive<ChannelId>, ClientError> {
        if self.channels.contains_key(&id) {
            return Ok(id..=id);
        }
        if self.is_group(id) { Ok(ChannelId(0)..=ChannelId(u32::MAX)) } else { Err(ClientError::UnknownChannel(id)) }
    }
}
