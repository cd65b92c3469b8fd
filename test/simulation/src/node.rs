//! A simulated Bitcoin node, seen through one subscription as a `TemplateSource` would give it.
//!
//! Sans-io: what it has to say comes back as [`Event`]s in the order that `template_source` documents.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bitcoin::{
    Block, BlockHash, CompactTarget, Target, Transaction, TxMerkleNode,
    block::{Header, Version},
    consensus::encode,
    hashes::Hash,
    script::Builder,
};
use template_source::{
    Capabilities, CoinbaseTemplate, Command, Event, Solution, SubmitOutcome, SubmitPath, Template, TemplateId, Tip,
};

use crate::{
    chain::{Chain, Verdict, commitment, fee, merkle_path, subsidy},
    rng::Rng,
};

/// Tips whose templates a node still knows, as Bitcoin Core's interface and the devnet do.
const LIVE_TIPS: usize = 3;
/// Transactions that wait for a block, at most.
const MAX_MEMPOOL: usize = 24;

/// How a node differs from others.
#[derive(Clone, Copy, Debug)]
pub struct Character {
    /// Sends transaction-free future templates ahead (ADR 1).
    pub prepares: bool,
    /// Takes whole blocks, and says what it thinks of solutions; false is a remote Template Provider.
    pub raw_blocks: bool,
}

#[derive(Clone, Debug)]
struct Live {
    template: Arc<Template>,
    txs: Vec<Transaction>,
    /// The block to build on; missing while the template waits for its tip.
    prev_hash: Option<BlockHash>,
}

/// A block that was handed in, and what the chain said.
pub type Handed = (BlockHash, Verdict);

/// A node and the subscription of the pool's present process.
#[derive(Debug)]
pub struct Node {
    /// Its tree of blocks.
    pub chain: Chain,
    /// False while it is stopped.
    pub online: bool,
    character: Character,
    mempool: Vec<Transaction>,
    told_online: Option<bool>,
    next_id: u64,
    tips: VecDeque<BlockHash>,
    live: VecDeque<Live>,
}

impl Node {
    /// A node that is up.
    pub fn new(bits: CompactTarget, time: u32, character: Character) -> Self {
        Self {
            chain: Chain::new(bits, time),
            online: true,
            character,
            mempool: Vec::new(),
            told_online: None,
            next_id: 1,
            tips: VecDeque::new(),
            live: VecDeque::new(),
        }
    }

    /// What it can do beyond templates.
    pub const fn capabilities(&self) -> Capabilities {
        Capabilities { raw_blocks: self.character.raw_blocks }
    }

    /// Starts a new subscription: the pool's process is a new one.
    pub fn subscribe(&mut self) {
        self.told_online = None;
        self.next_id = 1;
        self.tips.clear();
        self.live.clear();
    }

    /// Transactions that wait for a block.
    pub fn waiting(&self) -> Vec<Transaction> {
        self.mempool.clone()
    }

