//! A Bitcoin Core to test against: one that is named, one in PATH, or one that is built once and kept.
//!
//! The source comes with the package `libbitcoinkernel-sys`, which carries all of Bitcoin Core. It is a tool for tests and no
//! part of what is shipped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::Value;

use crate::{
    command::{Failure, Result, at, cargo, check, output, which},
    packages,
};

/// The package that carries Bitcoin Core's source (v31.99).
const PACKAGE: &str = "libbitcoinkernel-sys";
const VERSION: &str = "0.4.1";
/// SHA-256 of the package, as cargo checks it and writes it into a lock file.
const CHECKSUM: &str = "345d18a1ce19a1becfcaaa066e3a60e9c7813ef5c23ea8c20704ca4ba1a46339";

/// A small and quick build: no wallet, no tests, with the mining interface.
const CMAKE_FLAGS: &[&str] = &[
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_BENCH=OFF",
    "-DBUILD_TX=OFF",
    "-DBUILD_UTIL=OFF",
    "-DENABLE_WALLET=OFF",
    "-DENABLE_EXTERNAL_SIGNER=OFF",
    "-DENABLE_IPC=ON",
    "-DWITH_EMBEDDED_ASMAP=OFF",
    "-DINSTALL_MAN=OFF",
];

const PROGRAMS: &[&str] = &["bitcoin-node", "bitcoin-cli"];

/// Gives the path of a `bitcoin-node` that runs.
pub(crate) fn provide(root: &Path) -> Result<PathBuf> {
    if let Some(named) = env::var_os("BITCOIN_NODE").filter(|value| !value.is_empty()) {
        let node = PathBuf::from(named);
        println!("BITCOIN_NODE names {}", verify(&node)?);
        return Ok(node);
    }
    if let Some(node) = which("bitcoin-node") {
        println!("PATH has {}", verify(&node)?);
        return Ok(node);
    }
    let home = cache_folder()?.join(format!("bitcoin-core-{VERSION}"));
    let node = home.join("bin").join("bitcoin-node");
    if node.is_file() {
        match verify(&node) {
            Ok(version) => {
                println!("built before: {version}");
                return Ok(node);
            }
            // A library of the system may have changed under it.
            Err(failure) => println!("building it again, for the one in the cache does not run: {failure}"),
        }
    }
    build(root, &home)?;
    Ok(node)
}

/// `stratum` in the user's cache folder.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("stratum"))
        .ok_or_else(|| {
            Failure::Other("set HOME or XDG_CACHE_HOME: what is built once is kept in the user's cache folder".into())
        })
}

/// Runs `node -version` and gives its first line.
fn verify(node: &Path) -> Result<String> {
    let text = output(Command::new(node).arg("-version"))
        .map_err(|failure| Failure::Other(format!("{} does not run: {failure}", node.display())))?;
    let first = text.lines().next().unwrap_or_default().to_owned();
    if first.contains("Bitcoin Core") {
        Ok(first)
    } else {
        Err(Failure::Other(format!("{} is no Bitcoin Core: -version says `{first}`", node.display())))
    }
}

/// Builds beside the final folder and moves the result there when it is known to run, so that a build which was cut off leaves
/// nothing that looks finished.
fn build(root: &Path, home: &Path) -> Result<()> {
    packages::ensure(packages::FOR_THE_BUILD)?;
    packages::ensure(packages::FOR_BITCOIN_CORE)?;
    let source = source(root)?;
    let start = Instant::now();
    println!("building Bitcoin Core once, which takes about 7 minutes on 2 cores; it is kept in {}", home.display());

    let parent = home.parent().unwrap_or(home);
    let work = parent.join(format!(".building-{}", std::process::id()));
    at(&work, fs::create_dir_all(&work))?;
    let result = build_in(&work, &source).and_then(|()| {
        if home.exists() {
            at(home, fs::remove_dir_all(home))?;
        }
        let done = work.join("done");
        at(&done, fs::rename(&done, home))
    });
    // What is left is only space on the disk.
    let _ = fs::remove_dir_all(&work);
    result?;
    println!("built in {:.0} s: {}", start.elapsed().as_secs_f64(), verify(&home.join("bin").join("bitcoin-node"))?);
    Ok(())
}

fn build_in(work: &Path, source: &Path) -> Result<()> {
    let build = work.join("build");
    check(Command::new("cmake").args(["-G", "Ninja", "-S"]).arg(source).arg("-B").arg(&build).args(CMAKE_FLAGS))?;
    check(Command::new("cmake").arg("--build").arg(&build).arg("--target").args(PROGRAMS))?;
    let bin = work.join("done").join("bin");
    at(&bin, fs::create_dir_all(&bin))?;
    for program in PROGRAMS {
        let from = build.join("bin").join(program);
        at(&from, fs::copy(&from, bin.join(program)))?;
    }
    verify(&bin.join("bitcoin-node"))?;
    Ok(())
}

