//! Listening and accepting: bounded in number, patient when file descriptors run out.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    core::Clock,
    gate::{Gate, Refused, Ticket},
    shutdown::Shutdown,
};

/// Pause after the first accept that failed, doubled with each further one up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(10);

/// See [`FIRST_RETRY`]: a lack of file descriptors must not spin, and not shut out miners for long once it is over.
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// Pause before a connection is tried again for which there is no half-open place.
const ROOM_RETRY: Duration = Duration::from_millis(10);

/// Connections that wait in the system's queue; a farm that comes back after an outage fits.
const BACKLOG: i32 = 4096;

/// Probes without an answer, after which a connection is given up.
const KEEPALIVE_PROBES: u32 = 4;

/// Time between two such probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A connection that counts against the limits until it is dropped.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, with its options set.
    pub stream: TcpStream,
    /// Who connected.
    pub peer: SocketAddr,
    /// Frees the place among all.
    pub permit: OwnedSemaphorePermit,
    /// The place among the half-open and those of the address.
    pub ticket: Ticket,
    /// The peer is a load balancer that will say for whom it speaks.
    pub proxied: bool,
}

/// Which load balancers speak for others (PROXY protocol), by network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxies {
    /// Peers in these networks must begin with a PROXY header.
    pub networks: Vec<IpNet>,
    /// Nobody else may connect.
    #[serde(default)]
    pub only: bool,
}

impl Proxies {
    /// Whether `peer` has to begin with a PROXY header.
    pub fn contain(&self, peer: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&peer))
    }
}

/// Times after which the system gives up a silent peer.
#[derive(Clone, Copy, Debug)]
pub struct SocketTimeouts {
    /// Silence after which the system asks whether the peer is still there (TCP keepalive).
    pub keepalive: Duration,
    /// Time that sent bytes may go unacknowledged by the peer's system (TCP_USER_TIMEOUT).
    pub unacknowledged: Duration,
}

/// What all listeners of a role share.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// What time it is.
    pub clock: Clock,
    /// Connections in all; at the limit, further peers wait in the system's queue.
    pub places: Arc<Semaphore>,
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// For each connection.
    pub timeouts: SocketTimeouts,
    /// Ends accepting.
    pub shutdown: Shutdown,
}

/// Listens on `address`, without blocking. An IPv6 address that is not `only_v6` also takes IPv4, where it stands for all addresses (`[::]`).
///
/// # Errors
/// As the system reports.
pub fn listen(address: SocketAddr, only_v6: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets this process open as many files as the system allows it at most, and returns how many those are.
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No limit reads as none.
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// Accepts until shutdown, and hands each connection to `handle`. `index` tells this listener from others in bans.
pub async fn accept_loop(
    listener: TcpListener,
    index: usize,
    proxies: Proxies,
    entrance: Entrance,
    mut handle: impl FnMut(Accepted),
) {
    let Entrance { clock, places, gate, timeouts, shutdown } = entrance;
    let mut retry = FIRST_RETRY;
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
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The peer has gone before it was accepted: the next one is not to blame.
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    continue;
                }
                let shed = gate.shed();
                tracing::warn!(shed, "can not accept a connection: {error}; trying again in {retry:?}");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(retry) => {}
                }
                retry = (retry * 2).min(LONGEST_RETRY);
                continue;
            }
        };
        retry = FIRST_RETRY;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let proxied = proxies.contain(peer.ip());
        if proxies.only && !proxied {
            tracing::debug!(%peer, "refused: only load balancers connect here");
            continue;
        }
        let entered = async {
            loop {
                let now = clock.now();
                let entered = match proxied {
                    true => gate.enter_proxy(now, index, peer.ip()),
                    false => gate.enter(now, index, peer.ip()),
                };
                match entered {
                    Err(Refused::Full) => tokio::time::sleep(ROOM_RETRY).await,
                    entered => return entered,
                }
            }
        };
        // In this order: what was accepted is not dropped for a shutdown in the same moment.
        let entered = tokio::select! {
            biased;
            entered = entered => entered,
            () = shutdown.cancelled() => return,
        };
        match (entered, set_options(&stream, timeouts)) {
            (Ok(ticket), Ok(())) => handle(Accepted { stream, peer, permit, ticket, proxied }),
            (Err(refused), _) => tracing::debug!(%peer, "refused: {refused}"),
            (_, Err(error)) => tracing::debug!(%peer, "gone before it was served: {error}"),
        }
    }
}

