//! `devnet`: an embedded chain under regtest rules, with a mempool that fills itself, for demos, examples and tests.
//!
//! **Its blocks have no value.** It says so in the log when it starts and in [`Event::Up`].
//!
//! # What it is
//! - The genesis block is Bitcoin regtest's. With the default [`DevnetConfig::nbits`] every block that the devnet makes is one
//!   that a Bitcoin Core node on regtest takes, and the devnet refuses blocks for the reasons for which such a node refuses
//!   them, in the same words (BIP 22). A test feeds blocks, good ones and bad ones of many kinds, to both.
//! - With a harder target, for a demo that is to take its time, no real node follows the chain: each block must carry
//!   exactly that target, and the coins that the mempool's transactions start from exist since genesis.
//! - Transactions of random shape and fee rate arrive as configured, so that templates have fees, witnesses and a commitment.
//!
//! # What it is not
//! - There is no script interpreter: only bare `OP_TRUE`, P2WSH of `OP_TRUE` and P2WPKH can be spent. A block that spends
//!   another form is refused with `devnet: script not supported`, where a real node may take it. Outputs of any
//!   form may be made, so a coinbase may pay to whatever it likes.
//! - There are no peers, no disk, and no retargeting. It forgets blocks more than [`KEPT_BLOCKS`] below its tip and refuses
//!   new ones while [`MAX_TREE_BLOCKS`] are known.
//! - A block without the coinbase witness that its commitment needs is refused; Bitcoin Core's `submitblock` adds it.
//! - A block above one that turns out to be bad is refused with `bad-prevblk`, where `submitblock` says `inconclusive`.
//!
//! # Example
//! ```
//! use template_source::{Constraints, Event, TemplateSource, devnet::{Devnet, DevnetConfig}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), template_source::devnet::ConfigError> {
//! let devnet = Devnet::new(DevnetConfig::default())?;
//! let mut subscription = devnet.subscribe(Constraints::default());
//! assert!(matches!(subscription.events.recv().await, Some(Event::Up { .. })));
//! assert!(matches!(subscription.events.recv().await, Some(Event::Template(template)) if template.future));
//! assert!(matches!(subscription.events.recv().await, Some(Event::Tip(tip)) if tip.prev_hash == devnet.tip().hash));
//! # Ok(()) }
//! ```

mod assemble;
mod chain;
mod config;
mod driver;
mod mempool;
mod node;
mod producer;
mod rules;
mod session;
mod utxo;
mod validate;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bitcoin::{Block, BlockHash, ScriptBuf};
use tokio::sync::watch;

use self::{
    mempool::Selection,
    node::Node,
    session::{Session, State},
};
use crate::{Capabilities, Command, Constraints, Event, Subscription, TemplateSource};

pub use assemble::solve;
pub use chain::{KEPT_BLOCKS, MAX_TREE_BLOCKS};
pub use config::{ConfigError, DevnetConfig};
pub use mempool::MAX_MEMPOOL_TRANSACTIONS;
pub use session::{LIVE_TEMPLATES, LIVE_TIPS};

/// What came of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the active chain now.
    NewTip,
    /// It was stored; another branch has as much work or more, or a block below it is missing.
    SideBranch,
    /// It was there already.
    Duplicate,
    /// It is bad; the reason is the one that Bitcoin Core would give.
    Rejected(String),
}

impl Verdict {
    /// What Bitcoin Core's `submitblock` answers (BIP 22); nothing for a block that became the tip.
    pub fn bip22(&self) -> Option<&str> {
        match self {
            Verdict::NewTip => None,
            Verdict::SideBranch => Some("inconclusive"),
            Verdict::Duplicate => Some("duplicate"),
            Verdict::Rejected(reason) => Some(reason),
        }
    }
}

/// The newest block of the active chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height; genesis has 0.
    pub height: u32,
}

/// A handle on a devnet; clones are handles on the same one.
///
/// Methods lock it for as long as they take, a few milliseconds. Those that mine hash on the calling thread, without the lock:
/// an instant at the default target, longer at a harder one.
#[derive(Clone)]
pub struct Devnet {
    inner: Arc<Inner>,
}

struct Inner {
    config: DevnetConfig,
    node: Mutex<Node>,
    /// Counts changes of the tip and of `online`.
    changes: watch::Sender<u64>,
    online: AtomicBool,
    fail_solutions: AtomicBool,
    producing: AtomicBool,
}

impl fmt::Debug for Devnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devnet").field("config", &self.inner.config).field("tip", &self.tip()).finish_non_exhaustive()
    }
}

impl Devnet {
    /// Starts a chain; mines its bootstrap where the target is easy. Needs no runtime; transactions begin to arrive by
    /// themselves with the first subscription.
    pub fn new(config: DevnetConfig) -> Result<Self, ConfigError> {
        let node = Node::new(&config, config.start_time.unwrap_or_else(unix_now))?;
        tracing::warn!(
            nbits = format_args!("{:#010x}", config.nbits.to_consensus()),
            height = node.chain().tip_height(),
            "DEVNET: an embedded chain for demos and tests; its blocks and coins have NO VALUE"
        );
        let inner = Inner {
            config,
            node: Mutex::new(node),
            changes: watch::Sender::new(0),
            online: AtomicBool::new(true),
            fail_solutions: AtomicBool::new(false),
            producing: AtomicBool::new(false),
        };
        Ok(Devnet { inner: Arc::new(inner) })
    }

