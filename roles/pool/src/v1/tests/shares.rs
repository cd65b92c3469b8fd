//! Shares and their answers.

use roles_logic_sv2::share::RejectReason;

use super::*;
use crate::session::{NOT_RECORDED, REJECTS_INTERVAL};

fn error(lines: &[Value]) -> (i64, &str) {
    assert_eq!(lines.len(), 1, "{lines:?}");
    (lines[0]["error"][0].as_i64().unwrap_or_default(), lines[0]["error"][1].as_str().unwrap_or_default())
}

#[test]
fn a_share_is_answered_when_it_is_durable_and_not_before() {
    let (mut f, job) = Fixture::mining();
    let e1 = f.extranonce1();
    let (good, _) = nonces(&job, &e1);
    assert!(f.send(&[&job.submit("alice.rig", good)]).is_empty());
    assert_eq!(f.sink.records.len(), 1);
    assert_eq!(f.write_to_disk(), [json!({"id": good, "result": true, "error": null})]);
    assert!(f.write_to_disk().is_empty());

    let (mut f, job) = Fixture::with(|config| config.acknowledge = Acknowledge::Received).begin();
    let e1 = f.extranonce1();
    let (_, share) = nonces(&job, &e1);
    assert_eq!(f.send(&[&job.submit("alice.rig", share)]), [json!({"id": share, "result": true, "error": null})]);
    assert!(f.write_to_disk().is_empty(), "not twice");
}

#[test]
fn a_share_that_is_a_block_waits_for_the_block_too() {
    for acknowledge in [Acknowledge::Durable, Acknowledge::Received] {
        let (mut f, job) = Fixture::with(|config| config.acknowledge = acknowledge).begin();
        let e1 = f.extranonce1();
        let (block, share) = nonces(&job, &e1);
        f.send(&[&job.submit("alice.rig", block)]);
        let count = std::mem::take(&mut f.sink.records).len();
        f.session.handle_durable(NOW, count, &mut f.sink);
        assert!(f.told().is_empty() && f.session.owes_answers(), "its file is not on disk");
        // Others do not wait for it.
        let mut told = f.send(&[&job.submit("alice.rig", share)]);
        let count = std::mem::take(&mut f.sink.records).len();
        f.session.handle_durable(NOW, count, &mut f.sink);
        told.extend(f.told());
        assert_eq!(told, [json!({"id": share, "result": true, "error": null})]);
        f.sink.holds.clear();
        let at = f.session.poll_timeout().unwrap();
        let answered = f.timeout(at);
        assert_eq!(answered, [json!({"id": block, "result": true, "error": null})]);
        assert!(!f.session.owes_answers());
    }
}

