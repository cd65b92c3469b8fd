//! A CPU miner for tests and demonstrations.

pub mod backoff;
pub mod config;
pub mod hasher;
pub mod redirect;
pub mod search;
pub mod session;
pub mod status;
pub mod workers;
