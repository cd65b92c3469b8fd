//! The vectors as a file, for tests of ours that know nothing of SRI (and for other languages).

use std::fmt::Write as _;
use std::path::Path;

use proptest::test_runner::TestRunner;

use super::fields::hex;
use super::table::VECTORS;

/// Vectors per message.
const EACH: usize = 3;

const HEADER: &str = "\
# Messages as the reference implementation's crates encode them: common_messages_sv2 9, mining_sv2 12,
# job_declaration_sv2 10, template_distribution_sv2 7, extensions_sv2 0.3 over binary_sv2 7.
#
# One vector per line:  name extension_type message_type channel_msg payload
# Numbers are decimal, channel_msg is 0 or 1, the payload is hexadecimal and has no frame header.
# The comments above a vector are its fields in order. Byte arrays and U256 are in wire order.
#
# Made by: cargo test -p stratum-integration-tests --test interop -- --ignored regenerate
";

fn render() -> String {
    let mut runner = TestRunner::deterministic();
    let mut text = HEADER.to_owned();
    for make in VECTORS {
        for _ in 0..EACH {
            let v = make(&mut runner);
            text.push('\n');
            for field in &v.fields {
                writeln!(text, "# {field}").expect("strings do not fail");
            }
            let (channel_msg, payload) = (u8::from(v.channel_msg), hex(&v.bytes));
            writeln!(text, "{} {} {} {channel_msg} {payload}", v.name, v.extension_type, v.message_type)
                .expect("strings do not fail");
        }
    }
    text
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/messages.txt")
}

#[test]
fn the_file_of_vectors_is_what_sri_encodes() {
    let file = std::fs::read_to_string(path()).expect("test/vectors/messages.txt");
    assert!(file == render(), "test/vectors/messages.txt differs; regenerate it and look at the difference");
}

#[test]
#[ignore = "writes test/vectors/messages.txt"]
fn regenerate() {
    std::fs::write(path(), render()).expect("test/vectors is writable");
}
