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

/// Time for the last solutions to leave when the user has gone, and for the Template Provider to have read them.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Bytes that may wait for a Template Provider that does not read; what is sent is small, so this is a stall.
const OUTGOING_LIMIT: usize = 4 << 20;

/// Starts the task of one subscription. It ends when the receiver of events is dropped, and solutions that were handed in before have left.
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
                Input::Ended => return self.last_words().await,
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

    /// The user has gone: solutions that it handed in still go out. There is no other way for them: no file is made of a block
    /// that a next process could hand in here.
    async fn last_words(mut self) {
        // Kept to the end, which is what the user may wait for.
        let Some(mut commands) = self.commands.take() else { return self.deliver([]).await };
        let leftover = std::iter::from_fn(|| commands.try_recv().ok());
        let solutions = leftover.filter(|command| matches!(command, Command::SubmitSolution(_)));
        self.deliver(solutions.collect::<Vec<_>>()).await;
    }

    async fn deliver(&mut self, solutions: impl IntoIterator<Item = Command>) {
        let deliver = async {
            for solution in solutions {
                self.command(solution).map_err(|reason| reason.to_string())?;
                // One at a time, so that there is always room.
                self.flush().await?;
            }
            self.flush().await?;
            // What the other side has not read when a connection is closed may be lost to it.
            if let Link::Open { reader, writer } = &mut self.link {
                writer.shutdown().await.map_err(|error| error.to_string())?;
                while reader.read_frame().await.is_ok() {}
            }
            Ok::<_, String>(())
        };
        match tokio::time::timeout(LAST_WORDS, deliver).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => tracing::error!("the last solutions did not reach the Template Provider: {reason}"),
            Err(_) => tracing::warn!("the Template Provider did not end the connection within {LAST_WORDS:?}"),
        }
    }

    async fn flush(&mut self) -> Result<(), String> {
        if let Link::Open { writer, .. } = &mut self.link {
            writer.flush().await.map_err(|error| error.to_string())?;
            self.core.flushed();
        }
        // Nobody reads them any more.
        while self.core.poll_event().is_some() {}
        Ok(())
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

#[cfg(test)]
mod tests {
    use binary_sv2::{B0_64K, B0_255, Seq0_255, U256};
    use bitcoin::{BlockHash, hashes::Hash};
    use common_messages_sv2::SetupConnectionSuccess;
    use network_helpers::ServerSecurity;
    use template_distribution_sv2::{NewTemplate, SetNewPrevHash, SubmitSolution, TemplateDistribution};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Solution, TemplateId};

    /// A Template Provider that has told of one template, and the subscription of its client.
    async fn serving() -> (Connection, Subscription, TemplateId) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("stratum2+tcp://{}", listener.local_addr().unwrap());
        let mut subscription = subscribe(url.parse().unwrap(), Constraints::default());
        let (stream, _) = listener.accept().await.unwrap();
        let mut provider = Connection::accept(stream, ServerSecurity::Plain).await.unwrap();
        provider.read_frame().await.unwrap();
        provider.send(&SetupConnectionSuccess { used_version: 2, flags: 0 }).await.unwrap();
        provider.read_frame().await.unwrap();
        let template = NewTemplate {
            template_id: 5,
            future_template: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: B0_255::try_from(&[2, 0x2c, 0x01]).unwrap(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: B0_64K::EMPTY,
            coinbase_tx_locktime: 299,
            merkle_path: Seq0_255::try_from_iter([]).unwrap(),
        };
        let prev_hash = U256::from_le_bytes([9; 32]);
        let (header_timestamp, n_bits, target) = (1_800_000_000, 0x207f_ffff, U256::MAX);
        let tip = SetNewPrevHash { template_id: 5, prev_hash, header_timestamp, n_bits, target };
        provider.send(&template).await.unwrap();
        provider.send(&tip).await.unwrap();
        loop {
            if let Event::Tip(tip) = subscription.events.recv().await.unwrap() {
                return (provider, subscription, tip.template_id);
            }
        }
    }

    fn solution(template_id: TemplateId, nonce: u32) -> Command {
        Command::SubmitSolution(Solution {
            template_id,
            hash: BlockHash::hash(&nonce.to_le_bytes()),
            version: 0x2000_0000,
            header_timestamp: 1_800_000_001,
            header_nonce: nonce,
            coinbase_tx: vec![7; 100],
        })
    }

    #[tokio::test]
    async fn solutions_that_were_handed_in_leave_although_the_user_goes() {
        let (mut provider, subscription, template) = serving().await;
        let Subscription { events, commands } = subscription;
        let count = COMMAND_QUEUE as u32;
        (0..count).for_each(|nonce| commands.try_send(solution(template, nonce)).unwrap());
        drop(events);
        for nonce in 0..count {
            let frame = provider.read_frame().await.unwrap();
            let message = TemplateDistribution::decode(frame.header().message_type(), frame.payload()).unwrap();
            let TemplateDistribution::SubmitSolution(SubmitSolution { template_id: 5, header_nonce, .. }) = message
            else {
                panic!("{message:?}")
            };
            assert_eq!(header_nonce, nonce);
        }
        assert!(provider.read_frame().await.is_err(), "that was all");
        // The user may wait until it has ended; the Template Provider has it end.
        assert!(!commands.is_closed());
        drop(provider);
        commands.closed().await;
    }

    #[tokio::test]
    async fn without_a_connection_it_ends_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("stratum2+tcp://{}", listener.local_addr().unwrap());
        drop(listener);
        let Subscription { events, commands } = subscribe(url.parse().unwrap(), Constraints::default());
        commands.try_send(solution(TemplateId(1), 1)).unwrap();
        drop(events);
        commands.closed().await;
    }
}
