//! A Template Provider over loopback: clients of this project, and clients that misbehave.

mod common;

use std::{sync::Arc, time::Duration};

use binary_sv2::Message;
use bitcoin::Weight;
use common::{Fixture, Scripted, client, tip, until};
use network_helpers::{Connection, Security};
use noise_sv2::AuthoritySecretKey;
use rand_core::OsRng;
use stratum_runtime::shutdown::Shutdown;
use template_distribution_sv2::{
    CoinbaseOutputConstraints, RequestTransactionData, RequestTransactionDataSuccess, SetNewPrevHash,
};
use template_provider::TemplateProvider;
use template_source::{
    Command, Constraints, Event, SubmitOutcome, Subscription, TemplateId, TemplateSource, Transactions,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SMALL: Constraints = Constraints { max_additional_size: 100, max_additional_sigops: 4 };

async fn transactions(subscription: &mut Subscription, id: TemplateId) -> Transactions {
    subscription.commands.send(Command::RequestTransactions(id)).await.unwrap();
    until(subscription, |event| match event {
        Event::Transactions { id: of, result } if of == id => Some(result.expect("transactions")),
        _ => None,
    })
    .await
}

fn weight(transactions: &Transactions) -> u64 {
    let weight = |bytes: &Vec<u8>| bitcoin::consensus::deserialize::<bitcoin::Transaction>(bytes).unwrap().weight();
    transactions.iter().map(weight).sum::<Weight>().to_wu()
}

#[tokio::test]
async fn each_client_gets_room_for_its_own_coinbase() {
    let fixture = Fixture::devnet().await;
    fixture.devnet.produce(200);
    // Leaves 4,000 weight units of the block.
    let large = Constraints { max_additional_size: (4_000_000 - 4_000 - 1_168) / 4, max_additional_sigops: 0 };
    let mut results = vec![];
    for constraints in [SMALL, large] {
        let mut subscription = fixture.client().subscribe(constraints);
        let (template, _) = tip(&mut subscription).await;
        let transactions = transactions(&mut subscription, template.id).await;
        assert!(weight(&transactions) + constraints.reserved_weight() <= 4_000_000);
        assert!(!transactions.is_empty());
        results.push(weight(&transactions));
    }
    assert!(results[1] <= 4_000 && results[0] > 10_000, "{results:?}");
}

#[tokio::test]
async fn changed_constraints_change_the_templates_of_that_client_alone() {
    let fixture = Fixture::devnet().await;
    fixture.devnet.produce(200);
    let mut subscription = fixture.client().subscribe(SMALL);
    let (template, _) = tip(&mut subscription).await;
    let before = weight(&transactions(&mut subscription, template.id).await);
    let large = Constraints { max_additional_size: (4_000_000 - 4_000 - 1_168) / 4, max_additional_sigops: 0 };
    subscription.commands.send(Command::SetConstraints(large)).await.unwrap();
    let template = until(&mut subscription, |event| match event {
        Event::Template(template) if !template.future => Some(template),
        _ => None,
    })
    .await;
    let after = weight(&transactions(&mut subscription, template.id).await);
    assert!(before > 10_000 && after <= 4_000, "{before} {after}");
}

#[tokio::test]
async fn a_solution_becomes_a_block_and_all_clients_hear_of_it() {
    let fixture = Fixture::devnet().await;
    fixture.devnet.produce(20);
    let mut finder = fixture.client().subscribe(SMALL);
    let mut other = fixture.client().subscribe(Constraints::default());
    let (template, first) = tip(&mut finder).await;
    tip(&mut other).await;
    assert!(!template.merkle_path.is_empty());
    let solution = common::solve(&template, &first);
    let hash = solution.hash;
    finder.commands.send(Command::SubmitSolution(solution)).await.unwrap();
    let outcome = until(&mut finder, |event| match event {
        Event::Submitted { hash: of, outcome, .. } if of == hash => Some(outcome),
        _ => None,
    })
    .await;
    assert_eq!(outcome, SubmitOutcome::Sent);
    for subscription in [&mut finder, &mut other] {
        let next = until(subscription, |event| if let Event::Tip(tip) = event { Some(tip) } else { None }).await;
        assert_eq!(next.prev_hash, hash);
    }
    assert_eq!(fixture.devnet.tip().hash, hash);
    assert!(fixture.devnet.block(&hash).unwrap().txdata.len() > 1);
}

#[tokio::test]
async fn a_block_found_while_the_node_is_away_is_delivered_when_it_is_back() {
    let fixture = Fixture::devnet().await;
    fixture.devnet.produce(20);
    let mut subscription = fixture.client().subscribe(SMALL);
    let (template, first) = tip(&mut subscription).await;
    // The server fetches the same transactions ahead of time, and before these.
    transactions(&mut subscription, template.id).await;
    fixture.devnet.stop();
    let solution = common::solve(&template, &first);
    let hash = solution.hash;
    subscription.commands.send(Command::SubmitSolution(solution)).await.unwrap();
    until(&mut subscription, |event| matches!(event, Event::Submitted { .. }).then_some(())).await;
    // The client leaves at once; its block does not depend on it.
    drop(subscription);
    let mut watcher = fixture.devnet.subscribe(SMALL);
    fixture.devnet.start();
    until(&mut watcher, |event| match event {
        Event::Tip(tip) => (tip.prev_hash == hash).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_client_stays_while_the_node_is_restarted() {
    let fixture = Fixture::devnet().await;
    let mut subscription = fixture.client().subscribe(SMALL);
    let (before, _) = tip(&mut subscription).await;
    fixture.devnet.stop();
    let mined = fixture.devnet.mine_block().unwrap();
    fixture.devnet.start();
    let mut down = false;
    let next = until(&mut subscription, |event| match event {
        Event::Down { .. } => {
            down = true;
            None
        }
        Event::Tip(tip) if tip.prev_hash == mined => Some(tip),
        _ => None,
    })
    .await;
    assert!(next.template_id > before.id && !down, "the connection held");
}

#[tokio::test]
async fn a_restarted_server_is_found_again_and_ids_go_on() {
    let fixture = Fixture::devnet().await;
    let mut subscription = fixture.client().subscribe(SMALL);
    let (before, _) = tip(&mut subscription).await;
    let mut config = fixture.config.clone();
    config.listen[0].address = fixture.address();
    let devnet = fixture.devnet.clone();
    let folder = fixture.end().await;
    until(&mut subscription, |event| matches!(event, Event::Down { .. }).then_some(())).await;
    let _again = TemplateProvider::start(&config, Arc::new(devnet), Shutdown::new()).await.unwrap();
    until(&mut subscription, |event| matches!(event, Event::Up { .. }).then_some(())).await;
    let (after, _) = tip(&mut subscription).await;
    assert!(after.id > before.id);
    drop(folder);
}

#[tokio::test]
async fn another_authority_s_certificate_is_refused() {
    let fixture = Fixture::devnet().await;
    let other = AuthoritySecretKey::generate(&mut OsRng).unwrap().public_key();
    let mut subscription = client(fixture.address(), Some(other)).subscribe(SMALL);
    let Some(Event::Down { reason, .. }) = subscription.events.recv().await else { panic!("expected Down") };
    assert!(reason.contains("certificate was refused"), "{reason}");
}

#[tokio::test]
async fn transactions_may_fill_a_frame() {
    let list: Transactions = Arc::new(vec![vec![7; 12 << 20], vec![8; 4_000_000]]);
    let fixture = Fixture::scripted(Scripted::new(list.clone())).await;
    let mut subscription = fixture.client().subscribe(SMALL);
    let (template, _) = tip(&mut subscription).await;
    assert_eq!(transactions(&mut subscription, template.id).await, list);
}

/// A connection past its set-up, encrypted.
async fn set_up(fixture: &Fixture) -> Connection {
    let security = Security::Noise { authority: Some(fixture.authority()) };
    let mut connection = Connection::connect(&fixture.address().to_string(), security).await.unwrap();
    connection.send(&common::setup(2)).await.unwrap();
    assert_eq!(connection.read_frame().await.unwrap().header().message_type(), 0x01);
    connection
}

/// Reads until the server closes; returns what it sent last.
async fn last_words(connection: &mut Connection) -> Option<u8> {
    let mut last = None;
    while let Ok(frame) = connection.read_frame().await {
        last = Some(frame.header().message_type());
    }
    last
}

/// Sends raw bytes and waits for the server to close.
async fn raw(fixture: &Fixture, bytes: &[u8]) {
    let mut stream = TcpStream::connect(fixture.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut vec![]).await;
}

/// Runs `act` beside a well-behaved client, which must go on to get templates on the same connection.
async fn only_it_suffers(fixture: &Fixture, act: impl AsyncFnOnce(&Fixture)) {
    let mut good = fixture.client().subscribe(SMALL);
    tip(&mut good).await;
    act(fixture).await;
    let mined = fixture.devnet.mine_block().unwrap();
    let found = until(&mut good, |event| match event {
        Event::Tip(tip) if tip.prev_hash == mined => Some(true),
        Event::Down { .. } => Some(false),
        _ => None,
    })
    .await;
    assert!(found, "the good client lost its connection");
}

#[tokio::test]
async fn garbage_costs_only_its_sender() {
    let fixture = Fixture::devnet().await;
    only_it_suffers(&fixture, async |fixture| {
        // Any 64 bytes begin a handshake; what follows does not decrypt.
        raw(fixture, &[0x5a; 300]).await;
        raw(fixture, b"GET / HTTP/1.1\r\nHost: pool.example\r\nUser-Agent: Mozilla/5.0 (a browser; long enough for a handshake and a header)\r\n\r\n").await;
    })
    .await;
}

#[tokio::test]
async fn truncated_and_oversized_frames_cost_only_their_sender() {
    let fixture = Fixture::plain().await;
    only_it_suffers(&fixture, async |fixture| {
        let mut stream = TcpStream::connect(fixture.address()).await.unwrap();
        stream.write_all(&[0, 0, 0, 50, 0, 0, 2, 2]).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut vec![]).await;
        raw(fixture, &[0, 0, 0, 0xff, 0xff, 0xff]).await;
        raw(fixture, &[0, 0, 0, 3, 0, 0, 2, 2, 0]).await;
    })
    .await;
}

#[tokio::test]
async fn wrong_messages_cost_only_their_sender() {
    let fixture = Fixture::devnet().await;
    only_it_suffers(&fixture, async |fixture| {
        let security = Security::Noise { authority: Some(fixture.authority()) };
        let mut connection = Connection::connect(&fixture.address().to_string(), security).await.unwrap();
        connection.send(&common::setup(0)).await.unwrap();
        assert_eq!(last_words(&mut connection).await, Some(0x02), "SetupConnection.Error before the end");
        let mut connection = set_up(fixture).await;
        connection.send(&RequestTransactionData { template_id: 1 }).await.unwrap();
        assert_eq!(last_words(&mut connection).await, None);
        let mut connection = set_up(fixture).await;
        let absurd = CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: u32::MAX,
            coinbase_output_max_additional_sigops: 0,
        };
        connection.send(&absurd).await.unwrap();
        assert_eq!(last_words(&mut connection).await, None);
    })
    .await;
}

#[tokio::test]
async fn silence_costs_only_the_silent() {
    let fixture = Fixture::devnet().await;
    only_it_suffers(&fixture, async |fixture| {
        let mut nothing = TcpStream::connect(fixture.address()).await.unwrap();
        let security = Security::Noise { authority: Some(fixture.authority()) };
        let mut no_setup = Connection::connect(&fixture.address().to_string(), security).await.unwrap();
        let mut no_constraints = set_up(fixture).await;
        tokio::time::pause();
        assert_eq!(nothing.read(&mut [0; 8]).await.unwrap_or(0), 0);
        assert_eq!(last_words(&mut no_setup).await, None);
        assert_eq!(last_words(&mut no_constraints).await, None);
        tokio::time::resume();
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_only_itself() {
    let list: Transactions = Arc::new(vec![vec![7; 14 << 20]]);
    let scripted = Scripted::new(list);
    let fixture = Fixture::scripted(scripted.clone()).await;
    let mut good = fixture.client().subscribe(SMALL);
    tip(&mut good).await;
    let mut slow = set_up(&fixture).await;
    let constraints =
        CoinbaseOutputConstraints { coinbase_output_max_additional_size: 0, coinbase_output_max_additional_sigops: 0 };
    slow.send(&constraints).await.unwrap();
    while slow.read_frame().await.unwrap().header().message_type() != SetNewPrevHash::MESSAGE_TYPE {}
    slow.send(&RequestTransactionData { template_id: 1 }).await.unwrap();
    scripted.answered.notified().await;
    tokio::time::pause();
    // Far beyond the time for unsent bytes; the server gives up meanwhile.
    tokio::time::sleep(Duration::from_secs(100)).await;
    tokio::time::resume();
    let mut complete = false;
    while let Ok(frame) = slow.read_frame().await {
        complete |= frame.header().message_type() == RequestTransactionDataSuccess::MESSAGE_TYPE;
    }
    assert!(!complete, "the server waited for a client that did not read");
    scripted.announce();
    let again = until(&mut good, |event| match event {
        Event::Template(template) => Some(!template.future),
        Event::Down { .. } => Some(false),
        _ => None,
    })
    .await;
    assert!(again, "the good client lost its connection");
}

#[tokio::test]
async fn shutdown_ends_all_and_frees_the_port() {
    let fixture = Fixture::devnet().await;
    let mut subscription = fixture.client().subscribe(SMALL);
    tip(&mut subscription).await;
    let address = fixture.address();
    fixture.end().await;
    until(&mut subscription, |event| matches!(event, Event::Down { .. }).then_some(())).await;
    tokio::net::TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn a_plain_listener_serves_plain_clients() {
    let fixture = Fixture::plain().await;
    let mut subscription = client(fixture.address(), None).subscribe(SMALL);
    let Some(Event::Up { description, .. }) = subscription.events.recv().await else { panic!("expected Up") };
    assert!(description.contains("not encrypted"), "{description}");
}
