//! One client of a Template Provider, without sockets and clock (sv2-spec §7).
//!
//! SetupConnection, then CoinbaseOutputConstraints, which opens the client's own subscription to the source, then
//! templates. The driver asks for what is to be sent when nothing waits to be written ([`Session::transmit`]), so that news which a slow
//! client did not take is replaced by newer, and at most one answer lies in its buffer.

use std::{collections::VecDeque, time::Duration};

use binary_sv2::{DecodeError, Str0_255};
use bitcoin::Network;
use common_messages_sv2::{CommonMessages, SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use const_sv2::{
    extension,
    protocol::{self, TEMPLATE_DISTRIBUTION, VERSION},
};
use extensions_sv2::{ExtensionNegotiation, RequestExtensions};
use framing_sv2::Sv2Frame;
use roles_logic_sv2::{
    extensions_message,
    setup::{Request, Support, answer_extensions},
};
use template_distribution_sv2::{
    CoinbaseOutputConstraints, RequestTransactionDataError, SubmitSolution, TemplateDistribution,
};
use template_source::{
    Command, Constraints, Event, TemplateId,
    sv2::{EventQueue, SendError, Sink},
};

use crate::{
    requests::{Answer, Requests, TRANSACTIONS_TOO_LARGE},
    solutions::Solutions,
    wire::{new_template, set_new_prev_hash, transaction_data},
    work::Work,
};

/// Weight of the largest block; constraints that reserve more leave no room for anything.
pub const MAX_BLOCK_WEIGHT: u64 = 4_000_000;

/// Solutions of one client that may be no blocks; one more ends the connection.
pub const BAD_SOLUTIONS: u32 = 16;

/// What a session is made with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Time for SetupConnection.
    pub setup: Duration,
    /// Time from then on for CoinbaseOutputConstraints.
    pub constraints: Duration,
    /// The chain whose templates are served.
    pub network: Network,
    /// The source takes whole blocks, so transactions are kept for them.
    pub raw_blocks: bool,
}

/// What a session wants of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open the subscription; happens once.
    Subscribe(Constraints),
    /// Send the subscription a command.
    Command(Command),
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub enum Close {
    /// The client stays silent.
    #[error("expected {expected} within {} seconds, nothing came", .within.as_secs())]
    Deadline {
        /// What should have come.
        expected: &'static str,
        /// How long it was waited for.
        within: Duration,
    },
    /// The client was refused with this error code.
    #[error("refused with {error_code}: {detail}")]
    Refused {
        /// As sent to the client.
        error_code: &'static str,
        /// What was expected and what came.
        detail: String,
    },
    /// A message that has no place here.
    #[error("expected {expected}, got {got}")]
    Unexpected {
        /// What the state allows.
        expected: &'static str,
        /// Name of the message.
        got: &'static str,
    },
    /// A frame with the bit for channels, which Template Distribution does not have.
    #[error("expected the channel bit to be unset, message {0:#04x} has it")]
    ChannelBit(u8),
    /// Bytes that are no message.
    #[error("{0}")]
    Undecodable(#[from] DecodeError),
    /// More room than a block has.
    #[error(
        "CoinbaseOutputConstraints: expected to reserve at most {MAX_BLOCK_WEIGHT} weight, {bytes} bytes reserve {weight}"
    )]
    Constraints {
        /// Bytes of outputs.
        bytes: u32,
        /// Weight to reserve for them.
        weight: u64,
    },
    /// The client's solutions are no blocks.
    #[error("{BAD_SOLUTIONS} solutions made no block; the last one: {0}")]
    Solutions(crate::work::BadSolution),
    /// The source is on another chain.
    #[error("expected templates of {expected}, the source is on {got}; correct `network` or the source")]
    Network {
        /// As configured.
        expected: Network,
        /// As the source says.
        got: Network,
    },
    /// The source names a template that the client never got.
    #[error("the source activated template {0}, which could not be sent; the client must start anew")]
    Lost(u64),
    /// The source ended its stream.
    #[error("the template source has ended")]
    SourceEnded,
    /// A message can not leave.
    #[error(transparent)]
    Send(#[from] SendError),
}

