//! The whole ledger in a folder: log, database and threads together.

use std::{fs, path::Path, time::Duration};

use tokio::sync::watch;

use crate::*;

const DAY: u64 = 86_400;
/// A midnight.
const START: u64 = 20_000 * DAY;

fn config(folder: &Path) -> Config {
    // Nothing is removed while a test looks.
    let years = Duration::from_secs(10_000 * DAY);
    Config {
        retention: Retention { minutes: years, hours: years, ..Retention::default() },
        commit_interval: Duration::ZERO,
        index_interval: Duration::from_millis(5),
        segment_bytes: 20_000,
        ..Config::new(folder)
    }
}

fn open(folder: &Path) -> Ledger {
    Ledger::open(&config(folder)).unwrap()
}

fn share(worker: WorkerId, seconds: u64, number: u64) -> Record {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    let share = Share {
        at: Timestamp::from_secs(seconds),
        worker,
        work: Work(1 << 33),
        hash: ShareHash::of(&hash),
        reached: Difficulty::new(number as f64),
    };
    share.into()
}

/// Blocks until it holds.
fn wait_for<T: Clone>(mut receiver: watch::Receiver<T>, what: impl FnMut(&T) -> bool) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { receiver.wait_for(what).await.unwrap().clone() })
}

fn wait_until_indexed(ledger: &Ledger, position: Position) {
    wait_for(ledger.indexed(), |indexed| *indexed >= position);
}

/// Two accounts with three workers, shares over 5 days, refused ones, a block.
fn fill(ledger: &Ledger) -> Position {
    let queue = ledger.queue();
    let workers = [("alice", "rig1"), ("alice", "rig2"), ("bob", "")]
        .map(|(account, worker)| ledger.worker(account, worker).unwrap());
    let mut number = 0;
    for hour in 0..120 {
        let mut records = Vec::new();
        for (index, worker) in workers.iter().enumerate() {
            for n in 0..=index as u64 {
                number += 1;
                records.push(share(*worker, START + hour * 3600 + n * 60, number));
            }
        }
        records.push(Record::Rejects(Rejects {
            at: Timestamp::from_secs(START + hour * 3600),
            worker: if hour % 2 == 0 { workers[0] } else { WorkerId::NOBODY },
            reason: "stale-share".into(),
            count: 2,
        }));
        let position = queue.append(&records).unwrap();
        if hour % 10 == 0 {
            // So that there are some batches.
            wait_for(ledger.progress(), |progress| progress.durable >= position);
        }
    }
    let step = |at, step| BlockEvent { at: Timestamp(at), hash: BlockHash([9; 32]), height: 7, step };
    queue
        .append(&[
            step(1000, BlockStep::Found { worker: workers[1], value: 312, reached: Difficulty::new(1e9) }).into(),
            step(1001, BlockStep::Submitted { node: "a".into() }).into(),
            step(1002, BlockStep::Rejected { node: "b".into(), reason: "high-hash".into() }).into(),
            step(1003, BlockStep::Accepted { node: "a".into() }).into(),
        ])
        .unwrap()
}

/// All tables as text.
fn dump(folder: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(folder.join(DATABASE)).unwrap();
    let mut rows = Vec::new();
    for table in [
        "account",
        "worker",
        "minute",
        "hour",
        "day",
        "minute_rejects",
        "hour_rejects",
        "day_rejects",
        "block",
        "block_event",
        "damage",
    ] {
        let mut select = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = select.column_count();
        let mut found = select.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<_> = (0..columns).map(|n| row.get::<_, rusqlite::types::Value>(n).unwrap()).collect();
            rows.push(format!("{table} {values:?}"));
        }
    }
    rows.sort_unstable();
    rows
}

