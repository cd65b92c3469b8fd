//! Shares, and the one function that judges them.
//!
//! [`validate`] hashes first and asks whether the hash makes a block before it looks for anything wrong: a block that was
//! found is handed on with every verdict, a rejection included.

mod seen;

use alloc::{boxed::Box, sync::Arc};
use core::{cell::Cell, fmt, time::Duration};

use bitcoin::BlockHash;
use const_sv2::error_code::submit_shares as code;
pub use seen::{REMEMBERED_TIPS, SeenShares};

use crate::{
    extranonce::Extranonce,
    header::{HEADER_LEN, Header},
    ids::{JobId, SequenceNumber},
    job::Job,
    target::Target,
    tip::Tip,
};

/// Seconds by which a share's nTime may run ahead of the time elapsed since its tip, unless configured otherwise.
///
/// Devices roll nTime ahead when they run out of other space; consensus allows two hours.
pub const DEFAULT_NTIME_TOLERANCE: u32 = 600;

/// Shares that a channel may have accepted on one tip, unless configured otherwise; 16 to 32 bytes each.
///
/// At six shares a minute it lasts for 45 hours. At the bound further shares are refused with `too-many-shares` until the
/// next tip: forgetting an old share instead would let it be sent, and credited, again.
pub const DEFAULT_SHARE_QUOTA: usize = 16_384;

/// What a client submits (sv2-spec §5.3.11, §5.3.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The job that was worked on.
    pub job_id: JobId,
    /// Position in the channel, echoed in the answer.
    pub sequence_number: SequenceNumber,
    /// nonce of the header.
    pub nonce: u32,
    /// nTime of the header, unix seconds.
    pub ntime: u32,
    /// nVersion of the header, whole.
    pub version: u32,
    /// What the client rolled; `None` on a standard channel.
    pub extranonce: Option<Extranonce>,
}

/// What a server allows, the same for all channels of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bits of nVersion that may differ from the job's.
    pub version_mask: u32,
    /// Seconds by which nTime may run ahead.
    pub ntime_tolerance: u32,
    /// Accepted shares per channel and tip.
    pub share_quota: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            version_mask: const_sv2::limits::BIP323_VERSION_MASK,
            ntime_tolerance: DEFAULT_NTIME_TOLERANCE,
            share_quota: DEFAULT_SHARE_QUOTA,
        }
    }
}

/// What a job's shares must meet. Two targets, because §5.3.21 has two readings: see `docs/spec/targets.md`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobTarget {
    accept: Target,
    credit: Target,
    work: u128,
    difficulty: f64,
}

impl JobTarget {
    /// One target, known to both sides.
    pub fn fixed(target: Target) -> Self {
        Self { accept: target, credit: target, work: target.work(), difficulty: target.difficulty() }
    }

    /// The client may or may not apply `target` from now on.
    pub fn widen(&mut self, target: Target) {
        self.accept = self.accept.max(target);
        self.credit = self.credit.min(target);
        self.work = self.credit.work();
        self.difficulty = self.credit.difficulty();
    }

    /// The easiest target that the client may have: hashes above it are refused.
    pub const fn accept(&self) -> Target {
        self.accept
    }

    /// The hardest target that the client may have: hashes at or below it are credited with its work.
    pub const fn credit(&self) -> Target {
        self.credit
    }

    /// Work that an accepted hash stands for: that of the harder target where it meets it, else none.
    pub fn work_of(&self, hash: &BlockHash) -> u128 {
        if self.credit.is_met_by(hash) { self.work } else { 0 }
    }
}

/// The merkle root of a job on a standard channel. Remembers what the first 64 bytes of the header hash to, which is the
/// same for all shares of a job with the same nVersion.
#[derive(Debug)]
pub struct FixedRoot {
    root: [u8; 32],
    /// nVersion, and the state after it.
    start: Cell<Option<(u32, [u32; 8])>>,
}

impl FixedRoot {
    /// For one job on one tip.
    pub const fn new(root: [u8; 32]) -> Self {
        Self { root, start: Cell::new(None) }
    }

    /// In the byte order of the header.
    pub const fn root(&self) -> [u8; 32] {
        self.root
    }

    /// Hash of the header that a share stands for.
    fn hash(&self, share: &Share, tip: &Tip) -> BlockHash {
        let start = match self.start.get() {
            Some((version, start)) if version == share.version => start,
            _ => {
                let start = header_of(share, tip, self.root).start();
                self.start.set(Some((share.version, start)));
                start
            }
        };
        Header::hash_from(start, &self.root, share.ntime, tip.nbits, share.nonce)
    }
}

