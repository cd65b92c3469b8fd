//! `stratum-mining-device`: the CPU miner as a program of its own.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(version, about = "A CPU miner for Stratum V2")]
struct Cli {
    #[command(flatten)]
    args: mining_device::cli::MiningDeviceArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    mining_device::cli::run_cli(Cli::parse().args).await
}
