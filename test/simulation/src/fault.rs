//! A pool that is broken on purpose, so that each checker can be seen to fail.

use mining_sv2::{
    Mining, NewExtendedMiningJob, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess, SetNewPrevHash,
    SetTarget, SubmitSharesError, SubmitSharesSuccess,
};

use template_distribution_sv2::TemplateDistribution;

use crate::wire::Frame;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A job is sent twice.
    JobTwice,
    /// A SetNewPrevHash names a job that nobody knows.
    PrevHashForNoJob,
    /// All channels have one prefix.
    OnePrefix,
    /// A request for a channel is not answered.
    NoAnswer,
    /// A request for a channel is answered twice.
    TwoAnswers,
    /// Something comes between a channel's answer and its job.
    JobNotFirst,
    /// Shares are acknowledged before they are in the ledger.
    AckUnwritten,
    /// A share that is a block is acknowledged before the block is on disk.
    AckBeforeBlock,
    /// An acknowledgement is sent twice.
    AckTwice,
    /// An acknowledgement is not sent.
    AckLost,
    /// An acknowledgement counts one share too many.
    AckTooMany,
    /// A refused share is acknowledged.
    AckBad,
    /// A good share is refused.
    RefuseGood,
    /// The session does not report blocks.
    BlockNotReported,
    /// Blocks are handed to no node.
    BlockNotSubmitted,
    /// A new process does not look for open blocks, and the one before submitted none.
    BlockNotRestored,
    /// A good miner is thrown out.
    EndHonest,
    /// A miner's queue grows without bound.
    Flood,
    /// Whom a block pays is changed.
    OtherPayee,
    /// A shard goes back to the snapshot that it began a broadcast with.
    OldSnapshot,
    /// A Template Provider's tip names a template that nobody knows.
    TipForNoTemplate,
    /// A Template Provider sends transactions twice.
    TransactionsTwice,
    /// The hub keeps all future templates.
    TemplatesKept,
    /// In an orderly stop the hub does not wait for what sessions have reported.
    StopForgets,
    /// In an orderly stop nobody waits for the sources.
    StopLeavesSources,
}

