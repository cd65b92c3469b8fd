//! Numbers, BOOL, OPTION and byte arrays of fixed length.

use const_sv2::limits::U24_MAX;

use crate::{Decodable, Element, Encodable, Error, IntoOwned, Reader, Writer};

/// MAC: an authentication tag.
pub type Mac = [u8; 16];
/// PUBKEY: X coordinate of a secp256k1 key (BIP 340).
pub type PubKey = [u8; 32];
/// SIGNATURE: a Schnorr signature (BIP 340).
pub type Signature = [u8; 64];
/// OPTION\[T\]: a length byte 0 or 1, then the value if there is one. Any other length is an error.
pub type Sv2Option<T> = Option<T>;

/// Types that hold no borrows: `into_owned` hands them back.
macro_rules! owned_already {
    ($($t:ty),*) => {$(
        impl $crate::IntoOwned for $t {
            type Owned = Self;
            #[inline]
            fn into_owned(self) -> Self {
                self
            }
        }
    )*};
}
pub(crate) use owned_already;

/// For types that serde knows, or that implement its traits by themselves.
macro_rules! serde_as_itself {
    (encode) => {
        #[cfg(feature = "with_serde")]
        fn serialize_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde::Serialize::serialize(self, serializer)
        }
    };
    (decode) => {
        #[cfg(feature = "with_serde")]
        fn deserialize_serde<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
            serde::Deserialize::deserialize(deserializer)
        }
    };
}
pub(crate) use serde_as_itself;

macro_rules! little_endian {
    ($($t:ty),*) => {$(
        impl Encodable for $t {
            #[inline]
            fn encoded_len(&self) -> usize {
                size_of::<$t>()
            }
            #[inline]
            fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
                out.put_array(&self.to_le_bytes())
            }
            serde_as_itself!(encode);
        }
        impl<'a> Decodable<'a> for $t {
            #[inline]
            fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
                r.take_array().map(|b| Self::from_le_bytes(*b))
            }
            serde_as_itself!(decode);
        }
        impl Element for $t {
            type At<'b> = Self;
            const FIXED_LEN: Option<usize> = Some(size_of::<$t>());
        }
    )*};
}
little_endian!(u8, u16, u32, u64, f32);
owned_already!(u8, u16, u32, u64, f32, bool, U24);

/// BOOL: written as 0 or 1; a reader looks at the lowest bit only (sv2-spec §3.1).
impl Encodable for bool {
    #[inline]
    fn encoded_len(&self) -> usize {
        1
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put_array(&[u8::from(*self)])
    }
    serde_as_itself!(encode);
}

impl<'a> Decodable<'a> for bool {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        u8::decode(r).map(|b| b & 1 == 1)
    }
    serde_as_itself!(decode);
}

/// U24: a number below 2^24 in three bytes, little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U24(u32);

impl U24 {
    /// 2^24 − 1.
    pub const MAX: Self = Self(U24_MAX);

    /// The number.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Reads the three bytes of the wire form.
    #[inline]
    #[must_use]
    pub const fn from_le_bytes(b: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([b[0], b[1], b[2], 0]))
    }

    /// The three bytes of the wire form.
    #[inline]
    #[must_use]
    pub const fn to_le_bytes(self) -> [u8; 3] {
        let [a, b, c, _] = self.0.to_le_bytes();
        [a, b, c]
    }
}

impl TryFrom<u32> for U24 {
    type Error = Error;

    fn try_from(value: u32) -> Result<Self, Error> {
        if value > U24_MAX {
            let (max, got) = (U24_MAX as usize, value as usize);
            return Err(Error::ValueTooLong { data_type: "U24", max, got });
        }
        Ok(Self(value))
    }
}

impl From<U24> for u32 {
    fn from(value: U24) -> Self {
        value.0
    }
}

impl Encodable for U24 {
    #[inline]
    fn encoded_len(&self) -> usize {
        3
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put_array(&self.to_le_bytes())
    }
    serde_as_itself!(encode);
}

