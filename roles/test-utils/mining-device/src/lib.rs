//! A Stratum V2 miner that hashes with the CPU, for integration tests and demonstrations.
//!
//! It opens one standard or extended channel (sv2-spec §5.2), hashes on all cores with the CPU's SHA instructions where it has
//! them, submits what it finds, and reconnects with back-off when the connection ends, whatever the reason. Only a bad
//! configuration is fatal, and that before anything has begun.
//!
//! # Map
//! [`session`] is the protocol, without socket, clock or threads; `link` gives it those. [`workers`] are the threads, [`search`]
//! how they share a job without overlap, [`hasher`] the hash itself. [`run()`] is the loop of connections, [`cli`] the command
//! line, [`status`] what callers can watch.
//!
//! # What it refuses
//! Messages that are unknown, malformed or out of place, jobs that break the rules of a channel, targets of a block that can
//! not be, redirections to another host that does not share the authority key ([`stratum_runtime::redirect`]), messages over
//! [`MAX_MESSAGE_BYTES`]. Each ends the connection with one log line that says why.
//!
//! # Limits
//! Shares that wait: [`workers::SHARE_QUEUE`]; shares a second: [`config::DEFAULT_MAX_SHARES_PER_SECOND`] unless configured
//! otherwise; the deadlines of a server are in [`session`].
//!
//! # Example
//! ```no_run
//! use mining_device::{MinerConfig, Status, run};
//! use stratum_runtime::shutdown::Shutdown;
//! use tokio::sync::watch;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "stratum2+tcp://127.0.0.1:34254/9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".parse()?;
//! let (sender, mut status) = watch::channel(Status::default());
//! let shutdown = Shutdown::new();
//! let miner = tokio::spawn(run(MinerConfig::new(url, "alice.worker1"), shutdown.clone(), sender));
//! status.wait_for(|status| status.accepted >= 10).await?;
//! shutdown.cancel();
//! miner.await??;
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod config;
pub mod hasher;
mod link;
mod meter;
mod run;
pub mod search;
pub mod session;
pub mod status;
pub mod v1;
pub mod workers;

pub use config::{ChannelKind, Deadlines, Device, MinerConfig, Protocol};
pub use link::MAX_MESSAGE_BYTES;
pub use run::{Error, run};
pub use status::Status;
