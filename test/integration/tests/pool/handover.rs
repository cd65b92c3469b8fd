//! A running pool is replaced under its miners.

use std::{collections::BTreeSet, net::TcpListener, path::Path, time::Duration};

use integration::{
    http::{get, send, until},
    pool::{ChannelKind, TestMiner},
    process::Site,
    swarm::{Plan, Swarm, connect},
};
use network_helpers::{Connection, Security};
use share_ledger::{
    LEDGER_FOLDER,
    log::{Entry, Step},
    read_log,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_test-pool");

fn plan(site: &Site, address: &str, miners: usize) -> Plan {
    Plan {
        address: address.to_owned(),
        security: site.security(),
        miners,
        from: [127, 0, 0, 1].into(),
        interval: Duration::from_millis(200),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_running_pool_is_replaced_under_its_miners() {
    let site = Site::new("[shares]\nvardiff = false\n[limits]\ndrain_seconds = 30");
    let mut old = site.start(Path::new(PROGRAM), &[]);
    let plan = plan(&site, &old.address, 500);
    let mut swarm = Swarm::start(&plan);
    swarm.until(|miner| miner.acknowledged > 0).await;
    // Somebody connects all the while.
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let newcomers = tokio::spawn({
        let plan = plan.clone();
        async move {
            let mut connected = 0;
            while !*stopped.borrow_and_update() {
                connect(&plan.address, plan.from, plan.security).await.expect("no connection is refused");
                connected += 1;
            }
            connected
        }
    });
    let mut new = site.start(Path::new(PROGRAM), &["--take-over"]);
    assert_eq!(new.address, old.address);
    new.until("taking over");
    assert!(old.wait().success());
    swarm.until(|miner| miner.moves == 1 && miner.acknowledged > 0).await;
    stop.send_replace(true);
    assert!(newcomers.await.unwrap() > 0);
    let tally = swarm.stop().await;
    assert_eq!(tally.failures, Vec::<String>::new());
    assert_eq!((tally.unanswered, tally.refused, tally.moved), (0, 0, 500), "{} submitted", tally.submitted);
    assert_eq!(tally.prefixes.len(), 1000);
    tally.assert_disjoint();
    // The folder is the new process' own: a third one can take over, and then ends when told.
    let mut third = site.start(Path::new(PROGRAM), &["--take-over"]);
    third.until("taking over");
    assert!(new.wait().success());
    third.terminate();
    assert!(third.wait().success());
    assert_eq!(recorded(&site), tally.acknowledged, "each acknowledged share is in the ledger, once");
}

#[test]
fn the_api_goes_over_to_the_new_process() {
    let site = Site::new("[http]\noperator = '127.0.0.1:0'");
    let address = |line: String| line.split_once("at http://").unwrap().1.split('"').next().unwrap().to_owned();
    let mut old = site.start(Path::new(PROGRAM), &[]);
    let http = address(old.until("dashboard and API"));
    let started = get(http.parse().unwrap(), "/api/v1/pool")["started_at"].clone();
    let mut new = site.start(Path::new(PROGRAM), &["--take-over"]);
    assert_eq!(address(new.until("dashboard and API")), http);
    new.until("taking over");
    assert!(old.wait().success());
    let after = until(http.parse().unwrap(), "/api/v1/pool", |pool| pool["ledger"]["ok"] == true);
    assert_ne!(after["started_at"], started);
    assert_eq!(send(http.parse().unwrap(), "GET", "/readyz", "").status, 200);
    new.terminate();
    assert!(new.wait().success());
}

/// How many shares the ledger has, none of them twice.
fn recorded(site: &Site) -> u64 {
    let mut log = read_log(&site.data_dir().join(LEDGER_FOLDER)).unwrap();
    let mut shares = BTreeSet::new();
    while let Some(step) = log.next(u64::MAX).unwrap() {
        let Step::Batch(batch) = step else { panic!("a log without damage") };
        for entry in batch.entries() {
            if let Entry::Share(share) = entry.unwrap() {
                assert!(shares.insert(share.hash), "a share twice");
            }
        }
    }
    shares.len() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pool_that_is_terminated_answers_its_miners_and_sends_them_back() {
    let site = Site::new("[shares]\nvardiff = false\n[limits]\ndrain_seconds = 30");
    let mut pool = site.start(Path::new(PROGRAM), &[]);
    let mut swarm = Swarm::start(&plan(&site, &pool.address, 20));
    swarm.until(|miner| miner.acknowledged > 0).await;
    pool.terminate();
    assert!(pool.wait().success());
    let tally = swarm.stop().await;
    assert_eq!((tally.unanswered, tally.refused), (0, 0), "{:?}", tally.failures);
}

/// A service manager holds the port: whoever connects before the pool runs is served by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_a_service_manager_are_used_by_address_and_by_name() {
    // The name, and not the address, says which socket is meant.
    for (socket, named) in [("", false), ("socket = 'farm'", true)] {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let configured = if named { "127.0.0.2:1" } else { &address };
        let site = Site::new("");
        let text = std::fs::read_to_string(site.config()).unwrap();
        let listen = format!("address = '{configured}', noise = false, {socket}");
        let text = text.replace("address = '127.0.0.1:0'", listen.trim_end_matches([',', ' ']));
        std::fs::write(site.config(), text).unwrap();
        let Some(mut pool) = site.activate(Path::new(PROGRAM), &address, "farm") else {
            return println!("not tested: there is no systemd-socket-activate");
        };
        pool.until("Listening on");
        let connection = Connection::connect(&address, Security::Plain).await.expect("the port is held");
        let miner = TestMiner::open_on(connection, ChannelKind::Extended, "alice").await;
        let line = pool.until_listening();
        assert!(line.contains("\"inherited\":true"), "{line}");
        assert_eq!(pool.address, address);
        drop(miner);
        pool.terminate();
        assert!(pool.wait().success());
    }
}

#[test]
fn a_changed_configuration_is_reloaded_as_far_as_it_can_be() {
    let site = Site::new("[limits]\nchannels = 7");
    let mut pool = site.start(Path::new(PROGRAM), &[]);
    let text = std::fs::read_to_string(site.config()).unwrap();
    let changed = text.replace("channels = 7", "channels = 8\nhalf_open = 9");
    std::fs::write(site.config(), changed).unwrap();
    pool.hang_up();
    assert!(pool.until("configuration reloaded").contains("limits.channels"));
    assert!(pool.until("need a new process").contains("limits.half_open"));
    std::fs::write(site.config(), "nonsense = 1").unwrap();
    pool.hang_up();
    assert!(pool.until("was not reloaded").contains("nonsense"));
}
