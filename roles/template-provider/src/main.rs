//! `stratum-template-provider`: the Template Provider as a program of its own.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(version, about = "A Stratum V2 Template Provider")]
struct Cli {
    #[command(flatten)]
    args: template_provider::cli::TemplateProviderArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    template_provider::cli::run(Cli::parse().args).await
}
