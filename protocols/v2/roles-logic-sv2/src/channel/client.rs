//! A channel as its client keeps it: what to hash now, and how to submit what was found.
//!
//! A miner feeds it the server's messages, asks for [`Work`] and hands back nonces. It needs no clock of its own: `now`
//! is passed in, on any clock that does not run backwards.

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use bitcoin::{BlockHash, hashes::Hash as _};
use mining_sv2::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess,
    SetCustomMiningJob, SetCustomMiningJobSuccess, SetExtranoncePrefix, SetNewPrevHash, SetTarget,
    SubmitSharesExtended, SubmitSharesStandard,
};

use crate::{
    channel::Kind,
    coinbase::SplitCoinbase,
    custom::{self, CustomJobError},
    extranonce::{Extranonce, ExtranonceTooLong, MAX_EXTRANONCE_SIZE},
    header::Header,
    ids::{ChannelId, JobId, SequenceNumber},
    target::{CompactError, Target},
    tip::Tip,
};

/// Future jobs that are kept until their tip comes; one more drops the oldest.
pub const MAX_FUTURE_JOBS: usize = 8;

/// A message that breaks the protocol; the channel is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// A NewMiningJob on an extended channel (sv2-spec §5.3.15).
    StandardJobOnExtendedChannel(JobId),
    /// A job with `min_ntime` before the first SetNewPrevHash.
    JobWithoutTip(JobId),
    /// A SetNewPrevHash for a job that is not a future job of the channel (sv2-spec §5.3.17).
    UnknownJob(JobId),
    /// No block can have this compact target.
    Nbits(CompactError),
    /// Prefix and extranonce are longer than 32 bytes together.
    ExtranonceTooLong(ExtranonceTooLong),
    /// A SetExtranoncePrefix that changes the full size, which the group's coinbase fixes (sv2-spec §5.2.3).
    PrefixSize {
        /// Size of the prefix so far, in bytes.
        expected: usize,
        /// Size of the new one.
        got: usize,
    },
    /// A message for a channel or group that the connection does not have.
    UnknownChannel(ChannelId),
    /// A group with the id of a channel, or a channel with that of a group (sv2-spec §5.3.22: no reinterpretation).
    GroupIsChannel(ChannelId),
    /// A SetExtranoncePrefix or NewMiningJob for a group (sv2-spec §5.3.10, §5.3.15).
    NotForGroups(ChannelId),
    /// The channels of a group do not have the same full extranonce size (sv2-spec §5.3.22).
    GroupSize {
        /// The channel that differs.
        channel: ChannelId,
        /// Full size of the others, in bytes.
        expected: usize,
        /// Its own.
        got: usize,
    },
    /// The channel takes no custom jobs, or the job can not be built.
    CustomJob(CustomJobError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StandardJobOnExtendedChannel(id) => write!(f, "expected extended jobs, got standard job {id}"),
            Self::JobWithoutTip(id) => {
                write!(f, "expected a SetNewPrevHash before job {id}, which is not a future job")
            }
            Self::UnknownJob(id) => write!(f, "expected a SetNewPrevHash for a future job sent before, got job {id}"),
            Self::Nbits(error) => error.fmt(f),
            Self::ExtranonceTooLong(error) => error.fmt(f),
            Self::PrefixSize { expected, got } => {
                write!(f, "expected an extranonce prefix of {expected} bytes as before, got {got}")
            }
            Self::UnknownChannel(id) => write!(f, "expected an open channel or group, got {id}"),
            Self::GroupIsChannel(id) => write!(f, "expected different ids for channels and groups, got {id} for both"),
            Self::NotForGroups(id) => write!(f, "expected a message for a channel, got one for group {id}"),
            Self::GroupSize { channel, expected, got } => {
                write!(
                    f,
                    "expected a full extranonce of {expected} bytes in the group, got channel {channel} with {got}"
                )
            }
            Self::CustomJob(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<CustomJobError> for ClientError {
    fn from(error: CustomJobError) -> Self {
        Self::CustomJob(error)
    }
}

impl From<ExtranonceTooLong> for ClientError {
    fn from(error: ExtranonceTooLong) -> Self {
        Self::ExtranonceTooLong(error)
    }
}

/// What a message changed for whoever is hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Go on with the work at hand.
    None,
    /// Ask for [`ClientChannel::work`] soon; shares for the work at hand still count.
    NewWork,
    /// Ask for [`ClientChannel::work`] now: shares for the work at hand are stale.
    NewTip,
}

/// Everything that hashing needs; it does not change when the channel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// The job.
    pub job_id: JobId,
    /// nVersion before rolling.
    pub version: u32,
    /// Bits of nVersion that may be rolled: the channel's, or none. See [`ClientChannel::set_version_mask`].
    pub version_mask: u32,
    /// Hash of the block to build on.
    pub prev_hash: BlockHash,
    /// Merkle root in the byte order of the header.
    pub merkle_root: [u8; 32],
    /// First nTime to use, unix seconds.
    pub min_ntime: u32,
    /// Compact network target.
    pub nbits: u32,
    /// Hashes at or below this are shares.
    pub target: Target,
    /// The part that was rolled; `None` on a standard channel.
    pub extranonce: Option<Extranonce>,
    tip: Tip,
}

