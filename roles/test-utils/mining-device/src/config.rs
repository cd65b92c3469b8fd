//! What a miner is told, and what of it makes no sense.

use std::{num::NonZeroU32, path::PathBuf, thread, time::Duration};

use const_sv2::limits::{B0_32_MAX, B0_255_MAX, BIP320_VERSION_MASK, BIP323_VERSION_MASK};
use noise_sv2::url::EndpointUrl;
use roles_logic_sv2::Target;

use crate::workers::MAX_THREADS;

/// Shares a second that leave at the most unless configured otherwise. On an easy target (regtest's is met by every second
/// hash) threads rest between shares instead of drowning the server.
pub const DEFAULT_MAX_SHARES_PER_SECOND: f64 = 50.0;

/// First delay before a reconnection, unless configured otherwise.
pub const DEFAULT_RECONNECT_FIRST: Duration = Duration::from_millis(500);

/// Longest delay before a reconnection, unless configured otherwise.
pub const DEFAULT_RECONNECT_MOST: Duration = Duration::from_secs(30);

/// The configuration of a miner. [`MinerConfig::new`] fills in everything that has a default.
#[derive(Clone, Debug)]
pub struct MinerConfig {
    /// The server. With an authority key it must show a certificate that this authority signed; without one, anyone on the
    /// way can pose as the server.
    pub url: EndpointUrl,
    /// What is spoken there.
    pub protocol: Protocol,
    /// No encryption, for servers without noise in trusted networks.
    pub plain: bool,
    /// Who is paid, as the server wants it: for example `address.worker`; at most 255 bytes.
    pub user_identity: String,
    /// The kind of channel to open.
    pub channel: ChannelKind,
    /// Hashing threads; `None` is one for each core.
    pub threads: Option<NonZeroU32>,
    /// Hashes per second to announce; `None` measures them at the start.
    pub nominal_hashrate: Option<f32>,
    /// The easiest target that the server may set.
    pub max_target: Target,
    /// Version bits to roll, at most those of BIP 323. The default is BIP 320's 16 bits, which older servers take too.
    pub version_mask: u32,
    /// Bound on submitted shares; see [`DEFAULT_MAX_SHARES_PER_SECOND`].
    pub max_shares_per_second: f64,
    /// How long to wait for the server.
    pub deadlines: Deadlines,
    /// First delay before a reconnection.
    pub reconnect_first: Duration,
    /// Longest delay before a reconnection.
    pub reconnect_most: Duration,
    /// What the device tells of itself.
    pub device: Device,
    /// For debugging: a file that gets the secret keys of every encrypted connection.
    pub debug_key_log: Option<PathBuf>,
}

/// What a miner speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Stratum V2.
    #[default]
    V2,
    /// Stratum V1.
    V1 {
        /// Often `x`; some servers take settings such as `d=1024` from it.
        password: String,
        /// Inside TLS, to a server whose certificate is among those in this file, or signed by one of them (PEM).
        tls: Option<PathBuf>,
    },
}

/// Times within which a server must do something; when one is over, so is the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// The connection and the noise handshake: 10 seconds unless set otherwise.
    pub connect: Duration,
    /// The answer to SetupConnection: 10 seconds.
    pub setup: Duration,
    /// The answer to the request for a channel: 10 seconds.
    pub open: Duration,
    /// After that answer, a job that can be started: 60 seconds.
    pub first_job: Duration,
    /// Some message after a share: 300 seconds, since servers answer shares in batches.
    pub answer: Duration,
    /// Any message, shares or not: 1,800 seconds; blocks come three times as often.
    pub silence: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let [connect, setup, open, first_job, answer, silence] = [10, 10, 10, 60, 300, 1_800].map(Duration::from_secs);
        Self { connect, setup, open, first_job, answer, silence }
    }
}

/// The kind of channel that a miner opens (sv2-spec §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// Jobs come with their merkle root.
    Standard,
    /// The miner rolls an extranonce and computes merkle roots.
    Extended {
        /// Bytes of extranonce to ask for, at most 32.
        min_extranonce_size: u16,
    },
}

/// What SetupConnection says of the device; each text has at most 255 bytes (sv2-spec §3.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Manufacturer.
    pub vendor: String,
    /// Model.
    pub hardware_version: String,
    /// Program and its version.
    pub firmware: String,
    /// Tells devices of one user apart; may be empty.
    pub device_id: String,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            vendor: "stratum".to_owned(),
            hardware_version: "cpu".to_owned(),
            firmware: concat!("stratum-mining-device/", env!("CARGO_PKG_VERSION")).to_owned(),
            device_id: String::new(),
        }
    }
}

/// Why a configuration makes no miner; each says what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidConfig {
    /// A text does not fit its field.
    #[error("{field}: expected at most {B0_255_MAX} bytes, got {got}; shorten it")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Length in bytes.
        got: usize,
    },
    /// Nothing to check the server's certificate with.
    #[error("stratum+ssl: expected a file with the server's certificate; name it with --tls-authority")]
    NoAuthority,
    /// A number is out of its range.
    #[error("{field}: expected {expected}, got {got}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The range in words.
        expected: &'static str,
        /// What was given.
        got: String,
    },
}

