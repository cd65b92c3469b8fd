//! Messages of extension 0x0001, extensions negotiation, as C sees them.

use crate::types::Sv2Seq;

/// Client asks for extensions, right after `SetupConnection.Success` (ext-0x0001 §2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2RequestExtensions {
    /// The answer repeats it.
    pub request_id: u16,
    /// Ids of the extensions the client wants to use. SEQ0_64K of U16.
    pub requested_extensions: Sv2Seq,
}

/// Server grants extensions (ext-0x0001 §2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2RequestExtensionsSuccess {
    /// From the request.
    pub request_id: u16,
    /// Those of the requested extensions the server supports. SEQ0_64K of U16.
    pub supported_extensions: Sv2Seq,
}

/// Server supports none, or needs others (ext-0x0001 §2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2RequestExtensionsError {
    /// From the request.
    pub request_id: u16,
    /// Those of the requested extensions the server does not support. SEQ0_64K of U16.
    pub unsupported_extensions: Sv2Seq,
    /// Extensions the server needs and the client did not request. SEQ0_64K of U16.
    pub required_extensions: Sv2Seq,
}
