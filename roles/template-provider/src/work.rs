//! The work that one client was given: templates, the blocks they build on, and their transactions.
//!
//! sv2-spec §7: "Template Providers MUST attempt to broadcast blocks which are mined using work they provided, and thus
//! MUST track the work which they provided to clients."

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bitcoin::{
    BlockHash, CompactTarget, Target, Transaction, TxMerkleNode, VarInt,
    block::{Header, Version},
    consensus::encode::{self, serialize},
    hashes::{Hash, HashEngine, sha256d},
};
use template_distribution_sv2::SubmitSolution;
use template_source::{Solution, Template, TemplateId, Tip, Transactions};

/// Tips whose templates can still be solved or asked for.
pub const LIVE_TIPS: usize = 3;

/// Templates of one client that can still be solved or asked for; the oldest make room.
pub const LIVE_TEMPLATES: usize = 128;

/// Bytes of transactions that are kept for one client, so that a solution can go out as a whole block; the oldest
/// templates' make room.
pub const KEPT_TRANSACTION_BYTES: usize = 16 << 20;

/// What a template builds on.
#[derive(Clone, Copy, Debug)]
struct Base {
    prev_hash: BlockHash,
    bits: CompactTarget,
}

#[derive(Debug)]
struct Entry {
    template: Arc<Template>,
    /// Missing while the template waits for its tip.
    base: Option<Base>,
    /// Grows with each template that comes or is activated; the smallest goes first.
    age: u64,
    transactions: Option<Transactions>,
}

/// Why a solution makes no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSolution {
    /// The template was never sent or is too old.
    #[error("template {0} is not known; templates of the last {LIVE_TIPS} tips are")]
    UnknownTemplate(u64),
    /// The template has no previous hash yet.
    #[error("template {0} still waits for its SetNewPrevHash")]
    Future(u64),
    /// The coinbase transaction can not be read.
    #[error("the coinbase transaction can not be read: {0}")]
    Coinbase(String),
    /// Not enough work.
    #[error("block {hash} does not meet the target of its nBits {bits:#010x}")]
    Target {
        /// Its hash.
        hash: BlockHash,
        /// nBits of its header.
        bits: u32,
    },
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Work {
    templates: BTreeMap<TemplateId, Entry>,
    /// The tips told, the newest last, at most [`LIVE_TIPS`].
    tips: VecDeque<BlockHash>,
    base: Option<Base>,
    last_age: u64,
}

impl Work {
    /// Takes in a template that the client gets.
    pub fn add(&mut self, template: Arc<Template>) {
        let base = if template.future { None } else { self.base };
        self.last_age += 1;
        self.templates.insert(template.id, Entry { template, base, age: self.last_age, transactions: None });
        // A template that waits for its tip is the last to go.
        let order = |(_, entry): &(&TemplateId, &Entry)| (entry.base.is_none(), entry.age);
        if self.templates.len() > LIVE_TEMPLATES
            && let Some(oldest) = self.templates.iter().min_by_key(order).map(|(id, _)| *id)
        {
            self.templates.remove(&oldest);
        }
    }

    /// Builds the template that a tip names on it; false when there is no such future template.
    pub fn activate(&mut self, tip: &Tip) -> bool {
        let base = Base { prev_hash: tip.prev_hash, bits: CompactTarget::from_consensus(tip.nbits) };
        let Some(entry) = self.templates.get_mut(&tip.template_id).filter(|entry| entry.base.is_none()) else {
            return false;
        };
        entry.base = Some(base);
        self.last_age += 1;
        entry.age = self.last_age;
        self.base = Some(base);
        self.tips.push_back(tip.prev_hash);
        if self.tips.len() > LIVE_TIPS {
            self.tips.pop_front();
        }
        let tips = &self.tips;
        self.templates.retain(|id, entry| match entry.base {
            Some(base) => tips.contains(&base.prev_hash),
            // Older future templates are void (sv2-spec §7.3).
            None => *id > tip.template_id,
        });
        true
    }

    /// Whether the template is known.
    pub fn knows(&self, id: TemplateId) -> bool {
        self.templates.contains_key(&id)
    }

