//! How much happened in a world.

use std::{fmt, ops::AddAssign};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $text:literal,)*) => {
        /// Sums over one world or many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Counters {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(f, "{:>12} {}", self.$name, $text)?;)*
                Ok(())
            }
        }
    };
}

counters! {
    /// Worlds.
    worlds: "worlds",
    /// Events that were handled.
    steps: "steps",
    /// Connections that were made.
    connections: "connections",
    /// Connections that a peer or the pool ended, as miners see it.
    disconnects: "disconnects",
    /// Connections that the pool ended.
    ended_by_pool: "of them by the pool",
    /// Shares that were sent.
    shares: "shares sent",
    /// Shares that were acknowledged.
    acknowledged: "shares acknowledged",
    /// Worlds whose pool acknowledges what is on disk.
    durable_worlds: "worlds in which they were on disk before",
    /// Shares that were not on disk when the pool's process crashed.
    lost_shares: "shares that a crash took",
    /// Blocks that the pool's miners found.
    found_blocks: "blocks found by the pool",
    /// Blocks of the pool that a node took as its tip.
    accepted_blocks: "of them made a tip",
    /// Blocks that the pool called confirmed.
    confirmed_blocks: "of them confirmed",
    /// Blocks that the pool called orphaned, each time.
    orphaned_blocks: "times one was orphaned",
    /// Blocks of other miners.
    other_blocks: "blocks of others",
    /// Reorganisations that were begun.
    reorgs: "reorganisations",
    /// Restarts of nodes.
    node_restarts: "restarts of nodes",
    /// Restarts of the pool.
    pool_restarts: "restarts of the pool",
    /// Orderly stops of the pool.
    orderly_stops: "of them in order",
    /// Connections to Template Providers.
    provider_connections: "connections to Template Providers",
    /// Times that these were broken or the Template Provider restarted.
    provider_breaks: "of them broken",
    /// Snapshots that sessions with unsent bytes were passed over by.
    passed_over: "snapshots that passed a slow reader over",
}
