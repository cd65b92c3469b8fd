//! Moves bytes, events and time between a [`Core`] and the outside. It takes no decisions.

use std::{future::pending, pin::Pin, time::Duration};

use binary_sv2::Message;
use network_helpers::{Connection, Error, FrameReader, FrameWriter, Security};
use noise_sv2::url::EndpointUrl;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Close, Core, STEP_DEADLINE, SendError, Sink, Step};
use crate::{COMMAND_QUEUE, Command, Constraints, EVENT_QUEUE, Event, Subscription};

/// Bytes that may wait for a Template Provider that does not read; what is sent is small, so this is a stall.
const OUTGOING_LIMIT: usize = 4 << 20;

/// Starts the task of one subscription. It ends when the receiver of events is dropped.
pub(super) fn subscribe(url: EndpointUrl, constraints: Constraints) -> Subscription {
    let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
    let (commands, command_receiver) = mpsc::channel(COMMAND_QUEUE);
    tokio::spawn(async move {
        let driver = Driver {
            start: Instant::now(),
            core: Core::new(Duration::ZERO, url, constraints),
            link: Link::None,
            commands: Some(command_receiver),
        };
        driver.run(event_sender).await;
    });
    Subscription { events, commands }
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, Error>> + Send>>;

enum Link {
    None,
    Connecting(Connecting),
    Open { reader: FrameReader, writer: FrameWriter },
}

/// Takes messages for the open connection; there is none to send to otherwise, and a core then sends nothing.
struct Outgoing<'a>(Option<&'a mut FrameWriter>);

impl Sink for Outgoing<'_> {
    fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError> {
        let Some(writer) = &mut self.0 else { return Ok(()) };
        writer.queue(message).map_err(|error| SendError { message: M::NAME, reason: error.to_string() })
    }
}

struct Driver {
    start: Instant,
    core: Core,
    link: Link,
    /// Gone when the user has dropped its end; events may still be wanted.
    commands: Option<mpsc::Receiver<Command>>,
}

/// What happened first.
enum Input {
    Ended,
    Told,
    Timeout,
    Connected(Result<Connection, Error>),
    Flushed(Result<(), Error>),
    Command(Option<Command>),
    /// A frame was handled.
    Frame(Result<(), Close>),
}

impl Driver {
    async fn run(mut self, events: mpsc::Sender<Event>) {
        loop {
            let result = match self.next(&events).await {
                Input::Ended => return,
                Input::Told => Ok(()),
                Input::Timeout => self.timeout(),
                Input::Connected(result) => self.connected(result),
                Input::Flushed(result) => result.map(|()| self.core.flushed()).map_err(broken),
                Input::Command(Some(command)) => self.command(command),
                Input::Command(None) => {
                    self.commands = None;
                    Ok(())
                }
                Input::Frame(result) => result,
            };
            if let Err(reason) = result {
                self.link = Link::None;
                self.core.closed(self.start.elapsed(), reason);
            }
        }
    }

    async fn next(&mut self, events: &mpsc::Sender<Event>) -> Input {
        let Self { start, core, link, commands } = self;
        let deadline = core.poll_timeout();
        let wants_input = core.wants_input();
        let has_events = core.has_events();
        let (connecting, reader, mut writer) = match link {
            Link::None => (None, None, None),
            Link::Connecting(connecting) => (Some(connecting), None, None),
            Link::Open { reader, writer } => (None, Some(reader), Some(writer)),
        };
        let unsent = writer.as_ref().is_some_and(|writer| writer.queued() > 0);
        tokio::select! {
            biased;
            () = events.closed() => Input::Ended,
            permit = events.reserve(), if has_events => {
                if let (Ok(permit), Some(event)) = (permit, core.poll_event()) {
                    permit.send(event);
                }
                Input::Told
            }
            result = flush(writer.as_deref_mut()), if unsent => Input::Flushed(result),
            () = timer(*start, deadline) => Input::Timeout,
            result = established(connecting) => Input::Connected(result),
            command = next_command(commands.as_mut()), if wants_input => Input::Command(command),
            frame = read(reader), if wants_input => Input::Frame(match frame {
                // The only place where the frame, lent by the reader, is at hand.
                Ok(frame) => core.handle_frame(start.elapsed(), &frame, &mut Outgoing(writer)),
                Err(error) => Err(broken(error)),
            }),
        }
    }

    fn timeout(&mut self) -> Result<(), Close> {
        match self.core.handle_timeout(self.start.elapsed()) {
            Step::Wait => Ok(()),
            Step::Close(reason) => Err(reason),
            Step::Connect(url) => {
                self.link = Link::Connecting(Box::pin(async move {
                    let security = match url.authority() {
                        Some(key) => Security::Noise { authority: Some(key) },
                        None => Security::Plain,
                    };
                    Connection::connect_within(&url.address(), security, STEP_DEADLINE).await
                }));
                Ok(())
            }
        }
    }

    fn connected(&mut self, result: Result<Connection, Error>) -> Result<(), Close> {
        let (reader, mut writer) = result.map_err(broken)?.split();
        writer.set_queue_limit(OUTGOING_LIMIT);
        let now = self.start.elapsed();
        let result = self.core.connected(now, &mut Outgoing(Some(&mut writer)));
        self.link = Link::Open { reader, writer };
        result
    }

    fn command(&mut self, command: Command) -> Result<(), Close> {
        let writer = match &mut self.link {
            Link::Open { writer, .. } => Some(writer),
            _ => None,
        };
        self.core.handle_command(self.start.elapsed(), command, &mut Outgoing(writer))
    }
}

fn broken(error: Error) -> Close {
    Close::Connection(error.to_string())
}

async fn timer(start: Instant, deadline: Duration) {
    match start.checked_add(deadline) {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

async fn established(connecting: Option<&mut Connecting>) -> Result<Connection, Error> {
    match connecting {
        Some(connecting) => connecting.await,
        None => pending().await,
    }
}

async fn next_command(commands: Option<&mut mpsc::Receiver<Command>>) -> Option<Command> {
    match commands {
        Some(commands) => commands.recv().await,
        None => pending().await,
    }
}

async fn flush(writer: Option<&mut FrameWriter>) -> Result<(), Error> {
    match writer {
        Some(writer) => writer.flush().await,
        None => pending().await,
    }
}

async fn read(reader: Option<&mut FrameReader>) -> Result<framing_sv2::Sv2Frame<'_>, Error> {
    match reader {
        Some(reader) => reader.read_frame().await,
        None => pending().await,
    }
}
