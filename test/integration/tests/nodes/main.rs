//! Scenarios with a real Bitcoin Core.

mod bitcoin_ipc;
mod bitcoin_rpc;
mod steps;
mod template_provider;
