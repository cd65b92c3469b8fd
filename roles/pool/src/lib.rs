//! The Stratum V2 pool: takes templates from its sources, gives jobs to miners, judges their shares, submits blocks.
//!
//! [`hub`] turns templates into jobs and publishes [`snapshot`]s; a [`session`] serves one miner; [`blocks`] sees found blocks
//! through. All three are sans-io. [`server`] runs them: sessions in shards of `stratum_runtime`, the hub in one task.
//!
//! # Limits
//! Each is a named constant where it is enforced, or a key of `[limits]` in the [configuration](config::DEFAULT). A peer that
//! breaks a rule of the protocol costs its own connection, and one log line.
#![warn(missing_docs)]

pub mod blocks;
pub mod cli;
pub mod config;
pub mod epoch;
pub mod hub;
pub mod payout;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod store;
#[cfg(test)]
mod testing;

pub use config::PoolConfig;
pub use hub::PoolEvent;
pub use server::{Pool, StartError};
