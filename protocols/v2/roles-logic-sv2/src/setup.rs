//! Answers to SetupConnection (sv2-spec §3.6) and RequestExtensions (extension 0x0001), as pure functions.

use alloc::vec::Vec;
use core::{fmt, ops::RangeInclusive};

use const_sv2::{
    error_code::{open_mining_channel as open_code, setup_connection as code},
    flags, protocol,
};

/// Extensions that a list in an answer names at most; a longer request is answered for its first ones.
pub const MAX_EXTENSIONS: usize = 256;

/// What a server offers on one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// The protocol's number, from [`const_sv2::protocol`].
    pub protocol: u8,
    /// Protocol versions.
    pub versions: RangeInclusive<u16>,
    /// Flags that a client may set.
    pub client_flags: u32,
    /// Flags that a client must set.
    pub required_client_flags: u32,
    /// Flags of the server's own, sent in SetupConnection.Success.
    pub server_flags: u32,
}

impl Support {
    /// The mining protocol: standard and extended channels, version rolling, no custom jobs.
    pub const MINING: Self =
        Self::of(protocol::MINING, flags::mining::REQUIRES_STANDARD_JOBS | flags::mining::REQUIRES_VERSION_ROLLING);

    /// The template distribution protocol, which has no flags.
    pub const TEMPLATE_DISTRIBUTION: Self =
        Self::of(protocol::TEMPLATE_DISTRIBUTION, flags::template_distribution::ALL);

    /// The job declaration protocol: coinbase-only and full-template mode.
    pub const JOB_DECLARATION: Self = Self::of(protocol::JOB_DECLARATION, flags::job_declaration::ALL);

    const fn of(protocol: u8, client_flags: u32) -> Self {
        let versions = protocol::VERSION..=protocol::VERSION;
        Self { protocol, versions, client_flags, required_client_flags: 0, server_flags: 0 }
    }

    /// Also takes custom jobs (`REQUIRES_WORK_SELECTION`, sv2-spec §5.3.18).
    #[must_use]
    pub fn with_work_selection(mut self) -> Self {
        self.client_flags |= flags::mining::REQUIRES_WORK_SELECTION;
        self
    }

    /// Accepts no change to nVersion (`REQUIRES_FIXED_VERSION`, sv2-spec §5.3.1), so clients that must roll it are refused.
    #[must_use]
    pub fn with_fixed_version(mut self) -> Self {
        self.client_flags &= !flags::mining::REQUIRES_VERSION_ROLLING;
        self.server_flags |= flags::mining_success::REQUIRES_FIXED_VERSION;
        self
    }

    /// Opens no standard channels (`REQUIRES_EXTENDED_CHANNELS`, sv2-spec §5.3.1), so clients that take only standard jobs are
    /// refused.
    #[must_use]
    pub fn with_extended_channels_only(mut self) -> Self {
        self.client_flags &= !flags::mining::REQUIRES_STANDARD_JOBS;
        self.server_flags |= flags::mining_success::REQUIRES_EXTENDED_CHANNELS;
        self
    }

    /// Answers the four numbers of a SetupConnection. Protocol, then version, then flags are checked.
    pub fn answer(&self, request: &Request) -> Result<Accepted, Refused> {
        if request.protocol != self.protocol {
            return Err(Refused { flags: 0, error_code: code::UNSUPPORTED_PROTOCOL });
        }
        let used_version = request.max_version.min(*self.versions.end());
        if used_version < request.min_version.max(*self.versions.start()) {
            return Err(Refused { flags: 0, error_code: code::PROTOCOL_VERSION_MISMATCH });
        }
        let unsupported = request.flags & !self.client_flags;
        if unsupported != 0 {
            return Err(Refused { flags: unsupported, error_code: code::UNSUPPORTED_FEATURE_FLAGS });
        }
        let missing = self.required_client_flags & !request.flags;
        if missing != 0 {
            let job_declaration = self.protocol == protocol::JOB_DECLARATION;
            let error_code =
                if job_declaration { code::MISSING_DECLARE_TX_DATA_FLAG } else { code::UNSUPPORTED_FEATURE_FLAGS };
            return Err(Refused { flags: missing, error_code });
        }
        Ok(Accepted { used_version, flags: self.server_flags })
    }
}

