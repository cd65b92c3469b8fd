//! A subscription to a remote Template Provider without sockets and clock.

use std::{collections::VecDeque, fmt, mem, sync::Arc, time::Duration};

use binary_sv2::{B0_64K, Message};
use bitcoin::{BlockHash, hashes::Hash};
use common_messages_sv2::Reconnect;
use framing_sv2::Sv2Frame;
use noise_sv2::url::EndpointUrl;
use roles_logic_sv2::{
    dispatch::TemplateDistributionClientHandler,
    protocol::TemplateDistribution,
    session::{
        Violation,
        client::{self, Connecting, Incoming, Open, Output, Progress},
    },
};
use template_distribution_sv2::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, RequestTransactionDataError,
    RequestTransactionDataSuccess, SetNewPrevHash, SubmitSolution,
};

use super::{BadTemplate, EventQueue, templates::Templates};
use crate::{Command, Constraints, Event, Solution, SubmitOutcome, SubmitPath, TemplateId, Tip, Transactions};

/// Time for the TCP connection and the noise handshake, then for SetupConnection, then for the first template and its
/// previous hash.
pub const STEP_DEADLINE: Duration = Duration::from_secs(10);

/// Time for the answer to a request for transactions; it may be long and the line slow.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// Time for a Template Provider to take what is sent.
pub const UNSENT_DEADLINE: Duration = Duration::from_secs(30);

/// Pause before the first attempt to reconnect; it doubles with each further one.
pub const FIRST_RETRY: Duration = Duration::from_millis(250);

/// Longest pause between two attempts to reconnect.
pub const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// A connection that gave templates for so long sets the pause back to [`FIRST_RETRY`].
pub const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Requests for transactions that wait for their answers; further ones fail.
pub const PENDING_REQUESTS: usize = 32;

/// Solutions that were queued and did not leave yet; further ones fail.
pub const UNSENT_SOLUTIONS: usize = 32;

/// What Template Providers are told of us.
const DEVICE: client::Device<'static> = client::Device {
    vendor: "stratum",
    hardware_version: "template source",
    firmware: env!("CARGO_PKG_VERSION"),
    device_id: "",
};

/// Where a core's messages go: a connection's outgoing buffer, or a test's list.
pub trait Sink {
    /// Queues a message.
    ///
    /// # Errors
    /// When the message can not be encoded, or too much waits already.
    fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError>;
}

