// Stratum V2 in C. Generated from the Rust source by tests/header.rs; do not edit.
//
// The library does no input or output: you read and write the socket, it turns bytes into messages and back.
//
// CONNECTING
// With noise: sv2_initiator_new makes act 1, which you send; sv2_initiator_finish takes act 2, which you received, and
// makes a decoder and an encoder. Without noise: sv2_decoder_new and sv2_encoder_new.
//
// RECEIVING
// sv2_decoder_writable says where to read to, sv2_decoder_advance that you have, sv2_decoder_next_frame cuts off one frame
// after the other until SV2_MISSING_BYTES, sv2_message_decode makes a message of a frame. `message.kind` says which, and
// which member of `message.body` holds its fields.
//
// SENDING
// Fill an Sv2Message, sv2_encoder_add it, write what sv2_encoder_pending shows, sv2_encoder_consume what was written.
//
// MINING
// sv2_channel_new takes the answer to Open...MiningChannel, sv2_channel_handle every message of the channel,
// sv2_channel_work gives something to hash, sv2_channel_submit makes a share of a nonce that was found.
//
// RULES
// - A function returns SV2_OK (0), or another Sv2Status; sv2_error_string tells what one means. Unless its description
//   says otherwise, nothing is written to its outputs and nothing changes when it fails.
// - Memory is yours, except handles (Sv2Decoder, Sv2Encoder, Sv2Initiator, Sv2Identity, Sv2Channel, Sv2Work): who gets
//   one owns it and frees it once with its ..._free function. Nothing else allocates anything that you must free.
// - A pointer in a message, frame or list points into what it was made from: the payload that was decoded, or your own
//   memory. It is valid as long as that. Functions copy what they need; none keeps a pointer of yours.
// - NULL where something must be is SV2_ERROR_NULL. Freeing NULL does nothing. Other pointers must be valid, aligned, and
//   have room for what their type or length says; outputs must not overlap inputs. A handle must not be used after it was
//   freed.
// - A handle is for one thread at a time, different handles for different threads. An Sv2Work or an Sv2Identity may be
//   used, not freed, by several at once.
// - Numbers are the processor's. Byte arrays and Sv2U256 are in wire order.
// - No C++ exception and no Rust panic passes through the library. Running out of memory ends the process.
//
// The subset library has no noise, mining, job declaration and extensions. Define SV2_SUBSET to hide what it lacks; its
// pkg-config and CMake files do. Types and numbers are the same in both.


#ifndef SV2_H
#define SV2_H

#include <stddef.h>
#include <stdint.h>

#ifndef SV2_SUBSET
#define SV2_FULL
#endif

// Strings of error_code and reason_code fields; servers may send others.
#define SV2_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS "unsupported-feature-flags"
#define SV2_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL "unsupported-protocol"
#define SV2_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH "protocol-version-mismatch"
#define SV2_CODE_SETUP_CONNECTION_MISSING_DECLARE_TX_DATA_FLAG "missing-declare-tx-data-flag"
#define SV2_CODE_SETUP_CONNECTION_SERVER_BUSY "server-busy"
#define SV2_CODE_OPEN_MINING_CHANNEL_UNKNOWN_USER "unknown-user"
#define SV2_CODE_OPEN_MINING_CHANNEL_INVALID_USER_IDENTITY "invalid-user-identity"
#define SV2_CODE_OPEN_MINING_CHANNEL_MAX_TARGET_OUT_OF_RANGE "max-target-out-of-range"
#define SV2_CODE_OPEN_MINING_CHANNEL_INVALID_NOMINAL_HASHRATE "invalid-nominal-hashrate"
#define SV2_CODE_OPEN_MINING_CHANNEL_MIN_EXTRANONCE_SIZE_TOO_LARGE "min-extranonce-size-too-large"
#define SV2_CODE_OPEN_MINING_CHANNEL_UNSUPPORTED_MIN_EXTRANONCE_SIZE "unsupported-min-extranonce-size"
#define SV2_CODE_OPEN_MINING_CHANNEL_STANDARD_CHANNELS_NOT_SUPPORTED_FOR_CUSTOM_WORK "standard-channels-not-supported-for-custom-work"
#define SV2_CODE_OPEN_MINING_CHANNEL_EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS "extended-channels-not-supported-for-standard-jobs"
#define SV2_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED "channel-capacity-exhausted"
#define SV2_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID "invalid-channel-id"
#define SV2_CODE_UPDATE_CHANNEL_MAX_TARGET_OUT_OF_RANGE "max-target-out-of-range"
#define SV2_CODE_UPDATE_CHANNEL_INVALID_NOMINAL_HASHRATE "invalid-nominal-hashrate"
#define SV2_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID "invalid-channel-id"
#define SV2_CODE_SUBMIT_SHARES_INVALID_JOB_ID "invalid-job-id"
#define SV2_CODE_SUBMIT_SHARES_STALE_SHARE "stale-share"
#define SV2_CODE_SUBMIT_SHARES_DIFFICULTY_TOO_LOW "difficulty-too-low"
#define SV2_CODE_SUBMIT_SHARES_DUPLICATE_SHARE "duplicate-share"
#define SV2_CODE_SUBMIT_SHARES_INVALID_SHARE "invalid-share"
#define SV2_CODE_SUBMIT_SHARES_BAD_EXTRANONCE_SIZE "bad-extranonce-size"
#define SV2_CODE_SUBMIT_SHARES_NTIME_OUT_OF_RANGE "ntime-out-of-range"
#define SV2_CODE_SUBMIT_SHARES_VERSION_ROLLING_NOT_ALLOWED "version-rolling-not-allowed"
#define SV2_CODE_SUBMIT_SHARES_INVALID_NON_ROLLABLE_VERSION_BIT "invalid-non-rollable-version-bit"
#define SV2_CODE_SUBMIT_SHARES_TOO_MANY_SHARES "too-many-shares"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_JD_NOT_SUPPORTED "jd-not-supported"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_CHANNEL_ID "invalid-channel-id"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_MINING_JOB_TOKEN "invalid-mining-job-token"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_JOB_NOT_YET_VALIDATED "job-not-yet-validated"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_STALE_CHAIN_TIP "stale-chain-tip"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_MIN_NTIME "invalid-min-ntime"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_NBITS "invalid-nbits"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_VERSION "invalid-version"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_COINBASE_TX "invalid-coinbase-tx"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_COINBASE_TX_VERSION "invalid-coinbase-tx-version"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_COINBASE_PREFIX "invalid-coinbase-prefix"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_COINBASE_TX_INPUT_N_SEQUENCE "invalid-coinbase-tx-input-n-sequence"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_COINBASE_TX_OUTPUTS "invalid-coinbase-tx-outputs"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_COINBASE_TX_LOCKTIME "invalid-coinbase-tx-locktime"
#define SV2_CODE_SET_CUSTOM_MINING_JOB_INVALID_MERKLE_PATH "invalid-merkle-path"
#define SV2_CODE_DECLARE_MINING_JOB_INVALID_MINING_JOB_TOKEN "invalid-mining-job-token"
#define SV2_CODE_DECLARE_MINING_JOB_INVALID_JOB "invalid-job"
#define SV2_CODE_DECLARE_MINING_JOB_STALE_CHAIN_TIP "stale-chain-tip"
#define SV2_CODE_DECLARE_MINING_JOB_INVALID_COINBASE_TX "invalid-coinbase-tx"
#define SV2_CODE_DECLARE_MINING_JOB_MISSING_TRANSACTIONS "missing-transactions"
#define SV2_CODE_REQUEST_TRANSACTION_DATA_TEMPLATE_ID_NOT_FOUND "template-id-not-found"
#define SV2_CODE_REQUEST_TRANSACTION_DATA_STALE_TEMPLATE_ID "stale-template-id"
#define SV2_CODE_CLOSE_CHANNEL_SHUTDOWN "shutdown"
#define SV2_CODE_CLOSE_CHANNEL_DOWNSTREAM_CLOSED "downstream-closed"
#define SV2_CODE_CLOSE_CHANNEL_TOO_MANY_INVALID_SHARES "too-many-invalid-shares"


/// The one protocol version there is: `min_version`, `max_version` and `used_version`.
#define SV2_PROTOCOL_VERSION 2

