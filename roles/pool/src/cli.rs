//! The command line of `stratum pool` and `stratum-pool`.

use std::{path::PathBuf, process::ExitCode};

use stratum_runtime::{config, core::Clock, identity::load_authority_key, log, shutdown, sockets::Inherited};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{ENVIRONMENT, PoolConfig},
    reload,
    server::{Pool, load_certificates},
    succession::Beginning,
};

/// Runs a pool.
#[derive(Clone, Debug, clap::Args)]
pub struct PoolArgs {
    /// The configuration file; `stratum config pool` prints a commented default.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Takes the place of the pool that runs on the same data folder, if there is one: its miners are sent here, and no
    /// connection is refused.
    #[arg(long)]
    pub take_over: bool,
    /// Writes logs as JSON, one object a line.
    #[arg(long)]
    pub log_json: bool,
}

/// Runs the pool until Ctrl-C; the exit code is 0 then, 2 for a bad configuration, 1 for other failures.
pub async fn run(args: PoolArgs) -> ExitCode {
    log::init(if args.log_json { log::Format::Json } else { log::Format::Human }, log::Level::INFO);
    let (config, running, sources) = match load(&args.config).and_then(|config| {
        let sources = config.build_sources().map_err(|error| error.to_string())?;
        Ok((config, reload::table(&args.config)?, sources))
    }) {
        Ok(loaded) => loaded,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let started = async {
        // Heard from the beginning: by default it kills.
        let hangups = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
        let mut beginning = if args.take_over {
            Beginning::take_over(&config.data_dir).await.map_err(|error| format!("can not take over: {error}"))?
        } else {
            Beginning::default()
        };
        beginning.inherited.extend(Inherited::from_service_manager());
        let token = shutdown::on_signal().map_err(|error| error.to_string())?;
        let pool = Pool::begin(&config, sources, beginning, token).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((pool, hangups))
    };
    let started = started.await;
    match started {
        Ok((pool, hangups)) => {
            for (address, listen) in pool.addresses().iter().zip(&config.listen) {
                let authority = pool.authority().filter(|_| listen.noise).map(|key| format!("/{key}"));
                let v2 = listen.v2.then(|| format!("stratum2+tcp://{address}{}", authority.unwrap_or_default()));
                let v1 = listen.clear_v1().then(|| format!("stratum+tcp://{address}"));
                let tls = listen.tls.as_ref().map(|_| format!("stratum+ssl://{address}"));
                for url in [v2, v1, tls].into_iter().flatten() {
                    tracing::info!("miners connect to {url}");
                }
            }
            let reloads = tokio::spawn(reload::run(hangups, args.config, running, pool.reloader()));
            pool.join().await;
            reloads.abort();
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
    stratum_notify::check(&config.notify)?;
    load_certificates(&config).map_err(|error| error.to_string())?;
    if !config.source.iter().any(|source| source.takes_raw_blocks()) {
        println!(
            "warning: no source takes raw blocks; a found block reaches the network only through the Template Provider \
             that made its template, and nobody tells how deep it is. Add a bitcoin-ipc or bitcoin-rpc source."
        );
    }
    Ok(())
}

/// Sends a test notification to each receiver of a configuration.
///
/// # Errors
/// What is wrong with the configuration; a receiver that does not get it is no error.
pub async fn test_notifications(path: &std::path::Path) -> Result<Vec<stratum_notify::Tried>, String> {
    let config = load(path)?;
    stratum_notify::try_all(&config.notify, &crate::notify::origin(&config), Clock::start()).await
}

/// Reads and checks a configuration, and no file that it names.
///
/// # Errors
/// A text that says what is wrong and what to do.
pub fn load(path: &std::path::Path) -> Result<PoolConfig, String> {
    let config: PoolConfig = config::load(path, ENVIRONMENT, std::env::vars()).map_err(|error| error.to_string())?;
    config.check().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(config)
}
