//! Every message as C sees it: a kind, and a union of plain structs.

mod common;
mod extensions;
mod job_declaration;
mod mining;
mod template_distribution;

use core::ffi::CStr;

use binary_sv2::{DecodeError, Encodable, Error, Message, tlv};

pub use common::*;
pub use extensions::*;
pub use job_declaration::*;
pub use mining::*;
pub use template_distribution::*;

use crate::{
    border::Result,
    status::Sv2Status::SV2_ERROR_UNKNOWN_MESSAGE,
    types::{Field, Sv2Bytes},
};

/// Every message there is: its extension type times 256, plus its message type.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names are C's")]
pub enum Sv2Kind {
    /// Client's first message on a connection (sv2-spec §3.6.1).
    SV2_SETUP_CONNECTION = 0x00,
    /// Server accepts the connection (sv2-spec §3.6.2).
    SV2_SETUP_CONNECTION_SUCCESS = 0x01,
    /// Server refuses the connection and closes it (sv2-spec §3.6.3).
    SV2_SETUP_CONNECTION_ERROR = 0x02,
    /// A proxy tells that a channel's other end changed; extension state is void (sv2-spec §3.6.4).
    SV2_CHANNEL_ENDPOINT_CHANGED = 0x03,
    /// Server sends the client elsewhere (sv2-spec §3.6.5). The authority key stays the same.
    SV2_RECONNECT = 0x04,
    /// Client's first message: room its coinbase outputs need (sv2-spec §7.1).
    SV2_COINBASE_OUTPUT_CONSTRAINTS = 0x70,
    /// Server offers a template (sv2-spec §7.2).
    SV2_NEW_TEMPLATE = 0x71,
    /// A new best block: the future template to work on now (sv2-spec §7.3).
    SV2_TEMPLATE_SET_NEW_PREV_HASH = 0x72,
    /// Client asks for a template's transactions (sv2-spec §7.4).
    SV2_REQUEST_TRANSACTION_DATA = 0x73,
    /// Server sends a template's transactions (sv2-spec §7.5).
    SV2_REQUEST_TRANSACTION_DATA_SUCCESS = 0x74,
    /// Server has no transactions for a template (sv2-spec §7.6).
    SV2_REQUEST_TRANSACTION_DATA_ERROR = 0x75,
    /// Client found a block (sv2-spec §7.7).
    SV2_SUBMIT_SOLUTION = 0x76,
    /// Client asks for a standard channel (sv2-spec §5.3.2).
    SV2_OPEN_STANDARD_MINING_CHANNEL = 0x10,
    /// Server grants a standard channel (sv2-spec §5.3.3).
    SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS = 0x11,
    /// Client asks for an extended channel (sv2-spec §5.3.4).
    SV2_OPEN_EXTENDED_MINING_CHANNEL = 0x13,
    /// Server grants an extended channel (sv2-spec §5.3.5).
    SV2_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS = 0x14,
    /// Server refuses a channel of either kind (sv2-spec §5.3.6).
    SV2_OPEN_MINING_CHANNEL_ERROR = 0x12,
    /// Client tells of a changed hashrate or wishes another target (sv2-spec §5.3.7).
    SV2_UPDATE_CHANNEL = 0x16,
    /// Server refuses an update (sv2-spec §5.3.8).
    SV2_UPDATE_CHANNEL_ERROR = 0x17,
    /// Either side ends a channel, or a group with all its channels (sv2-spec §5.3.9).
    SV2_CLOSE_CHANNEL = 0x18,
    /// Server changes the prefix for jobs sent after this (sv2-spec §5.3.10). Not for groups.
    SV2_SET_EXTRANONCE_PREFIX = 0x19,
    /// Server sets the target of a channel or of a group's channels (sv2-spec §5.3.21).
    SV2_SET_TARGET = 0x21,
    /// Server puts channels into a group (sv2-spec §5.3.22).
    SV2_SET_GROUP_CHANNEL = 0x25,
    /// A share of a standard channel (sv2-spec §5.3.11).
    SV2_SUBMIT_SHARES_STANDARD = 0x1a,
    /// A share of an extended channel (sv2-spec §5.3.12).
    SV2_SUBMIT_SHARES_EXTENDED = 0x1b,
    /// Server accepts shares, several at once (sv2-spec §5.3.13).
    SV2_SUBMIT_SHARES_SUCCESS = 0x1c,
    /// Server rejects one share (sv2-spec §5.3.14).
    SV2_SUBMIT_SHARES_ERROR = 0x1d,
    /// A job for one standard channel (sv2-spec §5.3.15).
    SV2_NEW_MINING_JOB = 0x15,
    /// A job for an extended channel or for a group (sv2-spec §5.3.16).
    SV2_NEW_EXTENDED_MINING_JOB = 0x1f,
    /// A new block came: the future job to start now (sv2-spec §5.3.17).
    SV2_MINING_SET_NEW_PREV_HASH = 0x20,
    /// Client announces a job of its own (sv2-spec §5.3.18). Needs `REQUIRES_WORK_SELECTION`.
    SV2_SET_CUSTOM_MINING_JOB = 0x22,
    /// Server accepts a custom job and commits to rewarding it (sv2-spec §5.3.19).
    SV2_SET_CUSTOM_MINING_JOB_SUCCESS = 0x23,
    /// Server refuses a custom job (sv2-spec §5.3.20).
    SV2_SET_CUSTOM_MINING_JOB_ERROR = 0x24,
    /// Client asks for a token (sv2-spec §6.4.2).
    SV2_ALLOCATE_MINING_JOB_TOKEN = 0x50,
    /// Server hands out a token (sv2-spec §6.4.3).
    SV2_ALLOCATE_MINING_JOB_TOKEN_SUCCESS = 0x51,
    /// Client declares a job with its transactions, full-template mode (sv2-spec §6.4.4).
    SV2_DECLARE_MINING_JOB = 0x57,
    /// Server accepts a declared job (sv2-spec §6.4.5).
    SV2_DECLARE_MINING_JOB_SUCCESS = 0x58,
    /// Server refuses a declared job (sv2-spec §6.4.6).
    SV2_DECLARE_MINING_JOB_ERROR = 0x59,
    /// Server asks for transactions it does not know (sv2-spec §6.4.7).
    SV2_PROVIDE_MISSING_TRANSACTIONS = 0x55,
    /// Client sends the transactions the server asked for (sv2-spec §6.4.8).
    SV2_PROVIDE_MISSING_TRANSACTIONS_SUCCESS = 0x56,
    /// Client found a block, full-template mode (sv2-spec §6.4.9).
    SV2_PUSH_SOLUTION = 0x60,
    /// Client asks for extensions, right after `SetupConnection.Success` (ext-0x0001 §2).
    SV2_REQUEST_EXTENSIONS = 0x100,
    /// Server grants extensions (ext-0x0001 §2).
    SV2_REQUEST_EXTENSIONS_SUCCESS = 0x101,
    /// Server supports none, or needs others (ext-0x0001 §2).
    SV2_REQUEST_EXTENSIONS_ERROR = 0x102,
}

