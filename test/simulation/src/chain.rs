//! A small chain with real proofs of work at one easy target, which judges blocks by its own rules.
//!
//! It shares no code with the pool: blocks are read and checked with the `bitcoin` crate.

use std::{collections::BTreeMap, sync::Arc};

use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Target, Transaction, TxIn, TxMerkleNode,
    TxOut, Txid, Witness,
    absolute::LockTime,
    block::{Header, Version},
    consensus::serialize,
    hashes::Hash,
    script::{Builder, PushBytesBuf},
    transaction,
};

use template_source::Confirmations;

use crate::{pow::search, rng::Rng};

/// Height of the first block of every world.
pub const GENESIS_HEIGHT: u32 = 1_000;
/// Blocks between halvings; low, so that some worlds see one.
const HALVING_INTERVAL: u32 = 1_020;
/// Blocks whose times a new block must be past the median of (BIP 113).
const MEDIAN_SPAN: usize = 11;
/// Seconds that a block's time may be ahead.
const MAX_FUTURE_TIME: u32 = 7_200;
/// Consensus limits of a coinbase's scriptSig.
const SCRIPT_SIG: std::ops::RangeInclusive<usize> = 2..=100;

/// What a chain says to a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the tip now.
    NewTip,
    /// Kept; another branch is as long or longer.
    SideBranch,
    /// Known already.
    Duplicate,
    /// Bad, and why.
    Rejected(&'static str),
}

/// Reason for a block whose parent is not known: the one that says nothing against the block itself.
pub const NO_PARENT: &str = "prev-blk-not-found";

#[derive(Clone, Debug)]
struct Known {
    block: Arc<Block>,
    height: u32,
}

/// One node's tree of blocks.
#[derive(Clone, Debug)]
pub struct Chain {
    bits: CompactTarget,
    blocks: BTreeMap<BlockHash, Known>,
    tip: BlockHash,
}

/// Satoshis that a block at this height may make.
pub fn subsidy(height: u32) -> u64 {
    5_000_000_000u64.checked_shr(height / HALVING_INTERVAL).unwrap_or(0)
}

/// Satoshis that a simulated transaction pays: its lock time, so that no coins need to be kept.
pub fn fee(tx: &Transaction) -> u64 {
    tx.lock_time.to_consensus_u32().into()
}

