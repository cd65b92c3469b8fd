//! Blocks that are good in unusual ways, and blocks with one fault each.

use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxMerkleNode, TxOut, Witness,
    absolute::LockTime,
    block::Version,
    hashes::Hash,
    opcodes::all::{OP_CHECKSIG, OP_RETURN},
    script::Builder,
    transaction,
};

use super::drafts::{Draft, MATURITY, World, op_true, spend};

/// Sigops that fill a block when they stand in its coinbase.
const FULL_OF_SIGOPS: usize = 20_000;
/// Serialised bytes that fill a block without witnesses.
const FULL_SIZE: usize = 1_000_000;

type Make = fn(&World<'_>) -> Block;

/// Name and maker of blocks that both take.
pub const NO_FAULTS: &[(&str, Make)] = &[
    ("coinbase takes less", |w| w.next().value(|value| value - Amount::ONE_SAT).finish()),
    ("coinbase takes nothing", |w| w.next().value(|_| Amount::ZERO).finish()),
    ("time just past the median", |w| w.next().edit(|b| b.header.time = w.median_time() + 1).finish()),
    ("time an hour ahead", |w| w.next().edit(|b| b.header.time = now() + 3600).finish()),
    ("version 4", |w| w.next().edit(|b| b.header.version = Version::from_consensus(4)).finish()),
    ("highest version", |w| w.next().edit(|b| b.header.version = Version::from_consensus(i32::MAX)).finish()),
    ("input script of 100 bytes", |w| script_sig_of(w, 100).finish()),
    ("input script of the height alone", |w| script_sig_of(w, height_script(w.height()).len()).finish()),
    ("no commitment and no witness", |w| w.empty().without_commitment().finish()),
    ("commitment without transactions", |w| w.empty().finish()),
    ("unusual reserved value", |w| {
        w.next().coinbase(|cb| cb.input[0].witness = Witness::from_slice(&[[7; 32]])).commit().finish()
    }),
    ("the last of two commitments counts", |w| two_commitments(w, true)),
    ("bytes after the commitment", |w| {
        let draft = w.next().coinbase(|cb| {
            let output = cb.output.last_mut().unwrap();
            output.script_pubkey = [output.script_pubkey.as_bytes(), &[1, 2]].concat().into();
        });
        draft.commit().finish()
    }),
    ("full of bytes", |w| padded(w, FULL_SIZE).finish()),
    ("full of sigops", |w| sigops(w.empty(), FULL_OF_SIGOPS).finish()),
    ("chain in one block", |w| {
        let parent = spend(&w.bare_coin());
        let child =
            Transaction { input: vec![input(OutPoint { txid: parent.compute_txid(), vout: 0 })], ..parent.clone() };
        w.empty().with(parent).with(child).finish()
    }),
    ("lock time of the height before", |w| w.empty().with(locked(w, w.height() - 1, Sequence::ZERO)).finish()),
    ("lock time before the median", |w| w.empty().with(locked(w, w.median_time() - 1, Sequence::ZERO)).finish()),
    ("lock time that is switched off", |w| w.empty().with(locked(w, u32::MAX, Sequence::MAX)).finish()),
    ("relative lock that has passed", |w| w.empty().with(relative(w, 0)).finish()),
    ("relative lock of an old version", |w| {
        let tx = relative(w, u16::MAX.into());
        w.empty().with(Transaction { version: transaction::Version::ONE, ..tx }).finish()
    }),
    ("odd transaction version", |w| {
        let tx = spend(&w.bare_coin());
        w.empty().with(Transaction { version: transaction::Version(-7), ..tx }).finish()
    }),
];

/// Name, reason and maker of blocks that both refuse.
pub const FAULTS: &[(&str, &str, Make)] = &[
    // Header.
    ("hash above the target", "high-hash", hash_above_target),
    ("target too easy", "high-hash", |w| bits(w, 0x2100_ffff)),
    ("target zero", "high-hash", |w| bits(w, 0)),
    ("target negative", "high-hash", |w| bits(w, 0x2080_0001)),
    ("target of mainnet", "high-hash", |w| bits(w, 0x1d00_ffff)),
    ("target a little harder", "bad-diffbits", |w| {
        w.next().edit(|b| b.header.bits = CompactTarget::from_consensus(0x207f_fffe)).finish()
    }),
    ("time at the median", "time-too-old", |w| w.next().edit(|b| b.header.time = w.median_time()).finish()),
    ("time zero", "time-too-old", |w| w.next().edit(|b| b.header.time = 0).finish()),
    ("time three hours ahead", "time-too-new", |w| w.next().edit(|b| b.header.time = now() + 3 * 3600).finish()),
    ("version 1", "bad-version(0x00000001)", |w| version(w, 1)),
    ("version 3", "bad-version(0x00000003)", |w| version(w, 3)),
    ("version negative", "bad-version(0xffffffff)", |w| version(w, -1)),
    ("unknown parent", "prev-blk-not-found", |w| {
        w.next().edit(|b| b.header.prev_blockhash = BlockHash::all_zeros()).finish()
    }),
    // The list of transactions.
    ("merkle root", "bad-txnmrklroot", |w| {
        w.next().edit(|b| b.header.merkle_root = TxMerkleNode::from_byte_array([7; 32])).mine()
    }),
    ("repeated tail with the same root", "bad-txns-duplicate", repeated_tail),
    ("no transactions", "bad-blk-length", |w| w.next().edit(|b| b.txdata.clear()).finish()),
    ("a byte too long", "bad-blk-length", |w| padded(w, FULL_SIZE + 1).finish()),
    ("twice too long", "bad-blk-length", |w| padded(w, 2 * FULL_SIZE).finish()),
    ("too heavy with witnesses", "bad-blk-weight", |w| {
        let mut tx = spend(&w.coin(p2wsh));
        tx.input[0].witness = Witness::from_slice(&vec![vec![0; FULL_SIZE]; 4]);
        w.empty().with(tx).finish()
    }),
    ("no coinbase", "bad-cb-missing", |w| w.next().edit(|b| drop(b.txdata.remove(0))).finish()),
    ("coinbase not first", "bad-cb-missing", |w| w.next().edit(|b| b.txdata.swap(0, 1)).finish()),
    ("two coinbases", "bad-cb-multiple", |w| {
        w.next().edit(|b| b.txdata.push(b.txdata[0].clone())).coinbase(|cb| cb.lock_time = LockTime::ZERO).finish()
    }),
    // The coinbase.
    ("value too high by one", "bad-cb-amount", |w| w.next().value(|value| value + Amount::ONE_SAT).finish()),
    ("value too high without fees", "bad-cb-amount", |w| {
        w.empty().value(|_| Amount::from_sat(50 * 100_000_000 + 1)).finish()
    }),
    ("height one too high", "bad-cb-height", |w| height(w, w.height() + 1)),
    ("height one too low", "bad-cb-height", |w| height(w, w.height() - 1)),
    ("height padded", "bad-cb-height", |w| {
        let padded = [3, w.height() as u8, (w.height() >> 8) as u8, 0];
        w.next().coinbase(|cb| cb.input[0].script_sig = padded.to_vec().into()).finish()
    }),
    ("input script of 101 bytes", "bad-cb-length", |w| script_sig_of(w, 101).finish()),
    ("input script of 1 byte", "bad-cb-length", |w| script_sig_of(w, 1).finish()),
    ("coinbase locked", "bad-txns-nonfinal", |w| {
        let lock_time = LockTime::from_consensus(w.height());
        w.next().coinbase(|cb| (cb.lock_time, cb.input[0].sequence) = (lock_time, Sequence::ZERO)).finish()
    }),
    // Witnesses.
    ("commitment", "bad-witness-merkle-match", |w| {
        let draft = w.next().coinbase(|cb| {
            let mut script = cb.output[1].script_pubkey.to_bytes();
            script[20] ^= 1;
            cb.output[1].script_pubkey = script.into();
        });
        draft.finish()
    }),
    ("commitment to other transactions", "bad-witness-merkle-match", |w| {
        w.next().edit(|b| drop(b.txdata.pop())).finish()
    }),
    ("first of two commitments", "bad-witness-merkle-match", |w| two_commitments(w, false)),
    ("reserved value too short", "bad-witness-nonce-size", |w| {
        w.next().coinbase(|cb| cb.input[0].witness = Witness::from_slice(&[[0; 31]])).finish()
    }),
    ("two reserved values", "bad-witness-nonce-size", |w| {
        w.next().coinbase(|cb| cb.input[0].witness = Witness::from_slice(&[[0; 32], [0; 32]])).finish()
    }),
    ("witness of the coinbase without commitment", "unexpected-witness", |w| {
        let draft = w.empty().without_commitment();
        draft.coinbase(|cb| cb.input[0].witness = Witness::from_slice(&[[0; 32]])).finish()
    }),
    ("witness without commitment", "unexpected-witness", |w| {
        let tx = spend(&w.coin(p2wsh));
        w.empty().without_commitment().with(tx).finish()
    }),
    // Sigops.
    ("a sigop too many", "bad-blk-sigops", |w| sigops(w.empty(), FULL_OF_SIGOPS + 1).finish()),
    ("a sigop too many, in a witness", "bad-blk-sigops", |w| sigops(signed(w), FULL_OF_SIGOPS).finish()),
    // Transactions by themselves.
    ("no outputs", "bad-txns-vout-empty", |w| with(w, |tx| tx.output.clear())),
    ("negative value", "bad-txns-vout-negative", |w| with(w, |tx| tx.output[0].value = Amount::from_sat(u64::MAX))),
    ("value of more than all money", "bad-txns-vout-toolarge", |w| {
        with(w, |tx| tx.output[0].value = Amount::MAX_MONEY + Amount::ONE_SAT)
    }),
    ("values of more than all money", "bad-txns-txouttotal-toolarge", |w| {
        with(w, |tx| {
            tx.output[0].value = Amount::MAX_MONEY;
            tx.output.push(tx.output[0].clone());
        })
    }),
    ("the same input twice", "bad-txns-inputs-duplicate", |w| with(w, |tx| tx.input.push(tx.input[0].clone()))),
    ("a null input among others", "bad-txns-prevout-null", |w| with(w, |tx| tx.input.push(input(OutPoint::null())))),
    // Inputs.
    ("missing input", "bad-txns-inputs-missingorspent", |w| with(w, |tx| tx.input[0].previous_output.vout = 1_000)),
    ("input spent long ago", "bad-txns-inputs-missingorspent", spent_before),
    ("input spent in the same block", "bad-txns-inputs-missingorspent", |w| {
        let tx = spend(&w.bare_coin());
        let again = Transaction { lock_time: LockTime::from_consensus(1), ..tx.clone() };
        w.empty().with(tx).with(again).finish()
    }),
    ("the same transaction twice", "bad-txns-inputs-missingorspent", |w| {
        let tx = spend(&w.bare_coin());
        w.empty().with(tx.clone()).with(tx).finish()
    }),
    ("child before parent", "bad-txns-inputs-missingorspent", |w| {
        let parent = spend(&w.bare_coin());
        let child =
            Transaction { input: vec![input(OutPoint { txid: parent.compute_txid(), vout: 0 })], ..parent.clone() };
        w.empty().with(child).with(parent).finish()
    }),
    ("output that nobody can spend", "bad-txns-inputs-missingorspent", |w| {
        let txid = w.blocks[1].txdata[0].compute_txid();
        with(w, |tx| tx.input[0].previous_output = OutPoint { txid, vout: 1 })
    }),
    ("coinbase of genesis", "bad-txns-inputs-missingorspent", |w| {
        let txid = w.blocks[0].txdata[0].compute_txid();
        with(w, |tx| tx.input[0].previous_output = OutPoint { txid, vout: 0 })
    }),
    ("coinbase a block too young", "bad-txns-premature-spend-of-coinbase", |w| {
        w.empty().with(spend(&w.coinbase_aged(MATURITY - 1))).finish()
    }),
    ("coinbase of the same block", "bad-txns-premature-spend-of-coinbase", |w| {
        let draft = w.empty().without_commitment();
        let txid = draft.block.txdata[0].compute_txid();
        let mut tx = spend(&w.bare_coin());
        tx.input[0].previous_output = OutPoint { txid, vout: 0 };
        tx.output[0].value = Amount::ZERO;
        draft.with(tx).finish()
    }),
    ("outputs above inputs", "bad-txns-in-belowout", |w| with(w, |tx| tx.output[0].value += Amount::ONE_SAT)),
    // Locks.
    ("lock time of this height", "bad-txns-nonfinal", |w| {
        w.empty().with(locked(w, w.height(), Sequence::ENABLE_LOCKTIME_NO_RBF)).finish()
    }),
    ("lock time at the median", "bad-txns-nonfinal", |w| {
        w.empty().with(locked(w, w.median_time(), Sequence::ENABLE_LOCKTIME_NO_RBF)).finish()
    }),
    ("relative lock by height", "bad-txns-nonfinal", |w| w.empty().with(relative(w, 1)).finish()),
    ("relative lock by time", "bad-txns-nonfinal", |w| w.empty().with(relative(w, 1 << 22 | 0xffff)).finish()),
    // Scripts.
    ("signature of another transaction", EVAL_FALSE, |w| signed(w).edit(change_signed_output).commit().finish()),
    ("no signature", EVAL_FALSE, |w| witness(w, |witness| witness[0].clear())),
    ("signature that is none", BAD_DER, |w| witness(w, |witness| witness[0][0] ^= 1)),
    ("another key", EQUAL_VERIFY, |w| witness(w, |witness| witness[1][5] ^= 1)),
    ("one witness element too many", PROGRAM_MISMATCH, |w| witness(w, |witness| witness.push(Vec::new()))),
    ("another witness script", PROGRAM_MISMATCH, |w| {
        let mut tx = spend(&w.coin(p2wsh));
        tx.input[0].witness = Witness::from_slice(&[[0x51, 0x51]]);
        w.empty().with(tx).finish()
    }),
    ("one stack element too many", CLEAN_STACK, |w| {
        let mut tx = spend(&w.coin(p2wsh));
        tx.input[0].witness = Witness::from_slice(&[[1].as_slice(), op_true().as_bytes()]);
        w.empty().with(tx).finish()
    }),
    ("no witness", WITNESS_EMPTY, |w| {
        let mut tx = spend(&w.coin(p2wsh));
        tx.input[0].witness.clear();
        w.empty().with(tx).finish()
    }),
    ("input script beside a witness", MALLEATED, |w| {
        let mut tx = spend(&w.coin(p2wsh));
        tx.input[0].script_sig = op_true();
        w.empty().with(tx).finish()
    }),
    ("witness for a script without", UNEXPECTED, |w| with(w, |tx| tx.input[0].witness = Witness::from_slice(&[[1]]))),
    // Order of checks.
    ("bad value and bad script", "bad-cb-amount", |w| {
        let draft = signed(w).edit(change_signed_output).commit();
        draft.value(|value| value + Amount::ONE_BTC * 100).finish()
    }),
    ("bad time and bad height", "time-too-old", |w| {
        let block = height(w, 1);
        Draft { block }.edit(|b| b.header.time = 0).finish()
    }),
];

const EVAL_FALSE: &str = "block-script-verify-flag-failed (Script evaluated without error but finished with a \
                          false/empty top stack element)";
const BAD_DER: &str = "block-script-verify-flag-failed (Non-canonical DER signature)";
const EQUAL_VERIFY: &str = "block-script-verify-flag-failed (Script failed an OP_EQUALVERIFY operation)";
const PROGRAM_MISMATCH: &str = "block-script-verify-flag-failed (Witness program hash mismatch)";
const WITNESS_EMPTY: &str = "block-script-verify-flag-failed (Witness program was passed an empty witness)";
const CLEAN_STACK: &str = "block-script-verify-flag-failed (Stack size must be exactly one after execution)";
const MALLEATED: &str = "block-script-verify-flag-failed (Witness requires empty scriptSig)";
const UNEXPECTED: &str = "block-script-verify-flag-failed (Witness provided for non-witness script)";

fn p2wsh(script: &ScriptBuf) -> bool {
    script.is_p2wsh()
}

fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

fn input(previous_output: OutPoint) -> bitcoin::TxIn {
    bitcoin::TxIn { previous_output, ..Default::default() }
}

fn version(world: &World<'_>, version: i32) -> Block {
    world.next().edit(|block| block.header.version = Version::from_consensus(version)).finish()
}

/// Mined at the true target, then told to have another.
fn bits(world: &World<'_>, bits: u32) -> Block {
    let mut block = world.next().finish();
    block.header.bits = CompactTarget::from_consensus(bits);
    block
}

fn hash_above_target(world: &World<'_>) -> Block {
    let mut block = world.next().finish();
    while block.header.target().is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    block
}

/// Three transactions have the root of four of which the last two are equal (CVE-2012-2459).
fn repeated_tail(world: &World<'_>) -> Block {
    let mut block = world.next().edit(|block| block.txdata.truncate(3)).value(|_| Amount::ZERO).commit().finish();
    block.txdata.push(block.txdata[2].clone());
    block
}

fn height_script(height: u32) -> ScriptBuf {
    Builder::new().push_int(height.into()).into_script()
}

fn height(world: &World<'_>, height: u32) -> Block {
    let script = [height_script(height).as_bytes(), &[1, 0]].concat();
    world.next().coinbase(|coinbase| coinbase.input[0].script_sig = script.into()).finish()
}

/// A coinbase with an input script of this length, which starts with the height where there is room.
fn script_sig_of(world: &World<'_>, length: usize) -> Draft {
    let mut script = height_script(world.height()).into_bytes();
    script.resize(length, 0);
    world.next().coinbase(|coinbase| coinbase.input[0].script_sig = script.into())
}

/// A block of this size without witnesses.
fn padded(world: &World<'_>, size: usize) -> Draft {
    let mut draft = world.empty().without_commitment();
    let pad = |draft: &mut Draft, length: usize| {
        let script = [vec![OP_RETURN.to_u8()], vec![0; length]].concat().into();
        draft.block.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey: script });
    };
    let mut probe = draft.clone();
    pad(&mut probe, 500_000);
    let fixed = probe.block.total_size() - 500_000;
    pad(&mut draft, size - fixed);
    assert_eq!(draft.block.total_size(), size);
    draft
}

