//! What an operator sets. [`DEFAULT`] is the commented default that `stratum config translator` prints.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use noise_sv2::url::EndpointUrl;
use roles_logic_sv2::{
    Target, TargetBounds,
    target::WORK_OF_DIFFICULTY_1,
    vardiff::policy::{Start, TargetPolicies, TargetPolicy},
};
use serde::Deserialize;
use stratum_runtime::{
    bucket::Rate,
    gate::{Gate, GateLimits},
    listener::{Proxies, SocketTimeouts},
    shard,
};

use crate::{
    hub::{HubConfig, RouteConfig, UpstreamConfig},
    names::MAX_IDENTITY,
    room::Sharing,
    session::SessionConfig,
};

/// The commented default configuration.
pub const DEFAULT: &str = include_str!("default.toml");

/// Prefix of the environment variables that override the file.
pub const ENVIRONMENT: &str = "STRATUM_TRANSLATOR";

/// Upstreams that a configuration may have.
pub const MAX_UPSTREAMS: usize = 64;

/// The route of upstreams that name none.
const MAIN_ROUTE: &str = "main";
/// A year; longer times are surely a mistake.
const MAX_SECONDS: u64 = 365 * 86_400;

/// The configuration of a translator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranslatorConfig {
    /// Whether miners share a channel upstream.
    #[serde(default)]
    pub channels: Channels,
    /// Threads that serve miners; 0 is one per core.
    #[serde(default)]
    pub shards: usize,
    /// Where miners connect.
    pub listen: Vec<Listen>,
    /// Where shares go, by preference.
    pub upstream: Vec<Upstream>,
    /// How much of the hashrate each route gets.
    #[serde(default)]
    pub route: Vec<Route>,
    /// Difficulty of miners' shares.
    #[serde(default)]
    pub shares: Shares,
    /// How upstreams stand in for each other.
    #[serde(default)]
    pub failover: Failover,
    /// What a miner may use up.
    #[serde(default)]
    pub limits: Limits,
    /// The HTTP API.
    #[serde(default)]
    pub http: Http,
}

/// The HTTP API for the operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Whether it is served.
    pub enabled: bool,
    /// Where. Whoever can connect sees all of it.
    pub operator: SocketAddr,
    /// Names that it is reached by, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Connections.
    pub connections: usize,
}

impl Default for Http {
    fn default() -> Self {
        let operator = SocketAddr::from(([127, 0, 0, 1], 34282));
        Self { enabled: true, operator, hosts: Vec::new(), connections: 64 }
    }
}

/// Whether miners share a channel upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// One channel for all miners of a route.
    #[default]
    Aggregated,
    /// A channel for each miner.
    PerMiner,
}

/// One listening socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Takes miners that come with TLS (`stratum+ssl`), too.
    pub tls: Option<Tls>,
    /// Name of the socket to use if a service manager has opened it; else one that it has opened for the same address is used.
    pub socket: Option<String>,
    /// Whether an IPv6 address takes IPv6 alone; `[::]` takes both otherwise.
    #[serde(default)]
    pub ipv6_only: bool,
    /// Load balancers that say for whom they speak.
    #[serde(default)]
    pub proxy: Proxies,
}

/// How a listener takes TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and what leads from it to its authority, in PEM.
    pub certificate_file: PathBuf,
    /// The secret key, in PEM; only its owner may read the file.
    pub key_file: PathBuf,
    /// Refuses miners that come without.
    #[serde(default)]
    pub only: bool,
}

/// Where shares go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// What it is called in logs and the API; its host and port if nothing else.
    pub name: Option<String>,
    /// `stratum2+tcp://HOST:PORT/AUTHORITY_KEY`
    pub url: String,
    /// Encrypted with noise; off only where the network is trusted.
    #[serde(default = "yes")]
    pub noise: bool,
    /// The account there.
    pub user: String,
    /// The route that it belongs to.
    #[serde(default = "main_route")]
    pub route: String,
}

/// How much of the hashrate a route gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// As the upstreams name it.
    pub name: String,
    /// Beside the weights of the others.
    pub weight: f64,
}