impl Chain {
    /// A chain that starts at `time`, unix seconds.
    pub fn new(bits: CompactTarget, time: u32) -> Self {
        let header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::all_zeros(),
            time,
            bits,
            nonce: 0,
        };
        let genesis = Block { header, txdata: Vec::new() };
        let tip = genesis.block_hash();
        let known = Known { block: Arc::new(genesis), height: GENESIS_HEIGHT };
        Self { bits, blocks: BTreeMap::from([(tip, known)]), tip }
    }

    /// Compact target of every block.
    pub const fn bits(&self) -> CompactTarget {
        self.bits
    }

    /// Hash of the newest block of the longest branch.
    pub const fn tip(&self) -> BlockHash {
        self.tip
    }

    /// Height of the tip.
    pub fn height(&self) -> u32 {
        self.height_of(&self.tip).unwrap_or(GENESIS_HEIGHT)
    }

    /// Height of a known block.
    pub fn height_of(&self, hash: &BlockHash) -> Option<u32> {
        self.blocks.get(hash).map(|known| known.height)
    }

    /// A known block.
    pub fn block(&self, hash: &BlockHash) -> Option<&Arc<Block>> {
        self.blocks.get(hash).map(|known| &known.block)
    }

    /// Where a block is.
    pub fn confirmations(&self, hash: &BlockHash) -> Confirmations {
        let Some(height) = self.height_of(hash) else { return Confirmations::Unknown };
        let depth = self.height().saturating_sub(height);
        match self.ancestor(depth as usize) == *hash {
            true => Confirmations::InChain(depth + 1),
            false => Confirmations::NotInChain,
        }
    }

    /// The block `depth` below the tip, or the first one.
    pub fn ancestor(&self, depth: usize) -> BlockHash {
        let mut hash = self.tip;
        for _ in 0..depth {
            match self.blocks.get(&hash).map(|known| known.block.header.prev_blockhash) {
                Some(parent) if self.blocks.contains_key(&parent) => hash = parent,
                _ => break,
            }
        }
        hash
    }

    /// Least time of a block on `parent`.
    pub fn min_time(&self, parent: &BlockHash) -> u32 {
        let mut times = Vec::with_capacity(MEDIAN_SPAN);
        let mut next = self.blocks.get(parent);
        while let (Some(known), true) = (next, times.len() < MEDIAN_SPAN) {
            times.push(known.block.header.time);
            next = self.blocks.get(&known.block.header.prev_blockhash);
        }
        times.sort_unstable();
        times.get(times.len() / 2).map_or(0, |median| median + 1)
    }

    /// Judges a block and takes it in. The longest branch wins, of two the one that was first.
    pub fn submit(&mut self, block: Block, now: u32) -> Verdict {
        let hash = block.block_hash();
        if self.blocks.contains_key(&hash) {
            return Verdict::Duplicate;
        }
        let Some(parent) = self.height_of(&block.header.prev_blockhash) else { return Verdict::Rejected(NO_PARENT) };
        let height = parent + 1;
        if let Some(reason) = self.objection(&block, height, now) {
            return Verdict::Rejected(reason);
        }
        self.blocks.insert(hash, Known { block: Arc::new(block), height });
        if height > self.height() {
            self.tip = hash;
            return Verdict::NewTip;
        }
        Verdict::SideBranch
    }

    fn objection(&self, block: &Block, height: u32, now: u32) -> Option<&'static str> {
        let Some((coinbase, others)) = block.txdata.split_first() else { return Some("bad-cb-missing") };
        let header = &block.header;
        if header.bits != self.bits {
            return Some("bad-diffbits");
        }
        if header.validate_pow(Target::from_compact(self.bits)).is_err() {
            return Some("high-hash");
        }
        if header.time < self.min_time(&header.prev_blockhash) {
            return Some("time-too-old");
        }
        if header.time > now.saturating_add(MAX_FUTURE_TIME) {
            return Some("time-too-new");
        }
        if !coinbase.is_coinbase() || others.iter().any(Transaction::is_coinbase) {
            return Some("bad-cb-missing");
        }
        if !block.check_merkle_root() {
            return Some("bad-txnmrklroot");
        }
        if !block.check_witness_commitment() {
            return Some("bad-witness-merkle-match");
        }
        if block.bip34_block_height() != Ok(height.into()) {
            return Some("bad-cb-height");
        }
        if coinbase.input.first().is_none_or(|input| !SCRIPT_SIG.contains(&input.script_sig.len())) {
            return Some("bad-cb-length");
        }
        let spent: u64 = coinbase.output.iter().map(|output| output.value.to_sat()).sum();
        if spent > subsidy(height) + others.iter().map(fee).sum::<u64>() {
            return Some("bad-cb-amount");
        }
        None
    }
}

/// A transaction of the simulation's users.
pub fn transaction(rng: &mut Rng) -> Transaction {
    let mut txid = [0; 32];
    txid.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.next().to_le_bytes()));
    let witness = if rng.chance(700) { Witness::from_slice(&[rng.next().to_le_bytes()]) } else { Witness::new() };
    let input = TxIn {
        previous_output: OutPoint { txid: Txid::from_byte_array(txid), vout: 0 },
        sequence: Sequence::MAX,
        script_sig: ScriptBuf::new(),
        witness,
    };
    let output =
        TxOut { value: Amount::from_sat(rng.below(100_000)), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::from_consensus(rng.range(100, 50_000) as u32),
        input: vec![input],
        output: vec![output],
    }
}

/// Another miner's block on `parent`, proof of work included.
pub fn mine(chain: &Chain, parent: BlockHash, mut txs: Vec<Transaction>, now: u32, rng: &mut Rng) -> Option<Block> {
    let height = chain.height_of(&parent)? + 1;
    let extra = PushBytesBuf::from(rng.next().to_le_bytes());
    let script_sig = Builder::new().push_int(height.into()).push_slice(extra).into_script();
    let value = subsidy(height) + txs.iter().map(fee).sum::<u64>();
    let mut coinbase = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { script_sig, sequence: Sequence::MAX, ..TxIn::default() }],
        output: vec![TxOut { value: Amount::from_sat(value), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) }],
    };
    coinbase.output.push(commitment(&txs));
    coinbase.input[0].witness = Witness::from_slice(&[[0u8; 32]]);
    txs.insert(0, coinbase);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: parent,
        merkle_root: TxMerkleNode::all_zeros(),
        time: now.max(chain.min_time(&parent)),
        bits: chain.bits(),
        nonce: 0,
    };
    let mut block = Block { header, txdata: txs };
    block.header.merkle_root = block.compute_merkle_root()?;
    let mut bytes = [0; 80];
    bytes.copy_from_slice(&serialize(&block.header));
    let target = Target::from_compact(chain.bits()).to_le_bytes();
    block.header.nonce = search(bytes, 0, u32::MAX, &target).next()?;
    Some(block)
}

