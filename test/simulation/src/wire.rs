//! Frames as bytes, and a direction of a connection that delays them but keeps their order.

use std::{collections::VecDeque, time::Duration};

use binary_sv2::Message;
use framing_sv2::Header;

/// Length of a frame's header.
const HEADER_LEN: usize = 6;

/// A whole frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Type and length.
    pub header: Header,
    /// The message.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The frame of a message.
    ///
    /// # Panics
    /// When a message of ours can not be encoded, which is a bug that the world is to end with.
    pub fn of<M: Message>(message: &M) -> Self {
        let payload = binary_sv2::to_bytes(message).expect("our own messages can be encoded");
        let header = Header::of::<M>(payload.len()).expect("our own messages are not too long");
        Self { header, payload }
    }

    /// Header and payload.
    pub fn bytes(&self) -> Vec<u8> {
        [self.header.to_bytes().as_slice(), &self.payload].concat()
    }
}

/// Bytes that were received, until they are whole frames.
#[derive(Debug, Default)]
pub struct Inbox(VecDeque<u8>);

impl Inbox {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.0.extend(bytes);
    }

    /// The next whole frame; an error when one is longer than `max_payload`.
    pub fn next_frame(&mut self, max_payload: usize) -> Result<Option<Frame>, &'static str> {
        let mut header = [0; HEADER_LEN];
        if self.0.len() < HEADER_LEN {
            return Ok(None);
        }
        header.iter_mut().zip(&self.0).for_each(|(to, from)| *to = *from);
        let header = Header::from_bytes(&header);
        if header.payload_len() > max_payload {
            return Err("a frame over the limit");
        }
        if self.0.len() < HEADER_LEN + header.payload_len() {
            return Ok(None);
        }
        self.0.drain(..HEADER_LEN);
        let payload = self.0.drain(..header.payload_len()).collect();
        Ok(Some(Frame { header, payload }))
    }
}

/// One direction of a connection: what is under way, and what waits to be read.
#[derive(Debug, Default)]
pub struct Pipe {
    last: Duration,
    flying: VecDeque<Vec<u8>>,
    /// Arrived and unread.
    pub arrived: VecDeque<u8>,
    /// Bytes under way or unread.
    pub unread: usize,
}

impl Pipe {
    /// Sends bytes with this delay, though never past what was sent before. Returns when they arrive.
    pub fn send(&mut self, now: Duration, delay: Duration, bytes: Vec<u8>) -> Duration {
        self.unread += bytes.len();
        self.flying.push_back(bytes);
        self.arrival(now, delay)
    }

    /// When something sent now arrives, and all that follows at the earliest.
    pub fn arrival(&mut self, now: Duration, delay: Duration) -> Duration {
        self.last = self.last.max(now + delay);
        self.last
    }

    /// Whether bytes are under way.
    pub fn is_flying(&self) -> bool {
        !self.flying.is_empty()
    }

    /// The next bytes under way arrive.
    pub fn arrive(&mut self) {
        self.arrived.extend(self.flying.pop_front().unwrap_or_default());
    }

    /// Takes up to `most` arrived bytes.
    pub fn read(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.arrived.len());
        self.unread -= count;
        self.arrived.drain(..count).collect()
    }
}
