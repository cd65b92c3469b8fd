//! One simulated miner: a connection's protocol without socket, clock and threads.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, rc::Rc, time::Duration};

use binary_sv2::{Str0_255, U256};
use common_messages_sv2::{CommonMessages, SetupConnection};
use const_sv2::{flags::mining::REQUIRES_STANDARD_JOBS, message_type::common, protocol};
use framing_sv2::Header;
use mining_sv2::{
    Mining, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel, OpenStandardMiningChannel, SetNewPrevHash,
    SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
};
use network_helpers::FrameQueue;
use roles_logic_sv2::{Target, extranonce::Extranonce};

use crate::{
    config::{ChannelKind, SwarmConfig},
    stats::{Broadcast, Stats, count},
    work::{Found, HASHES_PER_TURN, Job, Jobs, Search, Tip},
};

/// Future jobs that are kept until their tip comes; one more drops the oldest.
const MAX_FUTURE_JOBS: usize = 8;

/// Why a connection ended, in few words: they are counted.
pub(crate) type End = String;

/// What all miners of a thread share.
pub(crate) struct Context {
    pub config: SwarmConfig,
    pub jobs: Jobs,
    pub stats: Stats,
    pub totals: Totals,
}

/// What is counted from the start on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Shares without an answer now.
    pub in_flight: u64,
    pub accepted: u64,
    pub rejected: u64,
}

/// A miner with one channel.
pub(crate) struct Miner {
    state: State,
}

enum State {
    /// SetupConnection was sent.
    Setup {
        index: u64,
    },
    /// The channel was asked for.
    Opening,
    Open(Box<Channel>),
}

struct Channel {
    id: u32,
    group: u32,
    target: Target,
    prefix: Extranonce,
    /// Bytes that the miner rolls.
    size: usize,
    tip: Option<Tip>,
    futures: VecDeque<(u32, Rc<Job>)>,
    search: Option<Search>,
    sequence: u32,
    /// Shares without an answer, oldest first, and when they were sent.
    in_flight: VecDeque<(u32, Duration)>,
}

/// What became of the shares that were wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// All of them were sent.
    All,
    /// The window is full.
    WindowFull,
    /// The hashes for one turn are used up.
    OutOfTurn,
    /// There is nothing to work on, or no more.
    NoWork,
}

impl Miner {
    /// Greets the pool; `index` tells miners apart.
    pub fn start(config: &SwarmConfig, index: u64, out: &mut FrameQueue) -> Result<Self, End> {
        let flags = if config.channel == ChannelKind::Standard { REQUIRES_STANDARD_JOBS } else { 0 };
        let host = config.pool.ip().to_string();
        let setup = SetupConnection {
            protocol: protocol::MINING,
            min_version: protocol::VERSION,
            max_version: protocol::VERSION,
            flags,
            endpoint_host: Str0_255::from_truncated(&host),
            endpoint_port: config.pool.port(),
            vendor: Str0_255::from_truncated("stratum load"),
            hardware_version: Str0_255::EMPTY,
            firmware: Str0_255::from_truncated(env!("CARGO_PKG_VERSION")),
            device_id: Str0_255::EMPTY,
        };
        send(out, &setup)?;
        Ok(Self { state: State::Setup { index } })
    }

    /// Whether there is work.
    pub fn is_live(&self) -> bool {
        matches!(&self.state, State::Open(channel) if channel.search.is_some())
    }

    /// Shares without an answer.
    pub fn in_flight(&self) -> usize {
        match &self.state {
            State::Open(channel) => channel.in_flight.len(),
            _ => 0,
        }
    }

