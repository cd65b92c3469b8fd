//! The client's side of a connection.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};
use core::{fmt, marker::PhantomData, time::Duration};

use binary_sv2::{DecodeError, Seq0_64K, Str0_255};
use common_messages_sv2::{CommonMessages, Reconnect, SetupConnection, SetupConnectionSuccess};
use const_sv2::protocol::VERSION;
use extensions_sv2::{ExtensionNegotiation, RequestExtensions};
use framing_sv2::Header;

use super::{Deadline, PROTOCOL_MESSAGE, Sort, Violation, negotiation, sort};
use crate::{
    ids::ChannelId,
    protocol::{FromServer, Protocol, Received, Side},
    setup::MAX_EXTENSIONS,
};

/// How long a server may take to answer RequestExtensions at the first attempt, in times of what the connection took to come
/// about (ext-0x0001 §4).
pub const FIRST_PATIENCE: u32 = 2;
/// The same at the second attempt.
pub const SECOND_PATIENCE: u32 = 5;
/// Never less than this: on a fast network, twice the time for a connection is less than a busy server needs.
pub const LEAST_PATIENCE: Duration = Duration::from_millis(200);
/// Never more than this, however slow the connection came about.
pub const MOST_PATIENCE: Duration = Duration::from_secs(5);

/// What SetupConnection says of the program or device (sv2-spec §3.6.1). What is over 255 bytes is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// Maker; must not be empty.
    pub vendor: &'a str,
    /// Hardware, or the program's name.
    pub hardware_version: &'a str,
    /// Firmware, or the program's version.
    pub firmware: &'a str,
    /// Tells devices of one maker apart; empty without telemetry.
    pub device_id: &'a str,
}

/// The first message, for protocol `P`; `host` and `port` are what was dialled.
pub fn setup_connection<'a, P: Protocol>(
    flags: u32,
    host: &'a str,
    port: u16,
    device: &Device<'a>,
) -> SetupConnection<'a> {
    SetupConnection {
        protocol: P::NUMBER,
        min_version: VERSION,
        max_version: VERSION,
        flags,
        endpoint_host: Str0_255::from_truncated(host),
        endpoint_port: port,
        vendor: Str0_255::from_truncated(device.vendor),
        hardware_version: Str0_255::from_truncated(device.hardware_version),
        firmware: Str0_255::from_truncated(device.firmware),
        device_id: Str0_255::from_truncated(device.device_id),
    }
}

/// Why a connection does not open, or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server refused it.
    Refused {
        /// Its reason, escaped for logs.
        error_code: String,
        /// Flags that it does not support.
        flags: u32,
    },
    /// The server requires extensions that we do not have.
    ExtensionsRequired(Vec<u16>),
    /// The server left RequestExtensions unanswered. Tell [`Negotiation::unanswered`], and connect anew.
    ExtensionsUnanswered,
    /// The server broke the protocol.
    Violation(Violation),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { error_code, flags } => {
                write!(f, "the server refused the connection: {error_code} (flags {flags:#x})")
            }
            Self::ExtensionsRequired(list) => {
                write!(f, "the server requires extensions that are not known here: {list:?}")
            }
            Self::ExtensionsUnanswered => f.write_str("the server did not answer the request for extensions"),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl core::error::Error for End {}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        Self::Violation(error.into())
    }
}

/// Which extensions a client asks for, over all attempts to connect to one server (ext-0x0001 §4).
///
/// A server that does not know of extensions leaves the request unanswered. The client then connects anew and asks again, with
/// more patience; when that is in vain, too, it connects without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiation {
    wanted: &'static [u16],
    able: &'static [u16],
    attempts: u8,
}

impl Negotiation {
    /// Asks for nothing.
    pub const NONE: Self = Self::new(&[]);

    /// Asks for these.
    pub const fn new(wanted: &'static [u16]) -> Self {
        Self { wanted, able: &[], attempts: 0 }
    }

    /// Can also use these, and asks for those that a server requires.
    #[must_use]
    pub const fn with_able(mut self, able: &'static [u16]) -> Self {
        self.able = able;
        self
    }

