//! One connection to a node: what happens between `Up` and `Down`.
//!
//! Two kinds of templates are built, each on its own thread of the node. A **quick** one has no transactions: it is ready a
//! moment after a new tip and carries the header fields of it. A **full** one follows, and again every now and then for the
//! fees that have come in. From the quick one the transaction-free template for the height after it is derived and sent
//! ahead; when the next quick one turns out to be the same, its tip needs no new template.
//!
//! The node is never waited for here: each call is a task, and its outcome comes back as [`Done`].

use std::{path::Path, sync::Arc, time::Duration};

use bitcoin::{BlockHash, Network};
use tokio::{
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior},
};

use super::{
    BitcoinIpcConfig,
    convert::Header,
    error::IpcError,
    node::{BuildOptions, Driver, Handle, Node, NodeTemplate, Opening},
};
use crate::{
    CoinbaseTemplate, Command, Confirmations, Constraints, Event, Solution, SubmitOutcome, SubmitPath, Template,
    TemplateId, Tip, Transactions,
    consensus::{self, halving_interval},
    subscription::{
        in_flight::{CLOSING_GRACE, InFlight},
        live::Live,
        port::{Closed, Port},
    },
};

/// Requests for transactions that may wait for the node; more are refused. One answer can have 4 MB.
const MAX_PENDING_REQUESTS: usize = 16;

/// How long a loading node is waited for before the user is told.
const LOADING_NOTICE: Duration = Duration::from_secs(2);

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    Closed,
    Lost(IpcError),
}

impl From<IpcError> for End {
    fn from(error: IpcError) -> Self {
        Self::Lost(error)
    }
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// The outcome of a call.
enum Done {
    /// The tip that the node has now.
    Tip(Result<BlockHash, IpcError>),
    Quick(Result<NodeTemplate, IpcError>),
    /// With the constraints that it was built for.
    Full(Constraints, Result<NodeTemplate, IpcError>),
    Transactions(TemplateId, Result<Transactions, String>),
    Submitted(u64, SubmitOutcome),
    Confirmations(BlockHash, Result<Confirmations, String>),
}

/// A connection in use.
pub(super) struct Session {
    node: Node,
    tasks: JoinSet<Done>,
    check_fees: Interval,
    fee_threshold: u64,
    halving_interval: u32,
    live: Live<Source>,
    current: Current,
    /// The transaction-free template for the height after the current one.
    prepared: Option<Prepared>,
    quick: Lane,
    full: Lane,
    /// The user has set constraints: a template follows even if it is no better.
    asked: bool,
    requests: usize,
    in_flight: InFlight,
    // Last, so that the connection ends after all that uses it.
    _driver: Driver,
}

/// How a template can be used.
#[derive(Clone)]
struct Source {
    handle: Handle,
    /// Known to hold no transactions.
    empty: bool,
}

/// The tip that templates build on now.
#[derive(Clone, Copy, Debug)]
struct Current {
    prev_hash: BlockHash,
    nbits: u32,
    /// What the coinbase of the last template may spend.
    value: u64,
    /// The last template has no transactions.
    empty: bool,
}

struct Prepared {
    id: TemplateId,
    template: Arc<Template>,
}

/// At most one call of a kind is under way; one more may be wanted meanwhile.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    busy: bool,
    again: bool,
}

impl Lane {
    /// Whether to start now.
    fn start(&mut self) -> bool {
        self.again = self.busy;
        !std::mem::replace(&mut self.busy, true)
    }

    /// Whether to start once more.
    fn finish(&mut self) -> bool {
        self.busy = false;
        std::mem::take(&mut self.again)
    }
}

