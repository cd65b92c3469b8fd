//! What an operator sets. [`DEFAULT`] is the commented default that `stratum config pool` prints.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bitcoin::{Network, ScriptBuf};
use roles_logic_sv2::{accounting::AckLimits, job::JobError};
use serde::Deserialize;
use stratum_notify::NotifyConfig;
use stratum_runtime::{http::HttpConfig, listener::Proxies, tls::TlsFiles};
use template_source::{
    TemplateSource,
    config::{InvalidSource, SourceConfig},
};

pub use crate::limits::Limits;
use crate::{
    blocks::CONFIRMATIONS,
    hub::Failover,
    payout::{self, PayoutError},
    profile::{self, Device, Overrides},
    session::Acknowledge,
    user::Policy,
};

/// The commented default configuration.
pub const DEFAULT: &str = include_str!("default.toml");

/// Prefix of the environment variables that override the file.
pub const ENVIRONMENT: &str = "STRATUM_POOL";

/// The configuration of a pool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// The chain that rewards are on.
    pub network: Network,
    /// Where block rewards go; see [`payout::script`].
    pub payout: String,
    /// What becomes of channels whose user identity names nobody who can be credited or paid.
    #[serde(default)]
    pub on_invalid_user: OnInvalidUser,
    /// Terms for miners whose blocks pay their own address.
    #[serde(default)]
    pub solo: Solo,
    /// Text in the coinbase of every block.
    #[serde(default = "default_tag")]
    pub coinbase_tag: String,
    /// Folder for the epoch and found blocks.
    pub data_dir: PathBuf,
    /// File with the secret authority key; needed when a listener uses noise.
    pub authority_key_file: Option<PathBuf>,
    /// How long a certificate is valid; a new one is made at half of it.
    #[serde(default = "default_certificate_hours")]
    pub certificate_hours: u32,
    /// For debugging: a file that gets the secret keys of every encrypted connection.
    pub debug_key_log: Option<PathBuf>,
    /// Tells several pools that share payouts apart, in the first bits of every extranonce.
    #[serde(default)]
    pub server_id: u16,
    /// Threads that serve miners; 0 is one per core.
    #[serde(default)]
    pub shards: usize,
    /// Where miners connect.
    pub listen: Vec<Listen>,
    /// Where templates come from, the preferred one first; found blocks go to all.
    pub source: Vec<SourceConfig>,
    /// How several sources stand in for each other, and when a block is final.
    #[serde(default)]
    pub nodes: Nodes,
    /// How shares are recorded and acknowledged.
    #[serde(default)]
    pub ledger: LedgerConfig,
    /// Difficulty of shares.
    #[serde(default)]
    pub shares: Shares,
    /// What a peer may use up.
    #[serde(default)]
    pub limits: Limits,
    /// Where the pool shows itself to people and programs.
    #[serde(default)]
    pub http: HttpConfig,
    /// Who is told of blocks, nodes and workers (`docs/operate/notifications.md`).
    #[serde(default)]
    pub notify: NotifyConfig,
}

/// One listening socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// What it is for, in messages and logs: hobby, farm, rental.
    pub name: Option<String>,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Whether miners of Stratum V2 are served.
    #[serde(default = "yes")]
    pub v2: bool,
    /// Their connections are encrypted with noise; off only for networks that are trusted.
    #[serde(default = "yes")]
    pub noise: bool,
    /// Whether miners of Stratum V1 are served, on the same port (`docs/spec/one-port.md`).
    #[serde(default = "yes")]
    pub v1: bool,
    /// Stratum V1 inside TLS, on the same port, too.
    pub tls: Option<Tls>,
    /// How miners may be paid here; the first holds for those who name no policy.
    #[serde(default = "pool_only")]
    pub policies: Vec<Policy>,
    /// Name of the socket to use if a service manager has opened it; else one that it has opened for the same address is used.
    pub socket: Option<String>,
    /// Whether an IPv6 address takes IPv6 alone; `[::]` takes both otherwise.
    #[serde(default)]
    pub ipv6_only: bool,
    /// Load balancers that say for whom they speak.
    #[serde(default)]
    pub proxy: Proxies,
    /// What is otherwise here than `[shares]` says.
    #[serde(default)]
    pub shares: Overrides,
    /// Devices that are treated otherwise here.
    #[serde(default)]
    pub device: Vec<Device>,
}

impl Listen {
    /// With noise, for miners under the pool's policy.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            name: None,
            address,
            v2: yes(),
            noise: yes(),
            v1: yes(),
            tls: None,
            policies: pool_only(),
            socket: None,
            ipv6_only: false,
            proxy: Proxies::default(),
            shares: Overrides::default(),
            device: Vec::new(),
        }
    }

    /// Whether Stratum V1 is served in the clear.
    pub fn clear_v1(&self) -> bool {
        self.v1 && self.tls.as_ref().is_none_or(|tls| !tls.only)
    }

    /// Its name, else its address.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.address.to_string())
    }
}

