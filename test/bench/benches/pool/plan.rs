//! How much is measured.

use std::time::Duration;

pub struct Plan {
    pub repetitions: u32,
    /// Miners at which new tips are timed.
    pub sizes: Vec<u64>,
    /// Tips of each kind at each size.
    pub tips: u32,
    /// Miners in a wave.
    pub wave: u64,
    pub waves: u32,
    /// Miners that send shares as fast as they are acknowledged.
    pub floods: [u64; 2],
    /// How long shares are sent.
    pub time: Duration,
    /// Shares a second where they are paced.
    pub rate: f64,
    /// Calls of fdatasync.
    pub syncs: u32,
}

impl Plan {
    pub fn full() -> Self {
        Self {
            repetitions: 3,
            sizes: vec![1_000, 5_000, 10_000],
            tips: 5,
            wave: 2_000,
            waves: 5,
            floods: [200, 1_000],
            time: Duration::from_secs(8),
            rate: 10_000.0,
            syncs: 300,
        }
    }

    /// Under three minutes.
    pub fn quick() -> Self {
        Self {
            repetitions: 1,
            sizes: vec![1_000, 2_500],
            tips: 3,
            wave: 1_000,
            waves: 2,
            time: Duration::from_secs(4),
            syncs: 100,
            ..Self::full()
        }
    }
}
