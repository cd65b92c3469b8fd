//! Messages of the Template Distribution Protocol (sv2-spec §7), as C sees them.

use crate::types::{Sv2Bytes, Sv2Seq, Sv2U256};

/// Client's first message: room its coinbase outputs need (sv2-spec §7.1).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2CoinbaseOutputConstraints {
    /// Most bytes the client will add as coinbase outputs, serialised.
    pub coinbase_output_max_additional_size: u32,
    /// Most signature operations the client will add.
    pub coinbase_output_max_additional_sigops: u16,
}

/// Server offers a template (sv2-spec §7.2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2NewTemplate {
    /// Strictly increasing.
    pub template_id: u64,
    /// Whether a `SetNewPrevHash` has to come before work starts. 0 or 1.
    pub future_template: u8,
    /// Header field; the BIP 323 bits may be rolled.
    pub version: u32,
    /// Coinbase transaction's nVersion.
    pub coinbase_tx_version: u32,
    /// Start of the coinbase's scriptSig, up to 8 bytes. B0_255.
    pub coinbase_prefix: Sv2Bytes,
    /// Coinbase input's nSequence.
    pub coinbase_tx_input_sequence: u32,
    /// Satoshis the client may spend in its outputs: subsidy and fees.
    pub coinbase_tx_value_remaining: u64,
    /// Number of outputs in `coinbase_tx_outputs`.
    pub coinbase_tx_outputs_count: u32,
    /// The coinbase's last outputs, serialised one after the other **without** a count. B0_64K.
    pub coinbase_tx_outputs: Sv2Bytes,
    /// Coinbase transaction's nLockTime.
    pub coinbase_tx_locktime: u32,
    /// Hashes beside the coinbase's path to the root, deepest first. SEQ0_255 of U256.
    pub merkle_path: Sv2Seq,
}

/// A new best block: the future template to work on now (sv2-spec §7.3).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2TemplateSetNewPrevHash {
    /// A template sent before.
    pub template_id: u64,
    /// Header field.
    pub prev_hash: Sv2U256,
    /// ntime to start with; not the smallest valid one.
    pub header_timestamp: u32,
    /// Header field (`nBits` in the specification).
    pub n_bits: u32,
    /// Largest hash of a valid block; may be harder than `n_bits` says.
    pub target: Sv2U256,
}

/// Client asks for a template's transactions (sv2-spec §7.4).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2RequestTransactionData {
    /// The template.
    pub template_id: u64,
}

/// Server sends a template's transactions (sv2-spec §7.5).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2RequestTransactionDataSuccess {
    /// The template.
    pub template_id: u64,
    /// Opaque data a pool may need to check the work. B0_64K.
    pub excess_data: Sv2Bytes,
    /// Every transaction but the coinbase, in block order, witnesses included. SEQ0_64K of B0_16M.
    pub transaction_list: Sv2Seq,
}

/// Server has no transactions for a template (sv2-spec §7.6).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2RequestTransactionDataError {
    /// The template.
    pub template_id: u64,
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    pub error_code: Sv2Bytes,
}

/// Client found a block (sv2-spec §7.7).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2SubmitSolution {
    /// The template.
    pub template_id: u64,
    /// Header field, rolled bits included.
    pub version: u32,
    /// Header field, seconds since 1970.
    pub header_timestamp: u32,
    /// Header field.
    pub header_nonce: u32,
    /// The whole coinbase transaction, BIP 141 fields included. B0_64K.
    pub coinbase_tx: Sv2Bytes,
}
