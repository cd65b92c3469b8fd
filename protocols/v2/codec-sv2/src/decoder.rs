//! Bytes to frames, without encryption.

use alloc::vec::Vec;

use framing_sv2::{FRAME_HEADER_LEN, Header, MAX_PAYLOAD_LEN, Sv2Frame};

use crate::{Error, window::Window};

/// Cuts a plain byte stream into frames.
///
/// Read into [`writable`](Self::writable), say how much came with [`advance`](Self::advance), then take frames with
/// [`next_frame`](Self::next_frame) until it misses bytes.
#[derive(Debug, Default)]
pub struct StandardSv2Decoder {
    window: Window,
    limit: Limit,
    failed: Option<Error>,
}

impl StandardSv2Decoder {
    /// A decoder at the start of a stream, with the protocol's own limit of 2^24 - 1 bytes per payload.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses payloads over `bytes` from the next header on.
    pub fn set_max_payload(&mut self, bytes: u32) {
        self.limit.set(bytes);
    }

    /// Where to put received bytes; never empty. At most 64 KiB more than has arrived, however much is announced.
    pub fn writable(&mut self) -> &mut [u8] {
        let missing = match self.ready() {
            Err(Error::MissingBytes(missing)) => missing,
            _ => 0,
        };
        self.window.writable(missing)
    }

    /// Goes on in `buffer`, whose length is room to read into, until [`give_back_buffer`](Self::give_back_buffer): for one buffer
    /// that serves many connections, each of which keeps only the bytes of an unfinished frame.
    pub fn borrow_buffer(&mut self, buffer: &mut Vec<u8>) {
        self.window.borrow(buffer);
    }

    /// Gives up the buffer that was lent, no longer than 64 KiB, and keeps a copy of what is not consumed.
    pub fn give_back_buffer(&mut self, buffer: &mut Vec<u8>) {
        self.window.give_back(buffer);
    }

    /// The first `count` bytes of [`writable`](Self::writable) have been filled.
    pub fn advance(&mut self, count: usize) {
        self.window.advance(count);
    }

    /// Whether bytes of an unfinished frame, or whole frames, are waiting.
    pub fn is_empty(&self) -> bool {
        self.window.pending().is_empty()
    }

    /// The header of the next frame, once all of the frame is there. [`next_frame`](Self::next_frame) then returns it.
    pub fn ready(&mut self) -> Result<Header, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let pending = self.window.pending();
        let (header, payload) = pending
            .split_first_chunk::<FRAME_HEADER_LEN>()
            .ok_or(Error::MissingBytes(FRAME_HEADER_LEN.saturating_sub(pending.len())))?;
        let header = Header::from_bytes(header);
        let missing = header.payload_len().saturating_sub(payload.len());
        if let Err(error) = self.limit.check(&header) {
            self.failed = Some(error);
            return Err(error);
        }
        if missing > 0 { Err(Error::MissingBytes(missing)) } else { Ok(header) }
    }

    /// The next frame, borrowed from the buffer until that is written to again.
    pub fn next_frame(&mut self) -> Result<Sv2Frame<'_>, Error> {
        let header = self.ready()?;
        self.window.take(FRAME_HEADER_LEN);
        Ok(Sv2Frame::new(header, self.window.take(header.payload_len()))?)
    }
}

/// The most a payload may have on a connection.
#[derive(Debug)]
pub(crate) struct Limit(usize);

impl Default for Limit {
    fn default() -> Self {
        Self(MAX_PAYLOAD_LEN)
    }
}

impl Limit {
    pub(crate) fn set(&mut self, bytes: u32) {
        self.0 = usize::try_from(bytes).unwrap_or(usize::MAX).min(MAX_PAYLOAD_LEN);
    }

    pub(crate) fn check(&self, header: &Header) -> Result<(), Error> {
        if header.payload_len() <= self.0 {
            return Ok(());
        }
        Err(Error::PayloadTooLong {
            limit: self.0,
            got: header.payload_len(),
            extension_type: header.extension_type(),
            message_type: header.message_type(),
        })
    }
}
