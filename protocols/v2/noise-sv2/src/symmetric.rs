//! The running hash and key chain of a handshake (sv2-spec §4.4.2).

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::{
    cipher_state::{CipherState, MAC_LENGTH},
    error::{Error, Part},
    key_log::TransportKeys,
};

/// Name of the handshake, hashed as it stands (sv2-spec §4.5.1).
const PROTOCOL_NAME: &[u8] = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";

/// Which end of the connection this is. The key agreement depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Initiator,
    Responder,
}

/// `h`, `ck` and the cipher of the latest `k`, with the nonce that belongs to it.
pub(crate) struct SymmetricState {
    hash: [u8; 32],
    chaining_key: [u8; 32],
    cipher: Option<CipherState>,
}

impl SymmetricState {
    pub(crate) fn new() -> Self {
        let chaining_key: [u8; 32] = Sha256::digest(PROTOCOL_NAME).into();
        Self { hash: Sha256::digest(chaining_key).into(), chaining_key, cipher: None }
    }

    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Sha256::new().chain_update(self.hash).chain_update(data).finalize().into();
    }

    /// Takes the shared secret in and sets the cipher to the key that follows.
    pub(crate) fn mix_key(&mut self, secret: &[u8; 32]) {
        let (chaining_key, mut key) = hkdf(&self.chaining_key, secret);
        self.chaining_key = chaining_key;
        self.cipher = Some(CipherState::new(&key));
        key.zeroize();
    }

    /// Encrypts all of `buffer` but its last 16 bytes, and puts the authentication code there.
    pub(crate) fn encrypt_and_hash(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        if let Some(cipher) = &mut self.cipher {
            let length = buffer.len();
            let (plain, mac) = buffer.split_last_chunk_mut::<MAC_LENGTH>().ok_or(Error::CiphertextTooShort(length))?;
            *mac = cipher.encrypt_with_ad(&self.hash, plain)?;
        }
        self.mix_hash(buffer);
        Ok(())
    }

    /// Decrypts `ciphertext`, the authentication code at its end, into its own beginning.
    pub(crate) fn decrypt_and_hash(&mut self, ciphertext: &mut [u8], part: Part) -> Result<(), Error> {
        // The hash covers the ciphertext, which decryption overwrites; it is taken over only on success.
        let hash = Sha256::new().chain_update(self.hash).chain_update(&*ciphertext).finalize().into();
        if let Some(cipher) = &mut self.cipher {
            cipher.decrypt_with_ad(&self.hash, ciphertext, part)?;
        }
        self.hash = hash;
        Ok(())
    }

    /// The two keys that the handshake was for. The first is for what the initiator sends.
    pub(crate) fn into_keys(self) -> TransportKeys {
        let (mut first, mut second) = hkdf(&self.chaining_key, &[]);
        let keys = TransportKeys::new(first, second);
        first.zeroize();
        second.zeroize();
        keys
    }
}

impl Drop for SymmetricState {
    fn drop(&mut self) {
        self.chaining_key.zeroize();
        self.hash.zeroize();
    }
}

/// RFC 2104 with a key of 32 bytes; the data in pieces, to spare a copy.
fn hmac(key: &[u8; 32], data: &[&[u8]]) -> [u8; 32] {
    let (mut inner, mut outer) = ([0x36; 64], [0x5c; 64]);
    for (i, byte) in key.iter().enumerate() {
        inner[i] ^= byte;
        outer[i] ^= byte;
    }
    let hash = data.iter().fold(Sha256::new().chain_update(inner), |hash, part| hash.chain_update(part)).finalize();
    let mac = Sha256::new().chain_update(outer).chain_update(hash).finalize().into();
    inner.zeroize();
    outer.zeroize();
    mac
}

/// RFC 5869 with empty `info` and two outputs.
fn hkdf(chaining_key: &[u8; 32], input: &[u8]) -> ([u8; 32], [u8; 32]) {
    let mut temporary = hmac(chaining_key, &[input]);
    let first = hmac(&temporary, &[&[1]]);
    let second = hmac(&temporary, &[&first, &[2]]);
    temporary.zeroize();
    (first, second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    /// RFC 5869 appendix A.3: no salt means 32 zero bytes, and no info. It has 42 of our 64 bytes.
    #[test]
    fn rfc_5869_vector() {
        let (first, second) = hkdf(&[0; 32], &[0x0b; 22]);
        assert_eq!(first.as_slice(), hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"));
        assert_eq!(&second[..10], hex("9d201395faa4b61a96c8"));
    }

    /// RFC 4231 §4.2 with the 20-byte key padded, which is the same key to HMAC.
    #[test]
    fn rfc_4231_vector() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let expected = hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(hmac(&key, &[b"Hi ", b"There"]).as_slice(), expected);
    }
}
