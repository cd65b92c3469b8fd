//! Sessions with a hub and a pool behind them.

use serde_json::json;

use super::*;
use crate::testing::{HARD_NBITS, TestPool, Wanted, World, session_config};

const UPSTREAM: Target = Target::from_zero_bits(3);

fn world() -> World {
    World::new(Sharing::Shared, vec![TestPool::new(7, 14)])
}

fn meets() -> Wanted {
    Wanted { meets: Some(UPSTREAM), ..Wanted::default() }
}

fn misses() -> Wanted {
    Wanted { misses: Some(UPSTREAM), ..Wanted::default() }
}

#[test]
fn a_device_mines_and_is_answered_from_the_upstream_s_verdict_or_from_here() {
    let mut world = world();
    let id = world.join("alice.rig", false);
    let device = world.device(id);
    assert_eq!((device.extranonce1.len(), device.extranonce2_size, device.jobs, device.clean), (4, 8, 1, 1));
    assert_eq!(device.version_mask, 0x1fff_e000);
    world.mine(id, &meets());
    // Not hard enough for the upstream, which never hears of it. Every hash is good for this device.
    world.mine(id, &misses());
    let pool = &world.pools[0];
    assert_eq!((pool.accepted, pool.workers.clone()), (1, vec![Some("rig".to_owned())]));
    assert_eq!((pool.identities.clone(), &pool.rejected[..]), (vec!["account".to_owned()], &[][..]));
    let totals = world.totals();
    assert_eq!((totals.confirmed.shares, totals.local.shares, totals.provisional.shares), (1, 1, 0));
    assert_eq!(world.device(id).accepted, 2);
}

#[test]
fn two_devices_never_search_the_same_space() {
    let mut world = world();
    let (one, other) = (world.join("alice.rig", false), world.join("alice.rig", false));
    assert_ne!(world.devices[&one].extranonce1, world.devices[&other].extranonce1);
    for id in [one, other] {
        world.mine(id, &meets());
    }
    assert_eq!((world.pools[0].accepted, world.totals().confirmed.shares), (2, 2));
}

#[test]
fn version_bits_are_rolled_within_what_the_job_allows() {
    let mut world = world();
    let id = world.join("alice.rig", false);
    world.mine(id, &Wanted { version_bits: Some(0x0000_4000), ..meets() });
    assert_eq!(world.pools[0].accepted, 1);
    let share = world.find(id, &Wanted { version_bits: Some(0x0000_4001), ..meets() });
    world.request(id, "mining.submit", &share);
    assert_eq!(world.device(id).refused, [json!([20, "Invalid version bits", null])]);
    // A job that allows none.
    world.pools[0].version_rolling = false;
    let now = world.now;
    world.pools[0].new_job(now);
    world.run();
    assert_eq!(world.device(id).version_mask, 0);
    world.mine(id, &Wanted { version_bits: Some(0x0000_4000), ..meets() });
    assert_eq!(world.device(id).refused.pop(), Some(json!([20, "Version rolling not allowed", null])));
    world.mine(id, &meets());
    world.pools[0].version_rolling = true;
    world.pools[0].new_job(now);
    world.run();
    assert_eq!((world.device(id).version_mask, world.pools[0].accepted), (0x1fff_e000, 2));
}

#[test]
fn each_bad_share_has_its_reason() {
    let mut world = world();
    let id = world.join("alice.rig", false);
    let good = world.mine(id, &meets());
    let mut changed = |index: usize, value: serde_json::Value| {
        let mut share = good.clone();
        share[index] = value;
        world.request(id, "mining.submit", &share);
        world.device(id).refused.pop().unwrap()[1].as_str().unwrap().to_owned()
    };
    assert_eq!(changed(4, good[4].clone()), "Duplicate share");
    assert_eq!(changed(0, json!("bob")), "Unauthorized worker");
    assert_eq!(changed(1, json!("ffff")), "Job not found");
    assert_eq!(changed(1, json!("no number")), "Job not found");
    assert_eq!(changed(2, json!("00")), "Invalid extranonce2 size");
    assert_eq!(changed(3, json!("00000001")), "Time out of range");
    let old = world.find(id, &meets());
    let now = world.now;
    world.pools[0].new_tip(now, 2);
    world.run();
    world.request(id, "mining.submit", &old);
    assert_eq!(world.device(id).refused.pop(), Some(json!([21, "Stale share", null])));
    assert_eq!((world.device(id).clean, world.device(id).jobs), (2, 2));
    let totals = world.totals();
    assert_eq!(
        (totals.rejected.values().sum::<u64>(), totals.rejected["stale-share"]),
        (6, 1),
        "{:?}",
        totals.rejected
    );
    assert_eq!((world.pools[0].accepted, world.pools[0].rejected.len()), (1, 0), "none of them went upstream");
}

