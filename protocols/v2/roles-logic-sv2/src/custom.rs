//! Jobs that a client chose itself: SetCustomMiningJob to a [`Job`] (sv2-spec §5.3.18), and what is checked before.
//!
//! Whoever knows the tokens says what was declared ([`Tokens`]); everything that follows from the message, the tip and the
//! declaration is checked here. `docs/spec/custom-jobs.md` says what and why.

use alloc::{sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use binary_sv2::Str0_255;
use bitcoin::{Amount, TxOut, consensus::encode, hashes::Hash as _, script::Builder};
use const_sv2::{error_code::set_custom_mining_job as code, limits};
use mining_sv2::{SetCustomMiningJob, SetCustomMiningJobError};

use crate::{
    coinbase::{SplitCoinbase, WITNESS_FIELDS_LEN},
    ids::{JobId, TemplateId},
    job::{Job, MAX_SCRIPT_SIG, MerklePath, coinbase_start, is_witness_commitment},
    tip::Tip,
};

/// Longest merkle path: 4,000,000 weight units hold 16,666 transactions at most, which is 15 levels.
pub const MAX_MERKLE_PATH: usize = 15;
/// Least scriptSig that consensus allows in a coinbase, in bytes.
const MIN_SCRIPT_SIG: usize = 2;
/// An nSequence that makes nLockTime count for nothing.
const FINAL_SEQUENCE: u32 = 0xffff_ffff;

/// What a pool allows in custom jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomRules {
    /// Longest `coinbase_prefix`: the specification's 8 bytes. Job declarators in the field put their tags there, too; a pool
    /// that takes those allows [`MAX_SCRIPT_SIG`], within which prefix and extranonce must be in any case.
    pub max_coinbase_prefix: usize,
    /// Bits of nVersion in which the job may differ from the declared version, as devices will roll them anyway.
    pub version_mask: u32,
    /// Seconds by which `min_ntime` may run ahead of the time elapsed since the tip.
    pub ntime_tolerance: u32,
    /// False on connections with REQUIRES_FIXED_VERSION.
    pub version_rolling_allowed: bool,
}

impl Default for CustomRules {
    fn default() -> Self {
        Self {
            max_coinbase_prefix: limits::COINBASE_PREFIX_MAX,
            version_mask: limits::BIP323_VERSION_MASK,
            ntime_tolerance: crate::share::DEFAULT_NTIME_TOLERANCE,
            version_rolling_allowed: true,
        }
    }
}

/// What the token of a job stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Under which number solutions of the job go to who knows its transactions.
    pub template_id: TemplateId,
    /// Outputs that the coinbase must have: each of these scripts with these satoshis or more.
    pub outputs: Vec<TxOut>,
    /// The height of the block, where it is known: it must begin the scriptSig (BIP 34), and nLockTime must be final at it.
    pub height: Option<u32>,
    /// The version of the declared job, where it is known.
    pub version: Option<u32>,
    /// The least nTime that consensus allows, where it is known; else the tip's `min_ntime` counts.
    pub least_ntime: Option<u32>,
}

/// Who knows what was declared. A closure will do.
pub trait Tokens {
    /// What the request's token stands for; [`CustomJobError::Token`], [`CustomJobError::NotYetValidated`] or any other error
    /// if it does not stand for this request.
    fn declared(&self, request: &SetCustomMiningJob<'_>) -> Result<Declared, CustomJobError>;
}

impl<F: Fn(&SetCustomMiningJob<'_>) -> Result<Declared, CustomJobError>> Tokens for F {
    fn declared(&self, request: &SetCustomMiningJob<'_>) -> Result<Declared, CustomJobError> {
        self(request)
    }
}

/// Why a custom job is refused. The order of the variants is the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomJobError {
    /// The connection takes no custom jobs.
    NotSupported,
    /// There is no such extended channel, nor a group that has one.
    Channel,
    /// There is no tip yet, or `prev_hash` is another one.
    StaleTip,
    /// `nbits` is not the tip's.
    Nbits,
    /// `min_ntime` is too early or too late.
    MinNtime,
    /// The token is unknown, expired or stands for something else.
    Token,
    /// The job behind the token is still being checked.
    NotYetValidated,
    /// nVersion differs in more than the bits for rolling.
    Version,
    /// `merkle_path` is longer than a block's can be.
    MerklePath,
    /// `coinbase_prefix` is too long for the rules or the scriptSig, or does not begin with the height.
    CoinbasePrefix,
    /// The coinbase's nVersion is not the declared one.
    CoinbaseVersion,
    /// The coinbase's nSequence is not the declared one.
    CoinbaseSequence,
    /// The outputs can not be read, are none, pay more than there is, or not what was declared.
    CoinbaseOutputs,
    /// nLockTime is not final at the block's height, or is a time.
    CoinbaseLockTime,
    /// The coinbase is too long for the messages that carry it.
    Coinbase,
}

