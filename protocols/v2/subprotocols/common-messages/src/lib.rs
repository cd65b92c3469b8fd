//! Messages common to all protocols (sv2-spec §3.6).
//!
//! The set-up of a connection, and the two messages about endpoints. [`CommonMessages`] is the
//! enum of all five.
//!
//! **What it refuses.** Payloads whose fields end early or exceed their type, unknown message
//! numbers, bytes behind a message that are not TLV fields. An unknown `protocol`, version or flag
//! decodes: the server answers those with an error message.
//!
//! **Limits.** Decoding allocates nothing; no payload panics.
//!
//! ```
//! use binary_sv2::{Message, to_bytes};
//! use common_messages_sv2::{CommonMessages, SetupConnectionSuccess};
//!
//! let payload = to_bytes(&SetupConnectionSuccess { used_version: 2, flags: 0 })?;
//! assert_eq!(payload, [2, 0, 0, 0, 0, 0]);
//! let message = CommonMessages::decode(SetupConnectionSuccess::MESSAGE_TYPE, &payload)?;
//! assert_eq!(message.name(), "SetupConnection.Success");
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

use binary_sv2::{Decodable, Encodable, Str0_255};
use const_sv2::message_type::common;

/// Client's first message on a connection (sv2-spec §3.6.1).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetupConnection<'a> {
    /// See `const_sv2::protocol`.
    pub protocol: u8,
    /// Lowest version the client speaks; 2.
    pub min_version: u16,
    /// Highest version the client speaks; 2.
    pub max_version: u16,
    /// Features the client needs; see `const_sv2::flags`.
    pub flags: u32,
    /// Host name or address the client dialled, ASCII.
    pub endpoint_host: Str0_255<'a>,
    /// Port the client dialled.
    pub endpoint_port: u16,
    /// Maker of the device or program; never empty by the specification.
    pub vendor: Str0_255<'a>,
    /// Hardware or package in use.
    pub hardware_version: Str0_255<'a>,
    /// Firmware in use.
    pub firmware: Str0_255<'a>,
    /// The vendor's name for this one device; empty unless telemetry is on.
    pub device_id: Str0_255<'a>,
}

/// Server accepts the connection (sv2-spec §3.6.2).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetupConnectionSuccess {
    /// Version for the connection's life.
    pub used_version: u16,
    /// What the server needs; see `const_sv2::flags`.
    pub flags: u32,
}

/// Server refuses the connection and closes it (sv2-spec §3.6.3).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetupConnectionError<'a> {
    /// Every flag the server does not support; 0 when flags are not the reason.
    pub flags: u32,
    /// See `const_sv2::error_code::setup_connection`.
    pub error_code: Str0_255<'a>,
}

/// A proxy tells that a channel's other end changed; extension state is void (sv2-spec §3.6.4).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelEndpointChanged {
    /// The channel.
    pub channel_id: u32,
}

/// Server sends the client elsewhere (sv2-spec §3.6.5). The authority key stays the same.
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reconnect<'a> {
    /// Empty for the present host.
    pub new_host: Str0_255<'a>,
    /// 0 for the present port.
    pub new_port: u16,
}

binary_sv2::protocol! {
    /// Every common message (sv2-spec §3.6).
    pub enum CommonMessages<'a> from common {
        SetupConnection(SetupConnection<'a>) = SETUP_CONNECTION,
        SetupConnectionSuccess(SetupConnectionSuccess) = SETUP_CONNECTION_SUCCESS,
        SetupConnectionError(SetupConnectionError<'a>) = SETUP_CONNECTION_ERROR,
        ChannelEndpointChanged(ChannelEndpointChanged) = CHANNEL_ENDPOINT_CHANGED,
        Reconnect(Reconnect<'a>) = RECONNECT,
    }
}
