//! DESIGN: "a bad peer costs that peer its connection", and no other. The pool ends no connection of a miner that keeps to the protocol,
//! and sends nothing that such a miner can not follow.

use std::{collections::BTreeSet, time::Duration};

use super::{Check, End, Observation, Outcome, View};

#[derive(Default)]
pub struct Honest(BTreeSet<u64>);

impl Check for Honest {
    fn name(&self) -> &'static str {
        "honest"
    }

    fn observe(&mut self, _now: Duration, _view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::Connected { conn, honest: true } => {
                self.0.insert(*conn);
            }
            Observation::Ended { conn, end } => {
                if let (true, End::ByPool(reason)) = (self.0.remove(conn), end) {
                    return Err(format!("the pool ended connection {conn} of an honest miner: {reason}"));
                }
            }
            Observation::ClientBroken { conn, reason } => {
                return Err(format!("the miner on connection {conn} can not follow: {reason}"));
            }
            _ => {}
        }
        Ok(())
    }
}
