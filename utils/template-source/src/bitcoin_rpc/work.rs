//! What is mined: a template of the node with room for our coinbase, and the blocks that come of it.

use std::sync::Arc;

use bitcoin::{
    Amount, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, VarInt, Witness,
    absolute::LockTime,
    block::{Header, Version},
    consensus::encode,
    hashes::Hash,
    opcodes::all::{OP_CHECKSIG, OP_NOP, OP_PUSHDATA1},
};

use super::{
    gbt::BlockTemplate,
    room::{self, NoRoom},
};
use crate::{
    CoinbaseTemplate, Constraints, Solution, Template, TemplateId, Tip, Transactions,
    consensus::{COMMITMENT_PREFIX, coinbase_merkle_path, commitment_of_wtxids, push_height, root_of_path},
};

/// Longest scriptSig of a coinbase, in bytes.
const MAX_SCRIPT_SIG: usize = 100;

/// Version of our coinbase transactions.
const COINBASE_VERSION: u32 = 2;

/// A block to be mined, as far as the node decides.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) version: u32,
    pub(super) height: u32,
    pub(super) tip: Base,
    pub(super) coinbase: CoinbaseTemplate,
    pub(super) merkle_path: Vec<[u8; 32]>,
    /// Without the coinbase. Shared with the templates before and after.
    transactions: Vec<Arc<[u8]>>,
    /// Transactions that had to go for the room that our coinbase needs.
    pub(super) dropped: usize,
}

/// What a block builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) prev_hash: bitcoin::BlockHash,
    pub(super) nbits: u32,
    pub(super) target: [u8; 32],
    pub(super) time: u32,
}

impl Work {
    /// With as many of the template's transactions as leave room for `constraints`.
    pub(super) fn full(template: &BlockTemplate, constraints: Constraints) -> Result<Self, NoRoom> {
        Ok(Self::of(template, &room::select(template, constraints)?))
    }

    /// Without transactions.
    pub(super) fn empty(template: &BlockTemplate) -> Self {
        Self::of(template, &[])
    }

    fn of(template: &BlockTemplate, kept: &[usize]) -> Self {
        let kept: Vec<_> = kept.iter().map(|index| &template.transactions[*index]).collect();
        let fees: u64 = kept.iter().map(|one| one.fee).sum();
        let mut outputs = Vec::new();
        if template.commits {
            let commitment = commitment_of_wtxids(kept.iter().map(|one| one.wtxid), &[0; 32]);
            let script_pubkey = ScriptBuf::from([COMMITMENT_PREFIX.as_slice(), &commitment].concat());
            outputs = encode::serialize(&TxOut { value: Amount::ZERO, script_pubkey });
        }
        let txids: Vec<_> = kept.iter().map(|one| one.txid).collect();
        Self {
            version: template.version,
            height: template.height,
            tip: Base {
                prev_hash: template.prev_hash,
                nbits: template.nbits,
                target: template.target,
                time: template.time,
            },
            coinbase: CoinbaseTemplate {
                version: COINBASE_VERSION,
                script_sig_prefix: push_height(template.height),
                // As Bitcoin Core has it: lock time and sequence make the coinbase unlike that of any other height (BIP 54).
                sequence: Sequence::ENABLE_LOCKTIME_NO_RBF.to_consensus_u32(),
                value_remaining: template.value - template.fees + fees,
                outputs_count: u32::from(template.commits),
                outputs,
                lock_time: template.height - 1,
            },
            merkle_path: coinbase_merkle_path(&txids),
            dropped: template.transactions.len() - kept.len(),
            transactions: kept.into_iter().map(|one| one.data.clone()).collect(),
        }
    }

    pub(super) fn template(&self, id: TemplateId, future: bool) -> Template {
        Template {
            id,
            future,
            height: self.height,
            version: self.version,
            coinbase: self.coinbase.clone(),
            merkle_path: self.merkle_path.clone(),
        }
    }

