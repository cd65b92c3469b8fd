//! The two engines of `binary_sv2`. The workspace is tested with the internal one alone; here with both.
//!
//! In a run of its own, because cargo joins the features of all packages that it builds at once.

use std::path::Path;

use crate::command::{Result, cargo, check};

/// Packages with the feature `with_serde`.
const PACKAGES: &[&str] = &[
    "stratum-no-serde-sv2",
    "stratum-binary-sv2",
    "stratum-common-messages-sv2",
    "stratum-mining-sv2",
    "stratum-job-declaration-sv2",
    "stratum-template-distribution-sv2",
    "stratum-extensions-sv2",
];

/// Lints and tests every package that has a second engine, with it: all laws of the messages, and that the engines
/// write the same bytes and accept the same input. Then compiles both without `std`.
pub(crate) fn run(root: &Path) -> Result<()> {
    let packages: Vec<&str> = PACKAGES.iter().flat_map(|package| ["--package", package]).collect();
    let features: Vec<String> = PACKAGES.iter().map(|package| format!("{package}/with_serde")).collect();
    let features = features.join(",");
    let with = |command: &[&str], last: &[&str]| {
        check(cargo(root).args(command).args(&packages).args(["--features", &features]).args(last))
    };
    with(&["clippy", "--all-targets"], &["--", "-D", "warnings"])?;
    with(&["test"], &[])?;
    with(&["check", "--no-default-features"], &[])?;
    check(cargo(root).args(["check", "--no-default-features"]).args(&packages))
}
