//! Simulates variable difficulty and writes the page and the plot of it.

use std::path::Path;

use crate::command::{Result, cargo, check};

/// Seeds per device.
const SEEDS: &str = "1000";

pub(crate) fn run(root: &Path) -> Result<()> {
    check(
        cargo(root)
            .args(["run", "--release", "--package", "stratum-vardiff-simulation", "--", SEEDS])
            .arg(root.join("docs")),
    )
}