    /// Whether the template builds on a block that is no longer the tip.
    pub fn is_stale(&self, id: TemplateId) -> bool {
        let base = self.templates.get(&id).and_then(|entry| entry.base);
        base.is_some_and(|base| Some(&base.prev_hash) != self.tips.back())
    }

    /// The transactions of a template, as far as they are at hand.
    pub fn transactions(&self, id: TemplateId) -> Option<Transactions> {
        let entry = self.templates.get(&id)?;
        match entry.template.merkle_path.is_empty() {
            true => Some(Transactions::default()),
            false => entry.transactions.clone(),
        }
    }

    /// Keeps the transactions of a template, within [`KEPT_TRANSACTION_BYTES`].
    pub fn keep(&mut self, id: TemplateId, transactions: Transactions) {
        if let Some(entry) = self.templates.get_mut(&id) {
            entry.transactions = Some(transactions);
        }
        let mut newest_first: Vec<_> = self.templates.values_mut().filter(|e| e.transactions.is_some()).collect();
        newest_first.sort_by_key(|entry| std::cmp::Reverse(entry.age));
        let mut bytes = 0;
        for entry in newest_first {
            bytes += entry.transactions.iter().flat_map(|list| list.iter()).map(Vec::len).sum::<usize>();
            if bytes > KEPT_TRANSACTION_BYTES {
                entry.transactions = None;
            }
        }
    }

    /// Checks a solution and finds its block's hash and height.
    pub fn solution(&self, message: &SubmitSolution<'_>) -> Result<(Solution, u32), BadSolution> {
        let template_id = TemplateId(message.template_id);
        let entry = self.templates.get(&template_id).ok_or(BadSolution::UnknownTemplate(message.template_id))?;
        let mut solution = Solution {
            template_id,
            hash: BlockHash::all_zeros(),
            version: message.version,
            header_timestamp: message.header_timestamp,
            header_nonce: message.header_nonce,
            coinbase_tx: message.coinbase_tx.as_bytes().to_vec(),
        };
        let header = header(entry, &solution)?;
        solution.hash = header.block_hash();
        if !Target::from_compact(header.bits).is_met_by(solution.hash) {
            return Err(BadSolution::Target { hash: solution.hash, bits: header.bits.to_consensus() });
        }
        Ok((solution, entry.template.height))
    }

    /// The whole block of a solution; nothing while its transactions are not at hand.
    pub fn block(&self, solution: &Solution) -> Option<Vec<u8>> {
        let entry = self.templates.get(&solution.template_id)?;
        let transactions = self.transactions(solution.template_id)?;
        let mut block = serialize(&header(entry, solution).ok()?);
        block.extend(serialize(&VarInt::from(1 + transactions.len())));
        block.extend_from_slice(&solution.coinbase_tx);
        transactions.iter().for_each(|transaction| block.extend_from_slice(transaction));
        Some(block)
    }
}

fn header(entry: &Entry, solution: &Solution) -> Result<Header, BadSolution> {
    let base = entry.base.ok_or(BadSolution::Future(solution.template_id.0))?;
    let coinbase: Transaction =
        encode::deserialize(&solution.coinbase_tx).map_err(|error| BadSolution::Coinbase(error.to_string()))?;
    let leaf = coinbase.compute_txid().to_byte_array();
    Ok(Header {
        // Bits of the header, not a number.
        version: Version::from_consensus(i32::from_le_bytes(solution.version.to_le_bytes())),
        prev_blockhash: base.prev_hash,
        merkle_root: merkle_root(leaf, &entry.template.merkle_path),
        time: solution.header_timestamp,
        bits: base.bits,
        nonce: solution.header_nonce,
    })
}

fn merkle_root(leaf: [u8; 32], path: &[[u8; 32]]) -> TxMerkleNode {
    let root = path.iter().fold(leaf, |left, right| {
        let mut engine = sha256d::Hash::engine();
        engine.input(&left);
        engine.input(right);
        sha256d::Hash::from_engine(engine).to_byte_array()
    });
    TxMerkleNode::from_byte_array(root)
}
