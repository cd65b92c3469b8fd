//! From the terms of a template source to messages of the Template Distribution Protocol.

use binary_sv2::{B0_16M, B0_64K, B0_255, Encodable, Error, Seq0_64K, Seq0_255, U256};
use bitcoin::hashes::Hash;
use const_sv2::limits::{COINBASE_PREFIX_MAX, MAX_PAYLOAD_LEN};
use template_distribution_sv2::{NewTemplate, RequestTransactionDataSuccess, SetNewPrevHash};
use template_source::{Template, TemplateId, Tip, Transactions};

/// Why a template has no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// The scriptSig prefix is too long.
    #[error("expected a coinbase prefix of at most {COINBASE_PREFIX_MAX} bytes, got {0}")]
    Prefix(usize),
    /// A field is longer than its type.
    #[error(transparent)]
    Field(#[from] Error),
}

/// `NewTemplate` (sv2-spec §7.2).
pub(crate) fn new_template(template: &Template) -> Result<NewTemplate<'_>, Unsendable> {
    let coinbase = &template.coinbase;
    if coinbase.script_sig_prefix.len() > COINBASE_PREFIX_MAX {
        return Err(Unsendable::Prefix(coinbase.script_sig_prefix.len()));
    }
    Ok(NewTemplate {
        template_id: template.id.0,
        future_template: template.future,
        version: template.version,
        coinbase_tx_version: coinbase.version,
        coinbase_prefix: B0_255::try_from(coinbase.script_sig_prefix.as_slice())?,
        coinbase_tx_input_sequence: coinbase.sequence,
        coinbase_tx_value_remaining: coinbase.value_remaining,
        coinbase_tx_outputs_count: coinbase.outputs_count,
        coinbase_tx_outputs: B0_64K::try_from(coinbase.outputs.as_slice())?,
        coinbase_tx_locktime: coinbase.lock_time,
        merkle_path: Seq0_255::try_from_iter(template.merkle_path.iter().copied().map(U256::from_le_bytes))?,
    })
}

/// `SetNewPrevHash` (sv2-spec §7.3).
pub(crate) fn set_new_prev_hash(tip: &Tip) -> SetNewPrevHash {
    SetNewPrevHash {
        template_id: tip.template_id.0,
        prev_hash: U256::from_le_bytes(tip.prev_hash.to_byte_array()),
        header_timestamp: tip.header_timestamp,
        n_bits: tip.nbits,
        target: U256::from_le_bytes(tip.target),
    }
}

/// `RequestTransactionData.Success` (sv2-spec §7.5); nothing when it does not fit a frame.
pub(crate) fn transaction_data(
    id: TemplateId,
    transactions: &Transactions,
) -> Option<RequestTransactionDataSuccess<'static>> {
    // Measured first, so that nothing large is built in vain.
    let length: usize = transactions.iter().map(|transaction| 3 + transaction.len()).sum();
    if length > MAX_PAYLOAD_LEN {
        return None;
    }
    let list = transactions.iter().map(|transaction| B0_16M::from_truncated(transaction));
    let message = RequestTransactionDataSuccess {
        template_id: id.0,
        excess_data: B0_64K::EMPTY,
        transaction_list: Seq0_64K::try_from_iter(list).ok()?,
    };
    (message.encoded_len() <= MAX_PAYLOAD_LEN).then_some(message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn transactions_fill_a_frame_and_no_more() {
        let id = TemplateId(7);
        let most = MAX_PAYLOAD_LEN - (8 + 2 + 2 + 3);
        let message = transaction_data(id, &Arc::new(vec![vec![0; most]])).unwrap();
        assert_eq!(message.encoded_len(), MAX_PAYLOAD_LEN);
        assert_eq!(transaction_data(id, &Arc::new(vec![vec![0; most + 1]])), None);
        assert_eq!(transaction_data(id, &Arc::new(vec![vec![]; 65_536])), None, "one more than SEQ0_64K holds");
    }
}
