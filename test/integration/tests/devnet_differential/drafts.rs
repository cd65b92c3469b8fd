//! Blocks in the making: changed at will, then mended and mined.

use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Witness,
    absolute::LockTime,
    hashes::{Hash, sha256d},
    opcodes::{OP_TRUE, all::OP_DROP},
    script::Builder,
    transaction::Version,
};
use template_source::devnet::{Devnet, solve};

/// Blocks until a coinbase can be spent.
pub const MATURITY: u32 = 100;

/// An output that a test may spend.
#[derive(Clone, Debug)]
pub struct Coin {
    pub outpoint: OutPoint,
    pub output: TxOut,
    pub height: u32,
    pub coinbase: bool,
}

/// The chain as a test sees it.
pub struct World<'a> {
    pub devnet: &'a Devnet,
    pub blocks: Vec<std::sync::Arc<Block>>,
}

impl<'a> World<'a> {
    pub fn new(devnet: &'a Devnet) -> Self {
        World { devnet, blocks: devnet.blocks() }
    }

    pub fn height(&self) -> u32 {
        self.devnet.tip().height + 1
    }

    /// Median time of the last 11 blocks.
    pub fn median_time(&self) -> u32 {
        let mut times: Vec<_> = self.blocks.iter().rev().take(11).map(|block| block.header.time).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// The next block with the waiting transactions.
    pub fn next(&self) -> Draft {
        Draft { block: self.devnet.candidate(op_true()) }
    }

    /// The next block without transactions.
    pub fn empty(&self) -> Draft {
        let mut draft = self.next();
        draft.block.txdata.truncate(1);
        draft.commit().value(|_| Amount::from_sat(1))
    }

    /// Unspent outputs of the kept blocks, oldest first.
    pub fn coins(&self) -> Vec<Coin> {
        let inputs = self.blocks.iter().flat_map(|block| &block.txdata).flat_map(|tx| &tx.input);
        let spent: std::collections::HashSet<_> = inputs.map(|input| input.previous_output).collect();
        let mut coins = Vec::new();
        let oldest = self.height() - self.blocks.len() as u32;
        // The coinbase of genesis can not be spent.
        for (height, block) in (oldest..).zip(&self.blocks).filter(|(height, _)| *height > 0) {
            for tx in &block.txdata {
                let txid = tx.compute_txid();
                for (vout, output) in (0..).zip(&tx.output) {
                    let outpoint = OutPoint { txid, vout };
                    if !spent.contains(&outpoint) && !output.script_pubkey.is_op_return() {
                        coins.push(Coin { outpoint, output: output.clone(), height, coinbase: tx.is_coinbase() });
                    }
                }
            }
        }
        coins
    }

    /// A coin of this form that can be spent in the next block.
    pub fn coin(&self, form: impl Fn(&ScriptBuf) -> bool) -> Coin {
        let mature = |coin: &Coin| !coin.coinbase || coin.height + MATURITY <= self.height();
        self.coins().into_iter().find(|coin| mature(coin) && form(&coin.output.script_pubkey)).expect("a mature coin")
    }

    /// The output of the coinbase that is this old in the next block.
    pub fn coinbase_aged(&self, age: u32) -> Coin {
        let aged = |coin: &Coin| coin.coinbase && self.height() - coin.height == age;
        self.coins().into_iter().find(aged).expect("an unspent coinbase of that age")
    }

    pub fn bare_coin(&self) -> Coin {
        self.coin(|script| *script == op_true())
    }

    /// A block that makes an output which the devnet does not let be spent, and the block after it that spends it.
    pub fn foreign_script(&self) -> (Block, Block) {
        let script = Builder::new().push_opcode(OP_TRUE).push_opcode(OP_DROP).push_opcode(OP_TRUE).into_script();
        let mut make = spend(&self.bare_coin());
        make.output[0].script_pubkey = script;
        let coin = Coin {
            outpoint: OutPoint { txid: make.compute_txid(), vout: 0 },
            output: make.output[0].clone(),
            height: self.height(),
            coinbase: false,
        };
        let made = self.empty().with(make).finish();
        let parent = made.block_hash();
        let spent = Draft::empty(self.devnet, parent, self.height() + 1, 0).with(spend(&coin)).finish();
        (made, spent)
    }
}

pub fn op_true() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// Spends a coin whole, without a fee, to anyone.
pub fn spend(coin: &Coin) -> Transaction {
    let witness = match coin.output.script_pubkey.is_p2wsh() {
        true => Witness::from_slice(&[op_true().as_bytes()]),
        false => Witness::new(),
    };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output: coin.outpoint, witness, sequence: Sequence::MAX, ..TxIn::default() }],
        output: vec![TxOut { value: coin.output.value, script_pubkey: op_true() }],
    }
}

/// A block without proof of work.
#[derive(Clone, Debug)]
pub struct Draft {
    pub block: Block,
}

impl Draft {
    /// A block on any parent, with a coinbase that pays nothing. `extra` tells it apart from others.
    pub fn empty(devnet: &Devnet, parent: BlockHash, height: u32, extra: u32) -> Draft {
        let mut draft = World::new(devnet).empty().value(|_| Amount::ZERO);
        let input = &mut draft.block.txdata[0].input[0];
        input.script_sig = Builder::new().push_int(height.into()).push_slice(extra.to_le_bytes()).into_script();
        draft.block.txdata[0].lock_time = LockTime::ZERO;
        draft.block.header.prev_blockhash = parent;
        draft.block.header.time += extra;
        draft
    }

    pub fn with(mut self, tx: Transaction) -> Draft {
        self.block.txdata.push(tx);
        self.commit()
    }

    pub fn edit(mut self, change: impl FnOnce(&mut Block)) -> Draft {
        change(&mut self.block);
        self
    }

    pub fn coinbase(mut self, change: impl FnOnce(&mut Transaction)) -> Draft {
        change(&mut self.block.txdata[0]);
        self
    }

    pub fn value(self, change: impl FnOnce(Amount) -> Amount) -> Draft {
        self.coinbase(|coinbase| coinbase.output[0].value = change(coinbase.output[0].value))
    }

    /// Makes the commitment, where there is one, that of the block's witnesses.
    pub fn commit(mut self) -> Draft {
        let reserved = self.block.txdata[0].input[0].witness.nth(0).map(<[u8]>::to_vec).unwrap_or_default();
        let root = self.block.witness_root().expect("a coinbase").to_byte_array();
        let commitment = sha256d::Hash::hash(&[root.as_slice(), &reserved].concat());
        for output in &mut self.block.txdata[0].output {
            let mut script = output.script_pubkey.to_bytes();
            if script.starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]) {
                script[6..38].copy_from_slice(commitment.as_byte_array());
                output.script_pubkey = script.into();
            }
        }
        self
    }

    /// Drops commitment and coinbase witness.
    pub fn without_commitment(self) -> Draft {
        self.coinbase(|coinbase| {
            coinbase.output.truncate(1);
            coinbase.input[0].witness.clear();
        })
    }

    /// Mends the merkle root and mines.
    pub fn finish(mut self) -> Block {
        let root = self.block.compute_merkle_root();
        self.block.header.merkle_root = root.unwrap_or(TxMerkleNode::all_zeros());
        self.mine()
    }

    /// Mines with the merkle root as it is.
    pub fn mine(mut self) -> Block {
        assert!(solve(&mut self.block.header));
        self.block
    }
}
