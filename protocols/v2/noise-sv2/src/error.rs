//! Everything that can go wrong in a handshake or on an encrypted connection, split by whose fault it is.

/// Why a handshake, an encryption or a decryption failed.
///
/// After any of these the connection is of no further use: drop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The authentication code does not fit the ciphertext: changed on the way, the wrong key, or out of step.
    #[error("expected a valid authentication code on {0}, the peer's bytes do not have one")]
    Decrypt(Part),
    /// Fewer bytes than one authentication code.
    #[error("expected at least 16 bytes of ciphertext, got {0}")]
    CiphertextTooShort(usize),
    /// More bytes than one noise message can carry (sv2-spec §4.6).
    #[error("expected at most {max} bytes in one noise message, got {got}")]
    MessageTooLong {
        /// The limit that applies, in bytes.
        max: usize,
        /// What came, in bytes.
        got: usize,
    },
    /// 2^64 - 1 messages were sent under one key. Noise reserves the last nonce.
    #[error("the connection has used up its nonces, a new handshake is needed")]
    NonceExhausted,
    /// The server's certificate was refused.
    #[error("the server's certificate was refused: {0}")]
    Certificate(#[from] CertificateError),
    /// The random number generator gave no valid secret key in several tries, so it is broken.
    #[error("the random number generator gives no usable secret key")]
    BadRandomness,
}

/// The part of a connection that failed to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The server's static key in handshake act 2.
    StaticKey,
    /// The certificate in handshake act 2.
    Certificate,
    /// A message after the handshake.
    Message,
}

impl core::fmt::Display for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::StaticKey => "the server's static key (handshake act 2)",
            Self::Certificate => "the server's certificate (handshake act 2)",
            Self::Message => "an encrypted message",
        })
    }
}

/// Why a server's certificate was refused (sv2-spec §4.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A format this library does not know.
    #[error("expected certificate version 0, got {0}")]
    Version(u16),
    /// The validity has not begun. Often the wrong clock on this machine.
    #[error("it is valid from unix time {valid_from}, this machine's clock says {now}; is the clock right?")]
    NotYetValid {
        /// Start of the validity, unix seconds.
        valid_from: u32,
        /// The time it was checked at, unix seconds.
        now: u32,
    },
    /// The validity is over.
    #[error("it was valid until unix time {not_valid_after}, this machine's clock says {now}; is the clock right?")]
    Expired {
        /// Last second of the validity, unix seconds.
        not_valid_after: u32,
        /// The time it was checked at, unix seconds.
        now: u32,
    },
    /// Not signed by the authority whose key was configured.
    #[error(
        "expected a signature by the configured authority key, it has none; is the key in the URL the one the server's operator publishes?"
    )]
    Signature,
}

/// Why a key or a URL could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Longer than any key.
    #[error("expected a key of about 51 base58 characters, got {0} characters")]
    TooLong(usize),
    /// Not base58check: a strange character or a wrong checksum. Most often a typing error.
    #[error("expected base58 with a valid checksum; is the key complete and copied exactly?")]
    NotBase58Check,
    /// The wrong number of bytes.
    #[error("expected {expected} bytes inside the base58, got {got}")]
    Length {
        /// Bytes a key of this kind has, prefix included.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// A version prefix other than 1.
    #[error("expected an authority key with version prefix [1, 0], got [{}, {}]", .0[0], .0[1])]
    Prefix([u8; 2]),
    /// The bytes are no point on the curve, or no valid secret scalar.
    #[error("expected a valid secp256k1 key, these 32 bytes are none")]
    NotAKey,
}

/// Why a `stratum2+tcp://` URL could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Longer than a URL can reasonably be.
    #[error("expected a URL of at most {max} characters, got {got}", max = crate::url::MAX_URL_LENGTH)]
    TooLong {
        /// Length of the text, in bytes.
        got: usize,
    },
    /// It does not start with `stratum2+tcp://`.
    #[error("expected a URL that starts with stratum2+tcp://")]
    Scheme,
    /// The host is missing or holds characters that no host name has.
    #[error("expected a host name, an IPv4 address or an IPv6 address in brackets before the port")]
    Host,
    /// The port is missing or not a number from 1 to 65535.
    #[error("expected a port from 1 to 65535 after the host, as in stratum2+tcp://host:34254/key")]
    Port,
    /// The part after the slash is not an authority key.
    #[error("the authority key after the slash: {0}")]
    Key(#[from] KeyError),
}
