//! Checks that need nothing but the block.

use std::collections::BTreeSet;

use bitcoin::{Block, Transaction, VarInt, hashes::Hash};

use super::Reject;
use crate::devnet::rules::{
    MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, MAX_MONEY, WITNESS_SCALE_FACTOR, block_merkle_root, target_from_compact,
};

/// Bytes of a block header.
const HEADER_SIZE: usize = 80;
/// Bytes that a coinbase's scriptSig may have.
const COINBASE_SCRIPT_LEN: std::ops::RangeInclusive<usize> = 2..=100;

/// Proof of work, merkle root, size, coinbase, and each transaction by itself.
pub(in crate::devnet) fn check_block(block: &Block) -> Result<(), Reject> {
    check_proof_of_work(block)?;
    check_merkle_root(block)?;
    check_size(block)?;
    check_coinbase_position(block)?;
    block.txdata.iter().try_for_each(check_transaction)?;
    check_legacy_sigops(block)
}

fn check_proof_of_work(block: &Block) -> Result<(), Reject> {
    match target_from_compact(block.header.bits) {
        Some(target) if target.is_met_by(block.block_hash()) => Ok(()),
        _ => Err(Reject::invalid("high-hash")),
    }
}

fn check_merkle_root(block: &Block) -> Result<(), Reject> {
    let (root, mutated) = block_merkle_root(block);
    if block.header.merkle_root.to_byte_array() != root {
        return Err(Reject::mutated("bad-txnmrklroot"));
    }
    if mutated { Err(Reject::mutated("bad-txns-duplicate")) } else { Ok(()) }
}

fn check_size(block: &Block) -> Result<(), Reject> {
    let transactions: usize = block.txdata.iter().map(Transaction::base_size).sum();
    let size = HEADER_SIZE + VarInt::from(block.txdata.len()).size() + transactions;
    if block.txdata.is_empty() || size as u64 * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT {
        return Err(Reject::invalid("bad-blk-length"));
    }
    Ok(())
}

fn check_coinbase_position(block: &Block) -> Result<(), Reject> {
    let mut transactions = block.txdata.iter();
    if !transactions.next().is_some_and(Transaction::is_coinbase) {
        return Err(Reject::invalid("bad-cb-missing"));
    }
    if transactions.any(Transaction::is_coinbase) {
        return Err(Reject::invalid("bad-cb-multiple"));
    }
    Ok(())
}

/// Shape, values and inputs of one transaction.
fn check_transaction(tx: &Transaction) -> Result<(), Reject> {
    if tx.input.is_empty() {
        return Err(Reject::invalid("bad-txns-vin-empty"));
    }
    if tx.output.is_empty() {
        return Err(Reject::invalid("bad-txns-vout-empty"));
    }
    if tx.base_size() as u64 * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT {
        return Err(Reject::invalid("bad-txns-oversize"));
    }
    check_values(tx)?;
    let mut seen = BTreeSet::new();
    if !tx.input.iter().all(|input| seen.insert(input.previous_output)) {
        return Err(Reject::invalid("bad-txns-inputs-duplicate"));
    }
    check_input_kinds(tx)
}

fn check_values(tx: &Transaction) -> Result<(), Reject> {
    let mut total = 0u64;
    for output in &tx.output {
        let value = output.value.to_sat();
        if i64::try_from(value).is_err() {
            return Err(Reject::invalid("bad-txns-vout-negative"));
        }
        if value > MAX_MONEY {
            return Err(Reject::invalid("bad-txns-vout-toolarge"));
        }
        total += value;
        if total > MAX_MONEY {
            return Err(Reject::invalid("bad-txns-txouttotal-toolarge"));
        }
    }
    Ok(())
}

fn check_input_kinds(tx: &Transaction) -> Result<(), Reject> {
    if !tx.is_coinbase() {
        return match tx.input.iter().any(|input| input.previous_output.is_null()) {
            true => Err(Reject::invalid("bad-txns-prevout-null")),
            false => Ok(()),
        };
    }
    match tx.input.first() {
        Some(input) if COINBASE_SCRIPT_LEN.contains(&input.script_sig.len()) => Ok(()),
        _ => Err(Reject::invalid("bad-cb-length")),
    }
}

/// Counts what a look at the block alone shows: sigops in outputs and input scripts.
fn check_legacy_sigops(block: &Block) -> Result<(), Reject> {
    let count = |tx: &Transaction| -> usize {
        let inputs: usize = tx.input.iter().map(|input| input.script_sig.count_sigops_legacy()).sum();
        let outputs: usize = tx.output.iter().map(|output| output.script_pubkey.count_sigops_legacy()).sum();
        inputs + outputs
    };
    let sigops: usize = block.txdata.iter().map(count).sum();
    if sigops as u64 * WITNESS_SCALE_FACTOR > MAX_BLOCK_SIGOPS_COST {
        return Err(Reject::invalid("bad-blk-sigops"));
    }
    Ok(())
}
