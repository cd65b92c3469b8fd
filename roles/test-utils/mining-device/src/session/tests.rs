//! A session against a scripted server, on a clock that the test turns.

use binary_sv2::{B0_32, B0_64K, Seq0_64K, Seq0_255, U256};
use common_messages_sv2::{
    ChannelEndpointChanged, CommonMessages, Reconnect, SetupConnectionError, SetupConnectionSuccess,
};
use const_sv2::{
    flags::mining_success::{REQUIRES_EXTENDED_CHANNELS, REQUIRES_FIXED_VERSION},
    limits::BIP320_VERSION_MASK,
};
use mining_sv2::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannelSuccess, SetCustomMiningJobSuccess, SetExtranoncePrefix, SetGroupChannel, SetNewPrevHash,
    SetTarget, SubmitSharesError, UpdateChannelError,
};
use roles_logic_sv2::{JobId, channel::client::Work};

use super::*;

const CHANNEL: u32 = 5;
const GROUP: u32 = 6;
const EASY: Target = Target::from_zero_bits(1);
const HARD: Target = Target::from_zero_bits(20);

#[derive(Default)]
struct Recorder {
    sent: Vec<(u8, Vec<u8>)>,
    reports: Vec<Report>,
}

impl Sink for Recorder {
    fn send<M: Message>(&mut self, message: &M) {
        self.sent.push((M::MESSAGE_TYPE, message.to_bytes().unwrap()));
    }

    fn report(&mut self, report: Report) {
        self.reports.push(report);
    }
}

/// A session, its sink, and a server's hand.
struct Fixture {
    session: Session,
    out: Recorder,
    now: Duration,
}

impl Fixture {
    fn new(channel: ChannelKind) -> Self {
        let url = "stratum2+tcp://pool.example:3333".parse().unwrap();
        let config = MinerConfig { channel, max_target: EASY, ..MinerConfig::new(url, "alice.worker") };
        let now = Duration::from_secs(1_000);
        let mut out = Recorder::default();
        let session = Session::new(Settings { config, hashrate: 1e6, threads: 3 }, now, &mut out);
        Self { session, out, now }
    }

    /// A session whose channel is open.
    fn open(channel: ChannelKind) -> Self {
        let mut this = Self::new(channel);
        this.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
        match channel {
            ChannelKind::Standard => this.receive(&standard_success()).unwrap(),
            ChannelKind::Extended { .. } => this.receive(&extended_success(8)).unwrap(),
        }
        this
    }

    /// A session that mines job 1.
    fn mining(channel: ChannelKind) -> Self {
        let mut this = Self::open(channel);
        match channel {
            ChannelKind::Standard => this.receive(&standard_job(1, None)).unwrap(),
            ChannelKind::Extended { .. } => this.receive(&extended_job(CHANNEL, 1, None)).unwrap(),
        }
        this.receive(&tip(1, 1)).unwrap();
        this
    }

    fn receive<M: Message>(&mut self, message: &M) -> Result<(), End> {
        let payload = message.to_bytes().unwrap();
        let header = Header::of::<M>(payload.len()).unwrap();
        self.session.handle_frame(self.now, header, &payload, &mut self.out)
    }

    fn sent(&mut self) -> Vec<(u8, Vec<u8>)> {
        mem::take(&mut self.out.sent)
    }

    fn reports(&mut self) -> Vec<Report> {
        mem::take(&mut self.out.reports)
    }

    /// The works of the last assignment; fails if there was none since the last look.
    fn assigned(&mut self) -> (Assignment, Target) {
        let is_assignment = |report| match report {
            Report::Assign { assignment, target } => Some((assignment, target)),
            _ => None,
        };
        self.reports().into_iter().filter_map(is_assignment).next_back().expect("an assignment")
    }

    fn submit(&mut self, work: &Work) {
        let share = FoundShare { generation: 1, work: *work, version: 9, ntime: work.min_ntime, nonce: 77 };
        self.session.handle_share(self.now, &share, &mut self.out);
    }

    fn timeout_after(&self, seconds: u64) -> Result<(), End> {
        self.session.handle_timeout(self.now + Duration::from_secs(seconds))
    }
}

