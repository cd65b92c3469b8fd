//! The pool's side: the driver of the hub, and the shards.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bitcoin::BlockHash;
use mining_sv2::Mining;
use pool::{
    PoolEvent,
    blocks::{BlockState, FoundBlock},
    hold::Hold,
    hub::{Candidate, Output},
    ledger::Record,
    snapshot::Snapshot,
    store::BYTES_PATIENCE,
};
use stratum_runtime::core::{Core, Sink};
use template_source::{COMMAND_QUEUE, Command, Confirmations, Event as SourceEvent, SubmitOutcome, SubmitPath};

use super::{Event, World, nodes::MAX_REORG};
use crate::{
    checks::{End, Observation},
    fault::Fault,
    pool::{Batch, CONFIRMATIONS, MAX_MESSAGE, Numbered, Process, ServerSide},
    subscription::Subscription,
    wire::Frame,
};

impl World {
    pub(super) fn start_process(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.disk.epoch += 1;
        let mut process = Process::start(self.now, self.disk.epoch, &self.nodes, self.shards, self.acknowledge);
        self.note("pool starts", process.epoch, 0);
        if self.options.fault != Some(Fault::BlockNotRestored) {
            self.disk.undecided().into_iter().for_each(|(block, state)| process.hub.restore(self.now, block, state));
        }
        self.process = Some(process);
        for node in 0..self.nodes.len() {
            if self.nodes[node].character.remote {
                self.pump_upstream(node);
                continue;
            }
            self.direct[node] = Some(Subscription::default());
            self.update_node(node);
        }
        self.drain_hub();
    }

    pub(super) fn source_reports(&mut self, source: usize, epoch: u64, event: SourceEvent) {
        let now = self.now;
        if let SourceEvent::Tip(tip) = &event {
            self.observe(&Observation::Tip { prev_hash: tip.prev_hash });
        }
        let is_served = |process: &&mut Process| process.epoch == epoch && !process.stopping;
        let Some(process) = self.process.as_mut().filter(is_served) else { return };
        process.future_templates += usize::from(matches!(&event, SourceEvent::Template(template) if template.future));
        if let SourceEvent::Tip(tip) = &event {
            self.trace.note(now, "source: tip", source as u64, super::short(&tip.prev_hash));
        }
        process.hub.handle_source(now, source, event);
        self.drain_hub();
    }

    pub(super) fn candidate_arrives(&mut self, epoch: u64, mut candidate: Candidate) {
        let Some(process) = self.process.as_mut().filter(|process| process.epoch == epoch) else { return };
        if process.stopping && self.options.fault == Some(Fault::StopForgets) {
            return;
        }
        let hash = candidate.candidate.hash;
        process.holds.push((hash, std::mem::take(&mut candidate.hold)));
        let is_known = process.hub.handle_candidate(self.now, &candidate).is_none();
        if is_known && !process.storing.contains(&hash) {
            self.let_go(epoch, hash);
        }
        self.drain_hub();
    }

    /// Nothing more is waited for before the shares of this block are acknowledged.
    pub(super) fn let_go(&mut self, epoch: u64, hash: BlockHash) {
        if let Some(process) = self.process.as_mut().filter(|process| process.epoch == epoch) {
            process.holds.retain(|(block, _)| *block != hash);
        }
    }

    pub(super) fn hub_timer(&mut self, epoch: u64) {
        let Some(process) = self.process.as_mut().filter(|process| process.epoch == epoch) else { return };
        process.timer = None;
        if process.stopping {
            return;
        }
        if process.hub.poll_timeout().is_some_and(|at| at <= self.now) {
            process.hub.handle_timeout(self.now);
        }
        self.drain_hub();
    }

