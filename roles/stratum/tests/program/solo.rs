//! `stratum solo`, from the first start to the second.

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{stratum, text};

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// A process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stratum"));
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
    command
}

struct Solo {
    process: Running,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
    /// The same for Stratum V1.
    v1: String,
}

const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--dashboard", "127.0.0.1:0"];

impl Solo {
    fn start(data_dir: &Path) -> Self {
        let mut child = program()
            .args(["solo", "--devnet", "--address", ADDRESS])
            .args(FREE_PORTS)
            .arg("--data-dir")
            .arg(data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut solo = Self { process: Running(child), lines, url: String::new(), v1: String::new() };
        let line = solo.until("Miners connect to:");
        let last = |line: String| line.split_whitespace().last().unwrap().to_owned();
        solo.url = last(line);
        solo.v1 = last(solo.until("with Stratum V1:"));
        solo
    }

    fn until(&mut self, words: &str) -> String {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(words) {
                return line;
            }
            seen.push(line);
        }
        panic!("it ended without {words:?}: {seen:#?}")
    }

    fn interrupt(mut self) {
        let status = Command::new("kill").args(["-INT", &self.process.0.id().to_string()]).status().unwrap();
        assert!(status.success());
        assert!(self.process.0.wait().unwrap().success());
    }
}

#[test]
fn a_solo_miner_needs_one_command_and_the_second_start_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("state").join("solo");
    let mut solo = Solo::start(&data_dir);
    assert!(solo.url.starts_with("stratum2+tcp://127.0.0.1:"), "{}", solo.url);
    assert!(solo.until("The dashboard:").contains("http://127.0.0.1:"));
    solo.until("Ready: miners work on block");
    let user = format!("{ADDRESS}.garage");
    let device = |user: &str, url: &str| {
        Running(program().args(["mining-device", "--url", url, "--user", user, "--threads", "1"]).spawn().unwrap())
    };
    let miner = device(&user, &solo.url);
    assert!(solo.until("BLOCK FOUND").contains("by garage: "));
    assert!(solo.until("ACCEPTED").contains("Block "));
    drop(miner);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data_dir), mode(&data_dir.join("authority.key"))), (0o700, 0o600));

    // Somebody starts it twice.
    let path = data_dir.display().to_string();
    let arguments = [&["solo", "--devnet", "--address", ADDRESS, "--data-dir", &path], &FREE_PORTS[..]].concat();
    let second = stratum(folder.path(), &arguments);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another"), "{}", text(&second.stderr));
    let key = solo.url.rsplit('/').next().unwrap().to_owned();
    solo.interrupt();

    let mut again = Solo::start(&data_dir);
    assert!(again.url.ends_with(&key), "devices know the pool by its key");
    // A name that is no account would be refused elsewhere.
    let miner = device("solo:nobody;x", &again.url);
    assert!(again.until("BLOCK FOUND").contains("by solo:nobody;x: "));
    drop(miner);
    assert!(again.v1.starts_with("stratum+tcp://127.0.0.1:"), "{}", again.v1);
    let _miner = device("old.device", &again.v1);
    while !again.until("BLOCK FOUND").contains("by old.device: ") {}
    again.interrupt();
}

#[test]
fn what_does_not_fit_together_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["--address", "nonsense"][..], "--address nonsense"),
        (&["--address", ADDRESS, "--network", "bitcoin"], "not of bitcoin"),
        (&["--address", ADDRESS, "--bitcoin-datadir", "/missing/folder"], "no such folder"),
        (&["--address", ADDRESS, "--devnet", "--rpc", "http://127.0.0.1"], "cannot be used with"),
        (&[], "--address"),
    ] {
        let output = stratum(folder.path(), &[&["solo"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
}