    /// What has to be told after anything changed.
    pub fn update(&mut self, now: u32) -> Vec<Event> {
        if !self.online {
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
        if self.tips.back() != Some(&self.chain.tip()) {
            self.tell_tip(now, &mut events);
        }
        events
    }

    fn tell_tip(&mut self, now: u32, events: &mut Vec<Event>) {
        let (hash, height) = (self.chain.tip(), self.chain.height() + 1);
        self.forget_mined(&hash);
        self.tips.push_back(hash);
        if self.tips.len() > LIVE_TIPS {
            self.tips.pop_front();
        }
        let prepared = self.live.iter_mut().find(|live| live.prev_hash.is_none() && live.template.height == height);
        let (id, was_prepared) = match prepared {
            Some(live) => (live.template.id, true),
            None => {
                let template = self.template(true, height, self.waiting());
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
        let bits = self.chain.bits();
        events.push(Event::Tip(Tip {
            template_id: id,
            prev_hash: hash,
            header_timestamp: now.max(self.chain.min_time(&hash)),
            nbits: bits.to_consensus(),
            target: Target::from_compact(bits).to_le_bytes(),
        }));
        if was_prepared {
            events.push(Event::Template(self.template(false, height, self.waiting())));
        }
        if self.character.prepares {
            events.push(Event::Template(self.template(true, height + 1, Vec::new())));
        }
    }

    /// New transactions came in; when the fees are worth it, a new template follows.
    pub fn new_fees(&mut self, rng: &mut Rng) -> Vec<Event> {
        for _ in 0..rng.range(1, 4) {
            if self.mempool.len() < MAX_MEMPOOL {
                self.mempool.push(crate::chain::transaction(rng));
            }
        }
        if !self.online || self.tips.back() != Some(&self.chain.tip()) {
            return Vec::new();
        }
        vec![Event::Template(self.template(false, self.chain.height() + 1, self.waiting()))]
    }

    fn forget_mined(&mut self, tip: &BlockHash) {
        if let Some(block) = self.chain.block(tip) {
            self.mempool.retain(|tx| !block.txdata.contains(tx));
        }
    }

    fn template(&mut self, future: bool, height: u32, txs: Vec<Transaction>) -> Arc<Template> {
        let id = TemplateId(self.next_id);
        self.next_id += 1;
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
        let prev_hash = (!future).then(|| self.chain.tip());
        self.live.push_back(Live { template: template.clone(), txs, prev_hash });
        template
    }

    /// Carries out a command of the pool. Answers it, and tells what block was handed in.
    pub fn command(&mut self, command: Command, now: u32) -> (Option<Event>, Option<Handed>) {
        match command {
            Command::SetConstraints(_) => (None, None),
            Command::RequestTransactions(id) => {
                let live = self.live.iter().find(|live| live.template.id == id).filter(|_| self.online);
                let result = live
                    .map(|live| Arc::new(live.txs.iter().map(encode::serialize).collect::<Vec<_>>()))
                    .ok_or_else(|| "unknown template".to_owned());
                (Some(Event::Transactions { id, result }), None)
            }
            Command::SubmitSolution(solution) => self.solution(&solution, now),
            Command::SubmitBlock { hash, block } => self.raw_block(hash, &block, now),
            Command::RequestConfirmations(hash) => {
                let result = match self.online && self.character.raw_blocks {
                    true => Ok(self.chain.confirmations(&hash)),
                    false => Err("can not tell".to_owned()),
                };
                (Some(Event::Confirmations { hash, result }), None)
            }
        }
    }

    fn solution(&mut self, solution: &Solution, now: u32) -> (Option<Event>, Option<Handed>) {
        let (hash, path) = (solution.hash, SubmitPath::Solution);
        let failed = |why: &str| {
            let outcome = SubmitOutcome::Failed(why.to_owned());
            (Some(Event::Submitted { hash, path, outcome }), None)
        };
        if !self.online {
            return failed("stopped");
        }
        let live = self.live.iter().find(|live| live.template.id == solution.template_id);
        let (Some(live), Some(prev_blockhash)) = (live, live.and_then(|live| live.prev_hash)) else {
            return failed("unknown template");
        };
        let Ok(coinbase) = encode::deserialize::<Transaction>(&solution.coinbase_tx) else {
            return self.verdict(hash, path, Verdict::Rejected("coinbase can not be read"));
        };
        let header = Header {
            version: Version::from_consensus(solution.version.cast_signed()),
            prev_blockhash,
            merkle_root: TxMerkleNode::all_zeros(),
            time: solution.header_timestamp,
            bits: self.chain.bits(),
            nonce: solution.header_nonce,
        };
        let txdata = std::iter::once(coinbase).chain(live.txs.iter().cloned()).collect();
        let mut block = Block { header, txdata };
        block.header.merkle_root = block.compute_merkle_root().unwrap_or(TxMerkleNode::all_zeros());
        let verdict = match block.block_hash() == hash {
            true => self.chain.submit(block, now),
            false => Verdict::Rejected("the solution makes another block"),
        };
        self.verdict(hash, path, verdict)
    }

    fn raw_block(&mut self, hash: BlockHash, bytes: &[u8], now: u32) -> (Option<Event>, Option<Handed>) {
        let path = SubmitPath::RawBlock;
        if !self.online {
            let outcome = SubmitOutcome::Failed("stopped".into());
            return (Some(Event::Submitted { hash, path, outcome }), None);
        }
        let verdict = match encode::deserialize::<Block>(bytes) {
            Ok(block) if block.block_hash() == hash => self.chain.submit(block, now),
            Ok(_) => Verdict::Rejected("the block has another hash"),
            Err(_) => Verdict::Rejected("the block can not be read"),
        };
        self.verdict(hash, path, verdict)
    }

    fn verdict(&self, hash: BlockHash, path: SubmitPath, verdict: Verdict) -> (Option<Event>, Option<Handed>) {
        let outcome = match &verdict {
            _ if !self.character.raw_blocks => SubmitOutcome::Sent,
            Verdict::Rejected(reason) => SubmitOutcome::Rejected((*reason).to_owned()),
            _ => SubmitOutcome::Accepted,
        };
        (Some(Event::Submitted { hash, path, outcome }), Some((hash, verdict)))
    }
}
