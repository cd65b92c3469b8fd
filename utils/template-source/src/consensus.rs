//! Rules of the block chain that more than one source needs.

use bitcoin::{
    CompactTarget, Network, Target, Transaction,
    hashes::{Hash, sha256d},
    script::Builder,
};

use crate::CoinbaseTemplate;

/// Most weight that a block may have (BIP 141).
pub(crate) const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// Most sigops cost that a block may have (BIP 141).
pub(crate) const MAX_BLOCK_SIGOPS_COST: u64 = 80_000;
/// Most satoshis that can exist.
pub(crate) const MAX_MONEY: u64 = 2_100_000_000_000_000;
/// First bytes of a witness commitment's script: OP_RETURN, a push of 36 bytes, the tag of BIP 141.
pub(crate) const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Length of the shortest script that is a witness commitment.
pub(crate) const COMMITMENT_LEN: usize = 38;

/// Blocks between halvings of the subsidy.
pub(crate) fn halving_interval(network: Network) -> u32 {
    if network == Network::Regtest { 150 } else { 210_000 }
}

/// The target that nBits stand for, little-endian; nothing where they are negative, zero or too large.
pub(crate) fn target(nbits: u32) -> Option<[u8; 32]> {
    let negative = nbits & 0x0080_0000 != 0;
    let overflows = nbits >> 24 > 32;
    let target = Target::from_compact(CompactTarget::from_consensus(nbits));
    (!negative && !overflows && target != Target::ZERO).then(|| target.to_le_bytes())
}

/// A merkle root, and whether two neighbours on any level are equal, so that another list of transactions has the same
/// root (CVE-2012-2459). The root of nothing is zero.
pub(crate) fn merkle_root(mut level: Vec<[u8; 32]>) -> ([u8; 32], bool) {
    let mut mutated = false;
    while level.len() > 1 {
        mutated |= level.chunks_exact(2).any(|pair| pair[0] == pair[1]);
        level = next_level(&level);
    }
    (level.first().copied().unwrap_or_default(), mutated)
}

/// Hashes from the first leaf's sibling up to the root, without the first leaf itself, which is the coinbase.
pub(crate) fn coinbase_merkle_path(others: &[[u8; 32]]) -> Vec<[u8; 32]> {
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
pub(crate) fn root_of_path(leaf: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
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

/// The 32 bytes a coinbase commits to: the hash of witness root and reserved value (BIP 141). `others` are the
/// transactions after the coinbase.
pub(crate) fn witness_commitment<'a>(
    others: impl IntoIterator<Item = &'a Transaction>,
    reserved_value: &[u8],
) -> [u8; 32] {
    commitment_of_wtxids(others.into_iter().map(|tx| tx.compute_wtxid().to_byte_array()), reserved_value)
}

/// As [`witness_commitment`], from the wtxids of the transactions after the coinbase.
pub(crate) fn commitment_of_wtxids(others: impl IntoIterator<Item = [u8; 32]>, reserved_value: &[u8]) -> [u8; 32] {
    let leaves = std::iter::once([0; 32]).chain(others).collect();
    sha256d_of(&[&merkle_root(leaves).0, reserved_value])
}

/// The height as the first push of a scriptSig.
pub(crate) fn push_height(height: u32) -> Vec<u8> {
    Builder::new().push_int(i64::from(height)).into_script().into_bytes()
}

/// The coinbase of a transaction-free block after the one that `coinbase` is for, which is transaction-free too.
///
/// The node is asked again when the time has come: this is only a guess that it must confirm. `None` when the node builds
/// its coinbase in a way that we do not know.
pub(crate) fn following_coinbase(
    coinbase: &CoinbaseTemplate,
    height: u32,
    halving_interval: u32,
) -> Option<CoinbaseTemplate> {
    let next = height.checked_add(1)?;
    if coinbase.script_sig_prefix != push_height(height) {
        return None;
    }
    let halves = next.checked_rem(halving_interval)? == 0;
    Some(CoinbaseTemplate {
        script_sig_prefix: push_height(next),
        value_remaining: if halves { coinbase.value_remaining / 2 } else { coinbase.value_remaining },
        lock_time: if coinbase.lock_time == height - 1 { height } else { coinbase.lock_time },
        ..coinbase.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_target_is_positive_and_fits() {
        for bad in [0, 0x1d80_ffff, 0x2100_ffff, 0xff00_0001, 0x0100_0000] {
            assert_eq!(target(bad), None, "{bad:#x}");
        }
        assert!(target(0x1d00_ffff).is_some());
    }

    #[test]
    fn the_following_coinbase_moves_height_subsidy_and_lock_time() {
        let at = |height: u32, lock_time: u32| CoinbaseTemplate {
            version: 2,
            script_sig_prefix: push_height(height),
            sequence: 0xffff_fffe,
            value_remaining: 2_500_000_000,
            outputs_count: 1,
            outputs: vec![0; 9],
            lock_time,
        };
        let next = following_coinbase(&at(300, 299), 300, 150).unwrap();
        assert_eq!(next, at(301, 300));
        assert_eq!(following_coinbase(&at(299, 298), 299, 150).unwrap().value_remaining, 1_250_000_000);
        assert_eq!(following_coinbase(&at(299, 298), 299, 210_000).unwrap().value_remaining, 2_500_000_000);
        assert_eq!(following_coinbase(&at(300, 299), 301, 150), None, "the prefix is for another height");
        assert_eq!(following_coinbase(&at(300, 0), 300, 150).unwrap().lock_time, 0);
    }
}