/// The certificate for Stratum V1 inside TLS (`stratum+ssl`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and what leads from it to its authority, in PEM.
    pub certificate_file: PathBuf,
    /// Its secret key, in PEM; only the owner may read the file.
    pub key_file: PathBuf,
    /// Whether Stratum V1 in the clear is refused.
    #[serde(default)]
    pub only: bool,
}

impl Tls {
    /// For the runtime.
    pub fn files(&self) -> TlsFiles {
        TlsFiles { certificates: self.certificate_file.clone(), key: self.key_file.clone() }
    }
}

/// What becomes of channels whose user identity can not be read, or has a wrong address (`crate::user`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnInvalidUser {
    /// They are not opened; the answer says what is wrong.
    #[default]
    Refuse,
    /// They are opened; their shares are credited to nobody and their blocks pay the pool.
    CreditPool,
}

/// Terms of the policy `solo`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Solo {
    /// Percentage of each block that goes to the pool's payout, 0 to 100.
    pub fee_percent: f64,
    /// Where donations go; see [`payout::script`]. Without it, to the pool's payout.
    pub donation_payout: Option<String>,
}

/// How several sources stand in for each other, and when a block is final.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nodes {
    /// Seconds that a source may be behind another one before the other one is used.
    pub stuck_seconds: u64,
    /// Seconds that a preferred source must have kept up before it is used again.
    pub settle_seconds: u64,
    /// Depth at which a found block is final.
    pub confirmations: u32,
}

impl Default for Nodes {
    fn default() -> Self {
        let Failover { stuck_after, settle } = Failover::default();
        Self { stuck_seconds: stuck_after.as_secs(), settle_seconds: settle.as_secs(), confirmations: CONFIRMATIONS }
    }
}

impl Nodes {
    /// When sources change.
    pub fn failover(&self) -> Failover {
        Failover {
            stuck_after: Duration::from_secs(self.stuck_seconds),
            settle: Duration::from_secs(self.settle_seconds),
        }
    }
}

/// How shares are recorded and acknowledged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// When a share is acknowledged.
    pub acknowledge: Acknowledge,
    /// Shares that one acknowledgement covers at the most, where [`ack_delay_ms`](Self::ack_delay_ms) lets them gather.
    pub ack_shares: u32,
    /// Milliseconds that a share which may be acknowledged waits for more of its channel; 0 is not at all.
    pub ack_delay_ms: u64,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self { acknowledge: Acknowledge::Durable, ack_shares: 1_000, ack_delay_ms: 0 }
    }
}

impl LedgerConfig {
    /// When a batch of acknowledgements ends.
    pub fn ack_limits(&self) -> AckLimits {
        AckLimits { count: self.ack_shares, delay: Duration::from_millis(self.ack_delay_ms) }
    }
}

/// Difficulty of shares.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Shares a minute that a channel's target aims at.
    pub per_minute: f32,
    /// Whether targets follow what a channel delivers (`docs/vardiff.md`); if not, they follow the hashrate that it names.
    pub vardiff: bool,
    /// No target is easier than this difficulty; fractions are allowed.
    pub min_difficulty: f64,
    /// No target is harder than this difficulty.
    pub max_difficulty: Option<f64>,
    /// The first target of a channel that names no hashrate; without it, the easiest one.
    pub start_difficulty: Option<f64>,
    /// Seconds after which miners get a job with new content, if the template does not change before.
    pub job_refresh_seconds: u64,
    /// Seconds that a share's time may be ahead of the time that has passed since its previous hash was sent.
    pub ntime_tolerance: u32,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            per_minute: 12.0,
            vardiff: true,
            min_difficulty: 0.0,
            max_difficulty: None,
            start_difficulty: None,
            job_refresh_seconds: 30,
            ntime_tolerance: 60,
        }
    }
}

