//! The tasks of a devnet: one per subscription, one for the producer. They take no decisions.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{Inner, session::Session};
use crate::{COMMAND_QUEUE, Command, EVENT_QUEUE, Event, Subscription};

/// Starts the task of one subscription. It ends when the receiver of events is dropped.
pub(super) fn subscribe(inner: Arc<Inner>, session: Session) -> Subscription {
    let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
    let (commands, command_receiver) = mpsc::channel(COMMAND_QUEUE);
    let changes = inner.changes.subscribe();
    tokio::spawn(run(inner, session, event_sender, command_receiver, changes));
    Subscription { events, commands }
}

/// Tells one reader what is new.
///
/// News are made only when the reader has taken the ones before, so one that stalls misses what was overtaken meanwhile.
/// Commands are answered all the same until [`COMMAND_QUEUE`] answers wait.
async fn run(
    inner: Arc<Inner>,
    mut session: Session,
    events: mpsc::Sender<Event>,
    mut commands: mpsc::Receiver<Command>,
    mut changes: watch::Receiver<u64>,
) {
    let mut news: VecDeque<Event> = inner.with_node(|node, state| session.update(node, state)).into();
    let mut answers: VecDeque<Event> = VecDeque::new();
    let mut commands_open = true;
    let mut fee_check = ticker(inner.config.fee_check);
    loop {
        tokio::select! {
            biased;
            () = events.closed() => {
                // What was submitted before still counts.
                while let Ok(command) = commands.try_recv() {
                    inner.command(&mut session, command);
                }
                return;
            }
            permit = events.reserve(), if !(news.is_empty() && answers.is_empty()) => {
                let (Ok(permit), Some(event)) = (permit, answers.pop_front().or_else(|| news.pop_front())) else { return };
                permit.send(event);
            }
            command = commands.recv(), if commands_open && answers.len().max(news.len()) < COMMAND_QUEUE => match command {
                Some(command) => {
                    for event in inner.command(&mut session, command) {
                        // A template stays behind the tip that it belongs to.
                        let queue = if matches!(event, Event::Template(_)) { &mut news } else { &mut answers };
                        queue.push_back(event);
                    }
                }
                None => commands_open = false,
            },
            changed = changes.changed(), if news.is_empty() => {
                if changed.is_err() {
                    return;
                }
                news.extend(inner.with_node(|node, state| session.update(node, state)));
            }
            () = tick(&mut fee_check), if news.is_empty() => {
                news.extend(inner.with_node(|node, state| session.check_fees(node, state)));
            }
        }
    }
}

/// Makes transactions at the configured pace, for as long as anyone holds the devnet.
pub(super) async fn produce(running: Running, period: Duration, count: u32) {
    let mut ticks = ticker(period);
    loop {
        tick(&mut ticks).await;
        let Some(inner) = running.0.upgrade() else { return };
        inner.with_node(|node, _| node.produce(count));
    }
}

/// The right to make transactions, which one task has. It returns when the task ends, with its runtime for example.
pub(super) struct Running(Weak<Inner>);

impl Running {
    /// The right, unless another task has it.
    pub fn take(inner: &Arc<Inner>) -> Option<Self> {
        (!inner.producing.swap(true, Ordering::SeqCst)).then(|| Running(Arc::downgrade(inner)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.producing.store(false, Ordering::SeqCst);
        }
    }
}

fn ticker(period: Duration) -> Option<Interval> {
    (!period.is_zero()).then(|| {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    })
}

/// Waits for the next tick; forever where the period is zero.
async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => pending().await,
    }
}
