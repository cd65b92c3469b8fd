//! Templates over Bitcoin Core's mining interface.

use std::sync::Arc;

use bitcoin::{Amount, Network, consensus::encode, hashes::Hash};
use integration::{
    core::{CoreNode, CoreOptions, anyone_can_spend},
    events::{Reader, mine},
    sources::ipc_config as config,
};
use serde_json::json;
use template_source::{
    Command, Constraints, Event, Solution, SubmitOutcome, Template, TemplateId, TemplateSource,
    bitcoin_ipc::{BitcoinIpc, BitcoinIpcConfig},
};

use crate::steps::{NO_ROOM, SUBSIDY, is_ahead, reason_of_down, submit_block, submit_solution};

fn subscribe(node: &CoreNode) -> Reader {
    Reader::new(BitcoinIpc::new(config(node)).subscribe(NO_ROOM))
}

/// A node with a subscription that has its first tip.
async fn ready(blocks: u64) -> (CoreNode, Reader) {
    let node = CoreNode::start(CoreOptions::default());
    if blocks > 0 {
        node.mine(blocks, &anyone_can_spend());
    }
    let mut reader = subscribe(&node);
    reader.until_tip(node.best_hash()).await;
    (node, reader)
}

#[tokio::test]
async fn it_comes_up_with_a_template_and_its_tip() {
    let node = CoreNode::start(CoreOptions::default());
    node.mine(20, &anyone_can_spend());
    let mut reader = subscribe(&node);
    let Event::Up { network, description } = reader.next().await else { panic!("first of all, Up") };
    assert_eq!(network, Some(Network::Regtest));
    assert!(description.contains("Satoshi"), "{description}");

    let Event::Template(first) = reader.next().await else { panic!("then a template") };
    assert!(first.future);
    assert_eq!((first.height, first.coinbase.value_remaining), (21, SUBSIDY));
    let Event::Tip(tip) = reader.next().await else { panic!("then its tip") };
    assert_eq!((tip.template_id, tip.prev_hash), (first.id, node.best_hash()));

    let Event::Template(ahead) = reader.next().await else { panic!("then a template for the height after") };
    assert!(is_ahead(22)(&ahead));
    assert_eq!(ahead.coinbase.value_remaining, SUBSIDY);
}

#[tokio::test]
async fn a_tip_activates_the_template_that_was_sent_ahead() {
    let (node, mut reader) = ready(1).await;
    for height in 2..20 {
        let ahead = reader.until_template(is_ahead(height + 1)).await;
        let block = node.mine(1, &anyone_can_spend())[0];
        let Event::Tip(tip) = reader.next().await else { panic!("a tip needs no new template") };
        assert_eq!((tip.template_id, tip.prev_hash), (ahead.id, block), "height {height}");
    }
}

#[tokio::test]
async fn blocks_of_templates_sent_ahead_are_valid_over_a_halving() {
    let (_node, mut reader) = ready(147).await;
    for height in 148..153 {
        let tip = reader.tip();
        let template = Arc::clone(reader.template(tip.template_id));
        assert_eq!(template.height, height);
        assert_eq!(template.coinbase.value_remaining, if height < 150 { SUBSIDY } else { SUBSIDY / 2 });
        let mined = mine(&template, &tip, b"ahead", anyone_can_spend());
        reader.until_template(is_ahead(height + 1)).await;
        reader.command(Command::SubmitSolution(mined.solution.clone())).await;
        let tip = reader.until_tip(mined.solution.hash).await;
        assert!(is_ahead(height + 1)(reader.template(tip.template_id)));
    }
}

#[tokio::test]
async fn several_blocks_at_once_and_reorganisations_get_a_tip() {
    let (node, mut reader) = ready(5).await;
    let best = *node.mine(4, &anyone_can_spend()).last().unwrap();
    let tip = reader.until_tip(best).await;
    assert_eq!(reader.template(tip.template_id).height, 10);

    // Back by two blocks, then to another block of the height that was lost.
    let fork = node.rpc("getblockhash", json!([8]));
    node.rpc("invalidateblock", json!([fork]));
    let tip = reader.until_tip(node.best_hash()).await;
    assert_eq!(reader.template(tip.template_id).height, 8);
    let other = node.mine(1, &bitcoin::ScriptBuf::from_bytes(vec![0x52]))[0];
    let tip = reader.until_tip(other).await;
    assert_eq!(reader.template(tip.template_id).height, 9);

    // And forward again to the longer chain.
    node.rpc("reconsiderblock", json!([fork]));
    let tip = reader.until_tip(best).await;
    let template = Arc::clone(reader.template(tip.template_id));
    assert_eq!(template.height, 10);
    let mined = mine(&template, &tip, b"after", anyone_can_spend());
    assert_eq!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Accepted);
    assert_eq!(node.best_hash(), mined.solution.hash);
}

