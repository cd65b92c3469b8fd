//! Drives one connection: socket, threads and clock on one side, a [`Session`] on the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use binary_sv2::Message;
use framing_sv2::Sv2Frame;
use network_helpers::{Connection, Error as NetworkError, FrameReader, FrameWriter, KeyLog, Phase, Security};
use noise_sv2::url::EndpointUrl;
use stratum_runtime::shutdown::Shutdown;
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    config::Protocol,
    meter::Meter,
    session::{End, Report, Session, Settings, Sink},
    status::{Rate, Status},
    v1,
    workers::{FoundShare, Workers},
};

/// Largest message that is taken from a server: an extended job with the longest coinbase and merkle path needs 140 KB.
pub const MAX_MESSAGE_BYTES: u32 = 256 * 1024;
/// Bytes that may wait for the server; it reads nothing then, and the connection ends.
pub(crate) const MAX_QUEUED_BYTES: usize = 64 * 1024;
/// A server that does not take our bytes within this time is given up.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// How long to wait for the good-bye to arrive.
const GOOD_BYE_DEADLINE: Duration = Duration::from_secs(1);
/// How often the hashrate is measured.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two log lines.
pub(crate) const TICKS_PER_LINE: u32 = 5;

/// How a connection ended.
#[derive(Debug)]
pub enum Outcome {
    /// The miner is to end.
    Shutdown,
    /// It did not come about, or broke.
    Network(NetworkError),
    /// The server or the session ended it.
    Session(End),
}

impl From<NetworkError> for Outcome {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        Self::Session(end)
    }
}

/// What outlives a connection.
#[derive(Debug)]
pub struct Machine {
    /// The threads.
    pub workers: Workers,
    /// Their rate.
    pub meter: Meter,
    /// Hashes per second to announce on the next connection.
    pub hashrate: f32,
    /// What the world sees.
    pub status: watch::Sender<Status>,
    /// Zero of the clock.
    pub origin: Instant,
    /// Where the keys of connections go when something is to be debugged.
    pub key_log: Option<Arc<KeyLog>>,
}

#[expect(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
enum Event<'a> {
    Frame(Sv2Frame<'a>),
    Share(FoundShare),
    Tick,
    Timeout,
    Shutdown,
}

/// Connects to `url` and mines until something ends it. The threads rest afterwards.
pub async fn run(machine: &mut Machine, settings: Settings, url: &EndpointUrl, shutdown: &Shutdown) -> Outcome {
    if let Protocol::V1 { password, tls } = &settings.config.protocol {
        let (password, tls) = (password.clone(), tls.clone());
        let outcome = v1::link::run(machine, settings, &password, tls.as_deref(), shutdown).await;
        machine.end();
        return outcome;
    }
    let security = match settings.config.plain {
        true => Security::Plain,
        false => Security::Noise { authority: url.authority() },
    };
    let (address, deadline, key_log) = (url.address(), settings.config.deadlines.connect, machine.key_log.as_deref());
    let connected = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Outcome::Shutdown,
        connected = Connection::connect_logging_keys(&address, security, deadline, key_log) => connected,
    };
    let outcome = match connected {
        Ok(connection) => mine(machine, settings, connection, shutdown).await,
        Err(error) => Outcome::Network(error),
    };
    machine.end();
    outcome
}

impl Machine {
    /// Since the origin.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// A connection is over.
    fn end(&mut self) {
        self.workers.rest();
        self.meter.restart();
        self.status.send_modify(|status| (status.connected, status.hashrate) = (false, 0.0));
    }

    /// Measures; returns the speed, if the threads hashed.
    pub(crate) fn measure(&mut self, line: bool) -> Option<f64> {
        let rates = self.meter.sample(Instant::now(), self.workers.effort());
        self.status.send_modify(|status| status.hashrate = rates.effective);
        if line {
            info!("{}", *self.status.borrow());
        }
        rates.speed
    }

