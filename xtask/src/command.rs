//! Running other programs, and failing in a way that tells what to do.

use std::{
    env,
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// Why a command of xtask stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense: exit status 2.
    Usage(String),
    /// Anything else: exit status 1.
    Other(String),
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Other(message) => f.write_str(message),
        }
    }
}

/// Turns an error of the file system into a failure that names the path.
pub(crate) fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T> {
    result.map_err(|error| Failure::Other(format!("{}: {error}", path.display())))
}

pub(crate) fn heading(text: &str) {
    println!("\n=== {text}");
}

/// Runs one step under a heading and prints how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    heading(name);
    let start = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!("--- {name}: {verdict}, {:.1} s", start.elapsed().as_secs_f64());
    result.map_err(|failure| Failure::Other(format!("step `{name}` failed: {failure}")))
}

/// The cargo that started us, in the workspace.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Runs `command` with our own output, and fails unless it succeeds.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let shown = show(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Other(format!("`{shown}` ended with {status}"))),
        Err(error) => Err(Failure::Other(format!("can not start `{shown}`: {error}"))),
    }
}

/// Runs `command` and gives what it wrote to its standard output; its errors go to ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::Other(format!("can not start `{shown}`: {error}")))?;
    if !output.status.success() {
        return Err(Failure::Other(format!("`{shown}` ended with {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| Failure::Other(format!("`{shown}` wrote something that is not UTF-8")))
}

/// Finds a program in PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words: Vec<_> = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}
