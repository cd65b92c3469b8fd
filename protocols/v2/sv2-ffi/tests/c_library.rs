//! The C library from C: built with the system's compiler, run under AddressSanitizer and under valgrind.

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use support::{library, package, root, run};

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
const SANITIZERS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Libraries of the system that Rust's standard library needs.
const SYSTEM_LIBRARIES: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

fn cc() -> Command {
    Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// Builds the C tests against a library.
fn build(folder: &Path, library: &Path, flags: &[&str]) -> PathBuf {
    let program = folder.join("c-tests");
    let sources = ["main", "null", "messages", "noise", "channel"];
    let own = package();
    let without = if flags.contains(&"-DSV2_SUBSET") { 2 } else { 0 };
    let mut command = cc();
    command.args(["-std=c11", "-g"]).args(WARNINGS).args(flags).arg("-I").arg(own.join("include"));
    command.args(sources[..sources.len() - without].iter().map(|name| own.join(format!("tests/c/{name}.c"))));
    run(command.arg(library).args(SYSTEM_LIBRARIES).arg("-o").arg(&program));
    program
}

fn vectors() -> PathBuf {
    root().join("test/vectors")
}

#[test]
fn full_library_under_address_sanitizer() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), &library(), &SANITIZERS);
    let text = run(Command::new(program).arg(vectors()));
    assert!(text.ends_with("all passed\n"), "{text}");
}

#[test]
fn full_library_under_valgrind() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), &library(), &[]);
    let valgrind = ["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect"];
    let text = run(Command::new("valgrind").args(valgrind).arg(program).arg(vectors()));
    assert!(text.ends_with("all passed\n"), "{text}");
}

/// No cargo, no crate from outside the tree.
#[test]
fn subset_builds_with_rustc_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a folder");
    let script = package().join("build-subset.sh");
    run(Command::new("sh").arg(script).arg(&out).env("CARGO", "false").env_remove("RUSTFLAGS"));
    let program = build(folder.path(), &out.join("libsv2_ffi.a"), &[&["-DSV2_SUBSET"], &SANITIZERS[..]].concat());
    let text = run(Command::new(program).arg(vectors()));
    assert!(text.ends_with("all passed\n"), "{text}");
}

#[test]
fn header_is_c_and_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("empty.c");
    fs::write(&source, "#include \"sv2.h\"\nint main(void) { Sv2Message message = {0}; return (int)message.kind; }\n")
        .unwrap();
    let include = package().join("include");
    for language in [["-std=c99", "-xc"], ["-std=c++11", "-xc++"]] {
        let mut command = cc();
        command.args(language).args(WARNINGS).args(["-Wno-missing-field-initializers", "-fsyntax-only", "-I"]);
        run(command.arg(&include).arg(&source));
    }
}

/// The test of NULLs leaves no function out.
#[test]
fn every_function_is_called_with_null() {
    let header = fs::read_to_string(package().join("include/sv2.h")).unwrap();
    let test = fs::read_to_string(package().join("tests/c/null.c")).unwrap();
    let functions: Vec<&str> = header
        .lines()
        .filter(|line| !line.starts_with("//") && !line.starts_with([' ', '#']))
        .filter_map(|line| Some(&line[line.find("sv2_")?..]))
        .map(|line| line.split('(').next().unwrap())
        .collect();
    assert!(functions.len() > 50, "{functions:?}");
    let missing: Vec<_> = functions.iter().filter(|name| !test.contains(&format!("{name}("))).collect();
    assert!(missing.is_empty() || missing == [&"sv2_decoder_new", &"sv2_encoder_new"], "{missing:?}");
}
