//! Every message of the protocols through encoder and decoder, plain and encrypted.

mod common;

use binary_sv2::{DecodeError, Encodable};
use codec_sv2::{Encoder, Error, NoiseEncoder, StandardSv2Decoder};
use common::{decode_in_pieces, feed, noise_pair};
use common_messages_sv2::CommonMessages;
use const_sv2::{MessageInfo, message_type};
use extensions_sv2::ExtensionNegotiation;
use framing_sv2::{Frame, Header, Sv2Frame};
use job_declaration_sv2::JobDeclaration;
use mining_sv2::Mining;
use proptest::{collection::vec, prelude::*, sample::Index};
use template_distribution_sv2::TemplateDistribution;

/// Three values of each message, as the reference implementation encodes them.
fn frames() -> Vec<Sv2Frame<'static>> {
    let file = include_str!("../../../../test/vectors/messages.txt");
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(frame).collect()
}

/// `name extension_type message_type channel_msg payload`
fn frame(line: &str) -> Sv2Frame<'static> {
    let fields: Vec<&str> = line.split(' ').collect();
    let digits = fields.get(4).copied().unwrap_or_default();
    let payload: Vec<u8> =
        (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect();
    let (extension, message) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
    let header = Header::new(extension, fields[3] == "1", message, payload.len()).unwrap();
    Sv2Frame::new(header, payload).unwrap()
}

/// Decodes a frame's message with the crate that knows it, and hands it to `encode`.
fn reencode(frame: &Sv2Frame<'_>, encode: &mut dyn FnMut(&dyn Encodable)) {
    let (kind, payload) = (frame.header().message_type(), frame.payload());
    macro_rules! try_each {
        ($($protocol:ident),+) => {$(
            match $protocol::decode(kind, payload) {
                Ok(message) => return encode(&message),
                Err(DecodeError::UnknownMessageType(_)) => {}
                Err(error) => panic!("{error}"),
            }
        )+};
    }
    if frame.header().extension_type() == 1 {
        try_each!(ExtensionNegotiation);
    } else {
        try_each!(CommonMessages, Mining, JobDeclaration, TemplateDistribution);
    }
    panic!("no protocol knows message {kind:#04x}");
}

fn plain(frames: &[Sv2Frame<'_>]) -> Vec<u8> {
    let mut wire = vec![];
    for frame in frames {
        reencode(frame, &mut |message| Encoder::new().encode_value(frame.header(), message, &mut wire).unwrap());
    }
    wire
}

fn encrypted(encoder: &mut NoiseEncoder, frames: &[Sv2Frame<'_>]) -> Vec<u8> {
    let mut wire = vec![];
    for frame in frames {
        reencode(frame, &mut |message| encoder.encode_value(frame.header(), message, &mut wire).unwrap());
    }
    wire
}

#[test]
fn the_vectors_hold_every_message() {
    let mut found: Vec<_> = frames().iter().map(|f| (f.header().extension_type(), f.header().message_type())).collect();
    found.sort_unstable();
    found.dedup();
    let tables: [&[MessageInfo]; 5] = [
        &message_type::common::ALL,
        &message_type::mining::ALL,
        &message_type::job_declaration::ALL,
        &message_type::template_distribution::ALL,
        &message_type::extensions_negotiation::ALL,
    ];
    let mut known: Vec<_> =
        tables.iter().flat_map(|table| table.iter()).map(|info| (info.extension_type, info.message_type)).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn encoding_gives_the_vectors_again() {
    let (frames, mut expected) = (frames(), vec![]);
    frames.iter().for_each(|frame| frame.serialize(&mut expected));
    assert!(plain(&frames) == expected);
}

/// A prefix of a valid frame is never anything but incomplete, and the number it misses is true.
#[test]
fn every_prefix_misses_what_it_says() {
    for frame in frames() {
        let wire = plain(std::slice::from_ref(&frame));
        let mut decoder = StandardSv2Decoder::new();
        for (at, byte) in wire.iter().enumerate() {
            let missing = if at < 6 { 6 - at } else { wire.len() - at };
            assert_eq!(decoder.ready(), Err(Error::MissingBytes(missing)));
            feed(&mut decoder, &[*byte]);
        }
        assert_eq!(decoder.next_frame(), Ok(frame));
    }
}

#[test]
fn every_encrypted_prefix_misses_what_it_says() {
    let (mut encoder, mut decoder) = noise_pair();
    for frame in frames() {
        let wire = encrypted(&mut encoder, std::slice::from_ref(&frame));
        for (at, byte) in wire.iter().enumerate() {
            let missing = if at < 22 { 22 - at } else { wire.len() - at };
            assert_eq!(decoder.ready(), Err(Error::MissingBytes(missing)));
            feed(&mut decoder, &[*byte]);
        }
        assert_eq!(decoder.next_frame(), Ok(frame));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn all_messages_survive_any_cutting(cuts in vec(any::<Index>(), 0..200)) {
        let frames = frames();
        let at = |wire: &[u8]| cuts.iter().map(|cut| cut.index(wire.len())).collect();

        let wire = plain(&frames);
        prop_assert_eq!(&decode_in_pieces(&mut StandardSv2Decoder::new(), &wire, at(&wire)), &frames);

        let (mut encoder, mut decoder) = noise_pair();
        let wire = encrypted(&mut encoder, &frames);
        prop_assert_eq!(&decode_in_pieces(&mut decoder, &wire, at(&wire)), &frames);
    }
}
