//! Nodes: blocks of others, reorganisations, races, restarts.

use std::{sync::Arc, time::Duration};

use bitcoin::Block;
use template_source::{Command, Event as SourceEvent};

use super::{Event, World};
use crate::{
    chain::{Verdict, mine},
    checks::Observation,
    fault::Fault,
};

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
        let events = self.nodes[node].update(now);
        self.node_says(node, events);
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
        let now = self.unix();
        let before = self.nodes[source].chain.tip();
        let (answer, handed) = self.nodes[source].command(command, now);
        if let Some((hash, verdict)) = handed {
            self.note_hash("block handed in", source as u64, &hash);
            self.counters.accepted_blocks += u64::from(verdict == Verdict::NewTip);
            self.observe(&Observation::Handed { hash, verdict: verdict.clone() });
            if verdict == Verdict::NewTip || verdict == Verdict::SideBranch {
                self.spread(source, hash);
            }
        }
        self.node_says(source, answer.into_iter().collect());
        if self.nodes[source].chain.tip() != before {
            self.update_node(source);
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
    fn spread(&mut self, from: usize, hash: bitcoin::BlockHash) {
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
        let events = self.nodes[node].new_fees(&mut self.rng);
        self.node_says(node, events);
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
        if !self.is_busy() {
            return;
        }
        self.note("pool ends", 0, 0);
        self.counters.pool_restarts += 1;
        self.process = None;
        self.observe(&Observation::Crashed);
        self.drop_all_sessions();
        self.later_random(50, 5_000, Event::Restart);
        if self.rng.chance(300) {
            let at = self.now + self.rng.millis(20_000, 200_000);
            self.at(at, Event::Crash);
        }
    }

    /// Time for the disk, the hub's queue and the like.
    pub(super) fn moment(&mut self) -> Duration {
        self.rng.millis(0, 8)
    }
}
