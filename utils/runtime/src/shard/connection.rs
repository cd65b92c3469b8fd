//! One connection of a shard: its core, what waits to be sent, and whose records are whose.

use std::{cell::RefCell, fmt::Display, io, sync::Arc, time::Duration};

use binary_sv2::Message;
use stratum_v1::line::LineDecoder;
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
};

use super::wire::Wire;
use crate::{
    core::{Core, Sink},
    journal::{JournalFull, Progress, Recording, Records},
};

/// The records of a shard, and who waits for what of them.
pub(super) struct Recorder<R> {
    pub records: RefCell<Records<R>>,
    /// The first record of a turn was added.
    pub turn_began: Notify,
    /// Connections may be read from again.
    pub caught_up: Notify,
}

impl<R: 'static> Recorder<R> {
    pub fn new(recording: Option<Recording<R>>) -> Self {
        Self { records: RefCell::new(Records::new(recording)), turn_began: Notify::new(), caught_up: Notify::new() }
    }

    pub fn progress(&self) -> Option<watch::Receiver<Progress>> {
        self.records.borrow().progress()
    }

    /// A change after which connections that were held may be free.
    pub fn change<T>(&self, change: impl FnOnce(&mut Records<R>) -> T) -> T {
        let mut records = self.records.borrow_mut();
        let held = records.hold_readers();
        let result = change(&mut records);
        if held && !records.hold_readers() {
            self.caught_up.notify_waiters();
        }
        result
    }
}

/// One connection: what its own task and the shard share. No borrow of `live` is held across an await.
pub(super) struct Connection<C: Core> {
    pub stream: TcpStream,
    pub live: RefCell<Live<C>>,
    /// Wakes the connection's task when somebody else left it something to do.
    pub wake: Notify,
}

impl<C: Core> Connection<C> {
    pub fn new(stream: TcpStream, live: Live<C>) -> Self {
        Self { stream, live: RefCell::new(live), wake: Notify::new() }
    }

    /// Puts a notice through the core, unless bytes are in its way.
    pub fn notice(&self, now: Duration, notice: &Arc<C::Notice>, recorder: &Recorder<C::Record>) {
        let mut live = self.live.borrow_mut();
        if live.out.unsent() > 0 {
            live.stale = true;
        } else {
            live.drive(now, recorder, |core, sink| core.handle_notice(now, notice, sink));
            live.flush(now, &self.stream);
        }
        self.wake_for(&live);
    }

    /// Gives the core a letter. True when this is the first time since [`flush_answers`](Self::flush_answers).
    pub fn letter(&self, now: Duration, letter: C::Letter, recorder: &Recorder<C::Record>) -> bool {
        let mut live = self.live.borrow_mut();
        live.drive(now, recorder, |core, sink| core.handle_letter(now, letter, sink));
        !std::mem::replace(&mut live.told, true)
    }

    /// Tells the core of durable records. True when this is the first time since [`flush_answers`](Self::flush_answers).
    pub fn durable(&self, now: Duration, count: u32, recorder: &Recorder<C::Record>) -> bool {
        let mut live = self.live.borrow_mut();
        live.undurable = live.undurable.saturating_sub(count as usize);
        live.drive(now, recorder, |core, sink| core.handle_durable(now, count as usize, sink));
        !std::mem::replace(&mut live.told, true)
    }

    /// Sends what the core had to say to letters or durable records.
    pub fn flush_answers(&self, now: Duration) {
        let mut live = self.live.borrow_mut();
        live.told = false;
        live.flush(now, &self.stream);
        self.wake_for(&live);
    }

    fn wake_for(&self, live: &Live<C>) {
        if live.needs_task() {
            self.wake.notify_one();
        }
    }
}

/// Why a connection ended.
pub(super) struct End {
    pub reason: String,
    /// The peer did what no honest one does.
    pub abuse: bool,
}

impl End {
    pub fn because(reason: impl Display) -> Self {
        Self { reason: reason.to_string(), abuse: false }
    }

    pub fn stopped() -> Self {
        Self::because("the server stops")
    }

    pub fn dropped() -> Self {
        Self::because("not set up yet, and its place was needed")
    }
}

/// What changes in a connection.
pub(super) struct Live<C: Core> {
    id: u64,
    pub core: C,
    pub out: Out<C::Report>,
    /// A byte that is unsent, as its position in all that was ever queued, and since when.
    pub oldest_unsent: Option<(u64, Duration)>,
    /// When bytes last came.
    pub last_input: Duration,
    /// What the connection's task waits for at most.
    pub armed: Option<Duration>,
    /// The core has put out a record.
    pub adds_records: bool,
    /// Records under way to the disk.
    pub undurable: usize,
    /// The connection ends when all is answered.
    pub awaits_end: bool,
    /// A notice was passed over while bytes were unsent.
    stale: bool,
    /// Was given letters or told of durable records, and not yet flushed.
    told: bool,
}

