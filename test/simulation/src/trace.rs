//! What happened, for people and for comparison.

use std::{collections::VecDeque, fmt, time::Duration};

/// The last events, and a number that stands for all.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    steps: u64,
    last: VecDeque<Entry>,
    kept: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    step: u64,
    now: Duration,
    what: &'static str,
    who: u64,
    detail: u64,
}

impl Trace {
    /// Keeps this many events for a report.
    pub fn new(kept: usize) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, steps: 0, last: VecDeque::new(), kept }
    }

    /// Another step begins.
    pub fn step(&mut self) {
        self.steps += 1;
    }

    /// Steps so far.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Stands for all that was noted: two worlds with one hash went the same way.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Notes an event.
    pub fn note(&mut self, now: Duration, what: &'static str, who: u64, detail: u64) {
        self.mix(now.as_nanos() as u64);
        self.bytes(what.as_bytes());
        self.mix(who);
        self.mix(detail);
        if self.last.len() >= self.kept {
            self.last.pop_front();
        }
        self.last.push_back(Entry { step: self.steps, now, what, who, detail });
    }

    /// Takes bytes into the hash.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let chunks = bytes.chunks(8);
        for chunk in chunks {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { step, now, what, who, detail } in &self.last {
            writeln!(f, "{step:>8} {:>16.6} {what:<28} {who:>6} {detail}", now.as_secs_f64())?;
        }
        Ok(())
    }
}
