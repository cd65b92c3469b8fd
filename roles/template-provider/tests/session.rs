//! The session alone, and against the client that this project has for Template Providers, without sockets.

use std::{sync::Arc, time::Duration};

use binary_sv2::{Message, Seq0_64K, Str0_255};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Target, Transaction, TxIn, TxOut,
    Witness,
    block::{Header, Version},
    consensus::{deserialize, serialize},
    hashes::Hash,
    transaction,
};
use common_messages_sv2::{CommonMessages, Reconnect, SetupConnection, SetupConnectionSuccess};
use extensions_sv2::{ExtensionNegotiation, RequestExtensions, RequestExtensionsSuccess};
use framing_sv2::{Frame, Header as FrameHeader, Sv2Frame};
use template_distribution_sv2::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, SubmitSolution, TemplateDistribution,
};
use template_provider::{
    Action, BAD_SOLUTIONS, Close, FIRST_PAUSE, LIVE_TEMPLATES, PATIENCE, PENDING_REQUESTS, PENDING_SOLUTIONS, Session,
    Settings,
};
use template_source::{
    CoinbaseTemplate, Command, Constraints, Event, Solution, SubmitOutcome, SubmitPath, Template, TemplateId, Tip,
    sv2::{Core, SendError, Sink, Step},
};

const STEP: Duration = Duration::from_secs(10);

const SETTINGS: Settings = Settings { setup: STEP, constraints: STEP, network: Network::Regtest, raw_blocks: true };

const REGTEST_BITS: u32 = 0x207f_ffff;

#[derive(Default)]
struct Frames(Vec<Sv2Frame<'static>>);

impl Sink for Frames {
    fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError> {
        let failed = |e: framing_sv2::Error| SendError { message: M::NAME, reason: e.to_string() };
        self.0.push(Sv2Frame::from_message(message).map_err(failed)?);
        Ok(())
    }
}

/// A session with what it sent and a clock.
struct Rig {
    session: Session,
    sent: Frames,
    now: Duration,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        Self { session: Session::new(Duration::ZERO, settings), sent: Frames::default(), now: Duration::ZERO }
    }

    /// Set up, with constraints, subscribed, and a source that is up.
    fn serving(settings: Settings) -> Self {
        let mut rig = Self::new(settings);
        rig.receive(&setup()).unwrap();
        rig.receive(&constraints(100, 4)).unwrap();
        assert!(matches!(rig.session.poll_action(), Some(Action::Subscribe(_))));
        rig.event(up(Network::Regtest));
        rig.sent.0.clear();
        rig
    }

    fn receive(&mut self, message: &impl Message) -> Result<(), Close> {
        self.session.handle_frame(self.now, &Sv2Frame::from_message(message).unwrap(), &mut self.sent)
    }

    fn receive_raw(&mut self, extension: u16, channel: bool, number: u8, payload: &[u8]) -> Result<(), Close> {
        let header = FrameHeader::new(extension, channel, number, payload.len()).unwrap();
        self.session.handle_frame(self.now, &Sv2Frame::new(header, payload).unwrap(), &mut self.sent)
    }

    fn event(&mut self, event: Event) {
        self.session.handle_event(self.now, event).unwrap();
    }

    fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.session.poll_action())
            .map(|action| match action {
                Action::Command(command) => command,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// What is sent when the client has taken all, in short.
    fn taken(&mut self) -> Vec<String> {
        loop {
            let before = self.sent.0.len();
            self.session.transmit(&mut self.sent).unwrap();
            if self.sent.0.len() == before {
                break;
            }
        }
        self.sent.0.drain(..).map(|frame| short(&frame)).collect()
    }

    /// Gives the client future template `id` and the tip that activates it.
    fn tip(&mut self, id: u64, prev: u8) {
        self.event(template(id, true));
        self.event(tip(id, prev));
    }
}

/// A frame in a few letters: `f1` future template 1, `t2` template 2, `tip1` its activation, and so on.
fn short(frame: &Sv2Frame<'_>) -> String {
    match TemplateDistribution::decode(frame.header().message_type(), frame.payload()) {
        Ok(TemplateDistribution::NewTemplate(m)) => {
            format!("{}{}", if m.future_template { "f" } else { "t" }, m.template_id)
        }
        Ok(TemplateDistribution::SetNewPrevHash(m)) => format!("tip{}", m.template_id),
        Ok(TemplateDistribution::RequestTransactionDataSuccess(m)) => {
            format!("{} transactions of {}", m.transaction_list.len(), m.template_id)
        }
        Ok(TemplateDistribution::RequestTransactionDataError(m)) => format!("{} {}", m.error_code, m.template_id),
        _ => match CommonMessages::decode(frame.header().message_type(), frame.payload()) {
            Ok(CommonMessages::SetupConnectionError(m)) => format!("{} {:#x}", m.error_code, m.flags),
            Ok(other) => other.name().to_owned(),
            Err(error) => error.to_string(),
        },
    }
}

fn setup() -> SetupConnection<'static> {
    SetupConnection {
        protocol: 2,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: Str0_255::EMPTY,
        endpoint_port: 0,
        vendor: Str0_255::try_from("test").unwrap(),
        hardware_version: Str0_255::EMPTY,
        firmware: Str0_255::EMPTY,
        device_id: Str0_255::EMPTY,
    }
}