#[tokio::test]
async fn fees_make_a_new_template_and_its_solution_a_block() {
    let (node, mut reader) = ready(0).await;
    let mut coins = node.mine_coins(2);
    let tip = reader.until_tip(node.best_hash()).await;
    let (first, _) = node.spend(coins.pop_front().unwrap(), Amount::from_sat(5_000));
    let with_first = reader.until_template(|template| template.coinbase.value_remaining == SUBSIDY + 5_000).await;
    assert!(!with_first.future);
    let (second, _) = node.spend(coins.pop_front().unwrap(), Amount::from_sat(70_000));
    let template = reader.until_template(|template| template.coinbase.value_remaining == SUBSIDY + 75_000).await;
    assert!(template.coinbase.has_witness_commitment());

    let transactions = reader.transactions(template.id).await.unwrap();
    assert_eq!(transactions.len(), 2);
    let mined = mine(&template, &tip, b"fees", anyone_can_spend());
    assert_eq!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Accepted);
    assert_eq!(node.best_hash(), mined.solution.hash);
    let block = node.block(mined.solution.hash);
    assert_eq!(block, mined.block(&transactions));
    let txids: Vec<_> = block.txdata[1..].iter().map(bitcoin::Transaction::compute_txid).collect();
    assert!(txids.contains(&first) && txids.contains(&second));
}

#[tokio::test]
async fn a_raw_block_is_taken_once_more_and_a_bad_one_is_not() {
    let (node, mut reader) = ready(0).await;
    let coins = node.mine_coins(1);
    let tip = reader.until_tip(node.best_hash()).await;
    node.spend(coins[0], Amount::from_sat(9_000));
    let template = reader.until_template(|template| template.coinbase.value_remaining == SUBSIDY + 9_000).await;
    let transactions = reader.transactions(template.id).await.unwrap();
    let mined = mine(&template, &tip, b"raw", anyone_can_spend());
    let block = mined.block(&transactions);

    let mut too_much = template.coinbase.clone();
    too_much.value_remaining += 1;
    let greedy = Template { coinbase: too_much, ..(*template).clone() };
    let greedy = mine(&greedy, &tip, b"raw", anyone_can_spend());
    let outcome = submit_block(&mut reader, &greedy.block(&transactions)).await;
    assert!(matches!(&outcome, SubmitOutcome::Rejected(reason) if reason.contains("bad-cb-amount")), "{outcome:?}");
    let mut cut = block.clone();
    cut.txdata.pop();
    let outcome = submit_block(&mut reader, &cut).await;
    assert!(matches!(&outcome, SubmitOutcome::Rejected(reason) if reason.contains("bad-txnmrklroot")), "{outcome:?}");

    assert_eq!(submit_block(&mut reader, &block).await, SubmitOutcome::Accepted);
    assert_eq!(node.best_hash(), block.block_hash());
    assert_eq!(submit_block(&mut reader, &block).await, SubmitOutcome::Accepted, "the node has it already");
    assert_eq!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Accepted, "the node has it already");
}

#[tokio::test]
async fn bytes_that_are_no_block_are_refused() {
    let (node, mut reader) = ready(1).await;
    let hash = bitcoin::BlockHash::hash(b"no block");
    for bytes in [vec![], vec![0], vec![0xff; 1000], vec![0; 4_000_001]] {
        reader.command(Command::SubmitBlock { hash, block: Arc::new(bytes) }).await;
        let (_, outcome) = reader.submitted(hash).await;
        assert!(matches!(outcome, SubmitOutcome::Rejected(_)), "{outcome:?}");
    }
    let solution = mine(reader.template(reader.tip().template_id), &reader.tip(), b"x", anyone_can_spend()).solution;
    for coinbase_tx in [vec![], vec![1], vec![0xff; 200]] {
        let bad = Solution { coinbase_tx, ..solution.clone() };
        reader.command(Command::SubmitSolution(bad)).await;
        let (_, outcome) = reader.submitted(solution.hash).await;
        assert!(matches!(outcome, SubmitOutcome::Rejected(_)), "{outcome:?}");
    }
    let next = node.mine(1, &anyone_can_spend())[0];
    reader.until_tip(next).await;
}

