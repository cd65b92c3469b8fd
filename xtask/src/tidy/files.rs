//! What no tracked file may say, and how long one may be.

use std::{fs, path::Path, process::Command};

use crate::command::{Result, at, output};

/// A source file over this many lines is to be split: nobody reads it top-down any more. Those whose first line says
/// "Generated from" are free.
const MAX_LINES: usize = 900;

/// Endings of files that [`MAX_LINES`] holds for.
const SOURCES: &[&str] = &["rs", "c", "h", "cpp", "hpp", "ts", "js", "css", "py", "sh"];

/// Folders of somebody's machine. Written in parts, so that this file passes its own check.
const MACHINE_PATHS: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

/// Hosts of package registries: a lock file that names one keeps others from using a mirror.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("files.", "pythonhosted.org"),
    concat!("proxy.", "golang.org"),
];

/// Checks every file that git tracks.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let list = output(Command::new("git").current_dir(root).args(["-c", "safe.directory=*", "ls-files", "-z"]))?;
    let mut findings = Vec::new();
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let path = root.join(name);
        // A link, or a file that is deleted but not yet committed so.
        if !path.symlink_metadata().is_ok_and(|data| data.is_file()) {
            continue;
        }
        let bytes = at(&path, fs::read(&path))?;
        if bytes.contains(&0) {
            continue;
        }
        findings.extend(check_text(name, &String::from_utf8_lossy(&bytes)));
    }
    Ok(findings)
}

fn check_text(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| names_path(line, path)) {
            findings.push(format!("{name}:{number}: names a folder of one machine (`{path}`)"));
        }
        if let Some(host) = REGISTRY_HOSTS.iter().find(|host| line.contains(**host)) {
            findings.push(format!("{name}:{number}: names a registry host (`{host}`)"));
        }
    }
    let lines = text.lines().count();
    let generated = text.lines().next().is_some_and(|first| first.contains("Generated from"));
    let is_source = !generated
        && Path::new(name).extension().and_then(|end| end.to_str()).is_some_and(|end| SOURCES.contains(&end));
    if is_source && lines > MAX_LINES {
        findings.push(format!("{name}: {lines} lines; split it, the limit is {MAX_LINES}"));
    }
    findings
}

/// Whether `path` stands in `line` as the start of a path with something after it, not in the middle of a relative one.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, found)| {
        let before = line[..at].chars().next_back();
        let after = line[at + found.len()..].chars().next();
        let starts =
            before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}' | '*' | '>')));
        starts && after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        check_text("a.md", text).len()
    }

    #[test]
    fn folders_of_a_machine_are_found() {
        for start in MACHINE_PATHS {
            assert_eq!(findings(&format!("see {start}jane/notes")), 1, "{start}");
            assert_eq!(findings(&format!("{start}x")), 1, "{start}");
            assert_eq!(findings(&format!("\"{start}.cargo\"")), 1, "{start}");
            assert_eq!(findings(&format!("file://{start}x")), 1, "{start}");
        }
    }

    #[test]
    fn relative_and_made_up_paths_are_fine() {
        for start in MACHINE_PATHS {
            assert_eq!(findings(&format!("docs{start}x")), 0, "{start}");
            assert_eq!(findings(&format!("..{start}x")), 0, "{start}");
            assert_eq!(findings(&format!("{start} and {start}<name>")), 0, "{start}");
        }
        assert_eq!(findings("/etc/passwd /var/lib/bitcoin"), 0);
    }

    #[test]
    fn registry_hosts_are_found() {
        for host in REGISTRY_HOSTS {
            assert_eq!(findings(&format!("\"resolved\": \"https://{host}/x\"")), 1, "{host}");
        }
        assert_eq!(findings(concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"")), 0);
    }

    #[test]
    fn only_sources_have_a_length() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert_eq!(check_text("a.rs", &long).len(), 1);
        assert_eq!(check_text("a.h", &format!("// Generated from b.rs\n{long}")).len(), 0);
        assert_eq!(check_text("Cargo.lock", &long).len(), 0);
        assert_eq!(check_text("a.rs", &"x\n".repeat(MAX_LINES)).len(), 0);
    }
}
