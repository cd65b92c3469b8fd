//! Shards: threads that each serve many connections on one event loop.
//!
//! A connection's core, codec and outgoing buffer belong to its shard alone, so that nothing on the path of a share takes a
//! lock. A notice reaches the shard as one message, is put through each core, and goes straight to the sockets in turn.
//! What a socket does not take waits in the connection's buffer; a connection with unsent bytes is passed over by further
//! notices and given the newest one when the bytes are gone. Records of one turn of the loop go to the journal together.

mod connection;
#[cfg(test)]
mod tests;

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

use network_helpers::{FrameDecoder, FrameQueue, respond_logging_keys, wire};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::{JoinSet, LocalSet},
};

use self::connection::{Connection, Live, Recorder};
use crate::{
    core::{Clock, Core, Sink},
    identity::Identity,
    journal::{Progress, Recording},
    listener::Accepted,
    shutdown::Shutdown,
};

/// Connections that wait for a shard to take them up; a listener waits when a shard is this far behind.
const INCOMING_QUEUE: usize = 1024;

/// How long the role may take for the last reports when all ends.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Connections that a notice is put through, or told of durable records, before others have their turn.
const CONNECTIONS_PER_TURN: usize = 64;

/// What a shard holds against its peers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest message from a peer, in bytes.
    pub message_bytes: u32,
    /// Time for the noise handshake.
    pub handshake: Duration,
    /// A peer whose oldest unsent byte is this old is dropped.
    pub unsent: Duration,
}

/// How a listener's connections are protected.
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
    /// With noise or without.
    pub security: Security,
    /// What to hold against peers.
    pub limits: Limits,
    /// Makes the core of a new connection.
    pub make: Arc<dyn Fn(Duration, SocketAddr) -> C + Send + Sync>,
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
    /// Ends it all.
    pub shutdown: Shutdown,
}

impl<C: Core> Clone for Surroundings<C> {
    fn clone(&self) -> Self {
        Self {
            clock: self.clock,
            notices: self.notices.clone(),
            reports: self.reports.clone(),
            recording: self.recording.clone(),
            shutdown: self.shutdown.clone(),
        }
    }
}

impl<C: Core> std::fmt::Debug for Surroundings<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("recording", &self.recording).finish_non_exhaustive()
    }
}

struct Incoming<C: Core> {
    connection: Accepted,
    service: Arc<Service<C>>,
}

/// A running shard; it ends when this is dropped and its connections are gone, or on shutdown.
#[derive(Debug)]
pub struct Shard<C: Core> {
    incoming: mpsc::Sender<Incoming<C>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<C: Core> std::fmt::Debug for Incoming<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("peer", &self.connection.peer).finish()
    }
}

impl<C: Core> Shard<C> {
    /// Starts a shard.
    ///
    /// # Errors
    /// When the system gives no thread or event loop.
    pub fn spawn(index: usize, surroundings: Surroundings<C>) -> io::Result<Self> {
        let (incoming, queue) = mpsc::channel(INCOMING_QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            let Surroundings { clock, notices, reports, recording, shutdown } = surroundings;
            let local = LocalSet::new();
            let shard = Rc::new(Local {
                clock,
                notices,
                reports,
                shutdown,
                recorder: Recorder::new(recording),
                connections: RefCell::default(),
                next_id: Cell::new(0),
            });
            local.block_on(&runtime, shard.run(queue));
        })?;
        Ok(Self { incoming, thread: Some(thread) })
    }

    /// Hands a connection to the shard. It is refused, and so closed, when the shard is hopelessly behind.
    pub fn serve(&self, connection: Accepted, service: Arc<Service<C>>) {
        if let Err(error) = self.incoming.try_send(Incoming { connection, service }) {
            tracing::warn!("connection closed unserved: {error}");
        }
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
    clock: Clock,
    notices: watch::Receiver<Arc<C::Notice>>,
    reports: mpsc::Sender<C::Report>,
    shutdown: Shutdown,
    recorder: Recorder<C::Record>,
    connections: RefCell<BTreeMap<u64, Rc<Connection<C>>>>,
    next_id: Cell<u64>,
}

