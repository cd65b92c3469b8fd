//! `stratum ledger`: a pool's share ledger from outside. All but `rebuild` work while the pool runs.

mod export;
mod table;

use std::{
    fmt,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde::Serialize;
use share_ledger::{
    BackedUp, DatabaseState, LEDGER_FOLDER, LogFiles, Overview, Reader, Rebuilt, Timestamp, Verification, log_files,
};

/// What to do with the ledger.
#[derive(Debug, clap::Args)]
pub struct LedgerArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints totals, and what is kept
    Stats(Common),
    /// Writes shares, sums, accounts, workers or blocks as CSV or JSON
    Export(export::ExportArgs),
    /// Reads all of the log and compares the database with it; status 1 when something is wrong
    Verify(Common),
    /// Copies the log, also while the pool runs; again to the same place, what is new
    Backup(BackupArgs),
    /// Makes the database again from the log; the pool must not run
    Rebuild(Common),
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    folder: DataDir,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct BackupArgs {
    #[command(flatten)]
    common: Common,
    /// A data folder for the copy; made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Debug, clap::Args)]
struct DataDir {
    /// The pool's data folder (data_dir in its configuration)
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

impl DataDir {
    /// The ledger's folder; what is no ledger is an error, so that a wrong path does not look like an empty ledger.
    fn ledger(&self) -> Result<PathBuf, Failure> {
        let folder = self.data_dir.join(LEDGER_FOLDER);
        if folder.join(share_ledger::LOG_FOLDER).is_dir() {
            Ok(folder)
        } else {
            Err(Failure(format!("{} has no ledger", self.data_dir.display())))
        }
    }
}

/// What went wrong, for people.
#[derive(Debug)]
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs one of the subcommands.
pub fn run(args: &LedgerArgs) -> ExitCode {
    let done = match &args.command {
        Command::Stats(common) => stats(common),
        Command::Export(args) => export::run(args),
        Command::Verify(common) => verify(common),
        Command::Backup(args) => backup(args),
        Command::Rebuild(common) => rebuild(common),
    };
    match done {
        Ok(code) => code,
        Err(Failure(message)) => {
            eprintln!("stratum ledger: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Prints as JSON or for people.
fn print<T: Serialize + fmt::Display>(value: &T, json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string_pretty(value)?);
    } else {
        print!("{value}");
    }
    Ok(())
}

#[derive(Serialize)]
struct Stats {
    #[serde(flatten)]
    overview: Overview,
    log: LogFiles,
    database_bytes: u64,
}

fn stats(common: &Common) -> Result<ExitCode, Failure> {
    let folder = common.folder.ledger()?;
    let overview = Reader::open(&folder)?.overview()?;
    let database_bytes = std::fs::metadata(folder.join(share_ledger::DATABASE))?.len();
    print(&Stats { overview, log: log_files(&folder)?, database_bytes }, common.json)?;
    Ok(ExitCode::SUCCESS)
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overview { accounts, workers, shares, work, best, best_by, last_share, rejects, blocks, damage, .. } =
            &self.overview;
        writeln!(f, "accounts         {accounts}")?;
        writeln!(f, "workers          {workers}")?;
        writeln!(f, "accepted shares  {shares}")?;
        writeln!(f, "their work       {work} hashes")?;
        let by = best_by.as_ref().map_or(String::new(), |(account, worker)| format!(" by {}", name(account, worker)));
        writeln!(f, "best difficulty  {:.3}{by}", best.get())?;
        if *shares > 0 {
            writeln!(f, "last share       {}", time(*last_share))?;
        }
        for (reason, count) in rejects {
            writeln!(f, "refused shares   {count} {reason}")?;
        }
        for (state, count) in blocks {
            writeln!(f, "blocks           {count} {state}")?;
        }
        let LogFiles { segments, segment_bytes, oldest_segment, summaries, summary_bytes } = &self.log;
        let since = oldest_segment.map_or(String::new(), |oldest| format!(", since {}", time(oldest)));
        writeln!(f, "log of shares    {segments} files, {}{since}", size(*segment_bytes))?;
        writeln!(f, "log of sums      {summaries} files, {}", size(*summary_bytes))?;
        writeln!(f, "database         {}", size(self.database_bytes))?;
        for (first, last) in damage {
            writeln!(f, "DAMAGE           batches {first} to {last} of the log could not be read")?;
        }
        Ok(())
    }
}

fn verify(common: &Common) -> Result<ExitCode, Failure> {
    let folder = common.folder.ledger()?;
    let files = log_files(&folder)?;
    let mut progress = Progress::new("read", files.segment_bytes + files.summary_bytes);
    let found = share_ledger::verify(&folder, |bytes| progress.show(bytes))?;
    progress.end();
    let sound = found.is_sound();
    print(&Verified(found), common.json)?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Serialize)]
struct Verified(Verification);

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verification { batches, shares, work, last, torn_bytes, damage, lost, malformed, database } = &self.0;
        writeln!(f, "{batches} batches, the last is number {last}: {shares} accepted shares, {work} hashes")?;
        if *torn_bytes > 0 {
            writeln!(f, "{torn_bytes} bytes of writes that failed; nothing in them was acknowledged")?;
        }
        for damage in damage {
            writeln!(f, "DAMAGE: {damage}")?;
        }
        for (first, last) in lost {
            writeln!(f, "DAMAGE: batches {first} to {last} could not be read when they were summed up")?;
        }
        for sequence in malformed {
            writeln!(f, "DAMAGE: batch {sequence} has a right checksum, but no records that this program knows")?;
        }
        match database {
            DatabaseState::Agrees { position } => writeln!(f, "the database agrees, up to batch {position}")?,
            DatabaseState::Differs { position, log_shares, database_shares } => writeln!(
                f,
                "DAMAGE: up to batch {position} the log has {log_shares} shares, the database {database_shares}; \
                 run `stratum ledger rebuild`"
            )?,
            DatabaseState::Unreadable { reason } => writeln!(f, "DAMAGE: the database can not be read: {reason}")?,
            DatabaseState::Behind => {
                writeln!(f, "the database is behind what has been summed up: run `stratum ledger rebuild`")?;
            }
        }
        if self.0.is_sound() { writeln!(f, "all is in order") } else { Ok(()) }
    }
}

fn backup(args: &BackupArgs) -> Result<ExitCode, Failure> {
    let copied = share_ledger::backup(&args.common.folder.ledger()?, &args.to.join(LEDGER_FOLDER))?;
    print(&Copied(copied), args.common.json)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Copied(BackedUp);

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BackedUp { files, copied, bytes } = self.0;
        writeln!(f, "{files} files of the log are in the backup; {copied} were copied now, {}", size(bytes))
    }
}

