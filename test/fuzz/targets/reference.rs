//! A payload in ours and in the reference implementation: what both take, both write again as it was, and what ours takes,
//! the reference takes.
//!
//! Input: extension (1 byte), message type, payload.
#![no_main]

use binary_sv2::{Message, from_bytes, to_bytes};
use libfuzzer_sys::fuzz_target;

macro_rules! compare {
    (($extension:ident $number:ident $payload:ident) $($ours:ident $sri:ident { $($message:ident,)* })*) => {$($(
        if (<$ours::$message as Message>::EXTENSION_TYPE, <$ours::$message as Message>::MESSAGE_TYPE)
            == (u16::from(*$extension), *$number)
        {
            let ours = from_bytes::<$ours::$message>($payload);
            let mut copy = $payload.to_vec();
            let theirs: Result<$sri::$message, _> = sri_binary_sv2::from_bytes(&mut copy);
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    let bytes = sri_binary_sv2::to_bytes(theirs).expect("what was read can be written");
                    assert_eq!(to_bytes(&ours).as_deref(), Ok(bytes.as_slice()));
                }
                (Ok(ours), Err(error)) => {
                    assert!(unknown_protocol(*$extension, *$number, $payload), "only ours takes {ours:?}: {error:?}");
                }
                (Err(error), Ok(theirs)) => {
                    // They ignore what stands behind a message.
                    let bytes = sri_binary_sv2::to_bytes(theirs).expect("what was read can be written");
                    assert!(!fuzz::same($payload, &bytes), "only theirs takes it, ours: {error}");
                }
                (Err(_), Err(_)) => {}
            }
        }
    )*)*};
}

/// The reference takes no SetupConnection for a protocol that it does not know. Ours does: it has to be answered with
/// `unsupported-protocol` (sv2-spec §3.6.3).
fn unknown_protocol(extension: u8, number: u8, payload: &[u8]) -> bool {
    (extension, number) == (0, 0) && payload.first().is_some_and(|protocol| *protocol > 2)
}

fuzz_target!(|data: &[u8]| {
    let [extension, number, payload @ ..] = data else { return };
    fuzz::all_messages!(compare!(extension number payload));
});
