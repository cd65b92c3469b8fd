//! To messages and from them.

use binary_sv2::{B0_32, B0_64K, Encodable, Message, Seq0_64K, Str0_255, U256, Writer};
use bitcoin::hashes::Hash as _;
use common_messages_sv2::{SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use extensions_sv2::{RequestExtensionsError, RequestExtensionsSuccess};
use mining_sv2::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess,
    SetNewPrevHash, SetTarget, SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
};
use template_distribution_sv2::{CoinbaseOutputConstraints, NewTemplate, SubmitSolution};

use crate::{
    Tip,
    accounting::Ack,
    channel::{Kind, server::Channel},
    extranonce::Extranonce,
    ids::{ChannelId, JobId, RequestId, SequenceNumber, TemplateId},
    job::{Constraints, Job, JobTemplate},
    setup::{Accepted, ExtensionsRefused, Refused, Request},
    share::{BlockCandidate, RejectReason, Share},
    target::Target,
};

impl From<B0_32> for Extranonce {
    fn from(bytes: B0_32) -> Self {
        // Both hold 32 bytes, so the fallback is never taken.
        Self::try_from(bytes.as_bytes()).unwrap_or(Self::EMPTY)
    }
}

impl From<Extranonce> for B0_32 {
    fn from(extranonce: Extranonce) -> Self {
        Self::from_truncated(extranonce.as_bytes())
    }
}

impl From<U256> for Target {
    fn from(value: U256) -> Self {
        Self::from_le_bytes(value.to_le_bytes())
    }
}

impl From<Target> for U256 {
    fn from(target: Target) -> Self {
        Self::from_le_bytes(target.to_le_bytes())
    }
}

impl From<&SubmitSharesStandard> for Share {
    fn from(message: &SubmitSharesStandard) -> Self {
        let SubmitSharesStandard { sequence_number, job_id, nonce, ntime, version, .. } = *message;
        let (job_id, sequence_number) = (JobId(job_id), SequenceNumber(sequence_number));
        Self { job_id, sequence_number, nonce, ntime, version, extranonce: None }
    }
}

impl From<&SubmitSharesExtended> for Share {
    fn from(message: &SubmitSharesExtended) -> Self {
        let SubmitSharesExtended { sequence_number, job_id, nonce, ntime, version, extranonce, .. } = *message;
        let (job_id, sequence_number) = (JobId(job_id), SequenceNumber(sequence_number));
        Self { job_id, sequence_number, nonce, ntime, version, extranonce: Some(extranonce.into()) }
    }
}

impl Tip {
    /// The message that starts a future job on this tip (sv2-spec §5.3.17), for a channel or a group.
    pub fn set_new_prev_hash(&self, channel_id: ChannelId, job_id: JobId) -> SetNewPrevHash {
        SetNewPrevHash {
            channel_id: channel_id.0,
            job_id: job_id.0,
            prev_hash: U256::from_le_bytes(self.prev_hash.to_byte_array()),
            min_ntime: self.min_ntime,
            nbits: self.nbits,
        }
    }
}

impl Job {
    /// The message for an extended channel or a group, ready to be sent to many: see [`JobMessage`].
    pub const fn message(&self, channel_id: ChannelId, min_ntime: Option<u32>) -> JobMessage<'_> {
        JobMessage { job: self, channel_id, min_ntime }
    }

    /// The message for an extended channel or a group; without `min_ntime` it is a future job (sv2-spec §5.3.16).
    pub fn new_extended_mining_job(&self, channel_id: ChannelId, min_ntime: Option<u32>) -> NewExtendedMiningJob<'_> {
        NewExtendedMiningJob {
            channel_id: channel_id.0,
            job_id: self.id().0,
            min_ntime,
            version: self.version(),
            version_rolling_allowed: self.version_rolling_allowed(),
            merkle_path: self.encoded_merkle_path().reborrow(),
            // The factory makes no part that is too long.
            coinbase_tx_prefix: B0_64K::from_truncated(self.coinbase_tx_prefix()),
            coinbase_tx_suffix: B0_64K::from_truncated(self.coinbase_tx_suffix()),
        }
    }
}

