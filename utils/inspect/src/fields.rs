//! The fields of every message, by name, in the order of the wire.
//!
//! Each table is a pattern without `..`, so a field or a message that is missing here stops the compiler.

use std::io;

use common_messages_sv2::CommonMessages;
use extensions_sv2::ExtensionNegotiation;
use job_declaration_sv2::JobDeclaration;
use mining_sv2::Mining;
use template_distribution_sv2::TemplateDistribution;

use crate::value::Value;

/// What gets each field: its name as in the specification, and its value.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(&'static str, &dyn Value) -> io::Result<()>;

/// `fn $name`: hands every field of any of the messages to a visitor. `"name"` stands before a field that the
/// specification writes another way than Rust can.
macro_rules! fields {
    ($name:ident, $krate:ident::$protocol:ident { $($message:ident { $($($alias:literal)? $field:ident),* })* }) => {
        pub(crate) fn $name(message: &$protocol<'_>, visit: Visit<'_>) -> io::Result<()> {
            match message {
                $($protocol::$message($krate::$message { $($field),* }) => {
                    $(visit([$($alias,)? stringify!($field)][0], $field)?;)*
                })*
            }
            Ok(())
        }
    };
}

fields!(common, common_messages_sv2::CommonMessages {
    SetupConnection {
        protocol, min_version, max_version, flags, endpoint_host, endpoint_port, vendor, hardware_version, firmware,
        device_id
    }
    SetupConnectionSuccess { used_version, flags }
    SetupConnectionError { flags, error_code }
    ChannelEndpointChanged { channel_id }
    Reconnect { new_host, new_port }
});

fields!(mining, mining_sv2::Mining {
    OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target }
    OpenStandardMiningChannelSuccess { request_id, channel_id, target, extranonce_prefix, group_channel_id }
    OpenMiningChannelError { request_id, error_code }
    OpenExtendedMiningChannel { request_id, user_identity, nominal_hash_rate, max_target, min_extranonce_size }
    OpenExtendedMiningChannelSuccess {
        request_id, channel_id, target, extranonce_size, extranonce_prefix, group_channel_id
    }
    NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root }
    UpdateChannel { channel_id, nominal_hash_rate, maximum_target }
    UpdateChannelError { channel_id, error_code }
    CloseChannel { channel_id, reason_code }
    SetExtranoncePrefix { channel_id, extranonce_prefix }
    SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }
    SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce }
    SubmitSharesSuccess { channel_id, last_sequence_number, new_submits_accepted_count, new_shares_sum }
    SubmitSharesError { channel_id, sequence_number, error_code }
    NewExtendedMiningJob {
        channel_id, job_id, min_ntime, version, version_rolling_allowed, merkle_path, coinbase_tx_prefix,
        coinbase_tx_suffix
    }
    SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime, nbits }
    SetTarget { channel_id, maximum_target }
    SetCustomMiningJob {
        channel_id, request_id, mining_job_token, version, prev_hash, min_ntime, nbits, coinbase_tx_version,
        coinbase_prefix, "coinbase_tx_input_nSequence" coinbase_tx_input_n_sequence, coinbase_tx_outputs,
        coinbase_tx_locktime, merkle_path
    }
    SetCustomMiningJobSuccess { channel_id, request_id, job_id }
    SetCustomMiningJobError { channel_id, request_id, error_code }
    SetGroupChannel { group_channel_id, channel_ids }
});

fields!(job_declaration, job_declaration_sv2::JobDeclaration {
    AllocateMiningJobToken { user_identifier, request_id }
    AllocateMiningJobTokenSuccess { request_id, mining_job_token, coinbase_tx_outputs }
    ProvideMissingTransactions { request_id, unknown_tx_position_list }
    ProvideMissingTransactionsSuccess { request_id, transaction_list }
    DeclareMiningJob {
        request_id, mining_job_token, version, coinbase_tx_prefix, coinbase_tx_suffix, wtxid_list, excess_data
    }
    DeclareMiningJobSuccess { request_id, new_mining_job_token }
    DeclareMiningJobError { request_id, error_code, error_details }
    PushSolution { extranonce, prev_hash, nonce, ntime, nbits, version }
});

fields!(template_distribution, template_distribution_sv2::TemplateDistribution {
    CoinbaseOutputConstraints { coinbase_output_max_additional_size, coinbase_output_max_additional_sigops }
    NewTemplate {
        template_id, future_template, version, coinbase_tx_version, coinbase_prefix, coinbase_tx_input_sequence,
        coinbase_tx_value_remaining, coinbase_tx_outputs_count, coinbase_tx_outputs, coinbase_tx_locktime, merkle_path
    }
    SetNewPrevHash { template_id, prev_hash, header_timestamp, "nBits" n_bits, target }
    RequestTransactionData { template_id }
    RequestTransactionDataSuccess { template_id, excess_data, transaction_list }
    RequestTransactionDataError { template_id, error_code }
    SubmitSolution { template_id, version, header_timestamp, header_nonce, coinbase_tx }
});

fields!(negotiation, extensions_sv2::ExtensionNegotiation {
    RequestExtensions { request_id, requested_extensions }
    RequestExtensionsSuccess { request_id, supported_extensions }
    RequestExtensionsError { request_id, unsupported_extensions, required_extensions }
});
