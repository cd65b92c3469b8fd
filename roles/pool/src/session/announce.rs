//! Telling channels of tips and jobs: the difference between a snapshot and what they were told before.
//!
//! A group whose members all lack the same is told once, under its own id (`docs/spec/channels.md`). Here sv2-spec §5.3.17
//! holds: a SetNewPrevHash names only a job that the channel got as a future job.

use std::{convert::Infallible, sync::Arc, time::Duration};

use roles_logic_sv2::{
    Tip,
    channel::{
        Kind,
        group::{Channels, GroupChannel, GroupError},
        server::{Channel, MAX_FUTURE_JOBS},
    },
    ids::{ChannelId, JobId},
    job::{Job, JobError},
};
use stratum_runtime::core::Sink;

use super::{OpenChannel, Session, State};
use crate::snapshot::{Snapshot, Work};

/// Why a job could not be given to a channel; the hub's fit every one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Channel(#[from] GroupError),
    #[error(transparent)]
    Job(#[from] JobError),
}

/// What a channel was not told yet of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lack {
    start: Option<Start>,
    /// The newest job, for the tip at hand.
    current: bool,
    /// The job for the tip to come.
    future: bool,
}

/// A SetNewPrevHash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    /// The job that it names.
    job: JobId,
    /// Whether the channel has it as a future job.
    is_held: bool,
}

impl Session {
    /// Tells all channels what is new in `snapshot`.
    pub(super) fn announce<S: Sink>(&mut self, now: Duration, snapshot: &Snapshot, sink: &mut S) {
        let allows_groups = matches!(self.state, State::Open(terms) if terms.allows_groups());
        let groups: Vec<ChannelId> = self.channels.groups().map(GroupChannel::id).collect();
        for group in groups {
            // Devices with one channel are addressed by its id: some know no other.
            if allows_groups && let Some(lack) = self.common_lack(group, snapshot) {
                self.tell(now, group, lack, snapshot, sink);
                continue;
            }
            let members: Vec<ChannelId> = self.channels.addressed(group).map(|open| open.channel.id()).collect();
            members.into_iter().for_each(|id| self.announce_to(now, id, snapshot, sink));
        }
    }

    /// Tells one channel what is new for it in `snapshot`.
    pub(super) fn announce_to<S: Sink>(&mut self, now: Duration, id: ChannelId, snapshot: &Snapshot, sink: &mut S) {
        if let Some(lack) = self.channels.get(id).map(|open| open.lack(snapshot)) {
            self.tell(now, id, lack, snapshot, sink);
        }
    }

    /// What all members of a group lack, if there are two at least and they lack the same.
    fn common_lack(&self, group: ChannelId, snapshot: &Snapshot) -> Option<Lack> {
        let mut lacks = self.channels.addressed(group).map(|open| open.lack(snapshot));
        let (first, second) = (lacks.next()?, lacks.next()?);
        (first == second && lacks.all(|lack| lack == first)).then_some(first)
    }

    fn tell<S: Sink>(&mut self, now: Duration, to: ChannelId, lack: Lack, snapshot: &Snapshot, sink: &mut S) {
        if let Err(error) = self.try_tell(now, to, lack, snapshot, sink) {
            // The hub's jobs fit every channel; if one ever did not, the miner must not go on with something else.
            tracing::error!(peer = self.label, channel = to.0, "job can not be announced: {error}");
            sink.disconnect(format_args!("internal error: a job does not fit its channel: {error}"));
        }
    }

    fn try_tell<S: Sink>(
        &mut self,
        now: Duration,
        to: ChannelId,
        lack: Lack,
        snapshot: &Snapshot,
        sink: &mut S,
    ) -> Result<(), Unfit> {
        if let Some(active) = &snapshot.tip {
            if let Some(start) = lack.start {
                each(&mut self.channels, to, |open| open.keep_blocks(snapshot, &active.tip, sink));
                let work = if start.job == active.current.id() { &active.current } else { &active.activated };
                if !start.is_held {
                    self.send_job(now, to, work, None, sink)?;
                }
                self.channels.on_set_new_prev_hash(now, to, start.job, &active.tip)?;
                sink.send(&active.tip.set_new_prev_hash(to, start.job));
            }
            if lack.current {
                self.send_job(now, to, &active.current, Some(active.tip.min_ntime), sink)?;
            }
            let (number, current) = (active.number, active.current.id());
            each(&mut self.channels, to, |open| open.is_told(now, number, current, lack.start.is_some()));
        }
        if lack.future
            && let Some(work) = &snapshot.future
        {
            self.send_job(now, to, work, None, sink)?;
        }
        Ok(())
    }

