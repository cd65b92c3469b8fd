//! Noise NX handshake and transport ciphers of Stratum V2: `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256`,
//! certificates, authority keys and `stratum2+tcp://` URLs (sv2-spec §4).
//!
//! Sans-io: sockets, the clock and randomness are the caller's. `no_std` with `alloc`; the feature `std` (on by
//! default) takes the cipher from `ring` and shares one curve context in the whole process.
//!
//! # Steps
//! The client calls [`Initiator::new`] and sends act 1 (64 bytes). The server answers with [`Responder::step`] (act 2,
//! 234 bytes) and has its ciphers. The client calls [`InitiatorWaiting::finish`], which checks the server's certificate,
//! and has its own. Each step consumes its state, so none can be taken twice.
//!
//! # What it refuses
//! A wrong authentication code anywhere, a certificate that is of another version, too early, expired or not signed by
//! the given authority, noise messages over 65,535 bytes, and the 2^64th message under one key. After any error the
//! connection is to be dropped. Nothing here panics on what a peer sends.
//!
//! # Limits
//! Memory per connection is fixed: two keys and two counters; nothing is allocated by what a peer says. A noise message
//! carries up to [`MAX_PLAINTEXT`] bytes, a URL has up to [`url::MAX_URL_LENGTH`]. Certificates are checked with
//! [`CLOCK_LEEWAY`] for clocks that differ. Where the specification leaves a choice, ours are in `docs/spec/noise.md`.
//!
//! # Debugging
//! [`key_log`] exports a connection's keys by explicit call, for reading captures; nothing else does.
//!
//! # Example
//! ```
//! use noise_sv2::{AuthoritySecretKey, Initiator, Responder, ServerIdentity, Validity};
//! use rand_core::OsRng;
//!
//! // Once, on the server:
//! let authority = AuthoritySecretKey::generate(&mut OsRng)?;
//! let identity = ServerIdentity::issue(&authority, Validity { from: 1_700_000_000, until: 1_700_086_400 }, &mut OsRng)?;
//!
//! // For each connection:
//! let (waiting, act1) = Initiator::new(Some(authority.public_key()), &mut OsRng)?;
//! let (act2, mut server) = Responder::new(&identity).step(&act1, &mut OsRng)?;
//! let mut client = waiting.finish(&act2, 1_700_000_100)?;
//!
//! let mut message = b"hello".to_vec();
//! let mac = client.encrypt_in_place(&mut message)?;
//! message.extend_from_slice(&mac);
//! assert_eq!(server.decrypt_in_place(&mut message)?, b"hello");
//! # Ok::<(), noise_sv2::Error>(())
//! ```
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod aead;
mod certificate;
mod cipher_state;
mod context;
mod error;
mod handshake;
pub mod key_log;
mod keys;
mod symmetric;
#[cfg(test)]
mod testing;
pub mod url;

pub use certificate::{CERTIFICATE_LENGTH, CERTIFICATE_VERSION, CLOCK_LEEWAY, Certificate, ServerIdentity, Validity};
pub use cipher_state::{CipherState, MAC_LENGTH, MAX_CIPHERTEXT, MAX_PLAINTEXT, Transport};
pub use error::{CertificateError, Error, KeyError, Part, UrlError};
pub use handshake::{ACT1_LENGTH, ACT2_LENGTH, Initiator, InitiatorWaiting, Responder};
pub use keys::{AuthorityPublicKey, AuthoritySecretKey, ELLSWIFT_LENGTH, StaticKeypair, StaticPublicKey};