/// Mining Protocol, value of `protocol` in `SetupConnection`.
#define SV2_PROTOCOL_MINING 0

/// Job Declaration Protocol, value of `protocol` in `SetupConnection`.
#define SV2_PROTOCOL_JOB_DECLARATION 1

/// Template Distribution Protocol, value of `protocol` in `SetupConnection`.
#define SV2_PROTOCOL_TEMPLATE_DISTRIBUTION 2

/// `SetupConnection`, mining: the client takes standard jobs only.
#define SV2_FLAG_REQUIRES_STANDARD_JOBS 1

/// `SetupConnection`, mining: the client will send `SetCustomMiningJob`.
#define SV2_FLAG_REQUIRES_WORK_SELECTION 2

/// `SetupConnection`, mining: the client needs jobs that allow version rolling.
#define SV2_FLAG_REQUIRES_VERSION_ROLLING 4

/// `SetupConnection.Success`, mining: the server accepts no change to the version field.
#define SV2_FLAG_REQUIRES_FIXED_VERSION 1

/// `SetupConnection.Success`, mining: the server opens no standard channels.
#define SV2_FLAG_REQUIRES_EXTENDED_CHANNELS 2

/// `SetupConnection`, job declaration: the client reveals the template's transactions.
#define SV2_FLAG_DECLARE_TX_DATA 1

/// Extension 0x0001: negotiation of extensions.
#define SV2_EXTENSION_NEGOTIATION 1

/// Extension 0x0002: the worker's name behind each `SubmitSharesExtended`.
#define SV2_EXTENSION_WORKER_TRACKING 2

/// Longest payload of a frame, in bytes.
#define SV2_MAX_PAYLOAD 16777215

/// Result of a function. `SV2_OK` is 0; the first three are no errors.
typedef enum {
    /// Done.
    SV2_OK = 0,
    /// No whole frame is there yet: read more from the socket and ask again.
    SV2_MISSING_BYTES = 1,
    /// There is nothing more: the last element, the last field, no work.
    SV2_END = 2,
    /// A pointer is NULL that must not be.
    SV2_ERROR_NULL = 10,
    /// A length, a count or a number is not one that can be.
    SV2_ERROR_LENGTH = 11,
    /// The output does not fit; the length that is needed was written where the function says.
    SV2_ERROR_BUFFER_TOO_SMALL = 12,
    /// No message of this kind, or not in this build of the library.
    SV2_ERROR_UNKNOWN_MESSAGE = 13,
    /// Bytes that are not what the message, the list or the field demands.
    SV2_ERROR_MALFORMED = 14,
    /// A field is longer than its type can be.
    SV2_ERROR_VALUE_TOO_LONG = 15,
    /// A frame announces more than the limit of the decoder, or a message is over 2^24 - 1 bytes. Drop the connection.
    SV2_ERROR_PAYLOAD_TOO_LONG = 16,
    /// The handle was used up by an earlier call.
    SV2_ERROR_STATE = 17,
    /// The peer's bytes do not authenticate. Drop the connection.
    SV2_ERROR_DECRYPT = 18,
    /// The connection has used up its nonces. Make a new one.
    SV2_ERROR_NONCES_USED_UP = 19,
    /// The certificate has a format that is not known.
    SV2_ERROR_CERTIFICATE_VERSION = 20,
    /// The certificate is not valid yet; is the clock right?
    SV2_ERROR_CERTIFICATE_NOT_YET_VALID = 21,
    /// The certificate is no longer valid; is the clock right?
    SV2_ERROR_CERTIFICATE_EXPIRED = 22,
    /// The certificate is not signed by the authority.
    SV2_ERROR_CERTIFICATE_SIGNATURE = 23,
    /// The random bytes make no key, or the system has none to give.
    SV2_ERROR_RANDOMNESS = 24,
    /// The text or the bytes are no key.
    SV2_ERROR_KEY = 25,
    /// The text is no `stratum2+tcp://` URL.
    SV2_ERROR_URL = 26,
    /// The message is not for this channel, or not one that a channel takes.
    SV2_ERROR_NOT_FOR_CHANNEL = 27,
    /// The server's message breaks the protocol. The channel is as before.
    SV2_ERROR_PROTOCOL = 28,
    /// A defect of this library.
    SV2_ERROR_INTERNAL = 99,
} Sv2Status;

#if defined(SV2_FULL)
/// What a message changed for whoever is hashing.
typedef enum {
    /// Go on with the work at hand.
    SV2_CHANGE_NONE = 0,
    /// Take new work soon; shares for the work at hand still count.
    SV2_CHANGE_NEW_WORK = 1,
    /// Take new work now: shares for the work at hand are stale.
    SV2_CHANGE_NEW_TIP = 2,
} Sv2Change;
#endif

/// Every message there is: its extension type times 256, plus its message type.
typedef enum {
    /// Client's first message on a connection (sv2-spec §3.6.1).
    SV2_SETUP_CONNECTION = 0,
    /// Server accepts the connection (sv2-spec §3.6.2).
    SV2_SETUP_CONNECTION_SUCCESS = 1,
    /// Server refuses the connection and closes it (sv2-spec §3.6.3).
    SV2_SETUP_CONNECTION_ERROR = 2,
    /// A proxy tells that a channel's other end changed; extension state is void (sv2-spec §3.6.4).
    SV2_CHANNEL_ENDPOINT_CHANGED = 3,
    /// Server sends the client elsewhere (sv2-spec §3.6.5). The authority key stays the same.
    SV2_RECONNECT = 4,
    /// Client's first message: room its coinbase outputs need (sv2-spec §7.1).
    SV2_COINBASE_OUTPUT_CONSTRAINTS = 112,
    /// Server offers a template (sv2-spec §7.2).
    SV2_NEW_TEMPLATE = 113,
    /// A new best block: the future template to work on now (sv2-spec §7.3).
    SV2_TEMPLATE_SET_NEW_PREV_HASH = 114,
    /// Client asks for a template's transactions (sv2-spec §7.4).
    SV2_REQUEST_TRANSACTION_DATA = 115,
    /// Server sends a template's transactions (sv2-spec §7.5).
    SV2_REQUEST_TRANSACTION_DATA_SUCCESS = 116,
    /// Server has no transactions for a template (sv2-spec §7.6).
    SV2_REQUEST_TRANSACTION_DATA_ERROR = 117,
    /// Client found a block (sv2-spec §7.7).
    SV2_SUBMIT_SOLUTION = 118,
    /// Client asks for a standard channel (sv2-spec §5.3.2).
    SV2_OPEN_STANDARD_MINING_CHANNEL = 16,
    /// Server grants a standard channel (sv2-spec §5.3.3).
    SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS = 17,
    /// Client asks for an extended channel (sv2-spec §5.3.4).
    SV2_OPEN_EXTENDED_MINING_CHANNEL = 19,
    /// Server grants an extended channel (sv2-spec §5.3.5).
    SV2_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS = 20,
    /// Server refuses a channel of either kind (sv2-spec §5.3.6).
    SV2_OPEN_MINING_CHANNEL_ERROR = 18,
    /// Client tells of a changed hashrate or wishes another target (sv2-spec §5.3.7).
    SV2_UPDATE_CHANNEL = 22,
    /// Server refuses an update (sv2-spec §5.3.8).
    SV2_UPDATE_CHANNEL_ERROR = 23,
    /// Either side ends a channel, or a group with all its channels (sv2-spec §5.3.9).
    SV2_CLOSE_CHANNEL = 24,
    /// Server changes the prefix for jobs sent after this (sv2-spec §5.3.10). Not for groups.
    SV2_SET_EXTRANONCE_PREFIX = 25,
    /// Server sets the target of a channel or of a group's channels (sv2-spec §5.3.21).
    SV2_SET_TARGET = 33,
    /// Server puts channels into a group (sv2-spec §5.3.22).
    SV2_SET_GROUP_CHANNEL = 37,
    /// A share of a standard channel (sv2-spec §5.3.11).
    SV2_SUBMIT_SHARES_STANDARD = 26,
    /// A share of an extended channel (sv2-spec §5.3.12).
    SV2_SUBMIT_SHARES_EXTENDED = 27,
    /// Server accepts shares, several at once (sv2-spec §5.3.13).
    SV2_SUBMIT_SHARES_SUCCESS = 28,
    /// Server rejects one share (sv2-spec §5.3.14).
    SV2_SUBMIT_SHARES_ERROR = 29,
    /// A job for one standard channel (sv2-spec §5.3.15).
    SV2_NEW_MINING_JOB = 21,
    /// A job for an extended channel or for a group (sv2-spec §5.3.16).
    SV2_NEW_EXTENDED_MINING_JOB = 31,
    /// A new block came: the future job to start now (sv2-spec §5.3.17).
    SV2_MINING_SET_NEW_PREV_HASH = 32,
    /// Client announces a job of its own (sv2-spec §5.3.18). Needs `REQUIRES_WORK_SELECTION`.
    SV2_SET_CUSTOM_MINING_JOB = 34,
    /// Server accepts a custom job and commits to rewarding it (sv2-spec §5.3.19).
    SV2_SET_CUSTOM_MINING_JOB_SUCCESS = 35,
    /// Server refuses a custom job (sv2-spec §5.3.20).
    SV2_SET_CUSTOM_MINING_JOB_ERROR = 36,
    /// Client asks for a token (sv2-spec §6.4.2).
    SV2_ALLOCATE_MINING_JOB_TOKEN = 80,
    /// Server hands out a token (sv2-spec §6.4.3).
    SV2_ALLOCATE_MINING_JOB_TOKEN_SUCCESS = 81,
    /// Client declares a job with its transactions, full-template mode (sv2-spec §6.4.4).
    SV2_DECLARE_MINING_JOB = 87,
    /// Server accepts a declared job (sv2-spec §6.4.5).
    SV2_DECLARE_MINING_JOB_SUCCESS = 88,
    /// Server refuses a declared job (sv2-spec §6.4.6).
    SV2_DECLARE_MINING_JOB_ERROR = 89,
    /// Server asks for transactions it does not know (sv2-spec §6.4.7).
    SV2_PROVIDE_MISSING_TRANSACTIONS = 85,
    /// Client sends the transactions the server asked for (sv2-spec §6.4.8).
    SV2_PROVIDE_MISSING_TRANSACTIONS_SUCCESS = 86,
    /// Client found a block, full-template mode (sv2-spec §6.4.9).
    SV2_PUSH_SOLUTION = 96,
    /// Client asks for extensions, right after `SetupConnection.Success` (ext-0x0001 §2).
    SV2_REQUEST_EXTENSIONS = 256,
    /// Server grants extensions (ext-0x0001 §2).
    SV2_REQUEST_EXTENSIONS_SUCCESS = 257,
    /// Server supports none, or needs others (ext-0x0001 §2).
    SV2_REQUEST_EXTENSIONS_ERROR = 258,
} Sv2Kind;

