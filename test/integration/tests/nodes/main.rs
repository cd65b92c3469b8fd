//! Scenarios with a real Bitcoin Core.

mod bitcoin_ipc;
mod template_provider;