fn rebuild(common: &Common) -> Result<ExitCode, Failure> {
    let folder = common.folder.ledger()?;
    let mut progress = Progress::new("batch", 0);
    let rebuilt = share_ledger::rebuild(&folder, |done, last| {
        progress.total = last;
        progress.show(done);
    })?;
    progress.end();
    let sound = rebuilt.damage.is_empty();
    print(&Made(rebuilt), common.json)?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Serialize)]
struct Made(Rebuilt);

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rebuilt { last, minutes_from, hours_from, days_from, damage } = &self.0;
        writeln!(f, "the database has been made again, up to batch {last}")?;
        for (what, from) in [("minute", minutes_from), ("hour", hours_from), ("day", days_from)] {
            match from {
                Some(from) => writeln!(f, "sums per {what} begin at {}", time(Timestamp::from_secs(*from)))?,
                None => writeln!(f, "there are no sums per {what}")?,
            }
        }
        if minutes_from > days_from || hours_from > days_from {
            writeln!(f, "shorter periods before these times can not be restored: the log has only longer ones there")?;
        }
        for (first, last) in damage {
            writeln!(f, "DAMAGE: batches {first} to {last} of the log could not be read")?;
        }
        Ok(())
    }
}

/// Tells people who watch how far a long work is.
struct Progress {
    what: &'static str,
    total: u64,
    shown: Option<Instant>,
    watched: bool,
    started: Instant,
}

impl Progress {
    fn new(what: &'static str, total: u64) -> Self {
        Self { what, total, shown: None, watched: io::stderr().is_terminal(), started: Instant::now() }
    }

    fn show(&mut self, done: u64) {
        let due = self.shown.is_none_or(|at| at.elapsed() >= Duration::from_millis(200));
        if self.watched && due && self.started.elapsed() >= Duration::from_secs(1) {
            self.shown = Some(Instant::now());
            eprint!("\r{} {done} of {} ({} %) ", self.what, self.total, done * 100 / self.total.max(1));
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            eprintln!();
        }
    }
}

fn time(at: Timestamp) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(at.0)) {
        // Past the year 9999 it has no such form.
        Some(time) if at.secs() < 253_402_300_800 => humantime::format_rfc3339_millis(time).to_string(),
        _ => format!("{} ms", at.0),
    }
}

fn name(account: &str, worker: &str) -> String {
    if worker.is_empty() { account.to_owned() } else { format!("{account}.{worker}") }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Whether a path may be written; `-` is standard output.
fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_form_whatever_they_are() {
        assert_eq!(time(Timestamp(1_800_000_000_123)), "2027-01-15T08:00:00.123Z");
        assert_eq!(time(Timestamp(u64::MAX)), "18446744073709551615 ms");
    }
}
