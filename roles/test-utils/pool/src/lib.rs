//! A small pool for tests of clients: honest by itself, and slow, silent, wrong or rude where a [`Script`] says so.
//!
//! It runs on the server's sessions, channels and jobs of `roles_logic_sv2`, so that a CPU miner really mines and every share
//! is judged. It has no node: its templates are made up, and a block that it is shown goes nowhere.
//!
//! Each connection has a script of its own, the n-th connection the n-th one; those after the last script are served honestly. A
//! script is a list of [`Act`]s, each bound to a message: before it, after it, instead of it, or when one arrives. Nothing is random
//! and nothing hangs on the clock, so a test sees the same every time.
//!
//! # Example
//! ```
//! use mining_sv2::OpenStandardMiningChannelSuccess;
//! use roles_logic_sv2::Target;
//! use test_pool::{Act, Script, Settings, TestPool};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // The first connection is closed where its channel should open; later ones are served.
//! let script = Script::new().instead::<OpenStandardMiningChannelSuccess>(Act::Close);
//! let pool = TestPool::start(Settings { target: Target::from_zero_bits(8), ..Settings::default() }, vec![script]).await?;
//! println!("let a miner connect to {}", pool.url());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it refuses and its limits
//! Clients are judged as by any server; what they do wrong ends their connection. At most [`MAX_CONNECTIONS`] at once, and
//! [`MAX_CHANNELS`] channels on each.

mod connection;
mod core;
mod jobs;
mod script;
mod server;

pub use self::{
    core::{MAX_CHANNELS, Session},
    jobs::{Jobs, Round},
    script::{Act, Script},
    server::{MAX_CONNECTIONS, Settings, StartError, Status, TestPool},
};