#if defined(SV2_FULL)
/// One open channel, standard or extended.
typedef struct Sv2Channel Sv2Channel;
#endif

/// Cuts received bytes into frames. Made by `sv2_decoder_new`, or by a noise handshake.
typedef struct Sv2Decoder Sv2Decoder;

/// Puts messages into frames that wait to be sent. Made by `sv2_encoder_new`, or by a noise handshake.
typedef struct Sv2Encoder Sv2Encoder;

#if defined(SV2_FULL)
/// What a server shows in handshakes: its static key and the certificate for it.
typedef struct Sv2Identity Sv2Identity;

/// A client that waits for act 2.
typedef struct Sv2Initiator Sv2Initiator;

/// Something to hash. Does not change; any number of threads may use one.
typedef struct Sv2Work Sv2Work;
#endif

/// Bytes that lie somewhere else: in the payload that was decoded, or wherever you have them when you encode.
///
/// Text is not terminated by a zero. `data` may be NULL when `len` is 0.
typedef struct {
    /// The first byte.
    const uint8_t *data;
    /// How many there are.
    size_t len;
} Sv2Bytes;

/// Client's first message on a connection (sv2-spec §3.6.1).
typedef struct {
    /// One of the `SV2_PROTOCOL_` numbers.
    uint8_t protocol;
    /// Lowest version the client speaks; 2.
    uint16_t min_version;
    /// Highest version the client speaks; 2.
    uint16_t max_version;
    /// Features the client needs; see the `SV2_FLAG_` bits.
    uint32_t flags;
    /// Host name or address the client dialled, ASCII. STR0_255.
    Sv2Bytes endpoint_host;
    /// Port the client dialled.
    uint16_t endpoint_port;
    /// Maker of the device or program; never empty by the specification. STR0_255.
    Sv2Bytes vendor;
    /// Hardware or package in use. STR0_255.
    Sv2Bytes hardware_version;
    /// Firmware in use. STR0_255.
    Sv2Bytes firmware;
    /// The vendor's name for this one device; empty unless telemetry is on. STR0_255.
    Sv2Bytes device_id;
} Sv2SetupConnection;

/// Server accepts the connection (sv2-spec §3.6.2).
typedef struct {
    /// Version for the connection's life.
    uint16_t used_version;
    /// What the server needs; see the `SV2_FLAG_` bits.
    uint32_t flags;
} Sv2SetupConnectionSuccess;

/// Server refuses the connection and closes it (sv2-spec §3.6.3).
typedef struct {
    /// Every flag the server does not support; 0 when flags are not the reason.
    uint32_t flags;
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    Sv2Bytes error_code;
} Sv2SetupConnectionError;

/// A proxy tells that a channel's other end changed; extension state is void (sv2-spec §3.6.4).
typedef struct {
    /// The channel.
    uint32_t channel_id;
} Sv2ChannelEndpointChanged;

/// Server sends the client elsewhere (sv2-spec §3.6.5). The authority key stays the same.
typedef struct {
    /// Empty for the present host. STR0_255.
    Sv2Bytes new_host;
    /// 0 for the present port.
    uint16_t new_port;
} Sv2Reconnect;

/// Client's first message: room its coinbase outputs need (sv2-spec §7.1).
typedef struct {
    /// Most bytes the client will add as coinbase outputs, serialised.
    uint32_t coinbase_output_max_additional_size;
    /// Most signature operations the client will add.
    uint16_t coinbase_output_max_additional_sigops;
} Sv2CoinbaseOutputConstraints;

/// A list, as its encoded elements. It lies in the payload that was decoded, or in a buffer of yours.
///
/// Read one with the `sv2_seq_next_` functions on a copy, build one with the `sv2_seq_add_` functions. All zero is the
/// empty list.
typedef struct {
    /// The elements one after the other, as on the wire.
    const uint8_t *data;
    /// Bytes they take.
    size_t len;
    /// Number of elements.
    uint32_t count;
} Sv2Seq;

/// Server offers a template (sv2-spec §7.2).
typedef struct {
    /// Strictly increasing.
    uint64_t template_id;
    /// Whether a `SetNewPrevHash` has to come before work starts. 0 or 1.
    uint8_t future_template;
    /// Header field; the BIP 323 bits may be rolled.
    uint32_t version;
    /// Coinbase transaction's nVersion.
    uint32_t coinbase_tx_version;
    /// Start of the coinbase's scriptSig, up to 8 bytes. B0_255.
    Sv2Bytes coinbase_prefix;
    /// Coinbase input's nSequence.
    uint32_t coinbase_tx_input_sequence;
    /// Satoshis the client may spend in its outputs: subsidy and fees.
    uint64_t coinbase_tx_value_remaining;
    /// Number of outputs in `coinbase_tx_outputs`.
    uint32_t coinbase_tx_outputs_count;
    /// The coinbase's last outputs, serialised one after the other **without** a count. B0_64K.
    Sv2Bytes coinbase_tx_outputs;
    /// Coinbase transaction's nLockTime.
    uint32_t coinbase_tx_locktime;
    /// Hashes beside the coinbase's path to the root, deepest first. SEQ0_255 of U256.
    Sv2Seq merkle_path;
} Sv2NewTemplate;

/// A number of 256 bits, least significant byte first. A hash has the order in which SHA-256 puts it out.
typedef struct {
    /// Least significant first.
    uint8_t bytes[32];
} Sv2U256;

