//! Helpers for scenarios with real processes: a Bitcoin Core of one's own, a reader of template events, a pool and its miner.

pub mod core;
pub mod events;
pub mod faults;
pub mod http;
pub mod pool;
pub mod process;
pub mod sources;
pub mod swarm;
pub mod v1;
