//! Stratum V2 as a C library (`include/sv2.h`).
//!
//! Two builds of the same interface:
//! - **The full library** (feature `full`, on by default): codec with and without noise, all messages, TLV fields, keys,
//!   URLs, and the client side of a mining channel. Enough for a firmware or a gateway in C.
//! - **The subset**: what a Template Provider needs on a plain connection (codec, common and template distribution
//!   messages). It has no dependency outside this tree and builds without cargo: `build-subset.sh`.
//!
//! The header is generated from this source and has the documentation of each function; `tests/header.rs` keeps it up to
//! date. What C must know beyond the single function stands in the header's introduction (`cbindgen.toml`).
//!
//! # The crate's rules on pointers
//! Every exported function relies on these, and on nothing else:
//! - A pointer is NULL, or points to what its type says, aligned, and nobody changes that during the call. Results go to
//!   memory that need not be initialised, which nothing else points into.
//! - A pointer with a length points to that many bytes.
//! - A handle came from a function of this library, was not freed, and is used by one thread at a time (`const` handles by
//!   any number).
//! - In a message, the member of `body` that `kind` names is initialised.
//!
//! **What it refuses.** NULL where something must be, lengths that cannot be, text that is no text, messages of unknown
//! kinds, use of a handle that was used up: each with a status. No panic crosses the border.
//!
//! **Limits.** Needs the standard library. Running out of memory ends the process, as everywhere in Rust.
//!
//! ```
//! use sv2_ffi::*;
//!
//! // As C does it: two bytes are no frame yet.
//! let decoder = sv2_decoder_new();
//! let (mut room, mut len) = (std::ptr::null_mut(), 0);
//! // SAFETY: the handle and the pointers are valid, and `room` has place for two bytes.
//! unsafe {
//!     assert_eq!(sv2_decoder_writable(decoder, &mut room, &mut len), Sv2Status::SV2_OK);
//!     std::slice::from_raw_parts_mut(room, len)[..2].copy_from_slice(&[0, 0]);
//!     assert_eq!(sv2_decoder_advance(decoder, 2), Sv2Status::SV2_OK);
//!     let mut frame = std::mem::MaybeUninit::<Sv2Frame>::uninit();
//!     assert_eq!(sv2_decoder_next_frame(decoder, frame.as_mut_ptr()), Sv2Status::SV2_MISSING_BYTES);
//!     sv2_decoder_free(decoder);
//! }
//! ```
#![allow(clippy::missing_safety_doc, reason = "the rules on pointers stand above, once for all")]

mod border;
#[cfg(feature = "full")]
mod channel;
mod codec;
mod constants;
#[cfg(feature = "full")]
mod keys;
mod messages;
#[cfg(feature = "full")]
mod noise;
mod status;
mod tlv;
mod types;

#[cfg(feature = "full")]
pub use channel::*;
pub use codec::*;
pub use constants::*;
#[cfg(feature = "full")]
pub use keys::*;
pub use messages::*;
#[cfg(feature = "full")]
pub use noise::*;
pub use status::*;
pub use tlv::*;
pub use types::*;
