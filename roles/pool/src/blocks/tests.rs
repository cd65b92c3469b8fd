use template_source::{Confirmations, TemplateId};

use super::*;

const NOW: Duration = Duration::from_secs(1_000);
const DEPTH: u32 = 20;

fn hash(n: u8) -> BlockHash {
    BlockHash::from_byte_array([n; 32])
}

/// A block at height 100.
fn block(n: u8, raw: bool) -> FoundBlock {
    let solution = Solution {
        template_id: TemplateId(7),
        hash: hash(n),
        version: 0,
        header_timestamp: 0,
        header_nonce: 0,
        coinbase_tx: vec![],
    };
    FoundBlock {
        hash: hash(n),
        height: 100,
        prev_hash: hash(0),
        finder: "alice".into(),
        found_at: 0,
        origin: Some(Origin { source: 0, solution }),
        raw: raw.then(|| Arc::new(vec![n])),
        accepted_by: BTreeSet::new(),
    }
}

fn tip(n: u8) -> Tip {
    Tip { template_id: TemplateId(1), prev_hash: hash(n), header_timestamp: 0, nbits: 0, target: [0; 32] }
}

fn rejected() -> SubmitOutcome {
    SubmitOutcome::Rejected("high-hash".into())
}

/// A book with what it wants done.
struct Book(BlockBook, Vec<Action>);

impl Book {
    /// Two sources that take raw blocks, these up.
    fn new(up: &[usize]) -> Self {
        let mut book = BlockBook::new([true, true]);
        book.set_confirmations(DEPTH);
        for source in up {
            book.source_up(NOW, *source, &mut Vec::new());
        }
        Self(book, Vec::new())
    }

    fn found(&mut self, block: FoundBlock) -> bool {
        self.0.found(NOW, block, &mut self.1)
    }

    fn answer(&mut self, source: usize, path: SubmitPath, outcome: SubmitOutcome) {
        self.0.submitted(NOW, source, hash(1), path, outcome, &mut self.1);
    }

    fn up(&mut self, source: usize) {
        self.0.source_up(NOW, source, &mut self.1);
    }

    /// A source has a block of `height` as its tip.
    fn tip(&mut self, source: usize, n: u8, height: u32) {
        self.0.tip(NOW, source, &tip(n), height + 1, &mut self.1);
    }

    fn depth(&mut self, source: usize, answer: Confirmations) {
        self.0.confirmations(source, hash(1), Ok(answer), &mut self.1);
    }

    /// What is to be done, one word each; files are left out.
    fn actions(&mut self) -> Vec<String> {
        let word = |action: Action| match action {
            Action::Command { source, command: Command::SubmitSolution(_) } => Some(format!("solution {source}")),
            Action::Command { source, command: Command::SubmitBlock { .. } } => Some(format!("raw {source}")),
            Action::Command { source, command: Command::RequestConfirmations(_) } => Some(format!("ask {source}")),
            Action::Command { .. } => unreachable!("nothing else is asked for"),
            Action::Persist { .. } => None,
            Action::Changed { block, state } => {
                assert_eq!(block.raw, None);
                Some(state.word().to_owned())
            }
            Action::Deep { confirmations, .. } => Some(format!("deep {confirmations}")),
        };
        self.1.drain(..).filter_map(word).collect()
    }

    fn state(&self) -> BlockState {
        self.0.blocks().next().unwrap().1.clone()
    }
}

#[test]
fn goes_to_every_source_and_to_disk_at_once() {
    let mut book = Book::new(&[0, 1]);
    assert!(book.found(block(1, true)));
    assert!(matches!(book.1.last(), Some(Action::Persist { state: BlockState::Open, .. })), "the disk comes last");
    assert_eq!(book.actions(), ["solution 0", "raw 0", "raw 1"]);
    assert!(!book.found(block(1, true)));
    assert_eq!(book.1, [], "one candidate is submitted once");
}

#[test]
fn raw_block_follows_when_its_transactions_arrive() {
    let mut book = Book::new(&[0, 1]);
    book.found(block(1, false));
    assert_eq!(book.actions(), ["solution 0"]);
    book.0.complete(NOW, hash(1), Arc::new(vec![1]), &mut book.1);
    assert!(matches!(&book.1[0], Action::Persist { block, .. } if block.raw.is_some()));
    assert_eq!(book.actions(), ["raw 0", "raw 1"]);
}

