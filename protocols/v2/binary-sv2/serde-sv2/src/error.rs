//! What can go wrong in the serde engine.

use alloc::string::{String, ToString};
use core::fmt;

/// Why a value could not be serialised or deserialised.
///
/// Offsets count bytes from the start of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The input ended inside a value.
    UnexpectedEnd {
        /// Where the missing bytes should have begun.
        offset: usize,
        /// Bytes the value needs from there.
        expected: usize,
        /// Bytes there are.
        got: usize,
    },
    /// The input goes on after the last field.
    TrailingBytes {
        /// Where the surplus begins.
        offset: usize,
        /// How many bytes are left over.
        got: usize,
    },
    /// A length or count read from the input is over its type's maximum.
    LengthOutOfRange {
        /// Name of the data type as in the specification.
        data_type: &'static str,
        /// Where the length stands.
        offset: usize,
        /// Largest length allowed.
        max: usize,
        /// Length that came.
        got: usize,
    },
    /// A value to be written does not fit its type.
    ValueTooLong {
        /// Name of the data type as in the specification.
        data_type: &'static str,
        /// Largest length, count or number allowed.
        max: usize,
        /// What came.
        got: usize,
    },
    /// A sequence gave another number of elements than it had announced.
    WrongCount {
        /// Elements announced.
        expected: usize,
        /// Elements that came; where they were not counted to the end, the first that is too many.
        got: usize,
    },
    /// Text is not UTF-8, for a type that wants it so.
    NotUtf8 {
        /// Where the text begins.
        offset: usize,
    },
    /// A kind of value that Sv2 has no wire form for.
    Unsupported(&'static str),
    /// What the type itself said, through serde.
    Custom(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd { offset, expected, got } => {
                write!(f, "input ends early: expected {expected} bytes at offset {offset}, got {got}")
            }
            Self::TrailingBytes { offset, got } => {
                write!(f, "expected the value to end at offset {offset}, got {got} more bytes")
            }
            Self::LengthOutOfRange { data_type, offset, max, got } => {
                write!(f, "{data_type} at offset {offset}: expected a length of at most {max}, got {got}")
            }
            Self::ValueTooLong { data_type, max, got } => {
                write!(f, "value does not fit {data_type}: expected at most {max}, got {got}")
            }
            Self::WrongCount { expected, got } => write!(f, "expected a sequence of {expected} elements, got {got}"),
            Self::NotUtf8 { offset } => write!(f, "text at offset {offset}: expected UTF-8, got another byte"),
            Self::Unsupported(what) => write!(f, "expected a value with an Sv2 wire form, got {what}"),
            Self::Custom(message) => f.write_str(message),
        }
    }
}

impl core::error::Error for Error {}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}
