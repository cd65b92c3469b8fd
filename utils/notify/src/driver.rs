//! Runs the outboxes: a task for each receiver, so that none waits for another.

use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand_core::{OsRng, RngCore};
use serde_json::{Map, Value};
use stratum_runtime::core::Clock;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};

use crate::{
    command::Hook,
    config::{NotifyConfig, wanted},
    message::{Kind, Message, Origin, Selector},
    outbox::{Delivery, Outbox},
    spool::Spool,
    webhook::Webhook,
};

/// Notifications on their way to a receiver's task; further ones are dropped, and the receiver hears how many.
const INBOX: usize = 256;

/// How long what is being delivered may go on when the process ends.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// Tells receivers what happens. Never waits for one.
#[derive(Debug)]
pub struct Notifier {
    clock: Clock,
    receivers: Vec<Receiver>,
}

#[derive(Debug)]
struct Receiver {
    events: Vec<Selector>,
    inbox: mpsc::Sender<Input>,
    missed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

enum Input {
    Message(Message),
    /// Keep what must not be lost in this data folder, and deliver what is kept there already.
    Keep(PathBuf),
}

/// One receiver, as the configuration has it.
struct Target {
    transport: Transport,
    /// Stands for it from one process to the next.
    identity: String,
    events: Vec<Selector>,
}

enum Transport {
    Webhook(Box<Webhook>),
    Command(Hook),
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Webhook(webhook) => webhook.fmt(f),
            Self::Command(hook) => hook.fmt(f),
        }
    }
}

impl Transport {
    async fn deliver(&self, now: Duration, origin: &Origin, delivery: &Delivery) -> Result<(), String> {
        match self {
            Self::Webhook(webhook) => webhook.deliver(now, origin, delivery).await,
            Self::Command(hook) => hook.deliver(origin, delivery).await,
        }
    }
}

fn targets(config: &NotifyConfig) -> Result<Vec<Target>, String> {
    config.check()?;
    let mut targets = Vec::new();
    for webhook in &config.webhook {
        let transport = Webhook::new(webhook).map_err(|error| format!("notify.webhook.{error}"))?;
        targets.push(Target {
            transport: Transport::Webhook(Box::new(transport)),
            identity: webhook.url.0.clone(),
            events: webhook.events.clone(),
        });
    }
    for command in &config.command {
        targets.push(Target {
            transport: Transport::Command(Hook::new(command)),
            identity: format!("{}\0{}", command.program.display(), command.args.join("\0")),
            events: command.events.clone(),
        });
    }
    Ok(targets)
}

/// Reads all that a configuration names, the secrets too, and tells nobody anything.
///
/// # Errors
/// What is wrong, and what to do. No secret is in it, nor the path of a URL.
pub fn check(config: &NotifyConfig) -> Result<(), String> {
    targets(config).map(drop)
}

/// A notification of what happens now.
pub fn message(now: Duration, event: Kind, text: String, data: Map<String, Value>) -> Message {
    let mut id = [0; 16];
    OsRng.fill_bytes(&mut id);
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Message { id, time: u64::try_from(now.as_millis()).unwrap_or(u64::MAX), event, text, data }
}

/// What became of a test: a receiver, and why it did not get it.
#[derive(Debug)]
pub struct Tried {
    /// The receiver, without what may be secret.
    pub receiver: String,
    /// Why it does not have it.
    pub failure: Option<String>,
}

/// Sends one test notification to each receiver, once, one after the other.
///
/// # Errors
/// As [`check`].
pub async fn try_all(config: &NotifyConfig, origin: &Origin, clock: Clock) -> Result<Vec<Tried>, String> {
    let mut tried = Vec::new();
    for target in targets(config)? {
        let now = clock.now();
        let text = format!("A test of the notifications of {}.", origin.pool);
        let delivery = Delivery { message: message(now, Kind::Test, text, Map::new()), dropped: 0, attempt: 1 };
        let failure = target.transport.deliver(now, origin, &delivery).await.err();
        tried.push(Tried { receiver: target.transport.to_string(), failure });
    }
    Ok(tried)
}

impl Notifier {
    /// Starts a task for each receiver. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// As [`check`].
    pub fn start(config: &NotifyConfig, origin: &Origin, clock: Clock) -> Result<Self, String> {
        let start = |target: Target| {
            let (inbox, inputs) = mpsc::channel(INBOX);
            let missed = Arc::new(AtomicU64::new(0));
            let events = target.events.clone();
            let courier = Courier {
                clock,
                origin: origin.clone(),
                transport: Arc::new(target.transport),
                identity: target.identity,
                outbox: Outbox::default(),
                missed: missed.clone(),
                spool: None,
            };
            Receiver { events, inbox, missed, task: tokio::spawn(courier.run(inputs)) }
        };
        Ok(Self { clock, receivers: targets(config)?.into_iter().map(start).collect() })
    }

