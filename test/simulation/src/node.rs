//! A simulated Bitcoin node: its chain and its mempool. What it tells a user is a [`Subscription`](crate::subscription::Subscription).

use bitcoin::{CompactTarget, Transaction};
use template_source::Capabilities;

use crate::{
    chain::{Chain, transaction},
    rng::Rng,
};

/// Transactions that wait for a block, at most.
const MAX_MEMPOOL: usize = 24;

/// How a node differs from others.
#[derive(Clone, Copy, Debug)]
pub struct Character {
    /// Sends transaction-free future templates ahead (ADR 1).
    pub prepares: bool,
    /// Takes whole blocks, and says what it thinks of solutions.
    pub raw_blocks: bool,
    /// The pool reaches it through a Template Provider.
    pub remote: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Node {
    /// Its tree of blocks.
    pub chain: Chain,
    /// False while it is stopped.
    pub online: bool,
    /// What it is like.
    pub character: Character,
    mempool: Vec<Transaction>,
}

impl Node {
    /// A node that is up.
    pub fn new(bits: CompactTarget, time: u32, character: Character) -> Self {
        Self { chain: Chain::new(bits, time), online: true, character, mempool: Vec::new() }
    }

    /// What the pool can do with it beyond templates.
    pub const fn capabilities(&self) -> Capabilities {
        // The Template Distribution Protocol has no whole blocks.
        Capabilities { raw_blocks: self.character.raw_blocks && !self.character.remote }
    }

    /// Transactions that wait for a block.
    pub fn waiting(&self) -> Vec<Transaction> {
        self.mempool.clone()
    }

    /// Forgets what the block at its tip has.
    pub fn forget_mined(&mut self) {
        if let Some(block) = self.chain.block(&self.chain.tip()) {
            self.mempool.retain(|tx| !block.txdata.contains(tx));
        }
    }

    /// New transactions come in.
    pub fn add_fees(&mut self, rng: &mut Rng) {
        for _ in 0..rng.range(1, 4) {
            if self.mempool.len() < MAX_MEMPOOL {
                self.mempool.push(transaction(rng));
            }
        }
    }
}
