//! Templates and miners for the tests. Everything is counted out, nothing is random.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{sync::Arc, time::Duration};

use bitcoin::{
    Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, Wtxid, absolute,
    consensus::serialize,
    hashes::{Hash, HashEngine, sha256d},
    script::Builder,
    transaction,
};
use roles_logic_sv2::{
    ChannelId, Header, JobId, Target, TemplateId, Tip,
    channel::server::{Channel, Open},
    extranonce::{Layout, Slot, Space},
    job::{Job, JobFactory, JobTemplate, Payout},
    share::Rules,
};

pub const VALUE: u64 = 312_500_000;
pub const REGTEST: u32 = 0x207f_ffff;
/// So hard that no hash of a test is a block.
pub const HARD: u32 = 0x1701_0000;
pub const MIN_NTIME: u32 = 1_700_000_000;

/// A transaction that spends something with a witness, different for each `index`.
pub fn transaction(index: u32) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array([7; 32]), vout: index },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[index.to_le_bytes()]),
        }],
        output: vec![TxOut { value: Amount::from_sat(1000 + u64::from(index)), script_pubkey: p2wpkh(9) }],
    }
}

pub fn p2wpkh(byte: u8) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([byte; 20]))
}

fn hash_pair(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(a);
    engine.input(b);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

/// Siblings on the way from leaf 0 up; `leaves` are those after it.
fn merkle_path(leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let mut level: Vec<Option<[u8; 32]>> = std::iter::once(None).chain(leaves.iter().copied().map(Some)).collect();
    let mut path = Vec::new();
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(level[level.len() - 1]);
        }
        path.extend(level[1]);
        level = level.chunks(2).map(|pair| Some(hash_pair(&pair[0]?, &pair[1]?))).collect();
    }
    path
}

fn witness_commitment(transactions: &[Transaction]) -> TxOut {
    let leaves: Vec<Wtxid> =
        std::iter::once(Wtxid::all_zeros()).chain(transactions.iter().map(|t| t.compute_wtxid())).collect();
    let root = bitcoin::merkle_tree::calculate_root(leaves.into_iter()).unwrap().to_byte_array();
    let commitment = hash_pair(&root, &[0; 32]);
    let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &commitment].concat();
    TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) }
}

pub fn template(height: u32, transactions: &[Transaction], segwit: bool) -> JobTemplate {
    let leaves: Vec<[u8; 32]> = transactions.iter().map(|t| t.compute_txid().to_byte_array()).collect();
    let outputs = if segwit { serialize(&witness_commitment(transactions)) } else { Vec::new() };
    JobTemplate {
        template_id: TemplateId(height.into()),
        future: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: Builder::new().push_int(height.into()).into_script().into_bytes(),
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: VALUE,
        coinbase_tx_outputs_count: segwit.into(),
        coinbase_tx_outputs: outputs,
        coinbase_tx_locktime: height - 1,
        merkle_path: merkle_path(&leaves),
    }
}

pub fn factory(tag: &[u8], size: usize) -> JobFactory {
    let payout = Payout::single(p2wpkh(1));
    let reserved = payout.constraints();
    JobFactory::new(payout, tag.to_vec(), size, reserved).unwrap()
}

pub fn job(id: u32, height: u32) -> Arc<Job> {
    Arc::new(factory(b"/test/", 20).build(JobId(id), &template(height, &[transaction(id)], true)).unwrap())
}

pub fn tip(byte: u8, nbits: u32, now: Duration) -> Arc<Tip> {
    Arc::new(Tip::new(BlockHash::from_byte_array([byte; 32]), MIN_NTIME, nbits, now).unwrap())
}

pub fn slot() -> Slot {
    Space::new(Layout::SV2_DEFAULT, 3, 5).unwrap().allocate().unwrap()
}

pub fn open(target: Target) -> Open {
    Open {
        channel_id: ChannelId(2),
        group_channel_id: ChannelId(1),
        slot: slot(),
        max_target: Target::MAX,
        target,
        rules: Rules::default(),
    }
}

pub fn standard(target: Target) -> Channel {
    Channel::standard(open(target))
}

pub fn extended(target: Target) -> Channel {
    Channel::extended(open(target), 8).unwrap()
}

/// The first nonce from `start` on whose hash is as wanted.
pub fn mine(header: impl Fn(u32) -> Header, start: u32, wanted: impl Fn(&BlockHash) -> bool) -> u32 {
    (start..start + 10_000_000).find(|&nonce| wanted(&header(nonce).hash())).expect("a nonce is found")
}
