//! Moves bytes, events and time between a [`Session`] and the outside. It takes no decisions.

use std::{future::pending, sync::Arc, time::Duration};

use binary_sv2::Message;
use framing_sv2::Sv2Frame;
use network_helpers::{Connection, Error, FrameReader, FrameWriter, KeyLog, ServerSecurity};
use stratum_runtime::{core::Clock, listener::Accepted, shutdown::Shutdown};
use template_source::{
    Command, Event, Subscription, TemplateSource,
    sv2::{SendError, Sink},
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep_until, timeout},
};

use crate::session::{Action, Close, Session, Settings};

/// Bytes that a client must take within the time for unsent bytes, so that a long answer is dropped by its pace and not by
/// its length.
pub const CHUNK: usize = 64 * 1024;

/// Unsent bytes beyond which nothing more is read from a client.
pub const STOP_READING: usize = 256 * 1024;

/// Most unsent bytes: one longest answer, encrypted, and what small messages may add.
const QUEUE_LIMIT: usize = (16 << 20) + 2 * STOP_READING;

/// Time for the last words to a client that is sent away.
const FAREWELL: Duration = Duration::from_secs(5);

/// Time for found blocks to reach the source on shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// What all clients share.
pub(crate) struct Context {
    pub clock: Clock,
    pub settings: Settings,
    pub handshake: Duration,
    /// Where the keys of connections go when something is to be debugged.
    pub key_log: Option<Arc<KeyLog>>,
    pub message_bytes: u32,
    pub unsent: Duration,
    pub source: Arc<dyn TemplateSource>,
    pub shutdown: Shutdown,
    /// Places for clients that are gone while their found blocks are not delivered.
    pub lingering: Arc<Semaphore>,
}

/// Why a client is served no longer.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Connection(#[from] Error),
    #[error("{0}")]
    Session(#[from] Close),
    #[error("expected {CHUNK} bytes, or all, to be taken within {} seconds; {left} bytes wait", .within.as_secs())]
    Unsent { within: Duration, left: usize },
    #[error("shutting down")]
    Shutdown,
}

/// Serves one connection to its end, and its found blocks beyond.
pub(crate) async fn serve(accepted: Accepted, security: ServerSecurity, context: Arc<Context>) {
    let Accepted { stream, permit, .. } = accepted;
    let key_log = context.key_log.as_deref();
    let connection = tokio::select! {
        () = context.shutdown.cancelled() => return,
        connection = Connection::accept_logging_keys(stream, security, context.handshake, key_log) => connection,
    };
    let (mut reader, mut writer) = match connection {
        Ok(connection) => connection.split(),
        Err(error) => return tracing::info!("not connected: {error}"),
    };
    reader.set_max_payload(context.message_bytes);
    writer.set_queue_limit(QUEUE_LIMIT);
    let session = Session::new(context.clock.now(), context.settings);
    let mut client = Client { session, reader, writer, subscription: None, stall: None, context };
    let end = client.run().await;
    tracing::info!("disconnected: {end}");
    let Client { session, reader, mut writer, subscription, context, .. } = client;
    if let End::Session(_) | End::Shutdown = end {
        // Whether the client still listens makes no difference.
        let _ = timeout(FAREWELL, writer.shutdown()).await;
    }
    drop((reader, writer, permit));
    if let Some(subscription) = subscription {
        linger(session, subscription, &context).await;
    }
}

struct Client {
    session: Session,
    reader: FrameReader,
    writer: FrameWriter,
    subscription: Option<Subscription>,
    stall: Option<Stall>,
    context: Arc<Context>,
}

/// Since when the same chunk waits.
struct Stall {
    since: Instant,
    /// Unsent bytes then.
    left: usize,
}

/// What happened first.
enum Input {
    Shutdown,
    Flushed(Result<(), Error>),
    Timeout,
    Event(Option<Event>),
    Command(Result<(), Close>),
    /// A frame was handled.
    Frame(Result<(), End>),
}

struct Outgoing<'a>(&'a mut FrameWriter);

impl Sink for Outgoing<'_> {
    fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError> {
        self.0.queue(message).map_err(|error| SendError { message: M::NAME, reason: error.to_string() })
    }
}