fn constraints(size: u32, sigops: u16) -> CoinbaseOutputConstraints {
    CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: size,
        coinbase_output_max_additional_sigops: sigops,
    }
}

fn up(network: Network) -> Event {
    Event::Up { network: Some(network), description: "test".into() }
}

fn down() -> Event {
    Event::Down { reason: "gone".into(), retry_in: Duration::ZERO }
}

/// The only transaction beside the coinbase in templates of these tests.
fn payment() -> Transaction {
    let input = TxIn {
        previous_output: OutPoint::new(bitcoin::Txid::from_byte_array([3; 32]), 0),
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[[1; 70]]),
    };
    let output = TxOut { value: Amount::from_sat(1_000), script_pubkey: ScriptBuf::new() };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![input],
        output: vec![output],
    }
}

fn template_with(id: u64, future: bool, merkle_path: Vec<[u8; 32]>) -> Event {
    let coinbase = CoinbaseTemplate {
        version: 2,
        script_sig_prefix: vec![2, 0x2c, 1],
        sequence: u32::MAX,
        value_remaining: 5_000_000_000,
        outputs_count: 0,
        outputs: vec![],
        lock_time: 299,
    };
    let template = Template { id: TemplateId(id), future, height: 300, version: 0x2000_0000, coinbase, merkle_path };
    Event::Template(Arc::new(template))
}

fn template(id: u64, future: bool) -> Event {
    template_with(id, future, vec![payment().compute_txid().to_byte_array()])
}

fn tip(id: u64, prev: u8) -> Event {
    Event::Tip(Tip {
        template_id: TemplateId(id),
        prev_hash: BlockHash::from_byte_array([prev; 32]),
        header_timestamp: 1_800_000_000,
        nbits: REGTEST_BITS,
        target: Target::from_compact(CompactTarget::from_consensus(REGTEST_BITS)).to_le_bytes(),
    })
}

fn transactions(id: u64) -> Event {
    Event::Transactions { id: TemplateId(id), result: Ok(Arc::new(vec![serialize(&payment())])) }
}

fn coinbase() -> Transaction {
    let input = TxIn {
        previous_output: OutPoint::null(),
        script_sig: ScriptBuf::from_bytes(vec![2, 0x2c, 1, 1, 9]),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[[0; 32]]),
    };
    let output = TxOut { value: Amount::from_sat(5_000_000_000), script_pubkey: ScriptBuf::new() };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::from_consensus(299),
        input: vec![input],
        output: vec![output],
    }
}

