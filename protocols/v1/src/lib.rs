//! Stratum V1: JSON lines over TCP, as pools and miners speak it.
//!
//! There is no specification; this follows what pools and devices do, BIP 310 for `mining.configure`, and
//! `docs/spec/v1.md` for the choices. Reading is tolerant of what devices are known to send, writing is strict.
//!
//! - [`mod@line`]: lines out of a byte stream
//! - [`envelope`]: requests and answers; ids are repeated as they came
//! - [`miner`], [`pool`]: every message of either side
//! - [`session::server`], [`session::client`]: a connection's state, without sockets and clock
//!
//! **What it refuses.** Lines that are no JSON object (the session ends), parameters that can not be read (the request is
//! answered with an error), shares of workers that were not authorized. An unknown method is answered with an error, never
//! with a disconnect.
//!
//! **Limits.** Lines ([`line::MAX_LINE_FROM_MINER`], [`line::MAX_LINE_FROM_POOL`]), texts, ids, extranonces, merkle branches,
//! workers of a connection and requests that wait for an answer: each has a documented constant.
//!
//! # A share, from notify to its answer
//! ```
//! use stratum_v1::{
//!     ErrorCode,
//!     miner::Submit,
//!     pool::Notify,
//!     session::{client::{self, Client}, server::{self, Server}},
//! };
//!
//! let mut server = Server::new(server::Config::default());
//! let mut client = Client::new(client::Config { user_agent: "example/1".into(), ..Default::default() });
//! # let mut transfer = |from: &mut Vec<u8>| String::from_utf8(std::mem::take(from)).unwrap();
//!
//! // The client asks for version rolling and subscribes; the server decides on the extranonce.
//! client.start()?;
//! for line in transfer(client.output()).lines() {
//!     if let Some(server::Event::Subscribe { request, .. }) = server.handle_line(line.as_bytes())? {
//!         server.subscribed(request, &[1, 2, 3, 4], 8);
//!     }
//! }
//! server.set_difficulty(512.0)?;
//! server.notify(&Notify {
//!     job_id: "7".into(), prev_hash: [0; 32], coinbase1: vec![1], coinbase2: vec![2], merkle_branch: vec![],
//!     version: 0x2000_0000, nbits: 0x1d00_ffff, ntime: 1_700_000_000, clean_jobs: true,
//! })?;
//! let mut job = None;
//! for line in transfer(server.output()).lines() {
//!     if let Some(client::Event::Notify(notify)) = client.handle_line(line.as_bytes())? {
//!         job = Some(notify);
//!     }
//! }
//! let job = job.ok_or("no job")?;
//! assert_eq!((client.difficulty(), client.extranonce2_size()), (Some(512.0), Some(8)));
//!
//! // A share of a worker that was never authorized is refused by the server's session itself.
//! let share = Submit {
//!     username: "alice".into(), job_id: job.job_id, extranonce2: vec![0; 8], ntime: job.ntime, nonce: 1, version_bits: None,
//! };
//! let number = client.submit(&share)?;
//! for line in transfer(client.output()).lines() {
//!     assert!(matches!(server.handle_line(line.as_bytes())?, Some(server::Event::Refused { .. })));
//! }
//! let answer = transfer(server.output());
//! match client.handle_line(answer.as_bytes())? {
//!     Some(client::Event::Submitted { request, result: Err(refusal) }) if request == number => {
//!         assert_eq!(refusal.code, ErrorCode::Unauthorized);
//!     }
//!     other => panic!("{other:?}"),
//! }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

pub mod envelope;
pub mod error;
pub mod id;
pub mod line;
pub mod miner;
mod params;
pub mod pool;
pub mod session;

pub use error::{ErrorCode, InvalidLine, InvalidParams, Misuse, Refusal};
pub use id::Id;
