//! Strings for `error_code` and `reason_code` fields (sv2-spec §3.5).
//!
//! The specification leaves the list open: a receiver logs an unknown code and goes by the
//! protocol's state. These are the codes in use in the field; they are printable ASCII and at most
//! 255 bytes long.

/// `SetupConnection.Error` (sv2-spec §3.6.3).
pub mod setup_connection {
    /// The client needs features the server lacks; the message's `flags` name them.
    pub const UNSUPPORTED_FEATURE_FLAGS: &str = "unsupported-feature-flags";
    /// The server does not speak the requested protocol on this port.
    pub const UNSUPPORTED_PROTOCOL: &str = "unsupported-protocol";
    /// `min_version..=max_version` holds no version the server speaks.
    pub const PROTOCOL_VERSION_MISMATCH: &str = "protocol-version-mismatch";
    /// A full-template job declarator server needs `DECLARE_TX_DATA`.
    pub const MISSING_DECLARE_TX_DATA_FLAG: &str = "missing-declare-tx-data-flag";
    /// The server takes no more connections now.
    pub const SERVER_BUSY: &str = "server-busy";
}

/// `OpenMiningChannel.Error` (sv2-spec §5.3.6).
pub mod open_mining_channel {
    /// `user_identity` is not known to the server.
    pub const UNKNOWN_USER: &str = "unknown-user";
    /// `user_identity` has a form the server cannot use.
    pub const INVALID_USER_IDENTITY: &str = "invalid-user-identity";
    /// The server cannot work with so hard a `max_target`.
    pub const MAX_TARGET_OUT_OF_RANGE: &str = "max-target-out-of-range";
    /// `nominal_hash_rate` is negative, infinite or not a number.
    pub const INVALID_NOMINAL_HASHRATE: &str = "invalid-nominal-hashrate";
    /// `min_extranonce_size` is more than the server grants.
    pub const MIN_EXTRANONCE_SIZE_TOO_LARGE: &str = "min-extranonce-size-too-large";
    /// `min_extranonce_size` is a size the server does not serve.
    pub const UNSUPPORTED_MIN_EXTRANONCE_SIZE: &str = "unsupported-min-extranonce-size";
    /// Standard channels do not go with `REQUIRES_WORK_SELECTION`.
    pub const STANDARD_CHANNELS_NOT_SUPPORTED_FOR_CUSTOM_WORK: &str = "standard-channels-not-supported-for-custom-work";
    /// Extended channels do not go with `REQUIRES_STANDARD_JOBS`.
    pub const EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS: &str =
        "extended-channels-not-supported-for-standard-jobs";
    /// The connection or the server has no channel left to give.
    pub const CHANNEL_CAPACITY_EXHAUSTED: &str = "channel-capacity-exhausted";
}

/// `UpdateChannel.Error` (sv2-spec §5.3.8).
pub mod update_channel {
    /// The connection has no such channel.
    pub const INVALID_CHANNEL_ID: &str = "invalid-channel-id";
    /// The server cannot work with so hard a `maximum_target`.
    pub const MAX_TARGET_OUT_OF_RANGE: &str = "max-target-out-of-range";
    /// `nominal_hash_rate` is negative, infinite or not a number.
    pub const INVALID_NOMINAL_HASHRATE: &str = "invalid-nominal-hashrate";
}

/// `SubmitShares.Error` (sv2-spec §5.3.14).
pub mod submit_shares {
    /// The connection has no such channel.
    pub const INVALID_CHANNEL_ID: &str = "invalid-channel-id";
    /// The channel has, or kept, no such job.
    pub const INVALID_JOB_ID: &str = "invalid-job-id";
    /// The job belongs to a previous block.
    pub const STALE_SHARE: &str = "stale-share";
    /// The hash is above the job's target.
    pub const DIFFICULTY_TOO_LOW: &str = "difficulty-too-low";
    /// The same share came before.
    pub const DUPLICATE_SHARE: &str = "duplicate-share";
    /// The share cannot be valid, for a reason no other code names.
    pub const INVALID_SHARE: &str = "invalid-share";
    /// `extranonce` is not as long as the channel's `extranonce_size`.
    pub const BAD_EXTRANONCE_SIZE: &str = "bad-extranonce-size";
    /// `ntime` is outside the window the job allows.
    pub const NTIME_OUT_OF_RANGE: &str = "ntime-out-of-range";
    /// `version` differs although the job forbids rolling it.
    pub const VERSION_ROLLING_NOT_ALLOWED: &str = "version-rolling-not-allowed";
    /// `version` differs in a bit that is never rolled.
    pub const INVALID_NON_ROLLABLE_VERSION_BIT: &str = "invalid-non-rollable-version-bit";
    /// The channel sends shares faster than the server takes them.
    pub const TOO_MANY_SHARES: &str = "too-many-shares";
}

