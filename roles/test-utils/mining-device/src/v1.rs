//! One connection to a server of Stratum V1, without socket, clock or threads.
//!
//! Jobs are turned into those of an extended channel of Stratum V2, so that one [`ClientChannel`] finds work and knows what is
//! stale, whichever protocol is spoken.

pub(crate) mod link;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use binary_sv2::{B0_32, B0_64K, Seq0_255, Sv2Option, U256};
use mining_sv2::{NewExtendedMiningJob, OpenExtendedMiningChannelSuccess, SetNewPrevHash, SetTarget};
use roles_logic_sv2::{
    Target,
    channel::client::{Change, ClientChannel, Submission},
    session::{Violation, client as v2},
};
use stratum_v1::{
    miner::Submit,
    pool::Notify,
    session::client::{Client, Config, Event, RequestNumber},
};

use crate::{
    config::{Deadlines, MinerConfig},
    search::Assignment,
    session::{End, Report, Settings},
    workers::FoundShare,
};

/// Jobs whose names are kept; older ones are stale.
const KEPT_JOBS: usize = 32;

/// The one channel that stands for the connection.
const CHANNEL: u32 = 1;

/// The miner's side of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    client: Client,
    /// Once subscribed.
    channel: Option<ClientChannel>,
    /// Numbers of jobs, and what the server calls them.
    names: VecDeque<(u32, String)>,
    next_job: u32,
    prev_hash: Option<[u8; 32]>,
    /// Shares that wait for their answer, with their difficulty.
    waiting: BTreeMap<RequestNumber, f64>,
    begun: Duration,
    subscribed: Option<Duration>,
    started: bool,
    last_line: Duration,
    /// When the first share was sent after the last line.
    unanswered: Option<Duration>,
    reports: Vec<Report>,
}

impl Session {
    /// Configures, subscribes and authorizes, without waiting.
    pub fn new(settings: Settings, password: &str, now: Duration) -> Self {
        let MinerConfig { device, version_mask, user_identity, .. } = &settings.config;
        let config = Config { user_agent: device.firmware.clone(), version_mask: *version_mask, ..Config::default() };
        let mut client = Client::new(config);
        // Three requests are not too many.
        let _ = client.start();
        let _ = client.authorize(user_identity, password);
        Self {
            settings,
            client,
            channel: None,
            names: VecDeque::new(),
            next_job: 1,
            prev_hash: None,
            waiting: BTreeMap::new(),
            begun: now,
            subscribed: None,
            started: false,
            last_line: now,
            unanswered: None,
            reports: Vec::new(),
        }
    }

