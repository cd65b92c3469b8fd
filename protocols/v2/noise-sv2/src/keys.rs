//! Keys: the authority's, which operators publish, and the server's, which a handshake uses (sv2-spec §4.3.1, §4.7).

use alloc::string::String;
use core::{fmt, str::FromStr};

use rand_core::{CryptoRng, RngCore};
use secp256k1::{
    Keypair, PublicKey, SecretKey, XOnlyPublicKey,
    ellswift::{ElligatorSwift, ElligatorSwiftParty},
};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    context::Context,
    error::{Error, KeyError},
    symmetric::Side,
};

/// Version prefix of an authority public key before base58check (sv2-spec §4.7).
const AUTHORITY_PREFIX: [u8; 2] = [1, 0];
/// Longest text that is looked at as a key. Decoding base58 takes quadratic time; keys have 49 to 52 characters.
const MAX_KEY_CHARACTERS: usize = 64;
/// Tries to draw a valid secret key. One fails with a chance of 2^-128, so a second failure means a broken generator.
const KEY_TRIES: usize = 4;

/// Length of an ElligatorSwift encoded public key, in bytes.
pub const ELLSWIFT_LENGTH: usize = 64;

/// The public key of an authority: x coordinate, 32 bytes big-endian (BIP 340).
///
/// As text it is base58check over the prefix `[1, 0]` and the 32 bytes (sv2-spec §4.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityPublicKey(XOnlyPublicKey);

impl AuthorityPublicKey {
    /// Checks that the bytes are the x coordinate of a point on the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        XOnlyPublicKey::from_slice(bytes).map(Self).map_err(|_| KeyError::NotAKey)
    }

    /// The x coordinate, big-endian.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.serialize()
    }

    pub(crate) fn point(&self) -> &XOnlyPublicKey {
        &self.0
    }
}

impl FromStr for AuthorityPublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = decode_base58check::<34>(text)?;
        match bytes.split_first_chunk::<2>() {
            Some((&AUTHORITY_PREFIX, key)) => Self::from_bytes(key.try_into().map_err(|_| KeyError::NotAKey)?),
            Some((prefix, _)) => Err(KeyError::Prefix(*prefix)),
            None => Err(KeyError::NotAKey),
        }
    }
}

impl fmt::Display for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&AUTHORITY_PREFIX);
        bytes[2..].copy_from_slice(&self.to_bytes());
        f.pad(&base58ck::encode_check(&bytes))
    }
}

impl fmt::Debug for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityPublicKey({self})")
    }
}

/// The secret key of an authority, which signs servers' certificates. Wiped from memory when dropped.
///
/// As text it is base58check over the 32 bytes without a prefix, the form the field's configuration files use. There is
/// no `Display`, so that it cannot slip into a log: see [`to_base58`](Self::to_base58).
#[derive(Clone)]
pub struct AuthoritySecretKey(Secret);

impl AuthoritySecretKey {
    /// A new key from `rng`.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Result<Self, Error> {
        Secret::generate(rng).map(Self)
    }

    /// Checks that the bytes are a scalar from 1 to the group order - 1, big-endian.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        Secret::from_bytes(bytes).map(Self).ok_or(KeyError::NotAKey)
    }

    /// The public key to publish.
    pub fn public_key(&self) -> AuthorityPublicKey {
        AuthorityPublicKey(self.0.keypair(&Context::new()).x_only_public_key().0)
    }

    /// The scalar, big-endian. Keep it from logs.
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.0.secret_bytes())
    }

    /// The text form, for a configuration file. Keep it from logs.
    pub fn to_base58(&self) -> Zeroizing<String> {
        Zeroizing::new(base58ck::encode_check(self.secret_bytes().as_slice()))
    }

    pub(crate) fn keypair(&self, context: &Context) -> ErasedKeypair {
        ErasedKeypair(self.0.keypair(context))
    }
}

impl FromStr for AuthoritySecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&*decode_base58check::<32>(text)?)
    }
}

impl fmt::Debug for AuthoritySecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthoritySecretKey(..)")
    }
}

/// A key pair with its ElligatorSwift encoding, for one handshake or for a server's life. Secret part wiped on drop.
#[derive(Clone)]
pub struct StaticKeypair {
    secret: Secret,
    encoded: ElligatorSwift,
}

