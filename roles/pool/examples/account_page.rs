//! How long the page of an account takes that has a year of history, from request to last byte. `cargo xtask bench http` runs it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pool::{Pool, PoolConfig, config::ENVIRONMENT};
use share_ledger::{
    Config, Difficulty, LEDGER_FOLDER, Ledger, Share, ShareHash, ShareLedger, Timestamp, Work, WorkerId,
};
use stratum_runtime::{config::parse, shutdown::Shutdown};

const HOURS: u64 = 365 * 24;
/// Workers of the account that is looked at, with a share in each hour.
const WORKERS: u32 = 20;
/// Accounts of others, with one worker each that has a share on each day.
const OTHERS: u32 = 1_000;
const REQUESTS: usize = 200;
/// Records that are handed over at once.
const BATCH: usize = 1_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    fill(&folder.path().join(LEDGER_FOLDER));
    let text = format!(
        "network = 'regtest'\npayout = 'raw(51)'\ndata_dir = '{}'\nlisten = [{{ address = '127.0.0.1:0', noise = false }}]\n\
         source = [{{ kind = 'devnet' }}]\nhttp = {{ operator = '127.0.0.1:0' }}",
        folder.path().display()
    );
    let config: PoolConfig = parse(&text, "example", ENVIRONMENT, std::env::vars()).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let shutdown = Shutdown::new();
        let pool = Pool::start(&config, config.build_sources().unwrap(), shutdown.clone()).await.unwrap();
        let address = pool.operator_address().unwrap();
        println!("| | half (ms) | slowest of {REQUESTS} (ms) | bytes |\n|---|--:|--:|--:|");
        for (name, path) in [
            ("page of an account with a year of history", "/api/v1/accounts/alice"),
            ("its days of a year", "/api/v1/history?subject=account&account=alice&period=day&from=0"),
            ("its hours of 80 days", "/api/v1/history?subject=account&account=alice&period=hour"),
            ("50 accounts, most work first", "/api/v1/accounts"),
        ] {
            let path = match name {
                "its days of a year" => path.replace("from=0", &format!("from={}", ago(365 * 24))),
                "its hours of 80 days" => format!("{path}&from={}", ago(80 * 24)),
                _ => path.to_owned(),
            };
            let (half, slowest, bytes) = tokio::task::spawn_blocking(move || measure(address, &path)).await.unwrap();
            println!("| {name} | {half:.2} | {slowest:.2} | {bytes} |");
        }
        shutdown.cancel();
        pool.join().await;
    });
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// So many hours ago, in unix milliseconds.
fn ago(hours: u64) -> u64 {
    1000 * (now() - 3600 * hours)
}

fn fill(folder: &Path) {
    let ledger = Ledger::open(&Config::new(folder)).unwrap();
    let queue = ledger.queue();
    let mut batch = Vec::with_capacity(BATCH);
    let mut count = 0_u64;
    let mut position = None;
    let mut share = |worker: WorkerId, seconds: u64, last: bool| {
        count += 1;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&count.to_le_bytes());
        let (at, hash) = (Timestamp::from_secs(seconds), ShareHash::of(&hash));
        batch.push(Share { at, worker, work: Work(1 << 40), hash, reached: Difficulty::new(1.0) }.into());
        if batch.len() == BATCH || last {
            // A full queue empties.
            position = Some(loop {
                match queue.append(&batch) {
                    Ok(position) => break position,
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            });
            batch.clear();
        }
    };
    let mine: Vec<_> = (0..WORKERS).map(|n| ledger.worker("alice", &format!("rig{n}")).unwrap()).collect();
    let others: Vec<_> = (0..OTHERS).map(|n| ledger.worker(&format!("miner{n}"), "").unwrap()).collect();
    for hour in (0..HOURS).rev() {
        let at = now() - 3600 * hour - 60;
        let daily = if hour % 24 == 0 { &others[..] } else { &[] };
        daily.iter().for_each(|worker| share(*worker, at, false));
        mine.iter().enumerate().for_each(|(n, worker)| share(*worker, at, hour == 0 && n + 1 == mine.len()));
    }
    let progress = ledger.progress();
    while position.is_some_and(|position| progress.borrow().durable < position) {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(queue);
    ledger.close();
}

fn measure(address: SocketAddr, path: &str) -> (f64, f64, usize) {
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..REQUESTS {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        bytes = text.len();
    }
    times.sort_by(f64::total_cmp);
    (times[REQUESTS / 2], times[REQUESTS - 1], bytes)
}
