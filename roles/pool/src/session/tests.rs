mod conduct;
mod groups;
mod ledger;
mod policies;
mod requirements;

use std::{sync::Arc, time::Duration};

use binary_sv2::{B0_32, Message, Seq0_64K, Str0_255, U256, from_bytes};
use common_messages_sv2::SetupConnection;
use extensions_sv2::{RequestExtensions, RequestExtensionsError};
use mining_sv2::{
    NewExtendedMiningJob, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetNewPrevHash, SubmitSharesError,
    SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel,
};
use roles_logic_sv2::{Target, TargetBounds, extranonce::Layout, vardiff::policy::Start};
use template_source::Event;

use super::*;
use crate::{
    hub::{Failover, Hub},
    testing::{NOW, Recorder, config, hub, payouts, published, template, tip, up},
};

struct Fixture {
    session: Session,
    sink: Recorder,
    hub: Hub,
}

/// The same targets for all devices.
fn port(start: Start) -> TargetPolicies {
    TargetPolicies::new(TargetPolicy { shares_per_minute: 12.0, bounds: TargetBounds::NONE, start }).unwrap()
}

/// A session with a hub at height 101.
fn fixture() -> Fixture {
    let mut hub = hub(1);
    for event in [up(), Event::Template(template(1, 101, true, false)), Event::Tip(tip(1, 1))] {
        hub.handle_source(NOW, 0, event);
    }
    let config = SessionConfig {
        space: Space::new(Layout::SV2_DEFAULT, 0, 1).unwrap(),
        payouts: Arc::new(payouts(&config())),
        policies: vec![Policy::Pool],
        rules: Rules::default(),
        targets: port(Start::Nominal(None)),
        vardiff: true,
        acknowledge: Acknowledge::Durable,
        ack_limits: AckLimits { count: 1_000, delay: Duration::ZERO },
        max_channels: 2,
        setup: Duration::from_secs(10),
        first_channel: Duration::from_secs(60),
        limits: config().limits.of_sessions(),
        registry: Registry::new(NOW),
        listener: 0,
    };
    let session = Session::new(NOW, "127.0.0.1:1".parse().unwrap(), Arc::new(config));
    let mut fixture = Fixture { session, sink: Recorder::default(), hub };
    fixture.notice();
    fixture
}

impl Fixture {
    fn notice(&mut self) {
        let snapshot = published(&mut self.hub);
        self.session.handle_notice(NOW, &snapshot, &mut self.sink);
    }

    fn source(&mut self, event: Event) {
        self.hub.handle_source(NOW, 0, event);
        self.notice();
    }

    fn send<M: Message>(&mut self, message: &M) {
        let payload = binary_sv2::to_bytes(message).unwrap();
        let header = Header::of::<M>(payload.len()).unwrap();
        self.session.handle_frame(NOW, header, &payload, &mut self.sink);
        self.session.finish_input(NOW, &mut self.sink);
        self.write_to_disk(NOW);
    }

    /// All records become durable, and found blocks are on disk.
    fn write_to_disk(&mut self, now: Duration) {
        self.sink.holds.clear();
        let count = std::mem::take(&mut self.sink.records).len();
        self.session.handle_durable(now, count, &mut self.sink);
    }

    fn last<'a, M: Message + binary_sv2::Decodable<'a>>(&'a self) -> M {
        let (header, payload) = self.sink.sent.iter().rev().find(|(h, _)| h.message_type() == M::MESSAGE_TYPE).unwrap();
        assert_eq!(header.channel_msg(), M::CHANNEL_MSG);
        from_bytes(payload).unwrap()
    }

    fn setup(&mut self, flags: u32) {
        self.send(&setup(0, 2, flags));
        assert_eq!(self.sink.names(), ["SetupConnection.Success"]);
    }

    /// Opens an extended channel that rolls 8 bytes, and clears what was sent.
    fn open_extended(&mut self) -> OpenExtendedMiningChannelSuccess {
        self.send(&extended(8));
        let success = self.last();
        assert_eq!(self.sink.names(), ["OpenExtendedMiningChannel.Success", "NewExtendedMiningJob", "SetNewPrevHash"]);
        success
    }

