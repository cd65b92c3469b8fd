//! `stratum ledger export`.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::UNIX_EPOCH,
};

use serde_json::{Value, to_value};
use share_ledger::{
    Difficulty, Order, Period, Reader, Work, WorkerId,
    log::{Entry, Step},
    read_log,
};

use super::{
    DataDir, Failure, is_stdout,
    table::{Format, Table},
    time,
};

/// What to export.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// What to export
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    folder: DataDir,
    /// The form
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// From this time on: unix seconds, or 2027-01-31 or 2027-01-31T12:00:00Z; accounts, workers and blocks are never
    /// left out
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<u64>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<u64>,
    /// The file to write; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// Accepted shares one by one, as far back as the log has them
    Shares,
    /// Sums of pool, accounts and workers per minute
    Minutes,
    /// The same per hour
    Hours,
    /// The same per day
    Days,
    /// Refused shares of pool, accounts and workers per hour and reason
    Rejects,
    /// Accounts
    Accounts,
    /// Workers of all accounts
    Workers,
    /// Found blocks
    Blocks,
}

/// Unix seconds.
fn parse_time(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let whole = if text.len() == "2027-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    humantime::parse_rfc3339_weak(&whole)
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map(|since| since.as_secs())
        .ok_or_else(|| "expected unix seconds, 2027-01-31 or 2027-01-31T12:00:00Z".to_owned())
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let folder = args.folder.ledger()?;
    let out: Box<dyn Write> = if is_stdout(&args.out) {
        Box::new(io::stdout().lock())
    } else {
        let file = File::create(&args.out).map_err(|error| Failure(format!("{}: {error}", args.out.display())))?;
        Box::new(file)
    };
    match export(args, &folder, BufWriter::new(out)) {
        Ok(code) => Ok(code),
        // Whoever read it has seen enough.
        Err(Stop::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Stop::Write(error)) => Err(error.into()),
        Err(Stop::Read(failure)) => Err(failure),
    }
}

