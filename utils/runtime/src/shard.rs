//! Shards: threads that each serve many connections on one event loop.
//!
//! A connection's core, codec and outgoing buffer belong to its shard alone, so that nothing on the path of a share takes a
//! lock. A notice reaches the shard as one message, is put through each core, and goes straight to the sockets in turn.
//! What a socket does not take waits in the connection's buffer; a connection with unsent bytes is passed over by further
//! notices and given the newest one when the bytes are gone. Records of one turn of the loop go to the journal together.

mod connection;
mod handshakes;
mod open;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use network_helpers::FrameDecoder;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::{JoinSet, LocalSet},
};

use self::{
    connection::{Connection, End, Live, Port, Recorder},
    handshakes::Handshakes,
    open::Opened,
    wire::Input,
};
use crate::{
    bucket::{Rate, TokenBucket},
    core::{Clock, ConnectionId, Core, Peer, Sink},
    gate::{Gate, Ticket},
    identity::Identity,
    journal::{Progress, Recording},
    letters,
    listener::Accepted,
    shutdown::Shutdown,
    tls::TlsIdentity,
};

/// Connections that wait for a shard to take them up; a listener waits when a shard is this far behind.
const INCOMING_QUEUE: usize = 1024;

/// How long the role may take for the last reports, and the journal for the last records, when all ends.
pub const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Connections that a notice is put through, or told of durable records, before others have their turn.
const CONNECTIONS_PER_TURN: usize = 64;

/// Letters that are delivered before others have their turn.
const LETTERS_PER_TURN: usize = 256;

/// What all connections of a shard read into, in bytes. What one has left over after its turn, it keeps for itself.
const READ_BUFFER: usize = 64 * 1024;

/// Log lines about connections that were never established: the rest is at debug level, so that a flood does not fill the log.
const STRANGERS_LOGGED: Rate = Rate { per_second: 5.0, burst: 50.0 };

/// What a shard holds against its peers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest frame from a peer, in bytes; lines are bounded by `stratum_v1::line::MAX_LINE_FROM_MINER`.
    pub message_bytes: u32,
    /// Time for telling protocols apart and for the handshake, and before it for a PROXY header where one is due.
    pub handshake: Duration,
    /// A peer whose oldest unsent byte is this old is dropped.
    pub unsent: Duration,
    /// A peer that has sent nothing for this long is dropped.
    pub idle: Duration,
}

/// What a listener speaks. Where that leaves a choice, the first bytes of a connection tell ([`detect`](crate::detect::detect)).
#[derive(Clone, Debug)]
pub struct Protocols {
    /// Stratum V2, protected like this.
    pub v2: Option<Security>,
    /// Stratum V1 in the clear.
    pub v1: bool,
    /// Stratum V1 inside TLS, with this certificate.
    pub tls: Option<Arc<TlsIdentity>>,
}

/// Stratum V2 alone.
impl From<Security> for Protocols {
    fn from(security: Security) -> Self {
        Self { v2: Some(security), v1: false, tls: None }
    }
}

/// How a listener's connections of Stratum V2 are protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all; for networks that are trusted.
    Plain,
    /// With noise, under this identity.
    Noise(Arc<Identity>),
}

/// How to serve one listener's connections.
#[derive(Clone)]
pub struct Service<C: Core> {
    /// What connections may speak.
    pub protocols: Protocols,
    /// What to hold against peers.
    pub limits: Limits,
    /// Where peers of load balancers are let in.
    pub gate: Arc<Gate>,
    /// What [`Gate::enter`] is to call this listener.
    pub listener: usize,
    /// Makes the core of a new connection.
    pub make: Arc<dyn Fn(Duration, Peer) -> C + Send + Sync>,
}

/// What all shards of a role share.
pub struct Surroundings<C: Core> {
    /// What time it is.
    pub clock: Clock,
    /// What the role tells its connections.
    pub notices: watch::Receiver<Arc<C::Notice>>,
    /// What connections tell the role; a full queue stops reading from the peers concerned.
    pub reports: mpsc::Sender<C::Report>,
    /// Where records go. Without it, they count as durable as soon as they are made.
    pub recording: Option<Recording<C::Record>>,
    /// Ends it all: connections are [told](Core::handle_drain), and served for [`drain`](Self::drain) longer unless they go.
    pub shutdown: Shutdown,
    /// How long connections are served after shutdown. They end [`LAST_REPORTS`] later at the latest.
    pub drain: Duration,
}