/// Difficulty of miners' shares.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Shares a minute that a miner's difficulty aims at.
    pub per_minute: f32,
    /// Whether difficulties follow what a miner delivers.
    pub vardiff: bool,
    /// No difficulty is lower; fractions are allowed.
    pub min_difficulty: f64,
    /// No difficulty is higher.
    pub max_difficulty: Option<f64>,
    /// The first difficulty of a miner that asks for none.
    pub start_difficulty: f64,
    /// Seconds that a share's time may be ahead.
    pub ntime_tolerance: u32,
    /// Milliseconds that a share waits for the upstream's verdict before it is answered with a provisional `true`.
    pub verdict_ms: u64,
    /// Hashes per second that a miner is taken for, in what the upstream is told, before it has shown what it can.
    pub miner_hashrate: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            per_minute: 12.0,
            vardiff: true,
            min_difficulty: 0.0,
            max_difficulty: None,
            start_difficulty: 1024.0,
            ntime_tolerance: 60,
            verdict_ms: 5_000,
            miner_hashrate: 1e13,
        }
    }
}

/// How upstreams stand in for each other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Failover {
    /// Seconds for the connection, for SetupConnection.Success, and for a channel, each.
    pub answer_seconds: u64,
    /// Seconds that a preferred upstream must have been up before it is used again.
    pub settle_seconds: u64,
    /// Least seconds between two messages that tell an upstream the hashrate.
    pub hashrate_seconds: u64,
}

impl Default for Failover {
    fn default() -> Self {
        Self { answer_seconds: 10, settle_seconds: 30, hashrate_seconds: 60 }
    }
}

/// What a miner may use up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections in all; more wait in the system's queue.
    pub connections: usize,
    /// Connections of one address; more are closed at once.
    pub connections_per_address: usize,
    /// Connections without a worker; with more, the oldest of the address that has most of them is closed.
    pub half_open: usize,
    /// Seconds for telling the protocol and for TLS.
    pub handshake_seconds: u64,
    /// Seconds for subscription and authorization, and for an upstream to be up. Then a miner is sent away, so that it uses what else it is
    /// configured for.
    pub patience_seconds: u64,
    /// A miner whose oldest unsent byte is this old is dropped.
    pub unsent_seconds: u64,
    /// A miner that has sent nothing for this long is dropped.
    pub idle_seconds: u64,
    /// After so many seconds of silence the system asks whether the miner is still there.
    pub keepalive_seconds: u64,
    /// Lines that a miner may send over time; one that sends more is not read from for a while.
    pub lines_per_second: f64,
    /// Lines at once.
    pub lines_burst: f64,
    /// Invalid shares, stale ones aside, that a miner may submit over time; one that submits more is dropped.
    pub invalid_shares_per_second: f64,
    /// Invalid shares at once.
    pub invalid_shares_burst: f64,
    /// Connections of one address that may break the protocol before they have a worker: at once, and in an hour. With more the address is
    /// banned for a while.
    pub offences: u32,
    /// How long a ban lasts.
    pub ban_seconds: u64,
    /// How long miners that were told to connect anew are served when the translator ends.
    pub drain_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 5_000,
            half_open: 4_096,
            handshake_seconds: 10,
            patience_seconds: 60,
            unsent_seconds: 30,
            idle_seconds: 900,
            keepalive_seconds: 60,
            lines_per_second: 50.0,
            lines_burst: 1_000.0,
            invalid_shares_per_second: 1.0,
            invalid_shares_burst: 500.0,
            offences: 30,
            ban_seconds: 600,
            drain_seconds: 5,
        }
    }
}

/// Why a configuration makes no translator; the text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

fn invalid<T>(text: impl Into<String>) -> Result<T, InvalidConfig> {
    Err(InvalidConfig(text.into()))
}

impl TranslatorConfig {
    /// The defaults, without listeners and upstreams.
    pub fn new() -> Self {
        Self {
            channels: Channels::default(),
            shards: 0,
            listen: Vec::new(),
            upstream: Vec::new(),
            route: Vec::new(),
            shares: Shares::default(),
            failover: Failover::default(),
            limits: Limits::default(),
            http: Http::default(),
        }
    }

