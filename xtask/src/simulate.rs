//! Simulated worlds in release mode, on all cores.

use std::{path::Path, process::Command};

use crate::command::{Failure, Result, cargo, check, output};

/// Worlds when no number is given.
const DEFAULT_SEEDS: &str = "1000";

/// `simulate [--seeds N [--start S] | --seed N [--trace M]] [--small]`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let default = ["--seeds".to_owned(), DEFAULT_SEEDS.to_owned()];
    let args = if args.is_empty() { &default } else { args };
    check_args(args)?;
    // A seed goes the same way only in the same code.
    let commit =
        output(Command::new("git").arg("-C").arg(root).args(["describe", "--always", "--dirty", "--abbrev=40"]));
    println!("commit {}", commit.as_deref().unwrap_or("unknown\n").trim());
    check(cargo(root).args(["run", "--quiet", "--release", "--package", "stratum-simulation", "--"]).args(args))
}

fn check_args(args: &[String]) -> Result<()> {
    let known = |arg: &String| {
        matches!(arg.as_str(), "--seeds" | "--seed" | "--start" | "--trace" | "--small") || arg.parse::<u64>().is_ok()
    };
    match args.iter().find(|arg| !known(arg)) {
        Some(arg) => Err(Failure::Usage(format!(
            "`simulate` takes --seeds N, --start S, --seed N, --trace M, --small, got `{arg}`"
        ))),
        None => Ok(()),
    }
}
