//! Sv2 data types to bytes and back, with derive macros for messages (sv2-spec §3.1).
//!
//! Every data type of the specification has a Rust type here; [`Encodable`] and [`Decodable`]
//! (traits and derive macros of the same names) turn structs of them into payloads and back, and
//! [`protocol!`] makes the enum of a protocol's messages.
//!
//! | Specification | Rust |
//! |---|---|
//! | BOOL, U8, U16, U32, U64, F32 | `bool`, `u8`, `u16`, `u32`, `u64`, `f32` |
//! | U24, U256 | [`U24`], [`U256`] |
//! | STR0_255 | [`Str0_255`] |
//! | B0_32, B0_255, B0_64K, B0_16M | [`B0_32`], [`B0_255`], [`B0_64K`], [`B0_16M`] |
//! | MAC, PUBKEY, SIGNATURE, BYTES | [`Mac`], [`PubKey`], [`Signature`], `[u8; N]` |
//! | OPTION\[T\] | [`Sv2Option`], which is `Option<T>` |
//! | SEQ0_255\[T\], SEQ0_64K\[T\] | [`Seq0_255`], [`Seq0_64K`] |
//!
//! # Engines
//! [`to_bytes`] and [`from_bytes`] are the internal engine's, always. The feature `with_serde` adds a second one,
//! `serde_engine`, and `serde::Serialize` and `Deserialize` for every data type and for all that is derived here; it
//! changes nothing else, so it may be on or off in a whole program, whoever turns it on. Both engines write the same
//! bytes and accept the same input. Types that implement [`Encodable`] or [`Decodable`] by hand work with the first
//! only, unless they also have `serialize_serde` and `deserialize_serde`. The second allocates for lists.
//!
//! **What it refuses** and its **limits** are the engine's: see [`no_serde_sv2`].
//!
//! ```
//! use binary_sv2::{B0_255, Decodable, Encodable, IntoOwned, from_bytes, to_bytes};
//!
//! #[derive(Encodable, Decodable, Clone, Debug, PartialEq)]
//! struct Token<'a> {
//!     request_id: u32,
//!     token: B0_255<'a>,
//! }
//!
//! let message = Token { request_id: 7, token: B0_255::try_from(&[1, 2])? };
//! let bytes = to_bytes(&message)?;
//! assert_eq!(bytes, [7, 0, 0, 0, 2, 1, 2]);
//!
//! let decoded: Token = from_bytes(&bytes)?; // borrows from `bytes`
//! let detached: Token<'static> = decoded.into_owned();
//! assert_eq!(detached, message);
//! # Ok::<(), binary_sv2::Error>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub use derive_sv2::{Decodable, Encodable};
pub use no_serde_sv2::*;

/// The serde engine (feature `with_serde`): the same bytes, by way of serde's data model.
///
/// ```
/// use binary_sv2::{B0_255, Decodable, Encodable, serde_engine};
///
/// #[derive(Encodable, Decodable, Debug, PartialEq)]
/// struct Token<'a> {
///     request_id: u32,
///     token: B0_255<'a>,
/// }
///
/// let message = Token { request_id: 7, token: B0_255::try_from(&[1, 2])? };
/// let bytes = serde_engine::to_bytes(&message)?;
/// assert_eq!(bytes, binary_sv2::to_bytes(&message)?);
/// assert_eq!(serde_engine::from_bytes::<Token<'_>>(&bytes)?, message);
///
/// // The same derives serve every other format of serde.
/// let json = serde_json::to_string(&message)?;
/// assert_eq!(json, r#"{"request_id":7,"token":[1,2]}"#);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[cfg(feature = "with_serde")]
pub mod serde_engine {
    pub use serde_sv2::{Deserializer, Error, Serializer, from_bytes, from_bytes_with_rest, to_bytes};
}

/// What the derive macros refuse.
///
/// ```compile_fail
/// #[derive(binary_sv2::Encodable)]
/// struct Tuple(u8);
/// ```
/// ```compile_fail
/// #[derive(binary_sv2::Encodable)]
/// enum Choice { A }
/// ```
/// ```compile_fail
/// #[derive(binary_sv2::Encodable)]
/// struct Generic<T> { field: T }
/// ```
/// ```compile_fail
/// #[derive(binary_sv2::Encodable)]
/// struct TwoLifetimes<'a, 'b> { a: binary_sv2::B0_255<'a>, b: binary_sv2::B0_255<'b> }
/// ```
/// ```compile_fail
/// #[derive(binary_sv2::Encodable)]
/// struct Foreign { field: std::net::IpAddr }
/// ```
#[cfg(doctest)]
struct Refusals;
