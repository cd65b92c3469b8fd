//! The tree of blocks, the active chain, and the choice between branches.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bitcoin::{Block, BlockHash, CompactTarget, Network, OutPoint, Work, block::Header, constants::genesis_block};

use super::{
    Verdict,
    rules::MEDIAN_TIME_SPAN,
    utxo::{Coin, Coins, Undo},
    validate::{Context, Reject, check_block, check_block_in_context, check_header_in_context, connect},
};
use crate::Confirmations;

/// Blocks of the active chain that are kept, and so the deepest reorganisation; Bitcoin Core keeps as many when it prunes.
/// Below, a block is forgotten with every branch that starts there.
pub const KEPT_BLOCKS: usize = 288;

/// Blocks of all branches together. With an easy target anyone can make branches; more are refused.
pub const MAX_TREE_BLOCKS: usize = 2_000;

/// Rules that do not change while a chain lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params {
    /// Every block's compact target: no retargeting, as on regtest.
    pub bits: CompactTarget,
    /// Blocks between halvings of the subsidy.
    pub halving_interval: u32,
}

/// Blocks that left and joined the active chain, each in the order in which they did.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub disconnected: Vec<Arc<Block>>,
    pub connected: Vec<Arc<Block>>,
}

impl Moved {
    pub fn is_empty(&self) -> bool {
        self.disconnected.is_empty() && self.connected.is_empty()
    }
}

#[derive(Debug)]
struct Entry {
    header: Header,
    height: u32,
    work: Work,
    /// Order of arrival: of two branches with equal work the first stays.
    arrival: u64,
    /// Missing while only the header is known to be good.
    block: Option<Arc<Block>>,
    /// Present while the block is in the active chain.
    undo: Option<Undo>,
    failed: bool,
}

/// A chain under regtest rules, without script interpreter.
#[derive(Debug)]
pub(super) struct Chain {
    params: Params,
    entries: HashMap<BlockHash, Entry>,
    /// Hashes of the active chain that are kept, the tip last; never empty.
    active: VecDeque<BlockHash>,
    coins: Coins,
    arrivals: u64,
}

