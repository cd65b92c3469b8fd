//! The coinbase transaction around its extranonce, and the merkle root that follows from it.

use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::sha::{Message, merkle_root};

/// Bytes of nVersion, after which BIP 141 puts marker and flag.
const VERSION_LEN: usize = 4;
/// Bytes of nLockTime, before which BIP 141 puts the witness.
const LOCK_TIME_LEN: usize = 4;
/// Marker and flag of BIP 141.
const MARKER_AND_FLAG: [u8; 2] = [0, 1];
/// One witness item of 32 bytes, all zero: the witness reserved value (sv2-spec §7.2).
const WITNESS: [u8; 34] = {
    let mut witness = [0; 34];
    witness[0] = 1;
    witness[1] = 32;
    witness
};
/// What the fields of BIP 141 add to the stripped transaction, in bytes.
pub(crate) const WITNESS_FIELDS_LEN: usize = MARKER_AND_FLAG.len() + WITNESS.len();

/// A coinbase transaction without its extranonce and without the fields of BIP 141 (sv2-spec §5.3.16, §3.7.1).
///
/// Keeps the state of SHA-256 after the prefix, and what follows it in blocks, so that a merkle root costs no more than the
/// blocks from the extranonce on.
#[derive(Clone)]
pub struct SplitCoinbase {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    /// For extranonces of the size that was announced.
    hashed: Message,
}

impl SplitCoinbase {
    /// Takes the two parts as they are on the wire, for extranonces of any size; they are not parsed.
    pub fn new(prefix: Vec<u8>, suffix: Vec<u8>) -> Self {
        Self::for_size(prefix, suffix, 0)
    }

    /// Takes the two parts as they are on the wire; extranonces of `size` bytes are hashed fastest.
    pub fn for_size(prefix: Vec<u8>, suffix: Vec<u8>, size: usize) -> Self {
        let hashed = Message::new(&prefix, size, &suffix);
        Self { prefix, suffix, hashed }
    }

    /// What comes before the extranonce.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// What comes after the extranonce.
    pub fn suffix(&self) -> &[u8] {
        &self.suffix
    }

    /// Transaction id with this full extranonce, in the byte order of a merkle tree's leaves.
    pub fn txid(&self, extranonce: &[u8]) -> [u8; 32] {
        self.hashed.sha256d(extranonce).unwrap_or_else(|| {
            let mut hasher = Sha256::new_with_prefix(&self.prefix);
            hasher.update(extranonce);
            hasher.update(&self.suffix);
            Sha256::digest(hasher.finalize()).into()
        })
    }

    /// Merkle root with this full extranonce, in the byte order of a block header.
    pub fn merkle_root(&self, extranonce: &[u8], merkle_path: &[[u8; 32]]) -> [u8; 32] {
        merkle_root(&self.txid(extranonce), merkle_path)
    }

    /// The transaction as its txid is computed: without the fields of BIP 141.
    pub fn stripped(&self, extranonce: &[u8]) -> Vec<u8> {
        [&self.prefix, extranonce, &self.suffix].concat()
    }

    /// The transaction as a block carries it when there is a witness commitment: BIP 141's fields put back.
    ///
    /// Parts too short to be a transaction's come back stripped.
    pub fn with_witness(&self, extranonce: &[u8]) -> Vec<u8> {
        let parts = (self.prefix.split_at_checked(VERSION_LEN), self.suffix.len().checked_sub(LOCK_TIME_LEN));
        let (Some((version, start)), Some(lock_time_at)) = parts else {
            return self.stripped(extranonce);
        };
        let (end, lock_time) = self.suffix.split_at(lock_time_at);
        [version, &MARKER_AND_FLAG, start, extranonce, end, &WITNESS, lock_time].concat()
    }
}

impl fmt::Debug for SplitCoinbase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitCoinbase")
            .field("prefix_len", &self.prefix.len())
            .field("suffix_len", &self.suffix.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;

    #[test]
    fn shown_by_its_lengths() {
        let shown = format!("{:?}", SplitCoinbase::new(vec![1; 60], vec![2; 50]));
        assert_eq!(shown, "SplitCoinbase { prefix_len: 60, suffix_len: 50, .. }");
    }
}
