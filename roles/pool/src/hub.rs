//! The hub: turns templates into jobs, publishes snapshots, and sees found blocks through.
//!
//! Sans-io: [`Hub::handle_source`], [`Hub::handle_candidate`] and [`Hub::handle_timeout`] take input,
//! [`Hub::poll_output`] gives what is to be done. One source is the [active](Failover) one; the others stand by with
//! their own templates, and take found blocks.

mod load;
mod select;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bitcoin::BlockHash;
use roles_logic_sv2::{
    Tip as MiningTip,
    extranonce::Recycler,
    ids::JobId,
    job::{JobFactory, JobTemplate, PreparedTemplate},
    share::BlockCandidate,
};
use template_source::{
    Capabilities, Command, Event, Solution, SubmitOutcome, SubmitPath, Template, TemplateId, Tip, Transactions,
};

pub use self::select::Failover;
use self::select::Selector;
use crate::{
    blocks::{Action, BlockBook, BlockState, FoundBlock, Origin},
    hold::Hold,
    ledger::Worker,
    snapshot::{ActiveTip, Snapshot, Work},
};

pub use load::Load;

/// Future templates that are kept per source; a source prepares one or two.
pub const MAX_FUTURE_TEMPLATES: usize = 8;

/// Templates whose transactions are kept for raw blocks, up to 4 MB each; the oldest make room.
pub const MAX_TEMPLATES_WITH_TRANSACTIONS: usize = 24;

/// Jobs whose origin is remembered, so that a late solution finds its template; the oldest make room.
pub const MAX_JOBS: usize = 4096;

/// Jobs that each published one brings along, for channels whose target changes until the next one.
pub const SPARE_JOBS: usize = 4;

/// Found blocks that wait for their template's transactions.
pub const MAX_INCOMPLETE_BLOCKS: usize = 64;

/// A block candidate from a session.
#[derive(Debug)]
pub struct Candidate {
    /// The share that meets its job's nBits.
    pub candidate: BlockCandidate,
    /// Whose share it is.
    pub finder: Arc<Worker>,
    /// Keeps the share's acknowledgement back until the block is on disk.
    pub hold: Hold,
}

/// What the hub wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Give all sessions this state.
    Publish(Arc<Snapshot>),
    /// Send a command to a source.
    Command {
        /// Index of the source.
        source: usize,
        /// The command.
        command: Command,
    },
    /// Write a found block's file.
    Persist {
        /// The block.
        block: FoundBlock,
        /// What became of it so far.
        state: BlockState,
    },
    /// Tell whoever watches.
    Event(PoolEvent),
}

/// What an observer of a pool sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// A miner found a block; nodes have been asked.
    BlockFound(FoundBlock),
    /// A found block goes to a source.
    BlockSubmitted {
        /// Hash of the block.
        hash: BlockHash,
        /// Index of the source.
        source: usize,
        /// How it is handed in.
        path: SubmitPath,
    },
    /// A source answered a submission.
    BlockAnswered {
        /// Hash of the block.
        hash: BlockHash,
        /// Index of the source.
        source: usize,
        /// How it was handed in.
        path: SubmitPath,
        /// The node's verdict.
        outcome: SubmitOutcome,
    },
    /// A found block has a new state, which later ones may overrule until it is confirmed.
    BlockDecided(FoundBlock, BlockState),
    /// A found block is deeper in the chain than before, or no longer in it.
    BlockDepth {
        /// Hash of the block.
        hash: BlockHash,
        /// Depth; the tip is 1 deep. 0 when the best chain goes without the block.
        confirmations: u32,
    },
    /// A source answers.
    SourceUp {
        /// Index of the source.
        source: usize,
        /// Who answers.
        description: String,
    },
    /// A source does not answer.
    SourceDown {
        /// Index of the source.
        source: usize,
        /// Why.
        reason: String,
    },
    /// Miners work on the templates of this source from now on.
    SourceSelected {
        /// Index of the source.
        source: usize,
    },
    /// The share ledger can not be written, or can again. Without it mining goes on, but no share is acknowledged.
    Ledger {
        /// What is wrong; none when it works again.
        failing: Option<String>,
    },
    /// The database beside the ledger's log does not follow it, or does again. Shares and acknowledgements do not depend on
    /// it.
    LedgerIndex {
        /// What is wrong; none when it works again.
        failing: Option<String>,
    },
    /// All sessions build on a new tip.
    NewTip {
        /// Hash of the block to build on.
        prev_hash: BlockHash,
        /// Height of the block to mine.
        height: u32,
        /// Index of the source.
        source: usize,
    },
}

