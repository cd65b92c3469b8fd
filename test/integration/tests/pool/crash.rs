//! A pool's process that is killed without warning, and a disk that is full: no acknowledged share is lost, none counts twice.
//!
//! The process is this program again, with one test that runs the pool (`pool_process`). `cargo xtask crash --kills N` kills it more
//! often.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, SystemTime},
};

use bitcoin::{BlockHash, hashes::Hash};
use integration::{
    core::{CoreNode, CoreOptions, anyone_can_spend},
    pool::{ChannelKind, LIMIT, PAYOUT_SCRIPT, TestMiner},
};
use network_helpers::{Connection, Security};
use pool::{cli::PoolArgs, session::NOT_RECORDED};
use roles_logic_sv2::channel::client::Submission;
use share_ledger::{
    DATABASE, LEDGER_FOLDER, ShareHash,
    log::{Entry, Step},
    read_log,
};

/// The configuration of a process to run.
const CONFIG: &str = "CRASH_TEST_CONFIG";
/// How often the pool is killed; see `cargo xtask crash`.
const KILLS: &str = "CRASH_TEST_KILLS";
/// Kills, unless said otherwise.
const FEW_KILLS: u64 = 4;
/// Shares of a miner that wait for their answers.
const WINDOW: usize = 64;
/// Blocks as hard as on the main chain: nothing but shares is found.
const HARD: u32 = 0x1705_3894;

/// Runs a pool until it is killed; only ever started by the tests below.
#[test]
#[ignore = "the process of the other tests"]
fn pool_process() {
    let Some(config) = std::env::var_os(CONFIG) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let code = runtime.block_on(pool::cli::run(PoolArgs { config: config.into(), log_json: false, take_over: false }));
    assert_eq!(code, ExitCode::SUCCESS);
}

/// A pool in a process of its own, on a folder that outlives it.
struct Process {
    config: PathBuf,
    data_dir: PathBuf,
    address: String,
    child: Option<Child>,
}

impl Process {
    /// The configuration in `folder`, with data in `data_dir`; nothing runs yet.
    fn new(folder: &Path, data_dir: PathBuf, source: &str) -> Self {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let text = format!(
            "network = 'regtest'\npayout = 'raw({PAYOUT_SCRIPT})'\ndata_dir = '{}'\nshards = 2\n\
             [[listen]]\naddress = '{address}'\nnoise = false\n[[source]]\n{source}\n\
             [shares]\nvardiff = false\nntime_tolerance = 7200\njob_refresh_seconds = 1\n\
             [limits]\ninvalid_shares_burst = 1e9\n\
             [http]\noperator = false\n",
            data_dir.display()
        );
        let config = folder.join("pool.toml");
        fs::write(&config, text).expect("a configuration");
        Self { config, data_dir, address, child: None }
    }

    /// Adds to the configuration.
    fn configure(&self, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(&self.config).expect("a configuration");
        file.write_all(text.as_bytes()).expect("a configuration");
    }