/// The block that solves `template` of these tests on `prev`. Blocks with other `time`s are other blocks.
fn solved_block(prev: u8, time: u32) -> Block {
    let mut block = Block {
        header: Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: BlockHash::from_byte_array([prev; 32]),
            merkle_root: bitcoin::TxMerkleNode::all_zeros(),
            time,
            bits: CompactTarget::from_consensus(REGTEST_BITS),
            nonce: 0,
        },
        txdata: vec![coinbase(), payment()],
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    let target = Target::from_compact(block.header.bits);
    while block.header.validate_pow(target).is_err() {
        block.header.nonce += 1;
    }
    block
}

fn solution(template_id: u64, block: &Block) -> SubmitSolution<'static> {
    SubmitSolution {
        template_id,
        version: 0x2000_0000,
        header_timestamp: block.header.time,
        header_nonce: block.header.nonce,
        coinbase_tx: serialize(&block.txdata[0]).try_into().unwrap(),
    }
}

fn submitted(hash: BlockHash, path: SubmitPath, outcome: SubmitOutcome) -> Event {
    Event::Submitted { hash, path, outcome }
}

#[test]
fn a_client_is_set_up_and_gets_its_own_subscription() {
    let mut rig = Rig::new(SETTINGS);
    rig.receive(&setup()).unwrap();
    assert_eq!(rig.taken(), ["SetupConnection.Success"]);
    assert!(rig.session.poll_action().is_none());
    rig.receive(&constraints(1_000, 16)).unwrap();
    let expected = Constraints { max_additional_size: 1_000, max_additional_sigops: 16 };
    assert_eq!(rig.session.poll_action(), Some(Action::Subscribe(expected)));
    rig.event(up(Network::Regtest));
    rig.tip(1, 1);
    rig.event(template(2, false));
    assert_eq!(rig.taken(), ["f1", "tip1", "t2"]);
    assert!(rig.session.poll_timeout().is_none(), "a quiet client is fine");
}

#[test]
fn the_wire_form_is_the_source_s_template() {
    let mut rig = Rig::serving(SETTINGS);
    rig.event(template(1, true));
    rig.session.transmit(&mut rig.sent).unwrap();
    let frame = &rig.sent.0[0];
    let decoded = TemplateDistribution::decode(frame.header().message_type(), frame.payload());
    let Ok(TemplateDistribution::NewTemplate(message)) = decoded else { panic!("{decoded:?}") };
    let NewTemplate { coinbase_prefix, merkle_path, coinbase_tx_locktime, .. } = message;
    assert_eq!((coinbase_prefix.as_bytes(), coinbase_tx_locktime), (&[2, 0x2c, 1][..], 299));
    assert!(merkle_path.iter().map(|hash| hash.to_le_bytes()).eq([payment().compute_txid().to_byte_array()]));
}

#[test]
fn set_ups_of_another_kind_are_refused_with_a_code() {
    let refused = |change: fn(&mut SetupConnection<'static>)| {
        let mut rig = Rig::new(SETTINGS);
        let mut message = setup();
        change(&mut message);
        assert!(matches!(rig.receive(&message), Err(Close::Refused { .. })));
        rig.taken()
    };
    assert_eq!(refused(|m| m.protocol = 0), ["unsupported-protocol 0x0"]);
    assert_eq!(refused(|m| m.protocol = 9), ["unsupported-protocol 0x0"]);
    assert_eq!(refused(|m| m.flags = 0b101), ["unsupported-feature-flags 0x5"]);
    let versions = |m: &mut SetupConnection<'static>| (m.min_version, m.max_version) = (3, 4);
    assert_eq!(refused(versions), ["protocol-version-mismatch 0x0"]);
    let wide = |m: &mut SetupConnection<'static>| (m.min_version, m.max_version) = (1, 9);
    let mut rig = Rig::new(SETTINGS);
    let mut message = setup();
    wide(&mut message);
    rig.receive(&message).unwrap();
    assert_eq!(rig.taken(), ["SetupConnection.Success"]);
}