/// Adds sigops that count four times.
fn sigops(draft: Draft, count: usize) -> Draft {
    let script = ScriptBuf::from(vec![OP_CHECKSIG.to_u8(); count]);
    draft.coinbase(|coinbase| coinbase.output.push(TxOut { value: Amount::ZERO, script_pubkey: script }))
}

/// Two commitments, of which only one is right.
fn two_commitments(world: &World<'_>, last_is_right: bool) -> Block {
    let mut draft = world.next();
    let right = draft.block.txdata[0].output[1].clone();
    let mut wrong = right.script_pubkey.to_bytes();
    wrong[37] ^= 1;
    let wrong = TxOut { value: Amount::ZERO, script_pubkey: wrong.into() };
    let (first, last) = if last_is_right { (wrong, right) } else { (right, wrong) };
    draft.block.txdata[0].output.splice(1.., [first, last]);
    draft.finish()
}

/// A block whose only transaction spends a bare coin, after a change.
fn with(world: &World<'_>, change: impl FnOnce(&mut Transaction)) -> Block {
    let mut tx = spend(&world.bare_coin());
    change(&mut tx);
    world.empty().with(tx).finish()
}

fn locked(world: &World<'_>, lock_time: u32, sequence: Sequence) -> Transaction {
    let mut tx = spend(&world.bare_coin());
    tx.lock_time = LockTime::from_consensus(lock_time);
    tx.input[0].sequence = sequence;
    tx
}

