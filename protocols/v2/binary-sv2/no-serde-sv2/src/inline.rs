//! B0_32, held inline so that messages with an extranonce are `Copy`.

use core::fmt;
use core::ops::Deref;

use const_sv2::limits::B0_32_MAX;

use crate::primitives::{owned_already, serde_as_itself};
use crate::{Decodable, Element, Encodable, Error, Reader, Writer};

/// B0_32: up to 32 bytes, held inline.
// Aligned so that it is moved in the portions it is written in; else the CPU has to wait for its own stores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(align(8))]
pub struct B0_32 {
    // Bytes from `len` on are zero, so that the derived comparisons see the content only.
    bytes: [u8; B0_32_MAX],
    len: u8,
}

impl B0_32 {
    /// No bytes.
    pub const EMPTY: Self = Self { bytes: [0; B0_32_MAX], len: 0 };

    /// Keeps the first 32 bytes.
    #[must_use]
    pub fn from_truncated(bytes: &[u8]) -> Self {
        let len = bytes.len().min(B0_32_MAX);
        let mut inline = Self { bytes: [0; B0_32_MAX], len: len as u8 };
        for (to, from) in inline.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        inline
    }

    /// The content.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

impl TryFrom<&[u8]> for B0_32 {
    type Error = Error;

    #[inline]
    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        let mut inline = Self::EMPTY;
        match inline.bytes.get_mut(..bytes.len()) {
            Some(to) => {
                to.copy_from_slice(bytes);
                inline.len = bytes.len() as u8;
                Ok(inline)
            }
            None => {
                let (max, got) = (B0_32_MAX, bytes.len());
                Err(Error::ValueTooLong { data_type: "B0_32", max, got })
            }
        }
    }
}

impl<const N: usize> TryFrom<[u8; N]> for B0_32 {
    type Error = Error;

    fn try_from(bytes: [u8; N]) -> Result<Self, Error> {
        Self::try_from(&bytes[..])
    }
}

impl TryFrom<alloc::vec::Vec<u8>> for B0_32 {
    type Error = Error;

    fn try_from(bytes: alloc::vec::Vec<u8>) -> Result<Self, Error> {
        Self::try_from(&bytes[..])
    }
}

impl Deref for B0_32 {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for B0_32 {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for B0_32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::bytes::debug_hex(f, "B0_32", self.as_bytes())
    }
}

impl Encodable for B0_32 {
    #[inline]
    fn encoded_len(&self) -> usize {
        1 + usize::from(self.len)
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put_array(&[self.len])?;
        out.put(self.as_bytes())
    }
    serde_as_itself!(encode);
}

impl<'a> Decodable<'a> for B0_32 {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let offset = r.offset();
        let len = u8::decode(r)?;
        if usize::from(len) > B0_32_MAX {
            let (max, got) = (B0_32_MAX, usize::from(len));
            return Err(Error::LengthOutOfRange { data_type: "B0_32", offset, max, got });
        }
        Ok(Self { bytes: padded(r.take(usize::from(len))?), len })
    }
    serde_as_itself!(decode);
}

/// At most 32 bytes and zeros behind them.
///
/// Put together from numbers that stay in registers, where copying by a length that is known at run time only is a call,
/// and what it has written is then read back in other portions: every share pays for this.
#[inline]
fn padded(content: &[u8]) -> [u8; B0_32_MAX] {
    let (low, high) = match (content.first_chunk(), content.last_chunk()) {
        (Some(first), Some(last)) => (u128::from_le_bytes(*first), after(*last, B0_32_MAX - content.len())),
        _ => (at_most_15(content), 0),
    };
    let mut bytes = [0; B0_32_MAX];
    let (to_low, to_high) = bytes.split_at_mut(16);
    to_low.copy_from_slice(&low.to_le_bytes());
    to_high.copy_from_slice(&high.to_le_bytes());
    bytes
}

/// The last 16 bytes without the first `seen`, which overlap what was read before.
#[inline]
const fn after(last: [u8; 16], seen: usize) -> u128 {
    match u128::from_le_bytes(last).checked_shr(8 * seen as u32) {
        Some(number) => number,
        None => 0,
    }
}

/// As a number, least significant byte first: two halves that overlap.
#[inline]
fn at_most_15(content: &[u8]) -> u128 {
    let len = content.len();
    if let (Some(first), Some(last)) = (content.first_chunk(), content.last_chunk()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        return u128::from(first) | u128::from(last) << (8 * (len - 8));
    }
    if let (Some(first), Some(last)) = (content.first_chunk(), content.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u128::from(u64::from(first) | u64::from(last) << (8 * (len - 4)));
    }
    content.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

impl Element for B0_32 {
    type At<'b> = Self;
    const FIXED_LEN: Option<usize> = None;
}

owned_already!(B0_32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_bytes, to_bytes};

    #[test]
    fn thirty_two_bytes_fit_and_thirty_three_do_not() {
        let full = B0_32::try_from([7; 32]).unwrap();
        assert_eq!(full.as_bytes(), [7; 32]);
        assert_eq!(from_bytes::<B0_32>(&to_bytes(&full).unwrap()), Ok(full));
        let long = Error::ValueTooLong { data_type: "B0_32", max: 32, got: 33 };
        assert_eq!(B0_32::try_from([7; 33]), Err(long));
        assert_eq!(B0_32::from_truncated(&[7; 33]), full);
        let mut wire = [0; 34];
        wire[0] = 33;
        let long = Error::LengthOutOfRange { data_type: "B0_32", offset: 0, max: 32, got: 33 };
        assert_eq!(from_bytes::<B0_32>(&wire), Err(long));
    }

    #[test]
    fn every_length_is_copied_whole_and_padded_with_zeros() {
        let wire: [u8; 33] = core::array::from_fn(|i| i as u8 + 1);
        for len in 0..=32 {
            let mut input = wire;
            input[0] = len as u8;
            let decoded = from_bytes::<B0_32>(&input[..=len]).unwrap();
            assert_eq!(decoded.as_bytes(), &wire[1..=len]);
            assert_eq!(decoded, B0_32::try_from(&wire[1..=len]).unwrap());
        }
    }

    #[test]
    fn equality_looks_at_the_content_only() {
        assert_eq!(B0_32::from_truncated(&[1, 2]), B0_32::try_from([1, 2]).unwrap());
        assert_ne!(B0_32::try_from([1, 0]).unwrap(), B0_32::try_from([1]).unwrap());
        assert_eq!(B0_32::EMPTY, B0_32::default());
    }
}
