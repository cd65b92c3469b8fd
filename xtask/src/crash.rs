//! A pool's process that is killed over and over: the crash tests of `test/integration`, with more kills.

use std::path::Path;

use crate::{
    command::{Failure, Result, cargo, check},
    core_node,
};

/// Kills when no number is given.
const DEFAULT_KILLS: u32 = 50;

/// `crash [--kills N]`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    let kills = match args {
        [] => DEFAULT_KILLS,
        [flag, number] if flag == "--kills" => {
            number.parse().map_err(|_| Failure::Usage(format!("`--kills` takes a number, got `{number}`")))?
        }
        _ => return Err(Failure::Usage(format!("`crash` takes --kills N, got `{}`", args.join(" ")))),
    };
    let node = core_node::provide(root)?;
    check(
        cargo(root)
            .args(["test", "--package", "stratum-integration-tests", "--test", "pool", "--", "crash::", "--nocapture"])
            .env("BITCOIN_NODE", node)
            .env("CRASH_TEST_KILLS", kills.to_string()),
    )
}