const fn header_of(share: &Share, tip: &Tip, merkle_root: [u8; 32]) -> Header {
    let Share { version, ntime, nonce, .. } = *share;
    Header { version, prev_hash: tip.prev_hash, merkle_root, ntime, nbits: tip.nbits, nonce }
}

/// Everything that a share is judged by, besides the shares before it.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The job that the share names.
    pub job: &'a Arc<Job>,
    /// The tip that the job was given out for.
    pub tip: &'a Tip,
    /// Least nTime of the job.
    pub min_ntime: u32,
    /// True when the job is no longer to be worked on.
    pub retired: bool,
    /// What the share must meet.
    pub target: &'a JobTarget,
    /// The channel's extranonce prefix.
    pub prefix: &'a Extranonce,
    /// The merkle root, where the channel has a fixed one.
    pub merkle_root: Option<&'a FixedRoot>,
    /// What the server allows.
    pub rules: &'a Rules,
}

/// Why a share is refused. The order of the variants is the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// The connection has no such channel.
    InvalidChannelId,
    /// The channel has, or kept, no such job.
    InvalidJobId,
    /// The extranonce does not have the channel's size.
    BadExtranonceSize,
    /// nVersion differs although the job forbids it.
    VersionRollingNotAllowed,
    /// nVersion differs in bits that are not for rolling.
    InvalidVersionBit,
    /// The job was replaced by one for another tip, or by too many newer ones.
    Stale,
    /// nTime is before the job's or ahead of the clock.
    NtimeOutOfRange,
    /// The same share was accepted before.
    Duplicate,
    /// The hash does not meet the target.
    DifficultyTooLow,
    /// The channel has used up its quota for this tip; its target should be harder.
    TooManyShares,
}

impl RejectReason {
    /// Every reason, for counters.
    pub const ALL: [Self; 10] = [
        Self::InvalidChannelId,
        Self::InvalidJobId,
        Self::BadExtranonceSize,
        Self::VersionRollingNotAllowed,
        Self::InvalidVersionBit,
        Self::Stale,
        Self::NtimeOutOfRange,
        Self::Duplicate,
        Self::DifficultyTooLow,
        Self::TooManyShares,
    ];

    /// The string that goes out in SubmitShares.Error (sv2-spec §5.3.14).
    pub const fn error_code(&self) -> &'static str {
        match self {
            Self::InvalidChannelId => code::INVALID_CHANNEL_ID,
            Self::InvalidJobId => code::INVALID_JOB_ID,
            Self::BadExtranonceSize => code::BAD_EXTRANONCE_SIZE,
            Self::VersionRollingNotAllowed => code::VERSION_ROLLING_NOT_ALLOWED,
            Self::InvalidVersionBit => code::INVALID_NON_ROLLABLE_VERSION_BIT,
            Self::Stale => code::STALE_SHARE,
            Self::NtimeOutOfRange => code::NTIME_OUT_OF_RANGE,
            Self::Duplicate => code::DUPLICATE_SHARE,
            Self::DifficultyTooLow => code::DIFFICULTY_TOO_LOW,
            Self::TooManyShares => code::TOO_MANY_SHARES,
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error_code())
    }
}

/// A header that meets the network's target, with all that is needed to submit it.
#[derive(Clone, Debug)]
pub struct BlockCandidate {
    /// The job; it makes the coinbase and the block.
    pub job: Arc<Job>,
    /// The fields of the header.
    pub header: Header,
    /// Hash of the block.
    pub hash: BlockHash,
    /// The whole extranonce.
    pub extranonce: Extranonce,
}

impl BlockCandidate {
    /// The header as the block carries it.
    pub fn header_bytes(&self) -> [u8; HEADER_LEN] {
        self.header.to_bytes()
    }

    /// The coinbase transaction as a solution carries it (sv2-spec §7.7).
    pub fn coinbase_tx(&self) -> alloc::vec::Vec<u8> {
        self.job.coinbase_tx(self.extranonce.as_bytes())
    }

    /// The serialised block, given the template's other transactions in order.
    pub fn block(&self, transactions: &[alloc::vec::Vec<u8>]) -> alloc::vec::Vec<u8> {
        self.job.block(&self.header_bytes(), self.extranonce.as_bytes(), transactions)
    }
}

