//! sv2-spec §5.3.15: `job_id` is the "Server's identification of the mining job", so it names one job at a time: no id comes again
//! on a channel while a job of that id can still be worked on.

use std::time::Duration;

use mining_sv2::Mining;

use super::{Check, Observation, Outcome, View};

pub struct JobIds;

impl Check for JobIds {
    fn name(&self) -> &'static str {
        "job-ids"
    }

    fn observe(&mut self, _now: Duration, view: &View, observation: &Observation<'_>) -> Outcome {
        let Observation::FromPool { conn, message: Some(message) } = observation else { return Ok(()) };
        let (channel, job) = match message {
            Mining::NewMiningJob(message) => (message.channel_id, message.job_id),
            Mining::NewExtendedMiningJob(message) => (message.channel_id, message.job_id),
            _ => return Ok(()),
        };
        match view.addressed(*conn, channel).any(|channel| channel.has_live(job)) {
            true => Err(format!("job {job} was sent to channel {channel} of connection {conn} again")),
            false => Ok(()),
        }
    }
}
