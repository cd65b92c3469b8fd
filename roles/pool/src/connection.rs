//! A miner's connection, whichever protocol it speaks.

use std::{sync::Arc, time::Duration};

use framing_sv2::Header;
use stratum_runtime::core::{Core, Peer, Protocol};

use crate::{
    hub::Candidate,
    ledger::Record,
    session::{self, SessionConfig},
    snapshot::Snapshot,
    v1::{self, PoolSink},
};

/// The core of a connection.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most connections are of the large kind, and each is in a box of its own"
)]
pub enum Connection {
    /// Stratum V2.
    V2(session::Session),
    /// Stratum V1.
    V1(Box<v1::Session>),
}

impl Connection {
    /// For a peer that connected at `now`.
    pub fn new(now: Duration, peer: Peer, config: Arc<SessionConfig>) -> Self {
        match peer.protocol {
            Protocol::V2 { .. } => Self::V2(session::Session::new(now, peer.address, config)),
            Protocol::V1 { .. } => Self::V1(Box::new(v1::Session::new(now, peer.address, config))),
        }
    }
}

/// The same for either.
macro_rules! each {
    ($connection:expr, $core:ident => $call:expr) => {
        match $connection {
            Connection::V2($core) => $call,
            Connection::V1($core) => $call,
        }
    };
}

impl Core for Connection {
    type Notice = Snapshot;
    type Report = Candidate;
    type Record = Record;
    type Letter = std::convert::Infallible;

    fn handle_frame<S: PoolSink>(&mut self, now: Duration, header: Header, payload: &[u8], sink: &mut S) {
        each!(self, core => core.handle_frame(now, header, payload, sink));
    }

    fn handle_line<S: PoolSink>(&mut self, now: Duration, line: &[u8], sink: &mut S) {
        each!(self, core => core.handle_line(now, line, sink));
    }

    fn finish_input<S: PoolSink>(&mut self, now: Duration, sink: &mut S) {
        each!(self, core => core.finish_input(now, sink));
    }

    fn handle_notice<S: PoolSink>(&mut self, now: Duration, notice: &Arc<Snapshot>, sink: &mut S) {
        each!(self, core => core.handle_notice(now, notice, sink));
    }

    fn handle_durable<S: PoolSink>(&mut self, now: Duration, count: usize, sink: &mut S) {
        each!(self, core => core.handle_durable(now, count, sink));
    }

    fn handle_drain<S: PoolSink>(&mut self, now: Duration, sink: &mut S) {
        each!(self, core => core.handle_drain(now, sink));
    }

    fn poll_timeout(&self) -> Option<Duration> {
        each!(self, core => core.poll_timeout())
    }

    fn handle_timeout<S: PoolSink>(&mut self, now: Duration, sink: &mut S) {
        each!(self, core => core.handle_timeout(now, sink));
    }

    fn outbound_limit(&self) -> usize {
        each!(self, core => core.outbound_limit())
    }

    fn is_established(&self) -> bool {
        each!(self, core => core.is_established())
    }

    fn last_work(&self) -> Option<Duration> {
        each!(self, core => core.last_work())
    }

    fn paused_until(&self) -> Option<Duration> {
        each!(self, core => core.paused_until())
    }

    fn label(&self) -> Option<&str> {
        each!(self, core => core.label())
    }
}
