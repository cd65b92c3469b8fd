//! Everything that has to pass before a change is in. Cheap steps come first; the first failure ends it.

use std::{path::Path, time::Instant};

use crate::{
    command::{Result, cargo, check, step},
    core_node, dashboard, engines, firmware, fuzz, packages, promtool, tidy,
};

pub(crate) fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    step("format", || check(cargo(root).args(["fmt", "--all", "--", "--check"])))?;
    step("tidy", || tidy::run(root))?;
    step("system packages", || {
        packages::ensure(packages::FOR_THE_BUILD)?;
        packages::ensure(packages::FOR_C)?;
        packages::ensure(packages::for_the_tests())
    })?;
    step("lints", || check(cargo(root).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])))?;
    step("documentation", || {
        check(cargo(root).args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    step("fuzz targets", || fuzz::check(root))?;
    step("without std", || firmware::run(root))?;
    step("both engines", || engines::run(root))?;
    step("one import", || {
        // In a run of its own, because cargo joins the features of all packages that it builds at once.
        check(cargo(root).args([
            "test",
            "--package",
            "stratum-roles-logic-sv2",
            "--features",
            "full",
            "--test",
            "full",
        ]))
    })?;
    let node = step("Bitcoin Core", || core_node::provide(root))?;
    println!("bitcoin-node: {}", node.display());
    let promtool = step("promtool", promtool::provide)?;
    step("alerts", || promtool::check_rules(root, &promtool))?;
    step("tests", || {
        let tests = ["test", "--workspace"];
        check(cargo(root).args(tests).env("BITCOIN_NODE", &node).env("PROMTOOL", &promtool))
    })?;
    step("dashboard", || dashboard::test(root))?;
    println!("\nAll of it passed in {:.0} s.", start.elapsed().as_secs_f64());
    Ok(())
}
