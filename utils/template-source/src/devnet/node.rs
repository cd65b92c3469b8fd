//! The devnet without threads and clock: chain, mempool and producer together.

use std::sync::Arc;

use bitcoin::{Block, BlockHash, Network, ScriptBuf, constants::genesis_block};

use super::{
    ConfigError, DevnetConfig, Verdict,
    assemble::{CandidateHeader, candidate, empty_template, full_template, solve},
    chain::{Chain, Params},
    mempool::{Mempool, Selection},
    producer::{Producer, genesis_funds},
    rules::{subsidy, target_from_compact},
};
use crate::{Constraints, Template, TemplateId};

/// Hashes per block up to which the start mines a bootstrap chain.
const MAX_BOOTSTRAP_WORK: u64 = 256;
/// Coins that exist from genesis on where the target is harder than that.
const FUNDED_COINS: u32 = 50;
/// Satoshis in each of them.
const FUNDED_VALUE: u64 = 50 * 100_000_000;
/// Tries for each transaction: some would make too long a chain.
const ATTEMPTS: u32 = 4;
/// Seconds between the blocks of the bootstrap.
const BOOTSTRAP_SPACING: u32 = 60;

/// Chain, mempool and producer. Time is passed in, in unix seconds; randomness comes from the seed.
#[derive(Debug)]
pub(super) struct Node {
    chain: Chain,
    mempool: Mempool,
    producer: Producer,
    /// Makes each mined coinbase different.
    extra: u64,
}

impl Node {
    /// Starts the chain, with coins that can be spent in the first block to come.
    pub fn new(config: &DevnetConfig, now: u32) -> Result<Self, ConfigError> {
        config.check()?;
        let target = target_from_compact(config.nbits).ok_or(ConfigError::Target(config.nbits))?;
        let easy = target.to_work() <= bitcoin::Work::from_be_bytes(be_bytes(MAX_BOOTSTRAP_WORK));
        let mut producer = Producer::new(config.seed);
        let funds = match easy {
            true => Vec::new(),
            false => {
                let time = genesis_block(Network::Regtest).header.time;
                genesis_funds(&mut producer, FUNDED_COINS, FUNDED_VALUE, time)
            }
        };
        let params = Params { bits: config.nbits, halving_interval: config.halving_interval };
        let mut node = Node { chain: Chain::new(params, funds), mempool: Mempool::default(), producer, extra: 0 };
        node.follow(&[]);
        if easy {
            for remaining in (1..=config.bootstrap_blocks).rev() {
                let time = now.saturating_sub(remaining.saturating_mul(BOOTSTRAP_SPACING));
                node.mine_at(node.chain.tip_hash(), &Selection::default(), time, now);
            }
        }
        Ok(node)
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn waiting(&self) -> usize {
        self.mempool.len()
    }

    /// Takes in a block from wherever.
    pub fn submit(&mut self, block: Arc<Block>, now: u32) -> Verdict {
        let (verdict, moved) = self.chain.submit(block, now);
        if !moved.is_empty() {
            self.follow(&moved.disconnected);
        }
        verdict
    }

    fn follow(&mut self, disconnected: &[Arc<Block>]) {
        let height = self.next_height();
        self.mempool.follow(disconnected, self.chain.coins(), height);
        self.producer.follow(self.chain.coins(), height);
    }

    /// Makes up to `count` transactions; fewer when the mempool is full, or there are no coins left that do not wait for
    /// too many others. Returns how many.
    pub fn produce(&mut self, count: u32) -> u32 {
        let height = self.next_height();
        let mut made = 0;
        for _ in 0..count.saturating_mul(ATTEMPTS) {
            if made == count || self.mempool.is_full() {
                break;
            }
            let Some(tx) = self.producer.produce(&self.mempool) else { break };
            made += u32::from(self.mempool.add(tx, self.chain.coins(), height));
        }
        made
    }

    pub fn next_height(&self) -> u32 {
        self.chain.tip_height().saturating_add(1)
    }

    /// Time for a header on top of the tip: now, but past the median (BIP 113).
    pub fn next_time(&self, now: u32) -> u32 {
        now.max(self.chain.next_context().median_time.saturating_add(1))
    }

    /// What the next block would hold within `constraints`.
    pub fn select(&self, constraints: &Constraints) -> Selection {
        self.mempool.select(constraints)
    }

    /// A template on top of the tip.
    pub fn full_template(&self, id: TemplateId, future: bool, selection: &Selection) -> Template {
        let height = self.next_height();
        full_template(id, future, height, self.subsidy(height), selection)
    }

    /// The transaction-free template for the height after next.
    pub fn empty_template(&self, id: TemplateId) -> Template {
        let height = self.next_height().saturating_add(1);
        empty_template(id, true, height, self.subsidy(height))
    }

    fn subsidy(&self, height: u32) -> u64 {
        subsidy(height, self.chain.params().halving_interval)
    }

    /// A block on top of `parent` that lacks only its proof of work. Pays to the producer unless told otherwise.
    pub fn candidate(
        &mut self,
        parent: BlockHash,
        selection: &Selection,
        payout: Option<ScriptBuf>,
        time: u32,
    ) -> Block {
        self.extra += 1;
        let context = self.chain.context_after(&parent);
        let subsidy = self.subsidy(context.height);
        let template = full_template(TemplateId(0), false, context.height, subsidy, selection);
        let header = CandidateHeader {
            prev_blockhash: parent,
            time: time.max(context.median_time.saturating_add(1)),
            bits: self.chain.params().bits,
        };
        let payout = payout.unwrap_or_else(|| self.producer.script());
        candidate(&template, selection, header, payout, self.extra)
    }

    /// Mines on `parent` and takes the block in. Nothing when no nonce was found.
    pub fn mine_at(&mut self, parent: BlockHash, selection: &Selection, time: u32, now: u32) -> Option<BlockHash> {
        let mut block = self.candidate(parent, selection, None, time);
        solve(&mut block.header).then(|| {
            let hash = block.block_hash();
            self.submit(Arc::new(block), now);
            hash
        })
    }
}

fn be_bytes(value: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&value.to_be_bytes());
    bytes
}
