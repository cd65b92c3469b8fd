//! Templates out of chain and mempool, blocks out of templates and solutions.

use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Witness,
    absolute::LockTime,
    block::{Header, Version},
    consensus::encode,
    hashes::Hash,
    script::Builder,
    transaction,
};

use super::{
    mempool::Selection,
    rules::{COMMITMENT_PREFIX, coinbase_merkle_path, root_of_path, target_from_compact, witness_commitment},
};
use crate::{CoinbaseTemplate, Solution, Template, TemplateId};

/// Block header version that templates carry: the version bits of BIP 9, none set.
const BLOCK_VERSION: u32 = 0x2000_0000;
/// Coinbase transaction version.
const COINBASE_VERSION: u32 = 2;
/// Witness reserved value, the coinbase's only witness element.
const RESERVED_VALUE: [u8; 32] = [0; 32];

/// A template with the selected transactions and a witness commitment, even where nothing is selected.
pub(super) fn full_template(
    id: TemplateId,
    future: bool,
    height: u32,
    subsidy: u64,
    selection: &Selection,
) -> Template {
    let commitment = witness_commitment(selection.entries.iter().map(|entry| &entry.tx), &RESERVED_VALUE);
    let script_pubkey = ScriptBuf::from([COMMITMENT_PREFIX.as_slice(), &commitment].concat());
    let output = TxOut { value: Amount::ZERO, script_pubkey };
    let txids: Vec<_> = selection.entries.iter().map(|entry| entry.txid.to_byte_array()).collect();
    Template {
        coinbase: CoinbaseTemplate {
            value_remaining: subsidy + selection.fees,
            outputs_count: 1,
            outputs: encode::serialize(&output),
            ..coinbase_template(height, subsidy)
        },
        merkle_path: coinbase_merkle_path(&txids),
        ..empty_template(id, future, height, subsidy)
    }
}

/// A template without transactions and commitment, which fits on whatever block comes at the height before.
pub(super) fn empty_template(id: TemplateId, future: bool, height: u32, subsidy: u64) -> Template {
    Template {
        id,
        future,
        height,
        version: BLOCK_VERSION,
        coinbase: coinbase_template(height, subsidy),
        merkle_path: Vec::new(),
    }
}

/// The coinbase's lock time is the height before, as Bitcoin Core has it.
fn coinbase_template(height: u32, value_remaining: u64) -> CoinbaseTemplate {
    CoinbaseTemplate {
        version: COINBASE_VERSION,
        script_sig_prefix: Builder::new().push_int(i64::from(height)).into_script().into_bytes(),
        sequence: Sequence::ENABLE_LOCKTIME_NO_RBF.to_consensus_u32(),
        value_remaining,
        outputs_count: 0,
        outputs: Vec::new(),
        lock_time: height.saturating_sub(1),
    }
}

/// The block that a solution makes of a template.
pub(super) fn solved_block(
    template: &Template,
    transactions: impl Iterator<Item = Transaction>,
    prev_blockhash: BlockHash,
    bits: CompactTarget,
    solution: &Solution,
) -> Result<Block, encode::Error> {
    let coinbase: Transaction = encode::deserialize(&solution.coinbase_tx)?;
    let root = root_of_path(coinbase.compute_txid().to_byte_array(), &template.merkle_path);
    let header = Header {
        version: Version::from_consensus(solution.version.cast_signed()),
        prev_blockhash,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: solution.header_timestamp,
        bits,
        nonce: solution.header_nonce,
    };
    let mut txdata = vec![coinbase];
    txdata.extend(transactions);
    Ok(Block { header, txdata })
}

/// A block that lacks only its proof of work, which pays everything to `payout`. `extra` makes it differ from others.
pub(super) fn candidate(
    template: &Template,
    selection: &Selection,
    header: CandidateHeader,
    payout: ScriptBuf,
    extra: u64,
) -> Block {
    let script_sig = [template.coinbase.script_sig_prefix.as_slice(), &[8], &extra.to_le_bytes()].concat();
    let commitment = encode::deserialize::<TxOut>(&template.coinbase.outputs).ok();
    let witness = if commitment.is_some() { Witness::from_slice(&[RESERVED_VALUE]) } else { Witness::new() };
    let reward = TxOut { value: Amount::from_sat(template.coinbase.value_remaining), script_pubkey: payout };
    let coinbase = Transaction {
        version: transaction::Version(COINBASE_VERSION as i32),
        lock_time: LockTime::from_consensus(template.coinbase.lock_time),
        input: vec![TxIn {
            script_sig: ScriptBuf::from(script_sig),
            sequence: Sequence(template.coinbase.sequence),
            witness,
            ..TxIn::default()
        }],
        output: [reward].into_iter().chain(commitment).collect(),
    };
    let root = root_of_path(coinbase.compute_txid().to_byte_array(), &template.merkle_path);
    let mut txdata = vec![coinbase];
    txdata.extend(selection.entries.iter().map(|entry| entry.tx.clone()));
    let header = Header {
        version: Version::from_consensus(template.version.cast_signed()),
        prev_blockhash: header.prev_blockhash,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: header.time,
        bits: header.bits,
        nonce: 0,
    };
    Block { header, txdata }
}

/// What a candidate's header takes from the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct CandidateHeader {
    pub prev_blockhash: BlockHash,
    pub time: u32,
    pub bits: CompactTarget,
}

/// Searches a nonce that meets the header's own target; blocks the thread. False when none does.
pub fn solve(header: &mut Header) -> bool {
    let Some(target) = target_from_compact(header.bits) else { return false };
    (0..=u32::MAX).any(|nonce| {
        header.nonce = nonce;
        target.is_met_by(header.block_hash())
    })
}
