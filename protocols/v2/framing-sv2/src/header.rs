//! The six bytes before each message (sv2-spec §3.2).

use binary_sv2::Message;
use const_sv2::{
    extension::CHANNEL_MSG_BIT,
    limits::{FRAME_HEADER_LEN, MAX_PAYLOAD_LEN},
};

use crate::Error;

/// What a frame carries and how long it is.
///
/// On the wire: extension type with the `channel_msg` bit (U16), message type (U8), payload length (U24), little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    extension_type: u16,
    channel_msg: bool,
    message_type: u8,
    payload_len: u32,
}

impl Header {
    /// `extension_type` is without the `channel_msg` bit; `payload_len` is in bytes, at most 2^24 - 1.
    pub fn new(extension_type: u16, channel_msg: bool, message_type: u8, payload_len: usize) -> Result<Self, Error> {
        if extension_type & CHANNEL_MSG_BIT != 0 {
            return Err(Error::ExtensionType(extension_type));
        }
        let too_long = Error::PayloadTooLong { max: MAX_PAYLOAD_LEN, got: payload_len };
        if payload_len > MAX_PAYLOAD_LEN {
            return Err(too_long);
        }
        let payload_len = u32::try_from(payload_len).map_err(|_| too_long)?;
        Ok(Self { extension_type, channel_msg, message_type, payload_len })
    }

    /// The header of a message of type `M` that takes `payload_len` bytes.
    pub fn of<M: Message>(payload_len: usize) -> Result<Self, Error> {
        Self::new(M::EXTENSION_TYPE, M::CHANNEL_MSG, M::MESSAGE_TYPE, payload_len)
    }

    /// Reads a header. Every six bytes are one.
    pub fn from_bytes(bytes: &[u8; FRAME_HEADER_LEN]) -> Self {
        let [e0, e1, message_type, l0, l1, l2] = *bytes;
        let extension = u16::from_le_bytes([e0, e1]);
        Self {
            extension_type: extension & !CHANNEL_MSG_BIT,
            channel_msg: extension & CHANNEL_MSG_BIT != 0,
            message_type,
            payload_len: u32::from_le_bytes([l0, l1, l2, 0]),
        }
    }

    /// The wire form.
    pub fn to_bytes(&self) -> [u8; FRAME_HEADER_LEN] {
        let channel_bit = if self.channel_msg { CHANNEL_MSG_BIT } else { 0 };
        let [e0, e1] = (self.extension_type | channel_bit).to_le_bytes();
        let [l0, l1, l2, _] = self.payload_len.to_le_bytes();
        [e0, e1, self.message_type, l0, l1, l2]
    }

    /// Which extension defined the message; 0 is the core protocol. Without the `channel_msg` bit.
    pub fn extension_type(&self) -> u16 {
        self.extension_type
    }

    /// Whether the message is for a channel, whose id is then the payload's first four bytes.
    pub fn channel_msg(&self) -> bool {
        self.channel_msg
    }

    /// Number of the message within its extension.
    pub fn message_type(&self) -> u8 {
        self.message_type
    }

    /// Length of the payload in bytes, at most 2^24 - 1. Over noise this is the plaintext's length.
    pub fn payload_len(&self) -> usize {
        self.payload_len as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wire_form() {
        let header = Header::new(0x0001, true, 0x1a, 0x0003_0201).unwrap();
        assert_eq!(header.to_bytes(), [0x01, 0x80, 0x1a, 0x01, 0x02, 0x03]);
    }

    #[test]
    fn bounds() {
        assert!(Header::new(0x7fff, false, 0, MAX_PAYLOAD_LEN).is_ok());
        let too_long = Error::PayloadTooLong { max: 0xff_ffff, got: 0x100_0000 };
        assert_eq!(Header::new(0, false, 0, 0x100_0000), Err(too_long));
        assert_eq!(Header::new(0x8000, false, 0, 0), Err(Error::ExtensionType(0x8000)));
    }

    proptest! {
        #[test]
        fn every_six_bytes_round_trip(bytes: [u8; 6]) {
            let header = Header::from_bytes(&bytes);
            prop_assert_eq!(header.to_bytes(), bytes);
            let rebuilt = Header::new(header.extension_type(), header.channel_msg(), header.message_type(), header.payload_len());
            prop_assert_eq!(rebuilt, Ok(header));
        }
    }
}