impl Chain {
    /// Starts at the genesis of regtest, with `funds` as coins that exist from then on.
    pub fn new(params: Params, funds: impl IntoIterator<Item = (OutPoint, Coin)>) -> Self {
        let genesis = genesis_block(Network::Regtest);
        let hash = genesis.block_hash();
        let mut coins = Coins::default();
        funds.into_iter().for_each(|(outpoint, coin)| coins.insert(outpoint, coin));
        let entry = Entry {
            header: genesis.header,
            height: 0,
            work: genesis.header.work(),
            arrival: 0,
            block: Some(Arc::new(genesis)),
            undo: None,
            failed: false,
        };
        Chain { params, entries: HashMap::from([(hash, entry)]), active: VecDeque::from([hash]), coins, arrivals: 0 }
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    pub fn coins(&self) -> &Coins {
        &self.coins
    }

    pub fn tip_hash(&self) -> BlockHash {
        self.active.back().copied().unwrap_or_else(|| genesis_block(Network::Regtest).block_hash())
    }

    pub fn tip_height(&self) -> u32 {
        self.entries.get(&self.tip_hash()).map_or(0, |entry| entry.height)
    }

    /// The rules for a block on top of the tip.
    pub fn next_context(&self) -> Context {
        self.context_after(&self.tip_hash())
    }

    /// The kept blocks of the active chain, the oldest first.
    pub fn active_blocks(&self) -> impl DoubleEndedIterator<Item = &Arc<Block>> {
        self.active.iter().filter_map(|hash| self.block(hash))
    }

    pub fn block(&self, hash: &BlockHash) -> Option<&Arc<Block>> {
        self.entries.get(hash)?.block.as_ref()
    }

    /// Where a block is; one that is no longer kept is not known.
    pub fn confirmations(&self, hash: &BlockHash) -> Confirmations {
        match (self.active.iter().rev().position(|active| active == hash), self.entries.contains_key(hash)) {
            (Some(depth), _) => Confirmations::InChain(u32::try_from(depth).unwrap_or(u32::MAX).saturating_add(1)),
            (None, true) => Confirmations::NotInChain,
            (None, false) => Confirmations::Unknown,
        }
    }

    /// Hash of the block `depth` below the tip, if it is still kept.
    pub fn ancestor(&self, depth: usize) -> Option<BlockHash> {
        self.active.len().checked_sub(depth + 1).and_then(|index| self.active.get(index)).copied()
    }

    /// The rules for a block on top of `parent`.
    pub fn context_after(&self, parent: &BlockHash) -> Context {
        let height = self.entries.get(parent).map_or(0, |entry| entry.height.saturating_add(1));
        Context { height, median_time: self.median_time(parent), halving_interval: self.params.halving_interval }
    }

    fn median_time(&self, hash: &BlockHash) -> u32 {
        let mut times = Vec::with_capacity(MEDIAN_TIME_SPAN);
        let mut next = self.entries.get(hash);
        while let (Some(entry), true) = (next, times.len() < MEDIAN_TIME_SPAN) {
            times.push(entry.header.time);
            next = self.entries.get(&entry.header.prev_blockhash);
        }
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// Takes in a block, and moves to its branch when that has the most work. `now` is unix seconds.
    pub fn submit(&mut self, block: Arc<Block>, now: u32) -> (Verdict, Moved) {
        let hash = block.block_hash();
        match self.accept(&hash, block, now) {
            Ok(true) => {}
            Ok(false) => return (Verdict::Duplicate, Moved::default()),
            Err(reject) => return (Verdict::Rejected(reject.to_string()), Moved::default()),
        }
        let (moved, failures) = self.activate_best();
        let verdict = match failures.into_iter().find(|(failed, _)| *failed == hash) {
            Some((_, reject)) => Verdict::Rejected(reject.to_string()),
            None if moved.connected.iter().any(|block| block.block_hash() == hash) => Verdict::NewTip,
            None if self.entries.get(&hash).is_some_and(|entry| entry.failed) => {
                Verdict::Rejected("bad-prevblk".into())
            }
            None => Verdict::SideBranch,
        };
        self.forget_old();
        (verdict, moved)
    }

    /// Checks all that needs no coins, and stores the block. False when it was there already.
    fn accept(&mut self, hash: &BlockHash, block: Arc<Block>, now: u32) -> Result<bool, Reject> {
        check_block(&block)?;
        self.accept_header(hash, &block.header, now)?;
        if self.block(hash).is_some() {
            return Ok(false);
        }
        let context = self.context_after(&block.header.prev_blockhash);
        if let Err(reject) = check_block_in_context(&block, &context) {
            if !reject.mutated {
                self.mark_failed(hash);
            }
            return Err(reject);
        }
        self.arrivals += 1;
        if let Some(entry) = self.entries.get_mut(hash) {
            entry.block = Some(block);
            entry.arrival = self.arrivals;
        }
        Ok(true)
    }

    fn accept_header(&mut self, hash: &BlockHash, header: &Header, now: u32) -> Result<(), Reject> {
        if let Some(known) = self.entries.get(hash) {
            return if known.failed { Err(Reject::invalid("duplicate-invalid")) } else { Ok(()) };
        }
        let parent = self.entries.get(&header.prev_blockhash).ok_or(Reject::invalid("prev-blk-not-found"))?;
        if parent.failed {
            return Err(Reject::invalid("bad-prevblk"));
        }
        let work = parent.work + header.work();
        let context = self.context_after(&header.prev_blockhash);
        check_header_in_context(header, &context, self.params.bits, now)?;
        if self.entries.len() >= MAX_TREE_BLOCKS {
            return Err(Reject::invalid("devnet: too many branches"));
        }
        let (height, arrival) = (context.height, self.arrivals);
        let entry = Entry { header: *header, height, work, arrival, block: None, undo: None, failed: false };
        self.entries.insert(*hash, entry);
        Ok(())
    }

    /// Marks a block and everything on top of it as bad for good.
    fn mark_failed(&mut self, hash: &BlockHash) {
        let mut failed = vec![*hash];
        while let Some(hash) = failed.pop() {
            if let Some(entry) = self.entries.get_mut(&hash) {
                entry.failed = true;
                entry.block = None;
            }
            let children = self.entries.iter().filter(|(_, e)| e.header.prev_blockhash == hash && !e.failed);
            failed.extend(children.map(|(hash, _)| *hash));
        }
    }

    /// Moves to the branch with the most work among those that are complete. Also returns the blocks that failed on the
    /// way.
    fn activate_best(&mut self) -> (Moved, Vec<(BlockHash, Reject)>) {
        let mut moved = Moved::default();
        let mut failures = Vec::new();
        while let Some(path) = self.best_path() {
            let Some(fork) = path.first().and_then(|hash| self.entries.get(hash)).map(|e| e.header.prev_blockhash)
            else {
                break;
            };
            while self.tip_hash() != fork {
                match self.disconnect_tip() {
                    Some(block) => moved.disconnected.push(block),
                    None => return (moved, failures),
                }
            }
            for hash in path {
                match self.connect_to_tip(&hash) {
                    Ok(block) => moved.connected.push(block),
                    Err(reject) => {
                        self.mark_failed(&hash);
                        failures.push((hash, reject));
                        break;
                    }
                }
            }
        }
        cancel_out(&mut moved);
        (moved, failures)
    }

    /// The blocks to connect, the lowest first, to get from the active chain to a better tip.
    fn best_path(&self) -> Option<Vec<BlockHash>> {
        let tip_work = self.entries.get(&self.tip_hash())?.work;
        let better = |entry: &&Entry| entry.work > tip_work && entry.block.is_some() && !entry.failed;
        let mut candidates: Vec<&Entry> = self.entries.values().filter(better).collect();
        candidates.sort_by_key(|entry| Reverse((entry.work, Reverse(entry.arrival))));
        candidates.into_iter().find_map(|entry| self.path_to(entry))
    }

    fn path_to<'a>(&'a self, mut entry: &'a Entry) -> Option<Vec<BlockHash>> {
        let mut path = Vec::new();
        loop {
            let hash = entry.header.block_hash();
            if self.is_active(&hash, entry.height) {
                path.reverse();
                return Some(path);
            }
            if entry.block.is_none() || entry.failed {
                return None;
            }
            path.push(hash);
            entry = self.entries.get(&entry.header.prev_blockhash)?;
        }
    }

    fn is_active(&self, hash: &BlockHash, height: u32) -> bool {
        let depth = self.tip_height().checked_sub(height);
        depth.and_then(|depth| self.ancestor(depth as usize)).as_ref() == Some(hash)
    }

    fn connect_to_tip(&mut self, hash: &BlockHash) -> Result<Arc<Block>, Reject> {
        let block = self.block(hash).cloned().ok_or(Reject::invalid("prev-blk-not-found"))?;
        let change = connect(&block, &self.next_context(), &self.coins)?;
        let undo = self.coins.apply(change);
        if let Some(entry) = self.entries.get_mut(hash) {
            entry.undo = Some(undo);
        }
        self.active.push_back(*hash);
        Ok(block)
    }

    fn disconnect_tip(&mut self) -> Option<Arc<Block>> {
        let entry = self.entries.get_mut(self.active.back()?)?;
        let block = entry.block.clone()?;
        self.coins.undo(entry.undo.take()?);
        self.active.pop_back();
        Some(block)
    }

    fn forget_old(&mut self) {
        if self.active.len() <= KEPT_BLOCKS {
            return;
        }
        self.active.drain(..self.active.len() - KEPT_BLOCKS);
        let oldest = self.active.front().and_then(|hash| self.entries.get(hash)).map_or(0, |entry| entry.height);
        // The median time after the oldest block looks at headers below it.
        let span = MEDIAN_TIME_SPAN as u32;
        self.entries.retain(|_, entry| entry.height.saturating_add(span) >= oldest);
    }
}

/// Drops the blocks that were disconnected and connected again.
fn cancel_out(moved: &mut Moved) {
    let back: Vec<_> = moved
        .disconnected
        .iter()
        .filter(|block| moved.connected.iter().any(|other| Arc::ptr_eq(block, other)))
        .cloned()
        .collect();
    if back.is_empty() {
        return;
    }
    for list in [&mut moved.disconnected, &mut moved.connected] {
        list.retain(|block| !back.iter().any(|other| Arc::ptr_eq(block, other)));
    }
}
