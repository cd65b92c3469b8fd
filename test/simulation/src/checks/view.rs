//! What the pool told each channel, kept from the frames alone, and what follows for a share.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Duration,
};

use bitcoin::{
    BlockHash, CompactTarget, Target, TxMerkleNode,
    block::{Header, Version},
    hashes::{Hash, sha256d},
};
use mining_sv2::{Mining, SetNewPrevHash};
use roles_logic_sv2::channel::server::{
    MAX_ACTIVE_JOBS, MAX_FUTURE_JOBS, MAX_RETIRED_JOBS, RETIRED_JOB_AGE, RETIRED_JOB_TIPS,
};

use super::Observation;

/// Bits of nVersion that may be rolled (BIP 323).
const ROLLED_BITS: u32 = 0x1fff_ffe0;
/// Seconds that the simulated pool lets a share's time run ahead.
pub const NTIME_TOLERANCE: u32 = 60;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct View {
    channels: BTreeMap<(u64, u32), Channel>,
    /// When a source first told of a block.
    tips: BTreeMap<BlockHash, Duration>,
    /// Shares that must have been accepted.
    seen: HashSet<BlockHash>,
    judged: Option<Judged>,
}

/// One open channel.
#[derive(Debug)]
pub struct Channel {
    group: u32,
    prefix: Vec<u8>,
    rollable: usize,
    target: Target,
    tip: Option<Tip>,
    tips: u64,
    future: VecDeque<Job>,
    active: VecDeque<Active>,
    retired: VecDeque<Retired>,
}

#[derive(Clone, Copy, Debug)]
struct Tip {
    prev_hash: BlockHash,
    min_ntime: u32,
    nbits: u32,
    sent: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    id: u32,
    version: u32,
    rolling: bool,
    root: Root,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    Fixed([u8; 32]),
    Rolled { prefix: Vec<u8>, suffix: Vec<u8>, path: Vec<[u8; 32]> },
}

#[derive(Debug)]
struct Active {
    job: Job,
    tip: Tip,
    min_ntime: u32,
    easiest: Target,
    hardest: Target,
    was_future: bool,
}

#[derive(Debug)]
struct Retired {
    active: Active,
    at: Duration,
    tips: u64,
}

/// What a server has to say to a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It counts.
    Accept,
    /// It does not.
    Reject,
    /// The specification allows less than the pool does.
    Either,
}

/// A share, recomputed.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The channel that it names.
    pub channel: u32,
    /// Its sequence number.
    pub sequence: u32,
    /// Hash of its header, where there is a job for it.
    pub hash: Option<BlockHash>,
    /// The block that it builds on.
    pub prev_hash: Option<BlockHash>,
    /// What the pool has to say.
    pub expect: Expect,
    /// Work that it stands for.
    pub work: u128,
    /// It makes a block.
    pub is_block: bool,
    /// A node has no reason to refuse that block.
    pub is_sound: bool,
}

struct Share<'a> {
    channel: u32,
    sequence: u32,
    job: u32,
    nonce: u32,
    ntime: u32,
    version: u32,
    rolled: &'a [u8],
}

impl View {
    /// The share that was just submitted, recomputed.
    pub fn judged(&self) -> Option<&Judged> {
        self.judged.as_ref()
    }

    /// When a source first told of this block.
    pub fn tip_told(&self, hash: &BlockHash) -> Option<Duration> {
        self.tips.get(hash).copied()
    }

    /// Whether a channel is open.
    pub fn is_open(&self, conn: u64, channel: u32) -> bool {
        self.channels.contains_key(&(conn, channel))
    }

    /// Open channels on a connection.
    pub fn channel_count(&self, conn: u64) -> usize {
        self.channels.range((conn, 0)..=(conn, u32::MAX)).count()
    }

    /// Channels that a message with this id is for: the channel, or all of the group.
    pub fn addressed(&self, conn: u64, id: u32) -> impl Iterator<Item = &Channel> {
        let channels = self.channels.range((conn, 0)..=(conn, u32::MAX));
        channels.filter(move |((_, channel), state)| *channel == id || state.group == id).map(|(_, state)| state)
    }

    /// Recomputes a share before anyone looks at it.
    pub fn prepare(&mut self, now: Duration, observation: &Observation<'_>) {
        self.judged = match observation {
            Observation::ToPool { conn, message } => share(message).map(|share| self.judge(now, *conn, &share)),
            _ => None,
        };
    }

    /// Takes in what happened.
    pub fn update(&mut self, now: Duration, observation: &Observation<'_>) {
        match observation {
            Observation::FromPool { conn, message: Some(message) } => self.told(now, *conn, message),
            Observation::Handled { conn, message: Mining::CloseChannel(close) } => {
                let id = close.channel_id;
                self.channels.retain(|(c, channel), state| c != conn || (*channel != id && state.group != id));
            }
            Observation::Ended { conn, .. } => self.channels.retain(|(c, _), _| c != conn),
            Observation::Tip { prev_hash } => {
                self.tips.entry(*prev_hash).or_insert(now);
            }
            Observation::ToPool { .. } => {
                if let Some(Judged { expect: Expect::Accept, hash: Some(hash), .. }) = self.judged {
                    self.seen.insert(hash);
                }
            }
            _ => {}
        }
    }

