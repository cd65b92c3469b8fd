//! Peers that send too much, or what is not valid.

use super::*;

const BURST: usize = 500;

/// A share for a job that never was.
fn invalid(channel_id: u32) -> SubmitSharesExtended {
    share(channel_id, 4_000_000_000, 1)
}

fn opened() -> (Fixture, u32) {
    let mut f = fixture();
    assert!(!f.session.is_established());
    f.setup(0);
    assert!(!f.session.is_established(), "without a channel a connection is half-open");
    let id = f.open_extended().channel_id;
    assert!(f.session.is_established());
    f.sink.sent.clear();
    (f, id)
}

#[test]
fn too_many_invalid_shares_cost_the_channel_and_with_the_last_one_the_connection() {
    let (mut f, first) = opened();
    let second = f.open_extended().channel_id;
    f.sink.sent.clear();
    (0..BURST).for_each(|_| f.send(&invalid(first)));
    assert_eq!(f.sink.names(), vec!["SubmitShares.Error"; BURST]);
    f.send(&invalid(first));
    assert_eq!(f.sink.names(), ["SubmitShares.Error", "CloseChannel"]);
    // What still comes for it is counted against the connection.
    (0..BURST).for_each(|_| f.send(&invalid(first)));
    assert_eq!(f.sink.gone, None);
    (0..BURST).for_each(|_| f.send(&invalid(second)));
    assert_eq!(f.sink.gone, None);
    f.send(&invalid(second));
    assert_eq!(f.sink.gone.as_deref(), Some("too many invalid shares"));
}

#[test]
fn shares_for_channels_that_are_not_there_cost_the_connection() {
    let (mut f, _) = opened();
    (0..BURST).for_each(|_| f.send(&invalid(77)));
    assert_eq!(f.sink.gone, None);
    f.send(&invalid(77));
    assert!(f.sink.gone.unwrap().contains("not open"));
}

#[test]
fn a_peer_that_asks_too_much_is_paused() {
    let (mut f, id) = opened();
    let request =
        UpdateChannel { channel_id: id, nominal_hash_rate: 0.0, maximum_target: U256::from_le_bytes([0xff; 32]) };
    // One was for opening the channel.
    (0..8_191).for_each(|_| f.send(&request));
    assert_eq!(f.session.paused_until(), None);
    f.send(&request);
    assert_eq!(f.session.paused_until(), Some(NOW + Duration::from_millis(20)));
    assert_eq!(f.sink.gone, None);
}

#[test]
fn accepted_work_is_remembered() {
    let (mut f, id) = opened();
    assert_eq!(f.session.last_work(), None);
    f.send(&invalid(id));
    assert_eq!(f.session.last_work(), None);
    f.mine(id, 1, 0, true);
    assert_eq!(f.session.last_work(), Some(NOW));
}

#[test]
fn at_the_end_a_miner_is_sent_to_the_same_endpoint_again() {
    let (mut f, _) = opened();
    f.session.handle_drain(NOW, &mut f.sink);
    let message: Reconnect<'_> = f.last();
    assert_eq!((message.new_host, message.new_port), (Str0_255::from_truncated(""), 0));
    // Who is not set up yet may not be told, and is told as soon as it is.
    let mut f = fixture();
    f.session.handle_drain(NOW, &mut f.sink);
    assert!(f.sink.sent.is_empty());
    f.send(&setup(0, 2, 0));
    assert_eq!(f.sink.names(), ["SetupConnection.Success", "Reconnect"]);
}
