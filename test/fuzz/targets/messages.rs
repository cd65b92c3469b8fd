//! A payload as a message of each protocol: what is read is written again as it was, and survives being detached.
//!
//! Input: extension (1 byte), message type, payload.
#![no_main]

use binary_sv2::{DecodeError, Encodable, to_bytes};
use common_messages_sv2::CommonMessages;
use extensions_sv2::ExtensionNegotiation;
use job_declaration_sv2::JobDeclaration;
use libfuzzer_sys::fuzz_target;
use mining_sv2::Mining;
use template_distribution_sv2::TemplateDistribution;

macro_rules! check {
    ($protocol:ident, $number:expr, $payload:expr) => {
        match $protocol::decode_with_rest($number, $payload) {
            Ok((message, rest)) => {
                let bytes = to_bytes(&message).expect("what was read can be written");
                assert_eq!(bytes.len(), message.encoded_len());
                assert!(fuzz::same($payload, &[&bytes, rest].concat()));
                assert_eq!(message.message_type(), $number);
                assert!(!message.name().is_empty());
                let _ = format!("{message:?}");
                assert_eq!(to_bytes(&message.into_owned()).expect("the same"), bytes);
                // One byte less is not the message any more.
                if let Some((_, short)) = bytes.split_last() {
                    assert!($protocol::decode($number, short).is_err());
                }
                let whole = $protocol::decode($number, $payload).is_ok();
                assert_eq!(whole, binary_sv2::tlv::is_well_formed(rest));
            }
            Err(DecodeError::UnknownMessageType(number)) => assert_eq!(number, $number),
            Err(error) => assert!($protocol::decode($number, $payload) == Err(error) && !error.to_string().is_empty()),
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let [extension, number, payload @ ..] = data else { return };
    match extension {
        1 => check!(ExtensionNegotiation, *number, payload),
        _ => {
            check!(CommonMessages, *number, payload);
            check!(Mining, *number, payload);
            check!(JobDeclaration, *number, payload);
            check!(TemplateDistribution, *number, payload);
        }
    }
});
