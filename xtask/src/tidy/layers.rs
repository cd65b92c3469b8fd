//! Dependencies point one way.
//!
//! `const → binary → subprotocols → roles-logic → roles` and `framing, noise, buffer → codec → network-helpers → runtime →
//! roles`. Dev-dependencies are free, except that nothing depends on tests, examples and experiments.

use std::collections::BTreeMap;

use super::packages::{Dependency, Member};

/// Where a package stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Const,
    Derive,
    Engine,
    Binary,
    V1,
    Subprotocol,
    Buffer,
    Framing,
    Noise,
    Codec,
    RolesLogic,
    Ffi,
    NetworkHelpers,
    Runtime,
    /// Template sources, the share ledger, the dashboard's files, notifications.
    Service,
    Role,
    /// The program `stratum`, which puts roles together.
    Umbrella,
    /// Tests, examples, experiments: nothing depends on these.
    Leaf,
    Xtask,
}

use Layer::{
    Binary, Buffer, Codec, Const, Derive, Engine, Ffi, Framing, Leaf, NetworkHelpers, Noise, Role, RolesLogic, Runtime,
    Service, Subprotocol, Umbrella, V1, Xtask,
};

/// Folders and their layer. The first whose path is the folder, or ends in `/` and begins it, holds.
const FOLDERS: &[(&str, Layer)] = &[
    ("protocols/v1", V1),
    ("protocols/v2/const-sv2", Const),
    ("protocols/v2/binary-sv2/derive-sv2", Derive),
    ("protocols/v2/binary-sv2/no-serde-sv2", Engine),
    ("protocols/v2/binary-sv2/serde-sv2", Engine),
    ("protocols/v2/binary-sv2/binary-sv2", Binary),
    ("protocols/v2/subprotocols/", Subprotocol),
    ("protocols/v2/framing-sv2", Framing),
    ("protocols/v2/noise-sv2", Noise),
    ("protocols/v2/codec-sv2", Codec),
    ("protocols/v2/roles-logic-sv2", RolesLogic),
    ("protocols/v2/sv2-ffi", Ffi),
    ("utils/buffer", Buffer),
    ("utils/network-helpers", NetworkHelpers),
    ("utils/runtime", Runtime),
    ("utils/template-source", Service),
    ("utils/share-ledger", Service),
    ("utils/inspect", Service),
    ("dashboard", Service),
    ("utils/notify", Service),
    ("roles/stratum", Umbrella),
    ("roles/", Role),
    ("test/", Leaf),
    ("examples/", Leaf),
    ("experimental/", Leaf),
    ("xtask", Xtask),
];

impl Layer {
    fn of(folder: &str) -> Option<Self> {
        let holds = |pattern: &str| pattern == folder || (pattern.ends_with('/') && folder.starts_with(pattern));
        FOLDERS.iter().find(|(pattern, _)| holds(pattern)).map(|(_, layer)| *layer)
    }

    /// What a package of this layer may depend on.
    fn may_use(self) -> &'static [Self] {
        match self {
            Const | Derive | Buffer | V1 | Xtask => &[],
            Engine => &[Const, Derive],
            Binary => &[Const, Derive, Engine],
            Subprotocol => &[Const, Binary],
            Framing => &[Const, Binary, Buffer],
            Noise => &[Const],
            Codec => &[Const, Binary, Buffer, Framing, Noise],
            RolesLogic => &[Const, Binary, Subprotocol, Framing],
            Ffi => &[Const, Binary, Subprotocol, Framing, Noise, Codec, RolesLogic],
            NetworkHelpers => &[Const, Binary, Buffer, Framing, Noise, Codec],
            Runtime => &[V1, Const, Binary, Subprotocol, Buffer, Framing, Noise, Codec, RolesLogic, NetworkHelpers],
            Service => &[Const, Binary, Subprotocol, Framing, Noise, Codec, RolesLogic, NetworkHelpers, Runtime],
            Role => {
                &[V1, Const, Binary, Subprotocol, Framing, Noise, Codec, RolesLogic, NetworkHelpers, Runtime, Service]
            }
            Umbrella => &[
                V1,
                Const,
                Binary,
                Subprotocol,
                Framing,
                Noise,
                Codec,
                RolesLogic,
                NetworkHelpers,
                Runtime,
                Service,
                Role,
            ],
            Leaf => &[
                Const,
                Derive,
                Engine,
                Binary,
                V1,
                Subprotocol,
                Buffer,
                Framing,
                Noise,
                Codec,
                RolesLogic,
                Ffi,
                NetworkHelpers,
                Runtime,
                Service,
                Role,
                Umbrella,
            ],
        }
    }

    /// What it may depend on beyond that when the dependency is optional: roles-logic re-exports the wire stack under `full`.
    fn may_use_optionally(self) -> &'static [Self] {
        if self == RolesLogic { &[Noise, Codec] } else { &[] }
    }

    /// The protocol libraries assume no async runtime.
    fn is_protocol(self) -> bool {
        matches!(
            self,
            Const | Derive | Engine | Binary | V1 | Subprotocol | Buffer | Framing | Noise | Codec | RolesLogic | Ffi
        )
    }
}

