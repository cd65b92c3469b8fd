//! The serde engine: a serde data format for the wire form of Sv2 data types (sv2-spec §3.1).
//!
//! `binary_sv2` offers it under the feature `with_serde`, where every data type and message also implements
//! `serde::Serialize` and `serde::Deserialize`. By itself it serves types of one's own:
//!
//! | serde's data model | Wire form |
//! |---|---|
//! | `bool`, `u8`, `u16`, `u32`, `u64`, `f32` | BOOL, U8, U16, U32, U64, F32 |
//! | option | OPTION\[T\]: a length byte 0 or 1, then the value |
//! | struct, tuple, array | the fields one after the other; `[u8; N]` is BYTES of a fixed length |
//! | bytes, string or sequence in a newtype struct named as the specification's type | B0_32, B0_255, B0_64K, B0_16M, STR0_255, SEQ0_255\[T\], SEQ0_64K\[T\] |
//! | `u32` in a newtype struct named `U24` | U24 |
//! | other newtype structs; unit | their content; nothing |
//! | newtype variant, to be written only | its content, without the variant |
//!
//! **What it refuses.** The same input as the internal engine: values that end early, lengths over the type's maximum,
//! bytes left over. Also whatever Sv2 has no wire form for: signed numbers, `f64`, maps, enums, and bytes, strings or
//! sequences outside of a newtype struct that says how their length is written.
//!
//! **Limits.** The format is not self-describing. Nothing is allocated from a declared length: sequences announce no
//! size to what collects them. No input panics.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! #[serde(rename = "SEQ0_64K")]
//! struct Ids(Vec<u32>);
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! struct SetGroupChannel {
//!     group_channel_id: u32,
//!     channel_ids: Ids,
//! }
//!
//! let message = SetGroupChannel { group_channel_id: 1, channel_ids: Ids(vec![2, 3]) };
//! let bytes = serde_sv2::to_bytes(&message)?;
//! assert_eq!(bytes, [1, 0, 0, 0, 2, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
//! assert_eq!(serde_sv2::from_bytes::<SetGroupChannel>(&bytes)?, message);
//! # Ok::<(), serde_sv2::Error>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod de;
mod error;
mod form;
mod ser;

pub use de::{Deserializer, from_bytes, from_bytes_with_rest};
pub use error::Error;
pub use ser::{Serializer, to_bytes};
