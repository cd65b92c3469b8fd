//! The pool, for Stratum V2 and V1: takes templates from its sources, gives jobs to miners, judges their shares, submits blocks
//! (sv2-spec §5, the server's side).
//!
//! [`hub`] turns templates into jobs and publishes [`snapshot`]s; a [`session`] serves one miner of Stratum V2, one of [`v1`] a miner of Stratum V1, on the same jobs and under the same promise; [`blocks`] sees found blocks
//! through. All of these are sans-io. [`server`] runs them: sessions in shards of `stratum_runtime`, the hub in one task.
//!
//! # What it refuses
//! Other protocols and versions, flags it does not support, custom jobs, messages that are malformed, out of place or
//! over the limit, channels it has no room for. Whatever else is wrong with a share, one that is a block is
//! submitted.
//!
//! # Limits
//! Each is a named constant where it is enforced, or a key of `[limits]` in the [configuration](config::DEFAULT). A peer that
//! breaks a rule of the protocol costs its own connection, and one log line.
//!
//! # Example
//! A pool on a devnet, without encryption, on a free port:
//! ```
//! use pool::{Pool, PoolConfig, config::ENVIRONMENT};
//! use stratum_runtime::{config::parse, shutdown::Shutdown};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let text = format!(
//!     "network = 'regtest'
//!      payout = 'raw(51)'
//!      data_dir = '{}'
//!      listen = [{{ address = '127.0.0.1:0', noise = false }}]
//!      http = {{ operator = false }}
//!      source = [{{ kind = 'devnet' }}]",
//!     folder.path().display()
//! );
//! let config: PoolConfig = parse(&text, "example", ENVIRONMENT, std::env::vars())?;
//! let shutdown = Shutdown::new();
//! let pool = Pool::start(&config, config.build_sources()?, shutdown.clone()).await?;
//! println!("miners connect to {}", pool.addresses()[0]);
//! shutdown.cancel();
//! pool.join().await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

pub mod api;
pub mod blocks;
pub mod cli;
pub mod config;
pub mod connection;
pub mod epoch;
pub mod hold;
pub mod hub;
pub mod ledger;
pub mod limits;
pub mod notify;
pub mod payout;
pub mod payouts;
pub mod profile;
pub mod registry;
pub mod reload;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod store;
pub mod succession;
#[cfg(test)]
mod testing;
pub mod user;
pub mod v1;

pub use config::PoolConfig;
pub use hub::PoolEvent;
pub use server::{Pool, StartError};
