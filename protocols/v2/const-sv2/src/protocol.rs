//! Protocol ids and versions of `SetupConnection` (sv2-spec §3.6.1).

/// Mining Protocol, value of `SetupConnection.protocol`.
pub const MINING: u8 = 0;
/// Job Declaration Protocol, value of `SetupConnection.protocol`.
pub const JOB_DECLARATION: u8 = 1;
/// Template Distribution Protocol, value of `SetupConnection.protocol`.
pub const TEMPLATE_DISTRIBUTION: u8 = 2;

/// The one protocol version there is: `min_version`, `max_version` and `used_version`.
pub const VERSION: u16 = 2;

/// Name of a protocol id for logs; `None` for an id the specification does not define.
#[must_use]
pub const fn name(protocol: u8) -> Option<&'static str> {
    match protocol {
        MINING => Some("mining"),
        JOB_DECLARATION => Some("job declaration"),
        TEMPLATE_DISTRIBUTION => Some("template distribution"),
        _ => None,
    }
}
