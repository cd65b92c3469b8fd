//! Constants of the Stratum V2 protocol, and nothing else.
//!
//! Numbers, flags, limits and error-code strings as the specification (and, where it leaves them
//! open, the field) fixes them. Other crates take them from here so that each exists once.
//!
//! - [`message_type`]: message numbers, names and `channel_msg` bits (sv2-spec §8)
//! - [`protocol`], [`flags`]: what `SetupConnection` carries (sv2-spec §3.6, §5.3.1, §6.4.1)
//! - [`extension`]: extension ids and the header bit that shares their field (sv2-spec §3.2.1, §3.4)
//! - [`limits`]: sizes of headers, handshake messages and noise frames (sv2-spec §3.2, §4)
//! - [`error_code`]: strings for `error_code` fields (sv2-spec §3.5)
//!
//! The crate has no dependencies, allocates nothing and refuses nothing.
//!
//! ```
//! use const_sv2::{extension, message_type};
//!
//! let info = message_type::lookup(extension::CORE, message_type::mining::SUBMIT_SHARES_EXTENDED);
//! assert_eq!(info.map(|m| (m.name, m.channel_msg)), Some(("SubmitSharesExtended", true)));
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub mod error_code;
pub mod extension;
pub mod flags;
pub mod limits;
pub mod message_type;
pub mod protocol;

pub use message_type::MessageInfo;
