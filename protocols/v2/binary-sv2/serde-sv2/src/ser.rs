//! Values to bytes.

use alloc::vec::Vec;

use serde::ser::{self, Serialize};

use crate::Error;
use crate::form::{Content, Form};

/// The wire form of `value`.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut serializer = Serializer::default();
    value.serialize(&mut serializer)?;
    Ok(serializer.out)
}

/// Appends the wire form of values to a vector of its own.
#[derive(Debug, Default)]
pub struct Serializer {
    out: Vec<u8>,
    /// Set between a newtype struct that has a form and its content.
    form: Option<Form>,
}

impl Serializer {
    /// What was written so far; after an error it ends inside a value.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Writes a value that has a form of its own, which no newtype struct may ask to be another.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.form.is_some() {
            return Err(Error::Unsupported("a number or BOOL in a newtype struct for bytes, a sequence or U24"));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Begins a compound value, which a newtype struct with a form may not hold.
    fn compound(&mut self) -> Result<&mut Self, Error> {
        self.put(&[])?;
        Ok(self)
    }

    /// Writes `number` as the form at hand wants its length, count or value.
    fn put_prefix(&mut self, content: Content, number: usize, bare: &'static str) -> Result<(), Error> {
        let form = self.form.take().filter(|form| form.content == content).ok_or(Error::Unsupported(bare))?;
        if number > form.max {
            return Err(Error::ValueTooLong { data_type: form.name, max: form.max, got: number });
        }
        self.out.extend(number.to_le_bytes().into_iter().take(form.width));
        Ok(())
    }
}

/// Kinds of values without a wire form.
macro_rules! unsupported {
    ($($method:ident($($t:ty),*) = $what:literal;)*) => {$(
        fn $method(self, $(_: $t),*) -> Result<(), Error> {
            Err(Error::Unsupported($what))
        }
    )*};
}

/// Numbers as they are, little-endian.
macro_rules! little_endian {
    ($($method:ident: $t:ty;)*) => {$(
        fn $method(self, value: $t) -> Result<(), Error> {
            self.put(&value.to_le_bytes())
        }
    )*};
}

impl<'s> ser::Serializer for &'s mut Serializer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Sequence<'s>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeStruct = Self;
    type SerializeTupleVariant = ser::Impossible<(), Error>;
    type SerializeMap = ser::Impossible<(), Error>;
    type SerializeStructVariant = ser::Impossible<(), Error>;

    little_endian! {
        serialize_u8: u8;
        serialize_u16: u16;
        serialize_u64: u64;
        serialize_f32: f32;
    }

    unsupported! {
        serialize_i8(i8) = "a signed number";
        serialize_i16(i16) = "a signed number";
        serialize_i32(i32) = "a signed number";
        serialize_i64(i64) = "a signed number";
        serialize_i128(i128) = "a signed number";
        serialize_u128(u128) = "a number of 128 bits";
        serialize_f64(f64) = "a number of double precision";
        serialize_char(char) = "a character";
        serialize_unit_variant(&'static str, u32, &'static str) = "an enum";
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.put(&[u8::from(value)])
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        if self.form.is_some() {
            return self.put_prefix(Content::Number, value as usize, "a number in a newtype struct for bytes");
        }
        self.put(&value.to_le_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.put_prefix(Content::Bytes, value.len(), "bytes outside of a newtype struct such as B0_255")?;
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.put(&[0])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.put(&[1])?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.put(&[])
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.put(&[])
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Error> {
        if let Some(form) = Form::of(name) {
            self.put(&[])?;
            self.form = Some(form);
        }
        value.serialize(self)
    }

    /// The content alone: the variant is told by the header of the frame.
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self.compound()?)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Sequence<'s>, Error> {
        let expected = len.ok_or(Error::Unsupported("a sequence that does not know its length"))?;
        self.put_prefix(Content::Sequence, expected, "a sequence outside of a newtype struct such as SEQ0_255")?;
        Ok(Sequence { serializer: self, expected, got: 0 })
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        self.compound()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        self.compound()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        self.compound()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(Error::Unsupported("an enum"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(Error::Unsupported("an enum"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        Err(Error::Unsupported("a map"))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// A sequence whose count is already written.
#[derive(Debug)]
pub struct Sequence<'s> {
    serializer: &'s mut Serializer,
    expected: usize,
    got: usize,
}

impl ser::SerializeSeq for Sequence<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.got += 1;
        if self.got > self.expected {
            return Err(Error::WrongCount { expected: self.expected, got: self.got });
        }
        value.serialize(&mut *self.serializer)
    }

    fn end(self) -> Result<(), Error> {
        if self.got < self.expected {
            return Err(Error::WrongCount { expected: self.expected, got: self.got });
        }
        Ok(())
    }
}

/// Fields one after the other.
macro_rules! fields {
    ($($name:ident: $method:ident($($key:ty)?);)*) => {$(
        impl ser::$name for &mut Serializer {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> Result<(), Error> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}
fields! {
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeStruct: serialize_field(&'static str);
}
