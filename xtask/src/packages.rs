//! What has to come from the system's package manager.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::command::{Failure, Result, at, check, which};

/// Something that the system has to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// Name of the package on Debian and Ubuntu.
    package: &'static str,
    /// How to tell that it is there.
    found_by: FoundBy,
}

#[derive(Clone, Copy, Debug)]
enum FoundBy {
    /// A program in PATH.
    Program(&'static str),
    /// A header below an include folder.
    Header(&'static str),
}

/// Compilers for the cryptography, and the schema compiler for Bitcoin Core's interface.
pub(crate) const FOR_THE_BUILD: &[Need] = &[
    Need { package: "gcc", found_by: FoundBy::Program("gcc") },
    Need { package: "libc6-dev", found_by: FoundBy::Header("stdlib.h") },
    Need { package: "capnproto", found_by: FoundBy::Program("capnp") },
    Need { package: "libcapnp-dev", found_by: FoundBy::Header("capnp/c++.capnp") },
];

/// What the C library's tests and examples need beyond [`FOR_THE_BUILD`].
pub(crate) const FOR_C: &[Need] = &[
    Need { package: "g++", found_by: FoundBy::Program("g++") },
    Need { package: "cmake", found_by: FoundBy::Program("cmake") },
    Need { package: "make", found_by: FoundBy::Program("make") },
    Need { package: "pkg-config", found_by: FoundBy::Program("pkg-config") },
    Need { package: "valgrind", found_by: FoundBy::Program("valgrind") },
];

/// What builds and tests the dashboard.
pub(crate) const FOR_THE_DASHBOARD: &[Need] = &[
    Need { package: "nodejs", found_by: FoundBy::Program("node") },
    Need { package: "npm", found_by: FoundBy::Program("npm") },
    Need { package: "chromium", found_by: FoundBy::Program("chromium") },
];

/// What tests of the programs need: a service manager's sockets, where there is such a thing.
pub(crate) fn for_the_tests() -> &'static [Need] {
    const ON_LINUX: &[Need] = &[Need { package: "systemd", found_by: FoundBy::Program("systemd-socket-activate") }];
    if cfg!(target_os = "linux") { ON_LINUX } else { &[] }
}

/// What Bitcoin Core's own build needs beyond [`FOR_THE_BUILD`].
pub(crate) const FOR_BITCOIN_CORE: &[Need] = &[
    Need { package: "g++", found_by: FoundBy::Program("g++") },
    Need { package: "cmake", found_by: FoundBy::Program("cmake") },
    Need { package: "ninja-build", found_by: FoundBy::Program("ninja") },
    Need { package: "pkg-config", found_by: FoundBy::Program("pkg-config") },
    Need { package: "libboost-dev", found_by: FoundBy::Header("boost/version.hpp") },
    Need { package: "libevent-dev", found_by: FoundBy::Header("event2/event.h") },
];

/// What `sanitize` needs beyond [`FOR_THE_BUILD`].
pub(crate) const FOR_SANITIZERS: &[Need] = &[Need { package: "valgrind", found_by: FoundBy::Program("valgrind") }];

/// Where headers lie on the systems that we know.
const INCLUDE_FOLDERS: &[&str] = &["/usr/include", "/usr/local/include", "/opt/homebrew/include"];

/// Installs what is missing, or says what to install where we do not know how.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = needs.iter().filter(|need| !need.is_met()).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing: {}", missing.join(" "));
    let Some(apt) = apt_get() else {
        return Err(Failure::Other(format!(
            "install these with your package manager and start again (names as on Debian): {}",
            missing.join(" ")
        )));
    };
    check(apt.command().arg("update"))?;
    check(apt.command().args(["install", "--yes", "--no-install-recommends"]).args(&missing))?;
    let still: Vec<&str> = needs.iter().filter(|need| !need.is_met()).map(|need| need.package).collect();
    if still.is_empty() {
        Ok(())
    } else {
        Err(Failure::Other(format!("apt-get succeeded, but these are not found: {}", still.join(" "))))
    }
}

/// Unpacks a package of the system's into a folder, without installing it.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<()> {
    let Some(apt) = apt_get() else {
        return Err(Failure::Other(format!("install what Debian's package {package} has, and start again")));
    };
    check(apt.command().arg("update"))?;
    // Needs no rights.
    check(Command::new("apt-get").args(["download", package]).current_dir(folder))?;
    for entry in at(folder, fs::read_dir(folder))?.flatten() {
        let archive = entry.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            check(Command::new("dpkg-deb").arg("--extract").args([&archive, folder]))?;
        }
    }
    Ok(())
}

impl Need {
    fn is_met(&self) -> bool {
        match self.found_by {
            FoundBy::Program(name) => which(name).is_some(),
            FoundBy::Header(name) => has_header(name) || dpkg_has(self.package),
        }
    }
}

fn has_header(name: &str) -> bool {
    INCLUDE_FOLDERS.iter().any(|folder| Path::new(folder).join(name).is_file())
}

/// Debian puts some headers below a folder of the architecture: ask the package manager.
fn dpkg_has(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// How to become root for the package manager.
#[derive(Clone, Copy, Debug)]
enum Apt {
    AsRoot,
    Sudo,
}

impl Apt {
    fn command(self) -> Command {
        let mut command = match self {
            Self::AsRoot => Command::new("apt-get"),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
                sudo
            }
        };
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

fn apt_get() -> Option<Apt> {
    which("apt-get")?;
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(Apt::AsRoot);
    }
    which("sudo").map(|_| Apt::Sudo)
}
