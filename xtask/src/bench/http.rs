//! `bench http`: what dashboards and scrapes cost the shares, and how long the page of an account with a year of history takes.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use super::machine;
use crate::{
    command::{Failure, Result, at, cargo, check, heading, output},
    core_node::{cache_folder, target_folder},
    packages,
};

/// Open dashboards: each is told the state of the pool every two seconds.
const DASHBOARDS: usize = 50;
/// Runs of each kind; the median counts.
const ROUNDS: usize = 10;
/// Seconds of flood in a run: shorter than it takes to reach the bound on the shares of a channel for one previous hash (16,384).
const SECONDS: &str = "3";
/// Miners that send as fast as they are answered: as many as a run needs to stay below that bound at five million shares a second.
const MINERS: &str = "1000";

const INTRODUCTION: &str = "\
# What the API costs

Made by `cargo xtask bench http`: one pool, under the flood of `stratum load` (1,000 miners, 64 shares under way each), in turn without anybody
who looks and with 50 open dashboards and a scrape of `/metrics` each second; the median of ten runs each, each kind first in turn. Pool, swarm, and those who look
share the machine, so that the processor time of reading 50 dashboards is in the figures, too.

The last row is `GET /api/v1/accounts/{account}` of an account with 20 workers that had a share in each hour of a year, over a connection of its own, from
request to last byte.
";

pub(super) fn run(root: &Path, args: &[String]) -> Result<()> {
    let rounds = match args {
        [] => ROUNDS,
        [quick] if quick == "--quick" => 1,
        other => {
            return Err(Failure::Usage(format!("`bench http` takes `--quick` or nothing, got `{}`", other.join(" "))));
        }
    };
    packages::ensure(packages::FOR_THE_BUILD)?;
    heading("the pool");
    check(cargo(root).args(["build", "--release", "--package", "stratum"]))?;
    check(cargo(root).args(["build", "--release", "--package", "stratum-pool", "--example", "account_page"]))?;
    let release = target_folder(root)?.join("release");
    let program = release.join("stratum");
    heading("the measurement");
    let folder = cache_folder()?.join(format!("bench-http-{}", std::process::id()));
    at(&folder, fs::create_dir_all(&folder))?;
    let measured = measure(&program, &folder, rounds);
    at(&folder, fs::remove_dir_all(&folder))?;
    let mut table = measured?;
    let page = output(&mut Command::new(release.join("examples").join("account_page")))?;
    let _ = writeln!(table, "\n{}", page.trim());
    println!("{table}");
    if rounds == ROUNDS {
        let file = root.join("docs/bench-http.md");
        at(&file, fs::write(&file, format!("{INTRODUCTION}\n{table}\n{}.\n", machine()?)))?;
        println!("kept in docs/bench-http.md");
    }
    Ok(())
}

