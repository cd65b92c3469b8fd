//! The keys of a connection as text, so that a capture of it can be read when something is to be debugged.
//!
//! **Whoever has a key log can read, and change on the way, everything on the connections in it.** Nothing here is used
//! unless it is called: see [`Responder::step_exporting_keys`](crate::Responder::step_exporting_keys) and
//! [`InitiatorWaiting::finish_exporting_keys`](crate::InitiatorWaiting::finish_exporting_keys). A program that offers a key
//! log should have it off by default, warn when it is on, and let only its owner read the file.
//!
//! A log has one line per connection, three numbers in hexadecimal behind a word:
//!
//! ```text
//! SV2_NOISE <act 1, 64 bytes> <key of what the initiator sends, 32 bytes> <key of what the responder sends, 32 bytes>
//! ```
//!
//! Act 1 is the first message of the connection and tells which connection it is.

use alloc::string::String;
use core::fmt::{self, Write};

use zeroize::Zeroize;

use crate::{
    cipher_state::{CipherState, Transport},
    handshake::ACT1_LENGTH,
    symmetric::Side,
};

/// What a key line begins with.
pub const KEY_LINE_START: &str = "SV2_NOISE";

/// The two transport keys of a connection. `Debug` does not show them; dropping erases them.
pub struct TransportKeys {
    initiator: [u8; 32],
    responder: [u8; 32],
}

/// Why a line is no key line. It never repeats the line, which may hold keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLineError {
    /// It does not begin with [`KEY_LINE_START`].
    #[error("expected a line that begins with SV2_NOISE")]
    Start,
    /// Not three words behind it.
    #[error("expected three numbers in hexadecimal behind SV2_NOISE")]
    Words,
    /// A word is not hexadecimal, or of another length.
    #[error("expected {expected} bytes in hexadecimal as number {word}")]
    Hex {
        /// Which of the three, from 1.
        word: u8,
        /// Bytes it should have.
        expected: usize,
    },
}

impl TransportKeys {
    pub(crate) fn new(initiator: [u8; 32], responder: [u8; 32]) -> Self {
        Self { initiator, responder }
    }

    /// The line for a key log, without a line end. `act1` is the connection's first message.
    pub fn key_log_line(&self, act1: &[u8; ACT1_LENGTH]) -> String {
        // Long enough from the start, so that no copy of a key is left behind by growing.
        let mut line = String::with_capacity(KEY_LINE_START.len() + 3 + 2 * (ACT1_LENGTH + 64));
        line.push_str(KEY_LINE_START);
        for number in [act1.as_slice(), &self.initiator, &self.responder] {
            line.push(' ');
            for byte in number {
                // Writing to a string can not fail.
                let _ = write!(line, "{byte:02x}");
            }
        }
        line
    }

    /// Reads a line: act 1 and the keys.
    pub fn from_key_log_line(line: &str) -> Result<([u8; ACT1_LENGTH], Self), KeyLineError> {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some(KEY_LINE_START) {
            return Err(KeyLineError::Start);
        }
        let (Some(act1), Some(initiator), Some(responder), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(KeyLineError::Words);
        };
        Ok((number(1, act1)?, Self::new(number(2, initiator)?, number(3, responder)?)))
    }

    /// The ciphers of both directions at their first message: what the initiator sends, what the responder sends.
    pub fn ciphers(&self) -> (CipherState, CipherState) {
        (CipherState::new(&self.initiator), CipherState::new(&self.responder))
    }

    pub(crate) fn transport(&self, side: Side) -> Transport {
        let (initiator, responder) = self.ciphers();
        match side {
            Side::Initiator => Transport { send: initiator, receive: responder },
            Side::Responder => Transport { send: responder, receive: initiator },
        }
    }
}

fn number<const N: usize>(word: u8, text: &str) -> Result<[u8; N], KeyLineError> {
    let wrong = KeyLineError::Hex { word, expected: N };
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8).ok_or(wrong);
    if text.len() != 2 * N {
        return Err(wrong);
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Ok(bytes)
}

impl fmt::Debug for TransportKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportKeys").finish_non_exhaustive()
    }
}

impl Drop for TransportKeys {
    fn drop(&mut self) {
        self.initiator.zeroize();
        self.responder.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use rand_core::OsRng;

    use super::*;
    use crate::{AuthoritySecretKey, Initiator, Responder, ServerIdentity, Validity};

    #[test]
    fn a_third_party_with_the_line_reads_both_directions() {
        let authority = AuthoritySecretKey::generate(&mut OsRng).unwrap();
        let identity = ServerIdentity::issue(&authority, Validity { from: 0, until: u32::MAX }, &mut OsRng).unwrap();
        let (waiting, act1) = Initiator::new(None, &mut OsRng).unwrap();
        let (act2, mut server, keys) = Responder::new(&identity).step_exporting_keys(&act1, &mut OsRng).unwrap();
        let (mut client, other_keys) = waiting.finish_exporting_keys(&act2, 1).unwrap();
        let line = keys.key_log_line(&act1);
        assert_eq!(other_keys.key_log_line(&act1), line, "both ends log the same");
        assert!(!line.contains('\n') && line.len() == 268);

        let (start, keys) = TransportKeys::from_key_log_line(&line).unwrap();
        assert_eq!(start, act1);
        let (mut from_initiator, mut from_responder) = keys.ciphers();
        for (sender, reader) in [(&mut client, &mut from_initiator), (&mut server, &mut from_responder)] {
            let mut data = b"hello".to_vec();
            let mac = sender.encrypt_in_place(&mut data).unwrap();
            data.extend_from_slice(&mac);
            assert_eq!(reader.decrypt_in_place(&mut data).unwrap(), b"hello");
        }
    }

    #[test]
    fn lines_that_are_none() {
        let error = |line: &str| TransportKeys::from_key_log_line(line).map(|_| ()).unwrap_err();
        let line = TransportKeys::new([1; 32], [2; 32]).key_log_line(&[0xab; 64]);
        assert!(TransportKeys::from_key_log_line(&format!(" {line}\r\n")).is_ok());
        assert_eq!(error(""), KeyLineError::Start);
        assert_eq!(error(&line[10..]), KeyLineError::Start);
        assert_eq!(error(&format!("{line} 00")), KeyLineError::Words);
        assert_eq!(error(&line[..line.len() - 1]), KeyLineError::Hex { word: 3, expected: 32 });
        assert_eq!(error(&line.replacen('a', "é", 1)), KeyLineError::Hex { word: 1, expected: 64 });
        assert_eq!(error(&line.replacen("ab", "é", 1)), KeyLineError::Hex { word: 1, expected: 64 });
        assert_eq!(error(&line.replacen('a', "+", 1)), KeyLineError::Hex { word: 1, expected: 64 });
    }

    #[test]
    fn debug_output_has_no_key() {
        assert_eq!(format!("{:?}", TransportKeys::new([1; 32], [2; 32])), "TransportKeys { .. }");
    }
}
