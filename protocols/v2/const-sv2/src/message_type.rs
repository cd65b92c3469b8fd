//! Message types, their names and the `channel_msg` bit of each (sv2-spec §8).
//!
//! Numbers are unique within one extension type only: 0x00 is `SetupConnection` in the core
//! protocol and `RequestExtensions` in extension 0x0001.

/// What the header says of one message, and its name in the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageInfo {
    /// Extension that defined the message; 0 is the core protocol. Without the `channel_msg` bit.
    pub extension_type: u16,
    /// Number of the message within its extension.
    pub message_type: u8,
    /// Whether the header carries the `channel_msg` bit; the payload then begins with the channel id.
    pub channel_msg: bool,
    /// Name as the specification writes it, for example `SubmitShares.Error`.
    pub name: &'static str,
}

/// Common messages, part of every protocol (sv2-spec §3.6).
pub mod common {
    use super::MessageInfo;
    use crate::extension;

    /// `SetupConnection` (sv2-spec §3.6.1).
    pub const SETUP_CONNECTION: u8 = 0x00;
    /// `SetupConnection.Success` (sv2-spec §3.6.2).
    pub const SETUP_CONNECTION_SUCCESS: u8 = 0x01;
    /// `SetupConnection.Error` (sv2-spec §3.6.3).
    pub const SETUP_CONNECTION_ERROR: u8 = 0x02;
    /// `ChannelEndpointChanged` (sv2-spec §3.6.4).
    pub const CHANNEL_ENDPOINT_CHANGED: u8 = 0x03;
    /// `Reconnect` (sv2-spec §3.6.5).
    pub const RECONNECT: u8 = 0x04;

    /// Every message of this protocol, ascending by number.
    pub const ALL: [MessageInfo; 5] = [
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SETUP_CONNECTION,
            channel_msg: false,
            name: "SetupConnection",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SETUP_CONNECTION_SUCCESS,
            channel_msg: false,
            name: "SetupConnection.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SETUP_CONNECTION_ERROR,
            channel_msg: false,
            name: "SetupConnection.Error",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: CHANNEL_ENDPOINT_CHANGED,
            channel_msg: true,
            name: "ChannelEndpointChanged",
        },
        MessageInfo { extension_type: extension::CORE, message_type: RECONNECT, channel_msg: false, name: "Reconnect" },
    ];
}

/// Mining Protocol (sv2-spec §5.3). 0x1e is reserved.
pub mod mining {
    use super::MessageInfo;
    use crate::extension;

