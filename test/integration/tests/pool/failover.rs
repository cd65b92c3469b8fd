//! Two real nodes behind one pool: one over the mining interface, one over JSON-RPC.

use std::{collections::BTreeSet, sync::Arc};

use bitcoin::{Amount, BlockHash};
use integration::{
    core::{CoreNode, CoreOptions, anyone_can_spend},
    events::Reader,
    pool::{ChannelKind, TestMiner, TestPool},
    sources::{ipc, rpc},
};
use pool::{PoolEvent, blocks::BlockState};
use serde_json::json;
use template_source::{Constraints, SubmitOutcome, TemplateSource};

/// Two nodes that know each other, past the heights that BIP 34 writes in another way.
fn pair() -> (CoreNode, CoreNode) {
    let first = CoreNode::start(CoreOptions { listen: true, ..CoreOptions::default() });
    let connect = vec![first.p2p_address()];
    let second = CoreNode::start(CoreOptions { listen: true, connect, ..CoreOptions::default() });
    first.mine(20, &anyone_can_spend());
    (first, second)
}

/// Waits until a node has this tip.
async fn wait_for_tip(node: &CoreNode, hash: BlockHash) {
    Reader::new(rpc(node).subscribe(Constraints::default())).until_tip(hash).await;
}

/// Miners of both kinds, whose connections have to last.
struct Miners {
    standard: TestMiner,
    extended: TestMiner,
}

impl Miners {
    async fn open(pool: &TestPool) -> Self {
        Self {
            standard: TestMiner::open(pool, ChannelKind::Standard, "standard").await,
            extended: TestMiner::open(pool, ChannelKind::Extended, "extended").await,
        }
    }

    async fn until_tip(&mut self, hash: BlockHash) {
        self.standard.until_tip(hash).await;
        self.extended.until_tip(hash).await;
    }

    /// One block of each; all `nodes` have both.
    async fn mine(&mut self, pool: &mut TestPool, nodes: &[&CoreNode]) -> BlockHash {
        let mut last = None;
        for is_standard in [true, false] {
            let miner = if is_standard { &mut self.standard } else { &mut self.extended };
            let hash = miner.mine_block().await;
            pool.until_accepted(Some(hash)).await;
            self.until_tip(hash).await;
            for node in nodes {
                wait_for_tip(node, hash).await;
            }
            last = Some(hash);
        }
        last.expect("two blocks")
    }
}

async fn until_selected(pool: &mut TestPool, wanted: usize) {
    pool.until("the source is used", |event| match event {
        PoolEvent::SourceSelected { source } if *source == wanted => Some(()),
        _ => None,
    })
    .await;
}

async fn until_down(pool: &mut TestPool, wanted: usize) {
    pool.until("the source is down", |event| match event {
        PoolEvent::SourceDown { source, .. } if *source == wanted => Some(()),
        _ => None,
    })
    .await;
}

/// Waits until these sources have taken a block.
async fn until_taken_by(pool: &mut TestPool, block: BlockHash, sources: &[usize]) {
    let mut missing: BTreeSet<_> = sources.iter().copied().collect();
    pool.until("all sources have the block", |event| {
        if let PoolEvent::BlockAnswered { hash, source, outcome: SubmitOutcome::Accepted, .. } = event
            && *hash == block
        {
            missing.remove(source);
        }
        missing.is_empty().then_some(())
    })
    .await;
}