impl Work {
    /// The header with these rolled fields.
    pub const fn header(&self, version: u32, ntime: u32, nonce: u32) -> Header {
        let Self { prev_hash, merkle_root, nbits, .. } = *self;
        Header { version, prev_hash, merkle_root, ntime, nbits, nonce }
    }

    /// Latest nTime that may be submitted at `now` (sv2-spec §5.3.11), at least `min_ntime`.
    pub fn max_ntime(&self, now: Duration) -> u32 {
        self.tip.max_ntime(now, 0).max(self.min_ntime)
    }

    /// Hashes at or below this are blocks.
    pub const fn network_target(&self) -> Target {
        self.tip.target
    }
}

/// The current job of an extended channel with all its parts, for whoever splits the channel's search space further.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedJob<'a> {
    /// The job.
    pub job_id: JobId,
    /// nVersion before rolling.
    pub version: u32,
    /// Bits of nVersion that may be rolled.
    pub version_mask: u32,
    /// What it builds on.
    pub tip: Tip,
    /// First nTime to use, unix seconds.
    pub min_ntime: u32,
    /// Hashes at or below this are shares.
    pub target: Target,
    /// The extranonce prefix that holds for it.
    pub prefix: &'a Extranonce,
    /// The coinbase around the full extranonce.
    pub coinbase: &'a SplitCoinbase,
    /// Hashes from the coinbase's sibling up, in the byte order of the header.
    pub merkle_path: &'a [[u8; 32]],
}

/// A share on its way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// From a standard channel.
    Standard(SubmitSharesStandard),
    /// From an extended channel.
    Extended(SubmitSharesExtended),
}

/// One channel that was opened with success.
#[derive(Clone, Debug)]
pub struct ClientChannel {
    id: ChannelId,
    group_id: ChannelId,
    kind: Kind,
    prefix: Extranonce,
    target: Target,
    version_mask: u32,
    tip: Option<Tip>,
    /// Oldest first.
    future: VecDeque<Arc<ClientJob>>,
    current: Option<Current>,
    sequence: u32,
}

#[derive(Debug)]
struct ClientJob {
    id: JobId,
    version: u32,
    version_rolling_allowed: bool,
    root: Root,
    /// The prefix at the time of the job: a later one is not for it (sv2-spec §5.3.10).
    prefix: Extranonce,
}

#[derive(Debug)]
enum Root {
    Fixed([u8; 32]),
    Rolled(Arc<ExtendedRoot>),
}

/// What an extended job's merkle root is made of, the same for all channels of a group.
#[derive(Debug)]
pub(super) struct ExtendedRoot {
    coinbase: SplitCoinbase,
    merkle_path: Vec<[u8; 32]>,
}

