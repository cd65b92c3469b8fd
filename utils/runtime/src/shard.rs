//! Shards: threads that each serve many connections on one event loop.
//!
//! A connection's core, codec and outgoing buffer belong to its shard alone, so that nothing on the path of a share takes a
//! lock. A notice reaches the shard as one message, is put through each core, and goes straight to the sockets in turn.
//! What a socket does not take waits in the connection's buffer; a connection with unsent bytes is passed over by further
//! notices and given the newest one when the bytes are gone.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::Display,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use binary_sv2::Message;
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc, watch},
    task::{JoinSet, LocalSet},
};

use crate::{
    core::{Clock, Core, Sink},
    identity::Identity,
    listener::Accepted,
    shutdown::Shutdown,
};
use network_helpers::{FrameDecoder, FrameQueue, respond_logging_keys, wire};

/// Connections that wait for a shard to take them up; a listener waits when a shard is this far behind.
const INCOMING_QUEUE: usize = 1024;

/// How long the role may take for the last reports when all ends.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Connections that a notice is put through before others have their turn.
const NOTICES_PER_TURN: usize = 64;

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
    /// Starts a shard. Reports of its cores go to `reports`; a full queue stops reading from the peers concerned.
    ///
    /// # Errors
    /// When the system gives no thread or event loop.
    pub fn spawn(
        index: usize,
        clock: Clock,
        notices: watch::Receiver<Arc<C::Notice>>,
        reports: mpsc::Sender<C::Report>,
        shutdown: Shutdown,
    ) -> io::Result<Self> {
        let (incoming, queue) = mpsc::channel(INCOMING_QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            let local = LocalSet::new();
            let shard = Rc::new(Local {
                clock,
                notices,
                reports,
                shutdown,
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
    connections: RefCell<BTreeMap<u64, Rc<Connection<C>>>>,
    next_id: Cell<u64>,
}

/// One connection: what its own task and the shard's notices share. No borrow of `live` is held across an await.
struct Connection<C: Core> {
    stream: TcpStream,
    live: RefCell<Live<C>>,
    /// Wakes the connection's task when a notice left it something to do.
    wake: Notify,
}

struct Live<C: Core> {
    core: C,
    out: Out<C::Report>,
    /// A notice was passed over while bytes were unsent.
    stale: bool,
    /// A byte that is unsent, as its position in all that was ever queued, and since when.
    oldest_unsent: Option<(u64, Duration)>,
}

/// The sink of a core: its messages go, serialised and encrypted, to the end of the connection's outgoing bytes.
struct Out<R> {
    queue: FrameQueue,
    /// Bytes that left.
    sent: u64,
    reports: Vec<R>,
    gone: Option<String>,
}

impl<R> Out<R> {
    fn unsent(&self) -> usize {
        self.queue.pending().len()
    }

    /// Writes what the socket takes.
    fn write_to(&mut self, stream: &TcpStream) -> io::Result<()> {
        while self.unsent() > 0 {
            match stream.try_write(self.queue.pending()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.queue.sent(count);
                    self.sent += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R> Sink for Out<R> {
    type Report = R;

    fn send<M: Message>(&mut self, message: &M) {
        if self.gone.is_none()
            && let Err(error) = self.queue.push(message)
        {
            self.gone = Some(format!("{}: {error}", M::NAME));
        }
    }

    fn disconnect(&mut self, reason: impl Display) {
        self.gone.get_or_insert_with(|| reason.to_string());
    }

    fn report(&mut self, report: R) {
        self.reports.push(report);
    }
}

impl<C: Core> Local<C> {
    async fn run(self: Rc<Self>, mut queue: mpsc::Receiver<Incoming<C>>) {
        let mut notices = self.notices.clone();
        notices.mark_changed();
        let mut tasks = JoinSet::new();
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
    }

    /// Puts the newest notice through every connection, and its messages to the sockets in turn.
    ///
    /// Each batch takes the newest anew: between two batches a connection that was passed over may have caught up, and must not
    /// be led back to an older one.
    async fn broadcast(&self) {
        let connections: Vec<_> = self.connections.borrow().values().cloned().collect();
        for batch in connections.chunks(NOTICES_PER_TURN) {
            let notice = self.notices.borrow().clone();
            for connection in batch {
                let mut live = connection.live.borrow_mut();
                if live.out.unsent() > 0 {
                    live.stale = true;
                } else {
                    live.notice(self.clock.now(), &notice);
                    live.flush(self.clock.now(), &connection.stream);
                }
                if live.needs_task() {
                    connection.wake.notify_one();
                }
            }
            tokio::task::yield_now().await;
        }
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
        let out = Out { queue, sent: 0, reports: Vec::new(), gone: None };
        let mut live = Live { core: (service.make)(now, peer), out, stale: false, oldest_unsent: None };
        live.notice(now, &self.notices.borrow().clone());
        let connection = Rc::new(Connection { stream, live: RefCell::new(live), wake: Notify::new() });
        let id = self.next_id.get();
        self.next_id.set(id + 1);
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
            let (unsent, readable, deadline) = {
                let mut live = connection.live.borrow_mut();
                let now = self.clock.now();
                live.catch_up(now, &self.notices, &connection.stream);
                if let Some(reason) = live.out.gone.take() {
                    return reason;
                }
                let unsent = live.out.unsent();
                let drop_at = live.oldest_unsent.map(|(_, since)| since + limits.unsent);
                if drop_at.is_some_and(|at| at <= now) {
                    return format!("{unsent} bytes unsent for {:?}: the peer does not read", limits.unsent);
                }
                let deadline = [live.core.poll_timeout(), drop_at].into_iter().flatten().min();
                (unsent, unsent < live.core.outbound_limit(), deadline)
            };
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.shutdown.cancelled() => return "the server stops".to_owned(),
                ready = connection.stream.readable(), if readable => {
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
                () = timer => {
                    let now = self.clock.now();
                    let mut live = connection.live.borrow_mut();
                    if live.core.poll_timeout().is_some_and(|at| at <= now) {
                        let Live { core, out, .. } = &mut *live;
                        core.handle_timeout(now, out);
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
        let Live { core, out, .. } = &mut *live;
        let malformed = loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => core.handle_frame(now, frame.header(), frame.payload(), out),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
            if out.gone.is_some() {
                break None;
            }
        };
        // The frames before a malformed one still get their answers.
        core.finish_input(now, out);
        if let Some(error) = malformed {
            out.disconnect(error);
        }
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

impl<C: Core> Live<C> {
    fn notice(&mut self, now: Duration, notice: &Arc<C::Notice>) {
        let Self { core, out, .. } = self;
        core.handle_notice(now, notice, out);
    }

    fn flush(&mut self, now: Duration, stream: &TcpStream) {
        if let Err(error) = self.out.write_to(stream) {
            self.out.gone.get_or_insert_with(|| error.to_string());
        }
        let sent = self.out.sent;
        let queued = sent + self.out.unsent() as u64;
        self.oldest_unsent = match self.oldest_unsent {
            _ if queued == sent => None,
            Some((position, since)) if position > sent => Some((position, since)),
            _ => Some((queued, now)),
        };
    }

    /// Gives the newest notice once the bytes that stood in its way are gone.
    fn catch_up(&mut self, now: Duration, notices: &watch::Receiver<Arc<C::Notice>>, stream: &TcpStream) {
        if self.stale && self.out.unsent() == 0 {
            self.stale = false;
            self.notice(now, &notices.borrow().clone());
            self.flush(now, stream);
        }
    }

    fn needs_task(&self) -> bool {
        self.out.unsent() > 0 || self.out.gone.is_some() || !self.out.reports.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use common_messages_sv2::SetupConnectionSuccess;
    use framing_sv2::Header;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::Semaphore,
    };

    use super::*;

    /// Reports the number of each message, and answers once for all of a read.
    struct Echo;

    impl Core for Echo {
        type Notice = ();
        type Report = u8;

        fn handle_frame<S: Sink<Report = u8>>(&mut self, _: Duration, header: Header, _: &[u8], sink: &mut S) {
            sink.report(header.message_type());
        }

        fn finish_input<S: Sink<Report = u8>>(&mut self, _: Duration, sink: &mut S) {
            sink.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        }

        fn handle_notice<S: Sink<Report = u8>>(&mut self, _: Duration, _: &Arc<()>, _: &mut S) {}

        fn poll_timeout(&self) -> Option<Duration> {
            None
        }

        fn handle_timeout<S: Sink<Report = u8>>(&mut self, _: Duration, _: &mut S) {}

        fn outbound_limit(&self) -> usize {
            1024
        }
    }

    /// A connection to a shard whose reports go to `reports`, and what the shard ends with.
    async fn connect(
        reports: mpsc::Sender<u8>,
        shutdown: &Shutdown,
    ) -> (Shard<Echo>, TcpStream, watch::Sender<Arc<()>>) {
        let (notices, notice) = watch::channel(Arc::new(()));
        let shard = Shard::<Echo>::spawn(0, Clock::start(), notice, reports, shutdown.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let second = Duration::from_secs(1);
        let limits = Limits { message_bytes: 100, handshake: second, unsent: second };
        let make = Arc::new(|_, _| Echo);
        let service = Arc::new(Service { security: Security::Plain, limits, make });
        shard.serve(Accepted { stream, peer, permit }, service);
        (shard, client, notices)
    }

    fn messages(numbers: std::ops::RangeInclusive<u8>) -> Vec<u8> {
        numbers.flat_map(|number| Header::new(0, false, number, 0).unwrap().to_bytes()).collect()
    }

    #[tokio::test]
    async fn frames_before_a_malformed_one_are_answered() {
        let (reports, mut taken) = mpsc::channel(1);
        let shutdown = Shutdown::new();
        let (shard, mut client, _notices) = connect(reports, &shutdown).await;
        let mut bytes = messages(1..=1);
        bytes.extend(Header::new(0, false, 2, 101).unwrap().to_bytes());
        client.write_all(&bytes).await.unwrap();
        assert_eq!(taken.recv().await, Some(1));
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), 12, "one SetupConnection.Success, then the end: {answer:?}");
        shutdown.cancel();
        shard.join();
    }

    #[tokio::test]
    async fn what_was_found_reaches_the_role_although_all_ends() {
        let (reports, mut taken) = mpsc::channel(1);
        let shutdown = Shutdown::new();
        let (shard, mut client, _notices) = connect(reports, &shutdown).await;
        // Four messages in one read, and room for one report.
        client.write_all(&messages(1..=4)).await.unwrap();
        assert_eq!(taken.recv().await, Some(1));
        shutdown.cancel();
        let mut rest = Vec::new();
        while let Some(report) = taken.recv().await {
            rest.push(report);
        }
        assert_eq!(rest, [2, 3, 4]);
        shard.join();
    }
}
