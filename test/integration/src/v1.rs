//! Miners of Stratum V1 as they are met in the field: how each opens a connection and submits, as data ([`dialects::ALL`]), and a
//! [`Device`] that plays it against a pool or a translator.
//!
//! What it hashes follows from what the server says and nothing else, so that it finds out what a server does wrong.

pub mod dialects;
pub mod steady;

use std::collections::{HashMap, VecDeque};

use bitcoin::{
    BlockHash,
    hashes::{Hash as _, sha256d},
};
use roles_logic_sv2::{Header, Target};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use self::dialects::{Dialect, Step};
use crate::pool::LIMIT;

/// Jobs that a device works on: the last ones.
const KEPT_JOBS: usize = 8;

/// Hashes after which a share that is not found is not there.
const MOST_HASHES: u32 = 10_000_000;

/// A job, as it came.
#[derive(Clone, Debug)]
pub struct Job {
    /// What the server calls it.
    pub id: String,
    /// Whether earlier jobs are over.
    pub clean: bool,
    /// Difficulty in force when it came.
    pub difficulty: f64,
    /// The block to build on.
    pub prev_hash: BlockHash,
    /// nBits
    pub nbits: u32,
    coinbase1: Vec<u8>,
    coinbase2: Vec<u8>,
    branch: Vec<[u8; 32]>,
    version: u32,
    ntime: u32,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
}

/// What a device has found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Number of the request that submitted it.
    pub request: u64,
    /// Hash of its header.
    pub hash: BlockHash,
}

/// A scripted device on one connection.
#[derive(Debug)]
pub struct Device {
    dialect: &'static Dialect,
    user: String,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    last_id: u64,
    extranonce: Option<(Vec<u8>, usize)>,
    version_mask: u32,
    difficulty: f64,
    /// The last jobs, the newest last.
    pub jobs: VecDeque<Job>,
    /// Answers that nobody has asked for yet, by their request.
    answers: HashMap<u64, Value>,
    /// Lines that came.
    pub lines: Vec<Value>,
    nonce: u32,
}

impl Device {
    /// Connects and plays the dialect's opening, until there is a job.
    ///
    /// # Panics
    /// When the server does what this device does not take.
    pub async fn connect(address: &str, dialect: &'static Dialect, user: &str, password: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a server");
        stream.set_nodelay(true).expect("a socket");
        let (reader, writer) = stream.into_split();
        let mut device = Self {
            dialect,
            user: user.to_owned(),
            reader: BufReader::new(reader),
            writer,
            last_id: 0,
            extranonce: None,
            version_mask: 0,
            difficulty: 1.0,
            jobs: VecDeque::new(),
            answers: HashMap::new(),
            lines: Vec::new(),
            nonce: 0,
        };
        let mut asked = Vec::new();
        for step in dialect.opening {
            match *step {
                Step::Send(line) => asked.push(device.play(line, password).await),
                Step::Wait => {
                    for id in asked.drain(..) {
                        device.answer(id).await;
                    }
                }
            }
        }
        for id in asked {
            device.answer(id).await;
        }
        while device.jobs.is_empty() {
            assert!(device.step().await, "{}: the server ended the connection before a job", dialect.name);
        }
        if dialect.first_line_answers_subscribe {
            let first = &device.lines[0];
            assert!(first["result"][1].is_string(), "{}: the first line is {first}", dialect.name);
        }
        device
    }

    /// Sends a line of the script; returns the number of its request.
    async fn play(&mut self, line: &str, password: &str) -> u64 {
        self.last_id += 1;
        let id = self.dialect.ids.of(self.last_id);
        let line = line.replace("{id}", &id).replace("{user}", &self.user).replace("{password}", password);
        self.send(&line).await;
        self.last_id
    }

    async fn send(&mut self, line: &str) {
        let line = format!("{line}{}", self.dialect.line_end);
        // A connection that broke shows at the next read.
        let _ = self.writer.write_all(line.as_bytes()).await;
    }

    /// Reads a line and takes note of what it says. False at the end of the connection.
    ///
    /// # Panics
    /// When nothing comes, or what is no message.
    pub async fn step(&mut self) -> bool {
        let mut text = String::new();
        let read =
            tokio::time::timeout(LIMIT, self.reader.read_line(&mut text)).await.expect("the server says something");
        if !matches!(read, Ok(count) if count > 0) {
            return false;
        }
        assert!(text.ends_with('\n'), "a whole line: {text}");
        let line: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        self.note(&line);
        self.lines.push(line);
        true
    }

    fn note(&mut self, line: &Value) {
        let params = &line["params"];
        match line["method"].as_str() {
            Some("mining.set_difficulty") => self.difficulty = params[0].as_f64().expect("a difficulty"),
            Some("mining.set_extranonce") => self.extranonce = Some(extranonce(&params[0], &params[1])),
            Some("mining.set_version_mask") => self.version_mask = hex_u32(&params[0]),
            Some("mining.notify") => self.job(params),
            Some(_) => {}
            None => {
                let result = &line["result"];
                if result[1].is_string() && result[2].is_u64() {
                    self.extranonce = Some(extranonce(&result[1], &result[2]));
                }
                if result["version-rolling"] == true {
                    self.version_mask = hex_u32(&result["version-rolling.mask"]);
                }
                if let Some(number) = self.dialect.ids.number(&line["id"], self.last_id) {
                    self.answers.insert(number, line.clone());
                }
            }
        }
    }

