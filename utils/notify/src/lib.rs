//! Tells operators what happens: requests to webhooks, signed, and programs that are run.
//!
//! A role calls [`Notifier::notify`] and never waits. Each receiver has a queue and a task of its own: one that hangs holds up
//! nobody else. Delivery is in order, one at a time, repeated with growing pauses until the receiver says that it has it
//! ([`outbox`], sans-io), so it may come twice, with the same id. News of blocks are kept on disk until then
//! (`docs/adr/0031-notifications-in-order-and-at-least-once.md`). `docs/operate/notifications.md` is for those who receive.
//!
//! # What it refuses
//! Redirections, certificates that do not verify, secrets that others may read, programs by relative paths. No secret, and no path of a
//! URL, is in an error or a log.
//!
//! # Limits
//! [`outbox::MAX_WAITING`] notifications for each of [`config::MAX_RECEIVERS`] receivers; what is no news of a block is dropped first, and
//! after [`outbox::MAX_AGE`]. The next one that arrives says how many were dropped.
//!
//! # Example
//! ```
//! use stratum_notify::{Kind, NotifyConfig, Notifier, Origin, config::CommandConfig};
//! use stratum_runtime::core::Clock;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("told");
//! let tell = format!("cat > {}", file.display());
//! let command = CommandConfig {
//!     program: "/bin/sh".into(),
//!     args: vec!["-c".into(), tell],
//!     events: vec!["block".to_owned().try_into()?],
//!     timeout_seconds: 30,
//! };
//! let config = NotifyConfig { command: vec![command], ..NotifyConfig::default() };
//! let origin = Origin { pool: "example".into(), network: "regtest".into() };
//! let notifier = Notifier::start(&config, &origin, Clock::start())?;
//! notifier.notify(Kind::BlockFound, "alice found block 7.".into(), [("height".into(), 7.into())].into_iter().collect());
//! notifier.finish().await;
//! assert!(std::fs::read_to_string(file)?.contains(r#""height":7"#));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod command;
pub mod config;
mod driver;
pub mod message;
pub mod outbox;
pub mod secret;
pub mod spool;
mod webhook;

pub use config::NotifyConfig;
pub use driver::{Notifier, Tried, check, message as new_message, try_all};
pub use message::{Kind, Message, Origin};
