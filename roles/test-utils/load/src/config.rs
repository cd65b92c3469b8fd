//! What a swarm is told.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use network_helpers::Security;

/// Shares that may wait for their acknowledgement on one connection. Pools acknowledge in batches: it must be more than one.
pub const DEFAULT_WINDOW: usize = 64;

/// Loopback addresses that connections to a loopback pool come from. One address has some 28,000 ports, and each that a
/// connection used rests for a minute.
pub const DEFAULT_SOURCES: u8 = 16;

/// Most of them: the last byte of the address counts them.
pub const MAX_SOURCES: u8 = 250;

/// A connection that has no work by then is given up.
pub const SET_UP_DEADLINE: Duration = Duration::from_secs(30);

/// Longest message that is taken from a pool: the longest coinbase and merkle path need 140 KB.
pub const MAX_MESSAGE_BYTES: u32 = 256 * 1024;

/// The kind of channel that each miner opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Jobs come with their merkle root.
    Standard,
    /// The miner rolls an extranonce of so many bytes.
    Extended {
        /// What to ask for, in bytes.
        extranonce_size: u16,
    },
}

/// A swarm, before it connects to anything.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// The pool.
    pub pool: SocketAddr,
    /// With noise or without.
    pub security: Security,
    /// What each miner opens.
    pub channel: ChannelKind,
    /// Who mines; each miner adds its number after a full stop.
    pub user: String,
    /// Hashes per second that each miner names. 0 leaves the target to the pool.
    pub nominal_hashrate: f32,
    /// Threads; each has a part of the connections.
    pub threads: usize,
    /// Shares that may wait for their acknowledgement on one connection.
    pub window: usize,
    /// Part of the connections that read slowly, 0 to 1.
    pub slow_readers: f64,
    /// Loopback addresses to connect from, where the pool has one; 0 leaves the choice to the system.
    pub sources: u8,
}

impl SwarmConfig {
    /// A swarm with the defaults.
    pub fn new(pool: SocketAddr, security: Security) -> Self {
        Self {
            pool,
            security,
            channel: ChannelKind::Extended { extranonce_size: 4 },
            user: "load".to_owned(),
            nominal_hashrate: 0.0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            window: DEFAULT_WINDOW,
            slow_readers: 0.0,
            sources: DEFAULT_SOURCES,
        }
    }

    /// Where connection number `index` comes from; `None` leaves the choice to the system.
    pub(crate) fn source(&self, index: u64) -> Option<SocketAddr> {
        let loopback = matches!(self.pool.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let sources = u64::from(self.sources.min(MAX_SOURCES));
        // 127.0.0.1 is left to others.
        let last = (index.checked_rem(sources)? + 2) as u8;
        loopback.then(|| SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), 0))
    }

    /// Whether connection number `index` reads slowly.
    pub(crate) fn is_slow(&self, index: u64) -> bool {
        // One more than before: then the part of slow ones is right for any number of connections.
        let count = |n: u64| (n as f64 * self.slow_readers.clamp(0.0, 1.0)) as u64;
        count(index + 1) > count(index)
    }
}

/// The first address of `host:port`.
///
/// # Errors
/// When the name is unknown.
pub fn resolve(address: &str) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    address.to_socket_addrs()?.next().ok_or_else(none)
}

/// How fast shares are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many a second, over all connections.
    PerSecond(f64),
    /// Each connection keeps its window full.
    AsAcknowledged,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pool: &str) -> SwarmConfig {
        SwarmConfig::new(pool.parse().unwrap(), Security::Plain)
    }

    #[test]
    fn sources_are_loopback_addresses_for_loopback_pools_only() {
        let mut config = config("127.0.0.1:1");
        let of = |config: &SwarmConfig, index| config.source(index).map(|address| address.ip().to_string());
        assert_eq!(of(&config, 0).as_deref(), Some("127.0.0.2"));
        assert_eq!(of(&config, 17).as_deref(), Some("127.0.0.3"));
        config.sources = 255;
        assert_eq!(of(&config, 249).as_deref(), Some("127.0.0.251"));
        assert_eq!(of(&config, 250).as_deref(), Some("127.0.0.2"));
        config.sources = 0;
        assert_eq!(of(&config, 0), None);
        assert_eq!(of(&self::config("192.0.2.1:1"), 0), None);
        assert_eq!(of(&self::config("[::1]:1"), 0), None);
    }

    #[test]
    fn the_part_of_slow_readers_is_right() {
        let mut config = config("127.0.0.1:1");
        for (part, expected) in [(0.0, 0), (0.1, 20), (0.25, 50), (1.0, 200), (7.0, 200)] {
            config.slow_readers = part;
            assert_eq!((0..200).filter(|index| config.is_slow(*index)).count(), expected, "{part}");
        }
    }
}