    /// What the connection waits for, for the reason of its end.
    pub fn awaits(&self) -> &'static str {
        match &self.state {
            State::Setup { .. } => "SetupConnection.Success",
            State::Opening => "the channel",
            State::Open(channel) if channel.search.is_none() => "the first job",
            State::Open(_) => "jobs",
        }
    }

    /// Takes up a message.
    pub fn handle(
        &mut self,
        now: Duration,
        header: Header,
        payload: &[u8],
        context: &mut Context,
        out: &mut FrameQueue,
    ) -> Result<(), End> {
        if header.extension_type() != 0 {
            return Ok(());
        }
        if let State::Setup { index } = self.state {
            setup_answer(header, payload)?;
            self.state = State::Opening;
            return open(&context.config, index, out);
        }
        let message = match Mining::decode(header.message_type(), payload) {
            Ok(message) => message,
            Err(_) if header.message_type() == common::RECONNECT => return Err("the pool asked to reconnect".into()),
            Err(error) => return Err(format!("undecodable: {error}")),
        };
        match (&mut self.state, message) {
            (State::Opening, Mining::OpenExtendedMiningChannelSuccess(success)) => {
                let (prefix, size) = (success.extranonce_prefix.into(), usize::from(success.extranonce_size));
                let channel = Channel::new(success.channel_id, success.group_channel_id, success.target, prefix, size);
                self.state = State::Open(Box::new(channel));
                Ok(())
            }
            (State::Opening, Mining::OpenStandardMiningChannelSuccess(success)) => {
                let prefix = success.extranonce_prefix.into();
                let channel = Channel::new(success.channel_id, success.group_channel_id, success.target, prefix, 0);
                self.state = State::Open(Box::new(channel));
                Ok(())
            }
            (State::Opening, Mining::OpenMiningChannelError(error)) => {
                Err(format!("channel refused: {}", error.error_code))
            }
            (State::Open(channel), message) => {
                let before = channel.in_flight.len() as u64;
                let handled = channel.handle(now, message, payload, context);
                context.totals.in_flight -= before - channel.in_flight.len() as u64;
                handled
            }
            (_, other) => Err(format!("{} out of place", other.name())),
        }
    }

    /// Sends up to `wanted` shares, as far as the window and one turn's hashes allow.
    pub fn submit(
        &mut self,
        now: Duration,
        wanted: usize,
        context: &mut Context,
        out: &mut FrameQueue,
    ) -> Result<Submitted, End> {
        let State::Open(channel) = &mut self.state else { return Ok(Submitted::NoWork) };
        let mut budget = HASHES_PER_TURN;
        for _ in 0..wanted {
            if channel.in_flight.len() >= context.config.window {
                return Ok(Submitted::WindowFull);
            }
            let Some(search) = &mut channel.search else { return Ok(Submitted::NoWork) };
            let before = budget;
            let found = search.next(&mut budget);
            context.stats.hashes += u64::from(before - budget);
            let Some(found) = found else {
                return Ok(if budget == 0 { Submitted::OutOfTurn } else { Submitted::NoWork });
            };
            let job_id = search.job_id;
            channel.send(now, job_id, &found, out)?;
            context.stats.submitted += 1;
            context.totals.in_flight += 1;
        }
        Ok(Submitted::All)
    }
}

/// The pool took the connection, or said why not.
fn setup_answer(header: Header, payload: &[u8]) -> Result<(), End> {
    match CommonMessages::decode(header.message_type(), payload) {
        Ok(CommonMessages::SetupConnectionSuccess(_)) => Ok(()),
        Ok(CommonMessages::SetupConnectionError(error)) => Err(format!("setup refused: {}", error.error_code)),
        Ok(other) => Err(format!("{} out of place", other.name())),
        Err(error) => Err(format!("undecodable: {error}")),
    }
}

fn open(config: &SwarmConfig, index: u64, out: &mut FrameQueue) -> Result<(), End> {
    let user = format!("{}.{index}", config.user);
    let user_identity = Str0_255::from_truncated(&user);
    let (nominal_hash_rate, max_target) = (config.nominal_hashrate, U256::from_le_bytes([0xff; 32]));
    match config.channel {
        ChannelKind::Standard => {
            send(out, &OpenStandardMiningChannel { request_id: 1, user_identity, nominal_hash_rate, max_target })
        }
        ChannelKind::Extended { extranonce_size: min_extranonce_size } => send(
            out,
            &OpenExtendedMiningChannel {
                request_id: 1,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            },
        ),
    }
}

fn send<M: binary_sv2::Message>(out: &mut FrameQueue, message: &M) -> Result<(), End> {
    out.push(message).map_err(|error| format!("not sent: {error}"))
}

impl Channel {
    fn new(id: u32, group: u32, target: U256, prefix: Extranonce, size: usize) -> Self {
        Self {
            id,
            group,
            target: target.into(),
            prefix,
            size,
            tip: None,
            futures: VecDeque::new(),
            search: None,
            sequence: 0,
            in_flight: VecDeque::new(),
        }
    }

    fn is_addressed(&self, channel_id: u32) -> bool {
        channel_id == self.id || channel_id == self.group
    }

