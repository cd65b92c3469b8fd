//! The C library from C: built with the system's compiler, run under AddressSanitizer and under valgrind.

mod support;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use support::{library, package, root, run};

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
const SANITIZERS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Sources of the tests; the subset has no use for the last two.
const SOURCES: [&str; 5] = ["main", "null", "messages", "noise", "channel"];

fn cc() -> Command {
    Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// Builds the C tests. `library` is how to compile and link with it.
fn build(folder: &Path, sources: &[&str], flags: &[&str], library: &[impl AsRef<OsStr>]) -> PathBuf {
    let program = folder.join("c-tests");
    let sources = sources.iter().map(|name| package().join(format!("tests/c/{name}.c")));
    let mut command = cc();
    run(command
        .args(["-std=c11", "-g"])
        .args(WARNINGS)
        .args(flags)
        .args(sources)
        .args(library)
        .arg("-o")
        .arg(&program));
    program
}

/// The full library where cargo has put it, without installing it.
fn full() -> Vec<OsString> {
    let include = package().join("include");
    let system = ["-lpthread", "-ldl", "-lm"].map(OsString::from);
    ["-I".into(), include.into(), library().into()].into_iter().chain(system).collect()
}

fn vectors() -> PathBuf {
    root().join("test/vectors")
}

#[test]
fn full_library_under_address_sanitizer() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), &SOURCES, &SANITIZERS, &full());
    let text = run(Command::new(program).arg(vectors()));
    assert!(text.ends_with("all passed\n"), "{text}");
}

#[test]
fn full_library_under_valgrind() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path(), &SOURCES, &[], &full());
    let valgrind = ["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect"];
    let text = run(Command::new("valgrind").args(valgrind).arg(program).arg(vectors()));
    assert!(text.ends_with("all passed\n"), "{text}");
}

/// No cargo, no crate from outside the tree; found with pkg-config.
#[test]
fn subset_builds_with_rustc_alone() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("sv2");
    let mut install = Command::new("sh");
    install.arg(package().join("install.sh")).arg("--subset").arg(&prefix);
    run(install.env("CARGO", "false").env_remove("RUSTFLAGS"));
    let mut config = Command::new("pkg-config");
    config.args(["--cflags", "--libs", "sv2-subset"]).env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    let flags = run(&mut config);
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let program = build(folder.path(), &SOURCES[..3], &SANITIZERS, &flags);
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
    assert!(missing.is_empty(), "{missing:?}");
}
