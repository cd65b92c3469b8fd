//! The internal engine: Sv2 data types to bytes and back (sv2-spec §3.1).
//!
//! Users take it through `binary_sv2`, which adds the derive macros.
//!
//! **What it refuses.** A value that ends early, a length over its type's maximum, bytes left over
//! after the last field ([`from_bytes`]), a value too long for its type at construction. Each error
//! says where, what was expected and what came.
//!
//! **Limits.** Decoding never allocates: long fields borrow from the input, lists keep their
//! encoded bytes and decode on iteration. No input panics. Messages that are hot hold only inline
//! types and are `Copy`.
//!
//! ```
//! use no_serde_sv2::{B0_255, from_bytes, to_bytes};
//!
//! let token = B0_255::try_from(&[1u8, 2, 3][..])?;
//! let bytes = to_bytes(&token)?;
//! assert_eq!(bytes, [3, 1, 2, 3]);
//! assert_eq!(from_bytes::<B0_255<'_>>(&bytes)?, token);
//! # Ok::<(), no_serde_sv2::Error>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bytes;
mod error;
mod inline;
mod message;
mod primitives;
mod reader;
mod seq;
#[cfg(feature = "with_serde")]
#[doc(hidden)]
pub mod serde_support;
mod text;
pub mod tlv;
mod traits;
mod u256;
mod writer;

pub use bytes::{B0_16M, B0_64K, B0_255, Bytes, Len8, Len16, Len24, LenPrefix};
pub use error::Error;
pub use inline::B0_32;
#[doc(hidden)]
pub use message::message_end;
pub use message::{DecodeError, Message, message_info};
pub use primitives::{Mac, PubKey, Signature, Sv2Option, U24};
pub use reader::Reader;
pub use seq::{Element, Seq, Seq0_64K, Seq0_255, SeqIter};
#[cfg(feature = "with_serde")]
#[doc(hidden)]
pub use serde;
pub use text::Str0_255;
pub use traits::{Decodable, Encodable, IntoOwned, from_bytes, from_bytes_with_rest, to_bytes};
pub use u256::U256;
pub use writer::Writer;

/// Hands its content on where the feature `with_serde` of *this* crate is on; what generates code for other crates can
/// not ask for it otherwise.
#[cfg(feature = "with_serde")]
#[doc(hidden)]
#[macro_export]
macro_rules! with_serde {
    ($($code:tt)*) => { $($code)* };
}

/// Drops its content: the feature `with_serde` is off.
#[cfg(not(feature = "with_serde"))]
#[doc(hidden)]
#[macro_export]
macro_rules! with_serde {
    ($($code:tt)*) => {};
}
