//! Template Providers: one between the pool and each node that is remote.

use std::time::Duration;

use framing_sv2::Sv2Frame;
use template_distribution_sv2::TemplateDistribution;
use template_provider::Action;
use template_source::{
    Command, Event as SourceEvent,
    sv2::{Close, Step},
};

use super::{Event, World};
use crate::{
    checks::Observation,
    pool::MAX_MESSAGE,
    provider::{Client, Frames, Upstream},
    subscription::Subscription,
    wire::Frame,
};

/// What a socket takes, in bytes: mostly more than there ever is, now and then so little that news waits.
const WINDOWS: [(u64, u64); 2] = [(1_000_000, 1_000_000), (300, 2_000)];

impl World {
    // The pool's end.

    fn upstream(&mut self, source: usize) -> Option<&mut Upstream> {
        self.process.as_mut()?.upstreams.get_mut(source)?.as_mut()
    }

    /// The source's timer, or its beginning.
    pub(super) fn upstream_timer(&mut self, source: usize, epoch: u64) {
        let now = self.now;
        if self.process.as_ref().is_none_or(|process| process.epoch != epoch) {
            return;
        }
        let Some(upstream) = self.upstream(source) else { return };
        upstream.timer = None;
        match upstream.core.handle_timeout(now) {
            Step::Wait => {}
            Step::Connect(_) => self.later_random(1, 60, Event::Dialled { source, epoch }),
            Step::Close(reason) => self.upstream_closes(source, reason),
        }
        self.pump_upstream(source);
    }

    /// The connection is made, if there is somebody to take it.
    pub(super) fn dialled(&mut self, source: usize, epoch: u64) {
        if self.process.as_ref().is_none_or(|process| process.epoch != epoch) {
            return;
        }
        if self.provider_away[source] > self.now {
            return self.upstream_closes(source, Close::Connection("refused".into()));
        }
        let (id, now) = (self.next_client, self.now);
        self.next_client += 1;
        let window = WINDOWS[usize::from(self.rng.chance(250))];
        let (window, low) = (self.rng.range(window.0, window.1) as usize, self.rng.range(0, 40));
        let delay = (low, low + self.rng.range(1, 100));
        let raw_blocks = self.nodes[source].character.raw_blocks;
        self.clients.insert(id, Client::new(now, source, raw_blocks, window, delay));
        self.counters.provider_connections += 1;
        self.note("provider: connected", source as u64, id);
        let mut sent = Frames::default();
        let Some(upstream) = self.upstream(source) else { return };
        (upstream.client, upstream.inbox) = (Some(id), Default::default());
        let result = upstream.core.connected(now, &mut sent);
        self.upstream_sent(source, sent, result);
    }

    /// The hub's command reaches the source.
    pub(super) fn upstream_command(&mut self, source: usize, command: Command) {
        let (now, mut sent) = (self.now, Frames::default());
        let Some(upstream) = self.upstream(source) else { return };
        let result = upstream.core.handle_command(now, command, &mut sent);
        self.upstream_sent(source, sent, result);
    }

    pub(super) fn at_upstream(&mut self, source: usize, id: u64) {
        let Some(client) = self.clients.get_mut(&id).filter(|client| client.attached) else { return };
        client.down.arrive();
        // Mostly read at once.
        let wait = if self.rng.chance(30) { self.rng.millis(50, 2_000) } else { Duration::ZERO };
        self.at(self.now + wait, Event::UpstreamReads { source, client: id });
    }

    pub(super) fn upstream_reads(&mut self, source: usize, id: u64) {
        let Some(client) = self.clients.get_mut(&id).filter(|client| client.attached) else { return };
        let bytes = client.down.read(usize::MAX);
        let Some(upstream) = self.upstream(source).filter(|upstream| upstream.client == Some(id)) else { return };
        upstream.inbox.push(bytes);
        loop {
            let (now, mut sent) = (self.now, Frames::default());
            let Some(upstream) = self.upstream(source).filter(|upstream| upstream.client == Some(id)) else { break };
            let Ok(Some(frame)) = upstream.inbox.next_frame(MAX_MESSAGE) else { break };
            let result = upstream.core.handle_frame(now, &sv2_frame(&frame), &mut sent);
            if let Err(reason) = &result {
                let reason = format!("the pool's source ends the connection: {reason}");
                self.observe(&Observation::ProviderAtOdds { client: id, reason });
            }
            self.upstream_sent(source, sent, result);
        }
        self.pump_client(id);
    }