#[test]
fn silence_has_a_deadline_until_the_client_is_served() {
    let late = |rig: &mut Rig| {
        let due = rig.session.poll_timeout().unwrap();
        assert_eq!(due, rig.now + STEP);
        rig.session.handle_timeout(due - Duration::from_millis(1)).unwrap();
        rig.session.handle_timeout(due).unwrap_err().to_string()
    };
    let mut rig = Rig::new(SETTINGS);
    assert!(late(&mut rig).contains("expected SetupConnection within 10 seconds"));
    rig.now = Duration::from_secs(9);
    rig.receive(&setup()).unwrap();
    assert!(late(&mut rig).contains("expected CoinbaseOutputConstraints"));
}

#[test]
fn messages_out_of_place_are_refused_by_name() {
    let ask = RequestTransactionData { template_id: 1 };
    let fresh = || Rig::new(SETTINGS);
    let set_up = || {
        let mut rig = fresh();
        rig.receive(&setup()).unwrap();
        rig
    };
    let serving = || Rig::serving(SETTINGS);
    let text = |result: Result<(), Close>| result.unwrap_err().to_string();
    assert!(text(fresh().receive(&constraints(0, 0))).contains("expected SetupConnection, got Coinbase"));
    assert!(text(fresh().receive(&request_extensions(&[1]))).contains("expected SetupConnection"));
    assert!(text(set_up().receive(&ask)).contains("expected CoinbaseOutputConstraints, got RequestTransactionData"));
    assert!(text(set_up().receive(&setup())).contains("got SetupConnection"));
    assert!(text(serving().receive(&setup())).contains("got SetupConnection"));
    assert!(text(serving().receive(&SetupConnectionSuccess { used_version: 2, flags: 0 })).contains("got Setup"));
    assert!(text(serving().receive(&Reconnect { new_host: Str0_255::EMPTY, new_port: 0 })).contains("got Reconnect"));
    let empty = Seq0_64K::empty();
    let wrong_way = RequestExtensionsSuccess { request_id: 1, supported_extensions: empty };
    assert!(text(serving().receive(&wrong_way)).contains("got RequestExtensions.Success"));
    for number in [0x1a, 0x50, 0x99] {
        let reason = text(serving().receive_raw(0, false, number, &[]));
        assert!(reason.contains(&format!("{number:#04x}")), "{reason}");
    }
    assert!(text(serving().receive_raw(0, false, 0x73, &[1])).contains("malformed RequestTransactionData"));
    assert!(text(serving().receive_raw(0, true, 0x73, &[0; 8])).contains("channel bit"));
    serving().receive_raw(0x4000, false, 0x73, &[1]).unwrap();
    serving().receive_raw(0x0001, true, 0x00, &[1]).unwrap();
}

fn request_extensions(ids: &[u16]) -> RequestExtensions<'static> {
    let requested_extensions = Seq0_64K::try_from_iter(ids.iter().copied()).unwrap();
    RequestExtensions { request_id: 77, requested_extensions }
}

#[test]
fn no_extension_is_supported_and_the_client_is_told() {
    let mut rig = Rig::new(SETTINGS);
    rig.receive(&setup()).unwrap();
    rig.sent.0.clear();
    rig.receive(&request_extensions(&[2, 0x4001])).unwrap();
    rig.receive(&request_extensions(&[])).unwrap();
    let answers: Vec<_> = rig.sent.0.iter().map(|f| (f.header(), f.payload())).collect();
    let decode = |(header, payload): (FrameHeader, _)| {
        assert_eq!(header.extension_type(), 1);
        ExtensionNegotiation::decode(header.message_type(), payload).unwrap()
    };
    let ExtensionNegotiation::RequestExtensionsError(error) = decode(answers[0]) else { panic!("{answers:?}") };
    assert!(error.request_id == 77 && error.unsupported_extensions.iter().eq([2, 0x4001]));
    assert!(error.required_extensions.is_empty());
    assert!(matches!(decode(answers[1]), ExtensionNegotiation::RequestExtensionsSuccess(_)));
    rig.receive(&constraints(0, 0)).unwrap();
}

