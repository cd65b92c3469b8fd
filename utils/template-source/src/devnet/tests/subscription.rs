use std::{sync::Arc, time::Duration};

use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Witness,
    absolute::LockTime,
    block::{Header, Version},
    consensus::encode,
    hashes::Hash,
    transaction,
};

use super::*;
use crate::{
    Command, Constraints, EVENT_QUEUE, Event, Solution, SubmitOutcome, SubmitPath, Subscription, Template, TemplateId,
    TemplateSource, Tip,
    devnet::{LIVE_TIPS, rules::root_of_path, solve},
};

async fn template(subscription: &mut Subscription) -> Arc<Template> {
    match subscription.events.recv().await {
        Some(Event::Template(template)) => template,
        other => panic!("expected a template, got {other:?}"),
    }
}

async fn tip(subscription: &mut Subscription) -> Tip {
    match subscription.events.recv().await {
        Some(Event::Tip(tip)) => tip,
        other => panic!("expected a tip, got {other:?}"),
    }
}

async fn submitted(subscription: &mut Subscription) -> (SubmitPath, SubmitOutcome) {
    loop {
        match subscription.events.recv().await {
            Some(Event::Submitted { path, outcome, .. }) => return (path, outcome),
            Some(_) => {}
            None => panic!("the subscription ended"),
        }
    }
}

async fn command(subscription: &Subscription, command: Command) {
    subscription.commands.send(command).await.unwrap();
}

/// A subscription with what it starts with: the full template, its tip, and the empty template.
async fn subscribe(devnet: &Devnet) -> (Subscription, Arc<Template>, Tip, Arc<Template>) {
    let mut subscription = devnet.subscribe(Constraints::default());
    match subscription.events.recv().await {
        Some(Event::Up { description, .. }) => assert!(description.contains("DEVNET")),
        other => panic!("expected to be up, got {other:?}"),
    }
    let full = template(&mut subscription).await;
    let first = tip(&mut subscription).await;
    let empty = template(&mut subscription).await;
    (subscription, full, first, empty)
}

/// Mines a template as a pool would.
fn mine(template: &Template, tip: &Tip) -> (Solution, Header) {
    let input = TxIn {
        previous_output: OutPoint::null(),
        script_sig: ScriptBuf::from([template.coinbase.script_sig_prefix.as_slice(), b"\x04pool"].concat()),
        sequence: Sequence(template.coinbase.sequence),
        witness: match template.coinbase.has_witness_commitment() {
            true => Witness::from_slice(&[[0; 32]]),
            false => Witness::new(),
        },
    };
    let mut output =
        vec![TxOut { value: Amount::from_sat(template.coinbase.value_remaining), script_pubkey: ScriptBuf::new() }];
    let mut rest = template.coinbase.outputs.as_slice();
    for _ in 0..template.coinbase.outputs_count {
        let (fixed, used) = encode::deserialize_partial(rest).unwrap();
        output.push(fixed);
        rest = &rest[used..];
    }
    let coinbase = Transaction {
        version: transaction::Version(template.coinbase.version as i32),
        lock_time: LockTime::from_consensus(template.coinbase.lock_time),
        input: vec![input],
        output,
    };
    let root = root_of_path(coinbase.compute_txid().to_byte_array(), &template.merkle_path);
    let mut header = Header {
        version: Version::from_consensus(template.version as i32),
        prev_blockhash: tip.prev_hash,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: tip.header_timestamp,
        bits: CompactTarget::from_consensus(tip.nbits),
        nonce: 0,
    };
    assert!(solve(&mut header));
    let solution = Solution {
        template_id: template.id,
        hash: header.block_hash(),
        version: template.version,
        header_timestamp: header.time,
        header_nonce: header.nonce,
        coinbase_tx: encode::serialize(&coinbase),
    };
    (solution, header)
}

#[tokio::test]
async fn the_first_events_come_in_order() {
    let devnet = devnet();
    devnet.produce(30);
    let (_subscription, full, first, empty) = subscribe(&devnet).await;
    assert!(full.future && full.coinbase.has_witness_commitment());
    assert_eq!((full.height, full.merkle_path.len()), (111, 5));
    assert!(full.coinbase.value_remaining > 50 * 100_000_000);
    assert_eq!((first.template_id, first.prev_hash), (full.id, devnet.tip().hash));
    assert!(empty.future && empty.merkle_path.is_empty() && !empty.coinbase.has_witness_commitment());
    assert_eq!((empty.height, empty.coinbase.value_remaining), (112, 50 * 100_000_000));
    assert!(empty.id > full.id);
}

