//! The two directions of a connection without its socket, for drivers that own many sockets in one thread.
//!
//! Such a driver calls `socket.try_read(decoder.writable())`, [`FrameDecoder::advance`], then
//! [`FrameDecoder::next_frame`] until it gives `None`; and `socket.try_write(queue.pending())`, then
//! [`FrameQueue::sent`].

use binary_sv2::{Encodable, Message};
use codec_sv2::{Encoder, NoiseEncoder, StandardNoiseDecoder, StandardSv2Decoder};
use framing_sv2::{Header, MAX_FRAME_LEN, Sv2Frame};
use noise_sv2::Transport;

use crate::Error;

/// Sent bytes that may stay at the front of a queue before the rest is moved there, in bytes.
const COMPACT_FROM: usize = 4 * 1024;
/// Buffer an empty queue keeps, in bytes; more was needed by a burst and is given back.
const KEEP: usize = 16 * 1024;

/// Both directions of a connection that has no noise.
pub fn plain() -> (FrameDecoder, FrameQueue) {
    (FrameDecoder(Decoder::Plain(StandardSv2Decoder::new())), FrameQueue::new(Sealer::Plain(Encoder::new())))
}

/// Both directions of a connection after its handshake.
pub fn encrypted(transport: Transport) -> (FrameDecoder, FrameQueue) {
    let decoder = Box::new(StandardNoiseDecoder::new(transport.receive));
    let encoder = Box::new(NoiseEncoder::new(transport.send));
    (FrameDecoder(Decoder::Noise(decoder)), FrameQueue::new(Sealer::Noise(encoder)))
}

/// Received bytes to frames.
#[derive(Debug)]
pub struct FrameDecoder(Decoder);

#[derive(Debug)]
enum Decoder {
    Plain(StandardSv2Decoder),
    Noise(Box<StandardNoiseDecoder>),
}

impl FrameDecoder {
    /// Refuses payloads over `bytes` from the next header on. Until then 2^24 - 1.
    pub fn set_max_payload(&mut self, bytes: u32) {
        match &mut self.0 {
            Decoder::Plain(decoder) => decoder.set_max_payload(bytes),
            Decoder::Noise(decoder) => decoder.set_max_payload(bytes),
        }
    }

    /// Where to put received bytes; never empty.
    pub fn writable(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Decoder::Plain(decoder) => decoder.writable(),
            Decoder::Noise(decoder) => decoder.writable(),
        }
    }

    /// Reads on into `buffer`, which many connections of a thread share in turn. Until then the decoder has one of its own.
    pub fn borrow_buffer(&mut self, buffer: &mut Vec<u8>) {
        match &mut self.0 {
            Decoder::Plain(decoder) => decoder.borrow_buffer(buffer),
            Decoder::Noise(decoder) => decoder.borrow_buffer(buffer),
        }
    }

    /// Gives the shared buffer back and keeps only the bytes of an unfinished frame.
    pub fn give_back_buffer(&mut self, buffer: &mut Vec<u8>) {
        match &mut self.0 {
            Decoder::Plain(decoder) => decoder.give_back_buffer(buffer),
            Decoder::Noise(decoder) => decoder.give_back_buffer(buffer),
        }
    }

    /// The first `count` bytes of [`writable`](Self::writable) have been filled.
    pub fn advance(&mut self, count: usize) {
        match &mut self.0 {
            Decoder::Plain(decoder) => decoder.advance(count),
            Decoder::Noise(decoder) => decoder.advance(count),
        }
    }

    /// The header of the next frame once all of the frame is there, or `None` while bytes are missing.
    pub fn ready(&mut self) -> Result<Option<Header>, Error> {
        let result = match &mut self.0 {
            Decoder::Plain(decoder) => decoder.ready(),
            Decoder::Noise(decoder) => decoder.ready(),
        };
        when_complete(result)
    }

    /// The next frame, or `None` while bytes are missing. An error is final.
    pub fn next_frame(&mut self) -> Result<Option<Sv2Frame<'_>>, Error> {
        let result = match &mut self.0 {
            Decoder::Plain(decoder) => decoder.next_frame(),
            Decoder::Noise(decoder) => decoder.next_frame(),
        };
        when_complete(result)
    }

    /// The error to report when the peer closes the connection now.
    pub fn closed(&mut self) -> Error {
        let (empty, result) = match &mut self.0 {
            Decoder::Plain(decoder) => (decoder.is_empty(), decoder.ready()),
            Decoder::Noise(decoder) => (decoder.is_empty(), decoder.ready()),
        };
        match result {
            Err(codec_sv2::Error::MissingBytes(missing)) if !empty => Error::Truncated { missing },
            Err(codec_sv2::Error::MissingBytes(_)) | Ok(_) => Error::Closed(crate::Phase::Messages),
            Err(error) => Error::decode(error),
        }
    }
}