/// Why a message was not queued; the connection is of no more use.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message} was not sent: {reason}")]
pub struct SendError {
    /// Name of the message.
    pub message: &'static str,
    /// What the encoder or the outgoing buffer said.
    pub reason: String,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Close {
    /// No connection came about, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The Template Provider stays silent.
    #[error("expected {expected} within {} seconds, nothing came", .within.as_secs())]
    Deadline {
        /// What should have come.
        expected: &'static str,
        /// How long it was waited for.
        within: Duration,
    },
    /// The Template Provider refuses us, or sends what is no message or does not belong there.
    #[error("{0}; is it a Stratum V2 Template Provider?")]
    SetUp(client::End),
    /// The same, once it was set up.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A template that no block can be made of.
    #[error("template {id}: {error}")]
    Template {
        /// The remote id.
        id: u64,
        /// What is wrong.
        error: BadTemplate,
    },
    /// A template for the present tip before there was one.
    #[error("expected SetNewPrevHash before template {0}, which is not for the future")]
    NoTip(u64),
    /// A tip for a template that was never sent.
    #[error("SetNewPrevHash names template {0}, which is not a future template that was sent before")]
    UnknownTemplate(u64),
    /// It asked us to connect anew.
    #[error("the Template Provider asked to reconnect to {0}")]
    Reconnect(EndpointUrl),
    /// The Template Provider does not read.
    #[error("expected what was sent to be taken within {} seconds", UNSENT_DEADLINE.as_secs())]
    Unsent,
    /// A message of ours can not leave.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// What is to be done after a timeout.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Open a connection: TCP, and noise when the URL has a key.
    Connect(EndpointUrl),
    /// Drop the connection or the attempt, and report it to [`Core::closed`].
    Close(Close),
}

#[derive(Debug)]
enum State {
    /// Waiting for the next attempt.
    Idle { retry_at: Duration },
    /// A connection is being made.
    Connecting { deadline: Duration },
    /// SetupConnection was sent.
    SettingUp(Connecting<TemplateDistribution>),
    /// CoinbaseOutputConstraints was sent; a future template and its tip must come.
    AwaitTip { connection: Open<TemplateDistribution>, deadline: Duration, told_up: bool },
    /// Templates come.
    Serving { connection: Open<TemplateDistribution>, since: Duration },
    /// A [`Close`] was given out, which is to be reported.
    Broken,
}

/// See the module's documentation. Times are durations since any fixed moment.
pub struct Core {
    home: EndpointUrl,
    /// The present or the next one.
    current: EndpointUrl,
    constraints: Constraints,
    state: State,
    retry: Duration,
    templates: Templates,
    /// Requests that wait for their answers, with their deadlines, oldest first.
    requests: VecDeque<(TemplateId, Duration)>,
    /// Hashes of solutions that lie in the outgoing buffer.
    unsent: Vec<BlockHash>,
    /// Since when the outgoing buffer has not been empty.
    unsent_since: Option<Duration>,
    events: EventQueue,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("current", &self.current).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Core {
    /// A core that connects at once. `url` stays the one to fall back to.
    pub fn new(now: Duration, url: EndpointUrl, constraints: Constraints) -> Self {
        Self {
            home: url.clone(),
            current: url,
            constraints,
            state: State::Idle { retry_at: now },
            retry: FIRST_RETRY,
            templates: Templates::default(),
            requests: VecDeque::new(),
            unsent: Vec::new(),
            unsent_since: None,
            events: EventQueue::default(),
        }
    }

    /// The next event for the user.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Whether [`Core::poll_event`] has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether frames and commands should be handed in; not while the user leaves too many events unread.
    pub fn wants_input(&self) -> bool {
        !self.events.is_full()
    }

    /// When [`Core::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Duration {
        let state = match &self.state {
            State::Idle { retry_at } => *retry_at,
            State::Connecting { deadline } | State::AwaitTip { deadline, .. } => *deadline,
            State::SettingUp(connecting) => connecting.poll_timeout(),
            State::Serving { .. } | State::Broken => Duration::MAX,
        };
        let answer = self.requests.front().map_or(Duration::MAX, |(_, deadline)| *deadline);
        let unsent = self.unsent_since.map_or(Duration::MAX, |since| since + UNSENT_DEADLINE);
        state.min(answer).min(unsent)
    }

    /// Does what is due at `now`; nothing if called early.
    pub fn handle_timeout(&mut self, now: Duration) -> Step {
        while let Some(&(id, deadline)) = self.requests.front()
            && now >= deadline
        {
            self.requests.pop_front();
            let reason = format!("no answer came within {} seconds", REQUEST_DEADLINE.as_secs());
            self.events.push(Event::Transactions { id, result: Err(reason) });
        }
        if self.unsent_since.is_some_and(|since| now >= since + UNSENT_DEADLINE) {
            return Step::Close(Close::Unsent);
        }
        let expected = match &self.state {
            State::Idle { retry_at } if now >= *retry_at => {
                self.state = State::Connecting { deadline: now + STEP_DEADLINE };
                return Step::Connect(self.current.clone());
            }
            State::Connecting { deadline } if now >= *deadline => "a connection and its handshake",
            State::SettingUp(connecting) => match connecting.handle_timeout(now) {
                Ok(()) => return Step::Wait,
                Err(end) => return Step::Close(Close::SetUp(end)),
            },
            State::AwaitTip { deadline, .. } if now >= *deadline => {
                "a template and its SetNewPrevHash (is the Template Provider's node up?)"
            }
            _ => return Step::Wait,
        };
        Step::Close(Close::Deadline { expected, within: STEP_DEADLINE })
    }

