//! `[limits]` of the configuration: what a peer may use up.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use stratum_runtime::{
    bucket::Rate,
    gate::{Gate, GateLimits},
    listener::SocketTimeouts,
    shard,
};
use tokio::sync::Semaphore;

/// What a peer may use up. The defaults suit a pool for everybody.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections in all; more wait in the system's queue.
    pub connections: usize,
    /// Connections of one address (an IPv6 network of 64 bits counts as one); more are closed at once. A farm behind one
    /// router counts as one address, and half of all connections is what one address may take from the others.
    pub connections_per_address: usize,
    /// Connections without a channel. With more, the oldest of the address that has most of them is closed, so that a flood of
    /// them neither takes the places of miners nor keeps new ones out.
    pub half_open: usize,
    /// Channels on one connection.
    pub channels: usize,
    /// Longest message from a miner, in bytes.
    pub message_bytes: u32,
    /// Seconds for the noise handshake.
    pub handshake_seconds: u64,
    /// Seconds from then on for SetupConnection.
    pub setup_seconds: u64,
    /// Seconds from then on for the first channel.
    pub first_channel_seconds: u64,
    /// A peer whose oldest unsent byte is this old is dropped.
    pub unsent_seconds: u64,
    /// A peer that has sent nothing for this long is dropped.
    pub idle_seconds: u64,
    /// After so many seconds of silence the system asks whether the peer is still there.
    pub keepalive_seconds: u64,
    /// Messages other than shares that a connection may send over time. One that sends more is not read from for a while.
    pub requests_per_second: f64,
    /// Such messages at once; a proxy that comes back opens all its channels.
    pub requests_burst: f64,
    /// Shares that a connection may send over time. One that sends more is not read from for a while; none is lost.
    pub shares_per_second: f64,
    /// Shares at once.
    pub shares_burst: f64,
    /// Invalid shares, stale ones aside, that a channel may submit over time. One that submits more is closed; a connection
    /// that loses several channels that way, or floods channels that it does not have, is closed, too.
    pub invalid_shares_per_second: f64,
    /// Invalid shares of a channel at once.
    pub invalid_shares_burst: f64,
    /// Connections of one address, at one listener, that may break the protocol before they open a channel: at once, and in an
    /// hour. With more the address is banned there, unless another connection of it had a share accepted lately.
    pub offences: u32,
    /// How long a ban lasts.
    pub ban_seconds: u64,
    /// How long miners that were told to connect anew are served when the pool ends; each one that goes shortens it.
    pub drain_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 5_000,
            half_open: 4_096,
            channels: 4_096,
            message_bytes: 128 * 1024,
            handshake_seconds: 10,
            setup_seconds: 10,
            first_channel_seconds: 60,
            unsent_seconds: 30,
            idle_seconds: 900,
            keepalive_seconds: 60,
            requests_per_second: 50.0,
            requests_burst: 8_192.0,
            shares_per_second: 2_000.0,
            shares_burst: 20_000.0,
            invalid_shares_per_second: 1.0,
            invalid_shares_burst: 500.0,
            offences: 30,
            ban_seconds: 600,
            drain_seconds: 5,
        }
    }
}

/// What a session may use up.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Messages other than shares.
    pub requests: Rate,
    /// Shares.
    pub shares: Rate,
    /// Invalid shares of one channel.
    pub invalid_shares: Rate,
}

