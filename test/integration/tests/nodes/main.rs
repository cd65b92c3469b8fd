//! Scenarios with a real Bitcoin Core.

mod bitcoin_ipc;
