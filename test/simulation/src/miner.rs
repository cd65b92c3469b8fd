//! A simulated miner: real client channels, real hashes, one connection at a time.

use std::{collections::BTreeMap, time::Duration};

use binary_sv2::Str0_255;
use common_messages_sv2::SetupConnection;
use const_sv2::protocol::{MINING, VERSION};
use mining_sv2::{CloseChannel, Mining, OpenExtendedMiningChannel, OpenStandardMiningChannel, UpdateChannel};
use roles_logic_sv2::{
    Target,
    channel::client::{Change, ClientChannel, Submission, Work},
};

use crate::{
    pow,
    rng::Rng,
    wire::{Frame, Inbox},
};

/// Names of miners: some are paid by the pool, some by their blocks.
const USERS: [&str; 5] = [
    "worker",
    "alice.rig",
    "solo:bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080.rig",
    "solo:bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080.other",
    "solo:mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn;donate=5",
];

/// What a miner does that others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Nothing.
    Plain,
    /// Reads only a little at a time.
    SlowReader,
    /// Holds shares back and sends them late.
    Late,
    /// Sends some shares twice.
    Repeats,
    /// Goes away without a word, and comes back on a new connection.
    HalfOpen,
    /// Sends what should not be sent.
    Hostile,
}

impl Habit {
    /// Whether the pool has to bear with the miner.
    pub fn is_honest(self) -> bool {
        !matches!(self, Self::Hostile | Self::HalfOpen)
    }
}

/// Shares that a late miner may hold back.
const MAX_HELD: usize = 16;
/// Longest frame that a server sends here.
const MAX_PAYLOAD: usize = 1 << 20;

#[derive(Debug)]
struct Search {
    channel: ClientChannel,
    work: Option<Work>,
    /// Never starts over, so that no share is found twice.
    nonce: u32,
}

/// What the miner found out in a step.
#[derive(Debug, Default)]
pub struct Output {
    /// Frames to send.
    pub frames: Vec<Frame>,
    /// Shares among them.
    pub shares: u64,
    /// Why the miner can not go on: the pool broke the protocol.
    pub broken: Option<String>,
}

/// One miner.
#[derive(Debug)]
pub struct Miner {
    /// How it behaves.
    pub habit: Habit,
    /// Hashes per second.
    pub hashrate: f32,
    extended: Vec<bool>,
    rng: Rng,
    inbox: Inbox,
    searches: BTreeMap<u32, Search>,
    /// Requests without an answer so far, and whether for an extended channel.
    asked: BTreeMap<u32, bool>,
    next_request: u32,
    held: Vec<Frame>,
    /// The last frames sent, to be sent again by those who do that.
    recent: Option<Frame>,
}

impl Miner {
    /// A miner that opens a channel for each of `extended`.
    pub fn new(habit: Habit, hashrate: f32, extended: Vec<bool>, rng: Rng) -> Self {
        Self {
            habit,
            hashrate,
            extended,
            rng,
            inbox: Inbox::default(),
            searches: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_request: 0,
            held: Vec::new(),
            recent: None,
        }
    }

    /// Starts on a new connection.
    pub fn connect(&mut self) -> Vec<Frame> {
        self.inbox = Inbox::default();
        self.searches.clear();
        self.asked.clear();
        self.held.clear();
        self.recent = None;
        let setup = SetupConnection {
            protocol: MINING,
            min_version: VERSION,
            max_version: VERSION,
            flags: 0,
            endpoint_host: Str0_255::from_truncated("pool"),
            endpoint_port: 1,
            vendor: Str0_255::from_truncated("simulated"),
            hardware_version: Str0_255::from_truncated(""),
            firmware: Str0_255::from_truncated(""),
            device_id: Str0_255::from_truncated(""),
        };
        vec![Frame::of(&setup)]
    }