    fn start(&mut self) {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["crash::pool_process", "--exact", "--ignored", "--nocapture"])
            .env(CONFIG, &self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("the pool's process"));
    }

    /// SIGKILL.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().and_then(|()| child.wait()).expect("the pool is killed");
        }
    }

    /// SIGTERM, and the end.
    fn stop(&mut self) {
        let mut child = self.child.take().expect("a running pool");
        let asked = Command::new("kill").arg(child.id().to_string()).status();
        assert!(asked.is_ok_and(|status| status.success()));
        assert!(child.wait().expect("the pool ends").success());
    }

    /// Connects as soon as the pool listens.
    async fn miner(&mut self, user: &str) -> TestMiner {
        let connect = async {
            loop {
                if let Ok(connection) = Connection::connect(&self.address, Security::Plain).await {
                    return connection;
                }
                if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                    panic!("the pool ended at its start: {status}");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let connection = tokio::time::timeout(LIMIT, connect).await.expect("the pool listens");
        TestMiner::open_on(connection, ChannelKind::Extended, user).await
    }

    /// How often each share is in the ledger.
    fn recorded(&self) -> BTreeMap<ShareHash, usize> {
        let mut log = read_log(&self.data_dir.join(LEDGER_FOLDER)).expect("a log");
        let mut shares = BTreeMap::new();
        while let Some(step) = log.next(u64::MAX).expect("a log that can be read") {
            let Step::Batch(batch) = step else { panic!("a log without damage") };
            for entry in batch.entries() {
                if let Entry::Share(share) = entry.expect("a sound entry") {
                    *shares.entry(share.hash).or_default() += 1;
                }
            }
        }
        shares
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A miner that sends shares as fast as they are acknowledged, and knows which were.
struct Hammer {
    miner: TestMiner,
    nonce: u32,
    waiting: VecDeque<(u32, ShareHash)>,
    acknowledged: Vec<ShareHash>,
    refused: Vec<String>,
    sent: Vec<Submission>,
}

impl Hammer {
    fn new(miner: TestMiner) -> Self {
        let (waiting, acknowledged, refused, sent) = (VecDeque::new(), Vec::new(), Vec::new(), Vec::new());
        Self { miner, nonce: 0, waiting, acknowledged, refused, sent }
    }

    /// Sends one share that is no block; an error is the end of the connection.
    async fn submit(&mut self) -> Result<(), network_helpers::Error> {
        let work = self.miner.channel.work().expect("there is work");
        let (version, ntime) = (work.version, work.min_ntime);
        let hash = loop {
            self.nonce = self.nonce.wrapping_add(1);
            let hash = work.header(version, ntime, self.nonce).hash();
            if !work.network_target().is_met_by(&hash) {
                break hash;
            }
        };
        let submission = self.miner.channel.submit(&work, version, ntime, self.nonce);
        let Submission::Extended(share) = &submission else { unreachable!("the channel is extended") };
        self.waiting.push_back((share.sequence_number, ShareHash::of(hash.as_byte_array())));
        self.sent.push(submission);
        self.miner.try_submit(&submission).await
    }

    /// Takes up one message, and what it answers.
    async fn step(&mut self) -> Result<(), network_helpers::Error> {
        self.miner.try_step().await?;
        for ack in self.miner.acks.drain(..) {
            let count = self.waiting.iter().take_while(|(number, _)| *number <= ack.last_sequence_number).count();
            assert_eq!(count, ack.new_submits_accepted_count as usize, "every share of the batch was submitted");
            self.acknowledged.extend(self.waiting.drain(..count).map(|(_, hash)| hash));
        }
        for error in self.miner.errors.drain(..) {
            self.waiting.retain(|(number, _)| *number != error.sequence_number);
            self.refused.push(error.error_code.to_string());
        }
        Ok(())
    }

    /// Shares until the connection ends or so many were acknowledged.
    async fn run(&mut self, enough: usize) {
        while self.acknowledged.len() < enough {
            while self.waiting.len() < WINDOW {
                if self.submit().await.is_err() {
                    return;
                }
            }
            if self.step().await.is_err() {
                return;
            }
        }
    }
}

/// Numbers that are different in each run; the seed is printed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn hard_devnet() -> String {
    format!("kind = 'devnet'\nnbits = {HARD}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_shares_outlive_kills_and_none_counts_twice() {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(FEW_KILLS);
    let mut random = Random::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::new(folder.path(), folder.path().join("data"), &hard_devnet());
    let (mut acknowledged, mut old) = (Vec::new(), Vec::new());
    for kill in 0..kills {
        process.start();
        let mut miners = Vec::new();
        for user in ["alice.1", "alice.2", "bob"] {
            miners.push(Hammer::new(process.miner(user).await));
        }
        // The first one's acknowledgements say when; the others go on until they are cut off.
        let mut first = miners.remove(0);
        let others: Vec<_> = miners
            .into_iter()
            .map(|mut hammer| {
                tokio::spawn(async move {
                    hammer.run(usize::MAX).await;
                    hammer
                })
            })
            .collect();
        first.run(random.below(2_000) as usize + 1).await;
        process.kill();
        first.run(usize::MAX).await;
        let mut hammers = vec![first];
        for other in others {
            hammers.push(other.await.expect("no panic"));
        }
        for hammer in hammers {
            assert_eq!(hammer.refused, [""; 0], "all shares are good");
            acknowledged.extend(hammer.acknowledged);
            old.extend(hammer.sent.into_iter().rev().take(WINDOW));
        }
        if kill == 1 {
            damage_database(&process.data_dir);
        }
    }
    process.start();
    // What was sent before, acknowledged or not, is nothing that a new process takes for new.
    let mut replay = process.miner("mallory").await;
    let ours = replay.channel.id().0;
    let count = old.len();
    for submission in old {
        let Submission::Extended(mut share) = submission else { continue };
        share.channel_id = ours;
        replay.submit(&Submission::Extended(share)).await;
    }
    replay
        .until(|miner| {
            miner.errors.len() + miner.acks.iter().map(|ack| ack.new_submits_accepted_count as usize).sum::<usize>()
                == count
        })
        .await;
    let mut last = Hammer::new(process.miner("alice.1").await);
    last.run(100).await;
    acknowledged.extend(last.acknowledged);
    process.stop();
    let recorded = process.recorded();
    println!("{} acknowledged, {} recorded, {kills} kills", acknowledged.len(), recorded.len());
    for hash in &acknowledged {
        assert!(recorded.contains_key(hash), "{hash} was acknowledged and is lost");
    }
    for (hash, times) in &recorded {
        assert_eq!(*times, 1, "{hash} is recorded {times} times");
    }
    assert!(acknowledged.len() as u64 > kills * 10);
}

/// The database beside the log, with its last page overwritten.
fn damage_database(data_dir: &Path) {
    let path = data_dir.join(LEDGER_FOLDER).join(DATABASE);
    let mut bytes = fs::read(&path).expect("a database");
    let at = bytes.len().saturating_sub(4_096);
    bytes[at..].fill(0xa5);
    fs::write(&path, bytes).expect("a writable database");
}

/// The block is in the chain of a node that was down when it was found, after the pool's process starts anew.
fn assert_submitted_after_restart(process: &mut Process, node: &mut CoreNode, hash: BlockHash) {
    process.kill();
    node.restart();
    process.start();
    let limit = LIMIT.as_millis() as u64;
    let reached = node.rpc("waitforblock", serde_json::json!([hash.to_string(), limit]));
    assert_eq!(reached["hash"].as_str().and_then(|text| text.parse().ok()), Some(hash), "{reached}");
    process.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_whose_share_was_acknowledged_before_a_kill_is_submitted_after_the_restart() {
    let mut node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let source = format!("kind = 'bitcoin-ipc'\nsocket = '{}'", node.ipc_socket().display());
    for acknowledge in ["durable", "received"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Process::new(folder.path(), folder.path().join("data"), &source);
        process.configure(&format!("[ledger]\nacknowledge = '{acknowledge}'\n"));
        process.start();
        let mut miner = process.miner("alice").await;
        miner.until_tip(node.best_hash()).await;
        // Nobody takes the block.
        node.stop();
        let hash = miner.mine_block().await;
        miner.until(|miner| !miner.acks.is_empty()).await;
        assert_submitted_after_restart(&mut process, &mut node, hash);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_block_can_not_be_written_its_share_waits_and_no_other_miner() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path().join("data/blocks"), 1) else {
        return println!("not tested: no file system can be mounted here");
    };
    let mut node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let source = format!("kind = 'bitcoin-ipc'\nsocket = '{}'", node.ipc_socket().display());
    let mut process = Process::new(folder.path(), folder.path().join("data"), &source);
    process.start();
    let mut alice = process.miner("alice").await;
    alice.until_tip(node.best_hash()).await;
    let mut bob = Hammer::new(process.miner("bob").await);
    node.stop();
    let filler = disk.fill();
    let hash = alice.mine_block().await;
    bob.run(200).await;
    let jobs = alice.jobs;
    alice.until(|alice| alice.jobs >= jobs + 2).await;
    assert!(alice.acks.is_empty(), "the block is not on disk");
    fs::remove_file(filler).expect("the filler is ours");
    alice.until(|alice| !alice.acks.is_empty()).await;
    assert_submitted_after_restart(&mut process, &mut node, hash);
}

/// A small file system in memory; none where that is not allowed.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={megabytes}m")).arg("tmpfs").arg(&at);
        let mounted = mount.stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    /// Takes all space that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).expect("a file");
        while file.write_all(&[0; 4_096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_mining_goes_on_and_shares_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path().join("small"), 16) else {
        return println!("not tested: no file system can be mounted here");
    };
    let mut process = Process::new(folder.path(), disk.0.join("data"), &hard_devnet());
    process.start();
    let mut hammer = Hammer::new(process.miner("alice").await);
    hammer.run(100).await;
    let filler = disk.fill();
    // More than what is left of a page.
    for _ in 0..1_000 {
        hammer.submit().await.expect("the pool reads on");
    }
    let jobs = hammer.miner.jobs;
    while hammer.miner.jobs < jobs + 3 {
        hammer.step().await.expect("the pool goes on");
    }
    assert!(!hammer.waiting.is_empty(), "shares wait for the disk");
    fs::remove_file(filler).expect("the filler is ours");
    while !hammer.waiting.is_empty() {
        hammer.step().await.expect("the pool goes on");
    }
    hammer.run(1_500).await;
    process.stop();
    assert!(hammer.refused.iter().all(|code| code == NOT_RECORDED), "{:?}", hammer.refused);
    assert_eq!(hammer.refused.len(), 0, "the bound was not met");
    let recorded = process.recorded();
    for hash in &hammer.acknowledged {
        assert_eq!(recorded.get(hash), Some(&1), "{hash}");
    }
}
