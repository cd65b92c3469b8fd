//! A connection on a TCP socket, and its two halves.

use std::{sync::Arc, time::Duration};

use binary_sv2::{Encodable, Message};
use framing_sv2::{Header, Sv2Frame};
use noise_sv2::{AuthorityPublicKey, ServerIdentity};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, timeout_at},
};

use crate::{
    Error, FrameDecoder, FrameQueue, HANDSHAKE_TIMEOUT, KeyLog, Phase,
    handshake::{initiate_until, respond_logging_keys},
    wire::{encrypted, plain},
};

/// How a client protects its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Nothing is encrypted. The specification allows it on a local network only.
    Plain,
    /// Noise.
    Noise {
        /// The key that must have signed the server's certificate. Without one, anyone on the way can pose as the
        /// server.
        authority: Option<AuthorityPublicKey>,
    },
}

/// How a server protects its connections.
#[derive(Debug, Clone)]
pub enum ServerSecurity {
    /// Nothing is encrypted. The specification allows it on a local network only.
    Plain,
    /// Noise, with what the server shows in the handshake.
    Noise(Arc<ServerIdentity>),
}

/// An open connection, past its handshake.
#[derive(Debug)]
pub struct Connection {
    reader: FrameReader,
    writer: FrameWriter,
}

impl Connection {
    /// Connects to `address`, `host:port` as `noise_sv2::url::EndpointUrl::address` gives it, with the default deadline of [`HANDSHAKE_TIMEOUT`].
    pub async fn connect(address: &str, security: Security) -> Result<Self, Error> {
        Self::connect_within(address, security, HANDSHAKE_TIMEOUT).await
    }

    /// Connects to `address`; name resolution, TCP and handshake together take no longer than `deadline`.
    pub async fn connect_within(address: &str, security: Security, deadline: Duration) -> Result<Self, Error> {
        Self::connect_logging_keys(address, security, deadline, None).await
    }

    /// [`connect_within`](Self::connect_within) for debugging: with a key log, the connection's secret keys go there.
    pub async fn connect_logging_keys(
        address: &str,
        security: Security,
        deadline: Duration,
        key_log: Option<&KeyLog>,
    ) -> Result<Self, Error> {
        let end = Instant::now() + deadline;
        let late = Error::Timeout { phase: Phase::Connect, after: deadline };
        let mut stream = match timeout_at(end, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => return Err(Error::Connect { address: address.to_owned(), source }),
            Err(_) => return Err(late),
        };
        no_delay(&stream)?;
        let (decoder, queue) = match security {
            Security::Plain => plain(),
            Security::Noise { authority } => {
                encrypted(initiate_until(&mut stream, authority, end, deadline, key_log).await?)
            }
        };
        Ok(Self::from_parts(stream, decoder, queue))
    }

    /// Takes over a connection that a listener accepted, with the default deadline of [`HANDSHAKE_TIMEOUT`].
    pub async fn accept(stream: TcpStream, security: ServerSecurity) -> Result<Self, Error> {
        Self::accept_within(stream, security, HANDSHAKE_TIMEOUT).await
    }

    /// Takes over a connection that a listener accepted; the handshake takes no longer than `deadline`.
    pub async fn accept_within(stream: TcpStream, security: ServerSecurity, deadline: Duration) -> Result<Self, Error> {
        Self::accept_logging_keys(stream, security, deadline, None).await
    }

    /// [`accept_within`](Self::accept_within) for debugging: with a key log, the connection's secret keys go there.
    pub async fn accept_logging_keys(
        mut stream: TcpStream,
        security: ServerSecurity,
        deadline: Duration,
        key_log: Option<&KeyLog>,
    ) -> Result<Self, Error> {
        no_delay(&stream)?;
        let (decoder, queue) = match security {
            ServerSecurity::Plain => plain(),
            ServerSecurity::Noise(identity) => {
                encrypted(respond_logging_keys(&mut stream, &identity, deadline, key_log).await?)
            }
        };
        Ok(Self::from_parts(stream, decoder, queue))
    }

    /// A connection from a socket and the state of its two directions.
    pub fn from_parts(stream: TcpStream, decoder: FrameDecoder, queue: FrameQueue) -> Self {
        let (read, write) = stream.into_split();
        Self { reader: FrameReader { io: read, decoder }, writer: FrameWriter { io: write, queue } }
    }

    /// Takes the connection apart, for a driver that owns many sockets; see [`wire`](crate::wire). What was received
    /// but not read stays in the decoder, what was not flushed in the queue.
    pub fn into_parts(self) -> Result<(TcpStream, FrameDecoder, FrameQueue), Error> {
        let stream = self
            .reader
            .io
            .reunite(self.writer.io)
            .map_err(|error| Error::Io { phase: Phase::Messages, source: std::io::Error::other(error) })?;
        Ok((stream, self.reader.decoder, self.writer.queue))
    }

