//! Answers to `getblocktemplate` for tests.

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Witness, absolute::LockTime, consensus::encode,
    hashes::Hash, transaction::Version,
};
use serde_json::{Value, json};

use crate::consensus::{COMMITMENT_PREFIX, commitment_of_wtxids};

/// The `number`th transaction, with a witness and a fee of 1,000 satoshis; `depends` as in BIP 22.
pub(crate) fn transaction(number: u32, depends: &[usize]) -> Value {
    let input = TxIn {
        previous_output: OutPoint { txid: bitcoin::Txid::from_byte_array([9; 32]), vout: number },
        witness: Witness::from_slice(&[[7]]),
        ..TxIn::default()
    };
    let output = TxOut { value: Amount::from_sat(1), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) };
    let transaction =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] };
    json!({
        "data": encode::serialize_hex(&transaction),
        "txid": transaction.compute_txid().to_string(),
        "hash": transaction.compute_wtxid().to_string(),
        "depends": depends,
        "fee": 1_000,
        "sigops": 4,
        "weight": transaction.weight().to_wu(),
    })
}

/// A template of height 101 with these transactions.
pub(crate) fn answer_with(transactions: Vec<Value>) -> Value {
    let fees: u64 = transactions.iter().filter_map(|one| one["fee"].as_u64()).sum();
    let wtxids = transactions.iter().map(|one| {
        let wtxid: bitcoin::Wtxid = one["hash"].as_str().expect("text").parse().expect("a hash");
        wtxid.to_byte_array()
    });
    let commitment = [COMMITMENT_PREFIX.as_slice(), &commitment_of_wtxids(wtxids, &[0; 32])].concat();
    json!({
        "capabilities": ["proposal"],
        "version": 0x2000_0000,
        "rules": ["csv", "!segwit", "taproot"],
        "vbavailable": {},
        "vbrequired": 0,
        "previousblockhash": "0f".repeat(32),
        "transactions": transactions,
        "coinbaseaux": {},
        "coinbasevalue": 5_000_000_000_u64 + fees,
        "longpollid": format!("{}7", "0f".repeat(32)),
        "target": format!("7fffff{}", "00".repeat(29)),
        "mintime": 1_700_000_000,
        "mutable": ["time", "transactions", "prevblock"],
        "noncerange": "00000000ffffffff",
        "sigoplimit": 80_000,
        "sizelimit": 4_000_000,
        "weightlimit": 4_000_000,
        "curtime": 1_800_000_000,
        "bits": "207fffff",
        "height": 101,
        "default_witness_commitment": hex(&commitment),
    })
}

/// A template with so many transactions, each different.
pub(crate) fn answer(transactions: usize) -> Value {
    answer_with((0..transactions).map(|number| transaction(u32::try_from(number).expect("few"), &[])).collect())
}

fn hex(bytes: &[u8]) -> String {
    bitcoin::hex::DisplayHex::to_lower_hex_string(bytes)
}
