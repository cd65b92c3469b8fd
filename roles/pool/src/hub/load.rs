//! How much a hub keeps: for bounds that are checked from outside, and for metrics.

use super::Hub;

/// Entries that a hub keeps, each bounded by the constant that its doc names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Future templates of the source that has most: [`MAX_FUTURE_TEMPLATES`](super::MAX_FUTURE_TEMPLATES).
    pub future_templates: usize,
    /// Jobs whose origin is remembered: [`MAX_JOBS`](super::MAX_JOBS).
    pub jobs: usize,
    /// Templates whose jobs are found by template; one of the jobs above each.
    pub templates: usize,
    /// Templates whose transactions are kept: [`MAX_TEMPLATES_WITH_TRANSACTIONS`](super::MAX_TEMPLATES_WITH_TRANSACTIONS).
    pub transactions: usize,
    /// Found blocks that wait for transactions: [`MAX_INCOMPLETE_BLOCKS`](super::MAX_INCOMPLETE_BLOCKS).
    pub incomplete_blocks: usize,
    /// Found blocks in memory: [`MAX_FOUND_BLOCKS`](crate::blocks::MAX_FOUND_BLOCKS).
    pub found_blocks: usize,
    /// Those of them that are still offered to sources: [`MAX_OPEN_BLOCKS`](crate::blocks::MAX_OPEN_BLOCKS).
    pub offered_blocks: usize,
}

impl Hub {
    /// What it keeps at present.
    pub fn load(&self) -> Load {
        Load {
            future_templates: self.sources.iter().map(|source| source.futures.len()).max().unwrap_or(0),
            jobs: self.jobs.len(),
            templates: self.by_template.len(),
            transactions: self.transactions.len(),
            incomplete_blocks: self.incomplete.len(),
            found_blocks: self.blocks.len(),
            offered_blocks: self.blocks.offered(),
        }
    }
}
