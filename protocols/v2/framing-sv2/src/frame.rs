//! Frames: a trait, its two kinds, and either of them.

use alloc::{borrow::Cow, vec::Vec};

use binary_sv2::Message;
use const_sv2::limits::{FRAME_HEADER_LEN, NOISE_MAX_CIPHERTEXT_LEN};

use crate::{Error, Header};

/// A unit of bytes on a connection.
pub trait Frame<'a>: Sized {
    /// Appends the frame's bytes to `out`.
    fn serialize(&self, out: &mut Vec<u8>);

    /// Reads a frame that is exactly `bytes`. [`Error::MissingBytes`] says how many more a longer one needs.
    fn from_bytes(bytes: &'a [u8]) -> Result<Self, Error>;

    /// Takes `bytes` for a frame without comparing lengths. For bytes of our own making; wrong ones give a wrong frame,
    /// never a panic.
    fn from_bytes_unchecked(bytes: &'a [u8]) -> Self;

    /// The bytes after the header.
    fn payload(&self) -> &[u8];

    /// The header, for frames that have one.
    fn get_header(&self) -> Option<Header>;

    /// Encodes `message`. Refuses one whose payload is over the maximum.
    fn from_message<M: Message>(message: &M) -> Result<Self, Error>;
}

/// A message with its header, as the Sv2 protocols exchange them (sv2-spec §3.2).
///
/// The payload is borrowed from a receive buffer, or owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sv2Frame<'a> {
    header: Header,
    payload: Cow<'a, [u8]>,
}

impl<'a> Sv2Frame<'a> {
    /// Puts a header and its payload together. Their lengths must agree.
    pub fn new(header: Header, payload: impl Into<Cow<'a, [u8]>>) -> Result<Self, Error> {
        let payload = payload.into();
        match payload.len() {
            got if got == header.payload_len() => Ok(Self { header, payload }),
            got => Err(Error::PayloadLength { expected: header.payload_len(), got }),
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

    /// The encoded message. Copies only if it was borrowed.
    pub fn into_payload(self) -> Cow<'a, [u8]> {
        self.payload
    }

    /// Length with the header, in bytes.
    pub fn encoded_len(&self) -> usize {
        FRAME_HEADER_LEN + self.payload.len()
    }

    /// Detaches the frame from the buffer it was read from. Copies the payload if it was borrowed.
    pub fn into_owned(self) -> Sv2Frame<'static> {
        Sv2Frame { header: self.header, payload: Cow::Owned(self.payload.into_owned()) }
    }

    /// The channel a message is for: its first four bytes, if `channel_msg` is set and they are there.
    pub fn channel_id(&self) -> Option<u32> {
        let id = self.payload.first_chunk::<4>().filter(|_| self.header.channel_msg())?;
        Some(u32::from_le_bytes(*id))
    }
}

impl<'a> Frame<'a> for Sv2Frame<'a> {
    fn serialize(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        out.extend_from_slice(&self.header.to_bytes());
        out.extend_from_slice(&self.payload);
    }

    fn from_bytes(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, payload) = bytes
            .split_first_chunk::<FRAME_HEADER_LEN>()
            .ok_or(Error::MissingBytes(FRAME_HEADER_LEN.saturating_sub(bytes.len())))?;
        let header = Header::from_bytes(header);
        let (expected, got) = (header.payload_len(), payload.len());
        if got < expected {
            return Err(Error::MissingBytes(expected - got));
        }
        if got > expected {
            return Err(Error::TrailingBytes(got - expected));
        }
        Self::new(header, payload)
    }

    fn from_bytes_unchecked(bytes: &'a [u8]) -> Self {
        let (header, payload) = bytes.split_first_chunk().unwrap_or((&[0; FRAME_HEADER_LEN], &[]));
        Self { header: Header::from_bytes(header), payload: payload.into() }
    }

    fn payload(&self) -> &[u8] {
        self.payload()
    }

    fn get_header(&self) -> Option<Header> {
        Some(self.header)
    }

    fn from_message<M: Message>(message: &M) -> Result<Self, Error> {
        let header = Header::of::<M>(message.encoded_len())?;
        Self::new(header, message.to_bytes()?)
    }
}

/// Bytes of the noise layer without a header: handshake acts, or one transport message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoiseFrame<'a> {
    payload: Cow<'a, [u8]>,
}

impl<'a> NoiseFrame<'a> {
    /// Wraps at most 65,535 bytes (sv2-spec §4.6).
    pub fn new(payload: impl Into<Cow<'a, [u8]>>) -> Result<Self, Error> {
        let payload = payload.into();
        match payload.len() {
            got if got > NOISE_MAX_CIPHERTEXT_LEN => Err(Error::PayloadTooLong { max: NOISE_MAX_CIPHERTEXT_LEN, got }),
            _ => Ok(Self { payload }),
        }
    }

    /// All of the frame's bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Detaches the frame from the buffer it was read from.
    pub fn into_owned(self) -> NoiseFrame<'static> {
        NoiseFrame { payload: Cow::Owned(self.payload.into_owned()) }
    }
}

/// Nothing marks where a noise frame ends, so all bytes given belong to it.
impl<'a> Frame<'a> for NoiseFrame<'a> {
    fn serialize(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.payload);
    }

    fn from_bytes(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new(bytes)
    }

    fn from_bytes_unchecked(bytes: &'a [u8]) -> Self {
        Self { payload: bytes.into() }
    }

    fn payload(&self) -> &[u8] {
        self.payload()
    }

    fn get_header(&self) -> Option<Header> {
        None
    }

    /// The encoded message alone: noise frames have no header to say what it is.
    fn from_message<M: Message>(message: &M) -> Result<Self, Error> {
        let got = message.encoded_len();
        if got > NOISE_MAX_CIPHERTEXT_LEN {
            return Err(Error::PayloadTooLong { max: NOISE_MAX_CIPHERTEXT_LEN, got });
        }
        Self::new(message.to_bytes()?)
    }
}

