//! The two directions of a connection: frames, in the clear or with noise, or lines, in the clear or inside TLS.

use std::io::{self, Read, Write};

use binary_sv2::Message;
use network_helpers::{FrameDecoder, FrameQueue};
use rustls::ServerConnection;
use stratum_v1::line::{LineDecoder, MAX_LINE_FROM_MINER};
use tokio::net::TcpStream;

use super::connection::End;

/// Lines that may wait for a peer, in bytes; one more ends the connection. The driver stops reading long before, so that only
/// what a role says by itself gets there.
pub(super) const MAX_UNSENT_LINES: usize = 1024 * 1024;
/// Sent bytes that may stay at the front of a queue before the rest is moved there.
const COMPACT_FROM: usize = 4 * 1024;
/// Buffer that an empty queue keeps.
const KEEP: usize = 1024;
/// The longest TLS record: what is handed to TLS at once.
const RECORD: usize = 16 * 1024;
/// Read at once from a connection of lines, so that what is kept of it stays small.
const READ_LINES: usize = 4 * 1024;

/// What arrives, cut into messages. Lives in the connection's own task.
pub(super) enum Input {
    Frames(FrameDecoder),
    Lines(LineDecoder),
}

impl Input {
    /// Lines of a miner, of which the first bytes are there.
    pub fn lines(first: &[u8]) -> Self {
        let mut decoder = LineDecoder::new(MAX_LINE_FROM_MINER);
        decoder.extend(first);
        Self::Lines(decoder)
    }
}

/// What leaves. Everything queued between two writes leaves in one.
pub(super) enum Wire {
    Frames(FrameQueue),
    Lines(Lines),
}

/// Lines on their way, and the TLS that they are in.
pub(super) struct Lines {
    /// `sent..` is still to be sent.
    bytes: Vec<u8>,
    sent: usize,
    tls: Option<Box<ServerConnection>>,
    /// Of what was sent, bytes that TLS has taken and the socket has not.
    held: usize,
}

impl Lines {
    pub fn new(tls: Option<Box<ServerConnection>>) -> Self {
        Self { bytes: Vec::new(), sent: 0, tls, held: 0 }
    }

    fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    fn push(&mut self, lines: &[u8]) -> Result<(), End> {
        let unsent = self.pending().len();
        if unsent + lines.len() > MAX_UNSENT_LINES {
            return Err(End::because(format_args!("{unsent} bytes unsent: the peer does not read")));
        }
        if self.sent >= COMPACT_FROM && self.sent >= unsent {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(lines);
        Ok(())
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
            self.sent = 0;
        }
    }

    /// Writes what the socket takes; returns how many bytes of lines have left.
    fn write_to(&mut self, stream: &TcpStream) -> io::Result<u64> {
        let Some(mut tls) = self.tls.take() else {
            let mut left = 0;
            while !self.pending().is_empty() {
                match written(stream.try_write(self.pending()))? {
                    None => break,
                    Some(count) => {
                        self.advance(count);
                        left += count as u64;
                    }
                }
            }
            return Ok(left);
        };
        let left = self.write_tls(&mut tls, stream);
        self.tls = Some(tls);
        left
    }

    fn write_tls(&mut self, tls: &mut ServerConnection, stream: &TcpStream) -> io::Result<u64> {
        let mut left = 0;
        loop {
            if !tls.wants_write() {
                left += std::mem::take(&mut self.held) as u64;
                if self.pending().is_empty() {
                    return Ok(left);
                }
                let taken = tls.writer().write(&self.pending()[..self.pending().len().min(RECORD)])?;
                if taken == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.advance(taken);
                self.held = taken;
            }
            if written(tls.write_tls(&mut Socket(stream)))?.is_none() {
                return Ok(left);
            }
        }
    }
}

/// What a write came to; `None` when it has to wait.
fn written(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Wire {
    /// Bytes that wait to leave.
    pub fn unsent(&self) -> usize {
        match self {
            Self::Frames(queue) => queue.pending().len(),
            Self::Lines(lines) => {
                let in_tls = lines.tls.as_ref().is_some_and(|tls| tls.wants_write());
                lines.pending().len() + lines.held.max(usize::from(in_tls))
            }
        }
    }

    pub fn push<M: Message>(&mut self, message: &M) -> Result<(), End> {
        match self {
            Self::Frames(queue) => {
                queue.push(message).map_err(|error| End::because(format_args!("{}: {error}", M::NAME)))
            }
            Self::Lines(_) => Err(End::because("internal error: a frame for a connection that carries lines")),
        }
    }

    pub fn push_lines(&mut self, bytes: &[u8]) -> Result<(), End> {
        match self {
            Self::Lines(lines) => lines.push(bytes),
            Self::Frames(_) => Err(End::because("internal error: lines for a connection that carries frames")),
        }
    }

    /// Writes what the socket takes; returns how many bytes have left.
    pub fn write_to(&mut self, stream: &TcpStream) -> io::Result<u64> {
        let queue = match self {
            Self::Frames(queue) => queue,
            Self::Lines(lines) => return lines.write_to(stream),
        };
        let mut left = 0;
        while !queue.pending().is_empty() {
            let Some(count) = written(stream.try_write(queue.pending()))? else { break };
            queue.sent(count);
            left += count as u64;
        }
        Ok(left)
    }

    /// Nothing follows: TLS tells the peer so.
    pub fn close(&mut self) {
        if let Self::Lines(Lines { tls: Some(tls), .. }) = self {
            tls.send_close_notify();
        }
    }

    /// Reads lines once, through `buffer`. False when nothing had come.
    pub fn read_lines(
        &mut self,
        stream: &TcpStream,
        buffer: &mut [u8],
        decoder: &mut LineDecoder,
    ) -> Result<bool, End> {
        let Self::Lines(lines) = self else { return Ok(false) };
        let buffer = &mut buffer[..READ_LINES];
        let Some(tls) = &mut lines.tls else {
            return match stream.try_read(buffer) {
                Ok(0) => Err(closed()),
                Ok(count) => {
                    decoder.extend(&buffer[..count]);
                    Ok(true)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(End::because(error)),
            };
        };
        match tls.read_tls(&mut Socket(stream)) {
            Ok(0) => return Err(closed()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(End::because(error)),
        }
        tls.process_new_packets().map_err(End::because)?;
        drain(tls, buffer, |bytes| decoder.extend(bytes))?;
        Ok(true)
    }
}

/// Hands out what TLS has decrypted, at most one record more than was read at once.
pub(super) fn drain(tls: &mut ServerConnection, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> Result<(), End> {
    loop {
        match tls.reader().read(buffer) {
            Ok(0) => return Err(closed()),
            Ok(count) => take(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(End::because(error)),
        }
    }
}

pub(super) fn closed() -> End {
    End::because("the peer has closed the connection")
}

/// A socket that does not wait, for TLS.
pub(super) struct Socket<'a>(pub &'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
