//! A socket, the noise around it, and the miner behind it.

use std::{
    io::{self, Read as _, Write as _},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::net::TcpStream;
use network_helpers::{FrameDecoder, FrameQueue, Security, wire};
use noise_sv2::{ACT2_LENGTH, Initiator, InitiatorWaiting};
use rand_core::OsRng;
use socket2::{Domain, Protocol, Socket, Type};

use super::Group;
use crate::{
    config::{MAX_MESSAGE_BYTES, SwarmConfig},
    miner::{Context, End, Miner, Submitted},
};

/// Bytes that a slow reader takes at each tick: less than one job.
const SLOW_BYTES: usize = 256;

/// Receive buffer of a slow reader in the system, in bytes, so that the pool feels it soon.
const SLOW_BUFFER: usize = 4 * 1024;

pub(super) struct Connection {
    pub socket: TcpStream,
    pub group: Group,
    /// When it was asked for.
    pub started: Duration,
    index: u64,
    slow: bool,
    link: Link,
}

enum Link {
    Connecting,
    /// Act 1 was sent; `have` bytes of act 2 are there.
    Handshake {
        waiting: Box<InitiatorWaiting>,
        act2: Box<[u8; ACT2_LENGTH]>,
        have: usize,
    },
    Frames {
        decoder: FrameDecoder,
        queue: FrameQueue,
        miner: Miner,
    },
    /// Between two of the others.
    Broken,
}

impl Connection {
    /// Begins to connect.
    pub fn open(config: &SwarmConfig, group: Group, index: u64, now: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(config.pool), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let slow = config.is_slow(index);
        if slow {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        if let Some(source) = config.source(index) {
            socket.bind(&source.into())?;
        }
        match socket.connect(&config.pool.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let socket = TcpStream::from_std(socket.into());
        Ok(Self { socket, group, started: now, index, slow, link: Link::Connecting })
    }

    /// Whether the miner has work.
    pub fn is_live(&self) -> bool {
        matches!(&self.link, Link::Frames { miner, .. } if miner.is_live())
    }

    /// Shares without an answer.
    pub fn in_flight(&self) -> usize {
        match &self.link {
            Link::Frames { miner, .. } => miner.in_flight(),
            _ => 0,
        }
    }

    /// What it waits for.
    pub fn awaits(&self) -> &'static str {
        match &self.link {
            Link::Connecting => "connection",
            Link::Handshake { .. } | Link::Broken => "answer to the handshake",
            Link::Frames { miner, .. } => miner.awaits(),
        }
    }

    /// The socket takes bytes.
    pub fn writable(&mut self, context: &mut Context) -> Result<(), End> {
        match &self.link {
            Link::Connecting => self.connected(context),
            Link::Frames { .. } => self.flush(context),
            Link::Handshake { .. } | Link::Broken => Ok(()),
        }
    }

    fn connected(&mut self, context: &mut Context) -> Result<(), End> {
        if let Some(error) = self.socket.take_error().map_err(broken)? {
            return Err(format!("connect: {}", error.kind()));
        }
        match context.config.security {
            Security::Plain => self.greet(wire::plain(), context),
            Security::Noise { authority } => {
                let (waiting, act1) = Initiator::new(authority, &mut OsRng).map_err(|error| error.to_string())?;
                // The first bytes of a connection always fit.
                match self.socket.write(&act1) {
                    Ok(sent) if sent == act1.len() => {}
                    Ok(_) => return Err("act 1 does not fit the socket".into()),
                    // Not connected yet: the system says so again.
                    Err(error) if not_yet(&error) => return Ok(()),
                    Err(error) => return Err(broken(error)),
                }
                context.stats.bytes.1 += act1.len() as u64;
                self.link = Link::Handshake { waiting: Box::new(waiting), act2: Box::new([0; ACT2_LENGTH]), have: 0 };
                Ok(())
            }
        }
    }

    /// The socket has bytes, or has come to its end.
    pub fn readable(&mut self, origin: Instant, context: &mut Context) -> Result<(), End> {
        match &self.link {
            Link::Handshake { .. } => self.act2(context),
            Link::Frames { .. } if self.slow && self.is_live() => Ok(()),
            Link::Frames { .. } => self.frames(origin, usize::MAX, context),
            Link::Connecting | Link::Broken => Ok(()),
        }
    }

    /// What a slow reader does once in a while; nothing for others.
    pub fn read_slowly(&mut self, origin: Instant, context: &mut Context) -> Result<(), End> {
        match self.slow && self.is_live() {
            true => self.frames(origin, SLOW_BYTES, context),
            false => Ok(()),
        }
    }

    /// Lets the miner send shares.
    pub fn submit(&mut self, now: Duration, wanted: usize, context: &mut Context) -> Result<Submitted, End> {
        let Link::Frames { queue, miner, .. } = &mut self.link else { return Ok(Submitted::NoWork) };
        let submitted = miner.submit(now, wanted, context, queue)?;
        self.flush(context)?;
        Ok(submitted)
    }

    fn act2(&mut self, context: &mut Context) -> Result<(), End> {
        let Link::Handshake { act2, have, .. } = &mut self.link else { return Ok(()) };
        while let Some(room) = act2.get_mut(*have..).filter(|room| !room.is_empty()) {
            match self.socket.read(room) {
                Ok(0) => return Err("closed in the handshake".into()),
                Ok(count) => {
                    *have += count;
                    context.stats.bytes.0 += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(broken(error)),
            }
        }
        let Link::Handshake { waiting, act2, .. } = std::mem::replace(&mut self.link, Link::Broken) else {
            return Ok(());
        };
        let transport = waiting.finish(&act2, unix_now()).map_err(|error| format!("handshake: {error}"))?;
        self.greet(wire::encrypted(transport), context)
    }

    fn greet(
        &mut self,
        (mut decoder, mut queue): (FrameDecoder, FrameQueue),
        context: &mut Context,
    ) -> Result<(), End> {
        decoder.set_max_payload(MAX_MESSAGE_BYTES);
        let miner = Miner::start(&context.config, self.index, &mut queue)?;
        self.link = Link::Frames { decoder, queue, miner };
        self.flush(context)
    }

    /// Reads until nothing is left, or over `most` bytes.
    fn frames(&mut self, origin: Instant, most: usize, context: &mut Context) -> Result<(), End> {
        let Link::Frames { decoder, queue, miner } = &mut self.link else { return Ok(()) };
        let mut left = most;
        while left > 0 {
            let room = decoder.writable();
            let wanted = room.len().min(left);
            let count = match room.get_mut(..wanted).map(|room| self.socket.read(room)) {
                Some(Ok(0)) | None => return Err(decoder.closed().to_string()),
                Some(Ok(count)) => count,
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Some(Err(error)) => return Err(broken(error)),
            };
            decoder.advance(count);
            context.stats.bytes.0 += count as u64;
            left -= count;
            let now = origin.elapsed();
            while let Some(frame) = decoder.next_frame().map_err(|error| error.to_string())? {
                miner.handle(now, frame.header(), frame.payload(), context, queue)?;
            }
            if count < wanted {
                // The socket is empty; the system tells of what comes from now on.
                break;
            }
        }
        self.flush(context)
    }

    fn flush(&mut self, context: &mut Context) -> Result<(), End> {
        let Link::Frames { queue, .. } = &mut self.link else { return Ok(()) };
        while !queue.pending().is_empty() {
            match self.socket.write(queue.pending()) {
                Ok(count) => {
                    queue.sent(count);
                    context.stats.bytes.1 += count as u64;
                }
                Err(error) if not_yet(&error) => break,
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }
}

fn not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

/// In few words: reasons are counted.
fn broken(error: io::Error) -> End {
    error.kind().to_string()
}

fn unix_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
