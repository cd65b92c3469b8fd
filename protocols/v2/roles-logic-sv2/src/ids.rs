//! Identifiers that must not be mixed up, as newtypes.

use core::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $int {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A standard, extended or group channel of one connection; the three share one name space (sv2-spec §5.2.3).
    ChannelId(u32)
}
id! {
    /// A mining job, unique among the jobs that a channel can still submit to (sv2-spec §5.3.15).
    JobId(u32)
}
id! {
    /// A block template of one template source (sv2-spec §7.2).
    TemplateId(u64)
}
id! {
    /// Pairs a request with its answer; chosen by who asks.
    RequestId(u32)
}
id! {
    /// Position of a submission in its channel; chosen by the client and not checked (sv2-spec §5.3.13).
    SequenceNumber(u32)
}

/// Hands out job ids; one counter serves a whole pool, custom jobs included.
///
/// Wraps after 2^32 ids: no job lives that long.
#[derive(Debug, Default)]
pub struct JobIds(AtomicU32);

impl JobIds {
    /// The first id will be 1.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The next id; may be called from several threads.
    pub fn next(&self) -> JobId {
        JobId(self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_ids_count_up_and_wrap() {
        let ids = JobIds::new();
        assert_eq!([ids.next(), ids.next()], [JobId(1), JobId(2)]);
        let last = JobIds(AtomicU32::new(u32::MAX - 1));
        assert_eq!([last.next(), last.next()], [JobId(u32::MAX), JobId(0)]);
    }
}