    fn job(&mut self, params: &Value) {
        let (extranonce1, extranonce2_size) = self.extranonce.clone().expect("a job after the subscription");
        let bytes = |index: usize| unhex(params[index].as_str().expect("a text"));
        let mut prev_hash: [u8; 32] = bytes(1).try_into().expect("a hash");
        prev_hash.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let branch = params[4].as_array().expect("a list");
        let job = Job {
            id: params[0].as_str().expect("an id").to_owned(),
            clean: params[8].as_bool().expect("a flag"),
            difficulty: self.difficulty,
            prev_hash: BlockHash::from_byte_array(prev_hash),
            nbits: hex_u32(&params[6]),
            coinbase1: bytes(2),
            coinbase2: bytes(3),
            branch: branch
                .iter()
                .map(|hash| unhex(hash.as_str().expect("a hash")).try_into().expect("a hash"))
                .collect(),
            version: hex_u32(&params[5]),
            ntime: hex_u32(&params[7]),
            extranonce1,
            extranonce2_size,
        };
        if job.clean {
            self.jobs.clear();
        }
        if self.jobs.len() >= KEPT_JOBS {
            self.jobs.pop_front();
        }
        self.jobs.push_back(job);
    }

    /// Waits for the answer to a request.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn answer(&mut self, request: u64) -> Value {
        self.try_answer(request)
            .await
            .unwrap_or_else(|| panic!("{}: no answer to request {request}", self.dialect.name))
    }

    /// The same; `None` when the connection ends before.
    pub async fn try_answer(&mut self, request: u64) -> Option<Value> {
        loop {
            if let Some(answer) = self.answers.remove(&request) {
                return Some(answer);
            }
            if !self.step().await {
                return None;
            }
        }
    }

    /// Answers that have come for these requests.
    pub fn take_answer(&mut self, request: u64) -> Option<Value> {
        self.answers.remove(&request)
    }

    /// Waits for a job on this block.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn until_tip(&mut self, prev_hash: BlockHash) {
        while self.jobs.back().is_none_or(|job| job.prev_hash != prev_hash) {
            assert!(self.step().await, "the connection ended before a job on {prev_hash}");
        }
    }

    /// Finds and submits a share of the newest job: a block, or none, or either.
    ///
    /// # Panics
    /// Without a job, or when there is no such share.
    pub async fn submit_share(&mut self, block: Option<bool>) -> Found {
        let job = self.jobs.back().expect("a job").clone();
        let target = Target::from_difficulty(job.difficulty);
        let network = Target::from_compact(job.nbits).expect("nBits");
        let bits = (self.dialect.rolls_versions && self.version_mask != 0).then_some(0x2000 & self.version_mask);
        let version = job.version | bits.unwrap_or(0);
        for _ in 0..MOST_HASHES {
            self.nonce = self.nonce.wrapping_add(1);
            let extranonce2: Vec<u8> = vec![0xa5; job.extranonce2_size];
            let hash = job.hash(&extranonce2, version, self.nonce);
            if block.is_none_or(|block| block == network.is_met_by(&hash)) && target.is_met_by(&hash) {
                let request = self.submit(&job, &extranonce2, self.nonce, bits).await;
                return Found { request, hash };
            }
        }
        panic!("{}: no share within {MOST_HASHES} hashes at a difficulty of {}", self.dialect.name, job.difficulty);
    }

    async fn submit(&mut self, job: &Job, extranonce2: &[u8], nonce: u32, bits: Option<u32>) -> u64 {
        self.last_id += 1;
        let hex = |number: u32| if self.dialect.pads { format!("{number:08x}") } else { format!("{number:x}") };
        let mut params = vec![
            json!(self.user),
            json!(job.id),
            json!(to_hex(extranonce2)),
            json!(format!("{:08x}", job.ntime)),
            json!(hex(nonce)),
        ];
        params.extend(bits.map(|bits| json!(hex(bits))));
        let (params, id) = (Value::from(params), self.dialect.ids.of(self.last_id));
        let line = self.dialect.submit.replace("{id}", &id).replace("{params}", &params.to_string());
        self.send(&line).await;
        self.last_id
    }

    /// Sends what the device sends when it has nothing else to say.
    pub async fn keep_alive(&mut self) {
        if let Some(line) = self.dialect.keepalive {
            let request = self.play(line, "").await;
            self.answer(request).await;
        }
    }
}

impl Job {
    fn hash(&self, extranonce2: &[u8], version: u32, nonce: u32) -> BlockHash {
        let hash = |bytes: &[u8]| sha256d::Hash::hash(bytes).to_byte_array();
        let coinbase = [&self.coinbase1[..], &self.extranonce1, extranonce2, &self.coinbase2].concat();
        let merkle_root = self.branch.iter().fold(hash(&coinbase), |root, sibling| hash(&[root, *sibling].concat()));
        let (prev_hash, ntime, nbits) = (self.prev_hash, self.ntime, self.nbits);
        Header { version, prev_hash, merkle_root, ntime, nbits, nonce }.hash()
    }
}

fn extranonce(extranonce1: &Value, size: &Value) -> (Vec<u8>, usize) {
    let size = size.as_u64().and_then(|size| usize::try_from(size).ok()).expect("a size");
    (unhex(extranonce1.as_str().expect("an extranonce1")), size)
}

fn hex_u32(value: &Value) -> u32 {
    let text = value.as_str().expect("a number in hexadecimal");
    assert_eq!(text.len(), 8, "padded: {text}");
    u32::from_str_radix(text, 16).expect("a number in hexadecimal")
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| text.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    (0..text.len()).step_by(2).map(|at| digits(at).expect("hexadecimal")).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