    /// The newest block.
    pub fn tip(&self) -> ChainTip {
        self.inner.with_node(|node, _| ChainTip { hash: node.chain().tip_hash(), height: node.chain().tip_height() })
    }

    /// The blocks of the active chain that are kept, at most [`KEPT_BLOCKS`], the oldest first; genesis may be among them.
    pub fn blocks(&self) -> Vec<Arc<Block>> {
        self.inner.with_node(|node, _| node.chain().active_blocks().cloned().collect())
    }

    /// A block of any branch, if it is still kept.
    pub fn block(&self, hash: &BlockHash) -> Option<Arc<Block>> {
        self.inner.with_node(|node, _| node.chain().block(hash).cloned())
    }

    /// Transactions that wait for a block.
    pub fn waiting_transactions(&self) -> usize {
        self.inner.with_node(|node, _| node.waiting())
    }

    /// Makes up to `count` transactions now. Returns how many; fewer when the mempool is full.
    pub fn produce(&self, count: u32) -> u32 {
        self.inner.with_node(|node, _| node.produce(count))
    }

    /// The next block with the waiting transactions, complete but for its proof of work, which [`solve`] adds.
    pub fn candidate(&self, payout: ScriptBuf) -> Block {
        self.inner.with_node(|node, state| {
            let selection = node.select(&Constraints::default());
            node.candidate(node.chain().tip_hash(), &selection, Some(payout), state.now)
        })
    }

    /// Hands in a block, as a node's peer would.
    pub fn submit_block(&self, block: Block) -> Verdict {
        self.inner.with_node(|node, state| node.submit(Arc::new(block), state.now))
    }

    /// Lets another miner find the next block, with the waiting transactions. Returns its hash; nothing when the whole
    /// range of nonces holds none.
    pub fn mine_block(&self) -> Option<BlockHash> {
        let block = self.inner.with_node(|node, state| {
            let selection = node.select(&Constraints::default());
            node.candidate(node.chain().tip_hash(), &selection, None, state.now)
        });
        self.mine(block)
    }

    /// Replaces the newest `depth` blocks by `depth + 1` empty ones. Returns the new tip; nothing when `depth` is not below
    /// the number of kept blocks, or somebody else's block came in between.
    pub fn reorg(&self, depth: usize) -> Option<BlockHash> {
        let mut parent = self.inner.with_node(|node, _| node.chain().ancestor(depth))?;
        for _ in 0..=depth {
            let block =
                self.inner.with_node(|node, state| node.candidate(parent, &Selection::default(), None, state.now));
            parent = self.mine(block)?;
        }
        (self.tip().hash == parent).then_some(parent)
    }

    fn mine(&self, mut block: Block) -> Option<BlockHash> {
        if !solve(&mut block.header) {
            return None;
        }
        let hash = block.block_hash();
        match self.submit_block(block) {
            Verdict::Rejected(reason) => {
                tracing::error!(%hash, reason, "DEVNET refused a block of its own");
                None
            }
            _ => Some(hash),
        }
    }

    /// Makes every solution fail, so that a found block gets through only as a raw block; false ends that.
    pub fn set_fail_solutions(&self, fail: bool) {
        self.inner.fail_solutions.store(fail, Ordering::SeqCst);
    }

    /// Makes the devnet absent for its subscribers, as a node that was stopped. The chain stays as it is, and the methods
    /// of this handle work on.
    pub fn stop(&self) {
        self.set_online(false);
    }

    /// Ends what [`Devnet::stop`] began.
    pub fn start(&self) {
        self.set_online(true);
    }

    fn set_online(&self, online: bool) {
        self.inner.online.store(online, Ordering::SeqCst);
        self.inner.changes.send_modify(|count| *count += 1);
    }
}

impl TemplateSource for Devnet {
    fn name(&self) -> &str {
        "devnet"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { raw_blocks: true }
    }

    fn subscribe(&self, constraints: Constraints) -> Subscription {
        let config = &self.inner.config;
        let (tick, count) = (config.tick, config.transactions_per_tick);
        if count > 0
            && !tick.is_zero()
            && let Some(running) = driver::Running::take(&self.inner)
        {
            tokio::spawn(driver::produce(running, tick, count));
        }
        driver::subscribe(self.inner.clone(), Session::new(constraints, config.retry, config.fee_threshold))
    }
}

impl Inner {
    /// Runs `work` on the locked node and tells the subscriptions when the tip has changed.
    fn with_node<T>(&self, work: impl FnOnce(&mut Node, State) -> T) -> T {
        let state = State {
            online: self.online.load(Ordering::SeqCst),
            fail_solutions: self.fail_solutions.load(Ordering::SeqCst),
            now: unix_now(),
        };
        // A panic leaves the node as it was between two of its steps; there is no better state to go on with.
        let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        let before = node.chain().tip_hash();
        let result = work(&mut node, state);
        let tip = node.chain().tip_hash();
        if tip != before {
            tracing::info!(height = node.chain().tip_height(), hash = %tip, "DEVNET has a new tip");
            self.changes.send_modify(|count| *count += 1);
        }
        result
    }

    fn command(&self, session: &mut Session, command: Command) -> Vec<Event> {
        self.with_node(|node, state| session.command(command, node, state))
    }
}

/// The one place where the devnet looks at the clock.
fn unix_now() -> u32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
