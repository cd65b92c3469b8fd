//! Messages to bytes, without encryption.

use alloc::vec::Vec;

use binary_sv2::{Encodable, Message, Writer};
use framing_sv2::{Header, Sv2Frame};

use crate::Error;

/// Appends plain frames to an outgoing buffer.
#[derive(Debug, Default)]
pub struct Encoder(());

impl Encoder {
    /// An encoder. It has no state; the type mirrors the encrypting one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `message` to `out`. On error `out` is as before.
    pub fn encode<M: Message>(&mut self, message: &M, out: &mut Vec<u8>) -> Result<(), Error> {
        self.encode_value(Header::of::<M>(message.encoded_len())?, message, out)
    }

    /// Appends `value` under a given header, for values whose message type is known at run time only.
    pub fn encode_value(
        &mut self,
        header: Header,
        value: &(impl Encodable + ?Sized),
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.encode_with(header, out, |room| write_value(value, room))
    }

    /// Appends a frame that was received or prepared.
    pub fn encode_frame(&mut self, frame: &Sv2Frame<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        self.encode_with(frame.header(), out, |room| copy_payload(frame.payload(), room))
    }

    /// Appends a frame whose payload `fill` writes straight into `out`: it gets the payload's room, zeroed.
    pub fn encode_with(
        &mut self,
        header: Header,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let start = out.len();
        out.extend_from_slice(&header.to_bytes());
        let payload = out.len();
        out.resize(payload + header.payload_len(), 0);
        let result = fill(out.get_mut(payload..).unwrap_or_default());
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

/// Encodes `value` into exactly `room`.
pub(crate) fn write_value(value: &(impl Encodable + ?Sized), room: &mut [u8]) -> Result<(), Error> {
    let mut writer = Writer::new(room);
    value.encode(&mut writer)?;
    let (got, left) = (writer.written(), writer.remaining());
    if left > 0 {
        return Err(framing_sv2::Error::PayloadLength { expected: got + left, got }.into());
    }
    Ok(())
}

/// Copies a payload into room of its own length.
pub(crate) fn copy_payload(payload: &[u8], room: &mut [u8]) -> Result<(), Error> {
    if payload.len() != room.len() {
        return Err(framing_sv2::Error::PayloadLength { expected: room.len(), got: payload.len() }.into());
    }
    room.copy_from_slice(payload);
    Ok(())
}
