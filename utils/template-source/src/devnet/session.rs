//! One subscription without tasks and clock: what it was told, and which templates its solutions may name.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bitcoin::{Block, BlockHash, Network, Transaction, consensus::encode};

use super::{Verdict, assemble::solved_block, mempool::Selection, node::Node, rules::target_from_compact};
use crate::{
    Command, Constraints, Event, Solution, SubmitOutcome, SubmitPath, Template, TemplateId, Tip, Transactions,
};

/// Tips whose templates can still be solved or asked for.
pub const LIVE_TIPS: usize = 3;

/// Templates that can still be solved or asked for. The oldest goes first; more than enough for [`LIVE_TIPS`].
pub const LIVE_TEMPLATES: usize = 64;

/// What a session needs to know of the devnet beyond the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// False between [`Devnet::stop`](super::Devnet::stop) and [`Devnet::start`](super::Devnet::start).
    pub online: bool,
    /// Solutions are answered with a failure.
    pub fail_solutions: bool,
    /// Unix seconds.
    pub now: u32,
}

#[derive(Debug)]
struct Live {
    template: Template,
    selection: Selection,
    /// The block to build on; missing while the template waits for its tip.
    prev_hash: Option<BlockHash>,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Session {
    constraints: Constraints,
    retry: Duration,
    fee_threshold: u64,
    /// What was last told: nothing yet, down or up.
    told_online: Option<bool>,
    next_id: u64,
    /// The tips told, the newest last, at most [`LIVE_TIPS`].
    tips: VecDeque<BlockHash>,
    live: VecDeque<Live>,
    /// Fees of the newest full template.
    fees: u64,
}

impl Session {
    pub fn new(constraints: Constraints, retry: Duration, fee_threshold: u64) -> Self {
        Session {
            constraints,
            retry,
            fee_threshold,
            told_online: None,
            next_id: 1,
            tips: VecDeque::new(),
            live: VecDeque::new(),
            fees: 0,
        }
    }

    /// What is to be told after anything changed; nothing if it was told already. However much changed, only the newest
    /// state is told.
    pub fn update(&mut self, node: &Node, state: State) -> Vec<Event> {
        if !state.online {
            return self.go_down();
        }
        if self.told_online != Some(true) {
            self.told_online = Some(true);
            let mut events = vec![up(node)];
            events.extend(self.tell_tip(node, state.now));
            return events;
        }
        match self.tips.back() == Some(&node.chain().tip_hash()) {
            true => Vec::new(),
            false => self.tell_tip(node, state.now),
        }
    }

    fn go_down(&mut self) -> Vec<Event> {
        if self.told_online == Some(false) {
            return Vec::new();
        }
        self.told_online = Some(false);
        self.tips.clear();
        self.live.clear();
        vec![Event::Down { reason: "DEVNET is stopped; start it again".into(), retry_in: self.retry }]
    }

    /// A new template for the same tip, when its fees have grown enough.
    pub fn check_fees(&mut self, node: &Node, state: State) -> Vec<Event> {
        if !state.online || self.tips.back() != Some(&node.chain().tip_hash()) {
            return Vec::new();
        }
        let selection = node.select(&self.constraints);
        match selection.fees >= self.fees.saturating_add(self.fee_threshold.max(1)) {
            true => vec![self.add_full(node, selection)],
            false => Vec::new(),
        }
    }

    fn tell_tip(&mut self, node: &Node, now: u32) -> Vec<Event> {
        let height = node.next_height();
        let waiting = self.live.iter().find(|live| live.prev_hash.is_none() && live.template.height == height);
        let waiting = waiting.map(|live| live.template.id);
        self.tips.push_back(node.chain().tip_hash());
        if self.tips.len() > LIVE_TIPS {
            self.tips.pop_front();
        }
        let mut events = Vec::new();
        let id = match waiting {
            Some(id) => id,
            None => {
                let selection = node.select(&self.constraints);
                let id = self.take_id();
                let template = node.full_template(id, true, &selection);
                self.fees = selection.fees;
                events.push(self.add(template, selection, None));
                id
            }
        };
        events.push(Event::Tip(self.activate(id, node, now)));
        self.forget_old();
        if waiting.is_some() {
            let selection = node.select(&self.constraints);
            events.push(self.add_full(node, selection));
        }
        let id = self.take_id();
        events.push(self.add(node.empty_template(id), Selection::default(), None));
        events
    }

    fn activate(&mut self, id: TemplateId, node: &Node, now: u32) -> Tip {
        let prev_hash = node.chain().tip_hash();
        if let Some(live) = self.live.iter_mut().find(|live| live.template.id == id) {
            live.prev_hash = Some(prev_hash);
        }
        let bits = node.chain().params().bits;
        Tip {
            template_id: id,
            prev_hash,
            header_timestamp: node.next_time(now),
            nbits: bits.to_consensus(),
            target: target_from_compact(bits).map(|target| target.to_le_bytes()).unwrap_or_default(),
        }
    }

    /// Templates of older tips go, and those that waited for a tip that did not come.
    fn forget_old(&mut self) {
        let tips = &self.tips;
        self.live.retain(|live| live.prev_hash.is_some_and(|hash| tips.contains(&hash)));
    }

