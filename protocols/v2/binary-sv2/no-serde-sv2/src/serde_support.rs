//! Data types in serde's data model, and what the derive macros need for structs.
//!
//! A type with a length or count is a newtype struct with the specification's name around bytes or a sequence: so a
//! format for Sv2 knows how to write the length, and all others see the content alone.
//!
//! For generated code only; not part of the API.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{B0_32, Bytes, Decodable, Element, Encodable, Error, LenPrefix, Seq, Str0_255, U24, U256};

/// Serialises anything that has a wire form.
#[derive(Debug)]
pub struct Ser<'v, T>(pub &'v T);

impl<T: Encodable> Serialize for Ser<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_serde(serializer)
    }
}

/// Deserialises anything that can be read from its wire form.
#[derive(Debug)]
pub struct De<T>(pub T);

impl<'de, T: Decodable<'de>> Deserialize<'de> for De<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize_serde(deserializer).map(Self)
    }
}

/// Serialises bytes as bytes: a slice would be a sequence of numbers.
struct Raw<'b>(&'b [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Takes bytes, borrowed where the format can lend them, from formats without bytes as a sequence of numbers.
struct TakeBytes;

impl<'de> Visitor<'de> for TakeBytes {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(bytes))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = access.next_element()? {
            bytes.push(byte);
        }
        Ok(Cow::Owned(bytes))
    }
}

/// Bytes in a newtype struct of this name.
pub(crate) fn deserialize_bytes<'de, D: Deserializer<'de>>(
    name: &'static str,
    deserializer: D,
) -> Result<Cow<'de, [u8]>, D::Error> {
    deserializer.deserialize_newtype_struct(name, TakeBytes)
}

/// Bytes that are within their type's length.
pub(crate) fn checked<L: LenPrefix, E: serde::de::Error>(bytes: Cow<'_, [u8]>) -> Result<Bytes<'_, L>, E> {
    Bytes::checked(bytes).map_err(E::custom)
}

/// Bytes of a fixed length are a tuple of numbers. serde itself stops at 32 of them.
pub(crate) fn serialize_array<S: Serializer, const N: usize>(array: &[u8; N], to: S) -> Result<S::Ok, S::Error> {
    let mut tuple = to.serialize_tuple(N)?;
    array.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
    tuple.end()
}

/// The reverse of [`serialize_array`].
pub(crate) fn deserialize_array<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
    struct TakeArray<const N: usize>;

    impl<'de, const N: usize> Visitor<'de> for TakeArray<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<[u8; N], A::Error> {
            let mut array = [0; N];
            for (i, byte) in array.iter_mut().enumerate() {
                *byte = access.next_element()?.ok_or_else(|| A::Error::invalid_length(i, &self))?;
            }
            Ok(array)
        }
    }

    from.deserialize_tuple(N, TakeArray)
}

impl Serialize for U24 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct("U24", &self.get())
    }
}

impl<'de> Deserialize<'de> for U24 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TakeNumber;

        impl<'de> Visitor<'de> for TakeNumber {
            type Value = u32;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number below 2^24")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
                u32::deserialize(deserializer)
            }
        }

        let number = deserializer.deserialize_newtype_struct("U24", TakeNumber)?;
        Self::try_from(number).map_err(D::Error::custom)
    }
}

impl Serialize for U256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_array(self.as_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for U256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_array(deserializer).map(Self::from_le_bytes)
    }
}

impl Serialize for B0_32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct("B0_32", &Raw(self.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for B0_32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserialize_bytes("B0_32", deserializer)?;
        Self::try_from(&bytes[..]).map_err(D::Error::custom)
    }
}

impl<L: LenPrefix> Serialize for Bytes<'_, L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(L::BYTES_NAME, &Raw(self.as_bytes()))
    }
}

impl<'de: 'a, 'a, L: LenPrefix> Deserialize<'de> for Bytes<'a, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::<'de, L>::deserialize_serde(deserializer)
    }
}

impl Serialize for Str0_255<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct("STR0_255", &Raw(self.as_bytes()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str0_255<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Str0_255::<'de>::deserialize_serde(deserializer)
    }
}

impl<L: LenPrefix, T: Element> Serialize for Seq<'_, L, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(L::SEQ_NAME, &Elements(self))
    }
}

