//! Accepting connections: bounded in number, patient when file descriptors run out.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::shutdown::Shutdown;

/// Pause after an accept that failed, so that a lack of file descriptors does not spin.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A connection that counts against the limit until it is dropped.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, with TCP_NODELAY set.
    pub stream: TcpStream,
    /// Who connected.
    pub peer: SocketAddr,
    /// Frees the place.
    pub permit: OwnedSemaphorePermit,
}

/// Accepts until `shutdown`, and hands each connection to `handle`. At the limit of `places`, further peers wait in the
/// system's queue.
pub async fn accept_loop(
    listener: TcpListener,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
    mut handle: impl FnMut(Accepted),
) {
    loop {
        let next = async {
            let permit = places.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let (permit, accepted) = tokio::select! {
            () = shutdown.cancelled() => return,
            next = next => match next {
                Some(next) => next,
                None => return,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, "gone before it was served: {error}");
                    continue;
                }
                handle(Accepted { stream, peer, permit });
            }
            Err(error) => {
                tracing::warn!("can not accept a connection: {error}; trying again");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_RETRY) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_free_again_when_a_connection_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let (sender, mut accepted) = tokio::sync::mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(1));
        let handle = move |connection| {
            let _ = sender.send(connection);
        };
        let task = tokio::spawn(accept_loop(listener, places.clone(), shutdown.clone(), handle));
        let _first = TcpStream::connect(address).await.unwrap();
        let _second = TcpStream::connect(address).await.unwrap();
        let served = accepted.recv().await.unwrap();
        assert!(served.stream.nodelay().unwrap());
        assert_eq!(places.available_permits(), 0);
        assert!(accepted.try_recv().is_err(), "the second waits");
        drop(served);
        accepted.recv().await.unwrap();
        shutdown.cancel();
        task.await.unwrap();
    }
}
