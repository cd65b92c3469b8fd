//! What can be wrong with a frame.

/// Why bytes are no frame, or a message fits none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The frame goes on for this many bytes.
    #[error("the frame is incomplete, {0} bytes are missing")]
    MissingBytes(usize),
    /// Bytes follow that the frame's header does not account for.
    #[error("expected the bytes to end with the frame, got {0} more")]
    TrailingBytes(usize),
    /// A payload over what its kind of frame can carry.
    #[error("expected a payload of at most {max} bytes, got {got}")]
    PayloadTooLong {
        /// The most bytes that fit.
        max: usize,
        /// Bytes there are.
        got: usize,
    },
    /// An extension type that uses the bit of the header reserved for `channel_msg`.
    #[error("expected an extension type below 0x8000, got {0:#06x}")]
    ExtensionType(u16),
    /// The payload's length is not what the header says.
    #[error("expected a payload of {expected} bytes as the header says, got {got}")]
    PayloadLength {
        /// Bytes the header declares.
        expected: usize,
        /// Bytes there are.
        got: usize,
    },
    /// The message has no wire form.
    #[error("the message cannot be encoded: {0}")]
    Message(#[from] binary_sv2::Error),
}
