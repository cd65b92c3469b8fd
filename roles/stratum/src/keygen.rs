//! `stratum keygen`.

use std::{path::PathBuf, process::ExitCode};

use stratum_runtime::identity::create_authority_key;

/// Where the key goes.
#[derive(Debug, clap::Args)]
pub struct KeygenArgs {
    /// The new file for the secret key; an existing file is never overwritten
    #[arg(long, value_name = "FILE", default_value = "authority.key")]
    out: PathBuf,
}

/// Makes a key and prints its public half.
pub fn run(args: &KeygenArgs) -> ExitCode {
    match create_authority_key(&args.out) {
        Ok(public) => {
            eprintln!("secret key written to {}; keep it private and backed up", args.out.display());
            println!("{public}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
