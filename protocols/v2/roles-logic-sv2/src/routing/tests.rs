use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};
use core::time::Duration;

use binary_sv2::{Seq0_64K, to_bytes};
use framing_sv2::Header;
use mining_sv2::SetGroupChannel;
use proptest::prelude::*;

use super::*;

const GROUP: ChannelId = ChannelId(100);
const OTHER_GROUP: ChannelId = ChannelId(101);

fn channel(id: u32) -> ChannelId {
    ChannelId(id)
}

/// Upstream channels 1 and 2 in a group, 3 in another; two miners behind 1, one each behind 2 and 3.
fn map() -> ChannelMap<char> {
    let mut map = ChannelMap::new(8);
    for (id, group) in [(1, GROUP), (2, GROUP), (3, OTHER_GROUP)] {
        map.open(channel(id), group).unwrap();
    }
    for (upstream, to, id) in [(1, 'a', 5), (1, 'b', 5), (2, 'a', 6), (3, 'c', 5)] {
        map.attach(channel(upstream), to, channel(id)).unwrap();
    }
    map
}

fn addressed(map: &ChannelMap<char>, id: ChannelId) -> Vec<(char, u32)> {
    map.addressed(id).unwrap().map(|(to, channel)| (to, channel.0)).collect()
}

#[test]
fn channels_and_groups_find_what_is_behind_them() {
    let map = map();
    assert_eq!(addressed(&map, channel(1)), [('a', 5), ('b', 5)]);
    assert_eq!(addressed(&map, GROUP), [('a', 5), ('b', 5), ('a', 6)]);
    assert_eq!(addressed(&map, OTHER_GROUP), [('c', 5)]);
    assert!(map.addressed(channel(9)).is_err());
    assert_eq!([map.upstream_of('a', channel(6)), map.upstream_of('b', channel(6))], [Some(channel(2)), None]);
}

#[test]
fn ids_are_never_two_things_and_tables_are_bounded() {
    let mut map = map();
    for (id, group, used) in
        [(1, GROUP, channel(1)), (100, OTHER_GROUP, GROUP), (4, channel(2), channel(2)), (7, channel(7), channel(7))]
    {
        assert_eq!(map.open(channel(id), group), Err(RoutingError::ChannelInUse(used)));
    }
    assert_eq!(map.attach(channel(2), 'a', channel(5)), Err(RoutingError::ChannelInUse(channel(5))));
    assert_eq!(map.attach(channel(9), 'a', channel(9)), Err(RoutingError::UnknownChannel(channel(9))));
    for id in 10..14 {
        map.attach(channel(3), 'd', channel(id)).unwrap();
    }
    assert_eq!(map.attach(channel(3), 'd', channel(14)), Err(RoutingError::Full { limit: 8 }));
    for id in 4..9 {
        map.open(channel(id), GROUP).unwrap();
    }
    assert_eq!(map.open(channel(9), GROUP), Err(RoutingError::Full { limit: 8 }));
}

#[test]
fn what_closes_takes_along_what_is_behind_it() {
    let mut map = map();
    assert_eq!(map.detach('a', channel(5)), Some(Detached { upstream: channel(1), was_last: false }));
    assert_eq!(map.detach('a', channel(5)), None);
    assert_eq!(map.detach_all('b'), [Detached { upstream: channel(1), was_last: true }]);
    assert_eq!(map.close(GROUP), [('a', channel(6))]);
    assert!(map.close(GROUP).is_empty() && map.close(channel(1)).is_empty());
    assert_eq!(map.close(channel(3)), [('c', channel(5))]);
    assert!(map.is_empty());
}

#[test]
fn channels_move_between_groups() {
    let mut map = map();
    let message = |group_channel_id, ids: &[u32]| SetGroupChannel {
        group_channel_id,
        channel_ids: Seq0_64K::try_from_iter(ids.iter().copied()).unwrap(),
    };
    map.set_group(&message(OTHER_GROUP.0, &[2, 77])).unwrap();
    assert_eq!(addressed(&map, GROUP), [('a', 5), ('b', 5)]);
    assert_eq!(addressed(&map, OTHER_GROUP), [('a', 6), ('c', 5)]);
    assert_eq!(map.set_group(&message(1, &[2])), Err(RoutingError::ChannelInUse(channel(1))));
}

