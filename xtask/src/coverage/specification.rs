//! Compares the pages with a copy of the specification: whether each sentence that demands something is quoted, and each quotation is there.

use std::{fs, path::Path};

use super::page::{Page, Requirement};
use crate::command::{Failure, Result, at};

/// Words that make a sentence a requirement. Lower-case ones that demand something are listed by hand, but for "must".
const DEMANDS: &[&str] = &["MUST", "SHALL", "SHOULD", "REQUIRED", "must"];

/// What is different, one line each.
pub(super) fn compare(folder: &Path, pages: &[Page]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for page in pages {
        let stem = Path::new(&page.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let text = read(folder, stem)?;
        let quotation =
            |requirement: &Requirement| joined(&plain(&requirement.quotation)).trim_end_matches('.').to_owned();
        let quotations: Vec<String> = page.requirements.iter().map(quotation).collect();
        let is_quoted = |sentence: &String| quotations.iter().any(|q| q.contains(sentence) || sentence.contains(q));
        let missing = sentences(&text).into_iter().filter(|sentence| !is_quoted(sentence));
        findings.extend(missing.map(|sentence| format!("{}: not listed: {sentence}", page.path)));
        let whole = plain(&text);
        for requirement in &page.requirements {
            // What is left out of a quotation stands as three dots.
            let lost = plain(&requirement.quotation).split("…").map(str::trim).any(|part| !whole.contains(part));
            if lost {
                findings.push(format!("{}:{}: the specification has no such words", page.path, requirement.line));
            }
        }
    }
    Ok(findings)
}

/// The file whose name begins with the page's, a chapter or an extension.
fn read(folder: &Path, stem: &str) -> Result<String> {
    for folder in [folder.to_owned(), folder.join("extensions")] {
        for entry in at(&folder, fs::read_dir(&folder))? {
            let path = at(&folder, entry)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{stem}-"))) {
                return at(&path, fs::read_to_string(&path));
            }
        }
    }
    Err(Failure::Other(format!("{} has no file of chapter or extension {stem}", folder.display())))
}

/// Sentences that demand something.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    for cell in text.lines().flat_map(|line| line.split('|')) {
        let cell = joined(&plain(cell));
        for sentence in cell.split_inclusive(". ") {
            let demands = sentence.split(|c: char| !c.is_alphanumeric()).any(|word| DEMANDS.contains(&word));
            // How the documents say that they use these words as RFC 2119 does.
            if demands && !sentence.contains("RFC2119") {
                sentences.push(sentence.trim().trim_end_matches('.').to_owned());
            }
        }
    }
    sentences
}

/// With abbreviations that do not end a sentence.
fn joined(text: &str) -> String {
    text.replace("e.g. ", "e.g.").replace("i.e. ", "i.e.")
}

/// Without marks, links and line breaks.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let link = after.split_once("](").and_then(|(name, target)| Some((name, target.split_once(')')?.1)));
        match link.filter(|(name, _)| !name.contains('\n') && !name.contains('[')) {
            Some((name, behind)) => {
                out.push_str(name);
                rest = behind;
            }
            None => {
                out.push('[');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    let out: String = out.chars().filter(|c| !matches!(c, '*' | '`' | '\\')).collect();
    let lines = out.lines().map(|line| line.trim_start_matches(['-', '#', '>', ' ']));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_that_demand_are_found() {
        let text = "A `server` MUST **answer** the [client](./a.md#b). It may wait, e.g. for a block.\n- It SHOULD not.\n\
            | field | U8 | This must be 2. Else not. |\nNobody has to.\n";
        assert_eq!(sentences(text), ["A server MUST answer the client", "It SHOULD not", "This must be 2"]);
    }

    #[test]
    fn marks_and_links_are_taken_off() {
        assert_eq!(plain("see [§ 3](x.md)\n and `a[1]`, **bold**"), "see § 3 and a[1], bold");
    }
}
