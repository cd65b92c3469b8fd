//! One node in use: what happens between `Up` and `Down`.
//!
//! Two calls ask for templates: one waits at the node for a new tip (long poll), the other looks every now and then for fees that
//! have come in, which the node tells a long poll of only after a minute. On a new tip, the transaction-free template that was
//! sent ahead is activated when the node's own template confirms it, and the full one follows.
//!
//! The node is never waited for here: each call is a task, and its outcome comes back as [`Done`].

use std::sync::Arc;

use bitcoin::BlockHash;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Duration, Instant, Interval, MissedTickBehavior},
};

use super::{
    BitcoinRpcConfig,
    error::RpcError,
    gbt::{BlockTemplate, Known},
    http::Client,
    node::Node,
    work::Work,
};
use crate::{
    Command, Confirmations, Event, Solution, SubmitOutcome, SubmitPath, Template, TemplateId, Transactions,
    consensus::{following_coinbase, halving_interval},
    subscription::{
        in_flight::{CLOSING_GRACE, InFlight},
        live::Live,
        port::{Closed, Port},
    },
};

/// Least time between two long polls that brought no new tip.
const LONG_POLL_PAUSE: Duration = Duration::from_secs(1);

/// A long poll that has not answered for this long after a tip is lost, with a router on the way, say.
const LONG_POLL_OVERDUE: Duration = Duration::from_secs(20);

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    Closed,
    Lost(RpcError),
}

impl From<RpcError> for End {
    fn from(error: RpcError) -> Self {
        Self::Lost(error)
    }
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// Which call brought a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Waited at the node.
    LongPoll,
    /// Looked for fees.
    Check,
}

/// The call that waits at the node.
struct LongPoll {
    task: AbortHandle,
    /// How many tips had been seen when it started.
    tips: u64,
    /// Since when the node must have answered it: another call has brought a new tip.
    due_since: Option<Instant>,
}

/// The outcome of a call.
enum Done {
    Template {
        asked: Asked,
        /// How many tips had been seen when the call started.
        tips: u64,
        result: Result<BlockTemplate, RpcError>,
    },
    Proposal(Result<(), RpcError>),
    Submitted(u64, SubmitOutcome),
    Confirmations(BlockHash, Result<Confirmations, String>),
}

/// A node in use.
pub(super) struct Session {
    node: Node,
    tasks: JoinSet<Done>,
    check_fees: Interval,
    fee_threshold: u64,
    checks_proposals: bool,
    /// Counts tips, so that an answer that is older than a tip is known for what it is.
    tips: u64,
    next_long_poll: Instant,
    long_poll: Option<LongPoll>,
    /// A look for fees is under way.
    checking: bool,
    proposing: bool,
    /// The newest template of the node.
    newest: Arc<BlockTemplate>,
    /// Its transactions.
    known: Arc<Known>,
    live: Live<Arc<Work>>,
    /// Value of the last template that was sent, and whether it had no transactions.
    sent: (u64, bool),
    /// The transaction-free template for the height after the current one.
    prepared: Option<Arc<Template>>,
    /// It was said that transactions have to go for our coinbase.
    told_of_room: bool,
    in_flight: InFlight,
}

/// Connects, checks what is there, and sends `Up` with the first template and tip.
pub(super) async fn open(config: &BitcoinRpcConfig, port: &mut Port) -> Result<Session, End> {
    let client = Client::new(config.endpoint.clone(), config.login.clone());
    let node = port.idle_while(Node::open(client, config.expected_network)).await??;
    let template = port.idle_while(node.template(None, Arc::default())).await??;
    if config.checks_proposals {
        // Before anybody mines on it: a node that refuses our blocks is of no use.
        let constraints = port.constraints;
        let block = Work::full(&template, constraints).map_err(RpcError::from)?.proposal(constraints);
        port.idle_while(node.propose(&block)).await??;
    }
    port.emit(Event::Up { network: Some(node.network), description: node.description.clone() });
    let mut check_fees =
        tokio::time::interval_at(Instant::now() + config.fee_check_interval, config.fee_check_interval);
    check_fees.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let template = Arc::new(template);
    let mut session = Session {
        node,
        tasks: JoinSet::new(),
        check_fees,
        fee_threshold: config.fee_threshold,
        checks_proposals: config.checks_proposals,
        tips: 0,
        next_long_poll: Instant::now(),
        long_poll: None,
        checking: false,
        proposing: false,
        known: Arc::new(template.known()),
        newest: template,
        live: Live::default(),
        sent: (0, true),
        prepared: None,
        told_of_room: false,
        in_flight: InFlight::default(),
    };
    session.new_tip(port)?;
    session.ask(Asked::LongPoll);
    Ok(session)
}

