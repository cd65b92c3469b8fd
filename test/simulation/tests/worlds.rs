//! Many small worlds, every one clean; and a world is the same each time.

use simulation::{Counters, Options, run};

/// Worlds in a normal test run.
const WORLDS: u64 = 100;

#[test]
fn worlds_are_clean_and_not_empty() {
    let next = std::sync::atomic::AtomicU64::new(1);
    let work = || {
        let mut sum = Counters::default();
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed > WORLDS {
                return sum;
            }
            let outcome = run(seed, Options::SMALL);
            assert!(outcome.violation.is_none(), "{outcome}");
            sum += outcome.counters;
        }
    };
    let mut sum = Counters::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| sum += thread.join().expect("a world was not clean"));
    });
    for (what, count, least) in [
        ("shares", sum.acknowledged, 10_000),
        ("worlds with durable shares", sum.durable_worlds, 40),
        ("worlds without", sum.worlds - sum.durable_worlds, 20),
        ("shares that a crash took", sum.lost_shares, 5),
        ("blocks", sum.accepted_blocks, 100),
        ("blocks of others", sum.other_blocks, 100),
        ("reorganisations", sum.reorgs, 20),
        ("restarts of nodes", sum.node_restarts, 10),
        ("restarts of the pool", sum.pool_restarts, 10),
        ("orderly stops", sum.orderly_stops, 10),
        ("connections to Template Providers", sum.provider_connections, 50),
        ("connections to Template Providers that broke", sum.provider_breaks, 20),
        ("disconnects", sum.disconnects, 100),
        ("ends by the pool", sum.ended_by_pool, 10),
        ("snapshots passed over", sum.passed_over, 10),
    ] {
        assert!(count >= least, "only {count} {what} in {WORLDS} worlds\n{sum}");
    }
}

#[test]
fn one_seed_makes_one_world() {
    for seed in [3, 14, 159] {
        let (first, second) = (run(seed, Options::SMALL), run(seed, Options::SMALL));
        assert_eq!(first.trace.hash(), second.trace.hash());
        assert_eq!(first.counters, second.counters);
        assert_ne!(first.trace.hash(), run(seed + 1, Options::SMALL).trace.hash());
    }
}
