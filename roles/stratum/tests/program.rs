//! The program as a user meets it: what it prints, and how it ends.

#[path = "program/doctor.rs"]
mod doctor;
#[path = "program/ledger.rs"]
mod ledger;
#[path = "program/operate.rs"]
mod operate;
#[path = "program/solo.rs"]
mod solo;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

fn stratum(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_stratum")).args(arguments).current_dir(folder).output();
    output.expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_demo_ends_after_its_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let output = stratum(folder.path(), &["demo", "--blocks", "2", "--timeout", "240"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("DEVNET"), "it says what it is: {out}");
    let blocks: Vec<_> = out.lines().filter(|line| line.starts_with("block accepted: height ")).collect();
    assert_eq!(blocks.len(), 2, "{out}");
    assert!(blocks.iter().all(|line| line.contains("hash 000000") && line.contains("-miner")), "{blocks:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_demo_that_takes_too_long_fails() {
    let folder = tempfile::tempdir().unwrap();
    let output = stratum(folder.path(), &["demo", "--blocks", "1000000", "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("within 1 s"), "{}", text(&output.stderr));
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_demo_cleanly() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_stratum"))
        .args(["demo"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("block accepted")));
    let status = Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert!(demo.wait().unwrap().success());
}

#[test]
fn keys_are_made_once_and_configurations_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let made = stratum(folder.path(), &["keygen", "--out", "authority.key"]);
    assert!(made.status.success());
    let public = text(&made.stdout);
    assert!(public.starts_with('9') && public.lines().count() == 1, "{public}");
    let again = stratum(folder.path(), &["keygen", "--out", "authority.key"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("authority.key"));

    for (role, setting) in [
        ("pool", ("payout = \"\"", "payout = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"")),
        ("template-provider", ("", "")),
    ] {
        let default = text(&stratum(folder.path(), &["config", role]).stdout);
        let file = folder.path().join("config.toml");
        fs::write(&file, default.replace(setting.0, setting.1)).unwrap();
        let checked = stratum(folder.path(), &["check-config", role, "--config", "config.toml"]);
        assert!(checked.status.success(), "{role}: {}", text(&checked.stderr));
        fs::write(&file, format!("netwrok = \"regtest\"\n{default}")).unwrap();
        let refused = stratum(folder.path(), &["check-config", role, "--config", "config.toml"]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains("did you mean `network`?"), "{}", text(&refused.stderr));
    }
}

#[test]
fn a_pool_without_its_key_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let default = text(&stratum(folder.path(), &["config", "pool"]).stdout);
    let config = default.replace("payout = \"\"", "payout = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"");
    fs::write(folder.path().join("pool.toml"), config).unwrap();
    let refused = stratum(folder.path(), &["pool", "--config", "pool.toml"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("stratum keygen"), "{}", text(&refused.stderr));
}

#[test]
fn receivers_of_notifications_are_tried() {
    let folder = tempfile::tempdir().unwrap();
    let default = text(&stratum(folder.path(), &["config", "pool"]).stdout);
    let config = default.replace("payout = \"\"", "payout = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"");
    let test = |receivers: &str| {
        fs::write(folder.path().join("pool.toml"), format!("{config}\n{receivers}")).unwrap();
        let output = stratum(folder.path(), &["test-notifications", "--config", "pool.toml"]);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, err) = test("");
    assert!(code == Some(1) && err.contains("no receiver"), "{err}");
    let (code, out, _) = test("command = [{ program = '/bin/sh', args = ['-c', 'cat > told'] }]");
    assert_eq!((code, out.as_str()), (Some(0), "command /bin/sh: has it\n"));
    assert!(fs::read_to_string(folder.path().join("told")).unwrap().contains("\"event\":\"test\""));
    let (code, out, _) = test("command = [{ program = '/bin/false' }]");
    assert!(code == Some(1) && out.contains("/bin/false: FAILED"), "{out}");
    let (code, _, err) = test("webhook = [{ url = 'http://127.0.0.1/hunter2', secret_file = 'missing' }]");
    assert!(code == Some(2) && err.contains("missing") && !err.contains("hunter2"), "{err}");
    let (code, _, err) = test("webhook = [{ url = 'http://127.0.0.1/hunter2', events = ['blok'] }]");
    assert!(code == Some(2) && err.contains("blok") && !err.contains("hunter2"), "{err}");
}

#[test]
fn usage_errors_end_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [&["no-such-role"][..], &["pool"], &["pool", "--config", "missing.toml"], &["demo", "--blocks", "x"]]
    {
        assert_eq!(stratum(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_swarm_that_nobody_takes_fails() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("stratum2+tcp://{free}");
    let output = stratum(folder.path(), &["load", "--url", &url, "--connections", "3", "--quiet", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no miner got work"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("\"connected\": 0"), "{}", text(&output.stdout));
    let output = stratum(folder.path(), &["load", "--url", &url, "--slow-readers", "2"]);
    assert_eq!(output.status.code(), Some(2));
}
