//! Tokio driver for sans-io cores: listener, shards, identity, shutdown, configuration, logs.
//!
//! The driver takes no decisions: what a connection does is its [`Core`](crate::core::Core)'s business. [`shard`] runs many
//! cores on one thread, for connections of frames (Stratum V2) and of lines (Stratum V1), which [`detect`](mod@detect) tells apart on one port; [`listener`] hands it connections that the [`gate`] lets in; [`identity`] has the certificates for their handshakes
//! (sv2-spec §4.5), [`tls`] those for Stratum V1; [`handover`] and [`sockets`] pass listening sockets from process to process; [`journal`] is where what must not be lost goes before it is answered. [`config`], [`log`], [`files`], [`shutdown`] are what every program needs.
//!
//! # What it refuses
//! Peers that do not finish the handshake in time, send what does not decrypt, announce messages over the limit, or do not
//! read: each is dropped with one log line. Configuration files with unknown keys, and key files that others may read.
//!
//! # Limits
//! [`shard::Limits`] per listener, connections in all and who may have them by [`listener::Entrance`] and its [`gate`], unsent
//! bytes by each core's [`outbound_limit`](crate::core::Core::outbound_limit), records under way to the disk by [`journal::Bounds`], configuration files by
//! [`config::MAX_CONFIG_BYTES`].
//!
//! # Example
//! A server that greets every client and closes the connection:
//! ```
//! use std::{convert::Infallible, sync::Arc, time::Duration};
//! use common_messages_sv2::SetupConnectionSuccess;
//! use framing_sv2::Header;
//! use network_helpers::{Connection, Security::Plain};
//! use stratum_runtime::{
//!     core::{Clock, Core, Sink},
//!     bucket::Rate,
//!     gate::{Gate, GateLimits},
//!     listener::{Entrance, Proxies, SocketTimeouts, accept_loop, listen},
//!     shard::{Limits, Security, Service, Shard, Surroundings},
//!     shutdown::Shutdown,
//! };
//! use tokio::sync::{Semaphore, mpsc, watch};
//!
//! struct Greeter;
//!
//! impl Core for Greeter {
//!     type Notice = ();
//!     type Report = ();
//!     type Letter = Infallible;
//!     type Record = Infallible;
//!     fn handle_frame<S: Sink>(&mut self, _: Duration, _: Header, _: &[u8], _: &mut S) {}
//!     fn finish_input<S: Sink>(&mut self, _: Duration, _: &mut S) {}
//!     fn handle_notice<S: Sink>(&mut self, _: Duration, _: &Arc<()>, sink: &mut S) {
//!         sink.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
//!         sink.disconnect("greeted");
//!     }
//!     fn poll_timeout(&self) -> Option<Duration> {
//!         None
//!     }
//!     fn handle_timeout<S: Sink>(&mut self, _: Duration, _: &mut S) {}
//!     fn outbound_limit(&self) -> usize {
//!         1024
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let shutdown = Shutdown::new();
//! let (_state, notices) = watch::channel(Arc::new(()));
//! let (reports, _) = mpsc::channel(1);
//! let (clock, second) = (Clock::start(), Duration::from_secs(1));
//! let surroundings = Surroundings { clock, notices, reports, recording: None, shutdown: shutdown.clone(), drain: second };
//! let shard = Shard::spawn(0, surroundings)?;
//! let offences = Rate { per_second: 0.1, burst: 10.0 };
//! let gate = Gate::new(GateLimits { half_open: 100, per_address: 10, offences, ban: 600 * second });
//! let service = Arc::new(Service {
//!     protocols: Security::Plain.into(),
//!     limits: Limits { message_bytes: 1024, handshake: 10 * second, unsent: 30 * second, idle: 900 * second },
//!     gate: gate.clone(),
//!     listener: 0,
//!     make: Arc::new(|_, _| Greeter),
//! });
//! let listener = tokio::net::TcpListener::from_std(listen("127.0.0.1:0".parse()?, false)?)?;
//! let address = listener.local_addr()?.to_string();
//! let timeouts = SocketTimeouts { keepalive: 60 * second, unacknowledged: 30 * second };
//! let entrance = Entrance { clock, places: Arc::new(Semaphore::new(100)), gate, timeouts, shutdown: shutdown.clone() };
//! let serve = move |accepted| shard.serve(accepted, service.clone());
//! let server = tokio::spawn(accept_loop(listener, 0, Proxies::default(), entrance, serve));
//!
//! let mut client = Connection::connect(&address, Plain).await?;
//! assert_eq!(client.read_frame().await?.header().message_type(), 0x01);
//! shutdown.cancel();
//! server.await?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

pub mod backoff;
pub mod bucket;
pub mod config;
pub mod core;
pub mod detect;
pub mod files;
pub mod gate;
pub mod handover;
pub mod http;
pub mod identity;
pub mod journal;
pub mod key_log;
pub mod letters;
pub mod listener;
pub mod log;
pub mod redirect;
pub mod shard;
pub mod shutdown;
pub mod sockets;
pub mod tls;
