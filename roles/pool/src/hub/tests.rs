use roles_logic_sv2::{
    Header,
    extranonce::{Extranonce, Layout, Space},
};

use super::*;
use crate::testing::{NOW, hash, hub, outputs, published, template, tip, up};

fn down() -> Event {
    Event::Down { reason: "gone".into(), retry_in: Duration::from_secs(1) }
}

fn feed(hub: &mut Hub, source: usize, events: impl IntoIterator<Item = Event>) {
    for event in events {
        hub.handle_source(NOW, source, event);
    }
}

/// Brings a source up at height 101 on block 1, with a full template.
fn start(hub: &mut Hub, source: usize) {
    feed(hub, source, [up(), Event::Template(template(1, 101, true, true)), Event::Tip(tip(1, 1))]);
}

fn candidate(work: &Work, nonce: u32) -> Candidate {
    let job = work.pool_job();
    let extranonce = Extranonce::zeroed(20).unwrap();
    let header = Header {
        version: 0x2000_0000,
        prev_hash: hash(1),
        merkle_root: job.merkle_root(extranonce.as_bytes()),
        ntime: NOW.as_secs() as u32,
        nbits: 0x207f_ffff,
        nonce,
    };
    let candidate = BlockCandidate { job: job.clone(), header, hash: header.hash(), extranonce };
    Candidate { candidate, finder: Arc::new(Worker::new("alice".into(), String::new())), hold: Hold::default() }
}

fn commands(outputs: &[Output]) -> Vec<(usize, &'static str)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Command { source, command } => Some((
                *source,
                match command {
                    Command::SetConstraints(_) => "constraints",
                    Command::RequestTransactions(_) => "transactions",
                    Command::SubmitSolution(_) => "solution",
                    Command::SubmitBlock { .. } => "raw",
                    Command::RequestConfirmations(_) => "confirmations",
                },
            )),
            _ => None,
        })
        .collect()
}

#[test]
fn a_template_becomes_one_job_and_its_transactions_are_fetched() {
    let mut hub = hub(1);
    start(&mut hub, 0);
    let done = outputs(&mut hub);
    assert_eq!(commands(&done), [(0, "transactions")]);
    let Some(Output::Publish(snapshot)) = done.last() else { panic!("expected a snapshot") };
    let active = snapshot.tip.as_ref().unwrap();
    assert_eq!((active.number, active.height, active.tip.prev_hash), (1, 101, hash(1)));
    assert!(Arc::ptr_eq(&active.activated, &active.current));
}

#[test]
fn an_empty_prepared_job_is_activated_then_replaced() {
    let mut hub = hub(1);
    start(&mut hub, 0);
    feed(&mut hub, 0, [Event::Template(template(2, 102, true, false))]);
    let prepared = published(&mut hub).future.clone().unwrap();
    feed(&mut hub, 0, [Event::Tip(tip(2, 2))]);
    let snapshot = published(&mut hub);
    assert!(Arc::ptr_eq(&snapshot.tip.as_ref().unwrap().activated, &prepared), "the same job, not a copy");
    assert!(snapshot.future.is_none());
    feed(&mut hub, 0, [Event::Template(template(3, 102, false, true))]);
    let active = published(&mut hub).tip.clone().unwrap();
    assert_eq!(active.number, 2);
    assert!(Arc::ptr_eq(&active.activated, &prepared) && !Arc::ptr_eq(&active.current, &prepared));
}

#[test]
fn slots_of_closed_channels_come_back_with_the_tips() {
    let space = Space::new(Layout::new(0, 0, 4, 20).unwrap(), 0, 0).unwrap();
    let mut hub = hub(2).with_recycler(space.recycler());
    start(&mut hub, 0);
    drop(space.allocate());
    for id in 2..=7 {
        assert_eq!(space.resting(), 1, "tip {id}");
        for source in [0, 1] {
            // A tip that both sources tell counts once.
            let future = Event::Template(template(id, 100 + id as u32, true, true));
            feed(&mut hub, source, [up(), future, Event::Tip(tip(id, id as u8))]);
        }
    }
    assert_eq!(space.resting(), 0);
}

#[test]
fn a_tip_without_its_template_is_ignored() {
    let mut hub = hub(1);
    start(&mut hub, 0);
    outputs(&mut hub);
    feed(&mut hub, 0, [Event::Tip(tip(99, 2))]);
    assert!(outputs(&mut hub).is_empty());
    // As is whatever comes from no source of ours.
    feed(&mut hub, 7, [up(), Event::Tip(tip(1, 1))]);
    assert!(outputs(&mut hub).is_empty());
}

