//! A connection's channels and groups, the server's side and the client's side by side.

mod support;

use std::{sync::Arc, time::Duration};

use binary_sv2::{B0_32, Seq0_64K, Str0_255};
use mining_sv2::{CloseChannel, Mining, SetExtranoncePrefix, SetGroupChannel};
use proptest::prelude::*;
use roles_logic_sv2::{
    ChannelId, JobId, OpenSuccess, RequestId, Target,
    channel::{
        client::{Change, ClientChannel, ClientError, Submission},
        clients::{ClientChannels, Handled},
        group::{Channels, GroupError, MAX_GROUPS},
        server::{Channel, ChannelError, Open},
    },
    extranonce::{Layout, Space},
    share::{RejectReason, Rules, Share},
};
use support::{HARD, MIN_NTIME, factory, job, template, tip, transaction};

const NOW: Duration = Duration::from_secs(1_000_000);
const TARGET: Target = Target::from_zero_bits(3);
/// Extranonce bytes that extended channels roll.
const ROLLED: usize = 8;

/// Both sides of a connection.
struct Connection {
    space: Space,
    server: Channels,
    client: ClientChannels,
}

impl Connection {
    fn new() -> Self {
        let space = Space::new(Layout::SV2_DEFAULT, 3, 5).unwrap();
        Self { space, server: Channels::new(), client: ClientChannels::new() }
    }

    fn open(&mut self, group: ChannelId, extended: bool, max_target: Target) -> ChannelId {
        let id = self.server.next_id().unwrap();
        let slot = self.space.allocate().unwrap();
        let (target, rules) = (TARGET, Rules::default());
        let open = Open { channel_id: id, group_channel_id: group, slot, max_target, target, rules };
        let channel = if extended { Channel::extended(open, ROLLED).unwrap() } else { Channel::standard(open) };
        let success = channel.open_success(RequestId(1));
        self.server.insert(channel).unwrap();
        let channel = match success {
            OpenSuccess::Standard(success) => ClientChannel::standard(&success),
            OpenSuccess::Extended(success) => ClientChannel::extended(&success).unwrap(),
        };
        self.client.insert(channel).unwrap();
        id
    }

    /// One job and one tip to the group, as three messages in all for however many members.
    fn start(&mut self, group: ChannelId, id: u32, prev_hash: u8) {
        let (job, tip) = (job(id, 840_000), tip(prev_hash, HARD, NOW));
        self.server.on_new_job(NOW, group, &job, None).unwrap();
        self.tell(&job.new_extended_mining_job(group, None).into());
        self.server.on_set_new_prev_hash(NOW, group, job.id(), &tip).unwrap();
        self.tell(&tip.set_new_prev_hash(group, job.id()).into());
    }

    /// What the message changed for the client's channels.
    fn tell(&mut self, message: &Mining<'_>) -> Vec<(ChannelId, Change)> {
        let mut changes = Vec::new();
        let handled = self.client.handle(NOW, message, |id, change| changes.push((id, change))).unwrap();
        assert_eq!(handled, Handled::Done);
        changes
    }

    /// The client finds a share for its current work, the server judges it.
    fn mine(&mut self, id: ChannelId) -> Option<RejectReason> {
        let client = self.client.get_mut(id).unwrap();
        let work = client.work().unwrap();
        let nonce =
            support::mine(|nonce| work.header(work.version, MIN_NTIME, nonce), 0, |hash| work.target.is_met_by(hash));
        let share = match client.submit(&work, work.version, MIN_NTIME, nonce) {
            Submission::Standard(message) => Share::from(&message),
            Submission::Extended(message) => Share::from(&message),
        };
        self.server.get_mut(id).unwrap().submit(NOW, &share).reject_reason()
    }
}

