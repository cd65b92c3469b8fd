//! Laws of every message, and the vectors of another implementation.

#[path = "../../test-support/properties.rs"]
mod properties;

use proptest::collection::vec;
use proptest::prelude::*;
use template_distribution_sv2::*;

properties::check_protocol! {
    TemplateDistribution from const_sv2::message_type::template_distribution::ALL {
        coinbase_output_constraints: CoinbaseOutputConstraints {
            coinbase_output_max_additional_size, coinbase_output_max_additional_sigops
        }
        new_template: NewTemplate {
            template_id, future_template, version, coinbase_tx_version, coinbase_prefix,
            coinbase_tx_input_sequence, coinbase_tx_value_remaining, coinbase_tx_outputs_count,
            coinbase_tx_outputs, coinbase_tx_locktime, merkle_path
        }
        set_new_prev_hash: SetNewPrevHash { template_id, prev_hash, header_timestamp, n_bits, target }
        request_transaction_data: RequestTransactionData { template_id }
        request_transaction_data_success: RequestTransactionDataSuccess { template_id, excess_data, transaction_list }
        request_transaction_data_error: RequestTransactionDataError { template_id, error_code }
        submit_solution: SubmitSolution { template_id, version, header_timestamp, header_nonce, coinbase_tx }
    }
}