/// What a source has told since it came up.
#[derive(Debug, Default)]
struct SourceState {
    futures: BTreeMap<TemplateId, Arc<Template>>,
    tip: Option<(Tip, Arc<Template>, Duration)>,
    current: Option<Arc<Template>>,
}

/// Where a job came from. All payees' jobs on it have its id.
#[derive(Debug)]
struct JobRecord {
    work: Arc<Work>,
    source: usize,
    template: Arc<Template>,
}

/// A found block without its transactions.
#[derive(Debug)]
struct Incomplete {
    key: (usize, TemplateId),
    hash: BlockHash,
    candidate: BlockCandidate,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Hub {
    factory: JobFactory,
    sources: Vec<SourceState>,
    selector: Selector,
    jobs: BTreeMap<u64, JobRecord>,
    /// Time after which miners get a job with new content although the template is the same.
    refresh: Option<Duration>,
    refresh_at: Option<Duration>,
    /// What the newest job was made of: source and template.
    current: Option<(usize, Arc<Template>)>,
    /// Counts jobs up; its low 32 bits are the job's id, so that ids of live jobs never collide.
    last_job: u64,
    by_template: BTreeMap<(usize, TemplateId), u64>,
    transactions: VecDeque<((usize, TemplateId), Transactions)>,
    /// Templates whose transactions are on their way. Sources answer each question, or go down.
    fetching: BTreeSet<(usize, TemplateId)>,
    incomplete: VecDeque<Incomplete>,
    blocks: BlockBook,
    tips: u64,
    /// Gives the slots of closed channels back.
    recycler: Option<Recycler>,
    snapshot: Snapshot,
    outputs: VecDeque<Output>,
}

impl Hub {
    /// A hub for sources in order of preference, whose jobs `factory` makes for all who are paid by the pool.
    pub fn new(factory: JobFactory, sources: &[Capabilities]) -> Self {
        Self {
            factory,
            sources: sources.iter().map(|_| SourceState::default()).collect(),
            selector: Selector::new(sources.len()),
            refresh: None,
            refresh_at: None,
            current: None,
            jobs: BTreeMap::new(),
            last_job: 0,
            by_template: BTreeMap::new(),
            transactions: VecDeque::new(),
            fetching: BTreeSet::new(),
            incomplete: VecDeque::new(),
            blocks: BlockBook::new(sources.iter().map(|source| source.raw_blocks)),
            tips: 0,
            recycler: None,
            snapshot: Snapshot::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Publishes a job with new content when the last one is this old, and [`SPARE_JOBS`] with each.
    ///
    /// A new target takes effect with the next job (sv2-spec §5.3.21), and devices do not like the same job twice.
    #[must_use]
    pub fn with_job_refresh(mut self, interval: Duration) -> Self {
        self.refresh = Some(interval);
        self
    }

    /// Changes sources by these times instead of the default ones.
    #[must_use]
    pub fn with_failover(mut self, failover: Failover) -> Self {
        self.selector.set(failover);
        self
    }

    /// Tells the space that the sessions' channels are from of each new tip.
    #[must_use]
    pub fn with_recycler(mut self, recycler: Option<Recycler>) -> Self {
        self.recycler = recycler;
        self
    }

    /// Calls found blocks final at this depth, [`CONFIRMATIONS`](crate::blocks::CONFIRMATIONS) unless told otherwise.
    #[must_use]
    pub fn with_confirmations(mut self, confirmations: u32) -> Self {
        self.blocks.set_confirmations(confirmations);
        self
    }

    /// All found blocks, the oldest first, with state and depth.
    pub fn blocks(&self) -> impl Iterator<Item = (&FoundBlock, &BlockState, u32)> {
        self.blocks.blocks()
    }

    /// What miners build on, and with what.
    pub fn mined_tip(&self) -> Option<&ActiveTip> {
        self.snapshot.tip.as_ref()
    }

    /// What the newest job was made of: source and template.
    pub fn current(&self) -> Option<(usize, &Arc<Template>)> {
        self.current.as_ref().map(|(source, template)| (*source, template))
    }

    /// The transactions of that template, once they have come.
    pub fn current_transactions(&self) -> Option<Transactions> {
        let (source, template) = self.current()?;
        self.transactions_of((source, template.id), template)
    }

    /// For each source the height of the block to be mined on its tip, once it has told one.
    pub fn heights(&self) -> impl Iterator<Item = Option<u32>> {
        self.sources.iter().map(|source| source.tip.as_ref().map(|(_, template, _)| template.height))
    }

    /// What to do next; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work.
    pub fn poll_timeout(&self) -> Option<Duration> {
        [self.blocks.poll_timeout(), self.refresh_at, self.selector.poll_timeout()].into_iter().flatten().min()
    }

    /// Tries again what failed, leaves a source that is stuck, and makes new jobs of old templates.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.select(now);
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh(now);
        }
        self.with_blocks(|blocks, actions| blocks.handle_timeout(now, actions));
    }

