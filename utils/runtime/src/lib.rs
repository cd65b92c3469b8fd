//! Tokio driver for sans-io cores: listener, shards, identity, shutdown, configuration, logs.
//!
//! The driver takes no decisions: what a connection does is its [`Core`](crate::core::Core)'s business. [`shard`] runs many cores on one thread.
#![warn(missing_docs)]

pub mod config;
pub mod core;
pub mod files;
pub mod identity;
pub mod key_log;
pub mod listener;
pub mod log;
pub mod shard;
pub mod shutdown;