#[test]
fn a_failed_solution_is_retried_until_its_source_has_the_block() {
    let mut book = Book::new(&[0]);
    book.found(block(1, true));
    book.actions();
    book.answer(0, SubmitPath::Solution, SubmitOutcome::Failed("gone".into()));
    assert_eq!(book.actions(), [""; 0], "not before its time");
    assert_eq!(book.0.poll_timeout(), Some(NOW + RETRY_AFTER));
    book.0.handle_timeout(NOW + RETRY_AFTER, &mut book.1);
    assert_eq!(book.actions(), ["solution 0"]);
    book.answer(0, SubmitPath::Solution, SubmitOutcome::Failed("gone".into()));
    book.answer(0, SubmitPath::RawBlock, SubmitOutcome::Accepted);
    assert_eq!(book.actions(), ["accepted"]);
    book.0.handle_timeout(NOW + RETRY_AFTER, &mut book.1);
    assert_eq!((book.actions(), book.0.poll_timeout()), (vec![], None));
}

#[test]
fn one_node_is_not_enough() {
    let mut book = Book::new(&[0, 1]);
    book.found(block(1, true));
    book.actions();
    book.answer(1, SubmitPath::RawBlock, SubmitOutcome::Failed("busy".into()));
    book.answer(0, SubmitPath::RawBlock, SubmitOutcome::Accepted);
    assert_eq!(book.actions(), ["accepted"]);
    book.0.handle_timeout(NOW + RETRY_AFTER, &mut book.1);
    assert_eq!(book.actions(), ["raw 1"], "the first one may go and take the block along");
    book.answer(1, SubmitPath::RawBlock, SubmitOutcome::Accepted);
    assert_eq!(book.actions(), [""; 0], "accepted once");
    assert_eq!(book.0.blocks().next().unwrap().0.accepted_by, [0, 1].into());
    // A node that was killed may have lost it.
    book.0.source_down(0);
    book.up(0);
    assert_eq!(book.actions(), ["solution 0", "raw 0"]);
    // But not when the chain is far past it.
    book.tip(1, 9, 100 + GIVE_UP_DEPTH);
    book.actions();
    book.up(0);
    assert_eq!(book.actions(), [""; 0]);
    assert_eq!(book.0.blocks().next().unwrap().0.raw, None, "the file has the bytes");
}

#[test]
fn waits_for_a_node_that_is_gone() {
    let mut book = Book::new(&[]);
    book.found(block(1, true));
    assert_eq!(book.actions(), [""; 0]);
    book.up(1);
    assert_eq!(book.actions(), ["raw 1"]);
    // The connection breaks before the answer: offered again.
    book.0.source_down(1);
    book.up(1);
    assert_eq!(book.actions(), ["raw 1"]);
}

#[test]
fn rejected_only_when_all_ways_are_refused() {
    let mut book = Book::new(&[0, 1]);
    book.found(block(1, true));
    book.actions();
    book.answer(0, SubmitPath::Solution, rejected());
    book.answer(0, SubmitPath::RawBlock, rejected());
    assert_eq!(book.actions(), [""; 0]);
    book.answer(1, SubmitPath::RawBlock, rejected());
    assert_eq!(book.actions(), ["rejected"]);
    // And a tip that is this very block has the last word.
    book.tip(0, 1, 100);
    assert_eq!(book.actions(), ["accepted", "deep 1"]);
}

#[test]
fn a_node_that_did_not_know_the_block_before_is_asked_again_when_it_does() {
    let mut book = Book::new(&[0, 1]);
    book.found(block(1, true));
    book.answer(0, SubmitPath::Solution, SubmitOutcome::Failed("gone".into()));
    book.answer(0, SubmitPath::RawBlock, SubmitOutcome::Failed("gone".into()));
    book.answer(1, SubmitPath::RawBlock, SubmitOutcome::Rejected("prev-blk-not-found".into()));
    book.actions();
    book.tip(1, 0, 99);
    assert_eq!(book.actions(), ["raw 1"]);
    book.answer(1, SubmitPath::RawBlock, SubmitOutcome::Accepted);
    assert_eq!(book.actions(), ["accepted"]);
}

