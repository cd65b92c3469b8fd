//! Drives one connection of Stratum V1.

use std::{io, path::Path, sync::Arc, time::Duration};

use network_helpers::{Error as NetworkError, Phase};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use stratum_runtime::shutdown::Shutdown;
use stratum_v1::line::{LineDecoder, MAX_LINE_FROM_POOL};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    time::{sleep_until, timeout},
};
use tokio_rustls::TlsConnector;

use super::Session;
use crate::{
    link::{MAX_QUEUED_BYTES, Machine, Outcome, TICKS_PER_LINE, WRITE_DEADLINE, ticker},
    session::Settings,
    workers::FoundShare,
};

/// Read at once, in bytes.
const READ: usize = 4 * 1024;

/// A socket, or TLS over one.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects and mines until something ends it.
pub(crate) async fn run(
    machine: &mut Machine,
    settings: Settings,
    password: &str,
    tls: Option<&Path>,
    shutdown: &Shutdown,
) -> Outcome {
    let (url, deadline) = (settings.config.url.clone(), settings.config.deadlines.connect);
    let address = url.address();
    let late = NetworkError::Timeout { phase: Phase::Connect, after: deadline };
    let connected = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Outcome::Shutdown,
        connected = timeout(deadline, connect(&address, url.host(), tls)) => connected,
    };
    match connected {
        Err(_) => late.into(),
        Ok(Err(error)) => NetworkError::io(Phase::Connect, error).into(),
        Ok(Ok(stream)) => mine(machine, settings, password, stream, shutdown).await,
    }
}

async fn connect(address: &str, host: &str, tls: Option<&Path>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(authority) = tls else { return Ok(Box::new(stream)) };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

/// A connection and what is on its way.
struct Link<'a> {
    machine: &'a mut Machine,
    session: Session,
    writer: WriteHalf<Box<dyn Stream>>,
}

async fn mine(
    machine: &mut Machine,
    settings: Settings,
    password: &str,
    stream: Box<dyn Stream>,
    shutdown: &Shutdown,
) -> Outcome {
    let (mut reader, writer) = split(stream);
    // Shares that were found for an earlier connection are of this generation or before.
    let stale = machine.workers.rest();
    let session = Session::new(settings, password, machine.now());
    let mut link = Link { machine, session, writer };
    let (mut lines, mut buffer) = (LineDecoder::new(MAX_LINE_FROM_POOL), vec![0; READ]);
    let mut ticks = ticker();
    let mut until_line = TICKS_PER_LINE;
    loop {
        if let Err(error) = link.flush().await {
            return error.into();
        }
        let deadline = tokio::time::Instant::from_std(link.machine.origin + link.session.poll_timeout());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                let _ = timeout(Duration::from_secs(1), link.good_bye(&mut reader)).await;
                return Outcome::Shutdown;
            }
            () = sleep_until(deadline) => {
                if let Err(end) = link.session.handle_timeout(link.machine.now()) {
                    return end.into();
                }
            }
            _ = ticks.tick() => {
                until_line -= 1;
                link.machine.measure(until_line == 0);
                until_line = if until_line == 0 { TICKS_PER_LINE } else { until_line };
            }
            read = reader.read(&mut buffer) => match read {
                Ok(0) => return NetworkError::Closed(Phase::Messages).into(),
                Ok(count) => {
                    lines.extend(&buffer[..count]);
                    if let Err(outcome) = link.lines(&mut lines) {
                        return outcome;
                    }
                }
                Err(error) => return NetworkError::io(Phase::Messages, error).into(),
            },
            Some(share) = link.machine.workers.next_share() => link.share(share, stale),
        }
    }
}

impl Link<'_> {
    fn lines(&mut self, lines: &mut LineDecoder) -> Result<(), Outcome> {
        loop {
            let line = match lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(error) => return Err(NetworkError::io(Phase::Messages, io::Error::other(error)).into()),
            };
            self.session.handle_line(self.machine.now(), line)?;
            self.obey();
        }
    }

    /// Hands over `share` and all that wait behind it, so that they leave together.
    fn share(&mut self, share: FoundShare, stale: u64) {
        let mut next = Some(share);
        while let Some(share) = next {
            if share.generation > stale {
                self.session.handle_share(self.machine.now(), &share);
            } else {
                self.machine.report(crate::session::Report::Discarded);
            }
            next = self.machine.workers.try_next_share();
        }
        self.obey();
    }

    /// Does what the session says.
    fn obey(&mut self) {
        for report in std::mem::take(self.session.reports()) {
            self.machine.report(report);
        }
    }

    async fn flush(&mut self) -> Result<(), NetworkError> {
        let bytes = std::mem::take(self.session.output());
        if bytes.len() > MAX_QUEUED_BYTES {
            return Err(NetworkError::QueueFull { limit: MAX_QUEUED_BYTES, queued: bytes.len() });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let write = async {
            self.writer.write_all(&bytes).await?;
            self.writer.flush().await
        };
        let late = NetworkError::Timeout { phase: Phase::Messages, after: WRITE_DEADLINE };
        let written = timeout(WRITE_DEADLINE, write).await;
        written.map_err(|_| late)?.map_err(|error| NetworkError::io(Phase::Messages, error))
    }

    /// Waits for the server to end the connection: closing it with answers unread would reset it, and the server might never see
    /// the last shares.
    async fn good_bye(&mut self, reader: &mut ReadHalf<Box<dyn Stream>>) {
        if self.flush().await.is_ok() && self.writer.shutdown().await.is_ok() {
            let mut rest = [0; READ];
            while matches!(reader.read(&mut rest).await, Ok(count) if count > 0) {}
        }
    }
}
