//! sv2-spec §5.1.2: the server assigns extranonce prefixes so that "each channel has its own unique search space". No prefix may begin
//! another one, within a process of the pool or across its restarts: jobs outlive connections, so a world never sees one twice.

use std::{collections::BTreeSet, time::Duration};

use mining_sv2::Mining;

use super::{Check, Observation, Outcome, View};

#[derive(Default)]
pub struct SearchSpace(BTreeSet<Vec<u8>>);

impl Check for SearchSpace {
    fn name(&self) -> &'static str {
        "search-space"
    }

    fn observe(&mut self, _now: Duration, _view: &View, observation: &Observation<'_>) -> Outcome {
        let Observation::FromPool { message: Some(message), .. } = observation else { return Ok(()) };
        let prefix = match message {
            Mining::OpenStandardMiningChannelSuccess(message) => message.extranonce_prefix.as_bytes().to_vec(),
            Mining::OpenExtendedMiningChannelSuccess(message) => message.extranonce_prefix.as_bytes().to_vec(),
            _ => return Ok(()),
        };
        // Whatever begins with the prefix follows it at once. What begins the prefix: one of its own beginnings.
        let longer = self.0.range(prefix.clone()..).next().filter(|next| next.starts_with(&prefix));
        let shorter = (0..prefix.len()).map(|len| &prefix[..len]).find(|start| self.0.contains(*start));
        if let Some(other) = longer.map(Vec::as_slice).or(shorter) {
            return Err(format!("the extranonce prefixes {prefix:02x?} and {other:02x?} overlap"));
        }
        self.0.insert(prefix);
        Ok(())
    }
}
