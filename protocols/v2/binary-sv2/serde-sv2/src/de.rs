//! Bytes to values.

use serde::de::{self, Deserialize, DeserializeSeed, Visitor};

use crate::Error;
use crate::form::{Content, Form};

/// Deserialises a value that must fill `bytes` to the last byte.
pub fn from_bytes<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    let mut deserializer = Deserializer::new(bytes);
    let value = T::deserialize(&mut deserializer)?;
    deserializer.finish()?;
    Ok(value)
}

/// Deserialises a value from the front of `bytes` and returns what follows, for example TLV fields.
pub fn from_bytes_with_rest<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, &'de [u8]), Error> {
    let mut deserializer = Deserializer::new(bytes);
    let value = T::deserialize(&mut deserializer)?;
    Ok((value, deserializer.rest))
}

/// Reads values from the front of a byte slice; bytes and text borrow from it.
#[derive(Debug)]
pub struct Deserializer<'de> {
    rest: &'de [u8],
    total: usize,
    /// Set between a newtype struct that has a form and its content.
    form: Option<Form>,
}

impl<'de> Deserializer<'de> {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes, total: bytes.len(), form: None }
    }

    /// Succeeds when nothing is left; [`Error::TrailingBytes`] otherwise.
    pub const fn finish(&self) -> Result<(), Error> {
        match self.rest.len() {
            0 => Ok(()),
            got => Err(Error::TrailingBytes { offset: self.offset(), got }),
        }
    }

    const fn offset(&self) -> usize {
        self.total - self.rest.len()
    }

    fn take(&mut self, len: usize) -> Result<&'de [u8], Error> {
        let got = self.rest.len();
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Error::UnexpectedEnd {
            offset: self.offset(),
            expected: len,
            got,
        })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the bytes of a value that has a form of its own, which no newtype struct may ask to be another.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.plain()?;
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn plain(&mut self) -> Result<(), Error> {
        match self.form.take() {
            None => Ok(()),
            Some(_) => Err(Error::Unsupported("another kind of value than the newtype struct around it is for")),
        }
    }

    /// Reads the length, count or number of the form at hand.
    fn take_prefix(&mut self, content: Content, bare: &'static str) -> Result<usize, Error> {
        let form = self.form.take().filter(|form| form.content == content).ok_or(Error::Unsupported(bare))?;
        let offset = self.offset();
        let prefix = self.take(form.width)?;
        let number = prefix.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
        if number > form.max {
            return Err(Error::LengthOutOfRange { data_type: form.name, offset, max: form.max, got: number });
        }
        Ok(number)
    }

    fn take_bytes(&mut self) -> Result<&'de [u8], Error> {
        let len = self.take_prefix(Content::Bytes, "bytes outside of a newtype struct such as B0_255")?;
        self.take(len)
    }
}

/// Kinds of values without a wire form.
macro_rules! unsupported {
    ($($method:ident = $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::Unsupported($what))
        }
    )*};
}

/// Numbers as they are, little-endian.
macro_rules! little_endian {
    ($($method:ident: $t:ty => $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(<$t>::from_le_bytes(self.array()?))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = Error;

    little_endian! {
        deserialize_u8: u8 => visit_u8;
        deserialize_u16: u16 => visit_u16;
        deserialize_u64: u64 => visit_u64;
        deserialize_f32: f32 => visit_f32;
    }

    unsupported! {
        deserialize_any = "a type that leaves its form to the input";
        deserialize_ignored_any = "a type that leaves its form to the input";
        deserialize_identifier = "a type that leaves its form to the input";
        deserialize_i8 = "a signed number";
        deserialize_i16 = "a signed number";
        deserialize_i32 = "a signed number";
        deserialize_i64 = "a signed number";
        deserialize_i128 = "a signed number";
        deserialize_u128 = "a number of 128 bits";
        deserialize_f64 = "a number of double precision";
        deserialize_char = "a character";
        deserialize_map = "a map";
    }

    /// The lowest bit, whatever the others are.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let [byte] = self.array()?;
        visitor.visit_bool(byte & 1 == 1)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.form.is_some() {
            let number = self.take_prefix(Content::Number, "a number in a newtype struct for bytes")?;
            return visitor.visit_u32(number as u32);
        }
        visitor.visit_u32(u32::from_le_bytes(self.array()?))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.take_bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let bytes = self.take_bytes()?;
        let offset = self.offset() - bytes.len();
        visitor.visit_borrowed_str(core::str::from_utf8(bytes).map_err(|_| Error::NotUtf8 { offset })?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let offset = self.offset();
        match self.array()? {
            [0] => visitor.visit_none(),
            [1] => visitor.visit_some(self),
            [n] => Err(Error::LengthOutOfRange { data_type: "OPTION", offset, max: 1, got: usize::from(n) }),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.plain()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if let Some(form) = Form::of(name) {
            self.plain()?;
            self.form = Some(form);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let bare = "a sequence outside of a newtype struct such as SEQ0_255";
        let left = self.take_prefix(Content::Sequence, bare)?;
        visit_all(self, left, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.plain()?;
        visit_all(self, len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::Unsupported("an enum"))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Lets `visitor` take `left` values, and all of them.
fn visit_all<'de, V: Visitor<'de>>(from: &mut Deserializer<'de>, left: usize, visitor: V) -> Result<V::Value, Error> {
    let mut values = Values { deserializer: from, left };
    let value = visitor.visit_seq(&mut values)?;
    match values.left {
        0 => Ok(value),
        more => Err(Error::WrongCount { expected: left - more, got: left }),
    }
}

/// Values one after the other. Says nothing of their number, so that nobody allocates for what has not arrived.
struct Values<'r, 'de> {
    deserializer: &'r mut Deserializer<'de>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for &mut Values<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        match self.left.checked_sub(1) {
            None => Ok(None),
            Some(left) => {
                self.left = left;
                seed.deserialize(&mut *self.deserializer).map(Some)
            }
        }
    }
}
