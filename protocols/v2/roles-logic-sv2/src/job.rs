//! From a block template to a job, and from a job and an extranonce back to a block.

mod factory;
mod payout;

use alloc::{sync::Arc, vec, vec::Vec};
use core::fmt;

use binary_sv2::{Seq0_255, U256};
use bitcoin::{TxOut, consensus::Encodable as _};
pub use factory::{JobFactory, PreparedTemplate};
pub use payout::{ALL_BASIS_POINTS, Constraints, MAX_PAYOUT_OUTPUTS, Payout};

use crate::{
    coinbase::SplitCoinbase,
    extranonce::MAX_EXTRANONCE_SIZE,
    header::HEADER_LEN,
    ids::{JobId, TemplateId},
};

/// Longest scriptSig that consensus allows in a coinbase, in bytes.
pub const MAX_SCRIPT_SIG: usize = 100;
/// Longest data that one opcode byte pushes.
const MAX_DIRECT_PUSH: usize = 75;
/// Longest pool tag: a direct push, within what is left of the scriptSig beside height and extranonce.
pub const MAX_TAG: usize = MAX_DIRECT_PUSH;
/// Bytes that a job's variant takes in the scriptSig: a push of four bytes.
pub const VARIANT_LEN: usize = 5;
/// First bytes of the output that carries the witness commitment (BIP 141).
const WITNESS_COMMITMENT_HEADER: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Length of that output's script at the least.
const WITNESS_COMMITMENT_LEN: usize = 38;

/// A block template as the Template Distribution Protocol tells it (`NewTemplate`, sv2-spec §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobTemplate {
    /// Identifies the template at its source.
    pub template_id: TemplateId,
    /// True when the template waits for a previous hash that is yet to come.
    pub future: bool,
    /// Block header version.
    pub version: u32,
    /// nVersion of the coinbase transaction.
    pub coinbase_tx_version: u32,
    /// First bytes of the scriptSig: whole pushes, the height of BIP 34 first.
    pub coinbase_prefix: Vec<u8>,
    /// nSequence of the coinbase's only input.
    pub coinbase_tx_input_sequence: u32,
    /// Satoshis that the payout may spend: subsidy and fees.
    pub coinbase_tx_value_remaining: u64,
    /// Number of outputs in `coinbase_tx_outputs`.
    pub coinbase_tx_outputs_count: u32,
    /// Outputs that come last, serialised one after the other without a count.
    pub coinbase_tx_outputs: Vec<u8>,
    /// nLockTime of the coinbase transaction.
    pub coinbase_tx_locktime: u32,
    /// Hashes from the coinbase's sibling up, in the byte order of a block header.
    pub merkle_path: Vec<[u8; 32]>,
}

/// Whether the output carries the witness commitment, so that the coinbase needs a witness (BIP 141).
pub(crate) fn is_witness_commitment(output: &TxOut) -> bool {
    let script = output.script_pubkey.as_bytes();
    script.len() >= WITNESS_COMMITMENT_LEN && script.starts_with(&WITNESS_COMMITMENT_HEADER)
}

/// Where the scriptSig of a coinbase begins, after nVersion, the count of inputs, the null outpoint and the scriptSig's length.
pub(crate) const COINBASE_SCRIPT_SIG_AT: usize = 4 + 1 + 36 + 1;

/// The coinbase up to its extranonce: one input that spends nothing, and the scriptSig's first bytes. The whole scriptSig
/// must be at most [`MAX_SCRIPT_SIG`] long.
pub(crate) fn coinbase_start(tx_version: u32, script_sig: &[u8], full_extranonce_size: usize) -> Vec<u8> {
    let mut prefix = tx_version.to_le_bytes().to_vec();
    prefix.push(1); // one input, which spends the null outpoint
    prefix.extend_from_slice(&[0; 32]);
    prefix.extend_from_slice(&[0xff; 4]);
    prefix.push((script_sig.len() + full_extranonce_size) as u8); // at most 100
    prefix.extend_from_slice(script_sig);
    prefix
}

