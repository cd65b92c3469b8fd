//! Messages of the Job Declaration Protocol (sv2-spec §6.4), as C sees them.

use crate::types::{Sv2B032, Sv2Bytes, Sv2Seq, Sv2U256};

/// Client asks for a token (sv2-spec §6.4.2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2AllocateMiningJobToken {
    /// Who declares; any bytes, UTF-8 recommended. STR0_255.
    pub user_identifier: Sv2Bytes,
    /// The answer repeats it.
    pub request_id: u32,
}

/// Server hands out a token (sv2-spec §6.4.3).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2AllocateMiningJobTokenSuccess {
    /// From the request.
    pub request_id: u32,
    /// Stands for the job to be declared. B0_255.
    pub mining_job_token: Sv2Bytes,
    /// Outputs the coinbase must have: CompactSize count, then each consensus-serialised. The first
    /// is the pool's payout output. B0_64K.
    pub coinbase_tx_outputs: Sv2Bytes,
}

/// Client declares a job with its transactions, full-template mode (sv2-spec §6.4.4).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2DeclareMiningJob {
    /// The answer repeats it.
    pub request_id: u32,
    /// From `AllocateMiningJobToken.Success`. B0_255.
    pub mining_job_token: Sv2Bytes,
    /// Header field; the BIP 323 bits may change later.
    pub version: u32,
    /// Coinbase before the extranonce, BIP 141 fields included. B0_64K.
    pub coinbase_tx_prefix: Sv2Bytes,
    /// Coinbase behind the extranonce, BIP 141 fields included. B0_64K.
    pub coinbase_tx_suffix: Sv2Bytes,
    /// Witness ids of the transactions in block order, without the coinbase. SEQ0_64K of U256.
    pub wtxid_list: Sv2Seq,
    /// Opaque data a pool may need to check the work. B0_64K.
    pub excess_data: Sv2Bytes,
}

/// Server accepts a declared job (sv2-spec §6.4.5).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2DeclareMiningJobSuccess {
    /// From the request.
    pub request_id: u32,
    /// Token for `SetCustomMiningJob`. B0_255.
    pub new_mining_job_token: Sv2Bytes,
}

/// Server refuses a declared job (sv2-spec §6.4.6).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2DeclareMiningJobError {
    /// From the request.
    pub request_id: u32,
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    pub error_code: Sv2Bytes,
    /// More about the error; may be empty. B0_64K.
    pub error_details: Sv2Bytes,
}

/// Server asks for transactions it does not know (sv2-spec §6.4.7).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2ProvideMissingTransactions {
    /// Of the `DeclareMiningJob`.
    pub request_id: u32,
    /// Positions in `wtxid_list`, from 0. SEQ0_64K of U16.
    pub unknown_tx_position_list: Sv2Seq,
}

/// Client sends the transactions the server asked for (sv2-spec §6.4.8).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2ProvideMissingTransactionsSuccess {
    /// Of the `DeclareMiningJob`.
    pub request_id: u32,
    /// Whole transactions in the order of the request. SEQ0_64K of B0_16M.
    pub transaction_list: Sv2Seq,
}

/// Client found a block, full-template mode (sv2-spec §6.4.9).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2PushSolution {
    /// The whole extranonce.
    pub extranonce: Sv2B032,
    /// Header field.
    pub prev_hash: Sv2U256,
    /// Header field.
    pub nonce: u32,
    /// Header field, seconds since 1970.
    pub ntime: u32,
    /// Header field, compact target.
    pub nbits: u32,
    /// Header field.
    pub version: u32,
}
