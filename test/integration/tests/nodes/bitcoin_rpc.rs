//! Templates over Bitcoin Core's JSON-RPC.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bitcoin::{Amount, Network, consensus::encode, hashes::Hash};
use integration::{
    core::{CoreNode, CoreOptions, anyone_can_spend},
    events::{Reader, mine},
    sources::{ipc_config, rpc_config as config},
};
use serde_json::json;
use template_source::{
    Command, Constraints, Event, Solution, SubmitOutcome, Template, TemplateId, TemplateSource,
    bitcoin_ipc::BitcoinIpc,
    bitcoin_rpc::{BitcoinRpc, BitcoinRpcConfig, Login, Secret},
};

use crate::steps::{NO_ROOM, SUBSIDY, is_ahead, reason_of_down, submit_block, submit_solution};

fn subscribe_with(config: BitcoinRpcConfig) -> Reader {
    Reader::new(BitcoinRpc::new(config).subscribe(NO_ROOM))
}

fn subscribe(node: &CoreNode) -> Reader {
    subscribe_with(config(node))
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
    assert!(description.contains("Satoshi") && description.contains("127.0.0.1"), "{description}");
    let Event::Template(first) = reader.next().await else { panic!("then a template") };
    assert_eq!((first.future, first.height, first.coinbase.value_remaining), (true, 21, SUBSIDY));
    let Event::Tip(tip) = reader.next().await else { panic!("then its tip") };
    assert_eq!((tip.template_id, tip.prev_hash), (first.id, node.best_hash()));
    let Event::Template(ahead) = reader.next().await else { panic!("then a template for the height after") };
    assert!(is_ahead(22)(&ahead));
}

#[tokio::test]
async fn a_node_says_how_it_is_either_way() {
    let mut node = CoreNode::start(CoreOptions::default());
    let (over_rpc, over_ipc) = (BitcoinRpc::new(config(&node)), BitcoinIpc::new(ipc_config(&node)));
    assert!(over_rpc.status().await.unwrap().is_syncing, "its tip is the first block of all, and years old");
    node.mine(3, &anyone_can_spend());
    let status = over_rpc.status().await.unwrap();
    assert_eq!((status.network, status.blocks, status.headers), (Network::Regtest, 3, 3));
    assert!(!status.is_syncing && status.agent.contains("Satoshi") && status.tip_time.is_some(), "{status:?}");
    assert_eq!(over_ipc.status().await.unwrap(), status);
    node.stop();
    assert!(over_rpc.status().await.unwrap_err().contains("is the node running"));
    assert!(over_ipc.status().await.unwrap_err().contains("-ipcbind=unix"));
}

#[tokio::test]
async fn a_long_poll_tells_of_a_tip_that_activates_the_template_sent_ahead() {
    let node = CoreNode::start(CoreOptions::default());
    node.mine(1, &anyone_can_spend());
    // So that only the long poll can tell.
    let mut reader =
        subscribe_with(BitcoinRpcConfig { fee_check_interval: Duration::from_secs(3600), ..config(&node) });
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
    let fork = node.rpc("getblockhash", json!([8]));
    node.rpc("invalidateblock", json!([fork]));
    let tip = reader.until_tip(node.best_hash()).await;
    assert_eq!(reader.template(tip.template_id).height, 8);
    let other = node.mine(1, &bitcoin::ScriptBuf::from_bytes(vec![0x52]))[0];
    let tip = reader.until_tip(other).await;
    assert_eq!(reader.template(tip.template_id).height, 9);
    node.rpc("reconsiderblock", json!([fork]));
    let tip = reader.until_tip(best).await;
    let template = Arc::clone(reader.template(tip.template_id));
    let mined = mine(&template, &tip, b"after", anyone_can_spend());
    assert_eq!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Accepted);
    assert_eq!(node.best_hash(), mined.solution.hash);
}