/// The output that commits to the witnesses of all transactions but the coinbase (BIP 141).
pub fn commitment(txs: &[Transaction]) -> TxOut {
    let leaves = std::iter::once([0; 32]).chain(txs.iter().map(|tx| tx.compute_wtxid().to_byte_array()));
    let hashes = leaves.map(bitcoin::hashes::sha256d::Hash::from_byte_array);
    let root = bitcoin::merkle_tree::calculate_root(hashes).map(|hash| hash.to_byte_array()).unwrap_or_default();
    let digest = bitcoin::hashes::sha256d::Hash::hash(&[root, [0; 32]].concat());
    let script = [[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed].as_slice(), digest.as_byte_array()].concat();
    TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) }
}

/// Siblings from the coinbase up to the root, for the transactions after it.
pub fn merkle_path(txs: &[Transaction]) -> Vec<[u8; 32]> {
    let mut level: Vec<Option<[u8; 32]>> =
        std::iter::once(None).chain(txs.iter().map(|tx| Some(tx.compute_txid().to_byte_array()))).collect();
    let mut path = Vec::new();
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(level.last().copied().flatten());
        }
        path.extend(level.get(1).copied().flatten());
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [Some(left), Some(right)] => Some(hash_pair(*left, *right)),
                _ => None,
            })
            .collect();
    }
    path
}

fn hash_pair(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    bitcoin::hashes::sha256d::Hash::hash(&[left, right].concat()).to_byte_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_800_000_000;

    fn chain() -> Chain {
        Chain::new(CompactTarget::from_consensus(0x2000_ffff), NOW - 600)
    }

    #[test]
    fn longest_branch_wins_and_of_two_the_first() {
        let (mut chain, mut rng) = (chain(), Rng::new(1));
        let genesis = chain.tip();
        let txs = vec![transaction(&mut rng), transaction(&mut rng), transaction(&mut rng)];
        let first = mine(&chain, genesis, txs, NOW, &mut rng).unwrap();
        let rival = mine(&chain, genesis, vec![], NOW, &mut rng).unwrap();
        assert_eq!(chain.submit(first.clone(), NOW), Verdict::NewTip);
        assert_eq!(chain.submit(first, NOW), Verdict::Duplicate);
        let parent = rival.block_hash();
        assert_eq!(chain.submit(rival, NOW), Verdict::SideBranch);
        let second = mine(&chain, parent, vec![], NOW, &mut rng).unwrap();
        assert_eq!(chain.submit(second, NOW), Verdict::NewTip);
        assert_eq!(chain.height(), GENESIS_HEIGHT + 2);
    }

    #[test]
    fn bad_blocks_are_refused() {
        let (mut chain, mut rng) = (chain(), Rng::new(2));
        let good = mine(&chain, chain.tip(), vec![transaction(&mut rng)], NOW, &mut rng).unwrap();
        let refused = |chain: &mut Chain, change: &dyn Fn(&mut Block)| {
            let mut block = good.clone();
            change(&mut block);
            // Most changes need a new proof, so that another rule than the work's is what refuses.
            let target = Target::from_compact(block.header.bits);
            while !target.is_met_by(block.block_hash()) {
                block.header.nonce += 1;
            }
            chain.submit(block, NOW)
        };
        let fix = |block: &mut Block| block.header.merkle_root = block.compute_merkle_root().unwrap();
        assert_eq!(refused(&mut chain, &|b| b.txdata[1].output.clear()), Verdict::Rejected("bad-txnmrklroot"));
        let greedy = |b: &mut Block| {
            b.txdata[0].output[0].value += Amount::ONE_SAT;
            fix(b);
        };
        assert_eq!(refused(&mut chain, &greedy), Verdict::Rejected("bad-cb-amount"));
        let witness = |b: &mut Block| b.txdata[0].input[0].witness = Witness::new();
        assert_eq!(refused(&mut chain, &witness), Verdict::Rejected("bad-witness-merkle-match"));
        assert_eq!(refused(&mut chain, &|b| b.header.time = 5), Verdict::Rejected("time-too-old"));
        assert_eq!(chain.submit(good, NOW), Verdict::NewTip);
    }

    #[test]
    fn path_leads_to_the_root() {
        let mut rng = Rng::new(3);
        for count in 0..9 {
            let txs: Vec<_> = (0..count).map(|_| transaction(&mut rng)).collect();
            let chain = chain();
            let block = mine(&chain, chain.tip(), txs.clone(), NOW, &mut rng).unwrap();
            let leaf = block.txdata[0].compute_txid().to_byte_array();
            let root = merkle_path(&txs).into_iter().fold(leaf, hash_pair);
            assert_eq!(root, block.header.merkle_root.to_byte_array());
        }
    }
}
