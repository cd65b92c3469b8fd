//! `stratum doctor`: looks at all that a pool stands on, and says what to do.
//!
//! [`node`] asks the nodes, [`system`] looks at ports, clock, limits and disk, [`data`] at keys, ledger and blocks, [`http`] at
//! what is shown to whom. Nothing is changed, but for a small file in the data folder that is written and removed.

mod data;
mod http;
mod node;
mod system;

use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Instant, SystemTime},
};

use pool::PoolConfig;
use serde::Serialize;

use crate::solo::{self, SoloArgs};

/// What to look at.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct DoctorArgs {
    /// The pool's configuration file
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Prints JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    target: Option<Target>,
}

#[derive(Debug, clap::Subcommand)]
enum Target {
    /// Looks at what `stratum solo` with the same arguments would stand on
    Solo(Box<SoloArgs>),
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// It works, and something better is to be had.
    Warning,
    /// It does not work, or loses something.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// A word for the kind of check.
    check: &'static str,
    level: Level,
    text: String,
    /// What to do; none where nothing is to be done.
    advice: Option<String>,
}

impl Finding {
    fn new(check: &'static str, level: Level, text: impl Into<String>, advice: Option<&str>) -> Self {
        Self { check, level, text: text.into(), advice: advice.map(str::to_owned) }
    }

    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, text, None)
    }

    fn note(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Level::Note, text, None)
    }

    fn warning(check: &'static str, text: impl Into<String>, advice: &str) -> Self {
        Self::new(check, Level::Warning, text, Some(advice))
    }

    fn error(check: &'static str, text: impl Into<String>, advice: &str) -> Self {
        Self::new(check, Level::Error, text, Some(advice))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
        };
        write!(f, "{mark:8}{:8}{}", self.check, self.text)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "\n{:16}-> {advice}", ""))
    }
}

#[derive(Serialize)]
struct Report {
    /// No error among the findings.
    healthy: bool,
    findings: Vec<Finding>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        writeln!(f, "{} errors, {} warnings", count(Level::Error), count(Level::Warning))
    }
}

/// Looks, and prints what it finds. Exit code 0 without errors, 1 with one.
pub async fn run(args: &DoctorArgs) -> ExitCode {
    let findings = match &args.target {
        None => examine_file(args.config.as_deref().unwrap_or(Path::new(""))).await,
        Some(Target::Solo(solo)) => match solo::plan(solo).await {
            Ok(config) => examine(&config, true).await,
            Err(message) => vec![Finding::error("config", message, "change the arguments")],
        },
    };
    let healthy = findings.iter().all(|finding| finding.level < Level::Error);
    let report = Report { healthy, findings };
    // Who reads the first lines only may have gone.
    let _ = match args.json {
        // Text and truths: there is nothing that JSON can not hold.
        true => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&report).unwrap_or_default()),
        false => write!(io::stdout(), "{report}"),
    };
    if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn examine_file(path: &Path) -> Vec<Finding> {
    match pool::cli::load(path) {
        Ok(config) => {
            let mut findings = vec![Finding::ok("config", format!("{} is sound", path.display()))];
            findings.extend(examine(&config, false).await);
            findings
        }
        Err(message) => {
            vec![Finding::error("config", message, "correct it; without it there is nothing else to look at")]
        }
    }
}

/// `makes_key`: the program makes its key itself, where there is none.
async fn examine(config: &PoolConfig, makes_key: bool) -> Vec<Finding> {
    let began = (SystemTime::now(), Instant::now());
    let mut findings = Vec::new();
    if let Err(message) = stratum_notify::check(&config.notify) {
        findings.push(Finding::error("notify", message, "the pool does not start like this"));
    }
    let (nodes, tip_time) = node::examine(config).await;
    findings.extend(nodes);
    findings.extend(data::keys(config, makes_key));
    let owner = data::owner(&config.data_dir);
    findings.extend(system::ports(config, owner));
    findings.extend(http::examine(config));
    findings.extend(system::files(config));
    findings.extend(system::disk(&config.data_dir));
    findings.extend(data::ledger(&config.data_dir));
    findings.extend(data::blocks(&config.data_dir));
    findings.extend(system::clock(began, tip_time));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_by_people_and_programs() {
        let error = Finding::error("disk", "it is full", "make room");
        assert_eq!(error.to_string(), "ERROR   disk    it is full\n                -> make room");
        assert_eq!(Finding::ok("disk", "fine").to_string(), "ok      disk    fine");
        let json = serde_json::to_value(&error).unwrap();
        assert_eq!((&json["level"], &json["advice"]), (&"error".into(), &"make room".into()));
        assert!(Level::Ok < Level::Note && Level::Warning < Level::Error);
    }
}
