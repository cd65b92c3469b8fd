//! Transactions that wait for a block, and the choice of those that go into the next one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bitcoin::{Block, OutPoint, Transaction, TxOut, Txid, consensus::encode};

use super::{
    rules::{COINBASE_MATURITY, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, WITNESS_SCALE_FACTOR},
    utxo::Coins,
};
use crate::Constraints;

/// Transactions that wait at most; the producer pauses at this number until a block takes some.
pub const MAX_MEMPOOL_TRANSACTIONS: usize = 1_000;

/// Longest chain of transactions that wait for each other, as in Bitcoin Core's default policy.
pub(super) const MAX_CHAIN: usize = 25;

/// Sigops cost kept free for the coinbase at least, as in Bitcoin Core's default.
const MIN_RESERVED_SIGOPS_COST: u64 = 400;

/// A transaction that waits.
#[derive(Debug)]
pub(super) struct Entry {
    pub tx: Transaction,
    pub txid: Txid,
    pub raw: Vec<u8>,
    pub fee: u64,
    pub weight: u64,
    pub sigops_cost: u64,
    /// Transactions of the mempool that must come before, the nearest last.
    ancestors: Vec<Txid>,
}

/// The waiting transactions in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Mempool {
    order: Vec<Arc<Entry>>,
    by_id: BTreeMap<Txid, Arc<Entry>>,
    spent: BTreeSet<OutPoint>,
}

/// What the next block holds besides its coinbase.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub entries: Vec<Arc<Entry>>,
    pub fees: u64,
}

impl Mempool {
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_full(&self) -> bool {
        self.order.len() >= MAX_MEMPOOL_TRANSACTIONS
    }

    pub fn is_spent(&self, outpoint: &OutPoint) -> bool {
        self.spent.contains(outpoint)
    }

    /// Outputs of waiting transactions that can be spent without making a chain too long.
    pub fn spendable(&self) -> impl Iterator<Item = (OutPoint, &TxOut)> {
        self.order.iter().filter(|entry| entry.ancestors.len() + 1 < MAX_CHAIN).flat_map(|entry| {
            let outputs = (0u32..).zip(&entry.tx.output);
            outputs
                .map(|(vout, output)| (OutPoint { txid: entry.txid, vout }, output))
                .filter(|(outpoint, _)| !self.is_spent(outpoint))
        })
    }

    /// Takes a transaction without time locks whose scripts are known to be good, for a block at `height`. False when the
    /// mempool is full, or an input is missing, immature, spent, worth too little, or too deep in a chain.
    pub fn add(&mut self, tx: Transaction, coins: &Coins, height: u32) -> bool {
        if self.is_full() {
            return false;
        }
        let Some(entry) = self.assess(tx, coins, height) else { return false };
        self.spent.extend(entry.tx.input.iter().map(|input| input.previous_output));
        let entry = Arc::new(entry);
        self.by_id.insert(entry.txid, entry.clone());
        self.order.push(entry);
        true
    }

    fn assess(&self, tx: Transaction, coins: &Coins, height: u32) -> Option<Entry> {
        let mut value_in = 0u64;
        let mut ancestors = Vec::new();
        for input in &tx.input {
            let immature = coins
                .get(&input.previous_output)
                .is_some_and(|coin| coin.coinbase && height.saturating_sub(coin.height) < COINBASE_MATURITY);
            if immature || self.is_spent(&input.previous_output) {
                return None;
            }
            value_in = value_in.checked_add(self.output(&input.previous_output, coins)?.value.to_sat())?;
            if let Some(parent) = self.by_id.get(&input.previous_output.txid) {
                let more = parent.ancestors.iter().chain([&parent.txid]).filter(|txid| !ancestors.contains(*txid));
                ancestors.extend(more.copied().collect::<Vec<_>>());
            }
        }
        if ancestors.len() >= MAX_CHAIN {
            return None;
        }
        let value_out = tx.output.iter().try_fold(0u64, |total, output| total.checked_add(output.value.to_sat()))?;
        Some(Entry {
            txid: tx.compute_txid(),
            raw: encode::serialize(&tx),
            fee: value_in.checked_sub(value_out)?,
            weight: tx.weight().to_wu(),
            sigops_cost: tx.total_sigop_cost(|outpoint| self.output(outpoint, coins).cloned()) as u64,
            ancestors,
            tx,
        })
    }

