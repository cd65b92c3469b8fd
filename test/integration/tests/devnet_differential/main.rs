//! The devnet against a real Bitcoin Core on regtest: both take the same blocks, and refuse the same blocks for the same
//! reasons.
//!
//! Every block is handed to both. After each, both must have the same tip. Where the two differ on purpose
//! (`template_source::devnet`), the test says so.

mod drafts;
mod faults;

use bitcoin::{Amount, Block, BlockHash, consensus::encode};
use integration::core::{CoreNode, CoreOptions};
use serde_json::json;
use template_source::devnet::{Devnet, DevnetConfig, Verdict};

use self::drafts::{Draft, MATURITY, World, op_true, spend};

/// Blocks that carry transactions, before and between the bad ones.
const ROUNDS: u32 = 20;

/// The same chain in both.
struct Pair {
    devnet: Devnet,
    core: CoreNode,
}

impl Pair {
    /// Starts both and feeds the devnet's bootstrap to Core.
    fn start(seed: u64) -> Pair {
        let config = DevnetConfig { seed, transactions_per_tick: 0, ..DevnetConfig::default() };
        // Core names a bad script after all else only when it verifies scripts on other threads.
        let options = CoreOptions { args: vec!["-par=2".into()], ..CoreOptions::default() };
        let pair = Pair { devnet: Devnet::new(config).unwrap(), core: CoreNode::start(options) };
        let bootstrap = pair.devnet.blocks();
        let answers = pair.ask_core_all("bootstrap", bootstrap.iter().skip(1).map(|block| &**block));
        assert_eq!(answers, vec![None; bootstrap.len() - 1]);
        pair
    }

    fn world(&self) -> World<'_> {
        World::new(&self.devnet)
    }

    /// Hands a block to both and compares. Returns what both say: nothing for a new tip, else the word of BIP 22.
    fn submit(&self, name: &str, block: &Block) -> Option<String> {
        let ours = self.devnet.submit_block(block.clone());
        let theirs = self.ask_core(name, block);
        assert_eq!(ours.bip22(), theirs.as_deref(), "{name}: the devnet on the left, Core on the right");
        theirs
    }

    /// What Core says to a block, after which both must have the same tip.
    fn ask_core(&self, name: &str, block: &Block) -> Option<String> {
        self.ask_core_all(name, [block]).pop().unwrap()
    }

    fn ask_core_all<'a>(&self, name: &str, blocks: impl IntoIterator<Item = &'a Block>) -> Vec<Option<String>> {
        let submit = |block| ("submitblock", json!([encode::serialize_hex(block)]));
        let calls = blocks.into_iter().map(submit).chain([("getbestblockhash", json!([]))]);
        let mut answers = self.core.rpc_batch(calls);
        let tip: BlockHash = answers.pop().unwrap().as_str().unwrap().parse().unwrap();
        assert_eq!(self.devnet.tip().hash, tip, "{name}: different tips, after {answers:?}");
        answers.iter().map(|answer| answer.as_str().map(Into::into)).collect()
    }

    fn accept(&self, name: &str, block: &Block) {
        assert_eq!(self.submit(name, block), None, "{name} is a good block");
    }

    /// A block of the devnet with some of its transactions.
    fn grow(&self, transactions: u32) {
        self.devnet.produce(transactions);
        self.accept("a block with transactions", &self.world().next().finish());
    }
}

#[test]
fn good_blocks_of_many_shapes_are_taken_by_both() {
    for seed in 1..=2 {
        let pair = Pair::start(seed);
        for round in 0..ROUNDS {
            pair.grow(round * 7 % 60);
        }
        for (name, make) in faults::NO_FAULTS {
            pair.devnet.produce(5);
            pair.accept(name, &make(&pair.world()));
        }
    }
}

#[test]
fn bad_blocks_of_many_kinds_are_refused_by_both_for_the_same_reason() {
    for seed in 3..=4 {
        let pair = Pair::start(seed);
        for round in 0..ROUNDS {
            pair.grow(10 + round);
        }
        pair.devnet.produce(40);
        for (index, (name, expected, make)) in (0u32..).zip(faults::FAULTS) {
            let block = make(&pair.world());
            assert_eq!(pair.submit(name, &block).as_deref(), Some(*expected), "{name}");
            if index % 4 == 3 {
                pair.grow(12);
                pair.devnet.produce(40);
            }
        }
    }
}

#[test]
fn a_coinbase_is_spent_at_a_hundred_blocks_and_not_before() {
    let pair = Pair::start(11);
    // The next block's coinbase is to be one that the test can spend, and the producer has not yet seen.
    while pair.world().coinbase_aged(MATURITY - 1).output.script_pubkey != op_true() {
        pair.grow(1);
    }
    let world = pair.world();
    let coin = world.coinbase_aged(MATURITY - 1);
    let early = world.empty().with(spend(&coin)).finish();
    assert_eq!(pair.submit("early", &early).as_deref(), Some("bad-txns-premature-spend-of-coinbase"));
    pair.accept("one more", &world.empty().finish());
    pair.accept("in time", &pair.world().empty().with(spend(&coin)).finish());
}

