//! A plain byte stream in pieces of any size, under any limit: the decoder finds what plain slicing finds.
//!
//! Input: size of the pieces, limit in units of 16 bytes, the stream.
#![no_main]

use codec_sv2::{Encoder, Error, StandardSv2Decoder};
use framing_sv2::Header;
use fuzz::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let piece = usize::from(input.byte()) + 1;
    let limit = u32::from(input.byte()) * 16;
    let (mut rest, mut expected) = (input.0, input.0);
    let mut decoder = StandardSv2Decoder::new();
    decoder.set_max_payload(limit);
    loop {
        match decoder.next_frame() {
            Ok(frame) => {
                let mut again = vec![];
                Encoder::new().encode_frame(&frame, &mut again).expect("a frame that was read");
                let (now, later) = expected.split_at(again.len());
                assert_eq!(again, now);
                assert!(frame.payload().len() <= limit as usize);
                expected = later;
            }
            Err(Error::MissingBytes(missing)) => {
                assert!(missing > 0);
                if rest.is_empty() {
                    break assert!(expected.len() < 6 || announced(expected) > expected.len() - 6);
                }
                let room = decoder.writable();
                assert!(room.len() <= 64 * 1024);
                let count = piece.min(rest.len()).min(room.len());
                room[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                decoder.advance(count);
            }
            Err(error) => {
                assert!(matches!(error, Error::PayloadTooLong { .. }) && announced(expected) > limit as usize);
                break assert_eq!(decoder.next_frame(), Err(error));
            }
        }
    }
});

fn announced(frame: &[u8]) -> usize {
    frame.first_chunk().map_or(0, |header| Header::from_bytes(header).payload_len())
}
