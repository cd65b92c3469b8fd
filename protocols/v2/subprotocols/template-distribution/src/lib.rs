//! Messages of the Template Distribution Protocol (sv2-spec §7).
//!
//! One struct per message, fields named and ordered as in the specification's tables, and
//! [`TemplateDistribution`], the enum of all of them.
//!
//! **What it refuses.** Payloads whose fields end early or exceed their type, unknown message
//! numbers, bytes behind a message that are not TLV fields.
//!
//! **Limits.** Decoding allocates nothing; no payload panics. A block's transactions come in one
//! message of up to 2^24 − 1 bytes; each is borrowed from it.
//!
//! ```
//! use binary_sv2::{B0_16M, B0_64K, Message, Seq0_64K, to_bytes};
//! use template_distribution_sv2::{RequestTransactionDataSuccess, TemplateDistribution};
//!
//! let data = RequestTransactionDataSuccess {
//!     template_id: 1,
//!     excess_data: B0_64K::EMPTY,
//!     transaction_list: Seq0_64K::try_from_iter([B0_16M::try_from(&b"tx"[..])?])?,
//! };
//! let payload = to_bytes(&data)?;
//! let message = TemplateDistribution::decode(RequestTransactionDataSuccess::MESSAGE_TYPE, &payload)?;
//! let TemplateDistribution::RequestTransactionDataSuccess(data) = message else { unreachable!() };
//! assert!(data.transaction_list.iter().eq([B0_16M::try_from(&b"tx"[..])?]));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

use binary_sv2::{B0_16M, B0_64K, B0_255, Decodable, Encodable, Seq0_64K, Seq0_255, Str0_255, U256};
use const_sv2::message_type::template_distribution;

/// Client's first message: room its coinbase outputs need (sv2-spec §7.1).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CoinbaseOutputConstraints {
    /// Most bytes the client will add as coinbase outputs, serialised.
    pub coinbase_output_max_additional_size: u32,
    /// Most signature operations the client will add.
    pub coinbase_output_max_additional_sigops: u16,
}

/// Server offers a template (sv2-spec §7.2).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewTemplate<'a> {
    /// Strictly increasing.
    pub template_id: u64,
    /// Whether a `SetNewPrevHash` has to come before work starts.
    pub future_template: bool,
    /// Header field; the BIP 323 bits may be rolled.
    pub version: u32,
    /// Coinbase transaction's nVersion.
    pub coinbase_tx_version: u32,
    /// Start of the coinbase's scriptSig, up to 8 bytes.
    pub coinbase_prefix: B0_255<'a>,
    /// Coinbase input's nSequence.
    pub coinbase_tx_input_sequence: u32,
    /// Satoshis the client may spend in its outputs: subsidy and fees.
    pub coinbase_tx_value_remaining: u64,
    /// Number of outputs in `coinbase_tx_outputs`.
    pub coinbase_tx_outputs_count: u32,
    /// The coinbase's last outputs, serialised one after the other **without** a count.
    pub coinbase_tx_outputs: B0_64K<'a>,
    /// Coinbase transaction's nLockTime.
    pub coinbase_tx_locktime: u32,
    /// Hashes beside the coinbase's path to the root, deepest first.
    pub merkle_path: Seq0_255<'a, U256>,
}

/// A new best block: the future template to work on now (sv2-spec §7.3).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetNewPrevHash {
    /// A template sent before.
    pub template_id: u64,
    /// Header field.
    pub prev_hash: U256,
    /// ntime to start with; not the smallest valid one.
    pub header_timestamp: u32,
    /// Header field (`nBits` in the specification).
    pub n_bits: u32,
    /// Largest hash of a valid block; may be harder than `n_bits` says.
    pub target: U256,
}

/// Client asks for a template's transactions (sv2-spec §7.4).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestTransactionData {
    /// The template.
    pub template_id: u64,
}

/// Server sends a template's transactions (sv2-spec §7.5).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestTransactionDataSuccess<'a> {
    /// The template.
    pub template_id: u64,
    /// Opaque data a pool may need to check the work.
    pub excess_data: B0_64K<'a>,
    /// Every transaction but the coinbase, in block order, witnesses included.
    pub transaction_list: Seq0_64K<'a, B0_16M<'a>>,
}

/// Server has no transactions for a template (sv2-spec §7.6).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestTransactionDataError<'a> {
    /// The template.
    pub template_id: u64,
    /// See `const_sv2::error_code::request_transaction_data`.
    pub error_code: Str0_255<'a>,
}

/// Client found a block (sv2-spec §7.7).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubmitSolution<'a> {
    /// The template.
    pub template_id: u64,
    /// Header field, rolled bits included.
    pub version: u32,
    /// Header field, seconds since 1970.
    pub header_timestamp: u32,
    /// Header field.
    pub header_nonce: u32,
    /// The whole coinbase transaction, BIP 141 fields included.
    pub coinbase_tx: B0_64K<'a>,
}

binary_sv2::protocol! {
    /// Every message of the Template Distribution Protocol (sv2-spec §7).
    pub enum TemplateDistribution<'a> from template_distribution {
        CoinbaseOutputConstraints(CoinbaseOutputConstraints) = COINBASE_OUTPUT_CONSTRAINTS,
        NewTemplate(NewTemplate<'a>) = NEW_TEMPLATE,
        SetNewPrevHash(SetNewPrevHash) = SET_NEW_PREV_HASH,
        RequestTransactionData(RequestTransactionData) = REQUEST_TRANSACTION_DATA,
        RequestTransactionDataSuccess(RequestTransactionDataSuccess<'a>) = REQUEST_TRANSACTION_DATA_SUCCESS,
        RequestTransactionDataError(RequestTransactionDataError<'a>) = REQUEST_TRANSACTION_DATA_ERROR,
        SubmitSolution(SubmitSolution<'a>) = SUBMIT_SOLUTION,
    }
}