/// A new best block: the future template to work on now (sv2-spec §7.3).
typedef struct {
    /// A template sent before.
    uint64_t template_id;
    /// Header field.
    Sv2U256 prev_hash;
    /// ntime to start with; not the smallest valid one.
    uint32_t header_timestamp;
    /// Header field (`nBits` in the specification).
    uint32_t n_bits;
    /// Largest hash of a valid block; may be harder than `n_bits` says.
    Sv2U256 target;
} Sv2TemplateSetNewPrevHash;

/// Client asks for a template's transactions (sv2-spec §7.4).
typedef struct {
    /// The template.
    uint64_t template_id;
} Sv2RequestTransactionData;

/// Server sends a template's transactions (sv2-spec §7.5).
typedef struct {
    /// The template.
    uint64_t template_id;
    /// Opaque data a pool may need to check the work. B0_64K.
    Sv2Bytes excess_data;
    /// Every transaction but the coinbase, in block order, witnesses included. SEQ0_64K of B0_16M.
    Sv2Seq transaction_list;
} Sv2RequestTransactionDataSuccess;

/// Server has no transactions for a template (sv2-spec §7.6).
typedef struct {
    /// The template.
    uint64_t template_id;
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    Sv2Bytes error_code;
} Sv2RequestTransactionDataError;

/// Client found a block (sv2-spec §7.7).
typedef struct {
    /// The template.
    uint64_t template_id;
    /// Header field, rolled bits included.
    uint32_t version;
    /// Header field, seconds since 1970.
    uint32_t header_timestamp;
    /// Header field.
    uint32_t header_nonce;
    /// The whole coinbase transaction, BIP 141 fields included. B0_64K.
    Sv2Bytes coinbase_tx;
} Sv2SubmitSolution;

/// Client asks for a standard channel (sv2-spec §5.3.2).
typedef struct {
    /// Unique on the connection; the answer repeats it.
    uint32_t request_id;
    /// Who mines, for example `account.worker`; any bytes, UTF-8 recommended. STR0_255.
    Sv2Bytes user_identity;
    /// Expected hashes per second behind the channel; 0 when nothing is connected yet.
    float nominal_hash_rate;
    /// Easiest target the device can use; the server must keep to it or refuse.
    Sv2U256 max_target;
} Sv2OpenStandardMiningChannel;

/// Up to 32 bytes, held in place.
typedef struct {
    /// How many of `bytes` count, at most 32.
    uint8_t len;
    /// The content; the rest is zero.
    uint8_t bytes[32];
} Sv2B032;

/// Server grants a standard channel (sv2-spec §5.3.3).
typedef struct {
    /// From the request.
    uint32_t request_id;
    /// New on this connection, also among group channels.
    uint32_t channel_id;
    /// First target: hashes at or below it are shares.
    Sv2U256 target;
    /// The channel's whole extranonce, for jobs that come over the group channel.
    Sv2B032 extranonce_prefix;
    /// Group the channel belongs to.
    uint32_t group_channel_id;
} Sv2OpenStandardMiningChannelSuccess;

/// Client asks for an extended channel (sv2-spec §5.3.4).
typedef struct {
    /// Unique on the connection; the answer repeats it.
    uint32_t request_id;
    /// Who mines, for example `account.worker`; any bytes, UTF-8 recommended. STR0_255.
    Sv2Bytes user_identity;
    /// Expected hashes per second behind the channel; 0 when nothing is connected yet.
    float nominal_hash_rate;
    /// Easiest target the device can use; the server must keep to it or refuse.
    Sv2U256 max_target;
    /// Fewest extranonce bytes the client needs to roll or to hand on.
    uint16_t min_extranonce_size;
} Sv2OpenExtendedMiningChannel;

/// Server grants an extended channel (sv2-spec §5.3.5).
typedef struct {
    /// From the request.
    uint32_t request_id;
    /// New on this connection, also among group channels.
    uint32_t channel_id;
    /// First target: hashes at or below it are shares.
    Sv2U256 target;
    /// Extranonce bytes that are the client's; each share carries exactly so many.
    uint16_t extranonce_size;
    /// Fixed bytes in front of the client's.
    Sv2B032 extranonce_prefix;
    /// Group the channel belongs to.
    uint32_t group_channel_id;
} Sv2OpenExtendedMiningChannelSuccess;

/// Server refuses a channel of either kind (sv2-spec §5.3.6).
typedef struct {
    /// From the request.
    uint32_t request_id;
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    Sv2Bytes error_code;
} Sv2OpenMiningChannelError;

/// Client tells of a changed hashrate or wishes another target (sv2-spec §5.3.7).
typedef struct {
    /// The channel.
    uint32_t channel_id;
    /// Expected hashes per second behind the channel.
    float nominal_hash_rate;
    /// Easiest target the device can use from now on.
    Sv2U256 maximum_target;
} Sv2UpdateChannel;

/// Server refuses an update (sv2-spec §5.3.8).
typedef struct {
    /// The channel.
    uint32_t channel_id;
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    Sv2Bytes error_code;
} Sv2UpdateChannelError;

/// Either side ends a channel, or a group with all its channels (sv2-spec §5.3.9).
typedef struct {
    /// The channel or group.
    uint32_t channel_id;
    /// One of the `SV2_CODE_` strings, or another; no control characters. STR0_255.
    Sv2Bytes reason_code;
} Sv2CloseChannel;

/// Server changes the prefix for jobs sent after this (sv2-spec §5.3.10). Not for groups.
typedef struct {
    /// A standard or extended channel.
    uint32_t channel_id;
    /// Fixed bytes in front of the client's.
    Sv2B032 extranonce_prefix;
} Sv2SetExtranoncePrefix;

/// Server sets the target of a channel or of a group's channels (sv2-spec §5.3.21).
typedef struct {
    /// The channel or group.
    uint32_t channel_id;
    /// Hashes at or below it are shares, of future jobs and of jobs sent from now on.
    Sv2U256 maximum_target;
} Sv2SetTarget;

/// Server puts channels into a group (sv2-spec §5.3.22).
typedef struct {
    /// The group; shares its number space with channels.
    uint32_t group_channel_id;
    /// Open channels that move to the group. SEQ0_64K of U32.
    Sv2Seq channel_ids;
} Sv2SetGroupChannel;

/// A share of a standard channel (sv2-spec §5.3.11).
typedef struct {
    /// The channel.
    uint32_t channel_id;
    /// Counts up within the channel; answers refer to it.
    uint32_t sequence_number;
    /// The job that was worked on.
    uint32_t job_id;
    /// Header field.
    uint32_t nonce;
    /// Header field, seconds since 1970.
    uint32_t ntime;
    /// Header field, rolled bits included.
    uint32_t version;
} Sv2SubmitSharesStandard;

/// A share of an extended channel (sv2-spec §5.3.12).
typedef struct {
    /// The channel.
    uint32_t channel_id;
    /// Counts up within the channel; answers refer to it.
    uint32_t sequence_number;
    /// The job that was worked on.
    uint32_t job_id;
    /// Header field.
    uint32_t nonce;
    /// Header field, seconds since 1970.
    uint32_t ntime;
    /// Header field, rolled bits included.
    uint32_t version;
    /// The client's part, behind `extranonce_prefix`; exactly `extranonce_size` bytes.
    Sv2B032 extranonce;
} Sv2SubmitSharesExtended;

/// Server accepts shares, several at once (sv2-spec §5.3.13).
typedef struct {
    /// The channel.
    uint32_t channel_id;
    /// Latest share with a correct result.
    uint32_t last_sequence_number;
    /// Shares accepted in this batch.
    uint32_t new_submits_accepted_count;
    /// Sum of the difficulties of this batch's shares.
    uint64_t new_shares_sum;
} Sv2SubmitSharesSuccess;

/// Server rejects one share (sv2-spec §5.3.14).
typedef struct {
    /// The channel.
    uint32_t channel_id;
    /// The share.
    uint32_t sequence_number;
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    Sv2Bytes error_code;
} Sv2SubmitSharesError;

/// A number that may be missing.
typedef struct {
    /// 0 when there is no value, else 1.
    uint8_t is_some;
    /// The value; 0 when there is none.
    uint32_t value;
} Sv2OptionU32;

