//! One thread of a swarm: an event loop of its own over its part of the connections.
//!
//! Not a task per connection: 10,000 miners are to leave the processors to the pool that is measured, and a task would cost
//! more than what a miner does when a message comes.

mod connection;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, event::Event as Readiness};

use self::connection::Connection;
use crate::{
    config::{Pace, SET_UP_DEADLINE, SwarmConfig},
    miner::{Context, End, Submitted, Totals},
    stats::{Gauges, Stats, count},
    work::Jobs,
};

/// Events that are taken up at a time.
const EVENTS: usize = 1024;

/// The token of the waker; connections count up from 0.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// How often deadlines are looked at and slow readers read.
const TICK: Duration = Duration::from_secs(1);

/// Which connections belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Those that stay.
    Base,
    /// Those that come and go.
    Wave,
}

/// What a thread is told.
pub(crate) enum Command {
    /// Connects `count` more, of which `in_flight` at a time are on their way.
    Connect { group: Group, first: u64, count: u64, in_flight: usize },
    /// Ends all connections of a group.
    Close(Group),
    /// Sends shares from now on, or none.
    Shares(Option<Pace>),
    /// Hands over what was counted since the last time.
    Take,
    /// Ends the thread.
    Stop,
}

/// What a thread tells.
pub(crate) enum Event {
    /// All that was to connect has, or has failed.
    Settled,
    /// The answer to [`Command::Take`].
    Taken(Box<Stats>),
    /// The system took the event loop away.
    Failed(io::Error),
}

/// Connections that are still to come.
struct Queue {
    group: Group,
    next: u64,
    left: u64,
    in_flight: usize,
}

pub(crate) struct Worker {
    poll: Poll,
    origin: Instant,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    gauges: Arc<Gauges>,
    context: Context,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    queue: Option<Queue>,
    connecting: usize,
    live: usize,
    lost: u64,
    failed: u64,
    pace: Option<Pace>,
    /// With a pace: since when, and how many were sent since.
    paced: (Duration, u64),
    /// With a pace: whose turn it is.
    turn: usize,
    /// Without one: connections that may have room for shares.
    hungry: VecDeque<usize>,
    next_tick: Duration,
}

impl Worker {
    pub fn new(
        config: SwarmConfig,
        poll: Poll,
        origin: Instant,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        gauges: Arc<Gauges>,
    ) -> Self {
        Self {
            poll,
            origin,
            commands,
            events,
            gauges,
            context: Context { config, jobs: Jobs::default(), stats: Stats::default(), totals: Totals::default() },
            connections: Vec::new(),
            free: Vec::new(),
            queue: None,
            connecting: 0,
            live: 0,
            lost: 0,
            failed: 0,
            pace: None,
            paced: (Duration::ZERO, 0),
            turn: 0,
            hungry: VecDeque::new(),
            next_tick: TICK,
        }
    }

