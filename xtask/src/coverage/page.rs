//! One page of requirements.

/// A page, read.
#[derive(Debug)]
pub(super) struct Page {
    /// Below the workspace.
    pub(super) path: String,
    /// Of its first line.
    pub(super) title: String,
    pub(super) requirements: Vec<Requirement>,
    /// Lines that have another form than expected.
    pub(super) findings: Vec<String>,
}

/// One requirement and what keeps it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Requirement {
    /// Where its quotation begins.
    pub(super) line: usize,
    /// In the specification's words.
    pub(super) quotation: String,
    /// `path::item`.
    pub(super) code: Vec<String>,
    /// `path::test`.
    pub(super) tests: Vec<String>,
    /// Each begins with what is missing and a colon.
    pub(super) exceptions: Vec<String>,
}

/// How far a requirement is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Kept,
    InPart,
    Excepted,
}

impl Requirement {
    pub(super) fn state(&self) -> State {
        match (self.code.is_empty(), self.exceptions.is_empty()) {
            (true, _) => State::Excepted,
            (false, false) => State::InPart,
            (false, true) => State::Kept,
        }
    }

    /// Takes in an item of the list below the quotation.
    fn take(&mut self, item: &str) -> Result<(), String> {
        let (kind, text) = item.split_once(": ").ok_or("expected `- code:`, `- test:`, `- note:` or `- exception:`")?;
        match kind {
            "code" => self.code.extend(names(text)?),
            "test" => self.tests.extend(names(text)?),
            "note" => {}
            "exception" if text.split_once(": ").is_some_and(|(reason, _)| reason.len() <= 40) => {
                self.exceptions.push(text.into());
            }
            "exception" => return Err("expected `- exception: what is missing: why`".into()),
            other => return Err(format!("an item of an unknown kind, `{other}`")),
        }
        Ok(())
    }
}

/// The names in backticks; one that begins with `::` is in the file of the one before.
fn names(text: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split('`').skip(1).step_by(2) {
        let whole = match name.strip_prefix("::") {
            Some(item) => {
                let before = names.last().and_then(|name| name.split_once("::"));
                let (path, _) = before.ok_or_else(|| format!("`{name}` has no file before it"))?;
                format!("{path}::{item}")
            }
            None => name.to_owned(),
        };
        if !whole.contains("::") {
            return Err(format!("expected `path::item`, got `{name}`"));
        }
        names.push(whole);
    }
    if names.is_empty() { Err("expected names in backticks".into()) } else { Ok(names) }
}

impl Page {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let title = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default().to_owned();
        let mut page = Self { path: path.into(), title, requirements: Vec::new(), findings: Vec::new() };
        let (mut quoting, mut item): (bool, Option<(usize, String)>) = (false, None);
        for (number, line) in (1..).zip(text.lines()).chain([(0, "")]) {
            if let (Some((_, item)), Some(more)) = (&mut item, line.strip_prefix("  ")) {
                item.push(' ');
                item.push_str(more.trim());
                continue;
            }
            if let Some((number, item)) = item.take() {
                page.take(number, &item);
            }
            if let Some(words) = line.strip_prefix("> ") {
                if !quoting {
                    page.requirements.push(Requirement { line: number, ..Requirement::default() });
                }
                if let Some(requirement) = page.requirements.last_mut() {
                    let space = if requirement.quotation.is_empty() { "" } else { " " };
                    requirement.quotation.push_str(space);
                    requirement.quotation.push_str(words.trim());
                }
            } else if let Some(words) = line.strip_prefix("- ") {
                item = Some((number, words.to_owned()));
            }
            quoting = line.starts_with('>');
        }
        page
    }

    fn take(&mut self, line: usize, item: &str) {
        let result = match self.requirements.last_mut() {
            Some(requirement) => requirement.take(item),
            None => Err("an item before the first quotation".into()),
        };
        if let Err(why) = result {
            self.findings.push(format!("{}:{line}: {why}", self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\n## 1 Section\n\n> A server MUST\n> answer.\n\n- code: `a.rs::f`, `::T::g`\n- test: `b.rs::t`,\n  \
        `::u`\n- note: by design\n\n> Proxies SHOULD run.\n\n- exception: proxy: not built yet\n";

    #[test]
    fn a_page_is_read() {
        let page = Page::parse("p.md", PAGE);
        assert_eq!((page.title.as_str(), page.findings.len()), ("Title", 0));
        let [kept, excepted] = page.requirements.as_slice() else { panic!("{:?}", page.requirements) };
        assert_eq!((kept.line, kept.quotation.as_str()), (5, "A server MUST answer."));
        assert_eq!(
            (kept.code.join(" "), kept.tests.join(" ")),
            ("a.rs::f a.rs::T::g".into(), "b.rs::t b.rs::u".into())
        );
        assert_eq!((kept.state(), excepted.state()), (State::Kept, State::Excepted));
        assert_eq!(excepted.exceptions, ["proxy: not built yet"]);
        let both = Page::parse("p.md", &format!("{PAGE}- code: `a.rs::f`\n"));
        assert_eq!(both.requirements[1].state(), State::InPart);
    }

    #[test]
    fn lines_of_another_form_are_found() {
        for line in [
            "- code: a.rs::f",
            "- test: `::t`",
            "- code: `f`",
            "- exception: because",
            "- tests: `a.rs::f`",
            "- nothing",
        ] {
            let page = Page::parse("p.md", &format!("> It MUST.\n\n{line}\n"));
            assert_eq!(page.findings.len(), 1, "{line}");
        }
        assert_eq!(Page::parse("p.md", "- code: `a.rs::f`\n").findings.len(), 1);
    }
}