    /// Sends what the source's core has put out, or ends its connection.
    fn upstream_sent(&mut self, source: usize, sent: Frames, result: Result<(), Close>) {
        if let Err(reason) = result {
            self.upstream_closes(source, reason);
            return self.pump_upstream(source);
        }
        let client = self.upstream(source).and_then(|upstream| upstream.client);
        if let Some(id) = client.filter(|_| !sent.0.is_empty()) {
            for frame in &sent.0 {
                self.trace.bytes(&frame.payload);
                if let Some(message) = decode(frame) {
                    self.observe(&Observation::ToProvider { client: id, message: &message });
                }
            }
            let (now, bytes) = (self.now, sent.0.iter().flat_map(Frame::bytes).collect());
            let Some(client) = self.clients.get_mut(&id) else { return };
            let delay = self.rng.millis(client.delay.0, client.delay.1);
            let at = client.up.send(now, delay, bytes);
            self.at(at, Event::AtProvider { client: id });
            if let Some(upstream) = self.upstream(source) {
                upstream.core.flushed();
            }
        }
        self.pump_upstream(source);
    }

    /// The pool's source gives up its connection.
    fn upstream_closes(&mut self, source: usize, reason: Close) {
        let now = self.now;
        let Some(upstream) = self.upstream(source) else { return };
        let client = upstream.client.take();
        upstream.core.closed(now, reason);
        if let Some(id) = client {
            self.client_leaves(id);
        }
    }

    /// Tells the hub what the source has to say, and sets the source's timer.
    pub(super) fn pump_upstream(&mut self, source: usize) {
        let mut events = Vec::new();
        let (now, Some(epoch)) = (self.now, self.process.as_ref().map(|process| process.epoch)) else { return };
        let Some(upstream) = self.upstream(source) else { return };
        while let Some(event) = upstream.core.poll_event() {
            events.push(event);
        }
        let due = upstream.core.poll_timeout();
        let sooner = due < Duration::MAX && upstream.timer.is_none_or(|timer| due < timer);
        if sooner {
            upstream.timer = Some(due);
            self.at(due.max(now), Event::UpstreamTimer { source, epoch });
        }
        self.node_says(source, events);
    }

    // The Template Provider's end.

