//! Opening, changing and closing channels.

use binary_sv2::{B0_32, Decodable, Encodable, Seq0_64K, Str0_255, U256};

/// Client asks for a standard channel (sv2-spec §5.3.2).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq)]
pub struct OpenStandardMiningChannel<'a> {
    /// Unique on the connection; the answer repeats it.
    pub request_id: u32,
    /// Who mines, for example `account.worker`; any bytes, UTF-8 recommended.
    pub user_identity: Str0_255<'a>,
    /// Expected hashes per second behind the channel; 0 when nothing is connected yet.
    pub nominal_hash_rate: f32,
    /// Easiest target the device can use; the server must keep to it or refuse.
    pub max_target: U256,
}

/// Server grants a standard channel (sv2-spec §5.3.3).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenStandardMiningChannelSuccess {
    /// From the request.
    pub request_id: u32,
    /// New on this connection, also among group channels.
    pub channel_id: u32,
    /// First target: hashes at or below it are shares.
    pub target: U256,
    /// The channel's whole extranonce, for jobs that come over the group channel.
    pub extranonce_prefix: B0_32,
    /// Group the channel belongs to.
    pub group_channel_id: u32,
}

/// Client asks for an extended channel (sv2-spec §5.3.4).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq)]
pub struct OpenExtendedMiningChannel<'a> {
    /// Unique on the connection; the answer repeats it.
    pub request_id: u32,
    /// Who mines, for example `account.worker`; any bytes, UTF-8 recommended.
    pub user_identity: Str0_255<'a>,
    /// Expected hashes per second behind the channel; 0 when nothing is connected yet.
    pub nominal_hash_rate: f32,
    /// Easiest target the device can use; the server must keep to it or refuse.
    pub max_target: U256,
    /// Fewest extranonce bytes the client needs to roll or to hand on.
    pub min_extranonce_size: u16,
}

/// Server grants an extended channel (sv2-spec §5.3.5).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenExtendedMiningChannelSuccess {
    /// From the request.
    pub request_id: u32,
    /// New on this connection, also among group channels.
    pub channel_id: u32,
    /// First target: hashes at or below it are shares.
    pub target: U256,
    /// Extranonce bytes that are the client's; each share carries exactly so many.
    pub extranonce_size: u16,
    /// Fixed bytes in front of the client's.
    pub extranonce_prefix: B0_32,
    /// Group the channel belongs to.
    pub group_channel_id: u32,
}

/// Server refuses a channel of either kind (sv2-spec §5.3.6).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenMiningChannelError<'a> {
    /// From the request.
    pub request_id: u32,
    /// See `const_sv2::error_code::open_mining_channel`.
    pub error_code: Str0_255<'a>,
}

/// Client tells of a changed hashrate or wishes another target (sv2-spec §5.3.7).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq)]
pub struct UpdateChannel {
    /// The channel.
    pub channel_id: u32,
    /// Expected hashes per second behind the channel.
    pub nominal_hash_rate: f32,
    /// Easiest target the device can use from now on.
    pub maximum_target: U256,
}

/// Server refuses an update (sv2-spec §5.3.8).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpdateChannelError<'a> {
    /// The channel.
    pub channel_id: u32,
    /// See `const_sv2::error_code::update_channel`.
    pub error_code: Str0_255<'a>,
}

/// Either side ends a channel, or a group with all its channels (sv2-spec §5.3.9).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct CloseChannel<'a> {
    /// The channel or group.
    pub channel_id: u32,
    /// See `const_sv2::error_code::close_channel`; no control characters.
    pub reason_code: Str0_255<'a>,
}

/// Server changes the prefix for jobs sent after this (sv2-spec §5.3.10). Not for groups.
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetExtranoncePrefix {
    /// A standard or extended channel.
    pub channel_id: u32,
    /// Fixed bytes in front of the client's.
    pub extranonce_prefix: B0_32,
}

/// Server sets the target of a channel or of a group's channels (sv2-spec §5.3.21).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetTarget {
    /// The channel or group.
    pub channel_id: u32,
    /// Hashes at or below it are shares, of future jobs and of jobs sent from now on.
    pub maximum_target: U256,
}

/// Server puts channels into a group (sv2-spec §5.3.22).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetGroupChannel<'a> {
    /// The group; shares its number space with channels.
    pub group_channel_id: u32,
    /// Open channels that move to the group.
    pub channel_ids: Seq0_64K<'a, u32>,
}
