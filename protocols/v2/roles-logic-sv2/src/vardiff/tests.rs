use proptest::prelude::*;

use super::*;

const PER_MINUTE: f32 = 12.0;

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn bits(bits: u32) -> Target {
    Target::from_zero_bits(bits)
}

/// With a target of 40 zero bits, at second 0.
fn vardiff(bounds: TargetBounds) -> Vardiff {
    Vardiff::new(at(0.0), PER_MINUTE, bounds, Target::MAX, 0.0).with_start(bits(40))
}

fn bounds(easiest: u32, hardest: u32) -> TargetBounds {
    TargetBounds { easiest: bits(easiest), hardest: bits(hardest) }
}

/// Shares at this interval, from a time on, until the target changes; how many it took, and the time.
fn shares_until_change(vardiff: &mut Vardiff, from: f64, interval: f64) -> (u32, Target, f64) {
    for i in 1..=10_000 {
        let now = from + interval * f64::from(i);
        if let Some(target) = vardiff.on_share(at(now), vardiff.target().work()) {
            return (i, target, now);
        }
    }
    panic!("no change after 10,000 shares");
}

/// Timers every five seconds without a share until the target changes.
fn silence_until_change(vardiff: &mut Vardiff, from: f64) -> (Target, f64) {
    for i in 1..=10_000 {
        let now = from + 5.0 * f64::from(i);
        if let Some(target) = vardiff.on_timer(at(now)) {
            return (target, now);
        }
    }
    panic!("no change after 10,000 timers");
}

#[test]
fn a_fast_device_gets_its_target_at_once() {
    // 5 s is the wanted interval: 2^10 times as fast takes a target of ten bits more.
    let mut vardiff = vardiff(TargetBounds::NONE);
    let (count, target, _) = shares_until_change(&mut vardiff, 0.0, 5.0 / 1024.0);
    assert_eq!((count, target), (13, bits(50)));
    assert_eq!(vardiff.target(), target);
}

#[test]
fn a_few_shares_change_nothing() {
    let mut vardiff = vardiff(TargetBounds::NONE);
    for i in 0..11 {
        assert_eq!(vardiff.on_share(at(f64::from(i) * 1e-3), 1 << 40), None);
    }
}

#[test]
fn late_shares_are_counted_by_their_work() {
    let mut vardiff = vardiff(TargetBounds::NONE);
    let (_, target, mut now) = shares_until_change(&mut vardiff, 0.0, 5.0 / 1024.0);
    // The device goes on with the old target for two seconds, then gets the job with the new one.
    for _ in 0..400 {
        now += 5.0 / 1024.0;
        assert_eq!(vardiff.on_share(at(now), 1 << 40), None);
    }
    for _ in 0..100 {
        now += 5.0;
        assert_eq!(vardiff.on_share(at(now), 1 << 50), None);
        assert_eq!(vardiff.on_timer(at(now)), None);
    }
    assert_eq!(vardiff.target(), target);
    let hashrate = vardiff.hashrate(at(now)).unwrap();
    assert!((hashrate / (2f64.powi(50) / 5.0) - 1.0).abs() < 0.1, "{hashrate}");
}

#[test]
fn shares_without_work_say_nothing() {
    let mut vardiff = vardiff(TargetBounds::NONE);
    for i in 0..1_000 {
        assert_eq!(vardiff.on_share(at(f64::from(i) * 1e-3), 0), None);
    }
    assert_eq!(vardiff.hashrate(at(1.0)), None);
}

#[test]
fn a_slow_device_is_eased() {
    let mut vardiff = vardiff(TargetBounds::NONE);
    // A sixteenth of the wanted rate: a share every 80 s.
    let mut now = 0.0;
    while vardiff.target() < bits(37) {
        now += 5.0;
        if now % 80.0 == 0.0 {
            vardiff.on_share(at(now), vardiff.target().work());
        }
        vardiff.on_timer(at(now));
        assert!(now < 400.0, "{}", vardiff.target());
    }
    assert!(vardiff.target() <= bits(35), "{}", vardiff.target());
}

