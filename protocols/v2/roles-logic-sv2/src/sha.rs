//! Double SHA-256 of what shares are made of, block by block: nothing is buffered, and what does not change is hashed once.

use alloc::vec::Vec;

use sha2::{
    compress256,
    digest::generic_array::{GenericArray, typenum::U64},
};

/// Bytes that SHA-256 takes at a time.
const BLOCK: usize = 64;

type Block = GenericArray<u8, U64>;

/// State of SHA-256 before the first block (FIPS 180-4 §5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A block with the padding of a message that ends in it after `len` bytes of the block, and is `total` bytes long.
const fn padded(len: usize, total: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[len] = 0x80;
    let bits = (total as u64 * 8).to_be_bytes();
    let mut i = 0;
    while i < bits.len() {
        block[BLOCK - bits.len() + i] = bits[i];
        i += 1;
    }
    block
}

/// Behind a message of 64 bytes.
const AFTER_64: [u8; BLOCK] = padded(0, 64);
/// Around the last 16 bytes of a header.
const AFTER_80: [u8; BLOCK] = padded(16, 80);
/// Around the hash that is hashed again.
const AFTER_32: [u8; BLOCK] = padded(32, 32);

/// SHA-256 of the first hash's state.
fn second(first: &[u32; 8]) -> [u8; 32] {
    let mut block = AFTER_32;
    put(first, &mut block);
    let mut state = START;
    compress256(&mut state, &[block.into()]);
    let mut hash = [0; 32];
    put(&state, &mut hash);
    hash
}