impl CustomJobError {
    /// The string for SetCustomMiningJob.Error (sv2-spec §5.3.20).
    pub const fn error_code(&self) -> &'static str {
        match self {
            Self::NotSupported => code::JD_NOT_SUPPORTED,
            Self::Channel => code::INVALID_CHANNEL_ID,
            Self::StaleTip => code::STALE_CHAIN_TIP,
            Self::Nbits => code::INVALID_NBITS,
            Self::MinNtime => code::INVALID_MIN_NTIME,
            Self::Token => code::INVALID_MINING_JOB_TOKEN,
            Self::NotYetValidated => code::JOB_NOT_YET_VALIDATED,
            Self::Version => code::INVALID_VERSION,
            Self::MerklePath => code::INVALID_MERKLE_PATH,
            Self::CoinbasePrefix => code::INVALID_COINBASE_PREFIX,
            Self::CoinbaseVersion => code::INVALID_COINBASE_TX_VERSION,
            Self::CoinbaseSequence => code::INVALID_COINBASE_TX_INPUT_N_SEQUENCE,
            Self::CoinbaseOutputs => code::INVALID_COINBASE_TX_OUTPUTS,
            Self::CoinbaseLockTime => code::INVALID_COINBASE_TX_LOCKTIME,
            Self::Coinbase => code::INVALID_COINBASE_TX,
        }
    }

    /// The message that refuses this request.
    pub fn message(&self, request: &SetCustomMiningJob<'_>) -> SetCustomMiningJobError<'static> {
        SetCustomMiningJobError {
            channel_id: request.channel_id,
            request_id: request.request_id,
            error_code: Str0_255::from_truncated(self.error_code()),
        }
    }
}

impl fmt::Display for CustomJobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error_code())
    }
}

impl core::error::Error for CustomJobError {}

/// Checks the request and makes its job, for channels of this full extranonce size on this tip. `id` is asked for an id only
/// when everything is in order.
pub fn build(
    now: Duration,
    request: &SetCustomMiningJob<'_>,
    full_extranonce_size: usize,
    tip: &Tip,
    tokens: &impl Tokens,
    rules: &CustomRules,
    id: impl FnOnce() -> JobId,
) -> Result<Job, CustomJobError> {
    check_tip(request, tip)?;
    let declared = tokens.declared(request)?;
    check_header(now, request, tip, &declared, rules)?;
    if request.coinbase_prefix.as_bytes().len() > rules.max_coinbase_prefix {
        return Err(CustomJobError::CoinbasePrefix);
    }
    check_height(request, &declared)?;
    let outputs = outputs(request)?;
    if !pays(&outputs, &declared.outputs) {
        return Err(CustomJobError::CoinbaseOutputs);
    }
    let coinbase = coinbase(request, full_extranonce_size)?;
    let hashes = request.merkle_path.iter().map(|hash| hash.to_le_bytes()).collect();
    let path = MerklePath::new(hashes).map_err(|_| CustomJobError::MerklePath)?;
    Ok(Job {
        id: id(),
        template_id: declared.template_id,
        custom: true,
        version: request.version,
        version_rolling_allowed: rules.version_rolling_allowed,
        full_extranonce_size,
        has_witness: outputs.iter().any(is_witness_commitment),
        coinbase,
        path: Arc::new(path),
    })
}

fn check_tip(request: &SetCustomMiningJob<'_>, tip: &Tip) -> Result<(), CustomJobError> {
    if request.prev_hash.to_le_bytes() != tip.prev_hash.to_byte_array() {
        return Err(CustomJobError::StaleTip);
    }
    if request.nbits != tip.nbits {
        return Err(CustomJobError::Nbits);
    }
    Ok(())
}

