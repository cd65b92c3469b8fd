//! The three protocols and the two sides of a connection, as types; and which role speaks which on which side.
//!
//! A [`Protocol`] says what its number, messages and flags are; a [`Sender`] says who sent a frame. Sessions and handlers take
//! both as type parameters, so that a message can not end up with a handler of another protocol or side.
//!
//! ```
//! use roles_logic_sv2::protocol::{Mining, Protocol, Side};
//!
//! assert_eq!((Mining::NUMBER, Mining::NAME), (0, "mining"));
//! assert!(Mining::sends(Side::Client, const_sv2::message_type::mining::SUBMIT_SHARES_EXTENDED));
//! assert!(!Mining::sends(Side::Server, const_sv2::message_type::mining::SUBMIT_SHARES_EXTENDED));
//! ```

use core::{fmt, marker::PhantomData};

use binary_sv2::DecodeError;
use const_sv2::{MessageInfo, message_type, protocol};
use framing_sv2::Header;

use crate::{
    session::Violation,
    setup::{ContradictoryFlags, JobDeclarationTerms, MiningTerms},
};

/// A side of a connection: who dialled is the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Sends SetupConnection.
    Client,
    /// Answers it.
    Server,
}

/// What a program is (sv2-spec §3). Several roles may live in one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Hashes.
    MiningDevice,
    /// Stands between miners and a pool, another proxy or a Job Declarator Client. A translator is one whose miners speak Sv1.
    MiningProxy,
    /// Gives out jobs, counts shares.
    Pool,
    /// Makes the jobs of its miners.
    JobDeclaratorClient,
    /// Checks for a pool the jobs that clients make.
    JobDeclaratorServer,
    /// Makes templates from a node's transactions.
    TemplateProvider,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::MiningDevice,
        Self::MiningProxy,
        Self::Pool,
        Self::JobDeclaratorClient,
        Self::JobDeclaratorServer,
        Self::TemplateProvider,
    ];

    /// Whether the role has connections of protocol `P` on this side.
    pub const fn speaks<P: Protocol>(self, side: Side) -> bool {
        match P::NUMBER {
            protocol::MINING => match side {
                Side::Client => matches!(self, Self::MiningDevice | Self::MiningProxy | Self::JobDeclaratorClient),
                Side::Server => matches!(self, Self::MiningProxy | Self::Pool | Self::JobDeclaratorClient),
            },
            protocol::JOB_DECLARATION => match side {
                Side::Client => matches!(self, Self::JobDeclaratorClient),
                Side::Server => matches!(self, Self::JobDeclaratorServer),
            },
            _ => match side {
                // A pool makes its jobs of templates, and a Job Declarator Server may check jobs against one.
                Side::Client => matches!(self, Self::Pool | Self::JobDeclaratorClient | Self::JobDeclaratorServer),
                Side::Server => matches!(self, Self::TemplateProvider),
            },
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// One of the three protocols that a connection can speak (sv2-spec §3.6.1).
pub trait Protocol: sealed::Sealed + Copy + Eq + fmt::Debug + 'static {
    /// In SetupConnection.
    const NUMBER: u8;
    /// For people.
    const NAME: &'static str;
    /// Whether messages may be for channels; if not, the `channel_msg` bit is never set (sv2-spec §3.2.1).
    const HAS_CHANNELS: bool;
    /// Every message, without the common ones.
    const MESSAGES: &'static [MessageInfo];
    /// What both sides' flags mean for a connection.
    type Terms: Copy + Eq + fmt::Debug;
    /// Every message, without the common ones.
    type Message<'a>: fmt::Debug;

    /// The terms that follow from the flags of SetupConnection and SetupConnection.Success.
    fn terms(client_flags: u32, server_flags: u32) -> Result<Self::Terms, ContradictoryFlags>;

    /// Whether the side may send a message of this number.
    fn sends(side: Side, message_type: u8) -> bool;

    /// Decodes a payload by the number in its frame's header.
    fn decode(message_type: u8, payload: &[u8]) -> Result<Self::Message<'_>, DecodeError>;
}

/// The Mining Protocol (sv2-spec §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mining;

/// The Job Declaration Protocol (sv2-spec §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobDeclaration;

/// The Template Distribution Protocol (sv2-spec §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TemplateDistribution;

macro_rules! protocol {
    (
        $protocol:ident($number:ident, $name:literal, channels: $channels:literal, terms: $terms:ty)
        messages: $messages:ident::$enum:ident from $table:ident,
        client: [$($client:ident)*], server: [$($server:ident)*], both: [$($both:ident)*]
    ) => {
        impl sealed::Sealed for $protocol {}

        impl Protocol for $protocol {
            const NUMBER: u8 = protocol::$number;
            const NAME: &'static str = $name;
            const HAS_CHANNELS: bool = $channels;
            const MESSAGES: &'static [MessageInfo] = &message_type::$table::ALL;
            type Terms = $terms;
            type Message<'a> = $messages::$enum<'a>;

            fn terms(client_flags: u32, server_flags: u32) -> Result<Self::Terms, ContradictoryFlags> {
                <$terms as FromFlags>::from_flags(client_flags, server_flags)
            }

            #[inline]
            fn sends(side: Side, message_type: u8) -> bool {
                use message_type::$table as number;
                match message_type {
                    $(number::$client => side == Side::Client,)*
                    $(number::$server => side == Side::Server,)*
                    $(number::$both => true,)*
                    _ => false,
                }
            }

            #[inline]
            fn decode(message_type: u8, payload: &[u8]) -> Result<Self::Message<'_>, DecodeError> {
                $messages::$enum::decode(message_type, payload)
            }
        }
    };
}

