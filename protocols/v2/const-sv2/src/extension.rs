//! Extension ids, TLV field types and the header bit they share a field with (sv2-spec §3.2.1, §3.4).

/// The core protocol: common, mining, job declaration and template distribution messages.
pub const CORE: u16 = 0x0000;
/// Extensions negotiation; adds the three `RequestExtensions` messages.
pub const EXTENSIONS_NEGOTIATION: u16 = 0x0001;
/// Worker-specific hashrate tracking; adds a TLV field to `SubmitSharesExtended`.
pub const WORKER_HASHRATE_TRACKING: u16 = 0x0002;

/// First id of the range for experiments, not for production equipment.
pub const EXPERIMENTAL_FIRST: u16 = 0x4000;
/// Last id of the range for experiments, inclusive.
pub const EXPERIMENTAL_LAST: u16 = 0x7fff;

/// Bit of the header's `extension_type` field that marks a message of one channel.
///
/// It is no part of the extension's id: `0x8ABC` and `0x0ABC` are the same extension.
pub const CHANNEL_MSG_BIT: u16 = 1 << 15;

/// TLV field `user_identity` of extension 0x0002 (ext-0x0002 §1.1).
pub const TLV_FIELD_USER_IDENTITY: u8 = 0x01;