#[test]
fn one_message_to_a_group_counts_for_every_member() {
    let mut c = Connection::new();
    let group = c.server.open_group(20).unwrap();
    let ids = [c.open(group, false, Target::MAX), c.open(group, true, Target::MAX), c.open(group, true, Target::MAX)];
    let other_group = c.server.open_group(20).unwrap();
    let alone = c.open(other_group, true, Target::MAX);
    assert!(c.server.group(group).unwrap().members().eq(ids));
    c.start(group, 1, 1);
    for id in ids {
        assert_eq!(c.mine(id), None, "channel {id}");
    }
    assert!(c.client.get_mut(alone).unwrap().work().is_none());
    // One job each, whose search spaces differ.
    let roots: Vec<_> = ids.iter().map(|id| c.client.get_mut(*id).unwrap().work().unwrap().merkle_root).collect();
    assert!(roots[0] != roots[1] && roots[1] != roots[2] && roots[0] != roots[2]);
    // A job for the current tip, too.
    let now = job(2, 840_000);
    c.server.on_new_job(NOW, group, &now, Some(MIN_NTIME)).unwrap();
    let changes = c.tell(&now.new_extended_mining_job(group, Some(MIN_NTIME)).into());
    assert_eq!(changes, ids.map(|id| (id, Change::NewWork)));
    for id in ids {
        assert_eq!(c.mine(id), None);
    }
}

#[test]
fn several_future_jobs_wait_and_one_starts() {
    let mut c = Connection::new();
    let group = c.server.open_group(20).unwrap();
    let ids = [c.open(group, false, Target::MAX), c.open(group, true, Target::MAX)];
    let jobs = [11, 12, 13].map(|id| job(id, 840_000));
    for job in &jobs {
        c.server.on_new_job(NOW, group, job, None).unwrap();
        c.tell(&job.new_extended_mining_job(group, None).into());
    }
    let tip = tip(1, HARD, NOW);
    c.server.on_set_new_prev_hash(NOW, group, JobId(12), &tip).unwrap();
    assert_eq!(c.tell(&tip.set_new_prev_hash(group, JobId(12)).into()), ids.map(|id| (id, Change::NewTip)));
    for id in ids {
        assert_eq!(c.client.get_mut(id).unwrap().work().unwrap().job_id, JobId(12));
        assert_eq!(c.mine(id), None);
        assert!(!c.server.get(id).unwrap().has_future_job(JobId(13)));
    }
}

#[test]
fn what_one_member_can_not_take_none_takes() {
    let mut c = Connection::new();
    let group = c.server.open_group(20).unwrap();
    let first = c.open(group, true, Target::MAX);
    c.start(group, 1, 1);
    // This one has no tip yet.
    let late = c.open(group, true, Target::MAX);
    let member = |channel, error| Err(GroupError::Member { channel, error });
    let now = job(2, 840_000);
    let result = c.server.on_new_job(NOW, group, &now, Some(MIN_NTIME));
    assert_eq!(result, member(late, ChannelError::NoTip(JobId(2))));
    assert_eq!(c.server.get(first).unwrap().active_jobs(), [JobId(1)]);
    c.server.on_new_job(NOW, first, &now, None).unwrap();
    let result = c.server.on_set_new_prev_hash(NOW, group, JobId(2), &tip(2, HARD, NOW));
    assert_eq!(result, member(late, ChannelError::UnknownFutureJob(JobId(2))));
    assert!(c.server.get(first).unwrap().has_future_job(JobId(2)));
    let small = Arc::new(factory(b"", 12).build(JobId(3), &template(840_000, &[], true)).unwrap());
    let size = ChannelError::ExtranonceSize { expected: 20, got: 12 };
    assert_eq!(c.server.on_new_job(NOW, group, &small, None), member(first, size));
    let nobody = ChannelId(77);
    assert_eq!(c.server.on_new_job(NOW, nobody, &now, None), Err(GroupError::UnknownChannel(nobody)));
}

#[test]
fn a_target_for_a_group_respects_every_member_s_max_target() {
    let mut c = Connection::new();
    let group = c.server.open_group(20).unwrap();
    let ids = [c.open(group, true, Target::MAX), c.open(group, true, Target::from_zero_bits(5))];
    let message = c.server.set_target(group, Target::from_zero_bits(1)).unwrap();
    assert_eq!((message.channel_id, Target::from(message.maximum_target)), (group.0, Target::from_zero_bits(5)));
    c.tell(&message.into());
    for id in ids {
        assert_eq!(c.server.get(id).unwrap().target(), Target::from_zero_bits(5));
        assert_eq!(c.client.get(id).unwrap().target(), Target::from_zero_bits(5));
    }
    let message = c.server.set_target(ids[0], Target::from_zero_bits(2)).unwrap();
    assert_eq!(message.channel_id, ids[0].0);
    c.tell(&message.into());
    assert_eq!(c.client.get(ids[0]).unwrap().target(), Target::from_zero_bits(2));
    assert_eq!(c.client.get(ids[1]).unwrap().target(), Target::from_zero_bits(5));
}