/// A pool, ended when dropped.
struct Pool {
    child: Child,
    miners: String,
    http: SocketAddr,
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(program: &Path, folder: &Path) -> Result<Pool> {
    // No hash is a block, and each is a share.
    let config = "network = \"regtest\"\npayout = \"raw(51)\"\ndata_dir = \"data\"\n\
        [http]\noperator = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.1:0\"\nnoise = false\n\
        [[source]]\nkind = \"devnet\"\nnbits = 0x1900ffff\n[shares]\nvardiff = false\nmin_difficulty = 0.0\njob_refresh_seconds = 1\n";
    let file = folder.join("pool.toml");
    at(&file, fs::write(&file, config))?;
    let mut child = Command::new(program)
        .args(["pool", "--config", "pool.toml", "--log-json"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::Other(format!("{}: {error}", program.display())))?;
    let log = child.stderr.take().ok_or_else(|| Failure::Other("the pool has no log".into()))?;
    let mut lines = BufReader::new(log).lines().map_while(std::result::Result::ok);
    let mut find = |text: &str, key: &str| -> Result<String> {
        let line = lines.find(|line| line.contains(text));
        let line: Value = line.and_then(|line| serde_json::from_str(&line).ok()).unwrap_or_default();
        let found = [&line["fields"][key], &line[key]].into_iter().find_map(Value::as_str).map(str::to_owned);
        found.ok_or_else(|| Failure::Other(format!("the pool did not say «{text}»")))
    };
    let miners = find("listening for miners", "address")?;
    let http = find("dashboard and API", "address")?.parse().map_err(|_| Failure::Other("no address".into()))?;
    // Read to the end, so that the pool is never held up.
    thread::spawn(move || lines.for_each(drop));
    Ok(Pool { child, miners, http })
}

/// What a run found.
struct Run {
    per_second: f64,
    acknowledged: [f64; 2],
    cpu_us: f64,
}

/// What a row says, where its value comes from, and its digits.
type Row = (&'static str, fn(&Run) -> f64, usize);

fn measure(program: &Path, folder: &Path, rounds: usize) -> Result<String> {
    let pool = start(program, folder)?;
    // One to warm up.
    flood(program, &pool)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut events, mut scrapes) = (0, 0);
    for round in 0..rounds {
        // Each goes first in turn: a pool that has taken more shares is slower, and so is a machine that is warm.
        for watched in [round % 2 == 1, round % 2 == 0] {
            if watched {
                let watchers = Watchers::start(pool.http)?;
                with.push(flood(program, &pool)?);
                let (told, scraped) = watchers.stop();
                (events, scrapes) = (events + told, scrapes + scraped);
            } else {
                without.push(flood(program, &pool)?);
            }
        }
    }
    let rows: [Row; 4] = [
        ("accepted shares a second", |run| run.per_second, 0),
        ("acknowledged after, half (ms)", |run| run.acknowledged[0], 2),
        ("acknowledged after, 99 of 100 (ms)", |run| run.acknowledged[1], 2),
        ("processor time of the pool for a share (µs)", |run| run.cpu_us, 2),
    ];
    let mut table =
        format!("| | alone | {DASHBOARDS} dashboards, a scrape a second | with / alone |\n|---|--:|--:|--:|\n");
    for (name, value, digits) in rows {
        let (alone, watched) = (median(&without, value), median(&with, value));
        let _ = writeln!(table, "| {name} | {alone:.digits$} | {watched:.digits$} | {:.2} |", watched / alone);
    }
    let range = |runs: &[Run]| {
        let all = runs.iter().map(|run| run.per_second);
        (all.clone().fold(f64::MAX, f64::min), all.fold(0.0, f64::max))
    };
    let ((a, b), (c, d)) = (range(&without), range(&with));
    let _ = writeln!(table, "\nShares a second from run to run: alone {a:.0} to {b:.0}, watched {c:.0} to {d:.0}.");
    let _ = writeln!(table, "Meanwhile {events} events reached dashboards, and {scrapes} scrapes were answered.");
    Ok(table)
}

fn median(runs: &[Run], value: fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn flood(program: &Path, pool: &Pool) -> Result<Run> {
    let url = format!("stratum2+tcp://{}", pool.miners);
    let text = output(Command::new(program).args(["load", "--plain", "--url", &url, "--connections", MINERS]).args([
        "--flood",
        "--seconds",
        SECONDS,
        "--json",
        "--pool-pid",
        &pool.child.id().to_string(),
    ]))?;
    let report: Value = serde_json::from_str(&text).map_err(|error| Failure::Other(format!("{error}: {text}")))?;
    let shares = &report["shares"];
    for (what, counts) in [("refused", &shares["rejected"]), ("lost", &report["lost"])] {
        if counts.as_object().is_some_and(|counts| !counts.is_empty()) {
            return Err(Failure::Other(format!("shares were {what}, and the run is void: {counts}")));
        }
    }
    let number = |value: &Value| value.as_f64().ok_or_else(|| Failure::Other(format!("a number is missing: {text}")));
    let latency = &shares["latency"];
    Ok(Run {
        per_second: number(&shares["per_second"])?,
        acknowledged: [number(&latency["p50"])?, number(&latency["p99"])?],
        cpu_us: number(&shares["pool_cpu_us"])?,
    })
}

/// Dashboards and a scraper.
struct Watchers {
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    scrapes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Watchers {
    fn start(address: SocketAddr) -> Result<Self> {
        let [events, scrapes] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let mut this = Self { stop: Arc::default(), events, scrapes, threads: Vec::new() };
        for _ in 0..DASHBOARDS {
            let stream = request(address, "/api/v1/events", "keep-alive")?;
            let (stop, events) = (this.stop.clone(), this.events.clone());
            this.threads.push(thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(std::result::Result::ok) {
                    events.fetch_add(u64::from(line.starts_with("event:")), Relaxed);
                    if stop.load(Relaxed) {
                        return;
                    }
                }
            }));
        }
        let (stop, scrapes) = (this.stop.clone(), this.scrapes.clone());
        this.threads.push(thread::spawn(move || {
            while !stop.load(Relaxed) {
                if let Ok(mut stream) = request(address, "/metrics", "close") {
                    let mut text = String::new();
                    let whole = stream.read_to_string(&mut text).is_ok() && text.contains("stratum_pool_info");
                    scrapes.fetch_add(u64::from(whole), Relaxed);
                }
                thread::sleep(Duration::from_secs(1));
            }
        }));
        Ok(this)
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        (self.events.load(Relaxed), self.scrapes.load(Relaxed))
    }
}

fn request(address: SocketAddr, path: &str, connection: &str) -> Result<TcpStream> {
    let sent = TcpStream::connect(address).and_then(|mut stream| {
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\n\r\n")?;
        Ok(stream)
    });
    sent.map_err(|error| Failure::Other(format!("http://{address}{path}: {error}")))
}