#[test]
fn a_share_under_the_device_s_difficulty_is_refused() {
    let mut world = world();
    let id = world.connect();
    world.request(id, "mining.subscribe", &json!([]));
    // 2^-29: three zero bits, the upstream's own.
    world.request(id, "mining.authorize", &json!(["alice.rig", "x;d=0.00000000186264514923095703125"]));
    let target = Target::from_difficulty_log2(-30);
    assert_eq!(world.device(id).difficulty, 2f64.powi(-30), "not harder than the upstream wants");
    world.mine(id, &Wanted { misses: Some(target), ..Wanted::default() });
    assert_eq!(world.device(id).refused, [json!([23, "Low difficulty share", null])]);
    world.mine(id, &Wanted { meets: Some(target), misses: Some(UPSTREAM), ..Wanted::default() });
    assert_eq!((world.totals().local.shares, world.pools[0].accepted), (1, 0));
    // Its work is that of its difficulty.
    assert_eq!(world.totals().local.work, target.work());
}

#[test]
fn a_block_goes_upstream_although_the_share_is_bad() {
    let mut pool = TestPool::new(7, 14);
    (pool.nbits, pool.target) = (0x207f_ffff, Target::from_zero_bits(1));
    let mut world = World::new(Sharing::Shared, vec![pool]);
    let id = world.join("alice.rig", false);
    let block = Target::from_compact(0x207f_ffff).unwrap();
    let wanted = || Wanted { meets: Some(block), ..Wanted::default() };
    let old = world.find(id, &wanted());
    let now = world.now;
    world.pools[0].new_tip(now, 2);
    world.run();
    world.request(id, "mining.submit", &old);
    assert_eq!((world.pools[0].blocks, &world.pools[0].rejected[..]), (1, &["stale-share".to_owned()][..]));
    assert_eq!(world.device(id).refused, [json!([21, "Stale share", null])], "the upstream's word");
    world.request(id, "mining.submit", &old);
    assert_eq!(world.pools[0].blocks, 1, "once");
}

#[test]
fn without_a_verdict_a_share_is_answered_provisionally_and_counted_so() {
    let mut world = world();
    let id = world.join("alice.rig", false);
    world.pools[0].mute = true;
    world.mine(id, &meets());
    world.advance(Duration::from_millis(4_900));
    assert_eq!((world.device(id).accepted, world.totals().accepted.shares), (0, 0));
    world.advance(Duration::from_millis(200));
    assert_eq!((world.device(id).accepted, world.totals().provisional.shares), (1, 1));
    // A second one, of which the upstream tells in time, with the first.
    world.mine(id, &meets());
    world.pools[0].acknowledge();
    world.run();
    let totals = world.totals();
    assert_eq!((totals.confirmed.shares, totals.provisional.shares), (2, 0));
    assert_eq!((world.device(id).accepted, world.device(id).refused.len()), (2, 0), "each is answered once");
}

#[test]
fn a_provisional_share_that_is_refused_later_stays_provisional_and_shows() {
    let mut world = world();
    let id = world.join("alice.rig", false);
    world.pools[0].mute = true;
    world.mine(id, &meets());
    world.advance(Duration::from_secs(6));
    let channel_id = *world.pools[0].channels.keys().next().unwrap();
    let error_code = binary_sv2::Str0_255::from_truncated("stale-share");
    world.pools[0].send(&mining_sv2::SubmitSharesError { channel_id, sequence_number: 0, error_code });
    world.run();
    let totals = world.totals();
    assert_eq!((totals.provisional.shares, totals.refused_late.shares, totals.confirmed.shares), (1, 1, 0));
}

