use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn connect(registry: &Arc<Registry>) -> ConnectionGuard {
    let address = "192.0.2.1:7".parse().unwrap();
    let device = &["vendor", "", "fw\u{202e}1"];
    registry.connect(NOW, NewConnection { listener: 1, protocol: Protocol::V2, address, device })
}

fn open(on: &ConnectionGuard, id: u32, account: &str, name: &str) -> ChannelGuard {
    let worker = Arc::new(Worker::new(account.into(), name.into()));
    on.open(NOW, NewChannel { id, kind: Kind::Standard, policy: Policy::Pool, worker, difficulty: 2.0 })
}

#[test]
fn small() {
    let size = size_of::<Channel>() + 16;
    assert!(size <= CARD_BYTES, "{size}");
}

#[test]
fn what_a_session_writes_is_seen() {
    let registry = Registry::new(NOW);
    let connection = connect(&registry);
    let channel = open(&connection, 3, "alice", "rig");
    channel.accepted(NOW + Duration::from_secs(1), 1 << 80, Difficulty::new(7.0));
    channel.accepted(NOW + Duration::from_secs(2), 5, Difficulty::new(6.0));
    channel.rejected(RejectReason::Stale);
    channel.not_recorded();
    channel.set_difficulty(4.0);
    let seen = registry.account("alice").remove(0);
    let sums = seen.sums();
    assert_eq!((sums.accepted, sums.work, sums.best), (2, 2f64.powi(80), 7.0));
    assert_eq!(sums.last, 1_800_000_002_000);
    let refused: Vec<_> = (0..REASONS).filter(|place| sums.rejected[*place] > 0).map(reason).collect();
    assert_eq!(refused, ["stale-share", "not-recorded"]);
    assert_eq!(seen.difficulty(), 4.0);
    assert!(seen.hashrates(NOW + Duration::from_secs(10)).m1 > 0.0);
    let on = registry.connection(connection.connection.id).unwrap();
    assert_eq!((on.device.as_str(), on.listener, on.channels().len()), ("vendor fw1", 1, 1));
    assert!(!connection.is_to_close());
    on.close();
    assert!(connection.is_to_close());
}

#[test]
fn what_is_closed_still_counts() {
    let registry = Registry::new(NOW);
    let connection = connect(&registry);
    let channels =
        [open(&connection, 1, "alice", "a"), open(&connection, 2, "alice", "b"), open(&connection, 3, "bob", "")];
    for channel in &channels {
        channel.accepted(NOW + SWEEP, 5_000, Difficulty::new(1.0));
        channel.rejected(RejectReason::Duplicate);
    }
    registry.sweep(NOW + SWEEP);
    let before = registry.sums();
    assert_eq!((before.accepted, before.work), (3, 15_000.0));
    let rates = registry.hashrates(NOW + SWEEP);
    assert!((rates.m1 - 3_000.0).abs() < 1.0, "{rates:?}");
    let [first, second, third] = channels;
    first.accepted(NOW + SWEEP, 5_000, Difficulty::new(9.0));
    drop((first, third));
    registry.sweep(NOW + 2 * SWEEP);
    let after = registry.sums();
    assert_eq!((after.accepted, after.work, after.best), (4, 20_000.0, 9.0));
    assert_eq!(after.rejected.iter().sum::<u64>(), 3);
    assert_eq!(registry.counts(), Counts { connections: 1, channels: 1, accounts: 1, workers: 1 });
    drop(second);
    drop(connection);
    assert_eq!(registry.counts(), Counts::default());
    registry.sweep(NOW + 3 * SWEEP);
    assert_eq!(registry.sums().accepted, 4);
    assert!(registry.accounts.iter().all(|part| lock(part).is_empty()), "names of who is gone take no room");
}

#[test]
fn a_worker_is_online_while_it_has_a_channel() {
    let registry = Registry::new(NOW);
    let mut changes = registry.changes();
    let mut next = || changes.try_recv().ok().map(|change| (change.worker.to_string(), change.online));
    let connection = connect(&registry);
    let first = open(&connection, 1, "alice", "a");
    assert_eq!(next(), Some(("alice.a".to_owned(), true)));
    let second = open(&connection, 2, "alice", "a");
    let other = open(&connection, 3, "alice", "b");
    assert_eq!(next(), Some(("alice.b".to_owned(), true)));
    drop(first);
    assert_eq!(registry.counts().workers, 2);
    assert_eq!(next(), None);
    drop(second);
    assert_eq!(next(), Some(("alice.a".to_owned(), false)));
    // The same id again, before the old guard is gone.
    let again = open(&connection, 3, "alice", "b");
    drop(other);
    assert_eq!(registry.account("alice").len(), 1);
    assert_eq!(connection.connection.channels().len(), 1, "the new one is not taken away with the old");
    drop(again);
    assert_eq!(next(), Some(("alice.b".to_owned(), false)));
}

/// Opening and closing from many threads, with somebody who looks all the while: sums never shrink, and in the end nothing is missing.
#[test]
fn sums_never_shrink_while_channels_come_and_go() {
    let registry = Registry::new(NOW);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let registry = registry.clone();
            std::thread::spawn(move || {
                let connection = connect(&registry);
                for id in 0..500 {
                    let channel = open(&connection, id, &format!("account{}", id % 7), &thread.to_string());
                    (0..3).for_each(|_| channel.accepted(NOW, 1, Difficulty::new(1.0)));
                }
            })
        })
        .collect();
    let mut seen = 0;
    while threads.iter().any(|thread| !thread.is_finished()) {
        registry.sweep(NOW);
        let now = registry.sums().accepted;
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    registry.sweep(NOW);
    assert_eq!(registry.sums().accepted, 4 * 500 * 3);
    assert_eq!(registry.counts(), Counts::default());
}