impl<C: Core> Clone for Surroundings<C> {
    fn clone(&self) -> Self {
        Self {
            clock: self.clock,
            notices: self.notices.clone(),
            reports: self.reports.clone(),
            recording: self.recording.clone(),
            shutdown: self.shutdown.clone(),
            drain: self.drain,
        }
    }
}

impl<C: Core> std::fmt::Debug for Surroundings<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("recording", &self.recording).finish_non_exhaustive()
    }
}

struct Incoming<C: Core> {
    /// Not registered anywhere: it is the shard's event loop that is to hear of it, no other.
    stream: std::net::TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    ticket: Ticket,
    proxied: bool,
    service: Arc<Service<C>>,
}

/// A running shard; it ends when this is dropped and its connections are gone, or on shutdown.
#[derive(Debug)]
pub struct Shard<C: Core> {
    incoming: mpsc::Sender<Incoming<C>>,
    letters: letters::Sender<C::Letter>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<C: Core> std::fmt::Debug for Incoming<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl<C: Core> Shard<C> {
    /// Starts a shard.
    ///
    /// # Errors
    /// When the system gives no thread or event loop.
    pub fn spawn(index: usize, surroundings: Surroundings<C>) -> io::Result<Self> {
        let (incoming, queue) = mpsc::channel(INCOMING_QUEUE);
        let (letters, letter_box) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            let Surroundings { clock, notices, reports, recording, shutdown, drain } = surroundings;
            let local = LocalSet::new();
            let shard = Rc::new(Local {
                index,
                clock,
                notices,
                reports,
                shutdown,
                drain,
                over: Shutdown::new(),
                recorder: Recorder::new(recording),
                handshakes: Handshakes::default(),
                read_buffer: RefCell::new(vec![0; READ_BUFFER]),
                strangers: RefCell::new(TokenBucket::full(clock.now(), STRANGERS_LOGGED)),
                connections: RefCell::default(),
                next_id: Cell::new(0),
            });
            local.block_on(&runtime, shard.run(queue, letter_box));
        })?;
        Ok(Self { incoming, letters, thread: Some(thread) })
    }

    /// Hands a connection to the shard. It is refused, and so closed, when the shard is hopelessly behind.
    pub fn serve(&self, connection: Accepted, service: Arc<Service<C>>) {
        let Accepted { stream, peer, permit, ticket, proxied } = connection;
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%peer, "connection closed unserved: {error}"),
        };
        let incoming = Incoming { stream, peer, permit, ticket, proxied, service };
        if let Err(error) = self.incoming.try_send(incoming) {
            tracing::warn!(%peer, "connection closed unserved: {error}");
        }
    }

    pub(crate) const fn letters(&self) -> &letters::Sender<C::Letter> {
        &self.letters
    }

    /// Waits for the shard's thread after shutdown.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a shard has panicked");
        }
    }
}

/// The shard's own side.
struct Local<C: Core> {
    index: usize,
    clock: Clock,
    notices: watch::Receiver<Arc<C::Notice>>,
    reports: mpsc::Sender<C::Report>,
    shutdown: Shutdown,
    drain: Duration,
    /// The drain is over.
    over: Shutdown,
    recorder: Recorder<C::Record>,
    handshakes: Handshakes,
    /// Lent to each decoder while it reads.
    read_buffer: RefCell<Vec<u8>>,
    /// Log lines that are left.
    strangers: RefCell<TokenBucket>,
    connections: RefCell<BTreeMap<u64, Rc<Connection<C>>>>,
    next_id: Cell<u64>,
}

