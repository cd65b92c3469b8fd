//! Plain streams through encoder and decoder.

mod common;

use codec_sv2::{Encoder, Error, StandardSv2Decoder};
use common::{Blob, decode_in_pieces, feed, missing_steps};
use framing_sv2::{Frame, Header, Sv2Frame};
use proptest::{collection::vec, prelude::*, sample::Index};

fn encoded(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = vec![];
    for payload in payloads {
        Encoder::new().encode(&Blob(payload.clone()), &mut wire).unwrap();
    }
    wire
}

#[test]
fn the_encoder_writes_what_a_frame_serialises_to() {
    let mut expected = vec![];
    Sv2Frame::from_message(&Blob::of(300)).unwrap().serialize(&mut expected);
    assert_eq!(encoded(&[Blob::of(300).0]), expected);
}

#[test]
fn missing_bytes_are_exact() {
    for len in [0, 1, 300, 200_000] {
        let expected = if len == 0 { vec![6] } else { vec![6, len] };
        assert_eq!(missing_steps(&mut StandardSv2Decoder::new(), &encoded(&[Blob::of(len).0])), expected);
    }
}

#[test]
fn the_longest_payload_passes() {
    let wire = encoded(&[Blob::of(0xff_ffff).0]);
    let mut decoder = StandardSv2Decoder::new();
    feed(&mut decoder, &wire);
    assert_eq!(decoder.next_frame().unwrap().payload(), Blob::of(0xff_ffff).0);
}

#[test]
fn the_limit_is_judged_from_the_header_alone() {
    let ready = |limit, len| {
        let mut decoder = StandardSv2Decoder::new();
        decoder.set_max_payload(limit);
        let header = Header::new(3, true, 9, len).unwrap();
        feed(&mut decoder, &header.to_bytes());
        (decoder.ready(), header, decoder)
    };
    for (limit, len) in [(100, 100), (u32::MAX, 0xff_ffff)] {
        assert_eq!(ready(limit, len).0, Err(Error::MissingBytes(len)));
    }
    let (result, header, _) = ready(0, 0);
    assert_eq!(result, Ok(header));

    let (result, _, mut decoder) = ready(100, 101);
    let too_long = Error::PayloadTooLong { limit: 100, got: 101, extension_type: 3, message_type: 9 };
    assert_eq!(result, Err(too_long));
    feed(&mut decoder, &[0; 500]);
    assert_eq!(decoder.next_frame(), Err(too_long), "the error is final");
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut decoder = StandardSv2Decoder::new();
    feed(&mut decoder, &[0, 0, 1, 0xff, 0xff, 0xff]);
    assert_eq!(decoder.ready(), Err(Error::MissingBytes(0xff_ffff)));
    assert!(decoder.writable().len() <= 64 * 1024 + 2048);
}

#[test]
fn a_failed_message_leaves_the_buffer_as_it_was() {
    let mut out = vec![1, 2, 3];
    let header = Header::new(0, false, 1, 5).unwrap();
    assert!(Encoder::new().encode_value(header, &Blob::of(6), &mut out).is_err());
    let short = framing_sv2::Error::PayloadLength { expected: 5, got: 4 };
    assert_eq!(Encoder::new().encode_value(header, &Blob::of(4), &mut out), Err(short.into()));
    assert!(Encoder::new().encode(&Blob(vec![0; 0x100_0000]), &mut out).is_err());
    assert_eq!(out, [1, 2, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_survive_any_cutting(payloads in vec(vec(any::<u8>(), 0..400), 1..6), cuts in vec(any::<Index>(), 0..12)) {
        let wire = encoded(&payloads);
        let cuts = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        let frames = decode_in_pieces(&mut StandardSv2Decoder::new(), &wire, cuts);
        let received: Vec<Vec<u8>> = frames.iter().map(|frame| frame.payload().to_vec()).collect();
        prop_assert_eq!(received, payloads);
        prop_assert!(frames.iter().all(|frame| frame.header().message_type() == 0x1a && frame.header().channel_msg()));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..3000), limit in 0u32..2000) {
        let mut decoder = StandardSv2Decoder::new();
        decoder.set_max_payload(limit);
        feed(&mut decoder, &bytes);
        while let Ok(frame) = decoder.next_frame() {
            prop_assert!(frame.payload().len() <= limit as usize);
        }
    }
}