#[test]
fn constraints_larger_than_a_block_are_refused() {
    // 1168 + 4 * size = 4,000,000.
    let most = 999_708;
    let mut rig = Rig::new(SETTINGS);
    rig.receive(&setup()).unwrap();
    rig.receive(&constraints(most, u16::MAX)).unwrap();
    let reason = rig.receive(&constraints(most + 1, 0)).unwrap_err().to_string();
    assert!(reason.contains("999709 bytes reserve 4000004"), "{reason}");
    let mut rig = Rig::new(SETTINGS);
    rig.receive(&setup()).unwrap();
    assert!(matches!(rig.receive(&constraints(u32::MAX, 0)), Err(Close::Constraints { .. })));
}

#[test]
fn the_newest_constraints_reach_the_source() {
    let mut rig = Rig::serving(SETTINGS);
    rig.receive(&constraints(200, 1)).unwrap();
    rig.receive(&constraints(300, 2)).unwrap();
    let newest = Constraints { max_additional_size: 300, max_additional_sigops: 2 };
    assert_eq!(rig.commands(), [Command::SetConstraints(newest)]);
}

#[test]
fn a_slow_client_gets_the_newest_news_in_order() {
    let mut rig = Rig::serving(SETTINGS);
    rig.tip(1, 1);
    assert_eq!(rig.taken(), ["f1", "tip1"]);
    rig.event(template(2, false));
    rig.event(template(3, true));
    rig.event(template(4, false));
    rig.event(tip(3, 2));
    rig.event(template(5, false));
    rig.event(template(6, true));
    rig.event(template(7, false));
    assert_eq!(rig.taken(), ["f3", "tip3", "f6", "t7"]);
}

#[test]
fn a_template_that_does_not_fit_is_skipped_and_its_tip_ends_the_session() {
    let mut rig = Rig::serving(SETTINGS);
    let Event::Template(good) = template(1, true) else { unreachable!() };
    let mut bad = Template::clone(&good);
    bad.coinbase.script_sig_prefix = vec![0; 9];
    rig.event(Event::Template(Arc::new(bad)));
    assert!(rig.taken().is_empty());
    let reason = rig.session.handle_event(rig.now, tip(1, 1)).unwrap_err();
    assert!(matches!(reason, Close::Lost(1)));
}

#[test]
fn a_source_on_another_chain_is_not_served() {
    let mut rig = Rig::serving(SETTINGS);
    let reason = rig.session.handle_event(rig.now, up(Network::Bitcoin)).unwrap_err().to_string();
    assert!(reason.contains("expected templates of regtest, the source is on bitcoin"), "{reason}");
}

#[test]
fn requests_are_answered_one_at_a_time_in_order() {
    let mut rig = Rig::serving(Settings { raw_blocks: false, ..SETTINGS });
    rig.tip(1, 1);
    rig.event(template(2, false));
    rig.taken();
    assert!(rig.commands().is_empty(), "nothing is fetched ahead for a source without raw blocks");
    for id in [1, 9, 2] {
        rig.receive(&RequestTransactionData { template_id: id }).unwrap();
    }
    assert_eq!(rig.commands(), [Command::RequestTransactions(TemplateId(1))]);
    assert!(rig.taken().is_empty());
    rig.event(transactions(1));
    assert_eq!(rig.taken(), ["1 transactions of 1", "template-id-not-found 9"]);
    assert_eq!(rig.commands(), [Command::RequestTransactions(TemplateId(2))]);
    rig.event(Event::Transactions { id: TemplateId(2), result: Err("retired".into()) });
    assert_eq!(rig.taken(), ["template-id-not-found 2"]);
}

