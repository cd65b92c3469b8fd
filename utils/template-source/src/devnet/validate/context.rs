//! Checks against the headers that a block builds on.

use bitcoin::{Block, CompactTarget, Transaction, TxIn, block::Header, script::Builder};

use super::{Context, Reject};
use crate::devnet::rules::{MAX_BLOCK_WEIGHT, MAX_FUTURE_SECONDS, MIN_VERSION, find_commitment, witness_commitment};

/// Lock times below this are heights, others are unix seconds.
const LOCK_TIME_THRESHOLD: u32 = 500_000_000;
/// Bytes of the witness reserved value.
const RESERVED_VALUE_LEN: usize = 32;

/// Target, time and version. `bits` is what every block of this chain carries, `now` is unix seconds.
pub(in crate::devnet) fn check_header_in_context(
    header: &Header,
    context: &Context,
    bits: CompactTarget,
    now: u32,
) -> Result<(), Reject> {
    if header.bits != bits {
        return Err(Reject::invalid("bad-diffbits"));
    }
    if header.time <= context.median_time {
        return Err(Reject::invalid("time-too-old"));
    }
    if u64::from(header.time) > u64::from(now) + MAX_FUTURE_SECONDS {
        return Err(Reject::invalid("time-too-new"));
    }
    let version = header.version.to_consensus();
    if version < MIN_VERSION {
        return Err(Reject::invalid(format!("bad-version(0x{version:08x})")));
    }
    Ok(())
}

/// Lock times, height in the coinbase (BIP 34), witness commitment (BIP 141), weight.
pub(in crate::devnet) fn check_block_in_context(block: &Block, context: &Context) -> Result<(), Reject> {
    if !block.txdata.iter().all(|tx| is_final(tx, context)) {
        return Err(Reject::invalid("bad-txns-nonfinal"));
    }
    check_height(block, context.height)?;
    check_witness(block)?;
    if block.weight().to_wu() > MAX_BLOCK_WEIGHT {
        return Err(Reject::invalid("bad-blk-weight"));
    }
    Ok(())
}

/// Lock time against height or median time past (BIP 113).
fn is_final(tx: &Transaction, context: &Context) -> bool {
    let lock_time = tx.lock_time.to_consensus_u32();
    let reached = if lock_time < LOCK_TIME_THRESHOLD { context.height } else { context.median_time };
    lock_time == 0 || lock_time < reached || !tx.input.iter().any(TxIn::enables_lock_time)
}

fn check_height(block: &Block, height: u32) -> Result<(), Reject> {
    let expected = Builder::new().push_int(i64::from(height)).into_script();
    let script = block.txdata.first().and_then(|tx| tx.input.first()).map(|input| input.script_sig.as_bytes());
    if !script.is_some_and(|script| script.starts_with(expected.as_bytes())) {
        return Err(Reject::invalid("bad-cb-height"));
    }
    Ok(())
}

fn check_witness(block: &Block) -> Result<(), Reject> {
    let Some((coinbase, others)) = block.txdata.split_first() else {
        return Err(Reject::invalid("bad-cb-missing"));
    };
    let Some(commitment) = find_commitment(coinbase) else {
        let has_witness = |tx: &Transaction| tx.input.iter().any(|input| !input.witness.is_empty());
        return match block.txdata.iter().any(has_witness) {
            true => Err(Reject::mutated("unexpected-witness")),
            false => Ok(()),
        };
    };
    let witness = coinbase.input.first().map(|input| &input.witness);
    let reserved_value = witness.filter(|witness| witness.len() == 1).and_then(|witness| witness.nth(0));
    let Some(reserved_value) = reserved_value.filter(|value| value.len() == RESERVED_VALUE_LEN) else {
        return Err(Reject::mutated("bad-witness-nonce-size"));
    };
    if witness_commitment(others, reserved_value) != commitment {
        return Err(Reject::mutated("bad-witness-merkle-match"));
    }
    Ok(())
}
