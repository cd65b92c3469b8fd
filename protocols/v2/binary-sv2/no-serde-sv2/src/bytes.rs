//! Byte arrays with a length prefix: B0_255, B0_64K, B0_16M.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::Deref;

use const_sv2::limits;

use crate::primitives::serde_as_itself;
use crate::{Decodable, Element, Encodable, Error, IntoOwned, Reader, U24, Writer};

/// B0_255: up to 255 bytes behind a one-byte length.
pub type B0_255<'a> = Bytes<'a, Len8>;
/// B0_64K: up to 65,535 bytes behind a two-byte length.
pub type B0_64K<'a> = Bytes<'a, Len16>;
/// B0_16M: up to 2^24 − 1 bytes behind a three-byte length.
pub type B0_16M<'a> = Bytes<'a, Len24>;

/// Width of a length or count in front of its content.
pub trait LenPrefix: 'static {
    /// Bytes the prefix takes.
    const WIDTH: usize;
    /// Largest length or count.
    const MAX: usize;
    /// Name of the byte array with this prefix.
    const BYTES_NAME: &'static str;
    /// Name of the sequence with this prefix.
    const SEQ_NAME: &'static str;

    /// Writes the prefix. `len` is at most [`MAX`](Self::MAX): constructors see to that.
    fn put(len: usize, out: &mut Writer<'_>) -> Result<(), Error>;

    /// Reads the prefix.
    fn take(r: &mut Reader<'_>) -> Result<usize, Error>;
}

/// Prefix of one byte.
#[derive(Clone, Copy, Debug)]
pub enum Len8 {}
/// Prefix of two bytes, little-endian.
#[derive(Clone, Copy, Debug)]
pub enum Len16 {}
/// Prefix of three bytes, little-endian.
#[derive(Clone, Copy, Debug)]
pub enum Len24 {}

impl LenPrefix for Len8 {
    const WIDTH: usize = 1;
    const MAX: usize = limits::B0_255_MAX;
    const BYTES_NAME: &'static str = "B0_255";
    const SEQ_NAME: &'static str = "SEQ0_255";

    #[inline]
    fn put(len: usize, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put_array(&[len as u8])
    }
    #[inline]
    fn take(r: &mut Reader<'_>) -> Result<usize, Error> {
        u8::decode(r).map(usize::from)
    }
}

impl LenPrefix for Len16 {
    const WIDTH: usize = 2;
    const MAX: usize = limits::B0_64K_MAX;
    const BYTES_NAME: &'static str = "B0_64K";
    const SEQ_NAME: &'static str = "SEQ0_64K";

    #[inline]
    fn put(len: usize, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put_array(&(len as u16).to_le_bytes())
    }
    #[inline]
    fn take(r: &mut Reader<'_>) -> Result<usize, Error> {
        u16::decode(r).map(usize::from)
    }
}

impl LenPrefix for Len24 {
    const WIDTH: usize = 3;
    const MAX: usize = limits::B0_16M_MAX;
    const BYTES_NAME: &'static str = "B0_16M";
    const SEQ_NAME: &'static str = "SEQ0_16M";

    #[inline]
    fn put(len: usize, out: &mut Writer<'_>) -> Result<(), Error> {
        let [a, b, c, _] = (len as u32).to_le_bytes();
        out.put_array(&[a, b, c])
    }
    #[inline]
    fn take(r: &mut Reader<'_>) -> Result<usize, Error> {
        U24::decode(r).map(|n| n.get() as usize)
    }
}

/// Bytes behind a length prefix `L`; borrowed when decoded, borrowed or owned when built.
pub struct Bytes<'a, L> {
    data: Cow<'a, [u8]>,
    prefix: PhantomData<L>,
}

impl<'a, L: LenPrefix> Bytes<'a, L> {
    /// No bytes.
    pub const EMPTY: Self = Self { data: Cow::Borrowed(&[]), prefix: PhantomData };

    /// Keeps as many of the first bytes as fit.
    #[must_use]
    pub fn from_truncated(bytes: &'a [u8]) -> Self {
        Self::unchecked(Cow::Borrowed(bytes.get(..L::MAX).unwrap_or(bytes)))
    }

    /// The content.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    /// The content as a vector; copies when it is borrowed.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.data.into_owned()
    }

    /// A second value that borrows from this one.
    #[inline]
    #[must_use]
    pub fn reborrow(&self) -> Bytes<'_, L> {
        Bytes::unchecked(Cow::Borrowed(&self.data))
    }

    #[inline]
    fn unchecked(data: Cow<'a, [u8]>) -> Self {
        Self { data, prefix: PhantomData }
    }

    pub(crate) fn checked(data: Cow<'a, [u8]>) -> Result<Self, Error> {
        if data.len() > L::MAX {
            let (max, got) = (L::MAX, data.len());
            return Err(Error::ValueTooLong { data_type: L::BYTES_NAME, max, got });
        }
        Ok(Self::unchecked(data))
    }
}