fn check_header(
    now: Duration,
    request: &SetCustomMiningJob<'_>,
    tip: &Tip,
    declared: &Declared,
    rules: &CustomRules,
) -> Result<(), CustomJobError> {
    let least = declared.least_ntime.unwrap_or(tip.min_ntime);
    if request.min_ntime < least || request.min_ntime > tip.max_ntime(now, rules.ntime_tolerance).max(least) {
        return Err(CustomJobError::MinNtime);
    }
    if declared.version.is_some_and(|version| (version ^ request.version) & !rules.version_mask != 0) {
        return Err(CustomJobError::Version);
    }
    if request.merkle_path.len() > MAX_MERKLE_PATH {
        return Err(CustomJobError::MerklePath);
    }
    Ok(())
}

/// What follows from the height: the scriptSig's first bytes, and whether nLockTime is final.
fn check_height(request: &SetCustomMiningJob<'_>, declared: &Declared) -> Result<(), CustomJobError> {
    let Some(height) = declared.height else { return Ok(()) };
    let bip34 = Builder::new().push_int(height.into()).into_script();
    if !request.coinbase_prefix.as_bytes().starts_with(bip34.as_bytes()) {
        return Err(CustomJobError::CoinbasePrefix);
    }
    // A lock by time, which is a number above any height, is compared with the median of the last blocks' times (BIP 113). That
    // is not known here, and nobody needs such a lock: it is taken for one that is not final.
    let lock_time = request.coinbase_tx_locktime;
    let is_final = lock_time < height || request.coinbase_tx_input_n_sequence == FINAL_SEQUENCE;
    if is_final { Ok(()) } else { Err(CustomJobError::CoinbaseLockTime) }
}

/// The outputs, of which there is one at least, and which pay no more than can exist.
fn outputs(request: &SetCustomMiningJob<'_>) -> Result<Vec<TxOut>, CustomJobError> {
    let outputs: Vec<TxOut> =
        encode::deserialize(request.coinbase_tx_outputs.as_bytes()).map_err(|_| CustomJobError::CoinbaseOutputs)?;
    let sum = outputs
        .iter()
        .try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.value).filter(|sum| *sum <= Amount::MAX_MONEY));
    if outputs.is_empty() || sum.is_none() { Err(CustomJobError::CoinbaseOutputs) } else { Ok(outputs) }
}

/// Whether each script that must be paid gets what all its required outputs say together.
fn pays(outputs: &[TxOut], required: &[TxOut]) -> bool {
    let to = |list: &[TxOut], output: &TxOut| -> Option<Amount> {
        let same = list.iter().filter(|other| other.script_pubkey == output.script_pubkey);
        same.map(|other| other.value).try_fold(Amount::ZERO, Amount::checked_add)
    };
    required.iter().all(|output| {
        let there = outputs.iter().any(|other| other.script_pubkey == output.script_pubkey);
        there && to(required, output).is_some_and(|needed| to(outputs, output).is_some_and(|paid| paid >= needed))
    })
}

/// The coinbase around its extranonce. Both sides make it from the message: scriptSig is `coinbase_prefix`, then the
/// extranonce; nothing of the server's is added.
pub(crate) fn coinbase(
    request: &SetCustomMiningJob<'_>,
    full_extranonce_size: usize,
) -> Result<SplitCoinbase, CustomJobError> {
    let script_sig = request.coinbase_prefix.as_bytes();
    if !(MIN_SCRIPT_SIG..=MAX_SCRIPT_SIG).contains(&(script_sig.len() + full_extranonce_size)) {
        return Err(CustomJobError::CoinbasePrefix);
    }
    let prefix = coinbase_start(request.coinbase_tx_version, script_sig, full_extranonce_size);
    let mut suffix = request.coinbase_tx_input_n_sequence.to_le_bytes().to_vec();
    suffix.extend_from_slice(request.coinbase_tx_outputs.as_bytes());
    suffix.extend_from_slice(&request.coinbase_tx_locktime.to_le_bytes());
    // The tightest message is SubmitSolution, which carries the coinbase whole.
    if prefix.len() + full_extranonce_size + suffix.len() + WITNESS_FIELDS_LEN > limits::B0_64K_MAX {
        return Err(CustomJobError::Coinbase);
    }
    Ok(SplitCoinbase::for_size(prefix, suffix, full_extranonce_size))
}
