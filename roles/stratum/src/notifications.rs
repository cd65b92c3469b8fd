//! `stratum test-notifications`.

use std::{path::PathBuf, process::ExitCode};

/// Whose receivers to try.
#[derive(Debug, clap::Args)]
pub struct TestNotificationsArgs {
    /// The pool's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Tells each receiver something; the exit code is 1 when one did not get it, or when there is none, 2 for a bad configuration.
pub async fn test(args: &TestNotificationsArgs) -> ExitCode {
    let tried = match pool::cli::test_notifications(&args.config).await {
        Ok(tried) => tried,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    if tried.is_empty() {
        eprintln!("{} names no receiver: see [notify] in `stratum config pool`", args.config.display());
        return ExitCode::FAILURE;
    }
    let mut all_have_it = true;
    for receiver in tried {
        match receiver.failure {
            None => println!("{}: has it", receiver.receiver),
            Some(reason) => {
                all_have_it = false;
                println!("{}: FAILED: {reason}", receiver.receiver);
            }
        }
    }
    if all_have_it { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
