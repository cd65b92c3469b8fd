//! Laws of every message, and the vectors of another implementation.

#[path = "../../test-support/properties.rs"]
mod properties;

use mining_sv2::*;
use proptest::collection::vec;
use proptest::prelude::*;

properties::check_protocol! {
    Mining from const_sv2::message_type::mining::ALL {
        open_standard_mining_channel: OpenStandardMiningChannel {
            request_id, user_identity, nominal_hash_rate, max_target
        }
        open_standard_mining_channel_success: OpenStandardMiningChannelSuccess {
            request_id, channel_id, target, extranonce_prefix, group_channel_id
        }
        open_mining_channel_error: OpenMiningChannelError { request_id, error_code }
        open_extended_mining_channel: OpenExtendedMiningChannel {
            request_id, user_identity, nominal_hash_rate, max_target, min_extranonce_size
        }
        open_extended_mining_channel_success: OpenExtendedMiningChannelSuccess {
            request_id, channel_id, target, extranonce_size, extranonce_prefix, group_channel_id
        }
        new_mining_job: NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root }
        update_channel: UpdateChannel { channel_id, nominal_hash_rate, maximum_target }
        update_channel_error: UpdateChannelError { channel_id, error_code }
        close_channel: CloseChannel { channel_id, reason_code }
        set_extranonce_prefix: SetExtranoncePrefix { channel_id, extranonce_prefix }
        submit_shares_standard: SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }
        submit_shares_extended: SubmitSharesExtended {
            channel_id, sequence_number, job_id, nonce, ntime, version, extranonce
        }
        submit_shares_success: SubmitSharesSuccess {
            channel_id, last_sequence_number, new_submits_accepted_count, new_shares_sum
        }
        submit_shares_error: SubmitSharesError { channel_id, sequence_number, error_code }
        new_extended_mining_job: NewExtendedMiningJob {
            channel_id, job_id, min_ntime, version, version_rolling_allowed, merkle_path, coinbase_tx_prefix,
            coinbase_tx_suffix
        }
        set_new_prev_hash: SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime, nbits }
        set_target: SetTarget { channel_id, maximum_target }
        set_custom_mining_job: SetCustomMiningJob {
            channel_id, request_id, mining_job_token, version, prev_hash, min_ntime, nbits, coinbase_tx_version,
            coinbase_prefix, coinbase_tx_input_n_sequence, coinbase_tx_outputs, coinbase_tx_locktime, merkle_path
        }
        set_custom_mining_job_success: SetCustomMiningJobSuccess { channel_id, request_id, job_id }
        set_custom_mining_job_error: SetCustomMiningJobError { channel_id, request_id, error_code }
        set_group_channel: SetGroupChannel { group_channel_id, channel_ids }
    }
}
