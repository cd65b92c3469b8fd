//! Handshakes, with the certificate verified.

use std::{
    hint::black_box,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use noise_sv2::{AuthoritySecretKey, Initiator, Responder, ServerIdentity, Transport, Validity};
use rand_core::{OsRng, RngCore};
use secp256k1::{
    Keypair, Message, Secp256k1, SecretKey,
    ellswift::{ElligatorSwift, ElligatorSwiftParty},
};
use sri_codec_sv2::{Handshake, Transport as SriTransport};
use sri_noise_sv2::{Initiator as SriInitiator, NoiseEngine, Responder as SriResponder};
use stratum_bench::Row;

/// The authority that signs for either implementation.
const AUTHORITY: [u8; 32] = [9; 32];

fn authority() -> AuthoritySecretKey {
    AuthoritySecretKey::from_bytes(&AUTHORITY).unwrap()
}

fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// Signed once: a server shares it among all connections.
fn identity() -> ServerIdentity {
    let validity = Validity { from: now() - 3_600, until: now() + 3_600 };
    ServerIdentity::issue(&authority(), validity, &mut OsRng).unwrap()
}

fn handshake(identity: &ServerIdentity, key: noise_sv2::AuthorityPublicKey, now: u32) -> (Transport, Transport) {
    let (waiting, act1) = Initiator::new(Some(key), &mut OsRng).unwrap();
    let (act2, server) = Responder::new(identity).step(&act1, &mut OsRng).unwrap();
    (waiting.finish(&act2, now).unwrap(), server)
}

/// Our client and our server after a handshake.
pub fn connected() -> (Transport, Transport) {
    handshake(&identity(), authority().public_key(), now())
}

/// SRI makes a responder for each connection.
fn sri_responder() -> Box<SriResponder> {
    let public = authority().public_key().to_bytes();
    SriResponder::from_authority_kp(&public, &AUTHORITY, Duration::from_secs(3_600)).unwrap()
}

fn sri_initiator() -> Box<SriInitiator> {
    SriInitiator::from_raw_k(authority().public_key().to_bytes()).unwrap()
}

/// SRI's client and server after a handshake, for its noise library alone.
pub fn sri_engines() -> (NoiseEngine, NoiseEngine) {
    let (mut client, mut server) = (sri_initiator(), sri_responder());
    let act1 = client.step_0().unwrap();
    let (act2, server) = server.step_1(act1).unwrap();
    (client.step_2(act2).unwrap(), server)
}

/// SRI's client and server after a handshake, for its codec.
pub fn sri_connected() -> (SriTransport, SriTransport) {
    let (act1, waiting) = Handshake::initiator(sri_initiator()).step_0().unwrap();
    let (act2, server) = Handshake::responder(sri_responder()).step_1(act1.payload().try_into().unwrap()).unwrap();
    (waiting.step_2(act2.payload().try_into().unwrap()).unwrap(), server)
}

pub fn responder() -> Row<'static> {
    let identity = identity();
    let (_, act1) = Initiator::new(None, &mut OsRng).unwrap();
    let sri_act1 = sri_initiator().step_0().unwrap();
    let curve = Curve::new();
    Row::new("handshake, responder alone")
        .target_at(135_000.0, 110_000.0)
        .ours(move || {
            black_box(Responder::new(&identity).step(black_box(&act1), &mut OsRng).unwrap());
        })
        .sri(move || {
            black_box(sri_responder().step_1(black_box(sri_act1)).unwrap());
        })
        .limit(move || {
            curve.create();
            curve.agree();
            curve.agree();
        })
}

pub fn both_sides() -> Row<'static> {
    let (identity, key, now) = (identity(), authority().public_key(), now());
    let curve = Curve::new();
    Row::new("handshake, both sides, certificate verified")
        .target_at(290_000.0, 251_000.0)
        .ours(move || {
            black_box(handshake(&identity, key, now));
        })
        .sri(|| {
            black_box(sri_engines());
        })
        .limit(move || {
            for _ in 0..2 {
                curve.create();
                curve.agree();
                curve.agree();
            }
            curve.verify();
        })
}

/// The operations on the curve that no implementation gets around.
struct Curve {
    context: Secp256k1<secp256k1::All>,
    secret: SecretKey,
    ours: ElligatorSwift,
    theirs: ElligatorSwift,
    message: Message,
    signature: secp256k1::schnorr::Signature,
    signer: secp256k1::XOnlyPublicKey,
}

impl Curve {
    fn new() -> Self {
        let context = Secp256k1::new();
        let secret = SecretKey::from_slice(&[3; 32]).unwrap();
        let ours = ElligatorSwift::from_seckey(&context, secret, Some([4; 32]));
        let theirs = ElligatorSwift::from_seckey(&context, SecretKey::from_slice(&[5; 32]).unwrap(), Some([6; 32]));
        let pair = Keypair::from_seckey_slice(&context, &AUTHORITY).unwrap();
        let message = Message::from_digest([8; 32]);
        let signature = context.sign_schnorr_with_aux_rand(&message, &pair, &[1; 32]);
        let signer = pair.x_only_public_key().0;
        Self { context, secret, ours, theirs, message, signature, signer }
    }

    /// An ephemeral key, from new randomness each time: what it costs varies with it.
    fn create(&self) {
        let mut random = [0; 64];
        OsRng.fill_bytes(&mut random);
        let (secret, randomness) = random.split_first_chunk::<32>().unwrap();
        let secret = SecretKey::from_slice(secret).unwrap();
        black_box(ElligatorSwift::from_seckey(&self.context, secret, Some(randomness.try_into().unwrap())));
    }

    fn agree(&self) {
        let party = ElligatorSwiftParty::A;
        black_box(ElligatorSwift::shared_secret(black_box(self.ours), self.theirs, self.secret, party, None));
    }

    fn verify(&self) {
        self.context.verify_schnorr(&self.signature, &self.message, black_box(&self.signer)).unwrap();
    }
}