/// A job's NewExtendedMiningJob for one channel or group: the same bytes as
/// [`Job::new_extended_mining_job`] gives. All of them but the first 14 or 18 lie ready in the job, and are copied.
#[derive(Clone, Copy, Debug)]
pub struct JobMessage<'a> {
    job: &'a Job,
    channel_id: ChannelId,
    min_ntime: Option<u32>,
}

impl JobMessage<'_> {
    /// `coinbase_tx_prefix` and `coinbase_tx_suffix`.
    fn coinbase(&self) -> [&[u8]; 2] {
        [self.job.coinbase_tx_prefix(), self.job.coinbase_tx_suffix()]
    }
}

impl Encodable for JobMessage<'_> {
    fn encoded_len(&self) -> usize {
        // Two ids, min_ntime, version and whether it may be rolled; the coinbase's parts have lengths of two bytes.
        let fixed = 4 + 4 + 1 + self.min_ntime.map_or(0, |_| 4) + 4 + 1;
        let coinbase: usize = self.coinbase().iter().map(|part| 2 + part.len()).sum();
        fixed + self.job.merkle_path_bytes().len() + coinbase
    }

    fn encode(&self, out: &mut Writer<'_>) -> Result<(), binary_sv2::Error> {
        out.put_array(&self.channel_id.0.to_le_bytes())?;
        out.put_array(&self.job.id().0.to_le_bytes())?;
        match self.min_ntime {
            None => out.put_array(&[0])?,
            Some(min_ntime) => {
                out.put_array(&[1])?;
                out.put_array(&min_ntime.to_le_bytes())?;
            }
        }
        out.put_array(&self.job.version().to_le_bytes())?;
        out.put_array(&[self.job.version_rolling_allowed().into()])?;
        out.put(self.job.merkle_path_bytes())?;
        for part in self.coinbase() {
            out.put_array(&(part.len() as u16).to_le_bytes())?; // no part is too long
            out.put(part)?;
        }
        Ok(())
    }

    binary_sv2::with_serde! {
        fn serialize_serde<S: binary_sv2::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let message = self.job.new_extended_mining_job(self.channel_id, self.min_ntime);
            Encodable::serialize_serde(&message, serializer)
        }
    }
}

impl Message for JobMessage<'_> {
    const MESSAGE_TYPE: u8 = <NewExtendedMiningJob<'static> as Message>::MESSAGE_TYPE;
    const EXTENSION_TYPE: u16 = <NewExtendedMiningJob<'static> as Message>::EXTENSION_TYPE;
    const CHANNEL_MSG: bool = <NewExtendedMiningJob<'static> as Message>::CHANNEL_MSG;
    const NAME: &'static str = <NewExtendedMiningJob<'static> as Message>::NAME;
}

/// Answer to an Open…MiningChannel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenSuccess {
    /// For a standard channel (sv2-spec §5.3.3).
    Standard(OpenStandardMiningChannelSuccess),
    /// For an extended channel (sv2-spec §5.3.5).
    Extended(OpenExtendedMiningChannelSuccess),
}

impl Channel {
    /// The answer that opens the channel; it goes out before any job.
    pub fn open_success(&self, request_id: RequestId) -> OpenSuccess {
        let (request_id, channel_id, group_channel_id) = (request_id.0, self.id().0, self.group_id().0);
        let (target, extranonce_prefix) = (self.target().into(), (*self.prefix()).into());
        match self.kind() {
            Kind::Standard => OpenSuccess::Standard(OpenStandardMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_prefix,
                group_channel_id,
            }),
            Kind::Extended { extranonce_size } => OpenSuccess::Extended(OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_size: extranonce_size as u16, // at most 32
                extranonce_prefix,
                group_channel_id,
            }),
        }
    }

    /// The message for a job of a standard channel that is waiting or active (sv2-spec §5.3.15); `None` on an extended
    /// channel and for an unknown job.
    pub fn new_mining_job(&self, job_id: JobId) -> Option<NewMiningJob> {
        let (version, min_ntime) = self.job_facts(job_id)?;
        let merkle_root = U256::from_le_bytes(self.merkle_root(job_id)?);
        Some(NewMiningJob { channel_id: self.id().0, job_id: job_id.0, min_ntime, version, merkle_root })
    }

    /// The message that tells the channel's target (sv2-spec §5.3.21).
    pub fn set_target_message(&self) -> SetTarget {
        SetTarget { channel_id: self.id().0, maximum_target: self.target().into() }
    }
}