/// Spends the youngest coin that is no coinbase, with a relative lock that counts from it: the lock's blocks and its age.
fn relative(world: &World<'_>, more: u32) -> Transaction {
    let coin = world.coins().into_iter().rev().find(|coin| !coin.coinbase && coin.output.script_pubkey == op_true());
    let coin = coin.expect("a young coin");
    let age = world.height() - coin.height;
    let mut tx = spend(&coin);
    tx.input[0].sequence = Sequence(if more >> 16 == 0 { (age + more).min(0xffff) } else { more });
    tx
}

fn spent_before(world: &World<'_>) -> Block {
    let inputs = world.blocks.iter().rev().flat_map(|block| &block.txdata).filter(|tx| !tx.is_coinbase());
    let spent = inputs.flat_map(|tx| &tx.input).next().expect("a spent coin").previous_output;
    with(world, |tx| tx.input[0].previous_output = spent)
}

/// The waiting transactions up to the first that carries a signature in its first input. Nothing is paid out.
fn signed(world: &World<'_>) -> Draft {
    let mut draft = world.next().value(|_| Amount::ZERO);
    let is_signed = |tx: &Transaction| tx.input[0].witness.len() == 2;
    let last = draft.block.txdata.iter().position(is_signed).expect("a signed transaction");
    draft.block.txdata.truncate(last + 1);
    draft.commit()
}

fn change_signed_output(block: &mut Block) {
    block.txdata.last_mut().unwrap().output[0].value -= Amount::ONE_SAT;
}

/// A block whose last transaction is signed, after a change to its witness.
fn witness(world: &World<'_>, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Block {
    let mut draft = signed(world);
    let input = &mut draft.block.txdata.last_mut().unwrap().input[0];
    let mut elements = input.witness.to_vec();
    change(&mut elements);
    input.witness = Witness::from_slice(&elements);
    draft.commit().finish()
}
