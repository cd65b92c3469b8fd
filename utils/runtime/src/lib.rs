//! Tokio driver for sans-io cores: listener, shards, shutdown, configuration, logs.
#![warn(missing_docs)]

pub mod config;
pub mod files;
pub mod log;
pub mod shutdown;
