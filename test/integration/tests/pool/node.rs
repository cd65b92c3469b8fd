//! The pool on a real Bitcoin Core (regtest, mining interface).

use std::sync::Arc;

use bitcoin::{Amount, Block, BlockHash, Network, ScriptBuf};
use integration::{
    core::{CoreNode, CoreOptions, anyone_can_spend},
    faults::LosesSolutions,
    pool::{ChannelKind, PAYOUT_SCRIPT, TAG, TestMiner, TestPool},
    sources::ipc as source,
};
use mining_device::{MinerConfig, Status};
use pool::PoolEvent;
use stratum_runtime::{identity::create_authority_key, shutdown::Shutdown};
use template_provider::TemplateProvider;
use template_source::{TemplateSource, sv2::RemoteTemplateProvider};
use tokio::sync::watch;

/// Satoshis that the first blocks make.
const SUBSIDY: u64 = 50 * 100_000_000;

/// What every block of the pool must have, whatever it carries.
fn check_coinbase(block: &Block, finder_height: u64) {
    let coinbase = block.coinbase().expect("a coinbase");
    let payout = ScriptBuf::from_hex(PAYOUT_SCRIPT).expect("a script");
    let subsidy = Amount::from_sat(SUBSIDY >> (finder_height / 150));
    let paid: Amount = coinbase.output.iter().filter(|o| o.script_pubkey == payout).map(|o| o.value).sum();
    assert!(paid >= subsidy, "the payout script gets everything: {coinbase:?}");
    let script = coinbase.input[0].script_sig.as_bytes();
    assert!(script.windows(TAG.len()).any(|window| window == TAG.as_bytes()), "the pool's tag is there");
    assert_eq!(block.bip34_block_height().expect("a height"), finder_height);
}

/// Two blocks each from miners of both kinds; the node took them and they are what they should be.
pub async fn blocks_of_both_kinds(node: &CoreNode, pool: &mut TestPool) {
    let mut standard = TestMiner::open(pool, ChannelKind::Standard, "standard").await;
    let mut extended = TestMiner::open(pool, ChannelKind::Extended, "extended").await;
    for round in 0..4 {
        let miner = if round % 2 == 0 { &mut standard } else { &mut extended };
        let hash = miner.mine_block().await;
        let accepted = pool.until_accepted(Some(hash)).await;
        assert_eq!(node.best_hash(), hash);
        check_coinbase(&node.block(hash), u64::from(accepted.height));
        standard.until_tip(hash).await;
        extended.until_tip(hash).await;
    }
}

