//! A pool in a process of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use network_helpers::Security;
use noise_sv2::AuthorityPublicKey;
use stratum_runtime::identity::create_authority_key;

use crate::pool::LIMIT;

/// What a share never meets by chance, so that shares are shares and blocks do not get in the way.
const HARD_BITS: u32 = 0x1900_ffff;

/// Configuration, key and data folder of pools that take each other's place.
#[derive(Debug)]
pub struct Site {
    folder: tempfile::TempDir,
    authority: AuthorityPublicKey,
}

impl Site {
    /// A pool on a free port of 127.0.0.1, with a devnet of its own in each process, where every hash is a share and none a block.
    /// `more` is added to the configuration.
    pub fn new(more: &str) -> Self {
        Self::with_blocks(HARD_BITS, more)
    }

    /// [`new`](Self::new), with another target for blocks.
    pub fn with_blocks(bits: u32, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().display();
        // Many pools run at the same time; those that are to be looked at say where.
        let http = if more.contains("[http]") { "" } else { "http = { operator = false }" };
        let text = format!(
            "network = 'regtest'
             {http}
             payout = 'raw(51)'
             data_dir = '{path}/data'
             authority_key_file = '{path}/authority.key'
             shards = 2
             listen = [{{ address = '127.0.0.1:0' }}]
             source = [{{ kind = 'devnet', nbits = {bits} }}]
             {more}"
        );
        fs::write(folder.path().join("pool.toml"), text).expect("a configuration file");
        let authority = create_authority_key(&folder.path().join("authority.key")).expect("an authority key");
        Self { folder, authority }
    }

    /// How to connect.
    pub fn security(&self) -> Security {
        Security::Noise { authority: Some(self.authority) }
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("pool.toml")
    }

    /// Where the pools keep what survives them.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a process of `program` and waits until it listens.
    pub fn start(&self, program: &Path, arguments: &[&str]) -> PoolProcess {
        let mut process = self.spawn(&mut Command::new(program), arguments);
        process.until_listening();
        process
    }

    /// Starts `program` as a service manager does when somebody connects to `address`, with a socket of this name. None where there is
    /// no `systemd-socket-activate`.
    pub fn activate(&self, program: &Path, address: &str, name: &str) -> Option<PoolProcess> {
        let activate = "systemd-socket-activate";
        Command::new(activate).arg("--version").stdout(Stdio::null()).status().ok()?;
        let mut command = Command::new(activate);
        command.args(["--listen", address, "--fdname", name]).arg(program);
        Some(self.spawn(&mut command, &[]))
    }

    fn spawn(&self, command: &mut Command, arguments: &[&str]) -> PoolProcess {
        let mut child = command
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .arg("--log-json")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program of the pool");
        let (lines, log) = mpsc::channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stderr.take().expect("piped")), Box::new(child.stdout.take().expect("piped"))];
        for stream in streams {
            let lines = lines.clone();
            // Read to the end, whether or not anybody is interested, so that the pool is never held up.
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = lines.send(line);
                }
            });
        }
        PoolProcess { child, log, said: Vec::new(), address: String::new() }
    }
}

/// A running pool; it is killed when dropped.
#[derive(Debug)]
pub struct PoolProcess {
    child: Child,
    log: mpsc::Receiver<String>,
    /// What it has said so far, as far as somebody was interested.
    pub said: Vec<String>,
    /// Where miners connect.
    pub address: String,
}

impl PoolProcess {
    /// Waits until it listens, and notes where. The line of the log.
    pub fn until_listening(&mut self) -> String {
        let line = self.until("listening for miners");
        let (_, rest) = line.split_once("\"address\":\"").expect("an address");
        self.address = rest.split('"').next().expect("an address").to_owned();
        line
    }

    /// Waits for a line of the log.
    ///
    /// # Panics
    /// When none comes.
    pub fn until(&mut self, text: &str) -> String {
        let before = self.said.len();
        loop {
            match self.log.recv_timeout(LIMIT) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => {
                    panic!("the pool did not say «{text}» ({error}), but:\n{}", self.said[before..].join("\n"))
                }
            }
        }
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(status.success());
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait(&mut self) -> ExitStatus {
        // Its output ends with it.
        while let Ok(line) = self.log.recv_timeout(LIMIT) {
            self.said.push(line);
        }
        self.child.try_wait().expect("a child").unwrap_or_else(|| {
            // The streams are closed, so it is about to go; if they are not, it hangs.
            assert!(matches!(self.log.try_recv(), Err(mpsc::TryRecvError::Disconnected)), "the pool does not end");
            self.child.wait().expect("a child")
        })
    }

    /// Resident memory, in KiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process is there");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a line about memory");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }
}

impl Drop for PoolProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
