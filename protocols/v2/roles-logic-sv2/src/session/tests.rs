use alloc::{string::ToString as _, vec, vec::Vec};
use core::time::Duration;

use binary_sv2::{DecodeError, Message, Seq0_64K, Str0_255, U256, to_bytes};
use common_messages_sv2::{
    ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
};
use const_sv2::{error_code::setup_connection as code, flags};
use extensions_sv2::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};
use mining_sv2::{SetTarget, UpdateChannel};
use proptest::prelude::*;

use super::{
    client::{self, Connecting, Device, End, Negotiation, Output, Progress},
    server::{self, AwaitSetup, Offer},
    *,
};
use crate::{
    protocol::{FromClient, JobDeclaration, Mining, Protocol, Received, TemplateDistribution},
    setup::{Refused, Support},
};

const START: Duration = Duration::from_secs(1_000);
const WITHIN: Duration = Duration::from_secs(10);
const CONNECT_TIME: Duration = Duration::from_millis(300);
const DEVICE: Device<'static> = Device { vendor: "acme", hardware_version: "1", firmware: "2", device_id: "" };
const SUCCESS: SetupConnectionSuccess = SetupConnectionSuccess { used_version: 2, flags: 0 };

/// A frame as a session gets it.
struct Wire(Header, Vec<u8>);

fn wire<M: Message>(message: &M) -> Wire {
    let payload = to_bytes(message).unwrap();
    Wire(Header::of::<M>(payload.len()).unwrap(), payload)
}

fn raw(extension: u16, channel_msg: bool, number: u8, payload: &[u8]) -> Wire {
    Wire(Header::new(extension, channel_msg, number, payload.len()).unwrap(), payload.to_vec())
}

fn list(ids: &[u16]) -> Seq0_64K<'static, u16> {
    Seq0_64K::try_from_iter(ids.iter().copied()).unwrap()
}

fn requesting(ids: &[u16]) -> Wire {
    wire(&RequestExtensions { request_id: 9, requested_extensions: list(ids) })
}

fn granting(request_id: u16, ids: &[u16]) -> Wire {
    wire(&RequestExtensionsSuccess { request_id, supported_extensions: list(ids) })
}

fn requiring(request_id: u16, ids: &[u16]) -> Wire {
    let (unsupported_extensions, required_extensions) = (list(&[]), list(ids));
    wire(&RequestExtensionsError { request_id, unsupported_extensions, required_extensions })
}

fn setup<P: Protocol>(flags: u32) -> SetupConnection<'static> {
    client::setup_connection::<P>(flags, "host", 1, &DEVICE)
}

fn set_target() -> Wire {
    wire(&SetTarget { channel_id: 1, maximum_target: U256::MAX })
}

fn update() -> Wire {
    wire(&UpdateChannel { channel_id: 1, nominal_hash_rate: 1.0, maximum_target: U256::MAX })
}

fn unexpected(violation: &Violation) -> bool {
    matches!(violation, Violation::Unexpected { .. })
}

mod on_the_server {
    use super::*;

    fn first(frame: &Wire) -> Result<(), Violation> {
        AwaitSetup::new(START, WITHIN).handle_frame(frame.0, &frame.1).map(|_| ())
    }

    fn open<P: Protocol>(support: &Support, flags: u32, offer: Offer) -> Result<server::Open<P>, Refused> {
        let frame = wire(&setup::<P>(flags));
        let requested = AwaitSetup::new(START, WITHIN).handle_frame(frame.0, &frame.1).unwrap();
        requested.accept(START, support, offer).map(|(open, _)| open)
    }

    fn mining(offer: Offer) -> server::Open<Mining> {
        open(&Support::MINING, 0, offer).unwrap()
    }

    /// Whether the frame is handed on as a message of the protocol.
    fn passes<P: Protocol>(open: &mut server::Open<P>, frame: &Wire) -> Result<bool, Violation> {
        open.receive(frame.0, &frame.1).map(|incoming| matches!(incoming, server::Incoming::Message(_)))
    }