#[test]
fn errors_of_requests_tell_what_is_the_matter() {
    let mut rig = Rig::serving(Settings { raw_blocks: false, ..SETTINGS });
    rig.tip(1, 1);
    rig.tip(2, 2);
    rig.event(template_with(3, true, vec![]));
    rig.taken();
    rig.receive(&RequestTransactionData { template_id: 1 }).unwrap();
    assert_eq!(rig.commands().len(), 1);
    rig.event(Event::Transactions { id: TemplateId(1), result: Err("retired".into()) });
    assert_eq!(rig.taken(), ["stale-template-id 1"]);

    rig.receive(&RequestTransactionData { template_id: 3 }).unwrap();
    assert_eq!(rig.taken(), ["0 transactions of 3"], "known without the source");

    rig.receive(&RequestTransactionData { template_id: 2 }).unwrap();
    let large = Arc::new(vec![vec![0; 8 << 20]; 2]);
    assert_eq!(rig.commands().len(), 1);
    rig.event(Event::Transactions { id: TemplateId(2), result: Ok(large) });
    assert_eq!(rig.taken(), ["transactions-too-large 2"]);

    for _ in 0..=PENDING_REQUESTS {
        rig.receive(&RequestTransactionData { template_id: 2 }).unwrap();
    }
    assert_eq!(rig.sent.0.len(), 1, "one too many is refused at once");
    assert_eq!(rig.commands().len(), 1);
    rig.event(down());
    let mut answers = rig.taken();
    assert_eq!(answers.remove(0), "too-many-requests 2");
    assert_eq!(answers.len(), PENDING_REQUESTS);
    assert!(answers.iter().all(|answer| answer == "template-source-unavailable 2"), "{answers:?}");
}

#[test]
fn a_found_block_goes_to_the_source_with_its_hash() {
    let mut rig = Rig::serving(Settings { raw_blocks: false, ..SETTINGS });
    rig.tip(1, 1);
    let block = solved_block(1, 1_800_000_001);
    rig.receive(&solution(1, &block)).unwrap();
    rig.receive(&solution(1, &block)).unwrap();
    let expected = Solution {
        template_id: TemplateId(1),
        hash: block.block_hash(),
        version: 0x2000_0000,
        header_timestamp: 1_800_000_001,
        header_nonce: block.header.nonce,
        coinbase_tx: serialize(&block.txdata[0]),
    };
    assert_eq!(rig.commands(), [Command::SubmitSolution(expected)], "once");
    assert_eq!(rig.session.pending_solutions(), 1);
    rig.event(submitted(block.block_hash(), SubmitPath::Solution, SubmitOutcome::Accepted));
    assert_eq!(rig.session.pending_solutions(), 0);
}

#[test]
fn solutions_that_are_no_blocks_end_the_connection_in_the_end() {
    let mut rig = Rig::serving(SETTINGS);
    rig.tip(1, 1);
    rig.event(template(2, true));
    rig.commands();
    let block = solved_block(1, 1_800_000_001);
    let good = solution(1, &block);
    let mut weak = good.clone();
    let target = Target::from_compact(block.header.bits);
    let met = |nonce| Header { nonce, ..block.header }.validate_pow(target).is_ok();
    weak.header_nonce = (0..).find(|nonce| !met(*nonce)).unwrap();
    let bad = [
        SubmitSolution { template_id: 9, ..good.clone() },
        SubmitSolution { template_id: 2, ..good.clone() },
        SubmitSolution { coinbase_tx: vec![1, 2].try_into().unwrap(), ..good.clone() },
        weak,
    ];
    for bad in bad.iter().cycle().take(BAD_SOLUTIONS as usize - 1) {
        rig.receive(bad).unwrap();
    }
    assert!(rig.commands().is_empty());
    rig.receive(&good).unwrap();
    assert_eq!(rig.commands().len(), 1, "a good one still counts");
    assert!(matches!(rig.receive(&bad[3]), Err(Close::Solutions(_))));
}

