//! `stratum`: every role of Stratum V2 in one program, one subcommand each.

mod configuration;
mod decode;
mod demo;
mod doctor;
mod keygen;
mod ledger;
mod notifications;
mod solo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "stratum", version, about = "Stratum V2: from a Bitcoin node's templates to blocks")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a devnet, a pool with its dashboard and CPU miners of each protocol, and prints each accepted block
    Demo(demo::DemoArgs),
    /// Runs all that a solo miner needs: finds the node, makes the key, says where miners connect
    Solo(solo::SoloArgs),
    /// Runs a pool
    Pool(pool::cli::PoolArgs),
    /// Serves block templates over the Template Distribution Protocol
    TemplateProvider(template_provider::cli::TemplateProviderArgs),
    /// Lets miners of Stratum V1 mine to pools of Stratum V2
    Translator(translator::cli::TranslatorArgs),
    /// Mines with the CPU, for tests and demonstrations
    MiningDevice(mining_device::cli::MiningDeviceArgs),
    /// Lets a swarm of simulated miners loose on a pool
    Load(load::cli::LoadArgs),
    /// Looks into a pool's share ledger, exports it, checks it, makes its database again
    Ledger(ledger::LedgerArgs),
    /// Prints Stratum V2 messages from bytes or a packet capture, field by field
    Decode(decode::DecodeArgs),
    /// Makes an authority key for a pool or a template provider
    Keygen(keygen::KeygenArgs),
    /// Prints the commented default configuration of a role
    Config(configuration::ConfigArgs),
    /// Checks a configuration without starting anything
    CheckConfig(configuration::CheckConfigArgs),
    /// Looks at configuration, nodes, ports, clock, keys, limits, disk and ledger, and says what to do
    Doctor(doctor::DoctorArgs),
    /// Sends a test notification to each receiver that a pool's configuration names
    TestNotifications(notifications::TestNotificationsArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(args) => demo::run(args).await,
        Command::Solo(args) => solo::run(args).await,
        Command::Pool(args) => pool::cli::run(args).await,
        Command::TemplateProvider(args) => template_provider::cli::run(args).await,
        Command::Translator(args) => translator::cli::run(args).await,
        Command::MiningDevice(args) => mining_device::cli::run_cli(args).await,
        Command::Load(args) => load::cli::run_cli(args).await,
        Command::Ledger(args) => ledger::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Config(args) => configuration::print(&args),
        Command::CheckConfig(args) => configuration::check(&args),
        Command::Doctor(args) => doctor::run(&args).await,
        Command::TestNotifications(args) => notifications::test(&args).await,
    }
}