/// What becomes of a share.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// To be counted and acknowledged.
    Accepted {
        /// Work to credit; see [`JobTarget::work_of`] for when it is zero.
        work: u128,
        /// Difficulty of the job's target, for people.
        difficulty: f64,
        /// Hash of the header.
        hash: BlockHash,
        /// Set when the hash meets the network's target.
        block: Option<Box<BlockCandidate>>,
    },
    /// To be answered with an error.
    Rejected {
        /// Why.
        reason: RejectReason,
        /// Set when the hash meets the network's target: submit it all the same.
        block: Option<Box<BlockCandidate>>,
    },
}

impl Verdict {
    /// The block, whatever else the verdict says.
    pub fn block(&self) -> Option<&BlockCandidate> {
        match self {
            Self::Accepted { block, .. } | Self::Rejected { block, .. } => block.as_deref(),
        }
    }

    /// Why the share is refused; `None` when it is accepted.
    pub fn reject_reason(&self) -> Option<RejectReason> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected { reason, .. } => Some(*reason),
        }
    }

    pub(crate) const fn rejected(reason: RejectReason) -> Self {
        Self::Rejected { reason, block: None }
    }
}

/// Judges a share. The only state it touches is `seen`, and only for a share that it accepts.
pub fn validate(now: Duration, share: &Share, context: &Context<'_>, seen: &mut SeenShares) -> Verdict {
    // A standard channel's prefix is the whole extranonce, and is not copied.
    let joined = share.extranonce.as_ref().map(|rolled| context.prefix.join(rolled.as_bytes()));
    let extranonce = match &joined {
        None => context.prefix,
        Some(Ok(joined)) => joined,
        Some(Err(_)) => return Verdict::rejected(RejectReason::BadExtranonceSize),
    };
    if extranonce.len() != context.job.full_extranonce_size() {
        return Verdict::rejected(RejectReason::BadExtranonceSize);
    }
    let tip = context.tip;
    // On a standard channel the header is not put together: most of it was hashed before.
    let (hash, merkle_root) = match context.merkle_root {
        Some(fixed) => (fixed.hash(share, tip), None),
        None => {
            let root = context.job.merkle_root(extranonce.as_bytes());
            (header_of(share, tip, root).hash(), Some(root))
        }
    };
    let block = tip.target.is_met_by(&hash).then(|| {
        let root = merkle_root.or(context.merkle_root.map(FixedRoot::root)).unwrap_or_default(); // one of them is there
        let header = header_of(share, tip, root);
        Box::new(BlockCandidate { job: context.job.clone(), header, hash, extranonce: *extranonce })
    });
    match check(now, share, context, &hash, seen) {
        Ok(()) => Verdict::Accepted {
            work: context.target.work_of(&hash),
            difficulty: context.target.difficulty,
            hash,
            block,
        },
        Err(reason) => Verdict::Rejected { reason, block },
    }
}

fn check(
    now: Duration,
    share: &Share,
    context: &Context<'_>,
    hash: &BlockHash,
    seen: &mut SeenShares,
) -> Result<(), RejectReason> {
    let changed = share.version ^ context.job.version();
    if changed != 0 && !context.job.version_rolling_allowed() {
        return Err(RejectReason::VersionRollingNotAllowed);
    }
    if changed & !context.rules.version_mask != 0 {
        return Err(RejectReason::InvalidVersionBit);
    }
    if context.retired {
        return Err(RejectReason::Stale);
    }
    let latest = context.tip.max_ntime(now, context.rules.ntime_tolerance).max(context.min_ntime);
    if !(context.min_ntime..=latest).contains(&share.ntime) {
        return Err(RejectReason::NtimeOutOfRange);
    }
    let vacancy = seen.vacancy(hash).ok_or(RejectReason::Duplicate)?;
    if !context.target.accept.is_met_by(hash) {
        return Err(RejectReason::DifficultyTooLow);
    }
    seen.fill(vacancy, context.rules.share_quota)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// The strings of sv2-spec §5.3.14, and our own.
    #[test]
    fn reasons_have_their_codes_and_their_places() {
        let codes = [
            "invalid-channel-id",
            "invalid-job-id",
            "bad-extranonce-size",
            "version-rolling-not-allowed",
            "invalid-non-rollable-version-bit",
            "stale-share",
            "ntime-out-of-range",
            "duplicate-share",
            "difficulty-too-low",
            "too-many-shares",
        ];
        for (place, (reason, code)) in RejectReason::ALL.into_iter().zip(codes).enumerate() {
            assert_eq!((reason as usize, reason.error_code(), reason.to_string().as_str()), (place, code, code));
        }
    }
}