    pub(super) fn tip(&self, template_id: TemplateId) -> Tip {
        let Base { prev_hash, nbits, target, time } = self.tip;
        Tip { template_id, prev_hash, header_timestamp: time, nbits, target }
    }

    pub(super) fn transactions(&self) -> Transactions {
        Arc::new(self.transactions.iter().map(|one| one.to_vec()).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// The block that a solution makes, serialised. The error says why it makes none.
    pub(super) fn solved(&self, solution: &Solution) -> Result<Vec<u8>, String> {
        let coinbase: Transaction = encode::deserialize(&solution.coinbase_tx)
            .map_err(|error| format!("the coinbase transaction can not be read: {error}"))?;
        let header = Header {
            version: Version::from_consensus(solution.version.cast_signed()),
            time: solution.header_timestamp,
            nonce: solution.header_nonce,
            ..self.header(&coinbase)
        };
        Ok(self.block(&header, &solution.coinbase_tx))
    }

    /// A block without proof of work whose coinbase uses up all of `constraints`, for the node to check.
    pub(super) fn proposal(&self, constraints: Constraints) -> Vec<u8> {
        let mut script_sig = self.coinbase.script_sig_prefix.clone();
        // A push of what pools put there: tag and extranonce.
        let push = MAX_SCRIPT_SIG.saturating_sub(script_sig.len() + 2);
        script_sig.extend([OP_PUSHDATA1.to_u8(), u8::try_from(push).unwrap_or(0)]);
        script_sig.resize(MAX_SCRIPT_SIG, 0);
        let mut output = Vec::new();
        if let Some(largest) = largest_output(constraints, self.coinbase.value_remaining) {
            output.push(largest);
        }
        if self.coinbase.outputs_count > 0 {
            output.extend(encode::deserialize::<TxOut>(&self.coinbase.outputs));
        }
        let witness = if self.coinbase.outputs_count > 0 { Witness::from_slice(&[[0; 32]]) } else { Witness::new() };
        let coinbase = Transaction {
            version: bitcoin::transaction::Version(COINBASE_VERSION.cast_signed()),
            lock_time: LockTime::from_consensus(self.coinbase.lock_time),
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: script_sig.into(),
                sequence: Sequence(self.coinbase.sequence),
                witness,
            }],
            output,
        };
        self.block(&self.header(&coinbase), &encode::serialize(&coinbase))
    }

    fn header(&self, coinbase: &Transaction) -> Header {
        let root = root_of_path(coinbase.compute_txid().to_byte_array(), &self.merkle_path);
        Header {
            version: Version::from_consensus(self.version.cast_signed()),
            prev_blockhash: self.tip.prev_hash,
            merkle_root: TxMerkleNode::from_byte_array(root),
            time: self.tip.time,
            bits: CompactTarget::from_consensus(self.tip.nbits),
            nonce: 0,
        }
    }

    fn block(&self, header: &Header, coinbase: &[u8]) -> Vec<u8> {
        let mut block = encode::serialize(header);
        block.extend(encode::serialize(&VarInt::from(self.transactions.len() + 1)));
        block.extend_from_slice(coinbase);
        self.transactions.iter().for_each(|transaction| block.extend_from_slice(transaction));
        block
    }
}

/// One output with all bytes and sigops that the user may add; nothing where not even an empty one fits.
fn largest_output(constraints: Constraints, value: u64) -> Option<TxOut> {
    let size = usize::try_from(constraints.max_additional_size).ok()?;
    // Eight bytes of value, and the length of the script.
    let length = [1, 3, 5].into_iter().find_map(|length| {
        let script = size.checked_sub(8 + length)?;
        (VarInt::from(script).size() <= length).then_some(script)
    })?;
    // In legacy sigops, of which announced constraints count the cost.
    let sigops = usize::from(constraints.max_additional_sigops).div_ceil(4).min(length);
    let mut script = vec![OP_CHECKSIG.to_u8(); sigops];
    script.resize(length, OP_NOP.to_u8());
    Some(TxOut { value: Amount::from_sat(value), script_pubkey: script.into() })
}

