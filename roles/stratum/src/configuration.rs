//! `stratum config` and `stratum check-config`.

use std::{path::PathBuf, process::ExitCode};

/// A role that has a configuration file.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Role {
    /// The pool
    Pool,
    /// The template provider
    TemplateProvider,
    /// The translator
    Translator,
}

/// Whose default to print.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// The role
    #[arg(value_enum)]
    role: Role,
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckConfigArgs {
    /// The role
    #[arg(value_enum)]
    role: Role,
    /// Its configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Prints a commented default.
pub fn print(args: &ConfigArgs) -> ExitCode {
    match args.role {
        Role::Pool => print!("{}", pool::config::DEFAULT),
        Role::TemplateProvider => print!("{}", template_provider::config::DEFAULT),
        Role::Translator => print!("{}", translator::config::DEFAULT),
    }
    ExitCode::SUCCESS
}

/// Says whether a configuration is sound; the exit code is 2 when it is not.
pub fn check(args: &CheckConfigArgs) -> ExitCode {
    let checked = match args.role {
        Role::Pool => pool::cli::check(&args.config),
        Role::TemplateProvider => template_provider::cli::check(&args.config),
        Role::Translator => translator::cli::check(&args.config),
    };
    match checked {
        Ok(()) => {
            println!("{} is sound", args.config.display());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
