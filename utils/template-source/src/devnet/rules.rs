//! Numbers and small pure functions of the regtest rules.

use bitcoin::{
    Block, CompactTarget, Target, Transaction,
    hashes::{Hash, sha256d},
};

/// Most weight that a block may have (BIP 141).
pub(super) const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// Most sigops cost that a block may have (BIP 141).
pub(super) const MAX_BLOCK_SIGOPS_COST: u64 = 80_000;
/// Weight units of one byte outside of a witness.
pub(super) const WITNESS_SCALE_FACTOR: u64 = 4;
/// Most satoshis that can exist.
pub(super) const MAX_MONEY: u64 = 2_100_000_000_000_000;
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
/// First bytes of a witness commitment's script: OP_RETURN, a push of 36 bytes, the tag of BIP 141.
pub(super) const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Length of the shortest script that is a witness commitment.
pub(super) const COMMITMENT_LEN: usize = 38;

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

/// A merkle root, and whether two neighbours on any level are equal, so that another list of transactions has the same
/// root (CVE-2012-2459). The root of nothing is zero.
pub(super) fn merkle_root(mut level: Vec<[u8; 32]>) -> ([u8; 32], bool) {
    let mut mutated = false;
    while level.len() > 1 {
        mutated |= level.chunks_exact(2).any(|pair| pair[0] == pair[1]);
        level = next_level(&level);
    }
    (level.first().copied().unwrap_or_default(), mutated)
}

/// Hashes from the first leaf's sibling up to the root, without the first leaf itself, which is the coinbase.
pub(super) fn coinbase_merkle_path(others: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let mut level = vec![[0; 32]];
    level.extend_from_slice(others);
    let mut path = Vec::new();
    while level.len() > 1 {
        path.push(level[1]);
        level = next_level(&level);
    }
    path
}

/// The root above `leaf` when it is the first of its tree and `path` holds the siblings.
pub(super) fn root_of_path(leaf: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(leaf, |left, right| hash_pair(&left, right))
}

fn next_level(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    level.chunks(2).map(|pair| hash_pair(&pair[0], pair.last().unwrap_or(&pair[0]))).collect()
}

fn hash_pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256d_of(&[left, right])
}

fn sha256d_of(parts: &[&[u8]]) -> [u8; 32] {
    sha256d::Hash::hash(&parts.concat()).to_byte_array()
}

/// Merkle root of the transaction ids, and whether the list is malleable.
pub(super) fn block_merkle_root(block: &Block) -> ([u8; 32], bool) {
    merkle_root(block.txdata.iter().map(|tx| tx.compute_txid().to_byte_array()).collect())
}

/// The 32 bytes a coinbase commits to: the hash of witness root and reserved value (BIP 141). `others` are the
/// transactions after the coinbase.
pub(super) fn witness_commitment<'a>(
    others: impl IntoIterator<Item = &'a Transaction>,
    reserved_value: &[u8],
) -> [u8; 32] {
    let mut leaves = vec![[0; 32]];
    leaves.extend(others.into_iter().map(|tx| tx.compute_wtxid().to_byte_array()));
    sha256d_of(&[&merkle_root(leaves).0, reserved_value])
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

    #[test]
    fn path_and_root_agree_for_every_small_tree() {
        for count in 0..20u8 {
            let others: Vec<_> = (1..=count).map(|i| [i; 32]).collect();
            let leaf = [0xcb; 32];
            let all = [vec![leaf], others.clone()].concat();
            assert_eq!((root_of_path(leaf, &coinbase_merkle_path(&others)), false), merkle_root(all));
        }
    }

    #[test]
    fn a_repeated_tail_has_the_same_root_and_is_noticed() {
        let three = vec![[1; 32], [2; 32], [3; 32]];
        let four = vec![[1; 32], [2; 32], [3; 32], [3; 32]];
        assert_eq!(merkle_root(three.clone()).0, merkle_root(four.clone()).0);
        assert!(!merkle_root(three).1 && merkle_root(four).1);
    }
}