    /// A connection ended with [`End::ExtensionsUnanswered`].
    pub fn unanswered(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// How long to wait for an answer at the next attempt; `None` once it is not asked any more.
    pub fn patience(&self, connect_time: Duration) -> Option<Duration> {
        let times = match self.attempts {
            _ if self.wanted.is_empty() => return None,
            0 => FIRST_PATIENCE,
            1 => SECOND_PATIENCE,
            _ => return None,
        };
        Some(connect_time.saturating_mul(times).clamp(LEAST_PATIENCE, MOST_PATIENCE))
    }
}

/// A connection whose SetupConnection was sent, until both sides may use the protocol.
#[derive(Debug)]
pub struct Connecting<P> {
    deadline: Deadline,
    flags: u32,
    versions: (u16, u16),
    wanted: &'static [u16],
    able: &'static [u16],
    patience: Option<Duration>,
    asked: Option<Asked>,
    marker: PhantomData<P>,
}

/// What SetupConnection.Success said, and the request that is under way.
#[derive(Debug)]
struct Asked {
    success: SetupConnectionSuccess,
    requested: Vec<u16>,
    request_id: u16,
}

/// What a frame did to a connection that is coming about.
#[derive(Debug)]
pub enum Progress<'a, P: Protocol> {
    /// It is not open yet.
    Waiting(Connecting<P>, Option<Output<'a>>),
    /// It is.
    Open(Open<P>),
}

/// What is to be done meanwhile.
#[derive(Debug)]
pub enum Output<'a> {
    /// Send this.
    Send(RequestExtensions<'static>),
    /// The server wants us elsewhere: see [`Incoming::Reconnect`].
    Reconnect(Reconnect<'a>),
}

impl<P: Protocol> Connecting<P> {
    /// `setup` was sent at `now`, see [`setup_connection`]; the answer must come within this time.
    pub fn new(now: Duration, within: Duration, setup: &SetupConnection<'_>) -> Self {
        Self {
            deadline: Deadline::new(now, within),
            flags: setup.flags,
            versions: (setup.min_version, setup.max_version),
            wanted: &[],
            able: &[],
            patience: None,
            asked: None,
            marker: PhantomData,
        }
    }

    /// Asks for extensions before the protocol begins. `connect_time` is what the connection took to come about, TCP and
    /// handshake, in which servers' patience is measured.
    #[must_use]
    pub fn with_extensions(mut self, negotiation: &Negotiation, connect_time: Duration) -> Self {
        (self.wanted, self.able) = (negotiation.wanted, negotiation.able);
        self.patience = negotiation.patience(connect_time);
        self
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Duration {
        self.deadline.at
    }

    /// The end of a connection whose server did not answer in time.
    pub fn handle_timeout(&self, now: Duration) -> Result<(), End> {
        if self.asked.is_none() {
            return Ok(self.deadline.check(now, "SetupConnection.Success")?);
        }
        if self.deadline.is_over(now) { Err(End::ExtensionsUnanswered) } else { Ok(()) }
    }

    /// Takes a frame from the server.
    pub fn handle_frame<'a>(self, now: Duration, header: Header, payload: &'a [u8]) -> Result<Progress<'a, P>, End> {
        let got = match sort(header, payload) {
            Sort::Common => return self.common(now, header, payload),
            // sv2-spec §3.4.1: discarded.
            Sort::Foreign(_) => return Ok(Progress::Waiting(self, None)),
            Sort::Negotiation => return self.negotiation(now, header, payload),
            Sort::Protocol => Received::<P, FromServer>::new(header, payload)?.name(),
        };
        Err(self.unexpected(got))
    }

    fn common<'a>(self, now: Duration, header: Header, payload: &'a [u8]) -> Result<Progress<'a, P>, End> {
        match (CommonMessages::decode(header.message_type(), payload)?, &self.asked) {
            (message @ CommonMessages::SetupConnection(_), _) => Err(wrong_side(message.name())),
            (CommonMessages::SetupConnectionSuccess(success), None) => self.accepted(now, success),
            (CommonMessages::SetupConnectionError(error), None) => {
                Err(End::Refused { error_code: error.error_code.to_string(), flags: error.flags })
            }
            (CommonMessages::Reconnect(message), _) => Ok(Progress::Waiting(self, Some(Output::Reconnect(message)))),
            (other, _) => Err(self.unexpected(other.name())),
        }
    }

    fn accepted(mut self, now: Duration, success: SetupConnectionSuccess) -> Result<Progress<'static, P>, End> {
        let (low, high) = self.versions;
        if !(low..=high).contains(&success.used_version) {
            return Err(Violation::Version { expected: self.versions, got: success.used_version }.into());
        }
        P::terms(self.flags, success.flags).map_err(Violation::from)?;
        match self.patience {
            None => self.open(success, Vec::new()),
            Some(patience) => {
                self.deadline = Deadline::new(now, patience);
                let asked = Asked { success, requested: self.wanted.to_vec(), request_id: 0 };
                Ok(self.ask(asked))
            }
        }
    }

    fn ask(mut self, mut asked: Asked) -> Progress<'static, P> {
        asked.request_id += 1;
        let message = request(asked.request_id, &asked.requested);
        self.asked = Some(asked);
        Progress::Waiting(self, Some(Output::Send(message)))
    }

    fn negotiation(mut self, now: Duration, header: Header, payload: &[u8]) -> Result<Progress<'static, P>, End> {
        let message = negotiation(header, payload)?;
        let Some(mut asked) = self.asked.take() else { return Err(self.unexpected(message.name())) };
        match message {
            ExtensionNegotiation::RequestExtensions(_) => Err(wrong_side(message.name())),
            ExtensionNegotiation::RequestExtensionsSuccess(success) => {
                let granted = granted(&asked.requested, asked.request_id, &success)?;
                self.open(asked.success, granted)
            }
            ExtensionNegotiation::RequestExtensionsError(error) => {
                if error.request_id != asked.request_id {
                    return Err(Violation::ExtensionsAnswer.into());
                }
                let required: Vec<u16> = error.required_extensions.iter().take(MAX_EXTENSIONS).collect();
                if required.is_empty() {
                    return self.open(asked.success, Vec::new());
                }
                let known = |id| self.wanted.contains(id) || self.able.contains(id);
                if asked.request_id > 1 || !required.iter().all(known) {
                    return Err(End::ExtensionsRequired(required));
                }
                asked.requested.extend(required.iter().filter(|id| !self.wanted.contains(id)));
                self.deadline = Deadline::new(now, self.deadline.within);
                Ok(self.ask(asked))
            }
        }
    }

    fn open(self, success: SetupConnectionSuccess, granted: Vec<u16>) -> Result<Progress<'static, P>, End> {
        let terms = P::terms(self.flags, success.flags).map_err(Violation::from)?;
        let SetupConnectionSuccess { used_version: version, flags: server_flags } = success;
        Ok(Progress::Open(Open { version, server_flags, terms, granted, asked: None, last_request: 2 }))
    }

    fn unexpected(&self, got: &'static str) -> End {
        let expected = match self.asked {
            None => "SetupConnection.Success or SetupConnection.Error",
            Some(_) => "the answer to RequestExtensions",
        };
        Violation::Unexpected { expected, got }.into()
    }
}

