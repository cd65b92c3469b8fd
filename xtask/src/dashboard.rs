//! The dashboard: its packages, types, unit tests, build, and tests in a browser.

use std::{fs, path::Path, process::Command};

use crate::{
    command::{Failure, Result, at, cargo, check},
    packages,
};

/// Where a build goes that is only compared.
const COMPARED: &str = "node_modules/.cache/dist";

/// What is to become of the built files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Build {
    /// They are written to `dist`, to be committed.
    Keep,
    /// They must be what `dist` has.
    Compare,
}

/// Builds `dist`, tests it, and takes pictures of it for the documentation if asked.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let pictures = match args {
        [] => false,
        [flag] if flag == "--screenshots" => true,
        _ => return Err(Failure::Usage("`dashboard` takes --screenshots, or nothing".into())),
    };
    packages::ensure(packages::FOR_THE_BUILD)?;
    all(root, Build::Keep)?;
    if pictures {
        check(npm(root).args(["run", "--silent", "screenshots"]))?;
    }
    Ok(())
}

/// Fails when anything does not pass, or when `dist` is not what its sources make.
pub(crate) fn test(root: &Path) -> Result<()> {
    all(root, Build::Compare)
}

fn all(root: &Path, build: Build) -> Result<()> {
    packages::ensure(packages::FOR_THE_DASHBOARD)?;
    install(root)?;
    let script = |name: &str| check(npm(root).args(["run", "--silent", name]));
    script("check")?;
    match build {
        Build::Keep => script("build")?,
        Build::Compare => {
            check(npm(root).args(["run", "--silent", "build", "--", "--outDir", COMPARED, "--emptyOutDir"]))?;
            check(Command::new("node").current_dir(folder(root)).args(["test/compare.mjs", COMPARED]))?;
        }
    }
    script("unit")?;
    // The program that the browser looks at, with the page that was just built.
    check(cargo(root).args(["build", "--package", "stratum"]))?;
    script("browser")
}

/// Installs the packages of the lock file, unless these are there.
fn install(root: &Path) -> Result<()> {
    let lock = folder(root).join("package-lock.json");
    let mark = folder(root).join("node_modules/.cache/installed.json");
    let wanted = at(&lock, fs::read(&lock))?;
    if fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    check(npm(root).arg("ci"))?;
    let cache = mark.parent().unwrap_or(root);
    at(cache, fs::create_dir_all(cache))?;
    at(&mark, fs::write(&mark, wanted))
}

fn folder(root: &Path) -> std::path::PathBuf {
    root.join("dashboard")
}

fn npm(root: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder(root));
    command
}
