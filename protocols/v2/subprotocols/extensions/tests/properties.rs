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

#[test]
fn tlv_vectors_of_the_specification_read_and_write() {
    use extensions_sv2::tlv::{Tlv, Tlvs, append};

    let mut seen = 0;
    for [extension, field, value, wire] in properties::lines::<4>("tlv.txt") {
        let (value, wire) = (properties::unhex(&value), properties::unhex(&wire));
        let (extension_type, field_type) = (extension.parse().unwrap(), field.parse().unwrap());
        let field = Tlv { extension_type, field_type, value: &value };
        assert!(Tlvs::new(&wire).eq([Ok(field)]));
        let mut out = Vec::new();
        append(&mut out, &field).unwrap();
        assert_eq!(out, wire);
        seen += 1;
    }
    assert_eq!(seen, 1);
}
