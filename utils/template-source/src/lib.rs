//! Where block templates come from: one trait, several sources.
//!
//! A source speaks in the terms of the Template Distribution Protocol (sv2-spec §7), whether it is a remote Template
//! Provider, a Bitcoin Core node or the embedded devnet: templates, of which some are for a previous hash that is yet to come,
//! and a tip that activates one of them. So a pool, a job declarator client and a Template Provider each deal with one
//! kind of input.
//!
//! [`TemplateSource::subscribe`] opens one independent stream of [`Event`]s for one set of [`Constraints`]. A subscription
//! reconnects by itself and reports [`Event::Up`] and [`Event::Down`]; it ends when the [`Subscription`] is dropped.
//!
//! # Order of events
//! - After `Up`, the first template is a future one, followed by the [`Tip`] that activates it.
//! - On a new tip, the source sends [`Event::Tip`] at once when a future template for exactly that tip was sent before,
//!   else a future template and the tip back to back. Templates with more fees follow, not marked future.
//! - A source may send a transaction-free future template for the height after next, so that the next tip needs only a
//!   few bytes (`docs/adr/0001-empty-future-template.md`).
//!
//! # What it refuses
//! Templates, tips and answers that make no sense, servers of another authority, nodes whose interface is of an unknown
//! version. Each is [`Event::Down`] with the reason, and a retry.
//!
//! # Limits
//! [`EVENT_QUEUE`] events and [`COMMAND_QUEUE`] commands wait per subscription: who does not read holds up its own
//! subscription only. What each source keeps is bounded by constants in its module.
//!
//! # Example
//! ```
//! use template_source::{Constraints, Event, TemplateSource, devnet::{Devnet, DevnetConfig}};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let source = Devnet::new(DevnetConfig::default())?;
//! let mut subscription = source.subscribe(Constraints::default());
//! let mut futures = Vec::new();
//! while let Some(event) = subscription.events.recv().await {
//!     match event {
//!         Event::Template(template) => futures.push(template.id),
//!         Event::Tip(tip) => {
//!             assert!(futures.contains(&tip.template_id), "a tip activates a template that came before");
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

pub mod bitcoin_ipc;
pub mod bitcoin_rpc;
pub mod config;
mod consensus;
pub mod devnet;
mod status;
mod subscription;
pub mod sv2;
mod types;

pub use status::NodeStatus;
pub use types::*;