/// Why an export ends early.
enum Stop {
    Read(Failure),
    Write(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// For what reads.
fn read<T, E: std::error::Error>(result: Result<T, E>) -> Result<T, Stop> {
    result.map_err(|error| Stop::Read(error.into()))
}

fn export<W: Write>(args: &ExportArgs, folder: &Path, out: W) -> Result<ExitCode, Stop> {
    let range = (args.from.unwrap_or(0), args.to.unwrap_or(u64::MAX));
    let table = |fields| Table::new(out, args.format, fields);
    match args.what {
        What::Shares => return shares(folder, range, table(&SHARE_FIELDS)?),
        What::Minutes => sums(folder, Period::Minute, range, table(&SUM_FIELDS)?)?,
        What::Hours => sums(folder, Period::Hour, range, table(&SUM_FIELDS)?)?,
        What::Days => sums(folder, Period::Day, range, table(&SUM_FIELDS)?)?,
        What::Rejects => rejects(folder, range, table(&REJECT_FIELDS)?)?,
        What::Accounts => accounts(folder, table(&ACCOUNT_FIELDS)?)?,
        What::Workers => workers(folder, table(&WORKER_FIELDS)?)?,
        What::Blocks => blocks(folder, table(&BLOCK_FIELDS)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn work(work: Work) -> Value {
    to_value(work).unwrap_or_default()
}

fn difficulty(difficulty: Difficulty) -> Value {
    difficulty.get().into()
}

const SHARE_FIELDS: [&str; 7] = ["time_ms", "time", "account", "worker", "work", "hash", "difficulty"];

/// The names come with the shares: a worker's entry is before its first share. Status 1 when something could not be
/// read.
fn shares<W: Write>(folder: &Path, (from, to): (u64, u64), mut table: Table<W>) -> Result<ExitCode, Stop> {
    let mut reader = read(read_log(folder))?;
    let mut names: HashMap<WorkerId, (String, String)> = HashMap::new();
    let mut code = ExitCode::SUCCESS;
    while let Some(step) = read(reader.next(u64::MAX))? {
        let batch = match step {
            Step::Batch(batch) => batch,
            Step::Damage(damage) => {
                eprintln!("stratum ledger: {damage}");
                code = ExitCode::FAILURE;
                continue;
            }
        };
        for entry in batch.entries() {
            match read(entry)? {
                Entry::Worker(entry) => {
                    names.insert(entry.id, (entry.account, entry.worker));
                }
                Entry::Share(share) if (from..to).contains(&share.at.secs()) => {
                    let (account, worker) = match names.get(&share.worker) {
                        Some((account, worker)) => (account.clone().into(), worker.clone().into()),
                        None => (Value::Null, share.worker.number().into()),
                    };
                    table.row(&[
                        share.at.0.into(),
                        time(share.at).into(),
                        account,
                        worker,
                        work(share.work),
                        share.hash.to_string().into(),
                        difficulty(share.reached),
                    ])?;
                }
                _ => {}
            }
        }
    }
    table.end()?;
    Ok(code)
}

/// Passes rows on from a query whose visitor can not fail.
fn pass<W: Write>(
    table: &mut Table<W>,
    query: impl FnOnce(&mut dyn FnMut(&[Value]) -> bool) -> Result<(), share_ledger::DatabaseError>,
) -> Result<(), Stop> {
    let mut written = Ok(());
    read(query(&mut |row| {
        written = table.row(row);
        written.is_ok()
    }))?;
    Ok(written?)
}

const SUM_FIELDS: [&str; 7] = ["start", "time", "account", "worker", "shares", "work", "best"];

fn sums<W: Write>(folder: &Path, period: Period, (from, to): (u64, u64), mut table: Table<W>) -> Result<(), Stop> {
    let mut reader = read(Reader::open(folder))?;
    pass(&mut table, |each| {
        reader.each_sum(period, from, to, |row| {
            let start = share_ledger::Timestamp::from_secs(row.sum.start);
            each(&[
                row.sum.start.into(),
                time(start).into(),
                row.account.into(),
                row.worker.into(),
                row.sum.shares.into(),
                work(row.sum.work),
                difficulty(row.sum.best),
            ])
        })
    })?;
    Ok(table.end()?)
}

const REJECT_FIELDS: [&str; 6] = ["start", "time", "account", "worker", "reason", "count"];

fn rejects<W: Write>(folder: &Path, (from, to): (u64, u64), mut table: Table<W>) -> Result<(), Stop> {
    let mut reader = read(Reader::open(folder))?;
    pass(&mut table, |each| {
        reader.each_reject(Period::Hour, from, to, |row| {
            let start = share_ledger::Timestamp::from_secs(row.reject.start);
            each(&[
                row.reject.start.into(),
                time(start).into(),
                row.account.into(),
                row.worker.into(),
                row.reject.reason.into(),
                row.reject.count.into(),
            ])
        })
    })?;
    Ok(table.end()?)
}

const ACCOUNT_FIELDS: [&str; 9] =
    ["id", "account", "workers", "since", "last_share", "shares", "work", "best", "best_at"];

fn accounts<W: Write>(folder: &Path, mut table: Table<W>) -> Result<(), Stop> {
    let mut reader = read(Reader::open(folder))?;
    each_account(&mut reader, |_, account| {
        let totals = account.totals;
        table.row(&[
            account.id.number().into(),
            account.name.into(),
            account.workers.into(),
            time(totals.since).into(),
            time(totals.last_share).into(),
            totals.shares.into(),
            work(totals.work),
            difficulty(totals.best),
            time(totals.best_at).into(),
        ])?;
        Ok(())
    })?;
    Ok(table.end()?)
}

fn each_account(
    reader: &mut Reader,
    mut each: impl FnMut(&mut Reader, share_ledger::Account) -> Result<(), Stop>,
) -> Result<(), Stop> {
    for page in 0.. {
        let accounts = read(reader.accounts("", Order::Name, page * PAGE, PAGE))?;
        let is_last = accounts.len() < PAGE;
        for account in accounts {
            each(reader, account)?;
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Rows that are read at a time.
const PAGE: usize = share_ledger::MAX_ROWS;

const WORKER_FIELDS: [&str; 9] =
    ["id", "account", "worker", "since", "last_share", "shares", "work", "best", "best_at"];

fn workers<W: Write>(folder: &Path, mut table: Table<W>) -> Result<(), Stop> {
    let mut reader = read(Reader::open(folder))?;
    each_account(&mut reader, |reader, account| {
        for page in 0.. {
            let workers = read(reader.workers(account.id, page * PAGE, PAGE))?;
            for worker in &workers {
                let totals = worker.totals;
                table.row(&[
                    worker.id.number().into(),
                    account.name.clone().into(),
                    worker.name.clone().into(),
                    time(totals.since).into(),
                    time(totals.last_share).into(),
                    totals.shares.into(),
                    work(totals.work),
                    difficulty(totals.best),
                    time(totals.best_at).into(),
                ])?;
            }
            if workers.len() < PAGE {
                break;
            }
        }
        Ok(())
    })?;
    Ok(table.end()?)
}

const BLOCK_FIELDS: [&str; 9] =
    ["height", "hash", "found_at", "account", "worker", "value", "difficulty", "state", "depth"];

fn blocks<W: Write>(folder: &Path, mut table: Table<W>) -> Result<(), Stop> {
    let mut reader = read(Reader::open(folder))?;
    let mut after = None;
    loop {
        let blocks = read(reader.blocks(after, PAGE))?;
        for block in &blocks {
            let (account, worker) = block.finder.clone().unzip();
            table.row(&[
                block.height.into(),
                block.hash.to_string().into(),
                block.found_at.map(time).into(),
                account.into(),
                worker.into(),
                block.value.into(),
                block.reached.map_or(Value::Null, difficulty),
                block.state.clone().into(),
                block.depth.into(),
            ])?;
        }
        after = blocks.last().map(|block| (block.height, block.hash));
        if blocks.len() < PAGE {
            break;
        }
    }
    Ok(table.end()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_given_in_three_forms() {
        for (text, seconds) in
            [("1800000000", 1_800_000_000), ("2027-01-15", 1_799_971_200), ("2027-01-15T08:00:00Z", 1_800_000_000)]
        {
            assert_eq!(parse_time(text), Ok(seconds));
        }
        assert!(parse_time("yesterday").is_err());
        assert!(parse_time("1969-01-01").is_err());
    }
}