/// `SetCustomMiningJob.Error` (sv2-spec §5.3.20).
pub mod set_custom_mining_job {
    /// The server takes no custom jobs.
    pub const JD_NOT_SUPPORTED: &str = "jd-not-supported";
    /// The connection has no such extended channel.
    pub const INVALID_CHANNEL_ID: &str = "invalid-channel-id";
    /// The token is unknown, expired or bound to something else.
    pub const INVALID_MINING_JOB_TOKEN: &str = "invalid-mining-job-token";
    /// The job behind the token is still being checked.
    pub const JOB_NOT_YET_VALIDATED: &str = "job-not-yet-validated";
    /// `prev_hash` is not the server's tip.
    pub const STALE_CHAIN_TIP: &str = "stale-chain-tip";
    /// `min_ntime` is out of range.
    pub const INVALID_MIN_NTIME: &str = "invalid-min-ntime";
    /// `nbits` is not what the chain demands.
    pub const INVALID_NBITS: &str = "invalid-nbits";
    /// `version` is not acceptable.
    pub const INVALID_VERSION: &str = "invalid-version";
    /// The coinbase as a whole is not acceptable.
    pub const INVALID_COINBASE_TX: &str = "invalid-coinbase-tx";
    /// `coinbase_tx_version` is not acceptable.
    pub const INVALID_COINBASE_TX_VERSION: &str = "invalid-coinbase-tx-version";
    /// `coinbase_prefix` is not acceptable.
    pub const INVALID_COINBASE_PREFIX: &str = "invalid-coinbase-prefix";
    /// `coinbase_tx_input_nSequence` is not acceptable.
    pub const INVALID_COINBASE_TX_INPUT_N_SEQUENCE: &str = "invalid-coinbase-tx-input-n-sequence";
    /// `coinbase_tx_outputs` is malformed or does not pay the pool.
    pub const INVALID_COINBASE_TX_OUTPUTS: &str = "invalid-coinbase-tx-outputs";
    /// `coinbase_tx_locktime` is not acceptable.
    pub const INVALID_COINBASE_TX_LOCKTIME: &str = "invalid-coinbase-tx-locktime";
    /// `merkle_path` is not acceptable.
    pub const INVALID_MERKLE_PATH: &str = "invalid-merkle-path";
}

/// `DeclareMiningJob.Error` (sv2-spec §6.4.6).
pub mod declare_mining_job {
    /// The token is unknown, expired or used for another job.
    pub const INVALID_MINING_JOB_TOKEN: &str = "invalid-mining-job-token";
    /// The declared job is not valid; `error_details` may say more.
    pub const INVALID_JOB: &str = "invalid-job";
    /// The job builds on a block that is not the server's tip.
    pub const STALE_CHAIN_TIP: &str = "stale-chain-tip";
    /// The coinbase does not pay the pool's payout output.
    pub const INVALID_COINBASE_TX: &str = "invalid-coinbase-tx";
    /// Transactions the server asked for did not come.
    pub const MISSING_TRANSACTIONS: &str = "missing-transactions";
}

/// `RequestTransactionData.Error` (sv2-spec §7.6).
pub mod request_transaction_data {
    /// The server never sent such a template, or dropped it.
    pub const TEMPLATE_ID_NOT_FOUND: &str = "template-id-not-found";
    /// The template builds on a block that is no longer the tip.
    pub const STALE_TEMPLATE_ID: &str = "stale-template-id";
}

/// `reason_code` of `CloseChannel` (sv2-spec §5.3.9).
pub mod close_channel {
    /// The side that closes ends its operation.
    pub const SHUTDOWN: &str = "shutdown";
    /// A downstream connection that owned the channel is gone.
    pub const DOWNSTREAM_CLOSED: &str = "downstream-closed";
    /// Too many invalid shares came on the channel.
    pub const TOO_MANY_INVALID_SHARES: &str = "too-many-invalid-shares";
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{borrow::ToOwned, collections::BTreeSet, vec::Vec};

    /// sv2-spec §3.5: "error codes MUST NOT include control characters" and "SHOULD use printable ASCII"; their meaning is documented.
    #[test]
    fn codes_are_printable_and_documented() {
        let lines: Vec<&str> =
            include_str!("error_code.rs").lines().take_while(|line| *line != "#[cfg(test)]").collect();
        let mut codes = BTreeSet::new();
        for at in (0..lines.len()).filter(|at| lines[*at].contains("pub const ")) {
            let definition = lines[at..at + 2].concat();
            let code = definition.split('"').nth(1).unwrap();
            assert!(
                !code.is_empty() && code.len() <= 255 && code.bytes().all(|byte| byte.is_ascii_graphic()),
                "{code}"
            );
            assert!(lines[at - 1].trim_start().starts_with("/// "), "{code} has no meaning");
            codes.insert(code.to_owned());
        }
        assert!(codes.contains("stale-share") && codes.len() > 30, "{codes:?}");
    }
}
