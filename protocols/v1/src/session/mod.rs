//! A connection's state on either side, sans-io: lines in, events and lines out.

pub mod client;
pub mod server;
mod wishes;

pub use wishes::Wishes;

/// Requests that may wait for their answer, on either side. A device that pipelines has a few dozen in flight.
pub const MAX_PENDING: usize = 4_096;