    /// Lines for the server; take them out.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        self.client.output()
    }

    /// What the driver is to do; take it out.
    pub const fn reports(&mut self) -> &mut Vec<Report> {
        &mut self.reports
    }

    /// Takes a line from the server.
    ///
    /// # Errors
    /// The connection is over.
    pub fn handle_line(&mut self, now: Duration, line: &[u8]) -> Result<(), End> {
        self.last_line = now;
        self.unanswered = None;
        match self.client.handle_line(line)? {
            None | Some(Event::SetDifficulty(_)) => {}
            Some(Event::Subscribed) => {
                self.subscribed = Some(now);
                self.open()?;
                self.reports.push(Report::Opened { channel: CHANNEL.into() });
            }
            Some(Event::SetExtranonce) => self.open()?,
            Some(Event::SetVersionMask(mask)) => {
                if let Some(channel) = &mut self.channel {
                    channel.set_version_mask(mask);
                }
            }
            Some(Event::Notify(notify)) => self.notify(now, &notify)?,
            Some(Event::Authorized { result: Ok(()), .. }) => {}
            Some(Event::Authorized { result: Err(refusal), .. }) => return Err(End::OpenRefused(refusal.to_string())),
            Some(Event::Submitted { request, result }) => {
                let difficulty = self.waiting.remove(&request).unwrap_or_default();
                self.reports.push(match result {
                    // Whole difficulties, as the other protocol counts them.
                    Ok(()) => Report::Accepted { count: 1, credited: difficulty as u64 },
                    Err(refusal) => Report::Rejected { code: refusal.to_string().escape_debug().to_string() },
                });
            }
            Some(Event::Reconnect(reconnect)) => {
                let (host, port) = (reconnect.host.unwrap_or_default(), reconnect.port.unwrap_or_default());
                return Err(End::Redirected { host, port });
            }
            Some(Event::ShowMessage(text)) => {
                self.reports.push(Report::Warning(format!("the server says: {}", text.escape_debug())));
            }
        }
        Ok(())
    }

    /// The channel for the extranonce at hand.
    fn open(&mut self) -> Result<(), End> {
        let (Some(extranonce1), Some(size)) = (self.client.extranonce1(), self.client.extranonce2_size()) else {
            return Ok(());
        };
        let success = OpenExtendedMiningChannelSuccess {
            request_id: 0,
            channel_id: CHANNEL,
            target: U256::from_le_bytes(self.target().to_le_bytes()),
            // At most 32 bytes each.
            extranonce_size: size as u16,
            extranonce_prefix: B0_32::try_from(extranonce1)?,
            group_channel_id: 0,
        };
        let mut channel = ClientChannel::extended(&success)?;
        channel.set_version_mask(self.client.version_mask());
        (self.channel, self.prev_hash) = (Some(channel), None);
        Ok(())
    }

    /// Where the server has said nothing, 1 is meant.
    fn target(&self) -> Target {
        Target::from_difficulty(self.client.difficulty().unwrap_or(1.0))
    }

    fn notify(&mut self, now: Duration, notify: &Notify) -> Result<(), End> {
        let maximum_target = U256::from_le_bytes(self.target().to_le_bytes());
        // A server that sends jobs before the subscription stands is not meant.
        let Some(channel) = &mut self.channel else { return Ok(()) };
        let job_id = self.next_job;
        self.next_job = self.next_job.wrapping_add(1);
        if self.names.len() >= KEPT_JOBS {
            self.names.pop_front();
        }
        self.names.push_back((job_id, notify.job_id.clone()));
        let is_new = notify.clean_jobs || self.prev_hash != Some(notify.prev_hash);
        self.prev_hash = Some(notify.prev_hash);
        // It holds for this job, not for the one at hand.
        channel.on_set_target(&SetTarget { channel_id: CHANNEL, maximum_target });
        let path = notify.merkle_branch.iter().map(|hash| U256::from_le_bytes(*hash));
        let job = NewExtendedMiningJob {
            channel_id: CHANNEL,
            job_id,
            min_ntime: Sv2Option::from((!is_new).then_some(notify.ntime)),
            version: notify.version,
            version_rolling_allowed: self.client.version_mask() != 0,
            merkle_path: Seq0_255::try_from_iter(path)?,
            coinbase_tx_prefix: B0_64K::try_from(&notify.coinbase1[..])?,
            coinbase_tx_suffix: B0_64K::try_from(&notify.coinbase2[..])?,
        };
        let mut change = channel.on_new_extended_mining_job(&job)?;
        if is_new {
            let prev_hash = U256::from_le_bytes(notify.prev_hash);
            let (min_ntime, nbits) = (notify.ntime, notify.nbits);
            change = channel.on_set_new_prev_hash(
                now,
                &SetNewPrevHash { channel_id: CHANNEL, job_id, prev_hash, min_ntime, nbits },
            )?;
        }
        if change != Change::None {
            self.assign();
        }
        Ok(())
    }

    fn assign(&mut self) {
        let Some(channel) = &mut self.channel else { return };
        let works: Vec<_> = (0..self.settings.threads).map_while(|_| channel.work()).collect();
        let Some(first) = works.first() else { return };
        let (target, version_mask) = (first.target, self.settings.config.version_mask);
        self.started = true;
        self.reports.push(Report::Assign { assignment: Assignment { works, version_mask }, target });
    }

    /// Takes a share that the threads found for an assignment of this session.
    pub fn handle_share(&mut self, now: Duration, share: &FoundShare) {
        let Some(channel) = self.channel.as_mut().filter(|channel| channel.is_current(&share.work)) else {
            return self.reports.push(Report::Discarded);
        };
        let Submission::Extended(message) = channel.submit(&share.work, share.version, share.ntime, share.nonce) else {
            return self.reports.push(Report::Discarded);
        };
        let Some((_, name)) = self.names.iter().find(|(id, _)| *id == message.job_id) else {
            return self.reports.push(Report::Discarded);
        };
        let mask = self.client.version_mask();
        let submit = Submit {
            username: self.settings.config.user_identity.clone(),
            job_id: name.clone(),
            extranonce2: message.extranonce.as_bytes().to_vec(),
            ntime: message.ntime,
            nonce: message.nonce,
            version_bits: (mask != 0).then_some(message.version & mask),
        };
        match self.client.submit(&submit) {
            Ok(request) => {
                self.waiting.insert(request, share.work.target.difficulty());
                self.unanswered.get_or_insert(now);
                self.reports.push(Report::Submitted);
            }
            // The server has left too many unanswered.
            Err(_) => self.reports.push(Report::Discarded),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, on the clock of every `now`.
    pub fn poll_timeout(&self) -> Duration {
        self.deadline().0
    }

    /// Checks the deadlines.
    ///
    /// # Errors
    /// One has passed.
    pub fn handle_timeout(&self, now: Duration) -> Result<(), End> {
        let (at, expected, within) = self.deadline();
        if now >= at { Err(v2::End::from(Violation::Late { expected, within }).into()) } else { Ok(()) }
    }

    fn deadline(&self) -> (Duration, &'static str, Duration) {
        let Deadlines { setup, first_job, answer, silence, .. } = self.settings.config.deadlines;
        match self.subscribed {
            None => (self.begun + setup, "an answer to mining.subscribe", setup),
            Some(at) if !self.started => (at + first_job, "a job", first_job),
            Some(_) => {
                let silence = (self.last_line + silence, "a line", silence);
                let answer = self.unanswered.map(|since| (since + answer, "an answer to shares", answer));
                answer.filter(|answer| answer.0 < silence.0).unwrap_or(silence)
            }
        }
    }
}
