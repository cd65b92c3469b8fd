//! Checks against the coins, and the change that a good block makes to them.

use bitcoin::{Block, OutPoint, Transaction};

use super::{Context, Reject, script::check_input};
use crate::devnet::{
    rules::{COINBASE_MATURITY, MAX_BLOCK_SIGOPS_COST, MAX_MONEY, subsidy},
    utxo::{Change, Coin, Coins, View},
};

/// Set in a sequence number that is no relative lock (BIP 68).
const SEQUENCE_DISABLED: u32 = 1 << 31;
/// Set in a relative lock that counts units of 512 seconds, not blocks.
const SEQUENCE_IS_TIME: u32 = 1 << 22;
/// Bits of a relative lock's value.
const SEQUENCE_VALUE: u32 = 0xffff;
/// Log2 of the seconds in a unit of a relative time lock.
const SEQUENCE_GRANULARITY: u32 = 9;

/// Checks inputs, fees, relative locks, sigops, the coinbase's value and last the scripts.
///
/// Bitcoin Core verifies scripts on other threads and looks at their result last, so theirs is the last reason here too.
pub(in crate::devnet) fn connect(block: &Block, context: &Context, coins: &Coins) -> Result<Change, Reject> {
    check_not_overwriting(block, coins)?;
    let mut view = View::new(coins);
    let mut fees = 0;
    let mut sigops = 0;
    let mut scripts = Ok(());
    for tx in &block.txdata {
        if !tx.is_coinbase() {
            fees += check_inputs(tx, context, &view)?;
            if fees > MAX_MONEY {
                return Err(Reject::invalid("bad-txns-accumulated-fee-outofrange"));
            }
            if !relative_locks_passed(tx, context, &view) {
                return Err(Reject::invalid("bad-txns-nonfinal"));
            }
        }
        sigops += tx.total_sigop_cost(|outpoint| view.get(outpoint).map(|coin| coin.output.clone())) as u64;
        if sigops > MAX_BLOCK_SIGOPS_COST {
            return Err(Reject::invalid("bad-blk-sigops"));
        }
        if scripts.is_ok() && !tx.is_coinbase() {
            scripts = check_scripts(tx, &view);
        }
        view.apply(tx, context.height, context.median_time);
    }
    let limit = fees + subsidy(context.height, context.halving_interval);
    if block.txdata.first().map(value_out).unwrap_or_default() > limit {
        return Err(Reject::invalid("bad-cb-amount"));
    }
    scripts.map(|()| view.into_change())
}

/// Satoshis of all outputs; they were checked to be in range before.
fn value_out(tx: &Transaction) -> u64 {
    tx.output.iter().fold(0u64, |total, output| total.saturating_add(output.value.to_sat()))
}

/// A transaction may not replace unspent outputs of an equal one (BIP 30).
fn check_not_overwriting(block: &Block, coins: &Coins) -> Result<(), Reject> {
    let overwrites = |tx: &Transaction| {
        let txid = tx.compute_txid();
        (0u32..).zip(&tx.output).any(|(vout, _)| coins.get(&OutPoint { txid, vout }).is_some())
    };
    match block.txdata.iter().any(overwrites) {
        true => Err(Reject::invalid("bad-txns-BIP30")),
        false => Ok(()),
    }
}

/// The fee of a transaction whose inputs exist, are mature and pay for its outputs.
fn check_inputs(tx: &Transaction, context: &Context, view: &View<'_>) -> Result<u64, Reject> {
    let spent: Option<Vec<&Coin>> = tx.input.iter().map(|input| view.get(&input.previous_output)).collect();
    let spent = spent.ok_or(Reject::invalid("bad-txns-inputs-missingorspent"))?;
    let mut value_in = 0u64;
    for coin in spent {
        if coin.coinbase && context.height.saturating_sub(coin.height) < COINBASE_MATURITY {
            return Err(Reject::invalid("bad-txns-premature-spend-of-coinbase"));
        }
        value_in = value_in.saturating_add(coin.output.value.to_sat());
        if value_in > MAX_MONEY {
            return Err(Reject::invalid("bad-txns-inputvalues-outofrange"));
        }
    }
    value_in.checked_sub(value_out(tx)).ok_or(Reject::invalid("bad-txns-in-belowout"))
}

/// Relative lock times (BIP 68).
fn relative_locks_passed(tx: &Transaction, context: &Context, view: &View<'_>) -> bool {
    if (tx.version.0 as u32) < 2 {
        return true;
    }
    tx.input.iter().all(|input| {
        let sequence = input.sequence.to_consensus_u32();
        let (true, Some(coin)) = (sequence & SEQUENCE_DISABLED == 0, view.get(&input.previous_output)) else {
            return true;
        };
        let value = sequence & SEQUENCE_VALUE;
        if sequence & SEQUENCE_IS_TIME != 0 {
            let wait = u64::from(value) << SEQUENCE_GRANULARITY;
            u64::from(coin.prior_median_time) + wait <= u64::from(context.median_time)
        } else {
            coin.height + value <= context.height
        }
    })
}

fn check_scripts(tx: &Transaction, view: &View<'_>) -> Result<(), Reject> {
    for (index, input) in tx.input.iter().enumerate() {
        let Some(coin) = view.get(&input.previous_output) else {
            return Err(Reject::invalid("bad-txns-inputs-missingorspent"));
        };
        check_input(tx, index, &coin.output)?;
    }
    Ok(())
}