/// A message, decoded or to be encoded. Begin with all zero: `Sv2Message message = {0};`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sv2Message {
    /// Which message: one of the `Sv2Kind` numbers. Says which member of `body` holds.
    pub kind: u32,
    /// The fields.
    pub body: Sv2Body,
    /// TLV fields behind the message (sv2-spec §3.4.3), encoded; mostly none.
    pub tlv_fields: Sv2Bytes,
}

/// The fields of one message.
#[repr(C)]
#[derive(Clone, Copy)]
pub union Sv2Body {
    /// When `kind` is `SV2_SETUP_CONNECTION`.
    pub setup_connection: Sv2SetupConnection,
    /// When `kind` is `SV2_SETUP_CONNECTION_SUCCESS`.
    pub setup_connection_success: Sv2SetupConnectionSuccess,
    /// When `kind` is `SV2_SETUP_CONNECTION_ERROR`.
    pub setup_connection_error: Sv2SetupConnectionError,
    /// When `kind` is `SV2_CHANNEL_ENDPOINT_CHANGED`.
    pub channel_endpoint_changed: Sv2ChannelEndpointChanged,
    /// When `kind` is `SV2_RECONNECT`.
    pub reconnect: Sv2Reconnect,
    /// When `kind` is `SV2_COINBASE_OUTPUT_CONSTRAINTS`.
    pub coinbase_output_constraints: Sv2CoinbaseOutputConstraints,
    /// When `kind` is `SV2_NEW_TEMPLATE`.
    pub new_template: Sv2NewTemplate,
    /// When `kind` is `SV2_TEMPLATE_SET_NEW_PREV_HASH`.
    pub template_set_new_prev_hash: Sv2TemplateSetNewPrevHash,
    /// When `kind` is `SV2_REQUEST_TRANSACTION_DATA`.
    pub request_transaction_data: Sv2RequestTransactionData,
    /// When `kind` is `SV2_REQUEST_TRANSACTION_DATA_SUCCESS`.
    pub request_transaction_data_success: Sv2RequestTransactionDataSuccess,
    /// When `kind` is `SV2_REQUEST_TRANSACTION_DATA_ERROR`.
    pub request_transaction_data_error: Sv2RequestTransactionDataError,
    /// When `kind` is `SV2_SUBMIT_SOLUTION`.
    pub submit_solution: Sv2SubmitSolution,
    /// When `kind` is `SV2_OPEN_STANDARD_MINING_CHANNEL`.
    pub open_standard_mining_channel: Sv2OpenStandardMiningChannel,
    /// When `kind` is `SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS`.
    pub open_standard_mining_channel_success: Sv2OpenStandardMiningChannelSuccess,
    /// When `kind` is `SV2_OPEN_EXTENDED_MINING_CHANNEL`.
    pub open_extended_mining_channel: Sv2OpenExtendedMiningChannel,
    /// When `kind` is `SV2_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS`.
    pub open_extended_mining_channel_success: Sv2OpenExtendedMiningChannelSuccess,
    /// When `kind` is `SV2_OPEN_MINING_CHANNEL_ERROR`.
    pub open_mining_channel_error: Sv2OpenMiningChannelError,
    /// When `kind` is `SV2_UPDATE_CHANNEL`.
    pub update_channel: Sv2UpdateChannel,
    /// When `kind` is `SV2_UPDATE_CHANNEL_ERROR`.
    pub update_channel_error: Sv2UpdateChannelError,
    /// When `kind` is `SV2_CLOSE_CHANNEL`.
    pub close_channel: Sv2CloseChannel,
    /// When `kind` is `SV2_SET_EXTRANONCE_PREFIX`.
    pub set_extranonce_prefix: Sv2SetExtranoncePrefix,
    /// When `kind` is `SV2_SET_TARGET`.
    pub set_target: Sv2SetTarget,
    /// When `kind` is `SV2_SET_GROUP_CHANNEL`.
    pub set_group_channel: Sv2SetGroupChannel,
    /// When `kind` is `SV2_SUBMIT_SHARES_STANDARD`.
    pub submit_shares_standard: Sv2SubmitSharesStandard,
    /// When `kind` is `SV2_SUBMIT_SHARES_EXTENDED`.
    pub submit_shares_extended: Sv2SubmitSharesExtended,
    /// When `kind` is `SV2_SUBMIT_SHARES_SUCCESS`.
    pub submit_shares_success: Sv2SubmitSharesSuccess,
    /// When `kind` is `SV2_SUBMIT_SHARES_ERROR`.
    pub submit_shares_error: Sv2SubmitSharesError,
    /// When `kind` is `SV2_NEW_MINING_JOB`.
    pub new_mining_job: Sv2NewMiningJob,
    /// When `kind` is `SV2_NEW_EXTENDED_MINING_JOB`.
    pub new_extended_mining_job: Sv2NewExtendedMiningJob,
    /// When `kind` is `SV2_MINING_SET_NEW_PREV_HASH`.
    pub mining_set_new_prev_hash: Sv2MiningSetNewPrevHash,
    /// When `kind` is `SV2_SET_CUSTOM_MINING_JOB`.
    pub set_custom_mining_job: Sv2SetCustomMiningJob,
    /// When `kind` is `SV2_SET_CUSTOM_MINING_JOB_SUCCESS`.
    pub set_custom_mining_job_success: Sv2SetCustomMiningJobSuccess,
    /// When `kind` is `SV2_SET_CUSTOM_MINING_JOB_ERROR`.
    pub set_custom_mining_job_error: Sv2SetCustomMiningJobError,
    /// When `kind` is `SV2_ALLOCATE_MINING_JOB_TOKEN`.
    pub allocate_mining_job_token: Sv2AllocateMiningJobToken,
    /// When `kind` is `SV2_ALLOCATE_MINING_JOB_TOKEN_SUCCESS`.
    pub allocate_mining_job_token_success: Sv2AllocateMiningJobTokenSuccess,
    /// When `kind` is `SV2_DECLARE_MINING_JOB`.
    pub declare_mining_job: Sv2DeclareMiningJob,
    /// When `kind` is `SV2_DECLARE_MINING_JOB_SUCCESS`.
    pub declare_mining_job_success: Sv2DeclareMiningJobSuccess,
    /// When `kind` is `SV2_DECLARE_MINING_JOB_ERROR`.
    pub declare_mining_job_error: Sv2DeclareMiningJobError,
    /// When `kind` is `SV2_PROVIDE_MISSING_TRANSACTIONS`.
    pub provide_missing_transactions: Sv2ProvideMissingTransactions,
    /// When `kind` is `SV2_PROVIDE_MISSING_TRANSACTIONS_SUCCESS`.
    pub provide_missing_transactions_success: Sv2ProvideMissingTransactionsSuccess,
    /// When `kind` is `SV2_PUSH_SOLUTION`.
    pub push_solution: Sv2PushSolution,
    /// When `kind` is `SV2_REQUEST_EXTENSIONS`.
    pub request_extensions: Sv2RequestExtensions,
    /// When `kind` is `SV2_REQUEST_EXTENSIONS_SUCCESS`.
    pub request_extensions_success: Sv2RequestExtensionsSuccess,
    /// When `kind` is `SV2_REQUEST_EXTENSIONS_ERROR`.
    pub request_extensions_error: Sv2RequestExtensionsError,
}

