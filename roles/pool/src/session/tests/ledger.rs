//! Shares on their way to the disk.

use super::*;

impl Fixture {
    /// A frame arrives; nothing becomes durable.
    fn receive<M: Message>(&mut self, message: &M) {
        let payload = binary_sv2::to_bytes(message).unwrap();
        let header = Header::of::<M>(payload.len()).unwrap();
        self.session.handle_frame(NOW, header, &payload, &mut self.sink);
        self.session.finish_input(NOW, &mut self.sink);
    }

    /// Channels and numbers of the acknowledged shares since the last call, and the codes of the refused ones.
    fn answers(&mut self) -> (Vec<(u32, u32, u32)>, Vec<String>) {
        let (mut acks, mut refused) = (Vec::new(), Vec::new());
        for (header, payload) in std::mem::take(&mut self.sink.sent) {
            match Mining::decode(header.message_type(), &payload).unwrap() {
                Mining::SubmitSharesSuccess(ack) => {
                    acks.push((ack.channel_id, ack.last_sequence_number, ack.new_submits_accepted_count));
                }
                Mining::SubmitSharesError(error) => refused.push(error.error_code.to_string()),
                _ => {}
            }
        }
        (acks, refused)
    }

    /// Found blocks are on disk, and the session looks.
    fn release(&mut self, now: Duration) {
        self.sink.holds.clear();
        let look = self.session.held.poll_timeout().unwrap_or(now);
        self.session.handle_timeout(look, &mut self.sink);
    }

    /// Two channels under the terms that `change` sets.
    fn open_two(change: impl FnOnce(&mut SessionConfig)) -> (Self, u32, u32) {
        let mut f = fixture();
        change(Arc::get_mut(&mut f.session.config).unwrap());
        f.setup(0);
        let first = f.open_extended().channel_id;
        f.send(&extended(8));
        let second = f.last::<OpenExtendedMiningChannelSuccess>().channel_id;
        f.sink.sent.clear();
        (f, first, second)
    }

    /// Records become durable, and the blocks so far are on disk.
    fn durable(&mut self, now: Duration, count: usize) {
        self.sink.holds.clear();
        self.durable_alone(now, count);
    }

    /// Records become durable; blocks are not on disk yet.
    fn durable_alone(&mut self, now: Duration, count: usize) {
        self.sink.records.drain(..count);
        self.session.handle_durable(now, count, &mut self.sink);
    }
}

/// Shares of a channel that are no blocks, then one that is, then one that is none.
struct Shares {
    before: u32,
    block: u32,
    after: u32,
}

impl Shares {
    fn on(channel: u32) -> Self {
        // A session like the test's own, whose shares do not count.
        let (mut probe, _, _) = Fixture::open_two(|config| config.vardiff = false);
        let mut nonces = 0..;
        let mut next = |wanted: bool| {
            nonces
                .find(|nonce| {
                    probe.sink.reports.clear();
                    probe.receive(&share(channel, 1, *nonce));
                    probe.sink.reports.is_empty() != wanted
                })
                .unwrap()
        };
        Self { before: next(false), block: next(true), after: next(false) }
    }

    fn receive(&self, f: &mut Fixture, channel: u32) {
        for nonce in [self.before, self.block, self.after] {
            f.receive(&share(channel, 1, nonce));
        }
        assert_eq!(f.sink.holds.len(), 1);
    }
}

#[test]
fn a_block_is_on_disk_before_its_share_is_acknowledged() {
    let (mut f, first, second) = Fixture::open_two(|config| config.vardiff = false);
    let (of_first, of_second) = (Shares::on(first), Shares::on(second));
    of_first.receive(&mut f, first);
    f.receive(&share(second, 1, of_second.before));
    f.durable_alone(NOW, 4);
    // The channel's own shares behind the block wait for it, nobody else's.
    assert_eq!(f.answers(), (vec![(first, of_first.before, 1), (second, of_second.before, 1)], vec![]));
    let look = f.session.poll_timeout().unwrap();
    assert!(f.session.owes_answers() && look > NOW);
    f.session.handle_timeout(look, &mut f.sink);
    assert_eq!(f.answers(), (vec![], vec![]), "not on disk yet");
    f.sink.holds.clear();
    let look = f.session.poll_timeout().unwrap();
    f.session.handle_timeout(look, &mut f.sink);
    assert_eq!(f.answers().0, [(first, of_first.after, 2)]);
    assert!(!f.session.owes_answers());
    assert_eq!(f.session.poll_timeout(), None);
}

