//! Honest miners, many: each submits shares at a steady rate, counts what is acknowledged, and goes where it is sent.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use mining_sv2::Mining;
use network_helpers::{Connection, Error, Security};
use roles_logic_sv2::channel::client::{ClientChannel, Submission};
use tokio::{net::TcpSocket, sync::watch, time::Instant};

use crate::pool::{now, open_extended, setup_connection};

/// Where and how a swarm mines.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pool.
    pub address: String,
    /// Its key.
    pub security: Security,
    /// Miners.
    pub miners: usize,
    /// Their own address.
    pub from: IpAddr,
    /// Time between a miner's shares.
    pub interval: Duration,
}

/// What happened to a swarm, or to one of its miners.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Shares that were sent.
    pub submitted: u64,
    /// Shares that were acknowledged.
    pub acknowledged: u64,
    /// Shares that were refused.
    pub refused: u64,
    /// Shares without an answer when their connection ended.
    pub unanswered: u64,
    /// Miners that were sent elsewhere and mine there.
    pub moved: usize,
    /// Connections that failed or were cut.
    pub failures: Vec<String>,
    /// The first bytes of each channel's extranonce.
    pub prefixes: Vec<Vec<u8>>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.submitted += other.submitted;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.moved += other.moved;
        self.failures.extend(other.failures);
        self.prefixes.extend(other.prefixes);
    }

    /// Asserts that no two channels had the same search space.
    pub fn assert_disjoint(&self) {
        let mut seen = BTreeSet::new();
        for prefix in &self.prefixes {
            assert!(seen.insert(prefix), "two channels with the prefix {prefix:02x?}");
        }
    }
}

/// A running swarm.
#[derive(Debug)]
pub struct Swarm {
    tasks: Vec<tokio::task::JoinHandle<Tally>>,
    stop: watch::Sender<bool>,
    progress: Arc<Mutex<Vec<Progress>>>,
    changed: watch::Receiver<()>,
}

/// How far one miner is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Shares acknowledged on the present connection.
    pub acknowledged: u64,
    /// Times it was sent elsewhere.
    pub moves: usize,
}

impl Swarm {
    /// Starts a swarm.
    pub fn start(plan: &Plan) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (change, changed) = watch::channel(());
        let progress = Arc::new(Mutex::new(vec![Progress::default(); plan.miners]));
        let tasks = (0..plan.miners)
            .map(|index| {
                let (plan, progress, change) = (plan.clone(), progress.clone(), change.clone());
                let note = move |now| {
                    progress.lock().expect("no panic")[index] = now;
                    change.send_replace(());
                };
                tokio::spawn(mine(plan, stopped.clone(), note))
            })
            .collect();
        Self { tasks, stop, progress, changed }
    }

    /// Waits until `enough` holds for each miner.
    pub async fn until(&mut self, enough: impl Fn(&Progress) -> bool) {
        while !self.progress.lock().expect("no panic").iter().all(&enough) {
            self.changed.changed().await.expect("a miner is left");
        }
    }

    /// Stops: no more shares, and a moment for the last answers.
    pub async fn stop(self) -> Tally {
        self.stop.send_replace(true);
        let mut tally = Tally::default();
        for task in self.tasks {
            tally.add(task.await.expect("a miner does not panic"));
        }
        tally
    }
}