/// The elements of a list, without the name that says how their count is written.
struct Elements<'s, 'a, L, T>(&'s Seq<'a, L, T>);

impl<L: LenPrefix, T: Element> Serialize for Elements<'_, '_, L, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|element| sequence.serialize_element(&Ser(&element)))?;
        sequence.end()
    }
}

impl<'de: 'a, 'a, L: LenPrefix, T: Element> Deserialize<'de> for Seq<'a, L, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seq::<'de, L, T>::deserialize_serde(deserializer)
    }
}

/// A list, its elements encoded anew: the format may hold them in another form.
pub(crate) fn deserialize_seq<'de, D, L, T>(deserializer: D) -> Result<Seq<'de, L, T>, D::Error>
where
    D: Deserializer<'de>,
    L: LenPrefix,
    T: Element,
{
    struct TakeSeq<L, T>(PhantomData<(L, T)>);

    impl<'de, L: LenPrefix, T: Element> Visitor<'de> for TakeSeq<L, T> {
        type Value = Seq<'de, L, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a sequence of at most {} elements", L::MAX)
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_seq(self)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let (mut encoded, mut count) = (Vec::new(), 0);
            while let Some(De(element)) = access.next_element::<De<T::At<'de>>>()? {
                count += 1;
                if count > L::MAX {
                    let long = Error::ValueTooLong { data_type: L::SEQ_NAME, max: L::MAX, got: count };
                    return Err(A::Error::custom(long));
                }
                element.encode_into_vec(&mut encoded).map_err(A::Error::custom)?;
            }
            Ok(Seq::from_encoded(encoded, count))
        }
    }

    deserializer.deserialize_newtype_struct(L::SEQ_NAME, TakeSeq(PhantomData))
}

/// A struct that the derive macro `Decodable` stands on.
pub trait FromFields<'de>: Sized {
    /// The struct's name.
    const NAME: &'static str;
    /// Its fields' names in the order of the wire.
    const FIELDS: &'static [&'static str];

    /// Takes the fields in order.
    fn from_seq<A: SeqAccess<'de>>(access: A) -> Result<Self, A::Error>;

    /// Takes the fields by name.
    fn from_map<A: MapAccess<'de>>(access: A) -> Result<Self, A::Error>;
}

/// Takes a struct from either kind of format.
pub fn deserialize_struct<'de, T: FromFields<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct TakeStruct<T>(PhantomData<T>);

    impl<'de, T: FromFields<'de>> Visitor<'de> for TakeStruct<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "struct {}", T::NAME)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<T, A::Error> {
            T::from_seq(access)
        }

        fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<T, A::Error> {
            T::from_map(access)
        }
    }

    deserializer.deserialize_struct(T::NAME, T::FIELDS, TakeStruct(PhantomData))
}

/// Field `index`, in order.
pub fn next_field<'de, T: Decodable<'de>, A: SeqAccess<'de>>(access: &mut A, index: usize) -> Result<T, A::Error> {
    match access.next_element()? {
        Some(De(value)) => Ok(value),
        None => Err(A::Error::invalid_length(index, &"a value for each field")),
    }
}

/// Index of the next field that comes by name.
pub fn next_key<'de, A: MapAccess<'de>>(access: &mut A, names: &'static [&str]) -> Result<Option<usize>, A::Error> {
    struct Key(&'static [&'static str]);

    impl<'de> DeserializeSeed<'de> for Key {
        type Value = usize;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
            deserializer.deserialize_identifier(self)
        }
    }

    impl Visitor<'_> for Key {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of a field")
        }

        fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
            self.0.iter().position(|field| *field == name).ok_or_else(|| E::unknown_field(name, self.0))
        }
    }

    access.next_key_seed(Key(names))
}

/// Puts the value of a field that came by name where it belongs.
pub fn next_value<'de, T, A>(access: &mut A, name: &'static str, to: &mut Option<T>) -> Result<(), A::Error>
where
    T: Decodable<'de>,
    A: MapAccess<'de>,
{
    if to.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    let De(value) = access.next_value()?;
    *to = Some(value);
    Ok(())
}

/// The value of a field that has to have come.
pub fn required<T, E: serde::de::Error>(value: Option<T>, name: &'static str) -> Result<T, E> {
    value.ok_or_else(|| E::missing_field(name))
}
