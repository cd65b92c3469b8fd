//! A message of nothing but bytes, and ways to feed decoders.
#![allow(dead_code, reason = "each test file uses its part")]

use binary_sv2::{Encodable, Message, Writer};
use codec_sv2::{Error, StandardSv2Decoder};
use framing_sv2::{Header, Sv2Frame};

/// Payload of any bytes.
pub struct Blob(pub Vec<u8>);

impl Blob {
    /// `len` bytes that differ from their neighbours and from block to block.
    pub fn of(len: usize) -> Self {
        Self((0..len).map(|i| (i % 251) as u8).collect())
    }
}

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

/// What both decoders offer.
pub trait Decoder {
    fn writable(&mut self) -> &mut [u8];
    fn advance(&mut self, count: usize);
    fn next_frame(&mut self) -> Result<Sv2Frame<'_>, Error>;
    fn ready(&mut self) -> Result<Header, Error>;
}

/// Implements [`Decoder`] by the type's own methods.
macro_rules! decoder {
    ($type:ty) => {
        impl Decoder for $type {
            fn writable(&mut self) -> &mut [u8] {
                <$type>::writable(self)
            }
            fn advance(&mut self, count: usize) {
                <$type>::advance(self, count)
            }
            fn next_frame(&mut self) -> Result<framing_sv2::Sv2Frame<'_>, codec_sv2::Error> {
                <$type>::next_frame(self)
            }
            fn ready(&mut self) -> Result<framing_sv2::Header, codec_sv2::Error> {
                <$type>::ready(self)
            }
        }
    };
}

decoder!(StandardSv2Decoder);
#[cfg(feature = "with_noise")]
decoder!(codec_sv2::StandardNoiseDecoder);

/// The sending half of a client and the receiving half of its server.
#[cfg(feature = "with_noise")]
pub fn noise_pair() -> (codec_sv2::NoiseEncoder, codec_sv2::StandardNoiseDecoder) {
    use codec_sv2::{NoiseEncoder, StandardNoiseDecoder};
    use noise_sv2::{AuthoritySecretKey, Initiator, Responder, ServerIdentity, Validity};
    use rand_core::OsRng;

    let authority = AuthoritySecretKey::generate(&mut OsRng).unwrap();
    let identity = ServerIdentity::issue(&authority, Validity { from: 0, until: 10 }, &mut OsRng).unwrap();
    let (waiting, act1) = Initiator::new(Some(authority.public_key()), &mut OsRng).unwrap();
    let (act2, server) = Responder::new(&identity).step(&act1, &mut OsRng).unwrap();
    let client = waiting.finish(&act2, 5).unwrap();
    (NoiseEncoder::new(client.send), StandardNoiseDecoder::new(server.receive))
}

/// Puts all of `bytes` into the decoder, in as many steps as its room demands.
pub fn feed(decoder: &mut impl Decoder, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = decoder.writable();
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        decoder.advance(count);
        bytes = &bytes[count..];
    }
}

/// All frames in `wire`, which arrives in pieces that end at `cuts`.
pub fn decode_in_pieces(decoder: &mut impl Decoder, wire: &[u8], mut cuts: Vec<usize>) -> Vec<Sv2Frame<'static>> {
    cuts.push(wire.len());
    cuts.sort_unstable();
    let mut frames = vec![];
    let mut from = 0;
    for cut in cuts {
        feed(decoder, &wire[from..cut]);
        from = cut;
        loop {
            match decoder.next_frame() {
                Ok(frame) => frames.push(frame.into_owned()),
                Err(Error::MissingBytes(missing)) if missing > 0 => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    frames
}

/// Feeds exactly as many bytes as the decoder says it misses, and returns those numbers up to the first frame.
pub fn missing_steps(decoder: &mut impl Decoder, wire: &[u8]) -> Vec<usize> {
    let mut steps = vec![];
    let mut from = 0;
    while let Err(error) = decoder.ready() {
        let Error::MissingBytes(missing) = error else { panic!("{error}") };
        feed(decoder, &wire[from..from + missing]);
        from += missing;
        steps.push(missing);
    }
    assert_eq!(from, wire.len());
    steps
}
