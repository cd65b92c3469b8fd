//! The core against hand-made frames of a Template Provider.

use std::{sync::Arc, time::Duration};

use binary_sv2::{B0_16M, B0_64K, B0_255, Message, Seq0_64K, Seq0_255, Str0_255, U256};
use bitcoin::{BlockHash, hashes::Hash};
use common_messages_sv2::{
    ChannelEndpointChanged, CommonMessages, Reconnect, SetupConnectionError, SetupConnectionSuccess,
};
use framing_sv2::{Frame, Header, Sv2Frame};
use noise_sv2::url::EndpointUrl;
use template_distribution_sv2::{
    NewTemplate, RequestTransactionData, RequestTransactionDataError, RequestTransactionDataSuccess, SetNewPrevHash,
    SubmitSolution, TemplateDistribution,
};

use super::*;
use crate::{Command, Event, Solution, SubmitOutcome, SubmitPath, TemplateId};

const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

const CONSTRAINTS: Constraints = Constraints { max_additional_size: 100, max_additional_sigops: 4 };

#[derive(Default)]
struct Sent(Vec<Sv2Frame<'static>>);

impl Sink for Sent {
    fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError> {
        self.0.push(Sv2Frame::from_message(message).unwrap());
        Ok(())
    }
}

/// A core with what it sent and a clock.
struct Rig {
    core: Core,
    sent: Sent,
    now: Duration,
}

impl Rig {
    fn new(url: &str) -> Self {
        let core = Core::new(Duration::ZERO, url.parse().unwrap(), CONSTRAINTS);
        Self { core, sent: Sent::default(), now: Duration::ZERO }
    }

    /// Lets time pass until something is due.
    fn wait(&mut self) -> Step {
        self.now = self.now.max(self.core.poll_timeout());
        self.core.handle_timeout(self.now)
    }

    fn connect(&mut self) -> EndpointUrl {
        let Step::Connect(url) = self.wait() else { panic!("no attempt to connect") };
        self.core.connected(self.now, &mut self.sent).unwrap();
        url
    }

    fn receive(&mut self, message: &impl Message) -> Result<(), Close> {
        self.core.handle_frame(self.now, &Sv2Frame::from_message(message).unwrap(), &mut self.sent)
    }

    fn command(&mut self, command: Command) {
        self.core.handle_command(self.now, command, &mut self.sent).unwrap();
    }

    fn close(&mut self, reason: Close) {
        self.core.closed(self.now, reason);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    /// Number of each message sent since the last call.
    fn sent(&mut self) -> Vec<u8> {
        self.sent.0.drain(..).map(|frame| frame.header().message_type()).collect()
    }

    /// Connected, set up, with future template 5 activated.
    fn serving() -> Self {
        let mut rig = Self::new("stratum2+tcp://tp.example:8442");
        rig.set_up();
        rig.events();
        rig.sent();
        rig
    }

    fn set_up(&mut self) {
        self.connect();
        self.receive(&SUCCESS).unwrap();
        self.receive(&template(5, true)).unwrap();
        self.receive(&tip(5)).unwrap();
    }
}

const SUCCESS: SetupConnectionSuccess = SetupConnectionSuccess { used_version: 2, flags: 0 };

fn template(id: u64, future: bool) -> NewTemplate<'static> {
    NewTemplate {
        template_id: id,
        future_template: future,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::try_from(&[2, 0x2c, 0x01]).unwrap(),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: 5_000_000_000,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: B0_64K::EMPTY,
        coinbase_tx_locktime: 299,
        merkle_path: Seq0_255::try_from_iter([U256::from_le_bytes([7; 32])]).unwrap(),
    }
}

fn tip(template_id: u64) -> SetNewPrevHash {
    SetNewPrevHash {
        template_id,
        prev_hash: U256::from_le_bytes([9; 32]),
        header_timestamp: 1_800_000_000,
        n_bits: 0x207f_ffff,
        target: U256::MAX,
    }
}

fn solution(id: TemplateId, coinbase: usize) -> Solution {
    Solution {
        template_id: id,
        hash: BlockHash::from_byte_array([id.0 as u8; 32]),
        version: 0x2000_0000,
        header_timestamp: 1_800_000_001,
        header_nonce: 77,
        coinbase_tx: vec![1; coinbase],
    }
}

#[test]
fn sets_up_and_tells_templates_in_order() {
    let mut rig = Rig::new("stratum2+tcp://tp.example:8442");
    assert_eq!(rig.core.poll_timeout(), Duration::ZERO, "connects at once");
    assert_eq!(rig.connect().address(), "tp.example:8442");
    assert_eq!(rig.sent(), [0x00], "SetupConnection");
    rig.receive(&SUCCESS).unwrap();
    let [frame] = &rig.sent.0[..] else { panic!("expected the constraints alone") };
    let TemplateDistribution::CoinbaseOutputConstraints(constraints) =
        TemplateDistribution::decode(frame.header().message_type(), frame.payload()).unwrap()
    else {
        panic!("expected the constraints")
    };
    assert_eq!(constraints.coinbase_output_max_additional_size, 100);
    assert_eq!(constraints.coinbase_output_max_additional_sigops, 4);
    assert!(rig.events().is_empty(), "not up before there are templates");

    rig.receive(&template(5, true)).unwrap();
    rig.receive(&tip(5)).unwrap();
    rig.receive(&template(8, false)).unwrap();
    let events = rig.events();
    let [Event::Up { .. }, Event::Template(first), Event::Tip(tip), Event::Template(second)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((first.height, first.future, first.merkle_path.len()), (300, true, 1));
    assert_eq!(tip.template_id, first.id);
    assert_eq!((tip.prev_hash, tip.nbits), (BlockHash::from_byte_array([9; 32]), 0x207f_ffff));
    assert!(second.id > first.id && !second.future);
}

#[test]
fn each_step_has_a_deadline() {
    let expect = |mut rig: Rig, text: &str| {
        let start = rig.now;
        let Step::Close(reason) = rig.wait() else { panic!("no deadline for {text}") };
        assert!(reason.to_string().contains(text), "{reason}");
        assert_eq!(rig.now - start, STEP_DEADLINE);
    };
    let url = "stratum2+tcp://h:1";
    let mut rig = Rig::new(url);
    assert!(matches!(rig.wait(), Step::Connect(_)));
    expect(rig, "a connection");
    let mut rig = Rig::new(url);
    rig.connect();
    expect(rig, "SetupConnection.Success");
    let mut rig = Rig::new(url);
    rig.connect();
    rig.receive(&SUCCESS).unwrap();
    rig.receive(&template(1, true)).unwrap();
    expect(rig, "a template and its SetNewPrevHash");
    let mut rig = Rig::serving();
    rig.core.flushed();
    assert_eq!(rig.core.poll_timeout(), Duration::MAX, "a quiet Template Provider is fine");
}

#[test]
fn misbehaviour_ends_the_connection_with_the_reason() {
    let refused = |mut rig: Rig, act: fn(&mut Rig) -> Result<(), Close>| act(&mut rig).unwrap_err().to_string();
    let fresh = || {
        let mut rig = Rig::new("stratum2+tcp://h:1");
        rig.connect();
        rig
    };
    let error = SetupConnectionError { flags: 0, error_code: Str0_255::try_from("unsupported-protocol").unwrap() };
    let reason = fresh().receive(&error).unwrap_err().to_string();
    assert!(reason.contains("refused") && reason.contains("unsupported-protocol"), "{reason}");
    let version = SetupConnectionSuccess { used_version: 1, flags: 0 };
    assert!(fresh().receive(&version).unwrap_err().to_string().contains("version 2 of the protocol, got 1"));
    assert!(refused(fresh(), |rig| rig.receive(&template(1, true))).contains("expected SetupConnection.Success"));
    let early = refused(fresh(), |rig| {
        rig.receive(&SUCCESS)?;
        rig.receive(&template(1, false))
    });
    assert!(early.contains("before template 1"), "{early}");
    assert!(refused(Rig::serving(), |rig| rig.receive(&SUCCESS)).contains("got SetupConnection.Success"));
    assert!(refused(Rig::serving(), |rig| rig.receive(&tip(6))).contains("template 6"));
    let ordinary = refused(Rig::serving(), |rig| {
        rig.receive(&template(6, false))?;
        rig.receive(&tip(6))
    });
    assert!(ordinary.contains("not a future template"), "{ordinary}");
    let malformed = refused(Rig::serving(), |rig| {
        rig.receive(&NewTemplate { coinbase_prefix: B0_255::EMPTY, ..template(6, true) })
    });
    assert!(malformed.contains("template 6") && malformed.contains("BIP 34"), "{malformed}");
    let own = refused(Rig::serving(), |rig| rig.receive(&RequestTransactionData { template_id: 5 }));
    assert!(own.contains("what servers send, got RequestTransactionData"), "{own}");
    let raw = |extension, channel, number, payload: &'static [u8]| {
        let mut rig = Rig::serving();
        let header = Header::new(extension, channel, number, payload.len()).unwrap();
        rig.core.handle_frame(rig.now, &Sv2Frame::new(header, payload).unwrap(), &mut rig.sent)
    };
    assert!(raw(0, false, 0x99, &[]).unwrap_err().to_string().contains("0x99"));
    assert!(raw(0, false, 0x72, &[1, 2]).unwrap_err().to_string().contains("SetNewPrevHash"));
    assert!(raw(0, true, 0x72, &[]).unwrap_err().to_string().contains("channel bit"));
    raw(0x4001, false, 0x72, &[1]).unwrap();
    raw(0x4001, true, 0x72, &[1]).unwrap();
    Rig::serving().receive(&ChannelEndpointChanged { channel_id: 1 }).unwrap();
}

#[test]
fn retries_ever_more_slowly_and_soon_again_after_a_stable_time() {
    let mut rig = Rig::new("stratum2+tcp://h:1");
    let mut pauses = vec![];
    for _ in 0..8 {
        assert!(matches!(rig.wait(), Step::Connect(_)));
        rig.close(Close::Connection("refused".into()));
        let events = rig.events();
        let [Event::Down { reason, retry_in }] = &events[..] else { panic!("{events:?}") };
        assert!(reason.contains("h:1") && reason.contains("refused"), "{reason}");
        assert_eq!(rig.core.poll_timeout(), rig.now + *retry_in);
        pauses.push(retry_in.as_millis());
    }
    assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    rig.set_up();
    rig.now += STABLE_AFTER;
    rig.close(Close::Connection("reset".into()));
    assert_eq!(rig.core.poll_timeout(), rig.now + FIRST_RETRY);
}

#[test]
fn ids_map_both_ways_over_reconnects() {
    let mut rig = Rig::serving();
    rig.close(Close::Connection("reset".into()));
    rig.set_up();
    let events = rig.events();
    let Some(Event::Template(again)) = events.iter().find(|event| matches!(event, Event::Template(_))) else {
        panic!("{events:?}")
    };
    assert_eq!(again.id, TemplateId(2), "remote id 5 of the new connection is another template");
    rig.sent();
    rig.command(Command::RequestTransactions(TemplateId(2)));
    let frame = rig.sent.0.pop().unwrap();
    let message = TemplateDistribution::decode(frame.header().message_type(), frame.payload()).unwrap();
    assert_eq!(message, TemplateDistribution::from(RequestTransactionData { template_id: 5 }));
    rig.command(Command::RequestTransactions(TemplateId(1)));
    let events = rig.events();
    let [Event::Transactions { id: TemplateId(1), result: Err(reason) }] = &events[..] else { panic!("{events:?}") };
    assert!(reason.contains("before a reconnect"), "{reason}");
}

#[test]
fn requests_are_answered_or_fail() {
    let mut rig = Rig::serving();
    let id = TemplateId(1);
    let list = || Seq0_64K::try_from_iter([B0_16M::try_from(&b"tx"[..]).unwrap()]).unwrap();
    let data = |template_id| RequestTransactionDataSuccess {
        template_id,
        excess_data: B0_64K::EMPTY,
        transaction_list: list(),
    };
    rig.receive(&data(5)).unwrap();
    assert!(rig.events().is_empty(), "nobody asked");

    rig.command(Command::RequestTransactions(id));
    rig.receive(&data(5)).unwrap();
    let events = rig.events();
    let [Event::Transactions { id: TemplateId(1), result: Ok(transactions) }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(**transactions, [b"tx".to_vec()]);

    rig.command(Command::RequestTransactions(id));
    let error_code = Str0_255::try_from("stale-template-id").unwrap();
    rig.receive(&RequestTransactionDataError { template_id: 5, error_code }).unwrap();
    assert!(
        matches!(&rig.events()[..], [Event::Transactions { result: Err(e), .. }] if e.contains("stale-template-id"))
    );

    rig.core.flushed();
    rig.command(Command::RequestTransactions(id));
    rig.core.flushed();
    assert!(matches!(rig.wait(), Step::Wait));
    assert!(matches!(&rig.events()[..], [Event::Transactions { result: Err(e), .. }] if e.contains("60 seconds")));

    for _ in 0..=PENDING_REQUESTS {
        rig.command(Command::RequestTransactions(id));
    }
    assert!(matches!(&rig.events()[..], [Event::Transactions { result: Err(_), .. }]), "one too many");
    rig.close(Close::Connection("reset".into()));
    let events = rig.events();
    assert_eq!(events.len(), PENDING_REQUESTS + 1);
    assert!(matches!(events.last(), Some(Event::Down { .. })), "answers come before the news");
}

#[test]
fn a_solution_counts_as_sent_when_it_has_left() {
    let outcome = |events: Vec<Event>| match &events[..] {
        [Event::Submitted { path: SubmitPath::Solution, outcome, .. }] => outcome.clone(),
        other => panic!("{other:?}"),
    };
    let mut rig = Rig::serving();
    rig.command(Command::SubmitSolution(solution(TemplateId(1), 100)));
    let frame = rig.sent.0.pop().unwrap();
    let TemplateDistribution::SubmitSolution(SubmitSolution { template_id: 5, header_nonce: 77, .. }) =
        TemplateDistribution::decode(frame.header().message_type(), frame.payload()).unwrap()
    else {
        panic!("another message")
    };
    assert!(rig.events().is_empty());
    rig.core.flushed();
    assert_eq!(outcome(rig.events()), SubmitOutcome::Sent);

    rig.command(Command::SubmitSolution(solution(TemplateId(1), 100)));
    rig.core.closed(rig.now, Close::Connection("reset".into()));
    let events = rig.events();
    let [Event::Submitted { outcome: SubmitOutcome::Failed(_), .. }, Event::Down { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    rig.command(Command::SubmitSolution(solution(TemplateId(1), 100)));
    assert!(matches!(outcome(rig.events()), SubmitOutcome::Failed(reason) if reason.contains("no connection")));
}

#[test]
fn what_can_not_be_submitted_fails_at_once() {
    let mut rig = Rig::serving();
    rig.command(Command::SubmitSolution(solution(TemplateId(9), 100)));
    rig.command(Command::SubmitSolution(solution(TemplateId(1), 65_536)));
    let hash = BlockHash::all_zeros();
    rig.command(Command::SubmitBlock { hash, block: Arc::new(vec![]) });
    let failed = |event: &Event| matches!(event, Event::Submitted { outcome: SubmitOutcome::Failed(_), .. });
    let events = rig.events();
    assert!(events.len() == 3 && events.iter().all(failed), "{events:?}");
    assert!(rig.sent().is_empty());
}

#[test]
fn new_constraints_go_out_at_once_or_with_the_next_connection() {
    let mut rig = Rig::serving();
    let constraints = Constraints { max_additional_size: 7, max_additional_sigops: 0 };
    rig.command(Command::SetConstraints(constraints));
    assert_eq!(rig.sent(), [0x70]);
    rig.close(Close::Connection("reset".into()));
    rig.command(Command::SetConstraints(Constraints { max_additional_size: 8, ..constraints }));
    assert!(rig.sent().is_empty());
    rig.connect();
    rig.receive(&SUCCESS).unwrap();
    assert_eq!(rig.sent.0.pop().unwrap().payload()[0], 8);
}

#[test]
fn a_template_provider_that_does_not_read_is_left() {
    let mut rig = Rig::serving();
    rig.core.flushed();
    rig.command(Command::SubmitSolution(solution(TemplateId(1), 100)));
    let start = rig.now;
    assert!(matches!(rig.wait(), Step::Close(Close::Unsent)));
    assert_eq!(rig.now - start, UNSENT_DEADLINE);
}

/// What a request to reconnect leads to: the next address, or nothing when it is ignored.
fn followed(url: &str, new_host: &str, new_port: u16) -> Option<String> {
    let mut rig = Rig::new(url);
    rig.set_up();
    match rig.receive(&Reconnect { new_host: Str0_255::try_from(new_host).unwrap(), new_port }) {
        Ok(()) => None,
        Err(reason) => {
            assert!(reason.to_string().contains("asked to reconnect"));
            rig.close(reason);
            let next = rig.connect();
            assert_eq!(next.authority(), url.parse::<EndpointUrl>().unwrap().authority(), "the same authority");
            rig.close(Close::Connection("reset".into()));
            assert_eq!(rig.connect().to_string(), url, "back home after that");
            Some(next.address())
        }
    }
}

#[test]
fn another_host_is_followed_only_under_the_same_authority() {
    let plain = "stratum2+tcp://tp.example:8442";
    let noise = format!("{plain}/{KEY}");
    assert_eq!(followed(&noise, "other.example", 1).as_deref(), Some("other.example:1"));
    assert_eq!(followed(&noise, "", 0).as_deref(), Some("tp.example:8442"));
    assert_eq!(followed(&noise, "::1", 7).as_deref(), Some("[::1]:7"));
    assert_eq!(followed(&noise, "bad host", 7), None);
    assert_eq!(followed(plain, "other.example", 1), None);
    assert_eq!(followed(plain, "tp.example", 9).as_deref(), Some("tp.example:9"));
    assert_eq!(followed(plain, "", 9).as_deref(), Some("tp.example:9"));
}

#[test]
fn a_reader_that_stalls_gets_the_newest_news() {
    let mut rig = Rig::serving();
    for id in 6..2_000 {
        rig.receive(&template(id, id % 2 == 0)).unwrap();
        if id % 2 == 0 {
            rig.receive(&tip(id)).unwrap();
        }
    }
    let events = rig.events();
    let [Event::Template(future), Event::Tip(tip), Event::Template(newest)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(tip.template_id, future.id);
    assert!(newest.id > future.id);

    for id in 2_000..2_128 {
        assert!(rig.core.wants_input());
        rig.receive(&template(id, true)).unwrap();
    }
    assert!(!rig.core.wants_input(), "future templates add up, so reading stops");
}

/// sv2-spec §3.6.1: vendor and hardware version are always set, a device id is not told.
#[test]
fn set_up_says_who_asks() {
    let mut rig = Rig::new("stratum2+tcp://tp.example:8442");
    rig.connect();
    let [frame] = &rig.sent.0[..] else { panic!("expected SetupConnection alone") };
    let message = CommonMessages::decode(frame.header().message_type(), frame.payload()).unwrap();
    let CommonMessages::SetupConnection(setup) = message else { panic!("{message:?}") };
    assert_eq!((setup.protocol, setup.min_version, setup.max_version, setup.flags), (2, 2, 2, 0));
    assert_eq!((setup.endpoint_host.to_string().as_str(), setup.endpoint_port), ("tp.example", 8442));
    assert!(!setup.vendor.is_empty() && !setup.hardware_version.is_empty() && !setup.firmware.is_empty());
    assert!(setup.device_id.is_empty());
}
