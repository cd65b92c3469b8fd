//! What a devnet can be told.

use std::{fmt, time::Duration};

use bitcoin::CompactTarget;

use super::rules::target_from_compact;

/// Settings of a devnet. The defaults are regtest's, with a few transactions a second.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// Compact target of every block after genesis; there is no retargeting. The default is regtest's `0x207fffff`, which
    /// every second hash meets. Harder values make a devnet that a real node would not follow.
    pub nbits: CompactTarget,
    /// Where keys, coins and transactions follow from.
    pub seed: u64,
    /// Blocks mined at the start, so that coins mature; only where the target is easy. At a harder target coins exist from
    /// genesis on instead.
    pub bootstrap_blocks: u32,
    /// Blocks between halvings of the subsidy, 150 on regtest. Zero means that it never halves.
    pub halving_interval: u32,
    /// Pause between two rounds of the transaction producer.
    pub tick: Duration,
    /// Transactions made in each round; zero makes none.
    pub transactions_per_tick: u32,
    /// Pause between two looks at the fees that a new template would have.
    pub fee_check: Duration,
    /// Satoshis by which the fees must have grown for a new template.
    pub fee_threshold: u64,
    /// What is told of the next attempt while the devnet is stopped.
    pub retry: Duration,
    /// Unix seconds at the end of the bootstrap, not ahead of the clock; the system's clock if missing. With it and `seed`
    /// the bootstrap repeats.
    pub start_time: Option<u32>,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        DevnetConfig {
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            seed: 0,
            bootstrap_blocks: 110,
            halving_interval: 150,
            tick: Duration::from_millis(500),
            transactions_per_tick: 2,
            fee_check: Duration::from_secs(5),
            fee_threshold: 10_000,
            retry: Duration::from_secs(1),
            start_time: None,
        }
    }
}

impl DevnetConfig {
    /// Whether the values make a chain.
    pub fn check(&self) -> Result<(), ConfigError> {
        match target_from_compact(self.nbits) {
            Some(_) => Ok(()),
            None => Err(ConfigError::Target(self.nbits)),
        }
    }
}

/// Settings that no chain can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The compact target is zero, negative, or easier than `0x207fffff`.
    Target(CompactTarget),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Target(bits) => write!(
                f,
                "devnet nbits must be a positive compact target at most 0x207fffff, got 0x{:08x}",
                bits.to_consensus()
            ),
        }
    }
}

impl std::error::Error for ConfigError {}