#[test]
fn channels_move_between_groups_of_the_same_size_only() {
    let mut c = Connection::new();
    let (a, b, small) =
        (c.server.open_group(20).unwrap(), c.server.open_group(20).unwrap(), c.server.open_group(12).unwrap());
    let ids = [c.open(a, true, Target::MAX), c.open(a, false, Target::MAX), c.open(b, true, Target::MAX)];
    let size = GroupError::ExtranonceSize { channel: ids[0], expected: 12, got: 20 };
    assert_eq!(c.server.set_group(small, &ids), Err(size));
    assert_eq!(c.server.set_group(ids[0], &ids), Err(GroupError::UnknownGroup(ids[0])));
    assert_eq!(c.server.set_group(b, &[ids[0], ChannelId(99)]), Err(GroupError::UnknownChannel(ChannelId(99))));
    assert!(c.server.group(a).unwrap().members().eq([ids[0], ids[1]]));

    let message = c.server.set_group(b, &[ids[0], ids[2]]).unwrap();
    c.tell(&message.into());
    assert!(c.server.group(a).unwrap().members().eq([ids[1]]));
    assert!(c.server.group(b).unwrap().members().eq([ids[0], ids[2]]));
    c.start(b, 1, 1);
    assert_eq!(c.mine(ids[0]), None);
    assert!(c.client.get_mut(ids[1]).unwrap().work().is_none());
}

#[test]
fn closing_a_group_closes_its_channels_and_lets_go_of_their_slots() {
    let mut c = Connection::new();
    let (a, b) = (c.server.open_group(20).unwrap(), c.server.open_group(20).unwrap());
    let ids = [c.open(a, true, Target::MAX), c.open(a, false, Target::MAX), c.open(b, true, Target::MAX)];
    let closed: Vec<_> = c.server.close(a).iter().map(Channel::id).collect();
    assert_eq!(closed, ids[..2]);
    assert_eq!(c.space.live(), 1);
    let close = |id: ChannelId| CloseChannel { channel_id: id.0, reason_code: Str0_255::from_truncated("shutdown") };
    let handled = c.client.handle(NOW, &close(a).into(), |_, _| ());
    assert_eq!(handled, Ok(Handled::Closed(closed)));
    // What was on its way meanwhile harms nobody.
    assert_eq!(c.client.handle(NOW, &close(a).into(), |_, _| ()), Ok(Handled::Unknown(a)));
    assert_eq!(c.client.iter().len(), 1);
    // The group is still there for a new channel; closing one channel leaves the others alone.
    let next = c.open(a, true, Target::MAX);
    assert_eq!(c.server.close(next).len(), 1);
    assert!(c.server.group(a).unwrap().members().eq([]));
    assert_eq!((c.server.len(), c.server.close(next).len()), (1, 0));
}

#[test]
fn ids_mean_one_thing_for_ever() {
    let mut c = Connection::new();
    let group = c.server.open_group(20).unwrap();
    let first = c.open(group, true, Target::MAX);
    c.server.close(first);
    let next = c.open(group, true, Target::MAX);
    let later = c.server.open_group(20).unwrap();
    assert_eq!([group, first, next, later], [1, 2, 3, 4].map(ChannelId));
    let mut insert = |id: u32, group: ChannelId| {
        let slot = c.space.allocate().unwrap();
        let (max_target, target, rules) = (Target::MAX, TARGET, Rules::default());
        let open = Open { channel_id: ChannelId(id), group_channel_id: group, slot, max_target, target, rules };
        c.server.insert(Channel::standard(open))
    };
    for taken in [0, 1, 3, 4, 5] {
        assert_eq!(insert(taken, group), Err(GroupError::Id(ChannelId(taken))), "{taken}");
    }
    assert_eq!(insert(2, ChannelId(9)), Err(GroupError::UnknownGroup(ChannelId(9))));
}

