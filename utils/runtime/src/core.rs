//! What a driver needs to know of a core.

use std::{
    fmt::{self, Display},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use binary_sv2::Message;
use framing_sv2::Header;

use crate::journal::JournalFull;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Stratum V2: frames.
    V2 {
        /// Encrypted.
        noise: bool,
    },
    /// Stratum V1: lines.
    V1 {
        /// Encrypted.
        tls: bool,
    },
}

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 { noise: true } => "sv2+noise",
            Self::V2 { noise: false } => "sv2",
            Self::V1 { tls: true } => "sv1+tls",
            Self::V1 { tls: false } => "sv1",
        })
    }
}

/// A connection's name among all of its role's shards; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Index of the shard.
    pub shard: usize,
    /// Number within the shard.
    pub number: u64,
}

impl Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shard, self.number)
    }
}

/// Whom a core is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What [`letters`](crate::letters) for this connection are addressed to.
    pub connection: ConnectionId,
    /// Where it comes from; where a load balancer speaks for it, what that one says.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
}

/// A sans-io protocol core for one connection (`docs/adr/0002-cores-write-into-a-sink.md`).
///
/// `now` is the time since the unix epoch and never runs backwards.
pub trait Core: 'static {
    /// What a role tells all its connections, as a state that replaces the one before
    /// (`docs/adr/0003-snapshots-instead-of-events.md`).
    type Notice: Send + Sync + 'static;
    /// What a connection tells its role.
    type Report: Send + 'static;
    /// What its role tells one connection; [`Infallible`](std::convert::Infallible) where it tells all the same.
    type Letter: Send + 'static;
    /// What must be on disk before it is answered; [`Infallible`](std::convert::Infallible) for a core that has no such thing.
    type Record: Send + 'static;

    /// A whole frame arrived; only on a connection that speaks [`Protocol::V2`].
    fn handle_frame<S: Sink<Report = Self::Report, Record = Self::Record>>(
        &mut self,
        now: Duration,
        header: Header,
        payload: &[u8],
        sink: &mut S,
    );

    /// A line arrived, without its end; only on a connection that speaks [`Protocol::V1`].
    fn handle_line<S: Sink<Report = Self::Report, Record = Self::Record>>(
        &mut self,
        now: Duration,
        line: &[u8],
        sink: &mut S,
    ) {
        let _ = (now, line);
        sink.disconnect("expected Stratum V2");
    }

    /// The frames or lines at hand are done: a chance to answer several at once.
    fn finish_input<S: Sink<Report = Self::Report, Record = Self::Record>>(&mut self, now: Duration, sink: &mut S);

    /// The role's state changed, or the connection is new.
    fn handle_notice<S: Sink<Report = Self::Report, Record = Self::Record>>(
        &mut self,
        now: Duration,
        notice: &Arc<Self::Notice>,
        sink: &mut S,
    );

    /// A letter of the role's for this connection, see [`letters`](crate::letters).
    fn handle_letter<S: Sink<Report = Self::Report, Record = Self::Record>>(
        &mut self,
        now: Duration,
        letter: Self::Letter,
        sink: &mut S,
    ) {
        let _ = (now, letter, sink);
    }

    /// The next `count` of the records that this core has put out are durable, in the order of [`Sink::persist`].
    ///
    /// Where there is no journal, this follows [`finish_input`](Self::finish_input) at once.
    fn handle_durable<S: Sink<Report = Self::Report, Record = Self::Record>>(
        &mut self,
        now: Duration,
        count: usize,
        sink: &mut S,
    ) {
        let _ = (now, count, sink);
    }

    /// The server is about to end and somebody else takes its place: the peer is to connect anew. It is served until it goes,
    /// or some seconds longer; what is durable is to be answered without delay from now on.
    fn handle_drain<S: Sink<Report = Self::Report, Record = Self::Record>>(&mut self, now: Duration, sink: &mut S) {
        let _ = (now, sink);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    fn poll_timeout(&self) -> Option<Duration>;

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout<S: Sink<Report = Self::Report, Record = Self::Record>>(&mut self, now: Duration, sink: &mut S);

    /// Bytes that may wait for this peer; over it, the driver stops reading from the peer until some have left.
    fn outbound_limit(&self) -> usize;

    /// Whether the peer has shown what it came for. Until then its connection is [half-open](crate::gate).
    fn is_established(&self) -> bool {
        true
    }

    /// When work of this peer was last accepted. Its address is not banned for some time then.
    fn last_work(&self) -> Option<Duration> {
        None
    }

    /// The peer has sent more than it may: it is not read from before this time.
    fn paused_until(&self) -> Option<Duration> {
        None
    }

    /// Whether answers are due that wait for something else than the journal. At the end the connection is kept for them for a
    /// while; [`poll_timeout`](Self::poll_timeout) says when to look.
    fn owes_answers(&self) -> bool {
        false
    }

    /// What to call this connection in logs beside its address, once known.
    fn label(&self) -> Option<&str> {
        None
    }
}

/// Where a core puts what it has to say.
pub trait Sink {
    /// What goes to the role.
    type Report;
    /// What goes to the journal.
    type Record;

    /// Sends a message to the peer. Messages of one input leave in one write.
    fn send<M: Message>(&mut self, message: &M);

    /// Sends lines, each with its newline, on a connection that speaks [`Protocol::V1`].
    fn send_lines(&mut self, lines: &[u8]) {
        let _ = lines;
        self.disconnect("internal error: lines for a connection that carries frames");
    }

    /// Ends the connection once everything sent has left, with one log line.
    fn disconnect(&mut self, reason: impl Display);

    /// Like [`disconnect`](Self::disconnect), for what no honest peer does; it may lead to a ban while the connection is
    /// half-open.
    fn disconnect_for_abuse(&mut self, reason: impl Display) {
        self.disconnect(reason);
    }

    /// Tells the role.
    fn report(&mut self, report: Self::Report);

    /// Hands a record to the journal; [`Core::handle_durable`] tells when it is on disk.
    ///
    /// # Errors
    /// When the journal takes nothing at present: the record is in nobody's hands, and what it stands for must be refused.
    fn persist(&mut self, record: Self::Record) -> Result<(), JournalFull>;
}

/// A clock that never runs backwards, as time since the unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
    unix_at_start: Duration,
}

impl Clock {
    /// Reads the system's clock once; from then on only passed time counts.
    pub fn start() -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { start: tokio::time::Instant::now(), unix_at_start: unix }
    }

    /// Time since the unix epoch.
    pub fn now(&self) -> Duration {
        self.unix_at_start + self.start.elapsed()
    }

    /// Waits until [`now`](Self::now) is `at`; for ever without one.
    pub async fn sleep_until(&self, at: Option<Duration>) {
        match at {
            Some(at) => tokio::time::sleep_until(self.instant(at)).await,
            None => std::future::pending().await,
        }
    }

    /// The moment in tokio's terms at which [`now`](Self::now) will be `at`.
    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        self.start + at.saturating_sub(self.unix_at_start)
    }
}
