//! What is in the ledger after some work.

use std::sync::Arc;

use bitcoin::hashes::Hash;
use integration::pool::{ChannelKind, TestMiner, TestPool};
use share_ledger::{BlockHash, Reader};
use template_source::devnet::{Devnet, DevnetConfig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_accounts_and_the_life_of_a_block() {
    let devnet = Devnet::new(DevnetConfig::default()).expect("regtest's target is sound");
    let mut pool = TestPool::start(vec![Arc::new(devnet)]).await;
    let _idle = TestMiner::open(&pool, ChannelKind::Extended, "idle.rig").await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Standard, "alice.rig").await;
    let mut last = None;
    for _ in 0..3 {
        let hash = miner.mine_block().await;
        pool.until_accepted(Some(hash)).await;
        miner.until_tip(hash).await;
        last = Some(hash);
    }
    miner.until(|miner| miner.acks.iter().map(|ack| ack.new_submits_accepted_count).sum::<u32>() == 3).await;
    pool.stop().await;
    let mut reader = Reader::open(&pool.ledger_folder()).expect("a database");
    let alice = reader.account("alice").expect("a query").expect("alice has an account");
    assert_eq!(alice.totals.shares, 3);
    assert!(reader.account("idle").expect("a query").is_none(), "no work, no account");
    let hash = BlockHash(last.expect("three blocks").to_byte_array());
    let (block, _) = reader.block(&hash).expect("a query").expect("the block is there");
    assert_eq!(block.finder, Some(("alice".to_owned(), "rig".to_owned())));
    assert!(block.value.is_some_and(|value| value > 0));
}
