//! Finding the library that cargo has just built, and running C compilers and what they made.

use std::{
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

/// The tree.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().find(|folder| folder.join("xtask").is_dir()).expect("a test of the tree").to_owned()
}

/// The folder of the C library's package.
pub fn package() -> PathBuf {
    root().join("protocols/v2/sv2-ffi")
}

/// The static full library that belongs to the running test: cargo puts it beside the test, under a name with a hash.
/// Several may lie there, of other features; the newest full one is of today's source.
pub fn library() -> PathBuf {
    let test = env::current_exe().expect("a path of the test");
    let folder = test.parent().expect("a folder of the test");
    let mut found: Vec<_> = fs::read_dir(folder)
        .expect("the folder of the test")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "a") && name(path).starts_with("libsv2_ffi-"))
        .collect();
    found.sort_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
    found.into_iter().rev().find(|path| is_full(path)).expect("cargo builds the library with its tests")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Looks for a name of the full library in the archive's index, which lies at its beginning.
fn is_full(archive: &Path) -> bool {
    const INDEX_IS_BELOW: u64 = 8 << 20;
    const NAME: &[u8] = b"\0sv2_channel_new\0";
    let mut start = Vec::new();
    let read = fs::File::open(archive).and_then(|file| file.take(INDEX_IS_BELOW).read_to_end(&mut start));
    read.is_ok() && start.windows(NAME.len()).any(|window| window == NAME)
}

/// Runs a program to its end and returns what it wrote. Panics with both outputs when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; see `cargo xtask setup`"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}