#[tokio::test]
async fn fees_make_a_new_template_and_its_solution_a_block() {
    let (node, mut reader) = ready(0).await;
    let mut coins = node.mine_coins(2);
    let tip = reader.until_tip(node.best_hash()).await;
    let (first, coin) = node.spend(coins.pop_front().unwrap(), Amount::from_sat(5_000));
    let (second, _) = node.spend(coin, Amount::from_sat(70_000));
    let template = reader.until_template(|template| template.coinbase.value_remaining == SUBSIDY + 75_000).await;
    assert!(!template.future && template.coinbase.has_witness_commitment());
    let transactions = reader.transactions(template.id).await.unwrap();
    let mined = mine(&template, &tip, b"fees", anyone_can_spend());
    assert_eq!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Accepted);
    assert_eq!(node.best_hash(), mined.solution.hash);
    let block = node.block(mined.solution.hash);
    assert_eq!(block, mined.block(&transactions));
    let txids: Vec<_> = block.txdata[1..].iter().map(bitcoin::Transaction::compute_txid).collect();
    assert_eq!(txids, [first, second]);
}

#[tokio::test]
async fn a_raw_block_is_taken_once_more_and_a_bad_one_is_not() {
    let (node, mut reader) = ready(30).await;
    let tip = reader.tip();
    let template = Arc::clone(reader.template(tip.template_id));
    let mut too_much = template.coinbase.clone();
    too_much.value_remaining += 1;
    let greedy = mine(&Template { coinbase: too_much, ..(*template).clone() }, &tip, b"raw", anyone_can_spend());
    let outcome = submit_block(&mut reader, &greedy.block(&Default::default())).await;
    assert!(matches!(&outcome, SubmitOutcome::Rejected(reason) if reason.contains("bad-cb-amount")), "{outcome:?}");
    let outcome = submit_solution(&mut reader, &greedy).await;
    assert!(matches!(outcome, SubmitOutcome::Rejected(_)), "{outcome:?}");

    let mined = mine(&template, &tip, b"raw", anyone_can_spend());
    let block = mined.block(&Default::default());
    assert_eq!(submit_block(&mut reader, &block).await, SubmitOutcome::Accepted);
    assert_eq!(node.best_hash(), block.block_hash());
    assert_eq!(submit_block(&mut reader, &block).await, SubmitOutcome::Accepted, "the node has it already");
    assert_eq!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Accepted, "the node has it already");
    // Beside the best chain.
    let late = mine(&template, &tip, b"late", anyone_can_spend());
    assert_eq!(submit_solution(&mut reader, &late).await, SubmitOutcome::Accepted);
    assert_eq!(node.best_hash(), block.block_hash());
}

#[tokio::test]
async fn bytes_that_are_no_block_are_refused_and_unknown_templates_are_answered() {
    let (node, mut reader) = ready(1).await;
    let hash = bitcoin::BlockHash::hash(b"no block");
    for bytes in [vec![], vec![0], vec![0xff; 1000], vec![0; 4_000_001]] {
        reader.command(Command::SubmitBlock { hash, block: Arc::new(bytes) }).await;
        let (_, outcome) = reader.submitted(hash).await;
        assert!(matches!(outcome, SubmitOutcome::Rejected(_)), "{outcome:?}");
    }
    let mined = mine(reader.template(reader.tip().template_id), &reader.tip(), b"x", anyone_can_spend());
    let bad = Solution { coinbase_tx: vec![1], ..mined.solution.clone() };
    reader.command(Command::SubmitSolution(bad)).await;
    assert!(matches!(reader.submitted(mined.solution.hash).await.1, SubmitOutcome::Rejected(_)));
    let unknown = Solution { template_id: TemplateId(999), ..mined.solution.clone() };
    reader.command(Command::SubmitSolution(unknown)).await;
    assert!(matches!(reader.submitted(mined.solution.hash).await.1, SubmitOutcome::Failed(_)));
    assert!(reader.transactions(TemplateId(999)).await.is_err());
    let next = node.mine(1, &anyone_can_spend())[0];
    reader.until_tip(next).await;
}

