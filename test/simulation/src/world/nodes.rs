//! Nodes: blocks of others, reorganisations, races, restarts.

use std::{sync::Arc, time::Duration};

use bitcoin::{Block, BlockHash};
use template_source::{Command, Event as SourceEvent};

use super::{Event, World};
use crate::{
    chain::{Verdict, mine},
    checks::Observation,
    fault::Fault,
    subscription::Handed,
};

/// A session's report is with the hub after this.
const LAST_REPORTS: Duration = Duration::from_millis(3);
/// Deepest reorganisation.
pub(super) const MAX_REORG: usize = 3;

impl World {
    /// Tells the pool's process what a node has to say.
    pub(super) fn node_says(&mut self, node: usize, events: Vec<SourceEvent>) {
        let Some(epoch) = self.process.as_ref().map(|process| process.epoch) else { return };
        for event in events {
            let at = self.source_lines[node].0.max(self.now + self.rng.millis(0, 40));
            self.source_lines[node].0 = at;
            self.at(at, Event::Source { source: node, epoch, event });
        }
    }

    pub(super) fn update_node(&mut self, node: usize) {
        let now = self.unix();
        self.nodes[node].forget_mined();
        if let Some(subscription) = &mut self.direct[node] {
            let events = subscription.update(&self.nodes[node], now);
            self.node_says(node, events);
        }
        self.update_clients(node, false);
    }

    pub(super) fn command_arrives(&mut self, source: usize, epoch: u64, command: Command) {
        let Some(process) = self.process.as_mut().filter(|process| process.epoch == epoch) else { return };
        process.commands[source] -= 1;
        let is_submission = matches!(command, Command::SubmitSolution(_) | Command::SubmitBlock { .. });
        let broken = match self.options.fault {
            Some(Fault::BlockNotSubmitted) => true,
            Some(Fault::BlockNotRestored) => epoch == 1,
            _ => false,
        };
        if is_submission && broken {
            return;
        }
        let Some(subscription) = &self.direct[source] else { return self.upstream_command(source, command) };
        let now = self.unix();
        let before = self.nodes[source].chain.tip();
        let (answer, handed) = subscription.command(&mut self.nodes[source], command, now);
        self.node_says(source, answer.into_iter().collect());
        self.handed(source, before, handed);
    }

    /// What follows from a block that was handed to a node.
    pub(super) fn handed(&mut self, node: usize, before: BlockHash, handed: Option<Handed>) {
        if let Some((hash, verdict)) = handed {
            self.note_hash("block handed in", node as u64, &hash);
            self.counters.accepted_blocks += u64::from(verdict == Verdict::NewTip);
            self.observe(&Observation::Handed { hash, verdict: verdict.clone() });
            if verdict == Verdict::NewTip || verdict == Verdict::SideBranch {
                self.spread(node, hash);
            }
        }
        if self.nodes[node].chain.tip() != before {
            self.update_node(node);
        }
    }

    /// Another miner finds a block, or a better branch.
    pub(super) fn external(&mut self, node: usize, depth: usize) {
        if !self.is_busy() {
            return;
        }
        let depth_next = if self.rng.chance(250) { self.rng.range(1, MAX_REORG as u64) as usize } else { 0 };
        self.later_random(500, 60_000, Event::External { node, depth: depth_next });
        let mut parent = self.nodes[node].chain.ancestor(depth);
        self.counters.reorgs += u64::from(depth > 0);
        for _ in 0..=depth {
            let now = self.unix();
            let state = &self.nodes[node];
            let txs = if depth == 0 && self.rng.chance(700) { state.waiting() } else { Vec::new() };
            let Some(block) = mine(&state.chain, parent, txs, now, &mut self.rng) else { return };
            parent = block.block_hash();
            self.note_hash("block of others", node as u64, &parent);
            self.counters.other_blocks += 1;
            let verdict = self.nodes[node].chain.submit(block, now);
            if let Verdict::Rejected(reason) = verdict {
                return self.fail("the world", format!("a node refuses its own block: {reason}"));
            }
            self.spread(node, parent);
        }
        self.update_node(node);
    }

    /// Sends a block to the other nodes.
    fn spread(&mut self, from: usize, hash: BlockHash) {
        let Some(block) = self.nodes[from].chain.block(&hash).cloned() else { return };
        for node in (0..self.nodes.len()).filter(|node| *node != from) {
            // Slow enough for races, now and then.
            let most = if self.rng.chance(200) { 8_000 } else { 400 };
            self.later_random(5, most, Event::Propagate { node, block: block.clone() });
        }
    }

    pub(super) fn propagate(&mut self, node: usize, block: &Arc<Block>) {
        if !self.nodes[node].online {
            // It asks its peers when it is up again.
            return;
        }
        self.take_with_parents(node, block);
        self.update_node(node);
    }

