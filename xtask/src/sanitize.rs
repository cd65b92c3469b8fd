//! Tools that watch unsafe code run: loom, AddressSanitizer, valgrind, Miri.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    command::{Failure, Result, cargo, check, output, step},
    packages,
};

/// The package whose unsafe code is watched.
const PACKAGE: &str = "stratum-buffer";

pub(crate) fn run(root: &Path) -> Result<()> {
    step("loom", || loom(root))?;
    step("AddressSanitizer", || address_sanitizer(root))?;
    step("valgrind", || valgrind(root))?;
    step("Miri", || miri(root))
}

/// Every tool has a folder below `target/`: each builds with other flags, and would throw away what the others built.
fn target_dir(root: &Path, name: &str) -> PathBuf {
    root.join("target").join(name)
}

fn loom(root: &Path) -> Result<()> {
    let mut command = cargo(root);
    command.args(["test", "--release", "--package", PACKAGE, "--test", "loom", "--target-dir"]);
    check(command.arg(target_dir(root, "loom")).env("RUSTFLAGS", "--cfg loom"))
}

/// The sanitizer comes with the stable compiler but is not called stable; `RUSTC_BOOTSTRAP` unlocks it.
fn address_sanitizer(root: &Path) -> Result<()> {
    let mut command = cargo(root);
    command.args(["test", "--package", PACKAGE, "--lib", "--tests", "--target", &host()?, "--target-dir"]);
    command.arg(target_dir(root, "sanitize")).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    check(command.env("ASAN_OPTIONS", "detect_leaks=1"))
}

fn valgrind(root: &Path) -> Result<()> {
    packages::ensure(packages::FOR_SANITIZERS)?;
    let mut build = cargo(root);
    build.args(["test", "--package", PACKAGE, "--lib", "--tests", "--no-run", "--message-format", "json"]);
    for program in executables(&output(&mut build)?)? {
        let mut command = Command::new("valgrind");
        command.args([
            "--quiet",
            "--error-exitcode=1",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
            "--show-leak-kinds=definite",
        ]);
        check(command.arg(program).arg("--test-threads=1"))?;
    }
    Ok(())
}

fn miri(root: &Path) -> Result<()> {
    let installed = cargo(root).args(["miri", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        println!("Miri is not installed; with it (a nightly toolchain): rustup component add miri. Passed over.");
        return Ok(());
    }
    let mut command = cargo(root);
    command.args(["miri", "test", "--package", PACKAGE, "--lib", "--test", "threads", "--target-dir"]);
    check(command.arg(target_dir(root, "miri")).env("MIRIFLAGS", "-Zmiri-many-seeds=0..4"))
}

/// What this compiler builds for when it is not told.
pub(crate) fn host() -> Result<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::Other("`rustc -vV` tells no host".into()))
}

/// The programs that cargo says it built.
fn executables(messages: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line)
            .map_err(|error| Failure::Other(format!("cargo wrote a message that is no JSON: {error}")))?;
        found.extend(message["executable"].as_str().map(PathBuf::from));
    }
    if found.is_empty() {
        return Err(Failure::Other(format!("cargo built no tests of {PACKAGE}")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n{\"executable\":\"/tree/a\"}\n";
        assert_eq!(executables(messages).unwrap(), [PathBuf::from("/tree/a")]);
        assert!(executables("{\"executable\":null}").is_err());
        assert!(executables("no JSON").is_err());
    }
}
