//! Jobs the client chose itself.

use binary_sv2::{B0_64K, B0_255, Decodable, Encodable, Seq0_255, Str0_255, U256};

/// Client announces a job of its own (sv2-spec §5.3.18). Needs `REQUIRES_WORK_SELECTION`.
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetCustomMiningJob<'a> {
    /// An extended channel or a group.
    pub channel_id: u32,
    /// The answer repeats it.
    pub request_id: u32,
    /// From the job declarator server; stands for the declared job.
    pub mining_job_token: B0_255<'a>,
    /// Header field; the BIP 323 bits may be rolled.
    pub version: u32,
    /// Header field.
    pub prev_hash: U256,
    /// Smallest ntime to hash with.
    pub min_ntime: u32,
    /// Header field.
    pub nbits: u32,
    /// Coinbase transaction's nVersion.
    pub coinbase_tx_version: u32,
    /// Start of the coinbase's scriptSig, up to 8 bytes.
    pub coinbase_prefix: B0_255<'a>,
    /// Coinbase input's nSequence (`coinbase_tx_input_nSequence` in the specification).
    pub coinbase_tx_input_n_sequence: u32,
    /// Coinbase outputs: CompactSize count, then each consensus-serialised.
    pub coinbase_tx_outputs: B0_64K<'a>,
    /// Coinbase transaction's nLockTime.
    pub coinbase_tx_locktime: u32,
    /// Hashes beside the coinbase's path to the root, deepest first.
    pub merkle_path: Seq0_255<'a, U256>,
}

/// Server accepts a custom job and commits to rewarding it (sv2-spec §5.3.19).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetCustomMiningJobSuccess {
    /// The channel.
    pub channel_id: u32,
    /// From the request.
    pub request_id: u32,
    /// Number the job's shares carry.
    pub job_id: u32,
}

/// Server refuses a custom job (sv2-spec §5.3.20).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetCustomMiningJobError<'a> {
    /// The channel.
    pub channel_id: u32,
    /// From the request.
    pub request_id: u32,
    /// See `const_sv2::error_code::set_custom_mining_job`.
    pub error_code: Str0_255<'a>,
}