/// Found by `test/simulation`: the node had the block before on a branch that never was its best, and was not asked again.
#[test]
fn a_missing_parent_is_no_verdict() {
    let mut book = Book::new(&[0, 1]);
    book.found(block(1, true));
    book.answer(0, SubmitPath::Solution, rejected());
    book.answer(0, SubmitPath::RawBlock, rejected());
    book.answer(1, SubmitPath::RawBlock, SubmitOutcome::Rejected("prev-blk-not-found".into()));
    assert_eq!(book.state(), BlockState::Open);
    book.actions();
    book.0.handle_timeout(book.0.poll_timeout().unwrap(), &mut book.1);
    assert_eq!(book.actions(), ["raw 1"]);
    book.answer(1, SubmitPath::RawBlock, rejected());
    assert_eq!(book.state(), BlockState::Rejected("high-hash".into()));
}

#[test]
fn the_tip_decides_where_the_protocol_has_no_answer() {
    let mut book = Book::new(&[0]);
    book.found(block(1, false));
    book.answer(0, SubmitPath::Solution, SubmitOutcome::Sent);
    book.actions();
    book.tip(0, 9, 99);
    assert_eq!(book.actions(), [""; 0]);
    book.tip(0, 1, 100);
    assert_eq!(book.actions(), ["accepted", "deep 1"]);
    assert_eq!(book.0.count("accepted"), 1);
}

#[test]
fn is_given_up_when_the_chain_is_far_past_it() {
    let mut book = Book::new(&[]);
    book.found(block(1, true));
    book.tip(0, 9, 100 + GIVE_UP_DEPTH - 1);
    assert_eq!(book.actions(), [""; 0]);
    book.tip(0, 9, 100 + GIVE_UP_DEPTH);
    assert_eq!(book.actions(), ["lost"]);
    // Somebody had it all the same.
    book.tip(0, 1, 100);
    assert_eq!(book.actions(), ["accepted", "deep 1"]);
}

/// A book whose block a node has as its tip.
fn accepted() -> Book {
    let mut book = Book::new(&[0, 1]);
    book.found(block(1, true));
    book.answer(0, SubmitPath::RawBlock, SubmitOutcome::Accepted);
    book.answer(0, SubmitPath::Solution, SubmitOutcome::Accepted);
    book.answer(1, SubmitPath::RawBlock, SubmitOutcome::Accepted);
    book.tip(0, 1, 100);
    book.actions();
    book
}

#[test]
fn a_block_is_confirmed_when_it_is_deep_enough() {
    let mut book = accepted();
    for depth in 2..DEPTH {
        book.tip(0, 9, 99 + depth);
        let asked = depth <= GIVE_UP_DEPTH || depth % 10 == 0;
        assert_eq!(book.actions(), if asked { vec!["ask 0"] } else { vec![] }, "{depth}");
        if asked {
            book.depth(0, Confirmations::InChain(depth));
            assert_eq!(book.actions(), [format!("deep {depth}")]);
        }
    }
    assert_eq!(book.state(), BlockState::Accepted);
    book.tip(0, 9, 99 + DEPTH);
    book.actions();
    // An answer that does not come is asked for again.
    book.tip(0, 9, 100 + DEPTH);
    assert_eq!(book.actions(), ["ask 0"]);
    book.depth(0, Confirmations::InChain(DEPTH + 1));
    assert_eq!(book.actions(), ["deep 21", "confirmed"]);
    // And that is the end of it.
    book.tip(0, 9, 101 + DEPTH);
    book.depth(0, Confirmations::NotInChain);
    assert_eq!((book.actions(), book.state()), (vec![], BlockState::Confirmed));
}

#[test]
fn a_block_that_lost_is_orphaned_and_may_come_back() {
    let mut book = accepted();
    book.tip(0, 8, 100);
    assert_eq!(book.actions(), [""; 0], "a race is not decided");
    book.depth(0, Confirmations::NotInChain);
    assert_eq!(book.actions(), [""; 0]);
    book.tip(0, 9, 101);
    assert_eq!(book.actions(), ["ask 0"]);
    book.depth(0, Confirmations::NotInChain);
    assert_eq!(book.actions(), ["deep 0", "orphaned"]);
    book.tip(0, 2, 102);
    book.actions();
    book.depth(0, Confirmations::InChain(3));
    assert_eq!(book.actions(), ["deep 3", "accepted"]);
    book.depth(0, Confirmations::Unknown);
    assert_eq!(book.actions(), ["deep 0", "orphaned"]);
    book.tip(0, 1, 100);
    assert_eq!(book.actions(), ["accepted", "deep 1"]);
    // Far in the past it stays what it is.
    book.tip(0, 9, 99 + DEPTH);
    book.actions();
    book.depth(0, Confirmations::NotInChain);
    assert_eq!(book.actions(), ["deep 0", "orphaned"]);
    book.tip(0, 9, 100 + DEPTH);
    book.depth(0, Confirmations::InChain(DEPTH + 1));
    assert_eq!((book.actions(), book.state()), (vec![], BlockState::Orphaned));
}

