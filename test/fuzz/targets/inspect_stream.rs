//! `stratum decode` on a byte stream and on text of hexadecimal digits: it prints, and no byte of a peer obeys itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stratum_inspect::{HexReader, Printer, decode_stream};

fuzz_target!(|data: &[u8]| {
    let mut printer = Printer::new(Vec::new());
    let summary = decode_stream(data, &mut printer).expect("memory does not fail");
    assert!(data.is_empty() || summary.messages + summary.errors > 0);
    check(&printer.into_inner());

    let mut printer = Printer::new(Vec::new()).show_all();
    // Text that is not hexadecimal is an error of reading.
    let _ = decode_stream(HexReader::new(data), &mut printer);
    check(&printer.into_inner());
});

/// What goes to a terminal has lines of printable characters.
fn check(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("text");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
}
