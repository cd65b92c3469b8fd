//! Jobs, and the previous hash that starts future ones.

use binary_sv2::{B0_64K, Decodable, Encodable, Seq0_255, Sv2Option, U256};

/// A job for one standard channel (sv2-spec §5.3.15).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NewMiningJob {
    /// A standard channel.
    pub channel_id: u32,
    /// Not in use by another valid job of the channel.
    pub job_id: u32,
    /// Smallest ntime to hash with; `None` is a future job, started by `SetNewPrevHash`.
    pub min_ntime: Sv2Option<u32>,
    /// Header field; the BIP 323 bits may be rolled.
    pub version: u32,
    /// Header field.
    pub merkle_root: U256,
}

/// A job for an extended channel or for a group (sv2-spec §5.3.16).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewExtendedMiningJob<'a> {
    /// An extended channel, or a group and with it all its channels.
    pub channel_id: u32,
    /// Not in use by another valid job of the channel.
    pub job_id: u32,
    /// Smallest ntime to hash with; `None` is a future job, started by `SetNewPrevHash`.
    pub min_ntime: Sv2Option<u32>,
    /// Header field.
    pub version: u32,
    /// Whether the BIP 323 bits of `version` may be rolled.
    pub version_rolling_allowed: bool,
    /// Hashes beside the coinbase's path to the root, deepest first.
    pub merkle_path: Seq0_255<'a, U256>,
    /// Coinbase before the extranonce, without BIP 141 fields.
    pub coinbase_tx_prefix: B0_64K<'a>,
    /// Coinbase behind the extranonce, without BIP 141 fields.
    pub coinbase_tx_suffix: B0_64K<'a>,
}

/// A new block came: the future job to start now (sv2-spec §5.3.17).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetNewPrevHash {
    /// The channel or group.
    pub channel_id: u32,
    /// A future job sent before; all other jobs end.
    pub job_id: u32,
    /// Header field.
    pub prev_hash: U256,
    /// Smallest ntime to hash with.
    pub min_ntime: u32,
    /// Header field, compact target of the block.
    pub nbits: u32,
}
