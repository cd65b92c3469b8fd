//! sv2-spec §5.3.13, §5.3.14: each share is answered, by an error of its own or by a SubmitShares.Success whose batch it is in. No share
//! counts twice, none is lost, no undecided one is covered; and every one that counts is recomputed here and found valid.
//!
//! Where shares do not wait for the ledger, every share has its answer when what was read is done, but for a block and what comes behind
//! it. The others have it [`PATIENCE`] later. `new_shares_sum` is held against the work recomputed; at the tiny difficulties here it is
//! mostly zero, so that the counts carry the rule.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Duration,
};

use bitcoin::BlockHash;
use mining_sv2::{Mining, SubmitSharesSuccess};

use super::{
    Check, Facts, Observation, Outcome, View,
    view::{Expect, Judged},
};

/// Work of difficulty 1: 2^256 / (0xFFFF·2^208 + 1).
const DIFFICULTY_1: u128 = 4_295_032_833;

/// Time for an answer, longer than the simulated disk takes, and than a block waits for its transactions.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub struct Credit {
    facts: Facts,
    /// Shares without an answer, by connection and channel, in the order of submission; and since when.
    open: BTreeMap<(u64, u32), VecDeque<(Duration, Judged)>>,
    /// Work that a channel's last batch left over.
    remainders: BTreeMap<(u64, u32), u128>,
    credited: HashSet<BlockHash>,
}

impl Check for Credit {
    fn name(&self) -> &'static str {
        "credit"
    }

    fn observe(&mut self, now: Duration, view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::ToPool { conn, .. } => {
                if let Some(judged) = view.judged() {
                    self.open.entry((*conn, judged.channel)).or_default().push_back((now, judged.clone()));
                }
            }
            Observation::FromPool { conn, message: Some(Mining::SubmitSharesError(error)) } => {
                let code = error.error_code.to_string();
                return self.refused((*conn, error.channel_id), error.sequence_number, &code);
            }
            Observation::FromPool { conn, message: Some(Mining::SubmitSharesSuccess(ack)) } => {
                return self.acknowledged((*conn, ack.channel_id), ack);
            }
            Observation::InputDone { conn } => {
                let mut first = self.open.range((*conn, 0)..=(*conn, u32::MAX)).filter_map(|(_, open)| open.front());
                let may_wait = |share: &Judged| self.facts.durable || share.is_block;
                // A channel that is closed gets no answer for what was not decided before.
                let is_due = |at: Duration, share: &Judged| now > at + PATIENCE && view.is_open(*conn, share.channel);
                let late = first.find(|(at, share)| !may_wait(share) || is_due(*at, share));
                if let Some((at, share)) = late {
                    let Judged { sequence, channel, .. } = share;
                    return Err(format!("share {sequence} of channel {channel}, sent at {at:?}, got no answer"));
                }
            }
            Observation::Ended { conn, .. } => {
                self.open.retain(|(c, _), _| c != conn);
                self.remainders.retain(|(c, _), _| c != conn);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Credit {
    pub fn new(facts: Facts) -> Self {
        Self { facts, ..Self::default() }
    }

    fn refused(&mut self, key: (u64, u32), sequence: u32, code: &str) -> Outcome {
        let shares = self.open.entry(key).or_default();
        let of_number = |share: &Judged| share.sequence == sequence;
        // Of two with one number, the bad one is meant.
        let index = shares.iter().position(|(_, share)| of_number(share) && share.expect != Expect::Accept);
        match index {
            Some(index) => {
                shares.remove(index);
                Ok(())
            }
            None if shares.iter().any(|(_, share)| of_number(share)) => {
                Err(format!("share {sequence} of channel {} is good and was refused: {code}", key.1))
            }
            None => {
                Err(format!("an error for share {sequence} of channel {}, which waits for no answer: {code}", key.1))
            }
        }
    }

    fn acknowledged(&mut self, key: (u64, u32), ack: &SubmitSharesSuccess) -> Outcome {
        let (shares, last) = (self.open.entry(key).or_default(), ack.last_sequence_number);
        let Some(index) = shares.iter().rposition(|(_, share)| share.sequence == last) else {
            return Err(format!("share {last} of channel {} is acknowledged, but waits for no answer", key.1));
        };
        let (mut count, mut work) = (0, self.remainders.get(&key).copied().unwrap_or(0));
        for (_, share) in shares.drain(..=index) {
            let Some(hash) = share.hash.filter(|_| share.expect != Expect::Reject) else {
                return Err(format!("share {} of channel {} is acknowledged, but not valid", share.sequence, key.1));
            };
            if !self.credited.insert(hash) {
                return Err(format!("share {hash} is credited twice"));
            }
            count += 1;
            work += share.work;
        }
        self.remainders.insert(key, work % DIFFICULTY_1);
        let sum = u64::try_from(work / DIFFICULTY_1).unwrap_or(u64::MAX);
        if (ack.new_submits_accepted_count, ack.new_shares_sum) != (count, sum) {
            return Err(format!(
                "channel {}: {} shares of difficulty {} are acknowledged, where {count} of {sum} were done",
                key.1, ack.new_submits_accepted_count, ack.new_shares_sum
            ));
        }
        Ok(())
    }
}