    /// The two directions, for two tasks.
    pub fn split(self) -> (FrameReader, FrameWriter) {
        (self.reader, self.writer)
    }

    /// The peer's address, while the socket knows it.
    pub fn peer_addr(&self) -> Option<std::net::SocketAddr> {
        self.reader.io.peer_addr().ok()
    }

    /// The receiving half.
    pub fn reader(&mut self) -> &mut FrameReader {
        &mut self.reader
    }

    /// The sending half.
    pub fn writer(&mut self) -> &mut FrameWriter {
        &mut self.writer
    }

    /// See [`FrameReader::set_max_payload`].
    pub fn set_max_payload(&mut self, bytes: u32) {
        self.reader.set_max_payload(bytes);
    }

    /// See [`FrameReader::read_frame`].
    pub async fn read_frame(&mut self) -> Result<Sv2Frame<'_>, Error> {
        self.reader.read_frame().await
    }

    /// See [`FrameWriter::send`].
    pub async fn send<M: Message>(&mut self, message: &M) -> Result<(), Error> {
        self.writer.send(message).await
    }
}

/// Small messages must not wait for the answer to earlier ones.
fn no_delay(stream: &TcpStream) -> Result<(), Error> {
    stream.set_nodelay(true).map_err(|source| Error::io(Phase::Connect, source))
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct FrameReader<R = OwnedReadHalf> {
    io: R,
    decoder: FrameDecoder,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A half over any byte stream.
    pub fn new(io: R, decoder: FrameDecoder) -> Self {
        Self { io, decoder }
    }

    /// Refuses payloads over `bytes` from the next header on.
    pub fn set_max_payload(&mut self, bytes: u32) {
        self.decoder.set_max_payload(bytes);
    }

    /// Waits for the next frame and lends it.
    ///
    /// Cancel-safe: dropped before it is done, it has lost nothing, and the next call goes on. An error is final.
    pub async fn read_frame(&mut self) -> Result<Sv2Frame<'_>, Error> {
        while self.decoder.ready()?.is_none() {
            let count = self.io.read(self.decoder.writable()).await.map_err(failed)?;
            if count == 0 {
                return Err(self.decoder.closed());
            }
            self.decoder.advance(count);
        }
        self.decoder.next_frame()?.ok_or(Error::Closed(Phase::Messages))
    }

    /// The next frame if it was received already, without waiting.
    pub fn buffered_frame(&mut self) -> Result<Option<Sv2Frame<'_>>, Error> {
        self.decoder.next_frame()
    }
}

/// The sending half of a connection. What is queued leaves with the next [`flush`](Self::flush), in one write.
#[derive(Debug)]
pub struct FrameWriter<W = OwnedWriteHalf> {
    io: W,
    queue: FrameQueue,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A half over any byte stream.
    pub fn new(io: W, queue: FrameQueue) -> Self {
        Self { io, queue }
    }

    /// Queues `message` and sends all that is queued.
    ///
    /// Dropped before it is done, the message stays queued and goes out with the next flush.
    pub async fn send<M: Message>(&mut self, message: &M) -> Result<(), Error> {
        self.queue.push(message)?;
        self.flush().await
    }

    /// Encrypts `message` into the queue. Nothing is sent yet.
    pub fn queue<M: Message>(&mut self, message: &M) -> Result<(), Error> {
        self.queue.push(message)
    }

    /// Queues a value under a given header, for values whose message type is known at run time only.
    pub fn queue_value(&mut self, header: Header, value: &(impl Encodable + ?Sized)) -> Result<(), Error> {
        self.queue.push_value(header, value)
    }

    /// Queues a frame that was received or prepared.
    pub fn queue_frame(&mut self, frame: &Sv2Frame<'_>) -> Result<(), Error> {
        self.queue.push_frame(frame)
    }

    /// Bytes that wait to be sent.
    pub fn queued(&self) -> usize {
        self.queue.pending().len()
    }

    /// See [`FrameQueue::set_limit`].
    pub fn set_queue_limit(&mut self, bytes: usize) {
        self.queue.set_limit(bytes);
    }

    /// Sends all that is queued. Cancel-safe: what was not written stays queued.
    pub async fn flush(&mut self) -> Result<(), Error> {
        while !self.queue.pending().is_empty() {
            let count = self.io.write(self.queue.pending()).await.map_err(failed)?;
            if count == 0 {
                return Err(Error::Closed(Phase::Messages));
            }
            self.queue.sent(count);
        }
        self.io.flush().await.map_err(failed)
    }

    /// Flushes, then tells the peer that nothing more will come.
    pub async fn shutdown(&mut self) -> Result<(), Error> {
        self.flush().await?;
        self.io.shutdown().await.map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io(Phase::Messages, error)
}