/// What a connection carries: handshake bytes first, then messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EitherFrame<'a> {
    /// Bytes of a handshake.
    Noise(NoiseFrame<'a>),
    /// A message.
    Sv2(Sv2Frame<'a>),
}

impl EitherFrame<'_> {
    /// The bytes after the header, or all where there is none.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Noise(frame) => frame.payload(),
            Self::Sv2(frame) => frame.payload(),
        }
    }

    /// Appends the frame's bytes to `out`.
    pub fn serialize(&self, out: &mut Vec<u8>) {
        match self {
            Self::Noise(frame) => frame.serialize(out),
            Self::Sv2(frame) => frame.serialize(out),
        }
    }
}

impl<'a> From<NoiseFrame<'a>> for EitherFrame<'a> {
    fn from(frame: NoiseFrame<'a>) -> Self {
        Self::Noise(frame)
    }
}

impl<'a> From<Sv2Frame<'a>> for EitherFrame<'a> {
    fn from(frame: Sv2Frame<'a>) -> Self {
        Self::Sv2(frame)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use binary_sv2::{Encodable, Writer};
    use proptest::prelude::*;

    use super::*;

    /// A message that is nothing but bytes.
    struct Blob(Vec<u8>);

    impl Encodable for Blob {
        fn encoded_len(&self) -> usize {
            self.0.len()
        }

        fn encode(&self, out: &mut Writer<'_>) -> Result<(), binary_sv2::Error> {
            out.put(&self.0)
        }
    }

    impl Message for Blob {
        const MESSAGE_TYPE: u8 = 0x1a;
        const EXTENSION_TYPE: u16 = 0;
        const CHANNEL_MSG: bool = true;
        const NAME: &'static str = "Blob";
    }

    #[test]
    fn a_message_becomes_a_frame() {
        let frame = Sv2Frame::from_message(&Blob(vec![7, 0, 0, 0, 9])).unwrap();
        let mut bytes = vec![];
        frame.serialize(&mut bytes);
        assert_eq!(bytes, [0, 0x80, 0x1a, 5, 0, 0, 7, 0, 0, 0, 9]);
        assert_eq!(frame.encoded_len(), bytes.len());
        assert_eq!(frame.channel_id(), Some(7));
        assert_eq!(Sv2Frame::from_bytes(&bytes), Ok(frame.clone()));
        assert_eq!(Sv2Frame::from_bytes_unchecked(&bytes), frame);
        assert_eq!(frame.get_header(), Some(Header::of::<Blob>(5).unwrap()));
    }

    #[test]
    fn a_payload_over_the_maximum_is_refused() {
        let limit = 0xff_ffff;
        assert!(Sv2Frame::from_message(&Blob(vec![0; limit])).is_ok());
        let too_long = Error::PayloadTooLong { max: limit, got: limit + 1 };
        assert_eq!(Sv2Frame::from_message(&Blob(vec![0; limit + 1])), Err(too_long));
        assert!(NoiseFrame::from_message(&Blob(vec![0; 65_535])).is_ok());
        let too_long = Error::PayloadTooLong { max: 65_535, got: 65_536 };
        assert_eq!(NoiseFrame::from_message(&Blob(vec![0; 65_536])), Err(too_long));
        assert_eq!(NoiseFrame::from_bytes(&[0; 65_536]), Err(too_long));
    }

    #[test]
    fn lengths_must_agree() {
        let header = Header::new(0, false, 1, 3).unwrap();
        assert_eq!(Sv2Frame::new(header, vec![0; 4]), Err(Error::PayloadLength { expected: 3, got: 4 }));
        assert_eq!(Sv2Frame::from_bytes(&[0, 0, 1, 1, 0, 0, 5, 6]), Err(Error::TrailingBytes(1)));
    }

    #[test]
    fn a_channel_id_needs_the_bit_and_four_bytes() {
        let id = |channel_msg, payload: &[u8]| {
            let header = Header::new(0, channel_msg, 1, payload.len()).unwrap();
            Sv2Frame::new(header, payload).unwrap().channel_id()
        };
        assert_eq!(id(true, &[1, 1, 0, 0]), Some(257));
        assert_eq!(id(false, &[1, 1, 0, 0]), None);
        assert_eq!(id(true, &[1, 1, 0]), None);
    }

    #[test]
    fn either_keeps_what_it_holds() {
        let noise = EitherFrame::from(NoiseFrame::from_bytes(&[1, 2]).unwrap());
        let sv2 = EitherFrame::from(Sv2Frame::from_message(&Blob(vec![3])).unwrap());
        let mut bytes = vec![];
        noise.serialize(&mut bytes);
        sv2.serialize(&mut bytes);
        assert_eq!(bytes, [1, 2, 0, 0x80, 0x1a, 1, 0, 0, 3]);
        assert_eq!((noise.payload(), sv2.payload()), (&[1u8, 2][..], &[3u8][..]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn every_prefix_says_how_much_is_missing(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![];
            Sv2Frame::from_message(&Blob(payload)).unwrap().serialize(&mut bytes);
            for end in 0..bytes.len() {
                let missing = if end < 6 { 6 - end } else { bytes.len() - end };
                prop_assert_eq!(Sv2Frame::from_bytes(&bytes[..end]), Err(Error::MissingBytes(missing)));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(frame) = Sv2Frame::from_bytes(&bytes) {
                let mut again = vec![];
                frame.serialize(&mut again);
                prop_assert_eq!(&again, &bytes);
            }
            let _ = Sv2Frame::from_bytes_unchecked(&bytes).channel_id();
        }
    }
}