    /// Runs until it is told to stop, or nobody is left to tell it.
    pub fn run(mut self) {
        if let Err(error) = self.serve() {
            // Whoever would hear of it may be gone.
            let _ = self.events.send(Event::Failed(error));
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() != WAKE {
                    self.ready(event.token().0, event);
                }
            }
            if !self.obey() {
                return Ok(());
            }
            self.connect();
            self.submit();
            if self.now() >= self.next_tick {
                self.tick();
            }
            self.publish();
        }
    }

    fn timeout(&self) -> Duration {
        if !self.hungry.is_empty() {
            return Duration::ZERO;
        }
        let now = self.now();
        let tick = self.next_tick.saturating_sub(now);
        match self.pace {
            Some(Pace::PerSecond(rate)) if self.live > 0 => {
                let (since, sent) = self.paced;
                let due = since + Duration::try_from_secs_f64((sent + 1) as f64 / rate).unwrap_or(TICK);
                tick.min(due.saturating_sub(now))
            }
            _ => tick,
        }
    }

    /// Does what was told; false when it is over.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Connect { group, first, count, in_flight }) => {
                    self.queue = Some(Queue { group, next: first, left: count, in_flight });
                    // With nothing to do it is settled at once.
                    self.connect();
                    self.settle();
                }
                Ok(Command::Close(group)) => self.close(group),
                Ok(Command::Shares(pace)) => self.set_pace(pace),
                Ok(Command::Take) => {
                    let stats = Box::new(std::mem::take(&mut self.context.stats));
                    self.publish();
                    let _ = self.events.send(Event::Taken(stats));
                }
                Ok(Command::Stop) | Err(mpsc::TryRecvError::Disconnected) => return false,
                Err(mpsc::TryRecvError::Empty) => return true,
            }
        }
    }

    fn set_pace(&mut self, pace: Option<Pace>) {
        self.pace = pace;
        self.paced = (self.now(), 0);
        self.hungry.clear();
        if pace == Some(Pace::AsAcknowledged) {
            self.hungry.extend(0..self.connections.len());
        }
    }

    /// Opens as many connections as may be on their way.
    fn connect(&mut self) {
        while let Some(queue) = &mut self.queue
            && queue.left > 0
            && self.connecting < queue.in_flight
        {
            let (group, index) = (queue.group, queue.next);
            queue.next += 1;
            queue.left -= 1;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let now = self.origin.elapsed();
            match Connection::open(&self.context.config, group, index, now) {
                Ok(mut connection) => {
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let registered = self.poll.registry().register(&mut connection.socket, Token(slot), interest);
                    self.connecting += 1;
                    if let Some(place) = self.connections.get_mut(slot) {
                        *place = Some(Box::new(connection));
                    }
                    if let Err(error) = registered {
                        self.end(slot, error.to_string());
                    }
                }
                Err(error) => {
                    self.free.push(slot);
                    self.failed += 1;
                    count(&mut self.context.stats.failed, &format!("connect: {}", error.kind()), 1);
                    self.settle();
                }
            }
        }
    }

    /// Tells when all that was to connect has.
    fn settle(&mut self) {
        if self.connecting == 0 && self.queue.take_if(|queue| queue.left == 0).is_some() {
            self.publish();
            let _ = self.events.send(Event::Settled);
        }
    }

    fn ready(&mut self, slot: usize, event: &Readiness) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        let was_live = connection.is_live();
        let before = connection.in_flight();
        let mut result = Ok(());
        if event.is_writable() {
            result = connection.writable(&mut self.context);
        }
        if result.is_ok() && (event.is_readable() || event.is_read_closed()) {
            result = connection.readable(self.origin, &mut self.context);
        }
        let is_live = connection.is_live();
        let has_room = connection.in_flight() < before || (is_live && !was_live);
        if is_live && !was_live {
            self.context.stats.set_up.record(self.origin.elapsed().saturating_sub(connection.started));
            self.connecting -= 1;
            self.live += 1;
            self.settle();
        }
        if let Err(reason) = result {
            return self.end(slot, reason);
        }
        if has_room && self.pace == Some(Pace::AsAcknowledged) {
            self.hungry.push_back(slot);
        }
    }

    fn submit(&mut self) {
        match self.pace {
            None => {}
            Some(Pace::AsAcknowledged) => {
                // Those that become hungry meanwhile have their turn after the next events.
                for _ in 0..self.hungry.len() {
                    let Some(slot) = self.hungry.pop_front() else { break };
                    if self.submit_from(slot, self.context.config.window) == Some(Submitted::OutOfTurn) {
                        self.hungry.push_back(slot);
                    }
                }
            }
            Some(Pace::PerSecond(rate)) => self.submit_due(rate),
        }
    }

    fn submit_due(&mut self, rate: f64) {
        let (since, mut sent) = self.paced;
        let due = (self.now().saturating_sub(since).as_secs_f64() * rate) as u64;
        let mut idle = 0;
        while sent < due && idle < self.connections.len() {
            let slot = self.turn % self.connections.len();
            self.turn = slot + 1;
            match self.submit_from(slot, 1) {
                Some(Submitted::All) => (sent, idle) = (sent + 1, 0),
                Some(Submitted::WindowFull) => {
                    self.context.stats.held_back += 1;
                    (sent, idle) = (sent + 1, 0);
                }
                // The pool's targets allow no such rate: what is due waits.
                Some(Submitted::OutOfTurn) => break,
                Some(Submitted::NoWork) | None => idle += 1,
            }
        }
        self.paced.1 = sent;
    }

    /// Lets one connection send shares; `None` when it is not there.
    fn submit_from(&mut self, slot: usize, wanted: usize) -> Option<Submitted> {
        let now = self.now();
        let connection = self.connections.get_mut(slot)?.as_mut()?;
        match connection.submit(now, wanted, &mut self.context) {
            Ok(submitted) => Some(submitted),
            Err(reason) => {
                self.end(slot, reason);
                None
            }
        }
    }

    /// Looks at deadlines, and lets slow readers read a little.
    fn tick(&mut self) {
        let now = self.now();
        self.next_tick = now + TICK;
        for slot in 0..self.connections.len() {
            let Some(Some(connection)) = self.connections.get_mut(slot) else { continue };
            let before = connection.in_flight();
            let result = match connection.is_live() {
                false if now >= connection.started + SET_UP_DEADLINE => {
                    Err(format!("no {} within {} s", connection.awaits(), SET_UP_DEADLINE.as_secs()))
                }
                _ => connection.read_slowly(self.origin, &mut self.context),
            };
            if connection.in_flight() < before && self.pace == Some(Pace::AsAcknowledged) {
                self.hungry.push_back(slot);
            }
            if let Err(reason) = result {
                self.end(slot, reason);
            }
        }
    }

    fn close(&mut self, group: Group) {
        for slot in 0..self.connections.len() {
            if let Some(Some(connection)) = self.connections.get(slot)
                && connection.group == group
            {
                self.remove(slot);
            }
        }
    }

    /// A connection is over that was not to be.
    fn end(&mut self, slot: usize, reason: End) {
        let Some(was_live) = self.remove(slot) else { return };
        let (total, reasons) = match was_live {
            true => (&mut self.lost, &mut self.context.stats.lost),
            false => (&mut self.failed, &mut self.context.stats.failed),
        };
        *total += 1;
        count(reasons, &reason, 1);
        self.settle();
    }

    /// Drops a connection; whether it had work.
    fn remove(&mut self, slot: usize) -> Option<bool> {
        let mut connection = self.connections.get_mut(slot)?.take()?;
        // A socket that is closed is deregistered by the system.
        let _ = self.poll.registry().deregister(&mut connection.socket);
        let in_flight = connection.in_flight() as u64;
        self.context.stats.unanswered += in_flight;
        self.context.totals.in_flight -= in_flight;
        let was_live = connection.is_live();
        match was_live {
            true => self.live -= 1,
            false => self.connecting -= 1,
        }
        self.free.push(slot);
        Some(was_live)
    }

    fn publish(&self) {
        let totals = self.context.totals;
        for (gauge, value) in [
            (&self.gauges.connecting, self.connecting as u64),
            (&self.gauges.live, self.live as u64),
            (&self.gauges.failed, self.failed),
            (&self.gauges.lost, self.lost),
            (&self.gauges.in_flight, totals.in_flight),
            (&self.gauges.accepted, totals.accepted),
            (&self.gauges.rejected, totals.rejected),
        ] {
            gauge.store(value, Relaxed);
        }
    }
}
