//! A share without noise: through the codecs, and its fields alone.

use std::hint::black_box;

use binary_sv2::{Encodable, Message, Writer};
use codec_sv2::{Encoder, StandardSv2Decoder};
use mining_sv2::{Mining, SubmitSharesExtended};
use sri_codec_sv2::{Decoded, Decoder as SriDecoder, Encoder as SriEncoder};
use sri_framing_sv2::framing::MessageFrame;
use sri_mining_sv2::{CHANNEL_BIT_SUBMIT_SHARES_EXTENDED, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED};
use sri_parsers_sv2::Mining as SriMining;
use stratum_bench::Row;

use crate::share;

/// The frame's bytes.
fn wire() -> Vec<u8> {
    let mut wire = Vec::new();
    Encoder::new().encode(&share::ours(), &mut wire).unwrap();
    wire
}

pub fn encode() -> Row<'static> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new();
    let mut sri = SriEncoder::new();
    let (bytes, mut copy) = (wire(), Vec::new());
    Row::new("share without noise: encode to a frame")
        .target(25.0)
        .ours(move || {
            out.clear();
            encoder.encode(black_box(&share::ours()), &mut out).unwrap();
            black_box(&out);
        })
        .sri(move || {
            let number = MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED;
            let channel = CHANNEL_BIT_SUBMIT_SHARES_EXTENDED;
            let frame = MessageFrame::from_message(black_box(share::sri()), number, 0, channel).unwrap();
            black_box(sri.encode(frame).unwrap());
        })
        .limit(move || {
            copy.clear();
            copy.extend_from_slice(black_box(&bytes));
            black_box(&copy);
        })
}

pub fn decode() -> Row<'static> {
    let bytes = wire();
    let (for_sri, for_limit, mut copy) = (bytes.clone(), bytes.clone(), Vec::new());
    let mut decoder = StandardSv2Decoder::new();
    let mut sri = SriDecoder::new();
    Row::new("share without noise: received bytes to the typed message")
        .target(30.0)
        .ours(move || {
            let bytes = black_box(&bytes);
            decoder.writable()[..bytes.len()].copy_from_slice(bytes);
            decoder.advance(bytes.len());
            let frame = decoder.next_frame().unwrap();
            black_box(&Mining::decode(frame.header().message_type(), frame.payload()).unwrap());
        })
        .sri(move || {
            let mut bytes = black_box(for_sri.as_slice());
            let mut frame = loop {
                match sri.next_frame().unwrap() {
                    Decoded::Frame(frame) => break frame,
                    Decoded::Incomplete(_) => bytes = feed(sri.writable(), bytes),
                }
            };
            let number = frame.header().msg_type();
            black_box(&SriMining::try_from((number, frame.payload())).unwrap());
        })
        .limit(move || {
            copy.clear();
            copy.extend_from_slice(black_box(&for_limit));
            black_box(&copy);
        })
}

pub fn fields_encode() -> Row<'static> {
    let mut room = [0; share::LEN];
    let mut sri_room = [0; share::LEN];
    Row::new("its fields alone: to bytes")
        .ours(move || {
            black_box(share::ours()).encode(&mut Writer::new(&mut room)).unwrap();
            black_box(&room);
        })
        .sri(move || {
            sri_binary_sv2::to_writer(black_box(share::sri()), &mut sri_room).unwrap();
            black_box(&sri_room);
        })
}

pub fn fields_decode() -> Row<'static> {
    let bytes = binary_sv2::to_bytes(&share::ours()).unwrap();
    let mut for_sri = bytes.clone();
    Row::new("its fields alone: bytes to the typed message")
        .ours(move || {
            let number = black_box(SubmitSharesExtended::MESSAGE_TYPE);
            black_box(&Mining::decode(number, black_box(&bytes)).unwrap());
        })
        .sri(move || {
            let number = black_box(MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED);
            black_box(&SriMining::try_from((number, black_box(for_sri.as_mut_slice()))).unwrap());
        })
}

/// Fills `room` from the front of `bytes` and returns the rest.
pub fn feed<'b>(room: &mut [u8], bytes: &'b [u8]) -> &'b [u8] {
    let (now, rest) = bytes.split_at(room.len());
    room.copy_from_slice(now);
    rest
}