    /// `OpenStandardMiningChannel` (sv2-spec §5.3.2).
    pub const OPEN_STANDARD_MINING_CHANNEL: u8 = 0x10;
    /// `OpenStandardMiningChannel.Success` (sv2-spec §5.3.3).
    pub const OPEN_STANDARD_MINING_CHANNEL_SUCCESS: u8 = 0x11;
    /// `OpenMiningChannel.Error` (sv2-spec §5.3.6).
    pub const OPEN_MINING_CHANNEL_ERROR: u8 = 0x12;
    /// `OpenExtendedMiningChannel` (sv2-spec §5.3.4).
    pub const OPEN_EXTENDED_MINING_CHANNEL: u8 = 0x13;
    /// `OpenExtendedMiningChannel.Success` (sv2-spec §5.3.5).
    pub const OPEN_EXTENDED_MINING_CHANNEL_SUCCESS: u8 = 0x14;
    /// `NewMiningJob` (sv2-spec §5.3.15).
    pub const NEW_MINING_JOB: u8 = 0x15;
    /// `UpdateChannel` (sv2-spec §5.3.7).
    pub const UPDATE_CHANNEL: u8 = 0x16;
    /// `UpdateChannel.Error` (sv2-spec §5.3.8).
    pub const UPDATE_CHANNEL_ERROR: u8 = 0x17;
    /// `CloseChannel` (sv2-spec §5.3.9).
    pub const CLOSE_CHANNEL: u8 = 0x18;
    /// `SetExtranoncePrefix` (sv2-spec §5.3.10).
    pub const SET_EXTRANONCE_PREFIX: u8 = 0x19;
    /// `SubmitSharesStandard` (sv2-spec §5.3.11).
    pub const SUBMIT_SHARES_STANDARD: u8 = 0x1a;
    /// `SubmitSharesExtended` (sv2-spec §5.3.12).
    pub const SUBMIT_SHARES_EXTENDED: u8 = 0x1b;
    /// `SubmitShares.Success` (sv2-spec §5.3.13).
    pub const SUBMIT_SHARES_SUCCESS: u8 = 0x1c;
    /// `SubmitShares.Error` (sv2-spec §5.3.14).
    pub const SUBMIT_SHARES_ERROR: u8 = 0x1d;
    /// `NewExtendedMiningJob` (sv2-spec §5.3.16).
    pub const NEW_EXTENDED_MINING_JOB: u8 = 0x1f;
    /// `SetNewPrevHash` (sv2-spec §5.3.17).
    pub const SET_NEW_PREV_HASH: u8 = 0x20;
    /// `SetTarget` (sv2-spec §5.3.21).
    pub const SET_TARGET: u8 = 0x21;
    /// `SetCustomMiningJob` (sv2-spec §5.3.18).
    pub const SET_CUSTOM_MINING_JOB: u8 = 0x22;
    /// `SetCustomMiningJob.Success` (sv2-spec §5.3.19).
    pub const SET_CUSTOM_MINING_JOB_SUCCESS: u8 = 0x23;
    /// `SetCustomMiningJob.Error` (sv2-spec §5.3.20).
    pub const SET_CUSTOM_MINING_JOB_ERROR: u8 = 0x24;
    /// `SetGroupChannel` (sv2-spec §5.3.22).
    pub const SET_GROUP_CHANNEL: u8 = 0x25;

    /// Every message of this protocol, ascending by number.
    pub const ALL: [MessageInfo; 21] = [
        MessageInfo {
            extension_type: extension::CORE,
            message_type: OPEN_STANDARD_MINING_CHANNEL,
            channel_msg: false,
            name: "OpenStandardMiningChannel",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
            channel_msg: false,
            name: "OpenStandardMiningChannel.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: OPEN_MINING_CHANNEL_ERROR,
            channel_msg: false,
            name: "OpenMiningChannel.Error",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: OPEN_EXTENDED_MINING_CHANNEL,
            channel_msg: false,
            name: "OpenExtendedMiningChannel",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
            channel_msg: false,
            name: "OpenExtendedMiningChannel.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: NEW_MINING_JOB,
            channel_msg: true,
            name: "NewMiningJob",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: UPDATE_CHANNEL,
            channel_msg: true,
            name: "UpdateChannel",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: UPDATE_CHANNEL_ERROR,
            channel_msg: true,
            name: "UpdateChannel.Error",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: CLOSE_CHANNEL,
            channel_msg: true,
            name: "CloseChannel",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SET_EXTRANONCE_PREFIX,
            channel_msg: true,
            name: "SetExtranoncePrefix",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SUBMIT_SHARES_STANDARD,
            channel_msg: true,
            name: "SubmitSharesStandard",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SUBMIT_SHARES_EXTENDED,
            channel_msg: true,
            name: "SubmitSharesExtended",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SUBMIT_SHARES_SUCCESS,
            channel_msg: true,
            name: "SubmitShares.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SUBMIT_SHARES_ERROR,
            channel_msg: true,
            name: "SubmitShares.Error",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: NEW_EXTENDED_MINING_JOB,
            channel_msg: true,
            name: "NewExtendedMiningJob",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SET_NEW_PREV_HASH,
            channel_msg: true,
            name: "SetNewPrevHash",
        },
        MessageInfo { extension_type: extension::CORE, message_type: SET_TARGET, channel_msg: true, name: "SetTarget" },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SET_CUSTOM_MINING_JOB,
            channel_msg: true,
            name: "SetCustomMiningJob",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SET_CUSTOM_MINING_JOB_SUCCESS,
            channel_msg: true,
            name: "SetCustomMiningJob.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SET_CUSTOM_MINING_JOB_ERROR,
            channel_msg: true,
            name: "SetCustomMiningJob.Error",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SET_GROUP_CHANNEL,
            channel_msg: false,
            name: "SetGroupChannel",
        },
    ];
}

