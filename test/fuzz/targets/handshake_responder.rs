//! Act 1 at the server. Any 64 bytes are a key, so the answer always comes; what follows never authenticates.
//!
//! Input: act 1, then what the "client" sends behind it.
#![no_main]

use std::sync::LazyLock;

use codec_sv2::{Error, StandardNoiseDecoder};
use fuzz::{Counter, Input};
use libfuzzer_sys::fuzz_target;
use noise_sv2::{ACT1_LENGTH, AuthoritySecretKey, Responder, ServerIdentity, Validity};

static IDENTITY: LazyLock<ServerIdentity> = LazyLock::new(|| {
    let authority = AuthoritySecretKey::generate(&mut Counter(1)).expect("a key");
    ServerIdentity::issue(&authority, Validity { from: 0, until: u32::MAX }, &mut Counter(2)).expect("an identity")
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let Ok(act1) = <[u8; ACT1_LENGTH]>::try_from(input.bytes(ACT1_LENGTH)) else { return };
    let step = |seed| Responder::new(&IDENTITY).step(&act1, &mut Counter(seed)).expect("an answer");
    let (act2, transport) = step(3);
    assert_eq!(step(3).0, act2, "nothing but its arguments counts");
    let mut decoder = StandardNoiseDecoder::new(transport.receive);
    let room = decoder.writable();
    let count = input.0.len().min(room.len());
    room[..count].copy_from_slice(&input.0[..count]);
    decoder.advance(count);
    match decoder.next_frame() {
        Err(Error::MissingBytes(missing)) => assert_eq!(missing, 22 - count),
        Err(Error::Noise(_)) => assert!(count >= 22),
        other => panic!("{other:?}"),
    }
});