/// Why a job can not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobError {
    /// The pool's tag is too long for the scriptSig.
    TagTooLong {
        /// Most bytes it may have beside height and extranonce.
        limit: usize,
        /// Bytes it has.
        len: usize,
    },
    /// The full extranonce is empty or longer than [`MAX_EXTRANONCE_SIZE`].
    ExtranonceSize(usize),
    /// The template's `coinbase_prefix` does not consist of whole pushes, so that what follows would not be data.
    MalformedCoinbasePrefix,
    /// The template's `coinbase_prefix` leaves no room in the scriptSig.
    ScriptSigTooLong {
        /// Bytes that the scriptSig would have.
        len: usize,
    },
    /// The template's outputs are not the ones it announces.
    MalformedTemplateOutputs,
    /// The payout has more outputs than allowed.
    TooManyOutputs {
        /// Most outputs.
        limit: usize,
        /// Outputs that there are.
        outputs: usize,
    },
    /// A fixed output is worth less than it costs to spend.
    Dust {
        /// Least satoshis for its script.
        least: u64,
        /// Satoshis that it has.
        value: u64,
    },
    /// The payout's weights are over [`ALL_BASIS_POINTS`] together.
    Weights {
        /// Their sum.
        sum: u64,
    },
    /// The payout's fixed outputs spend more than the template leaves.
    Overspent {
        /// Satoshis to spend.
        value: u64,
    },
    /// The payout takes more bytes than the template reserves.
    SizeOverReserve {
        /// Bytes reserved.
        reserved: u32,
        /// Bytes needed.
        needed: u64,
    },
    /// The payout costs more sigops than the template reserves.
    SigopsOverReserve {
        /// Cost reserved.
        reserved: u16,
        /// Cost of the payout.
        needed: u64,
    },
    /// A part of the job is too long for its message.
    TooLongForMessage {
        /// Which part.
        part: &'static str,
        /// Its length.
        len: usize,
    },
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TagTooLong { limit, len } => write!(f, "expected a pool tag of at most {limit} bytes, got {len}"),
            Self::ExtranonceSize(size) => {
                write!(f, "expected a full extranonce of 1 to {MAX_EXTRANONCE_SIZE} bytes, got {size}")
            }
            Self::MalformedCoinbasePrefix => f.write_str("expected a coinbase_prefix of whole pushes"),
            Self::ScriptSigTooLong { len } => {
                write!(f, "expected a scriptSig of at most {MAX_SCRIPT_SIG} bytes, got {len}")
            }
            Self::MalformedTemplateOutputs => {
                f.write_str("expected coinbase_tx_outputs to hold exactly coinbase_tx_outputs_count outputs")
            }
            Self::TooManyOutputs { limit, outputs } => {
                write!(f, "expected at most {limit} payout outputs, got {outputs}")
            }
            Self::Dust { least, value } => {
                write!(
                    f,
                    "expected an output of at least {least} satoshis, got {value}: it could not pay for being spent"
                )
            }
            Self::Weights { sum } => {
                write!(f, "expected weights of at most {ALL_BASIS_POINTS} basis points together, got {sum}")
            }
            Self::Overspent { value } => write!(f, "expected a payout of at most {value} satoshis, got more"),
            Self::SizeOverReserve { reserved, needed } => {
                write!(f, "expected payout outputs within the {reserved} bytes reserved, got {needed}")
            }
            Self::SigopsOverReserve { reserved, needed } => {
                write!(f, "expected payout outputs within the sigops cost of {reserved} reserved, got {needed}")
            }
            Self::TooLongForMessage { part, len } => {
                write!(f, "expected a {part} that its message can carry, got {len}")
            }
        }
    }
}

impl core::error::Error for JobError {}

fn compact_size(value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    // Writing to a vector can not fail.
    let _ = bitcoin::VarInt(value).consensus_encode(&mut bytes);
    bytes
}

const fn compact_size_len(value: usize) -> usize {
    bitcoin::VarInt(value as u64).size()
}

/// Work on one template, for all channels with the same payout and full extranonce size. Share it in an `Arc`.
#[derive(Clone, Debug)]
pub struct Job {
    pub(crate) id: JobId,
    pub(crate) template_id: TemplateId,
    pub(crate) custom: bool,
    pub(crate) version: u32,
    pub(crate) version_rolling_allowed: bool,
    pub(crate) full_extranonce_size: usize,
    pub(crate) has_witness: bool,
    pub(crate) coinbase: SplitCoinbase,
    /// Shared by all jobs of a template.
    pub(crate) path: Arc<MerklePath>,
}

/// A merkle path, also as messages carry it.
#[derive(Debug)]
pub(crate) struct MerklePath {
    hashes: Vec<[u8; 32]>,
    encoded: Seq0_255<'static, U256>,
    bytes: Vec<u8>,
}

impl MerklePath {
    /// Longer than a message can carry is an error.
    pub(crate) fn new(hashes: Vec<[u8; 32]>) -> Result<Self, JobError> {
        let too_long = |_| JobError::TooLongForMessage { part: "merkle path", len: hashes.len() };
        let encoded =
            Seq0_255::try_from_iter(hashes.iter().map(|hash| U256::from_le_bytes(*hash))).map_err(too_long)?;
        let bytes = binary_sv2::to_bytes(&encoded).map_err(too_long)?;
        Ok(Self { hashes, encoded, bytes })
    }
}

