//! `stratum ledger`, on a ledger with three shares and a block.

use std::{fs, path::Path, process::Output};

use share_ledger::{
    BlockEvent, BlockHash, BlockStep, Config, Difficulty, LEDGER_FOLDER, Ledger, Rejects, Share, ShareHash,
    ShareLedger, Timestamp, Work, WorkerId,
};

use super::{stratum, text};

const DAY: u64 = 86_400;
/// 2027-01-15.
const START: u64 = 1_799_971_200;

fn fill(data: &Path) -> Ledger {
    let ledger = Ledger::open(&Config::new(data.join(LEDGER_FOLDER))).unwrap();
    let queue = ledger.queue();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let workers = [("alice", "rig, \"1\""), ("bob", ""), ("bob", "rig2")];
    for (number, (account, worker)) in (1_u64..).zip(workers) {
        let share = Share {
            at: Timestamp::from_secs(START + (number - 1) * DAY),
            worker: ledger.worker(account, worker).unwrap(),
            work: Work(1 << (31 + number)),
            hash: ShareHash::of(&[number as u8; 32]),
            reached: Difficulty::new(2.5),
        };
        let position = queue.append(&[share.into()]).unwrap();
        // So that there are several batches.
        let mut progress = ledger.progress();
        runtime.block_on(async { drop(progress.wait_for(|progress| progress.durable >= position).await.unwrap()) });
    }
    let at = Timestamp::from_secs(START);
    let found = BlockStep::Found { worker: WorkerId::NOBODY, value: 312_500_000, reached: Difficulty::new(1e12) };
    let event = |step| BlockEvent { at, hash: BlockHash([7; 32]), height: 900_000, step };
    let refused = Rejects { at, worker: WorkerId::NOBODY, reason: "stale-share".into(), count: 4 };
    queue.append(&[event(found).into(), event(BlockStep::Orphaned).into(), refused.into()]).unwrap();
    ledger
}

fn ledger(data: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["ledger"];
    all.extend_from_slice(arguments);
    all.extend_from_slice(&["--data-dir", "."]);
    stratum(data, &all)
}

fn out(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&text(&output.stdout)).unwrap()
}

#[test]
fn a_ledger_is_counted_exported_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    fill(data).close();

    let stats = out(&ledger(data, &["stats"]));
    for line in [
        "accounts         2",
        "workers          3",
        "accepted shares  3",
        "best difficulty  2.500 by alice.rig, \"1\"",
        "last share       2027-01-17T00:00:00.000Z",
        "refused shares   4 stale-share",
        "blocks           1 orphaned",
    ] {
        assert!(stats.lines().any(|found| found == line), "{line}: {stats}");
    }
    let stats = json(&ledger(data, &["stats", "--json"]));
    assert_eq!((&stats["shares"], &stats["work"]), (&3.into(), &(7_u64 << 32).into()));

    let shares = out(&ledger(data, &["export", "shares", "--from", "2027-01-15", "--to", "2027-01-16T12:00:00Z"]));
    let expected = "time_ms,time,account,worker,work,hash,difficulty\n\
        1799971200000,2027-01-15T00:00:00.000Z,alice,\"rig, \"\"1\"\"\",4294967296,010101010101010101010101,2.5\n\
        1800057600000,2027-01-16T00:00:00.000Z,bob,,8589934592,020202020202020202020202,2.5\n";
    assert_eq!(shares, expected);
    let days = json(&ledger(data, &["export", "days", "--format", "json"]));
    assert_eq!(days.as_array().unwrap().len(), 9, "pool, account and worker on each day");
    let lines = |what| out(&ledger(data, &["export", what])).lines().count();
    let counts = ["minutes", "hours", "rejects", "accounts", "workers", "blocks"].map(lines);
    assert_eq!(counts, [10, 10, 2, 3, 4, 2]);
    let blocks = json(&ledger(data, &["export", "blocks", "--format", "json"]));
    assert_eq!((&blocks[0]["height"], &blocks[0]["state"]), (&900_000.into(), &"orphaned".into()));

    assert!(out(&ledger(data, &["verify"])).ends_with("all is in order\n"));
}

#[test]
fn damage_is_status_1_and_a_rebuild_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    fill(data).close();
    fs::write(data.join("ledger/ledger.db"), "noise").unwrap();
    let found = ledger(data, &["verify", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    assert!(json(&found)["database"]["unreadable"]["reason"].is_string());
    let made = out(&ledger(data, &["rebuild"]));
    assert!(made.contains("sums per minute begin at 2027-01-15T00:00:00.000Z"), "{made}");
    assert!(out(&ledger(data, &["verify"])).contains("the database agrees"));

    let first = data.join("ledger/log/shares-0000000000.log");
    let mut bytes = fs::read(&first).unwrap();
    bytes[64 + 40] ^= 1;
    fs::write(&first, bytes).unwrap();
    for command in [&["verify"][..], &["rebuild"], &["export", "shares"]] {
        let found = ledger(data, command);
        assert_eq!(found.status.code(), Some(1), "{}", text(&found.stdout));
        let said = text(&found.stdout) + &text(&found.stderr);
        assert!(
            said.contains("batches 1 to 1") && said.contains("can not be read") || said.contains("could not be read")
        );
    }
}

#[test]
fn a_ledger_in_use_is_read_but_not_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    fill(data).close();
    let _running = Ledger::open(&Config::new(data.join(LEDGER_FOLDER))).unwrap();
    assert!(out(&ledger(data, &["verify"])).contains("3 accepted shares"));
    assert_eq!(out(&ledger(data, &["export", "shares"])).lines().count(), 4);
    let refused = ledger(data, &["rebuild"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("in use by another process"));
}

#[test]
fn wrong_paths_and_arguments_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = ledger(folder.path(), &["stats"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("has no ledger"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
    assert_eq!(ledger(folder.path(), &["export", "shares", "--from", "yesterday"]).status.code(), Some(2));
    assert_eq!(ledger(folder.path(), &["export", "everything"]).status.code(), Some(2));
}

#[test]
fn a_backup_is_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let open = fill(folder.path());
    let backup = |to: &str| json(&ledger(folder.path(), &["backup", "--to", to, "--json"]));
    assert_eq!(backup("copy")["files"], 1, "while it is in use");
    open.close();
    assert_eq!(backup("copy")["files"], 1);
    assert_eq!(backup("copy")["copied"], 0);
    let copy = folder.path().join("copy");
    assert!(out(&ledger(&copy, &["rebuild"])).contains("made again"));
    let [one, other] = [folder.path(), &copy].map(|data| out(&ledger(data, &["export", "shares"])));
    assert!(one == other && one.lines().count() == 4, "{one} {other}");
    assert!(out(&ledger(&copy, &["verify"])).contains("all is in order"));
    let wrong = ledger(folder.path(), &["backup"]);
    assert_eq!(wrong.status.code(), Some(2), "where to?");
}
