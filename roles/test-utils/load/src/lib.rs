//! A swarm of simulated miners, to find out what a Stratum V2 pool can take: `stratum load`.
//!
//! Each miner is a connection of its own with one standard or extended channel (sv2-spec §5.2), with noise or without. Its
//! shares are honest: new each, and hashed until they meet the target. So that hashing does not become what is measured, the
//! pool has to hand out its easiest targets.
//!
//! # Map
//! [`Swarm`] leads threads through phases: connect, come and go in waves, submit. Each thread (`worker`) has an event
//! loop over its part of the connections; `miner` is what one connection says and does, without socket and clock; `work`
//! keeps jobs and searches for shares. [`stats`] is what is counted, [`process`] what a process uses, [`report`] what comes of
//! it. [`run()`] is a whole run of [`cli`]; `cargo xtask bench pool` leads a swarm itself.
//!
//! A miner of Stratum V1 would be another `miner`: the event loop knows frames only in `worker/connection.rs`.
//!
//! # What it refuses
//! Messages that are malformed, out of place or over [`config::MAX_MESSAGE_BYTES`], jobs that break the rules of a channel: they
//! end the connection, and the reason is counted. A Reconnect is not followed.
//!
//! # Limits
//! Some 4 KB for each miner; as many of them as the system gives file descriptors. Shares that wait for their answer:
//! [`SwarmConfig::window`] for each miner. Tips and jobs whose spread is kept: [`stats::MAX_BROADCASTS`].
//!
//! # Example
//! ```no_run
//! use std::time::Duration;
//! use load::{Group, Pace, Swarm, SwarmConfig};
//! use network_helpers::Security;
//!
//! # fn example() -> std::io::Result<()> {
//! let config = SwarmConfig::new(load::config::resolve("127.0.0.1:34254")?, Security::Noise { authority: None });
//! let mut swarm = Swarm::start(&config)?;
//! swarm.connect(Group::Base, 1_000, 64, &mut ())?;
//! println!("connected within {:?}", swarm.take()?.set_up.quantile(0.99));
//! swarm.submit(Pace::PerSecond(500.0), Duration::from_secs(10), &mut ())?;
//! println!("acknowledged within {:?}", swarm.take()?.acknowledged.quantile(0.99));
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

pub mod cli;
pub mod config;
mod miner;
pub mod plot;
pub mod process;
pub mod report;
mod run;
pub mod stats;
mod swarm;
mod work;
mod worker;

pub use config::{ChannelKind, Pace, SwarmConfig};
pub use report::Report;
pub use run::{Plan, RunError, run};
pub use swarm::{Swarm, Watch};
pub use worker::Group;