/// A job for one standard channel (sv2-spec §5.3.15).
typedef struct {
    /// A standard channel.
    uint32_t channel_id;
    /// Not in use by another valid job of the channel.
    uint32_t job_id;
    /// Smallest ntime to hash with; none is a future job, started by `SetNewPrevHash`.
    Sv2OptionU32 min_ntime;
    /// Header field; the BIP 323 bits may be rolled.
    uint32_t version;
    /// Header field.
    Sv2U256 merkle_root;
} Sv2NewMiningJob;

/// A job for an extended channel or for a group (sv2-spec §5.3.16).
typedef struct {
    /// An extended channel, or a group and with it all its channels.
    uint32_t channel_id;
    /// Not in use by another valid job of the channel.
    uint32_t job_id;
    /// Smallest ntime to hash with; none is a future job, started by `SetNewPrevHash`.
    Sv2OptionU32 min_ntime;
    /// Header field.
    uint32_t version;
    /// Whether the BIP 323 bits of `version` may be rolled. 0 or 1.
    uint8_t version_rolling_allowed;
    /// Hashes beside the coinbase's path to the root, deepest first. SEQ0_255 of U256.
    Sv2Seq merkle_path;
    /// Coinbase before the extranonce, without BIP 141 fields. B0_64K.
    Sv2Bytes coinbase_tx_prefix;
    /// Coinbase behind the extranonce, without BIP 141 fields. B0_64K.
    Sv2Bytes coinbase_tx_suffix;
} Sv2NewExtendedMiningJob;

/// A new block came: the future job to start now (sv2-spec §5.3.17).
typedef struct {
    /// The channel or group.
    uint32_t channel_id;
    /// A future job sent before; all other jobs end.
    uint32_t job_id;
    /// Header field.
    Sv2U256 prev_hash;
    /// Smallest ntime to hash with.
    uint32_t min_ntime;
    /// Header field, compact target of the block.
    uint32_t nbits;
} Sv2MiningSetNewPrevHash;

/// Client announces a job of its own (sv2-spec §5.3.18). Needs `REQUIRES_WORK_SELECTION`.
typedef struct {
    /// An extended channel or a group.
    uint32_t channel_id;
    /// The answer repeats it.
    uint32_t request_id;
    /// From the job declarator server; stands for the declared job. B0_255.
    Sv2Bytes mining_job_token;
    /// Header field; the BIP 323 bits may be rolled.
    uint32_t version;
    /// Header field.
    Sv2U256 prev_hash;
    /// Smallest ntime to hash with.
    uint32_t min_ntime;
    /// Header field.
    uint32_t nbits;
    /// Coinbase transaction's nVersion.
    uint32_t coinbase_tx_version;
    /// Start of the coinbase's scriptSig, up to 8 bytes. B0_255.
    Sv2Bytes coinbase_prefix;
    /// Coinbase input's nSequence (`coinbase_tx_input_nSequence` in the specification).
    uint32_t coinbase_tx_input_n_sequence;
    /// Coinbase outputs: CompactSize count, then each consensus-serialised. B0_64K.
    Sv2Bytes coinbase_tx_outputs;
    /// Coinbase transaction's nLockTime.
    uint32_t coinbase_tx_locktime;
    /// Hashes beside the coinbase's path to the root, deepest first. SEQ0_255 of U256.
    Sv2Seq merkle_path;
} Sv2SetCustomMiningJob;

/// Server accepts a custom job and commits to rewarding it (sv2-spec §5.3.19).
typedef struct {
    /// The channel.
    uint32_t channel_id;
    /// From the request.
    uint32_t request_id;
    /// Number the job's shares carry.
    uint32_t job_id;
} Sv2SetCustomMiningJobSuccess;

/// Server refuses a custom job (sv2-spec §5.3.20).
typedef struct {
    /// The channel.
    uint32_t channel_id;
    /// From the request.
    uint32_t request_id;
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    Sv2Bytes error_code;
} Sv2SetCustomMiningJobError;

/// Client asks for a token (sv2-spec §6.4.2).
typedef struct {
    /// Who declares; any bytes, UTF-8 recommended. STR0_255.
    Sv2Bytes user_identifier;
    /// The answer repeats it.
    uint32_t request_id;
} Sv2AllocateMiningJobToken;

/// Server hands out a token (sv2-spec §6.4.3).
typedef struct {
    /// From the request.
    uint32_t request_id;
    /// Stands for the job to be declared. B0_255.
    Sv2Bytes mining_job_token;
    /// Outputs the coinbase must have: CompactSize count, then each consensus-serialised. The first
    /// is the pool's payout output. B0_64K.
    Sv2Bytes coinbase_tx_outputs;
} Sv2AllocateMiningJobTokenSuccess;

/// Client declares a job with its transactions, full-template mode (sv2-spec §6.4.4).
typedef struct {
    /// The answer repeats it.
    uint32_t request_id;
    /// From `AllocateMiningJobToken.Success`. B0_255.
    Sv2Bytes mining_job_token;
    /// Header field; the BIP 323 bits may change later.
    uint32_t version;
    /// Coinbase before the extranonce, BIP 141 fields included. B0_64K.
    Sv2Bytes coinbase_tx_prefix;
    /// Coinbase behind the extranonce, BIP 141 fields included. B0_64K.
    Sv2Bytes coinbase_tx_suffix;
    /// Witness ids of the transactions in block order, without the coinbase. SEQ0_64K of U256.
    Sv2Seq wtxid_list;
    /// Opaque data a pool may need to check the work. B0_64K.
    Sv2Bytes excess_data;
} Sv2DeclareMiningJob;

/// Server accepts a declared job (sv2-spec §6.4.5).
typedef struct {
    /// From the request.
    uint32_t request_id;
    /// Token for `SetCustomMiningJob`. B0_255.
    Sv2Bytes new_mining_job_token;
} Sv2DeclareMiningJobSuccess;

/// Server refuses a declared job (sv2-spec §6.4.6).
typedef struct {
    /// From the request.
    uint32_t request_id;
    /// One of the `SV2_CODE_` strings, or another. STR0_255.
    Sv2Bytes error_code;
    /// More about the error; may be empty. B0_64K.
    Sv2Bytes error_details;
} Sv2DeclareMiningJobError;

/// Server asks for transactions it does not know (sv2-spec §6.4.7).
typedef struct {
    /// Of the `DeclareMiningJob`.
    uint32_t request_id;
    /// Positions in `wtxid_list`, from 0. SEQ0_64K of U16.
    Sv2Seq unknown_tx_position_list;
} Sv2ProvideMissingTransactions;

/// Client sends the transactions the server asked for (sv2-spec §6.4.8).
typedef struct {
    /// Of the `DeclareMiningJob`.
    uint32_t request_id;
    /// Whole transactions in the order of the request. SEQ0_64K of B0_16M.
    Sv2Seq transaction_list;
} Sv2ProvideMissingTransactionsSuccess;

/// Client found a block, full-template mode (sv2-spec §6.4.9).
typedef struct {
    /// The whole extranonce.
    Sv2B032 extranonce;
    /// Header field.
    Sv2U256 prev_hash;
    /// Header field.
    uint32_t nonce;
    /// Header field, seconds since 1970.
    uint32_t ntime;
    /// Header field, compact target.
    uint32_t nbits;
    /// Header field.
    uint32_t version;
} Sv2PushSolution;

/// Client asks for extensions, right after `SetupConnection.Success` (ext-0x0001 §2).
typedef struct {
    /// The answer repeats it.
    uint16_t request_id;
    /// Ids of the extensions the client wants to use. SEQ0_64K of U16.
    Sv2Seq requested_extensions;
} Sv2RequestExtensions;

/// Server grants extensions (ext-0x0001 §2).
typedef struct {
    /// From the request.
    uint16_t request_id;
    /// Those of the requested extensions the server supports. SEQ0_64K of U16.
    Sv2Seq supported_extensions;
} Sv2RequestExtensionsSuccess;

/// Server supports none, or needs others (ext-0x0001 §2).
typedef struct {
    /// From the request.
    uint16_t request_id;
    /// Those of the requested extensions the server does not support. SEQ0_64K of U16.
    Sv2Seq unsupported_extensions;
    /// Extensions the server needs and the client did not request. SEQ0_64K of U16.
    Sv2Seq required_extensions;
} Sv2RequestExtensionsError;