#[tokio::test]
async fn a_new_tip_activates_the_empty_template_at_once() {
    let devnet = devnet();
    devnet.produce(10);
    let (mut subscription, _, _, mut empty) = subscribe(&devnet).await;
    for _ in 0..5 {
        let hash = devnet.mine_block().unwrap();
        let new = tip(&mut subscription).await;
        assert_eq!((new.template_id, new.prev_hash), (empty.id, hash));
        let full = template(&mut subscription).await;
        assert!(!full.future && full.height == empty.height);
        empty = template(&mut subscription).await;
        assert!(empty.future && empty.height == full.height + 1);
    }
}

#[tokio::test]
async fn the_halving_is_in_the_empty_template() {
    let devnet = devnet();
    while devnet.tip().height < 148 {
        devnet.mine_block().unwrap();
    }
    let (_subscription, full, _, empty) = subscribe(&devnet).await;
    assert_eq!((full.height, full.coinbase.value_remaining), (149, 5_000_000_000));
    assert_eq!((empty.height, empty.coinbase.value_remaining), (150, 2_500_000_000));
}

#[tokio::test]
async fn a_tip_that_does_not_fit_comes_with_its_own_template() {
    let devnet = devnet();
    let (mut subscription, _, _, empty) = subscribe(&devnet).await;
    let height = empty.height;
    // Two blocks replace one: the reader sees only where that ends.
    let hash = devnet.reorg(1).unwrap();
    let new = tip(&mut subscription).await;
    assert_eq!((new.template_id, new.prev_hash), (empty.id, hash));
    assert_eq!(template(&mut subscription).await.height, height);
    assert_eq!(template(&mut subscription).await.height, height + 1);
    // Two blocks at once.
    devnet.mine_block().unwrap();
    let hash = devnet.mine_block().unwrap();
    let full = template(&mut subscription).await;
    assert!(full.future && full.height == height + 2);
    let new = tip(&mut subscription).await;
    assert_eq!((new.template_id, new.prev_hash), (full.id, hash));
    assert!(template(&mut subscription).await.future);
}

#[tokio::test]
async fn solutions_of_full_and_empty_templates_are_accepted() {
    let devnet = devnet();
    devnet.produce(10);
    let (mut subscription, full, first, empty) = subscribe(&devnet).await;
    let (solution, header) = mine(&full, &first);
    command(&subscription, Command::SubmitSolution(solution)).await;
    assert_eq!(submitted(&mut subscription).await, (SubmitPath::Solution, SubmitOutcome::Accepted));
    assert_eq!(devnet.tip().hash, header.block_hash());
    assert_eq!(devnet.block(&devnet.tip().hash).unwrap().txdata.len(), 11);
    let second = tip(&mut subscription).await;
    assert_eq!(second.template_id, empty.id);
    let (solution, header) = mine(&empty, &second);
    command(&subscription, Command::SubmitSolution(solution.clone())).await;
    assert_eq!(submitted(&mut subscription).await.1, SubmitOutcome::Accepted);
    assert_eq!(devnet.tip().hash, header.block_hash());
    command(&subscription, Command::SubmitSolution(solution)).await;
    assert_eq!(submitted(&mut subscription).await.1, SubmitOutcome::Accepted, "a duplicate was accepted before");
}

#[tokio::test]
async fn a_bad_solution_is_rejected_and_an_unknown_one_fails() {
    let devnet = devnet();
    let (mut subscription, full, first, empty) = subscribe(&devnet).await;
    let (good, _) = mine(&full, &first);
    let stale = Solution { header_timestamp: 0, ..good.clone() };
    command(&subscription, Command::SubmitSolution(stale)).await;
    assert!(matches!(submitted(&mut subscription).await.1, SubmitOutcome::Rejected(reason)
        if reason == "time-too-old" || reason == "high-hash"));
    let garbage = Solution { coinbase_tx: vec![1, 2, 3], ..good.clone() };
    command(&subscription, Command::SubmitSolution(garbage)).await;
    assert!(matches!(submitted(&mut subscription).await.1, SubmitOutcome::Rejected(_)));
    for id in [TemplateId(999), empty.id] {
        command(&subscription, Command::SubmitSolution(Solution { template_id: id, ..good.clone() })).await;
        assert!(matches!(submitted(&mut subscription).await.1, SubmitOutcome::Failed(_)), "{id:?}");
    }
}