impl<C: Core> Local<C> {
    async fn run(self: Rc<Self>, mut queue: mpsc::Receiver<Incoming<C>>) {
        let mut notices = self.notices.clone();
        notices.mark_changed();
        let mut tasks = JoinSet::new();
        let recording = self.recorder.progress().map(|progress| {
            let shard = self.clone();
            tokio::task::spawn_local(async move { tokio::join!(shard.end_turns(), shard.follow_journal(progress)) })
        });
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                changed = notices.changed() => match changed {
                    Ok(()) => self.broadcast().await,
                    Err(_) => break,
                },
                incoming = queue.recv() => match incoming {
                    Some(incoming) => {
                        tasks.spawn_local(self.clone().serve(incoming));
                    }
                    None => break,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        self.last_words().await;
        // Each task ends by itself now, but what its peer has found must reach the role first.
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_REPORTS, ended).await.is_err() {
            tracing::error!("a shard ends with reports that the role did not take within {LAST_REPORTS:?}");
        }
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

    /// At the end, gives unsent bytes one more chance.
    async fn last_words(&self) {
        for connection in self.connections.borrow().values() {
            connection.live.borrow_mut().flush(self.clock.now(), &connection.stream);
        }
    }

    async fn serve(self: Rc<Self>, incoming: Incoming<C>) {
        let Incoming { connection: Accepted { mut stream, peer, permit }, service } = incoming;
        let opened = tokio::select! {
            () = self.shutdown.cancelled() => return,
            opened = open(&mut stream, &service, self.clock.now()) => opened,
        };
        let (mut decoder, queue) = match opened {
            Ok(codec) => codec,
            Err(reason) => return tracing::info!(%peer, "disconnected: {reason}"),
        };
        decoder.set_max_payload(service.limits.message_bytes);
        let now = self.clock.now();
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let live = Live::new(id, (service.make)(now, peer), queue);
        let connection = Rc::new(Connection::new(stream, live));
        connection.notice(now, &self.notices.borrow().clone(), &self.recorder);
        self.connections.borrow_mut().insert(id, connection.clone());
        let reason = self.converse(&connection, &mut decoder, service.limits).await;
        let _ = self.deliver_reports(&connection).await;
        self.connections.borrow_mut().remove(&id);
        connection.live.borrow_mut().flush(self.clock.now(), &connection.stream);
        let live = connection.live.borrow();
        tracing::info!(peer = live.core.label().unwrap_or(&peer.to_string()), "disconnected: {reason}");
        drop(permit);
    }

    /// Serves a connection until it ends; says why it did.
    async fn converse(&self, connection: &Connection<C>, decoder: &mut FrameDecoder, limits: Limits) -> String {
        loop {
            // Reports first: a full queue at the role holds up only the peers that fill it.
            if self.deliver_reports(connection).await.is_err() {
                return "the role has ended".to_owned();
            }
            let (unsent, room, held, deadline) = {
                let mut live = connection.live.borrow_mut();
                let now = self.clock.now();
                live.catch_up(now, &self.notices, &connection.stream, &self.recorder);
                if let Some(reason) = live.out.gone.take() {
                    return reason;
                }
                let unsent = live.out.unsent();
                let drop_at = live.oldest_unsent.map(|(_, since)| since + limits.unsent);
                if drop_at.is_some_and(|at| at <= now) {
                    return format!("{unsent} bytes unsent for {:?}: the peer does not read", limits.unsent);
                }
                let deadline = [live.core.poll_timeout(), drop_at].into_iter().flatten().min();
                live.armed = deadline;
                let held = live.adds_records && self.recorder.records.borrow().hold_readers();
                (unsent, unsent < live.core.outbound_limit(), held, deadline)
            };
            tokio::select! {
                () = self.shutdown.cancelled() => return "the server stops".to_owned(),
                ready = connection.stream.readable(), if room && !held => {
                    let read = ready.map(|()| self.read(connection, decoder));
                    match read {
                        Ok(Ok(())) => {}
                        Ok(Err(reason)) => return reason,
                        Err(error) => return error.to_string(),
                    }
                }
                ready = connection.stream.writable(), if unsent > 0 => {
                    if let Err(error) = ready {
                        return error.to_string();
                    }
                    connection.live.borrow_mut().flush(self.clock.now(), &connection.stream);
                }
                () = connection.wake.notified() => {}
                () = self.recorder.caught_up.notified(), if held => {}
                () = self.clock.sleep_until(deadline) => {
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

    /// Waits for room at the role. An error means that it has ended.
    async fn deliver_reports(&self, connection: &Connection<C>) -> Result<(), mpsc::error::SendError<C::Report>> {
        let reports = std::mem::take(&mut connection.live.borrow_mut().out.reports);
        for report in reports {
            self.reports.send(report).await?;
        }
        Ok(())
    }

    /// Reads once and handles the whole frames that are there.
    fn read(&self, connection: &Connection<C>, decoder: &mut FrameDecoder) -> Result<(), String> {
        match connection.stream.try_read(decoder.writable()) {
            Ok(0) => return Err(decoder.closed().to_string()),
            Ok(count) => decoder.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        let now = self.clock.now();
        let mut live = connection.live.borrow_mut();
        live.drive(now, &self.recorder, |core, sink| {
            let malformed = loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => core.handle_frame(now, frame.header(), frame.payload(), sink),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
                if sink.is_gone() {
                    break None;
                }
            };
            // The frames before a malformed one still get their answers.
            core.finish_input(now, sink);
            if let Some(error) = malformed {
                sink.disconnect(error);
            }
        });
        live.flush(now, &connection.stream);
        Ok(())
    }
}

/// The handshake, where there is one. The handshake's own deadline covers all of it.
async fn open<C: Core>(
    stream: &mut TcpStream,
    service: &Service<C>,
    now: Duration,
) -> Result<(FrameDecoder, FrameQueue), String> {
    let Security::Noise(identity) = &service.security else { return Ok(wire::plain()) };
    let certified = identity.current(now).map_err(|error| format!("no certificate: {error}"))?;
    let transport = respond_logging_keys(stream, &certified, service.limits.handshake, identity.key_log())
        .await
        .map_err(|error| error.to_string())?;
    Ok(wire::encrypted(transport))
}
