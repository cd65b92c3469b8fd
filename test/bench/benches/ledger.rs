//! The share ledger: handing shares over, making them durable, and a page of an account with a year of history. Prints
//! a table in Markdown; of one part only when called with `append`, `durable` or `year`.

use std::{
    fs::{self, OpenOptions},
    hint::black_box,
    io::Write,
    path::Path,
    time::Duration,
};

use share_ledger::{
    Config, Difficulty, Ledger, Period, Position, Queue, Reader, Record, Retention, Share, ShareHash, ShareLedger,
    Subject, Timestamp, Work, WorkerId, log::SHARE_BYTES,
};
use stratum_bench::{Row, markdown, measure};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};

const ROUNDS: usize = 200;
/// Rounds of what waits for the disk each time.
const DISK_ROUNDS: usize = 50;

/// Shares that a shard hands over in one turn of its loop, in a flood.
const TURN: usize = 100;
/// Turns that become durable together.
const TURNS: usize = 100;
/// Bytes before the shares of a turn, and before those of a batch.
const CLOCK: usize = 9;
const HEADER: usize = 32;

const DAYS: u64 = 365;
const DAY: u64 = 86_400;
const START: u64 = 20_000 * DAY;
const ACCOUNTS: usize = 1_000;
const WORKERS_OF_ACCOUNT: usize = 10;

fn main() {
    // `cargo test --benches` only asks whether the benches run.
    let measured = std::env::args().any(|arg| arg == "--bench");
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let is_wanted = |part: &str| if measured { part.contains(&wanted) } else { part != "year" };
    let mut rows = Vec::new();
    for (part, row, rounds) in [
        ("append", append as fn() -> Row<'static>, ROUNDS),
        ("durable", one_durable, DISK_ROUNDS),
        ("durable", many_durable, DISK_ROUNDS),
        ("year", year, ROUNDS),
    ] {
        if is_wanted(part) {
            rows.push(measure(row(), if measured { rounds } else { 1 }));
        }
    }
    print!("{}", markdown(&rows));
}

struct Fixture {
    ledger: Ledger,
    queue: Box<dyn Queue>,
    turn: Vec<Record>,
    runtime: Runtime,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&config(folder.path())).unwrap();
        let worker = ledger.worker("alice", "rig1").unwrap();
        let queue = ledger.queue();
        let turn = (0..TURN).map(|number| share(worker, START, number as u64)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { ledger, queue, turn, runtime, folder }
    }

    fn wait(&self, position: Position) {
        wait(&self.runtime, self.ledger.progress(), |progress| progress.durable >= position);
    }
}

/// So that neither the queue's bound nor the pause between writes is measured.
fn config(folder: &Path) -> Config {
    Config { queue_bytes: usize::MAX / 2, commit_interval: Duration::ZERO, ..Config::new(folder) }
}

fn wait<T>(runtime: &Runtime, mut receiver: watch::Receiver<T>, what: impl FnMut(&T) -> bool) {
    runtime.block_on(async { drop(receiver.wait_for(what).await.unwrap()) });
}

fn share(worker: WorkerId, at: u64, number: u64) -> Record {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    let share = Share {
        at: Timestamp::from_secs(at),
        worker,
        work: Work(1 << 42),
        hash: ShareHash::of(&hash),
        reached: Difficulty::new(1000.0),
    };
    share.into()
}

/// What the caller pays. The limit is a copy of the bytes to a new buffer.
fn append() -> Row<'static> {
    let fixture = Fixture::new();
    let bytes = vec![7; CLOCK + TURN * SHARE_BYTES];
    Row::new("Hand over 100 shares")
        .ours(move || {
            let position = fixture.queue.append(&fixture.turn).unwrap();
            // The writer is not to fall behind without end.
            if position.0.is_multiple_of(TURN as u64 * 10_000) {
                fixture.wait(position);
            }
        })
        .limit(move || drop(black_box(bytes.clone())))
}