#[cfg(test)]
mod tests {
    use bitcoin::Block;

    use super::*;
    use crate::bitcoin_rpc::{gbt::Known, testing::answer};

    fn template(transactions: usize) -> BlockTemplate {
        BlockTemplate::from_json(answer(transactions).to_string().as_bytes(), &Known::new()).unwrap()
    }

    const CONSTRAINTS: Constraints = Constraints { max_additional_size: 500, max_additional_sigops: 8 };

    #[test]
    fn a_full_template_has_all_fees_and_an_empty_one_none() {
        let template = template(5);
        let full = Work::full(&template, CONSTRAINTS).unwrap();
        assert_eq!((full.coinbase.value_remaining, full.dropped), (5_000_005_000, 0));
        assert_eq!((full.coinbase.script_sig_prefix.clone(), full.coinbase.lock_time), (vec![1, 101], 100));
        assert!(full.coinbase.has_witness_commitment());
        let empty = Work::empty(&template);
        assert_eq!((empty.coinbase.value_remaining, empty.dropped), (5_000_000_000, 5));
        assert!(empty.is_empty() && empty.merkle_path.is_empty());
    }

    #[test]
    fn proposals_are_whole_blocks_of_the_weight_that_is_reserved() {
        for transactions in [0, 1, 2, 5, 6] {
            let template = template(transactions);
            let work = Work::full(&template, CONSTRAINTS).unwrap();
            let block: Block = encode::deserialize(&work.proposal(CONSTRAINTS)).unwrap();
            assert!(block.check_merkle_root() && block.check_witness_commitment());
            assert_eq!(block.bip34_block_height().unwrap(), 101);
            assert_eq!(block.coinbase().unwrap().input[0].script_sig.len(), MAX_SCRIPT_SIG);
            let rest: u64 = template.transactions.iter().map(|one| one.weight).sum();
            let used = block.weight().to_wu() - rest;
            // The reserve has room for a transaction count of five bytes and an output count of one or three.
            assert!((1..=24).contains(&(CONSTRAINTS.reserved_weight() - used)), "{used}");
            let sigops: usize =
                block.coinbase().unwrap().output.iter().map(|output| output.script_pubkey.count_sigops_legacy()).sum();
            assert_eq!(4 * sigops, usize::from(CONSTRAINTS.max_additional_sigops));
        }
    }

    #[test]
    fn the_largest_output_has_the_size_that_was_asked_for() {
        for size in [9, 10, 100, 260, 261, 262, 263, 264, 265, 300, 65_600] {
            let constraints = Constraints { max_additional_size: size, max_additional_sigops: 4 };
            let output = largest_output(constraints, 1).unwrap();
            let used = u32::try_from(encode::serialize(&output).len()).unwrap();
            assert!(used <= size && size - used <= 2, "{size}: {used}");
        }
        assert_eq!(largest_output(Constraints { max_additional_size: 8, max_additional_sigops: 0 }, 1), None);
    }

    #[test]
    fn a_solution_makes_the_block_of_its_coinbase() {
        let work = Work::full(&template(3), CONSTRAINTS).unwrap();
        let proposal: Block = encode::deserialize(&work.proposal(CONSTRAINTS)).unwrap();
        let mut solution = Solution {
            template_id: TemplateId(1),
            hash: proposal.block_hash(),
            version: work.version,
            header_timestamp: work.tip.time,
            header_nonce: 0,
            coinbase_tx: encode::serialize(proposal.coinbase().unwrap()),
        };
        assert_eq!(encode::deserialize::<Block>(&work.solved(&solution).unwrap()).unwrap(), proposal);
        solution.coinbase_tx.pop();
        assert!(work.solved(&solution).unwrap_err().contains("coinbase"));
    }
}
