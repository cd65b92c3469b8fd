//! DESIGN: "a share that was acknowledged is never lost", nor a block. What an acknowledgement covers is in the ledger, on disk, where the
//! pool promises so; and a share that is a block is not acknowledged before the block is on disk with its bytes, or a node has decided.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Duration,
};

use bitcoin::BlockHash;
use mining_sv2::Mining;
use pool::store::BYTES_PATIENCE;

use super::{
    Check, Facts, Observation, Outcome, View,
    view::{Expect, Judged},
};

#[derive(Default)]
pub struct Durable {
    facts: Facts,
    recorded: HashSet<BlockHash>,
    /// Blocks that are safe from the end of the process.
    safe: HashSet<BlockHash>,
    /// Blocks without their bytes, as far as they are on disk, and since when.
    incomplete: BTreeMap<BlockHash, Duration>,
    /// Shares without an answer, by connection and channel, in the order of submission.
    open: BTreeMap<(u64, u32), VecDeque<Judged>>,
}

impl Check for Durable {
    fn name(&self) -> &'static str {
        "durable"
    }

    fn observe(&mut self, now: Duration, view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::ToPool { conn, .. } => {
                if let Some(judged) = view.judged() {
                    self.open.entry((*conn, judged.channel)).or_default().push_back(judged.clone());
                }
            }
            Observation::FromPool { conn, message: Some(Mining::SubmitSharesError(error)) } => {
                let open = self.open.entry((*conn, error.channel_id)).or_default();
                let is_meant = |share: &Judged| share.sequence == error.sequence_number;
                // Of two with one number, the bad one.
                let bad = open.iter().position(|share| is_meant(share) && share.expect != Expect::Accept);
                bad.or_else(|| open.iter().position(is_meant)).and_then(|index| open.remove(index));
            }
            Observation::FromPool { conn, message: Some(Mining::SubmitSharesSuccess(ack)) } => {
                let open = self.open.entry((*conn, ack.channel_id)).or_default();
                let last = open.iter().rposition(|share| share.sequence == ack.last_sequence_number);
                let covered: Vec<_> = last.map(|last| open.drain(..=last).collect()).unwrap_or_default();
                return covered.iter().try_for_each(|share| self.acknowledged(now, share));
            }
            Observation::Recorded { hash } => {
                self.recorded.insert(*hash);
            }
            Observation::Persisted { hash, raw: false, is_decided: false } => {
                self.incomplete.entry(*hash).or_insert(now);
            }
            Observation::Persisted { hash, .. } => {
                self.safe.insert(*hash);
            }
            Observation::Ended { conn, .. } => self.open.retain(|(c, _), _| c != conn),
            _ => {}
        }
        Ok(())
    }
}

impl Durable {
    pub fn new(facts: Facts) -> Self {
        Self { facts, ..Self::default() }
    }

    fn acknowledged(&self, now: Duration, share: &Judged) -> Outcome {
        let Some(hash) = share.hash else { return Ok(()) };
        if self.facts.durable && !self.recorded.contains(&hash) {
            return Err(format!("share {hash} is acknowledged, and not in the ledger"));
        }
        let waited = self.incomplete.get(&hash).is_some_and(|since| now >= *since + BYTES_PATIENCE);
        if share.is_block && !self.safe.contains(&hash) && !waited {
            return Err(format!("share {hash} is acknowledged, and the block that it is is not on disk"));
        }
        Ok(())
    }
}
