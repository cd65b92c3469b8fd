//! How fast the threads hash.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use binary_sv2::{B0_32, Sv2Option, U256};
use mining_sv2::{NewMiningJob, OpenStandardMiningChannelSuccess, SetNewPrevHash};
use roles_logic_sv2::{
    Target,
    channel::client::{ClientChannel, ClientError},
};

use crate::{
    search::Assignment,
    workers::{Effort, Workers},
};

/// How long the threads hash for nothing at the start, to learn their speed.
pub const BENCHMARK: Duration = Duration::from_millis(300);

/// Samples that a rate is averaged over.
const WINDOW: usize = 5;

/// Rates over the last few samples.
#[derive(Debug)]
pub struct Meter {
    threads: u32,
    /// Oldest first.
    samples: VecDeque<(Instant, Effort)>,
}

/// What the threads do, in hashes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// By the clock, pauses included.
    pub effective: f64,
    /// While they hash; `None` if they did not.
    pub speed: Option<f64>,
}

impl Meter {
    /// For so many threads.
    pub fn new(threads: u32) -> Self {
        Self { threads, samples: VecDeque::new() }
    }

    /// Adds a sample, and returns the rates since the oldest that is kept.
    pub fn sample(&mut self, now: Instant, effort: Effort) -> Rates {
        let (since, earlier) = *self.samples.front().unwrap_or(&(now, effort));
        if self.samples.len() >= WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back((now, effort));
        let elapsed = now.saturating_duration_since(since).as_secs_f64();
        let hashes = effort.hashes.saturating_sub(earlier.hashes) as f64;
        let effective = if elapsed > 0.0 { hashes / elapsed } else { 0.0 };
        Rates { effective, speed: effort.speed_since(&earlier, self.threads) }
    }

    /// Forgets the samples, after a time without work.
    pub fn restart(&mut self) {
        self.samples.clear();
    }
}

/// Lets the threads hash what no share can come of, and returns their speed in hashes per second.
pub async fn benchmark(workers: &Workers) -> f32 {
    let Ok(assignment) = futile_assignment() else { return 0.0 };
    let before = workers.effort();
    workers.assign(assignment, Target::ZERO);
    tokio::time::sleep(BENCHMARK).await;
    workers.rest();
    workers.effort().speed_since(&before, workers.count()).unwrap_or(0.0) as f32
}

fn futile_assignment() -> Result<Assignment, ClientError> {
    let zero = U256::from_le_bytes([0; 32]);
    let mut channel = ClientChannel::standard(&OpenStandardMiningChannelSuccess {
        request_id: 0,
        channel_id: 0,
        target: zero,
        extranonce_prefix: B0_32::from_truncated(&[]),
        group_channel_id: 0,
    });
    let min_ntime = Sv2Option::None;
    channel.on_new_mining_job(&NewMiningJob { channel_id: 0, job_id: 0, min_ntime, version: 0, merkle_root: zero })?;
    let tip = SetNewPrevHash { channel_id: 0, job_id: 0, prev_hash: zero, min_ntime: 0, nbits: 0x207f_ffff };
    channel.on_set_new_prev_hash(Duration::ZERO, &tip)?;
    let works = channel.work().into_iter().collect();
    Ok(Assignment { works, version_mask: const_sv2::limits::BIP320_VERSION_MASK })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_samples() {
        let mut meter = Meter::new(2);
        let start = Instant::now();
        let effort = |hashes, busy| Effort { hashes, busy: Duration::from_secs(busy) };
        let mut sample = |second, hashes, busy| meter.sample(start + Duration::from_secs(second), effort(hashes, busy));
        assert_eq!(sample(0, 0, 0), Rates { effective: 0.0, speed: None });
        // Each of two threads hashes half of the time.
        assert_eq!(sample(1, 1_000, 1), Rates { effective: 1_000.0, speed: Some(2_000.0) });
        for second in 2..20 {
            sample(second, 1_000, 1);
        }
        assert_eq!(sample(20, 6_000, 6), Rates { effective: 1_000.0, speed: Some(2_000.0) });
        meter.restart();
        assert_eq!(meter.sample(start, effort(9_000, 9)), Rates { effective: 0.0, speed: None });
    }

    #[tokio::test]
    async fn the_benchmark_finds_a_speed_and_no_share() {
        let mut workers = Workers::start(1, 1.0, Instant::now()).unwrap();
        assert!(benchmark(&workers).await > 1_000.0);
        assert_eq!(workers.try_next_share(), None);
    }
}
