//! Runs the example as a user would.

use std::process::{Command, Output};

fn run(argument: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sv1-client-and-server")).arg(argument).output().unwrap()
}

#[test]
fn every_share_counts_once() {
    let output = run("3");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("share refused: Duplicate share (22)"), "{text}");
    assert!(text.ends_with("3 shares accepted, 3 credited\n"), "{text}");
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    assert_eq!(run("many").status.code(), Some(2));
    assert_eq!(run("0").status.code(), Some(2));
}
