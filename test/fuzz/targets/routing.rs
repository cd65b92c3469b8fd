//! Any frames at sessions, handlers and a proxy's tables: what may not pass does not, a message is handled exactly when it can
//! be decoded, and what is forwarded is the same but for the channel's id.
//!
//! Input: frames. Those of extension 0x7fff steer the tables: message type 0 opens an upstream channel, 1 attaches and 2 detaches a
//! downstream channel, 3 detaches all of one connection, 4 closes, 5 to 7 are for requests.
#![no_main]

use std::time::Duration;

use binary_sv2::{Encodable, Message, to_bytes};
use framing_sv2::{Header, Sv2Frame};
use fuzz::Input;
use job_declaration_sv2::*;
use libfuzzer_sys::fuzz_target;
use mining_sv2::{Mining as MiningMessage, *};
use roles_logic_sv2::{
    ChannelId, RequestId,
    dispatch::*,
    protocol::{FromClient, FromServer, JobDeclaration, Mining, Protocol, Received, Sender, TemplateDistribution},
    routing::{ChannelMap, RequestMap},
    session::{
        Violation,
        client::{self, Connecting, Device, Negotiation, Progress},
        server::{self, AwaitSetup, Offer},
    },
    setup::Support,
};
use template_distribution_sv2::*;

const STEER: u16 = 0x7fff;
const LIMIT: usize = 8;

/// The number of the last message that was handled, and that message written again.
#[derive(Default)]
struct Last(Option<(u8, Vec<u8>)>);

macro_rules! record {
    ($($handler:ident { $($method:ident($message:ty $(, $fields:ident)?))+ })+) => {$(
        impl $handler<()> for Last {
            type Error = Violation;
            $(
                fn $method(&mut self, (): &mut (), message: $message $(, $fields: &[u8])?) -> Result<(), Violation> {
                    $(let _ = extensions_sv2::tlv::user_identity($fields);)?
                    let bytes = message.to_bytes().expect("what was decoded can be encoded");
                    self.0 = Some((<$message as Message>::MESSAGE_TYPE, bytes));
                    Ok(())
                }
            )+
        }
    )+};
}

