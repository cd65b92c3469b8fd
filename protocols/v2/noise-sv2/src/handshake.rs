//! The two acts of the NX handshake, as types that each step consumes (sv2-spec §4.5).

use rand_core::{CryptoRng, RngCore};

use crate::{
    certificate::{CERTIFICATE_LENGTH, Certificate, ServerIdentity},
    cipher_state::{MAC_LENGTH, Transport},
    context::Context,
    error::{Error, Part},
    key_log::TransportKeys,
    keys::{AuthorityPublicKey, ELLSWIFT_LENGTH, StaticKeypair, StaticPublicKey},
    symmetric::{Side, SymmetricState},
};

/// Length of act 1, in bytes: the initiator's ephemeral key.
pub const ACT1_LENGTH: usize = ELLSWIFT_LENGTH;
/// Length of act 2, in bytes: an ephemeral key, the static key encrypted, the certificate encrypted.
///
/// That makes 234. The specification also says 170, which is left over from when keys had 32 bytes.
pub const ACT2_LENGTH: usize = ELLSWIFT_LENGTH + STATIC_LENGTH + CERTIFICATE_LENGTH + MAC_LENGTH;
/// An encrypted static key.
const STATIC_LENGTH: usize = ELLSWIFT_LENGTH + MAC_LENGTH;

/// The side that connects. It has no state before its first message: see [`Initiator::new`].
#[derive(Debug)]
pub struct Initiator(());

impl Initiator {
    /// Begins a handshake: returns what waits for act 2, and act 1 to send.
    ///
    /// With `authority`, the server must show a certificate that this key signed. Without, the connection is private
    /// only against those who merely listen: anyone in between can pose as the server.
    #[expect(clippy::new_ret_no_self, reason = "the first step is the only one that needs no answer")]
    pub fn new(
        authority: Option<AuthorityPublicKey>,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<(InitiatorWaiting, [u8; ACT1_LENGTH]), Error> {
        let context = Context::new();
        let ephemeral = StaticKeypair::generate_in(&context, rng)?;
        let act1 = ephemeral.encoded();
        let state = after_act1(&act1);
        Ok((InitiatorWaiting { state, ephemeral, authority, context }, act1))
    }
}

/// The connecting side after act 1 was sent.
pub struct InitiatorWaiting {
    state: SymmetricState,
    ephemeral: StaticKeypair,
    authority: Option<AuthorityPublicKey>,
    context: Context,
}

impl InitiatorWaiting {
    /// Reads act 2, checks the server's certificate at `now` (unix seconds) and returns the ciphers.
    pub fn finish(self, act2: &[u8; ACT2_LENGTH], now: u32) -> Result<Transport, Error> {
        self.finish_exporting_keys(act2, now).map(|(transport, _)| transport)
    }

    /// Like [`finish`](Self::finish), for debugging: returns the secret keys too. See [`key_log`](crate::key_log).
    pub fn finish_exporting_keys(
        mut self,
        act2: &[u8; ACT2_LENGTH],
        now: u32,
    ) -> Result<(Transport, TransportKeys), Error> {
        let mut act2 = *act2;
        let Act2 { ephemeral, static_key, certificate } = Act2::split(&mut act2);

        self.state.mix_hash(ephemeral);
        self.state.mix_key(&self.ephemeral.agree(ephemeral, Side::Initiator));
        self.state.decrypt_and_hash(static_key, Part::StaticKey)?;
        let static_key = plaintext::<ELLSWIFT_LENGTH>(static_key)?;

        self.state.mix_key(&self.ephemeral.agree(static_key, Side::Initiator));
        self.state.decrypt_and_hash(certificate, Part::Certificate)?;
        let certificate = Certificate::from_bytes(plaintext::<CERTIFICATE_LENGTH>(certificate)?);

        match &self.authority {
            Some(key) => {
                certificate.verify_in(&self.context, &StaticPublicKey::decode(static_key), key, now)?;
            }
            None => certificate.verify_version()?,
        }
        let keys = self.state.into_keys();
        Ok((keys.transport(Side::Initiator), keys))
    }
}

impl core::fmt::Debug for InitiatorWaiting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InitiatorWaiting").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// The side that is connected to.
#[derive(Debug)]
pub struct Responder<'i> {
    identity: &'i ServerIdentity,
}

impl<'i> Responder<'i> {
    /// A handshake in which the server shows `identity`.
    pub fn new(identity: &'i ServerIdentity) -> Self {
        Self { identity }
    }

