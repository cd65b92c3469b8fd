//! Upstreams that come, go, change their mind and misbehave.

use roles_logic_sv2::Target;
use serde_json::json;

use super::*;
use crate::{
    room::Sharing::{Own, Shared},
    testing::{TestPool, Wanted, World, session_config},
};

const SECOND: Duration = Duration::from_secs(1);

fn meets() -> Wanted {
    Wanted { meets: Some(Target::from_zero_bits(3)), ..Wanted::default() }
}

fn two(sharing: Sharing) -> World {
    World::new(sharing, vec![TestPool::new(1, 14), TestPool::new(2, 14)])
}

fn active(world: &World) -> Option<String> {
    world.hub.status().0[0].active.clone()
}

#[test]
fn the_next_upstream_takes_over_and_gives_back_and_no_device_is_disconnected() {
    for sharing in [Shared, Own] {
        let mut world = two(sharing);
        let id = world.join("alice.rig", false);
        world.mine(id, &meets());
        assert_eq!((active(&world), world.dials.clone()), (Some("pool-0".into()), vec![0]), "the second is left alone");
        let before = world.device(id).extranonce1.clone();
        world.kill(0);
        // At once: no time passes.
        assert_eq!(active(&world), Some("pool-1".into()), "{sharing:?}");
        assert_eq!((world.device(id).clean, world.device(id).jobs), (2, 2));
        world.mine(id, &meets());
        assert_eq!((world.pools[0].accepted, world.pools[1].accepted), (1, 1));
        // It comes back, is watched for a while, and is preferred again.
        world.pools[0].up = true;
        world.advance(29 * SECOND);
        assert_eq!(active(&world), Some("pool-1".into()));
        let late = world.find(id, &meets());
        world.advance(40 * SECOND);
        assert_eq!(active(&world), Some("pool-0".into()));
        world.mine(id, &meets());
        assert_eq!(world.pools[0].accepted, 2);
        assert_eq!((world.device(id).sink.gone.clone(), world.device(id).extranonce1.clone()), (None, before));
        assert_eq!(world.totals().confirmed.shares, 3);
        // The other connection is not kept for ever.
        world.advance(30 * SECOND);
        assert!(!world.hub.status().1[1].is_connected);
        world.request(id, "mining.submit", &late);
        assert_eq!(world.device(id).refused.len(), 1, "its pool is gone");
    }
}

#[test]
fn shares_on_their_way_when_the_route_changes_get_their_verdict() {
    for sharing in [Shared, Own] {
        let mut world = two(sharing);
        world.kill(0);
        let id = world.join("alice.rig", false);
        assert_eq!(active(&world), Some("pool-1".into()));
        world.pools[1].mute = true;
        world.pools[0].up = true;
        world.advance(20 * SECOND);
        let late = world.find(id, &meets());
        while active(&world) == Some("pool-1".into()) {
            world.advance(SECOND / 4);
        }
        // Found before the miner heard of it, and sent after.
        world.request(id, "mining.submit", &late);
        assert_eq!(world.pools[1].accepted, 1, "{sharing:?}");
        world.pools[1].acknowledge();
        world.run();
        assert_eq!((world.device(id).accepted, world.totals().confirmed.shares), (1, 1));
    }
}

#[test]
fn shares_without_a_verdict_of_an_upstream_that_dies_are_refused_and_not_counted() {
    let mut world = two(Shared);
    let id = world.join("alice.rig", false);
    world.pools[0].mute = true;
    world.mine(id, &meets());
    world.kill(0);
    assert_eq!(world.device(id).refused, [json!([20, "upstream-lost", null])]);
    let totals = world.totals();
    assert_eq!((totals.accepted.shares, totals.rejected["upstream-lost"]), (0, 1));
}

#[test]
fn an_upstream_that_leaves_shares_unanswered_is_left() {
    let mut world = two(Shared);
    let id = world.join("alice.rig", false);
    world.pools[0].mute = true;
    world.mine(id, &meets());
    world.advance(59 * SECOND);
    assert_eq!(active(&world), Some("pool-0".into()));
    world.advance(2 * SECOND);
    assert_eq!((active(&world), world.totals().provisional.shares), (Some("pool-1".into()), 1));
}