#[test]
fn a_block_on_disk_waits_for_its_shares_record() {
    let (mut f, first, _) = Fixture::open_two(|config| config.vardiff = false);
    let shares = Shares::on(first);
    shares.receive(&mut f, first);
    f.sink.holds.clear();
    f.durable_alone(NOW, 1);
    assert_eq!(f.answers().0, [(first, shares.before, 1)]);
    f.durable_alone(NOW, 1);
    assert_eq!(f.answers().0, [(first, shares.block, 1)]);
    f.durable_alone(NOW, 1);
    assert_eq!(f.answers().0, [(first, shares.after, 1)]);
}

#[test]
fn also_where_shares_are_acknowledged_at_once_a_block_is_on_disk_before() {
    let (mut f, first, _) = Fixture::open_two(|config| {
        config.vardiff = false;
        config.acknowledge = Acknowledge::Received;
    });
    let shares = Shares::on(first);
    shares.receive(&mut f, first);
    f.durable_alone(NOW, 3);
    assert_eq!(f.answers().0, [(first, shares.before, 1)]);
    f.release(NOW);
    assert_eq!(f.answers().0, [(first, shares.after, 2)]);
}

#[test]
fn a_block_of_a_channel_that_is_closed_is_waited_for_by_nobody() {
    let (mut f, first, second) = Fixture::open_two(|config| config.vardiff = false);
    let shares = Shares::on(first);
    shares.receive(&mut f, first);
    f.durable_alone(NOW, 3);
    f.receive(&CloseChannel { channel_id: first, reason_code: Str0_255::from_truncated("") });
    f.answers();
    f.release(NOW);
    assert_eq!(f.answers(), (vec![], vec![]));
    f.receive(&CloseChannel { channel_id: second, reason_code: Str0_255::from_truncated("") });
    assert!(f.sink.gone.is_some() && !f.session.owes_answers());
}

#[test]
fn a_share_is_acknowledged_when_it_is_durable_and_not_before() {
    let (mut f, first, second) = Fixture::open_two(|_| {});
    for nonce in 0..3 {
        f.receive(&share(first, 1, nonce));
    }
    f.receive(&share(second, 1, 10));
    f.receive(&share(first, 1, 3));
    assert_eq!(f.answers(), (vec![], vec![]), "not on disk yet");
    assert_eq!(f.sink.records.len(), 5);
    f.durable(NOW, 2);
    assert_eq!(f.answers().0, [(first, 1, 2)]);
    f.durable(NOW, 2);
    assert_eq!(f.answers().0, [(first, 2, 1), (second, 10, 1)]);
    f.durable(NOW, 1);
    assert_eq!(f.answers().0, [(first, 3, 1)]);
    // A driver that counts too much changes nothing.
    f.session.handle_durable(NOW, 7, &mut f.sink);
    assert_eq!(f.answers(), (vec![], vec![]));
}

#[test]
fn acknowledgements_are_gathered_by_count_and_by_time() {
    let delay = Duration::from_millis(500);
    let (mut f, first, _) = Fixture::open_two(|config| {
        config.ack_limits = AckLimits { count: 3, delay };
        config.vardiff = false;
    });
    let submit = |f: &mut Fixture, nonces: std::ops::Range<u32>| {
        nonces.clone().for_each(|nonce| f.receive(&share(first, 1, nonce)));
        f.durable(NOW, nonces.len());
    };
    submit(&mut f, 0..2);
    assert_eq!(f.answers().0, []);
    assert_eq!(f.session.poll_timeout(), Some(NOW + delay));
    submit(&mut f, 2..4);
    assert_eq!(f.answers().0, [(first, 3, 4)]);
    submit(&mut f, 4..5);
    f.session.handle_timeout(NOW + delay, &mut f.sink);
    assert_eq!(f.answers().0, [(first, 4, 1)]);
}

