//! sv2-spec §5.3.15, §5.3.16: a channel needs a job before it can do anything, and clients in the field take the frame right after the
//! answer for it. So where the pool has a job, the next frame after Open*.Success is a job of that channel.

use std::{collections::BTreeMap, time::Duration};

use mining_sv2::Mining;

use super::{Check, Observation, Outcome, View};

#[derive(Default)]
pub struct FirstJob {
    /// Whether the session has a snapshot with a job, and the channel whose job must come next.
    conns: BTreeMap<u64, (bool, Option<u32>)>,
}

impl Check for FirstJob {
    fn name(&self) -> &'static str {
        "first-job"
    }

    fn observe(&mut self, _now: Duration, _view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::Noticed { conn, has_job, .. } => self.conns.entry(*conn).or_default().0 |= has_job,
            Observation::FromPool { conn, message } => {
                let (has_job, waiting) = self.conns.entry(*conn).or_default();
                let job_of = match message {
                    Some(Mining::NewMiningJob(job)) => Some(job.channel_id),
                    Some(Mining::NewExtendedMiningJob(job)) => Some(job.channel_id),
                    _ => None,
                };
                if let Some(channel) = waiting.take().filter(|channel| job_of != Some(*channel)) {
                    let name = message.map_or("another protocol's message", |message| message.name());
                    return Err(format!("channel {channel} was opened, and then came {name} instead of its job"));
                }
                *waiting = match message {
                    Some(Mining::OpenStandardMiningChannelSuccess(open)) => Some(open.channel_id),
                    Some(Mining::OpenExtendedMiningChannelSuccess(open)) => Some(open.channel_id),
                    _ => None,
                }
                .filter(|_| *has_job);
            }
            Observation::InputDone { conn } => {
                if let Some((_, Some(channel))) = self.conns.get(conn) {
                    return Err(format!("channel {channel} was opened without a job"));
                }
            }
            Observation::Ended { conn, .. } => {
                self.conns.remove(conn);
            }
            _ => {}
        }
        Ok(())
    }
}
