//! From the messages of one protocol, or one side of a proxy, to those of another.
//!
//! | From | To | By |
//! |---|---|---|
//! | NewTemplate | a job for any channel | [`JobTemplate::from`], then [`JobFactory::build`](crate::job::JobFactory::build) |
//! | SetNewPrevHash of a template | a tip | [`Tip::of_template`] |
//! | NewExtendedMiningJob from upstream | jobs for downstream channels of either kind | [`Job::of_upstream`], then [`Job::message`] and [`Channel::new_mining_job`](crate::channel::server::Channel::new_mining_job) |
//! | a share from downstream | SubmitSharesExtended upstream | [`Share::to_upstream`] |
//! | a job of our own | SetCustomMiningJob, DeclareMiningJob | [`Job::set_custom_mining_job`], [`Job::declare_mining_job`] |
//! | SetCustomMiningJob | a job | [`custom::build`](crate::custom::build) |
//! | a block | SubmitSolution, PushSolution | [`BlockCandidate::submit_solution`], [`BlockCandidate::push_solution`] |
//!
//! # Example
//! ```
//! use core::time::Duration;
//! use binary_sv2::{B0_64K, Seq0_255};
//! use mining_sv2::NewExtendedMiningJob;
//! use roles_logic_sv2::{ChannelId, SequenceNumber, extranonce::Extranonce, job::Job, share::Share};
//!
//! // Upstream gave the prefix 0xaa and 19 bytes; this proxy's downstream has 0xaa, 0x01 and 18 bytes.
//! let upstream = NewExtendedMiningJob {
//!     channel_id: 40,
//!     job_id: 7,
//!     min_ntime: Some(1_700_000_000),
//!     version: 0x2000_0000,
//!     version_rolling_allowed: true,
//!     merkle_path: Seq0_255::empty(),
//!     coinbase_tx_prefix: B0_64K::try_from(vec![1; 60])?,
//!     coinbase_tx_suffix: B0_64K::try_from(vec![2; 60])?,
//! };
//! let job = Job::of_upstream(&upstream, 20)?;
//! assert_eq!(job.new_extended_mining_job(ChannelId(2), upstream.min_ntime).coinbase_tx_prefix.as_bytes(), [1; 60]);
//!
//! let (job_id, sequence_number) = (job.id(), SequenceNumber(0));
//! let extranonce = Some(Extranonce::zeroed(18)?);
//! let share = Share { job_id, sequence_number, nonce: 5, ntime: 1_700_000_000, version: 0x2000_0000, extranonce };
//! let prefix = Extranonce::try_from(&[0xaa, 0x01][..])?;
//! let message = share.to_upstream(ChannelId(40), SequenceNumber(17), &prefix, 1)?;
//! assert_eq!((message.job_id, message.sequence_number, message.extranonce.as_bytes().len()), (7, 17, 19));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use alloc::{sync::Arc, vec::Vec};
use core::time::Duration;

use binary_sv2::{B0_64K, B0_255, Seq0_64K, U256};
use bitcoin::{BlockHash, hashes::Hash as _};
use const_sv2::limits::B0_64K_MAX;
use job_declaration_sv2::{DeclareMiningJob, PushSolution};
use mining_sv2::{NewExtendedMiningJob, SetCustomMiningJob, SubmitSharesExtended};
use template_distribution_sv2::SetNewPrevHash;

#[cfg(doc)]
use crate::job::JobTemplate;
use crate::{
    coinbase::SplitCoinbase,
    extranonce::{Extranonce, ExtranonceTooLong, MAX_EXTRANONCE_SIZE},
    ids::{ChannelId, JobId, RequestId, SequenceNumber, TemplateId},
    job::{COINBASE_SCRIPT_SIG_AT, Job, JobError, MerklePath},
    share::{BlockCandidate, Share},
    target::CompactError,
    tip::Tip,
};

/// Bytes of nSequence and of nLockTime, which a coinbase's part behind the extranonce begins and ends with.
const FIELD_LEN: usize = 4;

impl Tip {
    /// The tip that a Template Provider tells (sv2-spec §7.3). Refuses an `n_bits` that no valid block can have.
    pub fn of_template(message: &SetNewPrevHash, now: Duration) -> Result<Self, CompactError> {
        let prev_hash = BlockHash::from_byte_array(message.prev_hash.to_le_bytes());
        Self::new(prev_hash, message.header_timestamp, message.n_bits, now)
    }
}

impl Job {
    /// A proxy's job from its upstream server's, under the same id, for downstream channels of this full extranonce size:
    /// that of the upstream channel.
    ///
    /// A proxy knows no template: blocks that it finds go upstream as shares, and its candidates make no whole block.
    pub fn of_upstream(message: &NewExtendedMiningJob<'_>, full_extranonce_size: usize) -> Result<Self, JobError> {
        if !(1..=MAX_EXTRANONCE_SIZE).contains(&full_extranonce_size) {
            return Err(JobError::ExtranonceSize(full_extranonce_size));
        }
        let (prefix, suffix) = (message.coinbase_tx_prefix.as_bytes(), message.coinbase_tx_suffix.as_bytes());
        let path = MerklePath::new(message.merkle_path.iter().map(|hash| hash.to_le_bytes()).collect())?;
        Ok(Self {
            id: JobId(message.job_id),
            template_id: TemplateId(0),
            custom: false,
            version: message.version,
            version_rolling_allowed: message.version_rolling_allowed,
            full_extranonce_size,
            has_witness: false,
            coinbase: SplitCoinbase::for_size(prefix.to_vec(), suffix.to_vec(), full_extranonce_size),
            path: Arc::new(path),
        })
    }

