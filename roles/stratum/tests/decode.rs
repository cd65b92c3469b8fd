//! `stratum decode` as a user meets it.

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

/// SetTarget for channel 7, frame and all.
fn set_target() -> Vec<u8> {
    let mut frame = vec![0x00, 0x80, 0x21, 36, 0, 0, 7, 0, 0, 0];
    frame.extend([0; 26]);
    frame.extend([0xff, 0xff, 0, 0, 0, 0]);
    frame
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A pcap file with one packet of raw IPv4 from port 1000 to 3333.
fn capture(payload: &[u8]) -> Vec<u8> {
    let [high, low] = (40 + payload.len() as u16).to_be_bytes();
    let ip = [0x45, 0, high, low, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let tcp = [0x03, 0xe8, 0x0d, 0x05, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    let packet = [&ip[..], &tcp, payload].concat();
    let length = packet.len() as u32;
    let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 101, 1_700_000_000, 0, length, length];
    let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [head, packet].concat()
}

fn decode(arguments: &[&str], input: &[u8]) -> (String, String, Option<i32>) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_stratum"))
        .arg("decode")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read.
    let _ = program.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = program.wait_with_output().unwrap();
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap(), status.code())
}

const EXPECTED: &str = "SetTarget, type 0x21, 36 bytes
    channel_id: 7
    maximum_target: 00000000ffff0000000000000000000000000000000000000000000000000000 (difficulty 1.000)
";

#[test]
fn hex_bytes_and_captures() {
    let folder = tempfile::tempdir().unwrap();
    let frame = set_target();
    let (text, capture_text) = (format!("offset 0: {EXPECTED}"), "#1 10.0.0.1:1000 > 10.0.0.2:3333, offset 0: ");
    assert_eq!(decode(&[&hex(&frame)], b""), (text.clone(), String::new(), Some(0)));
    assert_eq!(decode(&[], hex(&frame).as_bytes()), (text.clone(), String::new(), Some(0)));
    assert_eq!(decode(&["--file", "-"], &frame), (text.clone(), String::new(), Some(0)));

    let raw = folder.path().join("raw");
    fs::write(&raw, &frame).unwrap();
    assert_eq!(decode(&["--file", raw.to_str().unwrap()], b"").0, text);

    let pcap = folder.path().join("capture.pcap");
    fs::write(&pcap, capture(&frame)).unwrap();
    let (out, err, code) = decode(&["--file", pcap.to_str().unwrap()], b"");
    assert_eq!((out, err, code), (format!("0.000000 {capture_text}{EXPECTED}"), String::new(), Some(0)));
    let (out, err, code) = decode(&["--file", pcap.to_str().unwrap(), "--port", "3334"], b"");
    assert_eq!((out.as_str(), code), ("", Some(1)), "{err}");
    assert!(err.contains("no message found"), "{err}");
}

#[test]
fn what_can_not_be_decoded_has_status_1() {
    let (out, err, code) = decode(&[&hex(&set_target()[..20])], b"");
    assert!(out.contains("error at offset 0: expected 22 more bytes") && err.contains("1 place"), "{out}{err}");
    assert_eq!(code, Some(1));
    assert_eq!(decode(&["0q"], b"").2, Some(1));
    assert_eq!(decode(&[], b"").2, Some(1));
    let (_, err, code) = decode(&["--file", "no-such-file"], b"");
    assert_eq!(code, Some(1));
    assert!(err.contains("no-such-file"), "{err}");
    let mut cut = capture(&set_target());
    cut.pop();
    let (_, err, code) = decode(&["--file", "-"], &cut);
    assert_eq!(code, Some(1));
    assert!(err.contains("capture file, offset"), "{err}");
}

#[test]
fn wrong_usage_has_status_2() {
    for arguments in [&["--no-such-option"][..], &["00", "--file", "x"], &["00", "--port", "1"], &["--key-log", "x"]] {
        assert_eq!(decode(arguments, b"").2, Some(2), "{arguments:?}");
    }
}
