//! Shares, their answers, and refusals for the ledger.

use std::time::Duration;

use bitcoin::hashes::Hash as _;
use roles_logic_sv2::{
    channel::{Kind, server::Channel},
    extranonce::Extranonce,
    ids::{JobId, SequenceNumber},
    share::{RejectReason, Share, Verdict},
};
use share_ledger::Difficulty;
use stratum_v1::{ErrorCode, Refusal, miner::Submit, session::server::Pending};

use super::{EXTRANONCE2, MAX_OWED, Member, Owed, PoolSink, Session};
use crate::{
    hold::Hold,
    hub::Candidate,
    ledger::Record,
    session::{Acknowledge, NOT_RECORDED, REJECTS_INTERVAL},
};

impl Session {
    pub(super) fn submit<S: PoolSink>(&mut self, now: Duration, request: Pending, submit: &Submit, sink: &mut S) {
        self.conduct.count_share(now);
        let (Some(channel), Some(member)) = (&mut self.channel, self.workers.get_mut(&submit.username)) else {
            // The protocol's session lets only authorized workers through, of which there are none before jobs.
            return self.server.refuse(request, &ErrorCode::Unauthorized.into());
        };
        let verdict = match share(channel, self.server.version_mask(), submit) {
            Ok(share) => channel.submit(now, &share),
            Err(reason) => Verdict::Rejected { reason, block: None },
        };
        // A block comes before everything else, whatever is wrong with the share.
        let block = verdict.block().map(|block| {
            let (hold, held) = Hold::new();
            sink.report(Candidate { candidate: block.clone(), finder: member.worker.clone(), hold });
            held
        });
        match verdict {
            Verdict::Accepted { work, difficulty, hash, .. } => {
                tracing::trace!(peer = self.label, difficulty, "share accepted");
                self.conduct.last_work = Some(now);
                let record = Record::Share { worker: member.worker.clone(), at: now, work, hash };
                // Either bound is the journal's, and met when it is far behind.
                if self.owed.len() >= MAX_OWED || sink.persist(record).is_err() {
                    member.card.iter().for_each(|card| card.not_recorded());
                    self.server.refuse(request, &Refusal::with_reason(ErrorCode::Other, NOT_RECORDED));
                } else {
                    let reached = Difficulty::of_hash(hash.as_byte_array());
                    member.card.iter().for_each(|card| card.accepted(now, work, reached));
                    match (self.config.acknowledge, block) {
                        (Acknowledge::Durable, block) => self.owed.push_back(Some(Owed { request, block })),
                        (Acknowledge::Received, block) => {
                            self.owed.push_back(None);
                            match block {
                                None => self.server.accept(request),
                                Some(block) => self.held.add(now, request, block),
                            }
                        }
                    }
                }
                if let Some(target) = self.vardiff.as_mut().and_then(|vardiff| vardiff.on_share(now, work)) {
                    self.retarget(now, target, sink);
                }
            }
            Verdict::Rejected { reason, .. } => {
                let Member { worker, rejects, card, .. } = member;
                tracing::debug!(peer = self.label, %worker, "share rejected: {reason}");
                rejects.count(reason);
                card.iter().for_each(|card| card.rejected(reason));
                self.rejects_at.get_or_insert(now + REJECTS_INTERVAL);
                self.server.refuse(request, &Refusal::from_sv2(reason.error_code()));
                if !self.conduct.tolerates(now, &mut self.invalid_shares, reason) {
                    self.close(now, sink, "too many invalid shares");
                }
            }
        }
    }

    /// A share under a name that was not authorized counts for nobody, but a block is a block.
    pub(super) fn save_block<S: PoolSink>(&mut self, now: Duration, submit: &Submit, sink: &mut S) {
        self.conduct.count_share(now);
        let (Some(channel), Some(finder)) = (&mut self.channel, &self.first_worker) else { return };
        let Ok(share) = share(channel, self.server.version_mask(), submit) else { return };
        if let Some(block) = channel.probe(now, &share) {
            sink.report(Candidate { candidate: block, finder: finder.clone(), hold: Hold::default() });
        }
        if !self.conduct.tolerates(now, &mut self.invalid_shares, RejectReason::InvalidChannelId) {
            self.close(now, sink, "too many invalid shares");
        }
    }

    /// Records what was refused since the last time.
    pub(super) fn record_rejects<S: PoolSink>(&mut self, now: Duration, sink: &mut S) {
        self.rejects_at = None;
        for Member { worker, rejects, .. } in self.workers.values_mut() {
            for (reason, count) in rejects.take() {
                let reason = reason.error_code();
                let record = Record::Rejects { worker: Some(worker.clone()), at: now, reason, count };
                // What is refused while the ledger is far behind is not counted: it is no money.
                if sink.persist(record).is_ok() {
                    self.owed.push_back(None);
                }
            }
        }
    }
}

/// The share in terms of the channel.
fn share(channel: &Channel, mask: u32, submit: &Submit) -> Result<Share, RejectReason> {
    let job_id = u32::from_str_radix(&submit.job_id, 16).map(JobId).map_err(|_| RejectReason::InvalidJobId)?;
    let version = channel.version_of(job_id).ok_or(RejectReason::InvalidJobId)?;
    let Kind::Extended { extranonce_size } = channel.kind() else { return Err(RejectReason::BadExtranonceSize) };
    if submit.extranonce2.len() != EXTRANONCE2 {
        return Err(RejectReason::BadExtranonceSize);
    }
    let zeros = [0; roles_logic_sv2::extranonce::MAX_EXTRANONCE_SIZE];
    let unrolled = zeros.get(..extranonce_size - EXTRANONCE2).unwrap_or_default();
    let rolled = Extranonce::try_from(&submit.extranonce2[..]).and_then(|rolled| rolled.join(unrolled));
    Ok(Share {
        job_id,
        sequence_number: SequenceNumber(0),
        nonce: submit.nonce,
        ntime: submit.ntime,
        // BIP 310; bits outside the mask are left for the verdict.
        version: submit.version_bits.map_or(version, |bits| version & !mask | bits),
        extranonce: Some(rolled.map_err(|_| RejectReason::BadExtranonceSize)?),
    })
}