#[test]
fn suggestions_and_minimum_set_the_difficulty_within_what_the_upstream_wants() {
    let mut pool = TestPool::new(7, 14);
    pool.target = Target::from_zero_bits(60);
    let mut world = World::new(Sharing::Shared, vec![pool]);
    let id = world.connect();
    world.request(id, "mining.suggest_difficulty", &json!([1000]));
    world.request(id, "mining.subscribe", &json!([]));
    world.request(id, "mining.authorize", &json!(["alice.rig", "x"]));
    assert_eq!(world.device(id).difficulty, 512.0);
    world.request(id, "mining.suggest_difficulty", &json!([16]));
    assert_eq!(world.device(id).difficulty, 16.0);
    world.request(id, "mining.configure", &json!([["minimum-difficulty"], {"minimum-difficulty.value": 100}]));
    assert_eq!(world.device(id).difficulty, 128.0);
    world.request(
        id,
        "mining.suggest_target",
        &json!(["00000000000fffff000000000000000000000000000000000000000000000000"]),
    );
    assert_eq!(world.device(id).difficulty, 2_048.0);
    let told = world.device(id).lines.len();
    world.request(id, "mining.suggest_difficulty", &json!([1e30]));
    // 2^28 is the first power of two that is not harder than 60 zero bits.
    assert_eq!((world.device(id).difficulty, world.device(id).lines.len()), (2f64.powi(27), told + 2));
    world.request(id, "mining.suggest_difficulty", &json!([1e30]));
    assert_eq!(world.device(id).lines.len(), told + 3, "repeated, only the answer");
}

#[test]
fn vardiff_follows_the_device_and_the_upstream_s_target_bounds_it() {
    let mut config = session_config(Sharing::Shared);
    config.vardiff = true;
    let mut world = World::with_routes(config, vec![TestPool::new(7, 14)], vec![("main".into(), 1.0, vec![0])]);
    let id = world.join("alice.rig", false);
    let first = world.device(id).difficulty;
    for _ in 0..60 {
        world.mine(id, &Wanted::default());
        world.advance(Duration::from_millis(250));
    }
    assert_eq!(
        world.device(id).difficulty,
        2f64.powi(-30),
        "far too fast, but the upstream takes no harder ones: {first}"
    );
    // Harder jobs upstream set it free.
    world.pools[0].retarget(Target::from_zero_bits(9));
    let now = world.now;
    world.pools[0].new_job(now);
    world.run();
    let target = |difficulty: f64| Target::from_difficulty_log2(difficulty.log2() as i32);
    for _ in 0..60 {
        let difficulty = world.device(id).difficulty;
        world.mine(id, &Wanted { meets: Some(target(difficulty)), ..Wanted::default() });
        world.advance(Duration::from_millis(250));
    }
    let fast = world.device(id).difficulty;
    assert!(fast > 2f64.powi(-29), "{fast}");
    world.advance(Duration::from_secs(600));
    assert!(world.device(id).difficulty < fast / 8.0, "it fell silent");
    // The upstream's target becomes easy again: at once.
    world.request(id, "mining.suggest_difficulty", &json!([1]));
    world.pools[0].retarget(Target::from_zero_bits(2));
    world.run();
    assert_eq!(world.device(id).difficulty, 2f64.powi(-31));
}

#[test]
fn a_late_share_of_another_difficulty_counts_for_what_was_done_under_either() {
    let mut pool = TestPool::new(7, 14);
    pool.target = Target::from_zero_bits(60);
    let mut world = World::new(Sharing::Shared, vec![pool]);
    let id = world.join("alice.rig", false);
    let easy = 2f64.powi(-30);
    world.request(id, "mining.suggest_difficulty", &json!([easy]));
    world.request(id, "mining.suggest_difficulty", &json!([easy * 8.0]));
    let (easy, hard) = (Target::from_difficulty_log2(-30), Target::from_difficulty_log2(-27));
    world.mine(id, &Wanted { meets: Some(easy), misses: Some(hard), ..Wanted::default() });
    assert_eq!((world.totals().local.shares, world.totals().local.work), (1, 0));
    world.mine(id, &Wanted { meets: Some(hard), ..Wanted::default() });
    assert_eq!((world.totals().local.shares, world.totals().local.work), (2, hard.work()));
}

