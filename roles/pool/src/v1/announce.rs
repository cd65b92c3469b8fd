//! Telling the miner of jobs.
//!
//! Stratum V1 knows no future jobs: at a new tip the job that was prepared for it goes out at once, with `clean_jobs`, and the
//! one with transactions behind it when there is one (`docs/adr/0001-empty-future-template.md`).

use std::{sync::Arc, time::Duration};

use bitcoin::hashes::Hash as _;
use roles_logic_sv2::{Tip, channel::Kind, job::Job};
use stratum_v1::pool::Notify;

use super::{EXTRANONCE1, EXTRANONCE2, PoolSink, Session};
use crate::snapshot::{Snapshot, Work};

/// Coinbases over this many bytes are too long for some devices in the field.
pub const LONG_COINBASE: usize = 750;

impl Session {
    /// Sends what is new in `snapshot`.
    pub(super) fn announce<S: PoolSink>(&mut self, now: Duration, snapshot: &Snapshot, sink: &mut S) {
        let (Some(active), Some(channel)) = (&snapshot.tip, &mut self.channel) else { return };
        if self.payee.is_none() || self.closed {
            return;
        }
        // A session that was passed over while the source changed to another tip and back is where it was.
        let is_new = channel.tip().is_none_or(|tip| tip.prev_hash != active.tip.prev_hash);
        // A job that it has been on before is still good, and what it works on now, too: none is sent twice.
        if !is_new && channel.has_active_job(active.current.id()) {
            return;
        }
        if is_new {
            channel.on_tip(now, active.tip.clone());
            if let Some(vardiff) = &mut self.vardiff {
                vardiff.set_network_target(active.tip.target);
                if self.told.job.is_none() {
                    vardiff.restart(now);
                }
            }
            self.keep_blocks();
        }
        self.told.spares_used = 0;
        self.send_job(now, &active.current, &active.tip, is_new, sink);
    }

    /// A job with new content for a new target, if there is one left; else the next one that all get will do.
    pub(super) fn send_spare<S: PoolSink>(&mut self, now: Duration, sink: &mut S) {
        let Some(snapshot) = self.snapshot.clone() else { return };
        let (Some(active), Some(channel)) = (&snapshot.tip, &self.channel) else { return };
        if channel.tip().is_none_or(|tip| tip.prev_hash != active.tip.prev_hash) {
            return;
        }
        if let Some(spare) = active.spares.get(self.told.spares_used) {
            self.told.spares_used += 1;
            self.send_job(now, spare, &active.tip, false, sink);
        }
    }

    fn send_job<S: PoolSink>(&mut self, now: Duration, work: &Work, tip: &Arc<Tip>, clean_jobs: bool, sink: &mut S) {
        let (Some(channel), Some(payee)) = (&mut self.channel, &self.payee) else { return };
        let given = work.job(payee).map_err(|error| error.to_string()).and_then(|job| {
            let taken = channel.on_new_job(now, job.clone(), Some(tip.min_ntime));
            taken.map(|()| job).map_err(|error| error.to_string())
        });
        let job = match given {
            Ok(job) => job,
            Err(error) => {
                // The hub's jobs fit every channel; if one ever did not, the miner must not go on with something else.
                tracing::error!(peer = self.label, "job can not be announced: {error}");
                return sink.disconnect(format_args!("internal error: a job does not fit its channel: {error}"));
            }
        };
        let prefix = *channel.prefix();
        let Kind::Extended { extranonce_size } = channel.kind() else { return };
        let notify = notify(now, &job, prefix.as_bytes(), extranonce_size, tip, clean_jobs);
        let size = notify.coinbase1.len() + EXTRANONCE1 + EXTRANONCE2 + notify.coinbase2.len();
        if size > LONG_COINBASE && !std::mem::replace(&mut self.told.long_coinbase, true) {
            tracing::warn!(peer = self.label, size, "the coinbase is longer than some devices take");
        }
        self.told.job = Some(job.id());
        self.tell_difficulty();
        if self.server.notify(&notify).is_err() {
            tracing::error!(peer = self.label, "a job before the subscription");
        }
    }
}

/// The job as a miner sees it that rolls [`EXTRANONCE2`] of `rolled` bytes: the beginning of its prefix belongs to the first part of the
/// coinbase, what it does not roll, zeros, to the second.
fn notify(now: Duration, job: &Job, prefix: &[u8], rolled: usize, tip: &Tip, clean_jobs: bool) -> Notify {
    let (hidden, _) = prefix.split_at(prefix.len().saturating_sub(EXTRANONCE1));
    let zeros = vec![0; rolled.saturating_sub(EXTRANONCE2)];
    Notify {
        job_id: format!("{:x}", job.id().0),
        prev_hash: tip.prev_hash.to_byte_array(),
        coinbase1: [job.coinbase_tx_prefix(), hidden].concat(),
        coinbase2: [&zeros, job.coinbase_tx_suffix()].concat(),
        merkle_branch: job.merkle_path().to_vec(),
        version: job.version(),
        nbits: tip.nbits,
        // Devices keep to it for as long as they have the job.
        ntime: tip.max_ntime(now, 0),
        clean_jobs,
    }
}