    /// Checks what types can not express.
    ///
    /// # Errors
    /// The first thing that is wrong, and what to do.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if self.listen.is_empty() {
            return invalid("listen: name at least one [[listen]] with an address");
        }
        self.shares.check()?;
        self.limits.check()?;
        if self.http.connections == 0 {
            return invalid("http.connections: expected at least 1");
        }
        for (name, value) in [
            ("answer", self.failover.answer_seconds),
            ("settle", self.failover.settle_seconds),
            ("hashrate", self.failover.hashrate_seconds),
        ] {
            if !(1..=MAX_SECONDS).contains(&value) {
                return invalid(format!("failover.{name}_seconds: expected 1 to {MAX_SECONDS}"));
            }
        }
        self.hub().map(drop)
    }

    /// How the space below a channel is split.
    pub const fn sharing(&self) -> Sharing {
        match self.channels {
            Channels::Aggregated => Sharing::Shared,
            Channels::PerMiner => Sharing::Own,
        }
    }

    /// What the hub is to know.
    ///
    /// # Errors
    /// What is wrong with upstreams and routes.
    pub fn hub(&self) -> Result<HubConfig, InvalidConfig> {
        if self.upstream.is_empty() || self.upstream.len() > MAX_UPSTREAMS {
            return invalid(format!("upstream: name 1 to {MAX_UPSTREAMS} [[upstream]] with url and user"));
        }
        let mut routes: Vec<RouteConfig> = Vec::new();
        for Route { name, weight } in &self.route {
            if !(weight.is_finite() && *weight > 0.0) {
                return invalid(format!("route {name}: expected a weight over 0, got {weight}"));
            }
            if routes.iter().any(|route| route.name == *name) {
                return invalid(format!("route {name}: named twice"));
            }
            routes.push(RouteConfig { name: name.clone(), weight: *weight, upstreams: Vec::new() });
        }
        if routes.is_empty() {
            routes.push(RouteConfig { name: MAIN_ROUTE.to_owned(), weight: 1.0, upstreams: Vec::new() });
        }
        let mut upstreams = Vec::new();
        for (index, upstream) in self.upstream.iter().enumerate() {
            let config = upstream.check()?;
            let known: Vec<_> = routes.iter().map(|route| route.name.clone()).collect();
            let Some(route) = routes.iter_mut().find(|route| route.name == upstream.route) else {
                let (name, route, known) = (&config.name, &upstream.route, known.join(", "));
                return invalid(format!("upstream {name}: there is no route \"{route}\", only: {known}"));
            };
            route.upstreams.push(index);
            upstreams.push(config);
        }
        if let Some(route) = routes.iter().find(|route| route.upstreams.is_empty()) {
            return invalid(format!("route {}: no [[upstream]] belongs to it", route.name));
        }
        Ok(HubConfig {
            sharing: self.sharing(),
            version_mask: const_sv2::limits::BIP320_VERSION_MASK,
            upstreams,
            routes,
            setup: Duration::from_secs(self.failover.answer_seconds),
            settle: Duration::from_secs(self.failover.settle_seconds),
            update_interval: Duration::from_secs(self.failover.hashrate_seconds),
            miner_hashrate: self.shares.miner_hashrate,
        })
    }

    /// What sessions are to know.
    ///
    /// # Errors
    /// What is wrong with the difficulties.
    pub fn session(&self) -> Result<SessionConfig, InvalidConfig> {
        let rate = |per_second, burst| Rate { per_second, burst };
        let Limits { lines_per_second, lines_burst, .. } = self.limits;
        let Limits { invalid_shares_per_second, invalid_shares_burst, .. } = self.limits;
        Ok(SessionConfig {
            sharing: self.sharing(),
            version_mask: const_sv2::limits::BIP320_VERSION_MASK,
            targets: TargetPolicies::new(self.shares.policy()).map_err(|error| InvalidConfig(error.to_string()))?,
            vardiff: self.shares.vardiff,
            ntime_tolerance: self.shares.ntime_tolerance,
            verdict_patience: Duration::from_millis(self.shares.verdict_ms),
            patience: Duration::from_secs(self.limits.patience_seconds),
            lines: rate(lines_per_second, lines_burst),
            invalid_shares: rate(invalid_shares_per_second, invalid_shares_burst),
        })
    }
}