impl ExtendedRoot {
    pub(super) fn new(message: &NewExtendedMiningJob<'_>, full_size: usize) -> Self {
        let (prefix, suffix) = (message.coinbase_tx_prefix.as_bytes(), message.coinbase_tx_suffix.as_bytes());
        let merkle_path = message.merkle_path.iter().map(|hash| hash.to_le_bytes()).collect();
        Self { coinbase: SplitCoinbase::for_size(prefix.to_vec(), suffix.to_vec(), full_size), merkle_path }
    }
}

#[derive(Clone, Debug)]
struct Current {
    job: Arc<ClientJob>,
    tip: Tip,
    min_ntime: u32,
    target: Target,
    was_future: bool,
    /// Next value of the rolled extranonce.
    counter: u64,
    /// Set when the counter has been through all its values.
    used_up: bool,
}

impl ClientChannel {
    /// From the answer to OpenStandardMiningChannel.
    pub fn standard(success: &OpenStandardMiningChannelSuccess) -> Self {
        Self::new(
            success.channel_id.into(),
            success.group_channel_id.into(),
            Kind::Standard,
            success.extranonce_prefix.into(),
            success.target.into(),
        )
    }

    /// From the answer to OpenExtendedMiningChannel.
    pub fn extended(success: &OpenExtendedMiningChannelSuccess) -> Result<Self, ClientError> {
        let prefix = Extranonce::from(success.extranonce_prefix);
        let extranonce_size = usize::from(success.extranonce_size);
        if prefix.len() + extranonce_size > MAX_EXTRANONCE_SIZE {
            return Err(ExtranonceTooLong(prefix.len() + extranonce_size).into());
        }
        let kind = Kind::Extended { extranonce_size };
        Ok(Self::new(success.channel_id.into(), success.group_channel_id.into(), kind, prefix, success.target.into()))
    }

    const fn new(id: ChannelId, group_id: ChannelId, kind: Kind, prefix: Extranonce, target: Target) -> Self {
        let version_mask = const_sv2::limits::BIP323_VERSION_MASK;
        Self {
            id,
            group_id,
            kind,
            prefix,
            target,
            version_mask,
            tip: None,
            future: VecDeque::new(),
            current: None,
            sequence: 0,
        }
    }

    /// Id within the connection.
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// The group that the channel belongs to.
    pub const fn group_id(&self) -> ChannelId {
        self.group_id
    }

    /// Puts the channel into another group (SetGroupChannel, sv2-spec §5.3.22).
    pub const fn set_group_id(&mut self, group_id: ChannelId) {
        self.group_id = group_id;
    }

    /// Standard or extended.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The target of jobs to come.
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The extranonce prefix of jobs to come.
    pub const fn prefix(&self) -> &Extranonce {
        &self.prefix
    }

    /// Size of the whole extranonce, the same for all channels of a group, in bytes.
    pub const fn full_extranonce_size(&self) -> usize {
        match self.kind {
            Kind::Standard => self.prefix.len(),
            Kind::Extended { extranonce_size } => self.prefix.len() + extranonce_size,
        }
    }

    /// Bits of nVersion that may be rolled where a job allows it: BIP 323's unless set otherwise. BIP 320's for servers that
    /// know no more, 0 when the server's REQUIRES_FIXED_VERSION is set (sv2-spec §5.3.1).
    pub const fn set_version_mask(&mut self, mask: u32) {
        self.version_mask = mask;
    }

    /// Whether a message with this `channel_id` is for the channel, itself or through its group.
    pub fn is_addressed(&self, channel_id: u32) -> bool {
        channel_id == self.id.0 || channel_id == self.group_id.0
    }

    /// A standard job.
    pub fn on_new_mining_job(&mut self, message: &NewMiningJob) -> Result<Change, ClientError> {
        let id = JobId(message.job_id);
        if self.kind != Kind::Standard {
            return Err(ClientError::StandardJobOnExtendedChannel(id));
        }
        let root = Root::Fixed(message.merkle_root.to_le_bytes());
        let (version, prefix) = (message.version, self.prefix);
        self.on_job(ClientJob { id, version, version_rolling_allowed: true, root, prefix }, message.min_ntime)
    }