#[test]
fn a_found_block_goes_out_at_once_and_raw_when_its_transactions_are_there() {
    let mut hub = hub(2);
    start(&mut hub, 0);
    start(&mut hub, 1);
    let job = published(&mut hub).tip.as_ref().unwrap().current.clone();
    let found = candidate(&job, 1);
    hub.handle_candidate(NOW, &found);
    assert_eq!(commands(&outputs(&mut hub)), [(0, "solution")]);
    let transactions = Arc::new(vec![vec![1, 2, 3]]);
    feed(&mut hub, 0, [Event::Transactions { id: TemplateId(1), result: Ok(transactions.clone()) }]);
    let done = outputs(&mut hub);
    assert_eq!(commands(&done), [(0, "raw"), (1, "raw")]);
    let raw = done.iter().find_map(|output| match output {
        Output::Command { command: Command::SubmitBlock { block, .. }, .. } => Some(block.clone()),
        _ => None,
    });
    assert_eq!(*raw.unwrap(), found.candidate.block(&transactions));
    // The next one on the same template goes out raw right away; a known one not at all.
    hub.handle_candidate(NOW, &candidate(&job, 2));
    assert_eq!(commands(&outputs(&mut hub)), [(0, "solution"), (0, "raw"), (1, "raw")]);
    hub.handle_candidate(NOW, &candidate(&job, 2));
    assert!(outputs(&mut hub).is_empty());
}

#[test]
fn a_block_on_an_old_template_has_its_transactions_fetched_anew() {
    let mut hub = hub(1);
    start(&mut hub, 0);
    let job = published(&mut hub).tip.as_ref().unwrap().current.clone();
    let transactions = |id: u64| Event::Transactions { id: TemplateId(id), result: Ok(Arc::default()) };
    feed(&mut hub, 0, [transactions(1)]);
    for id in 2..MAX_TEMPLATES_WITH_TRANSACTIONS as u64 + 2 {
        feed(&mut hub, 0, [Event::Template(template(id, 101, false, true)), transactions(id)]);
    }
    outputs(&mut hub);
    hub.handle_candidate(NOW, &candidate(&job, 1));
    hub.handle_candidate(NOW, &candidate(&job, 2));
    assert_eq!(commands(&outputs(&mut hub)), [(0, "solution"), (0, "transactions"), (0, "solution")], "asked once");
    feed(&mut hub, 0, [transactions(1)]);
    assert_eq!(commands(&outputs(&mut hub)), [(0, "raw"), (0, "raw")]);
}

#[test]
fn the_verdict_of_a_node_is_told_once() {
    let mut hub = hub(1);
    start(&mut hub, 0);
    let job = published(&mut hub).tip.as_ref().unwrap().current.clone();
    let found = candidate(&job, 1);
    let hash = found.candidate.hash;
    hub.handle_candidate(NOW, &found);
    outputs(&mut hub);
    let accepted = |path| Event::Submitted { hash, path, outcome: SubmitOutcome::Accepted };
    feed(&mut hub, 0, [accepted(SubmitPath::Solution), accepted(SubmitPath::RawBlock)]);
    let told: Vec<_> = outputs(&mut hub)
        .into_iter()
        .filter(|output| matches!(output, Output::Event(PoolEvent::BlockDecided(_, BlockState::Accepted))))
        .collect();
    assert_eq!(told.len(), 1);
}

#[test]
fn fails_over_and_back() {
    let mut hub = hub(2).with_failover(Failover { settle: Duration::ZERO, ..Failover::default() });
    start(&mut hub, 1);
    assert_eq!(published(&mut hub).tip.as_ref().unwrap().number, 1);
    // The preferred source comes up on the same tip: a new job, no new tip.
    start(&mut hub, 0);
    let done = outputs(&mut hub);
    assert!(done.iter().any(|output| matches!(output, Output::Event(PoolEvent::SourceSelected { source: 0 }))));
    let Some(Output::Publish(snapshot)) = done.last() else { panic!("expected a snapshot") };
    let first = snapshot.tip.clone().unwrap();
    assert_eq!((first.number, first.tip.prev_hash), (1, hash(1)));
    // It goes; the other one is ahead by a block.
    feed(&mut hub, 1, [Event::Template(template(2, 102, true, false)), Event::Tip(tip(2, 2))]);
    outputs(&mut hub);
    feed(&mut hub, 0, [down()]);
    let second = published(&mut hub).tip.clone().unwrap();
    assert_eq!((second.number, second.height, second.tip.prev_hash), (2, 102, hash(2)));
    // It comes back.
    feed(&mut hub, 0, [up(), Event::Template(template(5, 103, true, false)), Event::Tip(tip(5, 3))]);
    assert_eq!(published(&mut hub).tip.as_ref().unwrap().height, 103);
}

