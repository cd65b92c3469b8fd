//! Mutation testing of the mining core: changes that no test notices.
//!
//! `cargo mutants` changes one thing at a time and runs the crate's own tests. A change that survives is either a gap in the
//! tests or makes no difference; the latter are listed in `docs/mutants.md` with the reason, and every other one is an error.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::command::{Failure, Result, at, cargo, check, heading};

const PACKAGE: &str = "stratum-roles-logic-sv2";
const SOURCE: &str = "protocols/v2/roles-logic-sv2/src";
/// Where equivalent mutants are listed.
const LIST: &str = "docs/mutants.md";

/// What has to notice a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tests {
    /// Unit tests, which take a second.
    Unit,
    /// The crate's integration tests, too.
    All,
}

/// Files, and the tests that cover them. Each is a slice that can be run on its own.
const FILES: &[(&str, Tests)] = &[
    ("share.rs", Tests::All),
    ("share/seen.rs", Tests::Unit),
    ("extranonce.rs", Tests::Unit),
    ("extranonce/space.rs", Tests::Unit),
    ("target.rs", Tests::Unit),
    ("sha.rs", Tests::Unit),
    ("header.rs", Tests::Unit),
    ("tip.rs", Tests::All),
    ("coinbase.rs", Tests::All),
    ("job.rs", Tests::All),
    ("job/factory.rs", Tests::All),
    ("job/payout.rs", Tests::Unit),
    ("channel/server.rs", Tests::All),
    ("channel/group.rs", Tests::All),
    ("custom.rs", Tests::All),
    ("accounting.rs", Tests::Unit),
    ("accounting/stats.rs", Tests::Unit),
    ("vardiff.rs", Tests::Unit),
    ("vardiff/history.rs", Tests::Unit),
    ("vardiff/policy.rs", Tests::Unit),
];

/// Seconds after which the tests count as having noticed: a change that makes a loop endless. A hundred times what they take, so
/// that a busy machine does not notice anything.
const TEST_SECONDS: (&str, &str) = ("20", "60");
const BUILD_SECONDS: &str = "180";

/// What came of a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    noticed: usize,
    unviable: usize,
    /// Survivors that are in the list.
    equivalent: usize,
    /// Survivors that are not.
    missed: Vec<String>,
}

/// `cargo xtask mutants [FILE..]`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let files = parse(args)?;
    provide(root)?;
    let list = root.join(LIST);
    let list = at(&list, fs::read_to_string(&list))?;
    let mut rows = Vec::new();
    for tests in [Tests::Unit, Tests::All] {
        let files: Vec<_> = files.iter().filter(|(_, by)| *by == tests).map(|(file, _)| *file).collect();
        if !files.is_empty() {
            rows.extend(slice(root, &files, tests, &list)?);
        }
    }
    println!("\n{:<24} {:>8} {:>10} {:>9} {:>7}", "file", "noticed", "equivalent", "unviable", "missed");
    for (file, Row { noticed, unviable, equivalent, missed }) in &rows {
        println!("{file:<24} {noticed:>8} {equivalent:>10} {unviable:>9} {:>7}", missed.len());
    }
    let missed: Vec<_> = rows.iter().flat_map(|(_, row)| &row.missed).collect();
    for mutant in &missed {
        println!("missed: {mutant}");
    }
    match missed.len() {
        0 => Ok(()),
        count => Err(Failure::Other(format!("{count} change(s) that no test notices, and {LIST} does not list"))),
    }
}

fn parse(args: &[String]) -> Result<Vec<(&'static str, Tests)>> {
    if args.is_empty() {
        return Ok(FILES.to_vec());
    }
    let find = |arg: &String| {
        FILES.iter().find(|(file, _)| file == arg).copied().ok_or_else(|| {
            let names: Vec<_> = FILES.iter().map(|(file, _)| *file).collect();
            Failure::Usage(format!("`mutants` takes files of {SOURCE} ({}), got `{arg}`", names.join(", ")))
        })
    };
    args.iter().map(find).collect()
}

fn provide(root: &Path) -> Result<()> {
    let found = cargo(root).args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    heading("installing cargo-mutants");
    check(cargo(root).args(["install", "cargo-mutants", "--locked"]))
}

