//! From a block template to a job, and from a job and an extranonce back to a block.

use alloc::{boxed::Box, vec, vec::Vec};
use core::fmt;

use binary_sv2::{Encodable as _, Seq0_255, U256};
use bitcoin::{
    Amount, Script, ScriptBuf, TxOut,
    consensus::{Encodable, encode},
};

use crate::{
    coinbase::{SplitCoinbase, WITNESS_FIELDS_LEN},
    extranonce::MAX_EXTRANONCE_SIZE,
    header::HEADER_LEN,
    ids::{ChannelId, JobId, TemplateId},
    messages::{self, encode_merkle_path},
};

/// Longest scriptSig that consensus allows in a coinbase, in bytes.
pub const MAX_SCRIPT_SIG: usize = 100;
/// Longest data that one opcode byte pushes.
const MAX_DIRECT_PUSH: usize = 75;
/// Longest pool tag: a direct push, within what is left of the scriptSig beside height and extranonce.
pub const MAX_TAG: usize = MAX_DIRECT_PUSH;
/// Bytes that a job's variant takes in the scriptSig: a push of four bytes.
pub const VARIANT_LEN: usize = 5;
/// Most outputs that a payout may have; what the template reserves is the tighter bound.
pub const MAX_PAYOUT_OUTPUTS: usize = 10_000;
/// What one legacy sigop costs in the block's budget of 80,000, which is the unit of sv2-spec §7.1.
const SIGOP_COST: u64 = 4;
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

impl JobTemplate {
    /// Reads the template's own outputs and tells whether one of them is a witness commitment.
    fn has_witness_commitment(&self) -> Result<bool, JobError> {
        let mut rest = self.coinbase_tx_outputs.as_slice();
        let mut found = false;
        for _ in 0..self.coinbase_tx_outputs_count {
            let (output, used) =
                encode::deserialize_partial::<TxOut>(rest).map_err(|_| JobError::MalformedTemplateOutputs)?;
            found |= is_witness_commitment(&output);
            rest = rest.get(used..).unwrap_or_default();
        }
        if rest.is_empty() { Ok(found) } else { Err(JobError::MalformedTemplateOutputs) }
    }
}

/// Whether the output carries the witness commitment, so that the coinbase needs a witness (BIP 141).
pub(crate) fn is_witness_commitment(output: &TxOut) -> bool {
    let script = output.script_pubkey.as_bytes();
    script.len() >= WITNESS_COMMITMENT_LEN && script.starts_with(&WITNESS_COMMITMENT_HEADER)
}

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

/// Room in the coinbase that was reserved with the template's source (`CoinbaseOutputConstraints`, sv2-spec §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Constraints {
    /// Serialised bytes of added outputs.
    pub max_additional_size: u32,
    /// Sigops of added outputs, in the unit of the block's limit of 80,000: a legacy sigop counts 4.
    pub max_additional_sigops: u16,
}

/// Where a block's value goes: some fixed amounts, and all the rest to one script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    fixed: Vec<TxOut>,
    remainder: ScriptBuf,
}

impl Payout {
    /// Everything to one script.
    pub const fn single(script: ScriptBuf) -> Self {
        Self { fixed: Vec::new(), remainder: script }
    }

    /// Fixed outputs first, in this order; what they leave goes to `remainder`, be it zero.
    pub fn new(fixed: Vec<TxOut>, remainder: ScriptBuf) -> Result<Self, JobError> {
        if fixed.len() >= MAX_PAYOUT_OUTPUTS {
            return Err(JobError::TooManyOutputs { limit: MAX_PAYOUT_OUTPUTS, outputs: fixed.len() + 1 });
        }
        Ok(Self { fixed, remainder })
    }

    /// What to reserve for this payout; saturates at what the message can say.
    pub fn constraints(&self) -> Constraints {
        let (size, sigops) = self.cost();
        Constraints {
            max_additional_size: u32::try_from(size).unwrap_or(u32::MAX),
            max_additional_sigops: u16::try_from(sigops).unwrap_or(u16::MAX),
        }
    }

    /// The outputs for a block of this value, in satoshis.
    pub fn outputs(&self, value: u64) -> Result<Vec<TxOut>, JobError> {
        let spent = self.fixed.iter().try_fold(0u64, |sum, output| sum.checked_add(output.value.to_sat()));
        let rest = spent.and_then(|spent| value.checked_sub(spent)).ok_or(JobError::Overspent { value })?;
        let mut outputs = self.fixed.clone();
        outputs.push(TxOut { value: Amount::from_sat(rest), script_pubkey: self.remainder.clone() });
        Ok(outputs)
    }