    fn told(&mut self, now: Duration, conn: u64, message: &Mining<'_>) {
        let mut addressed = |id: u32, change: &mut dyn FnMut(&mut Channel)| {
            let channels = self.channels.range_mut((conn, 0)..=(conn, u32::MAX));
            channels.filter(|((_, c), state)| *c == id || state.group == id).for_each(|(_, state)| change(state));
        };
        match message {
            Mining::NewMiningJob(m) => {
                let root = Root::Fixed(m.merkle_root.to_le_bytes());
                let job = Job { id: m.job_id, version: m.version, rolling: true, root };
                addressed(m.channel_id, &mut |channel| channel.add(now, job.clone(), m.min_ntime));
            }
            Mining::NewExtendedMiningJob(m) => {
                let root = Root::Rolled {
                    prefix: m.coinbase_tx_prefix.as_bytes().to_vec(),
                    suffix: m.coinbase_tx_suffix.as_bytes().to_vec(),
                    path: m.merkle_path.iter().map(|hash| hash.to_le_bytes()).collect(),
                };
                let job = Job { id: m.job_id, version: m.version, rolling: m.version_rolling_allowed, root };
                addressed(m.channel_id, &mut |channel| channel.add(now, job.clone(), m.min_ntime));
            }
            Mining::SetNewPrevHash(m) => addressed(m.channel_id, &mut |channel| channel.new_tip(now, m)),
            Mining::SetTarget(m) => {
                let target = Target::from_le_bytes(m.maximum_target.to_le_bytes());
                addressed(m.channel_id, &mut |channel| channel.set_target(target));
            }
            Mining::OpenStandardMiningChannelSuccess(m) => {
                let channel = Channel::new(m.group_channel_id, m.extranonce_prefix.as_bytes(), 0, m.target);
                self.channels.insert((conn, m.channel_id), channel);
            }
            Mining::OpenExtendedMiningChannelSuccess(m) => {
                let (prefix, rollable) = (m.extranonce_prefix.as_bytes(), m.extranonce_size.into());
                let channel = Channel::new(m.group_channel_id, prefix, rollable, m.target);
                self.channels.insert((conn, m.channel_id), channel);
            }
            _ => {}
        }
    }

    fn judge(&self, now: Duration, conn: u64, share: &Share<'_>) -> Judged {
        let unknown = Judged {
            channel: share.channel,
            sequence: share.sequence,
            hash: None,
            prev_hash: None,
            expect: Expect::Reject,
            work: 0,
            is_block: false,
            is_sound: false,
        };
        let Some(channel) = self.channels.get(&(conn, share.channel)) else { return unknown };
        let Some((active, is_late)) = channel.job(now, share.job) else { return unknown };
        if share.rolled.len() != channel.rollable {
            return unknown;
        }
        let full = [&channel.prefix, share.rolled].concat();
        let header = Header {
            version: Version::from_consensus(share.version.cast_signed()),
            prev_blockhash: active.tip.prev_hash,
            merkle_root: TxMerkleNode::from_byte_array(active.job.root.with(&full)),
            time: share.ntime,
            bits: CompactTarget::from_consensus(active.tip.nbits),
            nonce: share.nonce,
        };
        let hash = header.block_hash();
        let expect = match () {
            () if is_late || self.seen.contains(&hash) || !active.easiest.is_met_by(hash) => Expect::Reject,
            () if !active.allows_version(share.version) => Expect::Reject,
            () => self.expect_time(now, active, share.ntime),
        };
        let work = if active.hardest.is_met_by(hash) { work(active.hardest) } else { 0 };
        let is_block = Target::from_compact(header.bits).is_met_by(hash);
        let in_time = (active.min_ntime..=now.as_secs() as u32 + 3_600).contains(&share.ntime);
        let prev_hash = Some(header.prev_blockhash);
        Judged {
            hash: Some(hash),
            prev_hash,
            expect,
            work,
            is_block,
            is_sound: in_time && share.version >> 29 == 1,
            ..unknown
        }
    }

    /// sv2-spec §5.3.11: from `min_ntime` up, one second for each one that has passed.
    fn expect_time(&self, now: Duration, active: &Active, ntime: u32) -> Expect {
        let seconds = |since: Duration| now.saturating_sub(since).as_secs() as u32;
        let surely = (active.tip.min_ntime + seconds(active.tip.sent)).max(active.min_ntime);
        let first_told = self.tips.get(&active.tip.prev_hash).copied().unwrap_or_default();
        let perhaps = (active.tip.min_ntime + seconds(first_told) + NTIME_TOLERANCE).max(surely);
        match ntime {
            _ if ntime < active.min_ntime => Expect::Reject,
            _ if ntime <= surely => Expect::Accept,
            _ if ntime <= perhaps => Expect::Either,
            _ => Expect::Reject,
        }
    }
}

