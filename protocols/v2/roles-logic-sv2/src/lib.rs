//! Channels, jobs, shares and targets: what a Stratum V2 role needs beyond the wire
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod accounting;
pub mod channel;
mod coinbase;
pub mod extranonce;
mod header;
pub mod ids;
pub mod job;
mod messages;
pub mod setup;
pub mod share;
pub mod target;
mod tip;

pub use coinbase::SplitCoinbase;
pub use header::{HEADER_LEN, Header};
pub use ids::{ChannelId, JobId, JobIds, RequestId, SequenceNumber, TemplateId};
pub use messages::{OpenSuccess, extensions_message};
pub use target::{Target, TargetBounds};
pub use tip::Tip;
