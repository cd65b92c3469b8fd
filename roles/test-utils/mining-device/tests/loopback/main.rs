//! The whole miner against a pool on the loopback interface, honest and not.

mod misbehaviour;

use std::{num::NonZeroU32, time::Duration};

use common_messages_sv2::Reconnect;
use mining_device::{ChannelKind, Error, MinerConfig, Status, run};
use mining_sv2::{SetNewPrevHash, SubmitSharesError, SubmitSharesSuccess};
use stratum_runtime::shutdown::Shutdown;
use test_pool::{Act, Script, Settings, TestPool};
use tokio::{sync::watch, task::JoinHandle};

const EXTENDED: ChannelKind = ChannelKind::Extended { min_extranonce_size: 4 };

async fn pool(scripts: Vec<Script>) -> TestPool {
    TestPool::start(Settings::default(), scripts).await.unwrap()
}

fn config(pool: &TestPool, channel: ChannelKind) -> MinerConfig {
    MinerConfig {
        channel,
        plain: pool.url().authority().is_none(),
        threads: NonZeroU32::new(2),
        nominal_hashrate: Some(1e6),
        reconnect_first: Duration::from_millis(1),
        reconnect_most: Duration::from_millis(20),
        ..MinerConfig::new(pool.url().clone(), "alice.worker")
    }
}

struct Miner {
    task: JoinHandle<Result<(), Error>>,
    shutdown: Shutdown,
    status: watch::Receiver<Status>,
}

impl Miner {
    fn start(config: MinerConfig) -> Self {
        let (sender, status) = watch::channel(Status::default());
        let shutdown = Shutdown::new();
        Self { task: tokio::spawn(run(config, shutdown.clone(), sender)), shutdown, status }
    }

    async fn wait(&mut self, condition: impl FnMut(&Status) -> bool) -> Status {
        self.status.wait_for(condition).await.unwrap().clone()
    }

    /// Waits for a connection to end for a reason that contains this.
    async fn ended(&mut self, reason: &str) -> Status {
        self.wait(|status| status.last_error.as_ref().is_some_and(|error| error.contains(reason))).await
    }

    async fn stop(self) -> Status {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        self.status.borrow().clone()
    }
}

#[tokio::test]
async fn shares_count_are_counted_and_followed_by_good_bye() {
    for plain in [false, true] {
        for channel in [ChannelKind::Standard, EXTENDED] {
            let refusal = |sequence_number| SubmitSharesError {
                channel_id: 2,
                sequence_number,
                error_code: "low-difficulty".try_into().unwrap(),
            };
            let script = Script::new().instead::<SubmitSharesSuccess>(Act::send(&refusal(0)));
            let settings = Settings { plain, ..Settings::default() };
            let mut pool = TestPool::start(settings, vec![script]).await.unwrap();
            let mut miner = Miner::start(config(&pool, channel));
            let status = miner.wait(|status| status.accepted >= 10).await;
            assert_eq!((status.rejected["low-difficulty"], status.rejected_total()), (1, 1));
            assert!(status.connected && status.jobs == 1 && status.target == Some(Settings::default().target));
            pool.new_tip().unwrap();
            miner.wait(|status| status.jobs == 2 && status.accepted >= 20).await;
            let status = miner.stop().await;
            assert!(!status.connected && status.disconnects == 0);
            // What the miner sent, every hash of it, was worth its target: a late share at a new tip is the only loss.
            let pool = pool.wait(|status| status.closed == 1).await;
            assert!(pool.accepted >= 20 && pool.rejected <= 1 && pool.blocks == 0, "{pool:?}");
        }
    }
}

#[tokio::test]
async fn jobs_change_without_losing_work() {
    let mut pool = pool(vec![]).await;
    let mut miner = Miner::start(config(&pool, EXTENDED));
    for jobs in 1..6 {
        let before = miner.wait(|status| status.jobs == jobs).await.accepted;
        miner.wait(|status| status.accepted > before).await;
        pool.new_job().unwrap();
    }
    miner.stop().await;
    let status = pool.wait(|status| status.closed == 1).await;
    assert_eq!((status.rejected, status.connections), (0, 1), "shares of an older job on the same tip count");
}

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let lost = |act| Script::new().after::<SubmitSharesSuccess>(act);
    let mut pool = pool(vec![lost(Act::Close), lost(Act::Reset), lost(Act::Close)]).await;
    let mut miner = Miner::start(config(&pool, ChannelKind::Standard));
    let status = miner.wait(|status| status.channels_opened == 4 && status.submitted > 3).await;
    assert_eq!(status.disconnects, 3);
    pool.wait(|status| status.opened == 4).await;
    miner.stop().await;
}

#[tokio::test]
async fn an_impostor_gets_no_work() {
    let (genuine, mut impostor) = (pool(vec![]).await, pool(vec![]).await);
    let mut config = config(&impostor, ChannelKind::Standard);
    let key = genuine.authority().public_key();
    config.url = format!("stratum2+tcp://127.0.0.1:{}/{key}", impostor.url().port()).parse().unwrap();
    let mut miner = Miner::start(config);
    miner.ended("certificate").await;
    miner.stop().await;
    assert_eq!(impostor.wait(|status| status.ended > 0).await.opened, 0);
}

#[tokio::test]
async fn a_redirection_is_followed_to_the_same_authority_and_undone_for_another() {
    let redirect = |to: &TestPool| {
        let message = Reconnect { new_host: "localhost".try_into().unwrap(), new_port: to.url().port() };
        Script::new().after::<SetNewPrevHash>(Act::send(&message))
    };
    let mut stranger = pool(vec![]).await;
    let authority = noise_sv2::AuthoritySecretKey::generate(&mut rand_core::OsRng).unwrap();
    let same = || Settings { authority: Some(authority.clone()), ..Settings::default() };
    let mut second = TestPool::start(same(), vec![redirect(&stranger)]).await.unwrap();
    let mut first = TestPool::start(same(), vec![redirect(&second)]).await.unwrap();
    let mut miner = Miner::start(config(&first, ChannelKind::Standard));
    second.wait(|status| status.opened == 1).await;
    assert_eq!(stranger.wait(|status| status.ended == 1).await.opened, 0);
    first.wait(|status| status.opened == 2).await;
    let status = miner.wait(|status| status.channels_opened == 3 && status.accepted > 0).await;
    assert!(status.last_error.unwrap().contains("certificate"));
    miner.stop().await;
}

#[tokio::test]
async fn an_absent_server_is_waited_for_and_waiting_can_be_ended() {
    let pool = pool(vec![]).await;
    let config = config(&pool, ChannelKind::Standard);
    drop(pool);
    let mut slow = config.clone();
    let mut miner = Miner::start(config);
    miner.ended("is the address right and the server up?").await;
    miner.stop().await;
    slow.reconnect_first = Duration::from_secs(3_600);
    slow.reconnect_most = Duration::from_secs(3_600);
    let mut miner = Miner::start(slow);
    miner.wait(|status| status.disconnects == 1).await;
    miner.stop().await;
}

#[tokio::test]
async fn a_bad_configuration_is_the_only_thing_that_is_fatal() {
    let mut config = config(&pool(vec![]).await, ChannelKind::Standard);
    config.version_mask = u32::MAX;
    let miner = Miner::start(config);
    assert!(matches!(miner.task.await.unwrap(), Err(Error::Config(_))));
}
