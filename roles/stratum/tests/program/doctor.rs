//! `stratum doctor`: a pool that is well, and pools that are not.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

use serde_json::Value;

use crate::{stratum, text};

/// On a disk: where temporary files are may be in memory.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn configure(folder: &Path, listen: &str, more: &str) {
    let text = format!(
        "network = 'regtest'
         payout = 'raw(51)'
         data_dir = 'data'
         authority_key_file = 'authority.key'
         listen = [{{ address = '{listen}' }}]
         source = [{{ kind = 'devnet' }}]
         http = {{ operator = '127.0.0.1:0' }}
         {more}"
    );
    fs::write(folder.join("pool.toml"), text).unwrap();
}

/// Exit code, and texts of each check with their levels.
fn examine(folder: &Path) -> (Option<i32>, Vec<(String, String, String)>) {
    let output = stratum(folder, &["doctor", "--config", "pool.toml", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["healthy"], output.status.success());
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.map(|it| (text(it, "level"), text(it, "check"), text(it, "text"))).collect();
    (output.status.code(), findings)
}

#[test]
fn a_pool_that_is_well() {
    let folder = folder();
    configure(folder.path(), "127.0.0.1:0", "");
    assert!(stratum(folder.path(), &["keygen", "--out", "authority.key"]).status.success());
    let (code, findings) = examine(folder.path());
    assert_eq!(code, Some(0), "{findings:?}");
    for check in ["config", "payout", "node", "key", "port", "http", "files", "disk", "ledger", "clock"] {
        assert!(findings.iter().any(|(_, found, _)| found == check), "{check}: {findings:?}");
    }
    assert!(!folder.path().join("data").exists(), "nothing is made");
    let output = stratum(folder.path(), &["doctor", "--config", "pool.toml"]);
    assert!(output.status.success());
    let out = text(&output.stdout);
    assert!(out.contains("0 errors, ") && out.contains("devnet gives templates"), "{out}");
}

#[test]
fn each_trouble_is_told_with_what_to_do() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    configure(folder.path(), &taken.local_addr().unwrap().to_string(), "debug_key_log = 'keys.log'");
    assert!(stratum(folder.path(), &["keygen", "--out", "authority.key"]).status.success());
    fs::set_permissions(folder.path().join("authority.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, findings) = examine(folder.path());
    assert_eq!(code, Some(1));
    for (level, check, words) in [
        ("error", "port", "in use by another program"),
        ("error", "key", "others may read it"),
        ("warning", "key", "debug_key_log"),
    ] {
        let is = |(l, c, t): &&(String, String, String)| l == level && c == check && t.contains(words);
        assert!(findings.iter().any(|finding| is(&finding)), "{words}: {findings:?}");
    }
    let output = stratum(folder.path(), &["doctor", "--config", "pool.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("-> end it (`ss -ltnp"), "{}", text(&output.stdout));

    fs::write(folder.path().join("pool.toml"), "netwrok = 'regtest'").unwrap();
    let (code, findings) = examine(folder.path());
    assert_eq!((code, findings.len()), (Some(1), 1));
    assert!(findings[0].2.contains("did you mean `network`?"), "{findings:?}");
}

#[test]
fn a_solo_miner_has_a_doctor_too() {
    let folder = folder();
    let address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let solo = |address: &str| {
        let arguments =
            ["doctor", "solo", "--devnet", "--address", address, "--data-dir", "solo", "--listen", "127.0.0.1:0"];
        let output = stratum(folder.path(), &[&arguments[..], &["--dashboard", "127.0.0.1:0"]].concat());
        (output.status.code(), text(&output.stdout))
    };
    let (code, out) = solo("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080");
    assert!(code == Some(0) && out.contains("authority.key is made at the first start"), "{out}");
    assert!(!folder.path().join("solo").exists());
    let (code, out) = solo(address);
    assert!(code == Some(1) && out.contains("--address"), "{out}");
    assert_eq!(stratum(folder.path(), &["doctor"]).status.code(), Some(2), "of what?");
}
