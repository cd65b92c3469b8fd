//! The three traits every data type and message has.

use alloc::vec::Vec;

use crate::{Error, Reader, Writer};

/// A value with a wire form.
pub trait Encodable {
    /// Exact number of bytes [`encode`](Self::encode) writes.
    fn encoded_len(&self) -> usize;

    /// Writes the wire form; [`Error::BufferTooSmall`] when it does not fit.
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error>;

    /// The wire form in a new vector of exactly its length.
    fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.encode_into_vec(&mut out)?;
        Ok(out)
    }

    /// Appends the wire form to `out`; on error `out` is as before.
    fn encode_into_vec(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.resize(start + self.encoded_len(), 0);
        let result = match out.get_mut(start..) {
            Some(room) => self.encode(&mut Writer::new(room)),
            None => Ok(()),
        };
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// Feature `with_serde`: hands the value to any serde format.
    ///
    /// The derive macro does this field by field. Types that implement the trait by hand have to as well, or serde
    /// gets an error instead of them.
    #[cfg(feature = "with_serde")]
    fn serialize_serde<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>
    where
        Self: Sized,
    {
        let _ = serializer;
        Err(serde::ser::Error::custom("this type implements Encodable by hand, and serialize_serde not"))
    }
}

/// A value that can be read from its wire form, borrowing long fields from it.
pub trait Decodable<'a>: Sized {
    /// Reads one value and leaves the reader behind it.
    ///
    /// Never allocates and never panics, whatever the bytes are.
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error>;

    /// Feature `with_serde`: takes the value from any serde format.
    ///
    /// The derive macro does this field by field. Types that implement the trait by hand have to as well, or serde
    /// gets an error instead of them.
    #[cfg(feature = "with_serde")]
    fn deserialize_serde<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let _ = deserializer;
        Err(serde::de::Error::custom("this type implements Decodable by hand, and deserialize_serde not"))
    }
}

/// Detaches a decoded value from the bytes it was decoded from.
pub trait IntoOwned {
    /// The same type without borrows.
    type Owned: 'static;

    /// Copies what is borrowed; free for inline types.
    fn into_owned(self) -> Self::Owned;
}

/// The wire form of `value`; see [`Encodable::to_bytes`].
pub fn to_bytes<T: Encodable + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    value.to_bytes()
}

/// Decodes a value that must fill `bytes` to the last byte.
pub fn from_bytes<'a, T: Decodable<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    let mut r = Reader::new(bytes);
    let value = T::decode(&mut r)?;
    r.finish()?;
    Ok(value)
}

/// Decodes a value from the front of `bytes` and returns what follows, for example TLV fields.
pub fn from_bytes_with_rest<'a, T: Decodable<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Error> {
    let mut r = Reader::new(bytes);
    let value = T::decode(&mut r)?;
    Ok((value, r.rest()))
}
