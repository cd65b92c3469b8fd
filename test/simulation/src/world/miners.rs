//! The miners' side, and the network between.

use std::time::Duration;

use super::{Conn, Event, World};
use crate::{
    checks::Observation,
    fault::Fault,
    hostile,
    miner::{Habit, Output},
    wire::{Frame, Pipe},
};

/// What a socket takes, in bytes; a slow reader's is small, so that it shows.
const WINDOW: usize = 64 * 1024;
const SMALL_WINDOW: (u64, u64) = (500, 1_500);

impl World {
    pub(super) fn connect(&mut self, miner: usize) {
        if !self.is_busy() || self.places[miner].is_some() {
            return;
        }
        let Some(process) = self.process.as_ref().filter(|process| !process.stopping) else {
            return self.later_random(200, 3_000, Event::Connect { miner });
        };
        let id = self.next_conn;
        let (server, newest) = (process.accept(self.now, id), process.snapshot.clone());
        self.next_conn += 1;
        let habit = self.miners[miner].habit;
        let (low, small) = (self.rng.range(1, 60), self.rng.range(SMALL_WINDOW.0, SMALL_WINDOW.1) as usize);
        let conn = Conn {
            miner,
            server: Some(server),
            client_open: true,
            up: Pipe::default(),
            down: Pipe::default(),
            window: if habit == Habit::SlowReader { small } else { WINDOW },
            delay: (low, low + self.rng.range(1, 200)),
            pool_reads: false,
            miner_reads: false,
        };
        self.conns.insert(id, conn);
        self.places[miner] = Some(id);
        self.counters.connections += 1;
        self.note("connects", id, miner as u64);
        self.observe(&Observation::Connected { conn: id, honest: habit.is_honest() });
        self.notice(id, &newest);
        self.settle(id);
        let frames = self.miners[miner].connect();
        self.send(id, frames);
    }

    /// Sends frames to the pool.
    fn send(&mut self, conn: u64, frames: Vec<Frame>) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.send_bytes(conn, bytes);
    }

    fn send_bytes(&mut self, conn: u64, bytes: Vec<u8>) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn).filter(|state| state.client_open && !bytes.is_empty()) else {
            return;
        };
        let delay = self.rng.millis(state.delay.0, state.delay.1);
        let at = state.up.send(now, delay, bytes);
        self.at(at, Event::AtPool { conn });
    }

    pub(super) fn at_miner(&mut self, conn: u64) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.down.arrive();
        self.want_miner_read(conn);
    }

    fn want_miner_read(&mut self, conn: u64) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if state.miner_reads || state.down.arrived.is_empty() || !state.client_open {
            return;
        }
        state.miner_reads = true;
        let slow = self.miners[state.miner].habit == Habit::SlowReader;
        let wait = if slow { self.rng.millis(100, 2_000) } else { Duration::ZERO };
        self.at(self.now + wait, Event::MinerReads { conn });
    }

    pub(super) fn miner_reads(&mut self, conn: u64) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.miner_reads = false;
        if !state.client_open {
            return;
        }
        let miner = state.miner;
        let most = match self.miners[miner].habit {
            Habit::SlowReader => self.rng.range(200, 900) as usize,
            _ => usize::MAX,
        };
        let bytes = state.down.read(most);
        let delay = self.rng.millis(state.delay.0, state.delay.1);
        if state.server.as_ref().is_some_and(|server| !server.unsent.is_empty()) {
            self.at(now + delay, Event::Writable { conn });
        }
        let output = self.miners[miner].receive(now, bytes);
        self.take_output(conn, output);
        self.want_miner_read(conn);
    }

    fn take_output(&mut self, conn: u64, output: Output) {
        self.counters.shares += output.shares;
        let miner = self.conns.get(&conn).map(|state| state.miner);
        let hostile = miner.is_some_and(|miner| self.miners[miner].habit == Habit::Hostile);
        if let Some(reason) = output.broken.filter(|_| !hostile) {
            self.observe(&Observation::ClientBroken { conn, reason });
        }
        self.send(conn, output.frames);
    }

    /// The connection is over for the miner; it dials again.
    pub(super) fn miner_eof(&mut self, conn: u64) {
        let Some(state) = self.conns.remove(&conn).filter(|state| state.client_open) else { return };
        self.counters.disconnects += 1;
        self.places[state.miner] = None;
        self.later_random(100, 8_000, Event::Connect { miner: state.miner });
    }

    pub(super) fn hash(&mut self, miner: usize) {
        if !self.is_busy() {
            return;
        }
        let millis = self.rng.range(500, 1_500);
        self.at(self.now + Duration::from_millis(millis), Event::Hash { miner });
        let Some(conn) = self.places[miner] else { return };
        let count = (f64::from(self.miners[miner].hashrate) * millis as f64 / 1_000.0).ceil() as u32;
        let output = self.miners[miner].hash(self.now, count);
        self.take_output(conn, output);
        if self.miners[miner].habit == Habit::Hostile && self.rng.chance(120) {
            let channel = self.miners[miner].any_channel();
            let bytes = hostile::bytes(&mut self.rng, channel);
            self.send_bytes(conn, bytes);
        }
        if self.options.fault == Some(Fault::EndHonest)
            && let Some(server) = self.server(conn)
        {
            server.out.gone = Some("on purpose".into());
            self.settle(conn);
        }
    }

    pub(super) fn act(&mut self, miner: usize) {
        if !self.is_busy() {
            return;
        }
        self.later_random(5_000, 120_000, Event::Act { miner });
        let Some(conn) = self.places[miner] else { return };
        match self.miners[miner].habit {
            Habit::HalfOpen => self.leave(conn, false),
            _ if self.rng.chance(250) => self.leave(conn, true),
            _ => {
                let frames = self.miners[miner].act();
                self.send(conn, frames);
            }
        }
    }

    /// The miner goes, with or without a word, and comes back.
    fn leave(&mut self, conn: u64, tells: bool) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.client_open = false;
        let (miner, delay) = (state.miner, Duration::from_millis(state.delay.1));
        if tells {
            let at = state.up.arrival(now, delay);
            self.at(at, Event::PoolEof { conn });
        } else if state.server.is_none() {
            self.conns.remove(&conn);
        }
        self.note("leaves", conn, u64::from(tells));
        self.counters.disconnects += 1;
        self.places[miner] = None;
        self.later_random(100, 8_000, Event::Connect { miner });
    }
}