    /// Reads act 1, returns act 2 to send and the ciphers.
    ///
    /// Any 64 bytes are a valid act 1, so a peer that speaks another protocol shows only in its next message.
    pub fn step(
        self,
        act1: &[u8; ACT1_LENGTH],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<([u8; ACT2_LENGTH], Transport), Error> {
        self.step_exporting_keys(act1, rng).map(|(act2, transport, _)| (act2, transport))
    }

    /// Like [`step`](Self::step), for debugging: returns the secret keys too. See [`key_log`](crate::key_log).
    pub fn step_exporting_keys(
        self,
        act1: &[u8; ACT1_LENGTH],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<([u8; ACT2_LENGTH], Transport, TransportKeys), Error> {
        let ServerIdentity { keypair, certificate: own_certificate, context } = self.identity;
        let own_ephemeral = StaticKeypair::generate_in(context, rng)?;
        let mut state = after_act1(act1);
        let mut act2 = [0; ACT2_LENGTH];
        let Act2 { ephemeral, static_key, certificate } = Act2::split(&mut act2);

        *ephemeral = own_ephemeral.encoded();
        state.mix_hash(ephemeral);
        state.mix_key(&own_ephemeral.agree(act1, Side::Responder));

        static_key[..ELLSWIFT_LENGTH].copy_from_slice(&keypair.encoded());
        state.encrypt_and_hash(static_key)?;
        state.mix_key(&keypair.agree(act1, Side::Responder));

        certificate[..CERTIFICATE_LENGTH].copy_from_slice(&own_certificate.to_bytes());
        state.encrypt_and_hash(certificate)?;
        let keys = state.into_keys();
        Ok((act2, keys.transport(Side::Responder), keys))
    }
}

/// Both sides' state once the initiator's ephemeral key is known: its hash, then that of an empty payload.
fn after_act1(act1: &[u8; ACT1_LENGTH]) -> SymmetricState {
    let mut state = SymmetricState::new();
    state.mix_hash(act1);
    state.mix_hash(&[]);
    state
}

/// The three parts of act 2.
struct Act2<'a> {
    ephemeral: &'a mut [u8; ELLSWIFT_LENGTH],
    static_key: &'a mut [u8],
    certificate: &'a mut [u8],
}

impl<'a> Act2<'a> {
    fn split(bytes: &'a mut [u8; ACT2_LENGTH]) -> Self {
        let Some((ephemeral, rest)) = bytes.split_first_chunk_mut::<ELLSWIFT_LENGTH>() else {
            unreachable!("act 2 is longer than its first part")
        };
        let (static_key, certificate) = rest.split_at_mut(STATIC_LENGTH);
        Self { ephemeral, static_key, certificate }
    }
}

/// What lies before the authentication code in a decrypted part.
fn plaintext<const N: usize>(part: &[u8]) -> Result<&[u8; N], Error> {
    part.first_chunk().ok_or(Error::CiphertextTooShort(part.len()))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use rand_core::OsRng;

    use super::*;
    use crate::{
        certificate::Validity,
        error::CertificateError,
        keys::AuthoritySecretKey,
        testing::{Tape, hex, vector_lines},
    };

    const NOW: u32 = 1_500;
    const VALIDITY: Validity = Validity { from: 1_000, until: 2_000 };

    fn server() -> (AuthorityPublicKey, ServerIdentity) {
        let authority = AuthoritySecretKey::generate(&mut OsRng).unwrap();
        (authority.public_key(), ServerIdentity::issue(&authority, VALIDITY, &mut OsRng).unwrap())
    }

    fn assert_connected(mut a: Transport, mut b: Transport) {
        for text in [b"a first message".as_slice(), b"", b"another", b"and one more"] {
            exchange(&mut a, &mut b, text);
            exchange(&mut b, &mut a, text);
        }
    }

    fn exchange(from: &mut Transport, to: &mut Transport, text: &[u8]) {
        let mut data = text.to_vec();
        let mac = from.encrypt_in_place(&mut data).unwrap();
        data.extend_from_slice(&mac);
        assert_eq!(to.decrypt_in_place(&mut data).unwrap(), text);
    }

    #[test]
    fn both_sides_get_each_others_ciphers() {
        let (authority, identity) = server();
        for authority in [Some(authority), None] {
            let (waiting, act1) = Initiator::new(authority, &mut OsRng).unwrap();
            let (act2, responder) = Responder::new(&identity).step(&act1, &mut OsRng).unwrap();
            assert_connected(waiting.finish(&act2, NOW).unwrap(), responder);
        }
    }

    #[test]
    fn another_authority_or_another_time_is_refused() {
        let (authority, identity) = server();
        let (stranger, _) = server();
        let finish = |authority, now| {
            let (waiting, act1) = Initiator::new(Some(authority), &mut OsRng).unwrap();
            let (act2, _) = Responder::new(&identity).step(&act1, &mut OsRng).unwrap();
            waiting.finish(&act2, now).map(|_| ())
        };
        assert_eq!(finish(authority, NOW), Ok(()));
        assert_eq!(finish(stranger, NOW), Err(CertificateError::Signature.into()));
        let early = CertificateError::NotYetValid { valid_from: 1_000, now: 1 };
        assert_eq!(finish(authority, 1), Err(early.into()));
        let late = CertificateError::Expired { not_valid_after: 2_000, now: 9_999 };
        assert_eq!(finish(authority, 9_999), Err(late.into()));
    }

    #[test]
    fn an_unknown_certificate_version_is_refused_even_without_an_authority() {
        let (_, mut identity) = server();
        identity.certificate.version = 1;
        let (waiting, act1) = Initiator::new(None, &mut OsRng).unwrap();
        let (act2, _) = Responder::new(&identity).step(&act1, &mut OsRng).unwrap();
        assert_eq!(waiting.finish(&act2, NOW).map(|_| ()), Err(CertificateError::Version(1).into()));
    }

    #[test]
    fn a_flipped_bit_in_any_byte_of_act_2_is_refused() {
        let (authority, identity) = server();
        let tape: Vec<[u8; 32]> = (1..=2).map(|i| [i; 32]).collect();
        let (_, act1) = Initiator::new(None, &mut Tape::new(&tape)).unwrap();
        let (act2, _) = Responder::new(&identity).step(&act1, &mut OsRng).unwrap();
        for at in 0..ACT2_LENGTH {
            let mut changed = act2;
            changed[at] ^= 1 << (at % 8);
            let (waiting, _) = Initiator::new(Some(authority), &mut Tape::new(&tape)).unwrap();
            let part = if at < ELLSWIFT_LENGTH + STATIC_LENGTH { Part::StaticKey } else { Part::Certificate };
            assert_eq!(waiting.finish(&changed, NOW).map(|_| ()), Err(Error::Decrypt(part)), "byte {at}");
        }
        let (waiting, _) = Initiator::new(Some(authority), &mut Tape::new(&tape)).unwrap();
        assert!(waiting.finish(&act2, NOW).is_ok());
    }

    #[test]
    fn a_changed_act_1_is_noticed() {
        let (authority, identity) = server();
        let (waiting, mut act1) = Initiator::new(Some(authority), &mut OsRng).unwrap();
        act1[17] ^= 4;
        let (act2, _) = Responder::new(&identity).step(&act1, &mut OsRng).unwrap();
        assert_eq!(waiting.finish(&act2, NOW).map(|_| ()), Err(Error::Decrypt(Part::StaticKey)));
    }

    /// Fixed keys and randomness give fixed bytes, here and in every other implementation.
    #[test]
    fn transcript_vector() {
        let lines = vector_lines(include_str!("../../../../test/vectors/noise/handshake.csv"));
        let get = |name: &str| hex(lines.iter().find(|line| line[0] == name).unwrap()[1]);
        let tape = |names: &[&str]| {
            let values: Vec<[u8; 32]> = names.iter().map(|name| get(name).try_into().unwrap()).collect();
            Tape::new(&values)
        };

        let authority = AuthoritySecretKey::from_bytes(&get("authority_secret").try_into().unwrap()).unwrap();
        let mut rng = tape(&["server_static_secret", "server_static_randomness", "signature_randomness"]);
        let identity = ServerIdentity::issue(&authority, VALIDITY, &mut rng).unwrap();
        assert_eq!(identity.certificate.to_bytes().as_slice(), get("certificate"));

        let mut rng = tape(&["initiator_secret", "initiator_randomness"]);
        let (waiting, act1) = Initiator::new(Some(authority.public_key()), &mut rng).unwrap();
        assert_eq!(act1.as_slice(), get("act1"));
        let mut rng = tape(&["responder_secret", "responder_randomness"]);
        let (act2, mut responder) = Responder::new(&identity).step(&act1, &mut rng).unwrap();
        assert_eq!(act2.as_slice(), get("act2"));
        let mut initiator = waiting.finish(&act2, NOW).unwrap();

        let encrypted = |transport: &mut Transport| {
            let mut data = get("plaintext");
            let mac = transport.encrypt_in_place(&mut data).unwrap();
            data.extend_from_slice(&mac);
            data
        };
        assert_eq!(encrypted(&mut initiator), get("initiator_ciphertext_0"));
        assert_eq!(encrypted(&mut initiator), get("initiator_ciphertext_1"));
        assert_eq!(encrypted(&mut responder), get("responder_ciphertext_0"));
    }
}
