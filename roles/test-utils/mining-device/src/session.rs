//! One connection to a server, without socket, clock or threads.
//!
//! The states are: SetupConnection sent; channel asked for; mining. Input are frames, found shares and the time; output goes
//! into a [`Sink`]: messages for the server and [`Report`]s for the driver. An [`End`] is the end of the connection. What to
//! do then is the driver's business.
//!
//! Messages of unknown extensions are ignored (sv2-spec §3.4); a core message that is unknown, malformed or out of place ends
//! the connection with a reason. Messages for channels that are not ours are ignored.

use std::{mem, time::Duration};

use binary_sv2::{DecodeError, Message, Str0_255};
use common_messages_sv2::Reconnect;
use const_sv2::{error_code::close_channel, flags};
use framing_sv2::Header;
use mining_sv2::{
    CloseChannel, Mining, OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesSuccess, UpdateChannel,
};
use roles_logic_sv2::{
    ChannelId, Target,
    channel::client::{Change, ClientChannel, ClientError, Submission},
    protocol,
    session::{
        Violation,
        client::{self, Connecting, Incoming, Open, Output, Progress},
    },
};

use crate::{
    config::{ChannelKind, Deadlines, MinerConfig},
    search::Assignment,
    workers::FoundShare,
};

/// Least time between two announcements of the hashrate.
pub const UPDATE_INTERVAL: Duration = Duration::from_secs(30);
/// The hashrate is announced anew when it is off by this factor.
pub const UPDATE_FACTOR: f64 = 2.0;
/// Measurements in a row that must be off, so that a moment's load does not count.
pub const UPDATE_SAMPLES: u32 = 3;

/// The one request that is made on a connection.
const REQUEST_ID: u32 = 1;

/// Where a session puts what it has to say.
pub trait Sink {
    /// Sends a message to the server. Messages of one input leave in one write.
    fn send<M: Message>(&mut self, message: &M);

    /// Tells the driver.
    fn report(&mut self, report: Report);
}

/// What the driver is to do or to count.
#[derive(Clone, Debug)]
pub enum Report {
    /// The server opened the channel.
    Opened {
        /// Its id on this connection.
        channel: ChannelId,
    },
    /// Start to hash.
    Assign {
        /// What.
        assignment: Assignment,
        /// What shares must meet.
        target: Target,
    },
    /// Go on with the last assignment, at a harder target.
    Retarget(Target),
    /// A share was sent.
    Submitted,
    /// A share came too late to be sent.
    Discarded,
    /// The server accepted shares.
    Accepted {
        /// How many.
        count: u32,
        /// Sum of their difficulties.
        credited: u64,
    },
    /// The server rejected a share.
    Rejected {
        /// Its reason, without control characters.
        code: String,
    },
    /// The server was told of another hashrate, in hashes per second.
    Announced(f32),
    /// Something that people should know, and that changes nothing.
    Warning(String),
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum End {
    /// The server refused the connection, took too long, or sent what is no message or does not belong here.
    #[error("{0}")]
    Connection(client::End),
    /// The server opens no standard channels.
    #[error("the server opens extended channels only; run with `--channel extended`")]
    ExtendedOnly,
    /// The server refused the channel.
    #[error("the server refused the channel: {0}")]
    OpenRefused(String),
    /// The channel has fewer bytes of extranonce than were asked for.
    #[error("expected at least {expected} bytes of extranonce, the server granted {got}")]
    ExtranonceSize {
        /// Asked for.
        expected: u16,
        /// Granted.
        got: u16,
    },
    /// The server closed the channel.
    #[error("the server closed the channel: {0}")]
    ChannelClosed(String),
    /// The server sent us elsewhere.
    #[error("the server asks to reconnect to {}", redirection(.host, .port))]
    Redirected {
        /// Empty for the same host.
        host: String,
        /// 0 for the same port.
        port: u16,
    },
    /// A line of Stratum V1 that is no message, or one that can not be done without.
    #[error("{0}")]
    V1(#[from] stratum_v1::session::client::ClientError),
    /// A job of Stratum V1 with parts that are longer than any job's.
    #[error("the server sent what makes no job: {0}")]
    Unfit(#[from] binary_sv2::Error),
    /// A message that contradicts an earlier one.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] ClientError),
}

impl From<client::End> for End {
    fn from(end: client::End) -> Self {
        match end {
            // Our flags leave the server only one way to contradict them.
            client::End::Violation(Violation::Flags(_)) => Self::ExtendedOnly,
            end => Self::Connection(end),
        }
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        client::End::from(violation).into()
    }
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        client::End::from(error).into()
    }
}

impl From<Reconnect<'_>> for End {
    fn from(message: Reconnect<'_>) -> Self {
        let host = String::from_utf8_lossy(message.new_host.as_bytes()).into_owned();
        Self::Redirected { host, port: message.new_port }
    }
}

fn redirection(host: &str, port: &u16) -> String {
    match (host, *port) {
        ("", 0) => "the same address".to_owned(),
        ("", port) => format!("port {port}"),
        (host, 0) => host.escape_debug().to_string(),
        (host, port) => format!("{}:{port}", host.escape_debug()),
    }
}

/// What a session needs to know of its miner.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration; its URL is the one that was dialled.
    pub config: MinerConfig,
    /// Hashes per second to announce at first.
    pub hashrate: f32,
    /// Hashing threads.
    pub threads: u32,
}