#[test]
fn a_block_that_the_template_s_node_lost_goes_out_whole() {
    let mut rig = Rig::serving(SETTINGS);
    rig.tip(1, 1);
    assert_eq!(rig.commands(), [Command::RequestTransactions(TemplateId(1))], "fetched ahead");
    rig.event(transactions(1));
    let block = solved_block(1, 1_800_000_001);
    let hash = block.block_hash();
    rig.receive(&solution(1, &block)).unwrap();
    rig.event(down());
    assert!(matches!(&rig.commands()[..], [Command::SubmitSolution(_)]));
    rig.event(submitted(hash, SubmitPath::Solution, SubmitOutcome::Failed("no connection".into())));
    rig.now += FIRST_PAUSE;
    rig.session.handle_timeout(rig.now).unwrap();
    assert!(rig.commands().is_empty(), "nothing is tried while the source is down");

    rig.event(up(Network::Regtest));
    let commands = rig.commands();
    let [Command::SubmitBlock { hash: of, block: bytes }] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(*of, hash);
    assert_eq!(deserialize::<Block>(bytes).unwrap(), block);

    rig.event(submitted(hash, SubmitPath::RawBlock, SubmitOutcome::Failed("still loading".into())));
    let due = rig.session.poll_timeout().unwrap();
    assert!(due > rig.now);
    rig.session.handle_timeout(due).unwrap();
    assert!(matches!(&rig.commands()[..], [Command::SubmitBlock { .. }]), "tried again");
    rig.event(submitted(hash, SubmitPath::RawBlock, SubmitOutcome::Rejected("duplicate".into())));
    assert_eq!((rig.session.pending_solutions(), rig.session.poll_timeout()), (0, None), "the node has decided");
}

#[test]
fn a_failed_solution_is_tried_as_a_block_at_once_when_the_source_is_up() {
    let mut rig = Rig::serving(SETTINGS);
    rig.tip(1, 1);
    rig.commands();
    rig.event(transactions(1));
    let block = solved_block(1, 1_800_000_001);
    rig.receive(&solution(1, &block)).unwrap();
    rig.commands();
    rig.event(submitted(block.block_hash(), SubmitPath::Solution, SubmitOutcome::Failed("unknown".into())));
    assert!(matches!(&rig.commands()[..], [Command::SubmitBlock { .. }]));
}

#[test]
fn without_raw_blocks_the_solution_is_tried_until_patience_ends() {
    let mut rig = Rig::serving(Settings { raw_blocks: false, ..SETTINGS });
    rig.tip(1, 1);
    let block = solved_block(1, 1_800_000_001);
    rig.receive(&solution(1, &block)).unwrap();
    let mut tries = 0;
    while rig.session.pending_solutions() > 0 {
        let commands = rig.commands();
        assert!(commands.iter().all(|command| matches!(command, Command::SubmitSolution(_))));
        tries += commands.len();
        rig.event(submitted(block.block_hash(), SubmitPath::Solution, SubmitOutcome::Failed("busy".into())));
        rig.now = rig.session.poll_timeout().unwrap();
        rig.session.handle_timeout(rig.now).unwrap();
    }
    assert_eq!(rig.now, PATIENCE);
    assert!((20..100).contains(&tries), "{tries}");
}

#[test]
fn found_blocks_survive_their_client_and_are_bounded() {
    let mut rig = Rig::serving(SETTINGS);
    rig.tip(1, 1);
    rig.commands();
    rig.event(transactions(1));
    for time in 0..PENDING_SOLUTIONS as u32 + 5 {
        rig.receive(&solution(1, &solved_block(1, 1_800_000_000 + time))).unwrap();
    }
    assert_eq!(rig.commands().len(), PENDING_SOLUTIONS + 5, "each is tried");
    assert_eq!(rig.session.pending_solutions(), PENDING_SOLUTIONS);
    rig.event(down());
    rig.session.detach();
    rig.event(up(Network::Regtest));
    let commands = rig.commands();
    assert_eq!(commands.len(), PENDING_SOLUTIONS);
    for command in commands {
        let Command::SubmitBlock { hash, .. } = command else { panic!("{command:?}") };
        rig.event(submitted(hash, SubmitPath::RawBlock, SubmitOutcome::Accepted));
    }
    assert_eq!(rig.session.pending_solutions(), 0);
}