#[tokio::test]
async fn room_is_left_for_the_outputs_of_the_user() {
    let (node, mut reader) = ready(0).await;
    let mut coins = node.mine_coins(2);
    let (_, child) = node.spend(coins.pop_front().unwrap(), Amount::from_sat(10_000));
    node.spend(child, Amount::from_sat(60_000));
    node.spend(coins.pop_front().unwrap(), Amount::from_sat(20_000));
    let all = SUBSIDY + 90_000;
    reader.until_template(|template| template.coinbase.value_remaining == all).await;
    // Leaves 800 weight units, and a transaction has 381: the one that others do not depend on, with less fee, goes.
    let wanted = Constraints { max_additional_size: (4_000_000 - 800 - 1168) / 4, max_additional_sigops: 1 };
    reader.command(Command::SetConstraints(wanted)).await;
    let template = reader.until_template(|template| template.coinbase.value_remaining == all - 20_000).await;
    assert_eq!(reader.transactions(template.id).await.unwrap().len(), 2);
    // The node takes a block with the largest coinbase that was asked for: it is asked before `Up`.
    let mut other = Reader::new(BitcoinRpc::new(config(&node)).subscribe(wanted));
    assert!(matches!(other.next().await, Event::Up { .. }));
    let mined = mine(&template, &reader.tip(), b"room", anyone_can_spend());
    assert_eq!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Accepted);
    reader.until_tip(mined.solution.hash).await;

    // More than a block has.
    let wanted = Constraints { max_additional_size: 1_000_000, max_additional_sigops: 0 };
    reader.command(Command::SetConstraints(wanted)).await;
    let reason = reason_of_down(&mut reader).await;
    assert!(reason.contains("4001168"), "{reason}");
    reader.command(Command::SetConstraints(NO_ROOM)).await;
    reader.until_tip(node.best_hash()).await;
    reader.until(|event| matches!(event, Event::Up { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_node_that_is_killed_and_restarted_is_used_again() {
    let (mut node, mut reader) = ready(3).await;
    let tip = reader.tip();
    let mined = mine(reader.template(tip.template_id), &tip, b"kept", anyone_can_spend());
    let cookie = std::fs::read(node.cookie_file()).unwrap();
    node.stop();
    let reason = reason_of_down(&mut reader).await;
    assert!(!reason.is_empty());
    assert!(matches!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Failed(_)));
    node.restart();
    assert_ne!(std::fs::read(node.cookie_file()).unwrap(), cookie, "the node has a new cookie");
    reader.until(|event| matches!(event, Event::Up { .. }).then_some(())).await;
    // The template is gone with the connection; the whole block is not.
    assert!(matches!(submit_solution(&mut reader, &mined).await, SubmitOutcome::Failed(_)));
    let block = mined.block(&Default::default());
    assert_eq!(submit_block(&mut reader, &block).await, SubmitOutcome::Accepted);
    reader.until_tip(mined.solution.hash).await;

    node.kill();
    reason_of_down(&mut reader).await;
    node.restart();
    reader.until(|event| matches!(event, Event::Up { .. }).then_some(())).await;
    reader.until_tip(node.best_hash()).await;
}

#[tokio::test]
async fn a_wrong_login_is_told_without_showing_it() {
    let node = CoreNode::start(CoreOptions::default());
    let login = Login::Password { user: "alice".into(), password: Secret::new("hunter2") };
    let mut reader = subscribe_with(BitcoinRpcConfig { login, ..config(&node) });
    let reason = reason_of_down(&mut reader).await;
    assert!(reason.contains("refuses the login") && !reason.contains("hunter2"), "{reason}");
    let mut reader = subscribe_with(BitcoinRpcConfig {
        login: Login::CookieFile(PathBuf::from("missing/.cookie")),
        ..config(&node)
    });
    let reason = reason_of_down(&mut reader).await;
    assert!(reason.contains("missing/.cookie"), "{reason}");
}

#[tokio::test]
async fn a_user_with_a_password_logs_in() {
    let args = ["-rpcuser=alice", "-rpcpassword=hunter2"].map(str::to_owned).to_vec();
    let node = CoreNode::start(CoreOptions { args, ..CoreOptions::default() });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    for login in [
        Login::Password { user: "alice".into(), password: Secret::new("hunter2") },
        Login::PasswordFile { user: "alice".into(), file },
    ] {
        let mut reader = subscribe_with(BitcoinRpcConfig { login, ..config(&node) });
        assert!(matches!(reader.next().await, Event::Up { .. }));
    }
}

#[tokio::test]
async fn a_node_on_another_chain_is_refused() {
    let node = CoreNode::start(CoreOptions::default());
    let mut reader = subscribe_with(BitcoinRpcConfig { expected_network: Some(Network::Bitcoin), ..config(&node) });
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