#[test]
fn a_block_that_came_before_is_known_to_both() {
    let pair = Pair::start(5);
    pair.devnet.produce(10);
    let good = pair.world().next().finish();
    pair.accept("new", &good);
    assert_eq!(pair.submit("again", &good).as_deref(), Some("duplicate"));
    let genesis = pair.devnet.blocks().remove(0);
    assert_eq!(pair.submit("genesis", &genesis).as_deref(), Some("duplicate"));

    let bad = pair.world().next().value(|value| value + Amount::ONE_SAT).finish();
    assert_eq!(pair.submit("bad", &bad).as_deref(), Some("bad-cb-amount"));
    assert_eq!(pair.submit("bad again", &bad).as_deref(), Some("duplicate-invalid"));
    let child = Draft::empty(&pair.devnet, bad.block_hash(), pair.devnet.tip().height + 2, 0).finish();
    assert_eq!(pair.submit("child of bad", &child).as_deref(), Some("bad-prevblk"));
}

#[test]
fn a_block_that_was_tampered_with_on_its_way_can_still_come() {
    let pair = Pair::start(6);
    pair.grow(20);
    pair.devnet.produce(20);
    let good = pair.world().next().finish();

    let mut witness = good.clone();
    let input = witness.txdata.iter_mut().skip(1).flat_map(|tx| &mut tx.input).find(|input| input.witness.len() == 1);
    input.unwrap().witness.push([1]);
    assert_eq!(pair.submit("witness", &witness).as_deref(), Some("bad-witness-merkle-match"));

    let mut reserved = good.clone();
    reserved.txdata[0].input[0].witness.push([0; 32]);
    assert_eq!(pair.submit("reserved value", &reserved).as_deref(), Some("bad-witness-nonce-size"));

    let mut list = good.clone();
    list.txdata.pop();
    assert_eq!(pair.submit("list", &list).as_deref(), Some("bad-txnmrklroot"));

    pair.accept("the block itself", &good);
}

#[test]
fn branches_are_chosen_alike() {
    let pair = Pair::start(7);
    for round in 0..12 {
        pair.grow(round);
    }
    for depth in 1..=9 {
        let blocks = pair.devnet.blocks();
        let fork = blocks[blocks.len() - 1 - depth].block_hash();
        let first = pair.devnet.tip().height + 1 - depth as u32;
        let mut parent = fork;
        for step in 0..=depth as u32 {
            let block = Draft::empty(&pair.devnet, parent, first + step, step).finish();
            parent = block.block_hash();
            let expected = (step < depth as u32).then_some("inconclusive");
            assert_eq!(pair.submit("branch", &block).as_deref(), expected, "step {step} of depth {depth}");
        }
        // The transactions of the blocks that were left are mined again.
        pair.accept("after the branch", &pair.world().next().finish());
    }
}

#[test]
fn a_branch_that_turns_out_bad_is_left_by_both() {
    let pair = Pair::start(8);
    pair.grow(10);
    let tip = pair.devnet.tip();
    pair.grow(10);
    let too_much = |value| value + Amount::ONE_BTC * 51;
    let bad = Draft::empty(&pair.devnet, tip.hash, tip.height + 1, 1).value(too_much).finish();
    assert_eq!(pair.submit("bad branch", &bad).as_deref(), Some("inconclusive"));
    let child = Draft::empty(&pair.devnet, bad.block_hash(), tip.height + 2, 2).finish();
    // On purpose: Core has no word for a good block on a bad one that nobody had looked into.
    assert_eq!(pair.devnet.submit_block(child.clone()), Verdict::Rejected("bad-prevblk".into()));
    assert_eq!(pair.ask_core("child of bad branch", &child).as_deref(), Some("inconclusive"));
    assert_eq!(pair.submit("again", &child).as_deref(), Some("duplicate-invalid"));
    pair.grow(10);
}

/// On purpose: `submitblock` mends a coinbase that lacks the witness for its commitment, the devnet does not.
#[test]
fn only_submitblock_adds_a_missing_coinbase_witness() {
    let pair = Pair::start(9);
    let good = pair.world().next().finish();
    let mut bare = good.clone();
    bare.txdata[0].input[0].witness.clear();
    assert_eq!(pair.devnet.submit_block(bare.clone()), Verdict::Rejected("bad-witness-nonce-size".into()));
    assert_eq!(pair.devnet.submit_block(good), Verdict::NewTip);
    assert_eq!(pair.ask_core("mended", &bare), None);
}

/// On purpose: the devnet has no script interpreter.
#[test]
fn only_core_judges_all_scripts() {
    let pair = Pair::start(10);
    pair.grow(10);
    let (made, spent) = pair.world().foreign_script();
    pair.accept("an output of another form", &made);
    assert_eq!(pair.devnet.submit_block(spent.clone()), Verdict::Rejected("devnet: script not supported".into()));
    let answer = pair.core.rpc("submitblock", json!([encode::serialize_hex(&spent)]));
    assert!(answer.is_null(), "{answer}");
    assert_eq!(pair.core.best_hash(), spent.block_hash());
    assert_eq!(pair.devnet.tip().hash, made.block_hash());
}
