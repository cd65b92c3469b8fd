//! What is in the ledger after some work.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bitcoin::hashes::Hash;
use integration::{
    pool::{ChannelKind, TestMiner, TestPool},
    process::{PoolProcess, Site},
    swarm::{Plan, Swarm, Tally},
};
use pool::PoolEvent;
use rusqlite::Connection;
use share_ledger::{BlockHash, DATABASE, LEDGER_FOLDER, Reader};
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
    miner.until(|miner| miner.acknowledged() == 3).await;
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

/// What the pool tells of its database: what is wrong, or nothing.
async fn told_of_index(pool: &mut TestPool, is_failing: bool) -> Option<String> {
    pool.until("news of the ledger's database", |event| match event {
        PoolEvent::LedgerIndex { failing } if failing.is_some() == is_failing => Some(failing.clone()),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_with_a_locked_database_says_so_and_acknowledges() {
    let devnet = Devnet::new(DevnetConfig::default()).expect("regtest's target is sound");
    let mut pool = TestPool::start(vec![Arc::new(devnet)]).await;
    let mut miner = TestMiner::open(&pool, ChannelKind::Extended, "alice").await;
    let database = pool.ledger_folder().join(DATABASE);
    let acknowledged = |miner: &TestMiner| miner.acks.iter().map(|ack| ack.new_submits_accepted_count).sum::<u32>();
    let other = Connection::open(&database).expect("the pool's database");
    other.execute_batch("BEGIN EXCLUSIVE").expect("nobody else has it locked for long");
    for count in 1..=3 {
        let hash = miner.mine_block().await;
        pool.until_accepted(Some(hash)).await;
        miner.until(|miner| acknowledged(miner) == count).await;
        miner.until_tip(hash).await;
    }
    let reason = told_of_index(&mut pool, true).await.expect("a reason");
    assert!(reason.contains("locked"), "{reason}");
    let hash = miner.mine_block().await;
    pool.until_accepted(Some(hash)).await;
    miner.until(|miner| acknowledged(miner) == 4).await;
    other.execute_batch("ROLLBACK").expect("the lock is ours");
    told_of_index(&mut pool, false).await;
    pool.stop().await;
    let mut reader = Reader::open(&pool.ledger_folder()).expect("a database");
    assert_eq!(reader.account("alice").expect("a query").expect("alice has an account").totals.shares, 4);
}

/// A file that nobody can write, root included: mounted on itself. None where that is not allowed.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn mount(path: PathBuf) -> Option<Self> {
        let mount = |options: &[&str]| {
            let status = Command::new("mount").args(options).arg(&path).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let text = path.to_str().expect("a plain path");
        if !mount(&["--bind", text]) {
            return None;
        }
        let mounted = Self(path.clone());
        mount(&["-o", "remount,bind,ro"]).then_some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // The pool may have it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Miners who submit for a while.
async fn mine(site: &Site, pool: &PoolProcess) -> Tally {
    let plan = Plan {
        address: pool.address.clone(),
        security: site.security(),
        miners: 3,
        from: [127, 0, 0, 1].into(),
        interval: Duration::from_millis(20),
    };
    let mut swarm = Swarm::start(&plan);
    swarm.until(|miner| miner.acknowledged >= 10).await;
    swarm.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_with_a_read_only_database_says_so_and_acknowledges() {
    const PROGRAM: &str = env!("CARGO_BIN_EXE_test-pool");
    let site = Site::new("[shares]\nvardiff = false");
    let folder = site.data_dir().join(LEDGER_FOLDER);
    let mut pool = site.start(Path::new(PROGRAM), &[]);
    let before = mine(&site, &pool).await;
    pool.terminate();
    assert!(pool.wait().success());
    let Some(read_only) = ReadOnly::mount(folder.join(DATABASE)) else {
        return println!("not tested: no file can be mounted here");
    };
    assert!(fs::OpenOptions::new().write(true).open(folder.join(DATABASE)).is_err());
    let mut pool = site.start(Path::new(PROGRAM), &[]);
    let meanwhile = mine(&site, &pool).await;
    pool.until("database does not follow its log");
    let also = mine(&site, &pool).await;
    drop(read_only);
    pool.until("database follows its log again");
    let after = mine(&site, &pool).await;
    pool.terminate();
    assert!(pool.wait().success());
    let mut acknowledged = 0;
    for tally in [before, meanwhile, also, after] {
        assert_eq!((tally.unanswered, tally.refused), (0, 0), "{:?}", tally.failures);
        acknowledged += tally.acknowledged;
    }
    let mut reader = Reader::open(&folder).expect("a database");
    let shares = reader.overview().expect("a query").shares;
    assert_eq!(shares, acknowledged, "each acknowledged share counts, once");
}
