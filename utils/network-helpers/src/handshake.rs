//! The noise handshake over any byte stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use noise_sv2::{ACT1_LENGTH, ACT2_LENGTH, AuthorityPublicKey, Initiator, Responder, ServerIdentity, Transport};
use rand_core::OsRng;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use crate::{Error, KeyLog, Phase};

/// How long a peer may take for a handshake, TCP connect included, unless told otherwise.
///
/// Generous for a slow device on a bad line, and short enough that idle connects do not pile up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connecting side. With `authority`, the server must show a certificate that this key signed.
///
/// Without, anyone on the way can pose as the server.
pub async fn initiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    authority: Option<AuthorityPublicKey>,
    deadline: Duration,
) -> Result<Transport, Error> {
    let end = Instant::now() + deadline;
    initiate_until(stream, authority, end, deadline, None).await
}

/// [`initiate`] with part of the deadline used up, and a key log for debugging.
pub(crate) async fn initiate_until<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    authority: Option<AuthorityPublicKey>,
    end: Instant,
    deadline: Duration,
    key_log: Option<&KeyLog>,
) -> Result<Transport, Error> {
    within(end, deadline, async {
        let (waiting, act1) = Initiator::new(authority, &mut OsRng).map_err(in_handshake)?;
        send(stream, &act1).await?;
        let act2 = receive::<ACT2_LENGTH>(stream).await?;
        let Some(key_log) = key_log else { return waiting.finish(&act2, unix_now()).map_err(in_handshake) };
        let (transport, keys) = waiting.finish_exporting_keys(&act2, unix_now()).map_err(in_handshake)?;
        key_log.write(&act1, &keys).map_err(io_failed)?;
        Ok(transport)
    })
    .await
}

/// The listening side, which shows `identity`.
///
/// Any 64 bytes begin a handshake, so a peer that speaks something else shows only in its first message.
pub async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &ServerIdentity,
    deadline: Duration,
) -> Result<Transport, Error> {
    respond_logging_keys(stream, identity, deadline, None).await
}

/// [`respond`] for debugging: with a key log, the connection's secret keys go there before anything is answered.
pub async fn respond_logging_keys<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &ServerIdentity,
    deadline: Duration,
    key_log: Option<&KeyLog>,
) -> Result<Transport, Error> {
    respond_in_turn(stream, identity, deadline, key_log, std::future::ready(())).await
}

/// [`respond_logging_keys`] that waits for `turn` before it computes, for servers that have more to do than handshakes.
///
/// The deadline holds for all, the wait included.
pub async fn respond_in_turn<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &ServerIdentity,
    deadline: Duration,
    key_log: Option<&KeyLog>,
    turn: impl Future<Output = ()>,
) -> Result<Transport, Error> {
    within(Instant::now() + deadline, deadline, async {
        let act1 = receive::<ACT1_LENGTH>(stream).await?;
        turn.await;
        let responder = Responder::new(identity);
        let (act2, transport) = match key_log {
            None => responder.step(&act1, &mut OsRng).map_err(in_handshake)?,
            Some(key_log) => {
                let (act2, transport, keys) = responder.step_exporting_keys(&act1, &mut OsRng).map_err(in_handshake)?;
                key_log.write(&act1, &keys).map_err(io_failed)?;
                (act2, transport)
            }
        };
        send(stream, &act2).await?;
        Ok(transport)
    })
    .await
}

async fn within<T>(end: Instant, deadline: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = Error::Timeout { phase: Phase::Handshake, after: deadline };
    timeout_at(end, work).await.unwrap_or(Err(late))
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Error> {
    stream.write_all(bytes).await.map_err(io_failed)?;
    stream.flush().await.map_err(io_failed)
}

async fn receive<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(io_failed)?;
    Ok(bytes)
}

fn io_failed(error: std::io::Error) -> Error {
    Error::io(Phase::Handshake, error)
}

fn in_handshake(error: noise_sv2::Error) -> Error {
    Error::noise(Phase::Handshake, error)
}

/// Unix seconds for certificates. A clock outside the range of 32 bits finds every certificate early or expired.
fn unix_now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}
