//! Listening sockets that somebody else has opened: a service manager, or the process before this one.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

/// Sockets to listen on, not claimed yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    name: Option<String>,
    listener: TcpListener,
}

impl Inherited {
    /// Those that a service manager has passed (systemd socket activation: `LISTEN_FDS`, with names in `LISTEN_FDNAMES`).
    ///
    /// Sockets that are not for TCP are left alone. Must be called at most once in a process.
    pub fn from_service_manager() -> Self {
        let mut passed = listenfd::ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(|name| (!name.is_empty()).then(|| name.to_owned()));
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().flatten();
            match passed.take_tcp_listener(index) {
                Ok(Some(listener)) => sockets.push(Socket { name, listener }),
                Ok(None) => {}
                Err(error) => tracing::warn!(index, name, "inherited socket not used: {error}"),
            }
        }
        Self(sockets)
    }

    pub(crate) fn from_fds(fds: Vec<OwnedFd>) -> Self {
        Self(fds.into_iter().map(|fd| Socket { name: None, listener: TcpListener::from(fd) }).collect())
    }

    /// Adds the sockets of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Takes the socket of this name, else one that listens on `address`. Port 0 stands for any.
    pub fn take(&mut self, name: Option<&str>, address: SocketAddr) -> Option<TcpListener> {
        let named = |socket: &Socket| name.is_some() && socket.name.as_deref() == name;
        let listens = |socket: &Socket| {
            let local = socket.listener.local_addr();
            local.is_ok_and(|local| local.ip() == address.ip() && [0, local.port()].contains(&address.port()))
        };
        let index = self.0.iter().position(named).or_else(|| self.0.iter().position(listens))?;
        Some(self.0.remove(index).listener)
    }

    /// Where the sockets listen that nobody has taken.
    pub fn left_over(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().filter_map(|socket| socket.listener.local_addr().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_name_then_by_address() {
        let socket = |name: Option<&str>, address: &str| {
            let listener = TcpListener::bind(address).unwrap();
            (listener.local_addr().unwrap(), Socket { name: name.map(str::to_owned), listener })
        };
        let (farm, first) = socket(Some("farm"), "127.0.0.1:0");
        let (hobby, second) = socket(None, "127.0.0.1:0");
        let (other, third) = socket(Some("other"), "127.0.0.2:0");
        let mut inherited = Inherited(vec![first, second, third]);
        let mut take = |name: Option<&str>, address: SocketAddr| {
            inherited.take(name, address).map(|listener| listener.local_addr().unwrap())
        };
        assert_eq!(take(None, hobby), Some(hobby));
        assert_eq!(take(None, hobby), None, "each one once");
        assert_eq!(take(Some("farm"), "[::]:1".parse().unwrap()), Some(farm), "a name says more than an address");
        assert_eq!(take(Some("nobody's"), "127.0.0.1:0".parse().unwrap()), None);
        assert_eq!(take(Some("nobody's"), "127.0.0.2:0".parse().unwrap()), Some(other), "any port");
        assert_eq!(inherited.left_over().count(), 0);
    }
}
