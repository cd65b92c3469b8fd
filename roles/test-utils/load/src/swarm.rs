//! A swarm: threads of miners, and the phases they are led through.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use mio::{Poll, Waker};

use crate::{
    config::{Pace, SwarmConfig},
    stats::{Gauges, Now, Stats},
    worker::{Command, Event, Group, WAKE, Worker},
};

/// How often [`Watch`] is asked while a phase lasts.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// A pool that answers nothing for so long answers no more: it keeps a batch back that is not full. Slow readers take their time.
const SILENCE: Duration = Duration::from_secs(3);

/// Looks on while a phase lasts.
pub trait Watch {
    /// Called ten times a second; false ends the phase early.
    fn look(&mut self, elapsed: Duration, now: Now) -> bool;
}

/// Does not look.
impl Watch for () {
    fn look(&mut self, _: Duration, _: Now) -> bool {
        true
    }
}

/// Simulated miners against one pool. Dropping it ends all connections.
pub struct Swarm {
    origin: Instant,
    workers: Vec<Handle>,
    events: mpsc::Receiver<Event>,
    next_index: u64,
}

struct Handle {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    gauges: Arc<Gauges>,
    thread: Option<thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarm").field("threads", &self.workers.len()).field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Swarm {
    /// Starts the threads; nothing is connected yet.
    ///
    /// # Errors
    /// When the system gives no threads or event loops.
    pub fn start(config: &SwarmConfig) -> io::Result<Self> {
        let (sender, events) = mpsc::channel();
        let origin = Instant::now();
        let start = |index: usize| {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let (commands, received) = mpsc::channel();
            let gauges = Arc::new(Gauges::default());
            let (config, sender, shown) = (config.clone(), sender.clone(), gauges.clone());
            // Made on its thread, as its jobs are counted without locks.
            let work = move || Worker::new(config, poll, origin, received, sender, shown).run();
            let thread = thread::Builder::new().name(format!("miners-{index}")).spawn(work)?;
            Ok(Handle { commands, waker, gauges, thread: Some(thread) })
        };
        let workers = (0..config.threads.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(Self { origin, workers, events, next_index: 0 })
    }

    /// The moment that all times of the swarm count from.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// What holds right now.
    pub fn now(&self) -> Now {
        let mut now = Now::default();
        self.workers.iter().for_each(|worker| worker.gauges.add_to(&mut now));
        now
    }

    /// Connects `count` more miners, `in_flight` at a time, and returns when each has work or has failed.
    ///
    /// # Errors
    /// When a thread has ended, which only a lack of memory or descriptors can bring about.
    pub fn connect(&mut self, group: Group, count: u64, in_flight: usize, watch: &mut impl Watch) -> io::Result<()> {
        let threads = self.workers.len() as u64;
        let mut first = self.next_index;
        self.next_index += count;
        let share = |of: u64, index: u64| of / threads + u64::from(index < of % threads);
        for (index, worker) in (0..).zip(&self.workers) {
            let count = share(count, index);
            let in_flight = share(in_flight as u64, index).max(1) as usize;
            worker.tell(Command::Connect { group, first, count, in_flight })?;
            first += count;
        }
        let mut waiting = self.workers.len();
        self.wait(None, watch, |event, _| {
            waiting -= usize::from(matches!(event, Some(Event::Settled)));
            waiting == 0
        })
    }

    /// Ends the connections of a group.
    ///
    /// # Errors
    /// As [`Swarm::connect`].
    pub fn close(&mut self, group: Group) -> io::Result<()> {
        self.workers.iter().try_for_each(|worker| worker.tell(Command::Close(group)))
    }

    /// Sends shares for `time`, then waits for the answers as long as some come.
    ///
    /// # Errors
    /// As [`Swarm::connect`].
    pub fn submit(&mut self, pace: Pace, time: Duration, watch: &mut impl Watch) -> io::Result<()> {
        let threads = self.workers.len() as f64;
        let pace = match pace {
            Pace::PerSecond(rate) => Pace::PerSecond(rate / threads),
            Pace::AsAcknowledged => pace,
        };
        self.workers.iter().try_for_each(|worker| worker.tell(Command::Shares(Some(pace))))?;
        self.idle(time, watch)?;
        self.workers.iter().try_for_each(|worker| worker.tell(Command::Shares(None)))?;
        let mut last = (self.now(), Instant::now());
        self.wait(None, watch, |_, now| {
            if now.in_flight != last.0.in_flight {
                last = (now, Instant::now());
            }
            now.in_flight == 0 || last.1.elapsed() >= SILENCE
        })
    }

    /// Leaves the miners to themselves for `time`.
    ///
    /// # Errors
    /// As [`Swarm::connect`].
    pub fn idle(&mut self, time: Duration, watch: &mut impl Watch) -> io::Result<()> {
        self.wait(Some(Instant::now() + time), watch, |_, _| false)
    }

    /// Waits until `done`, and returns false when `time` is over before.
    ///
    /// # Errors
    /// As [`Swarm::connect`].
    pub fn until(&mut self, time: Duration, mut done: impl FnMut(Now) -> bool) -> io::Result<bool> {
        let mut reached = false;
        self.wait(Some(Instant::now() + time), &mut (), |_, now| {
            reached = done(now);
            reached
        })?;
        Ok(reached)
    }

    /// What happened since the last call.
    ///
    /// # Errors
    /// As [`Swarm::connect`].
    pub fn take(&mut self) -> io::Result<Stats> {
        self.workers.iter().try_for_each(|worker| worker.tell(Command::Take))?;
        let mut sum = Stats::default();
        let mut waiting = self.workers.len();
        self.wait(None, &mut (), |event, _| {
            if let Some(Event::Taken(stats)) = event {
                sum.add(*stats);
                waiting -= 1;
            }
            waiting == 0
        })?;
        Ok(sum)
    }

    /// Waits for events until `done`, `until`, or `watch` has seen enough.
    fn wait(
        &mut self,
        until: Option<Instant>,
        watch: &mut impl Watch,
        mut done: impl FnMut(Option<Event>, Now) -> bool,
    ) -> io::Result<()> {
        let ended = || io::Error::other("a thread of the swarm has ended");
        loop {
            let left = until.map_or(WATCH_EVERY, |until| until.saturating_duration_since(Instant::now()));
            let event = match self.events.recv_timeout(left.min(WATCH_EVERY)) {
                Ok(Event::Failed(error)) => return Err(error),
                Ok(event) => Some(event),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(ended()),
            };
            let was_event = event.is_some();
            let now = self.now();
            if done(event, now) || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            if !was_event && !watch.look(self.origin.elapsed(), now) {
                return Ok(());
            }
        }
    }
}

impl Handle {
    fn tell(&self, command: Command) -> io::Result<()> {
        self.commands.send(command).map_err(|_| io::Error::other("a thread of the swarm has ended"))?;
        self.waker.wake()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for worker in &self.workers {
            // One that has ended needs no telling.
            let _ = worker.tell(Command::Stop);
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}
