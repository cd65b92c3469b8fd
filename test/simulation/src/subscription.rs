//! What a node tells one user, as a `TemplateSource` would: templates, tips, answers.
//!
//! Sans-io: what it has to say comes back as [`Event`]s in the order that `template_source` documents.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bitcoin::{
    Block, BlockHash, Target, Transaction, TxMerkleNode,
    block::{Header, Version},
    consensus::encode,
    hashes::Hash,
    script::Builder,
};
use template_source::{
    CoinbaseTemplate, Command, Event, Solution, SubmitOutcome, SubmitPath, Template, TemplateId, Tip,
};

use crate::{
    chain::{Verdict, commitment, fee, merkle_path, subsidy},
    node::Node,
};

/// Tips whose templates a node still knows, as Bitcoin Core's interface and the devnet do.
const LIVE_TIPS: usize = 3;

#[derive(Clone, Debug)]
struct Live {
    template: Arc<Template>,
    txs: Vec<Transaction>,
    /// The block to build on; missing while the template waits for its tip.
    prev_hash: Option<BlockHash>,
}

/// A block that was handed in, and what the chain said.
pub type Handed = (BlockHash, Verdict);

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Subscription {
    told_online: Option<bool>,
    last_id: u64,
    tips: VecDeque<BlockHash>,
    live: VecDeque<Live>,
}

impl Subscription {
    /// What has to be told after anything changed.
    pub fn update(&mut self, node: &Node, now: u32) -> Vec<Event> {
        if !node.online {
            if self.told_online == Some(false) {
                return Vec::new();
            }
            self.told_online = Some(false);
            self.tips.clear();
            self.live.clear();
            return vec![Event::Down { reason: "stopped".into(), retry_in: Duration::from_secs(1) }];
        }
        let mut events = Vec::new();
        if self.told_online != Some(true) {
            self.told_online = Some(true);
            events.push(Event::Up { network: None, description: "simulated".into() });
        }
        if self.tips.back() != Some(&node.chain.tip()) {
            self.tell_tip(node, now, &mut events);
        }
        events
    }

    fn tell_tip(&mut self, node: &Node, now: u32, events: &mut Vec<Event>) {
        let (hash, height) = (node.chain.tip(), node.chain.height() + 1);
        self.tips.push_back(hash);
        if self.tips.len() > LIVE_TIPS {
            self.tips.pop_front();
        }
        let prepared = self.live.iter_mut().find(|live| live.prev_hash.is_none() && live.template.height == height);
        let (id, was_prepared) = match prepared {
            Some(live) => (live.template.id, true),
            None => {
                let template = self.template(node, true, height, node.waiting());
                let id = template.id;
                events.push(Event::Template(template));
                (id, false)
            }
        };
        if let Some(live) = self.live.iter_mut().find(|live| live.template.id == id) {
            live.prev_hash = Some(hash);
        }
        let tips = &self.tips;
        self.live.retain(|live| live.prev_hash.is_some_and(|hash| tips.contains(&hash)));
        let bits = node.chain.bits();
        events.push(Event::Tip(Tip {
            template_id: id,
            prev_hash: hash,
            header_timestamp: now.max(node.chain.min_time(&hash)),
            nbits: bits.to_consensus(),
            target: Target::from_compact(bits).to_le_bytes(),
        }));
        if was_prepared {
            events.push(Event::Template(self.template(node, false, height, node.waiting())));
        }
        if node.character.prepares {
            events.push(Event::Template(self.template(node, true, height + 1, Vec::new())));
        }
    }

    /// When the fees of new transactions are worth it, a new template.
    pub fn new_fees(&mut self, node: &Node) -> Vec<Event> {
        if !node.online || self.tips.back() != Some(&node.chain.tip()) {
            return Vec::new();
        }
        vec![Event::Template(self.template(node, false, node.chain.height() + 1, node.waiting()))]
    }

