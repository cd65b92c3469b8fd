//! Messages common to all protocols (sv2-spec §3.6), as C sees them.

use crate::types::Sv2Bytes;

/// Client's first message on a connection (sv2-spec §3.6.1).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetupConnection {
    /// One of the `SV2_PROTOCOL_` numbers.
    pub protocol: u8,
    /// Lowest version the client speaks; 2.
    pub min_version: u16,
    /// Highest version the client speaks; 2.
    pub max_version: u16,
    /// Features the client needs; see the `SV2_FLAG_` bits.
    pub flags: u32,
    /// Host name or address the client dialled, ASCII. STR0_255.
    pub endpoint_host: Sv2Bytes,
    /// Port the client dialled.
    pub endpoint_port: u16,
    /// Maker of the device or program; never empty by the specification. STR0_255.
    pub vendor: Sv2Bytes,
    /// Hardware or package in use. STR0_255.
    pub hardware_version: Sv2Bytes,
    /// Firmware in use. STR0_255.
    pub firmware: Sv2Bytes,
    /// The vendor's name for this one device; empty unless telemetry is on. STR0_255.
    pub device_id: Sv2Bytes,
}

/// Server accepts the connection (sv2-spec §3.6.2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetupConnectionSuccess {
    /// Version for the connection's life.
    pub used_version: u16,
    /// What the server needs; see the `SV2_FLAG_` bits.
    pub flags: u32,
}

/// Server refuses the connection and closes it (sv2-spec §3.6.3).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetupConnectionError {
    /// Every flag the server does not support; 0 when flags are not the reason.
    pub flags: u32,
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    pub error_code: Sv2Bytes,
}

/// A proxy tells that a channel's other end changed; extension state is void (sv2-spec §3.6.4).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2ChannelEndpointChanged {
    /// The channel.
    pub channel_id: u32,
}

/// Server sends the client elsewhere (sv2-spec §3.6.5). The authority key stays the same.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Reconnect {
    /// Empty for the present host. STR0_255.
    pub new_host: Sv2Bytes,
    /// 0 for the present port.
    pub new_port: u16,
}