/// Crates that a protocol library must not need.
const RUNTIMES: &[&str] = &["tokio", "tokio-util", "async-std", "smol"];

/// Reports each dependency that points the wrong way.
pub(crate) fn check(members: &[Member]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut layers = BTreeMap::new();
    for member in members {
        match Layer::of(&member.folder) {
            Some(layer) => {
                layers.insert(member.name.as_str(), layer);
            }
            None => findings.push(format!("{}: give this folder a layer in the tidy check of xtask", member.folder)),
        }
    }
    for member in members {
        let Some(&own) = layers.get(member.name.as_str()) else { continue };
        for dependency in &member.dependencies {
            if let Some(why) = objection(own, dependency, &layers) {
                findings.push(format!("{}: must not depend on `{}`: {why}", member.folder, dependency.name));
            }
        }
    }
    findings
}

fn objection(own: Layer, dependency: &Dependency, layers: &BTreeMap<&str, Layer>) -> Option<String> {
    if dependency.from_registry {
        let runtime = !dependency.dev && own.is_protocol() && RUNTIMES.contains(&dependency.name.as_str());
        return runtime.then(|| "a protocol library assumes no async runtime".to_owned());
    }
    let other = *layers.get(dependency.name.as_str())?;
    if matches!(other, Leaf | Xtask) {
        return Some("nothing depends on tests, examples, experiments and xtask".to_owned());
    }
    let allowed = dependency.dev
        || own.may_use().contains(&other)
        || (dependency.optional && own.may_use_optionally().contains(&other));
    (!allowed).then(|| format!("the layer {own:?} does not use {other:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::packages::tests::{member, on};

    fn tree(from: &str, dependency: Dependency) -> Vec<String> {
        let mut members: Vec<Member> = [
            ("const", "protocols/v2/const-sv2"),
            ("binary", "protocols/v2/binary-sv2/binary-sv2"),
            ("framing", "protocols/v2/framing-sv2"),
            ("noise", "protocols/v2/noise-sv2"),
            ("codec", "protocols/v2/codec-sv2"),
            ("mining", "protocols/v2/subprotocols/mining"),
            ("logic", "protocols/v2/roles-logic-sv2"),
            ("network", "utils/network-helpers"),
            ("pool", "roles/pool"),
            ("device", "roles/test-utils/mining-device"),
            ("stratum", "roles/stratum"),
            ("integration", "test/integration"),
            ("xtask", "xtask"),
        ]
        .map(|(name, folder)| member(name, folder, vec![]))
        .into();
        let index = members.iter().position(|member| member.name == from).unwrap();
        members[index].dependencies.push(dependency);
        check(&members)
    }

    fn dev(name: &str) -> Dependency {
        Dependency { dev: true, ..on(name) }
    }

    fn optional(name: &str) -> Dependency {
        Dependency { optional: true, ..on(name) }
    }

    fn registry(name: &str) -> Dependency {
        Dependency { from_registry: true, ..on(name) }
    }

    #[test]
    fn the_way_down_is_free() {
        for (from, to) in [
            ("binary", "const"),
            ("mining", "binary"),
            ("logic", "mining"),
            ("codec", "noise"),
            ("codec", "framing"),
            ("network", "codec"),
            ("pool", "logic"),
            ("pool", "network"),
            ("stratum", "pool"),
            ("integration", "stratum"),
            ("integration", "pool"),
        ] {
            assert_eq!(tree(from, on(to)), Vec::<String>::new(), "{from} → {to}");
        }
    }

    #[test]
    fn the_way_up_and_sideways_is_not() {
        for (from, to) in [
            ("const", "binary"),
            ("binary", "mining"),
            ("noise", "framing"),
            ("noise", "codec"),
            ("framing", "noise"),
            ("logic", "codec"),
            ("logic", "noise"),
            ("mining", "logic"),
            ("network", "pool"),
            ("pool", "device"),
            ("device", "pool"),
            ("pool", "stratum"),
            ("stratum", "integration"),
            ("pool", "xtask"),
            ("xtask", "const"),
        ] {
            assert_eq!(tree(from, on(to)).len(), 1, "{from} → {to}");
        }
    }

    #[test]
    fn roles_logic_may_re_export_the_wire_stack() {
        assert!(tree("logic", optional("codec")).is_empty());
        assert_eq!(tree("logic", optional("network")).len(), 1);
        assert_eq!(tree("noise", optional("framing")).len(), 1);
    }

    #[test]
    fn tests_of_a_crate_may_look_up_but_not_at_tests() {
        assert!(tree("mining", dev("codec")).is_empty());
        assert_eq!(tree("mining", dev("integration")).len(), 1);
    }

    #[test]
    fn a_protocol_library_has_no_runtime() {
        assert_eq!(tree("logic", registry("tokio")).len(), 1);
        assert!(tree("logic", Dependency { dev: true, ..registry("tokio") }).is_empty());
        assert!(tree("network", registry("tokio")).is_empty());
    }

    #[test]
    fn a_folder_without_a_layer_is_reported() {
        assert_eq!(check(&[member("new", "utils/new", vec![])]).len(), 1);
    }
}