protocol! {
    Mining(MINING, "mining", channels: true, terms: MiningTerms)
    messages: mining_sv2::Mining from mining,
    client: [
        SUBMIT_SHARES_EXTENDED SUBMIT_SHARES_STANDARD OPEN_STANDARD_MINING_CHANNEL OPEN_EXTENDED_MINING_CHANNEL
        UPDATE_CHANNEL SET_CUSTOM_MINING_JOB
    ],
    server: [
        OPEN_STANDARD_MINING_CHANNEL_SUCCESS OPEN_EXTENDED_MINING_CHANNEL_SUCCESS OPEN_MINING_CHANNEL_ERROR
        UPDATE_CHANNEL_ERROR SET_EXTRANONCE_PREFIX SUBMIT_SHARES_SUCCESS SUBMIT_SHARES_ERROR NEW_MINING_JOB
        NEW_EXTENDED_MINING_JOB SET_NEW_PREV_HASH SET_TARGET SET_CUSTOM_MINING_JOB_SUCCESS
        SET_CUSTOM_MINING_JOB_ERROR SET_GROUP_CHANNEL
    ],
    both: [CLOSE_CHANNEL]
}

protocol! {
    JobDeclaration(JOB_DECLARATION, "job declaration", channels: false, terms: JobDeclarationTerms)
    messages: job_declaration_sv2::JobDeclaration from job_declaration,
    client: [
        ALLOCATE_MINING_JOB_TOKEN PROVIDE_MISSING_TRANSACTIONS_SUCCESS DECLARE_MINING_JOB PUSH_SOLUTION
    ],
    server: [
        ALLOCATE_MINING_JOB_TOKEN_SUCCESS PROVIDE_MISSING_TRANSACTIONS DECLARE_MINING_JOB_SUCCESS
        DECLARE_MINING_JOB_ERROR
    ],
    both: []
}

protocol! {
    TemplateDistribution(TEMPLATE_DISTRIBUTION, "template distribution", channels: false, terms: ())
    messages: template_distribution_sv2::TemplateDistribution from template_distribution,
    client: [COINBASE_OUTPUT_CONSTRAINTS REQUEST_TRANSACTION_DATA SUBMIT_SOLUTION],
    server: [NEW_TEMPLATE SET_NEW_PREV_HASH REQUEST_TRANSACTION_DATA_SUCCESS REQUEST_TRANSACTION_DATA_ERROR],
    both: []
}

trait FromFlags: Sized {
    fn from_flags(client_flags: u32, server_flags: u32) -> Result<Self, ContradictoryFlags>;
}

impl FromFlags for MiningTerms {
    fn from_flags(client_flags: u32, server_flags: u32) -> Result<Self, ContradictoryFlags> {
        Self::new(client_flags, server_flags)
    }
}

impl FromFlags for JobDeclarationTerms {
    fn from_flags(client_flags: u32, _: u32) -> Result<Self, ContradictoryFlags> {
        Ok(Self::new(client_flags))
    }
}

impl FromFlags for () {
    fn from_flags(_: u32, _: u32) -> Result<Self, ContradictoryFlags> {
        Ok(())
    }
}

/// Who sent a frame.
pub trait Sender: sealed::Sealed + Copy + fmt::Debug + 'static {
    /// The sender's side.
    const SIDE: Side;
}

/// Sent by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromClient;

/// Sent by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromServer;

impl sealed::Sealed for FromClient {}
impl sealed::Sealed for FromServer {}

impl Sender for FromClient {
    const SIDE: Side = Side::Client;
}

impl Sender for FromServer {
    const SIDE: Side = Side::Server;
}

/// A frame of the core protocol whose message is one of `P`'s, not decoded yet, and not a common one.
///
/// A session's `receive` makes it when its state allows protocol messages at all.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a, P, F> {
    message_type: u8,
    payload: &'a [u8],
    marker: PhantomData<(P, F)>,
}