    /// Takes up a block that was undecided when the last process ended.
    pub fn restore(&mut self, now: Duration, block: FoundBlock, state: BlockState) {
        self.with_blocks(|blocks, actions| blocks.restore(now, block, state, actions));
    }

    /// A source reports. An index that is not a source's is ignored.
    pub fn handle_source(&mut self, now: Duration, source: usize, event: Event) {
        if source >= self.sources.len() {
            return;
        }
        match event {
            Event::Up { description, .. } => {
                self.sources[source] = SourceState::default();
                self.selector.up(source);
                self.fetching.retain(|(from, _)| *from != source);
                self.event(PoolEvent::SourceUp { source, description });
                self.with_blocks(|blocks, actions| blocks.source_up(now, source, actions));
            }
            Event::Down { reason, .. } => {
                self.selector.down(now, source);
                self.fetching.retain(|(from, _)| *from != source);
                self.event(PoolEvent::SourceDown { source, reason });
                self.blocks.source_down(source);
                self.select(now);
            }
            Event::Template(template) => self.template(now, source, template),
            Event::Tip(tip) => self.tip(now, source, tip),
            Event::Transactions { id, result } => {
                self.fetching.remove(&(source, id));
                match result {
                    Ok(transactions) => self.transactions(now, (source, id), transactions),
                    Err(reason) => {
                        tracing::warn!(source, template = id.0, "no transactions for raw blocks: {reason}");
                        self.incomplete.retain(|waiting| waiting.key != (source, id));
                    }
                }
            }
            Event::Submitted { hash, path, outcome } => {
                self.event(PoolEvent::BlockAnswered { hash, source, path, outcome: outcome.clone() });
                self.with_blocks(|blocks, actions| blocks.submitted(now, source, hash, path, outcome, actions));
            }
            Event::Confirmations { hash, result } => {
                self.with_blocks(|blocks, actions| blocks.confirmations(source, hash, result, actions));
            }
        }
    }

