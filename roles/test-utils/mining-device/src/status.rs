//! What a miner does, for its log line and for whoever watches.

use std::{collections::BTreeMap, fmt};

use roles_logic_sv2::Target;

/// Distinct rejection codes that are counted apart; codes beyond count as [`OTHER_CODES`].
pub const MAX_REJECT_CODES: usize = 32;

/// Name under which codes beyond [`MAX_REJECT_CODES`] are counted.
pub const OTHER_CODES: &str = "other";

/// Counters since the start of the miner, and its present state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Whether a channel is open.
    pub connected: bool,
    /// Hashes per second over the last seconds, pauses included.
    pub hashrate: f64,
    /// Shares sent.
    pub submitted: u64,
    /// Shares that the server accepted.
    pub accepted: u64,
    /// Sum of the difficulties that the server credited.
    pub credited: u64,
    /// Shares that the server rejected, by its code.
    pub rejected: BTreeMap<String, u64>,
    /// Shares found for jobs that had ended, or that a lost connection kept from being sent.
    pub discarded: u64,
    /// Jobs that were started.
    pub jobs: u64,
    /// Channels opened; more than one means reconnections.
    pub channels_opened: u64,
    /// Connections that ended or did not come about.
    pub disconnects: u64,
    /// What the last of them ended with.
    pub last_error: Option<String>,
    /// Target of the newest job.
    pub target: Option<Target>,
}

impl Status {
    /// Shares rejected, whatever for.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Counts a rejection; true if it is the first of its code.
    pub fn count_rejected(&mut self, code: &str) -> bool {
        let apart = self.rejected.contains_key(code) || self.rejected.len() < MAX_REJECT_CODES;
        let count = self.rejected.entry(if apart { code } else { OTHER_CODES }.to_owned()).or_default();
        *count += 1;
        *count == 1
    }
}

impl fmt::Display for Status {
    /// One line, for example `12.3 MH/s, 42 accepted, 1 rejected (stale-share 1), target difficulty 0.004`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} accepted, {} rejected", Rate(self.hashrate), self.accepted, self.rejected_total())?;
        for (i, (code, count)) in self.rejected.iter().enumerate() {
            write!(f, "{}{code} {count}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.rejected.is_empty() {
            f.write_str(")")?;
        }
        if let Some(target) = self.target {
            write!(f, ", target difficulty {}", Short(target.difficulty()))?;
        }
        if self.connected { Ok(()) } else { f.write_str(", not connected") }
    }
}

/// Hashes per second with a unit, for people.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1e15, "PH/s"), (1e12, "TH/s"), (1e9, "GH/s"), (1e6, "MH/s"), (1e3, "kH/s")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => write!(f, "{:.1} {name}", self.0 / unit),
            None => write!(f, "{:.0} H/s", self.0),
        }
    }
}

/// A number with about three digits.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value >= 100.0 => write!(f, "{value:.0}"),
            value if value >= 0.01 => write!(f, "{value:.3}"),
            value => write!(f, "{value:.2e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_the_essentials() {
        let mut status = Status { connected: true, hashrate: 12_340_000.0, accepted: 42, ..Status::default() };
        assert_eq!(status.to_string(), "12.3 MH/s, 42 accepted, 0 rejected");
        status.target = Some(Target::DIFFICULTY_1);
        status.count_rejected("stale-share");
        status.count_rejected("stale-share");
        status.count_rejected("duplicate-share");
        status.connected = false;
        assert_eq!(
            status.to_string(),
            "12.3 MH/s, 42 accepted, 3 rejected (duplicate-share 1, stale-share 2), target difficulty 1.000, not connected"
        );
    }

    #[test]
    fn numbers_for_people() {
        let rates: Vec<String> =
            [0.0, 999.0, 1_500.0, 2.5e9, 7e16].iter().map(|rate| Rate(*rate).to_string()).collect();
        assert_eq!(rates, ["0 H/s", "999 H/s", "1.5 kH/s", "2.5 GH/s", "70.0 PH/s"]);
        assert_eq!(Short(4.65e-10).to_string(), "4.65e-10");
        assert_eq!(Short(53_911.4).to_string(), "53911");
    }

    #[test]
    fn a_server_can_not_grow_the_table_of_codes() {
        let mut status = Status::default();
        let new = (0..100).filter(|i| status.count_rejected(&format!("code-{i}"))).count();
        assert_eq!((new, status.rejected.len()), (MAX_REJECT_CODES + 1, MAX_REJECT_CODES + 1));
        assert!(!status.count_rejected("code-0"));
        assert_eq!((status.rejected[OTHER_CODES], status.rejected_total()), (68, 101));
    }
}
