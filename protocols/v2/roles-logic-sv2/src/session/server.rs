//! The server's side of a connection.

use alloc::vec::Vec;
use core::time::Duration;

use common_messages_sv2::{CommonMessages, SetupConnection, SetupConnectionSuccess};
use const_sv2::error_code::setup_connection as code;
use extensions_sv2::{ExtensionNegotiation, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};
use framing_sv2::Header;

use super::{Deadline, Sort, Violation, negotiation, sort};
use crate::{
    ids::ChannelId,
    messages::extensions_message,
    protocol::{FromClient, Protocol, Received, Side, any_name},
    setup::{Refused, Request, Support, answer_extensions},
};

/// A connection whose client has said nothing yet.
#[derive(Debug)]
pub struct AwaitSetup {
    deadline: Deadline,
}

impl AwaitSetup {
    /// The client has connected at `now` and must send SetupConnection within this time.
    pub fn new(now: Duration, within: Duration) -> Self {
        Self { deadline: Deadline::new(now, within) }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Duration {
        self.deadline.at
    }

    /// [`Violation::Late`] once the time is over.
    pub fn handle_timeout(&self, now: Duration) -> Result<(), Violation> {
        self.deadline.check(now, "SetupConnection")
    }

    /// Takes the first frame, which must be a SetupConnection (sv2-spec §3.6.1).
    pub fn handle_frame(self, header: Header, payload: &[u8]) -> Result<Requested<'_>, Violation> {
        let got = match sort(header, payload) {
            Sort::Common => match CommonMessages::decode(header.message_type(), payload)? {
                CommonMessages::SetupConnection(setup) => return Ok(Requested { setup }),
                other => return Err(Violation::WrongSide { sender: Side::Client, got: other.name() }),
            },
            Sort::Protocol => any_name(header.message_type()).unwrap_or(super::PROTOCOL_MESSAGE),
            Sort::Negotiation => "a request for extensions",
            Sort::Foreign(_) => "a message of an extension",
        };
        Err(Violation::Unexpected { expected: "SetupConnection", got })
    }
}

/// A client that waits for the answer to its SetupConnection.
#[derive(Debug)]
#[must_use = "the client waits for an answer"]
pub struct Requested<'a> {
    setup: SetupConnection<'a>,
}

impl<'a> Requested<'a> {
    /// What the client says of itself and what it wants.
    pub fn setup(&self) -> &SetupConnection<'a> {
        &self.setup
    }

    /// Opens the connection for protocol `P` if client and server agree. Either answer is to be sent, and after the
    /// error the connection to be closed.
    pub fn accept<P: Protocol>(
        self,
        now: Duration,
        support: &Support,
        offer: Offer,
    ) -> Result<(Open<P>, SetupConnectionSuccess), Refused> {
        let request = Request::from(&self.setup);
        if support.protocol != P::NUMBER {
            return Err(self.refuse(code::UNSUPPORTED_PROTOCOL));
        }
        let accepted = support.answer(&request)?;
        let contradiction = |_| Refused { flags: request.flags, error_code: code::UNSUPPORTED_FEATURE_FLAGS };
        let terms = P::terms(request.flags, accepted.flags).map_err(contradiction)?;
        let missing = (!offer.required.is_empty()).then(|| Deadline::new(now, offer.within));
        let open = Open { version: accepted.used_version, terms, offer, granted: Vec::new(), missing };
        Ok((open, accepted.into()))
    }

    /// Sends the client away for a reason of the server's own, for example
    /// [`SERVER_BUSY`](const_sv2::error_code::setup_connection::SERVER_BUSY).
    pub fn refuse(self, error_code: &'static str) -> Refused {
        Refused { flags: 0, error_code }
    }
}

/// The extensions that a server offers (ext-0x0001).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Those that a client may use, `required` ones included.
    pub supported: &'static [u16],
    /// Those that a client must request before anything else.
    pub required: &'static [u16],
    /// Time for that; of no meaning when nothing is required.
    pub within: Duration,
}

