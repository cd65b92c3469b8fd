//! Miners of Stratum V1 behind a translator in front of the pool.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use integration::{
    core::{CoreNode, CoreOptions, anyone_can_spend},
    http,
    pool::{LIMIT, TestPool},
    sources::ipc,
    v1::{Device, dialects, steady::V1Miner},
};
use roles_logic_sv2::Target;
use share_ledger::Reader;
use stratum_runtime::{shutdown::Shutdown, sockets::Inherited};
use template_source::{
    TemplateSource,
    devnet::{Devnet, DevnetConfig},
};
use tokio::sync::watch;
use translator::{
    Translator, TranslatorConfig,
    config::{Channels, Listen, Shares, Upstream},
    snapshot::{RouteUp, Snapshot},
    stats::Tallies,
};

/// No share of these tests is a block.
const HARD_NBITS: u32 = 0x1d00_ffff;

fn devnet(nbits: Option<u32>) -> Vec<Arc<dyn TemplateSource>> {
    let config = nbits.map_or_else(DevnetConfig::default, |nbits| DevnetConfig {
        nbits: bitcoin::CompactTarget::from_consensus(nbits),
        ..DevnetConfig::default()
    });
    vec![Arc::new(Devnet::new(config).expect("a sound target"))]
}

fn upstream(pool: &TestPool) -> Upstream {
    Upstream { name: None, url: pool.url(), noise: true, user: "farm".into(), route: "main".into() }
}

fn listen() -> Vec<Listen> {
    let address = "127.0.0.1:0".parse().expect("an address");
    vec![Listen {
        address,
        tls: None,
        socket: None,
        ipv6_only: false,
        proxy: stratum_runtime::listener::Proxies::default(),
    }]
}

struct Running {
    translator: Option<Translator>,
    shutdown: Shutdown,
    address: String,
}

impl Running {
    fn start(upstreams: Vec<Upstream>, change: impl FnOnce(&mut TranslatorConfig)) -> Self {
        let mut config = TranslatorConfig { listen: listen(), upstream: upstreams, ..TranslatorConfig::new() };
        // Devices of these tests are slow.
        config.shares = Shares { start_difficulty: 1e-9, vardiff: false, miner_hashrate: 0.01, ..config.shares };
        config.limits.drain_seconds = 0;
        config.http.operator = "127.0.0.1:0".parse().expect("an address");
        change(&mut config);
        let shutdown = Shutdown::new();
        let translator = Translator::start(&config, Inherited::default(), shutdown.clone()).expect("it starts");
        let address = translator.addresses()[0].to_string();
        Self { translator: Some(translator), shutdown, address }
    }

    fn translator(&self) -> &Translator {
        self.translator.as_ref().expect("it runs")
    }

