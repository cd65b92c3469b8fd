//! Why a connection ended, and through whose fault.

use std::{io, time::Duration};

use noise_sv2::CertificateError;

/// What a connection was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Opening the TCP connection.
    Connect,
    /// Agreeing on keys.
    Handshake,
    /// Exchanging messages.
    Messages,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "the TCP connect",
            Self::Handshake => "the noise handshake",
            Self::Messages => "the exchange of messages",
        })
    }
}

/// Why a connection could not be made, or ended.
///
/// All but [`Message`](Self::Message) and [`QueueFull`](Self::QueueFull) mean that the connection is over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No TCP connection: wrong address, nothing listens there, or no route.
    #[error("cannot connect to {address}: {source}; is the address right and the server up?")]
    Connect {
        /// The address as given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The peer took too long.
    #[error("expected {phase} to be done within {after:?}, the peer did not answer in time")]
    Timeout {
        /// What it was late for.
        phase: Phase,
        /// The deadline.
        after: Duration,
    },
    /// The peer closed the connection between two frames, or before or in the handshake.
    #[error("the peer closed the connection during {0}")]
    Closed(Phase),
    /// The peer closed the connection in the middle of a frame.
    #[error("the peer closed the connection inside a frame, {missing} bytes before its next part was complete")]
    Truncated {
        /// Bytes that were still awaited.
        missing: usize,
    },
    /// The network failed, or the peer reset the connection.
    #[error("the connection failed during {phase}: {source}")]
    Io {
        /// What it was doing.
        phase: Phase,
        /// What the system said.
        source: io::Error,
    },
    /// The server's certificate was refused. Not a passing fault: retrying will not help until key, clock or server change.
    #[error("the server's certificate was refused: {0}")]
    Certificate(CertificateError),
    /// Bytes that do not authenticate: another protocol, or changed on the way.
    #[error("cannot decrypt during {phase}: {source}; does the peer speak encrypted Stratum V2?")]
    Decrypt {
        /// What it was doing.
        phase: Phase,
        /// Which part failed.
        source: noise_sv2::Error,
    },
    /// The peer announced a frame over this connection's limit.
    #[error("oversized frame: {0}")]
    Oversized(codec_sv2::Error),
    /// A message of ours that cannot be encoded. The connection is unharmed.
    #[error("cannot send: {0}")]
    Message(codec_sv2::Error),
    /// The peer does not read: too much waits to be sent. The message was not queued.
    #[error("expected at most {limit} bytes waiting for a slow peer, got {queued}")]
    QueueFull {
        /// The limit, in bytes.
        limit: usize,
        /// Bytes waiting.
        queued: usize,
    },
}

impl Error {
    /// One word for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "timeout",
            Self::Closed(_) => "closed",
            Self::Truncated { .. } => "truncated",
            Self::Io { .. } => "io",
            Self::Certificate(_) => "certificate",
            Self::Decrypt { .. } => "decrypt",
            Self::Oversized(_) => "oversized",
            Self::Message(_) => "message",
            Self::QueueFull { .. } => "queue-full",
        }
    }

    pub(crate) fn noise(phase: Phase, error: noise_sv2::Error) -> Self {
        match error {
            noise_sv2::Error::Certificate(error) => Self::Certificate(error),
            source => Self::Decrypt { phase, source },
        }
    }

    /// The socket failed in this phase; the end of the stream is [`Closed`](Self::Closed).
    pub fn io(phase: Phase, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed(phase),
            _ => Self::Io { phase, source },
        }
    }

    /// An error of a decoder, other than that bytes are missing.
    pub(crate) fn decode(error: codec_sv2::Error) -> Self {
        match error {
            codec_sv2::Error::Noise(source) => Self::noise(Phase::Messages, source),
            error => Self::Oversized(error),
        }
    }
}
