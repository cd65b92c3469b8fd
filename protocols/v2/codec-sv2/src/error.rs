//! What can go wrong between a byte stream and messages.

use core::fmt;

/// Why there is no frame, or a message could not be encoded.
///
/// [`MissingBytes`](Self::MissingBytes) is the everyday one: read more and ask again. Every other error of a decoder is
/// final, and it repeats it: the stream has lost its step, drop the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// So many bytes are needed before anything more can be said. Never 0.
    MissingBytes(usize),
    /// The header announces more than this connection's limit. Found before any of the payload is read.
    PayloadTooLong {
        /// The connection's limit, in bytes.
        limit: usize,
        /// What the header announces, in bytes.
        got: usize,
        /// Extension type of the header.
        extension_type: u16,
        /// Message type of the header.
        message_type: u8,
    },
    /// A message that fits no frame.
    Frame(framing_sv2::Error),
    /// The bytes do not authenticate, or the keys are used up.
    #[cfg(feature = "with_noise")]
    Noise(noise_sv2::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingBytes(missing) => write!(f, "{missing} more bytes are needed"),
            Self::PayloadTooLong { limit, got, extension_type, message_type } => write!(
                f,
                "expected a payload of at most {limit} bytes, message {message_type:#04x} of extension {extension_type:#06x} announces {got}"
            ),
            Self::Frame(error) => error.fmt(f),
            #[cfg(feature = "with_noise")]
            Self::Noise(error) => error.fmt(f),
        }
    }
}

// No `source`: `Display` already tells the whole story.
impl core::error::Error for Error {}

impl From<framing_sv2::Error> for Error {
    fn from(error: framing_sv2::Error) -> Self {
        Self::Frame(error)
    }
}

#[cfg(feature = "with_noise")]
impl From<noise_sv2::Error> for Error {
    fn from(error: noise_sv2::Error) -> Self {
        Self::Noise(error)
    }
}

impl From<binary_sv2::Error> for Error {
    fn from(error: binary_sv2::Error) -> Self {
        Self::Frame(error.into())
    }
}
