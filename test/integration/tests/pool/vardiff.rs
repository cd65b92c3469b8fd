//! Targets that follow what a miner delivers.

use std::{num::NonZeroU32, sync::Arc};

use bitcoin::CompactTarget;
use integration::pool::{LIMIT, TestPool};
use mining_device::{ChannelKind, MinerConfig, Status};
use stratum_runtime::shutdown::Shutdown;
use template_source::devnet::{Devnet, DevnetConfig};
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_that_names_no_hashrate_gets_a_harder_target_and_loses_no_share() {
    // Blocks as hard as on the main chain: nothing but shares is found.
    let config = DevnetConfig { nbits: CompactTarget::from_consensus(0x1705_3894), ..DevnetConfig::default() };
    let devnet = Devnet::new(config).expect("a sound target");
    let pool = TestPool::start(vec![Arc::new(devnet)]).await;
    for channel in [ChannelKind::Standard, ChannelKind::Extended { min_extranonce_size: 8 }] {
        let shutdown = Shutdown::new();
        let (sender, mut status) = watch::channel(Status::default());
        let miner = MinerConfig {
            channel,
            threads: NonZeroU32::new(1),
            nominal_hashrate: Some(0.0),
            max_shares_per_second: 500.0,
            ..MinerConfig::new(pool.url().parse().expect("a URL"), "cpu")
        };
        let miner = tokio::spawn(mining_device::run(miner, shutdown.clone(), sender));
        // Every hash meets the first target. Five hundred shares a second are 2^11 times what the pool wants.
        // The job that the target holds for comes behind it.
        let harder =
            |status: &Status| status.jobs >= 2 && status.target.is_some_and(|target| target.leading_zeros() >= 8);
        let status = tokio::time::timeout(LIMIT, status.wait_for(harder)).await;
        let status = status.expect("the target gets harder").expect("the miner runs").clone();
        assert!(status.rejected.is_empty(), "{status}");
        shutdown.cancel();
        miner.await.expect("no panic").expect("no error");
    }
}