    /// Opens a channel of either kind, and gives the name of its jobs' message.
    fn open(&mut self, kind: Opened) -> &'static str {
        match kind {
            Opened::Extended => self.send(&extended(8)),
            Opened::Standard => self.send(&standard()),
        }
        let names = self.sink.names();
        assert!(names[0].starts_with("Open") && names[2] == "SetNewPrevHash", "{names:?}");
        names[1]
    }

    /// Id and `min_ntime` of the job that was sent last.
    fn last_job(&self) -> (u32, Option<u32>) {
        let (header, payload) = self.sink.sent.last().unwrap();
        match Mining::decode(header.message_type(), payload).unwrap() {
            Mining::NewMiningJob(job) => (job.job_id, job.min_ntime),
            Mining::NewExtendedMiningJob(job) => (job.job_id, job.min_ntime),
            other => panic!("expected a job, got {other:?}"),
        }
    }

    /// Nonces from `first` on, until a share is a block, or is none.
    fn mine(&mut self, channel_id: u32, job_id: u32, first: u32, block: bool) -> u32 {
        for nonce in first.. {
            self.sink.reports.clear();
            self.send(&share(channel_id, job_id, nonce));
            if self.sink.reports.is_empty() != block {
                return nonce;
            }
            self.sink.sent.clear();
        }
        unreachable!()
    }
}

#[derive(Clone, Copy)]
enum Opened {
    Extended,
    Standard,
}

fn setup(protocol: u8, version: u16, flags: u32) -> SetupConnection<'static> {
    SetupConnection {
        protocol,
        min_version: version,
        max_version: version,
        flags,
        endpoint_host: Str0_255::from_truncated("pool"),
        endpoint_port: 1,
        vendor: Str0_255::from_truncated("vendor"),
        hardware_version: Str0_255::from_truncated(""),
        firmware: Str0_255::from_truncated(""),
        device_id: Str0_255::from_truncated(""),
    }
}

fn extended(size: u16) -> OpenExtendedMiningChannel<'static> {
    OpenExtendedMiningChannel {
        request_id: 9,
        user_identity: Str0_255::from_truncated("alice.1"),
        nominal_hash_rate: 0.0,
        max_target: U256::from_le_bytes([0xff; 32]),
        min_extranonce_size: size,
    }
}

fn standard() -> OpenStandardMiningChannel<'static> {
    OpenStandardMiningChannel {
        request_id: 8,
        user_identity: Str0_255::from_truncated("bob"),
        nominal_hash_rate: 0.0,
        max_target: U256::from_le_bytes([0xff; 32]),
    }
}

fn share(channel_id: u32, job_id: u32, nonce: u32) -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id,
        sequence_number: nonce,
        job_id,
        nonce,
        ntime: NOW.as_secs() as u32,
        version: 0x2000_0000,
        extranonce: B0_32::try_from([0; 8]).unwrap(),
    }
}