/// Connects, checks what is there, and sends `Up` with the first template and tip.
pub(super) async fn open(config: &BitcoinIpcConfig, port: &mut Port) -> Result<Session, End> {
    let (opening, driver) = port.idle_while(Opening::connect(&config.socket)).await??;
    let node = loading(config, port, opening).await?;
    let (network, description, is_test_chain) = port.idle_while(check_chain(&node, config)).await??;
    let constraints = port.constraints;
    let full = BuildOptions { constraints, use_mempool: true, cooldown: !is_test_chain };
    let full = port
        .idle_while(async {
            let full = node.build(full).await?;
            node.refuse_newer(&full.handle).await.map(|()| full)
        })
        .await??;
    port.emit(Event::Up { network: Some(network), description });

    let mut check_fees =
        tokio::time::interval_at(Instant::now() + config.fee_check_interval, config.fee_check_interval);
    check_fees.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Header { prev_hash, nbits, .. } = full.header;
    let mut session = Session {
        node,
        tasks: JoinSet::new(),
        check_fees,
        fee_threshold: config.fee_threshold,
        halving_interval: halving_interval(network),
        live: Live::default(),
        current: Current { prev_hash, nbits, value: 0, empty: true },
        prepared: None,
        quick: Lane::default(),
        full: Lane::default(),
        asked: false,
        requests: 0,
        in_flight: InFlight::default(),
        _driver: driver,
    };
    session.activate(port, &full);
    session.wait_tip(prev_hash);
    // Only to see what a transaction-free template looks like, from which the one for the next height is derived.
    session.start_quick();
    Ok(session)
}

/// Waits for a node that is loading its chain, on one connection, for each would leave a waiting thread in the node.
async fn loading(config: &BitcoinIpcConfig, port: &mut Port, opening: Opening) -> Result<Node, End> {
    let mut mining = std::pin::pin!(opening.mining());
    match port.idle_while(tokio::time::timeout(LOADING_NOTICE, &mut mining)).await? {
        Ok(node) => Ok(node?),
        Err(_) => {
            let reason = format!("the node at {} is still loading its chain; waiting for it", show(&config.socket));
            port.emit(Event::Down { reason, retry_in: Duration::ZERO });
            Ok(port.idle_while(mining).await??)
        }
    }
}

