use binary_sv2::{B0_64K, B0_255, Seq0_64K, Seq0_255, U256};
use common_messages_sv2::SetupConnectionSuccess;
use extensions_sv2::{RequestExtensions, RequestExtensionsError};
use mining_sv2::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess,
    SetNewPrevHash, SubmitSharesSuccess,
};
use roles_logic_sv2::{
    channel::client::{ClientChannel, Submission},
    extranonce::Layout,
    session::client::{Device, setup_connection},
};

use super::*;
use crate::jobs::Jobs;

const NOW: Duration = Duration::from_secs(1_700_000_000);
const EASY: Target = Target::from_zero_bits(2);

struct Rig {
    session: Session,
    jobs: Jobs,
    round: Round,
}

impl Rig {
    /// A connection that is set up.
    fn new() -> Self {
        let mut jobs = Jobs::new(0x1701_0000);
        let round = jobs.next_tip(NOW);
        let space = Space::new(Layout::SV2_DEFAULT, 0, 0).unwrap();
        let mut this = Self { session: Session::new(NOW, space, EASY, round.clone()), jobs, round };
        assert_eq!(this.give(&setup(0)), Ok(vec![SetupConnectionSuccess::MESSAGE_TYPE]));
        this
    }

    fn give<M: Message>(&mut self, message: &M) -> Result<Vec<u8>, End> {
        let frames = self.frames(message)?;
        Ok(frames.iter().map(|frame| frame.header().message_type()).collect())
    }

    fn frames<M: Message>(&mut self, message: &M) -> Result<Vec<Sv2Frame<'static>>, End> {
        let frame = Sv2Frame::from_message(message).unwrap();
        self.session.handle_frame(NOW, frame.header(), frame.payload())?;
        Ok(self.session.take_sent())
    }

    fn tell(&mut self) -> Vec<u8> {
        self.session.handle_round(NOW, &self.round);
        self.session.take_sent().iter().map(|frame| frame.header().message_type()).collect()
    }
}

fn setup(protocol: u8) -> common_messages_sv2::SetupConnection<'static> {
    let device = Device { vendor: "v", hardware_version: "", firmware: "", device_id: "" };
    common_messages_sv2::SetupConnection { protocol, ..setup_connection::<Mining>(0, "host", 1, &device) }
}

fn open_standard() -> OpenStandardMiningChannel<'static> {
    OpenStandardMiningChannel {
        request_id: 5,
        user_identity: Str0_255::EMPTY,
        nominal_hash_rate: 1.0,
        max_target: U256::MAX,
    }
}

fn open_extended(min_extranonce_size: u16) -> OpenExtendedMiningChannel<'static> {
    OpenExtendedMiningChannel {
        request_id: 5,
        user_identity: Str0_255::EMPTY,
        nominal_hash_rate: 1.0,
        max_target: U256::MAX,
        min_extranonce_size,
    }
}

#[test]
fn channels_of_both_kinds_open_with_work() {
    let mut rig = Rig::new();
    let standard =
        [OpenStandardMiningChannelSuccess::MESSAGE_TYPE, NewMiningJob::MESSAGE_TYPE, SetNewPrevHash::MESSAGE_TYPE];
    assert_eq!(rig.give(&open_standard()).unwrap(), standard);
    let job = NewExtendedMiningJob::MESSAGE_TYPE;
    let extended = [OpenExtendedMiningChannelSuccess::MESSAGE_TYPE, job, SetNewPrevHash::MESSAGE_TYPE];
    assert_eq!(rig.give(&open_extended(8)).unwrap(), extended);
    assert_eq!(rig.give(&open_extended(33)).unwrap(), [OpenMiningChannelError::MESSAGE_TYPE]);
    rig.round = rig.jobs.next_job(&rig.round);
    assert_eq!(rig.tell(), [NewMiningJob::MESSAGE_TYPE, job], "the same tip");
    rig.round = rig.jobs.next_tip(NOW);
    assert_eq!(rig.tell().len(), 4, "jobs and tips");
    assert_eq!(rig.session.take_counts(), Counts { opened: 2, ..Counts::default() });
}

