//! A pool's process, ours or the reference implementation's.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs, io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use load::{Group, Swarm, SwarmConfig, process::Usage};
use network_helpers::Security;
use tempfile::TempDir;

use super::provider::Provider;

/// How long a pool may take to serve its first miner.
const START: Duration = Duration::from_secs(30);

/// P2WPKH of the generator point.
const SCRIPT: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Sri,
}

/// What a pool is configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Defaults.
    General,
    /// Each share is answered at once: the reference implementation else keeps nine of ten back until the tenth comes.
    Prompt,
    /// As `Prompt`, acknowledged when received; ours only.
    Received,
}

/// A running pool. Dropping it kills it.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Its configuration and data.
    pub folder: TempDir,
}

impl Server {
    /// Starts a pool and waits until it serves a miner.
    pub fn start(kind: Kind, purpose: Purpose, provider: &Provider) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = folder.path().join("pool.toml");
        let program = program(kind)?;
        let mut command = Command::new(&program);
        let text = match kind {
            Kind::Ours => {
                let key = folder.path().join("authority.key");
                let made = Command::new(&program)
                    .arg("keygen")
                    .arg("--out")
                    .arg(&key)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()?;
                if !made.success() {
                    return Err(io::Error::other("`stratum keygen` failed"));
                }
                command.arg("pool");
                ours(address, purpose, provider)?
            }
            Kind::Sri => sri(address, purpose, provider),
        };
        fs::write(&file, text)?;
        let log = folder.path().join("log");
        // Warnings only: a line for each share would be measured, too.
        command.arg("--config").arg(&file).current_dir(folder.path()).env("RUST_LOG", "warn");
        command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .stderr(fs::File::create(folder.path().join("errors"))?);
        let server = Self { child: command.spawn()?, address, folder };
        server.serves()?;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.pid())
    }

    /// A swarm for this pool.
    pub fn swarm(&self) -> SwarmConfig {
        SwarmConfig::new(self.address, Security::Noise { authority: None })
    }

    /// Waits until miners get work.
    fn serves(&self) -> io::Result<()> {
        let start = Instant::now();
        while start.elapsed() < START {
            let mut swarm = Swarm::start(&SwarmConfig { threads: 1, ..self.swarm() })?;
            swarm.connect(Group::Base, 1, 1, &mut ())?;
            if swarm.now().live == 1 {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        let errors =
            ["log", "errors"].map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default());
        Err(io::Error::other(format!("the pool serves no miner within {START:?}: {}", errors.concat())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What to run; `cargo xtask bench pool` says where it is.
fn program(kind: Kind) -> io::Result<PathBuf> {
    let name = match kind {
        Kind::Ours => "STRATUM_PROGRAM",
        Kind::Sri => "SRI_POOL_PROGRAM",
    };
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other(format!("{name} is not set: use `cargo xtask bench pool`")))
}

/// Our pool's commented default configuration.
fn defaults() -> io::Result<String> {
    let output = Command::new(program(Kind::Ours)?).args(["config", "pool"]).output()?;
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// The table of a configuration that has `key`, set or as a comment.
fn table_of(text: &str, key: &str) -> Option<String> {
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_matches(['[', ']']).to_owned();
        }
        let set = line.trim_start_matches(['#', ' ']).strip_prefix(key);
        if set.is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return Some(table);
        }
    }
    None
}

/// What bounds a miner that floods, and what is measured one way or the other.
const SETTINGS: &[(&str, &str)] = &[
    ("connections", "15000"),
    ("connections_per_address", "15000"),
    ("shares_per_second", "1000000.0"),
    ("shares_burst", "1000000.0"),
    ("vardiff", "false"),
];

fn ours(address: SocketAddr, purpose: Purpose, provider: &Provider) -> io::Result<String> {
    let defaults = defaults()?;
    let mut tables = BTreeMap::<String, String>::new();
    let received = (purpose == Purpose::Received).then_some(("acknowledge", "\"received\""));
    for (key, value) in SETTINGS.iter().copied().chain(received) {
        // A key that is gone would leave something else measured than the row says.
        let table = table_of(&defaults, key)
            .ok_or_else(|| io::Error::other(format!("`stratum config pool` has no {key}: the benchmark sets it")))?;
        let _ = writeln!(tables.entry(table).or_default(), "{key} = {value}");
    }
    let tables: String = tables.iter().map(|(table, text)| format!("\n[{table}]\n{text}")).collect();
    Ok(format!(
        r#"
network = "bitcoin"
payout = "raw({SCRIPT})"
data_dir = "data"
authority_key_file = "authority.key"
http = {{ operator = false }}

[[listen]]
address = "{address}"

[[source]]
kind = "sv2"
url = "stratum2+tcp://{}/{}"
{tables}"#,
        provider.address, provider.key
    ))
}

/// The keys are those of its examples. So many shares a minute make the easiest target, and leave it.
fn sri(address: SocketAddr, purpose: Purpose, provider: &Provider) -> String {
    let batch = if purpose == Purpose::General { 10 } else { 1 };
    format!(
        r#"
authority_public_key = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"
authority_secret_key = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n"
cert_validity_sec = 3600
listen_address = "{address}"
coinbase_reward_script = "raw({SCRIPT})"
server_id = 1
pool_signature = "bench"
shares_per_minute = 10000000.0
share_batch_size = {batch}

[template_provider_type.Sv2Tp]
address = "{}"
public_key = "{}"
"#,
        provider.address, provider.key
    )
}
