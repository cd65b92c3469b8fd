//! One client of a Template Provider, without sockets and clock (sv2-spec §7).
//!
//! SetupConnection, then CoinbaseOutputConstraints, which opens the client's own subscription to the source, then
//! templates. The driver asks for what is to be sent when nothing waits to be written ([`Session::transmit`]), so that news which a slow
//! client did not take is replaced by newer, and at most one answer lies in its buffer.

use std::{collections::VecDeque, mem, time::Duration};

use binary_sv2::Str0_255;
use bitcoin::Network;
use common_messages_sv2::SetupConnectionError;
use const_sv2::protocol::{self, TEMPLATE_DISTRIBUTION, VERSION};
use framing_sv2::Sv2Frame;
use roles_logic_sv2::{
    protocol::TemplateDistribution,
    session::{
        Violation,
        server::{AwaitSetup, Incoming, Offer, Open, Requested},
    },
    setup::{Request, Support},
};
use template_distribution_sv2::{
    CoinbaseOutputConstraints, RequestTransactionDataError, SubmitSolution, TemplateDistribution as Message,
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
    /// The client stays silent, or sent what is no message or does not belong here.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The client was refused with this error code.
    #[error("refused with {error_code}: {detail}")]
    Refused {
        /// As sent to the client.
        error_code: &'static str,
        /// What was expected and what came.
        detail: String,
    },
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
    Setup(AwaitSetup),
    AwaitConstraints {
        connection: Open<TemplateDistribution>,
        deadline: Duration,
    },
    Serving(Open<TemplateDistribution>),
    /// A [`Close`] was given out.
    Closed,
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
            state: State::Setup(AwaitSetup::new(now, settings.setup)),
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
        let (header, payload) = (frame.header(), frame.payload());
        let incoming = match &mut self.state {
            State::Setup(_) => {
                let State::Setup(state) = mem::replace(&mut self.state, State::Closed) else { return Ok(()) };
                return self.setup(now, state.handle_frame(header, payload)?, sink);
            }
            State::AwaitConstraints { connection, .. } | State::Serving(connection) => {
                connection.receive(header, payload)?
            }
            State::Closed => return Ok(()),
        };
        match incoming {
            Incoming::Message(message) => self.message(now, message.decode().map_err(Violation::from)?, sink)?,
            Incoming::Extensions(Ok(success)) => sink.send(&success)?,
            Incoming::Extensions(Err(refused)) => sink.send(&refused)?,
            Incoming::ForChannel(_) | Incoming::Ignored => {
                // sv2-spec §3.4.1: discarded and ignored.
                tracing::debug!(extension = header.extension_type(), "ignored a message of an unknown extension");
            }
        }
        Ok(())
    }

    fn message(&mut self, now: Duration, message: Message<'_>, sink: &mut impl Sink) -> Result<(), Close> {
        match (&self.state, message) {
            (State::AwaitConstraints { .. }, Message::CoinbaseOutputConstraints(message)) => {
                self.subscribe = Some(checked(message)?);
                if let State::AwaitConstraints { connection, .. } = mem::replace(&mut self.state, State::Closed) {
                    self.state = State::Serving(connection);
                }
            }
            (State::Serving(_), Message::CoinbaseOutputConstraints(message)) => {
                // Only the newest counts if the source has not taken the one before.
                self.constraints = Some(checked(message)?);
            }
            (State::Serving(_), Message::RequestTransactionData(message)) => {
                let id = TemplateId(message.template_id);
                if let Err(error_code) = self.requests.ask(id) {
                    sink.send(&request_error(id, error_code))?;
                }
            }
            (State::Serving(_), Message::SubmitSolution(message)) => self.solution(now, &message)?,
            (_, other) => {
                return Err(Violation::Unexpected { expected: "CoinbaseOutputConstraints", got: other.name() }.into());
            }
        }
        Ok(())
    }

    fn setup(&mut self, now: Duration, requested: Requested<'_>, sink: &mut impl Sink) -> Result<(), Close> {
        let setup = requested.setup();
        let (request, vendor, version) = (Request::from(setup), setup.vendor.to_string(), setup.firmware.to_string());
        let (connection, success) = match requested.accept(now, &Support::TEMPLATE_DISTRIBUTION, Offer::NONE) {
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
        tracing::info!(vendor, version, "client connected");
        sink.send(&success)?;
        self.state = State::AwaitConstraints { connection, deadline: now + self.settings.constraints };
        Ok(())
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
            // Never asked for.
            Event::Confirmations { .. } => {}
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
        match &self.state {
            State::Setup(state) => Some(state.poll_timeout()),
            State::AwaitConstraints { deadline, .. } => Some(*deadline),
            State::Serving(_) | State::Closed => self.solutions.poll_timeout(),
        }
    }

    /// Does what is due at `now`; nothing if called early.
    ///
    /// # Errors
    /// When the client missed a deadline.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), Close> {
        match &self.state {
            State::Setup(state) => state.handle_timeout(now)?,
            State::AwaitConstraints { deadline, .. } if now >= *deadline => {
                let within = self.settings.constraints;
                return Err(Violation::Late { expected: "CoinbaseOutputConstraints", within }.into());
            }
            State::AwaitConstraints { .. } => {}
            State::Serving(_) | State::Closed => {
                self.submissions.extend(self.solutions.due(now, whole(&self.work, self.settings.raw_blocks)));
            }
        }
        Ok(())
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