#[derive(Debug)]
enum State {
    AwaitSetup { deadline: Duration },
    AwaitConstraints { deadline: Duration },
    Serving,
}

/// See the module's documentation. Times are durations since any fixed moment.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    state: State,
    news: EventQueue,
    work: Work,
    requests: Requests,
    solutions: Solutions,
    bad_solutions: u32,
    subscribe: Option<Constraints>,
    constraints: Option<Constraints>,
    submissions: VecDeque<Command>,
    fetch: Option<Command>,
}

impl Session {
    /// A session with a client that has just connected.
    pub fn new(now: Duration, settings: Settings) -> Self {
        Self {
            settings,
            state: State::AwaitSetup { deadline: now + settings.setup },
            news: EventQueue::default(),
            work: Work::default(),
            requests: Requests::new(settings.raw_blocks),
            solutions: Solutions::default(),
            bad_solutions: 0,
            subscribe: None,
            constraints: None,
            submissions: VecDeque::new(),
            fetch: None,
        }
    }

    /// Handles a frame from the client.
    ///
    /// # Errors
    /// Why the connection must be closed; what was sent before, a refusal for example, should still leave.
    pub fn handle_frame(&mut self, now: Duration, frame: &Sv2Frame<'_>, sink: &mut impl Sink) -> Result<(), Close> {
        let header = frame.header();
        match header.extension_type() {
            extension::CORE => {}
            extension::EXTENSIONS_NEGOTIATION if !header.channel_msg() => return self.extension(frame, sink),
            other => {
                // sv2-spec §3.4.1: discarded and ignored.
                tracing::debug!(extension = other, "ignored a message of an unknown extension");
                return Ok(());
            }
        }
        let number = header.message_type();
        if header.channel_msg() {
            return Err(Close::ChannelBit(number));
        }
        match CommonMessages::decode(number, frame.payload()) {
            Ok(CommonMessages::SetupConnection(setup)) if matches!(self.state, State::AwaitSetup { .. }) => {
                return self.setup(now, &setup, sink);
            }
            Ok(other) => return Err(self.unexpected(other.name())),
            Err(DecodeError::UnknownMessageType(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let message = TemplateDistribution::decode(number, frame.payload())?;
        match (&self.state, message) {
            (State::AwaitConstraints { .. }, TemplateDistribution::CoinbaseOutputConstraints(message)) => {
                self.subscribe = Some(checked(message)?);
                self.state = State::Serving;
            }
            (State::Serving, TemplateDistribution::CoinbaseOutputConstraints(message)) => {
                // Only the newest counts if the source has not taken the one before.
                self.constraints = Some(checked(message)?);
            }
            (State::Serving, TemplateDistribution::RequestTransactionData(message)) => {
                let id = TemplateId(message.template_id);
                if let Err(error_code) = self.requests.ask(id) {
                    sink.send(&request_error(id, error_code))?;
                }
            }
            (State::Serving, TemplateDistribution::SubmitSolution(message)) => self.solution(now, &message)?,
            (_, other) => return Err(self.unexpected(other.name())),
        }
        Ok(())
    }

    fn setup(&mut self, now: Duration, setup: &SetupConnection<'_>, sink: &mut impl Sink) -> Result<(), Close> {
        let request = Request::from(setup);
        let accepted = match Support::TEMPLATE_DISTRIBUTION.answer(&request) {
            Ok(accepted) => accepted,
            Err(refused) => {
                let error_code = refused.error_code;
                sink.send(&SetupConnectionError::from(refused))?;
                let Request { protocol, min_version, max_version, flags } = request;
                let name = protocol::name(protocol).unwrap_or("unknown");
                let detail = format!(
                    "expected protocol {TEMPLATE_DISTRIBUTION}, version {VERSION} and no flags, got protocol {protocol} \
                     ({name}), versions {min_version} to {max_version}, flags {flags:#x}"
                );
                return Err(Close::Refused { error_code, detail });
            }
        };
        tracing::info!(vendor = %setup.vendor, version = %setup.firmware, "client connected");
        sink.send(&SetupConnectionSuccess::from(accepted))?;
        self.state = State::AwaitConstraints { deadline: now + self.settings.constraints };
        Ok(())
    }

    fn extension(&mut self, frame: &Sv2Frame<'_>, sink: &mut impl Sink) -> Result<(), Close> {
        if matches!(self.state, State::AwaitSetup { .. }) {
            return Err(self.unexpected("a message of an extension"));
        }
        match ExtensionNegotiation::decode(frame.header().message_type(), frame.payload())? {
            ExtensionNegotiation::RequestExtensions(request) => Ok(no_extensions(&request, sink)?),
            other => Err(self.unexpected(other.name())),
        }
    }

    fn solution(&mut self, now: Duration, message: &SubmitSolution<'_>) -> Result<(), Close> {
        match self.work.solution(message) {
            Ok((solution, height)) => {
                self.submissions.extend(self.solutions.found(now, solution, height));
                Ok(())
            }
            Err(error) => {
                self.bad_solutions += 1;
                if self.bad_solutions >= BAD_SOLUTIONS {
                    return Err(Close::Solutions(error));
                }
                tracing::warn!("ignored a solution: {error}");
                Ok(())
            }
        }
    }

    /// Handles an event of the client's subscription.
    ///
    /// # Errors
    /// Why the client can not be served on.
    pub fn handle_event(&mut self, now: Duration, event: Event) -> Result<(), Close> {
        match &event {
            Event::Up { network, .. } => {
                if let Some(got) = network.filter(|got| *got != self.settings.network) {
                    return Err(Close::Network { expected: self.settings.network, got });
                }
                self.requests.set_up(true);
                self.submissions.extend(self.solutions.up(whole(&self.work, self.settings.raw_blocks)));
            }
            Event::Down { .. } => {
                self.requests.set_up(false);
                self.solutions.down(now);
            }
            Event::Template(template) => {
                if let Err(error) = new_template(template) {
                    tracing::error!(template = template.id.0, "template not sent: {error}");
                    return Ok(());
                }
                self.work.add(template.clone());
                if !template.future {
                    self.requests.want(template.id);
                }
                self.news.push(event);
            }
            Event::Tip(tip) => {
                if !self.work.activate(tip) {
                    return Err(Close::Lost(tip.template_id.0));
                }
                self.requests.want(tip.template_id);
                self.news.push(event);
            }
            Event::Transactions { id, result } => self.requests.fetched(*id, result.clone(), &mut self.work),
            Event::Submitted { hash, path, outcome } => {
                let whole = whole(&self.work, self.settings.raw_blocks);
                self.submissions.extend(self.solutions.answered(now, *hash, *path, outcome.clone(), whole));
            }
        }
        Ok(())
    }

    /// Whether events should be handed in; not while too much news waits for a slow client.
    pub fn wants_events(&self) -> bool {
        !self.news.is_full()
    }

    /// Sends what there is: all news, or else one answer. To be called when nothing waits to be written.
    ///
    /// # Errors
    /// When a message can not be encoded.
    pub fn transmit(&mut self, sink: &mut impl Sink) -> Result<(), Close> {
        let mut sent = false;
        while let Some(event) = self.news.pop() {
            sent = true;
            match &event {
                Event::Template(template) => {
                    if let Ok(message) = new_template(template) {
                        sink.send(&message)?;
                    }
                }
                Event::Tip(tip) => sink.send(&set_new_prev_hash(tip))?,
                _ => {}
            }
        }
        if !sent && let Some((id, answer)) = self.requests.take_answer(&self.work) {
            send_answer(id, &answer, sink)?;
        }
        Ok(())
    }

    /// Whether [`Session::poll_action`] has something.
    pub fn has_action(&mut self) -> bool {
        if self.fetch.is_none() {
            self.fetch = self.requests.poll_fetch(&self.work);
        }
        self.subscribe.is_some() || !self.submissions.is_empty() || self.constraints.is_some() || self.fetch.is_some()
    }

    /// What to ask the source next; found blocks first.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(constraints) = self.subscribe.take() {
            return Some(Action::Subscribe(constraints));
        }
        self.has_action();
        let command = self.submissions.pop_front();
        let command = command.or_else(|| self.constraints.take().map(Command::SetConstraints));
        command.or_else(|| self.fetch.take()).map(Action::Command)
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.state {
            State::AwaitSetup { deadline } | State::AwaitConstraints { deadline } => Some(deadline),
            State::Serving => self.solutions.poll_timeout(),
        }
    }

    /// Does what is due at `now`; nothing if called early.
    ///
    /// # Errors
    /// When the client missed a deadline.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), Close> {
        match self.state {
            State::AwaitSetup { deadline } if now >= deadline => {
                Err(Close::Deadline { expected: "SetupConnection", within: self.settings.setup })
            }
            State::AwaitConstraints { deadline } if now >= deadline => {
                Err(Close::Deadline { expected: "CoinbaseOutputConstraints", within: self.settings.constraints })
            }
            State::Serving => {
                self.submissions.extend(self.solutions.due(now, whole(&self.work, self.settings.raw_blocks)));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Found blocks that the node has not decided on; they must be seen through even if the client is gone.
    pub fn pending_solutions(&self) -> usize {
        self.solutions.len() + self.submissions.len()
    }

    /// The client is gone: from now on only its found blocks matter.
    pub fn detach(&mut self) {
        self.news.clear();
        self.requests = Requests::new(false);
        self.constraints = None;
        self.fetch = None;
    }

    fn unexpected(&self, got: &'static str) -> Close {
        let expected = match self.state {
            State::AwaitSetup { .. } => "SetupConnection",
            State::AwaitConstraints { .. } => "CoinbaseOutputConstraints",
            State::Serving => "CoinbaseOutputConstraints, RequestTransactionData or SubmitSolution",
        };
        Close::Unexpected { expected, got }
    }
}

/// Makes whole blocks, where the source takes them.
fn whole(work: &Work, raw_blocks: bool) -> impl Fn(&template_source::Solution) -> Option<Vec<u8>> {
    move |solution| if raw_blocks { work.block(solution) } else { None }
}

/// Any sigops that the message can say leave room in a block (80,000), so only the size is checked.
fn checked(message: CoinbaseOutputConstraints) -> Result<Constraints, Close> {
    let constraints = Constraints {
        max_additional_size: message.coinbase_output_max_additional_size,
        max_additional_sigops: message.coinbase_output_max_additional_sigops,
    };
    let weight = constraints.reserved_weight();
    if weight > MAX_BLOCK_WEIGHT {
        return Err(Close::Constraints { bytes: constraints.max_additional_size, weight });
    }
    Ok(constraints)
}

/// No extension is supported: a request for none is granted, others are refused in full (ext-0x0001 §4).
fn no_extensions(request: &RequestExtensions<'_>, sink: &mut impl Sink) -> Result<(), SendError> {
    let answer = answer_extensions(request.requested_extensions.iter(), &[], &[]);
    match extensions_message(request.request_id, answer.as_deref()) {
        Ok(success) => sink.send(&success),
        Err(refused) => sink.send(&refused),
    }
}

fn send_answer(id: TemplateId, answer: &Answer, sink: &mut impl Sink) -> Result<(), SendError> {
    match answer {
        Ok(transactions) => match transaction_data(id, transactions) {
            Some(message) => sink.send(&message),
            None => sink.send(&request_error(id, TRANSACTIONS_TOO_LARGE)),
        },
        Err(error_code) => sink.send(&request_error(id, error_code)),
    }
}

fn request_error(id: TemplateId, error_code: &'static str) -> RequestTransactionDataError<'static> {
    RequestTransactionDataError { template_id: id.0, error_code: Str0_255::from_truncated(error_code) }
}