#[test]
fn a_device_that_comes_before_any_upstream_is_served_when_one_is_up_or_sent_away() {
    let mut pool = TestPool::new(7, 14);
    pool.up = false;
    let mut world = World::new(Sharing::Shared, vec![pool]);
    let id = world.join("alice.rig", false);
    assert!(world.device(id).extranonce1.is_empty(), "no answer yet");
    world.pools[0].up = true;
    world.advance(Duration::from_secs(31));
    assert_eq!((world.device(id).extranonce1.len(), world.device(id).jobs), (4, 1));
    world.kill(0);
    world.advance(Duration::from_secs(59));
    assert_eq!(world.device(id).sink.gone, None);
    world.advance(Duration::from_secs(2));
    assert_eq!(world.device(id).sink.gone.as_deref(), Some("no upstream is up"));
    let silent = world.connect();
    world.advance(Duration::from_secs(61));
    let gone = world.device(silent).sink.gone.clone().unwrap();
    assert!(gone.starts_with("no subscription"), "{gone}");
}

#[test]
fn what_is_no_stratum_v1_is_sent_away() {
    let mut world = world();
    let id = world.connect();
    let device = world.device(id);
    device.session.handle_line(crate::testing::NOW, b"\x16\x03\x01", &mut device.sink);
    assert!(device.sink.gone.is_some());
    let id = world.connect();
    let device = world.device(id);
    let header = Header::new(0, false, 0, 0).unwrap();
    device.session.handle_frame(crate::testing::NOW, header, &[], &mut device.sink);
    assert!(device.sink.gone.as_deref().unwrap().contains("Stratum V1"));
}

#[test]
fn a_flood_of_invalid_shares_ends_the_connection() {
    let mut config = session_config(Sharing::Shared);
    config.invalid_shares = Rate { per_second: 0.1, burst: 3.0 };
    let mut world = World::with_routes(config, vec![TestPool::new(7, 14)], vec![("main".into(), 1.0, vec![0])]);
    let id = world.join("alice.rig", false);
    let mut share = world.find(id, &meets());
    share[1] = json!("ffff");
    for _ in 0..3 {
        world.request(id, "mining.submit", &share);
        assert_eq!(world.device(id).sink.gone, None);
    }
    world.request(id, "mining.submit", &share);
    assert_eq!(world.device(id).sink.gone.as_deref(), Some("too many invalid shares"));
    assert_eq!(world.device(id).refused.len(), 4, "each is answered");
}

#[test]
fn shares_without_a_verdict_are_bounded() {
    let mut world = world();
    let id = world.join("alice.rig", false);
    world.pools[0].mute = true;
    let share = world.find(id, &meets());
    world.request(id, "mining.submit", &share);
    let device = world.device(id);
    // As if there were as many as there may be.
    let first = device.session.waiting.pop_first().unwrap();
    device.session.waiting.insert(first.0, first.1);
    for ticket in 1..MAX_WAITING as u32 {
        device.session.waiting.insert(1_000_000 + ticket, shares::tests::waiting(crate::testing::NOW));
    }
    let share = world.find(id, &meets());
    world.request(id, "mining.submit", &share);
    assert_eq!(world.device(id).refused, [json!([20, "The upstream does not answer", null])]);
    assert_eq!(world.pools[0].accepted, 1);
    // Those that were answered provisionally make room.
    world.advance(Duration::from_secs(6));
    let share = world.find(id, &meets());
    world.request(id, "mining.submit", &share);
    assert_eq!((world.pools[0].accepted, world.device(id).refused.len()), (2, 1));
    assert_eq!(HARD_NBITS, 0x1d00_ffff);
}
