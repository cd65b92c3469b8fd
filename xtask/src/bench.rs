//! Measurements whose results are kept in `docs/`.

mod http;
mod pool;

use std::{fs, path::Path, process::Command};

use crate::command::{Failure, Result, at, cargo, output};

/// Crates of the reference implementation that are measured beside ours.
const REFERENCE: &[&str] = &["binary_sv2", "channels_sv2", "codec_sv2", "mining_sv2", "noise_sv2", "parsers_sv2"];

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

/// What stands above the table.
const CORE: &str = "\
# Speed of the mining core

Made by `cargo xtask bench core`: ours, the reference implementation (SRI) and what the hardware can do at best, in the
same run. All ways to do a row's work take turns of a millisecond; the fastest of 200 turns counts (of 10 where one turn
takes tens of milliseconds). Single thread, warm caches. On a busy or throttled machine all columns grow: then \"Ours /
limit\" says more than the times.

- Shares: a merkle path of 12 levels, a coinbase of about 250 bytes, every share a good one, and new; a channel takes
  3,600 of them, then a fresh one its place, in both implementations. The limit is the blocks of SHA-256 that a share takes
  from scratch, each after the one before: 44, or 3 on a standard channel. Ours does with fewer: what does not change from
  share to share is hashed once per job. Between two hashes that depend on each other, words become bytes and bytes words
  again, which the library's interface asks for and the limit does not have: 26 times on an extended channel, about 4 ns each.
- A new template: ours builds one job, and a thousand channels of a group refer to it; SRI builds one per channel.
- Job messages: each for a connection with its own cipher and its own buffer. The limit is a copy of the bytes and the
  cipher's two calls (`ring`).
- The last rows take a template all the way: job, channels, messages, encryption. Up to 1,000 connections have ciphers and
  buffers of their own; more channels take turns on them. A standard channel costs a merkle root, a solo address a
  coinbase, an extended channel nothing but its message and a reference. Solo addresses share the template's merkle path.
";

/// What stands above the table.
const LEDGER: &str = "\
# Speed of the share ledger

Made by `cargo xtask bench ledger`, in the folder for temporary files, whose disk decides the middle rows: ours and what the
hardware can do at best, in the same run. Both take turns; the fastest turn counts.

- Handing over is what a thread that accepts shares pays for them. The limit is a copy of their bytes in the log.
- Durable is with the way to the writing thread and back. The limit writes the same number of bytes to a plain file and calls
  fdatasync, in the thread that waits. There is no pause between writes in these rows.
- The last row is all that a page of an account shows, of a pool with 10,000 workers of 1,000 accounts, each of which had a
  share on each day of a year.
";

/// `bench WHAT`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    match args {
        [what] if what == "wire" => measure(root, "wire", WIRE),
        [what] if what == "core" => measure(root, "core", CORE),
        [what] if what == "ledger" => measure(root, "ledger", LEDGER),
        [what, rest @ ..] if what == "http" => http::run(root, rest),
        [what, rest @ ..] if what == "pool" => pool::run(root, rest),
        _ => Err(Failure::Usage(format!(
            "`bench` takes `core`, `http`, `ledger`, `wire` or `pool`, got `{}`",
            args.join(" ")
        ))),
    }
}

/// Prints the table of one bench and keeps it in `docs/bench-NAME.md`.
fn measure(root: &Path, name: &str, introduction: &str) -> Result<()> {
    let table = output(cargo(root).args(["bench", "--package", "stratum-bench", "--bench", name]))?;
    println!("{table}");
    let text = format!("{introduction}\n{table}\n{}; SRI: {}.\n", machine()?, reference(root)?);
    let file = root.join(format!("docs/bench-{name}.md"));
    at(&file, fs::write(&file, text))?;
    println!("kept in docs/bench-{name}.md");
    Ok(())
}

/// Where and with what this was measured.
fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let compiler = output(Command::new("rustc").arg("--version"))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!("{}, {cores} cores; {}", cpu.unwrap_or("unknown CPU"), compiler.trim()))
}

/// The versions of the reference implementation's crates.
fn reference(root: &Path) -> Result<String> {
    let lock = root.join("Cargo.lock");
    let lock = at(&lock, fs::read_to_string(&lock))?;
    let versions: Vec<String> = REFERENCE.iter().filter_map(|name| version(&lock, name)).collect();
    if versions.len() < REFERENCE.len() {
        return Err(Failure::Other(format!("Cargo.lock has only {} of {REFERENCE:?}", versions.len())));
    }
    Ok(versions.join(", "))
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
