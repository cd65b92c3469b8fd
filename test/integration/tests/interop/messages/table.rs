//! The 44 messages, field by field, and what is checked of each.

use binary_sv2::Message;
use proptest::test_runner::TestRunner;

use super::fields::*;

/// Random messages per type.
const CASES: usize = 48;

/// One message as SRI encodes it.
pub struct Vector {
    pub name: &'static str,
    pub extension_type: u16,
    pub message_type: u8,
    pub channel_msg: bool,
    /// `field = value`, in order.
    pub fields: Vec<String>,
    pub bytes: Vec<u8>,
}

/// What our constants say of a message: number, `channel_msg`, extension, name.
fn info<M: Message>(_: &M) -> (u8, bool, u16, &'static str) {
    (M::MESSAGE_TYPE, M::CHANNEL_MSG, M::EXTENSION_TYPE, M::NAME)
}

/// Decodes with SRI to the type of `like`.
fn sri_decode<'a, T: sri_binary_sv2::Decodable<'a>>(_like: &T, bytes: &'a mut [u8]) -> T {
    sri_binary_sv2::from_bytes(bytes).expect("SRI decodes our bytes")
}

macro_rules! messages {
    ($(
        $module:ident: $ours:ident::$message:ident, $sri:ident::($type:ident, $bit:ident) {
            $($field:ident $(($theirs:ident))?: $kind:ty,)*
        }
    )*) => {
        $(messages!(@one $module: $ours::$message, $sri::($type, $bit)
            $($field $(($theirs))?: $kind,)*);)*

        /// Makes one vector of each message.
        pub const VECTORS: &[fn(&mut TestRunner) -> Vector] = &[$($module::vector),*];
    };
    (@one $module:ident: $ours:ident::$message:ident, $sri:ident::($type:ident, $bit:ident)
        $($field:ident: $kind:ty,)*) => {
        messages!(@all $module: $ours::$message, $sri::($type, $bit) $($field as $field: $kind,)*);
    };
    (@one $module:ident: $ours:ident::$message:ident, $sri:ident::($type:ident, $bit:ident)
        $($field:ident ($theirs:ident): $kind:ty,)*) => {
        messages!(@all $module: $ours::$message, $sri::($type, $bit) $($field as $theirs: $kind,)*);
    };
    (@all $module:ident: $ours:ident::$message:ident, $sri:ident::($type:ident, $bit:ident)
        $($field:ident as $theirs:ident: $kind:ty,)*) => {
        mod $module {
            use super::*;

            #[test]
            fn bytes_are_equal_and_decode_on_both_sides() {
                let mut runner = TestRunner::deterministic();
                for _ in 0..CASES {
                    $(let $field = <$kind>::draw(&mut runner, ANY);)*
                    let ours = $ours::$message { $($field: $field.ours(),)* };
                    let sri = || $sri::$message { $($theirs: $field.sri(),)* };

                    let mut our_bytes = binary_sv2::to_bytes(&ours).expect("encodes");
                    let sri_bytes = sri_binary_sv2::to_bytes(sri()).expect("encodes");
                    assert_eq!(our_bytes, sri_bytes);
                    assert_eq!(binary_sv2::from_bytes(&sri_bytes).as_ref(), Ok(&ours));
                    let back = sri_decode(&sri(), &mut our_bytes);
                    assert_eq!(format!("{back:?}"), format!("{:?}", sri()));
                }
            }

            pub(super) fn vector(runner: &mut TestRunner) -> Vector {
                $(let $field = <$kind>::draw(runner, SHORT);)*
                let bytes =
                    sri_binary_sv2::to_bytes($sri::$message { $($theirs: $field.sri(),)* }).expect("encodes");
                let ours = $ours::$message { $($field: $field.ours(),)* };
                let (message_type, channel_msg, extension_type, name) = info(&ours);
                assert_eq!((message_type, channel_msg), ($sri::$type, $sri::$bit));
                let fields = vec![$(format!(concat!(stringify!($field), " = {}"), $field.text()),)*];
                Vector { name, extension_type, message_type, channel_msg, fields, bytes }
            }
        }
    };
}

