use alloc::{vec, vec::Vec};

use binary_sv2::{B0_32, B0_64K, Encodable as _, to_bytes};
use extensions_sv2::tlv::{append_user_identity, user_identity};
use framing_sv2::Header;

use super::*;
use crate::protocol::{Protocol, Sender};

/// Remembers the name of each message, and the name of the worker that sent the last share.
#[derive(Default)]
struct Recorder {
    names: Vec<&'static str>,
    worker: Vec<u8>,
}

macro_rules! record {
    ($handler:ident { $($method:ident($message:ty $(, $fields:ident)?);)+ }) => {
        impl $handler<u32> for Recorder {
            type Error = Violation;
            $(
                fn $method(&mut self, calls: &mut u32, _: $message $(, $fields: &[u8])?) -> Result<(), Violation> {
                    *calls += 1;
                    self.names.push(<$message as Message>::NAME);
                    $(self.worker = user_identity($fields).unwrap().unwrap_or_default().to_vec();)?
                    Ok(())
                }
            )+
        }
    };
}

record!(MiningServerHandler {
    open_standard_mining_channel(OpenStandardMiningChannel<'_>);
    open_extended_mining_channel(OpenExtendedMiningChannel<'_>);
    update_channel(UpdateChannel);
    close_channel(CloseChannel<'_>);
    submit_shares_standard(SubmitSharesStandard);
    submit_shares_extended(SubmitSharesExtended, fields);
    set_custom_mining_job(SetCustomMiningJob<'_>);
});

record!(MiningClientHandler {
    open_standard_mining_channel_success(OpenStandardMiningChannelSuccess);
    open_extended_mining_channel_success(OpenExtendedMiningChannelSuccess);
    open_mining_channel_error(OpenMiningChannelError<'_>);
    update_channel_error(UpdateChannelError<'_>);
    close_channel(CloseChannel<'_>);
    set_extranonce_prefix(SetExtranoncePrefix);
    submit_shares_success(SubmitSharesSuccess);
    submit_shares_error(SubmitSharesError<'_>);
    new_mining_job(NewMiningJob);
    new_extended_mining_job(NewExtendedMiningJob<'_>);
    set_new_prev_hash(SetNewPrevHash);
    set_custom_mining_job_success(SetCustomMiningJobSuccess);
    set_custom_mining_job_error(SetCustomMiningJobError<'_>);
    set_target(SetTarget);
    set_group_channel(SetGroupChannel<'_>);
});

record!(JobDeclarationServerHandler {
    allocate_mining_job_token(AllocateMiningJobToken<'_>);
    declare_mining_job(DeclareMiningJob<'_>);
    provide_missing_transactions_success(ProvideMissingTransactionsSuccess<'_>);
    push_solution(PushSolution);
});

record!(JobDeclarationClientHandler {
    allocate_mining_job_token_success(AllocateMiningJobTokenSuccess<'_>);
    declare_mining_job_success(DeclareMiningJobSuccess<'_>);
    declare_mining_job_error(DeclareMiningJobError<'_>);
    provide_missing_transactions(ProvideMissingTransactions<'_>);
});

record!(TemplateDistributionServerHandler {
    coinbase_output_constraints(CoinbaseOutputConstraints);
    request_transaction_data(RequestTransactionData);
    submit_solution(SubmitSolution<'_>);
});

record!(TemplateDistributionClientHandler {
    new_template(NewTemplate<'_>);
    set_new_prev_hash(TemplateSetNewPrevHash);
    request_transaction_data_success(RequestTransactionDataSuccess<'_>);
    request_transaction_data_error(RequestTransactionDataError<'_>);
});

/// Zeros decode as every message: integers are 0, lists and texts empty.
fn each_message_reaches_its_method<P: Protocol, S: Sender>(
    dispatch: impl Fn(Received<'_, P, S>, &mut Recorder, &mut u32) -> Result<(), Violation>,
) {
    let zeros = [0; 300];
    for info in P::MESSAGES.iter().filter(|info| P::sends(S::SIDE, info.message_type)) {
        let header = |len| Header::new(0, false, info.message_type, len).unwrap();
        let lengths = 0..zeros.len();
        let mut recorder = Recorder::default();
        let mut calls = 0;
        for len in lengths {
            let received = Received::<P, S>::new(header(len), &zeros[..len]).unwrap();
            match dispatch(received, &mut recorder, &mut calls) {
                Ok(()) => assert!(received.decode().is_ok(), "{} of {len}", info.name),
                Err(error) => assert_eq!(received.decode().err().map(Violation::from), Some(error)),
            }
        }
        assert!(calls > 0 && calls as usize == recorder.names.len(), "{}", info.name);
        assert!(recorder.names.iter().all(|name| *name == info.name), "{}: {:?}", info.name, recorder.names);
    }
}

#[test]
fn each_message_is_handled_exactly_when_it_can_be_decoded() {
    each_message_reaches_its_method::<Mining, FromClient>(|received, handler, calls| received.dispatch(handler, calls));
    each_message_reaches_its_method::<Mining, FromServer>(|received, handler, calls| received.dispatch(handler, calls));
    each_message_reaches_its_method::<JobDeclaration, FromClient>(|r, handler, calls| r.dispatch(handler, calls));
    each_message_reaches_its_method::<JobDeclaration, FromServer>(|r, handler, calls| r.dispatch(handler, calls));
    each_message_reaches_its_method::<TemplateDistribution, FromClient>(|r, handler, calls| r.dispatch(handler, calls));
    each_message_reaches_its_method::<TemplateDistribution, FromServer>(|r, handler, calls| r.dispatch(handler, calls));
}

#[test]
fn fields_behind_a_share_come_with_it() {
    let share = SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
        extranonce: B0_32::from_truncated(&[7; 4]),
    };
    let mut payload = to_bytes(&share).unwrap();
    append_user_identity(&mut payload, b"rig-7").unwrap();
    let mut recorder = Recorder::default();
    let dispatch = |payload: &[u8], recorder: &mut Recorder| {
        let header = Header::new(0, true, SubmitSharesExtended::MESSAGE_TYPE, payload.len()).unwrap();
        Received::<Mining, FromClient>::new(header, payload)?.dispatch(recorder, &mut 0)
    };
    dispatch(&payload, &mut recorder).unwrap();
    assert_eq!(recorder.worker, b"rig-7");
    payload.truncate(share.encoded_len());
    dispatch(&payload, &mut recorder).unwrap();
    assert!(recorder.worker.is_empty());
    payload.push(9);
    let error = dispatch(&payload, &mut recorder).unwrap_err();
    assert!(matches!(error, Violation::Undecodable(DecodeError::Malformed { message: "SubmitSharesExtended", .. })));
    assert_eq!(recorder.names.len(), 2);
}

#[test]
fn long_fields_are_borrowed() {
    struct Keeper<'a>(Option<B0_64K<'a>>);
    // A handler can not keep what it is lent; it can only detach it.
    impl<C> TemplateDistributionServerHandler<C> for Keeper<'static> {
        type Error = Violation;
        fn coinbase_output_constraints(&mut self, _: &mut C, _: CoinbaseOutputConstraints) -> Result<(), Violation> {
            Ok(())
        }
        fn request_transaction_data(&mut self, _: &mut C, _: RequestTransactionData) -> Result<(), Violation> {
            Ok(())
        }
        fn submit_solution(&mut self, _: &mut C, message: SubmitSolution<'_>) -> Result<(), Violation> {
            self.0 = Some(binary_sv2::IntoOwned::into_owned(message.coinbase_tx));
            Ok(())
        }
    }
    let message = SubmitSolution {
        template_id: 1,
        version: 2,
        header_timestamp: 3,
        header_nonce: 4,
        coinbase_tx: B0_64K::try_from(vec![5; 100]).unwrap(),
    };
    let payload = to_bytes(&message).unwrap();
    let header = Header::of::<SubmitSolution<'_>>(payload.len()).unwrap();
    let mut keeper = Keeper(None);
    let received = Received::<TemplateDistribution, FromClient>::new(header, &payload).unwrap();
    received.dispatch(&mut keeper, &mut ()).unwrap();
    assert_eq!(keeper.0.unwrap().as_bytes(), [5; 100]);
}
