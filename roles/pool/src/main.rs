//! `stratum-pool`: the pool as a program of its own.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(version, about = "A Stratum V2 pool")]
struct Cli {
    #[command(flatten)]
    args: pool::cli::PoolArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    pool::cli::run(Cli::parse().args).await
}
