//! All fuzz targets, one after the other, with a table at the end.

mod seeds;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use crate::{
    command::{self, Failure, Result, at, cargo, heading, output},
    sanitize::host,
};

/// A workspace of its own: it is built with a sanitizer.
const FOLDER: &str = "test/fuzz";
/// Seconds in all when none are given: a look at each target.
const DEFAULT_SECONDS: u64 = 60;
/// Memory that a target may take, in MiB; the longest frame is 16 MiB and AddressSanitizer keeps what was freed.
const MEMORY_MIB: u32 = 2_048;
/// Seconds that one input may take.
const INPUT_SECONDS: u32 = 20;
/// Lines of a target's log that are shown when it fails.
const SHOWN_LINES: usize = 30;

/// What came of a target.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    target: String,
    executions: u64,
    seconds: u64,
    clean: bool,
}

/// `cargo xtask fuzz [--seconds N]`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let seconds = parse(args)?;
    provide_cargo_fuzz(root)?;
    heading("building the targets");
    let folder = root.join("target/fuzz");
    let mut build = cargo(root);
    build.args(["fuzz", "build", "--fuzz-dir", FOLDER, "--target-dir"]).arg(&folder);
    // The sanitizer comes with the stable compiler but is not called stable.
    command::check(build.env("RUSTC_BOOTSTRAP", "1"))?;
    let targets = targets(root)?;
    seeds::write(root, &folder.join("corpus"), &targets)?;

    let programs = folder.join(host()?).join("release");
    let mut rows = Vec::new();
    let mut left = seconds;
    for (done, target) in targets.iter().enumerate() {
        let share = left / (targets.len() - done) as u64;
        left -= share;
        rows.push(run_one(&programs.join(target), &folder, target, share.max(1))?);
    }
    print_table(&rows);
    match rows.iter().filter(|row| !row.clean).count() {
        0 => Ok(()),
        failed => Err(Failure::Other(format!("{failed} target(s) failed, see above"))),
    }
}

/// Compiles the targets without sanitizer and counters, in the workspace's own folder: some seconds, half a minute when it is empty.
pub(crate) fn check(root: &Path) -> Result<()> {
    let manifest = format!("{FOLDER}/Cargo.toml");
    command::check(cargo(root).args(["check", "--locked", "--manifest-path", &manifest, "--target-dir", "target"]))
}

fn parse(args: &[String]) -> Result<u64> {
    let usage = || Failure::Usage("`fuzz` takes `--seconds N`, the time for all targets together".into());
    match args {
        [] => Ok(DEFAULT_SECONDS),
        [flag, number] if flag == "--seconds" => number.parse().map_err(|_| usage()),
        _ => Err(usage()),
    }
}

fn provide_cargo_fuzz(root: &Path) -> Result<()> {
    let found = cargo(root).args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    heading("installing cargo-fuzz");
    command::check(cargo(root).args(["install", "cargo-fuzz", "--locked"]))
}

/// Names of the targets, in the manifest's order.
fn targets(root: &Path) -> Result<Vec<String>> {
    let manifest = format!("{FOLDER}/Cargo.toml");
    let mut command = cargo(root);
    command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path", &manifest]);
    let text = output(&mut command)?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Other(format!("cargo metadata wrote no JSON: {error}")))?;
    let all = metadata["packages"][0]["targets"].as_array().into_iter().flatten();
    let programs = all.filter(|target| target["kind"][0] == "bin");
    let names: Vec<String> = programs.filter_map(|target| target["name"].as_str()).map(str::to_owned).collect();
    if names.is_empty() { Err(Failure::Other(format!("{manifest} names no targets"))) } else { Ok(names) }
}

/// Runs a target for some seconds; its output goes to a file, and the end of it is shown if it fails.
fn run_one(program: &Path, folder: &Path, target: &str, seconds: u64) -> Result<Row> {
    let corpus = folder.join("corpus").join(target);
    let artifacts = folder.join("artifacts").join(target);
    let log = folder.join("logs").join(format!("{target}.log"));
    for needed in [&artifacts, &folder.join("logs")] {
        at(needed, fs::create_dir_all(needed))?;
    }
    print!("{target}: ");
    let start = Instant::now();
    let file = at(&log, fs::File::create(&log))?;
    let status = Command::new(program)
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .stdout(Stdio::null())
        .stderr(file)
        .status()
        .map_err(|error| Failure::Other(format!("can not start {}: {error}", program.display())))?;
    let text = String::from_utf8_lossy(&at(&log, fs::read(&log))?).into_owned();
    let row = Row {
        target: target.into(),
        executions: executions(&text),
        seconds: start.elapsed().as_secs(),
        clean: status.success(),
    };
    println!("{} executions in {} s", row.executions, row.seconds);
    if !row.clean {
        show_failure(&text, &log, &artifacts);
    }
    Ok(row)
}

fn show_failure(log: &str, file: &Path, artifacts: &Path) {
    // What panicked, or what the sanitizer or libFuzzer found; not the pages of stack and of bytes that come with it.
    let telling = |line: &&str| ["panicked at", "ERROR: ", "SUMMARY: "].iter().any(|word| line.contains(word));
    let from = log.lines().position(|line| telling(&line)).unwrap_or(0);
    for line in log.lines().skip(from).take(SHOWN_LINES) {
        println!("    {line}");
    }
    println!("    the input that did it is in {}, the whole log in {}", artifacts.display(), file.display());
}

/// What libFuzzer says at the end.
fn executions(log: &str) -> u64 {
    let said = log.lines().rev().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    said.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn print_table(rows: &[Row]) {
    println!("\n{:<28} {:>8} {:>14} {:>12}  result", "target", "seconds", "executions", "per second");
    for Row { target, executions, seconds, clean } in rows {
        let result = if *clean { "clean" } else { "FAILED" };
        println!("{target:<28} {seconds:>8} {executions:>14} {:>12}  {result}", executions / (*seconds).max(1));
    }
    let (seconds, executions) =
        rows.iter().fold((0, 0), |(seconds, executions), row| (seconds + row.seconds, executions + row.executions));
    println!("{:<28} {seconds:>8} {executions:>14}", "all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse = |args: &[&str]| parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]).unwrap(), DEFAULT_SECONDS);
        assert_eq!(parse(&["--seconds", "600"]).unwrap(), 600);
        assert!(parse(&["--seconds"]).is_err());
        assert!(parse(&["--seconds", "ten"]).is_err());
        assert!(parse(&["600"]).is_err());
    }

    #[test]
    fn executions_are_read() {
        let log = "#12 DONE\nstat::number_of_executed_units: 1234\nstat::peak_rss_mb: 50\n";
        assert_eq!(executions(log), 1_234);
        assert_eq!(executions("==1== ERROR: AddressSanitizer"), 0);
    }
}
