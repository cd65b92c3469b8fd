//! In the steady state a share costs no allocation, from the typed message to the typed message, with noise or without.

use allocation_counter::measure;
use binary_sv2::B0_32;
use codec_sv2::{Encoder, NoiseEncoder, StandardNoiseDecoder, StandardSv2Decoder};
use mining_sv2::{Mining, SubmitSharesExtended, SubmitSharesSuccess};
use noise_sv2::{AuthoritySecretKey, Initiator, Responder, ServerIdentity, Transport, Validity};
use rand_core::OsRng;

/// Shares before counting: buffers find their size.
const WARM_UP: u32 = 100;
const SHARES: u32 = 10_000;
/// Shares that leave in one write, and arrive cut anywhere.
const BATCH: u32 = 8;
/// Bytes that arrive at once.
const PIECE: usize = 101;

fn share(sequence_number: u32) -> SubmitSharesExtended {
    let extranonce = B0_32::from_truncated(&sequence_number.to_le_bytes());
    SubmitSharesExtended { channel_id: 1, sequence_number, job_id: 2, nonce: 3, ntime: 4, version: 5, extranonce }
}

fn connected() -> (Transport, Transport) {
    let authority = AuthoritySecretKey::generate(&mut OsRng).unwrap();
    let identity = ServerIdentity::issue(&authority, Validity { from: 0, until: u32::MAX }, &mut OsRng).unwrap();
    let (waiting, act1) = Initiator::new(Some(authority.public_key()), &mut OsRng).unwrap();
    let (act2, server) = Responder::new(&identity).step(&act1, &mut OsRng).unwrap();
    (waiting.finish(&act2, 1_000).unwrap(), server)
}

/// Allocations of `send`, which takes a batch's first number, over [`SHARES`] shares after the warm-up.
fn allocations(mut send: impl FnMut(u32)) -> u64 {
    (0..WARM_UP).for_each(|batch| send(batch * BATCH));
    measure(|| (0..SHARES / BATCH).for_each(|batch| send((WARM_UP + batch) * BATCH))).count_total
}

/// Expects shares in order.
fn check(expected: &mut u32, message_type: u8, payload: &[u8]) {
    assert_eq!(Mining::decode(message_type, payload), Ok(share(*expected).into()));
    *expected += 1;
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total, 1);
}

#[test]
fn shares_over_noise_cost_no_allocation() {
    let (client, server) = connected();
    let (mut encoder, mut decoder) = (NoiseEncoder::new(client.send), StandardNoiseDecoder::new(server.receive));
    let (mut out, mut expected) = (Vec::new(), 0);
    let count = allocations(|first| {
        out.clear();
        (first..first + BATCH).for_each(|number| encoder.encode(&share(number), &mut out).unwrap());
        for piece in out.chunks(PIECE) {
            decoder.writable()[..piece.len()].copy_from_slice(piece);
            decoder.advance(piece.len());
            while let Ok(frame) = decoder.next_frame() {
                check(&mut expected, frame.header().message_type(), frame.payload());
            }
        }
        assert_eq!(expected, first + BATCH);
    });
    assert_eq!(count, 0);
}

#[test]
fn shares_without_noise_cost_no_allocation() {
    let (mut encoder, mut decoder) = (Encoder::new(), StandardSv2Decoder::new());
    let (mut out, mut expected) = (Vec::new(), 0);
    let count = allocations(|first| {
        out.clear();
        (first..first + BATCH).for_each(|number| encoder.encode(&share(number), &mut out).unwrap());
        for piece in out.chunks(PIECE) {
            decoder.writable()[..piece.len()].copy_from_slice(piece);
            decoder.advance(piece.len());
            while let Ok(frame) = decoder.next_frame() {
                check(&mut expected, frame.header().message_type(), frame.payload());
            }
        }
        assert_eq!(expected, first + BATCH);
    });
    assert_eq!(count, 0);
}

/// What a pool answers, to many connections: each encodes its own bytes into its own buffer.
#[test]
fn answers_cost_no_allocation() {
    let (client, server) = connected();
    let (mut encoder, mut decoder) = (NoiseEncoder::new(server.send), StandardNoiseDecoder::new(client.receive));
    let mut out = Vec::new();
    let count = allocations(|first| {
        out.clear();
        let answer = SubmitSharesSuccess {
            channel_id: 1,
            last_sequence_number: first,
            new_submits_accepted_count: BATCH,
            new_shares_sum: 8,
        };
        encoder.encode(&answer, &mut out).unwrap();
        decoder.writable()[..out.len()].copy_from_slice(&out);
        decoder.advance(out.len());
        let frame = decoder.next_frame().unwrap();
        assert_eq!(Mining::decode(frame.header().message_type(), frame.payload()), Ok(answer.into()));
    });
    assert_eq!(count, 0);
}