#[test]
fn groups_are_bounded_and_those_without_members_make_room() {
    let mut c = Connection::new();
    let first = c.server.open_group(20).unwrap();
    c.open(first, false, Target::MAX);
    for _ in 1..MAX_GROUPS {
        let group = c.server.open_group(20).unwrap();
        c.open(group, false, Target::MAX);
    }
    assert_eq!(c.server.open_group(20), Err(GroupError::TooManyGroups));
    // All but the first lose their members; the next one takes their place, under an id of its own.
    let groups: Vec<ChannelId> = c.server.groups().map(|group| group.id()).collect();
    for group in &groups[1..] {
        assert_eq!(c.server.close(*group).len(), 1);
    }
    let next = c.server.open_group(20).unwrap();
    assert!(next > groups[MAX_GROUPS - 1]);
    assert!(c.server.groups().map(|group| group.id()).eq([first, next]));
}

#[test]
fn the_client_refuses_what_breaks_the_protocol() {
    let mut c = Connection::new();
    let group = c.server.open_group(20).unwrap();
    let (a, b) = (c.open(group, true, Target::MAX), c.open(group, false, Target::MAX));
    let mut refused = |message: Mining<'_>| c.client.handle(NOW, &message, |_, _| ()).unwrap_err();
    // A channel can not become a group.
    let ids = Seq0_64K::try_from_iter([b.0]).unwrap();
    let message = SetGroupChannel { group_channel_id: a.0, channel_ids: ids };
    assert_eq!(refused(message.into()), ClientError::GroupIsChannel(a));
    // A prefix is for one channel.
    let message = SetExtranoncePrefix { channel_id: group.0, extranonce_prefix: B0_32::from_truncated(&[0; 12]) };
    assert_eq!(refused(message.into()), ClientError::NotForGroups(group));
    // A standard job is for a standard channel.
    let standard = mining_sv2::NewMiningJob {
        channel_id: a.0,
        job_id: 1,
        min_ntime: None,
        version: 0,
        merkle_root: binary_sv2::U256::from_le_bytes([0; 32]),
    };
    assert_eq!(refused(standard.into()), ClientError::StandardJobOnExtendedChannel(JobId(1)));
    // One size per group.
    let mut open = OpenSuccessParts { id: 90, group: group.0, prefix: 11 };
    let size = ClientError::GroupSize { channel: ChannelId(90), expected: 20, got: 19 };
    assert_eq!(c.client.insert(open.channel()), Err(size));
    open = OpenSuccessParts { id: group.0, group: 91, prefix: 12 };
    assert_eq!(c.client.insert(open.channel()), Err(ClientError::GroupIsChannel(group)));
}

struct OpenSuccessParts {
    id: u32,
    group: u32,
    prefix: usize,
}

impl OpenSuccessParts {
    fn channel(&self) -> ClientChannel {
        ClientChannel::extended(&mining_sv2::OpenExtendedMiningChannelSuccess {
            request_id: 1,
            channel_id: self.id,
            target: TARGET.into(),
            extranonce_size: 8,
            extranonce_prefix: B0_32::from_truncated(&[0; 32][..self.prefix]),
            group_channel_id: self.group,
        })
        .unwrap()
    }
}

#[test]
fn a_new_prefix_holds_for_jobs_sent_after_it() {
    for extended in [false, true] {
        let mut c = Connection::new();
        let group = c.server.open_group(20).unwrap();
        let id = c.open(group, extended, Target::MAX);
        c.start(group, 1, 1);
        let waiting = job(2, 840_001);
        c.server.on_new_job(NOW, group, &waiting, None).unwrap();
        c.tell(&waiting.new_extended_mining_job(group, None).into());

        let old = *c.server.get(id).unwrap().prefix();
        let message = c.server.get_mut(id).unwrap().set_extranonce_prefix(c.space.allocate().unwrap()).unwrap();
        c.tell(&message.into());
        assert_ne!(c.server.get(id).unwrap().prefix(), &old);
        assert_eq!(c.server.get(id).unwrap().prefix(), c.client.get(id).unwrap().prefix());
        // The job at hand keeps the old prefix, and so does the future job that was sent before.
        assert_eq!(c.mine(id), None);
        let next = tip(2, HARD, NOW);
        c.server.on_set_new_prev_hash(NOW, group, waiting.id(), &next).unwrap();
        c.tell(&next.set_new_prev_hash(group, waiting.id()).into());
        assert_eq!(c.mine(id), None);
        // A job sent after it has the new one; both are good.
        let new = job(3, 840_001);
        c.server.on_new_job(NOW, group, &new, Some(MIN_NTIME)).unwrap();
        c.tell(&new.new_extended_mining_job(group, Some(MIN_NTIME)).into());
        assert_eq!(c.mine(id), None);
        let expected = c.server.get(id).unwrap().merkle_root(new.id());
        let prefix = *c.server.get(id).unwrap().prefix();
        assert_eq!(expected, (!extended).then(|| new.merkle_root(prefix.as_bytes())));
    }
}

