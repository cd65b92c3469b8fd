//! Jobs: what a miner has been given, and what it is given next.

use std::{sync::Arc, time::Duration};

use roles_logic_sv2::{Target, share::JobTarget};

use super::{HubSink, LOOK_INTERVAL, MAX_GIVEN, Session};
use crate::job::{ChannelState, MinerJob};

/// A job that the miner has.
#[derive(Debug)]
pub(super) struct Given {
    pub job: Arc<MinerJob>,
    pub extranonce1: Vec<u8>,
    /// Bits of nVersion that the miner may roll.
    pub version_mask: u32,
    /// What the miner's shares must meet.
    pub target: JobTarget,
    /// What they must meet to be of use upstream.
    pub upstream: Target,
    /// Its tip was left, or its channel has ended.
    pub retired: bool,
}

impl Session {
    /// Gives the miner the channel's job, if it does not have it yet, with what has changed beside.
    pub(super) fn announce<S: HubSink>(&mut self, now: Duration, channel: &ChannelState, sink: &mut S) {
        self.limit_target(now, channel);
        let Some(job) = &channel.job else { return };
        if let Some(given) = self.given.back_mut().filter(|given| given.job.serial == job.serial) {
            given.upstream = channel.job_target;
            return;
        }
        let Some(extranonce) = self.slot.as_ref().map(|slot| channel.extranonce(slot.index())) else { return };
        if self.told_extranonce.as_ref() != Some(&extranonce) {
            if self.server.set_extranonce(&extranonce.0, extranonce.1).is_err() {
                // Most devices would go on with the old one, and all their work would be for nothing.
                return self.close(sink, "its extranonce changes, and it does not follow mining.set_extranonce");
            }
            self.told_extranonce = Some(extranonce.clone());
        }
        let version_mask = self.agreed_mask & job.version_mask;
        if version_mask != self.told_mask && self.server.set_version_mask(version_mask).is_ok() {
            self.told_mask = version_mask;
        }
        self.begin(now, channel);
        self.tell_difficulty();
        let last = self.given.back();
        let same_tip = last.is_some_and(|last| last.job.tip.prev_hash == job.tip.prev_hash && !last.retired);
        let clean = !same_tip || last.is_some_and(|last| last.job.channel != job.channel);
        if self.server.notify_encoded(job.encoded(clean)).is_err() {
            return; // it has subscribed: see `is_open`
        }
        if !same_tip {
            self.given.iter_mut().for_each(|given| given.retired = true);
            self.seen.on_tip(job.tip.prev_hash);
        }
        if self.given.len() >= MAX_GIVEN {
            self.given.pop_front();
        }
        let target = JobTarget::fixed(self.target.unwrap_or(Target::MAX));
        let (extranonce1, upstream) = (extranonce.0, channel.job_target);
        self.given.push_back(Given { job: job.clone(), extranonce1, version_mask, target, upstream, retired: false });
        self.deadline = None;
    }

    /// The first difficulty, before the first job.
    fn begin(&mut self, now: Duration, channel: &ChannelState) {
        if self.target.is_some() {
            return;
        }
        let target = self.start(now);
        if let Some(vardiff) = &mut self.vardiff {
            vardiff.set_network_target(channel.target);
        }
        self.target = Some(self.exact(target));
        self.look = self.vardiff.is_some().then(|| now + LOOK_INTERVAL);
        tracing::info!(peer = self.label, difficulty = self.target.map(|target| target.difficulty()), "miner begins");
    }
}