impl<C: Core> Local<C> {
    async fn run(
        self: Rc<Self>,
        mut queue: mpsc::Receiver<Incoming<C>>,
        mut letters: mpsc::UnboundedReceiver<(u64, C::Letter)>,
    ) {
        let mut notices = self.notices.clone();
        notices.mark_changed();
        let mut tasks = JoinSet::new();
        let shard = self.clone();
        let granting = tokio::task::spawn_local(async move { shard.handshakes.grant().await });
        let recording = self.recorder.progress().map(|progress| {
            let shard = self.clone();
            tokio::task::spawn_local(async move { tokio::join!(shard.end_turns(), shard.follow_journal(progress)) })
        });
        // Until the role is gone, or the drain that follows a shutdown is over.
        let mut drain_ends = None;
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled(), if drain_ends.is_none() => drain_ends = Some(self.clock.now() + self.drain),
                () = self.clock.sleep_until(drain_ends) => break,
                changed = notices.changed() => match changed {
                    Ok(()) => self.broadcast().await,
                    Err(_) => break,
                },
                Some(letter) = letters.recv() => self.deliver(letter, &mut letters).await,
                incoming = queue.recv() => match incoming {
                    Some(incoming) => {
                        tasks.spawn_local(self.clone().serve(incoming));
                    }
                    None => break,
                },
                Some(_) = tasks.join_next() => {}
            }
            if drain_ends.is_some() && tasks.is_empty() && queue.is_empty() {
                break;
            }
        }
        queue.close();
        self.over.cancel();
        // Each task ends by itself now, but what its peer has found must reach the role first.
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_REPORTS, ended).await.is_err() {
            tracing::error!("a shard ends with reports that the role did not take within {LAST_REPORTS:?}");
        }
        granting.abort();
        if let Some(recording) = recording {
            recording.abort();
        }
        self.recorder.records.borrow_mut().end_turn();
    }

    /// Puts the newest notice through every connection, and its messages to the sockets in turn.
    ///
    /// Each batch takes the newest anew: between two batches a connection that was passed over may have caught up, and must not
    /// be led back to an older one.
    async fn broadcast(&self) {
        let connections: Vec<_> = self.connections.borrow().values().cloned().collect();
        for batch in connections.chunks(CONNECTIONS_PER_TURN) {
            let notice = self.notices.borrow().clone();
            for connection in batch {
                connection.notice(self.clock.now(), &notice, &self.recorder);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Gives letters to their connections, this one and some that wait behind it.
    async fn deliver(&self, first: (u64, C::Letter), letters: &mut mpsc::UnboundedReceiver<(u64, C::Letter)>) {
        let now = self.clock.now();
        let mut told = Vec::new();
        let mut next = Some(first);
        for _ in 0..LETTERS_PER_TURN {
            let Some((number, letter)) = next.take().or_else(|| letters.try_recv().ok()) else { break };
            let Some(connection) = self.connections.borrow().get(&number).cloned() else { continue };
            if connection.letter(now, letter, &self.recorder) {
                told.push(connection);
            }
        }
        for connection in told {
            connection.flush_answers(now);
        }
        tokio::task::yield_now().await;
    }

    /// Hands the records of each turn to the journal, after all that is ready to run has run.
    async fn end_turns(&self) {
        loop {
            let patience = self.recorder.records.borrow().poll_timeout();
            tokio::select! {
                biased;
                () = self.recorder.turn_began.notified() => self.recorder.records.borrow_mut().end_turn(),
                () = self.clock.sleep_until(patience) => {
                    tracing::error!("the journal is behind: shares are refused until it has caught up");
                    self.recorder.change(|records| records.lose_patience(self.clock.now()));
                }
            }
        }
    }

    /// Tells cores of their durable records as the journal gets on.
    async fn follow_journal(&self, mut progress: watch::Receiver<Progress>) {
        progress.mark_changed();
        while progress.changed().await.is_ok() {
            let reached = *progress.borrow_and_update();
            self.recorder.change(|records| records.advance(reached));
            while self.settle() {
                tokio::task::yield_now().await;
            }
        }
        tracing::error!("the journal has ended: shares are refused");
        let durable = progress.borrow().durable;
        self.recorder.change(|records| records.advance(Progress { durable, failed: true }));
    }

    /// Tells some cores of their durable records; true while there are more.
    fn settle(&self) -> bool {
        let mut told = Vec::with_capacity(CONNECTIONS_PER_TURN);
        let now = self.clock.now();
        let mut more = true;
        while told.len() < CONNECTIONS_PER_TURN {
            let next = self.recorder.change(|records| records.next_durable(now));
            let Some((owner, count)) = next else {
                more = false;
                break;
            };
            // A connection that is gone gets no answer.
            let Some(connection) = self.connections.borrow().get(&owner).cloned() else { continue };
            if connection.durable(now, count, &self.recorder) {
                told.push(connection);
            }
        }
        for connection in told {
            connection.flush_answers(now);
        }
        more
    }

    async fn serve(self: Rc<Self>, incoming: Incoming<C>) {
        let Incoming { stream, mut peer, permit, mut ticket, proxied, service } = incoming;
        let mut stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return self.ended(&ticket, &peer.to_string(), &End::because(error)),
        };
        // Boxed, so that what only the beginning needs is not kept for as long as the connection lasts.
        let opened = Box::pin(self.open(&mut stream, &mut peer, &mut ticket, proxied, &service)).await;
        let Opened { protocol, mut input, wire } = match opened {
            Ok(opened) => opened,
            Err(end) => return self.ended(&ticket, &peer.to_string(), &end),
        };
        let now = self.clock.now();
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let connection = ConnectionId { shard: self.index, number: id };
        let live = Live::new(id, now, (service.make)(now, Peer { connection, address: peer, protocol }), wire);
        let connection = Rc::new(Connection::new(stream, live));
        connection.notice(now, &self.notices.borrow().clone(), &self.recorder);
        self.connections.borrow_mut().insert(id, connection.clone());
        // What told the protocol may be a whole message.
        self.handle(&connection, &mut input);
        let end = self.converse(&connection, &mut input, &mut ticket, service.limits).await;
        let _ = self.deliver_reports(&connection).await;
        if self.over.is_cancelled() {
            self.last_answers(&connection).await;
        }
        self.connections.borrow_mut().remove(&id);
        connection.live.borrow_mut().close(self.clock.now(), &connection.stream);
        let live = connection.live.borrow();
        self.ended(&ticket, live.core.label().unwrap_or(&peer.to_string()), &end);
        drop(permit);
    }

    /// At the end, waits for the records of a connection to be durable, and for their answers to leave. Within [`LAST_REPORTS`].
    async fn last_answers(&self, connection: &Connection<C>) {
        loop {
            let (unsent, look) = {
                let mut live = connection.live.borrow_mut();
                let now = self.clock.now();
                if live.core.owes_answers() && live.core.poll_timeout().is_some_and(|at| at <= now) {
                    live.drive(now, &self.recorder, |core, sink| core.handle_timeout(now, sink));
                }
                live.flush(now, &connection.stream);
                if live.out.gone.is_some() || !self.recorder.records.borrow().are_answered(live.undurable) {
                    return;
                }
                live.awaits_end = true;
                if live.undurable == 0 && live.out.unsent() == 0 && !live.core.owes_answers() {
                    return;
                }
                (live.out.unsent() > 0, live.core.poll_timeout().filter(|_| live.core.owes_answers()))
            };
            tokio::select! {
                () = connection.wake.notified() => {}
                () = self.clock.sleep_until(look) => {}
                ready = connection.stream.writable(), if unsent => {
                    if ready.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// One log line for the end of a connection, and what follows from it for its address.
    fn ended(&self, ticket: &Ticket, peer: &str, End { reason, abuse }: &End) {
        let now = self.clock.now();
        if *abuse && ticket.offend(now) {
            tracing::warn!(peer, "its address is banned at this listener: {reason}");
        } else if !ticket.is_half_open() || self.strangers.borrow_mut().try_spend(now, STRANGERS_LOGGED, 1.0) {
            tracing::info!(peer, "disconnected: {reason}");
        } else {
            tracing::debug!(peer, "disconnected: {reason}");
        }
    }

    /// Serves a connection until it ends; says why it did.
    async fn converse(
        &self,
        connection: &Connection<C>,
        input: &mut Input,
        ticket: &mut Ticket,
        limits: Limits,
    ) -> End {
        let mut told_to_go = false;
        loop {
            // Reports first: a full queue at the role holds up only the peers that fill it.
            if self.deliver_reports(connection).await.is_err() {
                return End::because("the role has ended");
            }
            let next = match self.next(connection, ticket, limits) {
                Ok(next) => next,
                Err(end) => return end,
            };
            tokio::select! {
                () = self.over.cancelled() => return End::stopped(),
                () = self.shutdown.cancelled(), if !told_to_go => {
                    told_to_go = true;
                    let now = self.clock.now();
                    let mut live = connection.live.borrow_mut();
                    live.drive(now, &self.recorder, |core, sink| core.handle_drain(now, sink));
                    live.flush(now, &connection.stream);
                }
                () = ticket.dropped() => return End::dropped(),
                ready = connection.stream.readable(), if next.read => {
                    let read = ready.map_err(End::because).and_then(|()| self.read(connection, input));
                    if let Err(end) = read {
                        return end;
                    }
                }
                ready = connection.stream.writable(), if next.write => {
                    if let Err(error) = ready {
                        return End::because(error);
                    }
                    connection.live.borrow_mut().flush(self.clock.now(), &connection.stream);
                }
                () = connection.wake.notified() => {}
                () = self.recorder.caught_up.notified(), if next.held => {}
                () = self.clock.sleep_until(next.deadline) => {
                    let now = self.clock.now();
                    let mut live = connection.live.borrow_mut();
                    if live.core.poll_timeout().is_some_and(|at| at <= now) {
                        live.drive(now, &self.recorder, |core, sink| core.handle_timeout(now, sink));
                        live.flush(now, &connection.stream);
                    }
                }
            }
        }
    }

    /// What a connection waits for now, or why it ends.
    fn next(&self, connection: &Connection<C>, ticket: &mut Ticket, limits: Limits) -> Result<Next, End> {
        let mut live = connection.live.borrow_mut();
        let now = self.clock.now();
        live.catch_up(now, &self.notices, &connection.stream, &self.recorder);
        if ticket.is_half_open() && live.core.is_established() {
            ticket.establish();
        }
        if let Some(at) = live.core.last_work() {
            ticket.worked(at);
        }
        if let Some(end) = live.out.gone.take() {
            return Err(end);
        }
        let unsent = live.out.unsent();
        let drop_at = live.oldest_unsent.map(|(_, since)| since + limits.unsent);
        if drop_at.is_some_and(|at| at <= now) {
            let reason = format!("{unsent} bytes unsent for {:?}: the peer does not read", limits.unsent);
            return Err(End::because(reason));
        }
        let idle_at = live.last_input + limits.idle;
        if idle_at <= now {
            return Err(End::because(format_args!("nothing received for {:?}", limits.idle)));
        }
        let paused_until = live.core.paused_until().filter(|at| *at > now);
        let held = live.adds_records && self.recorder.records.borrow().hold_readers();
        let read = unsent < live.core.outbound_limit() && !held && paused_until.is_none();
        let deadline = [live.core.poll_timeout(), drop_at, Some(idle_at), paused_until].into_iter().flatten().min();
        live.armed = deadline;
        Ok(Next { read, write: unsent > 0, held, deadline })
    }

    /// Waits for room at the role. An error means that it has ended.
    async fn deliver_reports(&self, connection: &Connection<C>) -> Result<(), mpsc::error::SendError<C::Report>> {
        let reports = std::mem::take(&mut connection.live.borrow_mut().out.reports);
        for report in reports {
            self.reports.send(report).await?;
        }
        Ok(())
    }

    /// Reads once and handles the whole messages that are there.
    fn read(&self, connection: &Connection<C>, input: &mut Input) -> Result<(), End> {
        let mut buffer = self.read_buffer.borrow_mut();
        let decoder = match input {
            Input::Frames(decoder) => decoder,
            Input::Lines(decoder) => {
                let read = connection.live.borrow_mut().out.read_lines(&connection.stream, &mut buffer, decoder)?;
                if read {
                    self.handle(connection, input);
                }
                return Ok(());
            }
        };
        decoder.borrow_buffer(&mut buffer);
        let handled = self.read_frames(connection, input);
        if let Input::Frames(decoder) = input {
            decoder.give_back_buffer(&mut buffer);
        }
        handled
    }

    fn read_frames(&self, connection: &Connection<C>, input: &mut Input) -> Result<(), End> {
        let Input::Frames(decoder) = input else { return Ok(()) };
        match connection.stream.try_read(decoder.writable()) {
            Ok(0) => return Err(End::because(decoder.closed())),
            Ok(count) => decoder.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(End::because(error)),
        }
        self.handle(connection, input);
        Ok(())
    }

    /// Handles the whole messages that are there.
    fn handle(&self, connection: &Connection<C>, input: &mut Input) {
        let now = self.clock.now();
        let mut live = connection.live.borrow_mut();
        live.last_input = now;
        live.drive(now, &self.recorder, |core, sink| {
            let malformed = loop {
                let more = match input {
                    Input::Frames(decoder) => next_frame(now, decoder, core, sink),
                    Input::Lines(decoder) => match decoder.next_line() {
                        Ok(Some(line)) => {
                            core.handle_line(now, line, sink);
                            Ok(true)
                        }
                        Ok(None) => Ok(false),
                        Err(error) => Err(error.to_string()),
                    },
                };
                match more {
                    Ok(true) if !sink.is_gone() => {}
                    Ok(_) => break None,
                    Err(error) => break Some(error),
                }
            };
            // What came before a malformed message still gets its answers.
            core.finish_input(now, sink);
            if let Some(error) = malformed {
                sink.disconnect_for_abuse(error);
            }
        });
        live.flush(now, &connection.stream);
    }
}

/// Handles one frame; false when there is none.
fn next_frame<C: Core>(
    now: Duration,
    decoder: &mut FrameDecoder,
    core: &mut C,
    sink: &mut Port<'_, C>,
) -> Result<bool, String> {
    match decoder.next_frame() {
        Ok(Some(frame)) => core.handle_frame(now, frame.header(), frame.payload(), sink),
        Ok(None) => return Ok(false),
        Err(error) => return Err(error.to_string()),
    }
    Ok(true)
}

/// What a connection waits for.
struct Next {
    read: bool,
    write: bool,
    /// The journal is behind.
    held: bool,
    deadline: Option<Duration>,
}
