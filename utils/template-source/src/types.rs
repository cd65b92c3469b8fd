//! What passes between a source and its user.

use std::{sync::Arc, time::Duration};

use bitcoin::{BlockHash, Network, consensus::encode};
use tokio::sync::mpsc;

/// Events that a subscription holds before its source waits for the reader.
///
/// A reader that stalls delays only its own subscription; sources keep only the newest tip and template meanwhile.
pub const EVENT_QUEUE: usize = 64;

/// Commands that a subscription holds before the sender has to wait.
pub const COMMAND_QUEUE: usize = 64;

/// Where block templates come from.
pub trait TemplateSource: Send + Sync + 'static {
    /// Short name for logs, for example `bitcoin-ipc`.
    fn name(&self) -> &str;

    /// The most that one subscription can do, known before it is up.
    fn capabilities(&self) -> Capabilities;

    /// Opens an independent stream of templates that leave room for `constraints`.
    ///
    /// Must be called within a tokio runtime. Returns at once; a source that can not be reached reports
    /// [`Event::Down`] with the reason and keeps trying.
    fn subscribe(&self, constraints: Constraints) -> Subscription;
}

/// What a source can do beyond templates and solutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Takes [`Command::SubmitBlock`].
    pub raw_blocks: bool,
}

/// One stream of templates, and the way back. Dropping it ends the stream.
///
/// What was submitted before is still seen through, within some seconds, as long as the runtime lives: drop `events` and wait for
/// `commands` to be [closed](mpsc::Sender::closed).
#[derive(Debug)]
pub struct Subscription {
    /// What the source reports, in order.
    pub events: mpsc::Receiver<Event>,
    /// What the source is asked.
    pub commands: mpsc::Sender<Command>,
}

/// Room that the user of the templates needs in the coinbase transaction (sv2-spec §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Constraints {
    /// Serialised bytes that the user adds as coinbase outputs.
    pub max_additional_size: u32,
    /// Sigops of these outputs. Announce their cost (4 for a legacy sigop); a source reserves as if it were their count, which
    /// is safe under both readings of §7.1 (`docs/spec/sigops.md`).
    pub max_additional_sigops: u16,
}

impl Constraints {
    /// Weight to reserve for header, transaction count and coinbase: `1168 + 4 * size`, never under Bitcoin Core's floor
    /// of 2,000 (sv2-spec §7.1). Saturates.
    pub fn reserved_weight(&self) -> u64 {
        (1168 + 4 * u64::from(self.max_additional_size)).max(2000)
    }
}

/// Identifies a template within one subscription; strictly increasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u64);

/// A block template (sv2-spec §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Identifies the template within its subscription.
    pub id: TemplateId,
    /// True when the template waits for a [`Tip`] that names it.
    pub future: bool,
    /// Height of the block that this template makes.
    pub height: u32,
    /// Block header version.
    pub version: u32,
    /// Coinbase transaction without the parts that its miner adds.
    pub coinbase: CoinbaseTemplate,
    /// Hashes from the coinbase's sibling up, in the byte order of a block header.
    pub merkle_path: Vec<[u8; 32]>,
}

/// The parts of a coinbase transaction that a template fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinbaseTemplate {
    /// nVersion of the transaction.
    pub version: u32,
    /// First bytes of the scriptSig, the height of BIP 34 among them; at most 8 bytes by sv2-spec §7.2.
    pub script_sig_prefix: Vec<u8>,
    /// nSequence of the only input.
    pub sequence: u32,
    /// Satoshis that the miner's outputs may spend: subsidy and fees.
    pub value_remaining: u64,
    /// Number of outputs in `outputs`.
    pub outputs_count: u32,
    /// Outputs that come last, consensus-serialised one after the other; the witness commitment is among them.
    pub outputs: Vec<u8>,
    /// nLockTime of the transaction.
    pub lock_time: u32,
}

impl CoinbaseTemplate {
    /// Whether the outputs carry a witness commitment (BIP 141), so that the coinbase needs a witness of 32 zero bytes.
    pub fn has_witness_commitment(&self) -> bool {
        let mut rest = self.outputs.as_slice();
        for _ in 0..self.outputs_count {
            let Ok((output, used)) = encode::deserialize_partial::<bitcoin::TxOut>(rest) else {
                return false;
            };
            let script = output.script_pubkey.as_bytes();
            if script.len() >= 38 && script[..6] == [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed] {
                return true;
            }
            rest = &rest[used..];
        }
        false
    }
}