    /// The connection that [`Step::Connect`] asked for is open.
    ///
    /// # Errors
    /// When the first message can not be encoded.
    pub fn connected(&mut self, now: Duration, sink: &mut impl Sink) -> Result<(), Close> {
        self.templates.new_connection();
        let (host, port) = (self.current.host(), self.current.port());
        let setup = client::setup_connection::<TemplateDistribution>(0, host, port, &DEVICE);
        self.state = State::SettingUp(Connecting::new(now, STEP_DEADLINE, &setup));
        send(&mut self.unsent_since, now, sink, &setup)
    }

    /// The connection is gone, or did not come about. What waits for it fails, and the next attempt is planned.
    pub fn closed(&mut self, now: Duration, reason: Close) {
        let served = match self.state {
            State::Serving { since, .. } => now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        if served >= STABLE_AFTER {
            self.retry = FIRST_RETRY;
        }
        let refused = format!("{reason}; trying again");
        self.current = match reason {
            Close::Reconnect(target) => target,
            _ => self.home.clone(),
        };
        for (id, _) in mem::take(&mut self.requests) {
            self.events.push(Event::Transactions { id, result: Err(GONE.to_owned()) });
        }
        for hash in mem::take(&mut self.unsent) {
            self.submitted(hash, SubmitOutcome::Failed(GONE.to_owned()));
        }
        self.unsent_since = None;
        self.templates.new_connection();
        self.state = State::Idle { retry_at: now + self.retry };
        self.events.push(Event::Down { reason: format!("{}: {refused}", self.home.address()), retry_in: self.retry });
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
    }

    /// All that was queued has left. Solutions among it count as sent from here on.
    pub fn flushed(&mut self) {
        self.unsent_since = None;
        for hash in mem::take(&mut self.unsent) {
            self.submitted(hash, SubmitOutcome::Sent);
        }
    }

    /// Handles a frame of the connection.
    ///
    /// # Errors
    /// Why the connection must be dropped. Report it to [`Core::closed`] then.
    pub fn handle_frame(&mut self, now: Duration, frame: &Sv2Frame<'_>, sink: &mut impl Sink) -> Result<(), Close> {
        let (header, payload) = (frame.header(), frame.payload());
        let incoming = match &mut self.state {
            State::SettingUp(_) => return self.set_up(now, frame, sink),
            State::AwaitTip { connection, .. } | State::Serving { connection, .. } => {
                connection.receive(header, payload)?
            }
            State::Idle { .. } | State::Connecting { .. } | State::Broken => return Ok(()),
        };
        match incoming {
            Incoming::Message(message) => message.dispatch(self, &mut { now }),
            Incoming::Reconnect(reconnect) => self.reconnect(&reconnect),
            // sv2-spec §3.4.1: discarded, as no extension was negotiated.
            Incoming::EndpointChanged(_)
            | Incoming::ExtensionsChanged
            | Incoming::ForChannel(_)
            | Incoming::Ignored => Ok(()),
        }
    }

    fn set_up(&mut self, now: Duration, frame: &Sv2Frame<'_>, sink: &mut impl Sink) -> Result<(), Close> {
        let State::SettingUp(connecting) = mem::replace(&mut self.state, State::Broken) else { return Ok(()) };
        match connecting.handle_frame(now, frame.header(), frame.payload()).map_err(Close::SetUp)? {
            Progress::Open(connection) => {
                self.state = State::AwaitTip { connection, deadline: now + STEP_DEADLINE, told_up: false };
                send(&mut self.unsent_since, now, sink, &constraints_message(self.constraints))
            }
            Progress::Waiting(connecting, output) => {
                self.state = State::SettingUp(connecting);
                match output {
                    Some(Output::Reconnect(reconnect)) => self.reconnect(&reconnect),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Another host is followed only where its certificate must come from the same authority (sv2-spec §3.6.5).
    fn reconnect(&self, message: &Reconnect<'_>) -> Result<(), Close> {
        let host = match message.new_host.as_utf8() {
            Ok("") => self.current.host(),
            Ok(host) => host,
            Err(_) => {
                tracing::warn!(host = %message.new_host, "ignored a request to reconnect to a host that is no text");
                return Ok(());
            }
        };
        let port = if message.new_port == 0 { self.current.port() } else { message.new_port };
        if self.home.authority().is_none() && host != self.home.host() {
            tracing::warn!(
                host = %message.new_host,
                "ignored a request to reconnect to another host: without an authority key nothing proves who is there"
            );
            return Ok(());
        }
        match EndpointUrl::new(host, port, self.home.authority()) {
            Ok(target) => Err(Close::Reconnect(target)),
            Err(error) => {
                tracing::warn!(host = %message.new_host, "ignored a request to reconnect: {error}");
                Ok(())
            }
        }
    }

    fn tell_up(&mut self) {
        let State::AwaitTip { told_up: told_up @ false, .. } = &mut self.state else { return };
        *told_up = true;
        let how = if self.current.authority().is_some() { "encrypted" } else { "not encrypted" };
        let description = format!("Template Provider at {} ({how})", self.current.address());
        self.events.push(Event::Up { network: None, description });
    }

    /// Answers the oldest request for a template; an answer that nobody waits for is dropped.
    fn answer(&mut self, remote: u64, result: impl FnOnce() -> Result<Transactions, String>) {
        let waiting = self.templates.local(remote).and_then(|id| self.requests.iter().position(|(of, _)| *of == id));
        let Some((id, _)) = waiting.and_then(|index| self.requests.remove(index)) else {
            tracing::debug!(template = remote, "ignored transactions that nobody waits for");
            return;
        };
        self.events.push(Event::Transactions { id, result: result() });
    }

    /// Does what the user asks.
    ///
    /// # Errors
    /// When a message can not be encoded, which drops the connection.
    pub fn handle_command(&mut self, now: Duration, command: Command, sink: &mut impl Sink) -> Result<(), Close> {
        match command {
            Command::SetConstraints(constraints) => {
                self.constraints = constraints;
                if self.is_set_up() {
                    send(&mut self.unsent_since, now, sink, &constraints_message(constraints))?;
                }
            }
            Command::RequestTransactions(id) => self.request_transactions(now, id, sink)?,
            Command::SubmitSolution(solution) => self.submit(now, solution, sink)?,
            Command::SubmitBlock { hash, .. } => {
                let outcome = SubmitOutcome::Failed("a Template Provider takes no raw blocks".to_owned());
                self.events.push(Event::Submitted { hash, path: SubmitPath::RawBlock, outcome });
            }
            Command::RequestConfirmations(hash) => {
                let result = Err("a Template Provider does not tell of blocks".to_owned());
                self.events.push(Event::Confirmations { hash, result });
            }
        }
        Ok(())
    }

    fn request_transactions(&mut self, now: Duration, id: TemplateId, sink: &mut impl Sink) -> Result<(), Close> {
        let problem = match self.templates.remote(id) {
            None => self.unknown_template(id),
            Some(_) if self.requests.len() >= PENDING_REQUESTS => {
                format!("{PENDING_REQUESTS} requests wait already; ask again when they are answered")
            }
            Some(template_id) => {
                send(&mut self.unsent_since, now, sink, &RequestTransactionData { template_id })?;
                self.requests.push_back((id, now + REQUEST_DEADLINE));
                return Ok(());
            }
        };
        self.events.push(Event::Transactions { id, result: Err(problem) });
        Ok(())
    }

    fn submit(&mut self, now: Duration, solution: Solution, sink: &mut impl Sink) -> Result<(), Close> {
        let length = solution.coinbase_tx.len();
        let problem = match (self.templates.remote(solution.template_id), B0_64K::try_from(solution.coinbase_tx)) {
            (None, _) => self.unknown_template(solution.template_id),
            (_, Err(_)) => format!("SubmitSolution has no room for a coinbase transaction of {length} bytes"),
            _ if self.unsent.len() >= UNSENT_SOLUTIONS => format!("{UNSENT_SOLUTIONS} solutions wait already"),
            (Some(template_id), Ok(coinbase_tx)) => {
                let message = SubmitSolution {
                    template_id,
                    version: solution.version,
                    header_timestamp: solution.header_timestamp,
                    header_nonce: solution.header_nonce,
                    coinbase_tx,
                };
                send(&mut self.unsent_since, now, sink, &message)?;
                self.unsent.push(solution.hash);
                return Ok(());
            }
        };
        self.submitted(solution.hash, SubmitOutcome::Failed(problem));
        Ok(())
    }

    fn submitted(&mut self, hash: BlockHash, outcome: SubmitOutcome) {
        self.events.push(Event::Submitted { hash, path: SubmitPath::Solution, outcome });
    }

    fn unknown_template(&self, id: TemplateId) -> String {
        match self.is_set_up() {
            true => {
                format!("template {} is not known on this connection; it was retired or came before a reconnect", id.0)
            }
            false => GONE.to_owned(),
        }
    }

    fn is_set_up(&self) -> bool {
        matches!(self.state, State::AwaitTip { .. } | State::Serving { .. })
    }
}

/// What the Template Provider says, at the time that is the context.
impl TemplateDistributionClientHandler<Duration> for Core {
    type Error = Close;

    fn new_template(&mut self, _: &mut Duration, message: NewTemplate<'_>) -> Result<(), Close> {
        let remote = message.template_id;
        if !message.future_template && !matches!(self.state, State::Serving { .. }) {
            return Err(Close::NoTip(remote));
        }
        let template = self.templates.add(&message).map_err(|error| Close::Template { id: remote, error })?;
        self.tell_up();
        self.events.push(Event::Template(Arc::new(template)));
        Ok(())
    }

    fn set_new_prev_hash(&mut self, now: &mut Duration, message: SetNewPrevHash) -> Result<(), Close> {
        let id = message.template_id;
        let template_id = self.templates.activate(id).ok_or(Close::UnknownTemplate(id))?;
        self.state = match mem::replace(&mut self.state, State::Broken) {
            State::AwaitTip { connection, .. } => State::Serving { connection, since: *now },
            state => state,
        };
        self.events.push(Event::Tip(Tip {
            template_id,
            prev_hash: BlockHash::from_byte_array(message.prev_hash.to_le_bytes()),
            header_timestamp: message.header_timestamp,
            nbits: message.n_bits,
            target: message.target.to_le_bytes(),
        }));
        Ok(())
    }

    fn request_transaction_data_success(
        &mut self,
        _: &mut Duration,
        message: RequestTransactionDataSuccess<'_>,
    ) -> Result<(), Close> {
        self.answer(message.template_id, || {
            let transactions = message.transaction_list.iter();
            Ok(Arc::new(transactions.map(|transaction| transaction.as_bytes().to_vec()).collect()))
        });
        Ok(())
    }

    fn request_transaction_data_error(
        &mut self,
        _: &mut Duration,
        message: RequestTransactionDataError<'_>,
    ) -> Result<(), Close> {
        let reason = format!("the Template Provider has none: {}", message.error_code);
        self.answer(message.template_id, || Err(reason));
        Ok(())
    }
}

/// Queues a message and notes since when something waits.
fn send<M: Message>(
    unsent_since: &mut Option<Duration>,
    now: Duration,
    sink: &mut impl Sink,
    message: &M,
) -> Result<(), Close> {
    unsent_since.get_or_insert(now);
    Ok(sink.send(message)?)
}

const GONE: &str = "there is no connection to the Template Provider";

fn constraints_message(constraints: Constraints) -> CoinbaseOutputConstraints {
    CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: constraints.max_additional_size,
        coinbase_output_max_additional_sigops: constraints.max_additional_sigops,
    }
}
