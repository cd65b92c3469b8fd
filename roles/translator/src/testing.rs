//! A world for tests: the hub, sessions, upstreams made of the library's server side, and devices that know nothing but Stratum V1.

use std::{collections::BTreeMap, convert::Infallible, fmt::Display, sync::Arc, time::Duration};

use binary_sv2::{Message, Str0_255};
use bitcoin::{BlockHash, hashes::Hash as _};
use extensions_sv2::tlv;
use framing_sv2::Header as FrameHeader;
use mining_sv2::{Mining as MiningMessage, OpenMiningChannelError, SubmitSharesError, SubmitSharesSuccess};
use roles_logic_sv2::{
    ChannelId, Header, JobIds, OpenSuccess, RequestId, Target, TemplateId, Tip,
    channel::server::{Channel, Open},
    extranonce::{Layout, Space},
    job::{Job, JobFactory, JobTemplate, Payout},
    protocol::Mining,
    session::server::{AwaitSetup, Incoming, Offer, Open as OpenServer},
    setup::Support,
    share::{Rules, Share, Verdict},
    vardiff::policy::{Start, TargetPolicies, TargetPolicy},
};
use serde_json::{Value, json};
use stratum_runtime::{
    bucket::Rate,
    core::{ConnectionId, Core as _, Peer, Protocol, Sink},
    journal::JournalFull,
};

use crate::{
    hub::{Hub, HubConfig, Output, RouteConfig, UpstreamConfig},
    room::{self, Sharing},
    session::{Commons, Session, SessionConfig},
    snapshot::{Crowd, Report, Snapshot},
    stats::{Registry, Tallies},
};

pub(crate) const NOW: Duration = Duration::from_secs(1_800_000_000);
/// No hash of a test meets it.
pub(crate) const HARD_NBITS: u32 = 0x1d00_ffff;

/// What a session has put out.
#[derive(Default)]
pub(crate) struct Recorder {
    pub lines: Vec<u8>,
    pub reports: Vec<Report>,
    pub gone: Option<String>,
}

impl Sink for Recorder {
    type Report = Report;
    type Record = Infallible;

    fn send<M: Message>(&mut self, _: &M) {
        panic!("no frames are sent to miners");
    }

    fn send_lines(&mut self, lines: &[u8]) {
        self.lines.extend_from_slice(lines);
    }

    fn disconnect(&mut self, reason: impl Display) {
        self.gone.get_or_insert(reason.to_string());
    }

    fn report(&mut self, report: Report) {
        self.reports.push(report);
    }

    fn persist(&mut self, _: Infallible) -> Result<(), JournalFull> {
        Err(JournalFull)
    }
}

/// A pool.
pub(crate) struct TestPool {
    /// Connections come about.
    pub up: bool,
    /// Supported extensions.
    pub extensions: &'static [u16],
    /// Shares are judged but not answered.
    pub mute: bool,
    /// Target of channels to come.
    pub target: Target,
    /// Server flags of SetupConnection.Success.
    pub support: Support,
    /// Why no channel is opened.
    pub refuse: Option<&'static str>,
    pub nbits: u32,
    pub version_rolling: bool,
    space: Space,
    factory: JobFactory,
    ids: JobIds,
    attempt: u64,
    setup: Option<AwaitSetup>,
    server: Option<OpenServer<Mining>>,
    pub channels: BTreeMap<u32, Channel>,
    next_channel: u32,
    next_template: u64,
    job: Arc<Job>,
    tip: Tip,
    pub identities: Vec<String>,
    pub hashrates: Vec<f32>,
    /// Names from TLV fields, one for each share.
    pub workers: Vec<Option<String>>,
    /// Work credited.
    pub credited: u128,
    pub accepted: u64,
    pub blocks: u64,
    pub rejected: Vec<String>,
    unanswered: Vec<(u32, u32)>,
    out: Vec<(FrameHeader, Vec<u8>)>,
}

fn template(id: u64) -> JobTemplate {
    JobTemplate {
        template_id: TemplateId(id),
        future: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![3, id as u8, 0xd1, 0x0c],
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 312_500_000,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: vec![],
        coinbase_tx_locktime: 0,
        merkle_path: vec![[id as u8; 32], [9; 32]],
    }
}

pub(crate) fn tip(prev_hash: u8, nbits: u32, now: Duration) -> Tip {
    Tip::new(BlockHash::from_byte_array([prev_hash; 32]), NOW.as_secs() as u32, nbits, now).unwrap()
}

