//! The translator: miners of Stratum V1 mine to pools of Stratum V2 (sv2-spec §5, the client's side of extended channels).
//!
//! A [`session`] serves one miner; the [`hub`] has the upstreams. Both are sans-io. [`server`] runs them: sessions in shards of
//! `stratum_runtime`, the hub in one task, a task for each upstream's connection. What they tell each other is in [`snapshot`].
//!
//! # A share
//! The session judges it against the miner's own difficulty. If it meets the upstream's target, it goes to the hub and upstream, and
//! is answered from the upstream's verdict; if that does not come in time, with a provisional `true`. All others are answered from here
//! and counted as local. [`stats`] has the sums.
//!
//! # What it refuses
//! Devices of Stratum V2; lines that are no JSON object; shares that do not count, each with a reason; upstreams that break the
//! protocol, leave too little of the extranonce, or ask to reconnect to somebody else.
//!
//! # Limits
//! Each is a named constant where it is enforced, or a key of `[limits]` in the [configuration](config::DEFAULT).
#![warn(missing_docs)]

pub mod api;
pub mod cli;
pub mod config;
pub mod hub;
pub mod job;
pub mod names;
pub mod room;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod stats;
#[cfg(test)]
mod testing;

pub use config::TranslatorConfig;
pub use server::{StartError, Translator};
