//! Laws of every message, and the vectors of another implementation.

#[path = "../../test-support/properties.rs"]
mod properties;

use job_declaration_sv2::*;
use proptest::collection::vec;
use proptest::prelude::*;

properties::check_protocol! {
    JobDeclaration from const_sv2::message_type::job_declaration::ALL {
        allocate_mining_job_token: AllocateMiningJobToken { user_identifier, request_id }
        allocate_mining_job_token_success: AllocateMiningJobTokenSuccess {
            request_id, mining_job_token, coinbase_tx_outputs
        }
        provide_missing_transactions: ProvideMissingTransactions { request_id, unknown_tx_position_list }
        provide_missing_transactions_success: ProvideMissingTransactionsSuccess { request_id, transaction_list }
        declare_mining_job: DeclareMiningJob {
            request_id, mining_job_token, version, coinbase_tx_prefix, coinbase_tx_suffix, wtxid_list, excess_data
        }
        declare_mining_job_success: DeclareMiningJobSuccess { request_id, new_mining_job_token }
        declare_mining_job_error: DeclareMiningJobError { request_id, error_code, error_details }
        push_solution: PushSolution { extranonce, prev_hash, nonce, ntime, nbits, version }
    }
}