#[test]
fn whoever_is_behind_has_no_say() {
    let mut book = accepted();
    book.tip(1, 7, 101);
    book.tip(0, 6, 102);
    book.actions();
    book.depth(1, Confirmations::NotInChain);
    assert_eq!(book.actions(), [""; 0]);
    book.depth(0, Confirmations::InChain(3));
    assert_eq!(book.actions(), ["deep 3"]);
    // Unless the other one is gone.
    book.0.source_down(0);
    book.depth(1, Confirmations::NotInChain);
    assert_eq!(book.actions(), ["deep 0", "orphaned"]);
    book.0.confirmations(1, hash(1), Err("can not tell".into()), &mut book.1);
    book.0.confirmations(7, hash(1), Ok(Confirmations::InChain(1)), &mut book.1);
    book.0.confirmations(1, hash(77), Ok(Confirmations::InChain(1)), &mut book.1);
    assert_eq!(book.1, []);
}

#[test]
fn a_new_process_goes_on_where_the_last_one_ended() {
    let mut book = Book::new(&[]);
    book.0.restore(NOW, FoundBlock { origin: None, ..block(1, true) }, BlockState::Open, &mut Vec::new());
    book.0.restore(NOW, FoundBlock { origin: None, ..block(2, true) }, BlockState::Accepted, &mut Vec::new());
    book.0.restore(NOW, FoundBlock { origin: None, ..block(3, false) }, BlockState::Accepted, &mut Vec::new());
    assert_eq!(book.1, []);
    book.up(0);
    assert_eq!(book.actions(), ["raw 0", "raw 0"], "what was accepted once more, too, where its bytes are at hand");
    book.tip(0, 9, 101);
    assert_eq!(book.actions(), ["ask 0", "ask 0"]);
    book.answer(0, SubmitPath::RawBlock, SubmitOutcome::Accepted);
    assert_eq!(book.actions(), ["accepted"]);
}

#[test]
fn the_book_is_bounded_and_drops_decided_blocks_first() {
    let (mut book, mut actions) = (BlockBook::new([true]), Vec::new());
    book.source_up(NOW, 0, &mut actions);
    let nth = |n: usize| BlockHash::from_byte_array(std::array::from_fn(|i| (n >> (8 * (i % 2))) as u8));
    for n in 0..MAX_OPEN_BLOCKS + 10 {
        book.found(NOW, FoundBlock { hash: nth(n), ..block(0, true) }, &mut actions);
    }
    assert_eq!(book.count("open"), MAX_OPEN_BLOCKS);
    for n in 10..MAX_FOUND_BLOCKS + 20 {
        book.found(NOW, FoundBlock { hash: nth(n), ..block(0, true) }, &mut actions);
        book.submitted(NOW, 0, nth(n), SubmitPath::RawBlock, SubmitOutcome::Accepted, &mut actions);
    }
    assert_eq!((book.count("open"), book.count("accepted")), (0, MAX_FOUND_BLOCKS));
    assert_eq!(book.blocks().filter(|(block, _, _)| block.raw.is_some()).count(), MAX_OPEN_BLOCKS);
    // Not all are asked about at once.
    actions.clear();
    book.tip(NOW, 0, &tip(255), 103, &mut actions);
    assert_eq!(actions.len(), depth::MAX_QUESTIONS);
    // Room is made by those whose end is known.
    let oldest = book.order[5];
    book.confirmations(0, oldest, Ok(Confirmations::InChain(CONFIRMATIONS)), &mut actions);
    book.found(NOW, FoundBlock { hash: nth(60_000), ..block(0, true) }, &mut actions);
    assert!(!book.entries.contains_key(&oldest));
    assert_eq!(book.entries.len(), MAX_FOUND_BLOCKS);
}
