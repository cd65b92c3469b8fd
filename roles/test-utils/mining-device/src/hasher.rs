//! Double SHA-256 of block headers, two compressions a nonce.
//!
//! An 80-byte header fills one SHA-256 block and a quarter of a second one. The first 64 bytes (version, previous hash and
//! the merkle root but for its last 4 bytes) do not depend on time and nonce, so their compression is done once. The
//! compressions are those of `sha2`, which uses the CPU's SHA instructions where it has them.

use bitcoin::{BlockHash, hashes::Hash as _};
use roles_logic_sv2::{Header, Target};
use sha2::digest::{consts::U64, generic_array::GenericArray};

type Block = GenericArray<u8, U64>;

/// Initial state of SHA-256 (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Offset of the nonce in the second block of a header.
const NONCE_OFFSET: usize = 12;

/// Hashes one header with many nonces.
#[derive(Clone)]
pub struct Scanner {
    midstate: [u32; 8],
    /// End of the header, and the padding.
    tail: Block,
    /// First hash, and the padding.
    outer: Block,
}

impl Scanner {
    /// Compresses the part that all nonces share; the header's own nonce does not matter.
    pub fn new(header: &Header) -> Self {
        let bytes = header.to_bytes();
        let mut midstate = INITIAL;
        sha2::compress256(&mut midstate, &[*Block::from_slice(&bytes[..64])]);
        let mut tail = Block::default();
        tail[..16].copy_from_slice(&bytes[64..]);
        pad(&mut tail, bytes.len());
        let mut outer = Block::default();
        pad(&mut outer, 32);
        Self { midstate, tail, outer }
    }

    /// The first of `count` nonces from `start` on, wrapping, whose hash meets `target`; `None` if there is none.
    pub fn scan(&mut self, start: u32, count: u32, target: &Target) -> Option<u32> {
        let limit = target.to_le_bytes();
        let top = u32::from_le_bytes([limit[28], limit[29], limit[30], limit[31]]);
        (0..count).map(|i| start.wrapping_add(i)).find(|&nonce| {
            let state = self.state(nonce);
            // The last word holds the hash's 32 highest bits and settles nearly all nonces.
            state[7].swap_bytes() <= top && Target::from_le_bytes(to_bytes(&state)) <= *target
        })
    }

    /// The header's hash with this nonce.
    pub fn hash(&mut self, nonce: u32) -> BlockHash {
        BlockHash::from_byte_array(to_bytes(&self.state(nonce)))
    }

    #[inline]
    fn state(&mut self, nonce: u32) -> [u32; 8] {
        self.tail[NONCE_OFFSET..NONCE_OFFSET + 4].copy_from_slice(&nonce.to_le_bytes());
        let mut inner = self.midstate;
        sha2::compress256(&mut inner, std::slice::from_ref(&self.tail));
        self.outer[..32].copy_from_slice(&to_bytes(&inner));
        let mut state = INITIAL;
        sha2::compress256(&mut state, std::slice::from_ref(&self.outer));
        state
    }
}

/// Puts SHA-256's padding into the last block of a message of `len` bytes; the block must be zero after the message.
fn pad(block: &mut Block, len: usize) {
    block[len % 64] = 0x80;
    block[56..].copy_from_slice(&(len as u64 * 8).to_be_bytes());
}

#[inline]
fn to_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(state) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block_hash(text: &str) -> BlockHash {
        text.parse().unwrap()
    }

    fn root(text: &str) -> [u8; 32] {
        *text.parse::<bitcoin::TxMerkleNode>().unwrap().as_ref()
    }

    fn genesis() -> Header {
        Header {
            version: 1,
            prev_hash: BlockHash::from_byte_array([0; 32]),
            merkle_root: root("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"),
            ntime: 1_231_006_505,
            nbits: 0x1d00_ffff,
            nonce: 2_083_236_893,
        }
    }

    /// Block 125,552, whose header is a well-known worked example.
    fn block_125552() -> Header {
        Header {
            version: 1,
            prev_hash: block_hash("00000000000008a3a41b85b8b29ad444def299fee21793cd8b9e567eab02cd81"),
            merkle_root: root("2b12fcf1b09288fcaff797d71e950e71ae42b91e8bdb2304758dfcffc2b620e3"),
            ntime: 0x4dd7_f5c7,
            nbits: 0x1a44_b9f2,
            nonce: 0x9546_a142,
        }
    }

    #[test]
    fn known_blocks() {
        let genesis_hash = block_hash("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
        assert_eq!(Scanner::new(&genesis()).hash(2_083_236_893), genesis_hash);
        let hash = block_hash("00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d");
        assert_eq!(Scanner::new(&block_125552()).hash(0x9546_a142), hash);
    }

    #[test]
    fn scanning_finds_the_known_nonce_and_nothing_before() {
        let target = Target::from_compact(0x1a44_b9f2).unwrap();
        let mut scanner = Scanner::new(&block_125552());
        assert_eq!(scanner.scan(0x9546_a142 - 5_000, 6_000, &target), Some(0x9546_a142));
        assert_eq!(scanner.scan(0x9546_a142 - 5_000, 5_000, &target), None);
    }

    #[test]
    fn a_hash_that_equals_the_target_meets_it() {
        let mut scanner = Scanner::new(&genesis());
        let exact = scanner.hash(2_083_236_893).to_byte_array();
        assert_eq!(scanner.scan(2_083_236_893, 1, &Target::from_le_bytes(exact)), Some(2_083_236_893));
        let mut below = exact;
        below[0] -= 1;
        assert_eq!(scanner.scan(2_083_236_893, 1, &Target::from_le_bytes(below)), None);
    }

    #[test]
    fn nonces_wrap() {
        let mut scanner = Scanner::new(&genesis());
        // The least of the four hashes, so that the others do not meet it.
        let nonces = [u32::MAX - 1, u32::MAX, 0, 1];
        let hash = |nonce: u32| Target::from_le_bytes(Scanner::new(&genesis()).hash(nonce).to_byte_array());
        let best = nonces.into_iter().min_by_key(|nonce| hash(*nonce)).unwrap();
        assert_eq!(scanner.scan(u32::MAX - 1, 4, &hash(best)), Some(best));
        assert_eq!(scanner.scan(u32::MAX, 1, &Target::MAX), Some(u32::MAX));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_hashing_all_80_bytes(
            version: u32, prev_hash: [u8; 32], merkle_root: [u8; 32], ntime: u32, nbits: u32, nonce: u32,
        ) {
            let prev_hash = BlockHash::from_byte_array(prev_hash);
            let header = Header { version, prev_hash, merkle_root, ntime, nbits, nonce };
            prop_assert_eq!(Scanner::new(&Header { nonce: 0, ..header }).hash(nonce), header.hash());
        }
    }
}