#[test]
fn one_that_is_silent_or_refuses_is_left_too() {
    let mut world = two(Shared);
    world.advance(299 * SECOND);
    assert_eq!(active(&world), Some("pool-0".into()));
    world.advance(2 * SECOND);
    assert_eq!(active(&world), Some("pool-1".into()));
    let mut pools = vec![TestPool::new(1, 14), TestPool::new(2, 14)];
    pools[0].refuse = Some("unknown-user");
    let world = World::new(Shared, pools);
    assert_eq!(active(&world), Some("pool-1".into()));
    let problem = world.hub.status().1[0].problem.clone().unwrap();
    assert!(problem.contains("unknown-user"), "{problem}");
}

#[test]
fn a_prefix_of_any_length_and_any_room_is_served_and_too_little_is_refused() {
    for (size, extranonce2) in [(16, 8), (12, 8), (11, 8), (10, 7), (7, 4)] {
        let mut world = World::new(Shared, vec![TestPool::new(1, size)]);
        let id = world.join("alice.rig", false);
        world.mine(id, &meets());
        let device = world.device(id);
        assert_eq!((device.extranonce1.len(), device.extranonce2_size, device.accepted), (4, extranonce2, 1), "{size}");
        assert_eq!(world.pools[0].accepted, 1);
    }
    let world = World::new(Shared, vec![TestPool::new(1, 6)]);
    let problem = world.hub.status().1[0].problem.clone().unwrap();
    assert!(problem.contains("min-extranonce-size-too-large"), "{problem}");
    // With channels of their own, devices know their extranonce before the channel.
    let mut world = World::new(Own, vec![TestPool::new(1, 8)]);
    let id = world.join("alice.rig", true);
    world.mine(id, &meets());
    assert_eq!((world.device(id).extranonce2_size, world.pools[0].accepted), (4, 1));
    let other = world.join("alice.rig", false);
    world.mine(other, &meets());
    assert_eq!((world.device(other).extranonce2_size, world.pools[0].accepted), (4, 2), "what was learnt is kept");
    let mut world = World::new(Own, vec![TestPool::new(1, 8)]);
    let id = world.join("alice.rig", false);
    assert!(world.device(id).sink.gone.as_deref().unwrap().contains("set_extranonce"), "it would mine for nothing");
}

#[test]
fn a_changed_prefix_reaches_the_devices_as_far_as_they_follow() {
    // Where extranonce1 is all ours, nobody notices.
    let mut world = World::new(Shared, vec![TestPool::new(1, 14)]);
    let id = world.join("alice.rig", false);
    let old = world.find(id, &meets());
    world.pools[0].change_prefixes();
    world.run();
    assert_eq!(world.device(id).jobs, 1, "it holds for jobs to come");
    let now = world.now;
    world.pools[0].new_job(now);
    world.run();
    world.mine(id, &meets());
    world.request(id, "mining.submit", &old);
    assert_eq!((world.pools[0].accepted, world.device(id).sink.gone.clone()), (2, None));
    // Where a part of it is the upstream's, devices must follow.
    let mut world = World::new(Shared, vec![TestPool::new(1, 11)]);
    let (follows, stays) = (world.join("a.1", true), world.join("a.2", false));
    let before = world.device(follows).extranonce1.clone();
    // The last byte of the prefix is zero for all slots, so this one has to be made.
    let channel_id = *world.pools[0].channels.keys().next().unwrap();
    let extranonce_prefix = binary_sv2::B0_32::from_truncated(&[1, 2, 3, 4, 5, 6]);
    world.pools[0].send(&mining_sv2::SetExtranoncePrefix { channel_id, extranonce_prefix });
    world.pools[0].new_job(now);
    world.run();
    assert_ne!(world.device(follows).extranonce1, before);
    assert_eq!(world.device(follows).extranonce1[0], 6);
    assert_eq!((world.device(follows).sink.gone.clone(), world.device(follows).jobs), (None, 2));
    assert!(world.device(stays).sink.gone.is_some());
}