const EXTENDED: ChannelKind = ChannelKind::Extended { min_extranonce_size: 4 };

fn standard_success() -> OpenStandardMiningChannelSuccess {
    OpenStandardMiningChannelSuccess {
        request_id: REQUEST_ID,
        channel_id: CHANNEL,
        target: EASY.into(),
        extranonce_prefix: B0_32::from_truncated(&[1; 20]),
        group_channel_id: GROUP,
    }
}

fn extended_success(extranonce_size: u16) -> OpenExtendedMiningChannelSuccess {
    OpenExtendedMiningChannelSuccess {
        request_id: REQUEST_ID,
        channel_id: CHANNEL,
        target: EASY.into(),
        extranonce_size,
        extranonce_prefix: B0_32::from_truncated(&[1; 12]),
        group_channel_id: GROUP,
    }
}

fn standard_job(job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
    let merkle_root = U256::from_le_bytes([job_id as u8; 32]);
    NewMiningJob { channel_id: CHANNEL, job_id, min_ntime, version: 0x2000_0000, merkle_root }
}

fn extended_job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewExtendedMiningJob<'static> {
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::try_from_iter([U256::from_le_bytes([7; 32])]).unwrap(),
        coinbase_tx_prefix: B0_64K::try_from(vec![job_id as u8; 40]).unwrap(),
        coinbase_tx_suffix: B0_64K::try_from(vec![3; 30]).unwrap(),
    }
}

fn tip(job_id: u32, height: u8) -> SetNewPrevHash {
    let prev_hash = U256::from_le_bytes([height; 32]);
    SetNewPrevHash { channel_id: CHANNEL, job_id, prev_hash, min_ntime: 1_700_000_000, nbits: 0x207f_ffff }
}

fn target(channel_id: u32, target: Target) -> SetTarget {
    SetTarget { channel_id, maximum_target: target.into() }
}

fn decode<'a>((message_type, payload): &'a (u8, Vec<u8>)) -> Mining<'a> {
    Mining::decode(*message_type, payload).unwrap()
}

#[test]
fn set_up_says_what_the_miner_is() {
    for (channel, flags) in [(ChannelKind::Standard, 1), (EXTENDED, 0)] {
        let sent = Fixture::new(channel).sent();
        let [(message_type, payload)] = sent.as_slice() else { panic!("{sent:?}") };
        let CommonMessages::SetupConnection(setup) = CommonMessages::decode(*message_type, payload).unwrap() else {
            panic!("expected SetupConnection, got {message_type}")
        };
        assert_eq!((setup.protocol, setup.min_version, setup.max_version, setup.flags), (0, 2, 2, flags));
        assert_eq!((setup.endpoint_host.to_string().as_str(), setup.endpoint_port), ("pool.example", 3333));
        assert!(!setup.vendor.is_empty() && !setup.hardware_version.is_empty() && !setup.firmware.is_empty());
        assert!(setup.device_id.is_empty(), "no telemetry unless it is configured");
    }
}

