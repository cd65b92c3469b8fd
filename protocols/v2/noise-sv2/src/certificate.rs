//! Certificates: an authority's signature over a server's static key and its validity (sv2-spec §4.5.3).

use rand_core::{CryptoRng, RngCore};
use secp256k1::{Message, schnorr::Signature};
use sha2::{Digest, Sha256};

use crate::{
    context::Context,
    error::{CertificateError, Error},
    keys::{AuthorityPublicKey, AuthoritySecretKey, StaticKeypair, StaticPublicKey},
};

/// The certificate format this library writes and accepts. The specification names no number; the field uses 0.
pub const CERTIFICATE_VERSION: u16 = 0;
/// Length of a certificate as sent in handshake act 2 (`SIGNATURE_NOISE_MESSAGE`), in bytes.
pub const CERTIFICATE_LENGTH: usize = 74;
/// How far a client's clock may be off at either end of the validity, in seconds.
///
/// Small on purpose. Servers should begin the validity in the past for clients whose clocks run late.
pub const CLOCK_LEEWAY: u32 = 10;

/// When a certificate holds, in unix seconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second of the validity.
    pub from: u32,
    /// Last second of the validity.
    pub until: u32,
}

/// A server's certificate, without the key it speaks about, as sent in handshake act 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// Format, [`CERTIFICATE_VERSION`] is the only one known.
    pub version: u16,
    /// When it holds.
    pub validity: Validity,
    /// BIP 340 signature over SHA-256 of the fields and the server's key.
    pub signature: [u8; 64],
}

impl Certificate {
    /// Signs `server_key` for `validity`. `rng` protects the authority key against side channels.
    pub fn sign(
        server_key: &StaticPublicKey,
        validity: Validity,
        authority: &AuthoritySecretKey,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Self {
        let context = Context::new();
        let mut randomness = [0; 32];
        rng.fill_bytes(&mut randomness);
        let digest = signed_digest(CERTIFICATE_VERSION, validity, server_key);
        let signature = context.get().sign_schnorr_with_aux_rand(
            &Message::from_digest(digest),
            &authority.keypair(&context).0,
            &randomness,
        );
        Self { version: CERTIFICATE_VERSION, validity, signature: signature.serialize() }
    }

    /// Checks version, validity at `now` (unix seconds, with [`CLOCK_LEEWAY`]) and signature.
    pub fn verify(
        &self,
        server_key: &StaticPublicKey,
        authority: &AuthorityPublicKey,
        now: u32,
    ) -> Result<(), CertificateError> {
        self.verify_in(&Context::new(), server_key, authority, now)
    }

    pub(crate) fn verify_in(
        &self,
        context: &Context,
        server_key: &StaticPublicKey,
        authority: &AuthorityPublicKey,
        now: u32,
    ) -> Result<(), CertificateError> {
        self.verify_version()?;
        let Validity { from, until } = self.validity;
        if now < from.saturating_sub(CLOCK_LEEWAY) {
            return Err(CertificateError::NotYetValid { valid_from: from, now });
        }
        if now > until.saturating_add(CLOCK_LEEWAY) {
            return Err(CertificateError::Expired { not_valid_after: until, now });
        }
        let signature = Signature::from_slice(&self.signature).map_err(|_| CertificateError::Signature)?;
        let message = Message::from_digest(signed_digest(self.version, self.validity, server_key));
        context.get().verify_schnorr(&signature, &message, authority.point()).map_err(|_| CertificateError::Signature)
    }

    pub(crate) fn verify_version(&self) -> Result<(), CertificateError> {
        if self.version == CERTIFICATE_VERSION { Ok(()) } else { Err(CertificateError::Version(self.version)) }
    }

    /// The wire form: version, valid_from, not_valid_after, little-endian, then the signature.
    pub fn to_bytes(&self) -> [u8; CERTIFICATE_LENGTH] {
        let mut bytes = [0; CERTIFICATE_LENGTH];
        bytes[..10].copy_from_slice(&signed_fields(self.version, self.validity));
        bytes[10..].copy_from_slice(&self.signature);
        bytes
    }

    /// Reads the wire form. Nothing is checked: see [`verify`](Self::verify).
    pub fn from_bytes(bytes: &[u8; CERTIFICATE_LENGTH]) -> Self {
        let [v0, v1, f0, f1, f2, f3, u0, u1, u2, u3, signature @ ..] = *bytes;
        Self {
            version: u16::from_le_bytes([v0, v1]),
            validity: Validity {
                from: u32::from_le_bytes([f0, f1, f2, f3]),
                until: u32::from_le_bytes([u0, u1, u2, u3]),
            },
            signature,
        }
    }
}

fn signed_fields(version: u16, validity: Validity) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&version.to_le_bytes());
    bytes[2..6].copy_from_slice(&validity.from.to_le_bytes());
    bytes[6..].copy_from_slice(&validity.until.to_le_bytes());
    bytes
}

/// `m` of sv2-spec §4.5.3.1.
fn signed_digest(version: u16, validity: Validity, server_key: &StaticPublicKey) -> [u8; 32] {
    Sha256::new().chain_update(signed_fields(version, validity)).chain_update(server_key.to_bytes()).finalize().into()
}

