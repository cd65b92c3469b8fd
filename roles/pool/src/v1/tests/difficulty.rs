//! Difficulties: wished for, measured, and never in the way of a block.

use super::*;

/// A miner on a network where blocks are out of reach.
fn on_a_hard_network(change: impl FnOnce(&mut SessionConfig)) -> Fixture {
    let mut f = Fixture::with(change);
    f.source(SourceEvent::Template(template(3, 102, true, false)));
    f.source(SourceEvent::Tip(template_source::Tip { nbits: 0x1702_2222, ..tip(3, 2) }));
    f
}

fn difficulties(lines: &[Value]) -> Vec<f64> {
    let set = lines.iter().filter(|line| line["method"] == "mining.set_difficulty");
    set.map(|line| line["params"][0].as_f64().unwrap()).collect()
}

fn authorize(password: &str) -> String {
    json!({"id": 2, "method": "mining.authorize", "params": ["alice", password]}).to_string()
}

fn bounded(config: &mut SessionConfig) {
    let bounds = TargetBounds { easiest: Target::from_zero_bits(40), hardest: Target::from_zero_bits(60) };
    let policy = TargetPolicy { bounds, ..*config.targets.port() };
    config.targets = TargetPolicies::new(policy).unwrap();
}

#[test]
fn the_first_difficulty_is_what_the_miner_wishes_within_the_listeners_bounds() {
    let first = |change: fn(&mut SessionConfig), lines: &[&str]| {
        difficulties(&on_a_hard_network(change).send(&[&[SUBSCRIBE], lines].concat()))
    };
    let suggest = r#"{"id":4,"method":"mining.suggest_difficulty","params":[2000]}"#;
    let target = format!(r#"{{"id":4,"method":"mining.suggest_target","params":["{}"]}}"#, {
        let mut bytes = Target::from_difficulty(2f64.powi(8)).to_le_bytes();
        bytes.reverse();
        hex(&bytes)
    });
    let minimum =
        r#"{"id":4,"method":"mining.configure","params":[["minimum-difficulty"],{"minimum-difficulty.value":500}]}"#;
    let free: fn(&mut SessionConfig) = |_| {};
    assert_eq!(first(free, &[&authorize("x")]), [64.0]);
    assert_eq!(first(free, &[&authorize("d=0.001")]), [2f64.powi(-10)]);
    assert_eq!(first(free, &[&authorize("diff=5000")]), [4096.0]);
    assert_eq!(first(free, &[&authorize("md=1000")]), [1024.0]);
    assert_eq!(first(free, &[suggest, &authorize("x")]), [1024.0]);
    assert_eq!(first(free, &[&target, &authorize("x")]), [256.0]);
    assert_eq!(first(free, &[minimum, &authorize("d=1")]), [512.0]);
    assert_eq!(first(bounded, &[&authorize("d=1")]), [256.0]);
    assert_eq!(first(bounded, &[&authorize("d=1e30")]), [2f64.powi(28)]);
    assert_eq!(first(bounded, &[&authorize("md=1e30")]), [2f64.powi(28)]);
    let start: fn(&mut SessionConfig) = |config| {
        let start = Start::Nominal(Some(Target::from_zero_bits(42)));
        config.targets = TargetPolicies::new(TargetPolicy { start, ..*config.targets.port() }).unwrap();
    };
    assert_eq!(first(start, &[&authorize("x")]), [1024.0]);
}

#[test]
fn a_suggestion_is_followed_with_a_new_job_and_its_repetition_is_a_sign_of_life() {
    let mut f = on_a_hard_network(|_| {});
    f.send(&[SUBSCRIBE, &authorize("x")]);
    let suggest =
        |difficulty: f64| json!({"id": 4, "method": "mining.suggest_difficulty", "params": [difficulty]}).to_string();
    let lines = f.send(&[&suggest(1024.0)]);
    assert_eq!(methods(&lines), ["answer", "mining.set_difficulty", "mining.notify"]);
    assert_eq!((difficulties(&lines), jobs(&lines)[0].clean), (vec![1024.0], false));
    for _ in 0..5 {
        assert_eq!(methods(&f.send(&[&suggest(1024.0)])), ["answer"]);
    }
    // One that rounds to the same is nothing new, either.
    assert_eq!(methods(&f.send(&[&suggest(1025.0)])), ["answer"]);
    // Spare jobs are bounded; the difficulty holds from the next job then.
    let told: Vec<_> = (1..20).flat_map(|n| f.send(&[&suggest(2f64.powi(n))])).collect();
    assert!(jobs(&told).len() < crate::hub::SPARE_JOBS + 1, "{}", jobs(&told).len());
    assert_eq!(difficulties(&told).last(), Some(&2f64.powi(19)));
    let next = f.source(SourceEvent::Template(template(5, 102, false, true)));
    assert_eq!(methods(&next), ["mining.notify"]);
}