impl StaticKeypair {
    /// A new key pair. The encoding is drawn from `rng` too, so it looks like random bytes.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Result<Self, Error> {
        Self::generate_in(&Context::new(), rng)
    }

    /// The public key as it goes over the wire: 64 bytes, ElligatorSwift.
    pub fn encoded(&self) -> [u8; ELLSWIFT_LENGTH] {
        self.encoded.to_array()
    }

    /// The x coordinate of the public key, the form a certificate signs.
    pub fn public_key(&self) -> StaticPublicKey {
        StaticPublicKey::decode(&self.encoded())
    }

    pub(crate) fn generate_in(context: &Context, rng: &mut (impl RngCore + CryptoRng)) -> Result<Self, Error> {
        let secret = Secret::generate(rng)?;
        let mut randomness = [0; 32];
        rng.fill_bytes(&mut randomness);
        let encoded = ElligatorSwift::from_seckey(context.get(), secret.0, Some(randomness));
        Ok(Self { secret, encoded })
    }

    /// Key agreement of BIP 324: x-only Diffie-Hellman, then a tagged hash over both encodings and the result.
    pub(crate) fn agree(&self, theirs: &[u8; ELLSWIFT_LENGTH], side: Side) -> Zeroizing<[u8; 32]> {
        let theirs = ElligatorSwift::from_array(*theirs);
        let (first, second, party) = match side {
            Side::Initiator => (self.encoded, theirs, ElligatorSwiftParty::A),
            Side::Responder => (theirs, self.encoded, ElligatorSwiftParty::B),
        };
        let shared = ElligatorSwift::shared_secret(first, second, self.secret.0, party, None);
        Zeroizing::new(shared.to_secret_bytes())
    }
}

impl fmt::Debug for StaticKeypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StaticKeypair").field(&self.public_key()).finish()
    }
}

/// A server's static public key: x coordinate, 32 bytes big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StaticPublicKey(pub(crate) [u8; 32]);

impl StaticPublicKey {
    /// Decodes an ElligatorSwift encoding. Every 64 bytes encode some key.
    pub fn decode(encoded: &[u8; ELLSWIFT_LENGTH]) -> Self {
        let point = PublicKey::from_ellswift(ElligatorSwift::from_array(*encoded));
        Self(point.x_only_public_key().0.serialize())
    }

    /// From the x coordinate, big-endian. Not checked: a certificate's signature shows whether it is the right one.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The x coordinate, big-endian.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for StaticPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticPublicKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A secret scalar that is overwritten when dropped.
#[derive(Clone)]
struct Secret(SecretKey);

impl Secret {
    fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        for _ in 0..KEY_TRIES {
            rng.fill_bytes(bytes.as_mut_slice());
            if let Some(secret) = Self::from_bytes(&bytes) {
                return Ok(secret);
            }
        }
        Err(Error::BadRandomness)
    }

    fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        SecretKey::from_slice(bytes).map(Self).ok()
    }

    fn keypair(&self, context: &Context) -> Keypair {
        Keypair::from_secret_key(context.get(), &self.0)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

/// A signing key pair that is overwritten when dropped.
pub(crate) struct ErasedKeypair(pub(crate) Keypair);

impl Drop for ErasedKeypair {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

/// Decodes base58check of exactly `N` bytes, and wipes what lay in between.
fn decode_base58check<const N: usize>(text: &str) -> Result<Zeroizing<[u8; N]>, KeyError> {
    if text.len() > MAX_KEY_CHARACTERS {
        return Err(KeyError::TooLong(text.len()));
    }
    let mut bytes = base58ck::decode_check(text).map_err(|_| KeyError::NotBase58Check)?;
    let exact = <[u8; N]>::try_from(bytes.as_slice());
    let got = bytes.len();
    bytes.zeroize();
    exact.map(Zeroizing::new).map_err(|_| KeyError::Length { expected: N, got })
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use rand_core::OsRng;

    use super::*;
    use crate::testing::{Tape, hex, vector_lines};

    /// sv2-spec §4.7.1.
    #[test]
    fn specification_vector() {
        let raw = [
            118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16, 252, 233, 185, 193, 30,
            61, 174, 227, 90, 224, 176, 138, 116, 85,
        ];
        let text = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        let key: AuthorityPublicKey = text.parse().unwrap();
        assert_eq!(key.to_bytes(), raw);
        assert_eq!(AuthorityPublicKey::from_bytes(&raw).unwrap().to_string(), text);
    }

    /// The key pair that the field's example configurations carry.
    #[test]
    fn field_key_pair() {
        let text = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
        let secret: AuthoritySecretKey = text.parse().unwrap();
        assert_eq!(secret.public_key().to_string(), "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72");
        assert_eq!(secret.to_base58().as_str(), text);
    }

    #[test]
    fn bad_keys_say_why() {
        let parse = |text: &str| text.parse::<AuthorityPublicKey>().unwrap_err();
        assert_eq!(parse("9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXi"), KeyError::NotBase58Check);
        assert_eq!(parse("0OIl"), KeyError::NotBase58Check);
        assert_eq!(parse(""), KeyError::NotBase58Check);
        assert_eq!(parse(&"1".repeat(65)), KeyError::TooLong(65));
        assert_eq!(parse(&base58ck::encode_check(&[1; 33])), KeyError::Length { expected: 34, got: 33 });
        assert_eq!(parse(&base58ck::encode_check(&[2; 34])), KeyError::Prefix([2, 2]));
        let mut none = [0xff; 34];
        none[..2].copy_from_slice(&[1, 0]);
        assert_eq!(parse(&base58ck::encode_check(&none)), KeyError::NotAKey);
        assert_eq!(AuthoritySecretKey::from_bytes(&[0; 32]).unwrap_err(), KeyError::NotAKey);
        assert_eq!(AuthoritySecretKey::from_bytes(&[0xff; 32]).unwrap_err(), KeyError::NotAKey);
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = AuthoritySecretKey::from_bytes(&[0x2a; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "AuthoritySecretKey(..)");
        let pair = StaticKeypair::generate(&mut Tape::new(&[[0x2a; 32], [1; 32]])).unwrap();
        let shown = format!("{pair:?}");
        assert!(!shown.contains("2a2a2a") && shown.contains("StaticPublicKey("), "{shown}");
    }

    #[test]
    fn a_broken_generator_is_an_error_not_a_loop() {
        assert_eq!(StaticKeypair::generate(&mut Tape::new(&[[0; 32]; 8])).unwrap_err(), Error::BadRandomness);
    }

    #[test]
    fn generated_keys_agree_on_a_secret_that_depends_on_the_side() {
        let (a, b) = (StaticKeypair::generate(&mut OsRng).unwrap(), StaticKeypair::generate(&mut OsRng).unwrap());
        let secret = a.agree(&b.encoded(), Side::Initiator);
        assert_eq!(secret, b.agree(&a.encoded(), Side::Responder));
        assert_ne!(secret, b.agree(&a.encoded(), Side::Initiator));
    }

    #[test]
    fn bip_324_decode_vectors() {
        let lines = vector_lines(include_str!("../../../../test/vectors/noise/bip324-ellswift-decode.csv"));
        assert_eq!(lines.len(), 76);
        for line in lines {
            let encoded: [u8; 64] = hex(line[0]).try_into().unwrap();
            assert_eq!(StaticPublicKey::decode(&encoded).to_bytes().as_slice(), hex(line[1]), "{}", line[0]);
        }
    }

    #[test]
    fn bip_324_key_agreement_vectors() {
        let lines = vector_lines(include_str!("../../../../test/vectors/noise/bip324-ecdh.csv"));
        assert_eq!(lines.len(), 7);
        for line in lines {
            let ours: [u8; 64] = hex(line[1]).try_into().unwrap();
            let theirs: [u8; 64] = hex(line[2]).try_into().unwrap();
            let pair = StaticKeypair {
                secret: Secret(SecretKey::from_slice(&hex(line[0])).unwrap()),
                encoded: ElligatorSwift::from_array(ours),
            };
            assert_eq!(pair.public_key().to_bytes().as_slice(), hex(line[4]));
            assert_eq!(StaticPublicKey::decode(&theirs).to_bytes().as_slice(), hex(line[5]));
            let side = if line[3] == "1" { Side::Initiator } else { Side::Responder };
            assert_eq!(pair.agree(&theirs, side).as_slice(), hex(line[6]));
        }
    }
}