#[test]
fn the_old_slot_rests_until_no_job_knows_it() {
    let mut c = Connection::new();
    let group = c.server.open_group(20).unwrap();
    let id = c.open(group, true, Target::MAX);
    c.start(group, 1, 1);
    let change = |c: &mut Connection| {
        let slot = c.space.allocate().unwrap();
        c.server.get_mut(id).unwrap().set_extranonce_prefix(slot).unwrap();
    };
    change(&mut c);
    assert_eq!(c.space.live(), 2);
    // Prefixes that no job ever had are given back at once.
    for _ in 0..100 {
        change(&mut c);
    }
    assert_eq!(c.space.live(), 2);
    // The job retires, and is forgotten three tips later.
    for (job, live) in [(2, 2), (3, 2), (4, 2), (5, 1)] {
        c.server.on_new_job(NOW, group, &support::job(job, 840_000), None).unwrap();
        c.server.on_set_new_prev_hash(NOW, group, JobId(job), &tip(job as u8, HARD, NOW)).unwrap();
        assert_eq!(c.space.live(), live, "tip {job}");
    }
    // A slot of another size does not fit.
    let other = Space::new(Layout::SV1_DEFAULT, 0, 0).unwrap().allocate().unwrap();
    let refused = c.server.get_mut(id).unwrap().set_extranonce_prefix(other);
    assert_eq!(refused, Err(ChannelError::ExtranonceSize { expected: 20, got: 12 }));
}

#[test]
fn the_quick_message_is_the_message() {
    for transactions in [0, 1, 5] {
        let transactions: Vec<_> = (0..transactions).map(transaction).collect();
        let job = factory(b"/tag/", 20).build(JobId(7), &template(840_000, &transactions, true)).unwrap();
        for min_ntime in [None, Some(MIN_NTIME)] {
            let (id, other) = (ChannelId(0x0102_0304), ChannelId(5));
            for id in [id, other] {
                let quick = binary_sv2::to_bytes(&job.message(id, min_ntime)).unwrap();
                assert_eq!(quick, binary_sv2::to_bytes(&job.new_extended_mining_job(id, min_ntime)).unwrap());
            }
        }
    }
}