impl Session {
    /// Goes on until the node is lost or the user has gone. Each submission has been answered then.
    pub(super) async fn run(mut self, port: &mut Port) -> End {
        let end = loop {
            let result = tokio::select! {
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.done(port, done),
                    // A long poll that was given up.
                    Err(error) if error.is_cancelled() => Ok(()),
                    Err(error) => Err(RpcError::Task(error.to_string())),
                },
                command = port.next() => match command {
                    Ok(command) => self.command(port, command),
                    Err(Closed) => break End::Closed,
                },
                _ = self.check_fees.tick() => {
                    self.renew_long_poll();
                    if !self.checking {
                        self.ask(Asked::Check);
                    }
                    Ok(())
                }
            };
            if let Err(error) = result {
                break End::Lost(error);
            }
        };
        match &end {
            End::Closed => self.close(port).await,
            End::Lost(error) => self.in_flight.abandon(port, error),
        }
        end
    }

    /// The user has gone: what it handed in is still delivered.
    async fn close(&mut self, port: &mut Port) {
        while let Some(command) = port.leftover() {
            if matches!(command, Command::SubmitSolution(_) | Command::SubmitBlock { .. }) {
                // Submissions are never an error of the session.
                let _ = self.command(port, command);
            }
        }
        let delivered = async {
            while !self.in_flight.is_delivered() {
                match self.tasks.join_next().await {
                    Some(Ok(Done::Submitted(number, _))) => self.in_flight.forget(number),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(CLOSING_GRACE, delivered).await;
    }

    fn done(&mut self, port: &mut Port, done: Done) -> Result<(), RpcError> {
        match done {
            Done::Template { asked, tips, result } => {
                if asked == Asked::Check {
                    self.checking = false;
                }
                self.template(port, tips, result?)?;
                if asked == Asked::LongPoll {
                    self.ask(Asked::LongPoll);
                }
            }
            Done::Proposal(result) => {
                self.proposing = false;
                result?;
            }
            Done::Submitted(number, outcome) => self.in_flight.submitted(port, number, outcome),
            Done::Confirmations(hash, result) => self.in_flight.answered(port, hash, result),
        }
        Ok(())
    }

    /// The node has a template. `tips` tips had been seen when it was asked for.
    fn template(&mut self, port: &mut Port, tips: u64, template: BlockTemplate) -> Result<(), RpcError> {
        let is_news = (template.prev_hash, template.nbits) != (self.newest.prev_hash, self.newest.nbits);
        if is_news && tips != self.tips {
            // Which of the two tips is the newer one, only another question tells.
            if !self.checking {
                self.ask(Asked::Check);
            }
            return Ok(());
        }
        self.known = Arc::new(template.known());
        self.newest = Arc::new(template);
        if is_news {
            self.next_long_poll = Instant::now();
            return self.new_tip(port);
        }
        let work = Arc::new(Work::full(&self.newest, port.constraints)?);
        if self.is_better(&work) {
            self.send(port, work, false);
        }
        Ok(())
    }

    /// Whether work is worth new jobs: the first transactions on a tip, or fees that rose by the threshold.
    fn is_better(&self, work: &Work) -> bool {
        let (value, empty) = self.sent;
        (empty && !work.is_empty()) || work.coinbase.value_remaining >= value.saturating_add(self.fee_threshold)
    }

    /// The newest template is on a new tip: the tip goes out first where a template for it was sent ahead.
    fn new_tip(&mut self, port: &mut Port) -> Result<(), RpcError> {
        self.tips += 1;
        let empty = Arc::new(Work::empty(&self.newest));
        let prepared = self.prepared.take().filter(|prepared| **prepared == empty.template(prepared.id, true));
        if let Some(prepared) = &prepared {
            self.send_tip(port, prepared.id, &empty);
        }
        let full = Arc::new(Work::full(&self.newest, port.constraints)?);
        self.tell_of_room(&full);
        if prepared.is_none() {
            let id = self.send(port, full.clone(), true);
            self.send_tip(port, id, &full);
        } else if !full.is_empty() {
            self.send(port, full.clone(), false);
        }
        self.prepare(port, &empty);
        // That of the first template came before `Up`.
        if self.checks_proposals && !self.proposing && self.tips > 1 {
            self.propose(port, full);
        }
        Ok(())
    }

    fn send(&mut self, port: &mut Port, work: Arc<Work>, future: bool) -> TemplateId {
        let id = port.new_id();
        self.sent = (work.coinbase.value_remaining, work.is_empty());
        port.emit(Event::Template(Arc::new(work.template(id, future))));
        self.live.insert(id, work.tip.prev_hash, work);
        id
    }

    fn send_tip(&mut self, port: &mut Port, id: TemplateId, work: &Arc<Work>) {
        self.sent = (work.coinbase.value_remaining, work.is_empty());
        self.keep(id, work);
        tracing::debug!(prev_hash = %work.tip.prev_hash, height = work.height, template = id.0, "new tip");
        port.emit(Event::Tip(work.tip(id)));
    }

    fn keep(&mut self, id: TemplateId, work: &Arc<Work>) {
        if self.live.get(id).is_none() {
            self.live.insert(id, work.tip.prev_hash, work.clone());
        }
    }

    /// Sends the transaction-free template for the height after that of `empty`.
    fn prepare(&mut self, port: &mut Port, empty: &Work) {
        let halving = halving_interval(self.node.network);
        let Some(coinbase) = following_coinbase(&empty.coinbase, empty.height, halving) else { return };
        let id = port.new_id();
        let template = Arc::new(Template { height: empty.height + 1, coinbase, ..empty.template(id, true) });
        self.prepared = Some(template.clone());
        port.emit(Event::Template(template));
    }

    /// Says once that the node leaves too little room, and what to do.
    fn tell_of_room(&mut self, work: &Work) {
        if work.dropped > 0 && !std::mem::replace(&mut self.told_of_room, true) {
            tracing::warn!(
                dropped = work.dropped,
                "the node's templates leave too little room for the coinbase, so transactions of the lowest fees are left \
                 out; start the node with a larger -blockreservedweight"
            );
        }
    }

    fn ask(&mut self, asked: Asked) {
        let (node, known, tips) = (self.node.clone(), self.known.clone(), self.tips);
        let mut id = None;
        let mut start = Instant::now();
        match asked {
            Asked::Check => self.checking = true,
            Asked::LongPoll => {
                // A node that does not know long polls answers at once.
                start = start.max(self.next_long_poll);
                self.next_long_poll = start + LONG_POLL_PAUSE;
                id = Some(self.newest.long_poll_id.clone());
            }
        }
        let task = self.tasks.spawn(async move {
            tokio::time::sleep_until(start).await;
            Done::Template { asked, tips, result: node.template(id.as_deref(), known).await }
        });
        if asked == Asked::LongPoll {
            self.long_poll = Some(LongPoll { task, tips, due_since: None });
        }
    }

    /// Asks anew when the node must have answered long ago. It has, so that no thread of it waits on.
    fn renew_long_poll(&mut self) {
        let tips = self.tips;
        let Some(long_poll) = self.long_poll.as_mut().filter(|long_poll| long_poll.tips != tips) else { return };
        if long_poll.due_since.get_or_insert_with(Instant::now).elapsed() >= LONG_POLL_OVERDUE {
            long_poll.task.abort();
            self.ask(Asked::LongPoll);
        }
    }

    /// Has the node check a block of this work.
    fn propose(&mut self, port: &Port, work: Arc<Work>) {
        let (node, constraints) = (self.node.clone(), port.constraints);
        self.proposing = true;
        self.tasks.spawn(async move { Done::Proposal(node.propose(&work.proposal(constraints)).await) });
    }

    fn command(&mut self, port: &mut Port, command: Command) -> Result<(), RpcError> {
        match command {
            Command::SetConstraints(constraints) => {
                let work = Arc::new(Work::full(&self.newest, constraints)?);
                self.told_of_room = false;
                self.tell_of_room(&work);
                self.send(port, work, false);
            }
            Command::RequestTransactions(id) => {
                let waiting = self.prepared.as_ref().is_some_and(|prepared| prepared.id == id);
                let result = match self.live.get(id) {
                    _ if waiting => Ok(Transactions::default()),
                    Some(work) => Ok(work.transactions()),
                    None => Err(format!("template {} is not known, or no longer", id.0)),
                };
                port.emit(Event::Transactions { id, result });
            }
            Command::SubmitSolution(solution) => self.submit_solution(port, solution),
            Command::SubmitBlock { hash, block } => {
                let node = self.node.clone();
                self.submit(port, hash, SubmitPath::RawBlock, async move { node.submit(&block).await });
            }
            Command::RequestConfirmations(hash) => self.confirmations(port, hash),
        }
        Ok(())
    }

    fn confirmations(&mut self, port: &mut Port, hash: BlockHash) {
        if !self.in_flight.may_ask(port, hash) {
            return;
        }
        let node = self.node.clone();
        self.tasks.spawn(async move {
            Done::Confirmations(hash, node.confirmations(hash).await.map_err(|error| error.to_string()))
        });
    }

    fn submit_solution(&mut self, port: &mut Port, solution: Solution) {
        let hash = solution.hash;
        let Some(work) = self.live.get(solution.template_id).cloned() else {
            let why = format!("template {} is not known, or no longer, or has no tip yet", solution.template_id.0);
            let outcome = SubmitOutcome::Failed(why);
            port.emit(Event::Submitted { hash, path: SubmitPath::Solution, outcome });
            return;
        };
        let node = self.node.clone();
        self.submit(port, hash, SubmitPath::Solution, async move {
            match work.solved(&solution) {
                Ok(block) => node.submit(&block).await,
                Err(reason) => SubmitOutcome::Rejected(reason),
            }
        });
    }

    fn submit(
        &mut self,
        port: &mut Port,
        hash: BlockHash,
        path: SubmitPath,
        work: impl Future<Output = SubmitOutcome> + Send + 'static,
    ) {
        let Some(number) = self.in_flight.begin(port, hash, path) else { return };
        self.tasks.spawn(async move { Done::Submitted(number, work.await) });
    }
}
