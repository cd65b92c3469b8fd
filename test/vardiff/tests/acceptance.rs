//! The limits that the pool's variable difficulty keeps, on a few seeds; `cargo xtask vardiff` runs a thousand.
//!
//! Counts only: virtual time costs nothing, and the same seeds give the same counts.

use vardiff_simulation::{Algorithm, Change, DEVICES, Device, Reached, Results, Totals, page, simulate};

const SEEDS: u64 = 8;

fn percentile_95(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[(values.len() * 95).div_ceil(100) - 1]
}

/// Runs of a change, in which the target was not right already.
fn runs(all: &[(&Device, Results)], change: Change, rising: bool) -> Vec<Reached> {
    let regular = all.iter().filter(|(device, _)| device.is_regular());
    let runs = regular.flat_map(|(_, results)| &results.reached[change as usize]);
    runs.filter(|run| !run.at_once && run.rising == rising).copied().collect()
}

#[test]
fn every_change_is_followed_quickly_and_nothing_else() {
    let all: Vec<_> = DEVICES.iter().map(|device| (device, simulate(Algorithm::Ours, device, 1, SEEDS))).collect();
    for (change, rising, steps) in [
        (Change::Start, true, 2),
        (Change::RiseBy10, true, 2),
        (Change::RiseBy1000, true, 2),
        (Change::Start, false, 8),
        (Change::FallByHalf, false, 2),
        (Change::FallBy10, false, 3),
        (Change::FallBy1000, false, 5),
    ] {
        let runs = runs(&all, change, rising);
        assert!(!runs.is_empty(), "{change:?}: nothing was simulated");
        assert!(runs.iter().all(|run| run.shares.is_some()), "{change:?}: not always followed");
        let most = percentile_95(runs.iter().map(|run| run.steps.into()).collect());
        assert!(most <= steps, "{change:?}: {most} new targets");
        if rising {
            let most = percentile_95(runs.iter().filter_map(|run| run.shares).collect());
            assert!(most <= 20, "{change:?}: {most} shares");
        }
    }
    for (device, results) in &all {
        let per_hour = results.totals.per_hour(results.totals.false_retargets);
        assert_eq!(results.totals.hours, SEEDS as f64, "{}", device.name);
        // Chance with so few seeds; with a thousand it is under 1 for each device.
        assert!(per_hour <= 2.0, "{}: {per_hour} false new targets per hour", device.name);
        let per_minute = results.totals.per_hour(results.totals.shares) / 60.0;
        assert!((6.0..=20.0).contains(&per_minute), "{}: {per_minute} shares a minute", device.name);
    }
    let mut sum = Totals::default();
    all.iter().for_each(|(_, results)| sum.add(&results.totals));
    let per_hour = sum.per_hour(sum.false_retargets);
    assert!(per_hour <= 0.4, "{per_hour} false new targets per hour and device");
}

#[test]
fn the_same_seeds_give_the_same_page() {
    let measured = || {
        let simulate = |algorithm| DEVICES.iter().take(3).map(|device| simulate(algorithm, device, 7, 1)).collect();
        Algorithm::ALL.into_iter().map(simulate).collect()
    };
    let text = page(&measured(), 1);
    assert_eq!(text, page(&measured(), 1));
    assert!(text.contains("microcontroller, 50 kH/s"));
}
