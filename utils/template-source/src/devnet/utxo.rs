//! Coins: what can be spent, one block's change to it, and how to take that change back.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, Transaction, TxOut};

use super::rules::MAX_SCRIPT_SIZE;

/// An output that can be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coin {
    pub output: TxOut,
    /// Height of the block that made it.
    pub height: u32,
    pub coinbase: bool,
    /// Median time before the block that made it, which relative time locks count from (BIP 68).
    pub prior_median_time: u32,
}

/// All coins of the active chain. Ordered, so that a devnet's run repeats from its seed.
#[derive(Debug, Default)]
pub(super) struct Coins {
    map: BTreeMap<OutPoint, Coin>,
}

/// What takes a block's change back.
#[derive(Debug)]
pub(super) struct Undo {
    created: Vec<OutPoint>,
    spent: BTreeMap<OutPoint, Coin>,
}

/// What a block does to the coins.
#[derive(Debug, Default)]
pub(super) struct Change {
    created: BTreeMap<OutPoint, Coin>,
    spent: BTreeMap<OutPoint, Coin>,
}

impl Coins {
    pub fn get(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.map.get(outpoint)
    }

    pub fn insert(&mut self, outpoint: OutPoint, coin: Coin) {
        self.map.insert(outpoint, coin);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&OutPoint, &Coin)> {
        self.map.iter()
    }

    pub fn apply(&mut self, change: Change) -> Undo {
        for outpoint in change.spent.keys() {
            self.map.remove(outpoint);
        }
        let created = change.created.keys().copied().collect();
        self.map.extend(change.created);
        Undo { created, spent: change.spent }
    }

    pub fn undo(&mut self, undo: Undo) {
        for outpoint in undo.created {
            self.map.remove(&outpoint);
        }
        self.map.extend(undo.spent);
    }
}

/// The coins while a block's transactions are gone through, in order.
pub(super) struct View<'a> {
    base: &'a Coins,
    change: Change,
}

impl<'a> View<'a> {
    pub fn new(base: &'a Coins) -> Self {
        View { base, change: Change::default() }
    }

    pub fn get(&self, outpoint: &OutPoint) -> Option<&Coin> {
        match self.change.created.get(outpoint) {
            Some(coin) => Some(coin),
            None if self.change.spent.contains_key(outpoint) => None,
            None => self.base.get(outpoint),
        }
    }

    /// Spends the inputs of `tx` and adds its outputs, except those that nobody can ever spend.
    pub fn apply(&mut self, tx: &Transaction, height: u32, prior_median_time: u32) {
        let coinbase = tx.is_coinbase();
        if !coinbase {
            tx.input.iter().for_each(|input| self.spend(&input.previous_output));
        }
        let txid = tx.compute_txid();
        for (vout, output) in (0u32..).zip(&tx.output) {
            let script = &output.script_pubkey;
            if !script.is_op_return() && script.len() <= MAX_SCRIPT_SIZE {
                let coin = Coin { output: output.clone(), height, coinbase, prior_median_time };
                self.change.created.insert(OutPoint { txid, vout }, coin);
            }
        }
    }

    fn spend(&mut self, outpoint: &OutPoint) {
        if self.change.created.remove(outpoint).is_none()
            && let Some(coin) = self.base.get(outpoint)
        {
            self.change.spent.insert(*outpoint, coin.clone());
        }
    }

    pub fn into_change(self) -> Change {
        self.change
    }
}
