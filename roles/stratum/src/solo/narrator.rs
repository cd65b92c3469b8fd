//! What a solo miner is told, in plain words. Sans-io.

use pool::{
    PoolEvent,
    blocks::{BlockState, FoundBlock},
};
use template_source::NodeStatus;

/// Turns what happens into lines, and says nothing twice.
#[derive(Debug)]
pub(super) struct Narrator {
    owner: String,
    /// For each way to the node, why it is not up; none while it is.
    problems: Vec<Option<String>>,
    said: Option<String>,
    is_mining: bool,
}

impl Narrator {
    /// For blocks that pay `owner`, with this many ways to the node.
    pub(super) fn new(owner: &str, sources: usize) -> Self {
        // Not asked yet is no problem worth telling.
        Self { owner: owner.to_owned(), problems: vec![Some(String::new()); sources], said: None, is_mining: false }
    }

    /// Whether there is no node to get work from.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_mining || self.problems.iter().all(Option::is_some)
    }

    /// Something happened.
    pub(super) fn handle(&mut self, event: &PoolEvent) -> Option<String> {
        match event {
            PoolEvent::SourceUp { source, description } => {
                let was_waiting = self.problems.iter().all(Option::is_some);
                *self.problems.get_mut(*source)? = None;
                self.said = None;
                was_waiting.then(|| format!("Connected to {description}."))
            }
            PoolEvent::SourceDown { source, reason } => {
                *self.problems.get_mut(*source)? = Some(reason.clone());
                self.waiting()
            }
            PoolEvent::NewTip { height, .. } if !std::mem::replace(&mut self.is_mining, true) => {
                Some(format!("Ready: miners work on block {height}."))
            }
            PoolEvent::BlockFound(block) => {
                let (who, height, hash) = (self.finder(block), block.height, block.hash);
                Some(format!("BLOCK FOUND by {who}: height {height}, {hash}. It goes to the node now."))
            }
            PoolEvent::BlockDecided(block, state) => decided(block, state),
            PoolEvent::Ledger { failing: Some(reason) } => Some(format!(
                "The shares can not be written to disk: {reason}. Mining goes on; make room or mend the disk."
            )),
            PoolEvent::Ledger { failing: None } => Some("The shares are written to disk again.".to_owned()),
            _ => None,
        }
    }

    /// A node that is waited for says how it is.
    pub(super) fn handle_status(&mut self, status: &NodeStatus) -> Option<String> {
        let NodeStatus { blocks, headers, is_syncing, progress, connections, .. } = status;
        if *connections == 0 && !is_syncing {
            return self.say("The node is not connected to any other node.".to_owned());
        }
        let percent = progress * 100.0;
        is_syncing.then(|| {
            format!("The node loads the chain: {percent:.2} % checked, block {blocks} of {headers}. Mining begins when it is done.")
        })
    }

    /// Why there is nothing to work on, once every way to the node has been tried.
    fn waiting(&mut self) -> Option<String> {
        let problems: Option<Vec<_>> = self.problems.iter().map(Option::as_deref).collect();
        let problems = problems.filter(|problems| problems.iter().all(|problem| !problem.is_empty()))?;
        // A node that answers, and is not ready, is the one that counts.
        let telling = ["syncing", "starting", "expected a node on"];
        let best = problems.iter().find(|problem| telling.iter().any(|word| problem.contains(word)));
        let text = best.map_or_else(|| problems.join("; or: "), |best| (*best).to_owned());
        let again = if self.is_mining { " Miners keep their last job." } else { "" };
        let text = text.trim_end_matches(['.', '?']);
        self.say(format!("Waiting for the node: {text}.{again}"))
    }

    fn say(&mut self, line: String) -> Option<String> {
        if self.said.as_ref() == Some(&line) {
            return None;
        }
        self.said = Some(line.clone());
        Some(line)
    }

    /// The device's name: the account is the owner's in any case.
    fn finder(&self, block: &FoundBlock) -> String {
        let name = block.finder.strip_prefix(&self.owner).unwrap_or(&block.finder);
        match name.strip_prefix('.').unwrap_or(name) {
            "" => "a miner without a name".to_owned(),
            name => name.to_owned(),
        }
    }
}

