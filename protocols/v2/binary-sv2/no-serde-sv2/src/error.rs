//! What can go wrong between values and bytes.

use core::fmt;

/// Why a value could not be decoded, encoded or built.
///
/// Offsets count bytes from the start of the decoded payload, or of the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A value handed to a constructor does not fit its type.
    ValueTooLong {
        /// Name of the data type as in the specification.
        data_type: &'static str,
        /// Largest length, count or number allowed.
        max: usize,
        /// What was handed in; where it was not counted to the end, the first that is too many.
        got: usize,
    },
    /// The output buffer is too small.
    BufferTooSmall {
        /// Bytes written before.
        offset: usize,
        /// Bytes the next value needs.
        expected: usize,
        /// Bytes of room left.
        got: usize,
    },
    /// The bytes are not UTF-8, where text was asked for.
    NotUtf8 {
        /// How many bytes are valid before the first bad one.
        offset: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnexpectedEnd { offset, expected, got } => {
                write!(f, "input ends early: expected {expected} bytes at offset {offset}, got {got}")
            }
            Self::TrailingBytes { offset, got } => {
                write!(f, "expected the message to end at offset {offset}, got {got} more bytes")
            }
            Self::LengthOutOfRange { data_type, offset, max, got } => {
                write!(f, "{data_type} at offset {offset}: expected a length of at most {max}, got {got}")
            }
            Self::ValueTooLong { data_type, max, got } => {
                write!(f, "value does not fit {data_type}: expected at most {max}, got {got}")
            }
            Self::BufferTooSmall { offset, expected, got } => {
                write!(f, "output buffer too small: expected room for {expected} bytes at offset {offset}, got {got}")
            }
            Self::NotUtf8 { offset } => write!(f, "expected UTF-8, got another byte at offset {offset}"),
        }
    }
}

impl core::error::Error for Error {}
