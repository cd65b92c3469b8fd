//! Shares: the verdict here, the upstream's verdict, and the answer.

use std::time::Duration;

use bitcoin::BlockHash;
use roles_logic_sv2::{share::RejectReason, vardiff::Vardiff};
use stratum_v1::{ErrorCode, Refusal, miner::Submit, session::server::Pending};

use super::{DEFAULT_SHARE_QUOTA, HubSink, MAX_WAITING, Session, jobs::Given};
use crate::{
    snapshot::{ForwardedShare, Report, UpstreamVerdict},
    stats::Ground,
};

/// A share that the upstream has not spoken on.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Whom to answer; `None` once that was done provisionally.
    request: Option<Pending>,
    work: u128,
    hash: BlockHash,
    since: Duration,
}

/// A share in terms of its job.
struct Judged {
    hash: BlockHash,
    version: u32,
    /// Work of an accepted share.
    work: u128,
    /// The upstream wants it.
    is_forwarded: bool,
    /// It is a block.
    is_block: bool,
    reason: Option<RejectReason>,
}

/// Why a share is refused that the upstream could not take.
const CONGESTED: &str = "upstream-congested";

impl Session {
    pub(super) fn submit<S: HubSink>(&mut self, now: Duration, request: Pending, submit: &Submit, sink: &mut S) {
        let serial = u32::from_str_radix(&submit.job_id, 16).ok();
        let Some(given) = self.given.iter().rev().find(|given| Some(given.job.serial) == serial) else {
            return self.reject(now, request, RejectReason::InvalidJobId, sink);
        };
        let Some(rolled) = self.slot.as_ref().and_then(|slot| given.job.room.rolled(slot.index(), &submit.extranonce2))
        else {
            return self.reject(now, request, RejectReason::BadExtranonceSize, sink);
        };
        let mut judged = judge(now, given, submit, self.config.ntime_tolerance);
        if judged.reason.is_none() || judged.is_block {
            let seen = self.seen.insert(&judged.hash, DEFAULT_SHARE_QUOTA).err();
            // A block that was seen before is under way.
            judged.is_block &= seen != Some(RejectReason::Duplicate);
            judged.reason = judged.reason.or(seen);
        }
        // A block goes upstream whatever is wrong with the share: the upstream has the last word.
        if judged.is_block || (judged.reason.is_none() && judged.is_forwarded) {
            let worker = self.workers.get(&submit.username).cloned().unwrap_or_else(|| "".into());
            let share = ForwardedShare {
                from: self.id,
                ticket: self.next_ticket,
                channel: given.job.channel,
                job_id: given.job.upstream_id,
                version: judged.version,
                ntime: submit.ntime,
                nonce: submit.nonce,
                rolled,
                worker,
            };
            return self.forward(now, request, &judged, share, sink);
        }
        match judged.reason {
            Some(reason) => self.reject(now, request, reason, sink),
            None => {
                self.count(now, Ground::Local, judged.work, judged.hash);
                self.server.accept(request);
                self.measure(now, judged.work);
            }
        }
    }

    fn forward<S: HubSink>(
        &mut self,
        now: Duration,
        request: Pending,
        judged: &Judged,
        share: ForwardedShare,
        sink: &mut S,
    ) {
        if self.waiting.len() >= MAX_WAITING {
            // What was answered is dispensable.
            let provisional = self.waiting.first_entry().filter(|first| first.get().request.is_none());
            if provisional.map(|first| first.remove()).is_none() {
                return self.refuse(request, CONGESTED);
            }
        }
        self.next_ticket = self.next_ticket.wrapping_add(1);
        let Judged { work, hash, .. } = *judged;
        self.waiting.insert(share.ticket, Waiting { request: Some(request), work, hash, since: now });
        sink.report(Report::Share(share));
        // What the device can do does not depend on the upstream.
        self.measure(now, work);
    }

    fn measure(&mut self, now: Duration, work: u128) {
        self.last_work = Some(now);
        if let Some(target) = self.vardiff.as_mut().and_then(|vardiff: &mut Vardiff| vardiff.on_share(now, work)) {
            self.retarget(now, target);
        }
    }

