//! The packages of the workspace, as `cargo metadata` tells, and rules about their names.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::command::{Failure, Result};

/// A package of ours.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Folder below the workspace, with `/` between its parts.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependencies.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    /// Name of the package, not of its renaming.
    pub(crate) name: String,
    pub(crate) rename: Option<String>,
    pub(crate) dev: bool,
    pub(crate) optional: bool,
    pub(crate) from_registry: bool,
}

/// Reads `cargo metadata --no-deps`.
pub(crate) fn members(metadata: &Value) -> Result<Vec<Member>> {
    read_members(metadata)
        .ok_or_else(|| Failure::Other("cargo metadata has another form than expected (version 1)".into()))
}

fn read_members(metadata: &Value) -> Option<Vec<Member>> {
    let root = Path::new(metadata["workspace_root"].as_str()?);
    metadata["packages"].as_array()?.iter().map(|package| read_member(package, root)).collect()
}

fn read_member(package: &Value, root: &Path) -> Option<Member> {
    let folder = Path::new(package["manifest_path"].as_str()?).parent()?.strip_prefix(root).ok()?;
    Some(Member {
        name: package["name"].as_str()?.to_owned(),
        folder: folder.to_str()?.replace('\\', "/"),
        dependencies: package["dependencies"].as_array()?.iter().map(read_dependency).collect::<Option<_>>()?,
    })
}

fn read_dependency(dependency: &Value) -> Option<Dependency> {
    Some(Dependency {
        name: dependency["name"].as_str()?.to_owned(),
        rename: dependency["rename"].as_str().map(str::to_owned),
        dev: dependency["kind"] == "dev",
        optional: dependency["optional"].as_bool()?,
        from_registry: dependency["source"].is_string(),
    })
}

/// No package of ours may have a name that the lock file also has from a registry: the two are easily confused.
pub(crate) fn check_names(members: &[Member], lock: &str) -> Vec<String> {
    let foreign: BTreeSet<&str> =
        lock.split("[[package]]").filter(|block| block.contains("\nsource = ")).filter_map(name).collect();
    members
        .iter()
        .filter(|member| foreign.contains(member.name.as_str()))
        .map(|member| {
            format!(
                "{}: a registry has a package `{}` too; give ours the prefix `stratum-`",
                member.folder, member.name
            )
        })
        .collect()
}

fn name(block: &str) -> Option<&str> {
    block.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
}

/// Packages of the reference implementation whose names do not end in `_sv2`.
const REFERENCE_PACKAGES: &[&str] =
    &["stratum-core", "sv1_api", "stratum_translation", "stratum-apps", "bitcoin_core_sv2"];

/// The reference implementation is there to test against: only as a dev-dependency, and by a name that tells.
pub(crate) fn check_reference_crates(members: &[Member]) -> Vec<String> {
    let mut findings = Vec::new();
    for member in members {
        for dependency in member.dependencies.iter().filter(|dependency| dependency.is_reference()) {
            let renamed = dependency.rename.as_deref().is_some_and(|name| name.starts_with("sri_"));
            if !dependency.dev || !renamed {
                findings.push(format!(
                    "{}: `{}` is the reference implementation's: only as a dev-dependency renamed `sri_...`",
                    member.folder, dependency.name
                ));
            }
        }
    }
    findings
}

impl Dependency {
    fn is_reference(&self) -> bool {
        self.from_registry && (self.name.ends_with("_sv2") || REFERENCE_PACKAGES.contains(&self.name.as_str()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn member(name: &str, folder: &str, dependencies: Vec<Dependency>) -> Member {
        Member { name: name.into(), folder: folder.into(), dependencies }
    }

    pub(crate) fn on(name: &str) -> Dependency {
        Dependency { name: name.into(), rename: None, dev: false, optional: false, from_registry: false }
    }

    fn reference(name: &str, rename: Option<&str>, dev: bool) -> Vec<Member> {
        let dependency = Dependency { rename: rename.map(Into::into), dev, from_registry: true, ..on(name) };
        vec![member("stratum-pool", "roles/pool", vec![dependency])]
    }

    #[test]
    fn metadata_is_read() {
        let metadata = serde_json::json!({
            "workspace_root": "/tree",
            "packages": [{
                "name": "stratum-pool",
                "manifest_path": "/tree/roles/pool/Cargo.toml",
                "dependencies": [
                    { "name": "mining_sv2", "rename": "sri_mining_sv2", "kind": "dev", "optional": false, "source": "registry+x" },
                    { "name": "stratum-noise-sv2", "rename": null, "kind": null, "optional": true, "source": null },
                ],
            }],
        });
        let members = members(&metadata).unwrap();
        assert_eq!(members[0].folder, "roles/pool");
        let [reference, own] = members[0].dependencies.as_slice() else { panic!("two dependencies") };
        assert!(reference.dev && reference.from_registry && reference.rename.as_deref() == Some("sri_mining_sv2"));
        assert!(own.optional && !own.dev && !own.from_registry);
        assert!(super::members(&serde_json::json!({})).is_err());
    }

    #[test]
    fn a_name_that_a_registry_has_is_found() {
        let lock = "[[package]]\nname = \"noise_sv2\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n\n\
            [[package]]\nname = \"stratum-pool\"\nversion = \"0.1.0\"\n";
        assert_eq!(check_names(&[member("noise_sv2", "a", vec![])], lock).len(), 1);
        assert_eq!(check_names(&[member("stratum-pool", "b", vec![])], lock), Vec::<String>::new());
    }

    #[test]
    fn the_reference_implementation_is_for_tests_only() {
        assert!(check_reference_crates(&reference("mining_sv2", Some("sri_mining_sv2"), true)).is_empty());
        assert_eq!(check_reference_crates(&reference("mining_sv2", Some("sri_mining_sv2"), false)).len(), 1);
        assert_eq!(check_reference_crates(&reference("mining_sv2", None, true)).len(), 1);
        assert_eq!(check_reference_crates(&reference("stratum-core", Some("core"), true)).len(), 1);
        assert!(check_reference_crates(&reference("tokio", None, false)).is_empty());
    }
}