/// The fields of one message.
typedef union {
    /// When `kind` is `SV2_SETUP_CONNECTION`.
    Sv2SetupConnection setup_connection;
    /// When `kind` is `SV2_SETUP_CONNECTION_SUCCESS`.
    Sv2SetupConnectionSuccess setup_connection_success;
    /// When `kind` is `SV2_SETUP_CONNECTION_ERROR`.
    Sv2SetupConnectionError setup_connection_error;
    /// When `kind` is `SV2_CHANNEL_ENDPOINT_CHANGED`.
    Sv2ChannelEndpointChanged channel_endpoint_changed;
    /// When `kind` is `SV2_RECONNECT`.
    Sv2Reconnect reconnect;
    /// When `kind` is `SV2_COINBASE_OUTPUT_CONSTRAINTS`.
    Sv2CoinbaseOutputConstraints coinbase_output_constraints;
    /// When `kind` is `SV2_NEW_TEMPLATE`.
    Sv2NewTemplate new_template;
    /// When `kind` is `SV2_TEMPLATE_SET_NEW_PREV_HASH`.
    Sv2TemplateSetNewPrevHash template_set_new_prev_hash;
    /// When `kind` is `SV2_REQUEST_TRANSACTION_DATA`.
    Sv2RequestTransactionData request_transaction_data;
    /// When `kind` is `SV2_REQUEST_TRANSACTION_DATA_SUCCESS`.
    Sv2RequestTransactionDataSuccess request_transaction_data_success;
    /// When `kind` is `SV2_REQUEST_TRANSACTION_DATA_ERROR`.
    Sv2RequestTransactionDataError request_transaction_data_error;
    /// When `kind` is `SV2_SUBMIT_SOLUTION`.
    Sv2SubmitSolution submit_solution;
    /// When `kind` is `SV2_OPEN_STANDARD_MINING_CHANNEL`.
    Sv2OpenStandardMiningChannel open_standard_mining_channel;
    /// When `kind` is `SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS`.
    Sv2OpenStandardMiningChannelSuccess open_standard_mining_channel_success;
    /// When `kind` is `SV2_OPEN_EXTENDED_MINING_CHANNEL`.
    Sv2OpenExtendedMiningChannel open_extended_mining_channel;
    /// When `kind` is `SV2_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS`.
    Sv2OpenExtendedMiningChannelSuccess open_extended_mining_channel_success;
    /// When `kind` is `SV2_OPEN_MINING_CHANNEL_ERROR`.
    Sv2OpenMiningChannelError open_mining_channel_error;
    /// When `kind` is `SV2_UPDATE_CHANNEL`.
    Sv2UpdateChannel update_channel;
    /// When `kind` is `SV2_UPDATE_CHANNEL_ERROR`.
    Sv2UpdateChannelError update_channel_error;
    /// When `kind` is `SV2_CLOSE_CHANNEL`.
    Sv2CloseChannel close_channel;
    /// When `kind` is `SV2_SET_EXTRANONCE_PREFIX`.
    Sv2SetExtranoncePrefix set_extranonce_prefix;
    /// When `kind` is `SV2_SET_TARGET`.
    Sv2SetTarget set_target;
    /// When `kind` is `SV2_SET_GROUP_CHANNEL`.
    Sv2SetGroupChannel set_group_channel;
    /// When `kind` is `SV2_SUBMIT_SHARES_STANDARD`.
    Sv2SubmitSharesStandard submit_shares_standard;
    /// When `kind` is `SV2_SUBMIT_SHARES_EXTENDED`.
    Sv2SubmitSharesExtended submit_shares_extended;
    /// When `kind` is `SV2_SUBMIT_SHARES_SUCCESS`.
    Sv2SubmitSharesSuccess submit_shares_success;
    /// When `kind` is `SV2_SUBMIT_SHARES_ERROR`.
    Sv2SubmitSharesError submit_shares_error;
    /// When `kind` is `SV2_NEW_MINING_JOB`.
    Sv2NewMiningJob new_mining_job;
    /// When `kind` is `SV2_NEW_EXTENDED_MINING_JOB`.
    Sv2NewExtendedMiningJob new_extended_mining_job;
    /// When `kind` is `SV2_MINING_SET_NEW_PREV_HASH`.
    Sv2MiningSetNewPrevHash mining_set_new_prev_hash;
    /// When `kind` is `SV2_SET_CUSTOM_MINING_JOB`.
    Sv2SetCustomMiningJob set_custom_mining_job;
    /// When `kind` is `SV2_SET_CUSTOM_MINING_JOB_SUCCESS`.
    Sv2SetCustomMiningJobSuccess set_custom_mining_job_success;
    /// When `kind` is `SV2_SET_CUSTOM_MINING_JOB_ERROR`.
    Sv2SetCustomMiningJobError set_custom_mining_job_error;
    /// When `kind` is `SV2_ALLOCATE_MINING_JOB_TOKEN`.
    Sv2AllocateMiningJobToken allocate_mining_job_token;
    /// When `kind` is `SV2_ALLOCATE_MINING_JOB_TOKEN_SUCCESS`.
    Sv2AllocateMiningJobTokenSuccess allocate_mining_job_token_success;
    /// When `kind` is `SV2_DECLARE_MINING_JOB`.
    Sv2DeclareMiningJob declare_mining_job;
    /// When `kind` is `SV2_DECLARE_MINING_JOB_SUCCESS`.
    Sv2DeclareMiningJobSuccess declare_mining_job_success;
    /// When `kind` is `SV2_DECLARE_MINING_JOB_ERROR`.
    Sv2DeclareMiningJobError declare_mining_job_error;
    /// When `kind` is `SV2_PROVIDE_MISSING_TRANSACTIONS`.
    Sv2ProvideMissingTransactions provide_missing_transactions;
    /// When `kind` is `SV2_PROVIDE_MISSING_TRANSACTIONS_SUCCESS`.
    Sv2ProvideMissingTransactionsSuccess provide_missing_transactions_success;
    /// When `kind` is `SV2_PUSH_SOLUTION`.
    Sv2PushSolution push_solution;
    /// When `kind` is `SV2_REQUEST_EXTENSIONS`.
    Sv2RequestExtensions request_extensions;
    /// When `kind` is `SV2_REQUEST_EXTENSIONS_SUCCESS`.
    Sv2RequestExtensionsSuccess request_extensions_success;
    /// When `kind` is `SV2_REQUEST_EXTENSIONS_ERROR`.
    Sv2RequestExtensionsError request_extensions_error;
} Sv2Body;

/// A message, decoded or to be encoded. Begin with all zero: `Sv2Message message = {0};`.
typedef struct {
    /// Which message: one of the `Sv2Kind` numbers. Says which member of `body` holds.
    uint32_t kind;
    /// The fields.
    Sv2Body body;
    /// TLV fields behind the message (sv2-spec §3.4.3), encoded; mostly none.
    Sv2Bytes tlv_fields;
} Sv2Message;

#if defined(SV2_FULL)
/// The fields of a work.
typedef struct {
    /// The job.
    uint32_t job_id;
    /// Header field, before rolling.
    uint32_t version;
    /// Bits of `version` that may be rolled; 0 when none may.
    uint32_t version_mask;
    /// Header field.
    Sv2U256 prev_hash;
    /// Header field.
    Sv2U256 merkle_root;
    /// First ntime to use, unix seconds.
    uint32_t min_ntime;
    /// Header field, compact target of a block.
    uint32_t nbits;
    /// Hashes at or below it are shares.
    Sv2U256 target;
    /// Hashes at or below it are blocks, and to be submitted whatever `target` says.
    Sv2U256 block_target;
    /// The rolled extranonce; empty on a standard channel.
    Sv2B032 extranonce;
} Sv2WorkFields;

/// A block header, serialised.
typedef struct {
    /// As it is hashed.
    uint8_t bytes[80];
} Sv2Header;
#endif

/// A message before it is decoded, with what its header says.
typedef struct {
    /// The extension that defines the message; 0 for the core protocol.
    uint16_t extension_type;
    /// Number of the message within its extension.
    uint8_t message_type;
    /// 1 when the message is for a channel, whose id is then its first field; else 0.
    uint8_t channel_msg;
    /// The encoded message.
    Sv2Bytes payload;
} Sv2Frame;

