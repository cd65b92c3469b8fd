//! Requirements of the specification that no other test looks at (`docs/spec/coverage`).

use binary_sv2::{B0_64K, B0_255, Seq0_255};
use extensions_sv2::tlv::append_user_identity;
use mining_sv2::{SetCustomMiningJob, SetCustomMiningJobError, SetTarget};

use super::*;

/// sv2-spec §5.3.7: "upstream node MUST reflect the client's request (and send appropriate SetTarget message)".
#[test]
fn a_smaller_maximum_target_is_reflected() {
    for vardiff in [false, true] {
        let mut f = hard_blocks();
        Arc::get_mut(&mut f.session.config).unwrap().vardiff = vardiff;
        f.setup(0);
        let channel_id = f.open_extended().channel_id;
        let smaller = Target::from_zero_bits(50);
        f.send(&UpdateChannel { channel_id, nominal_hash_rate: 1e6, maximum_target: smaller.into() });
        assert_eq!(f.last::<SetTarget>().channel_id, channel_id);
        assert!(Target::from(f.last::<SetTarget>().maximum_target) <= smaller, "vardiff {vardiff}");
    }
}

/// sv2-spec §5.3.9: "The server MUST stop sending messages for the channel."
#[test]
fn a_closed_channel_is_sent_nothing_more() {
    let mut f = fixture();
    f.setup(0);
    let closed = f.open_extended().channel_id;
    f.send(&standard());
    let open = f.last::<OpenStandardMiningChannelSuccess>().channel_id;
    f.sink.sent.clear();
    f.send(&CloseChannel { channel_id: closed, reason_code: Str0_255::from_truncated("shutdown") });
    f.source(Event::Template(template(2, 102, true, false)));
    f.source(Event::Tip(tip(2, 2)));
    f.source(Event::Template(template(3, 102, false, true)));
    f.session.handle_timeout(NOW + Duration::from_secs(600), &mut f.sink);
    assert!(f.sink.sent.len() > 2);
    for (header, payload) in &f.sink.sent {
        assert!(header.channel_msg(), "each of them is for a channel");
        assert_eq!(payload[..4], open.to_le_bytes(), "message {:#04x}", header.message_type());
    }
}

/// sv2-spec §5.3.18: without `REQUIRES_WORK_SELECTION` there are no custom jobs, which the client is told with its own request id.
#[test]
fn custom_jobs_are_answered_where_there_are_none() {
    let mut f = fixture();
    f.setup(0);
    let channel_id = f.open_extended().channel_id;
    f.send(&SetCustomMiningJob {
        channel_id,
        request_id: 77,
        mining_job_token: B0_255::EMPTY,
        version: 0x2000_0000,
        prev_hash: [1; 32].into(),
        min_ntime: NOW.as_secs() as u32,
        nbits: 0x207f_ffff,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::EMPTY,
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: B0_64K::EMPTY,
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::empty(),
    });
    let refused: SetCustomMiningJobError<'_> = f.last();
    assert_eq!((refused.channel_id, refused.request_id), (channel_id, 77));
    assert_eq!(refused.error_code, *"jd-not-supported");
    assert_eq!(f.sink.gone, None);
}

/// Extension 0x0002 §1.3, when it is not negotiated: "The server MUST ignore any unexpected TLV fields."
#[test]
fn fields_of_no_negotiated_extension_are_ignored() {
    let mut f = fixture();
    f.setup(0);
    let channel_id = f.open_extended().channel_id;
    let mut payload = binary_sv2::to_bytes(&share(channel_id, 1, 7)).unwrap();
    append_user_identity(&mut payload, b"worker").unwrap();
    let header = Header::of::<SubmitSharesExtended>(payload.len()).unwrap();
    f.session.handle_frame(NOW, header, &payload, &mut f.sink);
    f.session.finish_input(NOW, &mut f.sink);
    f.write_to_disk(NOW);
    assert_eq!(f.last::<SubmitSharesSuccess>().new_submits_accepted_count, 1);
    assert_eq!(f.sink.gone, None);
}
