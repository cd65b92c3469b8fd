//! A standard or extended channel as the server keeps it: its jobs, its target, and its shares' verdicts.

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};
use core::{cell::OnceCell, fmt, time::Duration};

use const_sv2::error_code::update_channel as code;
use mining_sv2::{SetCustomMiningJob, SetCustomMiningJobSuccess, SetExtranoncePrefix};

use crate::{
    channel::Kind,
    custom::{self, CustomJobError, CustomRules, Tokens},
    extranonce::{Extranonce, LayoutError, Slot},
    ids::{ChannelId, JobId},
    job::Job,
    share::{BlockCandidate, Context, FixedRoot, JobTarget, RejectReason, Rules, SeenShares, Share, Verdict, validate},
    target::{Target, TargetBounds},
    tip::Tip,
};

/// Jobs of the current tip that a channel takes shares for; one more retires the oldest. Eight minutes at a job in 30 s.
pub const MAX_ACTIVE_JOBS: usize = 16;
/// Future jobs that wait for their tip; one more drops the oldest.
pub const MAX_FUTURE_JOBS: usize = 8;
/// Retired jobs that are kept to answer late shares; one more drops the oldest.
pub const MAX_RETIRED_JOBS: usize = 48;
/// A retired job is forgotten when this many tips came after the one that ended it.
pub const RETIRED_JOB_TIPS: u64 = 3;
/// A retired job is forgotten after this time, if not before.
pub const RETIRED_JOB_AGE: Duration = Duration::from_secs(600);

/// What a channel is opened with.
#[derive(Clone, Debug)]
pub struct Open {
    /// The channel's id within its connection.
    pub channel_id: ChannelId,
    /// The group that it belongs to.
    pub group_channel_id: ChannelId,
    /// Its share of the extranonce space.
    pub slot: Slot,
    /// The easiest target that the client can work with.
    pub max_target: Target,
    /// The first target; made harder if `max_target` is.
    pub target: Target,
    /// What the server allows.
    pub rules: Rules,
}

/// A call that does not fit the channel's state; the state is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    /// A job with `min_ntime` came before the first tip.
    NoTip(JobId),
    /// A tip names a job that was not given out as a future job (sv2-spec §5.3.17).
    UnknownFutureJob(JobId),
    /// The channel can still take shares for a job of this id.
    JobIdInUse(JobId),
    /// The job is for another full extranonce size.
    ExtranonceSize {
        /// The channel's, in bytes.
        expected: usize,
        /// The job's or the new slot's, in bytes.
        got: usize,
    },
    /// A new slot has too few bytes beside its bits for what the client rolls.
    Slot(LayoutError),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTip(id) => write!(f, "expected a tip before job {id}, which is not a future job"),
            Self::UnknownFutureJob(id) => write!(f, "expected a tip for a future job given out before, got job {id}"),
            Self::JobIdInUse(id) => write!(f, "expected an unused job id, got {id}"),
            Self::ExtranonceSize { expected, got } => {
                write!(f, "expected a full extranonce of {expected} bytes, got {got}")
            }
            Self::Slot(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ChannelError {}

/// A request of the client's about its target that can not be met (sv2-spec §5.3.6, §5.3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetRequestError {
    /// It demands a harder target than the server sets.
    MaxTargetOutOfRange,
    /// The nominal hashrate is negative, infinite or not a number.
    InvalidHashrate,
}

impl TargetRequestError {
    /// The string for OpenMiningChannel.Error and UpdateChannel.Error.
    pub const fn error_code(&self) -> &'static str {
        match self {
            Self::MaxTargetOutOfRange => code::MAX_TARGET_OUT_OF_RANGE,
            Self::InvalidHashrate => code::INVALID_NOMINAL_HASHRATE,
        }
    }
}

impl fmt::Display for TargetRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error_code())
    }
}

impl core::error::Error for TargetRequestError {}

/// The target for a client's nominal hashrate (hashes per second) and `max_target`, or why there is none.
pub fn target_for_request(
    nominal_hash_rate: f32,
    max_target: Target,
    shares_per_minute: f32,
    bounds: TargetBounds,
) -> Result<Target, TargetRequestError> {
    if !nominal_hash_rate.is_finite() || nominal_hash_rate < 0.0 {
        return Err(TargetRequestError::InvalidHashrate);
    }
    if !bounds.admit(max_target) {
        return Err(TargetRequestError::MaxTargetOutOfRange);
    }
    Ok(Target::for_hashrate(nominal_hash_rate, shares_per_minute, bounds.for_client(max_target)))
}

