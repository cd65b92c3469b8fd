//! What devices send first, in any order, and what jobs follow.

use super::*;

#[test]
fn the_answer_to_subscribe_comes_before_what_nobody_asked_for_and_difficulty_before_the_job() {
    let suggest = r#"{"id":4,"method":"mining.suggest_difficulty","params":[1024]}"#;
    let extranonce = r#"{"id":5,"method":"mining.extranonce.subscribe","params":[]}"#;
    let orders: [&[&str]; 7] = [
        &[CONFIGURE, SUBSCRIBE, AUTHORIZE, suggest],
        &[SUBSCRIBE, AUTHORIZE],
        &[AUTHORIZE, SUBSCRIBE],
        &[suggest, CONFIGURE, SUBSCRIBE, AUTHORIZE],
        &[SUBSCRIBE, extranonce, CONFIGURE, AUTHORIZE],
        &[AUTHORIZE, CONFIGURE, SUBSCRIBE, SUBSCRIBE],
        &[SUBSCRIBE, SUBSCRIBE, AUTHORIZE, AUTHORIZE],
    ];
    for order in orders {
        // One by one, and all at once.
        let mut one_by_one = Fixture::new();
        let lines: Vec<Value> = order.iter().flat_map(|line| one_by_one.send(&[line])).collect();
        assert_eq!(Fixture::new().send(order), lines);

        let of = |method: &str| lines.iter().position(|line| line["method"] == method).unwrap();
        let subscribed = lines.iter().position(|line| line["id"] == 1).unwrap();
        assert!(subscribed < of("mining.set_difficulty") && of("mining.set_difficulty") < of("mining.notify"));
        let answers: Vec<_> = lines.iter().filter(|line| line.get("method").is_none()).collect();
        assert_eq!(answers.len(), order.len(), "each request is answered once");
        assert!(answers.iter().all(|answer| answer["error"].is_null()), "{answers:?}");
        assert_eq!(jobs(&lines).len(), 1);
        assert!(jobs(&lines)[0].clean && one_by_one.session.is_established());
    }
}

