//! Frames that are passed on unread (sv2-spec §3.4.1).

use binary_sv2::{Encodable, Error, Writer};
use framing_sv2::Header;

use super::{ChannelMap, RoutingError};
use crate::ids::ChannelId;

/// A frame for a channel of another connection: the same but for the channel's id. It borrows the payload and writes the id while
/// it is encoded, so that one frame serves any number of receivers.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    header: Header,
    channel_id: ChannelId,
    rest: &'a [u8],
}

impl<'a> Forwarded<'a> {
    /// For channel `to`.
    pub fn new(header: Header, payload: &'a [u8], to: ChannelId) -> Result<Self, RoutingError> {
        let (_, rest) = split(header, payload)?;
        Ok(Self { header, channel_id: to, rest })
    }

    /// The header, as it came.
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The channel that it is for.
    pub const fn channel_id(&self) -> ChannelId {
        self.channel_id
    }
}

impl Encodable for Forwarded<'_> {
    fn encoded_len(&self) -> usize {
        size_of::<u32>() + self.rest.len()
    }

    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put_array(&self.channel_id.0.to_le_bytes())?;
        out.put(self.rest)
    }
}

/// The channel that a frame is for, and what follows its id.
fn split(header: Header, payload: &[u8]) -> Result<(ChannelId, &[u8]), RoutingError> {
    let (id, rest) = payload.split_first_chunk().filter(|_| header.channel_msg()).ok_or(RoutingError::NoChannelId)?;
    Ok((ChannelId(u32::from_le_bytes(*id)), rest))
}

/// Changes the channel that an owned payload is for, in place, and returns the one before.
pub fn patch_channel_id(header: Header, payload: &mut [u8], to: ChannelId) -> Result<ChannelId, RoutingError> {
    let (from, _) = split(header, payload)?;
    let id = payload.first_chunk_mut().ok_or(RoutingError::NoChannelId)?;
    *id = to.0.to_le_bytes();
    Ok(from)
}

impl<D: Copy + Ord> ChannelMap<D> {
    /// A downstream connection's frame for the upstream channel behind which its channel is.
    ///
    /// Where several channels share one upstream, the proxy is the channels' end and has to handle messages itself.
    pub fn forward_up<'a>(&self, from: D, header: Header, payload: &'a [u8]) -> Result<Forwarded<'a>, RoutingError> {
        let (id, _) = split(header, payload)?;
        let to = self.upstream_of(from, id).ok_or(RoutingError::UnknownChannel(id))?;
        Forwarded::new(header, payload, to)
    }

    /// The upstream server's frame for each downstream channel that it is for; several where it is for a group.
    pub fn forward_down<'a>(
        &'a self,
        header: Header,
        payload: &'a [u8],
    ) -> Result<impl Iterator<Item = (D, Forwarded<'a>)>, RoutingError> {
        let (id, rest) = split(header, payload)?;
        let forwarded = move |(to, channel_id)| (to, Forwarded { header, channel_id, rest });
        Ok(self.addressed(id)?.map(forwarded))
    }
}
