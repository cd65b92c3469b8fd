//! The command line of `stratum mining-device` and of the program of its own.

use std::{num::NonZeroU32, path::PathBuf, process::ExitCode, str::FromStr};

use noise_sv2::{UrlError, url::EndpointUrl};
use stratum_runtime::{log, shutdown};
use tokio::sync::watch;

use crate::{
    config::{ChannelKind, DEFAULT_MAX_SHARES_PER_SECOND, MinerConfig, Protocol},
    run::{Error, run},
    status::Status,
};

/// Exit code for a configuration that makes no sense; clap uses it for arguments that it can not read.
const USAGE: u8 = 2;

/// Mines with the CPU, for tests and demonstrations.
#[derive(Clone, Debug, clap::Args)]
pub struct MiningDeviceArgs {
    /// Where to mine: stratum2+tcp://HOST:PORT/AUTHORITY-KEY; with Stratum V1 stratum+tcp://HOST:PORT or stratum+ssl://HOST:PORT
    #[arg(long, value_name = "URL", env = "STRATUM_MINING_DEVICE_URL")]
    pub url: MinerUrl,
    /// Who mines, as the server wants it; often ADDRESS.WORKER
    #[arg(long, value_name = "IDENTITY", env = "STRATUM_MINING_DEVICE_USER", default_value = "mining-device")]
    pub user: String,
    /// Password, with Stratum V1
    #[arg(long, value_name = "TEXT", default_value = "x")]
    pub password: String,
    /// With stratum+ssl: a file with the server's certificate, or its authority's, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_authority: Option<PathBuf>,
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

/// Where to mine, and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinerUrl {
    endpoint: EndpointUrl,
    scheme: Scheme,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    V2,
    V1,
    V1Tls,
}

impl FromStr for MinerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let schemes =
            [("stratum+tcp://", Scheme::V1), ("stratum+ssl://", Scheme::V1Tls), ("stratum+tls://", Scheme::V1Tls)];
        let v1 = schemes.into_iter().find_map(|(prefix, scheme)| Some((text.strip_prefix(prefix)?, scheme)));
        match v1 {
            None => Ok(Self { endpoint: text.parse()?, scheme: Scheme::V2 }),
            Some((address, scheme)) => {
                let endpoint: EndpointUrl = format!("stratum2+tcp://{address}").parse()?;
                // There is no key that it could stand for.
                if endpoint.authority().is_some() { Err(UrlError::Scheme) } else { Ok(Self { endpoint, scheme }) }
            }
        }
    }
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
        let mut config = MinerConfig::new(self.url.endpoint.clone(), self.user.clone());
        let password = self.password.clone();
        config.protocol = match self.url.scheme {
            Scheme::V2 => Protocol::V2,
            Scheme::V1 => Protocol::V1 { password, tls: None },
            Scheme::V1Tls => Protocol::V1 { password, tls: Some(self.tls_authority.clone().unwrap_or_default()) },
        };
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
    fn the_scheme_of_the_url_says_what_is_spoken() {
        let protocol = |line: &str| parse(&format!("x --url {line}")).map(|config| config.protocol).ok();
        let v1 = |password: &str, tls: Option<&str>| {
            Some(Protocol::V1 { password: password.into(), tls: tls.map(Into::into) })
        };
        assert_eq!(protocol("stratum2+tcp://a.example:1"), Some(Protocol::V2));
        assert_eq!(protocol("stratum+tcp://a.example:1"), v1("x", None));
        assert_eq!(protocol("stratum+tcp://[::1]:3333 --password d=5"), v1("d=5", None));
        assert_eq!(protocol("stratum+ssl://a.example:1 --tls-authority ca.pem"), v1("x", Some("ca.pem")));
        let key = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
        assert_eq!(protocol(&format!("stratum+tcp://a.example:1/{key}")), None);
        assert_eq!(protocol("http://a.example:1"), None);
        let ssl = parse("x --url stratum+ssl://a.example:1").unwrap();
        assert!(ssl.check().unwrap_err().to_string().contains("--tls-authority"));
    }

    #[test]
    fn unreadable_arguments_are_refused() {
        for line in ["x", "x --url pool.example:1", "x --url stratum2+tcp://a.example:1 --threads 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
