//! Numbers and small pure functions of the regtest rules.

use bitcoin::{Block, CompactTarget, Target, Transaction, hashes::Hash};

pub(super) use crate::consensus::{
    COMMITMENT_LEN, COMMITMENT_PREFIX, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, MAX_MONEY, coinbase_merkle_path,
    merkle_root, root_of_path, witness_commitment,
};

/// Weight units of one byte outside of a witness.
pub(super) const WITNESS_SCALE_FACTOR: u64 = 4;
/// Blocks until a coinbase may be spent.
pub(super) const COINBASE_MATURITY: u32 = 100;
/// Seconds that a block's time may be ahead of the clock.
pub(super) const MAX_FUTURE_SECONDS: u64 = 2 * 60 * 60;
/// Blocks whose median time a new block must exceed.
pub(super) const MEDIAN_TIME_SPAN: usize = 11;
/// Least header version: BIP 34, 65 and 66 hold from height 1 on.
pub(super) const MIN_VERSION: i32 = 4;
/// Scripts longer than this can not be spent.
pub(super) const MAX_SCRIPT_SIZE: usize = 10_000;
/// Subsidy of the first blocks, in satoshis.
const INITIAL_SUBSIDY: u64 = 50 * 100_000_000;
/// The target that `bits` stands for, or nothing where it is negative, zero, too large for 256 bits or easier than
/// regtest allows.
pub(super) fn target_from_compact(bits: CompactTarget) -> Option<Target> {
    let [exponent, mantissa @ ..] = bits.to_consensus().to_be_bytes();
    if mantissa[0] & 0x80 != 0 {
        return None;
    }
    let mut target = [0u8; 32];
    for (i, byte) in mantissa.into_iter().enumerate() {
        let position = i32::from(exponent) - 1 - i as i32;
        match usize::try_from(position).ok().map(|position| target.get_mut(position)) {
            Some(Some(slot)) => *slot = byte,
            Some(None) if byte != 0 => return None,
            _ => {}
        }
    }
    let target = Target::from_le_bytes(target);
    (target > Target::ZERO && target <= Target::MAX_ATTAINABLE_REGTEST).then_some(target)
}

/// Satoshis that a block at `height` may create.
pub(super) fn subsidy(height: u32, halving_interval: u32) -> u64 {
    let halvings = height.checked_div(halving_interval).unwrap_or(0);
    INITIAL_SUBSIDY.checked_shr(halvings).unwrap_or(0)
}

/// Merkle root of the transaction ids, and whether the list is malleable.
pub(super) fn block_merkle_root(block: &Block) -> ([u8; 32], bool) {
    merkle_root(block.txdata.iter().map(|tx| tx.compute_txid().to_byte_array()).collect())
}

/// The commitment in a coinbase's outputs; the last one counts.
pub(super) fn find_commitment(coinbase: &Transaction) -> Option<&[u8]> {
    coinbase.output.iter().rev().map(|output| output.script_pubkey.as_bytes()).find_map(|script| {
        (script.len() >= COMMITMENT_LEN && script.starts_with(&COMMITMENT_PREFIX))
            .then(|| script.get(COMMITMENT_PREFIX.len()..COMMITMENT_LEN))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::Params;

    use super::*;

    fn compact(bits: u32) -> Option<Target> {
        target_from_compact(CompactTarget::from_consensus(bits))
    }

    #[test]
    fn compact_targets_follow_regtest() {
        assert_eq!(compact(0x207f_ffff), Some(Params::REGTEST.max_attainable_target));
        assert_eq!(compact(0x1d00_ffff), Some(Target::MAX_ATTAINABLE_MAINNET));
        assert_eq!(compact(0x0300_0001).map(|t| t.to_le_bytes()[0]), Some(1));
        assert_eq!(
            compact(0x0312_3456),
            compact(0x0400_1234).map(|t| {
                let mut bytes = t.to_le_bytes();
                bytes[0] = 0x56;
                Target::from_le_bytes([&[0x56, 0x34, 0x12], &bytes[3..]].concat().try_into().unwrap())
            })
        );
        for refused in
            [0, 0x0100_0001, 0x207f_ffff + 1, 0x2080_0000, 0x2100_ffff, 0x2200_00ff, 0x2300_0001, 0x1d80_ffff]
        {
            assert_eq!(compact(refused), None, "{refused:#x}");
        }
    }

    #[test]
    fn subsidy_halves_to_nothing() {
        assert_eq!(subsidy(149, 150), 5_000_000_000);
        assert_eq!(subsidy(150, 150), 2_500_000_000);
        assert_eq!(subsidy(150 * 64, 150), 0);
        assert_eq!(subsidy(u32::MAX, 1), 0);
    }
}
