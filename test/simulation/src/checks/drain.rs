//! ARCHITECTURE: an orderly stop loses no block. What sessions reported before it is on disk when the process ends.

use std::{collections::BTreeSet, time::Duration};

use bitcoin::BlockHash;

use super::{Check, Observation, Outcome, View};

#[derive(Default)]
pub struct Drain {
    waiting: BTreeSet<BlockHash>,
    on_disk: BTreeSet<BlockHash>,
}

impl Check for Drain {
    fn name(&self) -> &'static str {
        "drain"
    }

    fn observe(&mut self, _now: Duration, _view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::Candidate { hash } if !self.on_disk.contains(hash) => {
                self.waiting.insert(*hash);
            }
            Observation::Persisted { hash, .. } => {
                self.waiting.remove(hash);
                self.on_disk.insert(*hash);
            }
            Observation::Crashed => self.waiting.clear(),
            Observation::Stopped => {
                if let Some(hash) = self.waiting.first() {
                    return Err(format!(
                        "block {hash} was reported before the orderly stop, and is not on disk after it"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