#[test]
fn a_channel_of_the_wanted_kind_is_asked_for() {
    for channel in [ChannelKind::Standard, EXTENDED] {
        let mut fixture = Fixture::new(channel);
        fixture.sent();
        fixture.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
        let sent = fixture.sent();
        let (user, hashrate, max_target) = match decode(&sent[0]) {
            Mining::OpenStandardMiningChannel(open) if channel == ChannelKind::Standard => {
                (open.user_identity.to_string(), open.nominal_hash_rate, open.max_target)
            }
            Mining::OpenExtendedMiningChannel(open) if channel == EXTENDED => {
                assert_eq!(open.min_extranonce_size, 4);
                (open.user_identity.to_string(), open.nominal_hash_rate, open.max_target)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((user.as_str(), hashrate, max_target), ("alice.worker", 1e6, EASY.into()));
    }
}

#[test]
fn refusals_end_the_connection_with_the_servers_reason() {
    let mut fixture = Fixture::new(ChannelKind::Standard);
    let error = SetupConnectionError { flags: 1, error_code: "unsupported-feature-flags".try_into().unwrap() };
    let end = fixture.receive(&error).unwrap_err();
    let refused = client::End::Refused { error_code: "unsupported-feature-flags".into(), flags: 1 };
    assert_eq!(end, End::Connection(refused));

    let mut fixture = Fixture::new(ChannelKind::Standard);
    fixture.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
    let error = OpenMiningChannelError { request_id: REQUEST_ID, error_code: "unknown-user\n".try_into().unwrap() };
    assert_eq!(fixture.receive(&error).unwrap_err(), End::OpenRefused("unknown-user\\n".into()));
}

#[test]
fn what_the_server_can_not_do_is_noticed() {
    let setup =
        |channel, used_version, flags| Fixture::new(channel).receive(&SetupConnectionSuccess { used_version, flags });
    assert_eq!(setup(ChannelKind::Standard, 3, 0), Err(Violation::Version { expected: (2, 2), got: 3 }.into()));
    assert_eq!(setup(ChannelKind::Standard, 2, REQUIRES_EXTENDED_CHANNELS), Err(End::ExtendedOnly));
    assert_eq!(setup(EXTENDED, 2, REQUIRES_EXTENDED_CHANNELS), Ok(()));

    let mut fixture = Fixture::new(EXTENDED);
    fixture.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
    assert_eq!(fixture.receive(&extended_success(3)), Err(End::ExtranonceSize { expected: 4, got: 3 }));
}

fn is_unexpected(result: Result<(), End>) -> bool {
    matches!(result, Err(End::Connection(client::End::Violation(Violation::Unexpected { .. }))))
}

#[test]
fn the_answer_must_be_to_our_request_and_of_our_kind() {
    let opening = |channel| {
        let mut fixture = Fixture::new(channel);
        fixture.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
        fixture
    };
    let expected = "the answer to the request for a channel";
    let unexpected = Violation::Unexpected { expected, got: "OpenStandardMiningChannel.Success" };
    assert_eq!(opening(EXTENDED).receive(&standard_success()), Err(unexpected.into()));
    let other = OpenStandardMiningChannelSuccess { request_id: 2, ..standard_success() };
    assert_eq!(opening(ChannelKind::Standard).receive(&other), Err(unexpected.into()));
    // A second answer is one too many.
    assert!(is_unexpected(Fixture::open(ChannelKind::Standard).receive(&standard_success())));
}

#[test]
fn a_future_job_starts_with_its_previous_hash() {
    let mut fixture = Fixture::open(ChannelKind::Standard);
    fixture.reports();
    fixture.receive(&standard_job(1, None)).unwrap();
    assert!(fixture.reports().is_empty(), "nothing to hash yet");
    fixture.receive(&tip(1, 1)).unwrap();
    let (assignment, target) = fixture.assigned();
    assert_eq!((assignment.works.len(), assignment.version_mask, target), (1, BIP320_VERSION_MASK, EASY));
    assert_eq!((assignment.works[0].job_id, assignment.works[0].merkle_root), (JobId(1), [1; 32]));
}

#[test]
fn a_job_with_a_time_starts_at_once() {
    let mut fixture = Fixture::mining(ChannelKind::Standard);
    fixture.reports();
    fixture.receive(&standard_job(2, Some(1_700_000_009))).unwrap();
    let (assignment, _) = fixture.assigned();
    assert_eq!((assignment.works[0].job_id, assignment.works[0].min_ntime), (JobId(2), 1_700_000_009));
}

#[test]
fn each_thread_of_an_extended_channel_has_an_extranonce_of_its_own() {
    let mut fixture = Fixture::mining(EXTENDED);
    let (assignment, _) = fixture.assigned();
    let extranonces: Vec<u8> =
        assignment.works.iter().map(|work| *work.extranonce.unwrap().as_bytes().last().unwrap()).collect();
    assert_eq!(extranonces, [0, 1, 2]);
    assert_ne!(assignment.works[0].merkle_root, assignment.works[1].merkle_root);
}

#[test]
fn jobs_of_the_group_are_ours_and_those_of_others_are_not() {
    let mut fixture = Fixture::mining(EXTENDED);
    fixture.reports();
    fixture.receive(&extended_job(99, 2, Some(1_700_000_000))).unwrap();
    assert!(fixture.reports().is_empty());
    fixture.receive(&extended_job(GROUP, 2, Some(1_700_000_000))).unwrap();
    assert_eq!(fixture.assigned().0.works[0].job_id, JobId(2));
    let channel_ids = Seq0_64K::try_from_iter([CHANNEL, 70]).unwrap();
    fixture.receive(&SetGroupChannel { group_channel_id: 99, channel_ids }).unwrap();
    fixture.receive(&extended_job(GROUP, 3, Some(1_700_000_000))).unwrap();
    assert!(fixture.reports().is_empty(), "no longer our group");
    fixture.receive(&extended_job(99, 3, Some(1_700_000_000))).unwrap();
    assert_eq!(fixture.assigned().0.works[0].job_id, JobId(3));
}

#[test]
fn a_server_that_fixes_versions_gets_none_rolled() {
    let mut fixture = Fixture::new(ChannelKind::Standard);
    fixture.receive(&SetupConnectionSuccess { used_version: 2, flags: REQUIRES_FIXED_VERSION }).unwrap();
    fixture.receive(&standard_success()).unwrap();
    fixture.receive(&standard_job(1, None)).unwrap();
    fixture.receive(&tip(1, 1)).unwrap();
    assert_eq!(fixture.assigned().0.version_mask, 0);
}

#[test]
fn a_harder_target_retargets_and_an_easier_one_waits_for_the_next_job() {
    let mut fixture = Fixture::mining(ChannelKind::Standard);
    fixture.reports();
    fixture.receive(&target(CHANNEL, HARD)).unwrap();
    assert!(matches!(fixture.reports().as_slice(), [Report::Retarget(HARD)]));
    fixture.receive(&target(GROUP, EASY)).unwrap();
    assert!(fixture.reports().is_empty());
    fixture.receive(&standard_job(2, Some(1_700_000_000))).unwrap();
    assert_eq!(fixture.assigned().1, EASY);
    fixture.receive(&target(99, HARD)).unwrap();
    fixture.receive(&standard_job(3, Some(1_700_000_000))).unwrap();
    assert_eq!(fixture.assigned().1, EASY, "the target was another channel's");
}

#[test]
fn a_new_prefix_is_for_jobs_to_come() {
    let mut fixture = Fixture::mining(EXTENDED);
    let before = fixture.assigned().0.works[0].merkle_root;
    let prefix =
        |bytes: &[u8]| SetExtranoncePrefix { channel_id: CHANNEL, extranonce_prefix: B0_32::from_truncated(bytes) };
    fixture.receive(&prefix(&[2; 12])).unwrap();
    fixture.receive(&extended_job(CHANNEL, 1, Some(1_700_000_000))).unwrap();
    assert_ne!(fixture.assigned().0.works[0].merkle_root, before);
    assert!(matches!(fixture.receive(&prefix(&[2; 11])), Err(End::Protocol(ClientError::PrefixSize { .. }))));
}

#[test]
fn shares_go_out_numbered() {
    let mut fixture = Fixture::mining(EXTENDED);
    let (assignment, _) = fixture.assigned();
    fixture.sent();
    fixture.submit(&assignment.works[2]);
    fixture.submit(&assignment.works[2]);
    let sent = fixture.sent();
    let shares: Vec<_> = sent
        .iter()
        .map(|frame| match decode(frame) {
            Mining::SubmitSharesExtended(share) => share,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(shares.iter().map(|share| share.sequence_number).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((shares[0].channel_id, shares[0].job_id, shares[0].version, shares[0].nonce), (CHANNEL, 1, 9, 77));
    assert_eq!(shares[0].extranonce.as_bytes(), [0, 0, 0, 0, 0, 0, 0, 2]);
    assert!(matches!(fixture.reports().as_slice(), [Report::Submitted, Report::Submitted]));
}

#[test]
fn a_share_of_an_older_job_counts_until_the_tip_changes() {
    let mut fixture = Fixture::mining(ChannelKind::Standard);
    let work = fixture.assigned().0.works[0];
    fixture.receive(&standard_job(2, Some(1_700_000_000))).unwrap();
    fixture.receive(&standard_job(3, None)).unwrap();
    fixture.sent();
    fixture.submit(&work);
    assert_eq!(fixture.sent().len(), 1);
    fixture.receive(&tip(3, 2)).unwrap();
    fixture.reports();
    fixture.submit(&work);
    assert!(fixture.sent().is_empty());
    assert!(matches!(fixture.reports().as_slice(), [Report::Discarded]));
}

#[test]
fn answers_are_counted() {
    let mut fixture = Fixture::mining(ChannelKind::Standard);
    fixture.reports();
    let success = SubmitSharesSuccess {
        channel_id: CHANNEL,
        last_sequence_number: 3,
        new_submits_accepted_count: 4,
        new_shares_sum: 10,
    };
    fixture.receive(&success).unwrap();
    let error = |channel_id| SubmitSharesError {
        channel_id,
        sequence_number: 4,
        error_code: "stale-share".try_into().unwrap(),
    };
    fixture.receive(&error(CHANNEL)).unwrap();
    fixture.receive(&error(99)).unwrap();
    let update = UpdateChannelError { channel_id: CHANNEL, error_code: "no".try_into().unwrap() };
    fixture.receive(&update).unwrap();
    let reports = fixture.reports();
    let [Report::Accepted { count: 4, credited: 10 }, Report::Rejected { code }, Report::Warning(_)] =
        reports.as_slice()
    else {
        panic!("{reports:?}")
    };
    assert_eq!(code, "stale-share");
}

#[test]
fn the_server_may_end_the_channel_or_send_us_elsewhere() {
    let close = |channel_id| CloseChannel { channel_id, reason_code: "maintenance".try_into().unwrap() };
    let closed = Err(End::ChannelClosed("maintenance".into()));
    assert_eq!(Fixture::mining(ChannelKind::Standard).receive(&close(CHANNEL)), closed);
    assert_eq!(Fixture::mining(EXTENDED).receive(&close(GROUP)), closed);
    assert_eq!(Fixture::mining(EXTENDED).receive(&close(99)), Ok(()));
    let reconnect = Reconnect { new_host: "b.example".try_into().unwrap(), new_port: 9 };
    let redirected = End::Redirected { host: "b.example".into(), port: 9 };
    assert_eq!(redirected.to_string(), "the server asks to reconnect to b.example:9");
    assert_eq!(Fixture::new(EXTENDED).receive(&reconnect), Err(redirected.clone()));
    assert_eq!(Fixture::mining(EXTENDED).receive(&reconnect), Err(redirected));
}

#[test]
fn broken_rules_end_the_connection() {
    let protocol = |end: Result<(), End>| matches!(end, Err(End::Protocol(_)));
    assert!(protocol(Fixture::open(ChannelKind::Standard).receive(&tip(1, 1))), "no such future job");
    assert!(protocol(Fixture::open(ChannelKind::Standard).receive(&standard_job(1, Some(1)))), "no tip yet");
    assert!(protocol(Fixture::mining(EXTENDED).receive(&standard_job(2, None))), "a standard job");
    assert!(is_unexpected(Fixture::new(EXTENDED).receive(&tip(1, 1))));
    let setup = SetupConnectionSuccess { used_version: 2, flags: 0 };
    assert!(is_unexpected(Fixture::mining(EXTENDED).receive(&setup)));
    let custom = SetCustomMiningJobSuccess { channel_id: CHANNEL, request_id: 1, job_id: 1 };
    assert!(is_unexpected(Fixture::mining(EXTENDED).receive(&custom)));
}

#[test]
fn unknown_extensions_are_ignored_and_unknown_messages_are_not() {
    let mut fixture = Fixture::mining(ChannelKind::Standard);
    let frame = |fixture: &mut Fixture, extension, message_type, payload: &[u8]| {
        let header = Header::new(extension, false, message_type, payload.len()).unwrap();
        fixture.session.handle_frame(fixture.now, header, payload, &mut fixture.out)
    };
    assert_eq!(frame(&mut fixture, 0x4242, 0x00, &[1, 2, 3]), Ok(()));
    assert_eq!(fixture.receive(&ChannelEndpointChanged { channel_id: CHANNEL }), Ok(()));
    assert_eq!(frame(&mut fixture, 0, 0xee, &[]), Err(DecodeError::UnknownMessageType(0xee).into()));
    let malformed = frame(&mut fixture, 0, NewMiningJob::MESSAGE_TYPE, &[1, 2, 3]).unwrap_err().to_string();
    assert!(malformed.contains("malformed NewMiningJob"), "{malformed}");
}

#[test]
fn every_stage_has_a_deadline() {
    let late = |fixture: &Fixture, seconds: u64| {
        assert_eq!(fixture.timeout_after(seconds - 1), Ok(()));
        assert_eq!(fixture.session.poll_timeout(), fixture.now + Duration::from_secs(seconds));
        fixture.timeout_after(seconds).unwrap_err().to_string()
    };
    let mut fixture = Fixture::new(ChannelKind::Standard);
    assert_eq!(late(&fixture, 10), "expected SetupConnection.Success within 10 seconds, nothing came");
    fixture.now += Duration::from_secs(9);
    fixture.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 }).unwrap();
    assert_eq!(late(&fixture, 10), "expected an answer to the request for a channel within 10 seconds, nothing came");
    fixture.now += Duration::from_secs(9);
    fixture.receive(&standard_success()).unwrap();
    assert_eq!(late(&fixture, 60), "expected a job that can be started within 60 seconds, nothing came");
    fixture.receive(&standard_job(1, None)).unwrap();
    fixture.receive(&tip(1, 1)).unwrap();
    assert_eq!(late(&fixture, 1_800), "expected a message within 1800 seconds, nothing came");
    let work = fixture.assigned().0.works[0];
    fixture.now += Duration::from_secs(100);
    fixture.submit(&work);
    assert_eq!(late(&fixture, 300), "expected an answer to shares within 300 seconds, nothing came");
    fixture.now += Duration::from_secs(200);
    fixture.submit(&work);
    assert_eq!(late(&fixture, 100), "expected an answer to shares within 300 seconds, nothing came");
    fixture.receive(&target(CHANNEL, EASY)).unwrap();
    assert_eq!(late(&fixture, 1_800), "expected a message within 1800 seconds, nothing came");
}

#[test]
fn a_wrong_hashrate_is_corrected_once_it_lasts() {
    let mut fixture = Fixture::mining(ChannelKind::Standard);
    fixture.sent();
    let mut measure = |seconds, hashrate| {
        fixture.now += Duration::from_secs(seconds);
        fixture.session.handle_hashrate(fixture.now, hashrate, &mut fixture.out);
        fixture.sent().iter().map(|frame| decode(frame).into_owned()).collect::<Vec<_>>()
    };
    assert!(measure(100, 1.9e6).is_empty(), "near enough");
    assert!(measure(1, 9e6).is_empty() && measure(1, 9e6).is_empty(), "might be a moment's load");
    let expected = UpdateChannel { channel_id: CHANNEL, nominal_hash_rate: 9e6, maximum_target: EASY.into() };
    assert_eq!(measure(1, 9e6), [Mining::UpdateChannel(expected)]);
    assert!((0..28).all(|_| measure(1, 1e6).is_empty()), "not so soon after the last");
    assert_eq!(measure(2, 1e6).len(), 1);
    let announced = |report| if let Report::Announced(hashrate) = report { Some(hashrate) } else { None };
    assert_eq!(fixture.reports().into_iter().filter_map(announced).collect::<Vec<_>>(), [9e6, 1e6]);
}

#[test]
fn good_bye_is_said_for_an_open_channel() {
    let mut fixture = Fixture::mining(ChannelKind::Standard);
    fixture.sent();
    fixture.session.close(&mut fixture.out);
    let sent = fixture.sent();
    assert!(matches!(decode(&sent[0]), Mining::CloseChannel(CloseChannel { channel_id: CHANNEL, .. })));
    let mut fixture = Fixture::new(ChannelKind::Standard);
    fixture.sent();
    fixture.session.close(&mut fixture.out);
    assert!(fixture.sent().is_empty());
}
