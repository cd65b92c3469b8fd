//! Targets that follow what a channel delivers (`docs/vardiff.md`).

use std::time::Duration;

use roles_logic_sv2::{Target, channel::group::GroupError};
use stratum_runtime::core::Sink;

use super::{
    OpenChannel, Session,
    announce::{Unfit, send_job_message},
};
use crate::snapshot::Snapshot;

/// Time between two looks at channels that may be too slow for their targets.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

impl Session {
    /// Eases what is too slow.
    pub(super) fn look<S: Sink>(&mut self, now: Duration, sink: &mut S) {
        self.look = (!self.channels.is_empty()).then(|| now + LOOK_INTERVAL);
        for open in self.channels.iter_mut() {
            // Before its first job a device has nothing to deliver.
            let vardiff = open.vardiff.as_mut().filter(|_| open.told.active.is_some());
            if let Some(target) = vardiff.and_then(|vardiff| vardiff.on_timer(now)) {
                open.retarget(now, target, self.snapshot.as_deref(), sink);
            }
        }
    }
}

impl OpenChannel {
    /// Sends a target if it is another one, and behind it a job with new content: a target holds for jobs to come (sv2-spec §5.3.21).
    pub(super) fn retarget<S: Sink>(
        &mut self,
        now: Duration,
        target: Target,
        snapshot: Option<&Snapshot>,
        sink: &mut S,
    ) {
        let before = self.channel.target();
        if self.channel.set_target(target) == before {
            return;
        }
        self.card.set_difficulty(target.difficulty());
        let id = self.channel.id();
        let hashrate = self.vardiff.as_ref().and_then(|vardiff| vardiff.hashrate(now));
        let (from, to) = (before.difficulty(), target.difficulty());
        tracing::debug!(worker = %self.worker, channel = id.0, from, to, hashrate, "difficulty changed");
        sink.send(&self.channel.set_target_message());
        if let Err(error) = snapshot.map_or(Ok(()), |snapshot| self.send_spare(now, snapshot, sink)) {
            tracing::error!(channel = id.0, "spare job can not be announced: {error}");
            sink.disconnect("internal error: a job does not fit its channel");
        }
    }

    /// The next spare job, if there is one left; else the channel waits for the next job that all get.
    fn send_spare<S: Sink>(&mut self, now: Duration, snapshot: &Snapshot, sink: &mut S) -> Result<(), Unfit> {
        let Some(tip) = snapshot.tip.as_ref().filter(|tip| self.told.tip == tip.number) else { return Ok(()) };
        let Some(spare) = tip.spares.get(self.spares_used) else { return Ok(()) };
        self.spares_used += 1;
        let min_ntime = Some(tip.tip.min_ntime);
        let (id, job) = (self.channel.id(), spare.job(&self.payee)?);
        let taken = self.channel.on_new_job(now, job.clone(), min_ntime);
        taken.map_err(|error| GroupError::Member { channel: id, error })?;
        send_job_message(Some(&self.channel), id, &job, min_ntime, sink);
        Ok(())
    }
}
