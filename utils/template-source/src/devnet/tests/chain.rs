use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, TxMerkleNode, block::Version,
    consensus::encode, constants::genesis_block, hashes::Hash, script::Builder,
};

use super::*;
use crate::devnet::{
    ChainTip, ConfigError, KEPT_BLOCKS, MAX_MEMPOOL_TRANSACTIONS, Verdict,
    chain::{Chain, Params},
    producer::Random,
    rules::block_merkle_root,
    solve,
    utxo::Coin,
};

/// Mends the merkle root after a change to the transactions, and mines.
fn finish(mut block: Block) -> Block {
    block.header.merkle_root = TxMerkleNode::from_byte_array(block_merkle_root(&block).0);
    assert!(solve(&mut block.header));
    block
}

fn next(devnet: &Devnet) -> Block {
    devnet.candidate(ScriptBuf::new())
}

/// A block on `parent` at `height` without transactions, `extra` apart from others.
fn empty_on(devnet: &Devnet, parent: BlockHash, height: i64, extra: u8) -> Block {
    let mut block = devnet.candidate(ScriptBuf::new());
    block.txdata.truncate(1);
    let coinbase = &mut block.txdata[0];
    coinbase.output.truncate(1);
    coinbase.output[0].value = Amount::ZERO;
    coinbase.input[0].script_sig = Builder::new().push_int(height).push_slice([extra; 2]).into_script();
    coinbase.input[0].witness.clear();
    coinbase.lock_time = bitcoin::absolute::LockTime::ZERO;
    block.header.prev_blockhash = parent;
    finish(block)
}

fn reject(reason: &str) -> Verdict {
    Verdict::Rejected(reason.into())
}

fn coins(chain: &Chain) -> Vec<(OutPoint, Coin)> {
    chain.coins().iter().map(|(outpoint, coin)| (*outpoint, coin.clone())).collect()
}

#[test]
fn starts_on_regtest_with_a_bootstrap_that_repeats_from_its_seed() {
    let config = DevnetConfig { start_time: Some(1_700_000_000), ..quiet() };
    let one = Devnet::new(config.clone()).unwrap();
    let two = Devnet::new(config.clone()).unwrap();
    let other = Devnet::new(DevnetConfig { seed: 8, ..config }).unwrap();
    assert_eq!(one.blocks()[0].block_hash(), genesis_block(Network::Regtest).block_hash());
    assert_eq!(one.tip().height, 110);
    assert_eq!(one.tip(), two.tip());
    assert_ne!(one.tip(), other.tip());
}

#[test]
fn a_target_that_no_block_can_have_is_an_error() {
    for bits in [0, 0x2080_0000, 0x2100_ffff] {
        let nbits = CompactTarget::from_consensus(bits);
        assert_eq!(Devnet::new(DevnetConfig { nbits, ..quiet() }).unwrap_err(), ConfigError::Target(nbits));
    }
}

#[test]
fn a_hard_target_needs_no_bootstrap() {
    let nbits = CompactTarget::from_consensus(0x1e00_ffff);
    let devnet = Devnet::new(DevnetConfig { nbits, ..quiet() }).unwrap();
    assert_eq!(devnet.tip().height, 0);
    assert_eq!(devnet.produce(20), 20);
    let block = next(&devnet);
    assert_eq!(block.txdata.len(), 21);
    assert_eq!(block.header.bits, nbits);
    assert_eq!(devnet.submit_block(block), reject("high-hash"));
}

#[test]
fn hundreds_of_blocks_with_transactions_connect() {
    let devnet = devnet();
    let mut mined = 0;
    for _ in 0..KEPT_BLOCKS {
        devnet.produce(6);
        let hash = devnet.mine_block().unwrap();
        assert_eq!(devnet.tip().hash, hash);
        mined += devnet.block(&hash).unwrap().txdata.len() - 1;
    }
    assert!(mined > KEPT_BLOCKS, "{mined}");
    assert_eq!(devnet.blocks().len(), KEPT_BLOCKS);
    assert_eq!(devnet.block(&genesis_block(Network::Regtest).block_hash()), None);
}