    /// Does what a session says.
    pub(crate) fn report(&mut self, report: Report) {
        let status = &self.status;
        match report {
            Report::Opened { channel } => {
                info!("channel {channel} is open");
                status.send_modify(|status| {
                    status.connected = true;
                    status.channels_opened += 1;
                });
            }
            Report::Assign { assignment, target } => {
                let job = assignment.works.first().map(|work| work.job_id);
                self.workers.assign(assignment, target);
                debug!("job {} at target {target}", job.unwrap_or_default());
                status.send_modify(|status| {
                    status.jobs += 1;
                    status.target = Some(target);
                });
            }
            Report::Retarget(target) => {
                self.workers.retarget(target);
                status.send_modify(|status| status.target = Some(target));
            }
            Report::Submitted => status.send_modify(|status| status.submitted += 1),
            Report::Discarded => status.send_modify(|status| status.discarded += 1),
            Report::Accepted { count, credited } => status.send_modify(|status| {
                status.accepted = status.accepted.saturating_add(count.into());
                status.credited = status.credited.saturating_add(credited);
            }),
            Report::Rejected { code } => {
                let mut first = false;
                status.send_modify(|status| first = status.count_rejected(&code));
                if first {
                    // Not each: there may be fifty a second, and the status line counts them.
                    warn!("the server rejected a share: {code}");
                }
            }
            Report::Announced(hashrate) => {
                info!("announced {}", Rate(hashrate.into()));
                self.hashrate = hashrate;
            }
            Report::Warning(text) => warn!("{text}"),
        }
    }
}

async fn mine(machine: &mut Machine, settings: Settings, mut connection: Connection, shutdown: &Shutdown) -> Outcome {
    connection.set_max_payload(MAX_MESSAGE_BYTES);
    let (mut reader, mut writer) = connection.split();
    writer.set_queue_limit(MAX_QUEUED_BYTES);
    // Shares that were found for an earlier connection are of this generation or before.
    let mut link = Link { stale: machine.workers.rest(), machine, writer, failed: None };
    let mut session = Session::new(settings, link.now(), &mut link);
    let mut ticks = ticker();
    let mut until_line = TICKS_PER_LINE;
    loop {
        if let Err(error) = link.flush(WRITE_DEADLINE).await {
            return error.into();
        }
        let deadline = tokio::time::Instant::from_std(link.machine.origin + session.poll_timeout());
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => Event::Shutdown,
            () = sleep_until(deadline) => Event::Timeout,
            _ = ticks.tick() => Event::Tick,
            frame = reader.read_frame() => match frame {
                Ok(frame) => Event::Frame(frame),
                Err(error) => return error.into(),
            },
            Some(share) = link.machine.workers.next_share() => Event::Share(share),
        };
        let handled = match event {
            Event::Shutdown => {
                session.close(&mut link);
                let _ = timeout(GOOD_BYE_DEADLINE, link.good_bye(&mut reader)).await;
                return Outcome::Shutdown;
            }
            Event::Timeout => session.handle_timeout(link.now()),
            Event::Frame(frame) => session.handle_frame(link.now(), frame.header(), frame.payload(), &mut link),
            Event::Share(share) => {
                link.share(&mut session, &share);
                Ok(())
            }
            Event::Tick => {
                until_line -= 1;
                link.tick(&mut session, until_line == 0);
                until_line = if until_line == 0 { TICKS_PER_LINE } else { until_line };
                Ok(())
            }
        };
        if let Err(end) = handled {
            return end.into();
        }
    }
}

pub(crate) fn ticker() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A session's sink.
struct Link<'a> {
    machine: &'a mut Machine,
    writer: FrameWriter,
    /// Generation of the last thing that the threads did before this connection.
    stale: u64,
    /// What went wrong while queueing; it ends the connection at the next flush.
    failed: Option<NetworkError>,
}

impl Link<'_> {
    fn now(&self) -> Duration {
        self.machine.now()
    }

    /// Hands over `share` and all that wait behind it, so that they leave together.
    fn share(&mut self, session: &mut Session, share: &FoundShare) {
        let mut next = Some(*share);
        while let Some(share) = next {
            match share.generation > self.stale {
                true => session.handle_share(self.now(), &share, self),
                false => self.report(Report::Discarded),
            }
            next = self.machine.workers.try_next_share();
        }
    }

    fn tick(&mut self, session: &mut Session, line: bool) {
        if let Some(speed) = self.machine.measure(line) {
            session.handle_hashrate(self.now(), speed, self);
        }
    }

    /// Sends what is left and waits for the server to end the connection. Closing it with answers unread would reset it, and the
    /// server might never see the last shares.
    async fn good_bye(&mut self, reader: &mut FrameReader) {
        if self.failed.is_none() && self.writer.shutdown().await.is_ok() {
            while reader.read_frame().await.is_ok() {}
        }
    }

    async fn flush(&mut self, deadline: Duration) -> Result<(), NetworkError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let late = NetworkError::Timeout { phase: Phase::Messages, after: deadline };
        timeout(deadline, self.writer.flush()).await.unwrap_or(Err(late))
    }
}

impl Sink for Link<'_> {
    fn send<M: Message>(&mut self, message: &M) {
        debug!("sending {}", M::NAME);
        if let Err(error) = self.writer.queue(message) {
            self.failed.get_or_insert(error);
        }
    }

    fn report(&mut self, report: Report) {
        self.machine.report(report);
    }
}