impl Client {
    async fn run(&mut self) -> End {
        loop {
            match self.step().await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        self.subscribe();
        if self.writer.queued() == 0 {
            self.session.transmit(&mut Outgoing(&mut self.writer))?;
        }
        self.check_progress()?;
        match self.next().await {
            Input::Shutdown => return Err(End::Shutdown),
            Input::Flushed(result) => result?,
            Input::Timeout => self.session.handle_timeout(self.context.clock.now())?,
            Input::Event(Some(event)) => self.session.handle_event(self.context.clock.now(), event)?,
            Input::Event(None) => return Err(Close::SourceEnded.into()),
            Input::Command(result) => result?,
            Input::Frame(result) => result?,
        }
        Ok(())
    }

    /// Opens the subscription when the session wants it.
    fn subscribe(&mut self) {
        if self.subscription.is_none()
            && let Some(Action::Subscribe(constraints)) = self.session.poll_action()
        {
            self.subscription = Some(self.context.source.subscribe(constraints));
        }
    }

    fn check_progress(&mut self) -> Result<(), End> {
        let (left, within) = (self.writer.queued(), self.context.unsent);
        match &mut self.stall {
            _ if left == 0 => self.stall = None,
            Some(stall) if left + CHUNK > stall.left => {
                stall.left = stall.left.max(left);
                if stall.since.elapsed() >= within {
                    return Err(End::Unsent { within, left });
                }
            }
            _ => self.stall = Some(Stall { since: Instant::now(), left }),
        }
        Ok(())
    }

    async fn next(&mut self) -> Input {
        let Self { session, reader, writer, subscription, stall, context } = self;
        let due = session.poll_timeout().map(|at| context.clock.instant(at));
        let unsent = stall.as_ref().map(|stall| stall.since + context.unsent);
        let deadline = due.into_iter().chain(unsent).min();
        let (queued, wants_events, has_action) = (writer.queued(), session.wants_events(), session.has_action());
        let (events, commands) = match subscription {
            Some(Subscription { events, commands }) => (Some(events), Some(&*commands)),
            None => (None, None),
        };
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => Input::Shutdown,
            result = writer.flush(), if queued > 0 => Input::Flushed(result),
            () = until(deadline) => Input::Timeout,
            result = room(commands), if has_action => Input::Command(send_command(session, result)),
            event = next_event(events), if wants_events => Input::Event(event),
            frame = reader.read_frame(), if queued < STOP_READING => {
                // The only place where the frame, lent by the reader, is at hand.
                Input::Frame(handle(session, context.clock.now(), frame, writer))
            }
        }
    }
}

fn handle(
    session: &mut Session,
    now: Duration,
    frame: Result<Sv2Frame<'_>, Error>,
    writer: &mut FrameWriter,
) -> Result<(), End> {
    Ok(session.handle_frame(now, &frame?, &mut Outgoing(writer))?)
}

fn send_command(session: &mut Session, room: Option<mpsc::Permit<'_, Command>>) -> Result<(), Close> {
    let room = room.ok_or(Close::SourceEnded)?;
    if let Some(Action::Command(command)) = session.poll_action() {
        room.send(command);
    }
    Ok(())
}

/// Sees the found blocks of a client through that is gone.
async fn linger(mut session: Session, mut subscription: Subscription, context: &Context) {
    session.detach();
    let pending = session.pending_solutions();
    if pending == 0 {
        return;
    }
    let Ok(_place) = context.lingering.try_acquire() else {
        return tracing::error!(
            "{pending} found blocks given up: {} clients left some already",
            crate::LINGERING_CLIENTS
        );
    };
    tracing::info!("{pending} found blocks are still being delivered");
    let mut last_moment = None;
    while session.pending_solutions() > 0 {
        let due = session.poll_timeout().map(|at| context.clock.instant(at));
        let has_action = session.has_action();
        let Subscription { events, commands } = &mut subscription;
        tokio::select! {
            biased;
            () = context.shutdown.cancelled(), if last_moment.is_none() => {
                last_moment = Some(Instant::now() + SHUTDOWN_GRACE);
            }
            () = until(last_moment) => {
                return tracing::error!("{} found blocks were not delivered before the end", session.pending_solutions());
            }
            room = room(Some(&*commands)), if has_action => {
                if send_command(&mut session, room).is_err() {
                    return tracing::error!("found blocks not delivered: the template source has ended");
                }
            }
            event = events.recv() => match event {
                // What a client would be sent away for does not matter any more.
                Some(event) => drop(session.handle_event(context.clock.now(), event)),
                None => return tracing::error!("found blocks not delivered: the template source has ended"),
            },
            () = until(due) => drop(session.handle_timeout(context.clock.now())),
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

async fn next_event(events: Option<&mut mpsc::Receiver<Event>>) -> Option<Event> {
    match events {
        Some(events) => events.recv().await,
        None => pending().await,
    }
}

/// Waits for room for a command; nothing when the source has ended.
async fn room(commands: Option<&mpsc::Sender<Command>>) -> Option<mpsc::Permit<'_, Command>> {
    match commands {
        Some(commands) => commands.reserve().await.ok(),
        None => pending().await,
    }
}