#[test]
fn a_share_that_the_ledger_can_not_take_is_refused_and_its_block_reported() {
    let (mut f, first, _) = Fixture::open_two(|_| {});
    f.receive(&share(first, 1, 0));
    f.sink.is_full = true;
    for nonce in 1..20 {
        f.receive(&share(first, 1, nonce));
    }
    let (acks, refused) = f.answers();
    assert_eq!((acks, refused.len()), (vec![], 19));
    assert!(refused.iter().all(|code| code == NOT_RECORDED), "{refused:?}");
    assert!(!f.sink.reports.is_empty(), "blocks do not need the ledger");
    // It recovers: what was taken is acknowledged, what was refused is not credited by being sent again.
    f.sink.is_full = false;
    f.receive(&share(first, 1, 1));
    f.receive(&share(first, 1, 20));
    f.durable(NOW, 2);
    let (acks, refused) = f.answers();
    assert_eq!((acks, refused), (vec![(first, 20, 2)], vec!["duplicate-share".to_owned()]));
}

#[test]
fn what_may_be_acknowledged_at_once_is_recorded_all_the_same() {
    let (mut f, first, second) = Fixture::open_two(|config| config.acknowledge = Acknowledge::Received);
    f.receive(&share(first, 1, 0));
    f.receive(&share(second, 1, 1));
    f.release(NOW);
    let mut acks = f.answers().0;
    acks.sort();
    assert_eq!(acks, [(first, 0, 1), (second, 1, 1)]);
    f.durable(NOW, 2);
    assert_eq!(f.answers(), (vec![], vec![]));
    f.sink.is_full = true;
    f.receive(&share(first, 1, 2));
    assert_eq!(f.answers().1, [NOT_RECORDED]);
}

#[test]
fn records_of_a_closed_channel_answer_nobody_and_keep_the_order() {
    let (mut f, first, second) = Fixture::open_two(|_| {});
    f.receive(&share(first, 1, 0));
    f.receive(&share(second, 1, 1));
    f.receive(&CloseChannel { channel_id: first, reason_code: Str0_255::from_truncated("") });
    f.durable(NOW, 2);
    assert_eq!(f.answers().0, [(second, 1, 1)]);
}

#[test]
fn refused_shares_are_recorded_as_numbers() {
    let (mut f, first, second) = Fixture::open_two(|_| {});
    f.receive(&share(first, 99, 0));
    f.receive(&share(first, 98, 1));
    f.receive(&share(second, 99, 2));
    f.receive(&share(77, 1, 3));
    assert!(f.sink.records.is_empty());
    f.session.handle_timeout(NOW + REJECTS_INTERVAL, &mut f.sink);
    let rejects = |f: &mut Fixture| -> Vec<(Option<String>, &'static str, u32)> {
        let records = std::mem::take(&mut f.sink.records);
        f.session.handle_durable(NOW, records.len(), &mut f.sink);
        let rejects = records.into_iter().filter_map(|record| match record {
            Record::Rejects { worker, reason, count, .. } => Some((worker.map(|w| w.to_string()), reason, count)),
            Record::Share { .. } => None,
        });
        rejects.collect()
    };
    let alice = || Some("alice.1".to_owned());
    let expected = [(alice(), "invalid-job-id", 2), (alice(), "invalid-job-id", 1), (None, "invalid-channel-id", 1)];
    assert_eq!(rejects(&mut f), expected);
    assert_eq!(rejects(&mut f), []);
    // Those of a channel that ends are not forgotten.
    f.receive(&share(first, 99, 4));
    f.receive(&CloseChannel { channel_id: first, reason_code: Str0_255::from_truncated("") });
    assert_eq!(rejects(&mut f), [(alice(), "invalid-job-id", 1)]);
}

#[test]
fn at_the_end_nothing_is_gathered() {
    let (mut f, first, _) = Fixture::open_two(|config| {
        config.ack_limits = AckLimits { count: 100, delay: Duration::from_secs(60) };
        config.vardiff = false;
    });
    (0..3).for_each(|nonce| f.receive(&share(first, 1, nonce)));
    f.durable(NOW, 1);
    assert_eq!(f.answers(), (vec![], vec![]));
    f.session.handle_drain(NOW, &mut f.sink);
    assert_eq!(f.sink.names(), ["SubmitShares.Success", "Reconnect"]);
    f.durable(NOW, 2);
    assert_eq!(f.answers().0, [(first, 2, 2)]);
}