    /// A session found a block. Known ones are ignored; the height of one that is new is returned.
    pub fn handle_candidate(&mut self, now: Duration, found: &Candidate) -> Option<u32> {
        let Candidate { candidate, finder, .. } = found;
        let (hash, job) = (candidate.hash, &candidate.job);
        let Some(record) = self.jobs.values().rev().find(|record| record.work.id() == job.id()) else {
            tracing::error!(%hash, "block candidate of a job that is no longer known");
            return None;
        };
        let height = record.template.height;
        let key = (record.source, record.template.id);
        let solution = Solution {
            template_id: record.template.id,
            hash,
            version: candidate.header.version,
            header_timestamp: candidate.header.ntime,
            header_nonce: candidate.header.nonce,
            coinbase_tx: candidate.coinbase_tx(),
        };
        let transactions = self.transactions_of(key, &record.template);
        let block = FoundBlock {
            hash,
            height: record.template.height,
            prev_hash: candidate.header.prev_hash,
            finder: finder.to_string(),
            found_at: now.as_secs(),
            origin: Some(Origin { source: record.source, solution }),
            raw: transactions.as_ref().map(|list| Arc::new(candidate.block(list))),
            accepted_by: BTreeSet::new(),
        };
        let event = PoolEvent::BlockFound(FoundBlock { raw: None, ..block.clone() });
        if !self.with_blocks(|blocks, actions| blocks.found(now, block, actions)) {
            return None;
        }
        self.event(event);
        if transactions.is_none() {
            if self.incomplete.len() >= MAX_INCOMPLETE_BLOCKS {
                self.incomplete.pop_front();
            }
            self.incomplete.push_back(Incomplete { key, hash, candidate: candidate.clone() });
            // Those of an old template made room for others.
            self.fetch(key);
        }
        Some(height)
    }

    fn template(&mut self, now: Duration, source: usize, template: Arc<Template>) {
        let state = &mut self.sources[source];
        if template.future {
            while state.futures.len() >= MAX_FUTURE_TEMPLATES {
                state.futures.pop_first();
            }
            state.futures.insert(template.id, template.clone());
        } else {
            state.current = Some(template.clone());
        }
        // Before the first tip of a source that has come back, its templates are nothing to work on.
        if self.selector.active() == Some(source) && self.sources[source].tip.is_some() {
            self.publish(now, source);
        }
    }

    fn tip(&mut self, now: Duration, source: usize, tip: Tip) {
        let state = &mut self.sources[source];
        let Some(template) = state.futures.remove(&tip.template_id) else {
            tracing::error!(
                source,
                template = tip.template_id.0,
                "the source's tip names a template that it never sent"
            );
            return;
        };
        // sv2-spec §7.3: what waited for this tip is void, be it used or not.
        state.futures.clear();
        state.current = None;
        let height = template.height;
        state.tip = Some((tip, template, now));
        self.with_blocks(|blocks, actions| blocks.tip(now, source, &tip, height, actions));
        self.selector.tip(source, height);
        if !self.select(now) && self.selector.active() == Some(source) {
            self.new_tip(now, source);
        }
    }

    /// Changes to another source where there is reason to. With none up, the last one's jobs go on.
    fn select(&mut self, now: Duration) -> bool {
        let last = self.selector.active();
        let Some(best) = self.selector.select(now) else { return false };
        if let Some(last) = last {
            tracing::warn!(from = last, to = best, "template source changed");
        }
        self.event(PoolEvent::SourceSelected { source: best });
        self.new_tip(now, best);
        true
    }

    /// The active source has a new tip, or is newly active.
    fn new_tip(&mut self, now: Duration, source: usize) {
        let Some((tip, template, since)) = self.sources[source].tip.clone() else { return };
        // A tip that two sources agree on is no news for miners.
        let known = self.snapshot.tip.as_ref().is_some_and(|active| active.tip.prev_hash == tip.prev_hash);
        let mining_tip = match MiningTip::new(tip.prev_hash, tip.header_timestamp, tip.nbits, since) {
            Ok(tip) => Arc::new(tip),
            Err(error) => return tracing::error!(source, "the source's nBits can not be: {error}"),
        };
        let Some(job) = self.job(source, &template) else { return };
        if !known {
            self.tips += 1;
            if let Some(recycler) = &mut self.recycler {
                recycler.on_tip(now);
            }
            self.event(PoolEvent::NewTip { prev_hash: tip.prev_hash, height: template.height, source });
        }
        self.snapshot.tip = Some(ActiveTip {
            number: self.tips,
            tip: mining_tip,
            height: template.height,
            activated: job.clone(),
            current: job,
            spares: Arc::default(),
        });
        self.snapshot.future = None;
        self.made_current(now, source, template);
        self.publish(now, source);
    }