/// Job Declaration Protocol (sv2-spec §6.4).
pub mod job_declaration {
    use super::MessageInfo;
    use crate::extension;

    /// `AllocateMiningJobToken` (sv2-spec §6.4.2).
    pub const ALLOCATE_MINING_JOB_TOKEN: u8 = 0x50;
    /// `AllocateMiningJobToken.Success` (sv2-spec §6.4.3).
    pub const ALLOCATE_MINING_JOB_TOKEN_SUCCESS: u8 = 0x51;
    /// `ProvideMissingTransactions` (sv2-spec §6.4.7).
    pub const PROVIDE_MISSING_TRANSACTIONS: u8 = 0x55;
    /// `ProvideMissingTransactions.Success` (sv2-spec §6.4.8).
    pub const PROVIDE_MISSING_TRANSACTIONS_SUCCESS: u8 = 0x56;
    /// `DeclareMiningJob` (sv2-spec §6.4.4).
    pub const DECLARE_MINING_JOB: u8 = 0x57;
    /// `DeclareMiningJob.Success` (sv2-spec §6.4.5).
    pub const DECLARE_MINING_JOB_SUCCESS: u8 = 0x58;
    /// `DeclareMiningJob.Error` (sv2-spec §6.4.6).
    pub const DECLARE_MINING_JOB_ERROR: u8 = 0x59;
    /// `PushSolution` (sv2-spec §6.4.9).
    pub const PUSH_SOLUTION: u8 = 0x60;

    /// Every message of this protocol, ascending by number.
    pub const ALL: [MessageInfo; 8] = [
        MessageInfo {
            extension_type: extension::CORE,
            message_type: ALLOCATE_MINING_JOB_TOKEN,
            channel_msg: false,
            name: "AllocateMiningJobToken",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: ALLOCATE_MINING_JOB_TOKEN_SUCCESS,
            channel_msg: false,
            name: "AllocateMiningJobToken.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: PROVIDE_MISSING_TRANSACTIONS,
            channel_msg: false,
            name: "ProvideMissingTransactions",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: PROVIDE_MISSING_TRANSACTIONS_SUCCESS,
            channel_msg: false,
            name: "ProvideMissingTransactions.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: DECLARE_MINING_JOB,
            channel_msg: false,
            name: "DeclareMiningJob",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: DECLARE_MINING_JOB_SUCCESS,
            channel_msg: false,
            name: "DeclareMiningJob.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: DECLARE_MINING_JOB_ERROR,
            channel_msg: false,
            name: "DeclareMiningJob.Error",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: PUSH_SOLUTION,
            channel_msg: false,
            name: "PushSolution",
        },
    ];
}

/// Template Distribution Protocol (sv2-spec §7).
pub mod template_distribution {
    use super::MessageInfo;
    use crate::extension;

    /// `CoinbaseOutputConstraints` (sv2-spec §7.1).
    pub const COINBASE_OUTPUT_CONSTRAINTS: u8 = 0x70;
    /// `NewTemplate` (sv2-spec §7.2).
    pub const NEW_TEMPLATE: u8 = 0x71;
    /// `SetNewPrevHash` (sv2-spec §7.3).
    pub const SET_NEW_PREV_HASH: u8 = 0x72;
    /// `RequestTransactionData` (sv2-spec §7.4).
    pub const REQUEST_TRANSACTION_DATA: u8 = 0x73;
    /// `RequestTransactionData.Success` (sv2-spec §7.5).
    pub const REQUEST_TRANSACTION_DATA_SUCCESS: u8 = 0x74;
    /// `RequestTransactionData.Error` (sv2-spec §7.6).
    pub const REQUEST_TRANSACTION_DATA_ERROR: u8 = 0x75;
    /// `SubmitSolution` (sv2-spec §7.7).
    pub const SUBMIT_SOLUTION: u8 = 0x76;

