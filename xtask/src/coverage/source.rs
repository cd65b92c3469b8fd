//! Finds what a page names in the sources, by the look of their lines.

use std::{collections::BTreeMap, fs, path::Path};

/// What introduces an item.
const KEYWORDS: &[&str] = &["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "union", "macro_rules!"];

/// What may stand before it.
const MODIFIERS: &[&str] = &["pub", "const", "async", "unsafe", "extern", "default", "\"C\""];

/// Source files, read once.
pub(super) struct Sources<'a> {
    root: &'a Path,
    texts: BTreeMap<String, Option<String>>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self { root, texts: BTreeMap::new() }
    }

    /// Succeeds when the file has the item; of `path::Type::method` both must be there.
    pub(super) fn find_item(&mut self, name: &str) -> Result<(), String> {
        let (path, item) = self.split(name)?;
        match item.split("::").find(|part| !has_item(path, part)) {
            Some(part) => Err(format!("`{name}`: the file has no item `{part}`")),
            None => Ok(()),
        }
    }

    /// Succeeds when the file has the test.
    pub(super) fn find_test(&mut self, name: &str) -> Result<(), String> {
        let (text, test) = self.split(name)?;
        if has_test(text, test) { Ok(()) } else { Err(format!("`{name}`: the file has no such test")) }
    }

    /// The text of the file, and what is to be found there.
    fn split<'b>(&mut self, name: &'b str) -> Result<(&str, &'b str), String> {
        let (path, item) = name.split_once("::").ok_or_else(|| format!("`{name}` names no item"))?;
        let read = || fs::read_to_string(self.root.join(path)).ok();
        let text = self.texts.entry(path.to_owned()).or_insert_with(read);
        text.as_deref().map(|text| (text, item)).ok_or_else(|| format!("`{name}`: there is no such file"))
    }
}

fn has_item(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace().peekable();
        while let Some(word) = words.next() {
            if word == "impl" || word.starts_with("impl<") {
                return words_of(line).any(|word| word == name);
            }
            if KEYWORDS.contains(&word) && words.peek().and_then(|next| words_of(next).next()) == Some(name) {
                return true;
            }
            if !is_modifier(word) && !KEYWORDS.contains(&word) {
                return false;
            }
        }
        false
    })
}

fn is_modifier(word: &str) -> bool {
    MODIFIERS.contains(&word) || word.starts_with("pub(")
}

/// Identifiers of a line.
fn words_of(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// A function with an attribute above it that makes it a test.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_function = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| is_modifier(word));
        words.next() == Some("fn") && words.next().and_then(|rest| words_of(rest).next()) == Some(name)
    };
    let is_above = |line: &&&str| line.starts_with("#[") || line.starts_with("//");
    let is_test = |line: &&str| line.starts_with("#[test]") || (line.starts_with("#[") && line.contains("::test"));
    (0..lines.len())
        .filter(|&at| is_function(lines[at]))
        .any(|at| lines[..at].iter().rev().take_while(is_above).any(is_test))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "pub const LIMIT: usize = 1;\nimpl<T: Copy> Codec for Thing<T> {\n    pub(crate) const fn open(&self) {}\n}\n\
        pub struct Thing<T>(T);\nmacro_rules! make { () => {} }\n// fn gone() {}\n/// Doc.\n#[test]\n#[ignore]\nfn works() {}\n\
        #[tokio::test(flavor = \"multi_thread\")]\nasync fn waits() {}\n\nfn helper() {}\n";

    #[test]
    fn items_are_found_by_their_definitions() {
        for name in ["LIMIT", "Thing", "open", "Codec", "make", "helper"] {
            assert!(has_item(TEXT, name), "{name}");
        }
        for name in ["usize", "gone", "ope", "self", "LIMI"] {
            assert!(!has_item(TEXT, name), "{name}");
        }
    }

    #[test]
    fn a_test_has_its_attribute() {
        assert!(has_test(TEXT, "works") && has_test(TEXT, "waits"));
        assert!(!has_test(TEXT, "helper") && !has_test(TEXT, "gone") && !has_test(TEXT, "open"));
    }

    #[test]
    fn what_is_gone_is_told() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Sources::new(root);
        assert_eq!(sources.find_item("src/coverage/source.rs::Sources::find_test"), Ok(()));
        assert!(sources.find_item("src/coverage/source.rs::Sources::lost").is_err());
        assert!(sources.find_item("src/no.rs::Sources").is_err());
        assert_eq!(sources.find_test("src/coverage/source.rs::what_is_gone_is_told"), Ok(()));
        assert!(sources.find_test("src/coverage/source.rs::find_test").is_err());
    }
}
