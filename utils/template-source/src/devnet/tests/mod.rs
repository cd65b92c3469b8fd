mod chain;
mod subscription;

use super::{Devnet, DevnetConfig};

/// A devnet without a timer for transactions.
fn quiet() -> DevnetConfig {
    DevnetConfig { transactions_per_tick: 0, fee_check: std::time::Duration::ZERO, seed: 7, ..DevnetConfig::default() }
}

fn devnet() -> Devnet {
    Devnet::new(quiet()).unwrap()
}
