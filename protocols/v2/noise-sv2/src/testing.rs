//! What the tests of several modules need.

use alloc::{collections::VecDeque, vec::Vec};

use rand_core::{CryptoRng, Error, RngCore, impls};

/// Bytes of a hexadecimal string.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Lines of a vector file, split at commas, without comments.
pub(crate) fn vector_lines(file: &str) -> Vec<Vec<&str>> {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(',').collect()).collect()
}

/// A generator that hands out prepared bytes and panics when they are used up.
pub(crate) struct Tape(VecDeque<u8>);

impl Tape {
    pub(crate) fn new(values: &[[u8; 32]]) -> Self {
        Self(values.iter().flatten().copied().collect())
    }
}

impl RngCore for Tape {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.pop_front().expect("more randomness was drawn than prepared");
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Tape {}