async fn check_chain(node: &Node, config: &BitcoinIpcConfig) -> Result<(Network, String, bool), IpcError> {
    let (network, agent) = node.describe().await?;
    if let Some(expected) = config.expected_network.filter(|expected| *expected != network) {
        return Err(IpcError::WrongChain { expected, got: network });
    }
    let is_test_chain = node.is_test_chain().await?;
    // A test chain with an old tip says so too, and must be mined on all the same.
    if !is_test_chain && node.is_initial_block_download().await? {
        return Err(IpcError::Syncing);
    }
    let description = format!("Bitcoin Core {agent} at {}, chain {}", show(&config.socket), network.to_core_arg());
    Ok((network, description, is_test_chain))
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

impl Session {
    /// Goes on until the connection is lost or the user has gone. Each submission has been answered then.
    pub(super) async fn run(mut self, port: &mut Port) -> End {
        let end = loop {
            let result = tokio::select! {
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.done(port, done),
                    Err(error) => Err(IpcError::Task(error.to_string())),
                },
                command = port.next() => match command {
                    Ok(command) => {
                        self.command(port, command);
                        Ok(())
                    }
                    Err(Closed) => break End::Closed,
                },
                _ = self.check_fees.tick() => {
                    if !self.full.busy {
                        self.start_full(port.constraints);
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
                self.command(port, command);
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
        self.node.interrupt().await;
    }

    fn done(&mut self, port: &mut Port, done: Done) -> Result<(), IpcError> {
        match done {
            Done::Tip(tip) => {
                let tip = tip?;
                self.wait_tip(tip);
                if tip != self.current.prev_hash {
                    self.start_quick();
                }
            }
            Done::Quick(template) => self.quick_done(port, template?),
            Done::Full(constraints, template) => self.full_done(port, constraints, template?),
            Done::Transactions(id, result) => {
                self.requests -= 1;
                port.emit(Event::Transactions { id, result });
            }
            Done::Submitted(number, outcome) => self.in_flight.submitted(port, number, outcome),
            Done::Confirmations(hash, result) => self.in_flight.answered(port, hash, result),
        }
        Ok(())
    }

    fn quick_done(&mut self, port: &mut Port, template: NodeTemplate) {
        let again = self.quick.finish();
        if self.is_news(&template.header) {
            match self.prepared.take().filter(|prepared| same(&prepared.template, &template)) {
                Some(prepared) => self.send_tip(port, prepared.id, &template),
                None => self.activate(port, &template),
            }
            self.start_full(port.constraints);
        }
        if self.prepared.is_none() {
            self.prepare(port, &template);
        }
        if again {
            self.start_quick();
        }
    }

    fn full_done(&mut self, port: &mut Port, constraints: Constraints, template: NodeTemplate) {
        let again = self.full.finish();
        if self.is_news(&template.header) {
            // Built on a tip that we have not been told of yet, or with another difficulty (test networks).
            self.start_quick();
        } else if constraints != port.constraints {
            // Asked for something else meanwhile.
        } else if std::mem::take(&mut self.asked) || self.is_better(&template) {
            self.send_template(port, &template, false);
        }
        if again {
            self.start_full(port.constraints);
        }
    }

    /// Whether a header is for another tip, or another difficulty, than the current templates are.
    fn is_news(&self, header: &Header) -> bool {
        (header.prev_hash, header.nbits) != (self.current.prev_hash, self.current.nbits)
    }

    /// Whether a full template is worth new jobs: the first transactions on a tip, or fees that rose by the threshold.
    fn is_better(&self, template: &NodeTemplate) -> bool {
        let first = self.current.empty && !template.merkle_path.is_empty();
        first || template.coinbase.value_remaining >= self.current.value.saturating_add(self.fee_threshold)
    }

    /// Sends a future template and the tip that activates it.
    fn activate(&mut self, port: &mut Port, template: &NodeTemplate) {
        self.prepared = None;
        let id = self.send_template(port, template, true);
        self.send_tip(port, id, template);
    }

    fn send_template(&mut self, port: &mut Port, template: &NodeTemplate, future: bool) -> TemplateId {
        let id = port.new_id();
        self.set_current(template);
        self.keep(id, template);
        port.emit(Event::Template(Arc::new(Template {
            id,
            future,
            height: template.height,
            version: template.header.version,
            coinbase: template.coinbase.clone(),
            merkle_path: template.merkle_path.clone(),
        })));
        id
    }

    fn send_tip(&mut self, port: &mut Port, id: TemplateId, template: &NodeTemplate) {
        let Header { prev_hash, time, nbits, target, .. } = template.header;
        self.keep(id, template);
        self.set_current(template);
        tracing::debug!(%prev_hash, height = template.height, template = id.0, "new tip");
        port.emit(Event::Tip(Tip { template_id: id, prev_hash, header_timestamp: time, nbits, target }));
    }

    fn set_current(&mut self, template: &NodeTemplate) {
        let Header { prev_hash, nbits, .. } = template.header;
        let (value, empty) = (template.coinbase.value_remaining, template.merkle_path.is_empty());
        self.current = Current { prev_hash, nbits, value, empty };
    }

    /// Keeps the node's template for solutions.
    fn keep(&mut self, id: TemplateId, template: &NodeTemplate) {
        if self.live.get(id).is_none() {
            let source = Source { handle: template.handle.clone(), empty: template.merkle_path.is_empty() };
            self.live.insert(id, template.header.prev_hash, source);
        }
    }

    /// Sends the transaction-free template for the height after that of `template`, which is transaction-free too.
    fn prepare(&mut self, port: &mut Port, template: &NodeTemplate) {
        let following = consensus::following_coinbase(&template.coinbase, template.height, self.halving_interval);
        let Some(coinbase) = following.filter(|_| template.merkle_path.is_empty()) else { return };
        let id = port.new_id();
        let template = Arc::new(Template {
            id,
            future: true,
            height: template.height + 1,
            version: template.header.version,
            coinbase,
            merkle_path: Vec::new(),
        });
        self.prepared = Some(Prepared { id, template: template.clone() });
        port.emit(Event::Template(template));
    }

    fn wait_tip(&mut self, current: BlockHash) {
        let node = self.node.clone();
        self.tasks.spawn_local(async move { Done::Tip(node.wait_tip(current).await) });
    }

    fn start_quick(&mut self) {
        if self.quick.start() {
            let node = self.node.clone();
            let options = BuildOptions { constraints: Constraints::default(), use_mempool: false, cooldown: false };
            self.tasks.spawn_local(async move { Done::Quick(node.build(options).await) });
        }
    }

    fn start_full(&mut self, constraints: Constraints) {
        if self.full.start() {
            let node = self.node.clone();
            let options = BuildOptions { constraints, use_mempool: true, cooldown: false };
            self.tasks.spawn_local(async move { Done::Full(constraints, node.build(options).await) });
        }
    }

    fn command(&mut self, port: &mut Port, command: Command) {
        match command {
            Command::SetConstraints(constraints) => {
                self.asked = true;
                self.start_full(constraints);
            }
            Command::RequestTransactions(id) => self.request_transactions(port, id),
            Command::SubmitSolution(solution) => self.submit_solution(port, solution),
            Command::SubmitBlock { hash, block } => {
                let node = self.node.clone();
                self.submit(port, hash, SubmitPath::RawBlock, async move { node.submit_block(&block).await });
            }
            Command::RequestConfirmations(hash) => self.confirmations(port, hash),
        }
    }

    fn confirmations(&mut self, port: &mut Port, hash: BlockHash) {
        if !self.in_flight.may_ask(port, hash) {
            return;
        }
        let node = self.node.clone();
        self.tasks.spawn_local(async move {
            Done::Confirmations(hash, node.confirmations(hash).await.map_err(|error| error.to_string()))
        });
    }

    fn request_transactions(&mut self, port: &mut Port, id: TemplateId) {
        let waiting = self.prepared.as_ref().is_some_and(|prepared| prepared.id == id);
        let result = match self.live.get(id) {
            _ if waiting => Ok(Transactions::default()),
            Some(source) if source.empty => Ok(Transactions::default()),
            None => Err(format!("template {} is not known, or no longer", id.0)),
            Some(_) if self.requests >= MAX_PENDING_REQUESTS => {
                Err(format!("{MAX_PENDING_REQUESTS} requests are waiting for the node already"))
            }
            Some(source) => {
                let (node, handle) = (self.node.clone(), source.handle.clone());
                self.requests += 1;
                self.tasks.spawn_local(async move {
                    Done::Transactions(id, node.transactions(&handle).await.map_err(|error| error.to_string()))
                });
                return;
            }
        };
        port.emit(Event::Transactions { id, result });
    }

    fn submit_solution(&mut self, port: &mut Port, solution: Solution) {
        let hash = solution.hash;
        let Some(source) = self.live.get(solution.template_id) else {
            let why = format!("template {} is not known, or no longer, or has no tip yet", solution.template_id.0);
            let outcome = SubmitOutcome::Failed(why);
            port.emit(Event::Submitted { hash, path: SubmitPath::Solution, outcome });
            return;
        };
        let (node, handle) = (self.node.clone(), source.handle.clone());
        self.submit(port, hash, SubmitPath::Solution, async move { node.submit_solution(&handle, &solution).await });
    }

    fn submit(
        &mut self,
        port: &mut Port,
        hash: BlockHash,
        path: SubmitPath,
        work: impl Future<Output = SubmitOutcome> + 'static,
    ) {
        let Some(number) = self.in_flight.begin(port, hash, path) else { return };
        self.tasks.spawn_local(async move { Done::Submitted(number, work.await) });
    }
}

/// Whether the node now builds exactly what was sent ahead.
fn same(prepared: &Template, template: &NodeTemplate) -> bool {
    let fits = |coinbase: &CoinbaseTemplate| *coinbase == template.coinbase;
    prepared.height == template.height
        && prepared.version == template.header.version
        && prepared.merkle_path == template.merkle_path
        && fits(&prepared.coinbase)
}
