//! Several channels on one connection.

use super::*;

/// Channel ids that the messages since the last call were for, with the messages' names.
fn addressed(f: &mut Fixture) -> Vec<(&'static str, u32)> {
    let ids: Vec<u32> =
        f.sink.sent.iter().map(|(_, payload)| u32::from_le_bytes(payload[..4].try_into().unwrap())).collect();
    f.sink.names().into_iter().zip(ids).collect()
}

/// A connection with two channels: their ids and their group's.
fn two(f: &mut Fixture, flags: u32, second: Opened) -> (u32, u32, u32) {
    f.setup(flags);
    let standard_only = flags & const_sv2::flags::mining::REQUIRES_STANDARD_JOBS != 0;
    let first = if standard_only {
        f.send(&standard());
        let success: OpenStandardMiningChannelSuccess = f.last();
        success.channel_id
    } else {
        f.open_extended().channel_id
    };
    match second {
        Opened::Extended => f.send(&extended(6)),
        Opened::Standard => f.send(&standard()),
    }
    let open = f.session.channels.iter().last().unwrap();
    let (second, group) = (open.channel.id().0, open.channel.group_id().0);
    // Its first job is for it alone, be it one of a group or not.
    let first_job = &f.sink.sent[f.sink.sent.len() - 2..];
    assert!(first_job.iter().all(|(_, payload)| payload[..4] == second.to_le_bytes()));
    f.sink.sent.clear();
    (first, second, group)
}

#[test]
fn a_group_is_told_once() {
    for kind in [Opened::Extended, Opened::Standard] {
        let mut f = fixture();
        let (first, second, group) = two(&mut f, 0, kind);
        f.source(Event::Template(template(2, 102, true, false)));
        assert_eq!(addressed(&mut f), [("NewExtendedMiningJob", group)]);
        f.source(Event::Tip(tip(2, 2)));
        assert_eq!(f.last::<SetNewPrevHash>().job_id, 2);
        assert_eq!(addressed(&mut f), [("SetNewPrevHash", group)]);
        f.source(Event::Template(template(3, 102, false, true)));
        assert_eq!(addressed(&mut f), [("NewExtendedMiningJob", group)]);
        // The job counts for either.
        f.send(&share(first, 3, 1));
        match kind {
            Opened::Standard => f.send(&SubmitSharesStandard {
                channel_id: second,
                sequence_number: 2,
                job_id: 3,
                nonce: 2,
                ntime: NOW.as_secs() as u32,
                version: 0x2000_0000,
            }),
            Opened::Extended => {
                let extranonce = B0_32::try_from([0; 6]).unwrap();
                f.send(&SubmitSharesExtended { extranonce, ..share(second, 3, 2) });
            }
        }
        assert_eq!(addressed(&mut f), [("SubmitShares.Success", first), ("SubmitShares.Success", second)]);
    }
}

#[test]
fn a_channel_on_its_own_is_told_by_its_own_id() {
    let mut f = fixture();
    let (first, second, _) = two(&mut f, 0, Opened::Extended);
    f.send(&CloseChannel { channel_id: second, reason_code: Str0_255::from_truncated("") });
    f.source(Event::Template(template(2, 102, true, false)));
    f.source(Event::Tip(tip(2, 2)));
    assert_eq!(addressed(&mut f), [("NewExtendedMiningJob", first), ("SetNewPrevHash", first)]);
}

#[test]
fn who_takes_only_standard_jobs_gets_no_groups() {
    let mut f = fixture();
    let (first, second, _) = two(&mut f, const_sv2::flags::mining::REQUIRES_STANDARD_JOBS, Opened::Standard);
    f.source(Event::Template(template(2, 102, true, false)));
    f.source(Event::Tip(tip(2, 2)));
    let each = |name| [(name, first), (name, second)];
    assert_eq!(addressed(&mut f), [each("NewMiningJob"), each("SetNewPrevHash")].concat());
}

/// A SetNewPrevHash must not reach a channel that never got its job (sv2-spec §5.3.17).
#[test]
fn a_channel_that_joined_later_catches_up_on_its_own() {
    let mut f = fixture();
    f.setup(0);
    let first = f.open_extended().channel_id;
    f.source(Event::Template(template(2, 102, true, false)));
    f.source(Event::Template(template(3, 102, true, true)));
    f.sink.sent.clear();
    // The newcomer gets the newest of the two prepared jobs only; the older one is the one that starts.
    f.send(&extended(8));
    let second = f.session.channels.iter().last().unwrap().channel.id().0;
    assert_eq!(f.sink.names().len(), 4);
    f.source(Event::Tip(tip(2, 2)));
    let told = [("SetNewPrevHash", first), ("NewExtendedMiningJob", second), ("SetNewPrevHash", second)];
    assert_eq!(addressed(&mut f), told);
    // From here on they go together.
    f.source(Event::Template(template(4, 102, false, true)));
    let group = f.session.channels.groups().next().unwrap().id().0;
    assert_eq!(addressed(&mut f), [("NewExtendedMiningJob", group)]);
}
