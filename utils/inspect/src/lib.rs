//! Sv2 bytes to text: every message field by field, from frames, plain byte streams and packet captures.
//!
//! - [`Printer`] writes one frame as readable lines: names as in the specification, hashes as explorers show them, targets
//!   with their difficulty, strings escaped, TLV fields behind a message (sv2-spec §3.4.3).
//! - [`decode_stream`] does so for all frames of a plain byte stream.
//! - [`decode_capture`] finds the Sv2 connections in a pcap or pcapng file, puts their TCP streams together and prints
//!   the messages of both sides; encrypted connections too, where a [`KeyLog`] has their keys.
//!
//! **What it refuses.** Payloads that are not the message their header names, unknown messages and extensions, streams
//! that end inside a frame. Each goes into the text with its offset, and [`Summary`] counts it. Decoding goes on behind a
//! bad payload, not behind a gap in a stream.
//!
//! **Limits.** Memory is bounded whatever the input: see [`capture`]. No input panics.
//!
//! ```
//! use stratum_inspect::{Printer, decode_stream};
//!
//! // SetTarget for channel 7.
//! let mut bytes = vec![0x00, 0x80, 0x21, 36, 0, 0, 7, 0, 0, 0];
//! bytes.extend([0xff; 30]);
//! bytes.extend([0; 2]);
//!
//! let mut printer = Printer::new(Vec::new());
//! let summary = decode_stream(&bytes[..], &mut printer)?;
//! assert_eq!((summary.messages, summary.errors), (1, 0));
//! let text = String::from_utf8(printer.into_inner())?;
//! assert!(text.starts_with("offset 0: SetTarget"));
//! assert!(text.contains("maximum_target"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod capture;
mod connection;
mod fields;
mod hex;
mod key_log;
mod packet;
mod pcap;
mod printer;
mod stream;
mod tcp;
mod value;

pub use capture::{CaptureOptions, decode_capture};
pub use hex::HexReader;
pub use key_log::{KeyLog, KeyLogError};
pub use pcap::{CaptureError, is_capture};
pub use printer::{Printer, Summary};
pub use stream::decode_stream;
