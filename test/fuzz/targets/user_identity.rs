//! A miner's name: any bytes are refused or taken apart, and what was taken apart is safe to show and reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pool::user::{User, is_hidden};

fuzz_target!(|data: &[u8]| {
    let Ok(user) = User::parse(data) else { return };
    assert!(!user.account.is_empty() && user.donation <= 10_000);
    assert!(!user.account.chars().chain(user.worker.chars()).any(is_hidden));
    assert!(user.account.len() + user.worker.len() <= data.len());
    assert_eq!(User::parse(user.to_string().as_bytes()), Ok(user));
});
