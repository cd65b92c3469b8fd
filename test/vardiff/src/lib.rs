//! The pool's variable difficulty (`roles_logic_sv2::vardiff`) beside ckpool's and the reference implementation's, on the same
//! simulated devices.
//!
//! A share is a Poisson event: a device with hashrate *h* finds one in work / *h* seconds on average. That is all there is to
//! mining here; nothing is hashed. Targets hold per job, as sv2-spec §5.3.21 says: a new one takes effect with the next job,
//! which comes within 30 seconds, or at once from a pool that sends one behind its SetTarget. Shares found on the job before
//! arrive late, and are accepted on that job's target.
//!
//! `cargo xtask vardiff` runs it with 1,000 seeds and writes `docs/vardiff.md`; the tests run some seeds and check the limits.

mod algorithms;
mod devices;
mod measure;
mod random;
mod report;
mod world;

pub use algorithms::Algorithm;
pub use devices::{DEVICES, Device};
pub use measure::{Change, Reached, Results, Totals, simulate};
pub use report::{page, plot};

/// Shares a minute that our algorithm and the reference implementation's aim at.
pub const SHARES_PER_MINUTE: f64 = 12.0;
