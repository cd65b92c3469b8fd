//! What a role tells one of its connections, where a notice tells all of them the same.
//!
//! A letter is handled even while bytes are unsent. Letters to a connection that is gone are dropped.

use tokio::sync::mpsc;

use crate::core::{ConnectionId, Core};
use crate::shard::Shard;

/// Letters of a shard that wait, each with the number of its connection.
///
/// Unbounded: a role answers with them what its connections ask for, so that what connections may have under way bounds them.
pub(crate) type Sender<L> = mpsc::UnboundedSender<(u64, L)>;

/// Delivers letters to the connections of some shards.
pub struct Post<L> {
    shards: Vec<Sender<L>>,
}

impl<L> Clone for Post<L> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone() }
    }
}

impl<L> std::fmt::Debug for Post<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("shards", &self.shards.len()).finish()
    }
}

impl<L: Send + 'static> Post<L> {
    /// For these shards, which are numbered in this order.
    pub fn new<'a, C: Core<Letter = L>>(shards: impl IntoIterator<Item = &'a Shard<C>>) -> Self {
        Self { shards: shards.into_iter().map(|shard| shard.letters().clone()).collect() }
    }

    /// Sends a letter, to be handled soon.
    pub fn send(&self, to: ConnectionId, letter: L) {
        if let Some(shard) = self.shards.get(to.shard) {
            // A shard that has ended has no connections.
            let _ = shard.send((to.number, letter));
        }
    }
}
