//! What the hub tells all sessions: tip and work at one moment (`docs/adr/0003-snapshots-instead-of-events.md`).

use std::sync::Arc;

use roles_logic_sv2::{
    Target, Tip,
    ids::JobId,
    job::{Job, JobError, PreparedTemplate},
};

use crate::payouts::Payee;

/// Tip and work at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What to mine on; absent until a source has delivered.
    pub tip: Option<ActiveTip>,
    /// Work for a tip that is yet to come.
    pub future: Option<Arc<Work>>,
}

impl Snapshot {
    /// The target, or that of blocks where it is harder: a device submits only what meets its channel's target.
    ///
    /// It matters where blocks are easy: on test networks, and on testnet after 20 minutes without one.
    pub fn keep_blocks(&self, target: Target) -> Target {
        let blocks = self.tip.as_ref().map(|active| Target::from_zero_bits(active.tip.target.leading_zeros()));
        blocks.map_or(target, |blocks| target.max(blocks))
    }
}

/// A previous hash and the work on it.
#[derive(Clone, Debug)]
pub struct ActiveTip {
    /// Counts tips from 1 up; tells sessions that the tip changed.
    pub number: u64,
    /// The block to build on.
    pub tip: Arc<Tip>,
    /// Height of the block that is being mined.
    pub height: u32,
    /// What the source named with the tip.
    pub activated: Arc<Work>,
    /// The newest work on this tip; the same as `activated` at first.
    pub current: Arc<Work>,
    /// Work on the same template with other content, for channels that need one of their own: their target changed.
    pub spares: Arc<[Arc<Work>]>,
}

/// One id, under which there is a job of the same template for each payee.
#[derive(Clone, Debug)]
pub struct Work {
    template: Arc<PreparedTemplate>,
    variant: u32,
    pool: Arc<Job>,
}

impl Work {
    /// From a template and the job of it that pays the pool.
    pub fn new(template: Arc<PreparedTemplate>, variant: u32, pool: Arc<Job>) -> Self {
        Self { template, variant, pool }
    }

    /// The id of the jobs.
    pub fn id(&self) -> JobId {
        self.pool.id()
    }

    /// What it is made of.
    pub fn template(&self) -> &Arc<PreparedTemplate> {
        &self.template
    }

    /// The job for channels under the pool's policy.
    pub fn pool_job(&self) -> &Arc<Job> {
        &self.pool
    }

    /// The job for a payee's channels.
    ///
    /// # Errors
    /// As [`Payee::job`].
    pub fn job(&self, payee: &Payee) -> Result<Arc<Job>, JobError> {
        if payee.is_pool() { Ok(self.pool.clone()) } else { payee.job(self.id(), &self.template, self.variant) }
    }
}