#[test]
fn frames_go_through_untouched_but_for_the_id() {
    let map = map();
    let payload = [100, 0, 0, 0, 1, 2, 3];
    let header = Header::new(0x4001, true, 7, payload.len()).unwrap();
    let down: Vec<_> = map.forward_down(header, &payload).unwrap().collect();
    assert_eq!(down.iter().map(|(to, _)| *to).collect::<Vec<_>>(), ['a', 'b', 'a']);
    assert!(down.iter().all(|(_, frame)| frame.header() == header));
    assert_eq!(to_bytes(&down[2].1).unwrap(), [6, 0, 0, 0, 1, 2, 3]);
    let up = map.forward_up('c', header, &[5, 0, 0, 0]).unwrap();
    assert_eq!((up.channel_id(), to_bytes(&up).unwrap()), (channel(3), vec![3, 0, 0, 0]));
    assert_eq!(map.forward_up('c', header, &[6, 0, 0, 0]).unwrap_err(), RoutingError::UnknownChannel(channel(6)));
    let local = Header::new(0x4001, false, 7, 4).unwrap();
    for (header, payload) in [(local, &[5, 0, 0, 0][..]), (header, &[5, 0, 0])] {
        assert_eq!(map.forward_up('c', header, payload).unwrap_err(), RoutingError::NoChannelId);
        assert!(map.forward_down(header, payload).is_err());
        assert!(patch_channel_id(header, &mut payload.to_vec(), GROUP).is_err());
    }
}

#[test]
fn requests_find_who_asked() {
    let mut requests = RequestMap::new(3);
    let at = Duration::from_secs;
    let first = requests.insert('a', RequestId(9), "x", at(10)).unwrap();
    let second = requests.insert('b', RequestId(9), "y", at(5)).unwrap();
    assert_eq!(requests.insert('a', RequestId(9), "z", at(5)), Err(RoutingError::RequestInUse(RequestId(9))));
    let third = requests.insert('a', RequestId(8), "z", at(7)).unwrap();
    assert_eq!(requests.insert('c', RequestId(1), "", at(5)), Err(RoutingError::Full { limit: 3 }));
    assert_eq!(requests.answer(first), Some(Request { origin: Some('a'), id: RequestId(9), data: "x" }));
    assert_eq!(requests.answer(first), None, "answered already");
    requests.insert('a', RequestId(9), "again", at(20)).unwrap();

    assert_eq!(requests.poll_timeout(), Some(at(5)));
    assert_eq!(requests.give_up(at(5) - Duration::from_nanos(1)), None);
    assert_eq!(requests.give_up(at(5)).map(|request| request.data), Some("y"));
    assert_eq!(requests.answer(second), None, "given up");
    requests.abandon('a');
    assert_eq!(requests.answer(third), Some(Request { origin: None, id: RequestId(8), data: "z" }));
    assert_eq!(requests.len(), 1, "the answer may still come");
    requests.insert('a', RequestId(9), "a new connection of the same name", at(30)).unwrap();
}

#[test]
fn request_ids_wrap_and_pass_over_those_in_use() {
    let mut requests = RequestMap::new(10);
    requests.last = u32::MAX - 1;
    let next = |requests: &mut RequestMap<char>, id| requests.insert('a', RequestId(id), (), Duration::ZERO).unwrap();
    assert_eq!([1, 2, 3].map(|id| next(&mut requests, id)), [u32::MAX, 0, 1].map(RequestId));
    requests.last = u32::MAX - 1;
    assert_eq!(next(&mut requests, 4), RequestId(2));
}