/// One open channel. Dropping it lets go of its slot, which rests before it is used again (see
/// [`Recycler`](crate::extranonce::Recycler)), unless a clone of it is held elsewhere.
#[derive(Debug)]
pub struct Channel {
    id: ChannelId,
    group_id: ChannelId,
    kind: Kind,
    prefix: Prefix,
    /// Prefixes of before that jobs still have.
    earlier_prefixes: Vec<Prefix>,
    full_size: usize,
    max_target: Target,
    /// The target of jobs to come, with its work, so that a job costs no division. Shared with the jobs, which stay small:
    /// a new tip moves them.
    target: Arc<JobTarget>,
    rules: Rules,
    tip: Option<Arc<Tip>>,
    /// Number of tips so far.
    tips: u64,
    future: VecDeque<Future>,
    /// Oldest first.
    active: VecDeque<Active>,
    /// Oldest first.
    retired: VecDeque<Retired>,
    seen: SeenShares,
}

/// The channel's part of the extranonce space, from one SetExtranoncePrefix to the next.
#[derive(Debug)]
struct Prefix {
    number: u32,
    /// Keeps others off the prefix for as long as a job of the channel has it.
    slot: Slot,
    bytes: Extranonce,
}

#[derive(Debug)]
struct Future {
    job: Arc<Job>,
    /// Number of the prefix in force when the job was sent.
    prefix: u32,
    merkle_root: OnceCell<Box<FixedRoot>>,
}

#[derive(Debug)]
struct Active {
    job: Arc<Job>,
    /// Number of the prefix in force when the job was sent.
    prefix: u32,
    /// Filled on first use, on standard channels only.
    merkle_root: OnceCell<Box<FixedRoot>>,
    tip: Arc<Tip>,
    min_ntime: u32,
    target: Arc<JobTarget>,
    /// Came without `min_ntime`, so that §5.3.21 may be read to apply later targets to it.
    was_future: bool,
}

#[derive(Debug)]
struct Retired {
    job: Active,
    at: Duration,
    /// Number of tips at that time, the one that ended the job included.
    tips: u64,
}

impl Channel {
    /// A standard channel: its prefix has the full size.
    pub fn standard(open: Open) -> Self {
        let prefix = open.slot.full_prefix();
        Self::new(open, Kind::Standard, prefix, prefix.len())
    }

    /// An extended channel whose client rolls `extranonce_size` bytes: grant what it asked for, not more.
    pub fn extended(open: Open, extranonce_size: usize) -> Result<Self, LayoutError> {
        let prefix = open.slot.prefix(extranonce_size)?;
        let full_size = prefix.len() + extranonce_size;
        Ok(Self::new(open, Kind::Extended { extranonce_size }, prefix, full_size))
    }

    fn new(open: Open, kind: Kind, prefix: Extranonce, full_size: usize) -> Self {
        let Open { channel_id, group_channel_id, slot, max_target, target, rules } = open;
        Self {
            id: channel_id,
            group_id: group_channel_id,
            kind,
            prefix: Prefix { number: 0, slot, bytes: prefix },
            earlier_prefixes: Vec::new(),
            full_size,
            max_target: max_target.round_to_harder(),
            target: Arc::new(JobTarget::fixed(target.min(max_target.round_to_harder()))),
            rules,
            tip: None,
            tips: 0,
            future: VecDeque::new(),
            active: VecDeque::new(),
            retired: VecDeque::new(),
            seen: SeenShares::new(),
        }
    }

    /// Id within the connection.
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// Id of the group that the channel belongs to.
    pub const fn group_id(&self) -> ChannelId {
        self.group_id
    }

    /// Puts the channel into another group (SetGroupChannel, sv2-spec §5.3.22), whose full extranonce size must be the same:
    /// [`Channels::set_group`](crate::channel::group::Channels::set_group) sees to it.
    pub const fn set_group_id(&mut self, group_id: ChannelId) {
        self.group_id = group_id;
    }

    /// Standard or extended.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The channel's slot; whoever takes shares for it beyond the channel's life holds a clone.
    pub const fn slot(&self) -> &Slot {
        &self.prefix.slot
    }

    /// The extranonce prefix of jobs to come; it has the full size on a standard channel.
    pub const fn prefix(&self) -> &Extranonce {
        &self.prefix.bytes
    }