#[test]
fn late_solutions_count_for_three_tips_and_many_templates() {
    let mut rig = Rig::serving(Settings { raw_blocks: false, ..SETTINGS });
    rig.event(template(1, true));
    rig.event(template(2, true));
    rig.event(tip(1, 1));
    for id in 3..3 + 2 * LIVE_TEMPLATES as u64 {
        rig.event(template(id, false));
    }
    rig.event(tip(2, 2));
    rig.event(template(1_000, false));
    let found = |rig: &mut Rig, id, prev, time| {
        rig.receive(&solution(id, &solved_block(prev, time))).unwrap();
        rig.commands().len()
    };
    assert_eq!(found(&mut rig, 2, 2, 1), 1, "prepared long ago, but its miners have only begun");
    assert_eq!(found(&mut rig, 3, 1, 2), 0, "the oldest made room");
    assert_eq!(found(&mut rig, 2 + 2 * LIVE_TEMPLATES as u64, 1, 3), 1);
    for id in 0..3 {
        rig.tip(2_000 + id, 3 + id as u8);
    }
    assert_eq!(found(&mut rig, 2, 2, 4), 0, "three tips later");
    assert_eq!(found(&mut rig, 2_000, 3, 5), 1);
}

/// Lets a client's core and a session exchange frames until both are silent.
fn exchange(core: &mut Core, session: &mut Session, now: Duration, mut to_session: Frames) -> Result<(), Close> {
    loop {
        let (mut to_core, mut next) = (Frames::default(), Frames::default());
        for frame in &to_session.0 {
            session.handle_frame(now, frame, &mut to_core)?;
        }
        session.transmit(&mut to_core)?;
        for frame in &to_core.0 {
            core.handle_frame(now, frame, &mut next).unwrap();
        }
        core.flushed();
        if to_core.0.is_empty() && next.0.is_empty() {
            return Ok(());
        }
        to_session = next;
    }
}

#[test]
fn our_client_and_our_server_understand_each_other() {
    let now = Duration::from_secs(5);
    let wanted = Constraints { max_additional_size: 321, max_additional_sigops: 8 };
    let mut core = Core::new(now, "stratum2+tcp://h:1".parse().unwrap(), wanted);
    let mut session = Session::new(now, Settings { raw_blocks: false, ..SETTINGS });
    assert!(matches!(core.handle_timeout(now), Step::Connect(_)));
    let mut frames = Frames::default();
    core.connected(now, &mut frames).unwrap();
    exchange(&mut core, &mut session, now, frames).unwrap();
    assert_eq!(session.poll_action(), Some(Action::Subscribe(wanted)));
    for event in [up(Network::Regtest), template(7, true), tip(7, 1), template(9, false)] {
        session.handle_event(now, event).unwrap();
    }
    exchange(&mut core, &mut session, now, Frames::default()).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| core.poll_event()).collect();
    let [Event::Up { .. }, Event::Template(first), Event::Tip(tip), Event::Template(second)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (first.height, first.id, second.id, tip.template_id),
        (300, TemplateId(1), TemplateId(2), TemplateId(1))
    );

    let mut frames = Frames::default();
    let block = solved_block(1, 1_800_000_001);
    let found = Solution {
        template_id: first.id,
        hash: block.block_hash(),
        version: 0x2000_0000,
        header_timestamp: block.header.time,
        header_nonce: block.header.nonce,
        coinbase_tx: serialize(&block.txdata[0]),
    };
    core.handle_command(now, Command::RequestTransactions(second.id), &mut frames).unwrap();
    core.handle_command(now, Command::SubmitSolution(found.clone()), &mut frames).unwrap();
    exchange(&mut core, &mut session, now, frames).unwrap();
    let relayed = Solution { template_id: TemplateId(7), ..found };
    assert_eq!(session.poll_action(), Some(Action::Command(Command::SubmitSolution(relayed))));
    assert_eq!(session.poll_action(), Some(Action::Command(Command::RequestTransactions(TemplateId(9)))));
    session.handle_event(now, transactions(9)).unwrap();
    exchange(&mut core, &mut session, now, Frames::default()).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| core.poll_event()).collect();
    let [Event::Submitted { outcome: SubmitOutcome::Sent, .. }, Event::Transactions { id, result: Ok(list) }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*id, list[0].clone()), (second.id, serialize(&payment())));
}
