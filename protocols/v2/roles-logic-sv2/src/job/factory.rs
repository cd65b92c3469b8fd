//! From a block template to jobs: one for each payout policy and extranonce size.

use alloc::{sync::Arc, vec::Vec};

use bitcoin::{Script, TxOut, consensus::encode};

use super::{
    Constraints, Job, JobError, JobTemplate, MAX_SCRIPT_SIG, MAX_TAG, MerklePath, Payout, VARIANT_LEN, coinbase_start,
    compact_size, is_witness_commitment,
};
use crate::{
    coinbase::{SplitCoinbase, WITNESS_FIELDS_LEN},
    extranonce::MAX_EXTRANONCE_SIZE,
    ids::JobId,
};

/// Data of a push that makes a variant of a job, in bytes.
const VARIANT_DATA: u8 = VARIANT_LEN as u8 - 1;

/// A template, checked, with all that its jobs have in common: what is not in the coinbase. Share it in an `Arc`.
#[derive(Clone, Debug)]
pub struct PreparedTemplate {
    template: JobTemplate,
    path: Arc<MerklePath>,
    has_witness: bool,
}

impl PreparedTemplate {
    /// Refuses templates from which no job can be made, whatever the payout.
    pub fn new(template: JobTemplate) -> Result<Self, JobError> {
        let has_witness = has_witness_commitment(&template)?;
        if Script::from_bytes(&template.coinbase_prefix).instructions().any(|instruction| instruction.is_err()) {
            return Err(JobError::MalformedCoinbasePrefix);
        }
        let path = Arc::new(MerklePath::new(template.merkle_path.clone())?);
        Ok(Self { template, path, has_witness })
    }

    /// The template as it came.
    pub const fn template(&self) -> &JobTemplate {
        &self.template
    }
}

/// Reads the template's own outputs and tells whether one of them is a witness commitment.
fn has_witness_commitment(template: &JobTemplate) -> Result<bool, JobError> {
    let mut rest = template.coinbase_tx_outputs.as_slice();
    let mut found = false;
    for _ in 0..template.coinbase_tx_outputs_count {
        let (output, used) =
            encode::deserialize_partial::<TxOut>(rest).map_err(|_| JobError::MalformedTemplateOutputs)?;
        found |= is_witness_commitment(&output);
        rest = rest.get(used..).unwrap_or_default();
    }
    if rest.is_empty() { Ok(found) } else { Err(JobError::MalformedTemplateOutputs) }
}

/// Turns templates into jobs for one payout and one full extranonce size (sv2-spec §5.2.3: one size per group).
///
/// For many payouts of the same template, as with an address for each solo miner, make a factory for each by
/// [`for_payout`](Self::for_payout), prepare the template once, and [`build_prepared`](Self::build_prepared) with each: a job
/// then costs its coinbase and no more.
#[derive(Clone, Debug)]
pub struct JobFactory {
    payout: Payout,
    tag: Arc<[u8]>,
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
        check_reserve(&payout, reserved)?;
        Ok(Self { payout, tag: tag.into(), full_extranonce_size, version_rolling_allowed: true, reserved })
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

    /// The same but for who is paid.
    pub fn for_payout(&self, payout: Payout) -> Result<Self, JobError> {
        check_reserve(&payout, self.reserved)?;
        Ok(Self { payout, ..self.clone() })
    }

    /// Size of the full extranonce of the jobs, in bytes.
    pub const fn full_extranonce_size(&self) -> usize {
        self.full_extranonce_size
    }

    /// Builds the job of a template under an id that no live job has.
    pub fn build(&self, id: JobId, template: &JobTemplate) -> Result<Job, JobError> {
        self.build_variant(id, template, 0)
    }

    /// Builds another job of the same template: each `variant` is new work. Those but 0 take
    /// [`VARIANT_LEN`] bytes of scriptSig.
    pub fn build_variant(&self, id: JobId, template: &JobTemplate, variant: u32) -> Result<Job, JobError> {
        self.build_prepared(id, &PreparedTemplate::new(template.clone())?, variant)
    }

    /// The same from a template that was prepared once for many jobs.
    pub fn build_prepared(&self, id: JobId, prepared: &PreparedTemplate, variant: u32) -> Result<Job, JobError> {
        let PreparedTemplate { template, path, has_witness } = prepared;
        let prefix = self.coinbase_prefix(template, variant)?;
        let suffix = self.coinbase_suffix(template)?;
        // The tightest message is SubmitSolution, which carries the coinbase whole.
        let len = prefix.len() + self.full_extranonce_size + suffix.len() + WITNESS_FIELDS_LEN;
        if len > const_sv2::limits::B0_64K_MAX {
            return Err(JobError::TooLongForMessage { part: "coinbase transaction", len });
        }
        Ok(Job {
            id,
            template_id: template.template_id,
            custom: false,
            version: template.version,
            version_rolling_allowed: self.version_rolling_allowed,
            full_extranonce_size: self.full_extranonce_size,
            has_witness: *has_witness,
            coinbase: SplitCoinbase::for_size(prefix, suffix, self.full_extranonce_size),
            path: path.clone(),
        })
    }

    /// Up to and including the opcode that pushes the extranonce.
    ///
    /// Tag and extranonce are data of a push each: as bare bytes they could be opcodes, and those count as sigops.
    fn coinbase_prefix(&self, template: &JobTemplate, variant: u32) -> Result<Vec<u8>, JobError> {
        let mut script_sig = Vec::with_capacity(MAX_SCRIPT_SIG);
        script_sig.extend_from_slice(&template.coinbase_prefix);
        if !self.tag.is_empty() {
            script_sig.push(self.tag.len() as u8); // at most MAX_TAG, which is a direct push
            script_sig.extend_from_slice(&self.tag);
        }
        if variant != 0 {
            script_sig.push(VARIANT_DATA);
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
        let (added, outputs) = self.payout.serialized(template.coinbase_tx_value_remaining)?;
        let count = compact_size(added + u64::from(template.coinbase_tx_outputs_count));
        let parts: [&[u8]; 5] = [
            &template.coinbase_tx_input_sequence.to_le_bytes(),
            &count,
            &outputs,
            &template.coinbase_tx_outputs,
            &template.coinbase_tx_locktime.to_le_bytes(),
        ];
        Ok(parts.concat())
    }
}

fn check_reserve(payout: &Payout, reserved: Constraints) -> Result<(), JobError> {
    let (size, sigops) = payout.cost();
    let Constraints { max_additional_size, max_additional_sigops } = reserved;
    if size > max_additional_size.into() {
        return Err(JobError::SizeOverReserve { reserved: max_additional_size, needed: size });
    }
    if sigops > max_additional_sigops.into() {
        return Err(JobError::SigopsOverReserve { reserved: max_additional_sigops, needed: sigops });
    }
    Ok(())
}
