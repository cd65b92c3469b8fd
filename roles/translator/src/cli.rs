//! The command line of `stratum translator` and `stratum-translator`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use stratum_runtime::{
    config::{self, differences},
    log, shutdown,
    sockets::Inherited,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{ENVIRONMENT, Tls, TranslatorConfig},
    server::Translator,
};

/// Keys that hold for connections made after a reload (SIGHUP). All others need a new process.
const RELOADED: &[&str] = &[
    "shares.per_minute",
    "shares.vardiff",
    "shares.min_difficulty",
    "shares.max_difficulty",
    "shares.start_difficulty",
    "shares.ntime_tolerance",
    "shares.verdict_ms",
    "limits.patience_seconds",
    "limits.lines_per_second",
    "limits.lines_burst",
    "limits.invalid_shares_per_second",
    "limits.invalid_shares_burst",
];

/// Runs a translator.
#[derive(Clone, Debug, clap::Args)]
pub struct TranslatorArgs {
    /// The configuration file; `stratum config translator` prints a commented default.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Writes logs as JSON, one object a line.
    #[arg(long)]
    pub log_json: bool,
}

/// Runs the translator until Ctrl-C; the exit code is 0 then, 2 for a bad configuration, 1 for other failures.
pub async fn run(args: TranslatorArgs) -> ExitCode {
    log::init(if args.log_json { log::Format::Json } else { log::Format::Human }, log::Level::INFO);
    let (config, table) = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let started = (|| {
        // Heard from the beginning: by default it kills.
        let hangups = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
        let token = shutdown::on_signal().map_err(|error| error.to_string())?;
        let translator = Translator::start(&config, Inherited::from_service_manager(), token.clone());
        Ok::<_, String>((translator.map_err(|error| error.to_string())?, hangups, token))
    })();
    let (translator, mut hangups, token) = match started {
        Ok(started) => started,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    for address in translator.addresses() {
        tracing::info!("miners connect to stratum+tcp://{address}");
    }
    let mut running = table;
    loop {
        tokio::select! {
            () = token.cancelled() => break,
            hangup = hangups.recv() => match hangup {
                Some(()) => reload(&args.config, &translator, &mut running),
                None => break,
            }
        }
    }
    translator.join().await;
    ExitCode::SUCCESS
}

/// Reads the configuration again. One that is wrong changes nothing.
fn reload(path: &Path, translator: &Translator, running: &mut toml::Table) {
    let changed = load(path).and_then(|(config, table)| {
        translator.reload(&config).map_err(|error| error.to_string())?;
        Ok(table)
    });
    let table = match changed {
        Ok(table) => table,
        Err(error) => return tracing::error!("the configuration was not reloaded: {error}"),
    };
    let changed = differences(running, &table);
    let (reloaded, waiting): (Vec<_>, Vec<_>) = changed.iter().partition(|key| RELOADED.contains(&key.as_str()));
    tracing::info!(?reloaded, "configuration reloaded, for connections to come");
    if !waiting.is_empty() {
        tracing::warn!(?waiting, "these changes need a new process");
    }
    // What needs a new process is told again at the next reload.
    for key in reloaded {
        config::copy(key, &table, running);
    }
}

/// Reads and checks a configuration, certificates included, without starting anything.
///
/// # Errors
/// A text that says what is wrong and what to do.
pub fn check(path: &Path) -> Result<(), String> {
    let (config, _) = load(path)?;
    let tls = config.listen.iter().filter_map(|listen| listen.tls.as_ref());
    tls.map(Tls::load).try_for_each(|loaded| loaded.map(drop).map_err(|error| error.to_string()))
}

fn load(path: &Path) -> Result<(TranslatorConfig, toml::Table), String> {
    let config: TranslatorConfig =
        config::load(path, ENVIRONMENT, std::env::vars()).map_err(|error| error.to_string())?;
    config.check().map_err(|error| format!("{}: {error}", path.display()))?;
    let table = config::load(path, ENVIRONMENT, std::env::vars()).map_err(|error| error.to_string())?;
    Ok((config, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_reloaded_exists() {
        let default: toml::Table = crate::config::DEFAULT.parse().unwrap();
        // It has no default, and is commented out.
        for key in RELOADED.iter().filter(|key| **key != "shares.max_difficulty") {
            let (table, key) = key.split_once('.').unwrap();
            assert!(default[table].as_table().unwrap().contains_key(key), "{table}.{key}");
        }
    }
}