/// How long a connection may take to come about, and the last answers to come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn mine(plan: Plan, mut stop: watch::Receiver<bool>, note: impl Fn(Progress)) -> Tally {
    let mut tally = Tally::default();
    let mut moves = 0;
    while !*stop.borrow() {
        let mut miner = match tokio::time::timeout(PATIENCE, Miner::open(&plan)).await {
            Ok(Ok(miner)) => miner,
            Ok(Err(error)) => {
                tally.failures.push(format!("connecting: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(_) => {
                tally.failures.push("connecting: too slow".into());
                continue;
            }
        };
        tally.prefixes.push(miner.channel.prefix().as_bytes().to_vec());
        let end = miner.run(&plan, &mut stop, |acknowledged| note(Progress { acknowledged, moves })).await;
        tally.submitted += miner.submitted;
        tally.acknowledged += miner.acknowledged;
        tally.refused += miner.refused;
        tally.unanswered += miner.submitted - miner.acknowledged - miner.refused;
        match end {
            End::Stopped => break,
            End::Sent => moves += 1,
            End::Failed(error) => tally.failures.push(error),
        }
    }
    tally.moved = usize::from(moves > 0);
    tally
}

enum End {
    Stopped,
    Sent,
    Failed(String),
}

struct Miner {
    connection: Connection,
    channel: ClientChannel,
    submitted: u64,
    acknowledged: u64,
    refused: u64,
    /// Told to connect anew.
    sent_away: bool,
    nonce: u32,
}

impl Miner {
    async fn open(plan: &Plan) -> Result<Self, Error> {
        let mut connection = connect(&plan.address, plan.from, plan.security).await?;
        connection.send(&setup_connection(0)).await?;
        connection.read_frame().await?;
        connection.send(&open_extended("honest.worker")).await?;
        let channel = loop {
            let frame = connection.read_frame().await?;
            if let Ok(Mining::OpenExtendedMiningChannelSuccess(success)) =
                Mining::decode(frame.header().message_type(), frame.payload())
            {
                break ClientChannel::extended(&success).expect("a sound channel");
            }
        };
        Ok(Self { connection, channel, submitted: 0, acknowledged: 0, refused: 0, sent_away: false, nonce: 0 })
    }

    async fn run(&mut self, plan: &Plan, stop: &mut watch::Receiver<bool>, note: impl Fn(u64)) -> End {
        let mut next = Instant::now();
        loop {
            let waits = self.submitted > self.acknowledged + self.refused;
            let stopped = *stop.borrow();
            if !waits && (self.sent_away || stopped) {
                return if stopped { End::Stopped } else { End::Sent };
            }
            let ending = self.sent_away || stopped;
            tokio::select! {
                _ = stop.changed(), if !stopped => {}
                () = tokio::time::sleep_until(next), if !ending => {
                    // Late shares are not made up for.
                    next = Instant::now().max(next + plan.interval);
                    if let Err(error) = self.submit().await {
                        return End::Failed(format!("submitting: {error}"));
                    }
                }
                () = tokio::time::sleep(PATIENCE), if ending => return End::Stopped,
                frame = self.connection.read_frame() => {
                    let (kind, payload) = match frame {
                        Ok(frame) => (frame.header().message_type(), frame.payload().to_vec()),
                        // Its shares are counted as unanswered; that is for the caller to judge.
                        Err(_) if self.sent_away => return End::Sent,
                        Err(error) => return End::Failed(format!("mining: {error}")),
                    };
                    self.take(kind, &payload);
                    note(self.acknowledged);
                }
            }
        }
    }

    fn take(&mut self, kind: u8, payload: &[u8]) {
        if kind == const_sv2::message_type::common::RECONNECT {
            self.sent_away = true;
            return;
        }
        match Mining::decode(kind, payload).expect("a message") {
            Mining::NewExtendedMiningJob(job) => {
                self.channel.on_new_extended_mining_job(&job).expect("a sound job");
            }
            Mining::SetNewPrevHash(tip) => {
                self.channel.on_set_new_prev_hash(now(), &tip).expect("a tip for a job that is known");
            }
            Mining::SetTarget(target) => {
                self.channel.on_set_target(&target);
            }
            Mining::SubmitSharesSuccess(ack) => self.acknowledged += u64::from(ack.new_submits_accepted_count),
            Mining::SubmitSharesError(_) => self.refused += 1,
            _ => {}
        }
    }

    async fn submit(&mut self) -> Result<(), Error> {
        let Some(work) = self.channel.work() else { return Ok(()) };
        self.nonce += 1;
        let submission = self.channel.submit(&work, work.version, work.min_ntime, self.nonce);
        self.submitted += 1;
        match &submission {
            Submission::Standard(share) => self.connection.send(share).await,
            Submission::Extended(share) => self.connection.send(share).await,
        }
    }
}

/// Connects from one of this machine's own addresses.
///
/// # Errors
/// As the system and the handshake say.
pub async fn connect(address: &str, from: IpAddr, security: Security) -> Result<Connection, Error> {
    let failed = |source| Error::Connect { address: address.to_owned(), source };
    let to: SocketAddr = address.parse().expect("an address");
    let socket = TcpSocket::new_v4().map_err(failed)?;
    socket.bind(SocketAddr::new(from, 0)).map_err(failed)?;
    let mut stream = socket.connect(to).await.map_err(failed)?;
    let Security::Noise { authority } = security else {
        let (decoder, queue) = network_helpers::wire::plain();
        return Ok(Connection::from_parts(stream, decoder, queue));
    };
    stream.set_nodelay(true).map_err(failed)?;
    let transport = network_helpers::initiate(&mut stream, authority, PATIENCE).await?;
    let (decoder, queue) = network_helpers::wire::encrypted(transport);
    Ok(Connection::from_parts(stream, decoder, queue))
}
