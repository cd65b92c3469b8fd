//! Shares and the answers to them.

use binary_sv2::{B0_32, Decodable, Encodable, Str0_255};

/// A share of a standard channel (sv2-spec §5.3.11).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubmitSharesStandard {
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
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubmitSharesExtended {
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
    pub extranonce: B0_32,
}

/// Server accepts shares, several at once (sv2-spec §5.3.13).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubmitSharesSuccess {
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
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubmitSharesError<'a> {
    /// The channel.
    pub channel_id: u32,
    /// The share.
    pub sequence_number: u32,
    /// See `const_sv2::error_code::submit_shares`.
    pub error_code: Str0_255<'a>,
}
