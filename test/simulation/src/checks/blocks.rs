//! DESIGN: "a hash that meets the network's target is a block candidate, whatever else is wrong with it". Each one reaches a node, or is
//! on disk and reaches one after the restart. A node finds nothing wrong with those of honest work.

use std::{collections::BTreeMap, time::Duration};

use bitcoin::BlockHash;

use super::{Check, Facts, Observation, Outcome, View};
use crate::chain::{NO_PARENT, Verdict};

#[derive(Debug)]
struct Found {
    at: Duration,
    /// Templates have been forgotten since the tip that it builds on was told.
    may_have_no_template: bool,
    is_sound: bool,
    reached: bool,
    on_disk: bool,
    /// Was only in the memory of a process, node or Template Provider that ended.
    excused: bool,
    /// When a process that knew of it ended in order.
    seen_through: Option<Duration>,
}

/// Time that a solution may be under way from a source to the node.
const ARRIVAL: Duration = Duration::from_secs(1);

pub struct Blocks {
    facts: Facts,
    /// When templates were last forgotten.
    forgotten: Duration,
    /// When a process last ended in order.
    stopped: Duration,
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
                    let tip_told = judged.prev_hash.and_then(|hash| view.tip_told(&hash)).unwrap_or_default();
                    let new = Found {
                        at: now,
                        may_have_no_template: self.forgotten >= tip_told,
                        is_sound,
                        reached: false,
                        on_disk: false,
                        excused: false,
                        seen_through: None,
                    };
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
            Observation::Persisted { hash, raw: true, .. } => {
                self.found.entry(*hash).and_modify(|found| found.on_disk = true);
            }
            // Before an orderly end everything was handed to the sources, and they saw it through before they let go.
            Observation::Stopped => {
                (self.forgotten, self.stopped) = (now, now);
                self.found.values_mut().for_each(|found| found.seen_through = found.seen_through.or(Some(now)));
            }
            Observation::ProviderGone { .. } if self.stopped == now => {}
            // Without the transactions of its template, a block is lost with the node that made the template.
            Observation::Crashed | Observation::NodeStopped | Observation::ProviderGone { .. } => {
                self.forgotten = now;
                let lost = |found: &&mut Found| {
                    let has_arrived = found.seen_through.is_some_and(|at| now > at + ARRIVAL);
                    !found.reached && !has_arrived && (!found.on_disk || !self.facts.raw_path)
                };
                self.found.values_mut().filter(lost).for_each(|found| found.excused = true);
            }
            Observation::Over => {
                let missing = |(_, found): &(&BlockHash, &Found)| !found.reached && !self.is_excused(found);
                if let Some((hash, found)) = self.found.iter().find(missing) {
                    return Err(format!("block {hash}, found at {:?}, reached no node", found.at));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Blocks {
    pub fn new(facts: Facts) -> Self {
        let (forgotten, stopped) = (Duration::ZERO, Duration::ZERO);
        Self { facts, forgotten, stopped, found: BTreeMap::new(), unreported: Vec::new() }
    }

    /// Templates are forgotten when a node stops, or with the connection to a Template Provider. What is found later on the same
    /// tip may be on one of them: then a solution leads nowhere, and without its transactions, or where no node takes whole
    /// blocks, there is no other way.
    fn is_excused(&self, found: &Found) -> bool {
        let whole = found.on_disk && self.facts.raw_path;
        found.excused || (found.may_have_no_template && !whole)
    }

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