/// Words as bytes, the most significant first, at the beginning of `out`.
fn put(words: &[u32], out: &mut [u8]) {
    for (bytes, word) in out.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

/// Root of a merkle tree from its first leaf and the siblings on the way up: each step is the double SHA-256 of two hashes.
///
/// Each hash is written where the next one reads it: a copy between would cost as much as five rounds.
pub(crate) fn merkle_root(leaf: &[u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    let mut pair: [Block; 2] = [[0; BLOCK].into(), AFTER_64.into()];
    let mut again: [Block; 1] = [AFTER_32.into()];
    pair[0][..32].copy_from_slice(leaf);
    for sibling in path {
        pair[0][32..].copy_from_slice(sibling);
        let mut state = START;
        compress256(&mut state, &pair);
        put(&state, &mut again[0]);
        state = START;
        compress256(&mut state, &again);
        put(&state, &mut pair[0]);
    }
    let mut root = [0; 32];
    root.copy_from_slice(&pair[0][..32]);
    root
}

/// State after the first block of a header, which ends before the last bytes of its merkle root.
pub(crate) fn header_start(header: &[u8; 80]) -> [u32; 8] {
    let mut first = [0; BLOCK];
    first.copy_from_slice(&header[..BLOCK]);
    let mut state = START;
    compress256(&mut state, &[first.into()]);
    state
}

/// Double SHA-256 of a block header from the state after its first block, and the four words behind that block as SHA-256
/// reads them: most significant byte first.
pub(crate) fn header_end(mut state: [u32; 8], words: [u32; 4]) -> [u8; 32] {
    let mut last = AFTER_80;
    put(&words, &mut last);
    compress256(&mut state, &[last.into()]);
    second(&state)
}

/// Double SHA-256 of a block header.
pub(crate) fn sha256d_80(header: &[u8; 80]) -> [u8; 32] {
    let (mut first, mut last) = ([0; BLOCK], AFTER_80);
    first.copy_from_slice(&header[..BLOCK]);
    last[..16].copy_from_slice(&header[BLOCK..]);
    let mut state = START;
    compress256(&mut state, &[first.into(), last.into()]);
    second(&state)
}

/// A message with a gap: whole blocks before the gap are hashed, the rest is laid out in blocks with its padding.
#[derive(Clone)]
pub(crate) struct Message {
    state: [u32; 8],
    /// From the block on in which the gap begins.
    blocks: Vec<Block>,
    /// Where the gap begins in the first of them.
    at: usize,
    /// Bytes of the gap.
    size: usize,
}

impl Message {
    /// Longest gap that [`sha256d`](Self::sha256d) fills; it lies in at most two blocks.
    const MAX_GAP: usize = BLOCK;

    pub(crate) fn new(prefix: &[u8], size: usize, suffix: &[u8]) -> Self {
        let at = prefix.len() % BLOCK;
        let (hashed, rest) = prefix.split_at(prefix.len() - at);
        let mut state = START;
        hashed.chunks_exact(BLOCK).for_each(|block| compress256(&mut state, &[*Block::from_slice(block)]));
        let total = prefix.len() + size + suffix.len();
        let mut tail = Vec::with_capacity(total - hashed.len() + 2 * BLOCK);
        tail.extend_from_slice(rest);
        tail.resize(rest.len() + size, 0);
        tail.extend_from_slice(suffix);
        tail.push(0x80);
        tail.resize((tail.len() + 8).next_multiple_of(BLOCK) - 8, 0);
        tail.extend_from_slice(&(total as u64 * 8).to_be_bytes());
        let blocks = tail.chunks_exact(BLOCK).map(|block| *Block::from_slice(block)).collect();
        Self { state, blocks, at, size }
    }

    /// Double SHA-256 with the gap filled; `None` when `fill` does not have its size.
    pub(crate) fn sha256d(&self, fill: &[u8]) -> Option<[u8; 32]> {
        if fill.len() != self.size || fill.len() > Self::MAX_GAP {
            return None;
        }
        // The blocks that the gap is in: one, or two.
        let touched = (self.at + fill.len()).div_ceil(BLOCK).max(1);
        let (gap, rest) = self.blocks.split_at_checked(touched)?;
        let mut bytes = [0; 2 * BLOCK];
        for (room, block) in bytes.chunks_exact_mut(BLOCK).zip(gap) {
            room.copy_from_slice(block);
        }
        bytes.get_mut(self.at..self.at + fill.len())?.copy_from_slice(fill);
        let mut state = self.state;
        for block in bytes.chunks_exact(BLOCK).take(touched) {
            compress256(&mut state, &[*Block::from_slice(block)]);
        }
        compress256(&mut state, rest);
        Some(second(&state))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn expected(message: &[u8]) -> [u8; 32] {
        Sha256::digest(Sha256::digest(message)).into()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn fixed_lengths(header in prop::collection::vec(any::<u8>(), 80)) {
            prop_assert_eq!(sha256d_80(header.as_slice().try_into().unwrap()), expected(&header));
            let words = core::array::from_fn(|i| u32::from_be_bytes(header[64 + 4 * i..][..4].try_into().unwrap()));
            prop_assert_eq!(header_end(header_start(header.as_slice().try_into().unwrap()), words), expected(&header));
        }

        #[test]
        fn merkle_roots(leaf: [u8; 32], path in prop::collection::vec(any::<[u8; 32]>(), 0..16)) {
            let root = path.iter().fold(leaf, |root, sibling| expected(&[root, *sibling].concat()));
            prop_assert_eq!(merkle_root(&leaf, &path), root);
        }

        #[test]
        fn messages_with_a_gap(prefix in 0usize..200, size in 0usize..=64, suffix in 0usize..200, byte: u8) {
            let (prefix, fill, suffix) = (vec![byte; prefix], vec![!byte; size], vec![byte ^ 0x55; suffix]);
            let message = Message::new(&prefix, size, &suffix);
            prop_assert_eq!(message.sha256d(&fill), Some(expected(&[&prefix[..], &fill, &suffix].concat())));
            prop_assert_eq!(message.sha256d(&vec![0; size + 1]), None);
        }
    }

    #[test]
    fn every_alignment() {
        for prefix in 0..=64 {
            for suffix in 0..=64 {
                let (prefix, fill, suffix) = (vec![1; prefix], [2; 32], vec![3; suffix]);
                let message = Message::new(&prefix, 32, &suffix);
                assert_eq!(message.sha256d(&fill), Some(expected(&[&prefix[..], &fill, &suffix].concat())));
            }
        }
    }
}