/// What both sides' flags mean for a mining connection (sv2-spec §5.3.1). Server and client make it from the same two
/// numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiningTerms {
    client_flags: u32,
    server_flags: u32,
}

/// A server's flags that contradict the client's (sv2-spec §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContradictoryFlags {
    /// From SetupConnection.
    pub client_flags: u32,
    /// From SetupConnection.Success.
    pub server_flags: u32,
}

impl fmt::Display for ContradictoryFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_flags, server_flags } = self;
        write!(f, "expected server flags that go with the client's {client_flags:#x}, got {server_flags:#x}")
    }
}

impl core::error::Error for ContradictoryFlags {}

impl MiningTerms {
    /// `client_flags` are SetupConnection's, `server_flags` SetupConnection.Success's. Refuses a server that wants fixed versions
    /// of a client that must roll them, or extended channels of one that takes only standard jobs.
    pub const fn new(client_flags: u32, server_flags: u32) -> Result<Self, ContradictoryFlags> {
        let this = Self { client_flags, server_flags };
        let version = this.fixed_version() && this.version_rolling_required();
        let channels = this.extended_channels_only() && this.standard_jobs_only();
        if version || channels { Err(ContradictoryFlags { client_flags, server_flags }) } else { Ok(this) }
    }

    /// No extended jobs, no groups (`REQUIRES_STANDARD_JOBS`).
    pub const fn standard_jobs_only(&self) -> bool {
        self.client_flags & flags::mining::REQUIRES_STANDARD_JOBS != 0
    }

    /// The client sends its own jobs (`REQUIRES_WORK_SELECTION`).
    pub const fn work_selection(&self) -> bool {
        self.client_flags & flags::mining::REQUIRES_WORK_SELECTION != 0
    }

    /// Jobs must allow version rolling (`REQUIRES_VERSION_ROLLING`).
    pub const fn version_rolling_required(&self) -> bool {
        self.client_flags & flags::mining::REQUIRES_VERSION_ROLLING != 0
    }

    /// Jobs must not allow version rolling (`REQUIRES_FIXED_VERSION`).
    pub const fn fixed_version(&self) -> bool {
        self.server_flags & flags::mining_success::REQUIRES_FIXED_VERSION != 0
    }

    /// No standard channels (`REQUIRES_EXTENDED_CHANNELS`).
    pub const fn extended_channels_only(&self) -> bool {
        self.server_flags & flags::mining_success::REQUIRES_EXTENDED_CHANNELS != 0
    }

    /// Whether an OpenStandardMiningChannel is in order, or the code of its error. There is no code for a server that opens
    /// extended channels only; the one for a lack of channels comes closest.
    pub const fn check_standard_channel(&self) -> Result<(), &'static str> {
        if self.work_selection() {
            return Err(open_code::STANDARD_CHANNELS_NOT_SUPPORTED_FOR_CUSTOM_WORK);
        }
        if self.extended_channels_only() { Err(open_code::CHANNEL_CAPACITY_EXHAUSTED) } else { Ok(()) }
    }

    /// Whether an OpenExtendedMiningChannel is in order, or the code of its error.
    pub const fn check_extended_channel(&self) -> Result<(), &'static str> {
        let refused = self.standard_jobs_only();
        if refused { Err(open_code::EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS) } else { Ok(()) }
    }

    /// Whether extended jobs and SetGroupChannel may go to groups (sv2-spec §5.3.22).
    pub const fn allows_groups(&self) -> bool {
        !self.standard_jobs_only()
    }

    /// Whether a job with this `version_rolling_allowed` may be sent.
    pub const fn allows_job(&self, version_rolling_allowed: bool) -> bool {
        if version_rolling_allowed { !self.fixed_version() } else { !self.version_rolling_required() }
    }

    /// Bits of nVersion that may be rolled, of those that are configured.
    pub const fn version_mask(&self, configured: u32) -> u32 {
        if self.fixed_version() { 0 } else { configured }
    }
}

