//! Runs the example as a user would.

use std::process::{Command, Output};

fn run(argument: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ping-pong-with-noise")).arg(argument).output().unwrap()
}

#[test]
fn every_ping_is_answered() {
    let output = run("100");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.lines().count(), 102, "{text}");
    assert!(text.ends_with("100 pings answered\n"), "{text}");
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    assert_eq!(run("many").status.code(), Some(2));
}