    fn output<'a>(&'a self, outpoint: &OutPoint, coins: &'a Coins) -> Option<&'a TxOut> {
        match self.by_id.get(&outpoint.txid) {
            Some(entry) => entry.tx.output.get(outpoint.vout as usize),
            None => coins.get(outpoint).map(|coin| &coin.output),
        }
    }

    /// Follows the active chain: what is in a block leaves, what was in a block that is gone comes back, and what can no
    /// longer be mined is dropped. `height` is the next block's.
    pub fn follow(&mut self, disconnected: &[Arc<Block>], coins: &Coins, height: u32) {
        let back = disconnected.iter().rev().flat_map(|block| block.txdata.iter().skip(1));
        let back = back.filter(|tx| !has_locks(tx)).cloned();
        let waiting = std::mem::take(self).order;
        let candidates: Vec<_> = back.chain(waiting.into_iter().map(|entry| entry.tx.clone())).collect();
        for tx in candidates {
            // A mined transaction's inputs are gone, so it does not enter again.
            self.add(tx, coins, height);
        }
    }

    /// Picks transactions by fee rate within the room that `constraints` leave, parents before children.
    pub fn select(&self, constraints: &Constraints) -> Selection {
        let mut weight_left = MAX_BLOCK_WEIGHT.saturating_sub(constraints.reserved_weight());
        let reserved_sigops = WITNESS_SCALE_FACTOR * u64::from(constraints.max_additional_sigops);
        let mut sigops_left = MAX_BLOCK_SIGOPS_COST.saturating_sub(reserved_sigops.max(MIN_RESERVED_SIGOPS_COST));
        let mut chosen = BTreeSet::new();
        let mut selection = Selection::default();
        for entry in self.by_fee_rate() {
            let package: Vec<_> = self.package(entry).filter(|entry| !chosen.contains(&entry.txid)).collect();
            let weight = package.iter().map(|entry| entry.weight).sum::<u64>();
            let sigops = package.iter().map(|entry| entry.sigops_cost).sum::<u64>();
            if let (Some(weight), Some(sigops)) = (weight_left.checked_sub(weight), sigops_left.checked_sub(sigops)) {
                (weight_left, sigops_left) = (weight, sigops);
                chosen.extend(package.iter().map(|entry| entry.txid));
                selection.fees += package.iter().map(|entry| entry.fee).sum::<u64>();
                selection.entries.extend(package.into_iter().cloned());
            }
        }
        selection
    }

    /// The transaction after its ancestors.
    fn package<'a>(&'a self, entry: &'a Arc<Entry>) -> impl Iterator<Item = &'a Arc<Entry>> {
        entry.ancestors.iter().filter_map(|txid| self.by_id.get(txid)).chain([entry])
    }

    /// The highest fee rate first, each transaction counted with its ancestors.
    fn by_fee_rate(&self) -> Vec<&Arc<Entry>> {
        let rate = |entry: &&Arc<Entry>| {
            let (fee, weight) =
                self.package(entry).fold((0u64, 1u64), |(fee, weight), e| (fee + e.fee, weight + e.weight));
            fee.saturating_mul(1_000) / weight
        };
        let mut entries: Vec<_> = self.order.iter().collect();
        entries.sort_by_cached_key(|entry| std::cmp::Reverse(rate(entry)));
        entries
    }
}

/// Whether a lock time or a relative lock may keep the transaction out of a block.
fn has_locks(tx: &Transaction) -> bool {
    tx.is_lock_time_enabled() && tx.lock_time.to_consensus_u32() != 0
        || tx.input.iter().any(|input| input.sequence.is_relative_lock_time())
}