#[tokio::test]
async fn templates_are_forgotten_after_some_tips() {
    let devnet = devnet();
    let (mut subscription, full, first, _) = subscribe(&devnet).await;
    let (solution, _) = mine(&full, &first);
    for round in 1..=LIVE_TIPS {
        devnet.mine_block().unwrap();
        tip(&mut subscription).await;
        template(&mut subscription).await;
        template(&mut subscription).await;
        command(&subscription, Command::RequestTransactions(full.id)).await;
        let answer = subscription.events.recv().await;
        assert!(matches!(answer, Some(Event::Transactions { result, .. }) if result.is_ok() == (round < LIVE_TIPS)));
    }
    command(&subscription, Command::SubmitSolution(solution)).await;
    assert!(matches!(submitted(&mut subscription).await.1, SubmitOutcome::Failed(_)));
}

#[tokio::test]
async fn a_raw_block_gets_through_when_solutions_fail() {
    let devnet = devnet();
    devnet.produce(10);
    let (mut subscription, full, first, _) = subscribe(&devnet).await;
    command(&subscription, Command::RequestTransactions(full.id)).await;
    let Some(Event::Transactions { result: Ok(transactions), .. }) = subscription.events.recv().await else {
        panic!("expected the transactions");
    };
    let (solution, header) = mine(&full, &first);
    devnet.set_fail_solutions(true);
    command(&subscription, Command::SubmitSolution(solution.clone())).await;
    assert!(matches!(submitted(&mut subscription).await, (SubmitPath::Solution, SubmitOutcome::Failed(_))));
    let decode = |raw: &Vec<u8>| -> Transaction { encode::deserialize(raw).unwrap() };
    let txdata = std::iter::once(&solution.coinbase_tx).chain(transactions.iter()).map(decode).collect();
    let block = Block { header, txdata };
    let raw = Arc::new(encode::serialize(&block));
    command(&subscription, Command::SubmitBlock { hash: block.block_hash(), block: raw }).await;
    assert_eq!(submitted(&mut subscription).await, (SubmitPath::RawBlock, SubmitOutcome::Accepted));
    let garbage = Command::SubmitBlock { hash: BlockHash::all_zeros(), block: Arc::new(vec![0; 10]) };
    command(&subscription, garbage).await;
    assert!(matches!(submitted(&mut subscription).await, (SubmitPath::RawBlock, SubmitOutcome::Rejected(_))));
    assert_eq!(devnet.tip().hash, block.block_hash());
}

#[tokio::test]
async fn a_stopped_devnet_is_down_and_starts_anew() {
    let devnet = devnet();
    devnet.stop();
    let mut subscription = devnet.subscribe(Constraints::default());
    assert!(matches!(subscription.events.recv().await, Some(Event::Down { .. })));
    devnet.start();
    assert!(matches!(subscription.events.recv().await, Some(Event::Up { .. })));
    let full = template(&mut subscription).await;
    let first = tip(&mut subscription).await;
    template(&mut subscription).await;
    let (solution, _) = mine(&full, &first);
    devnet.stop();
    assert!(matches!(subscription.events.recv().await, Some(Event::Down { .. })));
    command(&subscription, Command::SubmitSolution(solution.clone())).await;
    assert!(matches!(submitted(&mut subscription).await.1, SubmitOutcome::Failed(_)));
    let hash = devnet.mine_block().unwrap();
    devnet.start();
    assert!(matches!(subscription.events.recv().await, Some(Event::Up { .. })));
    let again = template(&mut subscription).await;
    assert!(again.future && again.id > full.id);
    assert_eq!(tip(&mut subscription).await.prev_hash, hash);
}

