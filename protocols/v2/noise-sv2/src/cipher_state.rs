//! The cipher of one direction, and the pair of them that a handshake yields (sv2-spec §4.4.1, §4.6).

use core::fmt;

use crate::{
    aead::Key,
    error::{Error, Part},
};

/// Length of an authentication code, in bytes.
pub const MAC_LENGTH: usize = 16;
/// Longest ciphertext of one noise message, authentication code included, in bytes (sv2-spec §4.6).
pub const MAX_CIPHERTEXT: usize = 65_535;
/// Longest plaintext of one noise message, in bytes.
pub const MAX_PLAINTEXT: usize = MAX_CIPHERTEXT - MAC_LENGTH;

/// The cipher of one direction: a key and the number of messages it has seen.
///
/// The nonce of message `n` is 32 zero bits, then `n` as 64 bits little-endian. When decryption fails the nonce stays
/// as it was, and the buffer's contents are undefined: drop the connection.
pub struct CipherState {
    key: Key,
    nonce: u64,
}

impl CipherState {
    /// A cipher that has seen no message.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { key: Key::new(key), nonce: 0 }
    }

    /// Encrypts `data` in place and returns the authentication code to put after it.
    ///
    /// `data` is at most [`MAX_PLAINTEXT`] bytes. Fails without touching it when the nonces are used up.
    pub fn encrypt_in_place(&mut self, data: &mut [u8]) -> Result<[u8; MAC_LENGTH], Error> {
        check_length(data.len(), MAX_PLAINTEXT)?;
        self.encrypt_with_ad(&[], data)
    }

    /// Decrypts `data` in place, where its last 16 bytes are the authentication code, and returns the plaintext.
    ///
    /// `data` is 16 to [`MAX_CIPHERTEXT`] bytes.
    pub fn decrypt_in_place<'b>(&mut self, data: &'b mut [u8]) -> Result<&'b mut [u8], Error> {
        check_length(data.len(), MAX_CIPHERTEXT)?;
        self.decrypt_with_ad(&[], data, Part::Message)
    }

    /// Messages this cipher has encrypted or decrypted so far.
    pub fn messages(&self) -> u64 {
        self.nonce
    }

    pub(crate) fn encrypt_with_ad(&mut self, ad: &[u8], data: &mut [u8]) -> Result<[u8; MAC_LENGTH], Error> {
        let next = self.next_nonce()?;
        let mac = self
            .key
            .seal(self.nonce_bytes(), ad, data)
            .map_err(|_| Error::MessageTooLong { max: MAX_PLAINTEXT, got: data.len() })?;
        self.nonce = next;
        Ok(mac)
    }

    pub(crate) fn decrypt_with_ad<'b>(
        &mut self,
        ad: &[u8],
        data: &'b mut [u8],
        part: Part,
    ) -> Result<&'b mut [u8], Error> {
        let next = self.next_nonce()?;
        let length = data.len();
        let (plain, mac) = data.split_last_chunk_mut::<MAC_LENGTH>().ok_or(Error::CiphertextTooShort(length))?;
        self.key.open(self.nonce_bytes(), ad, plain, *mac).map_err(|_| Error::Decrypt(part))?;
        self.nonce = next;
        Ok(plain)
    }

    /// The counter after the next message. Noise reserves the nonce 2^64 - 1.
    fn next_nonce(&self) -> Result<u64, Error> {
        self.nonce.checked_add(1).ok_or(Error::NonceExhausted)
    }

    fn nonce_bytes(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Continues as if `nonce` messages had been seen.
    #[cfg(test)]
    pub(crate) fn at_nonce(mut self, nonce: u64) -> Self {
        self.nonce = nonce;
        self
    }
}

fn check_length(got: usize, max: usize) -> Result<(), Error> {
    if got > max { Err(Error::MessageTooLong { max, got }) } else { Ok(()) }
}

impl fmt::Debug for CipherState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CipherState").field("messages", &self.nonce).finish_non_exhaustive()
    }
}

/// Both ciphers of an encrypted connection, from this side's point of view.
///
/// The two directions are independent: take the fields apart to read and write from different tasks.
#[derive(Debug)]
pub struct Transport {
    /// Encrypts what this side sends.
    pub send: CipherState,
    /// Decrypts what the peer sent.
    pub receive: CipherState,
}

impl Transport {
    /// See [`CipherState::encrypt_in_place`].
    pub fn encrypt_in_place(&mut self, data: &mut [u8]) -> Result<[u8; MAC_LENGTH], Error> {
        self.send.encrypt_in_place(data)
    }

    /// See [`CipherState::decrypt_in_place`].
    pub fn decrypt_in_place<'b>(&mut self, data: &'b mut [u8]) -> Result<&'b mut [u8], Error> {
        self.receive.decrypt_in_place(data)
    }

    /// The sending and the receiving cipher.
    pub fn split(self) -> (CipherState, CipherState) {
        (self.send, self.receive)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    fn sealed(cipher: &mut CipherState, plain: &[u8]) -> Vec<u8> {
        let mut data = plain.to_vec();
        let mac = cipher.encrypt_in_place(&mut data).unwrap();
        data.extend_from_slice(&mac);
        data
    }

    #[test]
    fn messages_must_come_in_order_and_a_failure_keeps_the_nonce() {
        let (mut a, mut b) = (CipherState::new(&[7; 32]), CipherState::new(&[7; 32]));
        let (first, second) = (sealed(&mut a, b"first"), sealed(&mut a, b"second"));
        assert_eq!(b.decrypt_in_place(&mut second.clone()), Err(Error::Decrypt(Part::Message)));
        assert_eq!(b.messages(), 0);
        assert_eq!(b.decrypt_in_place(&mut first.clone()).unwrap(), b"first");
        assert_eq!(b.decrypt_in_place(&mut first.clone()), Err(Error::Decrypt(Part::Message)));
        assert_eq!(b.decrypt_in_place(&mut second.clone()).unwrap(), b"second");
        assert_eq!((a.messages(), b.messages()), (2, 2));
    }

    #[test]
    fn the_last_nonce_is_never_used() {
        let mut cipher = CipherState::new(&[7; 32]).at_nonce(u64::MAX - 1);
        let data = sealed(&mut cipher, b"last");
        let mut untouched = *b"over";
        assert_eq!(cipher.encrypt_in_place(&mut untouched), Err(Error::NonceExhausted));
        assert_eq!(&untouched, b"over");
        let mut receive = CipherState::new(&[7; 32]).at_nonce(u64::MAX - 1);
        assert_eq!(receive.decrypt_in_place(&mut data.clone()).unwrap(), b"last");
        assert_eq!(receive.decrypt_in_place(&mut data.clone()), Err(Error::NonceExhausted));
    }

    #[test]
    fn lengths_are_checked() {
        let mut cipher = CipherState::new(&[7; 32]);
        let too_long = Error::MessageTooLong { max: MAX_PLAINTEXT, got: MAX_PLAINTEXT + 1 };
        assert_eq!(cipher.encrypt_in_place(&mut vec![0; MAX_PLAINTEXT + 1]), Err(too_long));
        assert!(cipher.encrypt_in_place(&mut vec![0; MAX_PLAINTEXT]).is_ok());
        assert_eq!(cipher.decrypt_in_place(&mut [0; 15]), Err(Error::CiphertextTooShort(15)));
        let too_long = Error::MessageTooLong { max: MAX_CIPHERTEXT, got: MAX_CIPHERTEXT + 1 };
        assert_eq!(cipher.decrypt_in_place(&mut vec![0; MAX_CIPHERTEXT + 1]), Err(too_long));
    }
}
