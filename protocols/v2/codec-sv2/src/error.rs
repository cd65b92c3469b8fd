//! What can go wrong between a byte stream and messages.

/// Why there is no frame, or a message could not be encoded.
///
/// [`MissingBytes`](Self::MissingBytes) is the everyday one: read more and ask again. Every other error of a decoder is
/// final, and it repeats it: the stream has lost its step, drop the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// So many bytes are needed before anything more can be said. Never 0.
    #[error("{0} more bytes are needed")]
    MissingBytes(usize),
    /// The header announces more than this connection's limit. Found before any of the payload is read.
    #[error(
        "expected a payload of at most {limit} bytes, message {message_type:#04x} of extension {extension_type:#06x} announces {got}"
    )]
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
    #[error(transparent)]
    Frame(#[from] framing_sv2::Error),
    /// The bytes do not authenticate, or the keys are used up.
    #[cfg(feature = "with_noise")]
    #[error(transparent)]
    Noise(#[from] noise_sv2::Error),
}

impl From<binary_sv2::Error> for Error {
    fn from(error: binary_sv2::Error) -> Self {
        Self::Frame(error.into())
    }
}