#[test]
fn a_source_that_comes_back_is_not_used_for_the_tip_it_had() {
    let mut hub = hub(2).with_failover(Failover { settle: Duration::ZERO, ..Failover::default() });
    start(&mut hub, 0);
    start(&mut hub, 1);
    feed(&mut hub, 0, [down()]);
    feed(&mut hub, 1, [Event::Template(template(2, 102, true, false)), Event::Tip(tip(2, 2))]);
    assert_eq!(published(&mut hub).tip.as_ref().unwrap().height, 102);
    feed(&mut hub, 0, [up()]);
    assert!(!outputs(&mut hub).iter().any(|output| matches!(output, Output::Publish(_))));
    // It is behind still, and then it is not.
    feed(&mut hub, 0, [Event::Template(template(7, 101, true, true)), Event::Tip(tip(7, 1))]);
    assert!(!outputs(&mut hub).iter().any(|output| matches!(output, Output::Publish(_))));
    feed(&mut hub, 0, [Event::Template(template(8, 102, true, true)), Event::Tip(tip(8, 2))]);
    let tip = published(&mut hub).tip.clone().unwrap();
    assert_eq!((tip.number, tip.height), (2, 102), "no new tip for miners");
}

#[test]
fn a_stuck_source_does_not_hold_the_pool_back() {
    let mut hub = hub(2);
    start(&mut hub, 0);
    start(&mut hub, 1);
    outputs(&mut hub);
    feed(&mut hub, 1, [Event::Template(template(2, 102, true, false)), Event::Tip(tip(2, 2))]);
    let stuck_at = NOW + Failover::default().stuck_after;
    assert_eq!(hub.poll_timeout(), Some(stuck_at));
    hub.handle_timeout(stuck_at - Duration::from_millis(1));
    assert!(!outputs(&mut hub).iter().any(|output| matches!(output, Output::Publish(_))));
    hub.handle_timeout(stuck_at);
    assert_eq!(published(&mut hub).tip.as_ref().unwrap().height, 102);
}

#[test]
fn templates_of_a_source_that_came_back_wait_for_its_tip() {
    let mut hub = hub(1);
    start(&mut hub, 0);
    feed(&mut hub, 0, [down(), up()]);
    outputs(&mut hub);
    feed(&mut hub, 0, [Event::Template(template(5, 101, true, true))]);
    assert!(outputs(&mut hub).is_empty(), "miners know this height already");
    feed(&mut hub, 0, [Event::Tip(tip(5, 1))]);
    assert_eq!(published(&mut hub).tip.as_ref().unwrap().number, 1);
}

#[test]
fn with_no_source_left_the_jobs_go_on_and_a_block_waits() {
    let mut hub = hub(1);
    start(&mut hub, 0);
    let job = published(&mut hub).tip.as_ref().unwrap().current.clone();
    feed(&mut hub, 0, [Event::Transactions { id: TemplateId(1), result: Ok(Arc::default()) }, down()]);
    let done = outputs(&mut hub);
    assert!(!done.iter().any(|output| matches!(output, Output::Publish(_))), "miners keep their jobs");
    hub.handle_candidate(NOW, &candidate(&job, 1));
    let done = outputs(&mut hub);
    assert_eq!(commands(&done), []);
    assert!(done.iter().any(|output| matches!(output, Output::Persist { .. })));
    feed(&mut hub, 0, [up()]);
    assert_eq!(commands(&outputs(&mut hub)), [(0, "solution"), (0, "raw")]);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut hub = hub(1);
    start(&mut hub, 0);
    for id in 2..MAX_JOBS as u64 + 50 {
        let future = id % 2 == 0;
        feed(&mut hub, 0, [Event::Template(template(id, 101, future, true))]);
        feed(&mut hub, 0, [Event::Transactions { id: TemplateId(id), result: Ok(Arc::default()) }]);
        outputs(&mut hub);
    }
    assert_eq!(hub.jobs.len(), MAX_JOBS);
    assert_eq!(hub.by_template.len(), MAX_JOBS);
    assert_eq!(hub.transactions.len(), MAX_TEMPLATES_WITH_TRANSACTIONS);
    assert_eq!(hub.sources[0].futures.len(), MAX_FUTURE_TEMPLATES);
    let job = hub.snapshot.tip.as_ref().unwrap().current.clone();
    hub.transactions.clear();
    for nonce in 0..MAX_INCOMPLETE_BLOCKS as u32 + 10 {
        hub.handle_candidate(NOW, &candidate(&job, nonce));
    }
    assert_eq!(hub.incomplete.len(), MAX_INCOMPLETE_BLOCKS);
}

