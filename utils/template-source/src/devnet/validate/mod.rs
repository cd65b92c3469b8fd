//! Validation of blocks, in the order and with the reasons of Bitcoin Core.
//!
//! - [`block`]: what a block shows by itself.
//! - [`context`]: what depends on the headers before it.
//! - [`connect`]: what depends on the coins.
//! - [`script`]: the few script forms that the devnet lets be spent.

mod block;
mod connect;
mod context;
mod script;

use std::{borrow::Cow, fmt};

pub(super) use block::check_block;
pub(super) use connect::connect;
pub(super) use context::{check_block_in_context, check_header_in_context};

/// Why a block is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reject {
    /// Bitcoin Core's word for it (BIP 22).
    pub reason: Cow<'static, str>,
    /// The header may still be that of a valid block, whose transactions or witnesses were tampered with on the way.
    pub mutated: bool,
}

impl Reject {
    /// The block with this hash is bad for good.
    pub fn invalid(reason: impl Into<Cow<'static, str>>) -> Self {
        Reject { reason: reason.into(), mutated: false }
    }

    /// What came with the header is bad, the header may be good.
    pub fn mutated(reason: &'static str) -> Self {
        Reject { reason: reason.into(), mutated: true }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What a block needs to know of the chain it extends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Height of the block under test.
    pub height: u32,
    /// Median time of the up to 11 blocks before it.
    pub median_time: u32,
    /// Blocks between halvings of the subsidy.
    pub halving_interval: u32,
}
