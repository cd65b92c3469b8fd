//! A node's answer to `getblocktemplate`: what is taken keeps its promises, and always leaves room for the coinbase.
//!
//! Input: two bytes of constraints, then JSON.
#![no_main]

use bitcoin::{Transaction, consensus::encode};
use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use template_source::{
    Constraints,
    bitcoin_rpc::{BlockTemplate, Known, MAX_LONG_POLL_ID, MAX_TRANSACTIONS, select},
};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let constraints = Constraints {
        max_additional_size: u32::from(input.byte()) << (input.byte() % 24),
        max_additional_sigops: u16::from(input.byte()),
    };
    let template = match BlockTemplate::from_json(input.0, &Known::new()) {
        Ok(template) => template,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(template.height > 0 && template.fees <= template.value && template.value <= 2_100_000_000_000_000);
    assert!(template.transactions.len() <= MAX_TRANSACTIONS && template.long_poll_id.len() <= MAX_LONG_POLL_ID);
    assert_eq!(template.transactions.iter().map(|one| one.fee).sum::<u64>(), template.fees);
    for (index, one) in template.transactions.iter().enumerate() {
        let transaction: Transaction = encode::deserialize(&one.data).expect("a transaction");
        assert_eq!(transaction.weight().to_wu(), one.weight);
        assert!(one.depends.iter().all(|parent| *parent < index));
    }
    // Read anew with what is known, it is the same.
    let again = BlockTemplate::from_json(input.0, &template.known()).expect("the same");
    assert_eq!(again.transactions, template.transactions);
    if let Ok(kept) = select(&template, constraints) {
        let weight: u64 = kept.iter().map(|index| template.transactions[*index].weight).sum();
        assert!(weight + constraints.reserved_weight() <= template.weight_limit);
        for index in &kept {
            assert!(template.transactions[*index].depends.iter().all(|parent| kept.contains(parent)));
        }
    }
});