impl<C: Core> Live<C> {
    pub fn new(id: u64, now: Duration, core: C, wire: Wire) -> Self {
        let out = Out { wire, sent: 0, reports: Vec::new(), gone: None };
        Self {
            id,
            core,
            out,
            oldest_unsent: None,
            last_input: now,
            armed: None,
            adds_records: false,
            undurable: 0,
            awaits_end: false,
            stale: false,
            told: false,
        }
    }

    /// Gives the core its turn with a sink, and sees to the records that it put out.
    pub fn drive(
        &mut self,
        now: Duration,
        recorder: &Recorder<C::Record>,
        turn: impl FnOnce(&mut C, &mut Port<'_, C>),
    ) {
        let Self { core, out, .. } = self;
        let mut records = recorder.records.borrow_mut();
        let mut port = Port { out, records: &mut records, added: 0 };
        turn(core, &mut port);
        if port.added > 0 {
            self.adds_records = true;
            if port.records.are_kept() {
                self.undurable += port.added as usize;
                if port.records.attribute(now, self.id, port.added) {
                    recorder.turn_began.notify_one();
                }
            } else {
                let count = std::mem::take(&mut port.added);
                core.handle_durable(now, count as usize, &mut port);
            }
        }
    }

    pub fn flush(&mut self, now: Duration, stream: &TcpStream) {
        if let Err(error) = self.out.write_to(stream) {
            self.out.gone.get_or_insert_with(|| End::because(error));
        }
        let sent = self.out.sent;
        let queued = sent + self.out.unsent() as u64;
        self.oldest_unsent = match self.oldest_unsent {
            _ if queued == sent => None,
            Some((position, since)) if position > sent => Some((position, since)),
            _ => Some((queued, now)),
        };
    }

    /// Sends the last bytes, as far as the socket takes them.
    pub fn close(&mut self, now: Duration, stream: &TcpStream) {
        self.out.wire.close();
        self.flush(now, stream);
    }

    /// Gives the newest notice once the bytes that stood in its way are gone.
    pub fn catch_up(
        &mut self,
        now: Duration,
        notices: &watch::Receiver<Arc<C::Notice>>,
        stream: &TcpStream,
        recorder: &Recorder<C::Record>,
    ) {
        if self.stale && self.out.unsent() == 0 {
            self.stale = false;
            let notice = notices.borrow().clone();
            self.drive(now, recorder, |core, sink| core.handle_notice(now, &notice, sink));
            self.flush(now, stream);
        }
    }

    fn needs_task(&self) -> bool {
        let earlier = |at| self.armed.is_none_or(|armed| at < armed);
        self.out.unsent() > 0
            || self.awaits_end
            || self.out.gone.is_some()
            || !self.out.reports.is_empty()
            || self.core.poll_timeout().is_some_and(earlier)
    }
}

/// What a core has put out.
pub(super) struct Out<R> {
    wire: Wire,
    /// Bytes that left.
    sent: u64,
    pub reports: Vec<R>,
    pub gone: Option<End>,
}

impl<R> Out<R> {
    pub fn unsent(&self) -> usize {
        self.wire.unsent()
    }

    /// See [`Wire::read_lines`].
    pub fn read_lines(
        &mut self,
        stream: &TcpStream,
        buffer: &mut [u8],
        decoder: &mut LineDecoder,
    ) -> Result<bool, End> {
        self.wire.read_lines(stream, buffer, decoder)
    }

    /// Writes what the socket takes.
    fn write_to(&mut self, stream: &TcpStream) -> io::Result<()> {
        self.sent += self.wire.write_to(stream)?;
        Ok(())
    }

    fn put(&mut self, put: impl FnOnce(&mut Wire) -> Result<(), End>) {
        if self.gone.is_none()
            && let Err(end) = put(&mut self.wire)
        {
            self.gone = Some(end);
        }
    }
}

/// The sink of a core that has its turn: messages go, serialised and encrypted, to the end of the connection's outgoing bytes,
/// records to those of the shard's turn.
pub(super) struct Port<'a, C: Core> {
    out: &'a mut Out<C::Report>,
    records: &'a mut Records<C::Record>,
    added: u32,
}

impl<C: Core> Port<'_, C> {
    pub fn is_gone(&self) -> bool {
        self.out.gone.is_some()
    }
}

impl<C: Core> Sink for Port<'_, C> {
    type Report = C::Report;
    type Record = C::Record;

    fn send<M: Message>(&mut self, message: &M) {
        self.out.put(|wire| wire.push(message));
    }

    fn send_lines(&mut self, lines: &[u8]) {
        self.out.put(|wire| wire.push_lines(lines));
    }

    fn disconnect(&mut self, reason: impl Display) {
        self.out.gone.get_or_insert_with(|| End::because(reason));
    }

    fn disconnect_for_abuse(&mut self, reason: impl Display) {
        self.out.gone.get_or_insert_with(|| End { abuse: true, ..End::because(reason) });
    }

    fn report(&mut self, report: C::Report) {
        self.out.reports.push(report);
    }

    fn persist(&mut self, record: C::Record) -> Result<(), JournalFull> {
        self.records.push(record)?;
        self.added += 1;
        Ok(())
    }
}
