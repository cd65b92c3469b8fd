//! The block that jobs build on.

use core::time::Duration;

use bitcoin::BlockHash;

use crate::target::{CompactError, Target};

/// What a SetNewPrevHash says, and when it came (sv2-spec §5.3.17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Hash of the block to build on.
    pub prev_hash: BlockHash,
    /// Least nTime of a share, unix seconds.
    pub min_ntime: u32,
    /// Compact network target.
    pub nbits: u32,
    /// What `nbits` expands to: hashes that meet it are blocks.
    pub target: Target,
    /// When it was received, on the clock that every `now` is read from.
    pub received: Duration,
}

impl Tip {
    /// Refuses an `nbits` that no valid block can have.
    pub fn new(prev_hash: BlockHash, min_ntime: u32, nbits: u32, now: Duration) -> Result<Self, CompactError> {
        Ok(Self { prev_hash, min_ntime, nbits, target: Target::from_compact(nbits)?, received: now })
    }

    /// Latest nTime of a share at `now`: one second later for each one elapsed, and `tolerance` seconds (sv2-spec §5.3.11).
    pub fn max_ntime(&self, now: Duration, tolerance: u32) -> u32 {
        let elapsed = u32::try_from(now.saturating_sub(self.received).as_secs()).unwrap_or(u32::MAX);
        self.min_ntime.saturating_add(elapsed).saturating_add(tolerance)
    }
}
