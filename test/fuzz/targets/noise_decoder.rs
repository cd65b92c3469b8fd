//! Encrypted frames, some bytes of them changed on the way: what comes out was sent, in order, up to the first change.
//!
//! Input: size of the pieces, number of changes (at most 3), each as position and mask, then frames. Or, with 0xff as the
//! number of changes, raw bytes to decrypt.
#![no_main]

use codec_sv2::{Error, NoiseEncoder, StandardNoiseDecoder};
use framing_sv2::Sv2Frame;
use fuzz::{Input, cipher_pair};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let piece = usize::from(input.byte()) * 16 + 1;
    let changes = input.byte();
    let (send, receive) = cipher_pair();
    if changes == 0xff {
        return assert_eq!(decode(receive, input.0, piece).0, []);
    }
    let changes: Vec<(u64, u8)> = (0..changes % 4).map(|_| (input.number(), input.byte())).collect();

    let mut encoder = NoiseEncoder::new(send);
    let (mut wire, mut frames, mut ends) = (vec![], vec![], vec![]);
    while let Some((header, payload)) = input.frame() {
        // Now and then a payload of several blocks.
        let copies = if header.message_type() == 0xfe { 1 + 140_000 / (payload.len() + 1) } else { 1 };
        let payload = payload.repeat(copies);
        let header = framing_sv2::Header::new(header.extension_type(), true, header.message_type(), payload.len());
        let frame = Sv2Frame::new(header.expect("a length that fits"), payload).expect("a frame");
        encoder.encode_frame(&frame, &mut wire).expect("a frame that can be sent");
        ends.push(wire.len());
        frames.push(frame);
        if wire.len() > 400_000 {
            break;
        }
    }
    let original = wire.clone();
    for (at, mask) in changes {
        if let Some(at) = at.checked_rem(wire.len() as u64) {
            wire[at as usize] ^= mask;
        }
    }
    let intact = original.iter().zip(&wire).take_while(|(a, b)| a == b).count();
    let whole = ends.iter().take_while(|end| **end <= intact).count();
    let (decoded, error) = decode(receive, &wire, piece);
    assert_eq!(decoded, frames[..whole]);
    assert_eq!(error, intact < wire.len(), "a change is noticed, and nothing else is");
});

/// The frames, and whether it ended with an error.
fn decode(cipher: noise_sv2::CipherState, mut rest: &[u8], piece: usize) -> (Vec<Sv2Frame<'static>>, bool) {
    let mut decoder = StandardNoiseDecoder::new(cipher);
    let mut frames = vec![];
    loop {
        match decoder.next_frame() {
            Ok(frame) => frames.push(frame.into_owned()),
            Err(Error::MissingBytes(_)) if rest.is_empty() => return (frames, false),
            Err(Error::MissingBytes(_)) => {
                let room = decoder.writable();
                let count = piece.min(rest.len()).min(room.len());
                room[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                decoder.advance(count);
            }
            Err(error) => {
                assert_eq!(decoder.next_frame(), Err(error));
                return (frames, true);
            }
        }
    }
}
