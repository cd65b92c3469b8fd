//! What can be wrong with a frame.

use core::fmt;

/// Why bytes are no frame, or a message fits none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The frame goes on for this many bytes.
    MissingBytes(usize),
    /// Bytes follow that the frame's header does not account for.
    TrailingBytes(usize),
    /// A payload over what its kind of frame can carry.
    PayloadTooLong {
        /// The most bytes that fit.
        max: usize,
        /// Bytes there are.
        got: usize,
    },
    /// An extension type that uses the bit of the header reserved for `channel_msg`.
    ExtensionType(u16),
    /// The payload's length is not what the header says.
    PayloadLength {
        /// Bytes the header declares.
        expected: usize,
        /// Bytes there are.
        got: usize,
    },
    /// The message has no wire form.
    Message(binary_sv2::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingBytes(missing) => write!(f, "the frame is incomplete, {missing} bytes are missing"),
            Self::TrailingBytes(got) => write!(f, "expected the bytes to end with the frame, got {got} more"),
            Self::PayloadTooLong { max, got } => write!(f, "expected a payload of at most {max} bytes, got {got}"),
            Self::ExtensionType(got) => write!(f, "expected an extension type below 0x8000, got {got:#06x}"),
            Self::PayloadLength { expected, got } => {
                write!(f, "expected a payload of {expected} bytes as the header says, got {got}")
            }
            Self::Message(error) => write!(f, "the message cannot be encoded: {error}"),
        }
    }
}

// No `source`: `Display` already tells the whole story.
impl core::error::Error for Error {}

impl From<binary_sv2::Error> for Error {
    fn from(error: binary_sv2::Error) -> Self {
        Self::Message(error)
    }
}
