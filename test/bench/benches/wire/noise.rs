//! Work under noise, once the handshake is done.

use std::hint::black_box;

use codec_sv2::{NoiseEncoder, StandardNoiseDecoder};
use mining_sv2::Mining;
use noise_sv2::MAX_PLAINTEXT;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use sri_codec_sv2::{Decrypted, NoiseDecoder, NoiseEncoder as SriNoiseEncoder};
use sri_framing_sv2::framing::MessageFrame;
use sri_mining_sv2::{CHANNEL_BIT_SUBMIT_SHARES_EXTENDED, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED};
use sri_parsers_sv2::Mining as SriMining;
use stratum_bench::Row;

use crate::{handshake, plain::feed, share};

/// Bytes of a frame's header.
const HEADER: usize = 6;

pub fn share() -> Row<'static> {
    Row::new("share: encode, encrypt, decrypt, decode").target_at(900.0, 690.0).ours(ours()).sri(sri()).limit(limit())
}

fn ours() -> impl FnMut() {
    let (client, server) = handshake::connected();
    let mut encoder = NoiseEncoder::new(client.send);
    let mut decoder = StandardNoiseDecoder::new(server.receive);
    let mut out = Vec::new();
    move || {
        out.clear();
        encoder.encode(black_box(&share::ours()), &mut out).unwrap();
        decoder.writable()[..out.len()].copy_from_slice(&out);
        decoder.advance(out.len());
        let frame = decoder.next_frame().unwrap();
        black_box(&Mining::decode(frame.header().message_type(), frame.payload()).unwrap());
    }
}

fn sri() -> impl FnMut() {
    let (client, server) = handshake::sri_connected();
    let (mut encrypt, _) = client.split();
    let (_, decrypt) = server.split();
    let mut decrypt = Some(decrypt);
    let mut encoder = SriNoiseEncoder::new();
    let mut decoder = NoiseDecoder::new();
    move || {
        let number = MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED;
        let channel = CHANNEL_BIT_SUBMIT_SHARES_EXTENDED;
        let frame = MessageFrame::from_message(black_box(share::sri()), number, 0, channel).unwrap();
        let wire = encoder.encode_transport(frame, &mut encrypt).unwrap();
        let mut wire: &[u8] = wire.as_ref();
        let mut state = decrypt.take().unwrap();
        let mut frame = loop {
            match decoder.next_transport_frame(state).unwrap() {
                Decrypted::Frame(frame, next) => {
                    decrypt = Some(next);
                    break frame;
                }
                Decrypted::Incomplete(_, next) => {
                    wire = feed(decoder.writable(), wire);
                    state = next;
                }
            }
        };
        let number = frame.header().msg_type();
        black_box(&SriMining::try_from((number, frame.payload())).unwrap());
    }
}

/// The four calls of the cipher that no implementation gets around.
fn limit() -> impl FnMut() {
    let key = key();
    let (mut header, mut payload) = ([0; HEADER], [0; share::LEN]);
    move || {
        for data in [header.as_mut_slice(), payload.as_mut_slice()] {
            let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), data).unwrap();
            let tag: [u8; 16] = tag.as_ref().try_into().unwrap();
            key.open_in_place_separate_tag(nonce(), Aad::empty(), Tag::from(tag), data, 0..).unwrap();
        }
        black_box((&header, &payload));
    }
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).unwrap())
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

pub fn longest() -> Row<'static> {
    let (mut client, _) = handshake::connected();
    let (mut sri, _) = handshake::sri_engines();
    let key = key();
    let mut data = vec![7; MAX_PLAINTEXT];
    let (mut for_sri, mut for_limit) = (Vec::with_capacity(MAX_PLAINTEXT + 16), data.clone());
    for_sri.resize(MAX_PLAINTEXT, 7);
    Row::new("noise message of 65,519 bytes: encrypt")
        .target_at(27_000.0, 24_400.0)
        .ours(move || {
            black_box(client.encrypt_in_place(black_box(&mut data)).unwrap());
        })
        .sri(move || {
            for_sri.truncate(MAX_PLAINTEXT);
            sri.encrypt(black_box(&mut for_sri)).unwrap();
        })
        .limit(move || {
            let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), black_box(&mut for_limit)).unwrap();
            let _ = black_box(tag);
        })
}