impl Sv2Body {
    fn zeroed() -> Self {
        // SAFETY: numbers, byte arrays and raw pointers, for all of which zero is a value.
        unsafe { core::mem::zeroed() }
    }
}

/// A message whose body `fill` sets.
#[cfg(feature = "full")]
pub(crate) fn message_of<M: Message>(fill: impl FnOnce(&mut Sv2Body)) -> Sv2Message {
    let mut body = Sv2Body::zeroed();
    fill(&mut body);
    Sv2Message { kind: Place::of::<M>().kind(), body, tlv_fields: (&[][..]).into() }
}

/// What a frame's header says of a message.
pub(crate) struct Place {
    pub(crate) extension_type: u16,
    pub(crate) channel_msg: bool,
    pub(crate) message_type: u8,
}

impl Place {
    const fn of<M: Message>() -> Self {
        Self { extension_type: M::EXTENSION_TYPE, channel_msg: M::CHANNEL_MSG, message_type: M::MESSAGE_TYPE }
    }

    pub(crate) const fn kind(&self) -> u32 {
        self.extension_type as u32 * 256 + self.message_type as u32
    }
}

/// Decodes one message. TLV fields may follow it, nothing else.
fn read<'a, M: Message + binary_sv2::Decodable<'a>>(
    payload: &'a [u8],
) -> core::result::Result<(M, &'a [u8]), DecodeError> {
    let malformed = |error| DecodeError::Malformed { message: M::NAME, error };
    let (message, rest) = binary_sv2::from_bytes_with_rest::<M>(payload).map_err(malformed)?;
    if tlv::is_well_formed(rest) {
        return Ok((message, rest));
    }
    Err(malformed(Error::TrailingBytes { offset: payload.len() - rest.len(), got: rest.len() }))
}

