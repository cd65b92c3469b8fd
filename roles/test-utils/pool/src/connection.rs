//! Drives one connection: a socket on one side, a [`Session`] and a [`Script`] on the other.

use std::time::Duration;

use framing_sv2::{Header, Sv2Frame};
use network_helpers::{Connection, Error, FrameDecoder, FrameQueue, HANDSHAKE_TIMEOUT, ServerSecurity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    core::{Counts, End, Session},
    jobs::Round,
    script::{Act, Script, When, number},
    server::Clock,
};

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// The client or the rules ended it.
    #[error("{0}")]
    End(#[from] End),
    /// The script did.
    #[error("as the script says")]
    Script,
    /// It did not come about, or broke.
    #[error("{0}")]
    Network(#[from] Error),
    /// The same, below frames.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The pool is gone.
    #[error("the pool ended")]
    Pool,
}

/// What all of a connection's surroundings give it.
pub(crate) struct Context<F> {
    pub security: ServerSecurity,
    pub clock: Clock,
    pub rounds: watch::Receiver<Round>,
    /// Told what happened.
    pub count: F,
}

/// Serves a connection to its end.
pub(crate) async fn serve<F: FnMut(Counts)>(
    mut stream: TcpStream,
    session: impl FnOnce(Duration) -> Session,
    mut script: Script,
    context: Context<F>,
) -> Result<(), Stop> {
    for act in script.take(When::Accepted) {
        match act {
            Act::Wait(time) => sleep(time).await,
            Act::Raw(bytes) => stream.write_all(&bytes).await?,
            Act::Silence | Act::Deaf => return until_closed(&mut stream).await,
            Act::Reset => return reset(&stream),
            Act::Close => return close(&mut stream).await,
            // There is no message yet, nor anything to put one into.
            Act::Nothing | Act::Send(_) | Act::Again | Act::Patch { .. } | Act::Truncate(_) => {}
        }
    }
    let connection = Connection::accept_within(stream, context.security.clone(), HANDSHAKE_TIMEOUT).await?;
    let (stream, decoder, queue) = connection.into_parts()?;
    let session = session(context.clock.now());
    let mut driver = Driver { stream, decoder, queue, session, script, silent: false, deaf: false };
    driver.run(context).await
}

/// Waits for the client to give up.
async fn until_closed(stream: &mut TcpStream) -> Result<(), Stop> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await? > 0 {}
    Err(Stop::Script)
}

/// Says that nothing more comes. What the client still sends is read, or the system would reset the connection.
async fn close(stream: &mut TcpStream) -> Result<(), Stop> {
    stream.shutdown().await?;
    until_closed(stream).await
}

/// Has the socket send a reset instead of an orderly end when it is dropped.
fn reset(stream: &TcpStream) -> Result<(), Stop> {
    stream.set_zero_linger()?;
    Err(Stop::Script)
}

struct Driver {
    stream: TcpStream,
    decoder: FrameDecoder,
    queue: FrameQueue,
    session: Session,
    script: Script,
    silent: bool,
    deaf: bool,
}

enum Input {
    Bytes(usize),
    Round(bool),
    Timeout,
}

impl Driver {
    async fn run<F: FnMut(Counts)>(&mut self, mut context: Context<F>) -> Result<(), Stop> {
        context.rounds.mark_unchanged();
        loop {
            let deadline = self.session.poll_timeout().map(|at| context.clock.instant(at));
            let input = tokio::select! {
                biased;
                read = self.stream.read(self.decoder.writable()), if !self.deaf => Input::Bytes(read?),
                changed = context.rounds.changed() => Input::Round(changed.is_ok()),
                () = until(deadline) => Input::Timeout,
            };
            let now = context.clock.now();
            let result = match input {
                Input::Bytes(0) => Err(self.decoder.closed().into()),
                Input::Bytes(count) => {
                    self.decoder.advance(count);
                    self.frames(now, &mut context.count).await
                }
                Input::Round(true) => {
                    let round = context.rounds.borrow_and_update().clone();
                    self.session.handle_round(now, &round);
                    Ok(())
                }
                Input::Round(false) => Err(Stop::Pool),
                Input::Timeout => self.session.handle_timeout(now).map_err(Stop::End),
            };
            self.transmit(&mut context.count).await?;
            result?;
        }
    }