    /// Gives a job to a channel or group; without `min_ntime` a future job.
    fn send_job<S: Sink>(
        &mut self,
        now: Duration,
        to: ChannelId,
        work: &Work,
        min_ntime: Option<u32>,
        sink: &mut S,
    ) -> Result<(), Unfit> {
        // A group has one payee.
        let Some(payee) = self.channels.addressed(to).next().map(|open| &open.payee) else { return Ok(()) };
        let job = work.job(payee)?;
        self.channels.on_new_job(now, to, &job, min_ntime)?;
        if min_ntime.is_none() {
            each(&mut self.channels, to, |open| open.told.add_future(job.id()));
        }
        send_job_message(self.channels.get(to).map(|open| &open.channel), to, &job, min_ntime, sink);
        Ok(())
    }
}

fn each(channels: &mut Channels<Box<OpenChannel>>, to: ChannelId, mut change: impl FnMut(&mut OpenChannel)) {
    let _: Result<(), Infallible> = channels.try_for_each_mut(to, |open| {
        change(open);
        Ok(())
    });
}

/// A standard channel gets the merkle root, an extended one or a group what it is made of (sv2-spec §5.3.15, §5.3.16).
pub(super) fn send_job_message<S: Sink>(
    channel: Option<&Channel>,
    to: ChannelId,
    job: &Job,
    min_ntime: Option<u32>,
    sink: &mut S,
) {
    match channel.filter(|channel| channel.kind() == Kind::Standard) {
        None => sink.send(&job.message(to, min_ntime)),
        Some(channel) => {
            if let Some(message) = channel.new_mining_job(job.id()) {
                sink.send(&message);
            }
        }
    }
}

impl super::Told {
    fn add_future(&mut self, job: JobId) {
        // The channel forgets the oldest, too.
        if self.futures.len() >= MAX_FUTURE_JOBS {
            self.futures.remove(0);
        }
        self.futures.push(job);
    }
}

impl OpenChannel {
    fn lack(&self, snapshot: &Snapshot) -> Lack {
        let futures = &self.told.futures;
        let is_new = |work: &Arc<Work>| !futures.contains(&work.id());
        let Some(active) = &snapshot.tip else {
            return Lack { start: None, current: false, future: snapshot.future.as_ref().is_some_and(is_new) };
        };
        // A session that was passed over while the source changed to another tip and back is where it was.
        let is_there = self.channel.tip().is_some_and(|tip| tip.prev_hash == active.tip.prev_hash);
        let new_tip = self.told.tip != active.number && !is_there;
        let current = active.current.id();
        // A source that comes back on the same tip names a job that was sent for the tip to come: only a SetNewPrevHash
        // starts it.
        let start = (new_tip || futures.contains(&current)).then(|| {
            let activated = active.activated.id();
            let job = if new_tip && futures.contains(&activated) { activated } else { current };
            Start { job, is_held: futures.contains(&job) }
        });
        let at_work = start.map_or(self.told.active, |start| Some(start.job));
        // A job that the channel has been on before, as after a change of source and back, is still good, and what it works
        // on now, too: devices start over at every job, so none is sent twice.
        let is_known = || start.is_none() && self.channel.has_active_job(current);
        Lack {
            start,
            current: at_work != Some(current) && !is_known(),
            // SetNewPrevHash ends what was sent before for the tip to come.
            future: snapshot.future.as_ref().is_some_and(|work| start.is_some() || is_new(work)),
        }
    }

    /// Takes note of what was sent.
    fn is_told(&mut self, now: Duration, tip: u64, current: JobId, is_started: bool) {
        if is_started {
            if let Some(vardiff) = self.vardiff.as_mut().filter(|_| self.told.active.is_none()) {
                vardiff.restart(now);
            }
            self.told.futures.clear();
        }
        if is_started || self.told.active != Some(current) {
            self.spares_used = 0;
        }
        (self.told.tip, self.told.active) = (tip, Some(current));
    }

    /// Eases a target that is harder than that of the blocks to come.
    fn keep_blocks<S: Sink>(&mut self, snapshot: &Snapshot, tip: &Tip, sink: &mut S) {
        if let Some(vardiff) = &mut self.vardiff {
            vardiff.set_network_target(tip.target);
        }
        let before = self.channel.target();
        if self.channel.set_target(snapshot.keep_blocks(before)) != before {
            tracing::debug!(worker = %self.worker, channel = self.channel.id().0, "blocks are easier than shares were");
            sink.send(&self.channel.set_target_message());
        }
    }
}