#[test]
fn shares_are_judged_and_answered_one_by_one() {
    let mut rig = Rig::new();
    let frames = rig.frames(&open_standard()).unwrap();
    let success = binary_sv2::from_bytes::<OpenStandardMiningChannelSuccess>(frames[0].payload()).unwrap();
    let mut channel = ClientChannel::standard(&success);
    channel.on_new_mining_job(&binary_sv2::from_bytes(frames[1].payload()).unwrap()).unwrap();
    channel.on_set_new_prev_hash(NOW, &binary_sv2::from_bytes(frames[2].payload()).unwrap()).unwrap();
    let work = channel.work().unwrap();
    let nonce = (0..).find(|nonce| EASY.is_met_by(&work.header(work.version, work.min_ntime, *nonce).hash())).unwrap();
    let Submission::Standard(share) = channel.submit(&work, work.version, work.min_ntime, nonce) else { panic!() };
    assert_eq!(rig.give(&share).unwrap(), [SubmitSharesSuccess::MESSAGE_TYPE]);
    let error = [SubmitSharesError::MESSAGE_TYPE];
    assert_eq!(rig.give(&share).unwrap(), error, "a duplicate");
    assert_eq!(rig.give(&SubmitSharesStandard { channel_id: 9, ..share }).unwrap(), error);
    let counts = Counts { opened: 1, accepted: 1, rejected: 2, ..Counts::default() };
    assert_eq!(rig.session.take_counts(), counts);
}

#[test]
fn what_it_does_not_do_is_refused_and_what_is_over_is_over() {
    let mut rig = Rig::new();
    let requested_extensions = Seq0_64K::try_from_iter([2]).unwrap();
    let request = RequestExtensions { request_id: 1, requested_extensions };
    assert_eq!(rig.give(&request).unwrap(), [RequestExtensionsError::MESSAGE_TYPE]);
    let update = UpdateChannel { channel_id: 9, nominal_hash_rate: 1.0, maximum_target: U256::MAX };
    assert_eq!(rig.give(&update).unwrap(), [UpdateChannelError::MESSAGE_TYPE]);
    let custom = SetCustomMiningJob {
        channel_id: 2,
        request_id: 1,
        mining_job_token: B0_255::EMPTY,
        version: 0,
        prev_hash: U256::MAX,
        min_ntime: 0,
        nbits: 0,
        coinbase_tx_version: 0,
        coinbase_prefix: B0_255::EMPTY,
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: B0_64K::EMPTY,
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::empty(),
    };
    assert_eq!(rig.give(&custom).unwrap(), [SetCustomMiningJobError::MESSAGE_TYPE]);
    for _ in 0..MAX_CHANNELS {
        assert_eq!(rig.give(&open_standard()).unwrap().len(), 3);
    }
    assert_eq!(rig.give(&open_standard()).unwrap(), [OpenMiningChannelError::MESSAGE_TYPE]);
    // The group.
    assert_eq!(rig.give(&CloseChannel { channel_id: 1, reason_code: Str0_255::EMPTY }), Err(End::Left));
    assert_eq!(rig.session.take_counts().closed, MAX_CHANNELS as u64);
    assert_eq!(rig.give(&open_standard()), Ok(vec![]));

    let mut rig = Rig::new();
    let wrong = rig.give(&SetNewPrevHash { channel_id: 1, job_id: 1, prev_hash: U256::MAX, min_ntime: 0, nbits: 0 });
    assert!(matches!(wrong, Err(End::Violation(Violation::WrongSide { .. }))));
    let Rig { round, .. } = Rig::new();
    let space = Space::new(Layout::SV2_DEFAULT, 0, 0).unwrap();
    let mut session = Session::new(NOW, space, EASY, round);
    assert!(session.handle_timeout(session.poll_timeout().unwrap()).is_err());
    let frame = Sv2Frame::from_message(&setup(1)).unwrap();
    assert!(matches!(session.handle_frame(NOW, frame.header(), frame.payload()), Err(End::Refused(_))));
    assert_eq!(session.take_sent()[0].header().message_type(), SetupConnectionError::MESSAGE_TYPE);
}