impl Ack {
    /// The message, for the channel whose shares these are.
    pub const fn message(&self, channel_id: ChannelId) -> SubmitSharesSuccess {
        let Self { last_sequence_number, new_submits_accepted_count, new_shares_sum } = *self;
        let last_sequence_number = last_sequence_number.0;
        SubmitSharesSuccess {
            channel_id: channel_id.0,
            last_sequence_number,
            new_submits_accepted_count,
            new_shares_sum,
        }
    }
}

impl RejectReason {
    /// The message that refuses one share.
    pub fn message(&self, channel_id: ChannelId, sequence_number: SequenceNumber) -> SubmitSharesError<'static> {
        SubmitSharesError {
            channel_id: channel_id.0,
            sequence_number: sequence_number.0,
            error_code: Str0_255::from_truncated(self.error_code()),
        }
    }
}

impl From<&NewTemplate<'_>> for JobTemplate {
    fn from(message: &NewTemplate<'_>) -> Self {
        Self {
            template_id: TemplateId(message.template_id),
            future: message.future_template,
            version: message.version,
            coinbase_tx_version: message.coinbase_tx_version,
            coinbase_prefix: message.coinbase_prefix.as_bytes().to_vec(),
            coinbase_tx_input_sequence: message.coinbase_tx_input_sequence,
            coinbase_tx_value_remaining: message.coinbase_tx_value_remaining,
            coinbase_tx_outputs_count: message.coinbase_tx_outputs_count,
            coinbase_tx_outputs: message.coinbase_tx_outputs.as_bytes().to_vec(),
            coinbase_tx_locktime: message.coinbase_tx_locktime,
            merkle_path: message.merkle_path.iter().map(U256::to_le_bytes).collect(),
        }
    }
}

impl From<Constraints> for CoinbaseOutputConstraints {
    fn from(constraints: Constraints) -> Self {
        Self {
            coinbase_output_max_additional_size: constraints.max_additional_size,
            coinbase_output_max_additional_sigops: constraints.max_additional_sigops,
        }
    }
}

impl From<&CoinbaseOutputConstraints> for Constraints {
    fn from(message: &CoinbaseOutputConstraints) -> Self {
        Self {
            max_additional_size: message.coinbase_output_max_additional_size,
            max_additional_sigops: message.coinbase_output_max_additional_sigops,
        }
    }
}

impl BlockCandidate {
    /// The message that hands the block to the source of its template (sv2-spec §7.7).
    pub fn submit_solution(&self) -> SubmitSolution<'static> {
        SubmitSolution {
            template_id: self.job.template_id().0,
            version: self.header.version,
            header_timestamp: self.header.ntime,
            header_nonce: self.header.nonce,
            // The factory makes no coinbase that is too long.
            coinbase_tx: B0_64K::try_from(self.coinbase_tx()).unwrap_or_default(),
        }
    }
}

impl From<&SetupConnection<'_>> for Request {
    fn from(message: &SetupConnection<'_>) -> Self {
        let SetupConnection { protocol, min_version, max_version, flags, .. } = *message;
        Self { protocol, min_version, max_version, flags }
    }
}

impl From<Accepted> for SetupConnectionSuccess {
    fn from(Accepted { used_version, flags }: Accepted) -> Self {
        Self { used_version, flags }
    }
}

impl From<Refused> for SetupConnectionError<'static> {
    fn from(Refused { flags, error_code }: Refused) -> Self {
        Self { flags, error_code: Str0_255::from_truncated(error_code) }
    }
}

/// Puts the answer of [`answer_extensions`](crate::setup::answer_extensions) into its message.
pub fn extensions_message(
    request_id: u16,
    answer: Result<&[u16], &ExtensionsRefused>,
) -> Result<RequestExtensionsSuccess<'static>, RequestExtensionsError<'static>> {
    // Lists are bounded far below the type's 65,535 elements.
    let list = |ids: &[u16]| Seq0_64K::try_from_iter(ids.iter().copied()).unwrap_or_default();
    match answer {
        Ok(accepted) => Ok(RequestExtensionsSuccess { request_id, supported_extensions: list(accepted) }),
        Err(refused) => Err(RequestExtensionsError {
            request_id,
            unsupported_extensions: list(&refused.unsupported),
            required_extensions: list(&refused.required),
        }),
    }
}
