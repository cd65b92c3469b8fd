//! A Template Provider between a node and the pool: the real cores of both ends, and what their drivers keep.
//!
//! The model follows `template_provider`'s client and `template_source::sv2`'s driver: news is sent when nothing waits to be written, a
//! client that leaves found blocks behind lingers until they are delivered.

use std::{collections::VecDeque, time::Duration};

use binary_sv2::Message;
use bitcoin::Network;
use template_provider::{Session, Settings};
use template_source::{
    Constraints, Event,
    sv2::{Core, SendError, Sink},
};

use crate::{
    subscription::Subscription,
    wire::{Frame, Inbox, Pipe},
};

/// Time for SetupConnection, then for CoinbaseOutputConstraints.
const STEP: Duration = Duration::from_secs(10);

/// Frames of a core, in the order that they were sent.
#[derive(Debug, Default)]
pub struct Frames(pub Vec<Frame>);

impl Sink for Frames {
    fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError> {
        self.0.push(Frame::of(message));
        Ok(())
    }
}

/// The pool's end: a source.
#[derive(Debug)]
pub struct Upstream {
    /// The core.
    pub core: Core,
    /// The connection that it has.
    pub client: Option<u64>,
    /// Received bytes.
    pub inbox: Inbox,
    /// When its timer is set to.
    pub timer: Option<Duration>,
}

impl Upstream {
    /// A source that connects at once.
    ///
    /// # Panics
    /// When the fixed URL is none.
    pub fn new(now: Duration, constraints: Constraints) -> Self {
        let url = "stratum2+tcp://provider.example:8442".parse().expect("a fixed URL");
        Self { core: Core::new(now, url, constraints), client: None, inbox: Inbox::default(), timer: None }
    }
}

/// The Template Provider's end of one connection, with the client's own subscription to the node.
#[derive(Debug)]
pub struct Client {
    /// The core.
    pub session: Session,
    /// The node behind it.
    pub node: usize,
    /// What the node tells this client, once it wants to know.
    pub subscription: Option<Subscription>,
    /// The node's news that the session does not want yet.
    pub news: VecDeque<Event>,
    /// False when the connection is gone and found blocks are still to be delivered.
    pub attached: bool,
    /// Received bytes.
    pub inbox: Inbox,
    /// From the pool.
    pub up: Pipe,
    /// To the pool.
    pub down: Pipe,
    /// Bytes that the socket has not taken.
    pub unsent: Vec<u8>,
    /// Bytes that the socket takes.
    pub window: usize,
    /// Milliseconds that bytes are under way.
    pub delay: (u64, u64),
    /// When the last of the node's reports, and the last command to it, arrives.
    pub lines: (Duration, Duration),
    /// When its timer is set to.
    pub timer: Option<Duration>,
}

impl Client {
    /// A client that has just connected.
    pub fn new(now: Duration, node: usize, raw_blocks: bool, window: usize, delay: (u64, u64)) -> Self {
        let settings = Settings { setup: STEP, constraints: STEP, network: Network::Regtest, raw_blocks };
        Self {
            session: Session::new(now, settings),
            node,
            subscription: None,
            news: VecDeque::new(),
            attached: true,
            inbox: Inbox::default(),
            up: Pipe::default(),
            down: Pipe::default(),
            unsent: Vec::new(),
            window,
            delay,
            lines: (now, now),
            timer: None,
        }
    }
}