    /// Builds what is new at the active source and publishes it.
    fn publish(&mut self, now: Duration, source: usize) {
        let state = &self.sources[source];
        let (current, future) = (state.current.clone(), state.futures.last_key_value().map(|(_, t)| t.clone()));
        // A template whose job is out already may have been refreshed since: miners keep the newest.
        let current = current.filter(|template| !self.is_current(source, template.id));
        if let Some(template) = current
            && let Some(job) = self.job(source, &template)
            && let Some(tip) = &mut self.snapshot.tip
        {
            tip.current = job;
            self.made_current(now, source, template);
        }
        if let Some(job) = future.and_then(|template| self.job(source, &template)) {
            self.snapshot.future = Some(job);
        }
        self.outputs.push_back(Output::Publish(Arc::new(self.snapshot.clone())));
    }

    fn is_current(&self, source: usize, id: TemplateId) -> bool {
        self.current.as_ref().is_some_and(|(from, template)| (*from, template.id) == (source, id))
    }

    /// The newest job is of this template: makes its spares, and sets the time for the next one.
    fn made_current(&mut self, now: Duration, source: usize, template: Arc<Template>) {
        let Some(interval) = self.refresh else { return };
        self.refresh_at = Some(now + interval);
        let spares = (0..SPARE_JOBS).filter_map(|_| self.variant(source, &template)).collect();
        if let Some(tip) = &mut self.snapshot.tip {
            tip.spares = spares;
        }
        self.current = Some((source, template));
    }

    /// New content for all miners, although there is no new template.
    fn refresh(&mut self, now: Duration) {
        self.refresh_at = None;
        let Some((source, template)) = self.current.clone() else { return };
        if let Some(job) = self.variant(source, &template)
            && let Some(tip) = &mut self.snapshot.tip
        {
            tip.current = job;
            self.made_current(now, source, template);
            self.outputs.push_back(Output::Publish(Arc::new(self.snapshot.clone())));
        }
    }

    /// Another job of a template that has one.
    fn variant(&mut self, source: usize, template: &Arc<Template>) -> Option<Arc<Work>> {
        let number = self.last_job + 1;
        // Never 0, which is the template's first job.
        let variant = (number % u64::from(u32::MAX)) as u32 + 1;
        self.build(source, template, variant)
    }

    /// The job of a template: built once, then shared.
    fn job(&mut self, source: usize, template: &Arc<Template>) -> Option<Arc<Work>> {
        let key = (source, template.id);
        if let Some(record) = self.by_template.get(&key).and_then(|number| self.jobs.get(number)) {
            return Some(record.work.clone());
        }
        let job = self.build(source, template, 0)?;
        self.by_template.insert(key, self.last_job);
        if !template.merkle_path.is_empty() {
            self.fetch(key);
        }
        Some(job)
    }

    /// Builds a job and remembers where it came from.
    fn build(&mut self, source: usize, template: &Arc<Template>, variant: u32) -> Option<Arc<Work>> {
        let number = self.last_job + 1;
        let id = JobId((number & u64::from(u32::MAX)) as u32);
        let first = self.by_template.get(&(source, template.id)).and_then(|number| self.jobs.get(number));
        let prepared = match first {
            Some(record) => Ok(record.work.template().clone()),
            None => PreparedTemplate::new(job_template(template)).map(Arc::new),
        };
        let built = prepared.and_then(|prepared| {
            let job = self.factory.build_prepared(id, &prepared, variant)?;
            Ok(Work::new(prepared, variant, Arc::new(job)))
        });
        let work = match built {
            Ok(work) => Arc::new(work),
            Err(error) => {
                tracing::error!(source, template = template.id.0, "no job can be made of this template: {error}");
                return None;
            }
        };
        self.last_job = number;
        while self.jobs.len() >= MAX_JOBS {
            let Some((oldest, old)) = self.jobs.pop_first() else { break };
            let key = (old.source, old.template.id);
            if self.by_template.get(&key) == Some(&oldest) {
                self.by_template.remove(&key);
            }
        }
        self.jobs.insert(number, JobRecord { work: work.clone(), source, template: template.clone() });
        Some(work)
    }

