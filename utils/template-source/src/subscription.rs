//! What the sources that ask a Bitcoin node have in common.

pub(crate) mod backoff;
pub(crate) mod in_flight;
pub(crate) mod live;
pub(crate) mod port;
