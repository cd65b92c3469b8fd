//! Frames that outlive their receive buffer without the allocator.

use binary_sv2::Message;
use buffer::{Buffer, Pool};

use crate::{Error, Header, Sv2Frame};

/// A frame in a slot of a [`Pool`]: it may go to another thread or wait in a queue, and the slot goes back on drop.
#[derive(Debug, PartialEq, Eq)]
pub struct PooledFrame {
    header: Header,
    payload: Buffer,
}

impl PooledFrame {
    /// Encodes `message` straight into a slot. Refuses one whose payload is over the maximum.
    pub fn from_message<M: Message>(message: &M, pool: &Pool) -> Result<Self, Error> {
        let header = Header::of::<M>(message.encoded_len())?;
        let mut payload = pool.zeroed(header.payload_len());
        let mut writer = binary_sv2::Writer::new(&mut payload);
        message.encode(&mut writer)?;
        match writer.remaining() {
            0 => Ok(Self { header, payload }),
            left => Err(Error::PayloadLength { expected: header.payload_len(), got: header.payload_len() - left }),
        }
    }

    /// What the frame carries.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The encoded message, TLV fields included.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload with its slot.
    pub fn into_payload(self) -> Buffer {
        self.payload
    }

    /// The frame as encoders and decoders of messages take it.
    pub fn as_frame(&self) -> Result<Sv2Frame<'_>, Error> {
        Sv2Frame::new(self.header, self.payload())
    }
}

impl Sv2Frame<'_> {
    /// Like [`into_owned`](Self::into_owned), with the payload in a slot of `pool`, or in an allocation where the pool has
    /// none to give.
    pub fn into_pooled(self, pool: &Pool) -> PooledFrame {
        PooledFrame { header: self.header(), payload: pool.copy_of(self.payload()) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::Frame;

    #[test]
    fn a_frame_moves_into_a_slot_and_back() {
        let pool = Pool::new(1, 64).unwrap();
        let frame = Sv2Frame::new(Header::new(0, true, 0x1a, 4).unwrap(), vec![7, 0, 0, 0]).unwrap();
        let pooled = frame.clone().into_pooled(&pool);
        assert_eq!(pool.stats().in_use, 1);
        assert_eq!(pooled.as_frame(), Ok(frame.clone()));
        assert_eq!(pooled.payload(), frame.payload());
        assert_eq!(pooled.into_payload().into_vec(), [7, 0, 0, 0]);
        assert_eq!(pool.stats().in_use, 0);
    }

    #[test]
    fn a_message_is_encoded_into_a_slot() {
        struct Pair;
        impl binary_sv2::Encodable for Pair {
            fn encoded_len(&self) -> usize {
                2
            }
            fn encode(&self, out: &mut binary_sv2::Writer<'_>) -> Result<(), binary_sv2::Error> {
                out.put(&[1, 2])
            }
        }
        impl Message for Pair {
            const MESSAGE_TYPE: u8 = 9;
            const EXTENSION_TYPE: u16 = 0;
            const CHANNEL_MSG: bool = false;
            const NAME: &'static str = "Pair";
        }
        let pool = Pool::new(1, 64).unwrap();
        let pooled = PooledFrame::from_message(&Pair, &pool).unwrap();
        assert!(pooled.into_payload().is_pooled());
        let pooled = PooledFrame::from_message(&Pair, &pool).unwrap();
        assert_eq!(pooled.as_frame(), Sv2Frame::from_message(&Pair));
    }
}
