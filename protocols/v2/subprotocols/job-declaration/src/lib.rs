//! Messages of the Job Declaration Protocol (sv2-spec §6.4).
//!
//! One struct per message, fields named and ordered as in the specification's tables, and
//! [`JobDeclaration`], the enum of all of them.
//!
//! **What it refuses.** Payloads whose fields end early or exceed their type, unknown message
//! numbers, bytes behind a message that are not TLV fields. Whether a token, a coinbase or a
//! transaction is any good is for the job declarator server to judge.
//!
//! **Limits.** Decoding allocates nothing; no payload panics. Lists of transactions borrow from the
//! frame.
//!
//! ```
//! use binary_sv2::{Message, Seq0_64K, to_bytes};
//! use job_declaration_sv2::{JobDeclaration, ProvideMissingTransactions};
//!
//! let request = ProvideMissingTransactions {
//!     request_id: 1,
//!     unknown_tx_position_list: Seq0_64K::try_from_iter([0, 7])?,
//! };
//! let payload = to_bytes(&request)?;
//! let message = JobDeclaration::decode(ProvideMissingTransactions::MESSAGE_TYPE, &payload)?;
//! assert_eq!(message, JobDeclaration::from(request));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

use binary_sv2::{B0_16M, B0_32, B0_64K, B0_255, Decodable, Encodable, Seq0_64K, Str0_255, U256};
use const_sv2::message_type::job_declaration;

/// Client asks for a token (sv2-spec §6.4.2).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllocateMiningJobToken<'a> {
    /// Who declares; any bytes, UTF-8 recommended.
    pub user_identifier: Str0_255<'a>,
    /// The answer repeats it.
    pub request_id: u32,
}

/// Server hands out a token (sv2-spec §6.4.3).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllocateMiningJobTokenSuccess<'a> {
    /// From the request.
    pub request_id: u32,
    /// Stands for the job to be declared.
    pub mining_job_token: B0_255<'a>,
    /// Outputs the coinbase must have: CompactSize count, then each consensus-serialised. The first
    /// is the pool's payout output.
    pub coinbase_tx_outputs: B0_64K<'a>,
}

/// Client declares a job with its transactions, full-template mode (sv2-spec §6.4.4).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeclareMiningJob<'a> {
    /// The answer repeats it.
    pub request_id: u32,
    /// From `AllocateMiningJobToken.Success`.
    pub mining_job_token: B0_255<'a>,
    /// Header field; the BIP 323 bits may change later.
    pub version: u32,
    /// Coinbase before the extranonce, BIP 141 fields included.
    pub coinbase_tx_prefix: B0_64K<'a>,
    /// Coinbase behind the extranonce, BIP 141 fields included.
    pub coinbase_tx_suffix: B0_64K<'a>,
    /// Witness ids of the transactions in block order, without the coinbase.
    pub wtxid_list: Seq0_64K<'a, U256>,
    /// Opaque data a pool may need to check the work.
    pub excess_data: B0_64K<'a>,
}

/// Server accepts a declared job (sv2-spec §6.4.5).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeclareMiningJobSuccess<'a> {
    /// From the request.
    pub request_id: u32,
    /// Token for `SetCustomMiningJob`.
    pub new_mining_job_token: B0_255<'a>,
}

/// Server refuses a declared job (sv2-spec §6.4.6).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeclareMiningJobError<'a> {
    /// From the request.
    pub request_id: u32,
    /// See `const_sv2::error_code::declare_mining_job`.
    pub error_code: Str0_255<'a>,
    /// More about the error; may be empty.
    pub error_details: B0_64K<'a>,
}

/// Server asks for transactions it does not know (sv2-spec §6.4.7).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProvideMissingTransactions<'a> {
    /// Of the `DeclareMiningJob`.
    pub request_id: u32,
    /// Positions in `wtxid_list`, from 0.
    pub unknown_tx_position_list: Seq0_64K<'a, u16>,
}

/// Client sends the transactions the server asked for (sv2-spec §6.4.8).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProvideMissingTransactionsSuccess<'a> {
    /// Of the `DeclareMiningJob`.
    pub request_id: u32,
    /// Whole transactions in the order of the request.
    pub transaction_list: Seq0_64K<'a, B0_16M<'a>>,
}

/// Client found a block, full-template mode (sv2-spec §6.4.9).
#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PushSolution {
    /// The whole extranonce.
    pub extranonce: B0_32,
    /// Header field.
    pub prev_hash: U256,
    /// Header field.
    pub nonce: u32,
    /// Header field, seconds since 1970.
    pub ntime: u32,
    /// Header field, compact target.
    pub nbits: u32,
    /// Header field.
    pub version: u32,
}

binary_sv2::protocol! {
    /// Every message of the Job Declaration Protocol (sv2-spec §6.4).
    pub enum JobDeclaration<'a> from job_declaration {
        AllocateMiningJobToken(AllocateMiningJobToken<'a>) = ALLOCATE_MINING_JOB_TOKEN,
        AllocateMiningJobTokenSuccess(AllocateMiningJobTokenSuccess<'a>) = ALLOCATE_MINING_JOB_TOKEN_SUCCESS,
        ProvideMissingTransactions(ProvideMissingTransactions<'a>) = PROVIDE_MISSING_TRANSACTIONS,
        ProvideMissingTransactionsSuccess(ProvideMissingTransactionsSuccess<'a>) = PROVIDE_MISSING_TRANSACTIONS_SUCCESS,
        DeclareMiningJob(DeclareMiningJob<'a>) = DECLARE_MINING_JOB,
        DeclareMiningJobSuccess(DeclareMiningJobSuccess<'a>) = DECLARE_MINING_JOB_SUCCESS,
        DeclareMiningJobError(DeclareMiningJobError<'a>) = DECLARE_MINING_JOB_ERROR,
        PushSolution(PushSolution) = PUSH_SOLUTION,
    }
}
