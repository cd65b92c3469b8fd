//! The command line of `stratum pool` and `stratum-pool`.

use std::{path::PathBuf, process::ExitCode};

use stratum_runtime::{config, identity::load_authority_key, log, shutdown};

use crate::{
    config::{ENVIRONMENT, PoolConfig},
    server::Pool,
};

/// Runs a pool.
#[derive(Clone, Debug, clap::Args)]
pub struct PoolArgs {
    /// The configuration file; `stratum config pool` prints a commented default.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Writes logs as JSON, one object a line.
    #[arg(long)]
    pub log_json: bool,
}

/// Runs the pool until Ctrl-C; the exit code is 0 then, 2 for a bad configuration, 1 for other failures.
pub async fn run(args: PoolArgs) -> ExitCode {
    log::init(if args.log_json { log::Format::Json } else { log::Format::Human }, log::Level::INFO);
    let (config, sources) = match load(&args.config).and_then(|config| {
        let sources = config.build_sources().map_err(|error| error.to_string())?;
        Ok((config, sources))
    }) {
        Ok(loaded) => loaded,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let started = match shutdown::on_signal() {
        Ok(token) => Pool::start(&config, sources, token).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match started {
        Ok(pool) => {
            if let Some(authority) = pool.authority() {
                for address in pool.addresses() {
                    tracing::info!("miners connect to stratum2+tcp://{address}/{authority}");
                }
            }
            pool.join().await;
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Reads and checks a configuration, the key file included, without starting anything.
///
/// # Errors
/// A text that says what is wrong and what to do.
pub fn check(path: &std::path::Path) -> Result<(), String> {
    let config = load(path)?;
    if let Some(key) = &config.authority_key_file {
        load_authority_key(key).map_err(|error| error.to_string())?;
    }
    if !config.source.iter().any(|source| source.takes_raw_blocks()) {
        println!(
            "warning: no source takes raw blocks; a found block reaches the network only through the Template Provider \
             that made its template, and nobody tells how deep it is. Add a bitcoin-ipc or bitcoin-rpc source."
        );
    }
    Ok(())
}

fn load(path: &std::path::Path) -> Result<PoolConfig, String> {
    let config: PoolConfig = config::load(path, ENVIRONMENT, std::env::vars()).map_err(|error| error.to_string())?;
    config.check().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(config)
}