/// What the client's flags mean for a job declaration connection (sv2-spec §6.4.1). The server has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobDeclarationTerms {
    client_flags: u32,
}

impl JobDeclarationTerms {
    /// From SetupConnection's flags.
    pub const fn new(client_flags: u32) -> Self {
        Self { client_flags }
    }

    /// The client reveals its transactions: full-template mode (`DECLARE_TX_DATA`).
    pub const fn full_template(&self) -> bool {
        self.client_flags & flags::job_declaration::DECLARE_TX_DATA != 0
    }
}

/// What a SetupConnection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The protocol's number.
    pub protocol: u8,
    /// Least version that the client speaks.
    pub min_version: u16,
    /// Greatest version that the client speaks.
    pub max_version: u16,
    /// The client's flags.
    pub flags: u32,
}

/// For SetupConnection.Success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The greatest version that both speak.
    pub used_version: u16,
    /// The server's flags.
    pub flags: u32,
}

/// For SetupConnection.Error, after which the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The flags that are in the way; 0 if it is something else.
    pub flags: u32,
    /// From [`const_sv2::error_code::setup_connection`].
    pub error_code: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (flags {:#x})", self.error_code, self.flags)
    }
}

impl core::error::Error for Refused {}

/// For RequestExtensions.Error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionsRefused {
    /// Requested, but not to be had.
    pub unsupported: Vec<u16>,
    /// Not requested, but required: the client has to ask again or be disconnected.
    pub required: Vec<u16>,
}