/// Turns "bytes are missing" into `None`.
fn when_complete<T>(result: Result<T, codec_sv2::Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(codec_sv2::Error::MissingBytes(_)) => Ok(None),
        Err(error) => Err(Error::decode(error)),
    }
}

/// Messages to bytes that wait to be sent, encrypted and in order.
///
/// Everything queued between two writes leaves in one. Bounded: see [`set_limit`](Self::set_limit).
#[derive(Debug)]
pub struct FrameQueue {
    sealer: Sealer,
    /// `sent..` is still to be sent.
    bytes: Vec<u8>,
    sent: usize,
    limit: usize,
}

#[derive(Debug)]
enum Sealer {
    Plain(Encoder),
    Noise(Box<NoiseEncoder>),
}

impl FrameQueue {
    fn new(sealer: Sealer) -> Self {
        Self { sealer, bytes: Vec::new(), sent: 0, limit: MAX_FRAME_LEN }
    }

    /// Refuses to queue more once over `bytes` wait; one frame may go beyond. Until set it is one longest frame, 16 MiB.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Queues a message.
    pub fn push<M: Message>(&mut self, message: &M) -> Result<(), Error> {
        self.push_sealed(|sealer, out| match sealer {
            Sealer::Plain(encoder) => encoder.encode(message, out),
            Sealer::Noise(encoder) => encoder.encode(message, out),
        })
    }

    /// Queues a value under a given header, for values whose message type is known at run time only.
    pub fn push_value(&mut self, header: Header, value: &(impl Encodable + ?Sized)) -> Result<(), Error> {
        self.push_sealed(|sealer, out| match sealer {
            Sealer::Plain(encoder) => encoder.encode_value(header, value, out),
            Sealer::Noise(encoder) => encoder.encode_value(header, value, out),
        })
    }

    /// Queues a frame that was received or prepared.
    pub fn push_frame(&mut self, frame: &Sv2Frame<'_>) -> Result<(), Error> {
        self.push_sealed(|sealer, out| match sealer {
            Sealer::Plain(encoder) => encoder.encode_frame(frame, out),
            Sealer::Noise(encoder) => encoder.encode_frame(frame, out),
        })
    }

    /// Queues a frame whose payload `fill` writes: for one prepared message to many peers with a field that differs.
    pub fn push_with(&mut self, header: Header, fill: impl FnOnce(&mut [u8])) -> Result<(), Error> {
        let fill = |room: &mut [u8]| {
            fill(room);
            Ok(())
        };
        self.push_sealed(|sealer, out| match sealer {
            Sealer::Plain(encoder) => encoder.encode_with(header, out, fill),
            Sealer::Noise(encoder) => encoder.encode_with(header, out, fill),
        })
    }

    /// The bytes to write next. Empty when all was sent.
    pub fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// The first `count` bytes of [`pending`](Self::pending) were written.
    pub fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
            self.sent = 0;
        }
    }

    fn push_sealed(
        &mut self,
        seal: impl FnOnce(&mut Sealer, &mut Vec<u8>) -> Result<(), codec_sv2::Error>,
    ) -> Result<(), Error> {
        let queued = self.pending().len();
        if queued > self.limit {
            return Err(Error::QueueFull { limit: self.limit, queued });
        }
        // Moving at most as much as was sent keeps the cost of moving below that of sending.
        if self.sent >= COMPACT_FROM && self.sent >= queued {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        seal(&mut self.sealer, &mut self.bytes).map_err(Error::Message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: usize) -> Header {
        Header::new(0, false, 1, len).unwrap()
    }

    #[test]
    fn a_queue_sends_all_in_order_in_any_portions() {
        let (mut decoder, mut queue) = plain();
        let mut received = vec![];
        for round in 0..200usize {
            queue.push_with(header(round), |room| room.fill(round as u8)).unwrap();
            let count = (queue.pending().len() / 2).min(decoder.writable().len());
            decoder.writable()[..count].copy_from_slice(&queue.pending()[..count]);
            decoder.advance(count);
            queue.sent(count);
            while let Some(frame) = decoder.next_frame().unwrap() {
                received.push(frame.payload().to_vec());
            }
        }
        assert!(received.len() > 150);
        assert!(received.iter().enumerate().all(|(i, payload)| *payload == vec![i as u8; i]));
        assert!(queue.bytes.len() < 3 * COMPACT_FROM, "sent bytes are given up: {}", queue.bytes.len());
    }

    #[test]
    fn a_queue_is_bounded_and_gives_back_what_a_burst_took() {
        let (_, mut queue) = plain();
        queue.set_limit(100);
        queue.push_with(header(95), |_| ()).unwrap();
        assert!(matches!(queue.push_with(header(0), |_| ()), Err(Error::QueueFull { limit: 100, queued: 101 })));
        assert_eq!(queue.pending().len(), 101);
        queue.sent(1);
        queue.push_with(header(1_000_000), |_| ()).unwrap();
        queue.sent(usize::MAX);
        assert!(queue.pending().is_empty() && queue.bytes.capacity() <= KEEP);
    }
}