    pub(super) fn at_provider(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id).filter(|client| client.attached) else { return };
        client.up.arrive();
        let bytes = client.up.read(usize::MAX);
        client.inbox.push(bytes);
        loop {
            let (now, mut sent) = (self.now, Frames::default());
            let Some(client) = self.clients.get_mut(&id).filter(|client| client.attached) else { return };
            let Ok(Some(frame)) = client.inbox.next_frame(MAX_MESSAGE) else { break };
            let result = client.session.handle_frame(now, &sv2_frame(&frame), &mut sent);
            self.provider_sent(id, sent);
            if let Err(reason) = result {
                return self.provider_ends(id, &reason);
            }
        }
        self.pump_client(id);
    }

    /// Tells all clients of a node what it has to say to each.
    pub(super) fn update_clients(&mut self, node: usize, fees: bool) {
        let now = self.unix();
        let of_node: Vec<u64> =
            self.clients.iter().filter(|(_, client)| client.node == node).map(|(id, _)| *id).collect();
        for id in of_node {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let Some(subscription) = &mut client.subscription else { continue };
            let node = &self.nodes[node];
            let events = if fees { subscription.new_fees(node) } else { subscription.update(node, now) };
            self.tell_client(id, events);
        }
    }

    fn tell_client(&mut self, id: u64, events: Vec<SourceEvent>) {
        for event in events {
            let Some(client) = self.clients.get_mut(&id) else { return };
            let at = client.lines.0.max(self.now + self.rng.millis(0, 20));
            client.lines.0 = at;
            self.at(at, Event::Told { client: id, event });
        }
    }

    pub(super) fn told(&mut self, id: u64, event: SourceEvent) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.news.push_back(event);
        self.pump_client(id);
    }

    /// A client's command reaches the node.
    pub(super) fn asked(&mut self, id: u64, command: Command) {
        let now = self.unix();
        let Some(client) = self.clients.get(&id) else { return };
        let (node, Some(subscription)) = (client.node, &client.subscription) else { return };
        let before = self.nodes[node].chain.tip();
        let (answer, handed) = subscription.command(&mut self.nodes[node], command, now);
        self.tell_client(id, answer.into_iter().collect());
        self.handed(node, before, handed);
    }

    pub(super) fn provider_timer(&mut self, id: u64) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.timer = None;
        match client.session.handle_timeout(now) {
            Ok(()) => self.pump_client(id),
            Err(reason) => self.provider_ends(id, &reason),
        }
    }

    /// What a client's task does after anything: news in, messages and commands out, timer.
    fn pump_client(&mut self, id: u64) {
        loop {
            let now = self.now;
            let Some(client) = self.clients.get_mut(&id) else { return };
            if client.session.wants_events()
                && let Some(event) = client.news.pop_front()
            {
                let result = client.session.handle_event(now, event);
                if let Err(reason) = result {
                    return self.provider_ends(id, &reason);
                }
                continue;
            }
            if !self.client_steps(id) {
                break;
            }
        }
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return };
        let pending = client.session.pending_solutions();
        let due = client.session.poll_timeout().filter(|at| client.timer.is_none_or(|timer| *at < timer));
        if !client.attached && pending == 0 {
            self.clients.remove(&id);
        } else if let Some(at) = due {
            client.timer = Some(at);
            self.at(at.max(now), Event::ProviderTimer { client: id });
        }
        self.observe(&Observation::Pending { count: pending });
    }

    /// One thing that the session wants done; false when there is none.
    fn client_steps(&mut self, id: u64) -> bool {
        let (now, unix) = (self.now, self.unix());
        let Some(client) = self.clients.get_mut(&id) else { return false };
        if client.subscription.is_none() {
            if !matches!(client.session.poll_action(), Some(Action::Subscribe(_))) {
                return self.client_sends(id);
            }
            let node = client.node;
            let subscription = client.subscription.insert(Subscription::default());
            let events = subscription.update(&self.nodes[node], unix);
            self.tell_client(id, events);
            return true;
        }
        if client.session.has_action()
            && let Some(Action::Command(command)) = client.session.poll_action()
        {
            let at = client.lines.1.max(now + self.rng.millis(0, 20));
            client.lines.1 = at;
            self.at(at, Event::Asked { client: id, command });
            return true;
        }
        self.client_sends(id)
    }

    /// Sends news or an answer when nothing waits, and as much as the socket takes.
    fn client_sends(&mut self, id: u64) -> bool {
        let Some(client) = self.clients.get_mut(&id).filter(|client| client.attached) else { return false };
        let mut sent = Frames::default();
        if client.unsent.is_empty()
            && let Err(reason) = client.session.transmit(&mut sent)
        {
            self.provider_ends(id, &reason);
            return false;
        }
        self.provider_sent(id, sent)
    }

    /// Queues frames, and writes what the socket takes. True when anything was queued.
    fn provider_sent(&mut self, id: u64, sent: Frames) -> bool {
        let fault = self.options.fault;
        let frames: Vec<Frame> = match fault {
            Some(fault) => sent.0.into_iter().flat_map(|frame| fault.spoil_provider(frame)).collect(),
            None => sent.0,
        };
        for frame in &frames {
            self.trace.bytes(&frame.payload);
            if let Some(message) = decode(frame) {
                self.observe(&Observation::FromProvider { client: id, message: &message });
            }
        }
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return false };
        client.unsent.extend(frames.iter().flat_map(Frame::bytes));
        let count = client.window.saturating_sub(client.down.unread).min(client.unsent.len());
        if count > 0 {
            let bytes = client.unsent.drain(..count).collect();
            let delay = self.rng.millis(client.delay.0, client.delay.1);
            let (at, source) = (client.down.send(now, delay, bytes), client.node);
            self.at(at, Event::AtUpstream { source, client: id });
        }
        !frames.is_empty()
    }

    /// The Template Provider ends a connection.
    fn provider_ends(&mut self, id: u64, reason: &template_provider::Close) {
        let Some(client) = self.clients.get(&id) else { return };
        if !client.attached {
            // What a client would be sent away for does not matter any more.
            return;
        }
        let (source, reason) = (client.node, format!("the Template Provider ends the connection: {reason}"));
        self.observe(&Observation::ProviderAtOdds { client: id, reason });
        self.break_connection(source);
    }

    /// The connection to the pool is gone: found blocks are still seen through.
    pub(super) fn client_leaves(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.attached = false;
        client.session.detach();
        self.note("provider: gone", id, 0);
        self.observe(&Observation::ProviderGone { client: id });
        self.pump_client(id);
    }

    fn break_connection(&mut self, source: usize) {
        if self.upstream(source).is_some_and(|upstream| upstream.client.is_some()) {
            self.upstream_closes(source, Close::Connection("reset".into()));
            self.pump_upstream(source);
        }
    }

    /// The network breaks the connection, or the Template Provider starts anew.
    pub(super) fn breaks(&mut self, node: usize) {
        if !self.is_busy() {
            return;
        }
        self.later_random(15_000, 200_000, Event::Breaks { node });
        self.counters.provider_breaks += 1;
        self.break_connection(node);
        if self.rng.chance(400) {
            self.provider_away[node] = self.now + self.rng.millis(100, 8_000);
            self.clients.retain(|_, client| client.node != node);
            self.note("provider restarts", node as u64, 0);
        }
    }
}

fn sv2_frame(frame: &Frame) -> Sv2Frame<'_> {
    Sv2Frame::new(frame.header, frame.payload.as_slice()).expect("a whole frame")
}

/// A message of Template Distribution; nothing for those of the set-up.
fn decode(frame: &Frame) -> Option<TemplateDistribution<'_>> {
    TemplateDistribution::decode(frame.header.message_type(), &frame.payload).ok()
}
