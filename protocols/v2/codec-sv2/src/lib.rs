//! Between a byte stream and Stratum V2 frames, plain or encrypted (sv2-spec §3.2, §4.6).
//!
//! [`StandardSv2Decoder`] and [`Encoder`] for plain connections; [`StandardNoiseDecoder`] and [`NoiseEncoder`] (feature
//! `with_noise`, on by default) for what follows a noise handshake. Sans-io and `no_std` with `alloc`: the caller moves
//! the bytes.
//!
//! Decoders lend frames out of their receive buffer; encoders write into the caller's outgoing buffer and encrypt there,
//! any number of messages one after the other. In the steady state small messages cost no allocation and no copy.
//!
//! # Limits and what is refused
//! A frame over the connection's limit (`set_max_payload`) is refused from its header, before its payload is read. The
//! receive buffer grows with what arrives, never by what is announced, and what a long message needed is given back.
//! Wrong authentication codes are errors. An error other than [`Error::MissingBytes`] is final.
//!
//! # Example
//! ```
//! use codec_sv2::{Encoder, Error, StandardSv2Decoder};
//! use framing_sv2::{Header, Sv2Frame};
//!
//! let mut wire = Vec::new();
//! let frame = Sv2Frame::new(Header::new(0, true, 0x1a, 4)?, vec![7, 0, 0, 0])?;
//! Encoder::new().encode_frame(&frame, &mut wire)?;
//!
//! let mut decoder = StandardSv2Decoder::new();
//! decoder.set_max_payload(128 * 1024);
//! assert_eq!(decoder.next_frame(), Err(Error::MissingBytes(6)));
//! decoder.writable()[..wire.len()].copy_from_slice(&wire);
//! decoder.advance(wire.len());
//! assert_eq!(decoder.next_frame()?.channel_id(), Some(7));
//! # Ok::<(), Error>(())
//! ```
#![no_std]

extern crate alloc;

mod decoder;
mod encoder;
mod error;
#[cfg(feature = "with_noise")]
mod noise;
mod window;

pub use decoder::StandardSv2Decoder;
pub use encoder::Encoder;
pub use error::Error;
#[cfg(feature = "with_noise")]
pub use noise::{NoiseEncoder, StandardNoiseDecoder, encrypted_len};
