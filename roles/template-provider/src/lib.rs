//! The Template Provider: serves any template source over the Template Distribution Protocol (sv2-spec §7).
//!
//! Each client has its own subscription to the source, with the room for coinbase outputs that it asked for. [`Session`] is the
//! protocol for one client, without sockets and clock; [`TemplateProvider`] runs one per connection.
//!
//! # Found blocks
//! A solution goes to the source at once. While the node is away it is kept and tried again, as a whole block where the
//! source takes those, even when the client has left; see [`PATIENCE`]. A solution that does not meet its block's target, or names an
//! unknown template, is ignored, and [`BAD_SOLUTIONS`] of them end the connection.
//!
//! # What it refuses
//! Other protocols, versions and any feature flags; messages out of order or malformed; constraints that reserve more than a
//! block; clients that miss a deadline or do not read. Each costs that client its connection, with one line in the log.
//! No extensions are supported; a request for some is answered so.
//!
//! # Limits
//! Per client: [`LIVE_TEMPLATES`] templates, [`KEPT_TRANSACTION_BYTES`] of their transactions, [`PENDING_REQUESTS`]
//! requests, [`PENDING_SOLUTIONS`] found blocks, one answer of up to 16 MiB in the outgoing buffer. News that a slow client did
//! not take is replaced by newer.
#![warn(missing_docs)]

pub mod cli;
mod client;
pub mod config;
mod requests;
mod server;
mod session;
mod solutions;
mod wire;
mod work;

pub use client::{CHUNK, STOP_READING};
pub use requests::{PENDING_REQUESTS, SOURCE_UNAVAILABLE, TOO_MANY_REQUESTS, TRANSACTIONS_TOO_LARGE};
pub use server::{LINGERING_CLIENTS, StartError, TemplateProvider};
pub use session::{Action, BAD_SOLUTIONS, Close, MAX_BLOCK_WEIGHT, Session, Settings};
pub use solutions::{FIRST_PAUSE, LONGEST_PAUSE, PATIENCE, PENDING_SOLUTIONS};
pub use work::{BadSolution, KEPT_TRANSACTION_BYTES, LIVE_TEMPLATES, LIVE_TIPS};