fn decided(block: &FoundBlock, state: &BlockState) -> Option<String> {
    let FoundBlock { height, hash, .. } = block;
    Some(match state {
        BlockState::Open => return None,
        BlockState::Accepted => format!("Block {height} was ACCEPTED: {hash}."),
        BlockState::Confirmed => format!("Block {height} is final: its reward can be spent."),
        BlockState::Orphaned => format!("Block {height} is no longer in the best chain: another one came first."),
        BlockState::Rejected(reason) => format!("Block {height} was rejected: {reason}."),
        BlockState::Lost => format!("Block {height} is lost: the chain went on before the node could be reached."),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bitcoin::{BlockHash, Network, hashes::Hash};

    use super::*;

    const OWNER: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn down(source: usize, reason: &str) -> PoolEvent {
        PoolEvent::SourceDown { source, reason: reason.into() }
    }

    fn up(source: usize) -> PoolEvent {
        PoolEvent::SourceUp { source, description: "node /Satoshi:31.99.0/".into() }
    }

    fn tip(height: u32) -> PoolEvent {
        PoolEvent::NewTip { prev_hash: BlockHash::all_zeros(), height, source: 0 }
    }

    #[test]
    fn what_is_waited_for_is_said_once() {
        let mut narrator = Narrator::new(OWNER, 2);
        assert_eq!(narrator.handle(&down(0, "no socket")), None, "the other way was not tried yet");
        let line = narrator.handle(&down(1, "no cookie?")).unwrap();
        assert_eq!(line, "Waiting for the node: no socket; or: no cookie.");
        assert_eq!(narrator.handle(&down(0, "no socket")), None);
        let line = narrator.handle(&down(1, "the node is still syncing: wait")).unwrap();
        assert_eq!(line, "Waiting for the node: the node is still syncing: wait.", "who answers counts");
        assert!(narrator.is_waiting());
        assert_eq!(narrator.handle(&up(1)).unwrap(), "Connected to node /Satoshi:31.99.0/.");
        assert_eq!(narrator.handle(&tip(7)).unwrap(), "Ready: miners work on block 7.");
        assert_eq!(narrator.handle(&tip(8)), None);
        assert!(!narrator.is_waiting());
        assert_eq!(narrator.handle(&up(0)), None, "a second way is no news");
        assert_eq!(narrator.handle(&down(0, "gone")), None);
        let line = narrator.handle(&down(1, "gone")).unwrap();
        assert!(line.contains("gone; or: gone") && line.contains("keep their last job"), "{line}");
        assert!(narrator.is_waiting());
        assert_eq!(narrator.handle(&down(9, "no such")), None);
    }

    #[test]
    fn a_node_that_loads_the_chain_says_how_far_it_is() {
        let mut narrator = Narrator::new(OWNER, 1);
        let mut status = NodeStatus {
            network: Network::Bitcoin,
            agent: "/Satoshi/".into(),
            blocks: 412_000,
            headers: 900_000,
            is_syncing: true,
            progress: 0.31415,
            tip_time: None,
            connections: 8,
        };
        let line = narrator.handle_status(&status).unwrap();
        assert!(line.contains("31.41 %") && line.contains("block 412000 of 900000"), "{line}");
        status.is_syncing = false;
        assert_eq!(narrator.handle_status(&status), None);
        status.connections = 0;
        assert!(narrator.handle_status(&status).unwrap().contains("not connected"));
        assert_eq!(narrator.handle_status(&status), None);
    }

    #[test]
    fn blocks_are_told_by_the_name_of_the_device() {
        let mut narrator = Narrator::new(OWNER, 1);
        let mut block = FoundBlock {
            hash: BlockHash::all_zeros(),
            height: 101,
            prev_hash: BlockHash::all_zeros(),
            finder: format!("{OWNER}.bitaxe"),
            found_at: 0,
            origin: None,
            raw: None,
            accepted_by: BTreeSet::new(),
        };
        let line = narrator.handle(&PoolEvent::BlockFound(block.clone())).unwrap();
        assert!(line.starts_with("BLOCK FOUND by bitaxe: height 101, 0000"), "{line}");
        for (state, words) in [
            (BlockState::Accepted, "ACCEPTED"),
            (BlockState::Confirmed, "final"),
            (BlockState::Orphaned, "no longer"),
            (BlockState::Rejected("high-hash".into()), "rejected: high-hash"),
            (BlockState::Lost, "lost"),
        ] {
            let line = narrator.handle(&PoolEvent::BlockDecided(block.clone(), state)).unwrap();
            assert!(line.contains("101") && line.contains(words), "{line}");
        }
        assert_eq!(narrator.handle(&PoolEvent::BlockDecided(block.clone(), BlockState::Open)), None);
        block.finder = OWNER.into();
        assert!(narrator.handle(&PoolEvent::BlockFound(block)).unwrap().contains("without a name"));
    }
}
