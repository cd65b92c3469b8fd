//! Whole worlds on virtual time, from one seed each: nodes, the pool, miners, and a network that misbehaves.
//!
//! # What is real
//! The pool's hub and sessions, the job factory, the extranonce space, the miners' client channels, the Template Provider's sessions and
//! their clients, every frame as bytes, every proof of work (double SHA-256 at easy targets). The drivers around the cores are models: the
//! [pool]'s of `stratum_runtime::shard` and `pool::server`, the [provider]'s of its `client` and of `template_source::sv2`'s driver.
//!
//! # What is simulated
//! Bitcoin [nodes](node) with a small [chain] of their own: blocks of other miners, races, reorganisations, restarts. A network
//! with delay, reordering between connections and never within one, disconnects, slow readers, peers that vanish. Miners that are late,
//! that repeat themselves, that are [hostile]. Template Providers whose connections break and that start anew. Crashes and orderly stops of
//! the pool, with a disk that keeps what had been written, and a ledger that is behind. Six worlds of ten acknowledge shares when they are
//! durable, the others when they are received.
//!
//! # What is checked
//! After every step, the rules in [checks]. A world that breaks one ends there, and its [`Outcome`] says where; the same seed, with the
//! same [`Options`], goes the same way again. [`Fault`]s break the pool on purpose, so that each checker is seen to fail.
//!
//! # Limits
//! A world has a few hundred miners at most, and half a second of CPU.
//!
//! ```
//! use simulation::{Options, run};
//!
//! let outcome = run(1, Options::SMALL);
//! assert_eq!(outcome.violation, None);
//! assert!(outcome.counters.acknowledged > 0);
//! ```
#![warn(missing_docs)]

pub mod chain;
pub mod checks;
mod counters;
mod fault;
pub mod hostile;
pub mod miner;
pub mod node;
mod options;
pub mod pool;
pub mod pow;
pub mod provider;
pub mod rng;
pub mod subscription;
mod trace;
pub mod wire;
mod world;

use std::fmt;

pub use checks::Violation;
pub use counters::Counters;
pub use fault::Fault;
pub use options::Options;
pub use trace::Trace;
pub use world::World;

/// What came of a world.
#[derive(Debug)]
pub struct Outcome {
    /// Where it came from.
    pub seed: u64,
    /// What happened.
    pub trace: Trace,
    /// How much happened.
    pub counters: Counters,
    /// The rule that was broken.
    pub violation: Option<Violation>,
}

/// Makes the world of a seed and lets it run.
pub fn run(seed: u64, options: Options) -> Outcome {
    World::new(seed, options).run()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Violation { check, what }) = &self.violation else {
            return write!(f, "seed {}: clean, trace {:016x}", self.seed, self.trace.hash());
        };
        write!(f, "{}seed {}, step {}: {check}: {what}", self.trace, self.seed, self.trace.steps())
    }
}