    /// Tells all who want to know.
    pub fn notify(&self, event: Kind, text: String, data: Map<String, Value>) {
        let message = message(self.clock.now(), event, text, data);
        for receiver in self.receivers.iter().filter(|receiver| wanted(&receiver.events, event)) {
            match receiver.inbox.try_send(Input::Message(message.clone())) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(_)) => {
                    receiver.missed.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(event = event.name(), "a notification is dropped: too many at once");
                }
            }
        }
    }

    /// From now on news of blocks are kept in the data folder until they are delivered. What is there from before is delivered first.
    pub async fn keep_in(&self, data_dir: PathBuf) {
        for receiver in &self.receivers {
            // Its task takes whatever comes.
            let _ = receiver.inbox.send(Input::Keep(data_dir.clone())).await;
        }
    }

    /// Delivers what can be delivered at once, keeps what must be kept, and ends.
    pub async fn finish(self) {
        // All of them at once: each may take its time.
        let tasks: Vec<_> = self.receivers.into_iter().map(|receiver| receiver.task).collect();
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!("a receiver's task failed: {error}");
            }
        }
    }
}

/// Sees to one receiver.
struct Courier {
    clock: Clock,
    origin: Origin,
    transport: Arc<Transport>,
    identity: String,
    outbox: Outbox,
    missed: Arc<AtomicU64>,
    spool: Option<Spool>,
}

/// A delivery under way, with what it tells of dropped ones.
type Flight = (u64, u32, Pin<Box<dyn Future<Output = Result<(), String>> + Send>>);

async fn landed(flight: &mut Option<Flight>) -> (u64, u32, Result<(), String>) {
    match flight {
        Some((dropped, attempt, delivery)) => (*dropped, *attempt, delivery.await),
        None => std::future::pending().await,
    }
}

impl Courier {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut flight: Option<Flight> = None;
        let mut end = None;
        loop {
            self.outbox.missed(self.missed.swap(0, Ordering::Relaxed));
            self.save().await;
            if flight.is_none() {
                flight = self.outbox.poll(self.clock.now()).map(|delivery| self.send(delivery));
            }
            if end.is_some() && flight.is_none() {
                break;
            }
            let due = self.outbox.poll_timeout();
            tokio::select! {
                biased;
                () = self.clock.sleep_until(end) => break,
                input = inputs.recv(), if end.is_none() => match input {
                    Some(input) => self.take(input).await,
                    None => end = Some(self.clock.now() + LAST_DELIVERIES),
                },
                (dropped, attempt, result) = landed(&mut flight) => {
                    flight = None;
                    self.landed(dropped, attempt, result);
                }
                () = self.clock.sleep_until(due) => {}
            }
        }
        if !self.outbox.is_empty() {
            tracing::warn!(receiver = %self.transport, count = self.outbox.len(), "notifications are not delivered");
        }
    }

    fn send(&self, delivery: Delivery) -> Flight {
        let (transport, origin, now) = (self.transport.clone(), self.origin.clone(), self.clock.now());
        let (dropped, attempt) = (delivery.dropped, delivery.attempt);
        (dropped, attempt, Box::pin(async move { transport.deliver(now, &origin, &delivery).await }))
    }

    fn landed(&mut self, dropped: u64, attempt: u32, result: Result<(), String>) {
        match result {
            Ok(()) => {
                if attempt > 1 {
                    tracing::info!(receiver = %self.transport, attempt, "a notification has arrived at last");
                }
                self.outbox.delivered(dropped);
            }
            Err(error) => {
                let random = f64::from(OsRng.next_u32()) / f64::from(u32::MAX);
                let pause = self.outbox.failed(self.clock.now(), random);
                // The first one, and then one of every few minutes.
                tracing::warn!(receiver = %self.transport, attempt, retry_in = ?pause, "a notification is not delivered: {error}");
            }
        }
    }

    async fn take(&mut self, input: Input) {
        match input {
            Input::Message(message) => {
                if let Some(dropped) = self.outbox.push(message) {
                    let event = dropped.event.name();
                    tracing::warn!(receiver = %self.transport, event, "a notification is dropped: too many wait");
                }
            }
            Input::Keep(data_dir) => {
                let spool = Spool::new(&data_dir, &self.identity);
                self.spool = Some(spool.clone());
                match tokio::task::spawn_blocking(move || spool.load()).await {
                    Ok(Ok(messages)) => self.outbox.restore(messages),
                    Ok(Err(error)) => {
                        tracing::error!(receiver = %self.transport, "notifications from before are lost: {error}");
                    }
                    Err(error) => tracing::error!("notifications from before are lost: {error}"),
                }
            }
        }
    }

    /// On disk before it is delivered, so that a crash costs at most that one arrives twice.
    async fn save(&mut self) {
        let Some(spool) = &self.spool else { return };
        let Some(kept) = self.outbox.take_kept() else { return };
        let spool = spool.clone();
        let saved = tokio::task::spawn_blocking(move || spool.save(&kept)).await;
        if let Err(error) = saved.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::error!(receiver = %self.transport, "undelivered notifications are not kept on disk: {error}");
        }
    }
}
