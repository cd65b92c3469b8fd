//! Encrypted frames: the header as one noise message, the payload as blocks of up to 65,519 bytes (sv2-spec §4.6).

use alloc::vec::Vec;

use binary_sv2::{Encodable, Message};
use const_sv2::limits::{
    FRAME_HEADER_LEN, NOISE_ENCRYPTED_HEADER_LEN, NOISE_MAX_CIPHERTEXT_LEN, NOISE_MAX_PLAINTEXT_LEN, NOISE_TAG_LEN,
};
use framing_sv2::{Header, Sv2Frame};
use noise_sv2::CipherState;

use crate::{
    Error,
    decoder::Limit,
    encoder::{copy_payload, write_value},
    window::Window,
};

/// Length of a payload of `plain` bytes once encrypted: 16 bytes more for each block begun.
pub const fn encrypted_len(plain: usize) -> usize {
    plain + plain.div_ceil(NOISE_MAX_PLAINTEXT_LEN) * NOISE_TAG_LEN
}

/// Decrypts a byte stream and cuts it into frames. Used like [`StandardSv2Decoder`](crate::StandardSv2Decoder).
///
/// A payload of several noise messages is put together in place. The limit is checked on the decrypted header, before
/// the payload is read.
#[derive(Debug)]
pub struct StandardNoiseDecoder {
    window: Window,
    cipher: CipherState,
    limit: Limit,
    /// The header of the frame whose payload is awaited; its own bytes are consumed.
    header: Option<Header>,
    /// Whether that payload lies decrypted at the front of the window.
    decrypted: bool,
    failed: Option<Error>,
}

impl StandardNoiseDecoder {
    /// A decoder for what `cipher` decrypts, starting right after the handshake.
    pub fn new(cipher: CipherState) -> Self {
        Self {
            window: Window::default(),
            cipher,
            limit: Limit::default(),
            header: None,
            decrypted: false,
            failed: None,
        }
    }

    /// Refuses payloads over `bytes` (plaintext) from the next header on.
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

    /// Whether nothing is waiting: no bytes, no frame begun.
    pub fn is_empty(&self) -> bool {
        self.header.is_none() && self.window.pending().is_empty()
    }

    /// The header of the next frame, once all of the frame is there and decrypted. [`next_frame`](Self::next_frame) then
    /// returns it.
    pub fn ready(&mut self) -> Result<Header, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.decrypt_frame();
        self.failed = result.err().filter(|error| !matches!(error, Error::MissingBytes(_)));
        result
    }

    /// The next frame, borrowed from the buffer until that is written to again.
    pub fn next_frame(&mut self) -> Result<Sv2Frame<'_>, Error> {
        let header = self.ready()?;
        self.header = None;
        self.decrypted = false;
        let block = self.window.take(encrypted_len(header.payload_len()));
        Ok(Sv2Frame::new(header, block.get(..header.payload_len()).unwrap_or_default())?)
    }

    fn decrypt_frame(&mut self) -> Result<Header, Error> {
        let header = match self.header {
            Some(header) => header,
            None => self.decrypt_header()?,
        };
        if !self.decrypted {
            let payload = self.window.front_mut(encrypted_len(header.payload_len())).map_err(Error::MissingBytes)?;
            decrypt_blocks(&mut self.cipher, payload)?;
            self.decrypted = true;
        }
        Ok(header)
    }

    fn decrypt_header(&mut self) -> Result<Header, Error> {
        let bytes = self.window.front_mut(NOISE_ENCRYPTED_HEADER_LEN).map_err(Error::MissingBytes)?;
        let plain = self.cipher.decrypt_in_place(bytes)?;
        let plain = plain.first_chunk::<FRAME_HEADER_LEN>().ok_or(Error::MissingBytes(1))?;
        let header = Header::from_bytes(plain);
        self.limit.check(&header)?;
        self.window.take(NOISE_ENCRYPTED_HEADER_LEN);
        self.header = Some(header);
        Ok(header)
    }
}

/// Decrypts the blocks of a payload and moves their plaintexts together at the front.
fn decrypt_blocks(cipher: &mut CipherState, payload: &mut [u8]) -> Result<(), Error> {
    for block in payload.chunks_mut(NOISE_MAX_CIPHERTEXT_LEN) {
        cipher.decrypt_in_place(block)?;
    }
    let (mut from, mut to) = (NOISE_MAX_CIPHERTEXT_LEN, NOISE_MAX_PLAINTEXT_LEN);
    while from < payload.len() {
        let end = from.saturating_add(NOISE_MAX_CIPHERTEXT_LEN).min(payload.len()) - NOISE_TAG_LEN;
        payload.copy_within(from..end, to);
        to += end - from;
        from += NOISE_MAX_CIPHERTEXT_LEN;
    }
    Ok(())
}

