//! Miners of Stratum V1 on the pool's port.

use std::{num::NonZeroU32, sync::Arc};

use integration::{
    core::{CoreNode, CoreOptions, anyone_can_spend},
    pool::{ChannelKind, LIMIT, TestMiner, TestPool},
    sources::ipc,
    v1::{
        Device,
        dialects::{self, Dialect},
    },
};
use mining_device::{MinerConfig, Protocol, Status};
use pool::config::Tls;
use stratum_runtime::{
    files::{Access, write_durably},
    shutdown::Shutdown,
};
use template_source::devnet::{Devnet, DevnetConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

fn devnet() -> Devnet {
    Devnet::new(DevnetConfig::default()).expect("regtest's target is sound")
}

/// Shares that are accepted, a block that is too, and a job on it.
async fn mine(pool: &mut TestPool, dialect: &'static Dialect) {
    let address = pool.address();
    let mut device = Device::connect(&address, dialect, "alice.rig", "x").await;
    for block in [false, true, false, true] {
        let found = device.submit_share(Some(block)).await;
        let answer = device.answer(found.request).await;
        assert_eq!(answer["result"], true, "{}: {answer}", dialect.name);
        if block {
            pool.until_accepted(Some(found.hash)).await;
            device.until_tip(found.hash).await;
            assert!(device.jobs[0].clean, "{}: earlier jobs are over", dialect.name);
        }
        device.keep_alive().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_device_of_the_field_mines() {
    let mut pool = TestPool::start(vec![Arc::new(devnet())]).await;
    for dialect in dialects::ALL {
        mine(&mut pool, dialect).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_serves_what_it_says_and_nothing_else() {
    let mut pool = TestPool::start_with(vec![Arc::new(devnet())], |config| {
        (config.listen[0].v1, config.listen[1].v2) = (false, false);
    })
    .await;
    let subscribe = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a device\"]}\n";
    let mut refused = TcpStream::connect(pool.address()).await.expect("a port");
    refused.write_all(subscribe).await.expect("a socket");
    assert!(matches!(refused.read(&mut [0]).await, Ok(0) | Err(_)), "no Stratum V1 here");
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "bob").await;
    let hash = miner.mine_block().await;
    pool.until_accepted(Some(hash)).await;
    let mut device = Device::connect(&pool.plain_address(), &dialects::BITAXE, "alice", "x").await;
    let found = device.submit_share(Some(true)).await;
    pool.until_accepted(Some(found.hash)).await;
    let mut refused = TcpStream::connect(pool.plain_address()).await.expect("a port");
    refused.write_all(&[7; 64]).await.expect("a socket");
    assert!(matches!(refused.read(&mut [0]).await, Ok(0) | Err(_)), "no Stratum V2 here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_miners_of_each_protocol_find_blocks_on_one_port() {
    let node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    write_durably(&certificate_file, made.cert.pem().as_bytes(), Access::Public).expect("a file");
    write_durably(&key_file, made.signing_key.serialize_pem().as_bytes(), Access::Secret).expect("a file");
    let tls = Tls { certificate_file: certificate_file.clone(), key_file, only: false };
    let mut pool = TestPool::start_with(vec![ipc(&node)], |config| config.listen[0].tls = Some(tls)).await;
    let shutdown = Shutdown::new();
    let v1 = |tls| Protocol::V1 { password: "x".to_owned(), tls };
    let extended = mining_device::ChannelKind::Extended { min_extranonce_size: 8 };
    let kinds = [
        ("v1", v1(None), extended),
        ("v1-tls", v1(Some(certificate_file)), extended),
        ("v2-standard", Protocol::V2, mining_device::ChannelKind::Standard),
        ("v2-extended", Protocol::V2, extended),
    ];
    let names: std::collections::BTreeSet<_> = kinds.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let miners = kinds.map(|(name, protocol, channel)| {
        let url = pool.url().parse().expect("a URL");
        let threads = NonZeroU32::new(1);
        let config =
            MinerConfig { protocol, channel, threads, max_shares_per_second: 4.0, ..MinerConfig::new(url, name) };
        let (sender, status) = watch::channel(Status::default());
        (tokio::spawn(mining_device::run(config, shutdown.clone(), sender)), status)
    });
    let mut finders = std::collections::BTreeSet::new();
    while finders != names {
        finders.insert(pool.until_accepted(None).await.finder);
    }
    // Two blocks may have had one height.
    assert!(node.height() > 20);
    for (_, status) in &miners {
        // The node may know a block before its miner hears that it is on disk.
        let mut status = status.clone();
        let accepted = tokio::time::timeout(LIMIT, status.wait_for(|status| status.accepted > 0)).await;
        let status = accepted.expect("its shares are acknowledged").expect("it mines").clone();
        assert_eq!((status.channels_opened, status.disconnects), (1, 0), "no connection was lost: {status}");
    }
    shutdown.cancel();
    for (task, _) in miners {
        task.await.expect("no panic").expect("no error");
    }
}