/// Hashes that it takes on average, by the `bitcoin` crate.
fn work(target: Target) -> u128 {
    let bytes = target.to_work().to_be_bytes();
    let mut low = [0; 16];
    low.copy_from_slice(&bytes[16..]);
    u128::from_be_bytes(low)
}

fn share<'a>(message: &'a Mining<'_>) -> Option<Share<'a>> {
    match message {
        Mining::SubmitSharesStandard(m) => Some(Share {
            channel: m.channel_id,
            sequence: m.sequence_number,
            job: m.job_id,
            nonce: m.nonce,
            ntime: m.ntime,
            version: m.version,
            rolled: &[],
        }),
        Mining::SubmitSharesExtended(m) => Some(Share {
            channel: m.channel_id,
            sequence: m.sequence_number,
            job: m.job_id,
            nonce: m.nonce,
            ntime: m.ntime,
            version: m.version,
            rolled: m.extranonce.as_bytes(),
        }),
        _ => None,
    }
}

impl Root {
    fn with(&self, extranonce: &[u8]) -> [u8; 32] {
        match self {
            Self::Fixed(root) => *root,
            Self::Rolled { prefix, suffix, path } => {
                let txid = sha256d::Hash::hash(&[prefix, extranonce, suffix].concat()).to_byte_array();
                path.iter().fold(txid, |left, right| sha256d::Hash::hash(&[left, *right].concat()).to_byte_array())
            }
        }
    }
}

impl Active {
    fn allows_version(&self, version: u32) -> bool {
        let changed = version ^ self.job.version;
        changed == 0 || (self.job.rolling && changed & !ROLLED_BITS == 0)
    }
}

impl Channel {
    fn new(group: u32, prefix: &[u8], rollable: usize, target: binary_sv2::U256) -> Self {
        Self {
            group,
            prefix: prefix.to_vec(),
            rollable,
            target: Target::from_le_bytes(target.to_le_bytes()),
            tip: None,
            tips: 0,
            future: VecDeque::new(),
            active: VecDeque::new(),
            retired: VecDeque::new(),
        }
    }

    /// Whether a SetNewPrevHash may name this job.
    pub fn has_future(&self, id: u32) -> bool {
        self.future.iter().any(|job| job.id == id)
    }

    /// Whether shares for this job are or will be taken.
    pub fn has_live(&self, id: u32) -> bool {
        self.has_future(id) || self.active.iter().any(|active| active.job.id == id)
    }

    /// Whether there is a previous hash to build on.
    pub fn has_tip(&self) -> bool {
        self.tip.is_some()
    }

    fn job(&self, now: Duration, id: u32) -> Option<(&Active, bool)> {
        if let Some(active) = self.active.iter().rev().find(|active| active.job.id == id) {
            return Some((active, false));
        }
        let known = |retired: &&Retired| {
            self.tips - retired.tips < RETIRED_JOB_TIPS && now.saturating_sub(retired.at) <= RETIRED_JOB_AGE
        };
        let late = self.retired.iter().rev().find(|retired| retired.active.job.id == id);
        late.filter(known).map(|retired| (&retired.active, true))
    }

    fn add(&mut self, now: Duration, job: Job, min_ntime: Option<u32>) {
        match (min_ntime, self.tip) {
            (Some(min_ntime), Some(tip)) => self.start(now, job, tip, min_ntime, false),
            (Some(_), None) => {}
            (None, _) => {
                self.future.push_back(job);
                if self.future.len() > MAX_FUTURE_JOBS {
                    self.future.pop_front();
                }
            }
        }
    }

    fn start(&mut self, now: Duration, job: Job, tip: Tip, min_ntime: u32, was_future: bool) {
        let (easiest, hardest) = (self.target, self.target);
        self.active.push_back(Active { job, tip, min_ntime, easiest, hardest, was_future });
        if self.active.len() > MAX_ACTIVE_JOBS {
            self.retire_oldest(now);
        }
    }

    fn retire_oldest(&mut self, now: Duration) {
        if let Some(active) = self.active.pop_front() {
            self.retired.push_back(Retired { active, at: now, tips: self.tips });
        }
        if self.retired.len() > MAX_RETIRED_JOBS {
            self.retired.pop_front();
        }
    }

    fn new_tip(&mut self, now: Duration, message: &SetNewPrevHash) {
        let Some(index) = self.future.iter().position(|job| job.id == message.job_id) else { return };
        let Some(job) = self.future.remove(index) else { return };
        self.future.clear();
        self.tips += 1;
        while !self.active.is_empty() {
            self.retire_oldest(now);
        }
        let tip = Tip {
            prev_hash: BlockHash::from_byte_array(message.prev_hash.to_le_bytes()),
            min_ntime: message.min_ntime,
            nbits: message.nbits,
            sent: now,
        };
        self.tip = Some(tip);
        self.start(now, job, tip, message.min_ntime, true);
    }

    fn set_target(&mut self, target: Target) {
        self.target = target;
        for active in self.active.iter_mut().filter(|active| active.was_future) {
            active.easiest = active.easiest.max(target);
            active.hardest = active.hardest.min(target);
        }
    }
}