fn assert_same(found: &[String], expected: &[String]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn what_is_queried_is_what_was_appended() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let position = fill(&ledger);
    wait_until_indexed(&ledger, position);
    let mut reader = Reader::open(folder.path()).unwrap();

    let overview = reader.overview().unwrap();
    assert_eq!((overview.accounts, overview.workers, overview.shares), (2, 3, 720));
    assert_eq!(overview.work, Work(720 << 33));
    assert_eq!(overview.best.get(), 720.0);
    assert_eq!(overview.best_by, Some(("bob".into(), String::new())));
    assert_eq!(overview.rejects, [("stale-share".to_owned(), 240)]);
    assert_eq!(overview.blocks, [("accepted".to_owned(), 1)]);
    assert_eq!(overview.last_share, Timestamp::from_secs(START + 119 * 3600 + 120));

    let alice = reader.account("alice").unwrap().unwrap();
    assert_eq!((alice.workers, alice.totals.shares, alice.totals.work), (2, 360, Work(360 << 33)));
    assert_eq!(alice.totals.best.get(), 717.0);
    assert_eq!(alice.totals.best_at, Timestamp::from_secs(START + 119 * 3600 + 60));
    let workers = reader.workers(alice.id, 0, 10).unwrap();
    let names: Vec<_> = workers.iter().map(|worker| (worker.name.as_str(), worker.totals.shares)).collect();
    assert_eq!(names, [("rig1", 120), ("rig2", 240)]);
    assert_eq!(reader.workers(alice.id, 1, 10).unwrap()[0].name, "rig2");
    assert_eq!(reader.account("carol").unwrap(), None);

    let days = reader.series(Subject::Account(alice.id), Period::Day, START, START + 5 * DAY).unwrap();
    let counts: Vec<_> = days.iter().map(|day| (day.start - START, day.shares, day.work)).collect();
    assert_eq!(counts, [0, 1, 2, 3, 4].map(|day| (day * DAY, 72, Work(72 << 33))));
    let some = reader.series(Subject::Worker(workers[1].id), Period::Hour, START + 1, START + 3 * 3600).unwrap();
    assert_eq!(some.iter().map(|hour| (hour.start - START, hour.shares)).collect::<Vec<_>>(), [(3600, 2), (7200, 2)]);
    let minutes = reader.series(Subject::Pool, Period::Minute, START, START + 600).unwrap();
    assert_eq!(minutes.iter().map(|minute| minute.shares).collect::<Vec<_>>(), [3, 2, 1]);

    let rejects = reader.rejects(Subject::Account(alice.id), Period::Day, START, START + DAY).unwrap();
    assert_eq!(rejects, [RejectPoint { start: START, reason: "stale-share".into(), count: 24 }]);
    let rejects = reader.rejects(Subject::Pool, Period::Day, START, START + DAY).unwrap();
    assert_eq!(rejects[0].count, 48);

    let search = |reader: &mut Reader, text: &str, order| -> Vec<String> {
        reader.accounts(text, order, 0, 10).unwrap().into_iter().map(|account| account.name).collect()
    };
    assert_eq!(search(&mut reader, "", Order::Name), ["alice", "bob"]);
    assert_eq!(search(&mut reader, "LIC", Order::Name), ["alice"]);
    assert_eq!(search(&mut reader, "%", Order::Name), [""; 0]);
    assert_eq!(search(&mut reader, "", Order::Best), ["bob", "alice"]);

    let (block, life) = reader.block(&BlockHash([9; 32])).unwrap().unwrap();
    assert_eq!(block, reader.blocks(None, 10).unwrap()[0]);
    assert_eq!((block.height, block.value, block.state.as_str()), (7, Some(312), "accepted"));
    assert_eq!(block.finder, Some(("alice".into(), "rig2".into())));
    let life: Vec<_> = life.iter().map(|step| (step.step.as_str(), step.node.as_str(), step.detail.as_str())).collect();
    assert_eq!(
        life,
        [("found", "", ""), ("submitted", "a", ""), ("rejected", "b", "high-hash"), ("accepted", "a", "")]
    );
    assert_eq!(reader.blocks(Some((7, BlockHash([9; 32]))), 10).unwrap(), []);
}

#[test]
fn a_block_keeps_what_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let queue = ledger.queue();
    let state = |step| {
        let event = BlockEvent { at: Timestamp(1), hash: BlockHash([1; 32]), height: 1, step };
        wait_until_indexed(&ledger, queue.append(&[event.into()]).unwrap());
        let block = Reader::open(folder.path()).unwrap().blocks(None, 1).unwrap().remove(0);
        (block.state, block.depth)
    };
    let is = |step, word: &str, depth| assert_eq!(state(step), (word.to_owned(), depth));
    let submitted = || BlockStep::Submitted { node: "a".into() };
    // Without a find, as when that part of the log is damaged.
    is(submitted(), "submitted", 0);
    is(BlockStep::Found { worker: WorkerId::NOBODY, value: 1, reached: Difficulty::new(1.0) }, "submitted", 0);
    is(BlockStep::Accepted { node: "a".into() }, "accepted", 0);
    is(submitted(), "accepted", 0);
    is(BlockStep::Rejected { node: "b".into(), reason: "stale".into() }, "accepted", 0);
    is(BlockStep::Confirmed { depth: 1 }, "confirmed", 1);
    is(BlockStep::Confirmed { depth: 6 }, "confirmed", 6);
    is(submitted(), "confirmed", 6);
    is(BlockStep::Orphaned, "orphaned", 0);
    is(BlockStep::Confirmed { depth: 2 }, "confirmed", 2);
}