record! {
    MiningServerHandler {
        open_standard_mining_channel(OpenStandardMiningChannel<'_>)
        open_extended_mining_channel(OpenExtendedMiningChannel<'_>)
        update_channel(UpdateChannel)
        close_channel(CloseChannel<'_>)
        submit_shares_standard(SubmitSharesStandard)
        submit_shares_extended(SubmitSharesExtended, fields)
        set_custom_mining_job(SetCustomMiningJob<'_>)
    }
    MiningClientHandler {
        open_standard_mining_channel_success(OpenStandardMiningChannelSuccess)
        open_extended_mining_channel_success(OpenExtendedMiningChannelSuccess)
        open_mining_channel_error(OpenMiningChannelError<'_>)
        update_channel_error(UpdateChannelError<'_>)
        close_channel(CloseChannel<'_>)
        set_extranonce_prefix(SetExtranoncePrefix)
        submit_shares_success(SubmitSharesSuccess)
        submit_shares_error(SubmitSharesError<'_>)
        new_mining_job(NewMiningJob)
        new_extended_mining_job(NewExtendedMiningJob<'_>)
        set_new_prev_hash(mining_sv2::SetNewPrevHash)
        set_custom_mining_job_success(SetCustomMiningJobSuccess)
        set_custom_mining_job_error(SetCustomMiningJobError<'_>)
        set_target(SetTarget)
        set_group_channel(SetGroupChannel<'_>)
    }
    JobDeclarationServerHandler {
        allocate_mining_job_token(AllocateMiningJobToken<'_>)
        declare_mining_job(DeclareMiningJob<'_>)
        provide_missing_transactions_success(ProvideMissingTransactionsSuccess<'_>)
        push_solution(PushSolution)
    }
    JobDeclarationClientHandler {
        allocate_mining_job_token_success(AllocateMiningJobTokenSuccess<'_>)
        declare_mining_job_success(DeclareMiningJobSuccess<'_>)
        declare_mining_job_error(DeclareMiningJobError<'_>)
        provide_missing_transactions(ProvideMissingTransactions<'_>)
    }
    TemplateDistributionServerHandler {
        coinbase_output_constraints(CoinbaseOutputConstraints)
        request_transaction_data(RequestTransactionData)
        submit_solution(SubmitSolution<'_>)
    }
    TemplateDistributionClientHandler {
        new_template(NewTemplate<'_>)
        set_new_prev_hash(template_distribution_sv2::SetNewPrevHash)
        request_transaction_data_success(RequestTransactionDataSuccess<'_>)
        request_transaction_data_error(RequestTransactionDataError<'_>)
    }
}

/// A handler gets the message that `decode` gives, or neither gives one.
fn handled<P: Protocol, S: Sender>(
    header: Header,
    payload: &[u8],
    dispatch: impl FnOnce(Received<'_, P, S>, &mut Last) -> Result<(), Violation>,
) where
    for<'a> P::Message<'a>: Encodable,
{
    let Ok(received) = Received::<P, S>::new(header, payload) else { return };
    assert!(P::sends(S::SIDE, header.message_type()));
    let mut last = Last::default();
    let result = dispatch(received, &mut last);
    match received.decode() {
        Ok(message) => {
            let bytes = message.to_bytes().expect("what was decoded can be encoded");
            assert_eq!((result, last.0), (Ok(()), Some((header.message_type(), bytes))));
        }
        Err(error) => assert_eq!((result, last.0), (Err(error.into()), None)),
    }
}

struct Tables {
    channels: ChannelMap<u8>,
    requests: RequestMap<u8>,
    now: u64,
}

impl Tables {
    fn steer(&mut self, what: u8, payload: &[u8]) {
        let [a, b, c] = [0, 1, 2].map(|at| payload.get(at).copied().unwrap_or(0) % 16);
        let id = |number: u8| ChannelId(number.into());
        match what {
            0 => drop(self.channels.open(id(a), id(b))),
            1 => drop(self.channels.attach(id(a), b, id(c))),
            2 => drop(self.channels.detach(b, id(c))),
            3 => drop(self.channels.detach_all(b)),
            4 => assert!(self.channels.close(id(a)).iter().all(|(d, c)| self.channels.upstream_of(*d, *c).is_none())),
            5 => {
                let deadline = Duration::from_secs(self.now + u64::from(c));
                if let Ok(upstream) = self.requests.insert(a, RequestId(b.into()), (), deadline) {
                    assert!(self.requests.insert(a, RequestId(b.into()), (), deadline).is_err());
                    if c & 1 == 0 {
                        let request = self.requests.answer(upstream).expect("it is on its way");
                        assert_eq!((request.origin, request.id), (Some(a), RequestId(b.into())));
                    }
                }
            }
            6 => self.requests.abandon(a),
            _ => {
                self.now += u64::from(a);
                while self.requests.give_up(Duration::from_secs(self.now)).is_some() {}
                assert!(self.requests.poll_timeout().is_none_or(|at| at > Duration::from_secs(self.now)));
            }
        }
        assert!(self.channels.len() <= LIMIT && self.requests.len() <= LIMIT);
    }

    fn forward(&self, header: Header, payload: &[u8]) {
        let same = |bytes: Vec<u8>, to: ChannelId| {
            assert_eq!((&bytes[..4], &bytes[4..]), (&to.0.to_le_bytes()[..], &payload[4..]));
            Sv2Frame::new(header, bytes).expect("of the same length");
        };
        if let Ok(frames) = self.channels.forward_down(header, payload) {
            for (_, frame) in frames {
                same(to_bytes(&frame).expect("a frame"), frame.channel_id());
            }
        }
        for from in 0..16 {
            if let Ok(frame) = self.channels.forward_up(from, header, payload) {
                same(to_bytes(&frame).expect("a frame"), frame.channel_id());
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let now = Duration::from_secs(1);
    let device = Device { vendor: "v", hardware_version: "", firmware: "", device_id: "" };
    let setup = client::setup_connection::<Mining>(0, "host", 1, &device);
    let negotiation = Negotiation::new(&[2]).with_able(&[3]);
    let mut connecting = Some(Connecting::<Mining>::new(now, now, &setup).with_extensions(&negotiation, now));
    let (mut client, mut server) = (None::<client::Open<Mining>>, None::<server::Open<Mining>>);
    let offer = Offer { supported: &[2, 3], required: &[3], within: now };
    let mut tables = Tables { channels: ChannelMap::new(LIMIT), requests: RequestMap::new(LIMIT), now: 0 };
    while let Some((header, payload)) = input.frame() {
        if header.extension_type() == STEER {
            tables.steer(header.message_type(), payload);
            continue;
        }
        tables.forward(header, payload);
        handled::<Mining, FromClient>(header, payload, |received, last| received.dispatch(last, &mut ()));
        handled::<Mining, FromServer>(header, payload, |received, last| received.dispatch(last, &mut ()));
        handled::<JobDeclaration, FromClient>(header, payload, |received, last| received.dispatch(last, &mut ()));
        handled::<JobDeclaration, FromServer>(header, payload, |received, last| received.dispatch(last, &mut ()));
        handled::<TemplateDistribution, FromClient>(header, payload, |received, last| received.dispatch(last, &mut ()));
        handled::<TemplateDistribution, FromServer>(header, payload, |received, last| received.dispatch(last, &mut ()));

        // The client's side, until the server is sent away.
        if let Some(state) = connecting.take() {
            match state.handle_frame(now, header, payload) {
                Ok(Progress::Waiting(state, _)) => connecting = Some(state),
                Ok(Progress::Open(open)) => {
                    assert!(open.extensions().iter().all(|id| [2, 3].contains(id)));
                    client = Some(open);
                }
                Err(end) => assert!(!end.to_string().is_empty()),
            }
        } else if let Some(open) = &mut client {
            match open.receive(header, payload) {
                Ok(client::Incoming::Message(message)) => {
                    if let Ok(MiningMessage::SetGroupChannel(message)) = message.decode() {
                        let _ = tables.channels.set_group(&message);
                    }
                }
                Ok(_) => {}
                Err(_) => client = None,
            }
        }
        // The server's side. It never hands on a message before the required extension was granted.
        server = match server.take() {
            None => AwaitSetup::new(now, now)
                .handle_frame(header, payload)
                .ok()
                .and_then(|requested| requested.accept(now, &Support::MINING, offer).ok())
                .map(|(open, _)| open),
            Some(mut open) => match open.receive(header, payload) {
                Ok(server::Incoming::Message(_)) => {
                    assert!(open.poll_timeout().is_none());
                    Some(open)
                }
                Ok(_) => Some(open),
                Err(_) => None,
            },
        };
    }
});