impl<'a, P: Protocol, F: Sender> Received<'a, P, F> {
    /// For those who have a session of their own. [`Violation::WrongSide`] for what the sender may not send,
    /// [`Violation::ChannelBit`] where the protocol has no channels, [`DecodeError::UnknownMessageType`] for frames of
    /// extensions, common messages and numbers that the protocol does not have.
    #[inline]
    pub fn new(header: Header, payload: &'a [u8]) -> Result<Self, Violation> {
        let message_type = header.message_type();
        if header.extension_type() != const_sv2::extension::CORE {
            return Err(DecodeError::UnknownMessageType(message_type).into());
        }
        if header.channel_msg() && !P::HAS_CHANNELS {
            return Err(Violation::ChannelBit(message_type));
        }
        if P::sends(F::SIDE, message_type) {
            return Ok(Self { message_type, payload, marker: PhantomData });
        }
        Err(not_sent::<P>(F::SIDE, message_type))
    }

    /// Number of the message.
    #[inline]
    pub const fn message_type(&self) -> u8 {
        self.message_type
    }

    /// The encoded message, TLV fields included.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The message, as one of the protocol's enum.
    pub fn decode(self) -> Result<P::Message<'a>, DecodeError> {
        P::decode(self.message_type, self.payload)
    }

    /// Name of the message as in the specification.
    pub fn name(&self) -> &'static str {
        name::<P>(self.message_type).unwrap_or("an unknown message")
    }
}

fn name<P: Protocol>(message_type: u8) -> Option<&'static str> {
    P::MESSAGES.iter().find(|info| info.message_type == message_type).map(|info| info.name)
}

/// Name of a message of any of the protocols, whose numbers do not overlap (sv2-spec §8).
pub(crate) fn any_name(message_type: u8) -> Option<&'static str> {
    let mining = name::<Mining>(message_type);
    mining.or_else(|| name::<JobDeclaration>(message_type)).or_else(|| name::<TemplateDistribution>(message_type))
}

#[cold]
fn not_sent<P: Protocol>(side: Side, message_type: u8) -> Violation {
    match name::<P>(message_type) {
        Some(got) => Violation::WrongSide { sender: side, got },
        None => DecodeError::UnknownMessageType(message_type).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_speaks_something_and_every_protocol_is_spoken_on_both_sides() {
        fn speakers<P: Protocol>(side: Side) -> usize {
            Role::ALL.into_iter().filter(|role| role.speaks::<P>(side)).count()
        }
        let sides = [Side::Client, Side::Server];
        assert_eq!(sides.map(speakers::<Mining>), [3, 3]);
        assert_eq!(sides.map(speakers::<JobDeclaration>), [1, 1]);
        assert_eq!(sides.map(speakers::<TemplateDistribution>), [3, 1]);
        for role in Role::ALL {
            let speaks = |side| {
                role.speaks::<Mining>(side)
                    || role.speaks::<JobDeclaration>(side)
                    || role.speaks::<TemplateDistribution>(side)
            };
            assert!(sides.into_iter().any(speaks), "{role:?}");
        }
    }

    fn each_message_has_a_sender<P: Protocol>() {
        for number in 0..=u8::MAX {
            let known = P::MESSAGES.iter().any(|info| info.message_type == number);
            let senders = [Side::Client, Side::Server].map(|side| P::sends(side, number));
            assert_eq!(senders.contains(&true), known, "{} {number:#04x}", P::NAME);
            let header = Header::new(0, false, number, 0).unwrap();
            let client = Received::<P, FromClient>::new(header, &[]);
            let server = Received::<P, FromServer>::new(header, &[]);
            assert_eq!([client.is_ok(), server.is_ok()], senders);
            for error in [client.err(), server.err()].into_iter().flatten() {
                assert_eq!(matches!(error, Violation::WrongSide { .. }), known, "{error}");
            }
        }
    }

    #[test]
    fn a_message_is_for_one_side_or_both_and_none_is_forgotten() {
        each_message_has_a_sender::<Mining>();
        each_message_has_a_sender::<JobDeclaration>();
        each_message_has_a_sender::<TemplateDistribution>();
    }

    #[test]
    fn the_channel_bit_is_for_channels_and_other_extensions_are_none_of_the_protocol() {
        let new = |extension, bit, number| Header::new(extension, bit, number, 0).unwrap();
        assert!(Received::<Mining, FromClient>::new(new(0, true, 0x1b), &[]).is_ok());
        assert!(Received::<Mining, FromClient>::new(new(0, false, 0x1b), &[]).is_ok(), "devices forget it");
        let bit = Received::<TemplateDistribution, FromClient>::new(new(0, true, 0x73), &[]).unwrap_err();
        assert_eq!(bit, Violation::ChannelBit(0x73));
        let other = Received::<Mining, FromClient>::new(new(2, false, 0x1b), &[]).unwrap_err();
        assert_eq!(other, DecodeError::UnknownMessageType(0x1b).into());
        let common = Received::<Mining, FromClient>::new(new(0, false, 0x00), &[]).unwrap_err();
        assert_eq!(common, DecodeError::UnknownMessageType(0).into());
    }
}