/// A new block to build on, and the future template that is to be mined on it (sv2-spec §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// A template that was sent before with `future` set.
    pub template_id: TemplateId,
    /// Hash of the block to build on.
    pub prev_hash: BlockHash,
    /// Time to start mining with, unix seconds.
    pub header_timestamp: u32,
    /// Compact target of the block header.
    pub nbits: u32,
    /// Hashes at or below this are blocks; little-endian.
    pub target: [u8; 32],
}

/// Full transactions of a template without the coinbase, consensus-serialised with witnesses, in block order.
pub type Transactions = Arc<Vec<Vec<u8>>>;

/// What a subscription reports.
#[derive(Clone, Debug)]
pub enum Event {
    /// The source answers. A future template and its tip follow.
    Up {
        /// The chain, where the source tells.
        network: Option<Network>,
        /// Who answers, for logs: product and version, address, chain.
        description: String,
    },
    /// The source does not answer, or not yet; it is being retried.
    Down {
        /// What was expected, what came, and what to do.
        reason: String,
        /// When the next attempt starts.
        retry_in: Duration,
    },
    /// A new template.
    Template(Arc<Template>),
    /// A new block to build on.
    Tip(Tip),
    /// Answer to [`Command::RequestTransactions`].
    Transactions {
        /// The template that was asked for.
        id: TemplateId,
        /// The transactions, or why there are none.
        result: Result<Transactions, String>,
    },
    /// What came of a submission.
    Submitted {
        /// Hash of the block.
        hash: BlockHash,
        /// Which way it went.
        path: SubmitPath,
        /// The node's verdict.
        outcome: SubmitOutcome,
    },
    /// Answer to [`Command::RequestConfirmations`].
    Confirmations {
        /// Hash of the block.
        hash: BlockHash,
        /// Where it is, or why that can not be told.
        result: Result<Confirmations, String>,
    },
}

impl Event {
    /// Whether it answers a command, so that nothing newer takes its place.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Transactions { .. } | Self::Submitted { .. } | Self::Confirmations { .. })
    }
}

/// Where a block is, as a node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmations {
    /// In the node's best chain, this many blocks deep; its tip is 1 deep.
    InChain(u32),
    /// The node has the block, or its header, and its best chain goes without it.
    NotInChain,
    /// The node never heard of it, or has lost it.
    Unknown,
}

/// How a block was handed to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitPath {
    /// As the solution of a template.
    Solution,
    /// As a whole block.
    RawBlock,
}

/// What came of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// The node took the block, or had it already.
    Accepted,
    /// Handed over, and the protocol has no answer (sv2-spec §7.7); the next tip tells.
    Sent,
    /// The node refused the block; the reason is its own.
    Rejected(String),
    /// Not delivered: no connection, or the template is no longer known. Worth another try.
    Failed(String),
}

/// What a subscription is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Changes the room to leave; new templates follow.
    SetConstraints(Constraints),
    /// Asks for the transactions of a template.
    RequestTransactions(TemplateId),
    /// Hands in a solved template (sv2-spec §7.7).
    SubmitSolution(Solution),
    /// Hands in a whole block, consensus-serialised with witnesses.
    SubmitBlock {
        /// Hash of the block, echoed in [`Event::Submitted`].
        hash: BlockHash,
        /// The block.
        block: Arc<Vec<u8>>,
    },
    /// Asks where a block is in the node's chain. A remote Template Provider can not tell.
    RequestConfirmations(BlockHash),
}

/// A solved template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// The template.
    pub template_id: TemplateId,
    /// Hash of the block, echoed in [`Event::Submitted`].
    pub hash: BlockHash,
    /// Block header version, rolled bits included.
    pub version: u32,
    /// Block header time, unix seconds.
    pub header_timestamp: u32,
    /// Block header nonce.
    pub header_nonce: u32,
    /// The whole coinbase transaction, with its witness where the block has a commitment.
    pub coinbase_tx: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sv2-spec §7.1: 320 for the header, 12 for the count of transactions, then the coinbase: 236 of fixed size, 400 for its script, 12
    /// for the count of its outputs, 188 for the witness commitment, 4 for each byte of the user's outputs. Bitcoin Core's floor is 2,000.
    #[test]
    fn the_reserve_is_the_specification_s_sum() {
        let reserved =
            |max_additional_size| Constraints { max_additional_size, max_additional_sigops: 0 }.reserved_weight();
        for bytes in [209, 1_000, 250_000, u32::MAX] {
            assert_eq!(reserved(bytes), 320 + 12 + 236 + 400 + 12 + 188 + 4 * u64::from(bytes));
        }
        assert_eq!((reserved(0), reserved(208), reserved(209)), (2_000, 2_000, 2_004));
    }
}