#if defined(SV2_FULL)
/// A key: the x coordinate of a public one or a secret one, big-endian. Wipe secret ones yourself.
typedef struct {
    /// Most significant byte first.
    uint8_t bytes[32];
} Sv2Key;

/// A server's address from its URL.
typedef struct {
    /// Host name, IPv4 address, or IPv6 address without brackets; ends with a zero.
    char host[256];
    /// Port, never 0.
    uint16_t port;
    /// 1 when the URL names the authority's key, else 0.
    uint8_t has_authority;
    /// The authority's public key; zero when there is none.
    Sv2Key authority;
} Sv2Url;

/// A server's certificate in its wire form.
typedef struct {
    /// Version, validity, signature.
    uint8_t bytes[74];
} Sv2Certificate;

/// Random bytes for one call: from a cryptographic generator, never used twice. See `sv2_randomness`.
typedef struct {
    /// All of them random.
    uint8_t bytes[96];
} Sv2Randomness;

/// Act 1 of the handshake: what the client sends first.
typedef struct {
    /// As on the wire.
    uint8_t bytes[64];
} Sv2Act1;

/// Act 2 of the handshake: what the server answers.
typedef struct {
    /// As on the wire.
    uint8_t bytes[234];
} Sv2Act2;
#endif

/// A TLV field.
typedef struct {
    /// The extension that defines the field.
    uint16_t extension_type;
    /// Number of the field within its extension.
    uint8_t field_type;
    /// Content, up to 65,535 bytes.
    Sv2Bytes value;
} Sv2Tlv;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

#if defined(SV2_FULL)
/// Makes a channel from the server's answer: `OpenStandardMiningChannel.Success` or `OpenExtendedMiningChannel.Success`.
///
/// `SV2_ERROR_NOT_FOR_CHANNEL` for other messages. Free it with `sv2_channel_free`.
Sv2Status sv2_channel_new(const Sv2Message *success,
                          Sv2Channel **channel);

/// Frees a channel; nothing for NULL. Work that came from it stays usable.
void sv2_channel_free(Sv2Channel *channel);

/// Takes up a message of the server's: NewMiningJob, NewExtendedMiningJob, SetNewPrevHash, SetTarget, SetExtranoncePrefix
/// or SetGroupChannel.
///
/// `now` is in seconds, on any clock that does not run backwards. `SV2_ERROR_NOT_FOR_CHANNEL` for a message of another
/// kind, channel or group: a connection with several channels offers each message to each. `SV2_ERROR_PROTOCOL` when
/// the server broke the protocol; the channel is then as before.
Sv2Status sv2_channel_handle(Sv2Channel *channel,
                             uint64_t now,
                             const Sv2Message *message,
                             Sv2Change *change);

/// The channel's id, which messages to the server carry.
Sv2Status sv2_channel_id(const Sv2Channel *channel, uint32_t *channel_id);

/// Makes work from the current job. `SV2_END` when there is no job yet, or no extranonce left for it.
///
/// On an extended channel each call takes the next extranonce, so that no two works overlap: give each thread or chip its
/// own, and take a new one when all nonces, versions and ntimes are through. On a standard channel all works of a job are
/// the same. Free it with `sv2_work_free`.
Sv2Status sv2_channel_work(Sv2Channel *channel,
                           Sv2Work **work);

/// Writes 1 to `*current` when shares for the work still count, as far as is known, else 0.
Sv2Status sv2_channel_is_current(const Sv2Channel *channel, const Sv2Work *work, uint8_t *current);

/// Makes the message for a share: `SubmitSharesStandard` or `SubmitSharesExtended`, to be passed to `sv2_encoder_add`.
///
/// Counts the sequence number up, from 0. The share itself is not checked.
Sv2Status sv2_channel_submit(Sv2Channel *channel,
                             const Sv2Work *work,
                             uint32_t version,
                             uint32_t ntime,
                             uint32_t nonce,
                             Sv2Message *message);

/// Frees a work; nothing for NULL.
void sv2_work_free(Sv2Work *work);

/// The fields of a work, to put into a chip's registers.
Sv2Status sv2_work_fields(const Sv2Work *work, Sv2WorkFields *fields);

/// The latest ntime that may be submitted at `now`, in seconds on the clock of `sv2_channel_handle` (sv2-spec §5.3.11).
Sv2Status sv2_work_max_ntime(const Sv2Work *work,
                             uint64_t now,
                             uint32_t *ntime);

/// Builds the block header with these rolled fields.
Sv2Status sv2_work_header(const Sv2Work *work, uint32_t version, uint32_t ntime, uint32_t nonce, Sv2Header *header);

/// The hash of the block header with these rolled fields.
Sv2Status sv2_work_hash(const Sv2Work *work, uint32_t version, uint32_t ntime, uint32_t nonce, Sv2U256 *hash);

/// Writes 1 to `*met` when the hash is at or below the target, else 0.
Sv2Status sv2_target_is_met(const Sv2U256 *target, const Sv2U256 *hash, uint8_t *met);

/// Expands a compact target. `SV2_ERROR_LENGTH` for one that no block can have.
Sv2Status sv2_target_from_nbits(uint32_t nbits, Sv2U256 *target);
#endif

/// A decoder for a plain connection. Free it with `sv2_decoder_free`.
Sv2Decoder *sv2_decoder_new(void);

/// Frees a decoder and with it all its frames; nothing for NULL.
void sv2_decoder_free(Sv2Decoder *decoder);

/// Refuses payloads over so many bytes from the next header on. At first the limit is the protocol's, 2^24 - 1.
Sv2Status sv2_decoder_set_max_payload(Sv2Decoder *decoder, uint32_t bytes);

/// Where to put received bytes: `*len` bytes at `*data`, never none. Fill some of them, for example with one `read`, then
/// call `sv2_decoder_advance`.
///
/// Ends the life of frames that came from this decoder. The place is valid until the next call with the decoder.
Sv2Status sv2_decoder_writable(Sv2Decoder *decoder,
                               uint8_t **data,
                               size_t *len);

/// The first `count` bytes of `sv2_decoder_writable` have been filled.
///
/// `SV2_ERROR_LENGTH` when it offered fewer, or when frames were taken since.
Sv2Status sv2_decoder_advance(Sv2Decoder *decoder, size_t count);

/// The next frame, or `SV2_MISSING_BYTES`: then read more. Any other status is final, drop the connection.
///
/// `frame->payload` points into the decoder and is valid until `sv2_decoder_writable` or `sv2_decoder_free`.
Sv2Status sv2_decoder_next_frame(Sv2Decoder *decoder, Sv2Frame *frame);

/// How many bytes are missing before anything more can be said; 0 when a frame is there.
Sv2Status sv2_decoder_missing_bytes(Sv2Decoder *decoder, size_t *count);

/// Decodes a frame's message. `SV2_ERROR_UNKNOWN_MESSAGE` when there is none of its type: sv2-spec §3.4.1 says to ignore
/// such of extensions that were not negotiated.
///
/// Pointers in `*message` go into the frame's payload and are valid as long as that. To decode a payload that came in
/// another way, fill an `Sv2Frame` yourself.
Sv2Status sv2_message_decode(const Sv2Frame *frame,
                             Sv2Message *message);

/// Writes what is wrong with a frame's message to `text`, with a terminating zero, and its length without that to `*len`.
///
/// For logs, after `sv2_message_decode` failed: it names the message and the offset. An empty text means that nothing is
/// wrong. `SV2_ERROR_BUFFER_TOO_SMALL` when `capacity` is not above the length; 256 is always enough.
Sv2Status sv2_message_explain(const Sv2Frame *frame,
                              char *text,
                              size_t capacity,
                              size_t *len);

/// Name of a message as in the specification, for logs. A string that lives for ever, also for unknown kinds.
const char *sv2_message_name(uint32_t kind);

/// Writes a message's payload to `out` and its length to `*len`, without a frame header. Mostly `sv2_encoder_add` is
/// what you want.
///
/// `SV2_ERROR_BUFFER_TOO_SMALL` when `capacity` is too small; `*len` is the length that is needed then too.
Sv2Status sv2_message_encode(const Sv2Message *message, uint8_t *out, size_t capacity, size_t *len);