    /// Asks for one more channel.
    pub fn open(&mut self, extended: bool) -> Frame {
        let request_id = self.next_request;
        self.next_request += 1;
        self.asked.insert(request_id, extended);
        let user = self.rng.pick(&USERS).copied().unwrap_or_default();
        let (user_identity, max_target) = (Str0_255::from_truncated(user), Target::MAX.into());
        let nominal_hash_rate = self.hashrate / self.extended.len().max(1) as f32;
        if extended {
            let min_extranonce_size = self.rng.range(2, 12) as u16;
            Frame::of(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            })
        } else {
            Frame::of(&OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target })
        }
    }

    /// Takes bytes from the pool.
    pub fn receive(&mut self, now: Duration, bytes: Vec<u8>) -> Output {
        let mut output = Output::default();
        self.inbox.push(bytes);
        loop {
            match self.inbox.next_frame(MAX_PAYLOAD) {
                Ok(Some(frame)) => {
                    if let Err(broken) = self.take(now, &frame, &mut output) {
                        output.broken = Some(broken);
                        return output;
                    }
                }
                Ok(None) => return output,
                Err(broken) => {
                    output.broken = Some(broken.to_owned());
                    return output;
                }
            }
        }
    }

    fn take(&mut self, now: Duration, frame: &Frame, output: &mut Output) -> Result<(), String> {
        if frame.header.extension_type() != 0 {
            return Ok(());
        }
        let kind = frame.header.message_type();
        if const_sv2::message_type::common::ALL.iter().any(|info| info.message_type == kind) {
            if kind == const_sv2::message_type::common::SETUP_CONNECTION_SUCCESS {
                let channels = self.extended.clone();
                output.frames.extend(channels.into_iter().map(|extended| self.open(extended)));
            }
            return Ok(());
        }
        match Mining::decode(kind, &frame.payload).map_err(|error| error.to_string())? {
            Mining::OpenStandardMiningChannelSuccess(success) => {
                if self.asked.remove(&success.request_id) != Some(false) {
                    return Err(format!("nobody asked for standard channel {}", success.channel_id));
                }
                self.opened(ClientChannel::standard(&success));
            }
            Mining::OpenExtendedMiningChannelSuccess(success) => {
                if self.asked.remove(&success.request_id) != Some(true) {
                    return Err(format!("nobody asked for extended channel {}", success.channel_id));
                }
                self.opened(ClientChannel::extended(&success).map_err(|error| error.to_string())?);
            }
            Mining::OpenMiningChannelError(error) => {
                self.asked.remove(&error.request_id).ok_or("an error for a request that was not made")?;
            }
            message => self.channel_message(now, &message)?,
        }
        Ok(())
    }

    fn opened(&mut self, channel: ClientChannel) {
        let nonce = self.rng.next() as u32;
        self.searches.insert(channel.id().0, Search { channel, work: None, nonce });
    }

    fn channel_message(&mut self, now: Duration, message: &Mining<'_>) -> Result<(), String> {
        let address = match message {
            Mining::NewMiningJob(message) => message.channel_id,
            Mining::NewExtendedMiningJob(message) => message.channel_id,
            Mining::SetNewPrevHash(message) => message.channel_id,
            Mining::SetTarget(message) => message.channel_id,
            Mining::SetExtranoncePrefix(message) => message.channel_id,
            _ => return Ok(()),
        };
        for search in self.searches.values_mut().filter(|search| search.channel.is_addressed(address)) {
            let channel = &mut search.channel;
            let change = match message {
                Mining::NewMiningJob(job) => channel.on_new_mining_job(job),
                Mining::NewExtendedMiningJob(job) => channel.on_new_extended_mining_job(job),
                Mining::SetNewPrevHash(tip) => channel.on_set_new_prev_hash(now, tip),
                Mining::SetTarget(target) => Ok(channel.on_set_target(target)),
                Mining::SetExtranoncePrefix(prefix) => channel.on_set_extranonce_prefix(prefix).map(|()| Change::None),
                _ => Ok(Change::None),
            };
            if change.map_err(|error| error.to_string())? != Change::None {
                search.work = None;
            }
        }
        Ok(())
    }

    /// Computes so many hashes, and sends what they are worth.
    pub fn hash(&mut self, now: Duration, count: u32) -> Output {
        let mut output = Output::default();
        let ids: Vec<u32> = self.searches.keys().copied().collect();
        let Some(id) = self.rng.pick(&ids).copied() else { return output };
        let roll = self.rng.next();
        let Some(search) = self.searches.get_mut(&id) else { return output };
        if search.work.is_none() || roll.is_multiple_of(16) {
            search.work = search.channel.work();
        }
        let Some(work) = search.work else { return output };
        let version =
            if roll & 0x100 == 0 { work.version } else { work.version ^ ((roll >> 32) as u32 & work.version_mask) };
        let latest = work.max_ntime(now);
        let ntime = work.min_ntime + (roll >> 16) as u32 % (latest - work.min_ntime + 1);
        let header = work.header(version, ntime, 0).to_bytes();
        for nonce in pow::search(header, search.nonce, count, &work.target.to_le_bytes()) {
            output.frames.push(match search.channel.submit(&work, version, ntime, nonce) {
                Submission::Standard(share) => Frame::of(&share),
                Submission::Extended(share) => Frame::of(&share),
            });
        }
        search.nonce = search.nonce.wrapping_add(count);
        self.habits(&mut output);
        output.shares = output.frames.len() as u64;
        output
    }

    fn habits(&mut self, output: &mut Output) {
        match self.habit {
            Habit::Late if self.rng.chance(100) => {
                let room = MAX_HELD - self.held.len().min(MAX_HELD);
                self.held.extend(output.frames.drain(..room.min(output.frames.len())));
            }
            Habit::Late if self.rng.chance(30) => output.frames.append(&mut self.held),
            Habit::Repeats => {
                if self.rng.chance(100) {
                    output.frames.extend(self.recent.clone());
                }
                self.recent = output.frames.last().cloned().or(self.recent.take());
            }
            _ => {}
        }
    }

    /// Something that miners do now and then.
    pub fn act(&mut self) -> Vec<Frame> {
        let ids: Vec<u32> = self.searches.keys().copied().collect();
        let Some(&channel_id) = self.rng.pick(&ids) else { return Vec::new() };
        match self.rng.below(4) {
            0 if ids.len() > 1 => {
                self.searches.remove(&channel_id);
                let reason_code = Str0_255::from_truncated("simulated");
                vec![Frame::of(&CloseChannel { channel_id, reason_code })]
            }
            1 if ids.len() < 8 => {
                let extended = self.rng.chance(500);
                vec![self.open(extended)]
            }
            2 => {
                let factor = [0.25, 0.5, 2.0, 4.0][self.rng.below(4) as usize];
                let nominal_hash_rate = self.hashrate * factor;
                let bits = if self.rng.chance(300) { self.rng.range(0, 4) as u32 } else { 0 };
                let maximum_target = Target::from_zero_bits(bits).into();
                vec![Frame::of(&UpdateChannel { channel_id, nominal_hash_rate, maximum_target })]
            }
            _ => Vec::new(),
        }
    }

    /// A channel that is open, for those who want to misuse one.
    pub fn any_channel(&mut self) -> Option<u32> {
        let ids: Vec<u32> = self.searches.keys().copied().collect();
        self.rng.pick(&ids).copied()
    }
}