impl Fault {
    /// Every fault, and the checker that has to find it.
    pub const ALL: [(Self, &'static str); 25] = [
        (Self::JobTwice, "job-ids"),
        (Self::PrevHashForNoJob, "prev-hash"),
        (Self::OnePrefix, "search-space"),
        (Self::NoAnswer, "requests"),
        (Self::TwoAnswers, "requests"),
        (Self::JobNotFirst, "first-job"),
        (Self::AckUnwritten, "durable"),
        (Self::AckBeforeBlock, "durable"),
        (Self::AckTwice, "credit"),
        (Self::AckLost, "credit"),
        (Self::AckTooMany, "credit"),
        (Self::AckBad, "credit"),
        (Self::RefuseGood, "credit"),
        (Self::BlockNotReported, "blocks"),
        (Self::BlockNotSubmitted, "blocks"),
        (Self::BlockNotRestored, "blocks"),
        (Self::EndHonest, "honest"),
        (Self::Flood, "bounds"),
        (Self::OtherPayee, "payee"),
        (Self::OldSnapshot, "newest"),
        (Self::TipForNoTemplate, "template-distribution"),
        (Self::TransactionsTwice, "template-distribution"),
        (Self::TemplatesKept, "bounds"),
        (Self::StopForgets, "drain"),
        (Self::StopLeavesSources, "blocks"),
    ];

    /// What becomes of a frame that a Template Provider sends.
    pub fn spoil_provider(self, frame: Frame) -> Vec<Frame> {
        match (self, TemplateDistribution::decode(frame.header.message_type(), &frame.payload)) {
            (Self::TipForNoTemplate, Ok(TemplateDistribution::SetNewPrevHash(tip))) => {
                vec![Frame::of(&template_distribution_sv2::SetNewPrevHash {
                    template_id: tip.template_id ^ 1 << 40,
                    ..tip
                })]
            }
            (Self::TransactionsTwice, Ok(TemplateDistribution::RequestTransactionDataSuccess(_))) => {
                vec![frame.clone(), frame.clone()]
            }
            _ => vec![frame],
        }
    }

    /// What becomes of a frame that a session sends.
    pub fn spoil(self, frame: Frame) -> Vec<Frame> {
        let Ok(message) = Mining::decode(frame.header.message_type(), &frame.payload) else { return vec![frame] };
        let twice = |frame: &Frame| vec![frame.clone(), frame.clone()];
        match (self, message) {
            (Self::JobTwice, Mining::NewMiningJob(_) | Mining::NewExtendedMiningJob(_)) => twice(&frame),
            (Self::PrevHashForNoJob, Mining::SetNewPrevHash(tip)) => {
                vec![Frame::of(&SetNewPrevHash { job_id: tip.job_id ^ 0x8000_0000, ..tip })]
            }
            (Self::OnePrefix, Mining::OpenStandardMiningChannelSuccess(open)) => {
                let extranonce_prefix = binary_sv2::B0_32::from_truncated(&[7; 20]);
                vec![Frame::of(&OpenStandardMiningChannelSuccess { extranonce_prefix, ..open })]
            }
            (Self::OnePrefix, Mining::OpenExtendedMiningChannelSuccess(open)) => {
                let bytes = vec![7; open.extranonce_prefix.as_bytes().len()];
                let extranonce_prefix = binary_sv2::B0_32::from_truncated(&bytes);
                vec![Frame::of(&OpenExtendedMiningChannelSuccess { extranonce_prefix, ..open })]
            }
            (Self::NoAnswer, Mining::OpenMiningChannelError(_)) => vec![],
            (Self::TwoAnswers, Mining::OpenMiningChannelError(_)) => twice(&frame),
            (Self::JobNotFirst, Mining::OpenStandardMiningChannelSuccess(open)) => {
                let target = SetTarget { channel_id: open.channel_id, maximum_target: open.target };
                vec![frame.clone(), Frame::of(&target)]
            }
            (Self::AckTwice, Mining::SubmitSharesSuccess(_)) => twice(&frame),
            (Self::AckLost, Mining::SubmitSharesSuccess(_)) => vec![],
            (Self::AckTooMany, Mining::SubmitSharesSuccess(ack)) => {
                let new_submits_accepted_count = ack.new_submits_accepted_count + 1;
                vec![Frame::of(&SubmitSharesSuccess { new_submits_accepted_count, ..ack })]
            }
            (Self::AckBad, Mining::SubmitSharesError(error)) => vec![Frame::of(&SubmitSharesSuccess {
                channel_id: error.channel_id,
                last_sequence_number: error.sequence_number,
                new_submits_accepted_count: 1,
                new_shares_sum: 0,
            })],
            (Self::RefuseGood, Mining::SubmitSharesSuccess(ack)) => vec![Frame::of(&SubmitSharesError {
                channel_id: ack.channel_id,
                sequence_number: ack.last_sequence_number,
                error_code: binary_sv2::Str0_255::from_truncated("stale-share"),
            })],
            (Self::OtherPayee, Mining::NewExtendedMiningJob(job)) => {
                let mut suffix = job.coinbase_tx_suffix.as_bytes().to_vec();
                // nSequence, the number of outputs, a value and a length come before the first script.
                suffix[4 + 1 + 8 + 1] ^= 1;
                let coinbase_tx_suffix = binary_sv2::B0_64K::from_truncated(&suffix);
                vec![Frame::of(&NewExtendedMiningJob { coinbase_tx_suffix, ..job })]
            }
            (Self::Flood, Mining::SetNewPrevHash(_)) => vec![frame.clone(), big()],
            _ => vec![frame],
        }
    }
}

/// A frame of an extension that nobody knows, which everybody skips.
fn big() -> Frame {
    let payload = vec![0; 300 * 1024];
    let header = framing_sv2::Header::new(0x4000, false, 0, payload.len()).expect("short enough for a frame");
    Frame { header, payload }
}