impl Offer {
    /// No extensions: requests are answered so.
    pub const NONE: Self = Self { supported: &[], required: &[], within: Duration::from_secs(10) };
}

/// The answer to RequestExtensions, to be sent.
pub type ExtensionsAnswer = Result<RequestExtensionsSuccess<'static>, RequestExtensionsError<'static>>;

/// What a frame is to an open connection.
#[derive(Debug)]
pub enum Incoming<'a, P> {
    /// A message of the protocol.
    Message(Received<'a, P, FromClient>),
    /// The client asked for extensions, again maybe; send this.
    Extensions(ExtensionsAnswer),
    /// An extension's message for a channel. A proxy forwards it; who is the channel's end and does not know the extension
    /// discards it (sv2-spec §3.4.1).
    ForChannel(ChannelId),
    /// An extension's message for us, which is not known here: to be discarded.
    Ignored,
}

/// A connection that was set up.
#[derive(Debug)]
pub struct Open<P: Protocol> {
    version: u16,
    terms: P::Terms,
    offer: Offer,
    granted: Vec<u16>,
    /// Set while required extensions have not been requested.
    missing: Option<Deadline>,
}

impl<P: Protocol> Open<P> {
    /// What both sides' flags mean.
    pub const fn terms(&self) -> P::Terms {
        self.terms
    }

    /// The version in use.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// The extensions that were granted last.
    pub fn extensions(&self) -> &[u16] {
        &self.granted
    }

    /// Whether this extension was granted.
    pub fn has_extension(&self, extension: u16) -> bool {
        self.granted.contains(&extension)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.missing.map(|deadline| deadline.at)
    }

    /// [`Violation::Late`] when required extensions were not requested in time.
    pub fn handle_timeout(&self, now: Duration) -> Result<(), Violation> {
        let expected = "a request for the required extensions";
        self.missing.map_or(Ok(()), |deadline| deadline.check(now, expected))
    }

    /// Sorts a frame. Nothing of it is decoded but requests for extensions.
    #[inline]
    pub fn receive<'a>(&mut self, header: Header, payload: &'a [u8]) -> Result<Incoming<'a, P>, Violation> {
        match sort(header, payload) {
            Sort::Protocol if self.missing.is_some() => Err(Violation::ExtensionsRequired),
            Sort::Protocol => Received::new(header, payload).map(Incoming::Message),
            Sort::Foreign(Some(id)) if P::HAS_CHANNELS => Ok(Incoming::ForChannel(id)),
            Sort::Foreign(_) => Ok(Incoming::Ignored),
            Sort::Negotiation => self.negotiate(header, payload),
            Sort::Common => Err(misplaced(header, payload)),
        }
    }

    #[cold]
    fn negotiate(&mut self, header: Header, payload: &[u8]) -> Result<Incoming<'static, P>, Violation> {
        match negotiation(header, payload)? {
            ExtensionNegotiation::RequestExtensions(request) => Ok(Incoming::Extensions(self.answer(&request))),
            other => Err(Violation::WrongSide { sender: Side::Client, got: other.name() }),
        }
    }

    fn answer(&mut self, request: &RequestExtensions<'_>) -> ExtensionsAnswer {
        let Offer { supported, required, .. } = self.offer;
        let answer = answer_extensions(request.requested_extensions.iter(), supported, required);
        match &answer {
            Ok(granted) => (self.granted, self.missing) = (granted.clone(), None),
            Err(_) => self.granted.clear(),
        }
        extensions_message(request.request_id, answer.as_deref())
    }
}

/// Common messages belong to the set-up, or to servers.
#[cold]
fn misplaced(header: Header, payload: &[u8]) -> Violation {
    match CommonMessages::decode(header.message_type(), payload) {
        Ok(message @ CommonMessages::SetupConnection(_)) => {
            Violation::Unexpected { expected: super::PROTOCOL_MESSAGE, got: message.name() }
        }
        Ok(message) => Violation::WrongSide { sender: Side::Client, got: message.name() },
        Err(error) => error.into(),
    }
}
