//! How large a world is, and what it is spared.

use crate::fault::Fault;

/// Hashes that miners compute in a world, and what else sets its size. Everything else follows from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Miners, from and to.
    pub miners: (u64, u64),
    /// Virtual seconds, from and to.
    pub seconds: (u64, u64),
    /// Most of the two multiplied: what a world costs.
    pub miner_seconds: u64,
    /// Hashes of all miners together.
    pub hashes: u64,
    /// Blocks that the pool's miners find, about.
    pub blocks: u64,
    /// Events that a report shows, the last ones.
    pub trace: usize,
    /// What is broken; nothing in a world that is to pass.
    pub fault: Option<Fault>,
}

impl Options {
    /// The size that `cargo xtask simulate` uses: up to half a second of CPU.
    pub const LARGE: Self = Self {
        miners: (10, 220),
        seconds: (120, 900),
        miner_seconds: 40_000,
        hashes: 160_000,
        blocks: 12,
        trace: 60,
        fault: None,
    };

    /// The size for `cargo test`.
    pub const SMALL: Self =
        Self { miners: (4, 16), seconds: (60, 240), miner_seconds: 4_000, hashes: 12_000, blocks: 6, ..Self::LARGE };
}
