//! U256.

use core::cmp::Ordering;
use core::fmt;

use crate::primitives::{owned_already, serde_as_itself};
use crate::{Decodable, Element, Encodable, Error, Reader, Writer};

/// U256: a 256-bit number, held as its 32 wire bytes (little-endian).
///
/// For a hash these are SHA-256's output bytes in order; `Display` prints the number with the most
/// significant digit first, as block explorers do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct U256([u8; 32]);

impl U256 {
    /// Zero.
    pub const ZERO: Self = Self([0; 32]);
    /// 2^256 − 1.
    pub const MAX: Self = Self([0xff; 32]);

    /// From wire bytes, least significant first.
    #[inline]
    #[must_use]
    pub const fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From bytes with the most significant first.
    #[must_use]
    pub const fn from_be_bytes(mut bytes: [u8; 32]) -> Self {
        let mut i = 0;
        while i < 16 {
            let other = bytes[31 - i];
            bytes[31 - i] = bytes[i];
            bytes[i] = other;
            i += 1;
        }
        Self(bytes)
    }

    /// Wire bytes, least significant first.
    #[inline]
    #[must_use]
    pub const fn to_le_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Bytes with the most significant first.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        Self::from_be_bytes(self.0).0
    }

    /// Wire bytes, least significant first.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for U256 {
    /// From wire bytes, least significant first.
    #[inline]
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<U256> for [u8; 32] {
    #[inline]
    fn from(value: U256) -> Self {
        value.0
    }
}

impl AsRef<[u8]> for U256 {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Compares as numbers.
impl Ord for U256 {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for U256 {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U256({self})")
    }
}

impl Encodable for U256 {
    #[inline]
    fn encoded_len(&self) -> usize {
        32
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put_array(&self.0)
    }
    serde_as_itself!(encode);
}

impl<'a> Decodable<'a> for U256 {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        r.take_array().copied().map(Self)
    }
    serde_as_itself!(decode);
}

impl Element for U256 {
    type At<'b> = Self;
    const FIXED_LEN: Option<usize> = Some(32);
}

owned_already!(U256);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn number(low: u8, high: u8) -> U256 {
        let mut b = [0; 32];
        b[0] = low;
        b[31] = high;
        U256::from_le_bytes(b)
    }

    #[test]
    fn orders_and_prints_as_a_number() {
        assert!(number(0xff, 0) < number(0, 1));
        assert!(number(1, 1) < number(2, 1));
        assert!(number(1, 0).to_string().ends_with("0001"));
        assert!(number(0, 1).to_string().starts_with("0100"));
    }

    #[test]
    fn byte_orders_mirror_each_other() {
        let n = number(7, 9);
        assert_eq!((n.to_be_bytes()[0], n.to_be_bytes()[31]), (9, 7));
        assert_eq!(U256::from_be_bytes(n.to_be_bytes()), n);
    }
}