#[test]
fn all_forms_of_coins_are_spent_and_blocks_pay_fees() {
    let devnet = devnet();
    devnet.produce(150);
    let block = next(&devnet);
    assert_eq!(block.txdata.len(), 151);
    let signed = block.txdata.iter().flat_map(|tx| &tx.input).filter(|input| input.witness.len() == 2).count();
    let bare = block.txdata.iter().flat_map(|tx| &tx.input).filter(|input| input.witness.is_empty()).count();
    assert!(signed > 0 && bare > 0);
    assert!(block.txdata[0].output[0].value > Amount::from_sat(50 * 100_000_000));
    assert_eq!(devnet.submit_block(finish(block)), Verdict::NewTip);
    assert_eq!(devnet.waiting_transactions(), 0);
}

#[test]
fn the_mempool_is_bounded() {
    let devnet = devnet();
    let made: u32 = (0..8).map(|_| devnet.produce(300)).sum();
    assert!(made as usize <= MAX_MEMPOOL_TRANSACTIONS);
    assert_eq!(devnet.waiting_transactions(), made as usize);
    devnet.mine_block().unwrap();
    assert_eq!(devnet.waiting_transactions(), 0);
}

#[test]
fn bad_blocks_are_refused_with_their_reason() {
    let devnet = devnet();
    devnet.produce(5);
    type Change = fn(&mut Block);
    let cases: [(&str, Change); 9] = [
        ("bad-cb-amount", |block| block.txdata[0].output[0].value += Amount::ONE_SAT),
        ("bad-version(0x00000003)", |block| block.header.version = Version::from_consensus(3)),
        ("time-too-old", |block| block.header.time = 0),
        ("time-too-new", |block| block.header.time = u32::MAX),
        ("bad-diffbits", |block| block.header.bits = CompactTarget::from_consensus(0x207f_fffe)),
        ("prev-blk-not-found", |block| block.header.prev_blockhash = BlockHash::all_zeros()),
        ("bad-cb-missing", |block| drop(block.txdata.remove(0))),
        ("bad-witness-merkle-match", |block| drop(block.txdata.pop())),
        ("bad-txns-inputs-missingorspent", |block| {
            block.txdata[0].output.truncate(1);
            block.txdata[0].input[0].witness.clear();
            block.txdata.truncate(1);
            let mut tx = block.txdata[0].clone();
            tx.input[0].previous_output.vout = 0;
            block.txdata.push(tx);
        }),
    ];
    for (reason, change) in cases {
        let mut block = next(&devnet);
        change(&mut block);
        assert_eq!(devnet.submit_block(finish(block)), reject(reason));
    }
    let mut block = finish(next(&devnet));
    block.header.merkle_root = TxMerkleNode::all_zeros();
    assert!(solve(&mut block.header));
    assert_eq!(devnet.submit_block(block), reject("bad-txnmrklroot"));
    assert_eq!(devnet.tip().height, 110);
}

#[test]
fn a_block_that_came_before_is_known() {
    let devnet = devnet();
    let good = finish(next(&devnet));
    assert_eq!(devnet.submit_block(good.clone()), Verdict::NewTip);
    assert_eq!(devnet.submit_block(good), Verdict::Duplicate);
    let mut bad = next(&devnet);
    bad.txdata[0].output[0].value += Amount::ONE_SAT;
    let bad = finish(bad);
    assert_eq!(devnet.submit_block(bad.clone()), reject("bad-cb-amount"));
    assert_eq!(devnet.submit_block(bad), reject("duplicate-invalid"));
}