    /// Serialised size of all outputs and their sigops cost.
    fn cost(&self) -> (u64, u64) {
        let scripts = self.fixed.iter().map(|output| &*output.script_pubkey).chain([&*self.remainder]);
        scripts.fold((0, 0), |(size, sigops), script| {
            let output_size = 8 + compact_size(script.len() as u64).len() + script.len();
            (size + output_size as u64, sigops + SIGOP_COST * script.count_sigops_legacy() as u64)
        })
    }
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

/// Turns templates into jobs for one payout and one full extranonce size (sv2-spec §5.2.3: one size per group).
#[derive(Clone, Debug)]
pub struct JobFactory {
    payout: Payout,
    tag: Vec<u8>,
    full_extranonce_size: usize,
    version_rolling_allowed: bool,
    reserved: Constraints,
}

impl JobFactory {
    /// `tag` is the pool's mark in the scriptSig (empty: none); `reserved` is what the template source was asked for.
    pub fn new(
        payout: Payout,
        tag: Vec<u8>,
        full_extranonce_size: usize,
        reserved: Constraints,
    ) -> Result<Self, JobError> {
        if !(1..=MAX_EXTRANONCE_SIZE).contains(&full_extranonce_size) {
            return Err(JobError::ExtranonceSize(full_extranonce_size));
        }
        let limit = Self::max_tag(full_extranonce_size);
        if tag.len() > limit {
            return Err(JobError::TagTooLong { limit, len: tag.len() });
        }
        let factory = Self { payout, tag, full_extranonce_size, version_rolling_allowed: true, reserved };
        factory.check_reserve()?;
        Ok(factory)
    }

    /// Longest tag beside an extranonce of this size and the longest `coinbase_prefix` (sv2-spec §7.2: 8 bytes).
    pub const fn max_tag(full_extranonce_size: usize) -> usize {
        let fixed = const_sv2::limits::COINBASE_PREFIX_MAX + 1 + full_extranonce_size + 1;
        let room = MAX_SCRIPT_SIG.saturating_sub(fixed);
        if room < MAX_TAG { room } else { MAX_TAG }
    }

    /// Makes jobs whose version must be used as it is (sv2-spec §5.3.16).
    #[must_use]
    pub fn with_fixed_version(mut self) -> Self {
        self.version_rolling_allowed = false;
        self
    }

    /// Size of the full extranonce of the jobs, in bytes.
    pub const fn full_extranonce_size(&self) -> usize {
        self.full_extranonce_size
    }

    /// Builds the job of a template under an id that no live job has.
    pub fn build(&self, id: JobId, template: &JobTemplate) -> Result<Job, JobError> {
        self.build_variant(id, template, 0)
    }

    /// Builds another job of the same template: each `variant` is new work. Those but 0 take [`VARIANT_LEN`] bytes of scriptSig.
    pub fn build_variant(&self, id: JobId, template: &JobTemplate, variant: u32) -> Result<Job, JobError> {
        let has_witness = template.has_witness_commitment()?;
        let prefix = self.coinbase_prefix(template, variant)?;
        let suffix = self.coinbase_suffix(template)?;
        // The tightest message is SubmitSolution, which carries the coinbase whole.
        let len = prefix.len() + self.full_extranonce_size + suffix.len() + WITNESS_FIELDS_LEN;
        if len > const_sv2::limits::B0_64K_MAX {
            return Err(JobError::TooLongForMessage { part: "coinbase transaction", len });
        }
        let len = template.merkle_path.len();
        let encoded_merkle_path = encode_merkle_path(&template.merkle_path)
            .map_err(|_| JobError::TooLongForMessage { part: "merkle path", len })?;
        let coinbase = SplitCoinbase::for_size(prefix, suffix, self.full_extranonce_size);
        Job {
            id,
            template_id: template.template_id,
            custom: false,
            version: template.version,
            version_rolling_allowed: self.version_rolling_allowed,
            full_extranonce_size: self.full_extranonce_size,
            has_witness,
            coinbase,
            merkle_path: template.merkle_path.clone(),
            encoded_merkle_path,
            encoded: Box::default(),
        }
        .with_encoding()
    }

    fn check_reserve(&self) -> Result<(), JobError> {
        let (size, sigops) = self.payout.cost();
        let Constraints { max_additional_size, max_additional_sigops } = self.reserved;
        if size > max_additional_size.into() {
            return Err(JobError::SizeOverReserve { reserved: max_additional_size, needed: size });
        }
        if sigops > max_additional_sigops.into() {
            return Err(JobError::SigopsOverReserve { reserved: max_additional_sigops, needed: sigops });
        }
        Ok(())
    }