    /// Takes a block in, and first those below it that other nodes have.
    fn take_with_parents(&mut self, node: usize, block: &Arc<Block>) {
        let (now, mut chain) = (self.unix(), vec![block.clone()]);
        while let Some(lowest) = chain.last() {
            let parent = lowest.header.prev_blockhash;
            if self.nodes[node].chain.block(&parent).is_some() {
                break;
            }
            match self.nodes.iter().find_map(|other| other.chain.block(&parent)) {
                Some(block) => chain.push(block.clone()),
                None => return,
            }
        }
        while let Some(block) = chain.pop() {
            self.nodes[node].chain.submit(Block::clone(&block), now);
        }
    }

    pub(super) fn fees(&mut self, node: usize) {
        if !self.is_busy() {
            return;
        }
        self.later_random(1_000, 20_000, Event::Fees { node });
        self.nodes[node].add_fees(&mut self.rng);
        if let Some(subscription) = &mut self.direct[node] {
            let events = subscription.new_fees(&self.nodes[node]);
            self.node_says(node, events);
        }
        self.update_clients(node, true);
    }

    pub(super) fn stop(&mut self, node: usize) {
        if !self.is_busy() {
            return;
        }
        self.note("node stops", node as u64, 0);
        self.counters.node_restarts += 1;
        self.nodes[node].online = false;
        self.observe(&Observation::NodeStopped);
        self.update_node(node);
        self.later_random(200, 30_000, Event::Start { node });
    }

    pub(super) fn start(&mut self, node: usize) {
        self.note("node starts", node as u64, 0);
        self.nodes[node].online = true;
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let tip = self.nodes[other].chain.tip();
            if let Some(block) = self.nodes[other].chain.block(&tip).cloned() {
                self.take_with_parents(node, &block);
            }
        }
        self.update_node(node);
        self.later_random(20_000, 400_000, Event::Stop { node });
    }

    pub(super) fn crash(&mut self) {
        if !self.is_busy() || self.process.is_none() {
            return;
        }
        self.note("pool ends", 0, 0);
        let unwritten = self.process.as_ref().map(|process| &process.journal.waiting).into_iter().flatten();
        self.counters.lost_shares += unwritten.map(|batch| batch.shares.len() as u64).sum::<u64>();
        self.process_ends(&Observation::Crashed);
        if self.rng.chance(300) {
            let at = self.now + self.rng.millis(20_000, 200_000);
            self.at(at, Event::Crash);
        }
    }

    /// The pool is told to stop: sessions say their last words, nothing new is begun.
    pub(super) fn stopping(&mut self) {
        if !self.is_busy() {
            return;
        }
        let Some(process) = self.process.as_mut().filter(|process| !process.stopping) else { return };
        process.stopping = true;
        let epoch = process.epoch;
        self.note("pool stops", epoch, 0);
        self.counters.orderly_stops += 1;
        self.drop_all_sessions();
        self.at(self.now + LAST_REPORTS, Event::Stopped { epoch });
    }

    /// The hub has taken what sessions reported; the process ends when the disk has, too.
    pub(super) fn stopped(&mut self, epoch: u64) {
        if self.process.as_ref().is_none_or(|process| process.epoch != epoch) {
            return;
        }
        let journal = self.process.as_ref().map(|process| process.journal.written).unwrap_or_default();
        let written = self.disk_line.max(journal);
        if written >= self.now {
            return self.at(written + Duration::from_nanos(1), Event::Stopped { epoch });
        }
        if self.options.fault != Some(Fault::StopLeavesSources) && self.is_on_its_way() {
            return self.at(self.now + Duration::from_millis(1), Event::Stopped { epoch });
        }
        self.process_ends(&Observation::Stopped);
    }

    /// Whether a source has yet to take what the hub handed it last, or to see that it arrives.
    fn is_on_its_way(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let is_flying = |id: u64| self.clients.get(&id).is_some_and(|client| client.attached && client.up.is_flying());
        process.commands.iter().any(|count| *count > 0)
            || process.upstreams.iter().flatten().filter_map(|upstream| upstream.client).any(is_flying)
    }

    fn process_ends(&mut self, observation: &Observation<'_>) {
        self.counters.pool_restarts += 1;
        let upstreams = self.process.take().map(|process| process.upstreams).unwrap_or_default();
        self.observe(observation);
        self.drop_all_sessions();
        upstreams.into_iter().flatten().filter_map(|upstream| upstream.client).for_each(|id| self.client_leaves(id));
        self.later_random(50, 5_000, Event::Restart);
    }

    /// Time for the disk, the hub's queue and the like.
    pub(super) fn moment(&mut self) -> Duration {
        self.rng.millis(0, 8)
    }
}
