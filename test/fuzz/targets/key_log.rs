//! Text as a key log: lines that are taken are written again as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use noise_sv2::key_log::TransportKeys;
use stratum_inspect::KeyLog;

fuzz_target!(|data: &[u8]| {
    if let Ok(log) = KeyLog::read(data) {
        assert!(log.len() <= data.len() / 200);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    match TransportKeys::from_key_log_line(text) {
        Ok((act1, keys)) => {
            let line = keys.key_log_line(&act1);
            let (again, _) = TransportKeys::from_key_log_line(&line).expect("a line of our own");
            assert_eq!(again, act1);
            let words = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(line, words.to_ascii_lowercase().replace("sv2_noise", "SV2_NOISE"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