    /// The upstream has spoken, or will never.
    pub(super) fn verdict<S: HubSink>(&mut self, now: Duration, ticket: u32, verdict: UpstreamVerdict, _: &mut S) {
        let Some(Waiting { request, work, hash, .. }) = self.waiting.remove(&ticket) else { return };
        match (request, verdict) {
            (Some(request), UpstreamVerdict::Accepted) => {
                self.count(now, Ground::Confirmed, work, hash);
                self.server.accept(request);
            }
            (Some(request), UpstreamVerdict::Rejected(code)) => {
                tracing::debug!(peer = self.label, "share refused upstream: {}", code.escape_debug());
                self.refuse(request, &code);
            }
            (Some(request), UpstreamVerdict::Lost(code)) => self.refuse(request, code),
            (None, verdict) => {
                if let Some(presence) = &self.presence {
                    presence.change(|stats| match verdict {
                        UpstreamVerdict::Accepted => stats.confirm_late(work),
                        UpstreamVerdict::Rejected(_) => stats.refuse_late(work),
                        UpstreamVerdict::Lost(_) => {}
                    });
                }
            }
        }
    }

    fn first_unanswered(&self) -> Option<(u32, &Waiting)> {
        let mut unanswered =
            self.waiting.range(self.next_unanswered..).filter(|(_, waiting)| waiting.request.is_some());
        unanswered.next().map(|(ticket, waiting)| (*ticket, waiting))
    }

    /// When the oldest share that waits is answered without a verdict.
    pub(super) fn next_provisional(&self) -> Option<Duration> {
        self.first_unanswered().map(|(_, waiting)| waiting.since + self.config.verdict_patience)
    }

    /// Answers shares on which the upstream is silent for too long: devices take a server that says nothing for dead.
    pub(super) fn answer_provisionally(&mut self, now: Duration) {
        while let Some((ticket, waiting)) = self.first_unanswered() {
            if waiting.since + self.config.verdict_patience > now {
                return;
            }
            self.next_unanswered = ticket;
            let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
            let (work, hash) = (waiting.work, waiting.hash);
            if let Some(request) = waiting.request.take() {
                self.count(now, Ground::Provisional, work, hash);
                self.server.accept(request);
            }
        }
    }

    fn count(&self, now: Duration, ground: Ground, work: u128, hash: BlockHash) {
        if let Some(presence) = &self.presence {
            presence.change(|stats| stats.accept(now, ground, work, hash));
        }
    }

    fn reject<S: HubSink>(&mut self, now: Duration, request: Pending, reason: RejectReason, sink: &mut S) {
        tracing::debug!(peer = self.label, "share refused: {reason}");
        self.refuse(request, reason.error_code());
        // Shares that came too late are nobody's fault.
        let is_fault = reason != RejectReason::Stale;
        if is_fault && !self.invalid_shares.try_spend(now, self.config.invalid_shares, 1.0) {
            self.close(sink, "too many invalid shares");
        }
    }

    /// Answers with an error, by its code of Stratum V2.
    fn refuse(&mut self, request: Pending, code: &str) {
        if let Some(presence) = &self.presence {
            presence.change(|stats| stats.reject(code));
        }
        let refusal = match code {
            CONGESTED => Refusal::with_reason(ErrorCode::Other, "The upstream does not answer"),
            code => Refusal::from_sv2(code),
        };
        self.server.refuse(request, &refusal);
    }
}

/// Everything that can be said of a share without those before it. The order of the checks is that of [`RejectReason`].
fn judge(now: Duration, given: &Given, submit: &Submit, ntime_tolerance: u32) -> Judged {
    let job = &given.job;
    let bits = submit.version_bits.unwrap_or(job.version & given.version_mask);
    let version = job.version & !given.version_mask | bits;
    let extranonce = [&given.extranonce1[..], &submit.extranonce2].concat();
    let hash = job.hash(&extranonce, version, submit.ntime, submit.nonce);
    let latest = job.tip.max_ntime(now, ntime_tolerance).max(job.min_ntime);
    // Some devices send the whole nVersion.
    let stray = bits & !given.version_mask & !job.version;
    let reason = if stray != 0 {
        Some(if given.version_mask == 0 {
            RejectReason::VersionRollingNotAllowed
        } else {
            RejectReason::InvalidVersionBit
        })
    } else if given.retired {
        Some(RejectReason::Stale)
    } else if !(job.min_ntime..=latest).contains(&submit.ntime) {
        Some(RejectReason::NtimeOutOfRange)
    } else if !given.target.accept().is_met_by(&hash) {
        Some(RejectReason::DifficultyTooLow)
    } else {
        None
    };
    Judged {
        hash,
        version,
        work: given.target.work_of(&hash),
        is_forwarded: given.upstream.is_met_by(&hash),
        is_block: job.network_target().is_met_by(&hash),
        reason,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bitcoin::hashes::Hash as _;

    use super::*;

    /// A share that is answered already.
    pub fn waiting(since: Duration) -> Waiting {
        Waiting { request: None, work: 0, hash: BlockHash::all_zeros(), since }
    }
}
