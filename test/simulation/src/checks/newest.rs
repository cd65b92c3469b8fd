//! `docs/adr/0003`: a session that skipped snapshots "takes the newest when its bytes are gone". So it never gets an older one after a newer
//! one, which would lead its miner back to a block that is no longer the tip.

use std::{collections::BTreeMap, time::Duration};

use super::{Check, Observation, Outcome, View};

#[derive(Default)]
pub struct Newest(BTreeMap<u64, u64>);

impl Check for Newest {
    fn name(&self) -> &'static str {
        "newest"
    }

    fn observe(&mut self, _now: Duration, _view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::Noticed { conn, number, .. } => {
                let last = self.0.insert(*conn, *number).unwrap_or(0);
                if last > *number {
                    return Err(format!("connection {conn} gets snapshot {number} after snapshot {last}"));
                }
            }
            Observation::Ended { conn, .. } => {
                self.0.remove(conn);
            }
            _ => {}
        }
        Ok(())
    }
}
