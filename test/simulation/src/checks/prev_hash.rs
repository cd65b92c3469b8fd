//! sv2-spec §5.3.17: a SetNewPrevHash names a job "which was previously sent to this channel with an empty `min_ntime`".
//!
//! And §5.3.15, §5.3.16: a job with `min_ntime` is for the previous hash at hand, so there has to be one.

use std::time::Duration;

use mining_sv2::Mining;

use super::{Check, Observation, Outcome, View};

pub struct PrevHash;

impl Check for PrevHash {
    fn name(&self) -> &'static str {
        "prev-hash"
    }

    fn observe(&mut self, _now: Duration, view: &View, observation: &Observation<'_>) -> Outcome {
        let Observation::FromPool { conn, message: Some(message) } = observation else { return Ok(()) };
        let (channel, job, has_ntime) = match message {
            Mining::SetNewPrevHash(message) => {
                let (channel, job) = (message.channel_id, message.job_id);
                return match view.addressed(*conn, channel).all(|channel| channel.has_future(job)) {
                    true => Ok(()),
                    false => Err(format!("SetNewPrevHash on channel {channel} for job {job}, which is no future job")),
                };
            }
            Mining::NewMiningJob(message) => (message.channel_id, message.job_id, message.min_ntime.is_some()),
            Mining::NewExtendedMiningJob(message) => (message.channel_id, message.job_id, message.min_ntime.is_some()),
            _ => return Ok(()),
        };
        if has_ntime && !view.addressed(*conn, channel).all(|channel| channel.has_tip()) {
            return Err(format!("job {job} on channel {channel} is to be started, without a previous hash"));
        }
        Ok(())
    }
}