impl Limits {
    /// Says which value makes no sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        let least_one = [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("half_open", self.half_open),
            ("channels", self.channels),
        ];
        for (name, value) in least_one {
            if value == 0 {
                return Err(format!("limits.{name}: expected at least 1"));
            }
        }
        let seconds = [
            ("handshake", self.handshake_seconds),
            ("setup", self.setup_seconds),
            ("first_channel", self.first_channel_seconds),
            ("unsent", self.unsent_seconds),
            ("idle", self.idle_seconds),
            ("keepalive", self.keepalive_seconds),
        ];
        for (name, value) in seconds {
            if !(1..=MAX_SECONDS).contains(&value) {
                return Err(format!("limits.{name}_seconds: expected 1 to {MAX_SECONDS}"));
            }
        }
        for (name, value) in [("ban", self.ban_seconds), ("drain", self.drain_seconds)] {
            if value > MAX_SECONDS {
                return Err(format!("limits.{name}_seconds: expected at most {MAX_SECONDS}"));
            }
        }
        let rates = [
            ("requests", self.requests_per_second, self.requests_burst),
            ("shares", self.shares_per_second, self.shares_burst),
            ("invalid_shares", self.invalid_shares_per_second, self.invalid_shares_burst),
        ];
        for (name, per_second, burst) in rates {
            if !(per_second.is_finite() && per_second > 0.0 && burst.is_finite() && burst >= 1.0) {
                return Err(format!(
                    "limits.{name}_per_second, limits.{name}_burst: expected a positive number, 1 or more"
                ));
            }
        }
        Ok(())
    }

    /// For each connection.
    pub fn of_connections(&self) -> shard::Limits {
        shard::Limits {
            message_bytes: self.message_bytes,
            handshake: Duration::from_secs(self.handshake_seconds),
            unsent: Duration::from_secs(self.unsent_seconds),
            idle: Duration::from_secs(self.idle_seconds),
        }
    }

    /// For each session.
    pub fn of_sessions(&self) -> SessionLimits {
        let rate = |per_second, burst| Rate { per_second, burst };
        SessionLimits {
            requests: rate(self.requests_per_second, self.requests_burst),
            shares: rate(self.shares_per_second, self.shares_burst),
            invalid_shares: rate(self.invalid_shares_per_second, self.invalid_shares_burst),
        }
    }

    /// For the system's side of each connection.
    pub fn of_sockets(&self) -> SocketTimeouts {
        SocketTimeouts {
            keepalive: Duration::from_secs(self.keepalive_seconds),
            unacknowledged: Duration::from_secs(self.unsent_seconds),
        }
    }

    /// See [`drain_seconds`](Self::drain_seconds).
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// Places for all connections.
    pub fn places(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.connections.min(Semaphore::MAX_PERMITS)))
    }

    /// Who is let in.
    pub fn gate(&self) -> Arc<Gate> {
        let offences = f64::from(self.offences);
        Gate::new(GateLimits {
            half_open: self.half_open,
            per_address: self.connections_per_address,
            offences: Rate { per_second: offences / 3600.0, burst: offences },
            ban: Duration::from_secs(self.ban_seconds),
        })
    }
}

/// A year; longer times are surely a mistake.
const MAX_SECONDS: u64 = 365 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_that_makes_no_sense_is_named() {
        Limits::default().check().unwrap();
        let error = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.check().unwrap_err()
        };
        assert!(error(|l| l.connections = 0).contains("limits.connections:"));
        assert!(error(|l| l.connections_per_address = 0).contains("limits.connections_per_address"));
        assert!(error(|l| l.half_open = 0).contains("limits.half_open"));
        assert!(error(|l| l.channels = 0).contains("limits.channels"));
        assert!(error(|l| l.idle_seconds = 0).contains("limits.idle_seconds"));
        assert!(error(|l| l.keepalive_seconds = 0).contains("limits.keepalive_seconds"));
        assert!(error(|l| l.setup_seconds = u64::MAX).contains("limits.setup_seconds"));
        assert!(error(|l| l.drain_seconds = u64::MAX).contains("limits.drain_seconds"));
        assert!(error(|l| l.ban_seconds = u64::MAX).contains("limits.ban_seconds"));
        assert!(error(|l| l.shares_per_second = f64::NAN).contains("limits.shares_per_second"));
        assert!(error(|l| l.requests_burst = 0.5).contains("limits.requests_burst"));
        assert!(error(|l| l.invalid_shares_per_second = 0.0).contains("limits.invalid_shares_per_second"));
    }
}
