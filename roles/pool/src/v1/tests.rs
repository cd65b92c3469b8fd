mod difficulty;
mod order;
mod shares;

use bitcoin::{BlockHash, hashes::Hash as _};
use roles_logic_sv2::{
    Header, TargetBounds,
    accounting::AckLimits,
    extranonce::{Layout, Space},
    share::Rules,
    vardiff::policy::{Start, TargetPolicies},
};
use serde_json::{Value, json};
use template_source::Event as SourceEvent;

use super::*;
use crate::{
    hub::Hub,
    session::Acknowledge,
    testing::{NOW, Recorder, config, hub, payouts, published, template, tip, up},
    user::Policy,
};

const SUBSCRIBE: &str = r#"{"id":1,"method":"mining.subscribe","params":["device/1.0"]}"#;
const AUTHORIZE: &str = r#"{"id":2,"method":"mining.authorize","params":["alice.rig","x"]}"#;
const CONFIGURE: &str = r#"{"id":3,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"ffffffff","version-rolling.min-bit-count":2}]}"#;

/// A session with a hub at height 101 on a network where every second hash is a block.
struct Fixture {
    session: Session,
    sink: Recorder,
    hub: Hub,
    snapshot: Arc<Snapshot>,
}

/// A job, as the miner has it.
#[derive(Clone, Debug, PartialEq)]
struct Job {
    id: String,
    params: Vec<Value>,
    clean: bool,
}

fn session_config() -> SessionConfig {
    let mut pool = config();
    pool.listen[0].policies = vec![Policy::Pool, Policy::Solo];
    let targets = TargetPolicy { shares_per_minute: 12.0, bounds: TargetBounds::NONE, start: Start::Nominal(None) };
    SessionConfig {
        space: Space::new(Layout::SV2_DEFAULT, 5, 0x0102).unwrap(),
        payouts: Arc::new(payouts(&pool)),
        policies: pool.listen[0].policies.clone(),
        rules: Rules::default(),
        targets: TargetPolicies::new(targets).unwrap(),
        vardiff: true,
        acknowledge: Acknowledge::Durable,
        ack_limits: AckLimits { count: 1_000, delay: Duration::ZERO },
        max_channels: 2,
        setup: Duration::from_secs(10),
        first_channel: Duration::from_secs(60),
        limits: pool.limits.of_sessions(),
        registry: crate::registry::Registry::new(NOW),
        listener: 0,
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SessionConfig)) -> Self {
        let mut config = session_config();
        change(&mut config);
        let mut hub = hub(1).with_job_refresh(Duration::from_secs(30));
        for event in [up(), SourceEvent::Template(template(1, 101, true, false)), SourceEvent::Tip(tip(1, 1))] {
            hub.handle_source(NOW, 0, event);
        }
        let snapshot = published(&mut hub);
        let mut session = Session::new(NOW, "127.0.0.1:1".parse().unwrap(), Arc::new(config));
        let mut sink = Recorder::default();
        session.handle_notice(NOW, &snapshot, &mut sink);
        Self { session, sink, hub, snapshot }
    }

    /// With a miner at work; what it was told is forgotten, but for the job.
    fn mining() -> (Self, Job) {
        Self::new().begin()
    }

    fn begin(mut self) -> (Self, Job) {
        let lines = self.send(&[CONFIGURE, SUBSCRIBE, AUTHORIZE]);
        let job = jobs(&lines).pop().expect("a job");
        (self, job)
    }

    /// Lines from the miner; what is answered at once.
    fn send(&mut self, lines: &[&str]) -> Vec<Value> {
        self.send_at(NOW, lines)
    }

    fn send_at(&mut self, now: Duration, lines: &[&str]) -> Vec<Value> {
        for line in lines {
            self.session.handle_line(now, line.as_bytes(), &mut self.sink);
        }
        self.session.finish_input(now, &mut self.sink);
        self.told()
    }

    fn told(&mut self) -> Vec<Value> {
        let lines = String::from_utf8(std::mem::take(&mut self.sink.lines)).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// All records become durable, and all blocks.
    fn write_to_disk(&mut self) -> Vec<Value> {
        self.sink.holds.clear();
        let count = std::mem::take(&mut self.sink.records).len();
        self.session.handle_durable(NOW, count, &mut self.sink);
        self.told()
    }

    fn source(&mut self, event: SourceEvent) -> Vec<Value> {
        self.hub.handle_source(NOW, 0, event);
        self.snapshot = published(&mut self.hub);
        self.session.handle_notice(NOW, &self.snapshot.clone(), &mut self.sink);
        self.told()
    }

    fn timeout(&mut self, now: Duration) -> Vec<Value> {
        self.session.handle_timeout(now, &mut self.sink);
        self.told()
    }

    fn extranonce1(&mut self) -> Vec<u8> {
        let answer = self.send(&[SUBSCRIBE]).remove(0);
        unhex(answer["result"][1].as_str().unwrap())
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn jobs(lines: &[Value]) -> Vec<Job> {
    let notify = |line: &Value| {
        let params = line["params"].as_array().filter(|_| line["method"] == "mining.notify")?.clone();
        Some(Job { id: params[0].as_str()?.to_owned(), clean: params[8].as_bool()?, params })
    };
    lines.iter().filter_map(notify).collect()
}

fn methods(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["method"].as_str().unwrap_or("answer")).collect()
}

impl Job {
    fn u32(&self, index: usize) -> u32 {
        u32::from_str_radix(self.params[index].as_str().unwrap(), 16).unwrap()
    }

    /// Hash of the header that a miner makes of the job, from what the protocol says and nothing else.
    fn hash(&self, extranonce1: &[u8], extranonce2: &[u8], ntime: u32, nonce: u32, version: u32) -> BlockHash {
        let part = |index: usize| unhex(self.params[index].as_str().unwrap());
        let coinbase = [&part(2)[..], extranonce1, extranonce2, &part(3)].concat();
        let hash = |bytes: &[u8]| bitcoin::hashes::sha256d::Hash::hash(bytes).to_byte_array();
        let branch = self.params[4].as_array().unwrap();
        let merkle_root = branch
            .iter()
            .fold(hash(&coinbase), |root, sibling| hash(&[&root[..], &unhex(sibling.as_str().unwrap())].concat()));
        let mut prev_hash = part(1);
        prev_hash.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let prev_hash = BlockHash::from_byte_array(prev_hash.try_into().unwrap());
        Header { version, prev_hash, merkle_root, ntime, nbits: self.u32(6), nonce }.hash()
    }

    fn submit(&self, user: &str, nonce: u32) -> String {
        self.submit_with(user, nonce, "0000000000000001", self.u32(7), None)
    }

    fn submit_with(&self, user: &str, nonce: u32, extranonce2: &str, ntime: u32, bits: Option<&str>) -> String {
        let mut params = vec![json!(user), json!(self.id), json!(extranonce2), json!(format!("{ntime:08x}"))];
        params.push(json!(format!("{nonce:x}")));
        params.extend(bits.map(|bits| json!(bits)));
        json!({"id": nonce, "method": "mining.submit", "params": params}).to_string()
    }
}

/// Nonces of which the first hash is a block on this network, the second none.
fn nonces(job: &Job, extranonce1: &[u8]) -> (u32, u32) {
    let is_block = |nonce: &u32| {
        let hash = job.hash(extranonce1, &unhex("0000000000000001"), job.u32(7), *nonce, job.u32(5));
        Target::from_compact(job.u32(6)).unwrap().is_met_by(&hash)
    };
    ((0..).find(is_block).unwrap(), (0..).find(|nonce| !is_block(nonce)).unwrap())
}