/// What a frame is to an open connection.
#[derive(Debug)]
pub enum Incoming<'a, P> {
    /// A message of the protocol.
    Message(Received<'a, P, FromServer>),
    /// The server wants us elsewhere. Connect anew, to another host only where it must show a certificate of the same
    /// authority (sv2-spec §3.6.5); or stay.
    Reconnect(Reconnect<'a>),
    /// The other end of a channel is another one now: extensions must be negotiated anew (sv2-spec §3.6.4). The connection's
    /// own are void already; [`Open::request_extensions`] asks for them again.
    EndpointChanged(ChannelId),
    /// The answer to [`Open::request_extensions`] came.
    ExtensionsChanged,
    /// An extension's message for a channel. A proxy forwards it; who is the channel's end and does not know the extension
    /// discards it (sv2-spec §3.4.1).
    ForChannel(ChannelId),
    /// An extension's message for us, which is not known here: to be discarded.
    Ignored,
}

/// A connection on which both sides may use the protocol.
#[derive(Debug)]
pub struct Open<P: Protocol> {
    version: u16,
    server_flags: u32,
    terms: P::Terms,
    granted: Vec<u16>,
    /// A request made since, with its id.
    asked: Option<(u16, Vec<u16>)>,
    last_request: u16,
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

    /// The server's flags.
    pub const fn server_flags(&self) -> u32 {
        self.server_flags
    }

    /// The extensions that the server granted last.
    pub fn extensions(&self) -> &[u16] {
        &self.granted
    }

    /// Whether the server granted this extension.
    pub fn has_extension(&self, extension: u16) -> bool {
        self.granted.contains(&extension)
    }

    /// Asks for extensions anew, for example after [`Incoming::EndpointChanged`]; until the answer comes there are none. At most
    /// [`MAX_EXTENSIONS`] are asked for.
    pub fn request_extensions(&mut self, extensions: &[u16]) -> RequestExtensions<'static> {
        let extensions = extensions.get(..MAX_EXTENSIONS).unwrap_or(extensions);
        self.granted.clear();
        self.last_request = self.last_request.wrapping_add(1);
        self.asked = Some((self.last_request, extensions.to_vec()));
        request(self.last_request, extensions)
    }

    /// Sorts a frame. Messages of the protocol are not decoded yet.
    #[inline]
    pub fn receive<'a>(&mut self, header: Header, payload: &'a [u8]) -> Result<Incoming<'a, P>, Violation> {
        match sort(header, payload) {
            Sort::Protocol => Received::new(header, payload).map(Incoming::Message),
            Sort::Foreign(Some(id)) if P::HAS_CHANNELS => Ok(Incoming::ForChannel(id)),
            Sort::Foreign(_) => Ok(Incoming::Ignored),
            Sort::Negotiation => self.negotiation(header, payload),
            Sort::Common => self.common(header, payload),
        }
    }

    #[cold]
    fn common<'a>(&mut self, header: Header, payload: &'a [u8]) -> Result<Incoming<'a, P>, Violation> {
        match CommonMessages::decode(header.message_type(), payload)? {
            CommonMessages::Reconnect(message) => Ok(Incoming::Reconnect(message)),
            CommonMessages::ChannelEndpointChanged(message) => {
                self.granted.clear();
                Ok(Incoming::EndpointChanged(ChannelId(message.channel_id)))
            }
            message @ CommonMessages::SetupConnection(_) => {
                Err(Violation::WrongSide { sender: Side::Server, got: message.name() })
            }
            other => Err(Violation::Unexpected { expected: PROTOCOL_MESSAGE, got: other.name() }),
        }
    }

    #[cold]
    fn negotiation(&mut self, header: Header, payload: &[u8]) -> Result<Incoming<'static, P>, Violation> {
        let (id, result) = match negotiation(header, payload)? {
            message @ ExtensionNegotiation::RequestExtensions(_) => {
                return Err(Violation::WrongSide { sender: Side::Server, got: message.name() });
            }
            ExtensionNegotiation::RequestExtensionsSuccess(success) => (success.request_id, Some(success)),
            ExtensionNegotiation::RequestExtensionsError(error) => (error.request_id, None),
        };
        match self.asked.take() {
            Some((request_id, requested)) if request_id == id => {
                if let Some(success) = result {
                    self.granted = granted(&requested, request_id, &success)?;
                }
                Ok(Incoming::ExtensionsChanged)
            }
            // An answer that comes after the request was given up, or was overtaken by another one.
            other => {
                self.asked = other;
                Ok(Incoming::Ignored)
            }
        }
    }
}

fn request(request_id: u16, extensions: &[u16]) -> RequestExtensions<'static> {
    // The list is bounded far below the type's 65,535 elements.
    let requested_extensions = Seq0_64K::try_from_iter(extensions.iter().copied()).unwrap_or_default();
    RequestExtensions { request_id, requested_extensions }
}

/// The extensions that an answer grants, each once; none may be others than were requested.
fn granted(
    requested: &[u16],
    request_id: u16,
    success: &extensions_sv2::RequestExtensionsSuccess<'_>,
) -> Result<Vec<u16>, Violation> {
    let mut granted = Vec::new();
    for extension in success.supported_extensions.iter() {
        if !requested.contains(&extension) {
            return Err(Violation::ExtensionsAnswer);
        }
        if !granted.contains(&extension) {
            granted.push(extension);
        }
    }
    if success.request_id == request_id { Ok(granted) } else { Err(Violation::ExtensionsAnswer) }
}

fn wrong_side(got: &'static str) -> End {
    Violation::WrongSide { sender: Side::Server, got }.into()
}
