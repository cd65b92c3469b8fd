//! Checks that only read the tree: layers, names, foreign crates, what no committed file may say, and the tests that the
//! specification's requirements are watched by.

mod files;
mod layers;
mod packages;

use std::path::Path;

use serde_json::Value;

use crate::{
    command::{Failure, Result, at, cargo, output},
    coverage,
};

/// Runs all checks and reports everything they find.
pub(crate) fn run(root: &Path) -> Result<()> {
    let text = output(cargo(root).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Other(format!("cargo metadata wrote no JSON: {error}")))?;
    let members = packages::members(&metadata)?;
    let lock = root.join("Cargo.lock");
    let lock = at(&lock, std::fs::read_to_string(&lock))?;

    let mut findings = layers::check(&members);
    findings.extend(packages::check_names(&members, &lock));
    findings.extend(packages::check_reference_crates(&members));
    findings.extend(files::check(root)?);
    findings.extend(coverage::check(root)?);
    if findings.is_empty() {
        println!("tidy: {} packages, nothing found", members.len());
        return Ok(());
    }
    for finding in &findings {
        println!("tidy: {finding}");
    }
    Err(Failure::Other(format!("tidy found {} thing(s) to put right, listed above", findings.len())))
}