#[tokio::test]
async fn a_solution_that_is_no_block_is_refused() {
    let (node, mut reader) = ready(30).await;
    let tip = reader.tip();
    let template = Arc::clone(reader.template(tip.template_id));
    let mut too_much = template.coinbase.clone();
    too_much.value_remaining += 1;
    let greedy = Template { coinbase: too_much, ..(*template).clone() };
    let outcome = submit_solution(&mut reader, &mine(&greedy, &tip, b"x", anyone_can_spend())).await;
    assert!(matches!(outcome, SubmitOutcome::Rejected(_)), "{outcome:?}");

    let mut no_work = mine(&template, &tip, b"y", anyone_can_spend());
    while no_work.header.validate_pow(no_work.header.target()).is_ok() {
        no_work.header.nonce += 1;
    }
    no_work.solution.header_nonce = no_work.header.nonce;
    no_work.solution.hash = no_work.header.block_hash();
    let outcome = submit_solution(&mut reader, &no_work).await;
    assert!(matches!(outcome, SubmitOutcome::Rejected(_)), "{outcome:?}");
    assert_eq!(node.height(), 30);
}

#[tokio::test]
async fn a_late_solution_still_reaches_the_node() {
    let (node, mut reader) = ready(3).await;
    let tip = reader.tip();
    let template = Arc::clone(reader.template(tip.template_id));
    let late = mine(&template, &tip, b"late", anyone_can_spend());
    let winner = *node.mine(2, &anyone_can_spend()).last().unwrap();
    reader.until_tip(winner).await;
    assert_eq!(submit_solution(&mut reader, &late).await, SubmitOutcome::Accepted);
    assert_eq!(node.best_hash(), winner);
    let tips = node.rpc("getchaintips", json!([]));
    let hash = late.solution.hash.to_string();
    assert!(tips.as_array().unwrap().iter().any(|tip| tip["hash"] == hash.as_str()), "{tips}");
}

