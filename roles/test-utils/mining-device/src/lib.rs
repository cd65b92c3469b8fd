//! A CPU miner for tests and demonstrations.

pub mod backoff;
pub mod config;
pub mod hasher;
pub mod search;
pub mod status;
pub mod workers;