    /// Moves the channel to another slot, with the message that tells (sv2-spec §5.3.10): jobs sent before keep the old
    /// prefix, and the old slot is held until the last of them is forgotten.
    pub fn set_extranonce_prefix(&mut self, slot: Slot) -> Result<SetExtranoncePrefix, ChannelError> {
        let whole = slot.full_prefix();
        if whole.len() != self.full_size {
            return Err(ChannelError::ExtranonceSize { expected: self.full_size, got: whole.len() });
        }
        let bytes = match self.kind {
            Kind::Standard => whole,
            Kind::Extended { extranonce_size } => slot.prefix(extranonce_size).map_err(ChannelError::Slot)?,
        };
        let next = Prefix { number: self.prefix.number.wrapping_add(1), slot, bytes };
        self.earlier_prefixes.push(core::mem::replace(&mut self.prefix, next));
        self.forget_prefixes();
        Ok(SetExtranoncePrefix { channel_id: self.id.0, extranonce_prefix: bytes.into() })
    }

    /// Lets go of the slots that no job knows any more.
    fn forget_prefixes(&mut self) {
        let Self { earlier_prefixes, future, active, retired, .. } = self;
        earlier_prefixes.retain(|prefix| {
            let mut jobs = future
                .iter()
                .map(|f| f.prefix)
                .chain(active.iter().map(|a| a.prefix))
                .chain(retired.iter().map(|r| r.job.prefix));
            jobs.any(|number| number == prefix.number)
        });
    }

    /// Size of prefix and rolled extranonce together: only jobs of this size fit.
    pub const fn full_extranonce_size(&self) -> usize {
        self.full_size
    }

    /// The target of jobs that are given out from now on.
    pub fn target(&self) -> Target {
        self.target.accept()
    }

    /// The easiest target that the client can work with, rounded to the harder side.
    pub const fn max_target(&self) -> Target {
        self.max_target
    }

    /// The tip of the active jobs.
    pub fn tip(&self) -> Option<&Arc<Tip>> {
        self.tip.as_ref()
    }

    /// Shares accepted since the last tip; compare with the quota in the rules to make the target harder in time.
    pub fn shares_on_tip(&self) -> usize {
        self.seen.len()
    }

    /// Adds a job: with `min_ntime` for the current tip, to be worked on at once; without it a future job.
    pub fn on_new_job(&mut self, now: Duration, job: Arc<Job>, min_ntime: Option<u32>) -> Result<(), ChannelError> {
        self.check_new_job(&job, min_ntime)?;
        let future = Future { job, prefix: self.prefix.number, merkle_root: OnceCell::new() };
        match (min_ntime, self.tip.clone()) {
            (Some(min_ntime), Some(tip)) => self.activate(now, future, tip, min_ntime, false),
            (_, _) => {
                if self.future.len() >= MAX_FUTURE_JOBS {
                    self.future.pop_front();
                }
                self.future.push_back(future);
            }
        }
        Ok(())
    }

    /// What [`on_new_job`](Self::on_new_job) would say, without doing it.
    pub fn check_new_job(&self, job: &Job, min_ntime: Option<u32>) -> Result<(), ChannelError> {
        let id = job.id();
        if job.full_extranonce_size() != self.full_size {
            return Err(ChannelError::ExtranonceSize { expected: self.full_size, got: job.full_extranonce_size() });
        }
        if self.has_future_job(id) || self.has_active_job(id) {
            return Err(ChannelError::JobIdInUse(id));
        }
        if min_ntime.is_some() && self.tip.is_none() {
            return Err(ChannelError::NoTip(id));
        }
        Ok(())
    }

    /// Whether a SetNewPrevHash may name this job now.
    pub fn has_future_job(&self, id: JobId) -> bool {
        self.future.iter().any(|future| future.job.id() == id)
    }

    /// Makes a future job the active one on a new tip. All other jobs end (sv2-spec §5.3.17).
    pub fn on_set_new_prev_hash(&mut self, now: Duration, job_id: JobId, tip: Arc<Tip>) -> Result<(), ChannelError> {
        let index = self.future.iter().position(|future| future.job.id() == job_id);
        let future = index.and_then(|i| self.future.remove(i)).ok_or(ChannelError::UnknownFutureJob(job_id))?;
        let min_ntime = tip.min_ntime;
        self.on_tip(now, tip.clone());
        self.activate(now, future, tip, min_ntime, true);
        Ok(())
    }

