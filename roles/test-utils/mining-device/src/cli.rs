//! The command line of `stratum mining-device` and of the program of its own.

use std::{num::NonZeroU32, path::PathBuf, process::ExitCode};

use noise_sv2::url::EndpointUrl;
use stratum_runtime::{log, shutdown};
use tokio::sync::watch;

use crate::{
    config::{ChannelKind, DEFAULT_MAX_SHARES_PER_SECOND, MinerConfig},
    run::{Error, run},
    status::Status,
};

/// Exit code for a configuration that makes no sense; clap uses it for arguments that it can not read.
const USAGE: u8 = 2;

/// Mines with the CPU, for tests and demonstrations.
#[derive(Clone, Debug, clap::Args)]
pub struct MiningDeviceArgs {
    /// Where to mine: stratum2+tcp://HOST:PORT/AUTHORITY-KEY
    #[arg(long, value_name = "URL", env = "STRATUM_MINING_DEVICE_URL")]
    pub url: EndpointUrl,
    /// Who mines, as the server wants it; often ADDRESS.WORKER
    #[arg(long, value_name = "IDENTITY", env = "STRATUM_MINING_DEVICE_USER", default_value = "mining-device")]
    pub user: String,
    /// The kind of channel to open
    #[arg(long, value_enum, default_value_t = Channel::Standard)]
    pub channel: Channel,
    /// Bytes of extranonce to ask for on an extended channel
    #[arg(long, value_name = "BYTES", default_value_t = 4)]
    pub extranonce_size: u16,
    /// Hashing threads [default: one for each core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroU32>,
    /// Hashes per second to announce [default: measured at the start]
    #[arg(long, value_name = "H/S")]
    pub nominal_hashrate: Option<f32>,
    /// Most shares a second; threads rest when the target is easier than that
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_SHARES_PER_SECOND)]
    pub max_shares_per_second: f64,
    /// Tells several devices of one user apart
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub device_id: String,
    /// Does not encrypt the connection, for servers without noise in trusted networks
    #[arg(long)]
    pub plain: bool,
    /// For debugging only: appends the secret keys of every encrypted connection to FILE, for `stratum decode`
    #[arg(long, value_name = "FILE")]
    pub debug_key_log: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
}

/// The kind of channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Channel {
    /// Jobs come with their merkle root
    Standard,
    /// The miner rolls an extranonce
    Extended,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

impl MiningDeviceArgs {
    /// The configuration that the arguments make.
    pub fn config(&self) -> MinerConfig {
        let mut config = MinerConfig::new(self.url.clone(), self.user.clone());
        config.plain = self.plain;
        config.channel = match self.channel {
            Channel::Standard => ChannelKind::Standard,
            Channel::Extended => ChannelKind::Extended { min_extranonce_size: self.extranonce_size },
        };
        config.threads = self.threads;
        config.nominal_hashrate = self.nominal_hashrate;
        config.max_shares_per_second = self.max_shares_per_second;
        config.device.device_id.clone_from(&self.device_id);
        config.debug_key_log.clone_from(&self.debug_key_log);
        config
    }
}

/// Mines until Ctrl-C; the exit code is 0 then, 2 for arguments that make no sense, 1 for other failures.
pub async fn run_cli(args: MiningDeviceArgs) -> ExitCode {
    let format = match args.log_format {
        LogFormat::Human => log::Format::Human,
        LogFormat::Json => log::Format::Json,
    };
    log::init(format, log::Level::INFO);
    let token = match shutdown::on_signal() {
        Ok(token) => token,
        Err(error) => return fail(ExitCode::FAILURE, &error),
    };
    let (sender, status) = watch::channel(Status::default());
    match run(args.config(), token, sender).await {
        Ok(()) => {
            let status = status.borrow();
            tracing::info!(
                "stopped after {} accepted and {} rejected shares",
                status.accepted,
                status.rejected_total()
            );
            ExitCode::SUCCESS
        }
        Err(error @ Error::Config(_)) => fail(ExitCode::from(USAGE), &error),
        Err(error) => fail(ExitCode::FAILURE, &error),
    }
}

fn fail(code: ExitCode, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    code
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: MiningDeviceArgs,
    }

    fn parse(line: &str) -> Result<MinerConfig, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.args.config())
    }

    #[test]
    fn arguments_make_a_configuration() {
        let config = parse("x --url stratum2+tcp://a.example:1").unwrap();
        assert_eq!((config.channel, config.threads, config.plain), (ChannelKind::Standard, None, false));
        assert_eq!(config.debug_key_log, None);
        let config = parse(
            "x --url stratum2+tcp://a.example:1 --user u.w --channel extended --extranonce-size 8 --threads 3 \
             --nominal-hashrate 1e6 --max-shares-per-second 5 --device-id d --plain --debug-key-log keys --log-format json",
        )
        .unwrap();
        assert_eq!(config.channel, ChannelKind::Extended { min_extranonce_size: 8 });
        assert_eq!((config.user_identity.as_str(), config.threads), ("u.w", NonZeroU32::new(3)));
        assert_eq!((config.nominal_hashrate, config.max_shares_per_second, config.plain), (Some(1e6), 5.0, true));
        assert_eq!(config.device.device_id, "d");
        assert_eq!(config.debug_key_log, Some("keys".into()));
    }

    #[test]
    fn unreadable_arguments_are_refused() {
        for line in ["x", "x --url pool.example:1", "x --url stratum2+tcp://a.example:1 --threads 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
