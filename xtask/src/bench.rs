//! Measurements whose results are kept in `docs/`.

use std::{fs, path::Path, process::Command};

use crate::command::{Failure, Result, at, cargo, output};

/// Crates of the reference implementation that are measured beside ours.
const REFERENCE: &[&str] = &["binary_sv2", "codec_sv2", "mining_sv2", "noise_sv2", "parsers_sv2"];

/// What stands above the table.
const WIRE: &str = "\
# Speed of the wire stack

Made by `cargo xtask bench wire`: ours, the reference implementation (SRI) and what the hardware can do at best, in the
same run. All ways to do a row's work take turns of a millisecond; the fastest of 200 turns counts. Single thread, warm
caches. On a busy or throttled machine all columns grow: then \"Ours / limit\" says more than the times. It is to be
compared with the last column's ratio: what was to be reached, to what the limit took when that was set.

- The share is a `SubmitSharesExtended` with an extranonce of 8 bytes, 33 bytes in all. Rows with codecs go through
  them: from the typed message to bytes that could be sent, and from received bytes to the protocol's enum of messages.
- The limit of a share over noise is the four calls of the cipher (`ring`) on header and payload; without noise, one
  copy of its bytes. That of a handshake is what it needs of the curve (`libsecp256k1`): an ElligatorSwift key and two
  key agreements per side, for the client also the signature of the certificate. That of a long message is one call of
  the cipher.
- A server of ours signs its certificate once per validity; SRI's signs for each connection, which is in its rows.
- SRI runs with default features, as its applications do.
";

/// `bench WHAT`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    match args {
        [what] if what == "wire" => wire(root),
        _ => Err(Failure::Usage(format!("`bench` takes `wire`, got `{}`", args.join(" ")))),
    }
}

/// Prints the table and keeps it in `docs/bench-wire.md`.
fn wire(root: &Path) -> Result<()> {
    let table = output(cargo(root).args(["bench", "--package", "stratum-bench", "--bench", "wire"]))?;
    println!("{table}");
    let text = format!("{WIRE}\n{table}\n{}\n", conditions(root)?);
    let file = root.join("docs/bench-wire.md");
    at(&file, fs::write(&file, text))?;
    println!("kept in docs/bench-wire.md");
    Ok(())
}

/// Where and with what this was measured.
fn conditions(root: &Path) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let compiler = output(Command::new("rustc").arg("--version"))?;
    let lock = root.join("Cargo.lock");
    let lock = at(&lock, fs::read_to_string(&lock))?;
    let versions: Vec<String> = REFERENCE.iter().filter_map(|name| version(&lock, name)).collect();
    if versions.len() < REFERENCE.len() {
        return Err(Failure::Other(format!("Cargo.lock has only {} of {REFERENCE:?}", versions.len())));
    }
    let cpu = cpu.unwrap_or("unknown CPU");
    Ok(format!("{cpu}; {}; SRI: {}.", compiler.trim(), versions.join(", ")))
}

/// `name version` of a package in the lock file.
fn version(lock: &str, name: &str) -> Option<String> {
    let (_, entry) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    let (version, _) = entry.split_once('"')?;
    Some(format!("{name} {version}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_version_is_read_from_the_lock() {
        let lock = "[[package]]\nname = \"my_codec_sv2\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"codec_sv2\"\nversion = \"7.0.0\"\n";
        assert_eq!(super::version(lock, "codec_sv2").as_deref(), Some("codec_sv2 7.0.0"));
        assert_eq!(super::version(lock, "codec"), None);
    }
}
