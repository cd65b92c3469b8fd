//! The swarm of `stratum load` against the pool: its figures add up, whatever the pool's speed.

use std::{sync::Arc, time::Duration};

use bitcoin::CompactTarget;
use integration::pool::{LIMIT, TestPool};
use load::{ChannelKind, Pace, Plan, Report, SwarmConfig};
use network_helpers::Security;
use template_source::devnet::{Devnet, DevnetConfig};

/// A pool whose shares are no blocks.
async fn pool() -> TestPool {
    let config = DevnetConfig { nbits: CompactTarget::from_consensus(0x1d00_ffff), ..DevnetConfig::default() };
    let devnet = Devnet::new(config).expect("difficulty 1");
    TestPool::start_with(vec![Arc::new(devnet)], |config| config.shares.vardiff = false).await
}

fn plan(address: &str, security: Security) -> Plan {
    let swarm = SwarmConfig::new(address.parse().expect("an address"), security);
    Plan {
        swarm,
        connections: 200,
        in_flight: 32,
        waves: 0,
        wave_connections: 0,
        shares: Some(Pace::PerSecond(2_000.0)),
        time: Duration::from_secs(1),
        pool_pid: None,
    }
}

async fn run(plan: Plan) -> Report {
    let run = tokio::task::spawn_blocking(move || load::run(&plan, &mut |_| true));
    tokio::time::timeout(LIMIT, run).await.expect("it ends").expect("no panic").expect("a report")
}

/// All that was sent has an answer, and both sides count the same.
fn adds_up(report: &Report, connections: u64) {
    let found = &report.connections;
    assert_eq!((found.asked, found.connected), (connections, connections), "{:?}", found.failed);
    assert!(found.failed.is_empty() && report.lost.is_empty(), "{:?} {:?}", found.failed, report.lost);
    let shares = report.shares.as_ref().expect("shares were sent");
    assert_eq!(shares.accepted, shares.acknowledged);
    assert_eq!(shares.submitted, shares.accepted + shares.rejected.values().sum::<u64>() + shares.unanswered);
    assert!(shares.accepted > 0 && shares.unanswered == 0, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_connects_and_each_share_is_acknowledged() {
    let pool = pool().await;
    let report = run(plan(&pool.address(), pool.security())).await;
    adds_up(&report, 200);
    let shares = report.shares.as_ref().expect("shares were sent");
    assert!(shares.rejected.is_empty(), "{:?}", shares.rejected);
    assert_eq!(shares.hashes_per_share, 1.0);
    let json: serde_json::Value = serde_json::from_str(&report.json().expect("JSON")).expect("JSON");
    assert_eq!(json["shares"]["accepted"], shares.accepted);
    assert_eq!(json["connections"]["connected"], 200);
    assert!(report.table().contains("200 of 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_standard_channels_beside_waves_and_slow_readers() {
    let pool = pool().await;
    let mut plan = plan(&pool.plain_address(), Security::Plain);
    plan.swarm.channel = ChannelKind::Standard;
    plan.swarm.slow_readers = 0.1;
    plan.swarm.window = 8;
    (plan.connections, plan.waves, plan.wave_connections) = (50, 2, 20);
    // Few enough for the pool's bound on the shares of one tip.
    (plan.shares, plan.time) = (Some(Pace::AsAcknowledged), Duration::from_millis(200));
    let report = run(plan).await;
    adds_up(&report, 50);
    let waves = report.waves.expect("waves came");
    assert_eq!((waves.asked, waves.connected), (40, 40), "{:?}", waves.failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_connects_where_nobody_listens() {
    let mut pool = pool().await;
    let plan = plan(&pool.address(), pool.security());
    pool.stop().await;
    let report = run(plan).await;
    assert!(!report.connected() && report.shares.is_none());
    assert_eq!(report.connections.failed.values().sum::<u64>(), 200);
}
