//! What the hub tells all sessions: tip and jobs at one moment (`docs/adr/0003-snapshots-instead-of-events.md`).

use std::sync::Arc;

use roles_logic_sv2::{Target, Tip, job::Job};

/// Tip and jobs at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What to mine on; absent until a source has delivered.
    pub tip: Option<ActiveTip>,
    /// A job for a tip that is yet to come.
    pub future: Option<Arc<Job>>,
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

/// A previous hash and the jobs on it.
#[derive(Clone, Debug)]
pub struct ActiveTip {
    /// Counts tips from 1 up; tells sessions that the tip changed.
    pub number: u64,
    /// The block to build on.
    pub tip: Arc<Tip>,
    /// Height of the block that is being mined.
    pub height: u32,
    /// The job that the source named with the tip.
    pub activated: Arc<Job>,
    /// The newest job on this tip; the same as `activated` at first.
    pub current: Arc<Job>,
    /// Jobs of the same template with other content, for channels that need one of their own: their target changed.
    pub spares: Arc<[Arc<Job>]>,
}