#[test]
fn no_job_comes_before_a_worker_and_none_after_a_refused_one() {
    let mut f = Fixture::new();
    assert_eq!(methods(&f.send(&[SUBSCRIBE])), ["answer"]);
    let refused = f.send(&[r#"{"id":2,"method":"mining.authorize","params":["solo:nobody","x"]}"#]);
    assert_eq!((refused.len(), refused[0]["error"][0].clone()), (1, json!(24)));
    assert!(refused[0]["error"][1].as_str().unwrap().contains("expected an address of regtest"), "{refused:?}");
    assert!(!f.session.is_established());
    assert_eq!(methods(&f.send(&[AUTHORIZE])), ["answer", "mining.set_difficulty", "mining.notify"]);
}

#[test]
fn a_second_worker_gets_no_second_job_and_must_be_paid_like_the_first() {
    let (mut f, _) = Fixture::mining();
    let bob = r#"{"id":9,"method":"mining.authorize","params":["bob","x"]}"#;
    assert_eq!(f.send(&[bob]), [json!({"id": 9, "result": true, "error": null})]);
    let solo =
        r#"{"id":9,"method":"mining.authorize","params":["solo:bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080","x"]}"#;
    let refused = f.send(&[solo]);
    assert!(refused[0]["error"][1].as_str().unwrap().contains("paid alike"), "{refused:?}");
    // On a connection of its own it is paid to its address.
    let lines = Fixture::new().send(&[SUBSCRIBE, solo]);
    let (ours, theirs) = (jobs(&Fixture::new().send(&[SUBSCRIBE, AUTHORIZE])), jobs(&lines));
    assert_eq!((&ours[0].id, &ours[0].params[2]), (&theirs[0].id, &theirs[0].params[2]));
    assert_ne!(ours[0].params[3], theirs[0].params[3]);
}

#[test]
fn jobs_are_clean_at_a_new_tip_and_the_empty_one_comes_first() {
    let (mut f, first) = Fixture::mining();
    // A template with transactions for the same tip.
    let full = jobs(&f.source(SourceEvent::Template(template(2, 101, false, true))));
    assert_eq!((full.len(), full[0].clean, full[0].params[4].as_array().unwrap().len()), (1, false, 1));
    assert_ne!(full[0].id, first.id);
    // What is prepared for the next tip is nothing for Stratum V1.
    assert!(f.source(SourceEvent::Template(template(3, 102, true, false))).is_empty());
    let lines = f.source(SourceEvent::Tip(tip(3, 2)));
    let empty = jobs(&lines);
    assert_eq!((methods(&lines), empty[0].clean), (vec!["mining.notify"], true));
    assert_eq!(empty[0].params[4], json!([]), "without transactions, at once");
    let full = jobs(&f.source(SourceEvent::Template(template(4, 102, false, true))));
    assert_eq!((full.len(), full[0].clean), (1, false));
    // A notice without news tells nothing.
    f.session.handle_notice(NOW, &f.snapshot.clone(), &mut f.sink);
    assert!(f.told().is_empty());
}

#[test]
fn a_job_says_the_time_at_which_it_is_sent() {
    let (mut f, first) = Fixture::mining();
    let later = NOW + Duration::from_secs(90);
    f.hub.handle_source(later, 0, SourceEvent::Template(template(2, 101, false, true)));
    let snapshot = published(&mut f.hub);
    f.session.handle_notice(later, &snapshot, &mut f.sink);
    let job = jobs(&f.told()).remove(0);
    assert_eq!(job.u32(7), first.u32(7) + 90);
}

#[test]
fn each_miner_has_a_space_of_its_own_that_no_channel_of_stratum_v2_has() {
    let shared = session_config();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let space = shared.space.clone();
        let mut f = Fixture::with(|config| config.space = space);
        let (extranonce1, lines) = (f.extranonce1(), f.send(&[AUTHORIZE]));
        let job = jobs(&lines).remove(0);
        assert_eq!(extranonce1.len(), EXTRANONCE1);
        let (first, second) = (unhex(job.params[2].as_str().unwrap()), unhex(job.params[3].as_str().unwrap()));
        let work = f.snapshot.tip.as_ref().unwrap().current.pool_job().clone();
        // All that the miner can make is the job's coinbase with the slot's prefix.
        let prefix = *f.session.channel.as_ref().unwrap().prefix();
        let whole = [&first, &extranonce1[..], &[7; EXTRANONCE2], &second].concat();
        let extranonce = prefix.join(&[[7; EXTRANONCE2].as_slice(), &[0; 6]].concat()).unwrap();
        let expected = [work.coinbase_tx_prefix(), extranonce.as_bytes(), work.coinbase_tx_suffix()].concat();
        assert_eq!(hex(&whole), hex(&expected));
        // Server and epoch stand before it, the same for all.
        assert!(first.ends_with(&[5, 0x01]) && extranonce1[0] == 0x02, "{}", hex(&first));
        assert!(seen.insert(extranonce1));
        let slot = shared.space.allocate().unwrap();
        assert_ne!(slot.prefix(14).unwrap(), prefix);
        // Kept, so that no slot is given out twice.
        std::mem::forget(f);
        std::mem::forget(slot);
    }
}

#[test]
fn who_does_not_begin_in_time_goes_and_what_is_no_message_ends_the_session() {
    let mut f = Fixture::new();
    f.send(&[SUBSCRIBE]);
    let deadline = f.session.poll_timeout().unwrap();
    assert_eq!(deadline, NOW + Duration::from_secs(70));
    f.timeout(deadline);
    assert_eq!(f.sink.gone.as_deref(), Some("no worker within the time allowed"));

    let (mut f, _) = Fixture::mining();
    assert!(f.send(&["\u{16}\u{3}\u{1}"]).is_empty());
    assert!(f.sink.gone.unwrap().contains("expected a JSON object"));

    // A method that nobody knows is answered and costs nothing.
    let (mut f, _) = Fixture::mining();
    let answers =
        f.send(&[r#"{"id":"a","method":"mining.get_transactions","params":[]}"#, r#"{"method":"mining.ping"}"#]);
    assert_eq!(answers[0], json!({"id": "a", "result": null, "error": [20, "Unknown method", null]}));
    assert_eq!(answers[1]["result"], "pong");
    assert_eq!(f.sink.gone, None);
}

#[test]
fn at_the_end_miners_are_sent_to_the_same_place_again() {
    let reconnect = json!({"id": null, "method": "client.reconnect", "params": []});
    let (mut f, _) = Fixture::mining();
    f.session.handle_drain(NOW, &mut f.sink);
    assert_eq!(f.told(), std::slice::from_ref(&reconnect));
    // Who comes in that moment is told when it may be.
    let mut f = Fixture::new();
    f.session.handle_drain(NOW, &mut f.sink);
    assert!(f.told().is_empty());
    assert_eq!(f.send(&[SUBSCRIBE])[1], reconnect);
}

#[test]
fn a_pool_that_is_full_says_so() {
    let mut f = Fixture::with(|config| {
        config.space = Space::new(Layout::new(8, 16, 1, 20).unwrap(), 0, 1).unwrap();
        while let Ok(slot) = config.space.allocate() {
            std::mem::forget(slot);
        }
    });
    assert_eq!(f.send(&[SUBSCRIBE])[0]["error"], json!([20, "No room for more miners", null]));
}
