//! Each checker is seen to fail: a pool that is broken on purpose is found out, by the checker that is meant to.

use std::collections::BTreeSet;

use simulation::{Fault, Options, run};

/// Worlds that a fault is given to show in.
const WORLDS: u64 = 200;

#[test]
fn every_fault_is_found_by_its_checker() {
    for (fault, check) in Fault::ALL {
        let options = Options { fault: Some(fault), ..Options::SMALL };
        let found = (1..=WORLDS).find_map(|seed| run(seed, options).violation);
        match found {
            Some(violation) => assert_eq!(violation.check, check, "{fault:?}: {}", violation.what),
            None => panic!("{fault:?} was not found in {WORLDS} worlds"),
        }
    }
}

#[test]
fn a_report_says_where_to_look() {
    let options = Options { fault: Some(Fault::AckTwice), ..Options::SMALL };
    let outcome = run(1, options);
    let text = outcome.to_string();
    assert!(text.contains("seed 1, step ") && text.contains("credit: ") && text.lines().count() > 5, "{text}");
    assert_eq!(text, run(1, options).to_string(), "a failing world replays exactly");
}

#[test]
fn all_checkers_have_a_fault() {
    let found: BTreeSet<&str> = Fault::ALL.iter().map(|(_, check)| *check).collect();
    let names = simulation::checks::Checks::new(simulation::checks::Facts::default()).names();
    assert_eq!(found, names.into_iter().collect());
}
