//! Numbers of the protocol (sv2-spec §3.6.1, §5.3.1, §6.4.1). The strings of `error_code` fields are added to the header.

/// The one protocol version there is: `min_version`, `max_version` and `used_version`.
pub const SV2_PROTOCOL_VERSION: u16 = 2;
/// Mining Protocol, value of `protocol` in `SetupConnection`.
pub const SV2_PROTOCOL_MINING: u8 = 0;
/// Job Declaration Protocol, value of `protocol` in `SetupConnection`.
pub const SV2_PROTOCOL_JOB_DECLARATION: u8 = 1;
/// Template Distribution Protocol, value of `protocol` in `SetupConnection`.
pub const SV2_PROTOCOL_TEMPLATE_DISTRIBUTION: u8 = 2;

/// `SetupConnection`, mining: the client takes standard jobs only.
pub const SV2_FLAG_REQUIRES_STANDARD_JOBS: u32 = 1;
/// `SetupConnection`, mining: the client will send `SetCustomMiningJob`.
pub const SV2_FLAG_REQUIRES_WORK_SELECTION: u32 = 2;
/// `SetupConnection`, mining: the client needs jobs that allow version rolling.
pub const SV2_FLAG_REQUIRES_VERSION_ROLLING: u32 = 4;
/// `SetupConnection.Success`, mining: the server accepts no change to the version field.
pub const SV2_FLAG_REQUIRES_FIXED_VERSION: u32 = 1;
/// `SetupConnection.Success`, mining: the server opens no standard channels.
pub const SV2_FLAG_REQUIRES_EXTENDED_CHANNELS: u32 = 2;
/// `SetupConnection`, job declaration: the client reveals the template's transactions.
pub const SV2_FLAG_DECLARE_TX_DATA: u32 = 1;

/// Extension 0x0001: negotiation of extensions.
pub const SV2_EXTENSION_NEGOTIATION: u16 = 1;
/// Extension 0x0002: the worker's name behind each `SubmitSharesExtended`.
pub const SV2_EXTENSION_WORKER_TRACKING: u16 = 2;

/// Longest payload of a frame, in bytes.
pub const SV2_MAX_PAYLOAD: u32 = 16777215;

#[cfg(test)]
mod tests {
    use const_sv2::{extension, flags, limits, protocol};

    use super::*;

    #[test]
    fn numbers_are_those_of_the_protocol() {
        assert_eq!(SV2_PROTOCOL_VERSION, protocol::VERSION);
        assert_eq!(SV2_PROTOCOL_MINING, protocol::MINING);
        assert_eq!(SV2_PROTOCOL_JOB_DECLARATION, protocol::JOB_DECLARATION);
        assert_eq!(SV2_PROTOCOL_TEMPLATE_DISTRIBUTION, protocol::TEMPLATE_DISTRIBUTION);
        assert_eq!(SV2_FLAG_REQUIRES_STANDARD_JOBS, flags::mining::REQUIRES_STANDARD_JOBS);
        assert_eq!(SV2_FLAG_REQUIRES_WORK_SELECTION, flags::mining::REQUIRES_WORK_SELECTION);
        assert_eq!(SV2_FLAG_REQUIRES_VERSION_ROLLING, flags::mining::REQUIRES_VERSION_ROLLING);
        assert_eq!(SV2_FLAG_REQUIRES_FIXED_VERSION, flags::mining_success::REQUIRES_FIXED_VERSION);
        assert_eq!(SV2_FLAG_REQUIRES_EXTENDED_CHANNELS, flags::mining_success::REQUIRES_EXTENDED_CHANNELS);
        assert_eq!(SV2_FLAG_DECLARE_TX_DATA, flags::job_declaration::DECLARE_TX_DATA);
        assert_eq!(SV2_EXTENSION_NEGOTIATION, extension::EXTENSIONS_NEGOTIATION);
        assert_eq!(SV2_EXTENSION_WORKER_TRACKING, extension::WORKER_HASHRATE_TRACKING);
        assert_eq!(SV2_MAX_PAYLOAD as usize, limits::MAX_PAYLOAD_LEN);
    }
}