    /// An extended job; a standard channel takes it from its group and computes its own merkle root.
    pub fn on_new_extended_mining_job(&mut self, message: &NewExtendedMiningJob<'_>) -> Result<Change, ClientError> {
        self.on_extended_job(message, &Arc::new(ExtendedRoot::new(message, self.full_extranonce_size())))
    }

    pub(super) fn on_extended_job(
        &mut self,
        message: &NewExtendedMiningJob<'_>,
        root: &Arc<ExtendedRoot>,
    ) -> Result<Change, ClientError> {
        let id = JobId(message.job_id);
        let (version, version_rolling_allowed) = (message.version, message.version_rolling_allowed);
        let root = self.root(root);
        self.on_job(ClientJob { id, version, version_rolling_allowed, root, prefix: self.prefix }, message.min_ntime)
    }

    fn root(&self, root: &Arc<ExtendedRoot>) -> Root {
        match self.kind {
            Kind::Standard => Root::Fixed(root.coinbase.merkle_root(self.prefix.as_bytes(), &root.merkle_path)),
            Kind::Extended { .. } => Root::Rolled(root.clone()),
        }
    }

    /// The job of a SetCustomMiningJob of our own, under the id of the server's answer (sv2-spec §5.3.19). It starts at once; a
    /// previous hash that differs from the one at hand ends what was before.
    pub fn on_custom_job(
        &mut self,
        now: Duration,
        request: &SetCustomMiningJob<'_>,
        success: &SetCustomMiningJobSuccess,
    ) -> Result<Change, ClientError> {
        let id = JobId(success.job_id);
        if self.kind == Kind::Standard {
            return Err(ClientError::CustomJob(CustomJobError::Channel));
        }
        let coinbase = custom::coinbase(request, self.full_extranonce_size())?;
        let merkle_path = request.merkle_path.iter().map(|hash| hash.to_le_bytes()).collect();
        let root = self.root(&Arc::new(ExtendedRoot { coinbase, merkle_path }));
        let prev_hash = BlockHash::from_byte_array(request.prev_hash.to_le_bytes());
        let (tip, change) = match self.tip.filter(|tip| tip.prev_hash == prev_hash && tip.nbits == request.nbits) {
            Some(tip) => (tip, Change::NewWork),
            None => {
                let tip = Tip::new(prev_hash, request.min_ntime, request.nbits, now).map_err(ClientError::Nbits)?;
                self.future.clear();
                (*self.tip.insert(tip), Change::NewTip)
            }
        };
        let (version, prefix) = (request.version, self.prefix);
        let job = ClientJob { id, version, version_rolling_allowed: self.version_mask != 0, root, prefix };
        self.start(Arc::new(job), tip, request.min_ntime, false);
        Ok(change)
    }

    fn on_job(&mut self, job: ClientJob, min_ntime: Option<u32>) -> Result<Change, ClientError> {
        let Some(min_ntime) = min_ntime else {
            if self.future.len() >= MAX_FUTURE_JOBS {
                self.future.pop_front();
            }
            self.future.push_back(Arc::new(job));
            return Ok(Change::None);
        };
        let tip = self.tip.ok_or(ClientError::JobWithoutTip(job.id))?;
        self.start(Arc::new(job), tip, min_ntime, false);
        Ok(Change::NewWork)
    }

    /// A new block to build on; it starts one of the future jobs and ends all others.
    pub fn on_set_new_prev_hash(&mut self, now: Duration, message: &SetNewPrevHash) -> Result<Change, ClientError> {
        let prev_hash = BlockHash::from_byte_array(message.prev_hash.to_le_bytes());
        let tip = Tip::new(prev_hash, message.min_ntime, message.nbits, now).map_err(ClientError::Nbits)?;
        let id = JobId(message.job_id);
        let job = self.future.iter().rev().find(|job| job.id == id).cloned().ok_or(ClientError::UnknownJob(id))?;
        self.future.clear();
        self.tip = Some(tip);
        self.start(job, tip, message.min_ntime, true);
        Ok(Change::NewTip)
    }

    fn start(&mut self, job: Arc<ClientJob>, tip: Tip, min_ntime: u32, was_future: bool) {
        let target = self.target;
        self.current = Some(Current { job, tip, min_ntime, target, was_future, counter: 0, used_up: false });
    }