/// Has cargo fetch the package, without building it, and gives the folder of Bitcoin Core's source.
fn source(root: &Path) -> Result<PathBuf> {
    let folder = target_folder(root)?.join("xtask").join("bitcoin-core-source");
    let library = folder.join("src");
    at(&library, fs::create_dir_all(&library))?;
    let manifest = folder.join("Cargo.toml");
    at(&manifest, fs::write(&manifest, throw_away_manifest()))?;
    at(&library, fs::write(library.join("lib.rs"), ""))?;

    check(cargo(&folder).args(["fetch", "--manifest-path"]).arg(&manifest))?;
    let lock = folder.join("Cargo.lock");
    let text = at(&lock, fs::read_to_string(&lock))?;
    match checksum_of(&text, PACKAGE, VERSION) {
        Some(CHECKSUM) => {}
        Some(other) => {
            return Err(Failure::Other(format!("{PACKAGE} {VERSION}: expected checksum {CHECKSUM}, got {other}")));
        }
        None => return Err(Failure::Other(format!("{} has no checksum for {PACKAGE} {VERSION}", lock.display()))),
    }
    let metadata = cargo(&folder)
        .args(["metadata", "--format-version", "1", "--offline", "--manifest-path"])
        .arg(&manifest)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| Failure::Other(format!("can not start cargo metadata: {error}")))?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout)
        .map_err(|error| Failure::Other(format!("cargo metadata wrote no JSON: {error}")))?;
    package_folder(&metadata, PACKAGE)
        .map(|folder| folder.join("bitcoin"))
        .filter(|source| source.join("CMakeLists.txt").is_file())
        .ok_or_else(|| Failure::Other(format!("{PACKAGE} {VERSION} carries no `bitcoin/CMakeLists.txt`")))
}

fn throw_away_manifest() -> String {
    format!(
        "[package]\nname = \"bitcoin-core-source\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
         [dependencies]\n{PACKAGE} = \"={VERSION}\"\n"
    )
}

pub(crate) fn target_folder(root: &Path) -> Result<PathBuf> {
    let metadata = output(cargo(root).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(|error| Failure::Other(format!("cargo metadata wrote no JSON: {error}")))?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Failure::Other("cargo metadata names no target_directory".into()))
}

fn package_folder(metadata: &Value, name: &str) -> Option<PathBuf> {
    let packages = metadata["packages"].as_array()?;
    let package = packages.iter().find(|package| package["name"] == name)?;
    Path::new(package["manifest_path"].as_str()?).parent().map(Path::to_owned)
}

/// The checksum of one package in a `Cargo.lock`.
fn checksum_of<'a>(lock: &'a str, name: &str, version: &str) -> Option<&'a str> {
    let value = |block: &'a str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
        line.strip_suffix('"')
    };
    let mut blocks = lock.split("[[package]]");
    let block = blocks.find(|block| value(block, "name") == Some(name) && value(block, "version") == Some(version))?;
    value(block, "checksum")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.4.1\"\nchecksum = \"11\"\n\n\
        [[package]]\nname = \"b\"\nversion = \"0.4.0\"\nchecksum = \"22\"\n\n\
        [[package]]\nname = \"b\"\nversion = \"0.4.1\"\nsource = \"s\"\nchecksum = \"33\"\n\n\
        [[package]]\nname = \"c\"\nversion = \"1.0.0\"\n";

    #[test]
    fn a_checksum_is_that_of_the_name_and_the_version() {
        assert_eq!(checksum_of(LOCK, "b", "0.4.1"), Some("33"));
        assert_eq!(checksum_of(LOCK, "b", "0.4.0"), Some("22"));
        assert_eq!(checksum_of(LOCK, "c", "1.0.0"), None);
        assert_eq!(checksum_of(LOCK, "d", "0.4.1"), None);
    }

    #[test]
    fn the_throw_away_manifest_pins_the_version_and_stands_alone() {
        let manifest = throw_away_manifest();
        assert!(manifest.contains("libbitcoinkernel-sys = \"=0.4.1\""));
        assert!(manifest.contains("\n[workspace]\n"), "else cargo takes it for a member of the workspace around it");
    }

    #[test]
    fn the_source_lies_beside_the_manifest() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "other", "manifest_path": "/a/other/Cargo.toml" },
            { "name": PACKAGE, "manifest_path": "/a/kernel/Cargo.toml" },
        ]});
        assert_eq!(package_folder(&metadata, PACKAGE), Some(PathBuf::from("/a/kernel")));
        assert_eq!(package_folder(&metadata, "absent"), None);
    }
}