#[test]
fn a_silent_device_is_eased_step_by_step_down_to_the_floor() {
    let mut vardiff = vardiff(bounds(33, 60));
    let (first, then) = silence_until_change(&mut vardiff, 0.0);
    assert_eq!((first, then), (bits(39), 60.0));
    let (second, then) = silence_until_change(&mut vardiff, then);
    assert_eq!((second, then), (bits(36), 120.0));
    let (third, then) = silence_until_change(&mut vardiff, then);
    assert_eq!((third, then), (bits(33), 180.0));
    for i in 1..1_000 {
        assert_eq!(vardiff.on_timer(at(then + 5.0 * f64::from(i))), None, "the floor is the floor");
    }
    // Heard again, as fast as at first: back where it was within a few shares.
    let (count, target, _) = shares_until_change(&mut vardiff, then + 5_000.0, 5.0 / 128.0);
    assert!(count <= 16 && target == bits(40), "{count} {target}");
}

#[test]
fn what_a_stalled_connection_held_back_is_no_flood() {
    let mut vardiff = vardiff(TargetBounds::NONE);
    let mut now = 0.0;
    for _ in 0..50 {
        now += 5.0;
        assert_eq!(vardiff.on_share(at(now), 1 << 40), None);
    }
    // 40 s nothing, then all eight at once, and so on.
    for _ in 0..20 {
        now += 40.0;
        assert_eq!(vardiff.on_timer(at(now)), None);
        for _ in 0..8 {
            assert_eq!(vardiff.on_share(at(now), 1 << 40), None);
        }
    }
}

#[test]
fn a_burst_looks_only_so_fast() {
    let mut vardiff = vardiff(TargetBounds::NONE);
    for i in 1..=50 {
        vardiff.on_share(at(f64::from(i) * 5.0), 1 << 40);
    }
    let target = (0..100).find_map(|_| vardiff.on_share(at(250.0), 1 << 40)).unwrap();
    assert!(target > bits(40 + 14), "{target}");
}

#[test]
fn never_harder_than_a_block_nor_than_the_bound() {
    let mut vardiff = vardiff(bounds(0, 58));
    vardiff.set_network_target(Target::from_compact(0x1900_ffff).unwrap()); // 64 zero bits
    assert_eq!(shares_until_change(&mut vardiff, 0.0, 1e-9).1, bits(58));
    let mut vardiff = self::vardiff(bounds(0, 60));
    // One that is no power of two: rounded to the easier side.
    vardiff.set_network_target(Target::from_le_bytes([0xff; 32]).harder().harder());
    for i in 0..100 {
        assert_eq!(vardiff.on_share(at(f64::from(i) * 1e-6), 1 << 40), None, "a start that is harder already stays");
    }
    let mut easy = self::vardiff(TargetBounds::NONE).with_start(Target::MAX);
    easy.set_network_target(Target::from_compact(0x207f_ffff).unwrap());
    assert_eq!(shares_until_change(&mut easy, 0.0, 1e-6).1, bits(1), "regtest");
}

#[test]
fn the_start_respects_everybody() {
    let start = |nominal, max| Vardiff::new(at(0.0), PER_MINUTE, bounds(32, 60), max, nominal).target();
    assert_eq!(start(1e12, Target::MAX), bits(42));
    assert_eq!(start(0.0, Target::MAX), bits(32));
    assert_eq!(start(1e12, bits(50)), bits(50), "the client's maximum");
    assert_eq!(start(1e30, Target::MAX), bits(60));
    assert_eq!(start(f32::NAN, Target::DIFFICULTY_1), bits(33), "rounded to the harder side");
    let odd = Vardiff::new(at(0.0), f32::NAN, TargetBounds::NONE, Target::MAX, 1e12);
    assert_eq!(odd.target(), bits(46), "one share a minute");
}

#[test]
fn an_update_scales_what_was_measured() {
    // The device says 1e12 and does 2^40 / 5 s, a fifth of it.
    let mut vardiff = Vardiff::new(at(0.0), PER_MINUTE, TargetBounds::NONE, Target::MAX, 1e12).with_start(bits(40));
    for i in 1..=50 {
        assert_eq!(vardiff.on_share(at(f64::from(i) * 5.0), 1 << 40), None);
    }
    assert_eq!(vardiff.update(at(250.0), 1e12, Target::MAX), None, "it says nothing new");
    assert_eq!(vardiff.update(at(250.0), 4e12, Target::MAX), Some(bits(42)));
    assert_eq!(vardiff.hashrate(at(250.0)), None, "the shares before are another device's");
    // Without shares, the word is all there is.
    assert_eq!(vardiff.update(at(250.0), 1e12, Target::MAX), None, "2^42 is right for 1e12");
    assert_eq!(vardiff.update(at(250.0), 1e12, bits(50)), Some(bits(50)));
    assert_eq!(vardiff.update(at(250.0), 1e12, Target::MAX), None, "allowed, and no reason to move");
}

