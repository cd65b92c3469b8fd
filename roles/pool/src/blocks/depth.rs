//! How deep found blocks are in the chain.

use bitcoin::BlockHash;
use template_source::{Command, Confirmations};

use super::{Action, BlockBook, BlockState, Entry, GIVE_UP_DEPTH, change};

/// Blocks that a source is asked about after one tip, the oldest first; the others have their turn after the next tip.
pub const MAX_QUESTIONS: usize = 8;

/// Deeper than [`GIVE_UP_DEPTH`], a block is looked at again every so many blocks.
const LOOK_EVERY: u32 = 10;

impl BlockBook {
    /// Asks a source whose tip moved about the blocks whose depth matters now.
    pub(super) fn ask(&self, source: usize, actions: &mut Vec<Action>) {
        let Some(state) = self.sources.get(source).filter(|state| state.up) else { return };
        let due = |hash: &&BlockHash| {
            let Some(entry) = self.entries.get(*hash) else { return false };
            let Some(above) = state.height.checked_sub(entry.block.height) else { return false };
            let depth = above.saturating_add(1);
            // That a block is the tip needs no question.
            let matters =
                (2..=GIVE_UP_DEPTH).contains(&depth) || depth % LOOK_EVERY == 0 || depth >= self.confirmations;
            !entry.is_final && matches!(entry.state, BlockState::Accepted | BlockState::Orphaned) && matters
        };
        let questions = self.order.iter().filter(due).take(MAX_QUESTIONS);
        actions.extend(questions.map(|hash| Action::Command { source, command: Command::RequestConfirmations(*hash) }));
    }

    /// A source told where a block is.
    pub fn confirmations(
        &mut self,
        source: usize,
        hash: BlockHash,
        result: Result<Confirmations, String>,
        actions: &mut Vec<Action>,
    ) {
        let lead = self.sources.iter().filter(|state| state.up).map(|state| state.height).max();
        let Some(height) = self.sources.get(source).map(|state| state.height) else { return };
        // Who can not tell is asked again after the next tip.
        let Ok(answer) = result else { return };
        let Some(entry) = self.entries.get_mut(&hash).filter(|entry| !entry.is_final) else { return };
        // Whoever is behind knows less than another source does.
        if Some(height) != lead || !matches!(entry.state, BlockState::Accepted | BlockState::Orphaned) {
            return;
        }
        let (confirmations, state) = match answer {
            Confirmations::InChain(depth) if depth >= self.confirmations => (depth, BlockState::Confirmed),
            Confirmations::InChain(depth) => (depth, BlockState::Accepted),
            // Two blocks of one height are a race, and nobody has lost it.
            _ if height <= entry.block.height => return,
            Confirmations::NotInChain | Confirmations::Unknown => (0, BlockState::Orphaned),
        };
        entry.is_deep(confirmations, actions);
        // So deep in the past that no other branch will win.
        let is_past = height >= entry.block.height.saturating_add(self.confirmations - 1);
        entry.is_final = state == BlockState::Confirmed || (state == BlockState::Orphaned && is_past);
        if entry.state != state {
            change(entry, state, actions);
        }
        if entry.is_final {
            entry.withdraw();
        }
    }
}

impl Entry {
    /// A source has it as its tip.
    pub(super) fn is_tip(&mut self, actions: &mut Vec<Action>) {
        if self.state == BlockState::Orphaned && !self.is_final {
            change(self, BlockState::Accepted, actions);
        }
        if self.confirmations == 0 {
            self.is_deep(1, actions);
        }
    }

    fn is_deep(&mut self, confirmations: u32, actions: &mut Vec<Action>) {
        if self.confirmations != confirmations {
            self.confirmations = confirmations;
            actions.push(Action::Deep { hash: self.block.hash, confirmations });
        }
    }
}
