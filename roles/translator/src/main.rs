//! `stratum-translator`: the translator as a program of its own.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(version, about = "Lets Stratum V1 miners mine to Stratum V2 pools")]
struct Cli {
    #[command(flatten)]
    args: translator::cli::TranslatorArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    translator::cli::run(Cli::parse().args).await
}
