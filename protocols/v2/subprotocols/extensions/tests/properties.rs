//! Laws of every message, and the vectors of another implementation.

#[path = "../../test-support/properties.rs"]
mod properties;

use extensions_sv2::*;
use proptest::collection::vec;
use proptest::prelude::*;

properties::check_protocol! {
    ExtensionNegotiation from const_sv2::message_type::extensions_negotiation::ALL {
        request_extensions: RequestExtensions { request_id, requested_extensions }
        request_extensions_success: RequestExtensionsSuccess { request_id, supported_extensions }
        request_extensions_error: RequestExtensionsError { request_id, unsupported_extensions, required_extensions }
    }
}