    fn handle(&mut self, now: Duration, message: Mining<'_>, payload: &[u8], context: &mut Context) -> Result<(), End> {
        match message {
            Mining::NewExtendedMiningJob(job) if self.is_addressed(job.channel_id) => {
                self.extended_job(now, &job, payload, context)
            }
            Mining::NewMiningJob(job) if self.is_addressed(job.channel_id) => self.standard_job(&job),
            Mining::SetNewPrevHash(tip) if self.is_addressed(tip.channel_id) => {
                self.new_tip(now, &tip, &mut context.stats)
            }
            Mining::SetTarget(message) if self.is_addressed(message.channel_id) => {
                self.target = message.maximum_target.into();
                if let Some(search) = &mut self.search {
                    // The present job's shares count by either target; the harder one is always right.
                    search.target = search.target.min(self.target);
                }
                Ok(())
            }
            Mining::SetExtranoncePrefix(message) if message.channel_id == self.id => {
                self.prefix = message.extranonce_prefix.into();
                Ok(())
            }
            Mining::SetGroupChannel(message) => {
                if message.channel_ids.iter().any(|id| id == self.id) {
                    self.group = message.group_channel_id;
                }
                Ok(())
            }
            Mining::SubmitSharesSuccess(success) if success.channel_id == self.id => {
                self.acknowledged(now, success, context);
                Ok(())
            }
            Mining::SubmitSharesError(error) if error.channel_id == self.id => {
                self.in_flight.retain(|(sequence, _)| *sequence != error.sequence_number);
                context.totals.rejected += 1;
                count(&mut context.stats.rejected, &error.error_code.to_string(), 1);
                Ok(())
            }
            Mining::CloseChannel(close) if self.is_addressed(close.channel_id) => {
                Err(format!("channel closed: {}", close.reason_code))
            }
            // For other channels, or nothing that matters here.
            _ => Ok(()),
        }
    }

    fn extended_job(
        &mut self,
        now: Duration,
        message: &NewExtendedMiningJob<'_>,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), End> {
        let job = context.jobs.extended(message, payload, self.prefix.len() + self.size);
        if message.min_ntime.is_some() && self.search.is_some() {
            context.stats.arrivals.record(Broadcast::Job(job.key), now);
        }
        self.job(message.job_id, job, message.min_ntime)
    }

    fn standard_job(&mut self, message: &NewMiningJob) -> Result<(), End> {
        self.job(message.job_id, Rc::new(Job::standard(message)), message.min_ntime)
    }

    fn job(&mut self, job_id: u32, job: Rc<Job>, min_ntime: Option<u32>) -> Result<(), End> {
        match min_ntime {
            None => {
                self.futures.truncate(MAX_FUTURE_JOBS - 1);
                self.futures.push_front((job_id, job));
            }
            Some(ntime) => {
                let tip = self.tip.ok_or("a job before the first SetNewPrevHash")?;
                self.begin(job_id, job, Tip { ntime, ..tip });
            }
        }
        Ok(())
    }

    fn new_tip(&mut self, now: Duration, message: &SetNewPrevHash, stats: &mut Stats) -> Result<(), End> {
        let prev_hash = message.prev_hash.to_le_bytes();
        if self.search.is_some() {
            stats.arrivals.record(Broadcast::Tip(prev_hash), now);
        }
        let known = self.futures.iter().find(|(id, _)| *id == message.job_id).map(|(_, job)| job.clone());
        let job = known.ok_or("SetNewPrevHash for an unknown job")?;
        self.futures.clear();
        let tip = Tip { prev_hash, nbits: message.nbits, ntime: message.min_ntime };
        self.tip = Some(tip);
        self.begin(message.job_id, job, tip);
        Ok(())
    }

    fn begin(&mut self, job_id: u32, job: Rc<Job>, tip: Tip) {
        self.search = Some(Search::new(job_id, job, tip, self.target, self.prefix, self.size));
    }

    fn acknowledged(&mut self, now: Duration, success: SubmitSharesSuccess, context: &mut Context) {
        let accepted = u64::from(success.new_submits_accepted_count);
        context.totals.accepted += accepted;
        let stats = &mut context.stats;
        stats.acknowledgements += 1;
        stats.accepted += accepted;
        // Sequence numbers wrap; a batch is never half of them long.
        let covered = |sequence: u32| success.last_sequence_number.wrapping_sub(sequence) < u32::MAX / 2;
        while let Some((_, sent)) = self.in_flight.front().copied().filter(|(sequence, _)| covered(*sequence)) {
            self.in_flight.pop_front();
            stats.acknowledged.record(now.saturating_sub(sent));
        }
    }

    fn send(&mut self, now: Duration, job_id: u32, found: &Found, out: &mut FrameQueue) -> Result<(), End> {
        let (channel_id, sequence_number) = (self.id, self.sequence);
        let Found { nonce, ntime, version, extranonce } = *found;
        match extranonce {
            None => {
                let share = SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version };
                send(out, &share)?;
            }
            Some(extranonce) => {
                let extranonce = extranonce.into();
                let share =
                    SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce };
                send(out, &share)?;
            }
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.in_flight.push_back((sequence_number, now));
        Ok(())
    }
}
