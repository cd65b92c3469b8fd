//! `stratum decode` on a packet capture, whole or damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stratum_inspect::{CaptureOptions, KeyLog, Printer, decode_capture, is_capture};

fuzz_target!(|data: &[u8]| {
    let line = format!("SV2_NOISE {} {} {}", "00".repeat(64), "11".repeat(32), "22".repeat(32));
    let options = CaptureOptions { port: None, keys: KeyLog::read(line.as_bytes()).expect("a key log") };
    let mut printer = Printer::new(Vec::new());
    match decode_capture(data, &options, &mut printer) {
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let text = printer.into_inner();
    let text = std::str::from_utf8(&text).expect("text");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    if let Some(start) = data.first_chunk::<4>() {
        let _ = is_capture(start);
    }
});