#[tokio::test]
async fn unknown_templates_are_answered() {
    let (_node, mut reader) = ready(1).await;
    let ahead = reader.until_template(is_ahead(3)).await;
    assert!(reader.transactions(TemplateId(999)).await.is_err());
    assert_eq!(reader.transactions(ahead.id).await, Ok(Default::default()));
    for template_id in [TemplateId(999), ahead.id] {
        let tip = reader.tip();
        let mut mined = mine(reader.template(tip.template_id), &tip, b"x", anyone_can_spend());
        mined.solution.template_id = template_id;
        let outcome = submit_solution(&mut reader, &mined).await;
        assert!(matches!(outcome, SubmitOutcome::Failed(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn room_is_left_for_the_outputs_of_the_user() {
    let (node, mut reader) = ready(0).await;
    let coins = node.mine_coins(3);
    for coin in coins {
        node.spend(coin, Amount::from_sat(10_000));
    }
    let full = SUBSIDY + 30_000;
    let template = reader.until_template(|template| template.coinbase.value_remaining == full).await;
    assert_eq!(reader.transactions(template.id).await.unwrap().len(), 3);

    // A template follows even if it is the same.
    reader.command(Command::SetConstraints(NO_ROOM)).await;
    let again = reader.until_template(|other| other.id > template.id).await;
    assert_eq!(again.coinbase, template.coinbase);

    // Leaves 400 weight units, and a transaction has 381.
    let wanted = Constraints { max_additional_size: (4_000_000 - 400 - 1168) / 4, max_additional_sigops: 1 };
    reader.command(Command::SetConstraints(wanted)).await;
    let template = reader.until_template(|template| template.coinbase.value_remaining < full).await;
    assert_eq!(reader.transactions(template.id).await.unwrap().len(), 1);

    // All sigops of a block: the node adds no transaction then, not even one without.
    let wanted = Constraints { max_additional_size: 0, max_additional_sigops: u16::MAX };
    reader.command(Command::SetConstraints(wanted)).await;
    let template = reader.until_template(|template| template.coinbase.value_remaining == SUBSIDY).await;
    assert_eq!(reader.transactions(template.id).await, Ok(Default::default()));

    // More than a block has.
    let wanted = Constraints { max_additional_size: 1_000_000, max_additional_sigops: 0 };
    reader.command(Command::SetConstraints(wanted)).await;
    let reason = reason_of_down(&mut reader).await;
    assert!(reason.contains("4001168"), "{reason}");
    reader.command(Command::SetConstraints(NO_ROOM)).await;
    reader.until_template(|template| template.coinbase.value_remaining == full).await;
}

#[tokio::test]
async fn a_node_that_comes_back_is_used_again() {
    let (mut node, mut reader) = ready(3).await;
    let tip = reader.tip();
    let template = Arc::clone(reader.template(tip.template_id));
    let mined = mine(&template, &tip, b"kept", anyone_can_spend());

    node.stop();
    let reason = reason_of_down(&mut reader).await;
    assert!(!reason.is_empty());
    let outcome = submit_solution(&mut reader, &mined).await;
    assert!(matches!(outcome, SubmitOutcome::Failed(_)), "{outcome:?}");
    let transactions = reader.transactions(template.id).await;
    assert!(transactions.is_err());

    node.restart();
    reader.until(|event| matches!(event, Event::Up { .. }).then_some(())).await;
    let again = reader.until(|event| if let Event::Tip(tip) = event { Some(*tip) } else { None }).await;
    assert_eq!(again.prev_hash, tip.prev_hash, "a node that was stopped in order keeps its chain");
    // The template is gone with the node that made it; the whole block is not.
    let outcome = submit_solution(&mut reader, &mined).await;
    assert!(matches!(outcome, SubmitOutcome::Failed(_)), "{outcome:?}");
    assert_eq!(submit_block(&mut reader, &mined.block(&Default::default())).await, SubmitOutcome::Accepted);
    reader.until_tip(mined.solution.hash).await;
}

#[tokio::test]
async fn a_node_that_crashes_is_used_again() {
    let (mut node, mut reader) = ready(3).await;
    node.kill();
    let reason = reason_of_down(&mut reader).await;
    assert!(!reason.is_empty());
    node.restart();
    reader.until(|event| matches!(event, Event::Up { .. }).then_some(())).await;
    reader.until_tip(node.best_hash()).await;
    let mined = mine(reader.template(reader.tip().template_id), &reader.tip(), b"again", anyone_can_spend());
    assert_eq!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Accepted);
}

#[tokio::test]
async fn a_node_on_another_chain_is_refused() {
    let node = CoreNode::start(CoreOptions::default());
    let config = BitcoinIpcConfig { expected_network: Some(Network::Bitcoin), ..config(&node) };
    let mut reader = Reader::new(BitcoinIpc::new(config).subscribe(NO_ROOM));
    let reason = reason_of_down(&mut reader).await;
    assert!(reason.contains("expected a node on bitcoin") && reason.contains("regtest"), "{reason}");
    assert!(reader.templates.is_empty());
}

#[tokio::test]
async fn a_block_handed_in_last_is_delivered_when_the_user_goes() {
    let (node, reader) = ready(3).await;
    let mut watcher = subscribe(&node);
    watcher.until_tip(node.best_hash()).await;
    let mined = mine(reader.template(reader.tip().template_id), &reader.tip(), b"last", anyone_can_spend());
    let block = Arc::new(encode::serialize(&mined.block(&Default::default())));
    reader.command(Command::SubmitBlock { hash: mined.solution.hash, block }).await;
    reader.close();
    watcher.until_tip(mined.solution.hash).await;
}

#[tokio::test]
async fn subscriptions_do_not_know_of_each_other() {
    let (node, mut first) = ready(0).await;
    let coins = node.mine_coins(1);
    node.spend(coins[0], Amount::from_sat(10_000));
    let all = Constraints { max_additional_size: (4_000_000 - 1168) / 4, max_additional_sigops: 0 };
    let mut second = Reader::new(BitcoinIpc::new(config(&node)).subscribe(all));
    let with_fees = first.until_template(|template| template.coinbase.value_remaining == SUBSIDY + 10_000).await;
    assert_eq!(first.transactions(with_fees.id).await.unwrap().len(), 1);
    let tip = second.until_tip(node.best_hash()).await;
    let without = Arc::clone(second.template(tip.template_id));
    assert_eq!(without.coinbase.value_remaining, SUBSIDY, "no room for a transaction");

    first.close();
    let mined = mine(&without, &tip, b"second", anyone_can_spend());
    assert_eq!(submit_solution(&mut second, &mined).await, SubmitOutcome::Accepted);
    second.until_tip(mined.solution.hash).await;
}