    async fn frames(&mut self, now: Duration, count: &mut impl FnMut(Counts)) -> Result<(), Stop> {
        while let Some(frame) = self.decoder.next_frame()? {
            let frame = frame.into_owned();
            for act in self.script.take(When::Arrived(number(frame.header()))) {
                self.perform(act, Some(&frame)).await?;
            }
            let result = self.session.handle_frame(now, frame.header(), frame.payload());
            self.transmit(count).await?;
            result?;
        }
        Ok(())
    }

    /// Sends what the session wants to say, as far as the script lets it.
    async fn transmit(&mut self, count: &mut impl FnMut(Counts)) -> Result<(), Stop> {
        // Told first: who waits for a share to be counted may not wait for the answer to leave.
        count(self.session.take_counts());
        for frame in self.session.take_sent() {
            let number = number(frame.header());
            for act in self.script.take(When::Before(number)) {
                self.perform(act, Some(&frame)).await?;
            }
            match self.script.take(When::Instead(number)) {
                acts if acts.is_empty() => self.queue(&frame)?,
                acts => {
                    for act in acts {
                        self.perform(act, Some(&frame)).await?;
                    }
                }
            }
            for act in self.script.take(When::After(number)) {
                self.perform(act, Some(&frame)).await?;
            }
        }
        self.flush().await
    }

    async fn perform(&mut self, act: Act, at_hand: Option<&Sv2Frame<'static>>) -> Result<(), Stop> {
        match (act, at_hand) {
            (Act::Nothing, _) => {}
            (Act::Wait(time), _) => {
                self.flush().await?;
                sleep(time).await;
            }
            (Act::Silence, _) => {
                self.flush().await?;
                self.silent = true;
            }
            (Act::Deaf, _) => self.deaf = true,
            (Act::Send(frame), _) => self.queue(&frame)?,
            (Act::Again, Some(frame)) => self.queue(frame)?,
            (Act::Patch { at, with }, Some(frame)) => self.queue(&patched(frame, at, &with))?,
            (Act::Truncate(len), Some(frame)) => self.queue(&truncated(frame, len))?,
            (Act::Again | Act::Patch { .. } | Act::Truncate(_), None) => {}
            (Act::Raw(bytes), _) => {
                self.flush().await?;
                self.stream.write_all(&bytes).await?;
            }
            (Act::Close, _) => {
                self.flush().await?;
                return close(&mut self.stream).await;
            }
            (Act::Reset, _) => return reset(&self.stream),
        }
        Ok(())
    }

    fn queue(&mut self, frame: &Sv2Frame<'_>) -> Result<(), Stop> {
        if self.silent {
            return Ok(());
        }
        Ok(self.queue.push_frame(frame)?)
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        while !self.queue.pending().is_empty() {
            let count = self.stream.write(self.queue.pending()).await?;
            self.queue.sent(count);
        }
        Ok(())
    }
}

fn patched(frame: &Sv2Frame<'static>, at: usize, with: &[u8]) -> Sv2Frame<'static> {
    let mut payload = frame.payload().to_vec();
    for (byte, with) in payload.iter_mut().skip(at).zip(with) {
        *byte = *with;
    }
    reframed(frame.header(), payload)
}

fn truncated(frame: &Sv2Frame<'static>, len: usize) -> Sv2Frame<'static> {
    let payload = frame.payload().get(..len).unwrap_or(frame.payload());
    reframed(frame.header(), payload.to_vec())
}

/// The payload is no longer than one that was framed before, so it fits.
fn reframed(header: Header, payload: Vec<u8>) -> Sv2Frame<'static> {
    Header::new(header.extension_type(), header.channel_msg(), header.message_type(), payload.len())
        .and_then(|header| Sv2Frame::new(header, payload))
        .expect("a payload that is no longer than before")
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
