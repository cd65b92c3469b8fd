//! The command line of `stratum template-provider` and `stratum-template-provider`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use stratum_runtime::{config, identity::load_authority_key, log, shutdown};

use crate::{
    config::{ENVIRONMENT, TemplateProviderConfig},
    server::TemplateProvider,
};

/// Serves templates to pools and job declarators.
#[derive(Clone, Debug, clap::Args)]
pub struct TemplateProviderArgs {
    /// The configuration file; `stratum config template-provider` prints a commented default.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Writes logs as JSON, one object a line.
    #[arg(long)]
    pub log_json: bool,
}

/// Runs the Template Provider until Ctrl-C; the exit code is 0 then, 2 for a bad configuration, 1 for other failures.
pub async fn run(args: TemplateProviderArgs) -> ExitCode {
    log::init(if args.log_json { log::Format::Json } else { log::Format::Human }, log::Level::INFO);
    let loaded = load(&args.config).and_then(|config| {
        let source = config.build_source().map_err(|error| error.to_string())?;
        Ok((config, source))
    });
    let (config, source) = match loaded {
        Ok(loaded) => loaded,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let started = match shutdown::on_signal() {
        Ok(token) => TemplateProvider::start(&config, source, token).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match started {
        Ok(provider) => {
            if let Some(authority) = provider.authority() {
                for address in provider.addresses() {
                    tracing::info!("clients connect to stratum2+tcp://{address}/{authority}");
                }
            }
            provider.join().await;
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
pub fn check(path: &Path) -> Result<(), String> {
    let config = load(path)?;
    if let Some(key) = &config.authority_key_file {
        load_authority_key(key).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn load(path: &Path) -> Result<TemplateProviderConfig, String> {
    let config: TemplateProviderConfig =
        config::load(path, ENVIRONMENT, std::env::vars()).map_err(|error| error.to_string())?;
    config.check().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(config)
}