/// For each message: its C form from its fields, and the two functions that go by the kind.
macro_rules! messages {
    (
        <$lt:lifetime>
        $($(#[$cfg:meta])* $kind:ident $body:ident: $c:ident = $rust:ty { $($field:ident),+ $(,)? })+
    ) => {
        $(
            $(#[$cfg])*
            impl<$lt> Field<$lt> for $rust {
                type C = $c;

                fn lend(&self) -> $c {
                    $c { $($field: self.$field.lend()),+ }
                }

                unsafe fn borrow(c: &$c) -> Result<Self> {
                    // SAFETY: by this function's contract.
                    Ok(Self { $($field: unsafe { Field::borrow(&c.$field) }?),+ })
                }
            }
        )+

        /// Decodes the payload of a message of this kind. Pointers in the result go into the payload.
        pub(crate) fn decode<$lt>(kind: u32, payload: &$lt [u8]) -> core::result::Result<Sv2Message, DecodeError> {
            let mut body = Sv2Body::zeroed();
            let rest = match kind {
                $(
                    $(#[$cfg])*
                    _ if kind == Sv2Kind::$kind as u32 => {
                        const { assert!(Sv2Kind::$kind as u32 == Place::of::<$rust>().kind()) };
                        let (message, rest) = read::<$rust>(payload)?;
                        body.$body = message.lend();
                        rest
                    }
                )+
                other => return Err(DecodeError::UnknownMessageType(other as u8)),
            };
            Ok(Sv2Message { kind, body, tlv_fields: rest.into() })
        }

        /// Calls `use_it` with the message that C describes.
        ///
        /// # Safety
        /// The member of the body that the kind says is initialised; its pointers are NULL, or valid with their lengths.
        pub(crate) unsafe fn with_message<$lt, R>(
            message: &$lt Sv2Message,
            use_it: impl FnOnce(Place, &dyn Encodable) -> Result<R>,
        ) -> Result<R> {
            match message.kind {
                $(
                    $(#[$cfg])*
                    kind if kind == Sv2Kind::$kind as u32 => {
                        // SAFETY: by this function's contract.
                        let rust = unsafe { <$rust as Field<$lt>>::borrow(&message.body.$body) }?;
                        use_it(Place::of::<$rust>(), &rust)
                    }
                )+
                _ => Err(SV2_ERROR_UNKNOWN_MESSAGE),
            }
        }

        /// Name of a kind as in the specification, for logs; `"unknown message"` for other numbers. Lives for ever.
        pub(crate) fn name<$lt>(kind: u32) -> &$lt CStr {
            match kind {
                $(
                    $(#[$cfg])*
                    _ if kind == Sv2Kind::$kind as u32 => {
                        let name = const { &terminated(<$rust as Message>::NAME) };
                        CStr::from_bytes_until_nul(name).unwrap_or_default()
                    }
                )+
                _ => c"unknown message",
            }
        }
    };
}

/// Longest name of a message; a longer one stops the compiler.
const MAX_NAME: usize = 47;

/// A name with the zero that C wants behind it.
const fn terminated(name: &str) -> [u8; MAX_NAME + 1] {
    let mut bytes = [0; MAX_NAME + 1];
    let mut i = 0;
    while i < name.len() {
        bytes[i] = name.as_bytes()[i];
        i += 1;
    }
    bytes
}

messages! {
    <'a>
    SV2_SETUP_CONNECTION setup_connection: Sv2SetupConnection = common_messages_sv2::SetupConnection<'a> {
        protocol, min_version, max_version, flags, endpoint_host, endpoint_port, vendor, hardware_version,
        firmware, device_id,
    }
    SV2_SETUP_CONNECTION_SUCCESS setup_connection_success: Sv2SetupConnectionSuccess = common_messages_sv2::SetupConnectionSuccess {
        used_version, flags,
    }
    SV2_SETUP_CONNECTION_ERROR setup_connection_error: Sv2SetupConnectionError = common_messages_sv2::SetupConnectionError<'a> {
        flags, error_code,
    }
    SV2_CHANNEL_ENDPOINT_CHANGED channel_endpoint_changed: Sv2ChannelEndpointChanged = common_messages_sv2::ChannelEndpointChanged {
        channel_id,
    }
    SV2_RECONNECT reconnect: Sv2Reconnect = common_messages_sv2::Reconnect<'a> { new_host, new_port }
    SV2_COINBASE_OUTPUT_CONSTRAINTS coinbase_output_constraints: Sv2CoinbaseOutputConstraints = template_distribution_sv2::CoinbaseOutputConstraints {
        coinbase_output_max_additional_size, coinbase_output_max_additional_sigops,
    }
    SV2_NEW_TEMPLATE new_template: Sv2NewTemplate = template_distribution_sv2::NewTemplate<'a> {
        template_id, future_template, version, coinbase_tx_version, coinbase_prefix, coinbase_tx_input_sequence,
        coinbase_tx_value_remaining, coinbase_tx_outputs_count, coinbase_tx_outputs, coinbase_tx_locktime,
        merkle_path,
    }
    SV2_TEMPLATE_SET_NEW_PREV_HASH template_set_new_prev_hash: Sv2TemplateSetNewPrevHash = template_distribution_sv2::SetNewPrevHash {
        template_id, prev_hash, header_timestamp, n_bits, target,
    }
    SV2_REQUEST_TRANSACTION_DATA request_transaction_data: Sv2RequestTransactionData = template_distribution_sv2::RequestTransactionData {
        template_id,
    }
    SV2_REQUEST_TRANSACTION_DATA_SUCCESS request_transaction_data_success: Sv2RequestTransactionDataSuccess = template_distribution_sv2::RequestTransactionDataSuccess<'a> {
        template_id, excess_data, transaction_list,
    }
    SV2_REQUEST_TRANSACTION_DATA_ERROR request_transaction_data_error: Sv2RequestTransactionDataError = template_distribution_sv2::RequestTransactionDataError<'a> {
        template_id, error_code,
    }
    SV2_SUBMIT_SOLUTION submit_solution: Sv2SubmitSolution = template_distribution_sv2::SubmitSolution<'a> {
        template_id, version, header_timestamp, header_nonce, coinbase_tx,
    }
    #[cfg(feature = "full")]
    SV2_OPEN_STANDARD_MINING_CHANNEL open_standard_mining_channel: Sv2OpenStandardMiningChannel = mining_sv2::OpenStandardMiningChannel<'a> {
        request_id, user_identity, nominal_hash_rate, max_target,
    }
    #[cfg(feature = "full")]
    SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS open_standard_mining_channel_success: Sv2OpenStandardMiningChannelSuccess = mining_sv2::OpenStandardMiningChannelSuccess {
        request_id, channel_id, target, extranonce_prefix, group_channel_id,
    }
    #[cfg(feature = "full")]
    SV2_OPEN_EXTENDED_MINING_CHANNEL open_extended_mining_channel: Sv2OpenExtendedMiningChannel = mining_sv2::OpenExtendedMiningChannel<'a> {
        request_id, user_identity, nominal_hash_rate, max_target, min_extranonce_size,
    }
    #[cfg(feature = "full")]
    SV2_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS open_extended_mining_channel_success: Sv2OpenExtendedMiningChannelSuccess = mining_sv2::OpenExtendedMiningChannelSuccess {
        request_id, channel_id, target, extranonce_size, extranonce_prefix, group_channel_id,
    }
    #[cfg(feature = "full")]
    SV2_OPEN_MINING_CHANNEL_ERROR open_mining_channel_error: Sv2OpenMiningChannelError = mining_sv2::OpenMiningChannelError<'a> {
        request_id, error_code,
    }
    #[cfg(feature = "full")]
    SV2_UPDATE_CHANNEL update_channel: Sv2UpdateChannel = mining_sv2::UpdateChannel {
        channel_id, nominal_hash_rate, maximum_target,
    }
    #[cfg(feature = "full")]
    SV2_UPDATE_CHANNEL_ERROR update_channel_error: Sv2UpdateChannelError = mining_sv2::UpdateChannelError<'a> {
        channel_id, error_code,
    }
    #[cfg(feature = "full")]
    SV2_CLOSE_CHANNEL close_channel: Sv2CloseChannel = mining_sv2::CloseChannel<'a> { channel_id, reason_code }
    #[cfg(feature = "full")]
    SV2_SET_EXTRANONCE_PREFIX set_extranonce_prefix: Sv2SetExtranoncePrefix = mining_sv2::SetExtranoncePrefix {
        channel_id, extranonce_prefix,
    }
    #[cfg(feature = "full")]
    SV2_SET_TARGET set_target: Sv2SetTarget = mining_sv2::SetTarget { channel_id, maximum_target }
    #[cfg(feature = "full")]
    SV2_SET_GROUP_CHANNEL set_group_channel: Sv2SetGroupChannel = mining_sv2::SetGroupChannel<'a> {
        group_channel_id, channel_ids,
    }
    #[cfg(feature = "full")]
    SV2_SUBMIT_SHARES_STANDARD submit_shares_standard: Sv2SubmitSharesStandard = mining_sv2::SubmitSharesStandard {
        channel_id, sequence_number, job_id, nonce, ntime, version,
    }
    #[cfg(feature = "full")]
    SV2_SUBMIT_SHARES_EXTENDED submit_shares_extended: Sv2SubmitSharesExtended = mining_sv2::SubmitSharesExtended {
        channel_id, sequence_number, job_id, nonce, ntime, version, extranonce,
    }
    #[cfg(feature = "full")]
    SV2_SUBMIT_SHARES_SUCCESS submit_shares_success: Sv2SubmitSharesSuccess = mining_sv2::SubmitSharesSuccess {
        channel_id, last_sequence_number, new_submits_accepted_count, new_shares_sum,
    }
    #[cfg(feature = "full")]
    SV2_SUBMIT_SHARES_ERROR submit_shares_error: Sv2SubmitSharesError = mining_sv2::SubmitSharesError<'a> {
        channel_id, sequence_number, error_code,
    }
    #[cfg(feature = "full")]
    SV2_NEW_MINING_JOB new_mining_job: Sv2NewMiningJob = mining_sv2::NewMiningJob {
        channel_id, job_id, min_ntime, version, merkle_root,
    }
    #[cfg(feature = "full")]
    SV2_NEW_EXTENDED_MINING_JOB new_extended_mining_job: Sv2NewExtendedMiningJob = mining_sv2::NewExtendedMiningJob<'a> {
        channel_id, job_id, min_ntime, version, version_rolling_allowed, merkle_path, coinbase_tx_prefix,
        coinbase_tx_suffix,
    }
    #[cfg(feature = "full")]
    SV2_MINING_SET_NEW_PREV_HASH mining_set_new_prev_hash: Sv2MiningSetNewPrevHash = mining_sv2::SetNewPrevHash {
        channel_id, job_id, prev_hash, min_ntime, nbits,
    }
    #[cfg(feature = "full")]
    SV2_SET_CUSTOM_MINING_JOB set_custom_mining_job: Sv2SetCustomMiningJob = mining_sv2::SetCustomMiningJob<'a> {
        channel_id, request_id, mining_job_token, version, prev_hash, min_ntime, nbits, coinbase_tx_version,
        coinbase_prefix, coinbase_tx_input_n_sequence, coinbase_tx_outputs, coinbase_tx_locktime, merkle_path,
    }
    #[cfg(feature = "full")]
    SV2_SET_CUSTOM_MINING_JOB_SUCCESS set_custom_mining_job_success: Sv2SetCustomMiningJobSuccess = mining_sv2::SetCustomMiningJobSuccess {
        channel_id, request_id, job_id,
    }
    #[cfg(feature = "full")]
    SV2_SET_CUSTOM_MINING_JOB_ERROR set_custom_mining_job_error: Sv2SetCustomMiningJobError = mining_sv2::SetCustomMiningJobError<'a> {
        channel_id, request_id, error_code,
    }
    #[cfg(feature = "full")]
    SV2_ALLOCATE_MINING_JOB_TOKEN allocate_mining_job_token: Sv2AllocateMiningJobToken = job_declaration_sv2::AllocateMiningJobToken<'a> {
        user_identifier, request_id,
    }
    #[cfg(feature = "full")]
    SV2_ALLOCATE_MINING_JOB_TOKEN_SUCCESS allocate_mining_job_token_success: Sv2AllocateMiningJobTokenSuccess = job_declaration_sv2::AllocateMiningJobTokenSuccess<'a> {
        request_id, mining_job_token, coinbase_tx_outputs,
    }
    #[cfg(feature = "full")]
    SV2_DECLARE_MINING_JOB declare_mining_job: Sv2DeclareMiningJob = job_declaration_sv2::DeclareMiningJob<'a> {
        request_id, mining_job_token, version, coinbase_tx_prefix, coinbase_tx_suffix, wtxid_list, excess_data,
    }
    #[cfg(feature = "full")]
    SV2_DECLARE_MINING_JOB_SUCCESS declare_mining_job_success: Sv2DeclareMiningJobSuccess = job_declaration_sv2::DeclareMiningJobSuccess<'a> {
        request_id, new_mining_job_token,
    }
    #[cfg(feature = "full")]
    SV2_DECLARE_MINING_JOB_ERROR declare_mining_job_error: Sv2DeclareMiningJobError = job_declaration_sv2::DeclareMiningJobError<'a> {
        request_id, error_code, error_details,
    }
    #[cfg(feature = "full")]
    SV2_PROVIDE_MISSING_TRANSACTIONS provide_missing_transactions: Sv2ProvideMissingTransactions = job_declaration_sv2::ProvideMissingTransactions<'a> {
        request_id, unknown_tx_position_list,
    }
    #[cfg(feature = "full")]
    SV2_PROVIDE_MISSING_TRANSACTIONS_SUCCESS provide_missing_transactions_success: Sv2ProvideMissingTransactionsSuccess = job_declaration_sv2::ProvideMissingTransactionsSuccess<'a> {
        request_id, transaction_list,
    }
    #[cfg(feature = "full")]
    SV2_PUSH_SOLUTION push_solution: Sv2PushSolution = job_declaration_sv2::PushSolution {
        extranonce, prev_hash, nonce, ntime, nbits, version,
    }
    #[cfg(feature = "full")]
    SV2_REQUEST_EXTENSIONS request_extensions: Sv2RequestExtensions = extensions_sv2::RequestExtensions<'a> {
        request_id, requested_extensions,
    }
    #[cfg(feature = "full")]
    SV2_REQUEST_EXTENSIONS_SUCCESS request_extensions_success: Sv2RequestExtensionsSuccess = extensions_sv2::RequestExtensionsSuccess<'a> {
        request_id, supported_extensions,
    }
    #[cfg(feature = "full")]
    SV2_REQUEST_EXTENSIONS_ERROR request_extensions_error: Sv2RequestExtensionsError = extensions_sv2::RequestExtensionsError<'a> {
        request_id, unsupported_extensions, required_extensions,
    }
}