impl MinerConfig {
    /// A miner with the defaults: a standard channel, all cores, the hashrate measured.
    pub fn new(url: EndpointUrl, user_identity: impl Into<String>) -> Self {
        Self {
            url,
            protocol: Protocol::V2,
            plain: false,
            user_identity: user_identity.into(),
            channel: ChannelKind::Standard,
            threads: None,
            nominal_hashrate: None,
            max_target: Target::MAX,
            version_mask: BIP320_VERSION_MASK,
            max_shares_per_second: DEFAULT_MAX_SHARES_PER_SECOND,
            deadlines: Deadlines::default(),
            reconnect_first: DEFAULT_RECONNECT_FIRST,
            reconnect_most: DEFAULT_RECONNECT_MOST,
            device: Device::default(),
            debug_key_log: None,
        }
    }

    /// Checks what types can not express.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let Device { vendor, hardware_version, firmware, device_id } = &self.device;
        let texts = [
            ("user identity", &self.user_identity),
            ("vendor", vendor),
            ("hardware version", hardware_version),
            ("firmware", firmware),
            ("device id", device_id),
        ];
        if let Some((field, text)) = texts.into_iter().find(|(_, text)| text.len() > B0_255_MAX) {
            return Err(InvalidConfig::TooLong { field, got: text.len() });
        }
        if matches!(&self.protocol, Protocol::V1 { tls: Some(file), .. } if file.as_os_str().is_empty()) {
            return Err(InvalidConfig::NoAuthority);
        }
        let threads = self.threads.map_or(1, NonZeroU32::get);
        let range = |ok: bool, field, expected, got: &dyn ToString| match ok {
            true => Ok(()),
            false => Err(InvalidConfig::OutOfRange { field, expected, got: got.to_string() }),
        };
        range(threads <= MAX_THREADS, "threads", "at most 1024", &threads)?;
        if let Some(rate) = self.nominal_hashrate {
            range(rate.is_finite() && rate >= 0.0, "nominal hashrate", "a number of hashes per second", &rate)?;
        }
        let rate = self.max_shares_per_second;
        range(rate.is_finite() && rate > 0.0, "shares per second", "a positive number", &rate)?;
        let mask = self.version_mask;
        let hex = format!("{mask:#010x}");
        range(mask & !BIP323_VERSION_MASK == 0, "version mask", "no bits but those of 0x1fffffe0", &hex)?;
        if let ChannelKind::Extended { min_extranonce_size: size } = self.channel {
            range(usize::from(size) <= B0_32_MAX, "extranonce size", "at most 32 bytes", &size)?;
        }
        let (first, most) = (self.reconnect_first, self.reconnect_most);
        let millis = format!("{} ms", first.as_millis());
        range(
            !first.is_zero() && first <= most,
            "reconnect delay",
            "more than 0 and at most the longest delay",
            &millis,
        )
    }

    /// Threads to start.
    pub fn thread_count(&self) -> u32 {
        let cores = || thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        self.threads.map_or_else(cores, NonZeroU32::get).min(MAX_THREADS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn config() -> MinerConfig {
        MinerConfig::new("stratum2+tcp://127.0.0.1:3333".parse().unwrap(), "user.worker")
    }

    #[test]
    fn the_default_is_valid_and_uses_every_core() {
        config().check().unwrap();
        assert!(config().thread_count() >= 1);
        assert_eq!(MinerConfig { threads: NonZeroU32::new(3), ..config() }.thread_count(), 3);
    }

    #[test]
    fn each_mistake_names_its_field() {
        let error = |change: fn(&mut MinerConfig)| {
            let mut config = config();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert_eq!(
            error(|c| c.user_identity = "x".repeat(256)),
            "user identity: expected at most 255 bytes, got 256; shorten it"
        );
        assert!(error(|c| c.device.device_id = "x".repeat(300)).starts_with("device id: "));
        assert_eq!(error(|c| c.threads = NonZeroU32::new(1_025)), "threads: expected at most 1024, got 1025");
        assert!(error(|c| c.nominal_hashrate = Some(f32::NAN)).starts_with("nominal hashrate: "));
        assert!(error(|c| c.nominal_hashrate = Some(-1.0)).ends_with("got -1"));
        assert!(error(|c| c.max_shares_per_second = 0.0).starts_with("shares per second: "));
        assert!(error(|c| c.version_mask = 1).ends_with("got 0x00000001"));
        assert!(error(|c| c.channel = ChannelKind::Extended { min_extranonce_size: 33 }).ends_with("got 33"));
        assert!(error(|c| c.reconnect_first = Duration::ZERO).starts_with("reconnect delay: "));
        assert!(error(|c| c.reconnect_first = Duration::from_secs(31)).starts_with("reconnect delay: "));
    }
}