#[test]
fn setup_refuses_what_is_not_served() {
    for (message, code) in [
        (setup(2, 2, 0), "unsupported-protocol"),
        (setup(0, 3, 0), "protocol-version-mismatch"),
        (setup(0, 2, 0b1000), "unsupported-feature-flags"),
    ] {
        let mut f = fixture();
        f.send(&message);
        assert_eq!(f.last::<SetupConnectionError<'_>>().error_code, *code);
        assert!(f.sink.gone.as_ref().unwrap().contains(code));
    }
}

#[test]
fn anything_before_setup_ends_the_connection() {
    let mut f = fixture();
    f.send(&standard());
    assert!(f.sink.gone.unwrap().contains("expected SetupConnection first"));
    assert!(f.sink.sent.is_empty());
}

#[test]
fn what_no_client_sends_ends_the_connection() {
    let mut f = fixture();
    f.setup(0);
    f.send(&Reconnect { new_host: Str0_255::from_truncated(""), new_port: 0 });
    assert!(f.sink.gone.unwrap().contains("unknown message type 0x04"));

    let mut f = fixture();
    f.setup(0);
    f.send(&SetNewPrevHash { channel_id: 1, job_id: 1, prev_hash: [0; 32].into(), min_ntime: 0, nbits: 0 });
    assert!(f.sink.gone.unwrap().contains("SetNewPrevHash is for clients"));
    // A closed session says and does nothing more.
    let mut again = Recorder::default();
    f.session.handle_frame(NOW, Header::new(0, false, 0, 0).unwrap(), &[], &mut again);
    assert!(again.sent.is_empty() && again.gone.is_none());
}

#[test]
fn truncated_messages_end_the_connection() {
    let mut f = fixture();
    f.setup(0);
    let header = Header::new(0, true, SubmitSharesStandard::MESSAGE_TYPE, 5).unwrap();
    f.session.handle_frame(NOW, header, &[1, 2, 3, 4, 5], &mut f.sink);
    assert!(f.sink.gone.unwrap().contains("malformed SubmitSharesStandard"));
}

#[test]
fn extensions_are_negotiated_and_unknown_ones_ignored() {
    let mut f = fixture();
    f.setup(0);
    let requested_extensions = Seq0_64K::try_from_iter([2u16, 3]).unwrap();
    f.send(&RequestExtensions { request_id: 5, requested_extensions });
    let refused: RequestExtensionsError<'_> = f.last();
    assert_eq!((refused.request_id, refused.unsupported_extensions.to_vec()), (5, vec![2, 3]));
    f.sink.sent.clear();
    f.session.handle_frame(NOW, Header::new(0x4000, false, 9, 2).unwrap(), &[1, 2], &mut f.sink);
    assert!(f.sink.sent.is_empty() && f.sink.gone.is_none());
}

#[test]
fn deadlines() {
    let mut f = fixture();
    assert_eq!(f.session.poll_timeout(), Some(NOW + Duration::from_secs(10)));
    f.session.handle_timeout(NOW + Duration::from_secs(9), &mut f.sink);
    assert_eq!(f.sink.gone, None);
    f.setup(0);
    assert_eq!(f.session.poll_timeout(), Some(NOW + Duration::from_secs(60)));
    f.open_extended();
    assert_eq!(f.session.poll_timeout(), Some(NOW + vardiff::LOOK_INTERVAL));

    let mut f = fixture();
    f.setup(0);
    f.session.handle_timeout(NOW + Duration::from_secs(60), &mut f.sink);
    assert!(f.sink.gone.unwrap().contains("no channel"));
}

#[test]
fn channels_get_disjoint_space_of_the_size_they_asked_for() {
    let mut f = fixture();
    f.setup(0);
    let first = f.open_extended();
    assert_eq!((first.request_id, first.extranonce_size, first.extranonce_prefix.len()), (9, 8, 12));
    f.send(&standard());
    let second: OpenStandardMiningChannelSuccess = f.last();
    assert_eq!((second.request_id, second.extranonce_prefix.len()), (8, 20));
    assert_ne!(first.extranonce_prefix[..12], second.extranonce_prefix[..12]);
    assert_eq!(first.group_channel_id, second.group_channel_id);
    assert!(![first.channel_id, second.channel_id].contains(&first.group_channel_id));
    assert_eq!(f.sink.names(), ["OpenStandardMiningChannel.Success", "NewMiningJob", "SetNewPrevHash"]);
    f.send(&extended(8));
    assert_eq!(f.last::<OpenMiningChannelError<'_>>().error_code, *"channel-capacity-exhausted");
}

#[test]
fn channels_that_can_not_be() {
    let mut f = fixture();
    f.setup(0);
    f.send(&extended(15));
    assert_eq!(f.last::<OpenMiningChannelError<'_>>().error_code, *"min-extranonce-size-too-large");
    f.send(&OpenStandardMiningChannel { nominal_hash_rate: f32::NAN, ..standard() });
    assert_eq!(f.last::<OpenMiningChannelError<'_>>().error_code, *"invalid-nominal-hashrate");
    f.send(&OpenStandardMiningChannel { max_target: [0; 32].into(), ..standard() });
    assert_eq!(f.last::<OpenMiningChannelError<'_>>().error_code, *"max-target-out-of-range");
    f.send(&extended(14));
    assert_eq!(f.last::<OpenExtendedMiningChannelSuccess>().extranonce_size, 14);

    let mut f = fixture();
    f.setup(const_sv2::flags::mining::REQUIRES_STANDARD_JOBS);
    f.send(&extended(8));
    let error: OpenMiningChannelError<'_> = f.last();
    assert_eq!(error.error_code, *"extended-channels-not-supported-for-standard-jobs");
    assert_eq!(f.sink.gone, None, "a refused channel costs nothing else");
}

#[test]
fn a_prepared_job_needs_only_a_previous_hash() {
    for channel in [Opened::Extended, Opened::Standard] {
        let mut f = fixture();
        f.setup(0);
        let job = f.open(channel);
        f.sink.sent.clear();
        f.source(Event::Template(template(2, 102, true, false)));
        let (prepared, min_ntime) = f.last_job();
        assert_eq!(min_ntime, None);
        assert_eq!(f.sink.names(), [job]);
        f.source(Event::Tip(tip(2, 2)));
        assert_eq!(f.last::<SetNewPrevHash>().job_id, prepared);
        assert_eq!(f.sink.names(), ["SetNewPrevHash"]);
        // More fees: an active job. The same state again: nothing.
        f.source(Event::Template(template(3, 102, false, true)));
        assert_eq!(f.last_job().1, Some(NOW.as_secs() as u32));
        assert_eq!(f.sink.names(), [job]);
        f.source(Event::Template(template(3, 102, false, true)));
        assert_eq!(f.sink.names(), [""; 0]);
    }
}

#[test]
fn a_session_that_missed_snapshots_gets_only_the_newest_in_order() {
    let mut f = fixture();
    f.setup(0);
    f.open_extended();
    for event in [
        Event::Template(template(2, 102, true, false)),
        Event::Tip(tip(2, 2)),
        Event::Template(template(3, 102, false, true)),
        Event::Template(template(4, 103, true, false)),
        Event::Tip(tip(4, 3)),
        Event::Template(template(5, 103, false, true)),
    ] {
        f.hub.handle_source(NOW, 0, event);
    }
    f.notice();
    let started: SetNewPrevHash = f.last();
    assert_eq!(f.last::<NewExtendedMiningJob<'_>>().job_id, started.job_id);
    assert_eq!(started.prev_hash, U256::from_le_bytes([3; 32]));
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob", "SetNewPrevHash"]);
}

#[test]
fn shares_are_answered_and_blocks_reported() {
    let mut f = fixture();
    f.setup(0);
    let channel = f.open_extended().channel_id;
    // The channel's target is the easiest, so every share is good; every second one is a block.
    let first = f.mine(channel, 1, 0, false);
    assert_eq!(f.last::<SubmitSharesSuccess>().last_sequence_number, first);
    let nonce = f.mine(channel, 1, first + 1, true);
    let ack: SubmitSharesSuccess = f.last();
    assert_eq!((ack.last_sequence_number, ack.new_submits_accepted_count), (nonce, 1));
    assert_eq!(f.sink.reports[0].finder.to_string(), "alice.1");
    // The same share again is refused, and its block reported all the same: the hub knows it.
    f.sink.reports.clear();
    f.send(&share(channel, 1, nonce));
    assert_eq!(f.last::<SubmitSharesError<'_>>().error_code, *"duplicate-share");
    assert_eq!(f.sink.reports.len(), 1);
    for (message, code) in [
        (share(77, 1, 0), "invalid-channel-id"),
        (share(channel, 99, 0), "invalid-job-id"),
        (
            SubmitSharesExtended { extranonce: B0_32::try_from([0; 7]).unwrap(), ..share(channel, 1, 0) },
            "bad-extranonce-size",
        ),
        (SubmitSharesExtended { ntime: 0, ..share(channel, 1, 0) }, "ntime-out-of-range"),
        (SubmitSharesExtended { version: 0x6000_0000, ..share(channel, 1, 0) }, "invalid-non-rollable-version-bit"),
    ] {
        f.send(&message);
        assert_eq!(f.last::<SubmitSharesError<'_>>().error_code, *code);
    }
}

#[test]
fn a_late_share_is_stale_but_a_late_block_is_reported() {
    let mut f = fixture();
    f.setup(0);
    let channel = f.open_extended().channel_id;
    f.source(Event::Template(template(2, 101, true, true)));
    f.source(Event::Tip(tip(2, 2)));
    f.sink.sent.clear();
    f.mine(channel, 1, 0, true);
    assert_eq!(f.last::<SubmitSharesError<'_>>().error_code, *"stale-share");
    assert_eq!(f.sink.reports.len(), 1);
}

#[test]
fn a_hashrate_update_sets_a_target() {
    let mut f = hard_blocks();
    f.setup(0);
    let channel_id = f.open_extended().channel_id;
    let update = |nominal_hash_rate, channel_id| UpdateChannel {
        channel_id,
        nominal_hash_rate,
        maximum_target: U256::from_le_bytes([0xff; 32]),
    };
    f.send(&update(1e12, channel_id));
    assert_eq!(f.sink.names(), ["SetTarget", "NewExtendedMiningJob"]);
    f.send(&update(1e12, channel_id));
    assert_eq!(f.sink.names(), [""; 0], "nothing changed");
    f.send(&update(1e12, 500));
    f.send(&update(-1.0, channel_id));
    assert_eq!(f.sink.names(), ["UpdateChannel.Error", "UpdateChannel.Error"]);
}

#[test]
fn closing_gives_the_space_back() {
    let mut f = fixture();
    f.setup(0);
    let channel_id = f.open_extended().channel_id;
    f.send(&standard());
    let group = f.last::<OpenStandardMiningChannelSuccess>().group_channel_id;
    let space = f.session.config.space.clone();
    assert_eq!(space.live(), 2);
    let reason_code = || Str0_255::from_truncated("shutdown");
    f.send(&CloseChannel { channel_id, reason_code: reason_code() });
    assert_eq!((space.live(), f.sink.gone.is_none()), (1, true));
    f.send(&CloseChannel { channel_id: 500, reason_code: reason_code() });
    assert!(f.sink.gone.is_none());
    // The group closes all that is left, and with it the connection has no purpose.
    f.send(&CloseChannel { channel_id: group, reason_code: reason_code() });
    assert_eq!(space.live(), 0);
    assert!(f.sink.gone.unwrap().contains("all channels closed"));
}

/// Found by `test/simulation`: what was accepted earlier in the same read was never acknowledged.
#[test]
fn shares_before_the_end_of_a_channel_or_a_connection_are_acknowledged() {
    let close = |channel_id| CloseChannel { channel_id, reason_code: Str0_255::from_truncated("shutdown") };
    for (second_channel, malformed) in [(true, false), (false, false), (true, true)] {
        let mut f = fixture();
        Arc::get_mut(&mut f.session.config).unwrap().acknowledge = Acknowledge::Received;
        f.setup(0);
        let channel_id = f.open_extended().channel_id;
        if second_channel {
            f.send(&extended(8));
        }
        f.sink.sent.clear();
        let mut handle = |header, payload: &[u8]| f.session.handle_frame(NOW, header, payload, &mut f.sink);
        // One that is no block.
        let submit = binary_sv2::to_bytes(&share(channel_id, 1, 9)).unwrap();
        handle(Header::of::<SubmitSharesExtended>(submit.len()).unwrap(), &submit);
        let last = binary_sv2::to_bytes(&close(channel_id)).unwrap();
        let header = Header::of::<CloseChannel<'_>>(last.len()).unwrap();
        handle(header, if malformed { &last[..2] } else { &last });
        f.session.finish_input(NOW, &mut f.sink);
        assert!(f.sink.reports.is_empty());
        assert_eq!(f.sink.names(), ["SubmitShares.Success"], "{second_channel} {malformed}");
        assert_eq!(f.sink.gone.is_some(), !second_channel || malformed);
    }
}

#[test]
fn a_channel_opened_before_the_first_template_gets_its_job_later() {
    let mut f = fixture();
    f.session.snapshot = None;
    f.setup(0);
    f.send(&standard());
    assert_eq!(f.sink.names(), ["OpenStandardMiningChannel.Success"]);
    f.source(Event::Template(template(2, 102, true, false)));
    assert_eq!(f.sink.names(), ["NewMiningJob", "SetNewPrevHash", "NewMiningJob"]);
}

#[test]
fn a_source_that_comes_back_on_the_same_tip_costs_no_connection() {
    let mut f = fixture();
    f.setup(0);
    f.open_extended();
    // The template reaches the session as a future one before its tip turns out to be the tip that it has.
    f.source(Event::Template(template(2, 101, true, true)));
    let future = f.last::<NewExtendedMiningJob<'_>>().job_id;
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob"]);
    f.source(Event::Tip(tip(2, 1)));
    assert_eq!(f.last::<SetNewPrevHash>().job_id, future);
    assert_eq!(f.sink.names(), ["SetNewPrevHash"]);
    assert_eq!(f.sink.gone, None);
}

#[test]
fn a_change_of_source_and_back_on_one_tip_sends_no_job_twice() {
    let mut f = fixture();
    f.hub = hub(2).with_failover(Failover { settle: Duration::ZERO, ..Failover::default() });
    for (source, id) in [(0, 1), (1, 1)] {
        let first = [up(), Event::Template(template(id, 101, true, false)), Event::Tip(tip(id, 1))];
        first.into_iter().for_each(|event| f.hub.handle_source(NOW, source, event));
    }
    f.notice();
    f.setup(0);
    f.open_extended();
    let down = || Event::Down { reason: "gone".into(), retry_in: Duration::from_secs(1) };
    f.source(down());
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob"]);
    f.hub.handle_source(NOW, 0, up());
    f.hub.handle_source(NOW, 0, Event::Template(template(2, 101, true, false)));
    f.source(Event::Tip(tip(2, 1)));
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob"]);
    f.source(Event::Template(template(3, 101, false, true)));
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob"]);
    assert_eq!(f.sink.gone, None);
}

/// Found by `test/simulation`: the job at hand was sent again, which ended the connection.
#[test]
fn a_session_that_missed_a_change_of_tip_and_back_goes_on() {
    let mut f = fixture();
    f.hub = hub(2);
    for source in [0, 1] {
        let first = [up(), Event::Template(template(1, 101, true, false)), Event::Tip(tip(1, 1))];
        first.into_iter().for_each(|event| f.hub.handle_source(NOW, source, event));
    }
    f.notice();
    f.setup(0);
    f.open_extended();
    // While bytes are unsent, the first source is stuck, and the second one goes and takes its block along.
    f.hub.handle_source(NOW, 1, Event::Template(template(2, 102, true, false)));
    f.hub.handle_source(NOW, 1, Event::Tip(tip(2, 2)));
    let Failover { stuck_after, .. } = Failover::default();
    f.hub.handle_timeout(NOW + stuck_after);
    assert_eq!(published(&mut f.hub).tip.as_ref().map(|tip| (tip.number, tip.height)), Some((2, 102)));
    let down = Event::Down { reason: "gone".into(), retry_in: Duration::from_secs(1) };
    f.hub.handle_source(NOW + stuck_after, 1, down);
    f.hub.handle_timeout(NOW + 2 * stuck_after);
    f.notice();
    assert_eq!((f.sink.names(), f.sink.gone.as_deref()), (vec![], None));
    f.source(Event::Template(template(2, 101, false, true)));
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob"]);
    f.source(Event::Template(template(3, 102, true, false)));
    f.source(Event::Tip(tip(3, 3)));
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob", "SetNewPrevHash"]);
    assert_eq!(f.sink.gone, None);
}

/// A session on a tip whose blocks are hard, with spare jobs.
fn hard_blocks() -> Fixture {
    let mut f = fixture();
    f.hub = hub(1).with_job_refresh(Duration::from_secs(30));
    f.session.snapshot = None;
    f.hub.handle_source(NOW, 0, up());
    f.hub.handle_source(NOW, 0, Event::Template(template(1, 101, true, false)));
    f.source(Event::Tip(template_source::Tip { nbits: 0x1903_a30c, ..tip(1, 1) }));
    f
}

/// The same with an extended channel. Returns the channel's id.
fn followed() -> (Fixture, u32) {
    let mut f = hard_blocks();
    f.setup(0);
    let channel = f.open_extended().channel_id;
    (f, channel)
}

impl Fixture {
    fn share_at(&mut self, now: Duration, message: &SubmitSharesExtended) {
        let payload = binary_sv2::to_bytes(message).unwrap();
        let header = Header::of::<SubmitSharesExtended>(payload.len()).unwrap();
        self.session.handle_frame(now, header, &payload, &mut self.sink);
        self.session.finish_input(now, &mut self.sink);
        self.write_to_disk(now);
    }

    fn look(&mut self, now: Duration) -> Vec<&'static str> {
        self.session.handle_timeout(now, &mut self.sink);
        self.sink.names()
    }
}

#[test]
fn a_fast_channel_gets_a_harder_target_and_a_job_of_its_own() {
    let (mut f, channel) = followed();
    let first = f.session.snapshot.clone().unwrap().tip.clone().unwrap();
    // Every hash meets the first target; a share each 100 ms is fifty times too many.
    let mut now = NOW;
    let mut nonces = 0..;
    let count = nonces
        .by_ref()
        .find(|&nonce| {
            now += Duration::from_millis(100);
            f.share_at(now, &share(channel, first.current.id().0, nonce));
            f.sink.sent.iter().any(|(header, _)| header.message_type() == mining_sv2::SetTarget::MESSAGE_TYPE)
        })
        .unwrap();
    assert!((12..=16).contains(&count), "{count}");
    let target: Target = f.last::<mining_sv2::SetTarget>().maximum_target.into();
    assert!((5..=7).contains(&target.leading_zeros()), "{target}");
    let job: NewExtendedMiningJob<'_> = f.last();
    assert_eq!(job.job_id, first.spares[0].id().0);
    assert_eq!(job.min_ntime, Some(NOW.as_secs() as u32), "active at once");
    assert_ne!(job.coinbase_tx_prefix[..], *first.current.pool_job().coinbase_tx_prefix(), "new content");
    let own = job.job_id;
    assert_eq!(
        f.sink.names().iter().rev().take(3).rev().copied().collect::<Vec<_>>()[..2],
        ["SetTarget", "NewExtendedMiningJob"]
    );
    // The old job keeps its target; the new one has the new one.
    let nonce = nonces.next().unwrap();
    f.share_at(now, &share(channel, first.current.id().0, nonce));
    assert_eq!(f.sink.names(), ["SubmitShares.Success"]);
    let refused = (0..8).any(|nonce| {
        f.share_at(now, &share(channel, own, nonce));
        f.sink.names() == ["SubmitShares.Error"]
    });
    assert!(refused, "one hash in 32 meets the new target");
    // The same state again: nothing is sent twice. The next job is everybody's.
    let snapshot = f.session.snapshot.clone().unwrap();
    f.session.handle_notice(now, &snapshot, &mut f.sink);
    assert_eq!(f.sink.names(), [""; 0]);
    f.hub.handle_timeout(NOW + Duration::from_secs(30));
    f.notice();
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob"]);
}

#[test]
fn a_silent_channel_is_eased_until_it_has_no_spare_jobs_and_then_with_everybodys() {
    let (mut f, channel) = followed();
    let max = U256::from_le_bytes([0xff; 32]);
    f.send(&UpdateChannel { channel_id: channel, nominal_hash_rate: 1e12, maximum_target: max });
    assert_eq!(f.sink.names(), ["SetTarget", "NewExtendedMiningJob"]);
    let mut sent = Vec::new();
    for i in 1..=60 {
        let look = f.look(NOW + vardiff::LOOK_INTERVAL * i);
        if !look.is_empty() {
            sent.push(look);
        }
    }
    // 1, 3, 5, 7 and 9 steps in five minutes; three jobs were left.
    let with_job = vec!["SetTarget", "NewExtendedMiningJob"];
    assert_eq!(sent, [with_job.clone(), with_job.clone(), with_job, vec!["SetTarget"], vec!["SetTarget"]]);
    let open = f.session.channels.get(ChannelId(channel)).unwrap();
    assert_eq!(open.channel.target().leading_zeros(), 42 - 25);
    f.hub.handle_timeout(NOW + Duration::from_secs(300));
    f.notice();
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob"]);
    assert_eq!(f.session.poll_timeout(), Some(NOW + Duration::from_secs(305)));
    f.send(&CloseChannel { channel_id: channel, reason_code: Str0_255::from_truncated("") });
    assert_eq!(f.session.poll_timeout(), None);
}

#[test]
fn shares_are_never_harder_than_blocks() {
    // Regtest, where every other hash is a block.
    let mut f = fixture();
    f.setup(0);
    let channel = f.open_extended().channel_id;
    for nonce in 0..100 {
        f.send(&share(channel, 1, nonce));
    }
    let open = f.session.channels.get(ChannelId(channel)).unwrap();
    assert_eq!(open.channel.target().leading_zeros(), 1);
}

#[test]
fn who_names_no_hashrate_gets_the_start_and_without_vardiff_targets_stay() {
    let mut f = hard_blocks();
    let config = Arc::get_mut(&mut f.session.config).unwrap();
    (config.targets, config.vardiff) = (port(Start::Nominal(Some(Target::from_zero_bits(44)))), false);
    f.session.targets = *f.session.config.targets.port();
    f.setup(0);
    f.open_extended();
    let open = f.session.channels.iter().next().unwrap();
    assert_eq!(open.channel.target(), Target::from_zero_bits(44));
    assert_eq!(f.session.poll_timeout(), None);
    f.send(&OpenStandardMiningChannel { nominal_hash_rate: 1e12, ..standard() });
    let open = f.session.channels.iter().last().unwrap();
    assert_eq!(open.channel.target(), Target::from_zero_bits(42));
}

#[test]
fn no_target_is_harder_than_that_of_blocks() {
    let mut f = fixture();
    f.setup(0);
    // Every second hash is a block here, whatever the device can do.
    f.send(&OpenExtendedMiningChannel { nominal_hash_rate: 1e14, ..extended(8) });
    let success: OpenExtendedMiningChannelSuccess = f.last();
    assert_eq!(Target::from(success.target).leading_zeros(), 1);

    // A chain whose blocks are hard becomes easy, as testnet does after 20 minutes without a block.
    let (mut f, channel) = followed();
    let max = U256::from_le_bytes([0xff; 32]);
    f.send(&UpdateChannel { channel_id: channel, nominal_hash_rate: 1e14, maximum_target: max });
    f.sink.sent.clear();
    f.source(Event::Template(template(2, 102, true, false)));
    f.source(Event::Tip(tip(2, 2)));
    assert_eq!(Target::from(f.last::<mining_sv2::SetTarget>().maximum_target).leading_zeros(), 1);
    assert_eq!(f.sink.names(), ["NewExtendedMiningJob", "SetTarget", "SetNewPrevHash"]);
    // A client that wants harder shares gets them.
    let hard = Target::from_zero_bits(20);
    f.send(&OpenExtendedMiningChannel { max_target: hard.into(), ..extended(8) });
    assert_eq!(Target::from(f.last::<OpenExtendedMiningChannelSuccess>().target), hard);
}

#[test]
fn others_see_the_connection_and_what_its_channels_do() {
    let mut f = fixture();
    let registry = f.session.config.registry.clone();
    assert_eq!(registry.counts().connections, 0, "a stranger is not seen");
    f.setup(0);
    let channel = f.open_extended().channel_id;
    let first = f.mine(channel, 1, 0, false);
    f.send(&share(channel, 1, first));
    f.sink.is_full = true;
    f.mine(channel, 1, first + 1, false);
    let seen = registry.account("alice").remove(0);
    let sums = seen.sums();
    assert_eq!((sums.accepted, sums.last), (u64::from(first) + 1, NOW.as_millis() as u64));
    assert!(sums.work >= sums.accepted as f64);
    assert!(sums.best > 0.0);
    let refused: Vec<_> = (0..crate::registry::REASONS).filter(|place| sums.rejected[*place] > 0).collect();
    assert_eq!(refused.into_iter().map(crate::registry::reason).collect::<Vec<_>>(), ["duplicate-share", NOT_RECORDED]);
    assert_eq!((seen.worker.name(), seen.id), ("1", channel));
    // The operator has it closed when the session next hears of the pool's state.
    seen.connection.close();
    let snapshot = f.session.snapshot.clone().unwrap();
    f.session.handle_notice(NOW, &snapshot, &mut f.sink);
    assert!(f.sink.gone.as_ref().unwrap().contains("operator"));
    assert_eq!(registry.account("alice").len(), 0);
    drop(f);
    assert_eq!(registry.counts().connections, 0);
}