    /// Up to and including the opcode that pushes the extranonce.
    ///
    /// Tag and extranonce are data of a push each: as bare bytes they could be opcodes, and those count as sigops.
    fn coinbase_prefix(&self, template: &JobTemplate, variant: u32) -> Result<Vec<u8>, JobError> {
        if Script::from_bytes(&template.coinbase_prefix).instructions().any(|instruction| instruction.is_err()) {
            return Err(JobError::MalformedCoinbasePrefix);
        }
        let mut script_sig = template.coinbase_prefix.clone();
        if !self.tag.is_empty() {
            script_sig.push(self.tag.len() as u8); // at most MAX_TAG, which is a direct push
            script_sig.extend_from_slice(&self.tag);
        }
        if variant != 0 {
            script_sig.push(4);
            script_sig.extend_from_slice(&variant.to_le_bytes());
        }
        script_sig.push(self.full_extranonce_size as u8); // at most 32, a direct push too
        let len = script_sig.len() + self.full_extranonce_size;
        if len > MAX_SCRIPT_SIG {
            return Err(JobError::ScriptSigTooLong { len });
        }
        Ok(coinbase_start(template.coinbase_tx_version, &script_sig, self.full_extranonce_size))
    }

    /// From nSequence on: the payout's outputs, then the template's.
    fn coinbase_suffix(&self, template: &JobTemplate) -> Result<Vec<u8>, JobError> {
        let outputs = self.payout.outputs(template.coinbase_tx_value_remaining)?;
        let count = outputs.len() as u64 + u64::from(template.coinbase_tx_outputs_count);
        let mut suffix = template.coinbase_tx_input_sequence.to_le_bytes().to_vec();
        suffix.extend(compact_size(count));
        for output in &outputs {
            suffix.extend(encode::serialize(output));
        }
        suffix.extend_from_slice(&template.coinbase_tx_outputs);
        suffix.extend_from_slice(&template.coinbase_tx_locktime.to_le_bytes());
        Ok(suffix)
    }
}

fn compact_size(value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    // Writing to a vector can not fail.
    let _ = bitcoin::VarInt(value).consensus_encode(&mut bytes);
    bytes
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
    pub(crate) merkle_path: Vec<[u8; 32]>,
    /// The same as messages carry it.
    pub(crate) encoded_merkle_path: Seq0_255<'static, U256>,
    /// A NewExtendedMiningJob from its `version` on, which is the same for all channels.
    pub(crate) encoded: Box<[u8]>,
}

impl Job {
    /// Keeps the part of the job's message that all channels get alike.
    pub(crate) fn with_encoding(mut self) -> Result<Self, JobError> {
        let message = self.new_extended_mining_job(ChannelId(0), None);
        let bytes = binary_sv2::to_bytes(&message)
            .map_err(|_| JobError::TooLongForMessage { part: "job", len: message.encoded_len() })?;
        self.encoded = bytes.get(messages::JOB_VERSION_AT..).unwrap_or_default().into();
        Ok(self)
    }

    /// A NewExtendedMiningJob from its `version` on.
    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

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
        &self.merkle_path
    }

    pub(crate) const fn encoded_merkle_path(&self) -> &Seq0_255<'static, U256> {
        &self.encoded_merkle_path
    }

    /// Merkle root in the byte order of a block header; `extranonce` must have the full size.
    pub fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        self.coinbase.merkle_root(extranonce, &self.merkle_path)
    }

    /// The coinbase transaction as the block carries it, with its witness where there is a commitment (sv2-spec §3.7.3).
    pub fn coinbase_tx(&self, extranonce: &[u8]) -> Vec<u8> {
        if self.has_witness { self.coinbase.with_witness(extranonce) } else { self.coinbase.stripped(extranonce) }
    }

    /// The serialised block; `transactions` are those of the template, in order, without the coinbase.
    pub fn block(&self, header: &[u8; HEADER_LEN], extranonce: &[u8], transactions: &[Vec<u8>]) -> Vec<u8> {
        let coinbase = self.coinbase_tx(extranonce);
        let count = compact_size(transactions.len() as u64 + 1);
        let size = transactions.iter().map(Vec::len).sum::<usize>() + HEADER_LEN + count.len() + coinbase.len();
        let mut block = Vec::with_capacity(size);
        block.extend_from_slice(header);
        block.extend(count);
        block.extend(coinbase);
        for transaction in transactions {
            block.extend_from_slice(transaction);
        }
        block
    }
}