#[test]
fn each_miner_has_its_own_channel_where_that_is_wanted() {
    let mut world = World::new(Own, vec![TestPool::new(1, 14)]);
    let ids: Vec<_> = ["alice.1", "alice.2", "bob"].into_iter().map(|user| world.join(user, false)).collect();
    assert_eq!(world.pools[0].identities, ["account.1", "account.2", "account.bob"]);
    let users = ["alice.1", "alice.2", "bob"];
    for (id, user) in ids.iter().zip(users) {
        world.mine(*id, &Wanted { user, ..meets() });
    }
    assert_eq!((world.pools[0].accepted, world.pools[0].channels.len()), (3, 3));
    // A block for all of them at once, through their group.
    let now = world.now;
    world.pools[0].new_tip(now, 9);
    world.run();
    assert_eq!(ids.iter().map(|id| world.device(*id).clean).sum::<usize>(), 6);
    world.leave(ids[1]);
    world.advance(SECOND);
    assert_eq!(world.pools[0].channels.len(), 2, "its channel is closed");
    // The upstream closes one: it is opened anew.
    let closed = *world.pools[0].channels.keys().next().unwrap();
    world.pools[0].channels.remove(&closed);
    let reason_code = binary_sv2::Str0_255::from_truncated("maintenance");
    world.pools[0].send(&mining_sv2::CloseChannel { channel_id: closed, reason_code });
    world.run();
    assert_eq!((world.pools[0].channels.len(), world.device(ids[0]).sink.gone.clone()), (2, None));
    world.mine(ids[0], &Wanted { user: "alice.1", ..meets() });
    assert_eq!(world.pools[0].accepted, 4);
    world.pools[0].refuse = Some("unknown-user");
    let refused = world.join("carol", false);
    assert!(world.device(refused).sink.gone.as_deref().unwrap().contains("unknown-user"));
}

#[test]
fn a_channel_that_all_share_is_opened_anew_when_the_upstream_closes_it() {
    let mut world = World::new(Shared, vec![TestPool::new(1, 14)]);
    let id = world.join("alice.rig", false);
    let closed = *world.pools[0].channels.keys().next().unwrap();
    let reason_code = binary_sv2::Str0_255::from_truncated("maintenance");
    world.pools[0].send(&mining_sv2::CloseChannel { channel_id: closed, reason_code });
    world.run();
    assert_eq!(active(&world), None);
    world.advance(2 * SECOND);
    world.mine(id, &meets());
    assert_eq!((active(&world), world.pools[0].accepted), (Some("pool-0".into()), 1));
}

#[test]
fn names_go_upstream_where_they_are_wanted_and_nowhere_else() {
    let mut pool = TestPool::new(1, 14);
    pool.extensions = &[];
    let mut world = World::new(Shared, vec![pool]);
    let id = world.join("alice.rig", false);
    world.mine(id, &meets());
    assert_eq!(world.pools[0].workers, [None]);
    let mut world = World::new(Shared, vec![TestPool::new(1, 14)]);
    let user = "alice.a-name-that-is-much-longer-than-the-field-may-be";
    let id = world.join(user, false);
    world.request(id, "mining.authorize", &json!(["second", "x"]));
    world.mine(id, &Wanted { user, ..meets() });
    world.mine(id, &Wanted { user: "second", ..meets() });
    let names: Vec<_> = world.pools[0].workers.iter().map(|name| name.clone().unwrap()).collect();
    assert_eq!((names[0].len(), &names[0][..24], &names[1][..]), (32, "a-name-that-is-much-lon~", "second"));
}

