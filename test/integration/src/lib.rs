//! Helpers for scenarios with real processes: a Bitcoin Core of one's own, and a reader of template events.

pub mod core;
pub mod events;