#[test]
fn an_update_scales_nothing_that_was_not_measured() {
    let start = |nominal: f32| {
        let bounds = bounds(0, 60);
        Vardiff::new(at(0.0), PER_MINUTE, bounds, Target::MAX, nominal).with_start(bits(60))
    };
    // 1e12 hashes a second are a share in 5 s at 42 bits. A few shares look like a thousand times that.
    let mut few = start(2e12);
    (1..=3).for_each(|i| assert_eq!(few.on_share(at(f64::from(i) * 0.1), 1 << 50), None));
    assert_eq!(few.update(at(1.0), 1e12, Target::MAX), Some(bits(42)));
    // Many in no time look like any number.
    let mut at_once = start(2e12);
    (0..20).for_each(|_| assert_eq!(at_once.on_share(at(0.0), 1 << 60), None));
    assert_eq!(at_once.update(at(1.0), 1e12, Target::MAX), Some(bits(42)));
    // What said nothing of itself before has nothing to be scaled by.
    let mut unnamed = start(0.0);
    (1..=20).for_each(|i| assert_eq!(unnamed.on_share(at(f64::from(i)), 1 << 60), None));
    assert_eq!(unnamed.update(at(20.0), 1e12, Target::MAX), Some(bits(42)));
}

#[test]
fn the_wait_before_a_device_became_faster_does_not_count() {
    // The first share after 0.2 s, then one each 50 ms: a hundred times as fast. Of all the time it would be 78 times.
    let mut vardiff = vardiff(TargetBounds::NONE);
    assert_eq!(vardiff.on_share(at(0.2), 1 << 40), None);
    assert_eq!(shares_until_change(&mut vardiff, 0.2, 0.05).1, bits(47));
}

#[test]
fn a_rise_needs_the_dead_band_s_work_over_the_horizon() {
    // Ten intervals of 5 s, and in the last second of them shares, the fifteenth at their very end: 1.5 times what is wanted.
    let mut vardiff = vardiff(TargetBounds::NONE);
    let mut shares = (1..=15).map(|i| vardiff.on_share(at(48.5 + 0.1 * f64::from(i)), 1 << 40));
    assert_eq!(shares.position(|target| target.is_some()), Some(14));
}

#[test]
fn counts_differ_by_more_than_the_deviations() {
    // Roots of 4 and of 1: two standard deviations of a half.
    assert!(!differ(3.625, 0.625, 2.0) && !differ(0.625, 3.625, 2.0));
    assert!(differ(3.625, 0.625, 1.999) && differ(0.625, 3.625, 1.999));
    assert!(!differ(1.0, 1.0, 3.0), "too few to tell at all");
}

#[test]
fn small() {
    assert!(size_of::<Vardiff>() <= 1_280, "{}", size_of::<Vardiff>());
}