/// The miner's side of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    /// Bits of the version that the server lets us roll.
    version_mask: u32,
    state: State,
    last_message: Duration,
    /// When the first share was sent after the last message.
    unanswered: Option<Duration>,
    announced: Announced,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each connection")]
enum State {
    Setup(Connecting<protocol::Mining>),
    Opening {
        connection: Open<protocol::Mining>,
        since: Duration,
    },
    Mining {
        connection: Open<protocol::Mining>,
        channel: ClientChannel,
        opened: Duration,
        started: bool,
    },
    /// An [`End`] was given out.
    Ended,
}

/// What the server knows of our hashrate.
#[derive(Debug)]
struct Announced {
    hashrate: f64,
    at: Duration,
    /// Measurements in a row that were far from it.
    off: u32,
}

impl Session {
    /// Sends SetupConnection.
    pub fn new(settings: Settings, now: Duration, sink: &mut impl Sink) -> Self {
        let MinerConfig { url, channel, device, version_mask, deadlines, .. } = &settings.config;
        let flags = match channel {
            ChannelKind::Standard => flags::mining::REQUIRES_STANDARD_JOBS,
            ChannelKind::Extended { .. } => 0,
        };
        let setup = client::setup_connection::<protocol::Mining>(
            flags,
            url.host(),
            url.port(),
            &client::Device {
                vendor: &device.vendor,
                hardware_version: &device.hardware_version,
                firmware: &device.firmware,
                device_id: &device.device_id,
            },
        );
        sink.send(&setup);
        let announced = Announced { hashrate: settings.hashrate.into(), at: now, off: 0 };
        let state = State::Setup(Connecting::new(now, deadlines.setup, &setup));
        let version_mask = *version_mask;
        Self { settings, version_mask, state, last_message: now, unanswered: None, announced }
    }

