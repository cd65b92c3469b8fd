//! Telling a channel of tips and jobs: the difference between a snapshot and what it was told before.
//!
//! Here sv2-spec §5.3.17 holds: a SetNewPrevHash names only a job that the channel got as a future job.

use std::{sync::Arc, time::Duration};

use roles_logic_sv2::{
    Tip,
    channel::{
        Kind,
        server::{ChannelError, MAX_FUTURE_JOBS},
    },
    ids::ChannelId,
    job::Job,
};
use stratum_runtime::core::Sink;

use super::OpenChannel;
use crate::snapshot::Snapshot;

impl OpenChannel {
    /// Sends what is new in `snapshot`.
    pub(super) fn announce<S: Sink>(&mut self, now: Duration, id: ChannelId, snapshot: &Snapshot, sink: &mut S) {
        if let Err(error) = self.try_announce(now, id, snapshot, sink) {
            // The hub's jobs fit every channel; if one ever did not, the miner must not go on with something else.
            tracing::error!(channel = id.0, "job can not be announced: {error}");
            sink.disconnect(format_args!("internal error: a job does not fit its channel: {error}"));
        }
    }

    fn try_announce<S: Sink>(
        &mut self,
        now: Duration,
        id: ChannelId,
        snapshot: &Snapshot,
        sink: &mut S,
    ) -> Result<(), ChannelError> {
        if let Some(active) = &snapshot.tip {
            // A session that was passed over while the source changed to another tip and back is where it was.
            let is_there = self.channel.tip().is_some_and(|tip| tip.prev_hash == active.tip.prev_hash);
            let new_tip = self.tip != active.number && !is_there;
            self.tip = active.number;
            // A source that comes back on the same tip names a job that was sent for the tip to come: only a
            // SetNewPrevHash starts it.
            if new_tip || self.futures.contains(&active.current.id()) {
                self.keep_blocks(id, snapshot, &active.tip, sink);
                let held = new_tip && self.futures.contains(&active.activated.id());
                let job = if held { &active.activated } else { &active.current };
                if !self.futures.contains(&job.id()) {
                    self.send_job(now, id, job, None, sink)?;
                }
                self.channel.on_set_new_prev_hash(now, job.id(), active.tip.clone())?;
                sink.send(&active.tip.set_new_prev_hash(id, job.id()));
                if let Some(vardiff) = self.vardiff.as_mut().filter(|_| self.active.is_none()) {
                    vardiff.restart(now);
                }
                self.active = Some(job.id());
                self.futures.clear();
                self.spares_used = 0;
            }
            if self.active != Some(active.current.id()) {
                // A job that the channel has been on before, as after a change of source and back, is still good, and what it
                // works on now, too: devices start over at every job, so none is sent twice.
                if !self.channel.active_jobs().contains(&active.current.id()) {
                    self.send_job(now, id, &active.current, Some(active.tip.min_ntime), sink)?;
                }
                self.active = Some(active.current.id());
                self.spares_used = 0;
            }
        }
        if let Some(job) = &snapshot.future
            && !self.futures.contains(&job.id())
        {
            self.send_job(now, id, job, None, sink)?;
        }
        Ok(())
    }

    /// Eases a target that is harder than that of the blocks to come.
    fn keep_blocks<S: Sink>(&mut self, id: ChannelId, snapshot: &Snapshot, tip: &Tip, sink: &mut S) {
        if let Some(vardiff) = &mut self.vardiff {
            vardiff.set_network_target(tip.target);
        }
        let before = self.channel.target();
        if self.channel.set_target(snapshot.keep_blocks(before)) != before {
            tracing::debug!(user = self.user, channel = id.0, "blocks are easier than shares were");
            sink.send(&self.channel.set_target_message());
        }
    }

    pub(super) fn send_job<S: Sink>(
        &mut self,
        now: Duration,
        id: ChannelId,
        job: &Arc<Job>,
        min_ntime: Option<u32>,
        sink: &mut S,
    ) -> Result<(), ChannelError> {
        self.channel.on_new_job(now, job.clone(), min_ntime)?;
        if min_ntime.is_none() {
            // The channel forgets the oldest, too.
            if self.futures.len() >= MAX_FUTURE_JOBS {
                self.futures.remove(0);
            }
            self.futures.push(job.id());
        }
        match self.channel.kind() {
            Kind::Extended { .. } => sink.send(&job.message(id, min_ntime)),
            Kind::Standard => {
                if let Some(message) = self.channel.new_mining_job(job.id()) {
                    sink.send(&message);
                }
            }
        }
        Ok(())
    }
}
