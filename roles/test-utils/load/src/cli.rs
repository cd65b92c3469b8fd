//! The command line of `stratum load`.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use network_helpers::Security;
use noise_sv2::url::EndpointUrl;
use stratum_runtime::shutdown;

use crate::{
    config::{self, ChannelKind, DEFAULT_SOURCES, DEFAULT_WINDOW, MAX_SOURCES, Pace, SwarmConfig},
    run::{Plan, run},
};

/// Exit code for arguments that make no sense.
const USAGE: u8 = 2;

/// Lets a swarm of simulated miners loose on a pool.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// The pool: stratum2+tcp://HOST:PORT/AUTHORITY-KEY. Without the key its certificate is not checked
    #[arg(long, value_name = "URL")]
    pub url: EndpointUrl,
    /// Does not encrypt
    #[arg(long)]
    pub plain: bool,
    /// Miners that stay
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub connections: u64,
    /// Connections on their way at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub in_flight: u64,
    /// The kind of channel to open
    #[arg(long, value_enum, default_value_t = Channel::Extended)]
    pub channel: Channel,
    /// Bytes of extranonce to ask for on an extended channel
    #[arg(long, value_name = "BYTES", default_value_t = 4)]
    pub extranonce_size: u16,
    /// Who mines; each miner adds a full stop and its number
    #[arg(long, value_name = "IDENTITY", default_value = "load")]
    pub user: String,
    /// Hashes per second that each miner names; 0 leaves the target to the pool
    #[arg(long, value_name = "H/S", default_value_t = 0.0)]
    pub nominal_hashrate: f32,
    /// Sends so many shares a second in all
    #[arg(long, value_name = "N", conflicts_with = "flood", value_parser = positive)]
    pub shares_per_second: Option<f64>,
    /// Sends shares as fast as they are acknowledged
    #[arg(long)]
    pub flood: bool,
    /// Shares of one miner that may wait for their acknowledgement
    #[arg(long, value_name = "N", default_value_t = DEFAULT_WINDOW as u64, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub window: u64,
    /// How long shares are sent, or jobs are listened to
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive)]
    pub seconds: f64,
    /// Part of the miners that read 256 bytes a second
    #[arg(long, value_name = "0..1", default_value_t = 0.0)]
    pub slow_readers: f64,
    /// How often further miners come and go
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub waves: u32,
    /// How many they are
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub wave_connections: u64,
    /// Loopback addresses to connect from, 127.0.0.2 and up, where the pool has one; 0 leaves it to the system
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SOURCES, value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_SOURCES)))]
    pub sources: u8,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_024))]
    pub threads: Option<u64>,
    /// The pool's process on this machine, to report its processor time and memory
    #[arg(long, value_name = "PID")]
    pub pool_pid: Option<u32>,
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Writes a plot over time
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Does not tell how it goes
    #[arg(long)]
    pub quiet: bool,
}

/// The kind of channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Channel {
    /// Jobs come with their merkle root
    Standard,
    /// The miner rolls an extranonce
    Extended,
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    // No more than a day's seconds, or what no machine sends.
    if value > 0.0 && value <= 1e9 { Ok(value) } else { Err("expected a number above 0, up to 1e9".to_owned()) }
}

impl LoadArgs {
    /// What the arguments ask for; the pool's name is looked up.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn plan(&self) -> Result<Plan, String> {
        let address = self.url.address();
        let pool = config::resolve(&address).map_err(|error| format!("--url: {address}: {error}"))?;
        let security = match self.plain {
            true => Security::Plain,
            false => Security::Noise { authority: self.url.authority() },
        };
        if !(0.0..=1.0).contains(&self.slow_readers) {
            return Err("--slow-readers: expected a part from 0 to 1".to_owned());
        }
        let mut swarm = SwarmConfig::new(pool, security);
        swarm.channel = match self.channel {
            Channel::Standard => ChannelKind::Standard,
            Channel::Extended => ChannelKind::Extended { extranonce_size: self.extranonce_size },
        };
        swarm.user.clone_from(&self.user);
        swarm.nominal_hashrate = self.nominal_hashrate;
        swarm.threads = self.threads.map_or(swarm.threads, |threads| threads as usize);
        swarm.window = self.window as usize;
        swarm.slow_readers = self.slow_readers;
        swarm.sources = self.sources;
        Ok(Plan {
            swarm,
            connections: self.connections,
            in_flight: usize::try_from(self.in_flight).unwrap_or(usize::MAX),
            waves: self.waves,
            wave_connections: self.wave_connections,
            shares: match self.flood {
                true => Some(Pace::AsAcknowledged),
                false => self.shares_per_second.map(Pace::PerSecond),
            },
            time: Duration::from_secs_f64(self.seconds),
            pool_pid: self.pool_pid,
        })
    }
}