    fn answer(open: &mut server::Open<Mining>, frame: &Wire) -> server::ExtensionsAnswer {
        match open.receive(frame.0, &frame.1).unwrap() {
            server::Incoming::Extensions(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn setup_connection_comes_first_and_in_time() {
        assert_eq!(first(&wire(&setup::<Mining>(0))), Ok(()));
        for frame in [update(), set_target(), requesting(&[2]), raw(0x4000, true, 0, &[1, 0, 0, 0])] {
            assert!(unexpected(&first(&frame).unwrap_err()));
        }
        let wrong = Violation::WrongSide { sender: Side::Client, got: "SetupConnection.Success" };
        assert_eq!(first(&wire(&SUCCESS)), Err(wrong));
        assert!(matches!(first(&raw(0, false, 0, &[1])), Err(Violation::Undecodable(DecodeError::Malformed { .. }))));
        let state = AwaitSetup::new(START, WITHIN);
        assert_eq!(state.poll_timeout(), START + WITHIN);
        assert_eq!(state.handle_timeout(START + WITHIN - Duration::from_nanos(1)), Ok(()));
        let late = state.handle_timeout(START + WITHIN).unwrap_err();
        assert_eq!(late.to_string(), "expected SetupConnection within 10 seconds, nothing came");
    }

    #[test]
    fn every_protocol_opens_on_its_terms_only() {
        let terms =
            open::<Mining>(&Support::MINING, flags::mining::REQUIRES_STANDARD_JOBS, Offer::NONE).unwrap().terms();
        assert!(terms.standard_jobs_only());
        let terms = open::<JobDeclaration>(&Support::JOB_DECLARATION, 1, Offer::NONE).unwrap().terms();
        assert!(terms.full_template());
        assert_eq!(open::<TemplateDistribution>(&Support::TEMPLATE_DISTRIBUTION, 0, Offer::NONE).unwrap().version(), 2);
        let refused = open::<TemplateDistribution>(&Support::TEMPLATE_DISTRIBUTION, 1, Offer::NONE).unwrap_err();
        assert_eq!(refused, Refused { flags: 1, error_code: code::UNSUPPORTED_FEATURE_FLAGS });
        // Another protocol than the listener's, on either side.
        for support in [Support::MINING, Support::JOB_DECLARATION] {
            let refused = open::<TemplateDistribution>(&support, 0, Offer::NONE).unwrap_err();
            assert_eq!(refused.error_code, code::UNSUPPORTED_PROTOCOL);
        }
        let frame = wire(&setup::<Mining>(0));
        let requested = AwaitSetup::new(START, WITHIN).handle_frame(frame.0, &frame.1).unwrap();
        assert_eq!(requested.refuse(code::SERVER_BUSY), Refused { flags: 0, error_code: code::SERVER_BUSY });
    }

    #[test]
    fn only_what_clients_send_passes() {
        let mut open = mining(Offer::NONE);
        assert_eq!(passes(&mut open, &update()), Ok(true));
        let wrong = Violation::WrongSide { sender: Side::Client, got: "SetTarget" };
        assert_eq!(passes(&mut open, &set_target()), Err(wrong));
        assert_eq!(wrong.to_string(), "expected what clients send, got SetTarget");
        assert!(unexpected(&passes(&mut open, &wire(&setup::<Mining>(0))).unwrap_err()));
        let reconnect = wire(&Reconnect { new_host: Str0_255::EMPTY, new_port: 0 });
        assert!(matches!(passes(&mut open, &reconnect), Err(Violation::WrongSide { got: "Reconnect", .. })));
        let unknown = DecodeError::UnknownMessageType(0x71);
        assert_eq!(passes(&mut open, &raw(0, false, 0x71, &[])), Err(Violation::Undecodable(unknown)));
        let mut templates =
            on_the_server::open::<TemplateDistribution>(&Support::TEMPLATE_DISTRIBUTION, 0, Offer::NONE).unwrap();
        assert_eq!(passes(&mut templates, &raw(0, true, 0x73, &[0; 8])), Err(Violation::ChannelBit(0x73)));
        assert_eq!(passes(&mut templates, &raw(0, false, 0x73, &[0; 8])), Ok(true));
    }

    #[test]
    fn messages_of_unknown_extensions_are_ignored_or_for_a_channel() {
        let mut open = mining(Offer::NONE);
        let mut sorted = |frame: Wire| match open.receive(frame.0, &frame.1).unwrap() {
            server::Incoming::ForChannel(id) => Some(id),
            server::Incoming::Ignored => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(sorted(raw(0x4000, false, 0x1b, &[7, 0, 0, 0])), None);
        assert_eq!(sorted(raw(0x4000, true, 0x1b, &[7, 1, 0, 0, 99])), Some(ChannelId(263)));
        assert_eq!(sorted(raw(0x4000, true, 0x1b, &[7, 1, 0])), None, "no room for an id");
        assert_eq!(sorted(raw(0x0001, true, 0x00, &[7, 0, 0, 0])), Some(ChannelId(7)), "0x0001 is not for channels");
    }

    #[test]
    fn extensions_are_granted_as_offered_and_every_time_anew() {
        let mut open = mining(Offer { supported: &[2, 3], ..Offer::NONE });
        assert_eq!((open.extensions(), open.poll_timeout()), (&[][..], None));
        let success = answer(&mut open, &requesting(&[2, 7])).unwrap();
        assert_eq!((success.request_id, success.supported_extensions.iter().collect::<Vec<_>>()), (9, vec![2]));
        assert!(open.has_extension(2) && !open.has_extension(3));
        assert_eq!(passes(&mut open, &update()), Ok(true));
        assert!(answer(&mut open, &requesting(&[7])).is_err());
        assert!(!open.has_extension(2), "the last answer counts");
        assert!(matches!(passes(&mut open, &granting(9, &[2])), Err(Violation::WrongSide { .. })));
    }

    #[test]
    fn what_is_required_must_be_requested_before_anything_else() {
        let offer = Offer { supported: &[2, 3], required: &[3], within: WITHIN };
        let mut open = mining(offer);
        assert_eq!(passes(&mut open, &update()), Err(Violation::ExtensionsRequired));
        assert_eq!(open.poll_timeout(), Some(START + WITHIN));
        let error = answer(&mut open, &requesting(&[2])).unwrap_err();
        assert_eq!(error.required_extensions.iter().collect::<Vec<_>>(), [3]);
        assert_eq!(passes(&mut open, &update()), Err(Violation::ExtensionsRequired));
        assert!(matches!(open.handle_timeout(START + WITHIN), Err(Violation::Late { .. })));
        assert!(answer(&mut open, &requesting(&[2, 3])).is_ok());
        assert_eq!((open.poll_timeout(), open.handle_timeout(Duration::MAX)), (None, Ok(())));
        assert_eq!(passes(&mut open, &update()), Ok(true));
    }
}

mod on_the_client {
    use super::*;

    fn connecting(negotiation: &Negotiation) -> Connecting<Mining> {
        let setup = setup::<Mining>(flags::mining::REQUIRES_VERSION_ROLLING);
        Connecting::new(START, WITHIN, &setup).with_extensions(negotiation, CONNECT_TIME)
    }

    fn give<'a>(state: Connecting<Mining>, frame: &'a Wire) -> Result<Progress<'a, Mining>, End> {
        state.handle_frame(START, frame.0, &frame.1)
    }

    fn first(frame: &Wire) -> Result<(), End> {
        give(connecting(&Negotiation::NONE), frame).map(|_| ())
    }

    fn opened(progress: Result<Progress<'_, Mining>, End>) -> client::Open<Mining> {
        match progress {
            Ok(Progress::Open(open)) => open,
            other => panic!("{other:?}"),
        }
    }

    /// The state after SetupConnection.Success, and what was asked for.
    fn asking(negotiation: &Negotiation) -> (Connecting<Mining>, Vec<u16>) {
        asks(give(connecting(negotiation), &wire(&SUCCESS)))
    }

    fn asks(progress: Result<Progress<'_, Mining>, End>) -> (Connecting<Mining>, Vec<u16>) {
        match progress {
            Ok(Progress::Waiting(state, Some(Output::Send(request)))) => {
                (state, request.requested_extensions.iter().collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn success_opens_on_terms_that_both_can_keep() {
        let open = opened(give(connecting(&Negotiation::NONE), &wire(&SUCCESS)));
        assert!(open.terms().version_rolling_required() && open.version() == 2 && open.extensions().is_empty());
        let flags = flags::mining_success::REQUIRES_FIXED_VERSION;
        let contradiction = first(&wire(&SetupConnectionSuccess { used_version: 2, flags })).unwrap_err();
        assert!(matches!(contradiction, End::Violation(Violation::Flags(_))));
        let flags = flags::mining_success::REQUIRES_EXTENDED_CHANNELS;
        let open =
            opened(give(connecting(&Negotiation::NONE), &wire(&SetupConnectionSuccess { used_version: 2, flags })));
        assert!(open.terms().extended_channels_only() && open.server_flags() == flags);
        let version = first(&wire(&SetupConnectionSuccess { used_version: 3, flags: 0 })).unwrap_err();
        assert_eq!(version, End::Violation(Violation::Version { expected: (2, 2), got: 3 }));
        assert_eq!(version.to_string(), "expected version 2 of the protocol, got 3");
    }

    #[test]
    fn refusals_and_what_is_out_of_place_are_ends() {
        let error = SetupConnectionError { flags: 4, error_code: Str0_255::try_from("no\n").unwrap() };
        assert_eq!(first(&wire(&error)), Err(End::Refused { error_code: "no\\n".into(), flags: 4 }));
        let wrong = |end| matches!(end, Err(End::Violation(Violation::WrongSide { sender: Side::Server, .. })));
        assert!(wrong(first(&update())) && wrong(first(&wire(&setup::<Mining>(0)))));
        for frame in [set_target(), granting(1, &[]), wire(&ChannelEndpointChanged { channel_id: 1 })] {
            let Err(End::Violation(violation)) = first(&frame) else { panic!() };
            assert!(unexpected(&violation), "{violation}");
        }
        assert!(matches!(first(&raw(0, false, 0x99, &[])), Err(End::Violation(Violation::Undecodable(_)))));
    }

    #[test]
    fn the_server_may_send_us_elsewhere_at_any_time_and_unknown_extensions_are_ignored() {
        let reconnect = wire(&Reconnect { new_host: Str0_255::EMPTY, new_port: 7 });
        let progress = give(connecting(&Negotiation::NONE), &reconnect).unwrap();
        let Progress::Waiting(state, Some(Output::Reconnect(Reconnect { new_port: 7, .. }))) = progress else {
            panic!()
        };
        let Progress::Waiting(state, None) = give(state, &raw(0x4000, false, 1, &[])).unwrap() else { panic!() };
        let mut open = opened(give(state, &wire(&SUCCESS)));
        assert!(matches!(open.receive(reconnect.0, &reconnect.1), Ok(client::Incoming::Reconnect(_))));
        let foreign = raw(0x4000, true, 1, &[5, 0, 0, 0]);
        assert!(matches!(open.receive(foreign.0, &foreign.1), Ok(client::Incoming::ForChannel(ChannelId(5)))));
    }

    #[test]
    fn only_what_servers_send_passes() {
        let mut open = opened(give(connecting(&Negotiation::NONE), &wire(&SUCCESS)));
        let mut receive = |frame: Wire| {
            open.receive(frame.0, &frame.1).map(|incoming| match incoming {
                client::Incoming::Message(message) => message.name(),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(receive(set_target()), Ok("SetTarget"));
        assert_eq!(receive(update()), Err(Violation::WrongSide { sender: Side::Server, got: "UpdateChannel" }));
        assert!(unexpected(&receive(wire(&SUCCESS)).unwrap_err()));
        assert!(matches!(receive(wire(&setup::<Mining>(0))), Err(Violation::WrongSide { .. })));
        assert!(matches!(receive(requesting(&[])), Err(Violation::WrongSide { .. })));
    }

    #[test]
    fn extensions_are_asked_for_before_the_protocol() {
        let (state, asked) = asking(&Negotiation::new(&[2, 3]));
        assert_eq!(asked, [2, 3]);
        assert!(matches!(give(state, &set_target()), Err(End::Violation(Violation::Unexpected { .. }))));
        let grant = |request_id, ids: &[u16]| {
            give(asking(&Negotiation::new(&[2, 3])).0, &granting(request_id, ids)).map(|p| {
                let Progress::Open(open) = p else { panic!("{p:?}") };
                open.extensions().to_vec()
            })
        };
        assert_eq!(grant(1, &[3, 3]), Ok(vec![3]));
        assert_eq!(grant(1, &[2, 4]), Err(Violation::ExtensionsAnswer.into()), "not asked for");
        assert_eq!(grant(2, &[2]), Err(Violation::ExtensionsAnswer.into()), "another request");
        let none = opened(give(asking(&Negotiation::new(&[2])).0, &requiring(1, &[])));
        assert!(none.extensions().is_empty(), "a refusal is no reason to leave");
    }

    #[test]
    fn required_extensions_are_asked_for_once_if_there_are_any() {
        let negotiation = Negotiation::new(&[2]).with_able(&[5]);
        let (state, _) = asking(&negotiation);
        let (state, asked) = asks(give(state, &requiring(1, &[5])));
        assert_eq!(asked, [2, 5]);
        let required = End::ExtensionsRequired(vec![5]);
        assert_eq!(give(state, &requiring(2, &[5])).unwrap_err(), required, "in vain");
        assert_eq!(give(asking(&Negotiation::new(&[2])).0, &requiring(1, &[5])).unwrap_err(), required);
    }

    #[test]
    fn a_silent_server_is_asked_twice_and_then_no_more() {
        let mut negotiation = Negotiation::new(&[2]);
        for patience in [CONNECT_TIME * 2, CONNECT_TIME * 5] {
            let (state, _) = asking(&negotiation);
            assert_eq!(state.poll_timeout(), START + patience);
            assert_eq!(state.handle_timeout(START + patience - Duration::from_nanos(1)), Ok(()));
            assert_eq!(state.handle_timeout(START + patience), Err(End::ExtensionsUnanswered));
            negotiation.unanswered();
        }
        opened(give(connecting(&negotiation), &wire(&SUCCESS)));
        assert_eq!(Negotiation::new(&[2]).patience(Duration::ZERO), Some(client::LEAST_PATIENCE));
        assert_eq!(Negotiation::new(&[2]).patience(Duration::MAX), Some(client::MOST_PATIENCE));
        let late = connecting(&negotiation).handle_timeout(START + WITHIN).unwrap_err();
        assert!(matches!(late, End::Violation(Violation::Late { .. })));
    }

    #[test]
    fn a_changed_endpoint_voids_extensions_until_they_are_negotiated_anew() {
        let (state, _) = asking(&Negotiation::new(&[2]));
        let mut open = opened(give(state, &granting(1, &[2])));
        let changed = wire(&ChannelEndpointChanged { channel_id: 3 });
        assert!(matches!(open.receive(changed.0, &changed.1), Ok(client::Incoming::EndpointChanged(ChannelId(3)))));
        assert!(!open.has_extension(2));
        let first = open.request_extensions(&[2]);
        let second = open.request_extensions(&[2]);
        assert_ne!(first.request_id, second.request_id);
        let mut receive =
            |frame: Wire| open.receive(frame.0, &frame.1).map(|i| matches!(i, client::Incoming::ExtensionsChanged));
        assert_eq!(receive(granting(first.request_id, &[2])), Ok(false), "overtaken");
        assert_eq!(receive(granting(second.request_id, &[2])), Ok(true));
        assert_eq!(receive(granting(second.request_id, &[2])), Ok(false), "a second answer changes nothing");
        assert!(open.has_extension(2));
        let many: Vec<u16> = (0..1_000).collect();
        assert_eq!(open.request_extensions(&many).requested_extensions.len(), crate::setup::MAX_EXTENSIONS);
    }
}

/// Frames with numbers and extensions that mean something.
fn frames() -> impl Strategy<Value = Vec<(u16, bool, u8, Vec<u8>)>> {
    let extension = prop_oneof![4 => Just(0u16), 2 => Just(1), 1 => 0u16..0x8000];
    let number = prop_oneof![3 => 0u8..0x26, 1 => any::<u8>()];
    let payload = prop_oneof![prop::collection::vec(any::<u8>(), 0..40), Just(to_bytes(&SUCCESS).unwrap())];
    prop::collection::vec((extension, any::<bool>(), number, payload), 0..12)
}

proptest! {
    #[test]
    fn no_frames_panic_and_none_passes_before_its_time(frames in frames(), seconds in 0u64..20) {
        let now = START + Duration::from_secs(seconds);
        let mut client = Ok(Connecting::<Mining>::new(START, WITHIN, &setup::<Mining>(0))
            .with_extensions(&Negotiation::new(&[2]), CONNECT_TIME));
        let mut server = None;
        for (extension, bit, number, payload) in &frames {
            let header = Header::new(*extension, *bit, *number, payload.len()).unwrap();
            client = match client {
                Ok(state) => match state.handle_frame(now, header, payload) {
                    Ok(Progress::Waiting(state, _)) => Ok(state),
                    Ok(Progress::Open(open)) => Err(open),
                    Err(_) => break,
                },
                Err(mut open) => match open.receive(header, payload) {
                    Ok(_) => Err(open),
                    Err(_) => break,
                },
            };
            let open = server.get_or_insert_with(|| {
                let frame = wire(&setup::<Mining>(0));
                let requested = AwaitSetup::new(START, WITHIN).handle_frame(frame.0, &frame.1).unwrap();
                requested.accept::<Mining>(START, &Support::MINING, Offer { supported: &[2], ..Offer::NONE }).unwrap().0
            });
            if let Ok(server::Incoming::Message(message)) = open.receive(header, payload) {
                prop_assert!(Mining::sends(Side::Client, message.message_type()));
                let _ = message.decode();
            }
            let _ = AwaitSetup::new(START, WITHIN).handle_frame(header, payload);
            let _ = Received::<JobDeclaration, FromClient>::new(header, payload);
        }
    }
}
