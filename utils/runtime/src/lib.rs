//! Tokio driver for sans-io cores: listener, shards, identity, shutdown, configuration, logs.
//!
//! The driver takes no decisions: what a connection does is its core's business.
#![warn(missing_docs)]

pub mod config;
pub mod files;
pub mod identity;
pub mod listener;
pub mod log;
pub mod shutdown;