    /// A new tip without a job: for a client that sends its own jobs (sv2-spec §5.3.18). All jobs end.
    pub fn on_tip(&mut self, now: Duration, tip: Arc<Tip>) {
        self.future.clear();
        self.tips += 1;
        while let Some(job) = self.active.pop_front() {
            self.retire(now, job);
        }
        let tips = self.tips;
        self.retired.retain(|retired| retired.is_known(now, tips));
        if !self.earlier_prefixes.is_empty() {
            self.forget_prefixes();
        }
        self.seen.on_tip(tip.prev_hash);
        self.tip = Some(tip);
    }

    fn activate(&mut self, now: Duration, future: Future, tip: Arc<Tip>, min_ntime: u32, was_future: bool) {
        let Future { job, prefix, merkle_root } = future;
        self.active.push_back(Active {
            job,
            prefix,
            merkle_root,
            tip,
            min_ntime,
            target: self.target.clone(),
            was_future,
        });
        if self.active.len() > MAX_ACTIVE_JOBS
            && let Some(oldest) = self.active.pop_front()
        {
            self.retire(now, oldest);
        }
    }

    fn retire(&mut self, now: Duration, job: Active) {
        self.retired.push_back(Retired { job, at: now, tips: self.tips });
        if self.retired.len() > MAX_RETIRED_JOBS {
            self.retired.pop_front();
        }
    }

    /// Sets the target for jobs to come, not easier than the client's `max_target`. Returns what is to be sent.
    ///
    /// What it means for jobs given out before is in `docs/spec/targets.md`.
    pub fn set_target(&mut self, target: Target) -> Target {
        let target = target.min(self.max_target);
        self.target = Arc::new(JobTarget::fixed(target));
        for job in self.active.iter_mut().filter(|job| job.was_future) {
            Arc::make_mut(&mut job.target).widen(target);
        }
        target
    }

    /// Like [`set_target`](Self::set_target), for a client of which nothing tells to which of its jobs it applies a new target: devices of
    /// Stratum V1 differ. Each active job takes shares under either reading, and credits no more than the work done under either.
    pub fn set_target_for_all(&mut self, target: Target) -> Target {
        let target = target.min(self.max_target);
        self.target = Arc::new(JobTarget::fixed(target));
        self.active.iter_mut().for_each(|job| Arc::make_mut(&mut job.target).widen(target));
        target
    }

    /// Takes note of the easiest target that the client can work with from now on (sv2-spec §5.3.7). The target stays: set it next.
    pub const fn set_max_target(&mut self, max_target: Target) {
        self.max_target = max_target.round_to_harder();
    }

    /// Answers an UpdateChannel (sv2-spec §5.3.7): the new target, where there is one to be sent.
    pub fn update(
        &mut self,
        nominal_hash_rate: f32,
        max_target: Target,
        shares_per_minute: f32,
        bounds: TargetBounds,
    ) -> Result<Option<Target>, TargetRequestError> {
        let target = target_for_request(nominal_hash_rate, max_target, shares_per_minute, bounds)?;
        self.max_target = max_target.round_to_harder();
        if target == self.target() {
            return Ok(None);
        }
        Ok(Some(self.set_target(target)))
    }

    /// Answers a SetCustomMiningJob (sv2-spec §5.3.18): the job is active on the channel's tip at once, under an id that `id`
    /// takes from the pool's counter.
    pub fn on_set_custom_mining_job(
        &mut self,
        now: Duration,
        request: &SetCustomMiningJob<'_>,
        tokens: &impl Tokens,
        rules: &CustomRules,
        id: impl FnOnce() -> JobId,
    ) -> Result<SetCustomMiningJobSuccess, CustomJobError> {
        if self.kind == Kind::Standard {
            return Err(CustomJobError::Channel);
        }
        let tip = self.tip.as_ref().ok_or(CustomJobError::StaleTip)?;
        let job = custom::build(now, request, self.full_size, tip, tokens, rules, id)?;
        let job_id = job.id();
        // A fresh id on a channel with a tip: there is nothing left to refuse.
        self.on_new_job(now, Arc::new(job), Some(request.min_ntime)).map_err(|_| CustomJobError::Channel)?;
        Ok(SetCustomMiningJobSuccess {
            channel_id: request.channel_id,
            request_id: request.request_id,
            job_id: job_id.0,
        })
    }

    /// Merkle root of a job that is given out now, future or active; `None` on extended channels and for unknown jobs.
    pub fn merkle_root(&self, job_id: JobId) -> Option<[u8; 32]> {
        if self.kind != Kind::Standard {
            return None;
        }
        let future = self.future.iter().map(|f| (&f.job, f.prefix, &f.merkle_root));
        let active = self.active.iter().map(|a| (&a.job, a.prefix, &a.merkle_root));
        let (job, prefix, root) = future.chain(active).find(|(job, ..)| job.id() == job_id)?;
        Some(root.get_or_init(|| fixed_root(job, prefix_of(&self.prefix, &self.earlier_prefixes, prefix))).root())
    }