#[tokio::test]
async fn constraints_bound_the_templates() {
    let devnet = devnet();
    devnet.produce(40);
    let (mut subscription, full, _, _) = subscribe(&devnet).await;
    let path = full.merkle_path.len();
    // Room for a few transactions only: 4,000,000 - 1,168 - 4 * size.
    let constraints = Constraints { max_additional_size: 999_300, max_additional_sigops: 0 };
    command(&subscription, Command::SetConstraints(constraints)).await;
    let small = template(&mut subscription).await;
    assert!(!small.future && small.merkle_path.len() < path);
    command(&subscription, Command::RequestTransactions(small.id)).await;
    let Some(Event::Transactions { result: Ok(few), .. }) = subscription.events.recv().await else {
        panic!("expected the transactions");
    };
    let weight: u64 = few.iter().map(|raw| encode::deserialize::<Transaction>(raw).unwrap().weight().to_wu()).sum();
    assert!(!few.is_empty() && weight <= 4_000_000 - constraints.reserved_weight());
    // A reservation beyond all room leaves none.
    let constraints = Constraints { max_additional_size: u32::MAX, max_additional_sigops: u16::MAX };
    command(&subscription, Command::SetConstraints(constraints)).await;
    assert!(template(&mut subscription).await.merkle_path.is_empty());
}

#[tokio::test(start_paused = true)]
async fn grown_fees_bring_a_new_template() {
    let config = DevnetConfig { fee_check: Duration::from_secs(5), fee_threshold: 100, ..quiet() };
    let devnet = Devnet::new(config).unwrap();
    let (mut subscription, full, _, empty) = subscribe(&devnet).await;
    devnet.produce(10);
    let richer = template(&mut subscription).await;
    assert!(!richer.future && richer.height == full.height && richer.id > empty.id);
    assert!(richer.coinbase.value_remaining > full.coinbase.value_remaining);
}

#[tokio::test(start_paused = true)]
async fn transactions_arrive_by_themselves() {
    let config = DevnetConfig { transactions_per_tick: 3, fee_threshold: 1, ..DevnetConfig::default() };
    let devnet = Devnet::new(config).unwrap();
    let (mut subscription, ..) = subscribe(&devnet).await;
    assert!(!template(&mut subscription).await.merkle_path.is_empty());
}

#[tokio::test]
async fn a_reader_that_stalls_misses_only_what_was_overtaken() {
    let devnet = devnet();
    let (mut subscription, _, _, empty) = subscribe(&devnet).await;
    for _ in 0..100 {
        devnet.mine_block().unwrap();
        tokio::task::yield_now().await;
    }
    let mut last = empty.id;
    let mut sent = vec![empty.id];
    loop {
        match subscription.events.recv().await.unwrap() {
            Event::Template(template) => {
                assert!(template.id > last);
                last = template.id;
                sent.extend(template.future.then_some(template.id));
            }
            Event::Tip(tip) => {
                assert!(sent.contains(&tip.template_id));
                if tip.prev_hash == devnet.tip().hash {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The producer's task ends with its runtime; the next subscription starts another.
#[test]
fn transactions_arrive_in_a_second_runtime_too() {
    let config = DevnetConfig { transactions_per_tick: 3, ..DevnetConfig::default() };
    let devnet = Devnet::new(config).unwrap();
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut subscription, full, ..) = subscribe(&devnet).await;
            let richer = template(&mut subscription).await;
            assert!(richer.coinbase.value_remaining > full.coinbase.value_remaining);
        });
    }
}

#[tokio::test]
async fn new_constraints_do_not_overtake_a_tip() {
    let devnet = devnet();
    let (mut subscription, _, _, empty) = subscribe(&devnet).await;
    // Each tip makes three events. Of the last one's, some fit into the queue and some wait.
    let tips = EVENT_QUEUE / 3 + 1;
    for _ in 0..tips {
        devnet.mine_block().unwrap();
        tokio::task::yield_now().await;
    }
    let constraints = Constraints { max_additional_size: 100, max_additional_sigops: 4 };
    command(&subscription, Command::SetConstraints(constraints)).await;
    tokio::task::yield_now().await;
    let mut last = empty.id;
    for _ in 0..tips * 3 + 1 {
        if let Event::Template(template) = subscription.events.recv().await.unwrap() {
            assert!(template.id > last);
            last = template.id;
        }
    }
}

#[tokio::test]
async fn what_was_submitted_before_the_reader_went_counts() {
    let devnet = devnet();
    let (subscription, full, tip, _) = subscribe(&devnet).await;
    let (solution, header) = mine(&full, &tip);
    let Subscription { events, commands } = subscription;
    commands.try_send(Command::SubmitSolution(solution)).unwrap();
    drop(events);
    commands.closed().await;
    assert_eq!(devnet.tip().hash, header.block_hash());
}

#[tokio::test]
async fn a_dropped_reader_ends_the_task() {
    let devnet = devnet();
    let Subscription { events, commands } = devnet.subscribe(Constraints::default());
    drop(events);
    commands.closed().await;
}
