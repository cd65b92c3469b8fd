//! Channels, jobs, shares and targets: what a Stratum V2 role needs beyond the wire (sv2-spec §3.6, §3.7, §5, §7).
//!
//! Everything here is sans-io: no sockets, no clock, no randomness. `now` is a [`Duration`](core::time::Duration) on any clock
//! that does not run backwards, for example since the unix epoch; only differences count. `no_std` with `alloc`.
//!
//! - [`target`]: 256-bit targets, work and difficulty, powers of two
//! - [`extranonce`]: which part of the search space a channel gets
//! - [`job`]: templates to jobs, jobs to blocks
//! - [`share`]: one pure function from a share to its verdict
//! - [`custom`]: jobs that clients choose themselves
//! - [`channel::server`], [`channel::client`]: a channel's state on either side
//! - [`channel::group`], [`channel::clients`]: a connection's channels and groups on either side
//! - [`accounting`]: acknowledging shares in batches, counting them, hashrates
//! - [`vardiff`]: which target a channel should have; [`vardiff::policy`]: within which bounds, by port and device
//! - [`protocol`]: the protocols and the sides of a connection, as types
//! - [`session`]: a connection from SetupConnection on, as types, for clients and servers of every protocol
//! - [`dispatch`]: a handler trait for each protocol and side
//! - [`routing`]: the tables of a proxy
//! - [`map`]: messages of one protocol to those of another
//! - [`setup`]: answers to SetupConnection and RequestExtensions
//!
//! **What it refuses.** Templates from which no valid block can be made, payouts over what was reserved, jobs and tips out of
//! order, shares that do not count: each with an error that says what was expected. A hash that makes a block is handed on with
//! every verdict, a rejection included.
//!
//! **Limits.** Whatever a peer can make grow has a documented constant: jobs per channel, shares per tip, shares that wait for
//! their acknowledgement, extensions in a list. No message panics.
//!
//! **Features.** `std` (default) adds `utils`, a mutex. `full` re-exports the libraries below, so that one dependency brings the
//! whole stack: `roles_logic_sv2::{codec_sv2, noise_sv2, mining_sv2, …}`. The logic itself needs neither codec nor noise.
//!
//! # A share, from the template to the verdict
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use bitcoin::{BlockHash, ScriptBuf, hashes::Hash};
//! use roles_logic_sv2::{
//!     ChannelId, JobIds, OpenSuccess, RequestId, Target, TemplateId, Tip,
//!     channel::{client::{ClientChannel, Submission}, server::{Channel, Open}},
//!     extranonce::{Layout, Space},
//!     job::{JobFactory, JobTemplate, Payout},
//!     share::{Rules, Share, Verdict},
//! };
//!
//! let now = Duration::from_secs(1_700_000_000);
//!
//! // The pool: who is paid, how the extranonce is split.
//! let payout = Payout::single(ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::all_zeros()));
//! let reserved = payout.constraints(); // goes to the template source
//! let factory = JobFactory::new(payout, b"/my pool/".to_vec(), Layout::SV2_DEFAULT.full_size(), reserved)?;
//! let space = Space::new(Layout::SV2_DEFAULT, 0, 1)?;
//!
//! // A client opens an extended channel and asks for 4 bytes of extranonce.
//! let mut server = Channel::extended(
//!     Open {
//!         channel_id: ChannelId(2),
//!         group_channel_id: ChannelId(1),
//!         slot: space.allocate()?,
//!         max_target: Target::MAX,
//!         target: Target::from_zero_bits(4),
//!         rules: Rules::default(),
//!     },
//!     4,
//! )?;
//! let OpenSuccess::Extended(success) = server.open_success(RequestId(1)) else { unreachable!() };
//! let mut client = ClientChannel::extended(&success)?;
//!
//! // A template comes, becomes a future job, and a new block starts it.
//! let template = JobTemplate {
//!     template_id: TemplateId(1),
//!     future: true,
//!     version: 0x2000_0000,
//!     coinbase_tx_version: 2,
//!     coinbase_prefix: vec![3, 0x40, 0xd1, 0x0c], // height 840,000
//!     coinbase_tx_input_sequence: 0xffff_fffe,
//!     coinbase_tx_value_remaining: 312_500_000,
//!     coinbase_tx_outputs_count: 0,
//!     coinbase_tx_outputs: vec![],
//!     coinbase_tx_locktime: 839_999,
//!     merkle_path: vec![],
//! };
//! let job = Arc::new(factory.build(JobIds::new().next(), &template)?);
//! server.on_new_job(now, job.clone(), None)?;
//! client.on_new_extended_mining_job(&job.new_extended_mining_job(server.id(), None))?;
//! let tip = Arc::new(Tip::new(BlockHash::all_zeros(), 1_700_000_000, 0x207f_ffff, now)?);
//! server.on_set_new_prev_hash(now, job.id(), tip.clone())?;
//! client.on_set_new_prev_hash(now, &tip.set_new_prev_hash(server.id(), job.id()))?;
//!
//! // The client hashes, the server judges.
//! let work = client.work().ok_or("no work")?;
//! let nonce = (0..)
//!     .find(|&nonce| work.target.is_met_by(&work.header(work.version, work.min_ntime, nonce).hash()))
//!     .ok_or("no nonce")?;
//! let Submission::Extended(message) = client.submit(&work, work.version, work.min_ntime, nonce) else { unreachable!() };
//! match server.submit(now, &Share::from(&message)) {
//!     Verdict::Accepted { work: 16, block: Some(block), .. } => assert_eq!(block.block(&[])[..80], block.header_bytes()),
//!     verdict => panic!("{verdict:?}"),
//! }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod accounting;
pub mod channel;
mod coinbase;
pub mod custom;
pub mod dispatch;
pub mod extranonce;
mod header;
pub mod ids;
pub mod job;
pub mod map;
mod messages;
pub mod protocol;
pub mod routing;
pub mod session;
pub mod setup;
mod sha;
pub mod share;
pub mod target;
mod tip;
#[cfg(feature = "std")]
pub mod utils;
pub mod vardiff;

#[cfg(feature = "full")]
pub use {
    binary_sv2, codec_sv2, common_messages_sv2, const_sv2, extensions_sv2, framing_sv2, job_declaration_sv2,
    mining_sv2, noise_sv2, template_distribution_sv2,
};

pub use coinbase::SplitCoinbase;
pub use header::{HEADER_LEN, Header};
pub use ids::{ChannelId, JobId, JobIds, RequestId, SequenceNumber, TemplateId};
pub use messages::{JobMessage, OpenSuccess, extensions_message};
pub use target::{Target, TargetBounds};
pub use tip::Tip;