    /// Takes a frame from the server.
    ///
    /// # Errors
    /// The connection is over.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        header: Header,
        payload: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), End> {
        self.last_message = now;
        self.unanswered = None;
        match &mut self.state {
            State::Setup(_) => self.set_up(now, header, payload, sink),
            State::Opening { connection, .. } | State::Mining { connection, .. } => {
                match connection.receive(header, payload)? {
                    Incoming::Message(message) => self.handle_mining(now, message.decode()?, sink),
                    Incoming::Reconnect(message) => Err(message.into()),
                    // sv2-spec §3.4: unknown extensions are discarded. None was negotiated, so there is none to negotiate anew.
                    _ => Ok(()),
                }
            }
            State::Ended => Ok(()),
        }
    }

    fn set_up(&mut self, now: Duration, header: Header, payload: &[u8], sink: &mut impl Sink) -> Result<(), End> {
        let State::Setup(connecting) = mem::replace(&mut self.state, State::Ended) else { return Ok(()) };
        match connecting.handle_frame(now, header, payload)? {
            Progress::Open(connection) => return self.open(now, connection, sink),
            Progress::Waiting(_, Some(Output::Reconnect(message))) => return Err(message.into()),
            Progress::Waiting(connecting, _) => self.state = State::Setup(connecting),
        }
        Ok(())
    }

    fn open(&mut self, now: Duration, connection: Open<protocol::Mining>, sink: &mut impl Sink) -> Result<(), End> {
        self.version_mask = connection.terms().version_mask(self.version_mask);
        let MinerConfig { user_identity, max_target, channel, .. } = &self.settings.config;
        let (request_id, max_target) = (REQUEST_ID, (*max_target).into());
        let (user_identity, nominal_hash_rate) = (Str0_255::from_truncated(user_identity), self.settings.hashrate);
        match *channel {
            ChannelKind::Standard => {
                sink.send(&OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target });
            }
            ChannelKind::Extended { min_extranonce_size } => sink.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            }),
        }
        self.announced.at = now;
        self.state = State::Opening { connection, since: now };
        Ok(())
    }

    fn handle_mining(&mut self, now: Duration, message: Mining<'_>, sink: &mut impl Sink) -> Result<(), End> {
        match &self.state {
            State::Setup(_) | State::Ended => Ok(()), // never called
            State::Opening { .. } => self.handle_opened(now, message, sink),
            State::Mining { channel, .. } => {
                let ours = addressee(&message).is_none_or(|id| channel.is_addressed(id));
                if ours { self.handle_channel(now, message, sink) } else { Ok(()) }
            }
        }
    }

    fn handle_opened(&mut self, now: Duration, message: Mining<'_>, sink: &mut impl Sink) -> Result<(), End> {
        let channel = match (message, self.settings.config.channel) {
            (Mining::OpenStandardMiningChannelSuccess(success), ChannelKind::Standard)
                if success.request_id == REQUEST_ID =>
            {
                ClientChannel::standard(&success)
            }
            (Mining::OpenExtendedMiningChannelSuccess(success), ChannelKind::Extended { min_extranonce_size })
                if success.request_id == REQUEST_ID =>
            {
                if success.extranonce_size < min_extranonce_size {
                    return Err(End::ExtranonceSize { expected: min_extranonce_size, got: success.extranonce_size });
                }
                ClientChannel::extended(&success)?
            }
            (Mining::OpenMiningChannelError(error), _) if error.request_id == REQUEST_ID => {
                return Err(End::OpenRefused(error.error_code.to_string()));
            }
            (message, _) => return Err(self.unexpected(message.name())),
        };
        if channel.target() > self.settings.config.max_target {
            sink.report(Report::Warning(format!("the target {} is easier than was asked for", channel.target())));
        }
        sink.report(Report::Opened { channel: channel.id() });
        if let State::Opening { connection, .. } = mem::replace(&mut self.state, State::Ended) {
            self.state = State::Mining { connection, channel, opened: now, started: false };
        }
        Ok(())
    }

    /// Takes a message for our channel, for its group or for the whole connection.
    fn handle_channel(&mut self, now: Duration, message: Mining<'_>, sink: &mut impl Sink) -> Result<(), End> {
        let State::Mining { channel, .. } = &mut self.state else { return Ok(()) };
        let change = match message {
            Mining::NewMiningJob(job) => channel.on_new_mining_job(&job)?,
            Mining::NewExtendedMiningJob(job) => channel.on_new_extended_mining_job(&job)?,
            Mining::SetNewPrevHash(tip) => channel.on_set_new_prev_hash(now, &tip)?,
            Mining::SetTarget(target) => {
                if channel.on_set_target(&target) != Change::None {
                    // The job stays, so its search goes on: starting over would find the same shares again.
                    sink.report(Report::Retarget(channel.target()));
                }
                Change::None
            }
            Mining::SetExtranoncePrefix(prefix) => {
                channel.on_set_extranonce_prefix(&prefix)?;
                Change::None
            }
            Mining::SetGroupChannel(group) => {
                if group.channel_ids.iter().any(|id| id == channel.id().0) {
                    channel.set_group_id(group.group_channel_id.into());
                }
                Change::None
            }
            Mining::CloseChannel(close) => return Err(End::ChannelClosed(close.reason_code.to_string())),
            Mining::UpdateChannelError(error) => {
                sink.report(Report::Warning(format!("the server refused a new hashrate: {}", error.error_code)));
                Change::None
            }
            Mining::SubmitSharesSuccess(SubmitSharesSuccess { new_submits_accepted_count, new_shares_sum, .. }) => {
                sink.report(Report::Accepted { count: new_submits_accepted_count, credited: new_shares_sum });
                Change::None
            }
            Mining::SubmitSharesError(error) => {
                sink.report(Report::Rejected { code: error.error_code.to_string() });
                Change::None
            }
            message => return Err(self.unexpected(message.name())),
        };
        match change {
            Change::None => {}
            Change::NewWork | Change::NewTip => self.assign(sink),
        }
        Ok(())
    }

    /// Hands out the current job: as many extranonces as there are threads, or, where there are not so many, one work.
    fn assign(&mut self, sink: &mut impl Sink) {
        let State::Mining { channel, started, .. } = &mut self.state else { return };
        let mut works: Vec<_> = channel.work().into_iter().collect();
        if works.first().is_some_and(|work| work.extranonce.is_some()) {
            works.extend((1..self.settings.threads).map_while(|_| channel.work()));
        }
        let Some(first) = works.first() else { return };
        let target = first.target;
        *started = true;
        sink.report(Report::Assign { assignment: Assignment { works, version_mask: self.version_mask }, target });
    }

    /// Takes a share that the threads found for an assignment of this session.
    pub fn handle_share(&mut self, now: Duration, share: &FoundShare, sink: &mut impl Sink) {
        let State::Mining { channel, .. } = &mut self.state else { return };
        if !channel.is_current(&share.work) {
            return sink.report(Report::Discarded);
        }
        match channel.submit(&share.work, share.version, share.ntime, share.nonce) {
            Submission::Standard(message) => sink.send(&message),
            Submission::Extended(message) => sink.send(&message),
        }
        self.unanswered.get_or_insert(now);
        sink.report(Report::Submitted);
    }

    /// Takes a measurement of the hashrate, in hashes per second; to be called every few seconds.
    pub fn handle_hashrate(&mut self, now: Duration, hashrate: f64, sink: &mut impl Sink) {
        let State::Mining { channel, .. } = &self.state else { return };
        let (low, high) = (self.announced.hashrate / UPDATE_FACTOR, self.announced.hashrate * UPDATE_FACTOR);
        let is_off = hashrate < low || hashrate > high;
        self.announced.off = if is_off { self.announced.off.saturating_add(1) } else { 0 };
        let early = now.saturating_sub(self.announced.at) < UPDATE_INTERVAL;
        if early || self.announced.off < UPDATE_SAMPLES {
            return;
        }
        let nominal_hash_rate = hashrate as f32;
        let maximum_target = self.settings.config.max_target.into();
        sink.send(&UpdateChannel { channel_id: channel.id().0, nominal_hash_rate, maximum_target });
        sink.report(Report::Announced(nominal_hash_rate));
        self.announced = Announced { hashrate, at: now, off: 0 };
    }

    /// When [`Session::handle_timeout`] is to be called, on the clock of every `now`.
    pub fn poll_timeout(&self) -> Duration {
        match &self.state {
            State::Setup(connecting) => connecting.poll_timeout(),
            _ => self.deadline().0,
        }
    }

    /// Checks the deadlines.
    ///
    /// # Errors
    /// One has passed.
    pub fn handle_timeout(&self, now: Duration) -> Result<(), End> {
        if let State::Setup(connecting) = &self.state {
            return Ok(connecting.handle_timeout(now)?);
        }
        let (at, expected, within) = self.deadline();
        if now >= at { Err(Violation::Late { expected, within }.into()) } else { Ok(()) }
    }

    /// The nearest deadline after the set-up, what is late then, and how long it was given.
    fn deadline(&self) -> (Duration, &'static str, Duration) {
        let Deadlines { open, first_job, answer, silence, .. } = self.settings.config.deadlines;
        match self.state {
            State::Opening { since, .. } => (since + open, "an answer to the request for a channel", open),
            State::Mining { opened, started: false, .. } => {
                (opened + first_job, "a job that can be started", first_job)
            }
            _ => {
                let silence = (self.last_message + silence, "a message", silence);
                let answer = self.unanswered.map(|since| (since + answer, "an answer to shares", answer));
                answer.filter(|answer| answer.0 < silence.0).unwrap_or(silence)
            }
        }
    }

    /// Says good-bye, if there is a channel.
    pub fn close(&self, sink: &mut impl Sink) {
        if let State::Mining { channel, .. } = &self.state {
            let reason_code = Str0_255::from_truncated(close_channel::SHUTDOWN);
            sink.send(&CloseChannel { channel_id: channel.id().0, reason_code });
        }
    }

    fn unexpected(&self, got: &'static str) -> End {
        let expected = match self.state {
            State::Mining { .. } => "jobs and answers to shares",
            _ => "the answer to the request for a channel",
        };
        Violation::Unexpected { expected, got }.into()
    }
}

/// The channel or group that a message is for; `None` if it is for the connection.
fn addressee(message: &Mining<'_>) -> Option<u32> {
    match message {
        Mining::NewMiningJob(message) => Some(message.channel_id),
        Mining::NewExtendedMiningJob(message) => Some(message.channel_id),
        Mining::SetNewPrevHash(message) => Some(message.channel_id),
        Mining::SetTarget(message) => Some(message.channel_id),
        Mining::SetExtranoncePrefix(message) => Some(message.channel_id),
        Mining::CloseChannel(message) => Some(message.channel_id),
        Mining::UpdateChannelError(message) => Some(message.channel_id),
        Mining::SubmitSharesSuccess(message) => Some(message.channel_id),
        Mining::SubmitSharesError(message) => Some(message.channel_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
