//! Stratum V2 connections on tokio, with and without noise (sv2-spec §3.2, §4).
//!
//! [`Connection`] opens or accepts one, does the handshake against a deadline, and exchanges frames; [`Connection::split`]
//! gives its halves to two tasks. [`FrameReader::read_frame`] is cancel-safe; [`FrameWriter`] queues messages and sends
//! what is queued in one write. TCP_NODELAY is set.
//!
//! A driver that owns many sockets in one thread takes [`FrameDecoder`] and [`FrameQueue`] instead, which know no socket:
//! see [`wire`]. [`Connection::into_parts`] yields them after the handshake; [`initiate`] and [`respond`] are the
//! handshake alone, over any byte stream. [`read_proxy_header`] takes off what a load balancer put before it.
//!
//! # Limits and what is refused
//! Connect and handshake end after [`HANDSHAKE_TIMEOUT`]. Frames over [`FrameReader::set_max_payload`] (2^24 - 1 until
//! set) are refused from their header. A peer that does not read makes [`Error::QueueFull`] at
//! [`FrameQueue::set_limit`]. Deadlines on messages are the role's. Each [`Error`] says what the peer did;
//! [`Error::reason`] is the word for metrics.
//!
//! # Debugging
//! With a [`KeyLog`] the keys of connections go to a file, so that `stratum decode` can read a capture of them. Nothing
//! writes one unless it is handed in.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use common_messages_sv2::SetupConnectionSuccess;
//! use network_helpers::{Connection, Security, ServerSecurity};
//! use noise_sv2::{AuthoritySecretKey, ServerIdentity, Validity};
//! use rand_core::OsRng;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let authority = AuthoritySecretKey::generate(&mut OsRng)?;
//! let identity = Arc::new(ServerIdentity::issue(&authority, Validity { from: 0, until: u32::MAX }, &mut OsRng)?);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?.to_string();
//!
//! let server = async {
//!     let (stream, _) = listener.accept().await?;
//!     let mut connection = Connection::accept(stream, ServerSecurity::Noise(identity)).await?;
//!     connection.send(&SetupConnectionSuccess { used_version: 2, flags: 0 }).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! let client = async {
//!     let security = Security::Noise { authority: Some(authority.public_key()) };
//!     let mut connection = Connection::connect(&address, security).await?;
//!     assert_eq!(connection.read_frame().await?.header().message_type(), 0x01);
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! tokio::try_join!(server, client)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod connection;
mod error;
mod handshake;
mod key_log;
mod proxy;
pub mod wire;

pub use connection::{Connection, FrameReader, FrameWriter, Security, ServerSecurity};
pub use error::{Error, Phase};
pub use handshake::{HANDSHAKE_TIMEOUT, initiate, respond, respond_in_turn, respond_logging_keys};
pub use key_log::KeyLog;
pub use proxy::{ProxyError, read_proxy_header};
pub use wire::{FrameDecoder, FrameQueue};