#[test]
fn ids_and_sums_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let before = open(folder.path());
    let rig1 = before.worker("alice", "rig1").unwrap();
    before.queue().append(&[share(rig1, START, 1)]).unwrap();
    before.close();
    let again = open(folder.path());
    assert_eq!(again.worker("alice", "rig1"), Ok(rig1));
    let rig2 = again.worker("alice", "rig2").unwrap();
    assert_ne!(rig1, rig2);
    again.queue().append(&[share(rig1, START, 2), share(rig2, START, 3)]).unwrap();
    again.close();
    let mut reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.account("alice").unwrap().unwrap().totals.shares, 3);
    assert!(verify(folder.path(), |_| {}).unwrap().is_sound());
}

#[test]
fn names_are_known_without_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let before = open(folder.path());
    let ids = ["a", "b", "c"].map(|name| before.worker(name, "").unwrap());
    before.queue().append(&[share(ids[2], START, 1)]).unwrap();
    before.close();
    fs::write(folder.path().join(DATABASE), "no database".repeat(1000)).unwrap();
    let again = open(folder.path());
    assert_eq!(["a", "b", "c"].map(|name| again.worker(name, "").unwrap()), ids);
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let error = Ledger::open(&config(folder.path())).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(matches!(rebuild(folder.path(), |_, _| {}), Err(RebuildError::Open(OpenError::InUse(_)))));
    drop(ledger);
    open(folder.path());
}

#[test]
fn a_database_from_the_future_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close();
    let connection = rusqlite::Connection::open(folder.path().join(DATABASE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Ledger::open(&config(folder.path())).unwrap_err();
    assert!(error.to_string().starts_with("the database has version 99"), "{error}");
}

#[test]
fn rebuilding_gives_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    fill(&ledger);
    ledger.close();
    let before = dump(folder.path());
    assert!(before.len() > 500);
    let mut done = (0, 0);
    let rebuilt = rebuild(folder.path(), |now, last| done = (now, last)).unwrap();
    assert_same(&dump(folder.path()), &before);
    assert_eq!((rebuilt.last, rebuilt.minutes_from, rebuilt.damage), (done.1, Some(START), vec![]));
    assert_eq!(done.0, done.1);
    fs::remove_file(folder.path().join(DATABASE)).unwrap();
    open(folder.path()).close();
    assert_same(&dump(folder.path()), &before);
}

#[test]
fn sums_survive_a_rebuild_when_their_shares_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    fill(&ledger);
    ledger.close();
    let before = dump(folder.path());
    // Everything but the last segment is too much, and all hours are too old: at the start, hours and then days are
    // summed up.
    let retention = Retention { share_bytes: 0, hours: Duration::ZERO, ..Retention::default() };
    for _ in 0..2 {
        let ledger = Ledger::open(&Config { retention, ..config(folder.path()) }).unwrap();
        wait_for(ledger.index_health(), Health::is_ok);
        ledger.close();
    }
    let files = log_files(folder.path()).unwrap();
    assert!(files.summaries > 0, "{files:?}");
    let rebuilt = rebuild(folder.path(), |_, _| {}).unwrap();
    assert_eq!(rebuilt.minutes_from, None);
    assert_eq!(rebuilt.days_from, Some(START));
    let after = dump(folder.path());
    let days = |rows: &[String]| -> Vec<String> {
        let kept = |row: &&String| ["day", "block", "damage"].iter().any(|table| row.starts_with(table));
        rows.iter().filter(kept).cloned().collect()
    };
    assert_same(&days(&after), &days(&before));
    assert_ne!(after, before);
    assert!(verify(folder.path(), |_| {}).unwrap().is_sound());
}

