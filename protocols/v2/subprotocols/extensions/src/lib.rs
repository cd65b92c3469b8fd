//! Extensions of Stratum V2: negotiation (0x0001) and worker tracking (0x0002).
//!
//! - [`ExtensionNegotiation`]: the three messages of extension 0x0001. Their frames carry
//!   `extension_type` 0x0001; the numbers repeat those of the core protocol.
//! - [`tlv`]: TLV fields behind a message (sv2-spec §3.4.3) and the `user_identity` field of
//!   extension 0x0002 behind `SubmitSharesExtended`.
//!
//! **What it refuses.** Malformed payloads and unknown numbers as every protocol crate does; TLV
//! fields that end early, are out of order, or exceed what their extension allows.
//!
//! **Limits.** Decoding allocates nothing; no payload panics. A `user_identity` has at most
//! 32 bytes.
//!
//! ```
//! use binary_sv2::{Message, Seq0_64K, to_bytes};
//! use const_sv2::extension::WORKER_HASHRATE_TRACKING;
//! use extensions_sv2::{ExtensionNegotiation, RequestExtensions};
//!
//! let request = RequestExtensions {
//!     request_id: 1,
//!     requested_extensions: Seq0_64K::try_from_iter([WORKER_HASHRATE_TRACKING])?,
//! };
//! let payload = to_bytes(&request)?;
//! assert_eq!(payload, [1, 0, 1, 0, 2, 0]);
//! let message = ExtensionNegotiation::decode(RequestExtensions::MESSAGE_TYPE, &payload)?;
//! assert_eq!((message.extension_type(), message.name()), (1, "RequestExtensions"));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod tlv;

use binary_sv2::{Decodable, Encodable, Seq0_64K};
use const_sv2::message_type::extensions_negotiation;

/// Client asks for extensions, right after `SetupConnection.Success` (ext-0x0001 §2).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestExtensions<'a> {
    /// The answer repeats it.
    pub request_id: u16,
    /// Ids of the extensions the client wants to use.
    pub requested_extensions: Seq0_64K<'a, u16>,
}

/// Server grants extensions (ext-0x0001 §2).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestExtensionsSuccess<'a> {
    /// From the request.
    pub request_id: u16,
    /// Those of the requested extensions the server supports.
    pub supported_extensions: Seq0_64K<'a, u16>,
}

/// Server supports none, or needs others (ext-0x0001 §2).
#[derive(Encodable, Decodable, Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestExtensionsError<'a> {
    /// From the request.
    pub request_id: u16,
    /// Those of the requested extensions the server does not support.
    pub unsupported_extensions: Seq0_64K<'a, u16>,
    /// Extensions the server needs and the client did not request.
    pub required_extensions: Seq0_64K<'a, u16>,
}

binary_sv2::protocol! {
    /// Every message of extension 0x0001.
    pub enum ExtensionNegotiation<'a> from extensions_negotiation {
        RequestExtensions(RequestExtensions<'a>) = REQUEST_EXTENSIONS,
        RequestExtensionsSuccess(RequestExtensionsSuccess<'a>) = REQUEST_EXTENSIONS_SUCCESS,
        RequestExtensionsError(RequestExtensionsError<'a>) = REQUEST_EXTENSIONS_ERROR,
    }
}