/// Answers a RequestExtensions with the extensions to use from now on, in the order of the request, each once.
///
/// It is an error when a required one was not requested, and when something was requested and none of it is supported
/// (ext-0x0001 §4). `supported` includes what is required.
pub fn answer_extensions(
    requested: impl IntoIterator<Item = u16>,
    supported: &[u16],
    required: &[u16],
) -> Result<Vec<u16>, ExtensionsRefused> {
    let (mut accepted, mut unsupported) = (Vec::new(), Vec::new());
    for extension in requested.into_iter().take(MAX_EXTENSIONS) {
        let list = if supported.contains(&extension) { &mut accepted } else { &mut unsupported };
        if !list.contains(&extension) {
            list.push(extension);
        }
    }
    let required: Vec<u16> = required.iter().copied().filter(|extension| !accepted.contains(extension)).collect();
    if required.is_empty() && (!accepted.is_empty() || unsupported.is_empty()) {
        return Ok(accepted);
    }
    Err(ExtensionsRefused { unsupported, required })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn request(protocol: u8, min_version: u16, max_version: u16, flags: u32) -> Request {
        Request { protocol, min_version, max_version, flags }
    }

    #[test]
    fn setup_connection() {
        let pool = Support::MINING;
        let refused = |flags, error_code| Err(Refused { flags, error_code });
        assert_eq!(pool.answer(&request(0, 2, 2, 0b101)), Ok(Accepted { used_version: 2, flags: 0 }));
        assert_eq!(pool.answer(&request(0, 0, 9, 0)), Ok(Accepted { used_version: 2, flags: 0 }));
        assert_eq!(pool.answer(&request(2, 2, 2, 0)), refused(0, "unsupported-protocol"));
        for (min, max) in [(3, 9), (0, 1), (3, 2), (2, 1)] {
            assert_eq!(pool.answer(&request(0, min, max, 0)), refused(0, "protocol-version-mismatch"));
        }
        // A client that probes sets all flags and learns which ones are not supported (§3.6.3).
        assert_eq!(pool.answer(&request(0, 2, 2, u32::MAX)), refused(!0b101, "unsupported-feature-flags"));
        assert!(pool.clone().with_work_selection().answer(&request(0, 2, 2, 0b111)).is_ok());
        assert!(Support::TEMPLATE_DISTRIBUTION.answer(&request(2, 2, 2, 0)).is_ok());
        assert_eq!(
            Support::TEMPLATE_DISTRIBUTION.answer(&request(2, 2, 2, 1)),
            refused(1, "unsupported-feature-flags")
        );
        let full_template = Support { required_client_flags: 1, ..Support::JOB_DECLARATION };
        assert!(full_template.answer(&request(1, 2, 2, 1)).is_ok());
        assert_eq!(full_template.answer(&request(1, 2, 2, 0)), refused(1, "missing-declare-tx-data-flag"));
    }

    #[test]
    fn a_server_s_flags_narrow_what_clients_may_ask_for() {
        let refused = |flags| Err(Refused { flags, error_code: "unsupported-feature-flags" });
        let fixed = Support::MINING.with_fixed_version();
        assert_eq!(fixed.answer(&request(0, 2, 2, 0b001)), Ok(Accepted { used_version: 2, flags: 0b01 }));
        assert_eq!(fixed.answer(&request(0, 2, 2, 0b101)), refused(0b100));
        let extended = Support::MINING.with_work_selection().with_extended_channels_only();
        assert_eq!(extended.answer(&request(0, 2, 2, 0b110)), Ok(Accepted { used_version: 2, flags: 0b10 }));
        assert_eq!(extended.answer(&request(0, 2, 2, 0b001)), refused(0b001));
    }

    #[test]
    fn terms_of_all_pairs_of_flags() {
        for (client, server) in (0..8).flat_map(|client| (0..4).map(move |server| (client, server))) {
            let contradict = (client & 0b100 != 0 && server & 0b01 != 0) || (client & 0b001 != 0 && server & 0b10 != 0);
            let Ok(terms) = MiningTerms::new(client, server) else {
                assert!(contradict, "{client:#b} {server:#b}");
                continue;
            };
            assert!(!contradict, "{client:#b} {server:#b}");
            assert_eq!(terms.check_extended_channel().is_ok(), client & 0b001 == 0);
            assert_eq!(terms.check_standard_channel().is_ok(), client & 0b010 == 0 && server & 0b10 == 0);
            assert_eq!(terms.allows_groups(), client & 0b001 == 0);
            assert_eq!((terms.allows_job(true), terms.allows_job(false)), (server & 0b01 == 0, client & 0b100 == 0));
            assert_eq!(terms.version_mask(0xe000), if server & 0b01 == 0 { 0xe000 } else { 0 });
        }
        let error = MiningTerms::new(0b100, 0b01).unwrap_err();
        assert_eq!(alloc::format!("{error}"), "expected server flags that go with the client's 0x4, got 0x1");
    }

    #[test]
    fn extensions() {
        // The three cases of ext-0x0001 §4.
        assert_eq!(answer_extensions([2, 3], &[2], &[]), Ok(vec![2]));
        let refused = |unsupported, required| Err(ExtensionsRefused { unsupported, required });
        assert_eq!(answer_extensions([2], &[], &[]), refused(vec![2], vec![]));
        assert_eq!(answer_extensions([2, 3], &[2, 5], &[5]), refused(vec![3], vec![5]));
        // Repeated and empty requests.
        assert_eq!(answer_extensions([2, 2, 3, 3], &[2, 3], &[2]), Ok(vec![2, 3]));
        assert_eq!(answer_extensions([], &[2], &[]), Ok(vec![]));
        assert_eq!(answer_extensions([], &[2], &[2]), refused(vec![], vec![2]));
        assert_eq!(answer_extensions(0..=u16::MAX, &[], &[]).unwrap_err().unsupported.len(), MAX_EXTENSIONS);
    }
}
