//! The dashboard as it is served: the files of `dist`, which are built from the TypeScript beside them and committed, so that a
//! build of the programs needs no Node.
//!
//! A file may have compressed variants beside it, with `.br` or `.gz` added to its name. Names below `assets/` contain a hash of what
//! is in them: they never change.
#![warn(missing_docs)]

use std::borrow::Cow;

#[derive(rust_embed::RustEmbed)]
#[folder = "dist"]
struct Dist;

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// What is in it.
    pub bytes: Cow<'static, [u8]>,
    /// SHA-256 of that.
    pub hash: [u8; 32],
}

/// The file of this name, relative to `dist`, without a slash before it.
pub fn get(name: &str) -> Option<File> {
    let file = Dist::get(name)?;
    Some(File { bytes: file.data, hash: file.metadata.sha256_hash() })
}

/// The names of all files.
pub fn names() -> impl Iterator<Item = Cow<'static, str>> {
    Dist::iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_to_begin_with() {
        let index = get("index.html").unwrap();
        assert!(std::str::from_utf8(&index.bytes).unwrap().contains("<title>"));
        assert!(names().all(|name| get(&name).is_some()));
        assert!(get("../Cargo.toml").is_none());
    }
}