/// Appends encrypted frames to an outgoing buffer: each is serialised there and encrypted in place.
#[derive(Debug)]
pub struct NoiseEncoder {
    cipher: CipherState,
}

impl NoiseEncoder {
    /// An encoder for what `cipher` encrypts, starting right after the handshake.
    pub fn new(cipher: CipherState) -> Self {
        Self { cipher }
    }

    /// Appends `message` to `out`. On error `out` is as before.
    ///
    /// What was appended must be sent in this order, all of it: the peer decrypts by position.
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

    /// Appends a frame whose payload `fill` writes straight into `out`: it gets the payload's room, zeroed, and the
    /// result is encrypted there. For one prepared message to many peers with a field that differs.
    pub fn encode_with(
        &mut self,
        header: Header,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let start = out.len();
        out.resize(start + NOISE_ENCRYPTED_HEADER_LEN + encrypted_len(header.payload_len()), 0);
        let frame = out.get_mut(start..).unwrap_or_default();
        let (encrypted_header, payload) = frame.split_at_mut(NOISE_ENCRYPTED_HEADER_LEN);
        let result = fill(payload.get_mut(..header.payload_len()).unwrap_or_default())
            .and_then(|()| self.encrypt(header, encrypted_header, payload));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// `payload` begins with the plaintext and has room for the authentication codes at its end.
    fn encrypt(&mut self, header: Header, encrypted_header: &mut [u8], payload: &mut [u8]) -> Result<(), Error> {
        let (plain, _) = encrypted_header.split_at_mut(FRAME_HEADER_LEN);
        plain.copy_from_slice(&header.to_bytes());
        self.seal(encrypted_header)?;
        spread_blocks(payload, header.payload_len());
        payload.chunks_mut(NOISE_MAX_CIPHERTEXT_LEN).try_for_each(|block| self.seal(block))
    }

    /// Encrypts all of `block` but its last 16 bytes, which take the authentication code.
    fn seal(&mut self, block: &mut [u8]) -> Result<(), Error> {
        if let Some((plain, mac)) = block.split_last_chunk_mut::<NOISE_TAG_LEN>() {
            *mac = self.cipher.encrypt_in_place(plain)?;
        }
        Ok(())
    }
}

/// Moves the plaintexts of all blocks but the first apart, so that each has room for its authentication code.
fn spread_blocks(payload: &mut [u8], plain_len: usize) {
    for block in (1..plain_len.div_ceil(NOISE_MAX_PLAINTEXT_LEN)).rev() {
        let from = block * NOISE_MAX_PLAINTEXT_LEN;
        let end = plain_len.min(from + NOISE_MAX_PLAINTEXT_LEN);
        payload.copy_within(from..end, block * NOISE_MAX_CIPHERTEXT_LEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula as the specification prints it.
    fn specified(plain: usize) -> usize {
        let mut remainder = plain % 65_519;
        if remainder > 0 {
            remainder += 16;
        }
        plain / 65_519 * 65_535 + remainder
    }

    #[test]
    fn encrypted_length_is_the_specification_s() {
        for plain in [0, 1, 65_518, 65_519, 65_520, 131_037, 131_038, 131_039, 0xff_ffff] {
            assert_eq!(encrypted_len(plain), specified(plain), "{plain}");
        }
    }

    #[test]
    fn sizes_are_the_same_on_both_sides_of_the_layers() {
        assert_eq!(noise_sv2::MAX_CIPHERTEXT, NOISE_MAX_CIPHERTEXT_LEN);
        assert_eq!(noise_sv2::MAC_LENGTH, NOISE_TAG_LEN);
        assert_eq!(noise_sv2::ACT1_LENGTH, const_sv2::limits::HANDSHAKE_ACT1_LEN);
        assert_eq!(noise_sv2::ACT2_LENGTH, const_sv2::limits::HANDSHAKE_ACT2_LEN);
        assert_eq!(noise_sv2::CERTIFICATE_LENGTH, const_sv2::limits::CERTIFICATE_LEN);
    }
}
