//! Developer commands. `cargo xtask` prints what there is.
//!
//! Each command does its own set-up, so that `cargo xtask demo` and `cargo xtask test` work on a fresh machine that has
//! Rust and nothing else.

mod abuse;
mod bench;
mod command;
mod core_node;
mod coverage;
mod crash;
mod dashboard;
mod engines;
mod firmware;
mod fuzz;
mod mutants;
mod packages;
mod promtool;
mod sanitize;
mod simulate;
mod test;
mod tidy;
mod vardiff;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use command::{Failure, Result, cargo, heading};

const USAGE: &str = "\
usage: cargo xtask <command>

  setup             install what the build needs from the system's package manager, and provide a Bitcoin Core for tests
  demo [-- ARGS]    run `stratum demo ARGS`
  test              everything that has to pass: formatting, tidiness, lints, documentation, all tests
  abuse             a pool under attack in full, some minutes; `test` has a smaller version
  fuzz [--seconds N]
                    all fuzz targets for N seconds together, 60 if not given; installs cargo-fuzz
  crash [--kills N] a pool's process under load, killed without warning N times, 50 if not given: no acknowledged share is lost
  dashboard [--screenshots]
                    builds dashboard/dist and tests it in a browser; with --screenshots, pictures for docs/operate/dashboard.md
  mutants [FILE..]  changes to the mining core that no test notices, hours for all files; installs cargo-mutants
  sanitize          unsafe code under loom, AddressSanitizer, valgrind and, where installed, Miri
  bench core        speed of the mining core beside the reference implementation's; kept in docs/bench-core.md
  bench http [--quick]
                    what open dashboards and scrapes cost the shares, and pages with a year of history; kept in docs/bench-http.md
  bench ledger      speed of the share ledger beside the disk's; kept in docs/bench-ledger.md
  bench pool [--quick]
                    a pool under load beside the reference implementation's, about a quarter of an hour; kept in docs/bench-pool.md.
                    With --quick under three minutes, less of it, and only printed
  bench wire        speed of the wire stack beside the reference implementation's; kept in docs/bench-wire.md
  coverage [FOLDER] counts of docs/spec/coverage; with a copy of the specification, what it has and the pages have not
  simulate [--seeds N | --seed N]
                    N worlds of nodes, pool and miners on virtual time, 1,000 if not given; or one, with its trace
  tidy              the checks of `test` that only read the tree
  vardiff           simulate variable difficulty with 1,000 seeds, about a minute; writes docs/vardiff.md and its plot

environment
  PROMTOOL          Prometheus' promtool; else the one in PATH, else one is fetched and kept in the user's cache
  BITCOIN_NODE      a bitcoin-node to test against; else the one in PATH, else one is built and kept in the user's cache
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(Failure::Usage(message)) => {
            eprintln!("xtask: {message}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Other(message)) => {
            eprintln!("\nxtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let root = workspace_root()?;
    let (name, rest) = match args.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", args),
    };
    if !matches!(
        name,
        "demo"
            | "bench"
            | "coverage"
            | "crash"
            | "dashboard"
            | "fuzz"
            | "mutants"
            | "simulate"
            | "help"
            | "-h"
            | "--help"
    ) && !rest.is_empty()
    {
        return Err(Failure::Usage(format!("`{name}` takes no arguments, got `{}`", rest.join(" "))));
    }
    match name {
        "abuse" => abuse::run(&root).map(|()| ExitCode::SUCCESS),
        "setup" => setup(&root),
        "demo" => demo(&root, rest),
        "test" => test::run(&root).map(|()| ExitCode::SUCCESS),
        "fuzz" => fuzz::run(&root, rest).map(|()| ExitCode::SUCCESS),
        "crash" => crash::run(&root, rest).map(|()| ExitCode::SUCCESS),
        "dashboard" => dashboard::run(&root, rest).map(|()| ExitCode::SUCCESS),
        "mutants" => mutants::run(&root, rest).map(|()| ExitCode::SUCCESS),
        "sanitize" => sanitize::run(&root).map(|()| ExitCode::SUCCESS),
        "simulate" => simulate::run(&root, rest).map(|()| ExitCode::SUCCESS),
        "coverage" => coverage::run(&root, rest).map(|()| ExitCode::SUCCESS),
        "bench" => bench::run(&root, rest).map(|()| ExitCode::SUCCESS),
        "tidy" => tidy::run(&root).map(|()| ExitCode::SUCCESS),
        "vardiff" => vardiff::run(&root).map(|()| ExitCode::SUCCESS),
        "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(Failure::Usage(format!("no command `{other}`"))),
    }
}

fn setup(root: &Path) -> Result<ExitCode> {
    heading("system packages");
    packages::ensure(packages::FOR_THE_BUILD)?;
    packages::ensure(packages::FOR_C)?;
    packages::ensure(packages::FOR_THE_DASHBOARD)?;
    packages::ensure(packages::for_the_tests())?;
    heading("Bitcoin Core");
    let node = core_node::provide(root)?;
    println!("bitcoin-node: {}", node.display());
    heading("promtool");
    println!("promtool: {}", promtool::provide()?.display());
    Ok(ExitCode::SUCCESS)
}

/// Runs the demo; its exit status is passed on, so that scripts can tell what came of it.
fn demo(root: &Path, args: &[String]) -> Result<ExitCode> {
    packages::ensure(packages::FOR_THE_BUILD)?;
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let status = cargo(root)
        .args(["run", "--package", "stratum", "--", "demo"])
        .args(args)
        .status()
        .map_err(|error| Failure::Other(format!("can not start cargo: {error}")))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// The folder of the workspace: the parent of this crate's.
fn workspace_root() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .ok_or_else(|| Failure::Other("start me as `cargo xtask`: cargo tells where the workspace is".into()))?;
    let own = PathBuf::from(own);
    let root = own.parent().ok_or_else(|| Failure::Other(format!("{} has no parent folder", own.display())))?;
    Ok(root.to_owned())
}
