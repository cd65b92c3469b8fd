//! The pool on the devnet: faults that a real node does not do on command.

use std::sync::Arc;

use integration::pool::{ChannelKind, TestMiner, TestPool};
use pool::PoolEvent;
use template_source::devnet::{Devnet, DevnetConfig};

fn devnet() -> Devnet {
    Devnet::new(DevnetConfig::default()).expect("regtest's target is sound")
}

/// The pool has whole blocks of it at once; else the devnet may go before the pool has fetched the transactions.
fn without_transactions() -> Devnet {
    let config = DevnetConfig { transactions_per_tick: 0, ..DevnetConfig::default() };
    Devnet::new(config).expect("regtest's target is sound")
}

async fn down(pool: &mut TestPool) {
    pool.until("the source is down", |event| matches!(event, PoolEvent::SourceDown { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_kinds_of_channels_find_blocks() {
    let devnet = devnet();
    let mut pool = TestPool::start(vec![Arc::new(devnet.clone())]).await;
    for (kind, user) in [(ChannelKind::Standard, "standard"), (ChannelKind::Extended, "extended")] {
        let mut miner = TestMiner::open(&pool, kind, user).await;
        for _ in 0..3 {
            let hash = miner.mine_block().await;
            let accepted = pool.until_accepted(Some(hash)).await;
            assert_eq!(accepted.finder, user);
            assert_eq!(u64::from(accepted.height), u64::from(devnet.tip().height));
            miner.until_tip(hash).await;
        }
        miner.until(|miner| miner.acknowledged() == 3).await;
        assert!(miner.errors.is_empty(), "{:?}", miner.errors);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_gets_through_raw_when_solutions_fail() {
    let devnet = devnet();
    devnet.set_fail_solutions(true);
    let mut pool = TestPool::start(vec![Arc::new(devnet.clone())]).await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice").await;
    let hash = miner.mine_block().await;
    pool.until_accepted(Some(hash)).await;
    assert_eq!(devnet.tip().hash, hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_goes_keeps_its_miners_and_gets_the_block_later() {
    let devnet = without_transactions();
    let mut pool = TestPool::start(vec![Arc::new(devnet.clone())]).await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice").await;
    devnet.stop();
    down(&mut pool).await;
    let hash = miner.mine_block().await;
    miner.until(|miner| !miner.acks.is_empty()).await;
    assert_ne!(devnet.tip().hash, hash);
    devnet.start();
    pool.until_accepted(Some(hash)).await;
    miner.until_tip(hash).await;
    let next = miner.mine_block().await;
    pool.until_accepted(Some(next)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_found_before_a_restart_is_submitted_after_it() {
    let devnet = without_transactions();
    let mut pool = TestPool::start(vec![Arc::new(devnet.clone())]).await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Standard, "alice").await;
    let first = miner.mine_block().await;
    pool.until_accepted(Some(first)).await;
    miner.until_tip(first).await;
    devnet.stop();
    down(&mut pool).await;
    let hash = miner.mine_block().await;
    miner.until(|miner| miner.acknowledged() == 2).await;
    let mut pool = pool.restart(vec![Arc::new(devnet.clone())]).await;
    devnet.start();
    let block = pool.until_accepted(Some(hash)).await;
    assert_eq!(block.finder, "alice");
    assert_eq!(devnet.tip().hash, hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_miners_blocks_and_reorganisations_are_followed() {
    let devnet = devnet();
    let mut pool = TestPool::start(vec![Arc::new(devnet.clone())]).await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice").await;
    let other = devnet.mine_block().expect("an easy target");
    miner.until_tip(other).await;
    let reorganised = devnet.reorg(2).expect("enough blocks");
    miner.until_tip(reorganised).await;
    let hash = miner.mine_block().await;
    pool.until_accepted(Some(hash)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_source_takes_over_and_the_first_comes_back() {
    let (first, second) = (devnet(), devnet());
    let mut pool = TestPool::start(vec![Arc::new(first.clone()), Arc::new(second.clone())]).await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice").await;
    let on_first = first.mine_block().expect("an easy target");
    miner.until_tip(on_first).await;
    first.stop();
    miner.until_tip(second.tip().hash).await;
    let hash = miner.mine_block().await;
    pool.until_accepted(Some(hash)).await;
    assert_eq!(second.tip().hash, hash);
    first.start();
    miner.until_tip(first.tip().hash).await;
}