#[test]
fn errors_say_what_was_expected() {
    let channel = ChannelId(7);
    let errors = [
        (GroupError::IdsExhausted, "expected a connection with channel ids left, got one that used all up"),
        (GroupError::TooManyGroups, &format!("expected at most {MAX_GROUPS} groups, got one more")),
        (GroupError::UnknownChannel(channel), "expected an open channel, got 7"),
        (GroupError::UnknownGroup(channel), "expected a group of the connection, got 7"),
        (GroupError::Id(channel), "expected an id that was handed out and is free, got 7"),
        (
            GroupError::ExtranonceSize { channel, expected: 20, got: 12 },
            "expected a full extranonce of 20 bytes in the group, got channel 7 with 12",
        ),
        (
            GroupError::Member { channel, error: ChannelError::JobIdInUse(JobId(3)) },
            "channel 7: expected an unused job id, got 3",
        ),
        (GroupError::TooManyMembers(65_536), "expected channels that one message can name, got 65536"),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn what_a_connection_has_can_be_looked_at() {
    let mut c = Connection::new();
    assert!(c.server.is_empty() && c.server.groups().next().is_none());
    let (first, second) = (c.server.open_group(20).unwrap(), c.server.open_group(20).unwrap());
    let ids = [c.open(first, true, Target::MAX), c.open(second, false, Target::MAX), c.open(first, false, Target::MAX)];
    assert_eq!((c.server.len(), c.server.is_empty()), (3, false));
    assert_eq!(c.server.iter().map(|channel| channel.id()).collect::<Vec<_>>(), ids);
    assert_eq!(c.server.iter_mut().map(|channel| channel.group_id()).collect::<Vec<_>>(), [first, second, first]);
    let groups: Vec<_> = c.server.groups().map(|group| (group.id(), group.full_extranonce_size())).collect();
    assert_eq!(groups, [(first, 20), (second, 20)]);
    assert_eq!(c.server.group(first).unwrap().members().collect::<Vec<_>>(), [ids[0], ids[2]]);
    assert_eq!(c.server.addressed(first).map(|channel| channel.id()).collect::<Vec<_>>(), [ids[0], ids[2]]);
    assert_eq!(c.server.addressed(ids[1]).map(|channel| channel.id()).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(c.server.addressed(ChannelId(99)).count(), 0);
    // A group of few among many is looked up, one of many is gone through: it is the same.
    let more: Vec<ChannelId> = (0..20).map(|_| c.open(first, true, Target::MAX)).collect();
    assert_eq!(c.server.addressed(second).map(|channel| channel.id()).collect::<Vec<_>>(), [ids[1]]);
    let all: Vec<_> = c.server.addressed(first).map(|channel| channel.id()).collect();
    assert_eq!(all, [&[ids[0], ids[2]], &more[..]].concat());
    for (group, harder) in [(first, 10), (second, 11)] {
        c.server.set_target(group, Target::from_zero_bits(harder)).unwrap();
        let reached = c.server.iter().filter(|channel| channel.target() == Target::from_zero_bits(harder));
        assert!(reached.map(|channel| channel.group_id()).all(|id| id == group));
        assert_eq!(
            c.server.addressed(group).filter(|channel| channel.target() == Target::from_zero_bits(harder)).count(),
            if group == first { 22 } else { 1 }
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is opened, moved and closed: the groups' lists and the channels' own agree, both sides agree, and no two ids
    /// are the same.
    #[test]
    fn both_sides_agree_on_who_is_where(steps in prop::collection::vec((0u8..4, 0usize..8, 0usize..4), 1..40)) {
        let mut c = Connection::new();
        let groups: Vec<_> = (0..3).map(|_| c.server.open_group(20).unwrap()).collect();
        let mut seen: std::collections::BTreeSet<_> = groups.iter().copied().collect();
        for (step, channel, group) in steps {
            let group = groups[group % groups.len()];
            let open: Vec<_> = c.server.iter().map(Channel::id).collect();
            let chosen = open.get(channel % open.len().max(1)).copied();
            match (step, chosen) {
                (0 | 1, _) => {
                    let id = c.open(group, channel % 2 == 0, Target::MAX);
                    prop_assert!(seen.insert(id));
                }
                (2, Some(id)) => {
                    let message = c.server.set_group(group, &[id]).unwrap();
                    c.tell(&message.into());
                }
                (_, chosen) => {
                    let id = if channel % 4 == 0 { group } else { chosen.unwrap_or(group) };
                    let closed: Vec<_> = c.server.close(id).iter().map(Channel::id).collect();
                    let close = CloseChannel { channel_id: id.0, reason_code: Str0_255::from_truncated("shutdown") };
                    let expected = if closed.is_empty() { Handled::Unknown(id) } else { Handled::Closed(closed) };
                    prop_assert_eq!(c.client.handle(NOW, &close.into(), |_, _| ()), Ok(expected));
                }
            }
            let server: Vec<_> = c.server.iter().map(|channel| (channel.id(), channel.group_id())).collect();
            let client: Vec<_> = c.client.iter().map(|channel| (channel.id(), channel.group_id())).collect();
            prop_assert_eq!(&server, &client);
            prop_assert_eq!(c.space.live() as usize, server.len());
            for group in c.server.groups() {
                let listed: Vec<_> = group.members().collect();
                let named: Vec<_> = server.iter().filter(|(_, of)| *of == group.id()).map(|(id, _)| *id).collect();
                prop_assert_eq!(listed, named);
            }
        }
    }
}