#[test]
fn the_upstream_is_told_the_real_hashrate_now_and_then() {
    let mut world = World::new(Shared, vec![TestPool::new(1, 14)]);
    let id = world.join("alice.rig", false);
    assert_eq!(world.pools[0].hashrates, [1e12], "at first a guess");
    for _ in 0..30 {
        world.mine(id, &Wanted::default());
        world.advance(SECOND);
    }
    world.advance(29 * SECOND);
    assert_eq!(world.pools[0].hashrates.len(), 1, "not yet");
    world.advance(12 * SECOND);
    let told = world.pools[0].hashrates.clone();
    assert!(told.len() == 2 && told[1] > 0.0 && told[1] < 100.0, "{told:?}");
    world.advance(48 * SECOND);
    assert_eq!(world.pools[0].hashrates.len(), 2, "not again within a minute");
}

#[test]
fn hashrate_is_split_by_weight_and_a_route_without_an_upstream_lends_its_miners() {
    let pools = vec![TestPool::new(1, 14), TestPool::new(2, 14)];
    let routes = vec![("main".into(), 3.0, vec![0]), ("fee".into(), 1.0, vec![1])];
    let mut world = World::with_routes(session_config(Shared), pools, routes);
    let ids: Vec<_> = (0..8).map(|_| world.join("alice.rig", false)).collect();
    for id in &ids {
        world.mine(*id, &meets());
    }
    assert_eq!((world.pools[0].accepted, world.pools[1].accepted), (6, 2));
    world.kill(0);
    for id in &ids {
        world.mine(*id, &meets());
    }
    assert_eq!(world.pools[1].accepted, 10, "all of them");
    world.pools[0].up = true;
    world.advance(31 * SECOND);
    for id in &ids {
        world.mine(*id, &meets());
    }
    assert_eq!((world.pools[0].accepted, world.pools[1].accepted), (12, 12));
    // Miners of unequal strength are moved until it fits.
    world.leave(ids[0]);
    let rates = |world: &World| {
        let mut rates = [0.0; 2];
        let now = world.now;
        world.commons.registry.for_each(|_, miner| rates[miner.route.unwrap()] += miner.hashrate(now));
        rates[1] / (rates[0] + rates[1])
    };
    // Four of the weak go to the second route, which has too little without them.
    for round in 0..240 {
        for id in &ids[1..] {
            if round % 4 == 0 {
                world.mine(*id, &meets());
            }
        }
        world.advance(SECOND / 2);
    }
    let share = rates(&world);
    assert!((0.1..=0.4).contains(&share), "{share}");
    assert!(ids[1..].iter().all(|id| world.devices[id].sink.gone.is_none()));
}

#[test]
fn redirections_are_followed_to_the_same_host_alone() {
    let mut world = World::new(Shared, vec![TestPool::new(1, 14)]);
    let reconnect = |world: &mut World, host: &str, port| {
        let new_host = binary_sv2::Str0_255::from_truncated(host);
        world.pools[0].send(&common_messages_sv2::Reconnect { new_host, new_port: port });
        world.run();
        world.hub.status().1[0].problem.clone().unwrap()
    };
    let problem = reconnect(&mut world, "", 9);
    assert!(problem.contains("stratum2+tcp://pool.example:9"), "{problem}");
    world.advance(2 * SECOND);
    assert_eq!(active(&world), Some("pool-0".into()));
    let problem = reconnect(&mut world, "evil.example", 9);
    assert!(problem.contains("not done"), "{problem}");
}

#[test]
fn what_no_upstream_may_send_costs_it_its_connection() {
    let mut world = two(Shared);
    let id = world.join("alice.rig", false);
    let success = mining_sv2::OpenStandardMiningChannelSuccess {
        request_id: 1,
        channel_id: 99,
        target: binary_sv2::U256::from_le_bytes([0xff; 32]),
        extranonce_prefix: binary_sv2::B0_32::from_truncated(&[1]),
        group_channel_id: 1,
    };
    world.pools[0].send(&success);
    world.run();
    assert_eq!(active(&world), Some("pool-1".into()));
    assert_eq!(world.device(id).jobs, 2);
    // What is late of the connection before does no harm.
    world.hub.handle_disconnected(world.now, 1, 77, "late");
    world.hub.handle_frame(world.now, 0, 1, Header::new(0, false, 1, 0).unwrap(), &[]);
    world.run();
    assert_eq!(active(&world), Some("pool-1".into()));
}
