//! The pool as a process of its own, for scenarios that stop, kill or replace one.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: pool::cli::PoolArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    pool::cli::run(Cli::parse().args).await
}