    /// The request that has a pool take shares for this job of ours (sv2-spec §5.3.18). The channel's full extranonce must have
    /// the job's size; the pool then builds the same coinbase.
    pub fn set_custom_mining_job<'a>(
        &'a self,
        channel_id: ChannelId,
        request_id: RequestId,
        token: B0_255<'a>,
        tip: &Tip,
    ) -> Result<SetCustomMiningJob<'a>, JobError> {
        let (prefix, suffix) = (self.coinbase_tx_prefix(), self.coinbase_tx_suffix());
        let (Some(version), Some(script_sig)) = (prefix.first_chunk(), prefix.get(COINBASE_SCRIPT_SIG_AT..)) else {
            return Err(JobError::MalformedCoinbasePrefix);
        };
        let (Some((sequence, rest)), true) = (suffix.split_first_chunk(), suffix.len() >= 2 * FIELD_LEN) else {
            return Err(JobError::MalformedTemplateOutputs);
        };
        let Some((outputs, locktime)) = rest.split_last_chunk() else {
            return Err(JobError::MalformedTemplateOutputs);
        };
        let len = outputs.len();
        Ok(SetCustomMiningJob {
            channel_id: channel_id.0,
            request_id: request_id.0,
            mining_job_token: token,
            version: self.version(),
            prev_hash: U256::from_le_bytes(tip.prev_hash.to_byte_array()),
            min_ntime: tip.min_ntime,
            nbits: tip.nbits,
            coinbase_tx_version: u32::from_le_bytes(*version),
            coinbase_prefix: B0_255::try_from(script_sig).map_err(|_| JobError::MalformedCoinbasePrefix)?,
            coinbase_tx_input_n_sequence: u32::from_le_bytes(*sequence),
            coinbase_tx_outputs: B0_64K::try_from(outputs)
                .map_err(|_| JobError::TooLongForMessage { part: "outputs", len })?,
            coinbase_tx_locktime: u32::from_le_bytes(*locktime),
            merkle_path: self.encoded_merkle_path().reborrow(),
        })
    }

    /// The request that has a Job Declarator Server check this job of ours with its transactions (sv2-spec §6.4.4). `wtxids` are
    /// those of the template's transactions in the block's order, in the byte order of a merkle tree's leaves.
    pub fn declare_mining_job<'a>(
        &self,
        request_id: RequestId,
        token: B0_255<'a>,
        wtxids: impl IntoIterator<Item = [u8; 32]>,
    ) -> Result<DeclareMiningJob<'a>, JobError> {
        let (prefix, suffix) = self.coinbase_parts();
        let len = prefix.len().max(suffix.len());
        let part = |bytes| {
            B0_64K::try_from(bytes).map_err(|_| JobError::TooLongForMessage { part: "coinbase transaction", len })
        };
        let wtxid_list = Seq0_64K::try_from_iter(wtxids.into_iter().map(U256::from_le_bytes))
            .map_err(|_| JobError::TooLongForMessage { part: "list of transactions", len: B0_64K_MAX + 1 })?;
        Ok(DeclareMiningJob {
            request_id: request_id.0,
            mining_job_token: token,
            version: self.version(),
            coinbase_tx_prefix: part(prefix)?,
            coinbase_tx_suffix: part(suffix)?,
            wtxid_list,
            excess_data: B0_64K::EMPTY,
        })
    }

    /// The coinbase before and after its extranonce as a block carries it, BIP 141's fields included (sv2-spec §3.7.2).
    fn coinbase_parts(&self) -> (Vec<u8>, Vec<u8>) {
        let whole = self.coinbase_tx(&[]);
        let added = if self.has_witness() { WITNESS_START_LEN } else { 0 };
        let at = (self.coinbase_tx_prefix().len() + added).min(whole.len());
        let (prefix, suffix) = whole.split_at(at);
        (prefix.to_vec(), suffix.to_vec())
    }
}

/// What BIP 141 puts before the extranonce: marker and flag.
const WITNESS_START_LEN: usize = 2;

impl Share {
    /// The message that hands a downstream channel's share to the upstream extended channel behind it.
    ///
    /// `prefix` is the downstream channel's at the time of the job, of which the first `upstream_prefix_len` bytes are the upstream
    /// channel's; the rest and what the client rolled are the upstream channel's extranonce. Allocates nothing.
    pub fn to_upstream(
        &self,
        channel_id: ChannelId,
        sequence_number: SequenceNumber,
        prefix: &Extranonce,
        upstream_prefix_len: usize,
    ) -> Result<SubmitSharesExtended, ExtranonceTooLong> {
        let own = prefix.as_bytes().get(upstream_prefix_len..).ok_or(ExtranonceTooLong(upstream_prefix_len))?;
        let rolled = self.extranonce.as_ref().map_or(&[][..], Extranonce::as_bytes);
        let extranonce = Extranonce::try_from(own)?.join(rolled)?;
        let Self { job_id, nonce, ntime, version, .. } = *self;
        Ok(SubmitSharesExtended {
            channel_id: channel_id.0,
            sequence_number: sequence_number.0,
            job_id: job_id.0,
            nonce,
            ntime,
            version,
            extranonce: extranonce.into(),
        })
    }
}

impl BlockCandidate {
    /// The message that hands the block to the Job Declarator Server that knows its transactions (sv2-spec §6.4.9).
    pub fn push_solution(&self) -> PushSolution {
        PushSolution {
            extranonce: self.extranonce.into(),
            prev_hash: U256::from_le_bytes(self.header.prev_hash.to_byte_array()),
            nonce: self.header.nonce,
            ntime: self.header.ntime,
            nbits: self.header.nbits,
            version: self.header.version,
        }
    }
}
