//! What a connection costs the pool: `cargo run --release -p stratum-pool --example connections -- 2000`.
//!
//! Starts a pool of its own as a process, opens that many connections with one extended channel each, in waves, and prints the
//! pool's resident memory and its CPU time per connection.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use binary_sv2::{Str0_255, U256};
use common_messages_sv2::SetupConnection;
use mining_sv2::OpenExtendedMiningChannel;
use network_helpers::{Connection, Security};
use pool::{Pool, PoolConfig, config::ENVIRONMENT};
use stratum_runtime::{config::parse, identity::create_authority_key, shutdown::Shutdown};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if args.get(1).is_some_and(|arg| arg == "--pool") {
        runtime.block_on(serve());
    } else {
        let count = args.get(1).map_or(2000, |count| count.parse().unwrap());
        runtime.block_on(measure(count));
    }
}

async fn serve() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    create_authority_key(&key).unwrap();
    let text = format!(
        "network = 'regtest'
         payout = 'raw(51)'
         data_dir = '{0}/data'
         authority_key_file = '{0}/key'
         listen = [{{ address = '127.0.0.1:0' }}]
         http = {{ operator = false }}
         source = [{{ kind = 'devnet' }}]
         [limits]
         connections = 20000",
        folder.path().display()
    );
    let config: PoolConfig = parse(&text, "example", ENVIRONMENT, std::env::vars()).unwrap();
    let pool = Pool::start(&config, config.build_sources().unwrap(), Shutdown::new()).await.unwrap();
    println!("{}", pool.addresses()[0]);
    // Until the parent is gone.
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await.unwrap().unwrap();
}

struct Process(Child);

impl Process {
    fn stat(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0.id())).unwrap()
    }

    /// In KiB.
    fn memory(&self) -> u64 {
        let status = self.stat("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn cpu(&self) -> Duration {
        let mut nanos = 0u64;
        for task in fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap() {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            nanos += text.split_whitespace().next().unwrap().parse::<u64>().unwrap();
        }
        Duration::from_nanos(nanos)
    }
}

async fn measure(count: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("--pool")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let process = Process(child);
    let address = address.trim();
    drop(open(address).await);
    let base = process.memory();
    println!("{base} KiB before");
    for wave in 0..5 {
        let (cpu, start) = (process.cpu(), Instant::now());
        let mut connections = Vec::new();
        while connections.len() < count {
            let batch = (0..64).map(|_| {
                let address = address.to_owned();
                tokio::spawn(async move { open(&address).await })
            });
            for task in batch.collect::<Vec<_>>() {
                connections.push(task.await.unwrap());
            }
        }
        let n = connections.len() as u64;
        let (cpu, took) = (process.cpu() - cpu, start.elapsed());
        let memory = process.memory();
        println!(
            "wave {wave}: {n} connections, {:.1} KiB each, {} us of CPU each, {:.0} a second",
            (memory - base) as f64 / n as f64,
            cpu.as_micros() as u64 / n,
            n as f64 / took.as_secs_f64()
        );
        drop(connections);
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("  gone: {:.1} KiB for each that was there", (process.memory() as f64 - base as f64) / n as f64);
    }
    let mut child = process.0;
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn open(address: &str) -> Connection {
    let mut connection = Connection::connect(address, Security::Noise { authority: None }).await.unwrap();
    let text = Str0_255::from_truncated;
    let setup = SetupConnection {
        protocol: const_sv2::protocol::MINING,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: text("127.0.0.1"),
        endpoint_port: 0,
        vendor: text("measure"),
        hardware_version: text(""),
        firmware: text(""),
        device_id: text(""),
    };
    connection.send(&setup).await.unwrap();
    connection.read_frame().await.unwrap();
    let channel = OpenExtendedMiningChannel {
        request_id: 1,
        user_identity: text("alice.worker"),
        nominal_hash_rate: 1e12,
        max_target: U256::from_le_bytes([0xff; 32]),
        min_extranonce_size: 8,
    };
    connection.send(&channel).await.unwrap();
    // Until there is a job to work on.
    while connection.read_frame().await.unwrap().header().message_type()
        != const_sv2::message_type::mining::SET_NEW_PREV_HASH
    {}
    connection
}
