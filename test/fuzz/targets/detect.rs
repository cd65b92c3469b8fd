//! How a connection begins: told within 64 bytes, and not changed by more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stratum_runtime::detect::{DECIDED_AT, detect};

fuzz_target!(|data: &[u8]| {
    let mut decided = None;
    for at in 0..=data.len().min(DECIDED_AT + 8) {
        let now = detect(&data[..at]);
        assert!(decided.is_none() || decided == now, "{decided:?}, then {now:?}");
        assert!(now.is_some() || at < DECIDED_AT, "undecided after {at} bytes");
        decided = now;
    }
});
