//! Frames of Stratum V2: a header of six bytes and a payload of up to 2^24 - 1 (sv2-spec §3.2).
//!
//! [`Sv2Frame`] is a message with its header, [`NoiseFrame`] the bare bytes of a handshake, [`EitherFrame`] one of them;
//! [`Frame`] is what they share. Frames borrow their payload from the receive buffer where they can; with the feature
//! `with_buffer`, `PooledFrame` keeps one in a slot of a buffer pool. `no_std` with `alloc`.
//!
//! # What it refuses
//! Payloads over 2^24 - 1 bytes (noise frames: 65,535), extension types that use the `channel_msg` bit, bytes that go on
//! after the frame. An incomplete frame is an error that says how many bytes are missing. Reading never allocates.
//!
//! # Example
//! ```
//! use framing_sv2::{Error, Frame, Header, Sv2Frame};
//!
//! let header = Header::new(0, true, 0x1a, 4)?; // SubmitSharesStandard has this number
//! let frame = Sv2Frame::new(header, vec![1, 0, 0, 0])?;
//! let mut bytes = Vec::new();
//! frame.serialize(&mut bytes);
//! assert_eq!(bytes, [0x00, 0x80, 0x1a, 4, 0, 0, 1, 0, 0, 0]);
//!
//! assert_eq!(Sv2Frame::from_bytes(&bytes)?.channel_id(), Some(1));
//! assert_eq!(Sv2Frame::from_bytes(&bytes[..8]), Err(Error::MissingBytes(2)));
//! # Ok::<(), Error>(())
//! ```
#![no_std]

extern crate alloc;

mod error;
mod frame;
mod header;
#[cfg(feature = "with_buffer")]
mod pooled;

pub use const_sv2::limits::{FRAME_HEADER_LEN, MAX_FRAME_LEN, MAX_PAYLOAD_LEN};
pub use error::Error;
pub use frame::{EitherFrame, Frame, NoiseFrame, Sv2Frame};
pub use header::Header;
#[cfg(feature = "with_buffer")]
pub use pooled::PooledFrame;