/// Runs the swarm; Ctrl-C ends it early, with a report of what there is. The exit code is 0 when at least one miner got
/// work, 2 for arguments that make no sense, else 1.
pub async fn run_cli(args: LoadArgs) -> ExitCode {
    let plan = match args.plan() {
        Ok(plan) => plan,
        Err(message) => return fail(ExitCode::from(USAGE), &message),
    };
    let stop = match shutdown::on_signal() {
        Ok(stop) => stop,
        Err(error) => return fail(ExitCode::FAILURE, &error),
    };
    let quiet = args.quiet;
    let report = tokio::task::spawn_blocking(move || {
        run(&plan, &mut |line| {
            if !quiet {
                eprintln!("{line}");
            }
            !stop.is_cancelled()
        })
    })
    .await;
    let report = match report {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return fail(ExitCode::FAILURE, &error),
        Err(error) => return fail(ExitCode::FAILURE, &error),
    };
    match args.json {
        true => match report.json() {
            Ok(json) => println!("{json}"),
            Err(error) => return fail(ExitCode::FAILURE, &error),
        },
        false => print!("{}", report.table()),
    }
    if let Some(file) = &args.svg
        && let Err(error) = fs::write(file, report.svg())
    {
        return fail(ExitCode::FAILURE, &format!("{}: {error}", file.display()));
    }
    if report.connected() { ExitCode::SUCCESS } else { fail(ExitCode::FAILURE, &"no miner got work") }
}

fn fail(code: ExitCode, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("stratum load: {error}");
    code
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn parse(line: &str) -> Result<Plan, String> {
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        cli.args.plan()
    }

    #[test]
    fn arguments_make_a_plan() {
        let plan = parse("x --url stratum2+tcp://127.0.0.1:1").unwrap();
        assert_eq!((plan.connections, plan.in_flight, plan.waves, plan.shares), (100, 64, 0, None));
        assert!(matches!(plan.swarm.security, Security::Noise { authority: None }));
        assert_eq!(plan.swarm.channel, ChannelKind::Extended { extranonce_size: 4 });
        let plan = parse(
            "x --url stratum2+tcp://127.0.0.1:1 --plain --connections 7 --in-flight 3 --channel standard --user u \
             --nominal-hashrate 1e6 --shares-per-second 2.5 --window 9 --seconds 0.5 --slow-readers 0.1 --waves 2 \
             --wave-connections 4 --sources 1 --threads 1 --pool-pid 5",
        )
        .unwrap();
        assert!(matches!(plan.swarm.security, Security::Plain));
        assert_eq!((plan.connections, plan.in_flight, plan.waves, plan.wave_connections), (7, 3, 2, 4));
        assert_eq!((plan.shares, plan.time), (Some(Pace::PerSecond(2.5)), Duration::from_millis(500)));
        assert_eq!((plan.swarm.window, plan.swarm.threads, plan.swarm.sources, plan.pool_pid), (9, 1, 1, Some(5)));
        let plan = parse("x --url stratum2+tcp://127.0.0.1:1 --flood").unwrap();
        assert_eq!(plan.shares, Some(Pace::AsAcknowledged));
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        for arguments in [
            "--connections 0",
            "--in-flight 0",
            "--flood --shares-per-second 1",
            "--shares-per-second 0",
            "--seconds -1",
            "--seconds NaN",
            "--slow-readers 1.5",
            "--sources 251",
            "--window 0",
            "--threads 0",
        ] {
            assert!(parse(&format!("x --url stratum2+tcp://127.0.0.1:1 {arguments}")).is_err(), "{arguments}");
        }
        assert!(parse("x").is_err());
    }
}