#[test]
fn logarithms() {
    for value in [1e-9, 0.14, 1.0, 1.9999, 2.0, 3.9, 1e6, 1e30f64] {
        assert!((natural_log(value) - value.ln()).abs() < 1e-6 * value.ln().abs().max(1.0), "{value}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn targets_are_powers_of_two_within_bounds(
        inputs in prop::collection::vec((0u32..4, 0f64..100.0, 0u32..128), 1..200),
        a in 0u32..128,
        b in 0u32..128,
        max in any::<[u8; 32]>(),
        rate in any::<f32>(),
        nominal in any::<f32>(),
    ) {
        let bounds = bounds(a.min(b), a.max(b));
        let max_target = Target::from_le_bytes(max);
        let mut vardiff = Vardiff::new(at(0.0), rate, bounds, max_target, nominal);
        let mut now = 0.0;
        for (kind, seconds, work) in inputs {
            let before = vardiff.target();
            let changed = match kind {
                0 => vardiff.on_timer(at(now)).inspect(|target| assert!(*target > before, "timers ease")),
                3 => vardiff.update(at(now), work as f32 * 1e10, max_target),
                _ => {
                    now += if kind == 1 { seconds } else { seconds / 1e5 };
                    vardiff.on_share(at(now), 1 << work).inspect(|target| assert!(*target < before, "shares harden"))
                }
            };
            let target = vardiff.target();
            prop_assert_eq!(target, changed.unwrap_or(before));
            prop_assert_eq!(target, target.round_to_harder());
            prop_assert!(target <= max_target.max(bits(127)) && target <= bounds.easiest);
            prop_assert!(target >= bounds.hardest.min(max_target.round_to_harder()).min(bits(127)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_rate_ends_within_a_step(log2_ratio in -12f64..12.0) {
        // Evenly spaced shares: no chance in it.
        let mut vardiff = vardiff(TargetBounds::NONE);
        let hashrate = 2f64.powf(40.0 + log2_ratio) / 5.0;
        let (mut now, mut timer, mut changes) = (0.0, 0.0, 0);
        while now < 3_600.0 {
            let found = now + vardiff.target().work() as f64 / hashrate;
            let mut eased = false;
            while timer + 5.0 < found && !eased {
                timer += 5.0;
                eased = vardiff.on_timer(at(timer)).is_some();
            }
            // The device starts anew with each job.
            now = if eased { timer } else { found };
            let hardened = !eased && vardiff.on_share(at(now), vardiff.target().work()).is_some();
            changes += u32::from(eased || hardened);
        }
        let right = 40.0 + log2_ratio;
        let error = f64::from(vardiff.target().leading_zeros()) - right;
        prop_assert!(error.abs() <= 1.0, "{error}");
        prop_assert!(changes <= 6, "{changes}");
    }
}

/// Devices that speed up, slow down, stall, fall silent and come back, and every decision about them in one number.
///
/// If it changes, so does what `docs/vardiff.md` says: measure anew with `cargo xtask vardiff`, then put the new number here.
#[test]
fn the_decisions_are_those_that_were_measured() {
    let mut sum = Sum(0xcbf2_9ce4_8422_2325);
    let mut changes = 0;
    for device in 0..96u32 {
        let mut random = u64::from(device) << 32 | 0x5eed;
        let start = 30 + device % 24;
        let nominal = if device % 3 == 0 { 0.0 } else { 2f32.powi(start as i32 + device as i32 % 5 - 2) / 5.0 };
        let mut vardiff =
            Vardiff::new(at(0.0), PER_MINUTE, bounds(24, 62), Target::MAX, nominal).with_start(bits(start));
        if device % 7 == 0 {
            vardiff.set_network_target(bits(start + 6));
        }
        let (mut now, mut timer) = (0.0, 0.0);
        for phase in 0..6u32 {
            // Powers of two around the right one for the start; a spread of the intervals between shares.
            let speed = (u64::from(device) * 7 + u64::from(phase) * 13) % 23;
            let hashrate = 2f64.powi(start as i32 + speed as i32 - 11) / 5.0;
            let end = now + 600.0;
            for share in 0..400u32 {
                let found = now + vardiff.target().work() as f64 / hashrate * (0.5 + uniform(&mut random));
                // Some connections hold shares back and send eight at once.
                let sent = if device % 5 == 1 && share % 8 != 7 { now } else { found.min(end) };
                while timer + 5.0 < sent {
                    timer += 5.0;
                    changes += sum.take(timer, vardiff.on_timer(at(timer)));
                }
                now = sent;
                if found > end {
                    break;
                }
                changes += sum.take(now, vardiff.on_share(at(now), vardiff.target().work()));
            }
            if phase == 3 {
                changes += sum.take(now, vardiff.update(at(now), nominal * 4.0, bits(26)));
            }
            sum.add((vardiff.hashrate(at(now)).unwrap_or(0.0) * 16.0) as u64);
        }
    }
    assert_eq!((changes, sum.0), (1_538, 6_423_293_085_260_404_298));
}

/// FNV-1a over numbers.
struct Sum(u64);

impl Sum {
    fn add(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn take(&mut self, now: f64, change: Option<Target>) -> u32 {
        let Some(target) = change else { return 0 };
        self.add((now * 1e3) as u64);
        self.add(target.leading_zeros().into());
        1
    }
}

/// Between 0 and 1; without a logarithm, which is not the same everywhere.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}