/// Most bytes or elements of a long field in a vector.
const SHORT: usize = 12;

messages! {
    setup_connection: common_messages_sv2::SetupConnection, sri_common_messages_sv2::(MESSAGE_TYPE_SETUP_CONNECTION, CHANNEL_BIT_SETUP_CONNECTION) {
        protocol: Protocol,
        min_version: u16,
        max_version: u16,
        flags: u32,
        endpoint_host: Text,
        endpoint_port: u16,
        vendor: Text,
        hardware_version: Text,
        firmware: Text,
        device_id: Text,
    }
    setup_connection_success: common_messages_sv2::SetupConnectionSuccess, sri_common_messages_sv2::(MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, CHANNEL_BIT_SETUP_CONNECTION_SUCCESS) {
        used_version: u16,
        flags: u32,
    }
    setup_connection_error: common_messages_sv2::SetupConnectionError, sri_common_messages_sv2::(MESSAGE_TYPE_SETUP_CONNECTION_ERROR, CHANNEL_BIT_SETUP_CONNECTION_ERROR) {
        flags: u32,
        error_code: Text,
    }
    channel_endpoint_changed: common_messages_sv2::ChannelEndpointChanged, sri_common_messages_sv2::(MESSAGE_TYPE_CHANNEL_ENDPOINT_CHANGED, CHANNEL_BIT_CHANNEL_ENDPOINT_CHANGED) {
        channel_id: u32,
    }
    reconnect: common_messages_sv2::Reconnect, sri_common_messages_sv2::(MESSAGE_TYPE_RECONNECT, CHANNEL_BIT_RECONNECT) {
        new_host: Text,
        new_port: u16,
    }
    open_standard_mining_channel: mining_sv2::OpenStandardMiningChannel, sri_mining_sv2::(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL) {
        request_id: u32,
        user_identity: Text,
        nominal_hash_rate: f32,
        max_target: Number,
    }
    open_standard_mining_channel_success: mining_sv2::OpenStandardMiningChannelSuccess, sri_mining_sv2::(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS) {
        request_id: u32,
        channel_id: u32,
        target: Number,
        extranonce_prefix: Short,
        group_channel_id: u32,
    }
    open_mining_channel_error: mining_sv2::OpenMiningChannelError, sri_mining_sv2::(MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR) {
        request_id: u32,
        error_code: Text,
    }
    open_extended_mining_channel: mining_sv2::OpenExtendedMiningChannel, sri_mining_sv2::(MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL) {
        request_id: u32,
        user_identity: Text,
        nominal_hash_rate: f32,
        max_target: Number,
        min_extranonce_size: u16,
    }
    open_extended_mining_channel_success: mining_sv2::OpenExtendedMiningChannelSuccess, sri_mining_sv2::(MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS, CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS) {
        request_id: u32,
        channel_id: u32,
        target: Number,
        extranonce_size: u16,
        extranonce_prefix: Short,
        group_channel_id: u32,
    }
    new_mining_job: mining_sv2::NewMiningJob, sri_mining_sv2::(MESSAGE_TYPE_NEW_MINING_JOB, CHANNEL_BIT_NEW_MINING_JOB) {
        channel_id: u32,
        job_id: u32,
        min_ntime: Opt,
        version: u32,
        merkle_root: Number,
    }
    update_channel: mining_sv2::UpdateChannel, sri_mining_sv2::(MESSAGE_TYPE_UPDATE_CHANNEL, CHANNEL_BIT_UPDATE_CHANNEL) {
        channel_id: u32,
        nominal_hash_rate: f32,
        maximum_target: Number,
    }
    update_channel_error: mining_sv2::UpdateChannelError, sri_mining_sv2::(MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, CHANNEL_BIT_UPDATE_CHANNEL_ERROR) {
        channel_id: u32,
        error_code: Text,
    }
    close_channel: mining_sv2::CloseChannel, sri_mining_sv2::(MESSAGE_TYPE_CLOSE_CHANNEL, CHANNEL_BIT_CLOSE_CHANNEL) {
        channel_id: u32,
        reason_code: Text,
    }
    set_extranonce_prefix: mining_sv2::SetExtranoncePrefix, sri_mining_sv2::(MESSAGE_TYPE_SET_EXTRANONCE_PREFIX, CHANNEL_BIT_SET_EXTRANONCE_PREFIX) {
        channel_id: u32,
        extranonce_prefix: Short,
    }
    submit_shares_standard: mining_sv2::SubmitSharesStandard, sri_mining_sv2::(MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, CHANNEL_BIT_SUBMIT_SHARES_STANDARD) {
        channel_id: u32,
        sequence_number: u32,
        job_id: u32,
        nonce: u32,
        ntime: u32,
        version: u32,
    }
    submit_shares_extended: mining_sv2::SubmitSharesExtended, sri_mining_sv2::(MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, CHANNEL_BIT_SUBMIT_SHARES_EXTENDED) {
        channel_id: u32,
        sequence_number: u32,
        job_id: u32,
        nonce: u32,
        ntime: u32,
        version: u32,
        extranonce: Short,
    }
    submit_shares_success: mining_sv2::SubmitSharesSuccess, sri_mining_sv2::(MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, CHANNEL_BIT_SUBMIT_SHARES_SUCCESS) {
        channel_id: u32,
        last_sequence_number: u32,
        new_submits_accepted_count: u32,
        new_shares_sum: u64,
    }
    submit_shares_error: mining_sv2::SubmitSharesError, sri_mining_sv2::(MESSAGE_TYPE_SUBMIT_SHARES_ERROR, CHANNEL_BIT_SUBMIT_SHARES_ERROR) {
        channel_id: u32,
        sequence_number: u32,
        error_code: Text,
    }
    new_extended_mining_job: mining_sv2::NewExtendedMiningJob, sri_mining_sv2::(MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, CHANNEL_BIT_NEW_EXTENDED_MINING_JOB) {
        channel_id: u32,
        job_id: u32,
        min_ntime: Opt,
        version: u32,
        version_rolling_allowed: bool,
        merkle_path: Path,
        coinbase_tx_prefix: Blob,
        coinbase_tx_suffix: Blob,
    }
    set_new_prev_hash: mining_sv2::SetNewPrevHash, sri_mining_sv2::(MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, CHANNEL_BIT_MINING_SET_NEW_PREV_HASH) {
        channel_id: u32,
        job_id: u32,
        prev_hash: Number,
        min_ntime: u32,
        nbits: u32,
    }
    set_target: mining_sv2::SetTarget, sri_mining_sv2::(MESSAGE_TYPE_SET_TARGET, CHANNEL_BIT_SET_TARGET) {
        channel_id: u32,
        maximum_target: Number,
    }
    set_custom_mining_job: mining_sv2::SetCustomMiningJob, sri_mining_sv2::(MESSAGE_TYPE_SET_CUSTOM_MINING_JOB, CHANNEL_BIT_SET_CUSTOM_MINING_JOB) {
        channel_id (channel_id): u32,
        request_id (request_id): u32,
        mining_job_token (token): Token,
        version (version): u32,
        prev_hash (prev_hash): Number,
        min_ntime (min_ntime): u32,
        nbits (nbits): u32,
        coinbase_tx_version (coinbase_tx_version): u32,
        coinbase_prefix (coinbase_prefix): Token,
        coinbase_tx_input_n_sequence (coinbase_tx_input_n_sequence): u32,
        coinbase_tx_outputs (coinbase_tx_outputs): Blob,
        coinbase_tx_locktime (coinbase_tx_locktime): u32,
        merkle_path (merkle_path): Path,
    }
    set_custom_mining_job_success: mining_sv2::SetCustomMiningJobSuccess, sri_mining_sv2::(MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_SUCCESS, CHANNEL_BIT_SET_CUSTOM_MINING_JOB_SUCCESS) {
        channel_id: u32,
        request_id: u32,
        job_id: u32,
    }
    set_custom_mining_job_error: mining_sv2::SetCustomMiningJobError, sri_mining_sv2::(MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR, CHANNEL_BIT_SET_CUSTOM_MINING_JOB_ERROR) {
        channel_id: u32,
        request_id: u32,
        error_code: Text,
    }
    set_group_channel: mining_sv2::SetGroupChannel, sri_mining_sv2::(MESSAGE_TYPE_SET_GROUP_CHANNEL, CHANNEL_BIT_SET_GROUP_CHANNEL) {
        group_channel_id: u32,
        channel_ids: Words,
    }
    allocate_mining_job_token: job_declaration_sv2::AllocateMiningJobToken, sri_job_declaration_sv2::(MESSAGE_TYPE_ALLOCATE_MINING_JOB_TOKEN, CHANNEL_BIT_ALLOCATE_MINING_JOB_TOKEN) {
        user_identifier: Text,
        request_id: u32,
    }
    allocate_mining_job_token_success: job_declaration_sv2::AllocateMiningJobTokenSuccess, sri_job_declaration_sv2::(MESSAGE_TYPE_ALLOCATE_MINING_JOB_TOKEN_SUCCESS, CHANNEL_BIT_ALLOCATE_MINING_JOB_TOKEN_SUCCESS) {
        request_id (request_id): u32,
        mining_job_token (mining_job_token): Token,
        coinbase_tx_outputs (coinbase_outputs): Blob,
    }
    provide_missing_transactions: job_declaration_sv2::ProvideMissingTransactions, sri_job_declaration_sv2::(MESSAGE_TYPE_PROVIDE_MISSING_TRANSACTIONS, CHANNEL_BIT_PROVIDE_MISSING_TRANSACTIONS) {
        request_id: u32,
        unknown_tx_position_list: Shorts,
    }
    provide_missing_transactions_success: job_declaration_sv2::ProvideMissingTransactionsSuccess, sri_job_declaration_sv2::(MESSAGE_TYPE_PROVIDE_MISSING_TRANSACTIONS_SUCCESS, CHANNEL_BIT_PROVIDE_MISSING_TRANSACTIONS_SUCCESS) {
        request_id: u32,
        transaction_list: Transactions,
    }
    declare_mining_job: job_declaration_sv2::DeclareMiningJob, sri_job_declaration_sv2::(MESSAGE_TYPE_DECLARE_MINING_JOB, CHANNEL_BIT_DECLARE_MINING_JOB) {
        request_id: u32,
        mining_job_token: Token,
        version: u32,
        coinbase_tx_prefix: Blob,
        coinbase_tx_suffix: Blob,
        wtxid_list: Hashes,
        excess_data: Blob,
    }
    declare_mining_job_success: job_declaration_sv2::DeclareMiningJobSuccess, sri_job_declaration_sv2::(MESSAGE_TYPE_DECLARE_MINING_JOB_SUCCESS, CHANNEL_BIT_DECLARE_MINING_JOB_SUCCESS) {
        request_id: u32,
        new_mining_job_token: Token,
    }
    declare_mining_job_error: job_declaration_sv2::DeclareMiningJobError, sri_job_declaration_sv2::(MESSAGE_TYPE_DECLARE_MINING_JOB_ERROR, CHANNEL_BIT_DECLARE_MINING_JOB_ERROR) {
        request_id: u32,
        error_code: Text,
        error_details: Blob,
    }
    push_solution: job_declaration_sv2::PushSolution, sri_job_declaration_sv2::(MESSAGE_TYPE_PUSH_SOLUTION, CHANNEL_BIT_PUSH_SOLUTION) {
        extranonce: Short,
        prev_hash: Number,
        nonce: u32,
        ntime: u32,
        nbits: u32,
        version: u32,
    }
    coinbase_output_constraints: template_distribution_sv2::CoinbaseOutputConstraints, sri_template_distribution_sv2::(MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS, CHANNEL_BIT_COINBASE_OUTPUT_CONSTRAINTS) {
        coinbase_output_max_additional_size: u32,
        coinbase_output_max_additional_sigops: u16,
    }
    new_template: template_distribution_sv2::NewTemplate, sri_template_distribution_sv2::(MESSAGE_TYPE_NEW_TEMPLATE, CHANNEL_BIT_NEW_TEMPLATE) {
        template_id: u64,
        future_template: bool,
        version: u32,
        coinbase_tx_version: u32,
        coinbase_prefix: Token,
        coinbase_tx_input_sequence: u32,
        coinbase_tx_value_remaining: u64,
        coinbase_tx_outputs_count: u32,
        coinbase_tx_outputs: Blob,
        coinbase_tx_locktime: u32,
        merkle_path: Path,
    }
    template_set_new_prev_hash: template_distribution_sv2::SetNewPrevHash, sri_template_distribution_sv2::(MESSAGE_TYPE_SET_NEW_PREV_HASH, CHANNEL_BIT_SET_NEW_PREV_HASH) {
        template_id: u64,
        prev_hash: Number,
        header_timestamp: u32,
        n_bits: u32,
        target: Number,
    }
    request_transaction_data: template_distribution_sv2::RequestTransactionData, sri_template_distribution_sv2::(MESSAGE_TYPE_REQUEST_TRANSACTION_DATA, CHANNEL_BIT_REQUEST_TRANSACTION_DATA) {
        template_id: u64,
    }
    request_transaction_data_success: template_distribution_sv2::RequestTransactionDataSuccess, sri_template_distribution_sv2::(MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_SUCCESS, CHANNEL_BIT_REQUEST_TRANSACTION_DATA_SUCCESS) {
        template_id: u64,
        excess_data: Blob,
        transaction_list: Transactions,
    }
    request_transaction_data_error: template_distribution_sv2::RequestTransactionDataError, sri_template_distribution_sv2::(MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_ERROR, CHANNEL_BIT_REQUEST_TRANSACTION_DATA_ERROR) {
        template_id: u64,
        error_code: Text,
    }
    submit_solution: template_distribution_sv2::SubmitSolution, sri_template_distribution_sv2::(MESSAGE_TYPE_SUBMIT_SOLUTION, CHANNEL_BIT_SUBMIT_SOLUTION) {
        template_id: u64,
        version: u32,
        header_timestamp: u32,
        header_nonce: u32,
        coinbase_tx: Blob,
    }
    request_extensions: extensions_sv2::RequestExtensions, sri_extensions_sv2::(MESSAGE_TYPE_REQUEST_EXTENSIONS, CHANNEL_BIT_REQUEST_EXTENSIONS) {
        request_id: u16,
        requested_extensions: Shorts,
    }
    request_extensions_success: extensions_sv2::RequestExtensionsSuccess, sri_extensions_sv2::(MESSAGE_TYPE_REQUEST_EXTENSIONS_SUCCESS, CHANNEL_BIT_REQUEST_EXTENSIONS_SUCCESS) {
        request_id: u16,
        supported_extensions: Shorts,
    }
    request_extensions_error: extensions_sv2::RequestExtensionsError, sri_extensions_sv2::(MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR, CHANNEL_BIT_REQUEST_EXTENSIONS_ERROR) {
        request_id: u16,
        unsupported_extensions: Shorts,
        required_extensions: Shorts,
    }
}
