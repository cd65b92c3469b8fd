//! What a pool can do wrong, and what becomes of the miner: its connection goes on, or ends for a reason that says what
//! happened. In either case it mines on, in the end on a connection to a pool that is honest.

use std::time::Duration;

use binary_sv2::{B0_32, Message, Seq0_64K, U256};
use common_messages_sv2::{ChannelEndpointChanged, Reconnect, SetupConnectionError, SetupConnectionSuccess};
use mining_device::{ChannelKind, Deadlines, MAX_MESSAGE_BYTES, MinerConfig};
use mining_sv2::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetCustomMiningJobSuccess, SetExtranoncePrefix,
    SetGroupChannel, SetNewPrevHash, SetTarget, SubmitSharesError, SubmitSharesStandard, SubmitSharesSuccess,
    UpdateChannelError,
};
use test_pool::{Act, Script, Settings, TestPool};

use super::{EXTENDED, Miner, config};

/// The first channel of a connection; the group is 1.
const CHANNEL: u32 = 2;
/// A deadline that is missed on purpose.
const SHORT: Duration = Duration::from_millis(300);

/// What a script does to a miner.
enum Outcome {
    /// The connection goes on.
    GoesOn,
    /// It ends for a reason that contains this.
    Ends(&'static str),
}

use Outcome::{Ends, GoesOn};

struct Case {
    what: &'static str,
    channel: ChannelKind,
    plain: bool,
    script: Script,
    /// Shortens the one deadline that matters.
    deadline: fn(&mut Deadlines),
    outcome: Outcome,
}

fn standard(what: &'static str, script: Script, outcome: Outcome) -> Case {
    Case { what, channel: ChannelKind::Standard, plain: false, script, deadline: |_| (), outcome }
}

fn extended(what: &'static str, script: Script, outcome: Outcome) -> Case {
    Case { channel: EXTENDED, ..standard(what, script, outcome) }
}

fn late(what: &'static str, script: Script, deadline: fn(&mut Deadlines), reason: &'static str) -> Case {
    Case { deadline, ..standard(what, script, Ends(reason)) }
}

async fn check(cases: Vec<Case>) {
    for Case { what, channel, plain, script, deadline, outcome } in cases {
        let mut pool = TestPool::start(Settings { plain, ..Settings::default() }, vec![script]).await.unwrap();
        let mut config: MinerConfig = config(&pool, channel);
        deadline(&mut config.deadlines);
        let mut miner = Miner::start(config);
        let seen = async {
            if let Ends(reason) = outcome {
                miner.ended(reason).await;
            }
            let before = miner.status.borrow().accepted;
            miner.wait(|status| status.accepted > before + 2).await
        };
        let Ok(status) = tokio::time::timeout(Duration::from_secs(60), seen).await else {
            panic!("{what}: the miner hangs: {:?}, {:?}", *miner.status.borrow(), pool.status());
        };
        match outcome {
            GoesOn => assert_eq!((status.disconnects, status.channels_opened), (0, 1), "{what}: {status:?}"),
            Ends(_) => assert!(status.disconnects >= 1, "{what}: {status:?}"),
        }
        miner.stop().await;
        pool.wait(|status| status.closed >= 1).await;
    }
}

fn before_setup(act: Act) -> Script {
    Script::new().at_accept(act)
}

fn at_setup(act: Act) -> Script {
    Script::new().instead::<SetupConnectionSuccess>(act)
}

fn at_open(act: Act) -> Script {
    Script::new().instead::<OpenStandardMiningChannelSuccess>(act)
}

fn at_job(act: Act) -> Script {
    Script::new().instead::<NewMiningJob>(act)
}

fn at_tip(act: Act) -> Script {
    Script::new().instead::<SetNewPrevHash>(act)
}

/// While mining.
fn later(act: Act) -> Script {
    Script::new().after::<SubmitSharesSuccess>(act)
}

fn tip(job_id: u32) -> SetNewPrevHash {
    let prev_hash = U256::from_le_bytes([8; 32]);
    SetNewPrevHash { channel_id: CHANNEL, job_id, prev_hash, min_ntime: 1_700_000_000, nbits: 0x1701_0000 }
}

fn job(job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
    let merkle_root = U256::from_le_bytes([4; 32]);
    NewMiningJob { channel_id: CHANNEL, job_id, min_ntime, version: 0x2000_0000, merkle_root }
}

fn target(channel_id: u32, target: [u8; 32]) -> Act {
    Act::send(&SetTarget { channel_id, maximum_target: U256::from_le_bytes(target) })
}

#[tokio::test]
async fn before_the_protocol_begins() {
    let error = SetupConnectionError { flags: 0, error_code: "server-busy".try_into().unwrap() };
    let elsewhere = Reconnect { new_host: "".try_into().unwrap(), new_port: 0 };
    check(vec![
        standard("closes at once", before_setup(Act::Close), Ends("closed the connection during")),
        standard("resets at once", before_setup(Act::Reset), Ends("the connection failed during")),
        standard("is no noise", before_setup(Act::Raw(vec![b'{'; 300])), Ends("cannot decrypt during")),
        late("accepts and is silent", before_setup(Act::Silence), |d| d.connect = SHORT, "did not answer in time"),
        standard("is slow to begin", before_setup(Act::Wait(SHORT)), GoesOn),
        late(
            "does not answer the set-up",
            at_setup(Act::Nothing),
            |d| d.setup = SHORT,
            "expected SetupConnection.Success within",
        ),
        standard("refuses the set-up", at_setup(Act::send(&error)), Ends("refused the connection: server-busy")),
        standard(
            "uses another version",
            at_setup(Act::Patch { at: 0, with: vec![3, 0] }),
            Ends("expected version 2 of the protocol, got 3"),
        ),
        standard(
            "sets flags that contradict ours",
            at_setup(Act::Patch { at: 2, with: vec![2] }),
            Ends("--channel extended"),
        ),
        standard("cuts its answer short", at_setup(Act::Truncate(5)), Ends("malformed SetupConnection.Success")),
        standard(
            "answers twice",
            Script::new().after::<SetupConnectionSuccess>(Act::Again),
            Ends("got SetupConnection.Success"),
        ),
        standard("gives jobs first", at_setup(Act::send(&job(1, None))), Ends("got NewMiningJob")),
        standard(
            "talks like a client",
            at_setup(Act::send(&SubmitSharesStandard {
                channel_id: 1,
                sequence_number: 0,
                job_id: 1,
                nonce: 0,
                ntime: 0,
                version: 0,
            })),
            Ends("expected what servers send, got SubmitSharesStandard"),
        ),
        standard(
            "sends us in a circle",
            at_setup(Act::send(&elsewhere)),
            Ends("asks to reconnect to the same address"),
        ),
        standard(
            "speaks of extensions unasked",
            at_setup(Act::frame(1, false, 1, vec![1, 0, 0, 0])),
            Ends("got RequestExtensions.Success"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn while_the_channel_opens() {
    let refused = |request_id| OpenMiningChannelError { request_id, error_code: "unknown-user".try_into().unwrap() };
    let other_kind = OpenExtendedMiningChannelSuccess {
        request_id: 1,
        channel_id: CHANNEL,
        target: U256::MAX,
        extranonce_size: 8,
        extranonce_prefix: B0_32::EMPTY,
        group_channel_id: 1,
    };
    let expected = "expected the answer to the request for a channel";
    let opens_small = OpenExtendedMiningChannelSuccess { extranonce_size: 3, ..other_kind };
    let opens_large = OpenExtendedMiningChannelSuccess { extranonce_size: 33, ..other_kind };
    let at_extended = |act| Script::new().instead::<OpenExtendedMiningChannelSuccess>(act);
    check(vec![
        late(
            "does not open",
            at_open(Act::Silence),
            |d| d.open = SHORT,
            "an answer to the request for a channel within",
        ),
        late(
            "reads no more",
            Script::new()
                .on::<OpenStandardMiningChannel<'_>>(Act::Silence)
                .on::<OpenStandardMiningChannel<'_>>(Act::Deaf),
            |d| d.open = SHORT,
            "an answer to the request for a channel within",
        ),
        standard("answers another request", at_open(Act::wrong_id()), Ends(expected)),
        standard("opens another kind", at_open(Act::send(&other_kind)), Ends(expected)),
        standard("refuses the channel", at_open(Act::send(&refused(1))), Ends("refused the channel: unknown-user")),
        standard("refuses another's channel", at_open(Act::send(&refused(7))), Ends(expected)),
        standard(
            "cuts its answer short",
            at_open(Act::Truncate(20)),
            Ends("malformed OpenStandardMiningChannel.Success"),
        ),
        standard(
            "opens twice",
            Script::new().after::<OpenStandardMiningChannelSuccess>(Act::Again),
            Ends("expected jobs and answers to shares"),
        ),
        extended(
            "grants too small an extranonce",
            at_extended(Act::send(&opens_small)),
            Ends("expected at least 4 bytes of extranonce"),
        ),
        extended("grants too large an extranonce", at_extended(Act::send(&opens_large)), Ends("broke the protocol")),
        standard("closes the connection", at_open(Act::Close), Ends("closed the connection during")),
        late("gives no job", at_job(Act::Silence), |d| d.first_job = SHORT, "a job that can be started within"),
    ])
    .await;
}

#[tokio::test]
async fn with_jobs_and_tips() {
    let unknown = "expected a SetNewPrevHash for a future job";
    let other_job = |act| Script::new().instead::<NewExtendedMiningJob<'_>>(act);
    let prefix = SetExtranoncePrefix { channel_id: CHANNEL, extranonce_prefix: B0_32::from_truncated(&[1; 5]) };
    let regroup = SetGroupChannel { group_channel_id: 9, channel_ids: Seq0_64K::try_from_iter([CHANNEL, 77]).unwrap() };
    check(vec![
        standard("repeats a job", Script::new().after::<NewMiningJob>(Act::Again), GoesOn),
        extended("repeats an extended job", Script::new().after::<NewExtendedMiningJob<'_>>(Act::Again), GoesOn),
        standard("repeats a tip", Script::new().after::<SetNewPrevHash>(Act::Again), Ends(unknown)),
        standard("gives a job to another channel", at_job(Act::wrong_id()), Ends(unknown)),
        extended("gives an extended job to another channel", other_job(Act::wrong_id()), Ends(unknown)),
        standard("cuts a job short", at_job(Act::Truncate(12)), Ends("malformed NewMiningJob")),
        standard(
            "gives a job that needs a tip",
            at_job(Act::send(&job(1, Some(1)))),
            Ends("expected a SetNewPrevHash before job 1"),
        ),
        extended("gives a standard job", other_job(Act::send(&job(1, None))), Ends("expected extended jobs")),
        standard("starts an unknown job", at_tip(Act::send(&tip(4_711))), Ends("got job 4711")),
        late(
            "starts another's job",
            at_tip(Act::wrong_id()),
            |d| d.first_job = SHORT,
            "a job that can be started within",
        ),
        standard(
            "has an impossible target",
            at_tip(Act::Patch { at: 44, with: vec![0; 4] }),
            Ends("broke the protocol"),
        ),
        standard("is slow with the job", Script::new().before::<NewMiningJob>(Act::Wait(SHORT)), GoesOn),
        standard(
            "gives more jobs than are kept",
            (0..20).fold(Script::new(), |script, id| script.after::<SetNewPrevHash>(Act::send(&job(100 + id, None)))),
            GoesOn,
        ),
        extended("changes the size of the prefix", later(Act::send(&prefix)), Ends("expected an extranonce prefix of")),
        standard("moves the channel to another group", later(Act::send(&regroup)), GoesOn),
    ])
    .await;
}

#[tokio::test]
async fn while_mining() {
    let close = |channel_id| Act::send(&CloseChannel { channel_id, reason_code: "maintenance\n".try_into().unwrap() });
    let elsewhere = Reconnect { new_host: "bad host\u{7}".try_into().unwrap(), new_port: 1 };
    let accepted = |channel_id| SubmitSharesSuccess {
        channel_id,
        last_sequence_number: u32::MAX,
        new_submits_accepted_count: 0,
        new_shares_sum: u64::MAX,
    };
    let rejected =
        |channel_id| SubmitSharesError { channel_id, sequence_number: 99, error_code: "no".try_into().unwrap() };
    let answer = |d: &mut Deadlines| d.answer = SHORT;
    let custom = SetCustomMiningJobSuccess { channel_id: CHANNEL, request_id: 1, job_id: 1 };
    let update = UpdateChannelError { channel_id: CHANNEL, error_code: "no".try_into().unwrap() };
    check(vec![
        late("falls silent", later(Act::Silence), answer, "an answer to shares within"),
        late(
            "answers no shares",
            Script::new().on::<SubmitSharesStandard>(Act::Silence),
            answer,
            "an answer to shares within",
        ),
        late(
            "makes shares impossible",
            later(target(CHANNEL, [0; 32])),
            |d| d.silence = SHORT,
            "expected a message within",
        ),
        standard("sets a target for others", later(target(77, [0; 32])), GoesOn),
        standard("answers shares of others", later(Act::send(&accepted(77))), GoesOn),
        standard("credits too much", later(Act::send(&accepted(CHANNEL))), GoesOn),
        standard("rejects what was not sent", later(Act::send(&rejected(CHANNEL))), GoesOn),
        standard("refuses an update that was not made", later(Act::send(&update)), GoesOn),
        standard(
            "takes a job that was not declared",
            later(Act::send(&custom)),
            Ends("got SetCustomMiningJob.Success"),
        ),
        standard("closes the channel", later(close(CHANNEL)), Ends("closed the channel: maintenance\\n")),
        standard("closes the group", later(close(1)), Ends("closed the channel")),
        standard("closes another channel", later(close(77)), GoesOn),
        standard("sends us to no host", later(Act::send(&elsewhere)), Ends("asks to reconnect to bad host\\u{7}:1")),
        standard(
            "says that the endpoint changed",
            later(Act::send(&ChannelEndpointChanged { channel_id: CHANNEL })),
            GoesOn,
        ),
        standard("uses an unknown extension", later(Act::frame(0x4001, true, 0x1c, vec![1, 2])), GoesOn),
        standard(
            "sends an unknown message",
            later(Act::frame(0, false, 0xee, vec![])),
            Ends("unknown message type 0xee"),
        ),
        standard(
            "puts rubbish behind a message",
            later(Act::frame(0, true, SetTarget::MESSAGE_TYPE, vec![2; 40])),
            Ends("malformed SetTarget"),
        ),
        standard(
            "sends too long a frame",
            later(Act::frame(0, false, 0x1f, vec![0; MAX_MESSAGE_BYTES as usize + 1])),
            Ends("oversized frame"),
        ),
        standard("sends bytes that are not encrypted", later(Act::Raw(vec![0; 64])), Ends("cannot decrypt during")),
        Case {
            plain: true,
            ..standard(
                "stops in a frame",
                Script::new()
                    .after::<SubmitSharesSuccess>(Act::Raw(vec![0, 0, 0x21, 36]))
                    .after::<SubmitSharesSuccess>(Act::Close),
                Ends("inside a frame"),
            )
        },
        Case {
            plain: true,
            ..standard(
                "announces a huge frame",
                later(Act::Raw(vec![0, 0, 0x21, 0xff, 0xff, 0xff])),
                Ends("oversized frame"),
            )
        },
        standard("resets", later(Act::Reset), Ends("the connection failed during")),
    ])
    .await;
}