#[test]
fn a_locked_database_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let worker = ledger.worker("alice", "").unwrap();
    let queue = ledger.queue();
    wait_until_indexed(&ledger, queue.append(&[share(worker, START, 1)]).unwrap());
    let other = rusqlite::Connection::open(folder.path().join(DATABASE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let position = queue.append(&[share(worker, START, 2)]).unwrap();
    wait_for(ledger.progress(), |progress| progress.durable == position);
    let health = wait_for(ledger.index_health(), |health| !health.is_ok());
    assert!(matches!(health, Health::Failing { reason, .. } if reason.contains("locked")));
    assert!(ledger.health().borrow().is_ok());
    other.execute_batch("ROLLBACK").unwrap();
    wait_until_indexed(&ledger, position);
    wait_for(ledger.index_health(), Health::is_ok);
    let mut reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.account("alice").unwrap().unwrap().totals.shares, 2);
}

#[test]
fn a_damaged_database_is_made_again_while_shares_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    fill(&ledger);
    ledger.close();
    // Its pages are noise, but for the header.
    let path = folder.path().join(DATABASE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let ledger = open(folder.path());
    let worker = ledger.worker("alice", "rig1").unwrap();
    let position = ledger.queue().append(&[share(worker, START, 9999)]).unwrap();
    wait_for(ledger.progress(), |progress| progress.durable == position);
    wait_until_indexed(&ledger, position);
    wait_for(ledger.index_health(), Health::is_ok);
    assert_eq!(Reader::open(folder.path()).unwrap().account("alice").unwrap().unwrap().totals.shares, 361);
}

#[test]
fn a_reader_sees_a_database_that_was_made_again() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close();
    let mut reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.overview().unwrap().shares, 0);
    rebuild(folder.path(), |_, _| {}).unwrap();
    let ledger = open(folder.path());
    wait_until_indexed(&ledger, fill(&ledger));
    assert_eq!(reader.overview().unwrap().shares, 720);
}

#[test]
fn a_database_of_another_log_is_made_again() {
    let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ledger = open(one.path());
    fill(&ledger);
    ledger.close();
    open(other.path()).close();
    fs::copy(one.path().join(DATABASE), other.path().join(DATABASE)).unwrap();
    let ledger = open(other.path());
    let worker = ledger.worker("carol", "").unwrap();
    wait_until_indexed(&ledger, ledger.queue().append(&[share(worker, START, 1)]).unwrap());
    let mut reader = Reader::open(other.path()).unwrap();
    assert_eq!(reader.overview().unwrap().shares, 1);
    assert_eq!(reader.account("alice").unwrap(), None);
}

#[test]
fn damage_is_reported_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    fill(&ledger);
    ledger.close();
    assert!(verify(folder.path(), |_| {}).unwrap().is_sound());
    let log = folder.path().join(LOG_FOLDER);
    let first = log.join("shares-0000000000.log");
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&first, bytes).unwrap();
    let found = verify(folder.path(), |_| {}).unwrap();
    assert!(!found.is_sound());
    assert_eq!(found.damage.len(), 1);
    assert!(found.shares < 720 && found.shares > 500, "{found:?}");
    let rebuilt = rebuild(folder.path(), |_, _| {}).unwrap();
    assert_eq!(rebuilt.damage.len(), 1);
    assert_eq!(Reader::open(folder.path()).unwrap().overview().unwrap().shares, found.shares);
}

#[test]
fn old_sums_are_removed_but_days_stay() {
    let folder = tempfile::tempdir().unwrap();
    let retention =
        Retention { minutes: Duration::from_secs(DAY), hours: Duration::from_secs(2 * DAY), ..Retention::default() };
    let ledger = open(folder.path());
    fill(&ledger);
    ledger.close();
    let mut connection = index::open_to_write(&folder.path().join(DATABASE)).unwrap();
    index::prune(&mut connection, &retention, Timestamp::from_secs(START + 100 * DAY)).unwrap();
    let first = |table: &str| -> u64 {
        connection.query_row(&format!("SELECT min(start) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap() as u64
    };
    // The newest minute stands for now, not the clock.
    let newest = START + 119 * 3600 + 120;
    assert_eq!(first("minute"), newest - DAY);
    assert_eq!(first("hour"), START + 3 * DAY - 3600);
    assert_eq!((first("day"), first("day_rejects"), first("hour_rejects")), (START, START, START + 3 * DAY - 3600));
}
