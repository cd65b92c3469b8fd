//! What the hub's driver tells the API: nodes, the template that is mined, whether the ledger is written.
//!
//! The driver writes a few times a minute, and never while it holds anything else.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use template_source::{Capabilities, Template, TemplateId, Transactions};

use crate::{
    hub::{Hub, PoolEvent},
    snapshot::ActiveTip,
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Board(Mutex<State>);

/// All that is on the board.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The sources, in the order of the configuration.
    pub nodes: Vec<Node>,
    /// What is mined; absent until a source has delivered.
    pub mined: Option<Mined>,
    /// Why the ledger is not written.
    pub ledger: Option<String>,
    /// Why the ledger's database does not follow.
    pub index: Option<String>,
    /// The ledger is this process' own.
    pub has_ledger: bool,
    /// Blocks found since the process started.
    pub found: u64,
    /// When the last of them was.
    pub last_found: Option<Duration>,
}

/// A source.
#[derive(Clone, Debug)]
pub struct Node {
    /// What and where it is, as the configuration says.
    pub name: String,
    /// `bitcoin-ipc`, `bitcoin-rpc`, `sv2` or `devnet`.
    pub kind: &'static str,
    /// What it calls itself.
    pub description: Option<String>,
    /// Whether it answers.
    pub is_up: bool,
    /// Whether miners work on its templates.
    pub is_active: bool,
    /// Height of its tip.
    pub height: Option<u32>,
    /// Since when it is up or down.
    pub since: Duration,
    /// Why it is down.
    pub problem: Option<String>,
    /// Whether it takes whole blocks.
    pub raw_blocks: bool,
}

/// What is mined.
#[derive(Clone, Debug)]
pub struct Mined {
    /// Index of the source.
    pub source: usize,
    /// The template.
    pub template: Arc<Template>,
    /// Its transactions, when they have come.
    pub transactions: Option<Transactions>,
    /// Tip and job.
    pub tip: ActiveTip,
    /// When the template was first seen.
    pub received_at: Duration,
    /// When the newest job was made of it.
    pub job_at: Duration,
    /// When the tip came.
    pub tip_at: Duration,
}

impl Board {
    /// For sources with these names, kinds and abilities.
    pub fn new(now: Duration, sources: impl IntoIterator<Item = (String, &'static str, Capabilities)>) -> Self {
        let nodes = sources.into_iter().map(|(name, kind, Capabilities { raw_blocks, .. })| Node {
            name,
            kind,
            description: None,
            is_up: false,
            is_active: false,
            height: None,
            since: now,
            problem: None,
            raw_blocks,
        });
        Self(Mutex::new(State { nodes: nodes.collect(), ..State::default() }))
    }

    /// What is on it now.
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// The ledger is this process' own.
    pub fn has_ledger(&self) {
        self.lock().has_ledger = true;
    }

    /// Something happened.
    pub fn note(&self, now: Duration, event: &PoolEvent) {
        let mut state = self.lock();
        let State { nodes, .. } = &mut *state;
        match event {
            PoolEvent::SourceUp { source, description } => {
                if let Some(node) = nodes.get_mut(*source) {
                    (node.is_up, node.since, node.problem) = (true, now, None);
                    node.description = Some(description.clone());
                }
            }
            PoolEvent::SourceDown { source, reason } => {
                if let Some(node) = nodes.get_mut(*source) {
                    if node.is_up {
                        node.since = now;
                    }
                    (node.is_up, node.height, node.problem) = (false, None, Some(reason.clone()));
                }
            }
            PoolEvent::SourceSelected { source } => {
                nodes.iter_mut().enumerate().for_each(|(index, node)| node.is_active = index == *source);
            }
            PoolEvent::Ledger { failing } => state.ledger.clone_from(failing),
            PoolEvent::LedgerIndex { failing } => state.index.clone_from(failing),
            PoolEvent::BlockFound(_) => {
                state.found += 1;
                state.last_found = Some(now);
            }
            _ => {}
        }
    }

    /// Takes over what is new at the hub.
    pub fn look(&self, now: Duration, hub: &Hub) {
        let mut state = self.lock();
        for (node, height) in state.nodes.iter_mut().zip(hub.heights()) {
            // That of the block to be mined is one more than that of the tip.
            node.height = height.filter(|_| node.is_up).map(|height| height.saturating_sub(1));
        }
        let (Some((source, template)), Some(tip)) = (hub.current(), hub.mined_tip()) else { return };
        let key = |mined: &Mined| (mined.source, mined.template.id, mined.tip.current.id());
        let has_come = |mined: &Mined| mined.transactions.is_some();
        let known = state.mined.as_ref();
        if known.is_some_and(|mined| key(mined) == (source, template.id, tip.current.id()) && has_come(mined)) {
            return;
        }
        let same = |at: fn(&Mined) -> Duration, is_same: &dyn Fn(&Mined) -> bool| {
            known.filter(|mined| is_same(mined)).map_or(now, at)
        };
        let is_template = |mined: &Mined| (mined.source, mined.template.id) == (source, template.id);
        state.mined = Some(Mined {
            source,
            template: template.clone(),
            transactions: hub.current_transactions(),
            received_at: same(|mined| mined.received_at, &is_template),
            job_at: same(|mined| mined.job_at, &|mined| mined.tip.current.id() == tip.current.id()),
            tip_at: same(|mined| mined.tip_at, &|mined| mined.tip.number == tip.number),
            tip: tip.clone(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells templates apart, for what is worked out once for each.
pub(super) type TemplateKey = (usize, TemplateId);
