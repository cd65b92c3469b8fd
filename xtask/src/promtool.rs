//! Prometheus' own tool, which knows whether metrics, alerts and their tests are as they should be. It is a tool for tests and no
//! part of what is shipped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command::{Failure, Result, at, check, which},
    core_node::cache_folder,
    packages,
};

const PROGRAM: &str = "promtool";
/// Debian's package that has it. It is unpacked, not installed: with it would come a server that starts by itself.
const PACKAGE: &str = "prometheus";

/// Gives the path of a `promtool`: one that is named, one in PATH, or one that is fetched once and kept.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(named) = env::var_os("PROMTOOL").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    if let Some(found) = which(PROGRAM) {
        return Ok(found);
    }
    let home = cache_folder()?.join(PROGRAM);
    let kept = home.join(PROGRAM);
    if !kept.is_file() {
        let folder = home.join("new");
        at(&folder, fs::create_dir_all(&folder))?;
        packages::unpack(PACKAGE, &folder)?;
        let unpacked = folder.join("usr/bin").join(PROGRAM);
        at(&unpacked, fs::rename(&unpacked, &kept))?;
        at(&folder, fs::remove_dir_all(&folder))?;
    }
    Ok(kept)
}

/// Checks the alerts, and that each comes when it should and not before.
pub(crate) fn check_rules(root: &Path, promtool: &Path) -> Result<()> {
    let folder = root.join("docs/operate/monitoring");
    if !folder.join("stratum-pool.rules.yml").is_file() {
        return Err(Failure::Other(format!("{} has no rules", folder.display())));
    }
    let run = |arguments: &[&str]| check(Command::new(promtool).args(arguments).current_dir(&folder));
    run(&["check", "rules", "stratum-pool.rules.yml"])?;
    run(&["test", "rules", "stratum-pool.test.yml"])
}