impl Job {
    /// Id under which channels know the job.
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Whether a client chose the job, so that only its own source knows the transactions (sv2-spec §5.3.18).
    pub const fn is_custom(&self) -> bool {
        self.custom
    }

    /// The template that a solution belongs to; for a custom job what [`custom::Declared`](crate::custom::Declared) says.
    pub const fn template_id(&self) -> TemplateId {
        self.template_id
    }

    /// Block header version before rolling.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Whether shares may differ in the version's general purpose bits.
    pub const fn version_rolling_allowed(&self) -> bool {
        self.version_rolling_allowed
    }

    /// Size of prefix and rolled part of the extranonce together, in bytes.
    pub const fn full_extranonce_size(&self) -> usize {
        self.full_extranonce_size
    }

    /// Whether the block has a witness commitment, so that its coinbase needs a witness.
    pub const fn has_witness(&self) -> bool {
        self.has_witness
    }

    /// The coinbase before the extranonce, without BIP 141's fields.
    pub fn coinbase_tx_prefix(&self) -> &[u8] {
        self.coinbase.prefix()
    }

    /// The coinbase after the extranonce, without BIP 141's fields.
    pub fn coinbase_tx_suffix(&self) -> &[u8] {
        self.coinbase.suffix()
    }

    /// Hashes from the coinbase's sibling up, in the byte order of a block header.
    pub fn merkle_path(&self) -> &[[u8; 32]] {
        &self.path.hashes
    }

    pub(crate) fn encoded_merkle_path(&self) -> &Seq0_255<'static, U256> {
        &self.path.encoded
    }

    /// `merkle_path` with its length, as a NewExtendedMiningJob carries it.
    pub(crate) fn merkle_path_bytes(&self) -> &[u8] {
        &self.path.bytes
    }

    /// Merkle root in the byte order of a block header; `extranonce` must have the full size.
    pub fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        self.coinbase.merkle_root(extranonce, &self.path.hashes)
    }

    /// The coinbase transaction as the block carries it, with its witness where there is a commitment (sv2-spec §3.7.3).
    pub fn coinbase_tx(&self, extranonce: &[u8]) -> Vec<u8> {
        if self.has_witness { self.coinbase.with_witness(extranonce) } else { self.coinbase.stripped(extranonce) }
    }

    /// The serialised block; `transactions` are those of the template, in order, without the coinbase.
    pub fn block(&self, header: &[u8; HEADER_LEN], extranonce: &[u8], transactions: &[Vec<u8>]) -> Vec<u8> {
        let count = compact_size(transactions.len() as u64 + 1);
        let mut block = [&header[..], &count, &self.coinbase_tx(extranonce)].concat();
        block.reserve_exact(transactions.iter().map(Vec::len).sum());
        for transaction in transactions {
            block.extend_from_slice(transaction);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn errors_say_what_was_expected() {
        let errors = [
            (JobError::TagTooLong { limit: 70, len: 71 }, "expected a pool tag of at most 70 bytes, got 71"),
            (JobError::ExtranonceSize(33), "expected a full extranonce of 1 to 32 bytes, got 33"),
            (JobError::MalformedCoinbasePrefix, "expected a coinbase_prefix of whole pushes"),
            (JobError::ScriptSigTooLong { len: 101 }, "expected a scriptSig of at most 100 bytes, got 101"),
            (JobError::TooManyOutputs { limit: 1, outputs: 2 }, "expected at most 1 payout outputs, got 2"),
            (
                JobError::Dust { least: 294, value: 1 },
                "expected an output of at least 294 satoshis, got 1: it could not pay for being spent",
            ),
            (JobError::Weights { sum: 10_001 }, "expected weights of at most 10000 basis points together, got 10001"),
            (JobError::Overspent { value: 5 }, "expected a payout of at most 5 satoshis, got more"),
            (
                JobError::SizeOverReserve { reserved: 1, needed: 2 },
                "expected payout outputs within the 1 bytes reserved, got 2",
            ),
        ];
        for (error, text) in errors {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn a_witness_commitment_has_its_header_and_its_length() {
        let commits = |script: &[u8]| {
            is_witness_commitment(&TxOut { value: bitcoin::Amount::ZERO, script_pubkey: script.to_vec().into() })
        };
        let script = [&WITNESS_COMMITMENT_HEADER[..], &[7; 33]].concat();
        assert!(commits(&script[..38]) && commits(&script));
        assert!(!commits(&script[..37]) && !commits(&[7; 38]) && !commits(&[]));
    }

    #[test]
    fn compact_sizes() {
        for value in [0, 252, 253, 0xffff, 0x1_0000] {
            assert_eq!(compact_size(value as u64), bitcoin::consensus::serialize(&bitcoin::VarInt(value as u64)));
            assert_eq!(compact_size_len(value), compact_size(value as u64).len());
        }
    }
}
