use std::time::Instant;

use roles_logic_sv2::extranonce::{Layout, Space};
use share_ledger::Difficulty;

use super::*;
use crate::{
    ledger::Worker,
    registry::{Kind, NewChannel, NewConnection, Protocol, SWEEP},
    user::Policy,
};

/// The operator's view of a pool without a ledger, and what holds its token.
fn operator() -> (View, tempfile::TempDir) {
    let config = crate::testing::config();
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let registry = Registry::new(clock.now());
    let space = Space::new(Layout::SV2_DEFAULT, 0, 1).unwrap();
    let payouts = Arc::new(crate::testing::payouts(&config));
    let ending = Shutdown::new();
    let insight = Insight {
        facts: Facts {
            network: config.network,
            devnet: true,
            coinbase_tag: config.coinbase_tag.clone(),
            authority_key: None,
            listeners: [1, 2].map(|port| listener("one", port)).into(),
            started_at: clock.now(),
        },
        clock,
        board: Arc::new(Board::new(clock.now(), [])),
        gate: config.limits.gate(),
        reloader: Arc::new(Reloader::new(&config, &space, &payouts, &registry, Vec::new()).unwrap()),
        registry,
        shutdown: ending.clone(),
        nudge: Arc::default(),
        confirmations: 100,
        watchers: watchers(&config.http, &ending),
    };
    let view = View::new(Inner {
        events: insight.watchers[0].clone(),
        insight: Arc::new(insight),
        is_operator: true,
        names_accounts: true,
        token: Token::load_or_create(&folder.path().join("token")).unwrap(),
        records: Records::new(folder.path().to_owned()),
        sizes: Arc::default(),
    });
    (view, folder)
}

fn listener(name: &str, port: u16) -> ListenerFacts {
    ListenerFacts { name: name.to_owned(), address: format!("127.0.0.1:{port}"), noise: false, v1: false }
}

async fn metrics(view: &View) -> String {
    let answer = metrics::metrics(axum::extract::State(view.clone())).await.unwrap();
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A hundred thousand workers make the metrics no longer.
#[tokio::test]
async fn the_number_of_series_does_not_grow_with_the_miners() {
    const WORKERS: u32 = 100_000;
    let (view, _folder) = operator();
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let registry = &view.insight.registry;
    let now = view.now();
    let address = "192.0.2.1:1".parse().unwrap();
    let connect = || registry.connect(now, NewConnection { listener: 0, protocol: Protocol::V2, address, device: &[] });
    let connection = connect();
    let open = |id: u32| {
        let worker = Arc::new(Worker::new(format!("account{}", id % 1000), format!("rig{id}")));
        let new = NewChannel { id, kind: Kind::Standard, policy: Policy::Pool, worker, difficulty: 1.0 };
        let channel = connection.open(now, new);
        channel.accepted(now, 1 << 40, Difficulty::new(1.0));
        channel
    };
    let first = open(0);
    registry.sweep(now + SWEEP);
    let few = metrics(&view).await;
    let rest: Vec<_> = (1..WORKERS).map(open).collect();
    let begin = Instant::now();
    registry.sweep(now + 2 * SWEEP);
    let swept = begin.elapsed();
    let begin = Instant::now();
    let many = metrics(&view).await;
    println!("{WORKERS} workers: sweep {swept:?}, metrics {:?}, {} bytes", begin.elapsed(), many.len());
    assert_eq!(series(&few), series(&many), "{many}");
    let mut names: Vec<_> = many.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert!(
        names.windows(2).all(|two| two[0] != two[1] || two[0].starts_with('#')),
        "no series is there twice: {many}"
    );
    assert!(many.contains("stratum_pool_connections{listener=\"one\",protocol=\"v2\"} 1\n"), "{many}");
    assert!(many.contains(&format!("stratum_pool_workers {WORKERS}\n")), "{many}");
    assert!(many.contains(&format!("stratum_pool_shares_accepted_total {WORKERS}\n")), "{many}");
    assert!(!many.contains("account7") && !many.contains("rig7") && !many.contains("192.0.2.1"));
    drop((first, rest));
}

#[test]
fn what_a_block_creates_is_known_where_halvings_are() {
    let subsidy = view::subsidy;
    assert_eq!(subsidy(Network::Bitcoin, false, 209_999, 0), Some(50 * 100_000_000));
    assert_eq!(subsidy(Network::Bitcoin, false, 840_000, 0), Some(312_500_000));
    assert_eq!(subsidy(Network::Bitcoin, false, 64 * 210_000, 0), Some(0));
    assert_eq!(subsidy(Network::Regtest, false, 150, 0), Some(25 * 100_000_000));
    assert_eq!(subsidy(Network::Regtest, true, 1_000_000, 5_000_000_123), Some(5_000_000_000));
    assert_eq!(subsidy(Network::Regtest, true, 1, 2_500_000_001), Some(2_500_000_000));
    assert_eq!(subsidy(Network::Regtest, true, 1, 0), Some(0), "after the last halving");
}