    /// Asks for a template's transactions, unless they are on their way.
    fn fetch(&mut self, key: (usize, TemplateId)) {
        if self.fetching.insert(key) {
            self.command(key.0, Command::RequestTransactions(key.1));
        }
    }

    fn transactions_of(&self, key: (usize, TemplateId), template: &Template) -> Option<Transactions> {
        if template.merkle_path.is_empty() {
            return Some(Transactions::default());
        }
        self.transactions.iter().rev().find(|(at, _)| *at == key).map(|(_, list)| list.clone())
    }

    fn transactions(&mut self, now: Duration, key: (usize, TemplateId), transactions: Transactions) {
        while self.transactions.len() >= MAX_TEMPLATES_WITH_TRANSACTIONS {
            self.transactions.pop_front();
        }
        self.transactions.push_back((key, transactions.clone()));
        let waiting = std::mem::take(&mut self.incomplete);
        let (ready, waiting) = waiting.into_iter().partition(|block: &Incomplete| block.key == key);
        self.incomplete = waiting;
        for Incomplete { hash, candidate, .. } in ready {
            let raw = Arc::new(candidate.block(&transactions));
            self.with_blocks(|blocks, actions| blocks.complete(now, hash, raw, actions));
        }
    }

    fn with_blocks<T>(&mut self, f: impl FnOnce(&mut BlockBook, &mut Vec<Action>) -> T) -> T {
        let mut actions = Vec::new();
        let result = f(&mut self.blocks, &mut actions);
        for action in actions {
            match action {
                Action::Command { source, command } => {
                    let submitted = match &command {
                        Command::SubmitSolution(solution) => Some((solution.hash, SubmitPath::Solution)),
                        Command::SubmitBlock { hash, .. } => Some((*hash, SubmitPath::RawBlock)),
                        _ => None,
                    };
                    self.command(source, command);
                    if let Some((hash, path)) = submitted {
                        self.event(PoolEvent::BlockSubmitted { hash, source, path });
                    }
                }
                Action::Persist { block, state } => self.outputs.push_back(Output::Persist { block, state }),
                Action::Changed { block, state } => self.event(PoolEvent::BlockDecided(block, state)),
                Action::Deep { hash, confirmations } => self.event(PoolEvent::BlockDepth { hash, confirmations }),
            }
        }
        result
    }

    fn command(&mut self, source: usize, command: Command) {
        self.outputs.push_back(Output::Command { source, command });
    }

    fn event(&mut self, event: PoolEvent) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// A source's template in the terms of the job factory.
pub(crate) fn job_template(template: &Template) -> JobTemplate {
    let coinbase = &template.coinbase;
    JobTemplate {
        template_id: roles_logic_sv2::ids::TemplateId(template.id.0),
        future: template.future,
        version: template.version,
        coinbase_tx_version: coinbase.version,
        coinbase_prefix: coinbase.script_sig_prefix.clone(),
        coinbase_tx_input_sequence: coinbase.sequence,
        coinbase_tx_value_remaining: coinbase.value_remaining,
        coinbase_tx_outputs_count: coinbase.outputs_count,
        coinbase_tx_outputs: coinbase.outputs.clone(),
        coinbase_tx_locktime: coinbase.lock_time,
        merkle_path: template.merkle_path.clone(),
    }
}
