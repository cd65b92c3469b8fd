//! Connections as types: what may be said when (sv2-spec §3.6, ext-0x0001).
//!
//! | Side | State | Leaves it with |
//! |---|---|---|
//! | server | [`server::AwaitSetup`] | a SetupConnection |
//! | | [`server::Requested`] | [`accept`](server::Requested::accept) or [`refuse`](server::Requested::refuse) |
//! | | [`server::Open`] | the connection |
//! | client | [`client::Connecting`] | SetupConnection.Success, and the answer to RequestExtensions if one was sent |
//! | | [`client::Open`] | the connection |
//!
//! A transition consumes its state, so nothing can be done in a state that is over. What a peer sends out of place is one
//! [`Violation`]. States say what to send and never send themselves; the driver looks at `poll_timeout` and calls
//! `handle_timeout`. After an error the connection is closed.
//!
//! In the open state, `receive` sorts frames: messages of the protocol come out as [`Received`](crate::protocol::Received), ready
//! to be decoded or dispatched; those of unknown extensions are told apart by whether a proxy has to forward them.
//!
//! # Example
//! ```
//! use core::time::Duration;
//! use framing_sv2::{Frame, Sv2Frame};
//! use roles_logic_sv2::{
//!     protocol::Mining,
//!     session::{client::{self, Connecting, Device, Negotiation, Output, Progress}, server::{self, AwaitSetup, Offer}},
//!     setup::Support,
//! };
//!
//! const WORKERS: u16 = const_sv2::extension::WORKER_HASHRATE_TRACKING;
//! let (now, within) = (Duration::ZERO, Duration::from_secs(10));
//!
//! // The client asks.
//! let device = Device { vendor: "acme", hardware_version: "1", firmware: "2.0", device_id: "" };
//! let setup = client::setup_connection::<Mining>(0, "pool.example", 3333, &device);
//! let negotiation = Negotiation::new(&[WORKERS]);
//! let client = Connecting::<Mining>::new(now, within, &setup).with_extensions(&negotiation, Duration::from_millis(80));
//!
//! // The server sees who is there, and accepts.
//! let frame = Sv2Frame::from_message(&setup)?;
//! let requested = AwaitSetup::new(now, within).handle_frame(frame.header(), frame.payload())?;
//! assert_eq!(requested.setup().vendor.as_bytes(), b"acme");
//! let offer = Offer { supported: &[WORKERS], ..Offer::NONE };
//! let (mut server, success) = requested.accept::<Mining>(now, &Support::MINING, offer)?;
//! assert!(!server.terms().standard_jobs_only());
//!
//! // The client goes on to extensions, the server answers, and both are open.
//! let frame = Sv2Frame::from_message(&success)?;
//! let Progress::Waiting(client, Some(Output::Send(request))) = client.handle_frame(now, frame.header(), frame.payload())?
//! else { panic!("no request") };
//! let frame = Sv2Frame::from_message(&request)?;
//! let server::Incoming::Extensions(Ok(answer)) = server.receive(frame.header(), frame.payload())? else { panic!("no answer") };
//! let frame = Sv2Frame::from_message(&answer)?;
//! let Progress::Open(client) = client.handle_frame(now, frame.header(), frame.payload())? else { panic!("not open") };
//! assert!(client.has_extension(WORKERS) && server.has_extension(WORKERS));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

pub mod client;
pub mod server;
#[cfg(test)]
mod tests;

use core::{fmt, time::Duration};

use binary_sv2::DecodeError;
use const_sv2::{extension, message_type::common};
use extensions_sv2::ExtensionNegotiation;
use framing_sv2::Header;