impl TestPool {
    /// Leaves so many bytes of extranonce behind a prefix of six.
    pub fn new(seed: u64, extranonce_size: usize) -> Self {
        let layout = Layout::new(16, 8, 24, 6 + extranonce_size).unwrap();
        let payout = Payout::single(bitcoin::ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::all_zeros()));
        let reserved = payout.constraints();
        let factory = JobFactory::new(payout, b"/test/".to_vec(), layout.full_size(), reserved).unwrap();
        let ids = JobIds::new();
        let job = Arc::new(factory.build(ids.next(), &template(1)).unwrap());
        Self {
            up: true,
            extensions: &[2],
            mute: false,
            target: Target::from_zero_bits(3),
            support: Support::MINING,
            refuse: None,
            nbits: HARD_NBITS,
            version_rolling: true,
            space: Space::new(layout, seed, 1).unwrap(),
            factory,
            ids,
            attempt: 0,
            setup: None,
            server: None,
            channels: BTreeMap::new(),
            next_channel: 2,
            next_template: 1,
            job,
            tip: tip(1, HARD_NBITS, NOW),
            identities: vec![],
            hashrates: vec![],
            workers: vec![],
            credited: 0,
            accepted: 0,
            blocks: 0,
            rejected: vec![],
            unanswered: vec![],
            out: vec![],
        }
    }

    pub fn send<M: Message>(&mut self, message: &M) {
        let payload = binary_sv2::to_bytes(message).unwrap();
        self.out.push((FrameHeader::of::<M>(payload.len()).unwrap(), payload));
    }

    fn connect(&mut self, attempt: u64) {
        self.attempt = attempt;
        self.channels.clear();
        self.unanswered.clear();
        self.server = None;
        self.setup = Some(AwaitSetup::new(NOW, Duration::from_secs(9)));
    }

    fn disconnect(&mut self) {
        (self.setup, self.server) = (None, None);
        self.channels.clear();
        self.unanswered.clear();
        self.out.clear();
    }

    fn handle(&mut self, now: Duration, header: FrameHeader, payload: &[u8]) {
        if let Some(setup) = self.setup.take() {
            let requested = setup.handle_frame(header, payload).unwrap();
            let offer = Offer { supported: self.extensions, ..Offer::NONE };
            let (server, success) = requested.accept::<Mining>(now, &self.support, offer).unwrap();
            self.send(&success);
            self.server = Some(server);
            return;
        }
        let Some(server) = &mut self.server else { return };
        let message = match server.receive(header, payload).unwrap() {
            Incoming::Extensions(Ok(answer)) => return self.send(&answer),
            Incoming::Extensions(Err(answer)) => return self.send(&answer),
            Incoming::Message(message) => message.decode().unwrap(),
            other => panic!("{other:?}"),
        };
        match message {
            MiningMessage::OpenExtendedMiningChannel(open) => {
                self.identities.push(open.user_identity.to_string());
                self.hashrates.push(open.nominal_hash_rate);
                let code = if let Some(code) = self.refuse {
                    Some(code)
                } else if usize::from(open.min_extranonce_size) > self.space.layout().max_rollable() {
                    Some("min-extranonce-size-too-large")
                } else {
                    None
                };
                if let Some(code) = code {
                    let error_code = Str0_255::from_truncated(code);
                    return self.send(&OpenMiningChannelError { request_id: open.request_id, error_code });
                }
                self.open(now, open.request_id);
            }
            MiningMessage::SubmitSharesExtended(submit) => {
                let len = binary_sv2::to_bytes(&submit).unwrap().len();
                let worker = tlv::user_identity(&payload[len..]).unwrap();
                self.workers.push(worker.map(|name| String::from_utf8(name.to_vec()).unwrap()));
                let (id, sequence_number) = (submit.channel_id, submit.sequence_number);
                let verdict = self.channels.get_mut(&id).expect("an open channel").submit(now, &Share::from(&submit));
                self.blocks += u64::from(verdict.block().is_some());
                match verdict {
                    Verdict::Accepted { work, .. } => {
                        self.credited += work;
                        self.accepted += 1;
                        self.unanswered.push((id, sequence_number));
                    }
                    Verdict::Rejected { reason, .. } => {
                        self.rejected.push(reason.to_string());
                        let error_code = Str0_255::from_truncated(reason.error_code());
                        self.send(&SubmitSharesError { channel_id: id, sequence_number, error_code });
                    }
                }
                if !self.mute {
                    self.acknowledge();
                }
            }
            MiningMessage::UpdateChannel(update) => self.hashrates.push(update.nominal_hash_rate),
            MiningMessage::CloseChannel(close) => {
                self.channels.remove(&close.channel_id).expect("an open channel");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Answers what was not answered.
    pub fn acknowledge(&mut self) {
        let mut last: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        for (channel, sequence) in std::mem::take(&mut self.unanswered) {
            let entry = last.entry(channel).or_default();
            *entry = (sequence, entry.1 + 1);
        }
        for (channel_id, (last_sequence_number, new_submits_accepted_count)) in last {
            self.send(&SubmitSharesSuccess {
                channel_id,
                last_sequence_number,
                new_submits_accepted_count,
                new_shares_sum: 0,
            });
        }
    }

    fn open(&mut self, now: Duration, request: u32) {
        let open = Open {
            channel_id: ChannelId(self.next_channel),
            group_channel_id: ChannelId(1),
            slot: self.space.allocate().unwrap(),
            max_target: Target::MAX,
            target: self.target,
            rules: Rules::default(),
        };
        self.next_channel += 1;
        let mut channel = Channel::extended(open, self.space.layout().max_rollable()).unwrap();
        let OpenSuccess::Extended(success) = channel.open_success(RequestId(request)) else { unreachable!() };
        self.send(&success);
        let id = channel.id();
        channel.on_new_job(now, self.job.clone(), None).unwrap();
        let mut job = self.job.new_extended_mining_job(id, None);
        job.version_rolling_allowed = self.version_rolling;
        let payload = binary_sv2::to_bytes(&job).unwrap();
        self.out.push((FrameHeader::of::<mining_sv2::NewExtendedMiningJob<'_>>(payload.len()).unwrap(), payload));
        self.tip.nbits = self.nbits;
        self.tip.target = Target::from_compact(self.nbits).unwrap();
        channel.on_set_new_prev_hash(now, self.job.id(), Arc::new(self.tip)).unwrap();
        let message = self.tip.set_new_prev_hash(id, self.job.id());
        self.send(&message);
        self.channels.insert(id.0, channel);
    }

    /// A block: a new job on a new tip, to the group.
    pub fn new_tip(&mut self, now: Duration, prev_hash: u8) {
        self.next_template += 1;
        self.job = Arc::new(self.factory.build(self.ids.next(), &template(self.next_template)).unwrap());
        self.tip = tip(prev_hash, self.nbits, now);
        let tip = Arc::new(self.tip);
        for channel in self.channels.values_mut() {
            channel.on_new_job(now, self.job.clone(), None).unwrap();
            channel.on_set_new_prev_hash(now, self.job.id(), tip.clone()).unwrap();
        }
        let (job, message) = (self.job.clone(), tip.set_new_prev_hash(ChannelId(1), self.job.id()));
        self.send(&job.new_extended_mining_job(ChannelId(1), None));
        self.send(&message);
    }

    /// A new job on the same tip, to the group.
    pub fn new_job(&mut self, now: Duration) {
        self.next_template += 1;
        let template = JobTemplate { future: false, ..template(self.next_template) };
        self.job = Arc::new(self.factory.build(self.ids.next(), &template).unwrap());
        let min_ntime = Some(self.tip.min_ntime);
        for channel in self.channels.values_mut() {
            channel.on_new_job(now, self.job.clone(), min_ntime).unwrap();
        }
        let job = self.job.clone();
        let mut message = job.new_extended_mining_job(ChannelId(1), min_ntime);
        message.version_rolling_allowed = self.version_rolling;
        self.send(&message);
    }

    /// Gives each channel another target, for jobs to come.
    pub fn retarget(&mut self, target: Target) {
        let ids: Vec<u32> = self.channels.keys().copied().collect();
        for channel_id in ids {
            self.channels.get_mut(&channel_id).unwrap().set_target(target);
            self.send(&mining_sv2::SetTarget { channel_id, maximum_target: target.into() });
        }
    }

    /// Gives each channel another prefix, for jobs to come.
    pub fn change_prefixes(&mut self) {
        let ids: Vec<u32> = self.channels.keys().copied().collect();
        for channel_id in ids {
            let slot = self.space.allocate().unwrap();
            let channel = self.channels.get_mut(&channel_id).unwrap();
            let message = channel.set_extranonce_prefix(slot).unwrap();
            self.send(&message);
        }
    }
}

/// A device.
pub(crate) struct Device {
    pub session: Session,
    pub sink: Recorder,
    pub lines: Vec<Value>,
    pub extranonce1: Vec<u8>,
    pub extranonce2_size: usize,
    pub job: Option<Vec<Value>>,
    pub jobs: usize,
    pub clean: usize,
    pub difficulty: f64,
    pub version_mask: u32,
    pub next_id: u64,
    pub next_extranonce2: u64,
    /// Answers to submits.
    pub accepted: u64,
    pub refused: Vec<Value>,
    submits: Vec<u64>,
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Device {
    fn take_lines(&mut self) {
        let text = String::from_utf8(std::mem::take(&mut self.sink.lines)).unwrap();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let params = line["params"].as_array().cloned().unwrap_or_default();
            match line["method"].as_str() {
                Some("mining.notify") => {
                    self.jobs += 1;
                    self.clean += usize::from(params[8] == true);
                    self.job = Some(params);
                }
                Some("mining.set_difficulty") => self.difficulty = params[0].as_f64().unwrap(),
                Some("mining.set_version_mask") => {
                    self.version_mask = u32::from_str_radix(params[0].as_str().unwrap(), 16).unwrap();
                }
                Some("mining.set_extranonce") => {
                    self.extranonce1 = unhex(params[0].as_str().unwrap());
                    self.extranonce2_size = params[1].as_u64().unwrap() as usize;
                }
                Some(_) => {}
                None => {
                    let id = line["id"].as_u64().unwrap();
                    if let Some(index) = self.submits.iter().position(|submit| *submit == id) {
                        self.submits.remove(index);
                        match line["error"].is_null() {
                            true => self.accepted += 1,
                            false => self.refused.push(line["error"].clone()),
                        }
                    } else if let Some(extranonce1) = line["result"][1].as_str() {
                        self.extranonce1 = unhex(extranonce1);
                        self.extranonce2_size = line["result"][2].as_u64().unwrap() as usize;
                    } else if let Some(mask) = line["result"]["version-rolling.mask"].as_str() {
                        self.version_mask = u32::from_str_radix(mask, 16).unwrap();
                    }
                }
            }
            self.lines.push(line);
        }
    }

    /// Hash of the header that the device makes of a job, from what the protocol says and nothing else.
    pub fn hash(&self, job: &[Value], extranonce2: &[u8], ntime: u32, nonce: u32, version: u32) -> BlockHash {
        let part = |index: usize| unhex(job[index].as_str().unwrap());
        let coinbase = [&part(2)[..], &self.extranonce1, extranonce2, &part(3)].concat();
        let hash = |bytes: &[u8]| bitcoin::hashes::sha256d::Hash::hash(bytes).to_byte_array();
        let branch = job[4].as_array().unwrap();
        let fold = |root: [u8; 32], sibling: &Value| hash(&[&root[..], &unhex(sibling.as_str().unwrap())].concat());
        let merkle_root = branch.iter().fold(hash(&coinbase), fold);
        let mut prev_hash = part(1);
        prev_hash.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let prev_hash = BlockHash::from_byte_array(prev_hash.try_into().unwrap());
        let nbits = u32::from_str_radix(job[6].as_str().unwrap(), 16).unwrap();
        Header { version, prev_hash, merkle_root, ntime, nbits, nonce }.hash()
    }
}

/// What a share is to be.
pub(crate) struct Wanted {
    pub user: &'static str,
    pub meets: Option<Target>,
    pub misses: Option<Target>,
    pub version_bits: Option<u32>,
    pub ntime_offset: u32,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { user: "alice.rig", meets: None, misses: None, version_bits: None, ntime_offset: 0 }
    }
}

pub(crate) struct World {
    pub now: Duration,
    pub hub: Hub,
    pub pools: Vec<TestPool>,
    pub devices: BTreeMap<ConnectionId, Device>,
    pub commons: Commons,
    pub session: Arc<SessionConfig>,
    pub snapshot: Arc<Snapshot>,
    next_number: u64,
    /// Dials that failed or succeeded.
    pub dials: Vec<usize>,
}

pub(crate) fn session_config(sharing: Sharing) -> SessionConfig {
    let policy = TargetPolicy {
        shares_per_minute: 12.0,
        bounds: roles_logic_sv2::TargetBounds::NONE,
        start: Start::Nominal(Some(Target::MAX)),
    };
    let much = Rate { per_second: 1e6, burst: 1e6 };
    SessionConfig {
        sharing,
        version_mask: const_sv2::limits::BIP320_VERSION_MASK,
        targets: TargetPolicies::new(policy).unwrap(),
        vardiff: false,
        ntime_tolerance: 60,
        verdict_patience: Duration::from_secs(5),
        patience: Duration::from_secs(60),
        lines: much,
        invalid_shares: much,
    }
}

impl World {
    /// One route over these pools.
    pub fn new(sharing: Sharing, pools: Vec<TestPool>) -> Self {
        let routes = vec![("main".into(), 1.0, (0..pools.len()).collect())];
        Self::with_routes(session_config(sharing), pools, routes)
    }

    pub fn with_routes(session: SessionConfig, pools: Vec<TestPool>, routes: Vec<(String, f64, Vec<usize>)>) -> Self {
        let upstreams = (0..pools.len()).map(|index| UpstreamConfig {
            name: format!("pool-{index}"),
            url: "stratum2+tcp://pool.example:1".parse().unwrap(),
            plain: true,
            user: "account".into(),
        });
        let routes = routes.into_iter().map(|(name, weight, upstreams)| RouteConfig { name, weight, upstreams });
        let config = HubConfig {
            sharing: session.sharing,
            version_mask: session.version_mask,
            upstreams: upstreams.collect(),
            routes: routes.collect(),
            setup: Duration::from_secs(10),
            settle: Duration::from_secs(30),
            update_interval: Duration::from_secs(60),
            miner_hashrate: 1e12,
        };
        let slots = Space::new(room::slots().unwrap(), 0, 0).unwrap();
        let registry = Registry::default();
        let crowd = Crowd::new(config.routes.len());
        let hub = Hub::new(NOW, Arc::new(config), registry.clone(), &slots, 1);
        let mut world = Self {
            now: NOW,
            hub,
            pools,
            devices: BTreeMap::new(),
            commons: Commons { slots, registry, crowd },
            session: Arc::new(session),
            snapshot: Arc::default(),
            next_number: 0,
            dials: vec![],
        };
        world.advance(Duration::ZERO);
        world
    }

    /// Lets time pass, in small steps.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.hub.handle_timeout(self.now);
            let ids: Vec<_> = self.devices.keys().copied().collect();
            for id in ids {
                let device = self.devices.get_mut(&id).unwrap();
                if device.session.poll_timeout().is_some_and(|at| at <= self.now) {
                    device.session.handle_timeout(self.now, &mut device.sink);
                }
            }
            self.run();
            if self.now >= end {
                return;
            }
            self.now = (self.now + Duration::from_millis(250)).min(end);
        }
    }

    /// Moves messages until all is quiet.
    pub fn run(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.hub.poll_output() {
                quiet = false;
                self.output(output);
            }
            for index in 0..self.pools.len() {
                for (header, payload) in std::mem::take(&mut self.pools[index].out) {
                    quiet = false;
                    let attempt = self.pools[index].attempt;
                    self.hub.handle_frame(self.now, index, attempt, header, &payload);
                }
            }
            let mut gone = Vec::new();
            for (id, device) in &mut self.devices {
                device.take_lines();
                for report in std::mem::take(&mut device.sink.reports) {
                    quiet = false;
                    self.hub.handle_report(self.now, report);
                }
                if device.sink.gone.is_some() {
                    gone.push(*id);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Dial { upstream, attempt, .. } => {
                self.dials.push(upstream);
                if self.pools[upstream].up {
                    self.pools[upstream].connect(attempt);
                    self.hub.handle_connected(self.now, upstream, attempt, Duration::from_millis(1));
                } else {
                    self.hub.handle_disconnected(self.now, upstream, attempt, "refused");
                }
            }
            Output::HangUp { upstream, attempt } => {
                if self.pools[upstream].attempt == attempt {
                    self.pools[upstream].disconnect();
                }
            }
            Output::Send { upstream, attempt, header, payload } => {
                if self.pools[upstream].attempt == attempt {
                    self.pools[upstream].handle(self.now, header, &payload);
                }
            }
            Output::Letter { to, letter } => {
                if let Some(device) = self.devices.get_mut(&to) {
                    device.session.handle_letter(self.now, letter, &mut device.sink);
                }
            }
            Output::Publish(snapshot) => {
                self.snapshot = snapshot;
                for device in self.devices.values_mut() {
                    device.session.handle_notice(self.now, &self.snapshot, &mut device.sink);
                }
            }
        }
    }

    /// The pool dies; its connection breaks.
    pub fn kill(&mut self, pool: usize) {
        self.pools[pool].up = false;
        self.pools[pool].disconnect();
        let attempt = self.pools[pool].attempt;
        self.hub.handle_disconnected(self.now, pool, attempt, "connection reset");
        self.run();
    }

    /// A device connects, and says nothing yet.
    pub fn connect(&mut self) -> ConnectionId {
        let connection = ConnectionId { shard: 0, number: self.next_number };
        self.next_number += 1;
        let peer = Peer { connection, address: "127.0.0.1:1".parse().unwrap(), protocol: Protocol::V1 { tls: false } };
        let mut device = Device {
            session: Session::new(self.now, peer, self.session.clone(), self.commons.clone()),
            sink: Recorder::default(),
            lines: vec![],
            extranonce1: vec![],
            extranonce2_size: 0,
            job: None,
            jobs: 0,
            clean: 0,
            difficulty: 0.0,
            version_mask: 0,
            next_id: 1,
            next_extranonce2: 0,
            accepted: 0,
            refused: vec![],
            submits: vec![],
        };
        device.session.handle_notice(self.now, &self.snapshot, &mut device.sink);
        self.devices.insert(connection, device);
        self.run();
        connection
    }

    /// A device that subscribes and authorizes.
    pub fn join(&mut self, user: &str, follows_extranonce: bool) -> ConnectionId {
        let id = self.connect();
        if follows_extranonce {
            self.request(id, "mining.extranonce.subscribe", &json!([]));
        }
        self.request(id, "mining.configure", &json!([["version-rolling"], {"version-rolling.mask": "ffffffff"}]));
        self.request(id, "mining.subscribe", &json!(["device/1.0"]));
        self.request(id, "mining.authorize", &json!([user, "x"]));
        id
    }

    pub fn device(&mut self, id: ConnectionId) -> &mut Device {
        self.devices.get_mut(&id).unwrap()
    }

    pub fn leave(&mut self, id: ConnectionId) {
        self.devices.remove(&id);
    }

    pub fn request(&mut self, id: ConnectionId, method: &str, params: &Value) -> u64 {
        let number = self.device(id).next_id;
        self.device(id).next_id += 1;
        let now = self.now;
        let device = self.device(id);
        if method == "mining.submit" {
            device.submits.push(number);
        }
        let line = json!({"id": number, "method": method, "params": params}).to_string();
        device.session.handle_line(now, line.as_bytes(), &mut device.sink);
        device.session.finish_input(now, &mut device.sink);
        self.run();
        number
    }

    /// Searches for a share of the device's job.
    pub fn find(&mut self, id: ConnectionId, wanted: &Wanted) -> Value {
        let job = self.device(id).job.clone().expect("a job");
        self.find_for(id, &job, wanted)
    }

    pub fn find_for(&mut self, id: ConnectionId, job: &[Value], wanted: &Wanted) -> Value {
        let device = self.device(id);
        let extranonce2 = device.next_extranonce2.to_be_bytes()[8 - device.extranonce2_size.min(8)..].to_vec();
        device.next_extranonce2 += 1;
        let number = |index: usize| u32::from_str_radix(job[index].as_str().unwrap(), 16).unwrap();
        let (version, ntime) = (number(5), number(7) + wanted.ntime_offset);
        let version = wanted.version_bits.map_or(version, |bits| version & !device.version_mask | bits);
        let is_right = |nonce: &u32| {
            let hash = device.hash(job, &extranonce2, ntime, *nonce, version);
            wanted.meets.is_none_or(|target| target.is_met_by(&hash))
                && wanted.misses.is_none_or(|target| !target.is_met_by(&hash))
        };
        let nonce = (0..).find(is_right).unwrap();
        let mut params = vec![json!(wanted.user), job[0].clone(), json!(hex(&extranonce2))];
        params.extend([json!(format!("{ntime:08x}")), json!(format!("{nonce:08x}"))]);
        params.extend(wanted.version_bits.map(|bits| json!(format!("{bits:08x}"))));
        Value::Array(params)
    }

    /// Finds and submits a share.
    pub fn mine(&mut self, id: ConnectionId, wanted: &Wanted) -> Value {
        let share = self.find(id, wanted);
        self.request(id, "mining.submit", &share);
        share
    }

    /// All sums, checked against each other.
    pub fn totals(&self) -> Tallies {
        let totals = self.commons.registry.totals();
        let Tallies { accepted, confirmed, provisional, local, .. } = &totals;
        assert_eq!(accepted.work, confirmed.work + provisional.work + local.work);
        assert_eq!(accepted.shares, confirmed.shares + provisional.shares + local.shares);
        totals
    }
}
