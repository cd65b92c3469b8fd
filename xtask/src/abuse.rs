//! A pool under attack, in full.

use std::path::Path;

use crate::command::{Result, cargo, check};

pub(crate) fn run(root: &Path) -> Result<()> {
    let package = ["test", "--release", "--package", "stratum-integration-tests", "--test", "pool"];
    check(cargo(root).args(package).args(["--", "--ignored", "--nocapture", "abuse::in_full"]))
}
