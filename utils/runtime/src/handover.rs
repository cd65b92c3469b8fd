//! A running process hands its listening sockets to the one that takes its place
//! (`docs/adr/0019-a-new-process-takes-over.md`).
//!
//! The running one keeps a Unix socket, for its owner alone, in its data folder. A successor connects, gets the listening sockets, starts to
//! accept on them, and says that it is ready. Only then does the old one stop accepting; until then a successor that fails
//! has done no harm. Both may accept at the same time: the system gives each connection to one of them.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::sockets::Inherited;

/// The socket's name in the data folder.
const NAME: &str = "handover.sock";
/// What a successor says first; the number is the version of this exchange.
const REQUEST: &[u8; 16] = b"stratum-succeed1";
/// What it says when it accepts connections.
const READY: &[u8; 5] = b"ready";
/// Listening sockets that can be handed over: as many as fit into one message of the system's.
pub const MAX_SOCKETS: usize = 64;
/// How long each side waits for the other to say its next word. A successor that takes longer to start has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The running process' side.
#[derive(Debug)]
pub struct Offer {
    socket: UnixListener,
    path: PathBuf,
}

impl Offer {
    /// Offers the sockets of this process to whoever may write to `folder`'s socket: its owner alone. A socket that an
    /// earlier process left there is replaced.
    ///
    /// # Errors
    /// As the system reports; also when the path is longer than an address of a Unix socket may be, about 100 bytes.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { socket, path })
    }

    /// Waits for a successor, gives it `sockets`, and waits until it accepts connections. Those that fail are logged and
    /// change nothing.
    pub async fn handed_over(&self, sockets: &[impl AsFd]) {
        loop {
            let given = async {
                let (mut stream, _) = self.socket.accept().await?;
                give(&mut stream, sockets).await
            };
            match given.await {
                Ok(()) => return,
                Err(error) => tracing::warn!(path = %self.path.display(), "a successor has failed: {error}"),
            }
        }
    }
}

async fn give(stream: &mut UnixStream, sockets: &[impl AsFd]) -> io::Result<()> {
    let mut request = [0; REQUEST.len()];
    within(stream.read_exact(&mut request)).await?;
    if request != *REQUEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks another version"));
    }
    let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).take(MAX_SOCKETS).collect();
    let count = [u8::try_from(fds.len()).unwrap_or(u8::MAX)];
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("too many sockets"));
        }
        Ok(sendmsg(&*stream, &[IoSlice::new(&count)], &mut control, SendFlags::NOSIGNAL)?)
    };
    within(stream.async_io(Interest::WRITABLE, send)).await?;
    let mut ready = [0; READY.len()];
    within(stream.read_exact(&mut ready)).await?;
    Ok(())
}

/// The successor's side, between getting the sockets and accepting on them.
#[derive(Debug)]
pub struct Succession(UnixStream);

impl Succession {
    /// Asks the process that serves `folder` for its listening sockets; `None` when there is no such process.
    ///
    /// # Errors
    /// When there is one and it does not answer as it should.
    pub async fn begin(folder: &Path) -> io::Result<Option<(Self, Inherited)>> {
        let mut stream = match UnixStream::connect(folder.join(NAME)).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        within(stream.write_all(REQUEST)).await?;
        let sockets = within(stream.async_io(Interest::READABLE, || receive(&stream))).await?;
        Ok(Some((Self(stream), Inherited::from_fds(sockets))))
    }

    /// This process accepts connections: the one before may end.
    ///
    /// # Errors
    /// When the other process is gone.
    pub async fn ready(mut self) -> io::Result<()> {
        within(self.0.write_all(READY)).await
    }
}

fn receive(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut count = [0];
    let message = recvmsg(stream, &mut [IoSliceMut::new(&mut count)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = part {
            sockets.extend(fds);
        }
    }
    let complete = message.bytes == 1 && !message.flags.contains(ReturnFlags::CTRUNC);
    if !complete || sockets.len() != usize::from(count[0]) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the process before this one did not pass its sockets"));
    }
    Ok(sockets)
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, step).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn sockets_go_over_and_accept_at_the_other_end() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Succession::begin(folder.path()).await.unwrap().is_none(), "nobody to succeed");
        let offer = Offer::open(folder.path()).unwrap();
        let mode = fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap()];
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let old = async {
            offer.handed_over(&sockets).await;
            drop(sockets);
        };
        let new = async {
            // One that fails changes nothing.
            let failed = Succession::begin(folder.path()).await.unwrap();
            drop(failed);
            let (succession, mut inherited) = Succession::begin(folder.path()).await.unwrap().unwrap();
            let taken = addresses.map(|address| inherited.take(None, address).unwrap());
            succession.ready().await.unwrap();
            taken
        };
        let ((), taken) = tokio::join!(old, new);
        for (listener, address) in taken.iter().zip(addresses) {
            let client = std::net::TcpStream::connect(address).unwrap();
            assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
        }
        drop(offer);
        assert!(Succession::begin(folder.path()).await.unwrap().is_none(), "a socket file without a process");
    }

    #[tokio::test]
    async fn who_speaks_something_else_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let offer = Offer::open(folder.path()).unwrap();
        let sockets = [TcpListener::bind("127.0.0.1:0").unwrap()];
        let stranger = async {
            let mut stream = UnixStream::connect(folder.path().join(NAME)).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            // Closed, or reset with what was not read.
            assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
        };
        tokio::select! {
            () = offer.handed_over(&sockets) => panic!("handed over to a stranger"),
            () = stranger => {}
        }
    }
}
