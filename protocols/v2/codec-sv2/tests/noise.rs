//! Encrypted streams through encoder and decoder.

mod common;

use codec_sv2::{Error, NoiseEncoder, encrypted_len};
use common::{Blob, decode_in_pieces, feed, missing_steps, noise_pair as pair};
use framing_sv2::{Header, Sv2Frame};
use noise_sv2::Part;
use proptest::{collection::vec, prelude::*, sample::Index};

fn encoded(encoder: &mut NoiseEncoder, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = vec![];
    for payload in payloads {
        encoder.encode(&Blob(payload.clone()), &mut wire).unwrap();
    }
    wire
}

#[test]
fn payloads_around_the_block_size() {
    let (mut encoder, mut decoder) = pair();
    for len in [0, 1, 65_518, 65_519, 65_520, 131_037, 131_038, 131_039, 300_000] {
        let wire = encoded(&mut encoder, &[Blob::of(len).0]);
        assert_eq!(wire.len(), 22 + encrypted_len(len));
        feed(&mut decoder, &wire);
        assert_eq!(decoder.next_frame().unwrap().payload(), Blob::of(len).0, "{len}");
        assert!(decoder.is_empty());
    }
}

#[test]
fn the_longest_payload_passes() {
    let (mut encoder, mut decoder) = pair();
    let wire = encoded(&mut encoder, &[Blob::of(0xff_ffff).0, vec![1]]);
    feed(&mut decoder, &wire);
    assert_eq!(decoder.next_frame().unwrap().payload(), Blob::of(0xff_ffff).0);
    assert_eq!(decoder.next_frame().unwrap().payload(), [1]);
}

#[test]
fn missing_bytes_are_exact() {
    for len in [0, 1, 65_519, 65_520] {
        let (mut encoder, mut decoder) = pair();
        let wire = encoded(&mut encoder, &[Blob::of(len).0]);
        let expected = if len == 0 { vec![22] } else { vec![22, encrypted_len(len)] };
        assert_eq!(missing_steps(&mut decoder, &wire), expected);
    }
}

#[test]
fn the_limit_is_judged_from_the_decrypted_header() {
    for (len, refused) in [(70_000, false), (70_001, true)] {
        let (mut encoder, mut decoder) = pair();
        decoder.set_max_payload(70_000);
        let wire = encoded(&mut encoder, &[Blob::of(len).0]);
        feed(&mut decoder, &wire[..22]);
        let too_long = Error::PayloadTooLong { limit: 70_000, got: len, extension_type: 0, message_type: 0x1a };
        let expected = if refused { too_long } else { Error::MissingBytes(encrypted_len(len)) };
        assert_eq!(decoder.ready(), Err(expected));
        feed(&mut decoder, &wire[22..]);
        assert_eq!(
            decoder.next_frame().map(|frame| frame.payload().len()),
            if refused { Err(too_long) } else { Ok(len) }
        );
    }
}

#[test]
fn a_changed_byte_anywhere_is_refused_for_good() {
    let message = Blob::of(70_000).0;
    for at in [0, 5, 6, 21, 22, 65_540, 65_556, 65_557, 70_000, 22 + encrypted_len(70_000) - 1] {
        let (mut encoder, mut decoder) = pair();
        let mut wire = encoded(&mut encoder, std::slice::from_ref(&message));
        wire[at] ^= 0x10;
        feed(&mut decoder, &wire);
        let refused = Error::Noise(noise_sv2::Error::Decrypt(Part::Message));
        assert_eq!(decoder.next_frame(), Err(refused), "byte {at}");
        assert_eq!(decoder.next_frame(), Err(refused), "byte {at}, again");
    }
}

#[test]
fn a_failed_message_costs_neither_bytes_nor_nonces() {
    let (mut encoder, mut decoder) = pair();
    let mut wire = vec![];
    encoder.encode(&Blob::of(10), &mut wire).unwrap();
    let header = Header::new(0, false, 1, 5).unwrap();
    assert!(encoder.encode_value(header, &Blob::of(6), &mut wire).is_err());
    assert!(encoder.encode_value(header, &Blob::of(4), &mut wire).is_err());
    encoder.encode(&Blob::of(20), &mut wire).unwrap();
    let lengths: Vec<usize> = decode_in_pieces(&mut decoder, &wire, vec![]).iter().map(|f| f.payload().len()).collect();
    assert_eq!(lengths, [10, 20]);
}

#[test]
fn frames_and_patched_payloads_are_sent_too() {
    let (mut encoder, mut decoder) = pair();
    let header = Header::new(0, true, 0x20, 6).unwrap();
    let frame = Sv2Frame::new(header, vec![0, 0, 0, 0, 8, 9]).unwrap();
    let mut wire = vec![];
    encoder.encode_frame(&frame, &mut wire).unwrap();
    let patched = |room: &mut [u8]| {
        room.copy_from_slice(frame.payload());
        room[..4].copy_from_slice(&7u32.to_le_bytes());
        Ok(())
    };
    encoder.encode_with(header, &mut wire, patched).unwrap();
    let frames = decode_in_pieces(&mut decoder, &wire, vec![]);
    assert_eq!((&frames[0], frames[1].channel_id(), &frames[1].payload()[4..]), (&frame, Some(7), &[8, 9][..]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_survive_any_cutting(payloads in vec(vec(any::<u8>(), 0..400), 1..6), long in 0usize..140_000, cuts in vec(any::<Index>(), 0..12)) {
        let (mut encoder, mut decoder) = pair();
        let mut payloads = payloads;
        payloads.push(Blob::of(long).0);
        let wire = encoded(&mut encoder, &payloads);
        let cuts = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        let frames = decode_in_pieces(&mut decoder, &wire, cuts);
        let received: Vec<Vec<u8>> = frames.iter().map(|frame| frame.payload().to_vec()).collect();
        prop_assert_eq!(received, payloads);
    }

    #[test]
    fn random_bytes_are_refused(bytes in vec(any::<u8>(), 22..300)) {
        let (_, mut decoder) = pair();
        feed(&mut decoder, &bytes);
        prop_assert_eq!(decoder.next_frame(), Err(Error::Noise(noise_sv2::Error::Decrypt(Part::Message))));
    }
}
