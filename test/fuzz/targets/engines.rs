//! A payload in both engines: they take the same, and write the same.
//!
//! Input: extension (1 byte), message type, payload.
#![no_main]

use binary_sv2::{Message, from_bytes, serde_engine, to_bytes};
use libfuzzer_sys::fuzz_target;

macro_rules! compare {
    (($extension:ident $number:ident $payload:ident) $($ours:ident $sri:ident { $($message:ident,)* })*) => {$($(
        if (<$ours::$message as Message>::EXTENSION_TYPE, <$ours::$message as Message>::MESSAGE_TYPE)
            == (u16::from(*$extension), *$number)
        {
            let internal = from_bytes::<$ours::$message>($payload);
            let serde = serde_engine::from_bytes::<$ours::$message>($payload);
            assert_eq!(internal.is_ok(), serde.is_ok(), "{internal:?} {serde:?}");
            if let (Ok(internal), Ok(serde)) = (internal, serde) {
                assert_eq!(format!("{internal:?}"), format!("{serde:?}"));
                let written = serde_engine::to_bytes(&internal).expect("what was read can be written");
                assert_eq!(to_bytes(&serde).as_ref(), Ok(&written));
                assert!(fuzz::same($payload, &written));
            }
        }
    )*)*};
}

fuzz_target!(|data: &[u8]| {
    let [extension, number, payload @ ..] = data else { return };
    fuzz::all_messages!(compare!(extension number payload));
});