/// The first source dies and comes back, with blocks found in each phase that are in both chains at the end.
async fn fails_over_and_back(
    first: impl Fn(&CoreNode) -> Arc<dyn TemplateSource>,
    second: impl Fn(&CoreNode) -> Arc<dyn TemplateSource>,
) {
    let (mut one, two) = pair();
    let mut pool = TestPool::start(vec![first(&one), second(&two)]).await;
    wait_for_tip(&two, one.best_hash()).await;
    let mut miners = Miners::open(&pool).await;
    miners.until_tip(one.best_hash()).await;
    // The second one may have answered first.
    let mut found = vec![miners.mine(&mut pool, &[&one, &two]).await];

    one.stop();
    until_down(&mut pool, 0).await;
    let hash = miners.standard.mine_block().await;
    until_taken_by(&mut pool, hash, &[1]).await;
    miners.until_tip(hash).await;
    found.push(hash);
    found.push(miners.mine(&mut pool, &[&two]).await);

    one.restart();
    until_selected(&mut pool, 0).await;
    wait_for_tip(&one, two.best_hash()).await;
    miners.until_tip(two.best_hash()).await;
    found.push(miners.mine(&mut pool, &[&one, &two]).await);
    let hash = miners.extended.mine_block().await;
    until_taken_by(&mut pool, hash, &[0, 1]).await;
    found.push(hash);
    wait_for_tip(&one, hash).await;
    wait_for_tip(&two, hash).await;
    for node in [&one, &two] {
        for hash in &found {
            let header = node.rpc("getblockheader", json!([hash.to_string()]));
            assert!(header["confirmations"].as_i64().unwrap() > 0, "{hash}: {header}");
        }
    }
    assert!(miners.standard.errors.is_empty() && miners.extended.errors.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_from_the_mining_interface_to_json_rpc_and_back() {
    fails_over_and_back(ipc, rpc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_from_json_rpc_to_the_mining_interface_and_back() {
    fails_over_and_back(rpc, ipc).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_of_nothing_does_not_hold_the_pool_back() {
    let (one, two) = pair();
    wait_for_tip(&two, one.best_hash()).await;
    let mut pool = TestPool::start_with(vec![ipc(&one), rpc(&two)], |config| config.nodes.stuck_seconds = 1).await;
    let mut miners = Miners::open(&pool).await;
    miners.until_tip(one.best_hash()).await;
    // The first one is up, and alone.
    one.rpc("setnetworkactive", json!([false]));
    let common = one.best_hash();
    let hash = two.mine(1, &anyone_can_spend())[0];
    until_selected(&mut pool, 1).await;
    miners.until_tip(hash).await;
    assert_eq!(one.best_hash(), common);
    // It is told of blocks found meanwhile, whose parents it does not have, and takes them when it hears of those.
    let found = miners.standard.mine_block().await;
    pool.until_accepted(Some(found)).await;
    miners.until_tip(found).await;
    one.rpc("setnetworkactive", json!([true]));
    one.rpc("addnode", json!([two.p2p_address().to_string(), "onetry"]));
    until_selected(&mut pool, 0).await;
    wait_for_tip(&one, found).await;
    miners.mine(&mut pool, &[&one, &two]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_found_while_its_node_is_down_is_submitted_by_the_next_process() {
    for source in [ipc as fn(&CoreNode) -> Arc<dyn TemplateSource>, rpc] {
        let mut node = CoreNode::start(CoreOptions::default());
        let coin = node.mine_coins(1)[0];
        let (txid, _) = node.spend(coin, Amount::from_sat(10_000));
        let mut pool = TestPool::start(vec![source(&node)]).await;
        let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice").await;
        miner.until_tip(node.best_hash()).await;
        // A block of this template is whole only with the transaction, which the pool has by then.
        let warm = miner.mine_block().await;
        pool.until_accepted(Some(warm)).await;
        miner.until_tip(warm).await;
        node.stop();
        until_down(&mut pool, 0).await;
        let hash = miner.mine_block().await;
        pool.until("the block is found", |event| match event {
            PoolEvent::BlockFound(block) if block.hash == hash => Some(()),
            _ => None,
        })
        .await;
        // Ends with the block on disk and no node.
        let mut pool = pool.restart(vec![source(&node)]).await;
        node.restart();
        let accepted = pool.until_accepted(Some(hash)).await;
        assert_eq!((accepted.finder.as_str(), accepted.accepted_by), ("alice", [0].into()));
        assert_eq!(node.best_hash(), hash);
        let in_chain: Vec<_> = [warm, hash].iter().flat_map(|hash| node.block(*hash).txdata).collect();
        assert!(in_chain.iter().any(|transaction| transaction.compute_txid() == txid));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_confirmed_or_orphaned_as_the_node_says() {
    for source in [ipc as fn(&CoreNode) -> Arc<dyn TemplateSource>, rpc] {
        let node = CoreNode::start(CoreOptions::default());
        node.mine(20, &anyone_can_spend());
        let mut pool = TestPool::start_with(vec![source(&node)], |config| config.nodes.confirmations = 3).await;
        let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice").await;
        let decided = |wanted: BlockHash, state: BlockState| {
            move |event: &PoolEvent| match event {
                PoolEvent::BlockDecided(block, got) if block.hash == wanted && *got == state => Some(()),
                _ => None,
            }
        };
        let lost = miner.mine_block().await;
        pool.until_accepted(Some(lost)).await;
        miner.until_tip(lost).await;
        // Another branch wins.
        node.rpc("invalidateblock", json!([lost.to_string()]));
        node.mine(2, &bitcoin::ScriptBuf::from_bytes(vec![0x52]));
        pool.until("it is orphaned", decided(lost, BlockState::Orphaned)).await;
        miner.until_tip(node.best_hash()).await;
        let kept = miner.mine_block().await;
        pool.until_accepted(Some(kept)).await;
        // Across a restart.
        let mut pool = pool.restart(vec![source(&node)]).await;
        pool.until_tip(kept).await;
        node.mine(2, &anyone_can_spend());
        pool.until("it is deep", |event| match event {
            PoolEvent::BlockDepth { hash, confirmations: 3.. } if *hash == kept => Some(()),
            _ => None,
        })
        .await;
        pool.until("it is confirmed", decided(kept, BlockState::Confirmed)).await;
        pool.stop().await;
        let mut states = std::fs::read_dir(pool.blocks_folder())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .map(|text| text.lines().find(|line| line.starts_with("state")).unwrap().to_owned())
            .collect::<Vec<_>>();
        states.sort();
        assert_eq!(states, ["state = \"confirmed\"", "state = \"orphaned\""]);
    }
}
