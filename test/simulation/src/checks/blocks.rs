//! DESIGN: "a hash that meets the network's target is a block candidate, whatever else is wrong with it". Each one reaches a node, or is
//! on disk and reaches one after the restart. A node finds nothing wrong with those of honest work.

use std::{collections::BTreeMap, time::Duration};

use bitcoin::BlockHash;

use super::{Check, Observation, Outcome, View};
use crate::chain::{NO_PARENT, Verdict};

#[derive(Debug)]
struct Found {
    at: Duration,
    is_sound: bool,
    reached: bool,
    on_disk: bool,
    /// Was only in the memory of a process or node that ended.
    excused: bool,
}

#[derive(Default)]
pub struct Blocks {
    found: BTreeMap<BlockHash, Found>,
    /// Blocks in what is being read, which the session has not reported so far.
    unreported: Vec<BlockHash>,
}

impl Check for Blocks {
    fn name(&self) -> &'static str {
        "blocks"
    }

    fn observe(&mut self, now: Duration, view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::ToPool { .. } => {
                if let Some(judged) = view.judged().filter(|judged| judged.is_block)
                    && let Some(hash) = judged.hash
                {
                    let is_sound = judged.is_sound;
                    let new = Found { at: now, is_sound, reached: false, on_disk: false, excused: false };
                    self.found.entry(hash).or_insert(new);
                    self.unreported.push(hash);
                }
            }
            Observation::Candidate { hash } => self.unreported.retain(|waiting| waiting != hash),
            Observation::InputDone { .. } => {
                if let Some(hash) = self.unreported.pop() {
                    return Err(format!("block {hash} was submitted by a miner and not reported"));
                }
            }
            Observation::Handed { hash, verdict } => return self.handed(hash, verdict),
            Observation::Persisted { hash, raw: true } => {
                self.found.entry(*hash).and_modify(|found| found.on_disk = true);
            }
            // Without the transactions of its template, a block is lost with the node that made the template.
            Observation::Crashed | Observation::NodeStopped => {
                for found in self.found.values_mut().filter(|found| !found.reached && !found.on_disk) {
                    found.excused = true;
                }
            }
            Observation::Over => {
                if let Some((hash, found)) = self.found.iter().find(|(_, found)| !found.reached && !found.excused) {
                    return Err(format!("block {hash}, found at {:?}, reached no node", found.at));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Blocks {
    fn handed(&mut self, hash: &BlockHash, verdict: &Verdict) -> Outcome {
        let Some(found) = self.found.get_mut(hash) else {
            return Err(format!("block {hash} was handed in, but no miner found it"));
        };
        match verdict {
            // This node does not have the block before it; the one whose template it is does.
            Verdict::Rejected(NO_PARENT) => Ok(()),
            Verdict::Rejected(reason) if found.is_sound => Err(format!("a node refuses block {hash}: {reason}")),
            _ => {
                found.reached = true;
                Ok(())
            }
        }
    }
}
