//! Handshake, ciphers, framing and codec against SRI's `noise_sv2`, `framing_sv2` and `codec_sv2`, in both roles.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codec_sv2::{Encoder, NoiseEncoder, StandardNoiseDecoder, StandardSv2Decoder};
use framing_sv2::{Frame, Header, Sv2Frame};
use noise_sv2::{
    AuthorityPublicKey, AuthoritySecretKey, CertificateError, Initiator, Responder, ServerIdentity, Transport, Validity,
};
use rand_core::{OsRng, RngCore};
use sri_codec_sv2::{
    Decoded, Decoder as SriDecoder, Decrypted, Encoder as SriEncoder, Handshake, InitiatorSent, NoiseDecoder,
    NoiseEncoder as SriNoiseEncoder, Transport as SriTransport, TransportDecryptState,
};
use sri_framing_sv2::framing::{HandshakeMessage, SerializedFrame};
use sri_noise_sv2::{Initiator as SriInitiator, Responder as SriResponder};

/// Payload lengths at and around the edges of noise frames, and one of many.
const LENGTHS: [usize; 10] = [0, 1, 4, 1_000, 65_518, 65_519, 65_520, 131_038, 131_039, 1 << 20];

/// A fixed time, inside the validity of [`identity`].
const NOW: u32 = 1_800_000_000;

fn authority() -> AuthoritySecretKey {
    AuthoritySecretKey::generate(&mut OsRng).unwrap()
}

fn identity(authority: &AuthoritySecretKey) -> ServerIdentity {
    ServerIdentity::issue(authority, Validity { from: NOW - 3_600, until: NOW + 3_600 }, &mut OsRng).unwrap()
}

/// SRI's initiator against our responder, acts passing through SRI's codec.
fn sri_connects_to_us(
    key: Option<AuthorityPublicKey>,
    identity: &ServerIdentity,
    now: u32,
) -> Result<(SriTransport, Transport), String> {
    let initiator = match key {
        Some(key) => SriInitiator::from_raw_k(key.to_bytes()).unwrap(),
        None => SriInitiator::without_pk().unwrap(),
    };
    let (act1, waiting) = Handshake::initiator(initiator).step_0().unwrap();
    let act1: [u8; 64] = sri_handshake_bytes(act1).try_into().unwrap();
    let (act2, ours) = Responder::new(identity).step(&act1, &mut OsRng).unwrap();
    let received = sri_read_handshake::<InitiatorSent>(&act2);
    let theirs = waiting.step_2_with_now(received.try_into().unwrap(), now).map_err(|error| format!("{error:?}"))?;
    Ok((theirs, ours))
}

/// Our initiator against SRI's responder, acts passing through SRI's codec.
fn we_connect_to_sri(
    authority: &AuthoritySecretKey,
    key: Option<AuthorityPublicKey>,
    now: u32,
) -> Result<(Transport, SriTransport), noise_sv2::Error> {
    let public = authority.public_key().to_bytes();
    let responder = SriResponder::from_authority_kp(&public, &secret_bytes(authority), Duration::from_secs(3_600));
    let (waiting, act1) = Initiator::new(key, &mut OsRng).unwrap();
    let received = sri_read_handshake::<SriResponder>(&act1);
    let (act2, theirs) = Handshake::responder(responder.unwrap()).step_1(received.try_into().unwrap()).unwrap();
    let act2: [u8; 234] = sri_handshake_bytes(act2).try_into().unwrap();
    Ok((waiting.finish(&act2, now)?, theirs))
}

/// The 32 bytes inside the text form, which is base58check without a prefix.
fn secret_bytes(authority: &AuthoritySecretKey) -> [u8; 32] {
    bitcoin::base58::decode_check(authority.to_base58().as_str()).unwrap().try_into().unwrap()
}

fn sri_handshake_bytes(message: HandshakeMessage) -> Vec<u8> {
    SriNoiseEncoder::new().encode_handshake(message).to_vec()
}

fn sri_read_handshake<R: sri_codec_sv2::ExpectsHandshakeMessage>(mut bytes: &[u8]) -> Vec<u8> {
    let mut decoder = NoiseDecoder::new();
    loop {
        match decoder.next_handshake_frame::<R>().unwrap() {
            Decoded::Frame(message) => return message.payload().to_vec(),
            Decoded::Incomplete(_) => bytes = feed(decoder.writable(), bytes),
        }
    }
}

/// Fills `room` from the front of `bytes` and returns the rest.
fn feed<'b>(room: &mut [u8], bytes: &'b [u8]) -> &'b [u8] {
    let (now, rest) = bytes.split_at(room.len());
    room.copy_from_slice(now);
    rest
}

/// Frames of random bytes in all lengths, with and without the channel bit.
fn frames() -> Vec<Sv2Frame<'static>> {
    let frame = |(i, len): (usize, &usize)| {
        let mut payload = vec![0; *len];
        OsRng.fill_bytes(&mut payload);
        Sv2Frame::new(Header::new(i as u16, i % 2 == 1, i as u8 + 0x10, *len).unwrap(), payload).unwrap()
    };
    LENGTHS.iter().enumerate().map(frame).collect()
}

fn bytes_of(frame: &Sv2Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![];
    frame.serialize(&mut bytes);
    bytes
}