pub(crate) fn set_options(stream: &TcpStream, timeouts: SocketTimeouts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(timeouts.keepalive).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(timeouts.unacknowledged))?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::{sync::mpsc, task::JoinHandle};

    use super::*;
    use crate::{bucket::Rate, gate::GateLimits};

    pub(crate) const TIMEOUTS: SocketTimeouts =
        SocketTimeouts { keepalive: Duration::from_secs(60), unacknowledged: Duration::from_secs(30) };

    pub(crate) fn gate(half_open: usize) -> Arc<Gate> {
        let offences = Rate { per_second: 0.0, burst: 1.0 };
        Gate::new(GateLimits { half_open, per_address: 100, offences, ban: Duration::from_secs(3600) })
    }

    struct Rig {
        address: SocketAddr,
        places: Arc<Semaphore>,
        gate: Arc<Gate>,
        accepted: mpsc::UnboundedReceiver<Accepted>,
        shutdown: Shutdown,
        task: JoinHandle<()>,
    }

    impl Rig {
        fn new(places: usize, half_open: usize, address: &str, proxies: Proxies) -> Self {
            let listener = TcpListener::from_std(listen(address.parse().unwrap(), false).unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let (shutdown, places, gate) = (Shutdown::new(), Arc::new(Semaphore::new(places)), gate(half_open));
            let entrance = Entrance {
                clock: Clock::start(),
                places: places.clone(),
                gate: gate.clone(),
                timeouts: TIMEOUTS,
                shutdown: shutdown.clone(),
            };
            let (sender, accepted) = mpsc::unbounded_channel();
            let handle = move |connection| {
                let _ = sender.send(connection);
            };
            let task = tokio::spawn(accept_loop(listener, 0, proxies, entrance, handle));
            Self { address, places, gate, accepted, shutdown, task }
        }

        async fn end(self) {
            self.shutdown.cancel();
            self.task.await.unwrap();
        }
    }

    #[test]
    fn the_limit_of_files_is_as_high_as_it_can_be() {
        let limit = raise_file_limit();
        let now = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(now.current.unwrap_or(u64::MAX), limit);
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_a_connection_ends() {
        let mut rig = Rig::new(1, 9, "127.0.0.1:0", Proxies::default());
        let _first = TcpStream::connect(rig.address).await.unwrap();
        let _second = TcpStream::connect(rig.address).await.unwrap();
        let served = rig.accepted.recv().await.unwrap();
        assert!(served.stream.nodelay().unwrap());
        let socket = SockRef::from(&served.stream);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(TIMEOUTS.unacknowledged));
        assert_eq!(rig.places.available_permits(), 0);
        assert!(rig.accepted.try_recv().is_err(), "the second waits");
        drop(served);
        rig.accepted.recv().await.unwrap();
        rig.end().await;
    }

    #[tokio::test]
    async fn one_socket_takes_both_families() {
        let mut rig = Rig::new(9, 9, "[::]:0", Proxies::default());
        let port = rig.address.port();
        for client in ["127.0.0.1", "::1"] {
            let client: IpAddr = client.parse().unwrap();
            let _stream = TcpStream::connect((client, port)).await.unwrap();
            assert_eq!(rig.accepted.recv().await.unwrap().peer.ip(), client, "not as a mapped address");
        }
        rig.end().await;
        let only = listen("[::]:0".parse().unwrap(), true).unwrap();
        let port = only.local_addr().unwrap().port();
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_waits_for_a_half_open_place() {
        let mut rig = Rig::new(9, 1, "127.0.0.1:0", Proxies::default());
        let _first = TcpStream::connect(rig.address).await.unwrap();
        let mut served = rig.accepted.recv().await.unwrap();
        let _second = TcpStream::connect(rig.address).await.unwrap();
        served.ticket.establish();
        rig.accepted.recv().await.unwrap();
        rig.end().await;
    }

    #[tokio::test]
    async fn a_banned_address_is_closed_at_once() {
        let mut rig = Rig::new(9, 9, "127.0.0.1:0", Proxies::default());
        {
            let ticket = rig.gate.enter(Clock::start().now(), 0, rig.address.ip()).unwrap();
            while !ticket.offend(Clock::start().now()) {}
        }
        let banned = TcpStream::connect(rig.address).await.unwrap();
        banned.readable().await.unwrap();
        assert!(matches!(banned.try_read(&mut [0]), Ok(0) | Err(_)));
        assert!(rig.accepted.try_recv().is_err());
        rig.end().await;
    }

    #[tokio::test]
    async fn who_is_no_load_balancer_is_closed_where_only_those_connect() {
        let networks = vec!["127.0.0.2/32".parse().unwrap()];
        let mut rig = Rig::new(9, 9, "127.0.0.1:0", Proxies { networks, only: true });
        let stranger = TcpStream::connect(rig.address).await.unwrap();
        stranger.readable().await.unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let _balancer = socket.connect(rig.address).await.unwrap();
        let served = rig.accepted.recv().await.unwrap();
        assert!(served.proxied && served.peer.ip() == IpAddr::from([127, 0, 0, 2]));
        rig.end().await;
    }
}