/// An encoder for a plain connection. Free it with `sv2_encoder_free`.
Sv2Encoder *sv2_encoder_new(void);

/// Frees an encoder and what it has not sent; nothing for NULL.
void sv2_encoder_free(Sv2Encoder *encoder);

/// Puts a message into a frame, behind those that wait already. Copies all it needs; on an error nothing changes.
Sv2Status sv2_encoder_add(Sv2Encoder *encoder, const Sv2Message *message);

/// Puts a payload that is encoded already into a frame, behind those that wait. For relays and for own extensions.
Sv2Status sv2_encoder_add_frame(Sv2Encoder *encoder, const Sv2Frame *frame);

/// The bytes to send now, in `*pending`; none when all is sent. Valid until the next call with the encoder.
///
/// After sending some of them call `sv2_encoder_consume`. All of them must be sent, in this order.
Sv2Status sv2_encoder_pending(const Sv2Encoder *encoder, Sv2Bytes *pending);

/// The first `count` of the pending bytes have been sent. `SV2_ERROR_LENGTH` when there are fewer.
Sv2Status sv2_encoder_consume(Sv2Encoder *encoder, size_t count);

#if defined(SV2_FULL)
/// Reads a URL of the form `stratum2+tcp://host:port/key`, where the key may be missing.
///
/// `SV2_ERROR_KEY` when only the key is wrong: most often it was not copied whole.
Sv2Status sv2_url_parse(Sv2Bytes text, Sv2Url *url);

/// Reads an authority's public key from its text, as servers' operators publish it.
Sv2Status sv2_public_key_parse(Sv2Bytes text, Sv2Key *key);

/// Writes the text of an authority's public key, without a terminating zero, and its length to `*len`; 64 is enough.
Sv2Status sv2_public_key_text(const Sv2Key *key, char *text, size_t capacity, size_t *len);

/// The public key of an authority's secret key.
Sv2Status sv2_public_key_of(const Sv2Key *secret, Sv2Key *key);

/// Reads an authority's secret key from the text that configuration files have.
Sv2Status sv2_secret_key_parse(Sv2Bytes text, Sv2Key *key);

/// Checks a certificate for a server's static key: its version, its validity at `now` (unix seconds), its signature.
///
/// The handshake does this by itself; this is for certificates that came in another way.
Sv2Status sv2_certificate_verify(const Sv2Certificate *certificate,
                                 const Sv2Key *server_key,
                                 const Sv2Key *authority,
                                 uint32_t now);

/// Fills `out` from the operating system's generator. On devices without one, fill it yourself.
Sv2Status sv2_randomness(Sv2Randomness *out);

/// Begins a handshake as the client: writes act 1 to send, and a handle that waits for act 2.
///
/// With `authority`, the server must show a certificate that this key signed. With NULL, anyone in between can pose as
/// the server. Free the handle with `sv2_initiator_free`.
Sv2Status sv2_initiator_new(const Sv2Key *authority,
                            const Sv2Randomness *randomness,
                            Sv2Act1 *act1,
                            Sv2Initiator **initiator);

/// Reads act 2, checks the server's certificate at `now` (unix seconds), and makes the connection's decoder and encoder.
///
/// The handle is used up, whatever the result; free it all the same. Free the decoder and the encoder when the
/// connection ends.
Sv2Status sv2_initiator_finish(Sv2Initiator *initiator,
                               const Sv2Act2 *act2,
                               uint32_t now,
                               Sv2Decoder **decoder,
                               Sv2Encoder **encoder);

/// Frees the handle; nothing for NULL.
void sv2_initiator_free(Sv2Initiator *initiator);

/// Makes a server's identity: a new static key, signed by the authority for `valid_from` to `not_valid_after` (unix
/// seconds, both included).
///
/// One serves all connections, from any number of threads. Begin the validity a little in the past, for clients whose
/// clocks run late. Free it with `sv2_identity_free`.
Sv2Status sv2_identity_new(const Sv2Key *authority_secret,
                           uint32_t valid_from,
                           uint32_t not_valid_after,
                           const Sv2Randomness *randomness,
                           Sv2Identity **identity);

/// Frees the identity; nothing for NULL. Connections that began with it go on.
void sv2_identity_free(Sv2Identity *identity);

/// The server's side of a handshake: reads act 1, writes act 2 to send, and makes the connection's decoder and encoder.
///
/// Any 64 bytes are a valid act 1: a peer that speaks another protocol shows only in its next message.
Sv2Status sv2_responder_step(const Sv2Identity *identity,
                             const Sv2Act1 *act1,
                             const Sv2Randomness *randomness,
                             Sv2Act2 *act2,
                             Sv2Decoder **decoder,
                             Sv2Encoder **encoder);
#endif

/// What a status means, in English. A string that lives for ever, also for numbers that are no status.
const char *sv2_error_string(int status);

/// Takes the first field off `rest`, which begins as a message's `tlv_fields`. `SV2_END` when there is none.
///
/// Reads the headers big-endian, as the specification's example has them. `out->value` points into the payload.
Sv2Status sv2_tlv_next(Sv2Bytes *rest, Sv2Tlv *out);

/// Appends a field to the `*len` bytes that are in `buffer` already, and adds its length to `*len`.
///
/// Fields go in ascending order of their extension. `SV2_ERROR_BUFFER_TOO_SMALL` when `capacity` is too small; a field
/// takes 5 bytes and its content.
Sv2Status sv2_tlv_append(uint8_t *buffer,
                         size_t capacity,
                         size_t *len,
                         const Sv2Tlv *field);

#if defined(SV2_FULL)
/// Finds the worker's name of extension 0x0002 in the `tlv_fields` of a `SubmitSharesExtended`. Full library only.
///
/// `SV2_END` when there is none, `SV2_ERROR_MALFORMED` for a malformed field, a name over 32 bytes, or two names. Takes
/// the reference implementation's byte order too. `*out` points into the payload.
Sv2Status sv2_tlv_user_identity(Sv2Bytes fields,
                                Sv2Bytes *out);
#endif

/// `text` without its terminating zero; no bytes for NULL. Valid as long as `text`.
Sv2Bytes sv2_text(const char *text);

/// Takes the first element off a list of U16, such as extension numbers: `rest` then begins behind it.
///
/// `SV2_END` when `rest` is empty. Work on a copy of the list to keep the message as it is.
Sv2Status sv2_seq_next_u16(Sv2Seq *rest, uint16_t *out);

/// As `sv2_seq_next_u16`, for a list of U32, such as channel ids.
Sv2Status sv2_seq_next_u32(Sv2Seq *rest, uint32_t *out);

/// As `sv2_seq_next_u16`, for a list of U256, such as a merkle path.
Sv2Status sv2_seq_next_u256(Sv2Seq *rest, Sv2U256 *out);

/// As `sv2_seq_next_u16`, for a list of B0_16M, such as transactions. `out` points into the list.
Sv2Status sv2_seq_next_bytes(Sv2Seq *rest, Sv2Bytes *out);

/// Adds an element to a list of U16 that is built in `storage`, which has room for `capacity` bytes.
///
/// Begin with a list that is all zero. Pass the same storage each time and keep it until the message is encoded.
/// Fails with `SV2_ERROR_BUFFER_TOO_SMALL` when it is full; an element takes 2 bytes.
Sv2Status sv2_seq_add_u16(Sv2Seq *seq, uint8_t *storage, size_t capacity, uint16_t element);

/// As `sv2_seq_add_u16`, for a list of U32; an element takes 4 bytes.
Sv2Status sv2_seq_add_u32(Sv2Seq *seq, uint8_t *storage, size_t capacity, uint32_t element);

/// As `sv2_seq_add_u16`, for a list of U256; an element takes 32 bytes.
Sv2Status sv2_seq_add_u256(Sv2Seq *seq, uint8_t *storage, size_t capacity, const Sv2U256 *element);

/// As `sv2_seq_add_u16`, for a list of B0_16M; an element takes 3 bytes and its content, which must not be in `storage`.
Sv2Status sv2_seq_add_bytes(Sv2Seq *seq,
                            uint8_t *storage,
                            size_t capacity,
                            Sv2Bytes element);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SV2_H */