const REFRESH: Duration = Duration::from_secs(30);

fn refreshed() -> Hub {
    let mut hub = hub(1).with_job_refresh(REFRESH);
    start(&mut hub, 0);
    hub
}

#[test]
fn jobs_are_refreshed_with_new_content() {
    let mut hub = refreshed();
    let first = published(&mut hub).tip.clone().unwrap();
    assert_eq!(hub.poll_timeout(), Some(NOW + REFRESH));
    hub.handle_timeout(NOW + REFRESH - Duration::from_secs(1));
    assert!(outputs(&mut hub).is_empty(), "not yet");
    let mut seen = vec![first];
    for i in 1..=3 {
        hub.handle_timeout(NOW + REFRESH * i);
        seen.push(published(&mut hub).tip.clone().unwrap());
    }
    let jobs: Vec<_> = seen.iter().flat_map(|tip| tip.spares.iter().chain([&tip.current])).collect();
    assert_eq!(jobs.len(), 4 * (SPARE_JOBS + 1));
    let ids: BTreeSet<_> = jobs.iter().map(|job| job.id()).collect();
    let contents: BTreeSet<_> = jobs.iter().map(|work| work.pool_job().coinbase_tx_prefix()).collect();
    assert_eq!((ids.len(), contents.len()), (jobs.len(), jobs.len()), "every job is new");
    // The tip is the same, and so is the job that started it.
    assert!(seen.iter().all(|tip| tip.number == 1 && Arc::ptr_eq(&tip.activated, &seen[0].activated)));
    // A job for the tip to come does not bring the old one back.
    let newest = seen[3].current.id();
    feed(&mut hub, 0, [Event::Template(template(2, 102, true, true))]);
    assert_eq!(published(&mut hub).tip.as_ref().unwrap().current.id(), newest);
    // A new template is new content: the time starts anew.
    hub.handle_source(NOW + REFRESH * 3 + Duration::from_secs(10), 0, Event::Template(template(3, 101, false, true)));
    assert_ne!(published(&mut hub).tip.as_ref().unwrap().current.id(), newest);
    assert_eq!(hub.poll_timeout(), Some(NOW + REFRESH * 4 + Duration::from_secs(10)));
}

#[test]
fn a_block_on_a_spare_job_goes_to_its_template() {
    let mut hub = refreshed();
    let done = outputs(&mut hub);
    assert_eq!(commands(&done), [(0, "transactions")], "once for all jobs of the template");
    let Some(Output::Publish(snapshot)) = done.last() else { panic!("expected a snapshot") };
    let spare = snapshot.tip.as_ref().unwrap().spares[3].clone();
    let found = candidate(&spare, 1);
    hub.handle_candidate(NOW, &found);
    assert_eq!(commands(&outputs(&mut hub)), [(0, "solution")]);
    let transactions = Arc::new(vec![vec![1, 2, 3]]);
    feed(&mut hub, 0, [Event::Transactions { id: TemplateId(1), result: Ok(transactions.clone()) }]);
    let raw = outputs(&mut hub).into_iter().find_map(|output| match output {
        Output::Command { command: Command::SubmitBlock { block, .. }, .. } => Some(block),
        _ => None,
    });
    assert_eq!(*raw.unwrap(), found.candidate.block(&transactions));
}

#[test]
fn jobs_that_are_remembered_stay_bounded() {
    let mut hub = refreshed();
    for i in 1..=1_000 {
        hub.handle_timeout(NOW + REFRESH * i);
        assert!(hub.jobs.len() <= MAX_JOBS);
    }
    assert_eq!(hub.jobs.len(), MAX_JOBS);
    // The template's first job is forgotten; its blocks are not.
    let job = published(&mut hub).tip.as_ref().unwrap().current.clone();
    hub.handle_candidate(NOW, &candidate(&job, 1));
    assert_eq!(commands(&outputs(&mut hub)), [(0, "solution")]);
}