    pub(super) fn stored(&mut self, epoch: u64, block: FoundBlock, state: BlockState) {
        let Some(process) = self.process.as_mut().filter(|process| process.epoch == epoch) else { return };
        let (hash, is_decided) = (block.hash, state != BlockState::Open);
        if let Some(index) = process.storing.iter().position(|storing| *storing == hash) {
            process.storing.remove(index);
        }
        let is_enough = block.raw.is_some() || is_decided;
        self.disk.write(block, state);
        let raw = self.disk.has_bytes(&hash);
        self.observe(&Observation::Persisted { hash, raw, is_decided });
        if is_enough {
            self.let_go(epoch, hash);
        } else {
            self.at(self.now + BYTES_PATIENCE, Event::NoBytes { epoch, hash });
        }
    }

    /// Carries out what the hub wants, as `pool::server` does.
    fn drain_hub(&mut self) {
        while let Some(output) = self.process.as_mut().and_then(|process| process.hub.poll_output()) {
            match output {
                Output::Publish(snapshot) => self.publish(snapshot),
                Output::Command { source, command } => self.send_command(source, command),
                Output::Persist { block, state } => {
                    let Some(process) = self.process.as_mut() else { return };
                    process.storing.push(block.hash);
                    let epoch = process.epoch;
                    self.disk_line = self.disk_line.max(self.now) + self.moment();
                    self.at(self.disk_line, Event::Stored { epoch, block, state });
                }
                Output::Event(event) => self.pool_event(event),
            }
        }
        let Some(process) = &self.process else { return };
        let mut load = process.hub.load();
        if self.options.fault == Some(Fault::TemplatesKept) {
            load.future_templates = process.future_templates;
        }
        self.observe(&Observation::Hub { load });
        let Some(process) = &mut self.process else { return };
        let (epoch, deadline) = (process.epoch, process.hub.poll_timeout());
        if let Some(at) = deadline.filter(|at| process.timer.is_none_or(|timer| *at < timer)) {
            process.timer = Some(at);
            self.at(at.max(self.now), Event::HubTimer { epoch });
        }
    }

