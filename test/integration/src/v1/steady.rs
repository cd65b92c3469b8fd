//! Miners of Stratum V1 by the hundred, that take their time: the library's client on a socket, and a little hashing.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bitcoin::{BlockHash, hashes::Hash as _};
use roles_logic_sv2::{Header, SplitCoinbase, Target};
use stratum_v1::{
    line::{LineDecoder, MAX_LINE_FROM_POOL},
    miner::Submit,
    pool::Notify,
    session::client::{Client, Config, Event, RequestNumber},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant as Deadline, timeout_at},
};

use crate::pool::LIMIT;

/// A device.
#[derive(Debug)]
pub struct V1Miner {
    stream: TcpStream,
    lines: LineDecoder,
    client: Client,
    user: String,
    job: Option<(Notify, SplitCoinbase)>,
    extranonce2: u64,
    waiting: HashMap<RequestNumber, Target>,
    /// Shares that were answered with `true`.
    pub accepted: u64,
    /// Reasons of the others.
    pub refused: Vec<String>,
    /// When each share was accepted.
    pub accepted_at: Vec<Instant>,
    /// Jobs that it got.
    pub jobs: u64,
    /// The server closed the connection.
    pub is_closed: bool,
}

impl V1Miner {
    /// Connects, subscribes, authorizes, and waits for a job.
    pub async fn connect(address: &str, user: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let mut client = Client::new(Config { subscribe_extranonce: false, ..Config::default() });
        client.start().expect("nothing is pending");
        client.authorize(user, "x").expect("nothing is pending");
        let mut this = Self {
            stream,
            lines: LineDecoder::new(MAX_LINE_FROM_POOL),
            client,
            user: user.to_owned(),
            job: None,
            extranonce2: 0,
            waiting: HashMap::new(),
            accepted: 0,
            refused: Vec::new(),
            accepted_at: Vec::new(),
            jobs: 0,
            is_closed: false,
        };
        this.flush().await;
        this.until("a job", |miner| miner.jobs > 0).await;
        this
    }

    async fn flush(&mut self) {
        let bytes = std::mem::take(self.client.output());
        self.is_closed |= self.stream.write_all(&bytes).await.is_err();
    }

    /// Hash of the block that the job builds on.
    pub fn prev_hash(&self) -> BlockHash {
        BlockHash::from_byte_array(self.job.as_ref().expect("a job").0.prev_hash)
    }

    /// Searches for a share that meets its difficulty and this target, and submits it.
    pub async fn mine(&mut self, harder: Target) -> BlockHash {
        let difficulty = self.client.difficulty().expect("a difficulty");
        let own = Target::from_difficulty_log2(difficulty.log2().round() as i32);
        let target = if difficulty <= 2f64.powi(-32) { harder } else { own.min(harder) };
        let (job, coinbase) = self.job.as_ref().expect("a job");
        let size = self.client.extranonce2_size().expect("a subscription");
        let extranonce2 = self.extranonce2.to_be_bytes()[8 - size..].to_vec();
        self.extranonce2 += 1;
        let extranonce = [self.client.extranonce1().expect("a subscription"), &extranonce2].concat();
        let merkle_root = coinbase.merkle_root(&extranonce, &job.merkle_branch);
        let prev_hash = BlockHash::from_byte_array(job.prev_hash);
        let header =
            |nonce| Header { version: job.version, prev_hash, merkle_root, ntime: job.ntime, nbits: job.nbits, nonce };
        let nonce = (0..).find(|nonce| target.is_met_by(&header(*nonce).hash())).expect("a nonce");
        let (job_id, ntime, username) = (job.job_id.clone(), job.ntime, self.user.clone());
        let hash = header(nonce).hash();
        let share = Submit { username, job_id, extranonce2, ntime, nonce, version_bits: None };
        let number = self.client.submit(&share).expect("few are pending");
        self.waiting.insert(number, target);
        self.flush().await;
        hash
    }

    /// Reads until `done`.
    ///
    /// # Panics
    /// When it does not come about, or the server closes the connection before.
    pub async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = Deadline::now() + LIMIT;
        while !done(self) {
            assert!(!self.is_closed, "closed before: {what}");
            assert!(self.read_until(end).await, "did not happen: {what}; {self:?}");
        }
    }

    /// Reads what comes within this time.
    pub async fn read_for(&mut self, time: Duration) {
        let end = Deadline::now() + time;
        while !self.is_closed && self.read_until(end).await {}
    }

    /// False when nothing came.
    async fn read_until(&mut self, end: Deadline) -> bool {
        let mut buffer = [0; 16 * 1024];
        match timeout_at(end, self.stream.read(&mut buffer)).await {
            Err(_) => return false,
            Ok(Ok(0) | Err(_)) => self.is_closed = true,
            Ok(Ok(count)) => self.lines.extend(&buffer[..count]),
        }
        while let Some(line) = self.lines.next_line().expect("no longer than allowed") {
            let event = self.client.handle_line(line).expect("what a pool says");
            match event {
                Some(Event::Notify(job)) => {
                    let coinbase = SplitCoinbase::new(job.coinbase1.clone(), job.coinbase2.clone());
                    self.job = Some((job, coinbase));
                    self.jobs += 1;
                }
                Some(Event::Submitted { request, result }) => {
                    self.waiting.remove(&request).expect("one of ours, answered once");
                    match result {
                        Ok(()) => {
                            self.accepted += 1;
                            self.accepted_at.push(Instant::now());
                        }
                        Err(refusal) => self.refused.push(refusal.to_string()),
                    }
                }
                _ => {}
            }
        }
        self.flush().await;
        true
    }

    /// Shares without an answer.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
