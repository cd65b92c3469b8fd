//! All that comes before messages: a PROXY header where one is due, what the connection speaks, and the handshake where there
//! is one. It ends within [`Limits::handshake`](super::Limits::handshake), after the PROXY header; until then the connection is half-open.

use std::{io, net::SocketAddr, sync::Arc};

use network_helpers::{read_proxy_header, respond_in_turn, wire};
use rustls::{ServerConfig, ServerConnection, server::Acceptor};
use tokio::{
    io::{AsyncReadExt, join},
    net::TcpStream,
    time::timeout_at,
};

use super::{
    Local, Protocols, Security, Service,
    connection::End,
    wire::{Input, Lines, Socket, Wire, closed, drain},
};
use crate::{
    core::{Core, Protocol},
    detect::{Beginning, DECIDED_AT, detect},
    gate::Ticket,
    identity::Identity,
    tls::TlsIdentity,
};

/// A connection whose messages can begin; some may have arrived already.
pub(super) struct Opened {
    pub protocol: Protocol,
    pub input: Input,
    pub wire: Wire,
}

/// What a listener takes a connection for.
enum Speaks<'a> {
    Noise(&'a Arc<Identity>),
    Plain,
    Lines,
    Tls(&'a TlsIdentity),
}

impl Protocols {
    /// Whether the first bytes have to tell.
    fn leave_a_choice(&self) -> bool {
        self.v1 || self.tls.is_some()
    }

    /// What a connection that begins like this is taken for, or why it is not served.
    fn choose(&self, beginning: Beginning) -> Result<Speaks<'_>, &'static str> {
        match (beginning, &self.v2) {
            (Beginning::Json, _) if self.v1 => Ok(Speaks::Lines),
            (Beginning::Json, _) if self.tls.is_some() => Err("Stratum V1 is served only inside TLS here"),
            (Beginning::Json, _) => Err("Stratum V1 is not served here"),
            (Beginning::Tls, _) => self.tls.as_deref().map(Speaks::Tls).ok_or("TLS is not served here"),
            (_, None) => Err("only Stratum V1 is served here"),
            // What is not meant for it fails at its first frame.
            (_, Some(Security::Plain)) => Ok(Speaks::Plain),
            (Beginning::PlainV2, Some(Security::Noise(_))) => Err("Stratum V2 is served only with noise here"),
            (Beginning::Noise, Some(Security::Noise(identity))) => Ok(Speaks::Noise(identity)),
        }
    }
}

impl<C: Core> Local<C> {
    pub(super) async fn open(
        &self,
        stream: &mut TcpStream,
        peer: &mut SocketAddr,
        ticket: &mut Ticket,
        proxied: bool,
        service: &Service<C>,
    ) -> Result<Opened, End> {
        if proxied {
            let header = tokio::select! {
                () = self.over.cancelled() => return Err(End::stopped()),
                () = ticket.dropped() => return Err(End::dropped()),
                header = read_proxy_header(stream, service.limits.handshake) => header.map_err(End::because)?,
            };
            if let Some(client) = header {
                *peer = SocketAddr::new(client.ip().to_canonical(), client.port());
                *ticket = service.gate.enter(self.clock.now(), service.listener, peer.ip()).map_err(End::because)?;
            }
        }
        tokio::select! {
            () = self.over.cancelled() => Err(End::stopped()),
            () = ticket.dropped() => Err(End::dropped()),
            opened = self.begin(stream, ticket, service) => opened,
        }
    }

    async fn begin(&self, stream: &mut TcpStream, ticket: &Ticket, service: &Service<C>) -> Result<Opened, End> {
        let Service { protocols, limits, .. } = service;
        let late = self.clock.now() + limits.handshake;
        let until = self.clock.instant(late);
        let timeout = || End::because(format_args!("nothing that is served here within {:?}", limits.handshake));
        let mut first = [0; DECIDED_AT];
        let (speaks, first) = match protocols.leave_a_choice() {
            true => {
                let read = timeout_at(until, beginning(stream, &mut first)).await;
                let (beginning, count) = read.map_err(|_| timeout())??;
                (protocols.choose(beginning).map_err(End::because)?, &first[..count])
            }
            false => (protocols.choose(Beginning::Noise).map_err(End::because)?, &first[..0]),
        };
        let turn = self.handshakes.turn(ticket.address());
        match speaks {
            Speaks::Plain => {
                // The event loop may not have heard of the socket before, and nothing is written until it has.
                stream.writable().await.map_err(End::because)?;
                let (mut decoder, queue) = wire::plain();
                decoder.set_max_payload(limits.message_bytes);
                decoder.writable()[..first.len()].copy_from_slice(first);
                decoder.advance(first.len());
                let protocol = Protocol::V2 { noise: false };
                Ok(Opened { protocol, input: Input::Frames(decoder), wire: Wire::Frames(queue) })
            }
            Speaks::Noise(identity) => {
                let certified = identity.current(self.clock.now()).map_err(End::because)?;
                let left = late.saturating_sub(self.clock.now());
                let (rest, answers) = stream.split();
                // At most the first message was read.
                let mut stream = join(first.chain(rest), answers);
                let transport = respond_in_turn(&mut stream, &certified, left, identity.key_log(), turn).await;
                let (mut decoder, queue) = transport.map(wire::encrypted).map_err(End::because)?;
                decoder.set_max_payload(limits.message_bytes);
                let protocol = Protocol::V2 { noise: true };
                Ok(Opened { protocol, input: Input::Frames(decoder), wire: Wire::Frames(queue) })
            }
            Speaks::Lines => {
                let wire = Wire::Lines(Lines::new(None));
                Ok(Opened { protocol: Protocol::V1 { tls: false }, input: Input::lines(first), wire })
            }
            Speaks::Tls(identity) => {
                let handshake = respond_with_tls(stream, first, identity.current(), turn);
                let (tls, first) = timeout_at(until, handshake).await.map_err(|_| timeout())??;
                let wire = Wire::Lines(Lines::new(Some(tls)));
                Ok(Opened { protocol: Protocol::V1 { tls: true }, input: Input::lines(&first), wire })
            }
        }
    }
}

/// Reads until the first bytes tell; returns how many there are.
async fn beginning(stream: &mut TcpStream, first: &mut [u8; DECIDED_AT]) -> Result<(Beginning, usize), End> {
    let mut count = 0;
    loop {
        match stream.read(&mut first[count..]).await {
            Ok(0) => return Err(closed()),
            Ok(more) => count += more,
            Err(error) => return Err(End::because(error)),
        }
        if let Some(beginning) = detect(&first[..count]) {
            return Ok((beginning, count));
        }
    }
}

/// The server's side of a TLS handshake, of which the first bytes are there. Waits for `turn` before it computes. Returns what came
/// behind the handshake, too.
async fn respond_with_tls(
    stream: &TcpStream,
    mut first: &[u8],
    config: Arc<ServerConfig>,
    turn: impl Future<Output = ()>,
) -> Result<(Box<ServerConnection>, Vec<u8>), End> {
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut first).map_err(End::because)?;
    let hello = loop {
        if let Some(hello) = acceptor.accept().map_err(|(error, _)| End::because(error))? {
            break hello;
        }
        stream.readable().await.map_err(End::because)?;
        when_ready(acceptor.read_tls(&mut Socket(stream)))?;
    };
    turn.await;
    let mut tls = Box::new(hello.into_connection(config).map_err(|(error, _)| End::because(error))?);
    let mut early = Vec::new();
    loop {
        while tls.wants_write() {
            stream.writable().await.map_err(End::because)?;
            when_ready(tls.write_tls(&mut Socket(stream)))?;
        }
        if !tls.is_handshaking() {
            break;
        }
        stream.readable().await.map_err(End::because)?;
        when_ready(tls.read_tls(&mut Socket(stream)))?;
        tls.process_new_packets().map_err(End::because)?;
    }
    drain(&mut tls, &mut [0; 1024], |bytes| early.extend_from_slice(bytes))?;
    Ok((tls, early))
}

/// Passes over a readiness that was none.
fn when_ready(result: io::Result<usize>) -> Result<(), End> {
    match result {
        Ok(0) => Err(closed()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(End::because(error)),
    }
}