impl<'a, L: LenPrefix> TryFrom<&'a [u8]> for Bytes<'a, L> {
    type Error = Error;

    fn try_from(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::checked(Cow::Borrowed(bytes))
    }
}

impl<'a, L: LenPrefix, const N: usize> TryFrom<&'a [u8; N]> for Bytes<'a, L> {
    type Error = Error;

    fn try_from(bytes: &'a [u8; N]) -> Result<Self, Error> {
        Self::checked(Cow::Borrowed(bytes))
    }
}

impl<L: LenPrefix> TryFrom<Vec<u8>> for Bytes<'_, L> {
    type Error = Error;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::checked(Cow::Owned(bytes))
    }
}

impl<L> Deref for Bytes<'_, L> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.data
    }
}

impl<L> AsRef<[u8]> for Bytes<'_, L> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl<L> Clone for Bytes<'_, L> {
    fn clone(&self) -> Self {
        Self { data: self.data.clone(), prefix: PhantomData }
    }
}

impl<L: LenPrefix> Default for Bytes<'_, L> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<L> PartialEq for Bytes<'_, L> {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

impl<L> Eq for Bytes<'_, L> {}

impl<L> Hash for Bytes<'_, L> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.data.hash(state);
    }
}

impl<L: LenPrefix> fmt::Debug for Bytes<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_hex(f, L::BYTES_NAME, &self.data)
    }
}

/// `name(0a0b…)`, cut after 64 bytes so that a log line stays one line.
pub(crate) fn debug_hex(f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]) -> fmt::Result {
    const SHOWN: usize = 64;
    write!(f, "{name}(")?;
    bytes.iter().take(SHOWN).try_for_each(|b| write!(f, "{b:02x}"))?;
    if bytes.len() > SHOWN {
        write!(f, "… {} bytes", bytes.len())?;
    }
    f.write_str(")")
}

impl<L: LenPrefix> Encodable for Bytes<'_, L> {
    #[inline]
    fn encoded_len(&self) -> usize {
        L::WIDTH + self.data.len()
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        L::put(self.data.len(), out)?;
        out.put(&self.data)
    }
    serde_as_itself!(encode);
}

impl<'a, L: LenPrefix> Decodable<'a> for Bytes<'a, L> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let len = L::take(r)?;
        r.take(len).map(|bytes| Self::unchecked(Cow::Borrowed(bytes)))
    }
    #[cfg(feature = "with_serde")]
    fn deserialize_serde<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_support::deserialize_bytes(L::BYTES_NAME, deserializer).and_then(crate::serde_support::checked)
    }
}

impl<L: LenPrefix> IntoOwned for Bytes<'_, L> {
    type Owned = Bytes<'static, L>;

    fn into_owned(self) -> Bytes<'static, L> {
        Bytes::unchecked(Cow::Owned(self.data.into_owned()))
    }
}

impl<L: LenPrefix> Element for Bytes<'_, L> {
    type At<'b> = Bytes<'b, L>;
    const FIXED_LEN: Option<usize> = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_bytes, to_bytes};
    use alloc::{format, vec};

    #[test]
    fn each_prefix_holds_its_maximum_and_no_more() {
        fn check<L: LenPrefix>() {
            let full = Bytes::<L>::try_from(vec![1; L::MAX]).unwrap();
            let wire = to_bytes(&full).unwrap();
            assert_eq!(wire.len(), L::WIDTH + L::MAX);
            assert_eq!(wire[..L::WIDTH], [0xff, 0xff, 0xff][..L::WIDTH]);
            assert_eq!(from_bytes::<Bytes<'_, L>>(&wire), Ok(full));
            let (data_type, max, got) = (L::BYTES_NAME, L::MAX, L::MAX + 1);
            let long = Error::ValueTooLong { data_type, max, got };
            assert_eq!(Bytes::<L>::try_from(vec![1; L::MAX + 1]), Err(long));
            assert_eq!(Bytes::<L>::from_truncated(&vec![1; L::MAX + 1]).len(), L::MAX);
        }
        check::<Len8>();
        check::<Len16>();
        check::<Len24>();
    }

    #[test]
    fn a_declared_length_beyond_the_input_is_an_error() {
        let end = Error::UnexpectedEnd { offset: 3, expected: 0xff_ffff, got: 1 };
        assert_eq!(from_bytes::<B0_16M<'_>>(&[0xff, 0xff, 0xff, 0]), Err(end));
    }

    #[test]
    fn debug_output_is_bounded() {
        let long = format!("{:?}", B0_64K::try_from(vec![0xab; 5_000]).unwrap());
        assert!(long.ends_with("… 5000 bytes)") && long.len() < 200, "{long}");
        assert_eq!(format!("{:?}", B0_255::try_from(&[1, 0xff]).unwrap()), "B0_255(01ff)");
    }
}