/// The limit is a write of the same bytes, and fdatasync, by the thread that waits.
fn one_durable() -> Row<'static> {
    let fixture = Fixture::new();
    let limit = plain_file(fixture.folder.path(), HEADER + CLOCK + SHARE_BYTES);
    Row::new("1 share, until it is durable")
        .ours(move || {
            let position = fixture.queue.append(&fixture.turn[..1]).unwrap();
            fixture.wait(position);
        })
        .limit(limit)
}

fn many_durable() -> Row<'static> {
    let fixture = Fixture::new();
    let limit = plain_file(fixture.folder.path(), HEADER + TURNS * (CLOCK + TURN * SHARE_BYTES));
    Row::new("10,000 shares in 100 calls, until they are durable")
        .ours(move || {
            let last = (0..TURNS).map(|_| fixture.queue.append(&fixture.turn).unwrap()).last();
            fixture.wait(last.unwrap());
        })
        .limit(limit)
}

fn plain_file(folder: &Path, bytes: usize) -> impl FnMut() + use<> {
    let mut file = OpenOptions::new().append(true).create(true).open(folder.join("plain")).unwrap();
    let bytes = vec![7; bytes];
    move || {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
    }
}

/// All that a page of an account shows, of a pool with 10,000 workers that all mined for a year.
fn year() -> Row<'static> {
    let folder = tempfile::tempdir().unwrap();
    let periods = fill_year(folder.path());
    let size = fs::metadata(folder.path().join(share_ledger::DATABASE)).unwrap().len();
    let sums = periods * DAYS * (ACCOUNTS * (WORKERS_OF_ACCOUNT + 1) + 1) as u64;
    eprintln!("{sums} sums in a database of {size} bytes: {} bytes each", size / sums);
    let mut reader = Reader::open(folder.path()).unwrap();
    Row::new("Account, 10 workers, a year of days of each").ours(move || {
        let _keep = &folder;
        let account = reader.account("account-500").unwrap().unwrap();
        let (from, to) = (START, START + DAYS * DAY);
        let days = reader.series(Subject::Account(account.id), Period::Day, from, to).unwrap();
        assert_eq!(days.len(), DAYS as usize);
        black_box(reader.rejects(Subject::Account(account.id), Period::Day, from, to).unwrap());
        let workers = reader.workers(account.id, 0, 100).unwrap();
        assert_eq!(workers.len(), WORKERS_OF_ACCOUNT);
        for worker in workers {
            black_box(reader.series(Subject::Worker(worker.id), Period::Day, from, to).unwrap());
        }
    })
}

/// Returns of how many lengths of periods there are sums.
fn fill_year(folder: &Path) -> u64 {
    let ledger = Ledger::open(&config(folder)).unwrap();
    let workers: Vec<WorkerId> = (0..ACCOUNTS * WORKERS_OF_ACCOUNT)
        .map(|number| ledger.worker(&format!("account-{}", number / WORKERS_OF_ACCOUNT), &format!("rig-{number}")))
        .map(Result::unwrap)
        .collect();
    let queue = ledger.queue();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for day in 0..DAYS {
        let at = START + day * DAY;
        let shares: Vec<Record> = workers.iter().map(|worker| share(*worker, at, day)).collect();
        let position = queue.append(&shares).unwrap();
        if day % 30 == 0 {
            wait(&runtime, ledger.indexed(), |indexed| *indexed >= position);
        }
    }
    ledger.close();
    // Of a pool that has run for a year, minutes and hours are gone but for the last; the database is made again so
    // that they leave no room.
    let retention =
        Retention { minutes: Duration::ZERO, hours: Duration::ZERO, shares: Duration::ZERO, share_bytes: 0 };
    for _ in 0..2 {
        Ledger::open(&Config { retention, ..config(folder) }).unwrap().close();
    }
    let made = share_ledger::rebuild(folder, |_, _| {}).unwrap();
    [made.minutes_from, made.hours_from, made.days_from].into_iter().flatten().count() as u64
}