    fn template(&mut self, node: &Node, future: bool, height: u32, txs: Vec<Transaction>) -> Arc<Template> {
        self.last_id += 1;
        let id = TemplateId(self.last_id);
        // A prepared template has no commitment, the others always.
        let outputs = if future && txs.is_empty() { Vec::new() } else { encode::serialize(&commitment(&txs)) };
        let template = Arc::new(Template {
            id,
            future,
            height,
            version: 0x2000_0000,
            coinbase: CoinbaseTemplate {
                version: 2,
                script_sig_prefix: Builder::new().push_int(height.into()).into_script().into_bytes(),
                sequence: 0xffff_fffe,
                value_remaining: subsidy(height) + txs.iter().map(fee).sum::<u64>(),
                outputs_count: u32::from(!outputs.is_empty()),
                outputs,
                lock_time: height - 1,
            },
            merkle_path: merkle_path(&txs),
        });
        let prev_hash = (!future).then(|| node.chain.tip());
        self.live.push_back(Live { template: template.clone(), txs, prev_hash });
        template
    }

    /// Carries out a command of the user. Answers it, and tells what block was handed in.
    pub fn command(&self, node: &mut Node, command: Command, now: u32) -> (Option<Event>, Option<Handed>) {
        match command {
            Command::SetConstraints(_) => (None, None),
            Command::RequestTransactions(id) => {
                let live = self.live.iter().find(|live| live.template.id == id).filter(|_| node.online);
                let result = live
                    .map(|live| Arc::new(live.txs.iter().map(encode::serialize).collect::<Vec<_>>()))
                    .ok_or_else(|| "unknown template".to_owned());
                (Some(Event::Transactions { id, result }), None)
            }
            Command::SubmitSolution(solution) => self.solution(node, &solution, now),
            Command::SubmitBlock { hash, block } => raw_block(node, hash, &block, now),
            Command::RequestConfirmations(hash) => {
                let result = match node.online && node.character.raw_blocks {
                    true => Ok(node.chain.confirmations(&hash)),
                    false => Err("can not tell".to_owned()),
                };
                (Some(Event::Confirmations { hash, result }), None)
            }
        }
    }

    fn solution(&self, node: &mut Node, solution: &Solution, now: u32) -> (Option<Event>, Option<Handed>) {
        let (hash, path) = (solution.hash, SubmitPath::Solution);
        let failed = |why: &str| {
            let outcome = SubmitOutcome::Failed(why.to_owned());
            (Some(Event::Submitted { hash, path, outcome }), None)
        };
        if !node.online {
            return failed("stopped");
        }
        let live = self.live.iter().find(|live| live.template.id == solution.template_id);
        let (Some(live), Some(prev_blockhash)) = (live, live.and_then(|live| live.prev_hash)) else {
            return failed("unknown template");
        };
        let Ok(coinbase) = encode::deserialize::<Transaction>(&solution.coinbase_tx) else {
            return verdict(node, hash, path, Verdict::Rejected("coinbase can not be read"));
        };
        let header = Header {
            version: Version::from_consensus(solution.version.cast_signed()),
            prev_blockhash,
            merkle_root: TxMerkleNode::all_zeros(),
            time: solution.header_timestamp,
            bits: node.chain.bits(),
            nonce: solution.header_nonce,
        };
        let txdata = std::iter::once(coinbase).chain(live.txs.iter().cloned()).collect();
        let mut block = Block { header, txdata };
        block.header.merkle_root = block.compute_merkle_root().unwrap_or(TxMerkleNode::all_zeros());
        let said = match block.block_hash() == hash {
            true => node.chain.submit(block, now),
            false => Verdict::Rejected("the solution makes another block"),
        };
        verdict(node, hash, path, said)
    }
}

fn raw_block(node: &mut Node, hash: BlockHash, bytes: &[u8], now: u32) -> (Option<Event>, Option<Handed>) {
    let path = SubmitPath::RawBlock;
    if !node.online {
        let outcome = SubmitOutcome::Failed("stopped".into());
        return (Some(Event::Submitted { hash, path, outcome }), None);
    }
    let said = match encode::deserialize::<Block>(bytes) {
        Ok(block) if block.block_hash() == hash => node.chain.submit(block, now),
        Ok(_) => Verdict::Rejected("the block has another hash"),
        Err(_) => Verdict::Rejected("the block can not be read"),
    };
    verdict(node, hash, path, said)
}

fn verdict(node: &Node, hash: BlockHash, path: SubmitPath, verdict: Verdict) -> (Option<Event>, Option<Handed>) {
    let outcome = match &verdict {
        _ if !node.character.raw_blocks => SubmitOutcome::Sent,
        Verdict::Rejected(reason) => SubmitOutcome::Rejected((*reason).to_owned()),
        _ => SubmitOutcome::Accepted,
    };
    (Some(Event::Submitted { hash, path, outcome }), Some((hash, verdict)))
}