/// What a server shows in a handshake: its static key pair and the certificate for it.
///
/// Made once and shared by all connections until its validity nears its end. The validity is looked at during
/// handshakes only, so renewing means to use a new identity for new connections.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    pub(crate) keypair: StaticKeypair,
    pub(crate) certificate: Certificate,
    pub(crate) context: Context,
}

impl ServerIdentity {
    /// Draws a static key pair and has `authority` sign it.
    pub fn issue(
        authority: &AuthoritySecretKey,
        validity: Validity,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Self, Error> {
        let keypair = StaticKeypair::generate(rng)?;
        let certificate = Certificate::sign(&keypair.public_key(), validity, authority, rng);
        Ok(Self { keypair, certificate, context: Context::new() })
    }

    /// When the certificate holds.
    pub fn validity(&self) -> Validity {
        self.certificate.validity
    }

    /// The server's static public key.
    pub fn public_key(&self) -> StaticPublicKey {
        self.keypair.public_key()
    }
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;
    use secp256k1::{Keypair, Secp256k1, XOnlyPublicKey};

    use super::*;
    use crate::testing::{hex, vector_lines};

    const VALIDITY: Validity = Validity { from: 1_000, until: 2_000 };
    /// So wide that a flipped low bit in any byte of its ends leaves some time to verify at.
    const WIDE: Validity = Validity { from: 0, until: u32::MAX };

    fn signed() -> (StaticPublicKey, AuthorityPublicKey, Certificate) {
        signed_for(VALIDITY)
    }

    fn signed_for(validity: Validity) -> (StaticPublicKey, AuthorityPublicKey, Certificate) {
        let authority = AuthoritySecretKey::generate(&mut OsRng).unwrap();
        let server_key = StaticKeypair::generate(&mut OsRng).unwrap().public_key();
        let certificate = Certificate::sign(&server_key, validity, &authority, &mut OsRng);
        (server_key, authority.public_key(), certificate)
    }

    #[test]
    fn wire_form_round_trips() {
        let (_, _, certificate) = signed();
        let bytes = certificate.to_bytes();
        assert_eq!(&bytes[..10], hex("0000e8030000d0070000"));
        assert_eq!(Certificate::from_bytes(&bytes), certificate);
    }

    #[test]
    fn validity_has_ends_with_leeway() {
        let (server, authority, certificate) = signed();
        let at = |now| certificate.verify(&server, &authority, now);
        assert_eq!(at(989), Err(CertificateError::NotYetValid { valid_from: 1_000, now: 989 }));
        assert_eq!(at(990), Ok(()));
        assert_eq!(at(2_010), Ok(()));
        assert_eq!(at(2_011), Err(CertificateError::Expired { not_valid_after: 2_000, now: 2_011 }));
    }

    #[test]
    fn every_signed_field_and_both_keys_matter() {
        let (server, authority, certificate) = signed_for(WIDE);
        let (other_server, other_authority, _) = signed();
        let refused = Err(CertificateError::Signature);
        assert_eq!(certificate.verify(&server, &authority, 0x7000_0000), Ok(()));
        assert_eq!(certificate.verify(&other_server, &authority, 0x7000_0000), refused);
        assert_eq!(certificate.verify(&server, &other_authority, 0x7000_0000), refused);
        for at in 2..CERTIFICATE_LENGTH {
            let mut bytes = certificate.to_bytes();
            bytes[at] ^= 1;
            let changed = Certificate::from_bytes(&bytes);
            assert_eq!(changed.verify(&server, &authority, 0x7000_0000), refused, "byte {at}");
        }
        let version = Certificate { version: 1, ..certificate };
        assert_eq!(version.verify(&server, &authority, 0x7000_0000), Err(CertificateError::Version(1)));
    }

    /// The curve library signs and verifies 32-byte messages only, which is all that certificates need; vectors 15 to
    /// 18 have other lengths.
    #[test]
    fn bip_340_vectors() {
        let lines = vector_lines(include_str!("../../../../test/vectors/noise/bip340-schnorr.csv"));
        let secp = Secp256k1::new();
        let mut tested = 0;
        for line in lines.iter().filter(|line| line[4].len() == 64) {
            let message = Message::from_digest_slice(&hex(line[4])).unwrap();
            let signature = Signature::from_slice(&hex(line[5])).unwrap();
            let valid = XOnlyPublicKey::from_slice(&hex(line[2]))
                .is_ok_and(|key| secp.verify_schnorr(&signature, &message, &key).is_ok());
            assert_eq!(valid, line[6] == "1", "vector {}", line[0]);
            if !line[1].is_empty() {
                let pair = Keypair::from_seckey_slice(&secp, &hex(line[1])).unwrap();
                let aux: [u8; 32] = hex(line[3]).try_into().unwrap();
                assert_eq!(secp.sign_schnorr_with_aux_rand(&message, &pair, &aux), signature, "vector {}", line[0]);
            }
            tested += 1;
        }
        assert_eq!((tested, lines.len()), (15, 19));
    }
}
