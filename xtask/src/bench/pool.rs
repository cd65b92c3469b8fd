//! `bench pool`: our pool and the reference implementation's, under the same load in the same run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::machine;
use crate::{
    command::{Failure, Result, at, cargo, check, heading, output},
    core_node::{cache_folder, target_folder},
    packages,
};

/// The reference implementation's pool, a program of its own in the package registry.
const PACKAGE: &str = "pool_sv2";
const VERSION: &str = "0.7.0";

/// What stands above the tables.
const INTRODUCTION: &str = "\
# Speed of the pool

Made by `cargo xtask bench pool`: our pool and the reference implementation's (SRI, `pool_sv2`), each as a process of its own, in turn, three times; the
median counts. Pool, swarm of miners and Template Provider share the machine, so the swarm's processor time is part of every figure, for both alike; it stands in the second
table. On a busy machine all columns grow: then the ratios say more. Connections are encrypted, each with one extended channel.

- **Template Provider**: a script, the same for both. Templates carry mainnet's difficulty (no share is a block) and a merkle path of 12. A new tip goes out together with its
  template, as providers on Bitcoin Core do it, or the template has been out for 1.5 s, as our Template Provider does it with one that has no transactions
  (`docs/adr/0001-empty-future-template.md`). Time counts from the provider's write to each miner's read. Median of five tips at each size.
- **Memory** is resident memory beyond that of the idle pool.
- **Set-up**: connect, noise, SetupConnection, channel, first job and previous hash; one miner at a time on its way for each of 64.
- **Flood**: each miner keeps 64 shares under way, as fast as they are acknowledged. Every share is hashed, new, and meets the (easiest) target; one in 16 has
  an extranonce of its own. With 200 miners a new tip comes every 3 s, as pools bound the shares of a channel on one previous hash.
- **Paced**: one share at a time from 200 miners in turn. Here SRI acknowledges each share (`share_batch_size = 1`); in the flood every tenth, its default. SRI keeps nothing
  durable.
- Both log warnings only: SRI's default is a line for each share. SRI's `shares_per_minute` is so high that it keeps the easiest target; ours has
  `vardiff = false`.

`cargo xtask bench pool --quick` prints a smaller version in under three minutes. [operate/load.md](operate/load.md) has the swarm for any pool.

![Which part of the miners has heard of a new tip, over time](bench-pool.svg)
";

pub(super) fn run(root: &Path, args: &[String]) -> Result<()> {
    let quick = match args {
        [] => false,
        [quick] if quick == "--quick" => true,
        other => {
            return Err(Failure::Usage(format!("`bench pool` takes `--quick` or nothing, got `{}`", other.join(" "))));
        }
    };
    packages::ensure(packages::FOR_THE_BUILD)?;
    heading("the pools");
    check(cargo(root).args(["build", "--release", "--package", "stratum"]))?;
    let ours = target_folder(root)?.join("release").join("stratum");
    let theirs = reference(root)?;
    heading("the measurement");
    let plot = root.join("docs/bench-pool.svg");
    let mut command = cargo(root);
    command.args(["bench", "--package", "stratum-bench", "--bench", "pool", "--"]);
    command.env("STRATUM_PROGRAM", ours).env("SRI_POOL_PROGRAM", theirs);
    match quick {
        true => command.arg("--quick"),
        false => command.env("STRATUM_BENCH_SVG", plot),
    };
    let tables = output(&mut command)?;
    println!("{tables}");
    if !quick {
        let text = format!("{INTRODUCTION}\n{tables}\n{}; SRI: {PACKAGE} {VERSION}.\n", machine()?);
        let file = root.join("docs/bench-pool.md");
        at(&file, fs::write(&file, text))?;
        println!("kept in docs/bench-pool.md");
    }
    Ok(())
}

/// The reference implementation's pool, installed once into the user's cache folder.
fn reference(root: &Path) -> Result<PathBuf> {
    let home = cache_folder()?.join(format!("{PACKAGE}-{VERSION}"));
    let program = home.join("bin").join(PACKAGE);
    if !program.is_file() {
        println!("installing {PACKAGE} {VERSION} once, which takes some minutes; it is kept in {}", home.display());
        let target = target_folder(root)?.join("xtask").join(PACKAGE);
        let mut command = cargo(root);
        command.args(["install", PACKAGE, "--version", VERSION, "--locked", "--root"]).arg(&home);
        check(command.arg("--target-dir").arg(target))?;
    }
    Ok(program)
}