#[test]
fn only_a_branch_with_more_work_takes_over() {
    let devnet = devnet();
    let fork = devnet.tip().hash;
    let old = devnet.mine_block().unwrap();
    let one = empty_on(&devnet, fork, 111, 1);
    let two = empty_on(&devnet, one.block_hash(), 112, 2);
    assert_eq!(devnet.submit_block(two.clone()), reject("prev-blk-not-found"));
    assert_eq!(devnet.submit_block(one), Verdict::SideBranch);
    assert_eq!(devnet.tip().hash, old);
    let hash = two.block_hash();
    assert_eq!(devnet.submit_block(two), Verdict::NewTip);
    assert_eq!(devnet.tip(), ChainTip { hash, height: 112 });
}

#[test]
fn a_branch_that_turns_out_bad_is_left_again() {
    let devnet = devnet();
    devnet.produce(5);
    let fork = devnet.tip().hash;
    let old = devnet.mine_block().unwrap();
    let mut bad = empty_on(&devnet, fork, 111, 1);
    bad.txdata[0].output[0].value = Amount::from_sat(51 * 100_000_000);
    let bad = finish(bad);
    let child = empty_on(&devnet, bad.block_hash(), 112, 2);
    assert_eq!(devnet.submit_block(bad), Verdict::SideBranch, "its coins are not looked at yet");
    assert_eq!(devnet.submit_block(child.clone()), reject("bad-prevblk"));
    assert_eq!(devnet.submit_block(child), reject("duplicate-invalid"));
    assert_eq!(devnet.tip().hash, old);
    assert_eq!(devnet.waiting_transactions(), 0);
}

#[test]
fn transactions_of_replaced_blocks_come_back() {
    let devnet = devnet();
    devnet.produce(10);
    devnet.mine_block().unwrap();
    devnet.produce(10);
    let mined = devnet.mine_block().unwrap();
    let carried = devnet.block(&mined).unwrap().txdata.len() - 1;
    assert_eq!((carried, devnet.waiting_transactions()), (10, 0));
    devnet.reorg(2).unwrap();
    assert_eq!(devnet.tip().height, 113);
    assert_eq!(devnet.waiting_transactions(), 20);
    assert_eq!(devnet.submit_block(finish(next(&devnet))), Verdict::NewTip);
    assert_eq!(devnet.reorg(KEPT_BLOCKS), None);
}

/// A block with a changed byte is judged without a panic, and is only taken when it is still good.
#[test]
fn changed_bytes_do_no_harm() {
    let devnet = devnet();
    devnet.produce(12);
    let good = encode::serialize(&next(&devnet));
    let mut random = Random::new(1);
    let mut judged = 0;
    for _ in 0..600 {
        let mut bytes = good.clone();
        let place = random.below(bytes.len() as u64) as usize;
        bytes[place] ^= 1 << random.below(8);
        if let Ok(mut block) = encode::deserialize::<Block>(&bytes) {
            block.header.bits = CompactTarget::from_consensus(0x207f_ffff);
            let (before, verdict) = (devnet.tip(), devnet.submit_block(finish(block)));
            assert_eq!(devnet.tip() != before, verdict == Verdict::NewTip);
            judged += 1;
        }
    }
    assert!(judged > 300, "{judged}");
}

/// Whatever happened on the way, the coins are those of the active chain.
#[test]
fn coins_after_reorganisations_are_those_of_a_fresh_chain() {
    for seed in 0..8 {
        let config = DevnetConfig { seed, ..quiet() };
        let devnet = Devnet::new(config.clone()).unwrap();
        let mut random = Random::new(seed);
        for _ in 0..30 {
            devnet.produce(random.below(12) as u32);
            match random.below(3) {
                0 => devnet.reorg(random.below(12) as usize).unwrap(),
                _ => devnet.mine_block().unwrap(),
            };
        }
        let params = Params { bits: config.nbits, halving_interval: config.halving_interval };
        let mut fresh = Chain::new(params, []);
        for block in devnet.blocks().into_iter().skip(1) {
            assert_eq!(fresh.submit(block, u32::MAX).0, Verdict::NewTip);
        }
        devnet.inner.with_node(|node, _| assert!(coins(node.chain()) == coins(&fresh), "seed {seed}"));
    }
}
