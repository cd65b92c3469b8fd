//! Messages of the Mining Protocol (sv2-spec §5.3), as C sees them.

use crate::types::{Sv2B032, Sv2Bytes, Sv2OptionU32, Sv2Seq, Sv2U256};

/// Client asks for a standard channel (sv2-spec §5.3.2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2OpenStandardMiningChannel {
    /// Unique on the connection; the answer repeats it.
    pub request_id: u32,
    /// Who mines, for example `account.worker`; any bytes, UTF-8 recommended. STR0_255.
    pub user_identity: Sv2Bytes,
    /// Expected hashes per second behind the channel; 0 when nothing is connected yet.
    pub nominal_hash_rate: f32,
    /// Easiest target the device can use; the server must keep to it or refuse.
    pub max_target: Sv2U256,
}

/// Server grants a standard channel (sv2-spec §5.3.3).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2OpenStandardMiningChannelSuccess {
    /// From the request.
    pub request_id: u32,
    /// New on this connection, also among group channels.
    pub channel_id: u32,
    /// First target: hashes at or below it are shares.
    pub target: Sv2U256,
    /// The channel's whole extranonce, for jobs that come over the group channel.
    pub extranonce_prefix: Sv2B032,
    /// Group the channel belongs to.
    pub group_channel_id: u32,
}

/// Client asks for an extended channel (sv2-spec §5.3.4).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2OpenExtendedMiningChannel {
    /// Unique on the connection; the answer repeats it.
    pub request_id: u32,
    /// Who mines, for example `account.worker`; any bytes, UTF-8 recommended. STR0_255.
    pub user_identity: Sv2Bytes,
    /// Expected hashes per second behind the channel; 0 when nothing is connected yet.
    pub nominal_hash_rate: f32,
    /// Easiest target the device can use; the server must keep to it or refuse.
    pub max_target: Sv2U256,
    /// Fewest extranonce bytes the client needs to roll or to hand on.
    pub min_extranonce_size: u16,
}

/// Server grants an extended channel (sv2-spec §5.3.5).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2OpenExtendedMiningChannelSuccess {
    /// From the request.
    pub request_id: u32,
    /// New on this connection, also among group channels.
    pub channel_id: u32,
    /// First target: hashes at or below it are shares.
    pub target: Sv2U256,
    /// Extranonce bytes that are the client's; each share carries exactly so many.
    pub extranonce_size: u16,
    /// Fixed bytes in front of the client's.
    pub extranonce_prefix: Sv2B032,
    /// Group the channel belongs to.
    pub group_channel_id: u32,
}

/// Server refuses a channel of either kind (sv2-spec §5.3.6).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2OpenMiningChannelError {
    /// From the request.
    pub request_id: u32,
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    pub error_code: Sv2Bytes,
}

/// Client tells of a changed hashrate or wishes another target (sv2-spec §5.3.7).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2UpdateChannel {
    /// The channel.
    pub channel_id: u32,
    /// Expected hashes per second behind the channel.
    pub nominal_hash_rate: f32,
    /// Easiest target the device can use from now on.
    pub maximum_target: Sv2U256,
}

/// Server refuses an update (sv2-spec §5.3.8).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2UpdateChannelError {
    /// The channel.
    pub channel_id: u32,
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    pub error_code: Sv2Bytes,
}

/// Either side ends a channel, or a group with all its channels (sv2-spec §5.3.9).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2CloseChannel {
    /// The channel or group.
    pub channel_id: u32,
    /// One of the `SV2_CODE_` strings, or another; no control characters. STR0_255.
    pub reason_code: Sv2Bytes,
}

/// Server changes the prefix for jobs sent after this (sv2-spec §5.3.10). Not for groups.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetExtranoncePrefix {
    /// A standard or extended channel.
    pub channel_id: u32,
    /// Fixed bytes in front of the client's.
    pub extranonce_prefix: Sv2B032,
}

/// Server sets the target of a channel or of a group's channels (sv2-spec §5.3.21).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetTarget {
    /// The channel or group.
    pub channel_id: u32,
    /// Hashes at or below it are shares, of future jobs and of jobs sent from now on.
    pub maximum_target: Sv2U256,
}

/// Server puts channels into a group (sv2-spec §5.3.22).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetGroupChannel {
    /// The group; shares its number space with channels.
    pub group_channel_id: u32,
    /// Open channels that move to the group. SEQ0_64K of U32.
    pub channel_ids: Sv2Seq,
}

/// A share of a standard channel (sv2-spec §5.3.11).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SubmitSharesStandard {
    /// The channel.
    pub channel_id: u32,
    /// Counts up within the channel; answers refer to it.
    pub sequence_number: u32,
    /// The job that was worked on.
    pub job_id: u32,
    /// Header field.
    pub nonce: u32,
    /// Header field, seconds since 1970.
    pub ntime: u32,
    /// Header field, rolled bits included.
    pub version: u32,
}