impl Default for TranslatorConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl Upstream {
    fn check(&self) -> Result<UpstreamConfig, InvalidConfig> {
        let url: EndpointUrl =
            self.url.parse().map_err(|error| InvalidConfig(format!("upstream {}: {error}", self.url)))?;
        let name = self.name.clone().unwrap_or_else(|| url.address());
        if self.user.is_empty() || self.user.len() > MAX_IDENTITY {
            return invalid(format!("upstream {name}: user: expected your account there, 1 to {MAX_IDENTITY} bytes"));
        }
        if self.noise && url.authority().is_none() {
            return invalid(format!(
                "upstream {name}: url: the pool's authority key is missing behind the port; without it anybody on the way could take \
                 your hashrate (noise = false for a network that is trusted)"
            ));
        }
        Ok(UpstreamConfig { name, url, plain: !self.noise, user: self.user.clone() })
    }
}

/// Logarithm to base 2 of a difficulty's work, between 0 and 127.
fn work_bits(difficulty: f64) -> f64 {
    (difficulty * WORK_OF_DIFFICULTY_1 as f64).max(1.0).log2().min(127.0)
}

impl Shares {
    fn policy(&self) -> TargetPolicy {
        let not_harder = |difficulty: f64| Target::from_zero_bits(work_bits(difficulty).floor() as u32);
        let easiest = Target::from_zero_bits(work_bits(self.min_difficulty).ceil() as u32);
        let hardest = self.max_difficulty.map_or(TargetBounds::NONE.hardest, not_harder);
        TargetPolicy {
            shares_per_minute: self.per_minute,
            bounds: TargetBounds { easiest, hardest },
            start: Start::Nominal(Some(not_harder(self.start_difficulty))),
        }
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        for (name, value) in [
            ("per_minute", f64::from(self.per_minute)),
            ("start_difficulty", self.start_difficulty),
            ("miner_hashrate", self.miner_hashrate),
            ("max_difficulty", self.max_difficulty.unwrap_or(1.0)),
        ] {
            if !positive(value) {
                return invalid(format!("shares.{name}: expected a positive number"));
            }
        }
        if !(self.min_difficulty.is_finite() && self.min_difficulty >= 0.0) {
            return invalid("shares.min_difficulty: expected 0 or a positive number");
        }
        let TargetBounds { easiest, hardest } = self.policy().bounds;
        if easiest < hardest {
            return invalid(
                "shares.max_difficulty: difficulties go in steps of two, and none is between min_difficulty and it",
            );
        }
        if !(1..=60_000).contains(&self.verdict_ms) {
            return invalid(
                "shares.verdict_ms: expected 1 to 60000; devices take a server that is silent for long for dead",
            );
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Result<(), InvalidConfig> {
        let least_one = [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("half_open", self.half_open),
        ];
        if let Some((name, _)) = least_one.into_iter().find(|(_, value)| *value == 0) {
            return invalid(format!("limits.{name}: expected at least 1"));
        }
        let seconds = [
            ("handshake", self.handshake_seconds),
            ("patience", self.patience_seconds),
            ("unsent", self.unsent_seconds),
            ("idle", self.idle_seconds),
            ("keepalive", self.keepalive_seconds),
        ];
        if let Some((name, _)) = seconds.into_iter().find(|(_, value)| !(1..=MAX_SECONDS).contains(value)) {
            return invalid(format!("limits.{name}_seconds: expected 1 to {MAX_SECONDS}"));
        }
        for (name, value) in [("ban", self.ban_seconds), ("drain", self.drain_seconds)] {
            if value > MAX_SECONDS {
                return invalid(format!("limits.{name}_seconds: expected at most {MAX_SECONDS}"));
            }
        }
        for (name, per_second, burst) in [
            ("lines", self.lines_per_second, self.lines_burst),
            ("invalid_shares", self.invalid_shares_per_second, self.invalid_shares_burst),
        ] {
            if !(per_second.is_finite() && per_second > 0.0 && burst.is_finite() && burst >= 1.0) {
                return invalid(format!(
                    "limits.{name}_per_second, limits.{name}_burst: expected a positive number, 1 or more"
                ));
            }
        }
        Ok(())
    }

    /// For each connection.
    pub fn of_connections(&self) -> shard::Limits {
        shard::Limits {
            // No message of Stratum V2 is taken.
            message_bytes: 2_048,
            handshake: Duration::from_secs(self.handshake_seconds),
            unsent: Duration::from_secs(self.unsent_seconds),
            idle: Duration::from_secs(self.idle_seconds),
        }
    }

    /// For the system's side of each connection.
    pub fn of_sockets(&self) -> SocketTimeouts {
        SocketTimeouts {
            keepalive: Duration::from_secs(self.keepalive_seconds),
            unacknowledged: Duration::from_secs(self.unsent_seconds),
        }
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

fn yes() -> bool {
    true
}

fn main_route() -> String {
    MAIN_ROUTE.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> TranslatorConfig {
        stratum_runtime::config::parse(text, "default", ENVIRONMENT, std::iter::empty()).unwrap()
    }

    fn good() -> TranslatorConfig {
        let mut config = parse(DEFAULT);
        config.upstream[0].user = "account".into();
        config.upstream[0].noise = false;
        config
    }

    #[test]
    fn the_default_is_valid_but_for_the_upstream_and_states_the_defaults() {
        assert!(parse(DEFAULT).check().unwrap_err().to_string().contains("user"), "an operator must set it");
        let config = good();
        config.check().unwrap();
        let defaults = TranslatorConfig {
            listen: config.listen.clone(),
            upstream: config.upstream.clone(),
            ..TranslatorConfig::new()
        };
        assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn each_mistake_says_what_to_do() {
        let error = |change: fn(&mut TranslatorConfig)| {
            let mut config = good();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(error(|c| c.listen.clear()).contains("[[listen]]"));
        assert!(error(|c| c.upstream.clear()).contains("[[upstream]]"));
        assert!(error(|c| c.upstream[0].user.clear()).contains("your account"));
        assert!(error(|c| c.upstream[0].url = "x".into()).contains("upstream x"));
        assert!(error(|c| c.upstream[0].noise = true).contains("authority key is missing"));
        assert!(error(|c| c.upstream[0].route = "fee".into()).contains("there is no route \"fee\", only: main"));
        assert!(
            error(|c| c.route.push(Route { name: "a".into(), weight: 1.0 })).contains("no route \"main\", only: a")
        );
        assert!(error(|c| c.route = vec![Route { name: "main".into(), weight: 0.0 }]).contains("over 0"));
        let two = |c: &mut TranslatorConfig| {
            c.route = ["main", "b"].map(|name| Route { name: name.into(), weight: 1.0 }).to_vec();
        };
        let mut config = good();
        two(&mut config);
        assert!(config.check().unwrap_err().to_string().contains("route b: no [[upstream]]"));
        assert!(error(|c| c.route = vec![Route { name: "main".into(), weight: 1.0 }; 2]).contains("twice"));
        assert!(error(|c| c.shares.per_minute = f32::NAN).contains("shares.per_minute"));
        assert!(error(|c| c.shares.min_difficulty = -1.0).contains("min_difficulty"));
        assert!(error(|c| c.shares.verdict_ms = 0).contains("verdict_ms"));
        assert!(
            error(|c| (c.shares.min_difficulty, c.shares.max_difficulty) = (4.1, Some(4.2))).contains("steps of two")
        );
        assert!(error(|c| c.failover.settle_seconds = 0).contains("failover.settle_seconds"));
        assert!(error(|c| c.limits.connections = 0).contains("limits.connections"));
        assert!(error(|c| c.limits.idle_seconds = 0).contains("limits.idle_seconds"));
        assert!(error(|c| c.limits.drain_seconds = u64::MAX).contains("limits.drain_seconds"));
        assert!(error(|c| c.limits.lines_burst = 0.0).contains("limits.lines"));
    }
}
