//! Encrypted frames of one and of several noise messages against an independent implementation
//! (`test/vectors/noise/independent.py`).

use std::collections::{BTreeMap, VecDeque};

use codec_sv2::{NoiseEncoder, StandardNoiseDecoder};
use framing_sv2::{Header, Sv2Frame};
use noise_sv2::{AuthoritySecretKey, Initiator, Responder, ServerIdentity, Transport, Validity};
use rand_core::{CryptoRng, Error, RngCore, impls};
use sha2::{Digest, Sha256};

/// Hands out prepared bytes.
struct Tape(VecDeque<u8>);

impl RngCore for Tape {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.pop_front().expect("enough was prepared"));
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Tape {}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(',').collect())
}

/// Both ends of the handshake with fixed keys.
fn handshake() -> (Transport, Transport) {
    let vector: BTreeMap<_, _> = lines(include_str!("../../../../test/vectors/noise/handshake.csv"))
        .map(|line| (line[0].to_owned(), hex(line[1])))
        .collect();
    let tape = |names: &[&str]| Tape(names.iter().flat_map(|name| vector[*name].clone()).collect());
    let authority = AuthoritySecretKey::from_bytes(vector["authority_secret"].as_slice().try_into().unwrap()).unwrap();
    let validity = Validity { from: 1000, until: 2000 };
    let mut rng = tape(&["server_static_secret", "server_static_randomness", "signature_randomness"]);
    let identity = ServerIdentity::issue(&authority, validity, &mut rng).unwrap();
    let mut rng = tape(&["initiator_secret", "initiator_randomness"]);
    let (waiting, act1) = Initiator::new(Some(authority.public_key()), &mut rng).unwrap();
    let mut rng = tape(&["responder_secret", "responder_randomness"]);
    let (act2, responder) = Responder::new(&identity).step(&act1, &mut rng).unwrap();
    assert_eq!(act2.as_slice(), vector["act2"]);
    (waiting.finish(&act2, 1500).unwrap(), responder)
}

#[test]
fn the_first_frame_after_the_handshake_is_as_others_make_it() {
    let mut count = 0;
    for line in lines(include_str!("../../../../test/vectors/noise/transport.csv")) {
        let [payload_len, len, digest, head, tail] = line[..] else { panic!("five fields: {line:?}") };
        let payload_len: usize = payload_len.parse().unwrap();
        let payload: Vec<u8> = (0..payload_len).map(|i| ((7 * i + 3) % 251) as u8).collect();
        let frame = Sv2Frame::new(Header::new(0, false, 0x74, payload_len).unwrap(), payload).unwrap();
        let (initiator, responder) = handshake();
        let mut wire = Vec::new();
        NoiseEncoder::new(initiator.send).encode_frame(&frame, &mut wire).unwrap();
        assert_eq!(wire.len().to_string(), len);
        assert_eq!(wire[..wire.len().min(38)], hex(head));
        assert_eq!(wire[wire.len().saturating_sub(32)..], hex(tail));
        assert_eq!(Sha256::digest(&wire)[..], hex(digest));
        let mut decoder = StandardNoiseDecoder::new(responder.receive);
        let mut rest = wire.as_slice();
        let decoded = loop {
            match decoder.next_frame().map(Sv2Frame::into_owned) {
                Err(codec_sv2::Error::MissingBytes(_)) => {
                    let room = decoder.writable();
                    let count = room.len().min(rest.len());
                    room[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    decoder.advance(count);
                }
                frame => break frame.unwrap(),
            }
        };
        assert_eq!(decoded, frame);
        count += 1;
    }
    assert_eq!(count, 9);
}