#[test]
fn what_a_miner_delivers_sets_its_difficulty() {
    let (mut f, mut job) = Fixture::mining();
    // Every hash is a share on this network: nothing harder, so that no block is lost.
    let mut now = NOW;
    for nonce in 0..100 {
        now += Duration::from_millis(1);
        f.send_at(now, &[&job.submit("alice.rig", nonce)]);
    }
    assert_eq!(f.session.told.target, Some(Target::from_difficulty(2f64.powi(-32))));

    // On a real one it becomes harder, with a job behind it.
    let mut f = on_a_hard_network(|_| {});
    let lines = f.send(&[SUBSCRIBE, &authorize("d=0.000000001")]);
    job = jobs(&lines).remove(0);
    let mut told = Vec::new();
    for nonce in 0..2000 {
        now += Duration::from_millis(1);
        told.extend(
            f.send_at(now, &[&job.submit("alice", nonce)]).into_iter().filter(|line| !line["method"].is_null()),
        );
        if !told.is_empty() {
            break;
        }
    }
    assert_eq!(methods(&told), ["mining.set_difficulty", "mining.notify"]);
    let harder = difficulties(&told)[0];
    assert!(harder > 2f64.powi(-30), "{harder}");
    // Nothing more comes: it is eased, step by step.
    let mut eased = Vec::new();
    for _ in 0..200 {
        let at = f.session.poll_timeout().unwrap();
        eased.extend(f.timeout(at));
    }
    let eased = difficulties(&eased);
    assert!(eased.len() >= 3 && eased.is_sorted_by(|a, b| a > b), "{eased:?}");
    assert_eq!(eased.last(), Some(&2f64.powi(-32)));
}

/// A device may go on with the old difficulty on the old job, or take the new one at once.
#[test]
fn on_the_job_before_a_change_either_difficulty_is_good_and_the_harder_one_counts() {
    let mut f = on_a_hard_network(|config| config.vardiff = false);
    let lines = f.send(&[SUBSCRIBE, &authorize("d=0.000000001")]);
    let (job, e1) = (jobs(&lines).remove(0), unhex(lines[0]["result"][1].as_str().unwrap()));
    let (easy, hard) = (Target::from_difficulty(2f64.powi(-30)), Target::from_difficulty(2f64.powi(-29)));
    assert_eq!(difficulties(&lines), [easy.difficulty()]);
    let suggest = r#"{"id":4,"method":"mining.suggest_difficulty","params":[0.000000002]}"#;
    assert_eq!(difficulties(&f.send(&[suggest])), [hard.difficulty()]);
    let hash = |nonce: u32| job.hash(&e1, &unhex("0000000000000001"), job.u32(7), nonce, job.u32(5));
    let find = |wanted: &dyn Fn(&BlockHash) -> bool| (0..).find(|nonce| wanted(&hash(*nonce))).unwrap();
    let between = find(&|hash| easy.is_met_by(hash) && !hard.is_met_by(hash));
    let under = find(&|hash| hard.is_met_by(hash));
    let over = find(&|hash| !easy.is_met_by(hash));
    f.send(&[&job.submit("alice", between), &job.submit("alice", under)]);
    let works: Vec<u128> = f
        .sink
        .records
        .iter()
        .map(|record| match record {
            Record::Share { work, .. } => *work,
            Record::Rejects { .. } => panic!("{record:?}"),
        })
        .collect();
    assert_eq!(works, [0, hard.work()]);
    assert_eq!(f.send(&[&job.submit("alice", over)])[0]["error"][0], 23);
}

#[test]
fn no_difficulty_is_so_hard_that_a_block_is_lost() {
    // 0x7fffff is a little more than the difficulty of as many zero bits.
    let (f, _) = Fixture::mining();
    let network = f.snapshot.tip.as_ref().unwrap().tip.target;
    let told = f.session.told.target.unwrap();
    assert!(told >= network && network.leading_zeros() == 1 && told.leading_zeros() == 0);
    // A tip with easier blocks eases it, before the job.
    let mut f = on_a_hard_network(|_| {});
    assert_eq!(difficulties(&f.send(&[SUBSCRIBE, &authorize("d=1024")])), [1024.0]);
    f.source(SourceEvent::Template(template(6, 103, true, false)));
    let lines = f.source(SourceEvent::Tip(template_source::Tip { nbits: 0x1d00_ffff, ..tip(6, 3) }));
    assert_eq!(methods(&lines), ["mining.set_difficulty", "mining.notify"]);
    assert_eq!(difficulties(&lines), [1.0]);
}
