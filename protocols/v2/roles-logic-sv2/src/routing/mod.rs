//! The tables of a proxy: which channel, request and message of one side belongs to which of the other.
//!
//! - [`ChannelMap`]: upstream channels and groups to downstream channels and back
//! - [`RequestMap`]: requests that were passed on, until their answers come
//! - [`Forwarded`]: a frame for another channel, the same but for the channel's id
//!
//! All of it is for one upstream connection; `D` names downstream connections. **Limits**: each table has one, given when it is
//! made; what does not fit any more is [`RoutingError::Full`], and nothing is dropped for it.
//!
//! Jobs and shares between the two sides are in [`map`](crate::map).
//!
//! # Example
//! ```
//! use core::time::Duration;
//! use framing_sv2::Header;
//! use roles_logic_sv2::{ChannelId, RequestId, routing::{ChannelMap, RequestMap}};
//!
//! // Miner 'a' opens a channel with request 1, miner 'b' as well.
//! let deadline = Duration::from_secs(10);
//! let mut requests = RequestMap::new(100);
//! let first = requests.insert('a', RequestId(1), (), deadline)?;
//! let second = requests.insert('b', RequestId(1), (), deadline)?;
//! assert_ne!(first, second);
//!
//! // The server answers with its channels 40 and 41 in group 7. Each miner's channel is its number 2.
//! let mut channels = ChannelMap::new(100);
//! for (upstream_request, channel) in [(second, ChannelId(41)), (first, ChannelId(40))] {
//!     let request = requests.answer(upstream_request).ok_or("no such request")?;
//!     channels.open(channel, ChannelId(7))?;
//!     channels.attach(channel, request.origin.ok_or("gone")?, ChannelId(2))?;
//! }
//!
//! // What the server tells the group is for both.
//! let to: Vec<_> = channels.addressed(ChannelId(7))?.collect();
//! assert_eq!(to, [('a', ChannelId(2)), ('b', ChannelId(2))]);
//!
//! // A message of an extension that the proxy does not know.
//! let header = Header::new(0x4000, true, 9, 6)?;
//! let up = channels.forward_up('b', header, &[2, 0, 0, 0, 0xaa, 0xbb])?;
//! assert_eq!(binary_sv2::to_bytes(&up)?, [41, 0, 0, 0, 0xaa, 0xbb]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod channels;
mod forward;
mod requests;
#[cfg(test)]
mod tests;

use core::fmt;

pub use channels::{ChannelMap, Detached};
pub use forward::{Forwarded, patch_channel_id};
pub use requests::{Request, RequestMap};

use crate::ids::{ChannelId, RequestId};

/// Why something can not be routed; the tables are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutingError {
    /// The table holds as much as it may.
    Full {
        /// Entries that it may hold.
        limit: usize,
    },
    /// The id is in use already, by a channel or a group.
    ChannelInUse(ChannelId),
    /// No channel or group has the id.
    UnknownChannel(ChannelId),
    /// The downstream connection waits for the answer to a request of this id (sv2-spec §5.3.2: unique).
    RequestInUse(RequestId),
    /// The frame has no channel id: the bit is unset, or the payload too short.
    NoChannelId,
}

impl fmt::Display for RoutingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { limit } => write!(f, "expected room for one more of at most {limit}, got none"),
            Self::ChannelInUse(id) => write!(f, "expected a new channel id, got {id}, which is in use"),
            Self::UnknownChannel(id) => write!(f, "expected an open channel or group, got {id}"),
            Self::RequestInUse(id) => write!(f, "expected a new request id, got {id}, which waits for its answer"),
            Self::NoChannelId => f.write_str("expected a message for a channel, got one without a channel id"),
        }
    }
}

impl core::error::Error for RoutingError {}