    fn pool_event(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::BlockFound(block) => {
                self.counters.found_blocks += 1;
                self.note_hash("block found", 0, &block.hash);
            }
            PoolEvent::BlockDecided(block, BlockState::Confirmed) => self.confirmed(&block.hash),
            PoolEvent::BlockDecided(block, BlockState::Orphaned) => {
                self.counters.orphaned_blocks += 1;
                self.note_hash("block orphaned", 0, &block.hash);
            }
            _ => {}
        }
    }

    /// What is called confirmed is deep in the chain of some node, less what may have been reorganised since it was asked.
    fn confirmed(&mut self, hash: &BlockHash) {
        self.counters.confirmed_blocks += 1;
        self.note_hash("block confirmed", 0, hash);
        let least = CONFIRMATIONS - MAX_REORG as u32;
        let is_deep = |depth| matches!(depth, Confirmations::InChain(depth) if depth >= least);
        if !self.nodes.iter().any(|node| is_deep(node.chain.confirmations(hash))) {
            self.fail("confirmations", format!("block {hash} was called confirmed, and no node has it that deep"));
        }
    }

    fn send_command(&mut self, source: usize, command: Command) {
        let Some(process) = &mut self.process else { return };
        if process.commands[source] >= COMMAND_QUEUE {
            let failed =
                |hash, path| SourceEvent::Submitted { hash, path, outcome: SubmitOutcome::Failed("behind".into()) };
            let answer = match command {
                Command::SubmitSolution(solution) => failed(solution.hash, SubmitPath::Solution),
                Command::SubmitBlock { hash, .. } => failed(hash, SubmitPath::RawBlock),
                Command::RequestTransactions(id) => SourceEvent::Transactions { id, result: Err("behind".into()) },
                Command::RequestConfirmations(hash) => {
                    SourceEvent::Confirmations { hash, result: Err("behind".into()) }
                }
                Command::SetConstraints(_) => return,
            };
            return process.hub.handle_source(self.now, source, answer);
        }
        process.commands[source] += 1;
        let (epoch, count) = (process.epoch, process.commands[source]);
        let at = self.source_lines[source].1.max(self.now + self.rng.millis(0, 20));
        self.source_lines[source].1 = at;
        self.at(at, Event::Command { source, epoch, command });
        self.observe(&Observation::Commands { count });
    }

    /// A watch channel: each shard sees only the newest.
    fn publish(&mut self, snapshot: Arc<Snapshot>) {
        let Some(process) = &mut self.process else { return };
        process.snapshot = Numbered { number: process.snapshot.number + 1, snapshot };
        let epoch = process.epoch;
        let mut wake = Vec::new();
        for (index, shard) in process.shards.iter_mut().enumerate() {
            if !shard.changed && !shard.busy {
                wake.push(index);
            }
            shard.changed = true;
        }
        for shard in wake {
            self.later_random(0, 5, Event::Broadcast { epoch, shard });
        }
    }

    pub(super) fn broadcast(&mut self, epoch: u64, shard: usize) {
        let Some(process) = self.process.as_mut().filter(|process| process.epoch == epoch) else { return };
        let state = &mut process.shards[shard];
        (state.changed, state.busy) = (false, true);
        let notice = process.snapshot.clone();
        let of_shard = |server: &ServerSide| server.shard == shard;
        let conns = self.conns.iter().filter(|(_, conn)| conn.server.as_ref().is_some_and(of_shard));
        let rest = conns.map(|(id, _)| *id).collect();
        self.turn(epoch, shard, &notice, rest);
    }

    /// A few connections' turn; others have theirs in between.
    pub(super) fn turn(&mut self, epoch: u64, shard: usize, notice: &Numbered, mut rest: VecDeque<u64>) {
        let Some(process) = self.process.as_ref().filter(|process| process.epoch == epoch) else { return };
        // Others have had their turn since the last batch: there may be a newer one.
        let (held, notice) = (notice, process.snapshot.clone());
        for conn in rest.drain(..self.turn.min(rest.len())).collect::<Vec<_>>() {
            let Some(server) = self.server(conn) else { continue };
            if server.unsent.is_empty() {
                self.notice(conn, &notice);
                if self.options.fault == Some(Fault::OldSnapshot) {
                    self.notice(conn, held);
                }
            } else {
                server.stale = true;
                self.counters.passed_over += 1;
            }
            self.settle(conn);
        }
        if !rest.is_empty() {
            let notice = held.clone();
            return self.later_random(0, 30, Event::Turn { epoch, shard, notice, rest });
        }
        let Some(process) = &mut self.process else { return };
        process.shards[shard].busy = false;
        if process.shards[shard].changed {
            self.later_random(0, 1, Event::Broadcast { epoch, shard });
        }
    }

    pub(super) fn server(&mut self, conn: u64) -> Option<&mut ServerSide> {
        self.conns.get_mut(&conn)?.server.as_mut()
    }

    pub(super) fn notice(&mut self, conn: u64, notice: &Numbered) {
        let Numbered { number, snapshot } = notice;
        let has_job = snapshot.tip.is_some() || snapshot.future.is_some();
        self.observe(&Observation::Noticed { conn, number: *number, has_job });
        let now = self.now;
        let Some(ServerSide { session, out, .. }) = self.server(conn) else { return };
        session.handle_notice(now, snapshot, out);
        self.collect(conn);
    }

    pub(super) fn at_pool(&mut self, conn: u64) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.up.arrive();
        self.want_read(conn);
    }

    /// Lets the pool read, when there is something and it may.
    fn want_read(&mut self, conn: u64) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let may = state.server.as_ref().is_some_and(ServerSide::is_readable);
        if may && !state.pool_reads && !state.up.arrived.is_empty() {
            state.pool_reads = true;
            self.at(now, Event::PoolReads { conn });
        }
    }

    /// One read from the socket, and the whole frames that are there.
    pub(super) fn pool_reads(&mut self, conn: u64) {
        let most = self.rng.range(40, 2_000) as usize;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.pool_reads = false;
        let Some(server) = &mut state.server else { return };
        server.inbox.push(state.up.read(most));
        let malformed = loop {
            let Some(server) = self.server(conn) else { return };
            if server.out.gone.is_some() {
                break None;
            }
            match server.inbox.next_frame(MAX_MESSAGE) {
                Ok(Some(frame)) => self.pool_takes(conn, &frame),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let now = self.now;
        let Some(ServerSide { session, out, .. }) = self.server(conn) else { return };
        session.finish_input(now, out);
        if let Some(error) = malformed {
            out.disconnect(error);
        }
        self.collect(conn);
        self.observe(&Observation::InputDone { conn });
        self.settle(conn);
        self.want_read(conn);
    }

    fn pool_takes(&mut self, conn: u64, frame: &Frame) {
        let message = (frame.header.extension_type() == 0)
            .then(|| Mining::decode(frame.header.message_type(), &frame.payload).ok())
            .flatten();
        self.trace.bytes(&frame.payload);
        if let Some(message) = &message {
            self.observe(&Observation::ToPool { conn, message });
        }
        let now = self.now;
        let Some(ServerSide { session, out, .. }) = self.server(conn) else { return };
        session.handle_frame(now, frame.header, &frame.payload, out);
        self.collect(conn);
        if let Some(message) = &message {
            self.observe(&Observation::Handled { conn, message });
        }
    }

    /// Takes what a session put out: frames to the end of its bytes, reports to the hub.
    fn collect(&mut self, conn: u64) {
        let fault = self.options.fault;
        let Some(server) = self.server(conn) else { return };
        let (frames, reports) = (std::mem::take(&mut server.out.frames), std::mem::take(&mut server.out.reports));
        let records = std::mem::take(&mut server.out.records);
        let frames: Vec<_> = match fault {
            Some(fault) => frames.into_iter().flat_map(|frame| fault.spoil(frame)).collect(),
            None => frames,
        };
        for frame in frames {
            self.trace.bytes(&frame.payload);
            let message = Mining::decode(frame.header.message_type(), &frame.payload).ok();
            let message = message.as_ref().filter(|_| frame.header.extension_type() == 0);
            self.observe(&Observation::FromPool { conn, message });
            if let Some(server) = self.server(conn) {
                server.unsent.extend_from_slice(&frame.bytes());
            }
        }
        for mut report in reports.into_iter().filter(|_| fault != Some(Fault::BlockNotReported)) {
            if fault == Some(Fault::AckBeforeBlock) {
                report.hold = Hold::default();
            }
            let hash = report.candidate.hash;
            self.note_hash("block reported", conn, &hash);
            self.observe(&Observation::Candidate { hash });
            let Some(epoch) = self.process.as_ref().map(|process| process.epoch) else { return };
            self.later_random(0, 2, Event::Candidate { epoch, candidate: Box::new(report) });
            if std::mem::take(&mut self.stop_at_block) {
                self.at(self.now, Event::Stopping);
            }
        }
        if !records.is_empty() {
            self.append(conn, &records);
        }
    }

    /// The journal is behind by some milliseconds; now and then the disk takes its time.
    fn append(&mut self, conn: u64, records: &[Record]) {
        let lag = if self.rng.chance(5) { self.rng.millis(100, 3_000) } else { self.rng.millis(1, 15) };
        let Some(process) = &mut self.process else { return };
        let shares = records.iter().filter_map(|record| match record {
            Record::Share { hash, .. } => Some(*hash),
            Record::Rejects { .. } => None,
        });
        let batch = Batch { conn, records: records.len(), shares: shares.collect() };
        process.journal.waiting.push_back(batch);
        process.journal.written = process.journal.written.max(self.now + lag);
        let (at, epoch) = (process.journal.written, process.epoch);
        self.at(at, Event::Durable { epoch });
    }

    /// What waits longest is on disk. What a process has not written is gone with it; a connection that has ended gets no answer.
    pub(super) fn durable(&mut self, epoch: u64) {
        let Some(process) = self.process.as_mut().filter(|process| process.epoch == epoch) else { return };
        let Some(Batch { conn, records, shares }) = process.journal.waiting.pop_front() else { return };
        shares.into_iter().for_each(|hash| self.observe(&Observation::Recorded { hash }));
        let now = self.now;
        let Some(ServerSide { session, out, .. }) = self.server(conn) else { return };
        session.handle_durable(now, records, out);
        self.collect(conn);
        self.settle(conn);
    }

    /// What a connection's task does after anything: write, catch up, end, set its timer.
    pub(super) fn settle(&mut self, conn: u64) {
        let newest = self.process.as_ref().map(|process| process.snapshot.clone());
        self.flush(conn);
        let Some(server) = self.server(conn) else { return };
        if server.stale && server.unsent.is_empty() {
            server.stale = false;
            if let Some(newest) = newest {
                self.notice(conn, &newest);
                self.flush(conn);
            }
        }
        let now = self.now;
        let Some(server) = self.server(conn) else { return };
        let (bytes, limit) = (server.unsent.len(), server.session.outbound_limit());
        let overdue = server.drop_at().is_some_and(|at| at <= now);
        let reason = server.out.gone.take().or_else(|| overdue.then(|| "the peer does not read".to_owned()));
        self.observe(&Observation::Unsent { conn, bytes, limit });
        if let Some(reason) = reason {
            return self.server_ends(conn, reason);
        }
        self.want_read(conn);
        let Some(server) = self.server(conn) else { return };
        let deadline = server.deadline().filter(|at| server.timer.is_none_or(|timer| *at < timer));
        if let Some(at) = deadline {
            server.timer = Some(at);
            self.at(at.max(now), Event::SessionTimer { conn });
        }
    }

    fn flush(&mut self, conn: u64) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let (room, delay) = (state.window.saturating_sub(state.down.unread), state.delay);
        let Some(server) = &mut state.server else { return };
        let bytes = server.write(now, room);
        if bytes.is_empty() {
            return;
        }
        let delay = self.rng.millis(delay.0, delay.1);
        let at = state.down.send(now, delay, bytes);
        self.at(at, Event::AtMiner { conn });
    }

    pub(super) fn session_timer(&mut self, conn: u64) {
        let now = self.now;
        let Some(server) = self.server(conn) else { return };
        server.timer = None;
        if server.session.poll_timeout().is_some_and(|at| at <= now) {
            server.session.handle_timeout(now, &mut server.out);
            self.collect(conn);
        }
        self.settle(conn);
    }

    /// The pool ends a connection.
    fn server_ends(&mut self, conn: u64, reason: String) {
        let (now, Some(state)) = (self.now, self.conns.get_mut(&conn)) else { return };
        state.server = None;
        let delay = Duration::from_millis(state.delay.1);
        let at = state.down.arrival(now, delay);
        self.at(at, Event::MinerEof { conn });
        self.counters.ended_by_pool += 1;
        self.note("pool ends connection", conn, 0);
        self.observe(&Observation::Ended { conn, end: End::ByPool(reason) });
    }

    /// The peer is gone.
    pub(super) fn pool_eof(&mut self, conn: u64) {
        if self.conns.get_mut(&conn).is_some_and(|state| state.server.take().is_some()) {
            self.note("peer is gone", conn, 0);
            self.observe(&Observation::Ended { conn, end: End::ByPeer });
        }
        if self.conns.get(&conn).is_some_and(|state| !state.client_open) {
            self.conns.remove(&conn);
        }
    }

    pub(super) fn drop_all_sessions(&mut self) {
        let now = self.now;
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            if state.server.take().is_some() {
                let at = state.down.arrival(now, Duration::from_millis(5));
                self.at(at, Event::MinerEof { conn });
                self.observe(&Observation::Ended { conn, end: End::Crash });
            }
        }
    }
}
