//! What operators are given to copy: example configurations, units of systemd, the container's health check.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{stratum, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = root().join(folder);
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|found| found == ending)).collect();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

#[test]
fn example_configurations_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    assert!(stratum(folder.path(), &["keygen", "--out", "authority.key"]).status.success());
    let mut networks = Vec::new();
    for file in files("docs/operate/examples", "toml") {
        let checked = Command::new(env!("CARGO_BIN_EXE_stratum"))
            .args(["check-config", "pool", "--config"])
            .arg(&file)
            // The one that they name is the operator's.
            .env("STRATUM_POOL_AUTHORITY_KEY_FILE", folder.path().join("authority.key"))
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}: {}", file.display(), text(&checked.stderr));
        assert!(!text(&checked.stdout).contains("warning"), "{}", text(&checked.stdout));
        networks.push(file.file_stem().unwrap().to_owned());
    }
    networks.sort();
    assert_eq!(networks, ["mainnet", "regtest", "signet", "testnet4"]);
}

/// Where there is no systemd, there is nobody to ask.
#[test]
fn units_are_sound_to_systemd() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("systemd-analyze is not here: the units are not checked");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The program is where it is in this build.
    let copy = |file: &PathBuf| {
        let copy = folder.path().join(file.file_name().unwrap());
        let unit = fs::read_to_string(file).unwrap();
        fs::write(&copy, unit.replace("/usr/local/bin/stratum", env!("CARGO_BIN_EXE_stratum"))).unwrap();
        copy
    };
    let services: Vec<_> = files("contrib/systemd", "service").iter().map(copy).collect();
    let sockets: Vec<_> = files("contrib/systemd", "socket").iter().map(copy).collect();
    for unit in services.iter().chain(&sockets) {
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit).output().unwrap();
        let words = text(&output.stderr) + &text(&output.stdout);
        assert!(output.status.success() && words.is_empty(), "{}: {words}", unit.display());
    }
    for service in services {
        // In tenths; 2.0 is where systemd begins to have something to say.
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=20"])
            .arg(&service)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stdout));
    }
}

#[test]
fn the_health_check_tells_a_pool_that_answers_from_one_that_does_not() {
    let script = root().join("contrib/docker/healthcheck");
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o111, 0o111);
    let check = |port: u16| {
        let script = Command::new("bash").arg(&script).env("STRATUM_HEALTH_PORT", port.to_string()).output().unwrap();
        script.status.success()
    };
    for (answer, healthy) in [("200 OK", true), ("503 Service Unavailable", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8(request).unwrap()
        });
        assert_eq!(check(port), healthy, "{answer}");
        assert!(server.join().unwrap().starts_with("GET /healthz HTTP/1.1\r\nHost: localhost\r\n"));
        assert!(!check(port), "nobody listens any more");
    }
}
