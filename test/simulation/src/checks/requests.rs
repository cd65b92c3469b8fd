//! sv2-spec §5.3.2 to §5.3.6, §5.3.18: each request to open a channel, and each custom job, is answered exactly once, under its
//! `request_id`. The pool answers at once: when what was read is done, no request is left.

use std::{collections::BTreeMap, time::Duration};

use mining_sv2::Mining;

use super::{Check, Observation, Outcome, View};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Open,
    Custom,
}

#[derive(Default)]
pub struct Requests(BTreeMap<(u64, Kind, u32), u32>);

impl Check for Requests {
    fn name(&self) -> &'static str {
        "requests"
    }

    fn observe(&mut self, _now: Duration, _view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::ToPool { conn, message } => {
                let key = match message {
                    Mining::OpenStandardMiningChannel(message) => (Kind::Open, message.request_id),
                    Mining::OpenExtendedMiningChannel(message) => (Kind::Open, message.request_id),
                    Mining::SetCustomMiningJob(message) => (Kind::Custom, message.request_id),
                    _ => return Ok(()),
                };
                *self.0.entry((*conn, key.0, key.1)).or_default() += 1;
            }
            Observation::FromPool { conn, message: Some(message) } => {
                let (kind, id) = match message {
                    Mining::OpenStandardMiningChannelSuccess(message) => (Kind::Open, message.request_id),
                    Mining::OpenExtendedMiningChannelSuccess(message) => (Kind::Open, message.request_id),
                    Mining::OpenMiningChannelError(message) => (Kind::Open, message.request_id),
                    Mining::SetCustomMiningJobSuccess(message) => (Kind::Custom, message.request_id),
                    Mining::SetCustomMiningJobError(message) => (Kind::Custom, message.request_id),
                    _ => return Ok(()),
                };
                let left = self.0.get_mut(&(*conn, kind, id)).filter(|left| **left > 0);
                *left.ok_or_else(|| format!("{} answers no request: {kind:?} {id}", message.name()))? -= 1;
            }
            Observation::InputDone { conn } => {
                let mut left = self.0.range((*conn, Kind::Open, 0)..=(*conn, Kind::Custom, u32::MAX));
                if let Some(((_, kind, id), _)) = left.find(|(_, left)| **left > 0) {
                    return Err(format!("request {id} ({kind:?}) of connection {conn} was not answered"));
                }
                self.0.retain(|(c, _, _), _| c != conn);
            }
            Observation::Ended { conn, .. } => self.0.retain(|(c, _, _), _| c != conn),
            _ => {}
        }
        Ok(())
    }
}