#[test]
fn others_see_each_worker() {
    let (mut f, job) = Fixture::mining();
    let registry = f.session.config.registry.clone();
    f.send(&[r#"{"id":9,"method":"mining.authorize","params":["bob.7","x"]}"#]);
    let e1 = f.extranonce1();
    let (good, _) = nonces(&job, &e1);
    f.send(&[&job.submit("bob.7", good), &job.submit("bob.7", good)]);
    let (bob, alice) = (registry.account("bob").remove(0), registry.account("alice").remove(0));
    let sums = bob.sums();
    assert_eq!((sums.accepted, sums.rejected.iter().sum::<u64>(), alice.sums().accepted), (1, 1, 0));
    assert_eq!((bob.kind.word(), bob.worker.name(), bob.connection.device.as_str()), ("v1", "7", "device/1.0"));
    assert_eq!(bob.difficulty(), f.session.told.target.unwrap().difficulty());
    // The operator has it closed when the session next hears of the pool's state.
    bob.connection.close();
    f.session.handle_notice(NOW, &f.snapshot.clone(), &mut f.sink);
    assert!(f.sink.gone.as_ref().unwrap().contains("operator"));
    assert_eq!(registry.counts().connections, 0);
}

#[test]
fn the_pool_hashes_what_the_miner_hashes() {
    let (mut f, job) = Fixture::mining();
    let e1 = f.extranonce1();
    for (nonce, bits) in (0..200).zip([None, Some("1fffe000"), Some("00002000"), Some("0")].into_iter().cycle()) {
        let version = job.u32(5) | bits.map_or(0, |bits| u32::from_str_radix(bits, 16).unwrap());
        let extranonce2 = format!("{nonce:016x}");
        let ntime = job.u32(7) + nonce % 3;
        let hash = job.hash(&e1, &unhex(&extranonce2), ntime, nonce, version);
        f.send(&[&job.submit_with("alice.rig", nonce, &extranonce2, ntime, bits)]);
        let is_block = Target::from_compact(job.u32(6)).unwrap().is_met_by(&hash);
        let reported: Vec<_> = f.sink.reports.drain(..).map(|report| report.candidate.hash).collect();
        assert_eq!(reported, is_block.then_some(hash).into_iter().collect::<Vec<_>>());
        let recorded = f.sink.records.last().map(|record| match record {
            Record::Share { hash, .. } => *hash,
            Record::Rejects { .. } => panic!("{record:?}"),
        });
        // Almost each hash is a share here, and each block is one.
        assert!(!is_block || recorded == Some(hash));
        f.write_to_disk();
    }
}

#[test]
fn each_refusal_has_its_code_and_a_block_counts_all_the_same() {
    let (mut f, job) = Fixture::mining();
    let e1 = f.extranonce1();
    let (good, _) = nonces(&job, &e1);
    let user = "alice.rig";
    let late = job.u32(7) + 100_000;
    let unknown = Job { id: "ffffff".into(), ..job.clone() };
    let nonsense = Job { id: "zz".into(), ..job.clone() };
    let e2 = "0000000000000001";
    for (line, expected) in [
        (unknown.submit(user, 1), (21, "Job not found")),
        (nonsense.submit(user, 1), (21, "Job not found")),
        (job.submit_with(user, 1, "00000001", job.u32(7), None), (20, "Invalid extranonce2 size")),
        (job.submit_with(user, 1, "000000000000000001", job.u32(7), None), (20, "Invalid extranonce2 size")),
        (job.submit_with(user, 1, e2, late, None), (20, "Time out of range")),
        (job.submit_with(user, 1, e2, job.u32(7), Some("80000000")), (20, "Invalid version bits")),
    ] {
        assert_eq!(error(&f.send(&[&line])), expected, "{line}");
    }
    f.sink.reports.clear();
    f.send(&[&job.submit(user, good)]);
    assert_eq!(error(&f.send(&[&job.submit(user, good)])), (22, "Duplicate share"));
    assert_eq!(f.sink.reports.len(), 2, "the hub knows what it has");
    // A new tip: late, but a block of an older tip is for the nodes to judge.
    for event in [SourceEvent::Template(template(3, 102, true, false)), SourceEvent::Tip(tip(3, 2))] {
        f.source(event);
    }
    f.sink.reports.clear();
    assert_eq!(error(&f.send(&[&job.submit(user, good)])), (21, "Stale share"));
    assert_eq!(f.sink.reports.len(), 1);
}

#[test]
fn a_hash_over_the_target_is_refused() {
    let (mut f, _) = Fixture::new().begin();
    // On a network where blocks are hard, a device with a difficulty of 1 finds nothing here.
    f.source(SourceEvent::Template(template(3, 102, true, false)));
    let hard = template_source::Tip { nbits: 0x1d00_ffff, ..tip(3, 2) };
    let job = jobs(&f.source(SourceEvent::Tip(hard))).remove(0);
    f.send(&[r#"{"id":4,"method":"mining.suggest_difficulty","params":[1]}"#]);
    let job = jobs(&f.told()).pop().unwrap_or(job);
    // The first job of the tip came before the suggestion, and takes what it was sent with.
    let next = jobs(&f.source(SourceEvent::Template(template(4, 102, false, true)))).remove(0);
    assert_ne!(next.id, job.id);
    assert_eq!(error(&f.send(&[&next.submit("alice.rig", 7)])), (23, "Low difficulty share"));
}

#[test]
fn workers_are_credited_on_their_own() {
    let (mut f, job) = Fixture::mining();
    f.send(&[r#"{"id":9,"method":"mining.authorize","params":["bob%2Ex.rig","x"]}"#]);
    let e1 = f.extranonce1();
    let (good, _) = nonces(&job, &e1);
    f.send(&[&job.submit("bob%2Ex.rig", good)]);
    let [Record::Share { worker, work, .. }] = &f.sink.records[..] else { panic!() };
    assert_eq!(worker.to_string(), "bob.x.rig");
    assert_eq!(*work, Target::from_difficulty(2f64.powi(-32)).work());
    assert_eq!(f.sink.reports[0].finder.to_string(), "bob.x.rig");
}

#[test]
fn a_share_under_another_name_counts_for_nobody_but_a_block_is_reported() {
    let (mut f, job) = Fixture::mining();
    let e1 = f.extranonce1();
    let (good, bad) = nonces(&job, &e1);
    assert_eq!(error(&f.send(&[&job.submit("mallory", good)])), (24, "Unauthorized worker"));
    assert_eq!(f.sink.reports.len(), 1);
    assert_eq!(f.sink.reports[0].finder.to_string(), "alice.rig");
    assert!(f.sink.records.is_empty());
    assert_eq!(error(&f.send(&[&job.submit("mallory", bad)])), (24, "Unauthorized worker"));
    assert_eq!(f.sink.reports.len(), 1);
    // It can still be handed in under the right one.
    assert!(f.send(&[&job.submit("alice.rig", good)]).is_empty());
    assert_eq!(f.sink.records.len(), 1);
}

#[test]
fn what_the_journal_does_not_take_is_refused_and_credited_to_nobody() {
    let (mut f, job) = Fixture::mining();
    let e1 = f.extranonce1();
    let (good, _) = nonces(&job, &e1);
    f.sink.is_full = true;
    assert_eq!(error(&f.send(&[&job.submit("alice.rig", good)])), (20, NOT_RECORDED));
    assert_eq!(f.sink.reports.len(), 1, "a block all the same");
    // Nor what waits beyond the bound.
    let (mut f, job) = Fixture::mining();
    f.session.owed.extend((0..MAX_OWED).map(|_| None));
    assert_eq!(error(&f.send(&[&job.submit("alice.rig", good)])), (20, NOT_RECORDED));
}

#[test]
fn refusals_are_recorded_and_a_flood_of_them_ends_the_connection() {
    let (mut f, job) = Fixture::mining();
    let unknown = Job { id: "ffffff".into(), ..job.clone() }.submit("alice.rig", 1);
    f.send(&[&unknown, &unknown]);
    let at = NOW + REJECTS_INTERVAL;
    while f.session.poll_timeout().is_some_and(|next| next < at) {
        let next = f.session.poll_timeout().unwrap();
        f.timeout(next);
    }
    f.timeout(at);
    let [Record::Rejects { worker: Some(worker), reason, count, .. }] = &f.sink.records[..] else {
        panic!("{:?}", f.sink.records)
    };
    assert_eq!(
        (worker.to_string().as_str(), *reason, *count),
        ("alice.rig", RejectReason::InvalidJobId.error_code(), 2)
    );
    // Nobody waits for it.
    assert!(f.write_to_disk().is_empty());

    let (mut f, _) = Fixture::mining();
    let burst = config().limits.invalid_shares_burst as usize;
    for _ in 0..burst {
        f.send(&[&unknown]);
        assert_eq!(f.sink.gone, None);
    }
    let last = f.send(&[&unknown]);
    assert_eq!(error(&last).0, 21, "answered all the same");
    assert_eq!(f.sink.gone.as_deref(), Some("too many invalid shares"));
    assert!(matches!(&f.sink.records[..], [Record::Rejects { count, .. }] if *count as usize == burst + 1));
    assert!(f.send(&[&unknown]).is_empty(), "nothing comes after the end");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever the order of requests, of the disk and of templates: each request is answered once.
    #[test]
    fn each_request_is_answered_once(steps in proptest::collection::vec(0u8..9, 1..60)) {
        let mut f = Fixture::new();
        let (mut asked, mut answered, mut template_id) = (0, Vec::new(), 10);
        let mut job: Option<Job> = None;
        for (index, step) in steps.into_iter().enumerate() {
            let id = 1_000 + index;
            let request = |method: &str, params: Value| json!({"id": id, "method": method, "params": params}).to_string();
            let line = match step {
                0 => Some(request("mining.subscribe", json!([]))),
                1 => Some(request("mining.authorize", json!(["alice", "d=0.5"]))),
                2 => Some(request("mining.suggest_difficulty", json!([index]))),
                3 => Some(request("mining.authorize", json!(["solo:x"]))),
                4 | 5 => job.as_ref().map(|job| job.submit("alice", index as u32).replacen(
                    &format!("\"id\":{index}"), &format!("\"id\":{id}"), 1)),
                _ => None,
            };
            let lines = match (line, step) {
                (Some(line), _) => { asked += 1; f.send(&[&line]) }
                (None, 6) => f.write_to_disk(),
                (None, 7) => { template_id += 1; f.source(SourceEvent::Template(template(template_id, 101, false, true))) }
                (None, _) => { f.session.handle_notice(NOW, &f.snapshot.clone(), &mut f.sink); f.told() }
            };
            job = jobs(&lines).pop().or(job);
            answered.extend(lines.into_iter().filter(|line| line.get("method").is_none()).map(|line| line["id"].to_string()));
        }
        answered.extend(f.write_to_disk().into_iter().map(|line| line["id"].to_string()));
        let count = answered.len();
        answered.sort();
        answered.dedup();
        proptest::prop_assert_eq!((answered.len(), count), (asked, asked));
        proptest::prop_assert_eq!(&f.sink.gone, &None);
    }
}