    /// What became of all shares; checked to add up.
    fn tallies(&self) -> Tallies {
        let totals = self.translator().registry().totals();
        let Tallies { accepted, confirmed, provisional, local, .. } = &totals;
        assert_eq!(accepted.work, confirmed.work + provisional.work + local.work);
        assert_eq!(accepted.shares, confirmed.shares + provisional.shares + local.shares);
        totals
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        let translator = self.translator.take().expect("it runs");
        tokio::time::timeout(LIMIT, translator.join()).await.expect("it ends");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_stratum_v1_through_a_translator_are_accepted_by_bitcoin_core() {
    let node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let mut pool = TestPool::start(vec![ipc(&node)]).await;
    for channels in [Channels::Aggregated, Channels::PerMiner] {
        let running = Running::start(vec![upstream(&pool)], |config| config.channels = channels);
        let mut miner = V1Miner::connect(&running.address, "alice.rig").await;
        for _ in 0..2 {
            let best = node.best_hash();
            miner.until("a job on the tip", |miner| miner.prev_hash() == best).await;
            let hash = miner.mine(Target::from_compact(0x207f_ffff).expect("regtest's")).await;
            pool.until_accepted(Some(hash)).await;
            assert_eq!(node.best_hash(), hash);
        }
        miner.until("answers", |miner| miner.waiting() == 0).await;
        assert_eq!((miner.accepted, miner.refused.len()), (2, 0), "{:?}", miner.refused);
        assert_eq!(running.tallies().confirmed.shares, 2);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_device_of_the_field_mines_through_a_translator() {
    let mut pool = TestPool::start(devnet(None)).await;
    for channels in [Channels::Aggregated, Channels::PerMiner] {
        let running = Running::start(vec![upstream(&pool)], |config| config.channels = channels);
        for dialect in dialects::ALL {
            let mut device = Device::connect(&running.address, dialect, "alice.rig", "x").await;
            for block in [false, true, false, true] {
                let found = device.submit_share(Some(block)).await;
                let answer = device.answer(found.request).await;
                assert_eq!(answer["result"], true, "{channels:?}, {}: {answer}", dialect.name);
                if block {
                    pool.until_accepted(Some(found.hash)).await;
                    device.until_tip(found.hash).await;
                }
                device.keep_alive().await;
            }
        }
        running.tallies();
        running.stop().await;
    }
}

/// What each was told, what the translator counts and what is in the pool's ledger are the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_credited_that_was_not_made_and_nothing_twice() {
    for channels in [Channels::Aggregated, Channels::PerMiner] {
        let change = |config: &mut pool::PoolConfig| config.shares.vardiff = false;
        let mut pool = TestPool::start_with(devnet(Some(HARD_NBITS)), change).await;
        let running = Running::start(vec![upstream(&pool)], |config| config.channels = channels);
        let mut miners = Vec::new();
        for number in 0..10 {
            miners.push(V1Miner::connect(&running.address, &format!("alice.rig{number}")).await);
        }
        for miner in &mut miners {
            for _ in 0..5 {
                miner.mine(Target::MAX).await;
            }
        }
        for miner in &mut miners {
            miner.until("answers", |miner| miner.waiting() == 0).await;
        }
        let (told, refused): (u64, usize) =
            miners.iter().fold((0, 0), |(told, refused), miner| (told + miner.accepted, refused + miner.refused.len()));
        let tallies = running.tallies();
        assert_eq!((tallies.accepted.shares, tallies.provisional.shares), (told, 0));
        assert_eq!(tallies.rejected.values().sum::<u64>(), refused as u64);
        let upstream = running.translator().status().upstreams.remove(0);
        // The API says the same.
        let operator = running.translator().operator_address().expect("it is served");
        let shown = http::get(operator, "/api/v1/translator");
        assert_eq!(shown["shares"]["accepted"]["shares"], told);
        assert_eq!(shown["shares"]["confirmed"]["shares"], tallies.confirmed.shares);
        assert_eq!((&shown["miners"], &shown["upstreams"][0]["state"]), (&10.into(), &"active".into()));
        let list = http::get(operator, "/api/v1/miners?offset=1&limit=9");
        let items = list["items"].as_array().expect("a list");
        assert_eq!((items.len(), &list["total"], &items[0]["route"]), (9, &10.into(), &"main".into()));
        let sum = |list: &[serde_json::Value]| {
            list.iter().filter_map(|miner| miner["shares"]["accepted"]["shares"].as_u64()).sum::<u64>()
        };
        let first = http::get(operator, "/api/v1/miners?limit=1");
        assert_eq!(sum(items) + sum(first["items"].as_array().expect("a list")), told);
        assert_eq!(http::send(operator, "GET", "/readyz", "").status, 200);
        let metrics = http::send(operator, "GET", "/metrics", "").body;
        assert!(metrics.contains("stratum_translator_miners 10"), "{metrics}");
        assert!(
            metrics.contains(&format!("shares_accepted_total{{ground=\"upstream\"}} {}", tallies.confirmed.shares))
        );
        drop(miners);
        running.stop().await;
        pool.stop().await;
        let farm = Reader::open(&pool.ledger_folder()).expect("a database").account("farm").expect("a query");
        let recorded = farm.map_or(0, |farm| farm.totals.shares);
        assert_eq!(recorded, tallies.confirmed.shares, "{channels:?}: {tallies:?}, {upstream:?}");
        assert!(recorded > 0);
    }
}

const MINERS: usize = 200;

/// Mines at a steady pace, and tells how many shares were accepted.
async fn work(mut miner: V1Miner, told: watch::Sender<u64>, end: Shutdown) -> V1Miner {
    let pace = Duration::from_millis(500);
    let mut counted = 0;
    while !end.is_cancelled() && !miner.is_closed {
        miner.mine(Target::MAX).await;
        miner.read_for(pace).await;
        told.send_modify(|told| *told += miner.accepted - counted);
        counted = miner.accepted;
    }
    miner.until("answers", |miner| miner.waiting() == 0).await;
    miner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_miners_survive_the_death_of_a_pool_and_its_return() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    // Targets stay easy, so that most shares are for the upstream.
    let easy = |config: &mut pool::PoolConfig| config.shares.vardiff = false;
    let mut first = TestPool::start_with(devnet(Some(HARD_NBITS)), |config| {
        config.listen[0].address = port;
        easy(config);
    })
    .await;
    let second = TestPool::start_with(devnet(Some(HARD_NBITS)), easy).await;
    let upstreams = vec![upstream(&first), upstream(&second)];
    let running = Running::start(upstreams, |config| config.failover.settle_seconds = 2);
    let end = Shutdown::new();
    let (told, mut accepted) = watch::channel(0);
    let mut tasks = Vec::new();
    for number in 0..MINERS {
        let miner = V1Miner::connect(&running.address, &format!("alice.rig{number}")).await;
        tasks.push(tokio::spawn(work(miner, told.clone(), end.clone())));
    }
    let mut snapshots = running.translator().snapshots();
    let mut until = async |upstream: usize| {
        let leads_there = |snapshot: &Arc<Snapshot>| match snapshot.routes.first().and_then(|route| route.up.as_ref()) {
            Some(RouteUp::Shared(channel)) => channel.upstream == upstream,
            _ => false,
        };
        let change = tokio::time::timeout(LIMIT, snapshots.wait_for(leads_there)).await;
        drop(change.unwrap_or_else(|_| panic!("not active: {upstream}")).expect("the translator runs"));
    };
    let mut mined = async || {
        let least = *accepted.borrow() + 3 * MINERS as u64;
        let wait = tokio::time::timeout(LIMIT, accepted.wait_for(|accepted| *accepted >= least)).await;
        drop(wait.expect("shares are accepted").expect("miners run"));
    };
    until(0).await;
    mined().await;
    let killed = Instant::now();
    first.stop().await;
    until(1).await;
    mined().await;
    let _first = first.restart(devnet(Some(HARD_NBITS))).await;
    until(0).await;
    let returned = Instant::now();
    mined().await;
    end.cancel();
    let mut worst = [Duration::ZERO; 2];
    let (mut told, mut refused) = (0, std::collections::BTreeMap::<String, u64>::new());
    for task in tasks {
        let miner = task.await.expect("no miner panics");
        assert!(!miner.is_closed, "no miner loses its connection");
        told += miner.accepted;
        miner.refused.iter().for_each(|reason| *refused.entry(reason.clone()).or_default() += 1);
        for (worst, change) in worst.iter_mut().zip([killed, returned]) {
            let before = miner.accepted_at.iter().rev().find(|at| **at <= change).expect("it mined before");
            let after = miner.accepted_at.iter().find(|at| **at > change).expect("it mines again");
            *worst = (*worst).max(after.duration_since(*before));
        }
    }
    let tallies = running.tallies();
    assert_eq!(tallies.accepted.shares, told);
    assert!(tallies.confirmed.shares > told / 10, "{tallies:?}");
    println!(
        "{MINERS} miners, a share each 500 ms: longest time between two accepted shares of a miner {:?} around the pool's death, {:?} around \
         its return; {told} accepted ({} confirmed, {} provisional, {} local), refused {refused:?}",
        worst[0], worst[1], tallies.confirmed.shares, tallies.provisional.shares, tallies.local.shares,
    );
    running.stop().await;
}