    fn add_full(&mut self, node: &Node, selection: Selection) -> Event {
        let id = self.take_id();
        self.fees = selection.fees;
        let template = node.full_template(id, false, &selection);
        self.add(template, selection, Some(node.chain().tip_hash()))
    }

    fn add(&mut self, template: Template, selection: Selection, prev_hash: Option<BlockHash>) -> Event {
        if self.live.len() >= LIVE_TEMPLATES {
            // A template that waits for its tip is the last to go.
            let oldest = self.live.iter().position(|live| live.prev_hash.is_some()).unwrap_or(0);
            self.live.remove(oldest);
        }
        self.live.push_back(Live { template: template.clone(), selection, prev_hash });
        Event::Template(Arc::new(template))
    }

    fn take_id(&mut self) -> TemplateId {
        let id = TemplateId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Carries out a command. What else it changed, a new tip for example, is for [`Session::update`] to tell.
    pub fn command(&mut self, command: Command, node: &mut Node, state: State) -> Vec<Event> {
        match command {
            Command::SetConstraints(constraints) => self.set_constraints(constraints, node, state),
            Command::RequestTransactions(id) => {
                vec![Event::Transactions { id, result: self.transactions(id, state) }]
            }
            Command::SubmitSolution(solution) => {
                let (hash, outcome) = (solution.hash, self.submit_solution(&solution, node, state));
                vec![Event::Submitted { hash, path: SubmitPath::Solution, outcome }]
            }
            Command::SubmitBlock { hash, block } => {
                let outcome = submit_raw(&block, node, state);
                vec![Event::Submitted { hash, path: SubmitPath::RawBlock, outcome }]
            }
            Command::RequestConfirmations(hash) => {
                let result = match state.online {
                    true => Ok(node.chain().confirmations(&hash)),
                    false => Err("DEVNET is stopped".to_owned()),
                };
                vec![Event::Confirmations { hash, result }]
            }
        }
    }

    fn set_constraints(&mut self, constraints: Constraints, node: &Node, state: State) -> Vec<Event> {
        self.constraints = constraints;
        match state.online && self.tips.back() == Some(&node.chain().tip_hash()) {
            true => {
                let selection = node.select(&self.constraints);
                vec![self.add_full(node, selection)]
            }
            // The templates of the tip that is told next heed them.
            false => Vec::new(),
        }
    }

    fn transactions(&self, id: TemplateId, state: State) -> Result<Transactions, String> {
        if !state.online {
            return Err("DEVNET is stopped".into());
        }
        let live = self.find(id)?;
        Ok(Arc::new(live.selection.entries.iter().map(|entry| entry.raw.clone()).collect()))
    }

    fn find(&self, id: TemplateId) -> Result<&Live, String> {
        self.live
            .iter()
            .find(|live| live.template.id == id)
            .ok_or_else(|| format!("template {} is not known; templates of the last {LIVE_TIPS} tips are kept", id.0))
    }

    fn submit_solution(&self, solution: &Solution, node: &mut Node, state: State) -> SubmitOutcome {
        if !state.online {
            return SubmitOutcome::Failed("DEVNET is stopped".into());
        }
        if state.fail_solutions {
            return SubmitOutcome::Failed("DEVNET was told to fail solutions".into());
        }
        let live = match self.find(solution.template_id) {
            Ok(live) => live,
            Err(reason) => return SubmitOutcome::Failed(reason),
        };
        let Some(prev_hash) = live.prev_hash else {
            return SubmitOutcome::Failed(format!("template {} still waits for its tip", solution.template_id.0));
        };
        let transactions = live.selection.entries.iter().map(|entry| -> Transaction { entry.tx.clone() });
        let bits = node.chain().params().bits;
        match solved_block(&live.template, transactions, prev_hash, bits, solution) {
            Ok(block) => submit(block, node, state),
            Err(error) => SubmitOutcome::Rejected(format!("the coinbase transaction can not be read: {error}")),
        }
    }
}

fn up(node: &Node) -> Event {
    let description = format!(
        "DEVNET, an embedded chain whose blocks have no value; regtest rules, nBits {:#010x}, height {}",
        node.chain().params().bits.to_consensus(),
        node.chain().tip_height(),
    );
    Event::Up { network: Some(Network::Regtest), description }
}

fn submit_raw(block: &[u8], node: &mut Node, state: State) -> SubmitOutcome {
    if !state.online {
        return SubmitOutcome::Failed("DEVNET is stopped".into());
    }
    match encode::deserialize::<Block>(block) {
        Ok(block) => submit(block, node, state),
        Err(error) => SubmitOutcome::Rejected(format!("the block can not be read: {error}")),
    }
}

/// A block on a side branch counts as accepted: the node has it, and its branch may still win.
fn submit(block: Block, node: &mut Node, state: State) -> SubmitOutcome {
    match node.submit(Arc::new(block), state.now) {
        Verdict::NewTip | Verdict::SideBranch | Verdict::Duplicate => SubmitOutcome::Accepted,
        Verdict::Rejected(reason) => SubmitOutcome::Rejected(reason),
    }
}