/// Files that the same tests cover, in one go: what is around the changes is compiled once.
fn slice(root: &Path, files: &[&'static str], tests: Tests, list: &str) -> Result<Vec<(&'static str, Row)>> {
    heading(&files.join(" "));
    let folder = root.join("target/mutants");
    let output = folder.join(format!("{tests:?}").to_lowercase());
    at(&output, fs::create_dir_all(&output))?;
    let mut command = cargo(root);
    command.args(["mutants", "--package", PACKAGE, "--jobs", "1", "--no-shuffle", "--colors", "never"]);
    let (unit, all) = TEST_SECONDS;
    command.args(["--timeout", if tests == Tests::Unit { unit } else { all }, "--build-timeout", BUILD_SECONDS]);
    for file in files {
        command.arg("--file").arg(format!("{SOURCE}/{file}"));
    }
    command.arg("--output").arg(&output).args(["--", "--lib"]);
    if tests == Tests::All {
        command.arg("--tests");
    }
    // Copies of the tree share what they depend on.
    command.env("CARGO_TARGET_DIR", folder.join("build"));
    for profile in ["DEV", "TEST"] {
        command.env(format!("CARGO_PROFILE_{profile}_DEBUG"), "0");
        // Compiles as fast as no optimisation, and the tests take a tenth of the time.
        command.env(format!("CARGO_PROFILE_{profile}_OPT_LEVEL"), "1");
    }
    // 2 is survivors, 3 is tests that took too long: both are results.
    let status = status(&mut command)?;
    if !matches!(status, Some(0 | 2 | 3)) {
        return Err(Failure::Other(format!("`cargo mutants` could not test {}", files.join(" "))));
    }
    let lines = |name: &str| {
        let path = output.join("mutants.out").join(name);
        at(&path, fs::read_to_string(&path)).map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let (mut noticed, unviable, missed) = (lines("caught.txt")?, lines("unviable.txt")?, lines("missed.txt")?);
    noticed.extend(lines("timeout.txt")?);
    let row = |file: &'static str| {
        let of = |lines: &[String]| of_file(file, lines);
        let (equivalent, missed) = judge(file, &of(&missed), list);
        (file, Row { noticed: of(&noticed).len(), unviable: of(&unviable).len(), equivalent, missed })
    };
    Ok(files.iter().copied().map(row).collect())
}

/// The mutants of one file: `PATH:LINE:COLUMN: WHAT`.
fn of_file(file: &str, mutants: &[String]) -> Vec<String> {
    let prefix = format!("{SOURCE}/{file}:");
    mutants.iter().filter(|mutant| mutant.starts_with(&prefix)).cloned().collect()
}

fn status(command: &mut Command) -> Result<Option<i32>> {
    let status = command.status().map_err(|error| Failure::Other(format!("can not start cargo: {error}")))?;
    Ok(status.code())
}

/// How many survivors the list explains, and which it does not. A row of the list explains one survivor, wherever its line is now.
fn judge(file: &str, survivors: &[String], list: &str) -> (usize, Vec<String>) {
    let prefix = format!("| `{file}` | `");
    let mut explained: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("` |")).map(|(what, _)| what).collect();
    let mut missed = Vec::new();
    for survivor in survivors {
        // `PATH:LINE:COLUMN: WHAT`
        let what = survivor.splitn(4, ':').nth(3).unwrap_or(survivor).trim();
        match explained.iter().position(|listed| *listed == what) {
            Some(index) => drop(explained.swap_remove(index)),
            None => missed.push(survivor.clone()),
        }
    }
    (survivors.len() - missed.len(), missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_list_explains_one_survivor() {
        let list = "| File | Mutant | Why |\n| `a.rs` | `replace < with <= in f` | equal |\n| `b.rs` | `replace + with - in g` | zero |\n";
        let survivors = ["src/a.rs:1:2: replace < with <= in f", "src/a.rs:9:9: replace < with <= in f"];
        let survivors = survivors.map(str::to_owned);
        assert_eq!(judge("a.rs", &survivors, list), (1, vec![survivors[1].clone()]));
        assert_eq!(judge("b.rs", &survivors, list), (0, survivors.to_vec()));
    }

    #[test]
    fn mutants_are_told_apart_by_their_files() {
        let mutants = ["job.rs:1:1: replace f", "job/payout.rs:2:2: replace g"].map(|line| format!("{SOURCE}/{line}"));
        assert_eq!(of_file("job.rs", &mutants), [mutants[0].clone()]);
        assert_eq!(of_file("job/payout.rs", &mutants), [mutants[1].clone()]);
    }

    #[test]
    fn files_are_those_of_the_list() {
        assert_eq!(parse(&[]).unwrap().len(), FILES.len());
        assert_eq!(parse(&["share.rs".into()]).unwrap(), [("share.rs", Tests::All)]);
        assert!(matches!(parse(&["shares.rs".into()]), Err(Failure::Usage(_))));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(SOURCE);
        assert!(FILES.iter().all(|(file, _)| source.join(file).is_file()));
    }
}