    /// Every message of this protocol, ascending by number.
    pub const ALL: [MessageInfo; 7] = [
        MessageInfo {
            extension_type: extension::CORE,
            message_type: COINBASE_OUTPUT_CONSTRAINTS,
            channel_msg: false,
            name: "CoinbaseOutputConstraints",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: NEW_TEMPLATE,
            channel_msg: false,
            name: "NewTemplate",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SET_NEW_PREV_HASH,
            channel_msg: false,
            name: "SetNewPrevHash",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: REQUEST_TRANSACTION_DATA,
            channel_msg: false,
            name: "RequestTransactionData",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: REQUEST_TRANSACTION_DATA_SUCCESS,
            channel_msg: false,
            name: "RequestTransactionData.Success",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: REQUEST_TRANSACTION_DATA_ERROR,
            channel_msg: false,
            name: "RequestTransactionData.Error",
        },
        MessageInfo {
            extension_type: extension::CORE,
            message_type: SUBMIT_SOLUTION,
            channel_msg: false,
            name: "SubmitSolution",
        },
    ];
}

/// Extension 0x0001, extensions negotiation; its own number space.
pub mod extensions_negotiation {
    use super::MessageInfo;
    use crate::extension;

    /// `RequestExtensions` (ext-0x0001 §2).
    pub const REQUEST_EXTENSIONS: u8 = 0x00;
    /// `RequestExtensions.Success` (ext-0x0001 §2).
    pub const REQUEST_EXTENSIONS_SUCCESS: u8 = 0x01;
    /// `RequestExtensions.Error` (ext-0x0001 §2).
    pub const REQUEST_EXTENSIONS_ERROR: u8 = 0x02;

    /// Every message of this protocol, ascending by number.
    pub const ALL: [MessageInfo; 3] = [
        MessageInfo {
            extension_type: extension::EXTENSIONS_NEGOTIATION,
            message_type: REQUEST_EXTENSIONS,
            channel_msg: false,
            name: "RequestExtensions",
        },
        MessageInfo {
            extension_type: extension::EXTENSIONS_NEGOTIATION,
            message_type: REQUEST_EXTENSIONS_SUCCESS,
            channel_msg: false,
            name: "RequestExtensions.Success",
        },
        MessageInfo {
            extension_type: extension::EXTENSIONS_NEGOTIATION,
            message_type: REQUEST_EXTENSIONS_ERROR,
            channel_msg: false,
            name: "RequestExtensions.Error",
        },
    ];
}

/// Looks a message up by its extension (without the `channel_msg` bit) and number.
#[must_use]
pub fn lookup(extension_type: u16, message_type: u8) -> Option<MessageInfo> {
    let groups: &[&[MessageInfo]] =
        &[&common::ALL, &mining::ALL, &job_declaration::ALL, &template_distribution::ALL, &extensions_negotiation::ALL];
    groups
        .iter()
        .copied()
        .flatten()
        .find(|m| m.extension_type == extension_type && m.message_type == message_type)
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_messages_of_an_extension_share_a_number() {
        let mut seen = [[false; 256]; 2];
        for group in [
            &common::ALL[..],
            &mining::ALL,
            &job_declaration::ALL,
            &template_distribution::ALL,
            &extensions_negotiation::ALL,
        ] {
            for m in group {
                let slot = &mut seen[m.extension_type as usize][m.message_type as usize];
                assert!(!*slot, "{} reuses {:#04x}", m.name, m.message_type);
                *slot = true;
                assert_eq!(lookup(m.extension_type, m.message_type), Some(*m));
            }
        }
        assert_eq!(seen.iter().flatten().filter(|s| **s).count(), 44);
    }

    #[test]
    fn unknown_numbers_have_no_entry() {
        assert_eq!(lookup(0, 0x1e), None);
        assert_eq!(lookup(2, 0x00), None);
    }
}