    /// A new target for jobs to come. Where §5.3.21 may be read to mean the current job too, the harder one of the two is
    /// used, which every server accepts (`docs/spec/targets.md`).
    pub fn on_set_target(&mut self, message: &SetTarget) -> Change {
        self.target = message.maximum_target.into();
        match &mut self.current {
            Some(current) if current.was_future && self.target < current.target => {
                current.target = self.target;
                Change::NewWork
            }
            _ => Change::None,
        }
    }

    /// A new prefix for jobs to come.
    pub fn on_set_extranonce_prefix(&mut self, message: &SetExtranoncePrefix) -> Result<(), ClientError> {
        let prefix = Extranonce::from(message.extranonce_prefix);
        if prefix.len() != self.prefix.len() {
            return Err(ClientError::PrefixSize { expected: self.prefix.len(), got: prefix.len() });
        }
        self.prefix = prefix;
        Ok(())
    }

    /// The current job. On an extended channel each call takes the next extranonce, so that no two calls overlap; `None`
    /// when there is no job, or no extranonce left.
    pub fn work(&mut self) -> Option<Work> {
        let current = self.current.as_mut()?;
        let job = current.job.clone();
        let (merkle_root, extranonce) = match (&job.root, self.kind) {
            (Root::Rolled(root), Kind::Extended { extranonce_size }) => {
                let rolled = current.next_extranonce(extranonce_size)?;
                let full = job.prefix.join(rolled.as_bytes()).ok()?;
                (root.coinbase.merkle_root(full.as_bytes(), &root.merkle_path), Some(rolled))
            }
            (Root::Fixed(root), _) => (*root, None),
            (Root::Rolled(_), Kind::Standard) => return None, // never made
        };
        let Current { tip, min_ntime, target, .. } = current;
        Some(Work {
            job_id: job.id,
            version: job.version,
            version_mask: if job.version_rolling_allowed { self.version_mask } else { 0 },
            prev_hash: tip.prev_hash,
            merkle_root,
            min_ntime: *min_ntime,
            nbits: tip.nbits,
            target: *target,
            extranonce,
            tip: *tip,
        })
    }

    /// The current job of an extended channel; `None` on a standard channel, and before the first job.
    pub fn extended_job(&self) -> Option<ExtendedJob<'_>> {
        let Current { job, tip, min_ntime, target, .. } = self.current.as_ref()?;
        let (Root::Rolled(root), Kind::Extended { .. }) = (&job.root, self.kind) else { return None };
        Some(ExtendedJob {
            job_id: job.id,
            version: job.version,
            version_mask: if job.version_rolling_allowed { self.version_mask } else { 0 },
            tip: *tip,
            min_ntime: *min_ntime,
            target: *target,
            prefix: &job.prefix,
            coinbase: &root.coinbase,
            merkle_path: &root.merkle_path,
        })
    }

    /// Whether a share for this work would not be stale, as far as is known.
    pub fn is_current(&self, work: &Work) -> bool {
        self.tip.as_ref() == Some(&work.tip)
    }

    /// Number of the next submission.
    pub const fn next_sequence_number(&self) -> SequenceNumber {
        SequenceNumber(self.sequence)
    }

    /// The message for a share that was found in `work`; numbers count from 0.
    pub fn submit(&mut self, work: &Work, version: u32, ntime: u32, nonce: u32) -> Submission {
        let sequence_number = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let (channel_id, job_id) = (self.id.0, work.job_id.0);
        match work.extranonce {
            None => Submission::Standard(SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            Some(extranonce) => Submission::Extended(SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: extranonce.into(),
            }),
        }
    }
}

impl Current {
    fn next_extranonce(&mut self, size: usize) -> Option<Extranonce> {
        if self.used_up {
            return None;
        }
        let extranonce = Extranonce::from_counter(self.counter, size).ok()?;
        self.counter = self.counter.wrapping_add(1);
        let values = 1u64.checked_shl(8 * size as u32).unwrap_or(0); // 0: all of 64 bits
        self.used_up = self.counter == values;
        Some(extranonce)
    }
}
