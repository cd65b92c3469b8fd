//! The pages under `docs/spec/coverage`: each requirement of the specification, the code that keeps it and the test that watches it.
//!
//! A page is Markdown. A `##` heading names the section, a quotation (`>`) is one requirement in the specification's words, and
//! the list below it has `code:`, `test:`, `note:` and `exception:` items. Code and tests are named `path::item` in backticks;
//! `::item` alone is in the file named before it. A requirement has code and a test, or an exception with its reason, or, when it is kept
//! in part, all three.

mod page;
mod source;
mod specification;

use std::{collections::BTreeMap, fs, path::Path};

use crate::command::{Failure, Result, at};
use page::{Page, Requirement, State};

/// Where the pages lie.
const FOLDER: &str = "docs/spec/coverage";
/// The page with the counts.
const SUMMARY: &str = "README.md";

/// What no page may get wrong; for `tidy`.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let pages = read(root)?;
    let mut findings = Vec::new();
    let mut sources = source::Sources::new(root);
    for page in &pages {
        findings.extend(page.findings.iter().cloned());
        for requirement in &page.requirements {
            let problems = check_requirement(requirement, &mut sources);
            findings.extend(problems.into_iter().map(|what| format!("{}:{}: {what}", page.path, requirement.line)));
        }
    }
    let summary = root.join(FOLDER).join(SUMMARY);
    let text = at(&summary, fs::read_to_string(&summary))?;
    let missing = tables(&pages).into_iter().filter(|row| !text.lines().any(|line| line == row));
    findings
        .extend(missing.map(|row| format!("{FOLDER}/{SUMMARY}: the counts have changed, expected the line `{row}`")));
    Ok(findings)
}

/// `coverage [FOLDER]`: prints the counts, and with a folder of the specification whether every requirement there is listed here.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let pages = read(root)?;
    tables(&pages).iter().for_each(|row| println!("{row}"));
    match args {
        [] => Ok(()),
        [folder] => {
            let findings = specification::compare(Path::new(folder), &pages)?;
            findings.iter().for_each(|finding| println!("{finding}"));
            match findings.len() {
                0 => Ok(()),
                count => Err(Failure::Other(format!("{count} difference(s) to the specification, listed above"))),
            }
        }
        _ => Err(Failure::Usage("`coverage` takes at most the folder of the specification".into())),
    }
}

fn read(root: &Path) -> Result<Vec<Page>> {
    let folder = root.join(FOLDER);
    let mut names = Vec::new();
    for entry in at(&folder, fs::read_dir(&folder))? {
        let name = at(&folder, entry)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != SUMMARY {
            names.push(name);
        }
    }
    names.sort();
    let read = |name: String| {
        let text = at(&folder.join(&name), fs::read_to_string(folder.join(&name)))?;
        Ok(Page::parse(&format!("{FOLDER}/{name}"), &text))
    };
    names.into_iter().map(read).collect()
}

fn check_requirement(requirement: &Requirement, sources: &mut source::Sources<'_>) -> Vec<String> {
    let Requirement { code, tests, exceptions, .. } = requirement;
    let mut problems = Vec::new();
    match (code.is_empty(), tests.is_empty(), exceptions.is_empty()) {
        (true, true, false) | (false, false, _) => {}
        (true, true, true) => problems.push("a requirement with neither code and test nor an exception".into()),
        (false, true, _) => problems.push("a requirement with code and without a test".into()),
        (true, false, _) => problems.push("a requirement with a test and without code".into()),
    }
    problems.extend(code.iter().filter_map(|item| sources.find_item(item).err()));
    problems.extend(tests.iter().filter_map(|test| sources.find_test(test).err()));
    problems
}

/// The rows of the summary's two tables.
fn tables(pages: &[Page]) -> Vec<String> {
    let mut rows =
        vec!["| Page | Requirements | Kept | Kept in part | Excepted |".to_owned(), "|---|---|---|---|---|".into()];
    let count =
        |page: &Page, state| page.requirements.iter().filter(|requirement| requirement.state() == state).count();
    let mut all = [0; 4];
    for page in pages {
        let [kept, part, excepted] = [State::Kept, State::InPart, State::Excepted].map(|state| count(page, state));
        let counts = [page.requirements.len(), kept, part, excepted];
        all.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        let name = page.path.rsplit('/').next().unwrap_or_default();
        rows.push(format!("| [{}]({name}) | {} | {kept} | {part} | {excepted} |", page.title, counts[0]));
    }
    rows.push(format!("| All | {} | {} | {} | {} |", all[0], all[1], all[2], all[3]));
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for requirement in pages.iter().flat_map(|page| &page.requirements) {
        for exception in &requirement.exceptions {
            *reasons.entry(exception.split(':').next().unwrap_or_default()).or_default() += 1;
        }
    }
    rows.extend(["| What is missing | Requirements |".to_owned(), "|---|---|".into()]);
    rows.extend(reasons.iter().map(|(reason, count)| format!("| {reason} | {count} |")));
    rows
}