/// Puts transactions into the mempool until the pool works on them, then mines them.
pub async fn a_block_with_transactions(node: &CoreNode, pool: &mut TestPool) {
    let mut coins = node.mine_coins(3);
    let mut miner = TestMiner::open(pool, ChannelKind::Extended, "alice").await;
    miner.until_tip(node.best_hash()).await;
    let mut txids = Vec::new();
    while let Some(coin) = coins.pop_front() {
        txids.push(node.spend(coin, Amount::from_sat(10_000)).0);
    }
    // Blocks until one has them all: the template with them may be on its way still.
    let block = loop {
        let hash = miner.mine_block().await;
        pool.until_accepted(Some(hash)).await;
        miner.until_tip(hash).await;
        let block = node.block(hash);
        if txids.iter().all(|txid| block.txdata.iter().any(|tx| tx.compute_txid() == *txid)) {
            break block;
        }
        miner.step().await;
    };
    assert!(block.check_witness_commitment());
    let commitment = |script: &ScriptBuf| script.as_bytes().starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    let coinbase = block.coinbase().expect("a coinbase");
    assert!(coinbase.output.iter().any(|output| commitment(&output.script_pubkey)));
    check_coinbase(&block, node.height());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_and_extended_miners_find_blocks() {
    let node = CoreNode::start(CoreOptions::default());
    // Past the heights that BIP 34 writes as OP_1 to OP_16, which the library does not read.
    node.mine(20, &anyone_can_spend());
    let mut pool = TestPool::start(vec![source(&node)]).await;
    blocks_of_both_kinds(&node, &mut pool).await;
    a_block_with_transactions(&node, &mut pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_and_restarted_costs_no_miner() {
    let mut node = CoreNode::start(CoreOptions::default());
    node.mine(1, &anyone_can_spend());
    let mut pool = TestPool::start(vec![source(&node)]).await;
    let mut standard = TestMiner::open(&pool, ChannelKind::Standard, "standard").await;
    let mut extended = TestMiner::open(&pool, ChannelKind::Extended, "extended").await;
    let first = extended.mine_block().await;
    pool.until_accepted(Some(first)).await;
    standard.until_tip(first).await;
    extended.until_tip(first).await;
    node.kill();
    pool.until("the node is gone", |event| matches!(event, PoolEvent::SourceDown { .. }).then_some(())).await;
    // Mining goes on without it, on both connections; the block waits.
    let orphan = standard.mine_block().await;
    standard.until(|miner| miner.acknowledged() == 1).await;
    extended.mine_block().await;
    extended.until(|miner| miner.acknowledged() == 2).await;
    node.restart();
    pool.until("the node is back", |event| matches!(event, PoolEvent::SourceUp { .. }).then_some(())).await;
    // A kill may cost the node its last blocks; then what was found meanwhile has nothing to build on.
    if node.try_rpc("getblockheader", serde_json::json!([first.to_string()])).is_ok() {
        pool.until_accepted(Some(orphan)).await;
    }
    standard.until_tip(node.best_hash()).await;
    extended.until_tip(node.best_hash()).await;
    for miner in [&mut standard, &mut extended] {
        let hash = miner.mine_block().await;
        pool.until_accepted(Some(hash)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_reaches_the_chain_through_another_node() {
    let second = CoreNode::start(CoreOptions { listen: true, ..CoreOptions::default() });
    let mut first = CoreNode::start(CoreOptions { connect: vec![second.p2p_address()], ..CoreOptions::default() });
    first.mine(1, &anyone_can_spend());
    let common = first.best_hash();
    let mut pool = TestPool::start(vec![source(&first), source(&second)]).await;
    wait_for_tip(&second, common).await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice").await;
    miner.until_tip(common).await;
    // So that the transactions of the template are there: the pool fetched them when it made the job.
    let warm = miner.mine_block().await;
    pool.until_accepted(Some(warm)).await;
    miner.until_tip(warm).await;
    wait_for_tip(&second, warm).await;
    first.kill();
    pool.until("the node is gone", |event| matches!(event, PoolEvent::SourceDown { source: 0, .. }).then_some(()))
        .await;
    let hash = miner.mine_block().await;
    pool.until_accepted(Some(hash)).await;
    assert_eq!(second.best_hash(), hash);
}

/// Waits until a node has this tip.
async fn wait_for_tip(node: &CoreNode, hash: BlockHash) {
    let source = source(node);
    let subscription = source.subscribe(template_source::Constraints::default());
    integration::events::Reader::new(subscription).until_tip(hash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_gets_through_raw_when_solutions_fail() {
    let node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let mut pool = TestPool::start(vec![Arc::new(LosesSolutions(source(&node)))]).await;
    blocks_of_both_kinds(&node, &mut pool).await;
    a_block_with_transactions(&node, &mut pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_miners_find_blocks_and_outlive_the_node() {
    let mut node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let mut pool = TestPool::start(vec![source(&node)]).await;
    let shutdown = Shutdown::new();
    let kinds = [
        (mining_device::ChannelKind::Standard, "cpu-standard"),
        (mining_device::ChannelKind::Extended { min_extranonce_size: 8 }, "cpu-extended"),
    ];
    let miners = kinds.map(|(channel, name)| {
        let url = pool.url().parse().expect("a URL");
        let threads = std::num::NonZeroU32::new(1);
        let config = MinerConfig { channel, threads, max_shares_per_second: 4.0, ..MinerConfig::new(url, name) };
        let (sender, status) = watch::channel(Status::default());
        (tokio::spawn(mining_device::run(config, shutdown.clone(), sender)), status)
    });
    let mut finders = std::collections::BTreeSet::new();
    while finders.len() < 2 {
        finders.insert(pool.until_accepted(None).await.finder);
    }
    node.stop();
    pool.until("the node is gone", |event| matches!(event, PoolEvent::SourceDown { .. }).then_some(())).await;
    pool.until("mining goes on", |event| matches!(event, PoolEvent::BlockFound(_)).then_some(())).await;
    node.restart();
    pool.until("the node is back", |event| matches!(event, PoolEvent::SourceUp { .. }).then_some(())).await;
    let height = node.height();
    while pool.until_accepted(None).await.height < height as u32 + 3 {}
    for (_, status) in &miners {
        let status = status.borrow().clone();
        assert_eq!((status.channels_opened, status.disconnects), (1, 0), "no connection was lost: {status}");
        assert!(status.accepted > 0, "{status}");
    }
    shutdown.cancel();
    for (task, _) in miners {
        task.await.expect("no panic").expect("no error");
    }
}

/// A Template Provider on the node, and the pool's source for it: TDP over noise between the two.
async fn remote(node: &CoreNode, shutdown: &Shutdown) -> (TemplateProvider, Arc<dyn TemplateSource>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("authority.key");
    create_authority_key(&key).expect("an authority key");
    let text = format!(
        "network = 'regtest'\nauthority_key_file = '{}'\n[[listen]]\naddress = '127.0.0.1:0'\n\
         [source]\nkind = 'bitcoin-ipc'\nsocket = '{}'\n",
        key.display(),
        node.ipc_socket().display()
    );
    let config = stratum_runtime::config::parse(&text, "test", "NONE", std::iter::empty()).expect("a configuration");
    let provider = TemplateProvider::start(&config, source(node), shutdown.clone()).await.expect("it starts");
    let url = format!("stratum2+tcp://{}/{}", provider.addresses()[0], provider.authority().expect("a key"));
    (provider, Arc::new(RemoteTemplateProvider::new(url.parse().expect("a URL"))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_through_a_template_provider() {
    let node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let shutdown = Shutdown::new();
    let (provider, source) = remote(&node, &shutdown).await;
    let mut pool = TestPool::start(vec![source]).await;
    blocks_of_both_kinds(&node, &mut pool).await;
    a_block_with_transactions(&node, &mut pool).await;
    pool.stop().await;
    shutdown.cancel();
    provider.join().await;
}

/// Satoshis that a block's coinbase pays to an address or script, and all that it pays.
fn paid(block: &Block, script: &ScriptBuf) -> (u64, u64) {
    let outputs = &block.coinbase().expect("a coinbase").output;
    let sum = |to: &dyn Fn(&ScriptBuf) -> bool| {
        outputs.iter().filter(|output| to(&output.script_pubkey)).map(|output| output.value.to_sat()).sum()
    };
    (sum(&|other| other == script), sum(&|_| true))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn solo_and_pool_blocks_pay_the_right_outputs() {
    const ADDRESSES: [&str; 2] =
        ["mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"];
    const DONATIONS: &str = "2N3oefVeg6stiTb5Kh3ozCSkaqmx91FDbsm";
    let node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let mut pool = TestPool::start_with(vec![source(&node)], |config| {
        config.solo.fee_percent = 2.0;
        config.solo.donation_payout = Some(DONATIONS.to_owned());
    })
    .await;
    let script = |address: &str| {
        let address: bitcoin::Address<_> = address.parse().expect("an address");
        address.require_network(Network::Regtest).expect("of regtest").script_pubkey()
    };
    let payout = ScriptBuf::from_hex(PAYOUT_SCRIPT).expect("a script");
    let [legacy, taproot] = ADDRESSES;
    let cases = [
        (ChannelKind::Extended, format!("solo:{legacy}.rig"), script(legacy), 20_000, 0),
        (ChannelKind::Standard, format!("solo:{taproot}.rig;donate=12.5"), script(taproot), 20_000, 125_000),
        (ChannelKind::Extended, "alice.rig".to_owned(), payout.clone(), 1_000_000, 0),
    ];
    // All at once, so that each has jobs of its own on the same templates.
    let mut miners = Vec::new();
    for (kind, user, ..) in &cases {
        miners.push(TestMiner::open(&pool, *kind, user).await);
    }
    for ((_, user, miner_script, fee, donation), miner) in cases.iter().zip(0..) {
        let hash = miners[miner].mine_block().await;
        let accepted = pool.until_accepted(Some(hash)).await;
        assert_eq!(accepted.finder, user.split(';').next().unwrap_or_default().replace("solo:", ""));
        let block = node.block(hash);
        let total = paid(&block, &payout).1;
        let parts = [*fee, *donation].map(|millionths: u64| total * millionths / 1_000_000);
        assert_eq!(paid(&block, &payout).0, parts[0], "{user}");
        assert_eq!(paid(&block, &script(DONATIONS)).0, parts[1], "{user}");
        let rest = if *miner_script == payout { total } else { total - parts[0] - parts[1] };
        assert_eq!(paid(&block, miner_script).0, rest, "{user}");
        for miner in &mut miners {
            miner.until_tip(hash).await;
        }
    }
}