#[derive(Clone, Debug)]
enum Step {
    Open(u32, u32),
    Attach(u32, u8, u32),
    Detach(u8, u32),
    DetachAll(u8),
    Close(u32),
    SetGroup(u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (id, peer) = (0u32..8, 0u8..3);
    prop::collection::vec(
        prop_oneof![
            (id.clone(), 6u32..10).prop_map(|(id, group)| Step::Open(id, group)),
            (id.clone(), peer.clone(), id.clone()).prop_map(|(up, to, id)| Step::Attach(up, to, id)),
            (peer.clone(), id.clone()).prop_map(|(from, id)| Step::Detach(from, id)),
            peer.prop_map(Step::DetachAll),
            (0u32..10).prop_map(Step::Close),
            (6u32..10, id).prop_map(|(group, id)| Step::SetGroup(group, id)),
        ],
        0..60,
    )
}

proptest! {
    /// Against a model that keeps nothing but pairs.
    #[test]
    fn both_directions_always_agree(steps in steps()) {
        const LIMIT: usize = 6;
        let mut map = ChannelMap::new(LIMIT);
        let mut groups: BTreeMap<u32, u32> = BTreeMap::new();
        let mut pairs: BTreeSet<(u32, u8, u32)> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Open(id, group) => {
                    let free = id != group && !groups.contains_key(&id) && !groups.contains_key(&group)
                        && !groups.values().any(|g| *g == id) && groups.len() < LIMIT;
                    prop_assert_eq!(map.open(channel(id), channel(group)).is_ok(), free);
                    if free { groups.insert(id, group); }
                }
                Step::Attach(up, to, id) => {
                    let free = groups.contains_key(&up) && pairs.len() < LIMIT
                        && !pairs.iter().any(|pair| (pair.1, pair.2) == (to, id));
                    prop_assert_eq!(map.attach(channel(up), to, channel(id)).is_ok(), free);
                    if free { pairs.insert((up, to, id)); }
                }
                Step::Detach(from, id) => {
                    let pair = pairs.iter().copied().find(|pair| (pair.1, pair.2) == (from, id));
                    prop_assert_eq!(map.detach(from, channel(id)).map(|gone| gone.upstream.0), pair.map(|pair| pair.0));
                    pairs.retain(|other| Some(*other) != pair);
                }
                Step::DetachAll(from) => {
                    let count = pairs.iter().filter(|pair| pair.1 == from).count();
                    prop_assert_eq!(map.detach_all(from).len(), count);
                    pairs.retain(|pair| pair.1 != from);
                }
                Step::Close(id) => {
                    let closed: BTreeSet<u32> =
                        groups.iter().filter(|(up, group)| **up == id || **group == id).map(|(up, _)| *up).collect();
                    let gone = map.close(channel(id)).len();
                    prop_assert_eq!(gone, pairs.iter().filter(|pair| closed.contains(&pair.0)).count());
                    pairs.retain(|pair| !closed.contains(&pair.0));
                    groups.retain(|up, _| !closed.contains(up));
                }
                Step::SetGroup(group, id) => {
                    let channel_ids = Seq0_64K::try_from_iter([id]).unwrap();
                    let done = map.set_group(&SetGroupChannel { group_channel_id: group, channel_ids });
                    prop_assert_eq!(done.is_ok(), !groups.contains_key(&group));
                    if let (Ok(()), Some(old)) = (done, groups.get_mut(&id)) { *old = group; }
                }
            }
            prop_assert_eq!(map.len(), pairs.len());
            for (up, to, id) in &pairs {
                prop_assert_eq!(map.upstream_of(*to, channel(*id)), Some(channel(*up)));
            }
            for id in 0..10 {
                let expected: BTreeSet<(u8, u32)> = pairs
                    .iter()
                    .filter(|pair| pair.0 == id || groups.get(&pair.0) == Some(&id))
                    .map(|pair| (pair.1, pair.2))
                    .collect();
                let got: BTreeSet<(u8, u32)> =
                    map.addressed(channel(id)).into_iter().flatten().map(|(to, id)| (to, id.0)).collect();
                prop_assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn forwarding_changes_four_bytes(rest in prop::collection::vec(any::<u8>(), 0..50), extension in 0u16..0x8000, to: u32) {
        let payload = [&[1, 0, 0, 0][..], &rest].concat();
        let header = Header::new(extension, true, 3, payload.len()).unwrap();
        let forwarded = Forwarded::new(header, &payload, channel(to)).unwrap();
        let mut patched = payload.clone();
        prop_assert_eq!(patch_channel_id(header, &mut patched, channel(to)), Ok(channel(1)));
        prop_assert_eq!(&to_bytes(&forwarded).unwrap(), &patched);
        prop_assert_eq!((&patched[..4], &patched[4..]), (&to.to_le_bytes()[..], &rest[..]));
    }
}
