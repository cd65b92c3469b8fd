//! The example that links without std: it must build, its shares must count, its memory must stay small.

use std::path::Path;

use crate::command::{Result, cargo, check};

/// A workspace of its own, or cargo would unify features with crates that use std.
const MANIFEST: &str = "examples/firmware-no-std/Cargo.toml";

pub(crate) fn run(root: &Path) -> Result<()> {
    check(cargo(root).args(["fmt", "--manifest-path", MANIFEST, "--", "--check"]))?;
    let target = root.join("target").join("no-std");
    check(cargo(root).args(["run", "--release", "--manifest-path", MANIFEST, "--target-dir"]).arg(target))
}