/// A share of an extended channel (sv2-spec §5.3.12).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SubmitSharesExtended {
    /// The channel.
    pub channel_id: u32,
    /// Counts up within the channel; answers refer to it.
    pub sequence_number: u32,
    /// The job that was worked on.
    pub job_id: u32,
    /// Header field.
    pub nonce: u32,
    /// Header field, seconds since 1970.
    pub ntime: u32,
    /// Header field, rolled bits included.
    pub version: u32,
    /// The client's part, behind `extranonce_prefix`; exactly `extranonce_size` bytes.
    pub extranonce: Sv2B032,
}

/// Server accepts shares, several at once (sv2-spec §5.3.13).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SubmitSharesSuccess {
    /// The channel.
    pub channel_id: u32,
    /// Latest share with a correct result.
    pub last_sequence_number: u32,
    /// Shares accepted in this batch.
    pub new_submits_accepted_count: u32,
    /// Sum of the difficulties of this batch's shares.
    pub new_shares_sum: u64,
}

/// Server rejects one share (sv2-spec §5.3.14).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SubmitSharesError {
    /// The channel.
    pub channel_id: u32,
    /// The share.
    pub sequence_number: u32,
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    pub error_code: Sv2Bytes,
}

/// A job for one standard channel (sv2-spec §5.3.15).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2NewMiningJob {
    /// A standard channel.
    pub channel_id: u32,
    /// Not in use by another valid job of the channel.
    pub job_id: u32,
    /// Smallest ntime to hash with; none is a future job, started by `SetNewPrevHash`.
    pub min_ntime: Sv2OptionU32,
    /// Header field; the BIP 323 bits may be rolled.
    pub version: u32,
    /// Header field.
    pub merkle_root: Sv2U256,
}

/// A job for an extended channel or for a group (sv2-spec §5.3.16).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2NewExtendedMiningJob {
    /// An extended channel, or a group and with it all its channels.
    pub channel_id: u32,
    /// Not in use by another valid job of the channel.
    pub job_id: u32,
    /// Smallest ntime to hash with; none is a future job, started by `SetNewPrevHash`.
    pub min_ntime: Sv2OptionU32,
    /// Header field.
    pub version: u32,
    /// Whether the BIP 323 bits of `version` may be rolled. 0 or 1.
    pub version_rolling_allowed: u8,
    /// Hashes beside the coinbase's path to the root, deepest first. SEQ0_255 of U256.
    pub merkle_path: Sv2Seq,
    /// Coinbase before the extranonce, without BIP 141 fields. B0_64K.
    pub coinbase_tx_prefix: Sv2Bytes,
    /// Coinbase behind the extranonce, without BIP 141 fields. B0_64K.
    pub coinbase_tx_suffix: Sv2Bytes,
}

/// A new block came: the future job to start now (sv2-spec §5.3.17).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2MiningSetNewPrevHash {
    /// The channel or group.
    pub channel_id: u32,
    /// A future job sent before; all other jobs end.
    pub job_id: u32,
    /// Header field.
    pub prev_hash: Sv2U256,
    /// Smallest ntime to hash with.
    pub min_ntime: u32,
    /// Header field, compact target of the block.
    pub nbits: u32,
}

/// Client announces a job of its own (sv2-spec §5.3.18). Needs `REQUIRES_WORK_SELECTION`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetCustomMiningJob {
    /// An extended channel or a group.
    pub channel_id: u32,
    /// The answer repeats it.
    pub request_id: u32,
    /// From the job declarator server; stands for the declared job. B0_255.
    pub mining_job_token: Sv2Bytes,
    /// Header field; the BIP 323 bits may be rolled.
    pub version: u32,
    /// Header field.
    pub prev_hash: Sv2U256,
    /// Smallest ntime to hash with.
    pub min_ntime: u32,
    /// Header field.
    pub nbits: u32,
    /// Coinbase transaction's nVersion.
    pub coinbase_tx_version: u32,
    /// Start of the coinbase's scriptSig, up to 8 bytes. B0_255.
    pub coinbase_prefix: Sv2Bytes,
    /// Coinbase input's nSequence (`coinbase_tx_input_nSequence` in the specification).
    pub coinbase_tx_input_n_sequence: u32,
    /// Coinbase outputs: CompactSize count, then each consensus-serialised. B0_64K.
    pub coinbase_tx_outputs: Sv2Bytes,
    /// Coinbase transaction's nLockTime.
    pub coinbase_tx_locktime: u32,
    /// Hashes beside the coinbase's path to the root, deepest first. SEQ0_255 of U256.
    pub merkle_path: Sv2Seq,
}

/// Server accepts a custom job and commits to rewarding it (sv2-spec §5.3.19).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetCustomMiningJobSuccess {
    /// The channel.
    pub channel_id: u32,
    /// From the request.
    pub request_id: u32,
    /// Number the job's shares carry.
    pub job_id: u32,
}

/// Server refuses a custom job (sv2-spec §5.3.20).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SetCustomMiningJobError {
    /// The channel.
    pub channel_id: u32,
    /// From the request.
    pub request_id: u32,
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    pub error_code: Sv2Bytes,
}