use crate::{ids::ChannelId, protocol::Side, setup::ContradictoryFlags};

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Bytes that are no message of the protocol.
    Undecodable(DecodeError),
    /// A message that only the other side sends.
    WrongSide {
        /// Who sent it.
        sender: Side,
        /// Name of the message.
        got: &'static str,
    },
    /// A message that the state does not allow.
    Unexpected {
        /// What it allows.
        expected: &'static str,
        /// Name of the message.
        got: &'static str,
    },
    /// The bit for channels in a protocol that has none (sv2-spec §3.2.1); with the number of the message.
    ChannelBit(u8),
    /// Nothing came in time.
    Late {
        /// What should have come.
        expected: &'static str,
        /// How long it was waited for.
        within: Duration,
    },
    /// A protocol message from a client that has not asked for the extensions that it must use (ext-0x0001 §4).
    ExtensionsRequired,
    /// The server's flags do not go with ours.
    Flags(ContradictoryFlags),
    /// The server uses a version that was not offered.
    Version {
        /// Lowest and highest that were.
        expected: (u16, u16),
        /// What it uses.
        got: u16,
    },
    /// The server granted extensions that were not requested, or answers a request that was not made.
    ExtensionsAnswer,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(error) => error.fmt(f),
            Self::WrongSide { sender: Side::Client, got } => write!(f, "expected what clients send, got {got}"),
            Self::WrongSide { sender: Side::Server, got } => write!(f, "expected what servers send, got {got}"),
            Self::Unexpected { expected, got } => write!(f, "expected {expected}, got {got}"),
            Self::ChannelBit(number) => write!(f, "expected the channel bit to be unset, message {number:#04x} has it"),
            Self::Late { expected, within } => {
                write!(f, "expected {expected} within {} seconds, nothing came", within.as_secs_f32())
            }
            Self::ExtensionsRequired => f.write_str("expected a request for the extensions that are required here"),
            Self::Flags(error) => error.fmt(f),
            Self::Version { expected: (low, high), got } if low == high => {
                write!(f, "expected version {low} of the protocol, got {got}")
            }
            Self::Version { expected: (low, high), got } => {
                write!(f, "expected version {low} to {high} of the protocol, got {got}")
            }
            Self::ExtensionsAnswer => f.write_str("expected an answer to our request for extensions, got another"),
        }
    }
}

impl core::error::Error for Violation {}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        Self::Undecodable(error)
    }
}

impl From<ContradictoryFlags> for Violation {
    fn from(error: ContradictoryFlags) -> Self {
        Self::Flags(error)
    }
}

/// A moment until which something must have come.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Duration,
    within: Duration,
}

impl Deadline {
    fn new(now: Duration, within: Duration) -> Self {
        Self { at: now.saturating_add(within), within }
    }

    fn is_over(&self, now: Duration) -> bool {
        now >= self.at
    }

    fn check(&self, now: Duration, expected: &'static str) -> Result<(), Violation> {
        if self.is_over(now) { Err(Violation::Late { expected, within: self.within }) } else { Ok(()) }
    }
}

/// What a header says of a frame, before any of its bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Protocol,
    Common,
    Negotiation,
    /// Of an extension that is not known here; the id is the channel's that it is for, if it is for one.
    Foreign(Option<ChannelId>),
}

#[inline]
fn sort(header: Header, payload: &[u8]) -> Sort {
    match header.extension_type() {
        extension::CORE if header.message_type() > common::RECONNECT => Sort::Protocol,
        extension::CORE => Sort::Common,
        extension::EXTENSIONS_NEGOTIATION if !header.channel_msg() => Sort::Negotiation,
        _ => {
            let id = payload.first_chunk().filter(|_| header.channel_msg());
            Sort::Foreign(id.map(|id| ChannelId(u32::from_le_bytes(*id))))
        }
    }
}

/// Decodes a message of extension 0x0001.
fn negotiation(header: Header, payload: &[u8]) -> Result<ExtensionNegotiation<'_>, Violation> {
    Ok(ExtensionNegotiation::decode(header.message_type(), payload)?)
}

/// What the names of frames that are not decoded are in an error.
const PROTOCOL_MESSAGE: &str = "a message of the protocol";
