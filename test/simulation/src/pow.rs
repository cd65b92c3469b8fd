//! Search for proofs of work: double SHA-256 over a header, nonce by nonce.

use bitcoin::hashes::{Hash, sha256d};

/// Hashes a header at `count` nonces from `first` on, and gives those whose hash is at or below `target` (little-endian).
pub fn search(mut header: [u8; 80], first: u32, count: u32, target: &[u8; 32]) -> impl Iterator<Item = u32> {
    (0..count).map(move |step| first.wrapping_add(step)).filter(move |nonce| {
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        let hash = sha256d::Hash::hash(&header).to_byte_array();
        hash.iter().rev().le(target.iter().rev())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_bitcoin_finds() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).header;
        let mut header = [0; 80];
        header.copy_from_slice(&bitcoin::consensus::serialize(&genesis));
        let target = genesis.target().to_le_bytes();
        let found: Vec<u32> = search(header, genesis.nonce - 500, 1_000, &target).collect();
        assert_eq!(found, [genesis.nonce]);
    }
}