impl<'a> Decodable<'a> for U24 {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        r.take_array().map(|b| Self::from_le_bytes(*b))
    }
    serde_as_itself!(decode);
}

impl Element for U24 {
    type At<'b> = Self;
    const FIXED_LEN: Option<usize> = Some(3);
}

/// BYTES of a fixed length: no prefix.
impl<const N: usize> Encodable for [u8; N] {
    #[inline]
    fn encoded_len(&self) -> usize {
        N
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put_array(self)
    }
    #[cfg(feature = "with_serde")]
    fn serialize_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::serde_support::serialize_array(self, serializer)
    }
}

impl<'a, const N: usize> Decodable<'a> for [u8; N] {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        r.take_array().copied()
    }
    #[cfg(feature = "with_serde")]
    fn deserialize_serde<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_support::deserialize_array(deserializer)
    }
}

impl<const N: usize> IntoOwned for [u8; N] {
    type Owned = Self;
    #[inline]
    fn into_owned(self) -> Self {
        self
    }
}

impl<const N: usize> Element for [u8; N] {
    type At<'b> = Self;
    const FIXED_LEN: Option<usize> = Some(N);
}

impl<T: Encodable> Encodable for Option<T> {
    #[inline]
    fn encoded_len(&self) -> usize {
        1 + self.as_ref().map_or(0, T::encoded_len)
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        match self {
            None => out.put_array(&[0]),
            Some(value) => {
                out.put_array(&[1])?;
                value.encode(out)
            }
        }
    }
    #[cfg(feature = "with_serde")]
    fn serialize_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            None => serializer.serialize_none(),
            Some(value) => serializer.serialize_some(&crate::serde_support::Ser(value)),
        }
    }
}

impl<'a, T: Decodable<'a>> Decodable<'a> for Option<T> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let offset = r.offset();
        match u8::decode(r)? {
            0 => Ok(None),
            1 => T::decode(r).map(Some),
            n => Err(Error::LengthOutOfRange { data_type: "OPTION", offset, max: 1, got: usize::from(n) }),
        }
    }
    #[cfg(feature = "with_serde")]
    fn deserialize_serde<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let value: Option<crate::serde_support::De<T>> = serde::Deserialize::deserialize(deserializer)?;
        Ok(value.map(|de| de.0))
    }
}

impl<T: IntoOwned> IntoOwned for Option<T> {
    type Owned = Option<T::Owned>;

    #[inline]
    fn into_owned(self) -> Self::Owned {
        self.map(T::into_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_bytes, to_bytes};

    #[test]
    fn numbers_are_little_endian() {
        assert_eq!(to_bytes(&0x0102_0304_u32).unwrap(), [4, 3, 2, 1]);
        assert_eq!(to_bytes(&1.0_f32).unwrap(), [0, 0, 0x80, 0x3f]);
        assert_eq!(to_bytes(&U24::try_from(0x01_0203).unwrap()).unwrap(), [3, 2, 1]);
        assert_eq!(from_bytes::<U24>(&[3, 2, 1]).map(U24::get), Ok(0x01_0203));
        assert!(U24::try_from(1 << 24).is_err());
        assert_eq!(u32::from(U24::MAX), 0xff_ffff);
    }

    #[test]
    fn bool_ignores_the_high_bits() {
        for b in 0..=u8::MAX {
            assert_eq!(from_bytes::<bool>(&[b]), Ok(b % 2 == 1));
        }
        assert_eq!(to_bytes(&true).unwrap(), [1]);
    }

    #[test]
    fn option_takes_zero_or_one_element() {
        assert_eq!(from_bytes::<Option<u16>>(&[0]), Ok(None));
        assert_eq!(from_bytes::<Option<u16>>(&[1, 5, 0]), Ok(Some(5)));
        assert_eq!(to_bytes(&Some(5_u16)).unwrap(), [1, 5, 0]);
        let two = Error::LengthOutOfRange { data_type: "OPTION", offset: 0, max: 1, got: 2 };
        assert_eq!(from_bytes::<Option<u16>>(&[2, 5, 0, 6, 0]), Err(two));
    }
}
