//! What happens in the background: estimates are brought up to date, and watchers are told.

use std::time::Duration;

use serde::Serialize;
use stratum_runtime::http::Event;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    dto::{BlockEvent, WorkerEvent},
    operator,
    view::{self, View},
};
use crate::{
    hub::PoolEvent,
    registry::{SWEEP, WorkerChange},
};

/// Pause between two states of the pool for watchers.
const TICK: Duration = Duration::from_secs(2);
/// Workers that come or go in one tick and are told of one by one; when a whole farm does, the numbers tell.
const WORKERS_PER_TICK: u32 = 50;

pub(super) async fn run(views: Vec<View>, mut events: Receiver<PoolEvent>, mut workers: Receiver<WorkerChange>) {
    let Some(insight) = views.first().map(|view| view.insight.clone()) else { return };
    let mut sweeps = tokio::time::interval(SWEEP);
    let mut ticks = tokio::time::interval(TICK);
    let mut told = 0;
    loop {
        tokio::select! {
            _ = sweeps.tick() => insight.registry.sweep(insight.clock.now()),
            _ = ticks.tick() => {
                told = 0;
                for view in views.iter().filter(|view| view.events.is_watched()) {
                    tell(view, "pool", &view.pool().await);
                }
            }
            event = events.recv() => match event {
                Ok(event) => views.iter().filter(|view| view.events.is_watched()).for_each(|view| happened(view, &event)),
                // The next state of the pool tells what was missed.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            change = workers.recv() => match change {
                Ok(change) if told < WORKERS_PER_TICK => {
                    told += 1;
                    for view in views.iter().filter(|view| view.is_operator && view.events.is_watched()) {
                        let (account, worker) = (change.worker.account().to_owned(), change.worker.name().to_owned());
                        tell(view, "worker", &WorkerEvent { account, worker, online: change.online });
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

fn tell(view: &View, name: &str, data: &impl Serialize) {
    match Event::new(name, data) {
        Ok(event) => view.events.publish(event),
        Err(error) => tracing::error!(name, "watchers can not be told: {error}"),
    }
}

fn happened(view: &View, event: &PoolEvent) {
    let state = view.insight.board.state();
    match event {
        PoolEvent::NewTip { .. } => {
            if let Some(mined) = &state.mined {
                tell(view, "tip", &view::tip(mined));
            }
        }
        PoolEvent::BlockFound(block) => {
            let (hash, state) = (block.hash.to_string(), "found".to_owned());
            tell(view, "block", &BlockEvent { hash, height: block.height, state });
        }
        PoolEvent::BlockDecided(block, state) => {
            let (hash, state) = (block.hash.to_string(), state.word().to_owned());
            tell(view, "block", &BlockEvent { hash, height: block.height, state });
        }
        PoolEvent::SourceUp { source, .. }
        | PoolEvent::SourceDown { source, .. }
        | PoolEvent::SourceSelected { source }
            if view.is_operator =>
        {
            if let Some(node) = state.nodes.get(*source) {
                tell(view, "node", &operator::node(*source, node.clone()));
            }
        }
        PoolEvent::Ledger { .. } | PoolEvent::LedgerIndex { .. } => tell(view, "ledger", &view.ledger(&state)),
        _ => {}
    }
}