/// Why a configuration makes no pool.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// Where rewards go is not clear.
    #[error("payout: {0}")]
    Payout(#[from] PayoutError),
    /// Where donations go is not clear.
    #[error("solo.donation_payout: {0}")]
    DonationPayout(PayoutError),
    /// Tag and payout make no coinbase.
    #[error("payout or coinbase_tag: {0}")]
    Job(#[from] JobError),
    /// A template source.
    #[error(transparent)]
    Source(#[from] InvalidSource),
    /// Something else; the text says what to change.
    #[error("{0}")]
    Other(String),
}

impl PoolConfig {
    /// The defaults, without listeners, HTTP included, and sources.
    pub fn new(network: Network, payout: &str, data_dir: PathBuf) -> Self {
        Self {
            network,
            payout: payout.to_owned(),
            on_invalid_user: OnInvalidUser::default(),
            solo: Solo::default(),
            coinbase_tag: default_tag(),
            data_dir,
            authority_key_file: None,
            certificate_hours: default_certificate_hours(),
            debug_key_log: None,
            server_id: 0,
            shards: 0,
            listen: Vec::new(),
            source: Vec::new(),
            nodes: Nodes::default(),
            ledger: LedgerConfig::default(),
            shares: Shares::default(),
            limits: Limits::default(),
            http: HttpConfig::off(),
            notify: NotifyConfig::default(),
        }
    }

    /// Checks what types can not express, and returns the payout script.
    ///
    /// # Errors
    /// The first thing that is wrong, and what to do.
    pub fn check(&self) -> Result<ScriptBuf, InvalidConfig> {
        let other = |text: &str| Err(InvalidConfig::Other(text.to_owned()));
        let script = payout::script(&self.payout, self.network)?;
        if let Some(text) = &self.solo.donation_payout {
            payout::script(text, self.network).map_err(InvalidConfig::DonationPayout)?;
        }
        if !(0.0..=100.0).contains(&self.solo.fee_percent) {
            return other("solo.fee_percent: expected 0 to 100");
        }
        if self.listen.iter().any(|listen| listen.policies.is_empty()) {
            return other("listen.policies: expected \"pool\", \"solo\" or both, the usual one first, or \"owner\"");
        }
        if self.listen.iter().any(|listen| listen.policies.len() > 1 && listen.policies.contains(&Policy::Owner)) {
            return other("listen.policies: expected \"owner\" alone, for it takes every name");
        }
        if self.listen.is_empty() {
            return other("listen: name at least one [[listen]] with an address");
        }
        if self.source.is_empty() {
            return other("source: name at least one [[source]] for templates");
        }
        self.source.iter().try_for_each(|source| source.check(self.network))?;
        if let Some(listen) = self.listen.iter().find(|listen| !listen.v1 && (!listen.v2 || listen.tls.is_some())) {
            let label = listen.label();
            return Err(InvalidConfig::Other(match &listen.tls {
                None => format!("listen {label}: expected v1 = true, v2 = true or both"),
                Some(_) => format!(
                    "listen {label}: tls is for Stratum V1; expected v1 = true, with tls.only where it is not to be served in the clear"
                ),
            }));
        }
        if self.authority_key_file.is_none() && self.listen.iter().any(|listen| listen.noise && listen.v2) {
            return other(
                "authority_key_file: a listener with noise needs the authority's key; make one with `stratum keygen`",
            );
        }
        if self.coinbase_tag.len() > MAX_TAG_BYTES {
            return Err(InvalidConfig::Other(format!(
                "coinbase_tag: at most {MAX_TAG_BYTES} bytes fit beside height and extranonce; this one has {}",
                self.coinbase_tag.len()
            )));
        }
        if self.nodes.stuck_seconds == 0 || self.nodes.confirmations == 0 {
            return other("nodes.stuck_seconds, nodes.confirmations: expected at least 1");
        }
        if self.ledger.ack_shares == 0 || self.ledger.ack_delay_ms > MAX_ACK_DELAY_MS {
            return Err(InvalidConfig::Other(format!(
                "ledger: expected ack_shares of at least 1 and ack_delay_ms of at most {MAX_ACK_DELAY_MS}"
            )));
        }
        self.shares.check().map_err(InvalidConfig::Other)?;
        self.listen.iter().try_for_each(|listen| profile::targets(&self.shares, listen).map(drop))?;
        if self.shares.job_refresh_seconds == 0 {
            return other("shares.job_refresh_seconds: expected at least 1");
        }
        if self.certificate_hours == 0 {
            return other("certificate_hours: expected at least 1");
        }
        self.limits.check().map_err(InvalidConfig::Other)?;
        self.http.check().map_err(InvalidConfig::Other)?;
        self.notify.check().map_err(InvalidConfig::Other)?;
        Ok(script)
    }

    /// Makes the configured sources, in order. None is contacted yet.
    ///
    /// # Errors
    /// As [`PoolConfig::check`].
    pub fn build_sources(&self) -> Result<Vec<Arc<dyn TemplateSource>>, InvalidConfig> {
        Ok(self.source.iter().map(|source| source.build(self.network)).collect::<Result<_, _>>()?)
    }

    /// How long a certificate is valid.
    pub fn certificate_validity(&self) -> Duration {
        Duration::from_secs(u64::from(self.certificate_hours) * 3600)
    }
}

/// Longest time that acknowledgements may be gathered: devices take a server that is silent for long for dead.
pub const MAX_ACK_DELAY_MS: u64 = 10_000;

/// Longest coinbase tag: 100 bytes of scriptSig less 8 for the height, 21 for the extranonce, 5 for the job's variant and one for
/// the tag's push, less one in reserve.
pub const MAX_TAG_BYTES: usize = 64;

fn yes() -> bool {
    true
}

fn pool_only() -> Vec<Policy> {
    vec![Policy::Pool]
}

fn default_tag() -> String {
    "/Stratum/".to_owned()
}

fn default_certificate_hours() -> u32 {
    24
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> PoolConfig {
        stratum_runtime::config::parse(text, "default", ENVIRONMENT, std::iter::empty()).unwrap()
    }

    #[test]
    fn the_default_is_valid_but_for_the_payout() {
        let mut config = parse(DEFAULT);
        assert!(matches!(config.check(), Err(InvalidConfig::Payout(_))), "an operator must set it");
        config.payout = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".into();
        config.check().unwrap();
        let Nodes { stuck_seconds, settle_seconds, confirmations } = Nodes::default();
        assert_eq!((config.nodes.stuck_seconds, config.nodes.settle_seconds), (stuck_seconds, settle_seconds));
        assert_eq!(config.nodes.confirmations, confirmations);
        assert_eq!(format!("{:?}", config.limits), format!("{:?}", Limits::default()), "the file states the defaults");
        assert_eq!(
            format!("{:?}", config.http),
            format!("{:?}", HttpConfig::default()),
            "the file states the defaults"
        );
    }

    #[test]
    fn each_mistake_says_what_to_do() {
        let good = || {
            let mut config = parse(DEFAULT);
            config.payout = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".into();
            config
        };
        let error = |change: fn(&mut PoolConfig)| {
            let mut config = good();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(error(|c| c.listen.clear()).contains("[[listen]]"));
        assert!(error(|c| c.source.clear()).contains("[[source]]"));
        assert!(error(|c| c.listen[0].policies.clear()).contains("listen.policies"));
        assert!(error(|c| c.listen[0].policies.push(Policy::Owner)).contains("\"owner\" alone"));
        assert!(error(|c| (c.listen[0].v1, c.listen[0].v2) = (false, false)).contains("v1 = true, v2 = true or both"));
        let tls = || Some(Tls { certificate_file: "c".into(), key_file: "k".into(), only: false });
        let unused: fn(&mut PoolConfig) = |c| {
            (c.listen[0].v1, c.listen[0].tls) =
                (false, Some(Tls { certificate_file: "c".into(), key_file: "k".into(), only: true }));
        };
        assert!(error(unused).contains("tls is for Stratum V1"));
        let mut v1_alone = good();
        (v1_alone.listen[0].v2, v1_alone.authority_key_file, v1_alone.listen[0].tls) = (false, None, tls());
        v1_alone.check().unwrap();
        assert!(error(|c| c.solo.fee_percent = 101.0).contains("solo.fee_percent"));
        assert!(error(|c| c.solo.fee_percent = f64::NAN).contains("solo.fee_percent"));
        assert!(error(|c| c.solo.donation_payout = Some("me".into())).contains("solo.donation_payout"));
        assert!(error(|c| c.authority_key_file = None).contains("stratum keygen"));
        assert!(error(|c| c.coinbase_tag = "x".repeat(65)).contains("this one has 65"));
        assert!(error(|c| c.nodes.stuck_seconds = 0).contains("stuck_seconds"));
        assert!(error(|c| c.ledger.ack_shares = 0).contains("ack_shares"));
        assert!(error(|c| c.ledger.ack_delay_ms = 10_001).contains("ack_delay_ms"));
        assert!(error(|c| c.nodes.confirmations = 0).contains("confirmations"));
        assert!(error(|c| c.shares.per_minute = f32::NAN).contains("per_minute"));
        assert!(error(|c| c.shares.min_difficulty = -1.0).contains("min_difficulty"));
        assert!(error(|c| c.shares.max_difficulty = Some(0.0)).contains("max_difficulty"));
        assert!(error(|c| c.shares.start_difficulty = Some(f64::NAN)).contains("start_difficulty"));
        assert!(
            error(|c| (c.shares.min_difficulty, c.shares.max_difficulty) = (2.0, Some(1.0))).contains("no less than")
        );
        assert!(error(|c| c.shares.job_refresh_seconds = 0).contains("job_refresh_seconds"));
        assert!(error(|c| c.certificate_hours = 0).contains("certificate_hours"));
        assert!(error(|c| c.limits.half_open = 0).contains("limits.half_open"));
        assert!(error(|c| c.http.public = c.http.operator).contains("http.public"));
        assert!(error(|c| c.notify.worker_offline_minutes = 0).contains("notify.worker_offline_minutes"));
    }
}