    /// nVersion and, unless it is a future job, `min_ntime` of a job that shares are or will be taken for.
    pub(crate) fn job_facts(&self, job_id: JobId) -> Option<(u32, Option<u32>)> {
        let future = self.future.iter().map(|f| (&f.job, None));
        let active = self.active.iter().map(|a| (&a.job, Some(a.min_ntime)));
        future.chain(active).find(|(job, _)| job.id() == job_id).map(|(job, min_ntime)| (job.version(), min_ntime))
    }

    /// Judges a share; an accepted one is remembered, so that it is accepted once.
    pub fn submit(&mut self, now: Duration, share: &Share) -> Verdict {
        let Self { active, retired, tips, prefix, earlier_prefixes, kind, rules, seen, .. } = self;
        match known_job(now, active, retired, *tips, share.job_id) {
            None => Verdict::rejected(RejectReason::InvalidJobId),
            Some((job, retired)) => {
                let prefix = prefix_of(prefix, earlier_prefixes, job.prefix);
                validate(now, share, &job.context(retired, prefix, *kind, rules), seen)
            }
        }
    }

    /// The block that a share makes, if it does. The share counts for nothing and is not remembered.
    pub fn probe(&self, now: Duration, share: &Share) -> Option<BlockCandidate> {
        let (job, retired) = known_job(now, &self.active, &self.retired, self.tips, share.job_id)?;
        let prefix = prefix_of(&self.prefix, &self.earlier_prefixes, job.prefix);
        let context = job.context(retired, prefix, self.kind, &self.rules);
        validate(now, share, &context, &mut SeenShares::new()).block().cloned()
    }

    /// nVersion of a job that a share may still name, a retired one included.
    pub fn version_of(&self, job_id: JobId) -> Option<u32> {
        let active = self.active.iter().rev().find(|active| active.job.id() == job_id);
        let retired = || self.retired.iter().rev().map(|retired| &retired.job).find(|job| job.job.id() == job_id);
        active.or_else(retired).map(|job| job.job.version())
    }

    /// Whether the job is one that shares are taken for.
    pub fn has_active_job(&self, id: JobId) -> bool {
        self.active.iter().any(|active| active.job.id() == id)
    }

    /// Ids of the jobs that shares are taken for, oldest first.
    pub fn active_jobs(&self) -> Vec<JobId> {
        self.active.iter().map(|active| active.job.id()).collect()
    }
}

/// A job that shares are taken or at least looked at for; true when it is retired.
fn known_job<'a>(
    now: Duration,
    active: &'a VecDeque<Active>,
    retired: &'a VecDeque<Retired>,
    tips: u64,
    job_id: JobId,
) -> Option<(&'a Active, bool)> {
    if let Some(active) = active.iter().rev().find(|active| active.job.id() == job_id) {
        return Some((active, false));
    }
    let late = retired.iter().rev().find(|retired| retired.job.job.id() == job_id);
    late.filter(|retired| retired.is_known(now, tips)).map(|retired| (&retired.job, true))
}

impl Active {
    fn context<'a>(&'a self, retired: bool, prefix: &'a Extranonce, kind: Kind, rules: &'a Rules) -> Context<'a> {
        let root = || &**self.merkle_root.get_or_init(|| fixed_root(&self.job, prefix));
        Context {
            job: &self.job,
            tip: &self.tip,
            min_ntime: self.min_ntime,
            retired,
            target: &self.target,
            prefix,
            merkle_root: (kind == Kind::Standard).then(root),
            rules,
        }
    }
}

/// The prefix of this number: the one at hand, or one that jobs still have.
fn prefix_of<'a>(current: &'a Prefix, earlier: &'a [Prefix], number: u32) -> &'a Extranonce {
    let earlier = || earlier.iter().find(|prefix| prefix.number == number).unwrap_or(current);
    if current.number == number { &current.bytes } else { &earlier().bytes }
}

fn fixed_root(job: &Job, prefix: &Extranonce) -> Box<FixedRoot> {
    Box::new(FixedRoot::new(job.merkle_root(prefix.as_bytes())))
}

impl Retired {
    fn is_known(&self, now: Duration, tips: u64) -> bool {
        tips - self.tips < RETIRED_JOB_TIPS && now.saturating_sub(self.at) <= RETIRED_JOB_AGE
    }
}
