//! The block header that a share stands for.

use bitcoin::{BlockHash, hashes::Hash as _};

use crate::sha::{header_end, header_start, sha256d_80};

/// Length of a serialised block header in bytes.
pub const HEADER_LEN: usize = 80;

/// The six fields of a block header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// nVersion with its rolled bits.
    pub version: u32,
    /// Hash of the previous block.
    pub prev_hash: BlockHash,
    /// Merkle root in the byte order of the header.
    pub merkle_root: [u8; 32],
    /// nTime, unix seconds.
    pub ntime: u32,
    /// Compact network target.
    pub nbits: u32,
    /// The nonce.
    pub nonce: u32,
}

impl Header {
    /// Consensus serialisation.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(self.prev_hash.as_byte_array());
        bytes[36..68].copy_from_slice(&self.merkle_root);
        bytes[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        bytes[76..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Double SHA-256 of the serialisation.
    pub fn hash(&self) -> BlockHash {
        BlockHash::from_byte_array(sha256d_80(&self.to_bytes()))
    }

    /// The state of SHA-256 after the first 64 bytes: all but the merkle root's last four, nTime, nBits and nonce.
    pub(crate) fn start(&self) -> [u32; 8] {
        header_start(&self.to_bytes())
    }

    /// The hash, from [`start`](Self::start) and what is behind it.
    pub(crate) fn hash_from(start: [u32; 8], root: &[u8; 32], ntime: u32, nbits: u32, nonce: u32) -> BlockHash {
        let [.., a, b, c, d] = *root;
        let words = [u32::from_be_bytes([a, b, c, d]), ntime.swap_bytes(), nbits.swap_bytes(), nonce.swap_bytes()];
        BlockHash::from_byte_array(header_end(start, words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genesis() {
        let block = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
        let header = Header {
            version: 1,
            prev_hash: BlockHash::all_zeros(),
            merkle_root: block.header.merkle_root.to_byte_array(),
            ntime: 1_231_006_505,
            nbits: 0x1d00_ffff,
            nonce: 2_083_236_893,
        };
        assert_eq!(header.hash(), block.block_hash());
        let from_start =
            Header::hash_from(header.start(), &header.merkle_root, header.ntime, header.nbits, header.nonce);
        assert_eq!(from_start, block.block_hash());
        assert_eq!(header.to_bytes().as_slice(), bitcoin::consensus::serialize(&block.header));
    }
}