fn exchange(ours: Transport, theirs: SriTransport) {
    let (mut encrypt, decrypt) = theirs.split();
    from_us_to_sri(NoiseEncoder::new(ours.send), decrypt);

    let mut encoder = SriNoiseEncoder::new();
    let mut decoder = StandardNoiseDecoder::new(ours.receive);
    for frame in frames() {
        let theirs = SerializedFrame::from_bytes(bytes_of(&frame)).unwrap();
        let wire = encoder.encode_transport(theirs, &mut encrypt).unwrap();
        let mut wire: &[u8] = wire.as_ref();
        while !wire.is_empty() {
            let room = decoder.writable();
            let count = room.len().min(wire.len());
            wire = feed(&mut room[..count], wire);
            decoder.advance(count);
        }
        assert!(decoder.next_frame().unwrap() == frame, "{} bytes from SRI to us", frame.payload().len());
    }
}

/// All frames queue into one buffer, and SRI reads them from it.
fn from_us_to_sri(mut encoder: NoiseEncoder, mut state: TransportDecryptState) {
    let (mut out, frames) = (vec![], frames());
    frames.iter().for_each(|frame| encoder.encode_frame(frame, &mut out).unwrap());
    let mut wire = out.as_slice();
    let mut decoder = NoiseDecoder::new();
    let mut received = vec![];
    while received.len() < frames.len() {
        match decoder.next_transport_frame(state).unwrap() {
            Decrypted::Frame(frame, next) => {
                received.push(frame.as_bytes().to_vec());
                state = next;
            }
            Decrypted::Incomplete(_, next) => {
                wire = feed(decoder.writable(), wire);
                state = next;
            }
        }
    }
    assert!(wire.is_empty());
    for (theirs, ours) in received.iter().zip(&frames) {
        assert!(*theirs == bytes_of(ours), "{} bytes from us to SRI", ours.payload().len());
    }
}

#[test]
fn sri_initiator_and_our_responder() {
    let authority = authority();
    for key in [Some(authority.public_key()), None] {
        let (theirs, ours) = sri_connects_to_us(key, &identity(&authority), NOW).unwrap();
        exchange(ours, theirs);
    }
}

#[test]
fn our_initiator_and_sri_responder() {
    let authority = authority();
    // SRI's responder takes the validity from the machine's clock.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    for key in [Some(authority.public_key()), None] {
        let (ours, theirs) = we_connect_to_sri(&authority, key, now).unwrap();
        exchange(ours, theirs);
    }
    let expired = we_connect_to_sri(&authority, Some(authority.public_key()), now + 4_000).unwrap_err();
    assert!(matches!(expired, noise_sv2::Error::Certificate(CertificateError::Expired { .. })), "{expired}");
}

#[test]
fn both_refuse_a_certificate_of_another_authority() {
    let (authority, stranger) = (authority(), authority());
    let refused = noise_sv2::Error::Certificate(CertificateError::Signature);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    assert_eq!(we_connect_to_sri(&authority, Some(stranger.public_key()), now).map(|_| ()), Err(refused));
    assert!(sri_connects_to_us(Some(stranger.public_key()), &identity(&authority), NOW).is_err());
}

/// Both allow the same ten seconds for clocks that differ.
#[test]
fn both_judge_the_validity_alike() {
    let authority = authority();
    let (identity, key) = (identity(&authority), authority.public_key());
    for (now, valid) in [(NOW - 3_611, false), (NOW - 3_610, true), (NOW + 3_610, true), (NOW + 3_611, false)] {
        assert_eq!(sri_connects_to_us(Some(key), &identity, now).is_ok(), valid, "SRI at {now}");
        let (waiting, act1) = Initiator::new(Some(key), &mut OsRng).unwrap();
        let (act2, _) = Responder::new(&identity).step(&act1, &mut OsRng).unwrap();
        assert_eq!(waiting.finish(&act2, now).is_ok(), valid, "ours at {now}");
    }
}

#[test]
fn plain_frames_are_the_same_bytes() {
    let mut decoder = StandardSv2Decoder::new();
    for frame in frames() {
        let mut ours = vec![];
        Encoder::new().encode_frame(&frame, &mut ours).unwrap();
        let theirs = SriEncoder::new().encode(SerializedFrame::from_bytes(bytes_of(&frame)).unwrap()).unwrap();
        assert!(ours == theirs.as_ref() as &[u8]);

        let mut wire = ours.as_slice();
        let mut sri = SriDecoder::new();
        let received = loop {
            match sri.next_frame().unwrap() {
                Decoded::Frame(frame) => break frame,
                Decoded::Incomplete(_) => wire = feed(sri.writable(), wire),
            }
        };
        let (header, expected) = (received.header(), frame.header());
        assert_eq!(header.msg_type(), expected.message_type());
        assert_eq!(header.ext_type_without_channel_msg(), expected.extension_type());
        assert_eq!(header.channel_msg(), expected.channel_msg());
        assert_eq!(received.channel_id(), frame.channel_id());
        assert!(received.as_bytes() == ours);

        let mut wire = theirs.as_ref() as &[u8];
        while !wire.is_empty() {
            let room = decoder.writable();
            let count = room.len().min(wire.len());
            wire = feed(&mut room[..count], wire);
            decoder.advance(count);
        }
        assert!(decoder.next_frame().unwrap() == frame);
    }
}
