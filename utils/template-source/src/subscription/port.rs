//! The subscription's side of a connection: what goes to the user, and what comes from there.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::{COMMAND_QUEUE, Command, Constraints, Event, Solution, SubmitOutcome, SubmitPath, TemplateId};

/// Answers that may wait for the user before no more commands are read. Together with the few templates and tips that
/// [`Outbox`] keeps, this bounds it.
const MAX_WAITING: usize = COMMAND_QUEUE;

/// The user has gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// Events out, commands in.
pub(crate) struct Port {
    events: mpsc::Sender<Event>,
    commands: mpsc::Receiver<Command>,
    commands_open: bool,
    outbox: Outbox,
    next_id: u64,
    /// What the user asked for last.
    pub(crate) constraints: Constraints,
}

impl Port {
    pub(crate) fn new(
        events: mpsc::Sender<Event>,
        commands: mpsc::Receiver<Command>,
        constraints: Constraints,
    ) -> Self {
        Self { events, commands, commands_open: true, outbox: Outbox::default(), next_id: 1, constraints }
    }

    /// A template id that was never used in this subscription.
    pub(crate) fn new_id(&mut self) -> TemplateId {
        let id = TemplateId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Hands an event to the user, at once unless the user is behind.
    pub(crate) fn emit(&mut self, event: Event) {
        self.outbox.push(event);
        while !self.outbox.queue.is_empty() {
            let Ok(permit) = self.events.try_reserve() else { return };
            if let Some(event) = self.outbox.queue.pop_front() {
                permit.send(event);
            }
        }
    }

    /// The next command. Takes over the constraints of [`Command::SetConstraints`]. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Result<Command, Closed> {
        loop {
            let room = self.outbox.queue.len() < MAX_WAITING;
            tokio::select! {
                permit = self.events.reserve(), if !self.outbox.queue.is_empty() => {
                    let permit = permit.map_err(|_| Closed)?;
                    if let Some(event) = self.outbox.queue.pop_front() {
                        permit.send(event);
                    }
                }
                () = self.events.closed() => return Err(Closed),
                command = self.commands.recv(), if self.commands_open && room => match command {
                    Some(command) => {
                        if let Command::SetConstraints(constraints) = command {
                            self.constraints = constraints;
                        }
                        return Ok(command);
                    }
                    None => self.commands_open = false,
                }
            }
        }
    }

    /// A command that was given before the user went.
    pub(crate) fn leftover(&mut self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// Does `work` while commands are answered with the news that there is no connection.
    pub(crate) async fn idle_while<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Closed> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                command = self.next() => {
                    let command = command?;
                    self.refuse(command);
                }
            }
        }
    }

    fn refuse(&mut self, command: Command) {
        let why = || "no connection to the node".to_owned();
        match command {
            Command::SetConstraints(_) => {}
            Command::RequestTransactions(id) => self.emit(Event::Transactions { id, result: Err(why()) }),
            Command::SubmitSolution(Solution { hash, .. }) => {
                self.emit(Event::Submitted { hash, path: SubmitPath::Solution, outcome: SubmitOutcome::Failed(why()) });
            }
            Command::SubmitBlock { hash, .. } => {
                self.emit(Event::Submitted { hash, path: SubmitPath::RawBlock, outcome: SubmitOutcome::Failed(why()) });
            }
            Command::RequestConfirmations(hash) => self.emit(Event::Confirmations { hash, result: Err(why()) }),
        }
    }
}

/// Events that wait for a user who is behind. Of templates and tips only those are kept that still matter.
#[derive(Debug, Default)]
struct Outbox {
    queue: VecDeque<Event>,
}

impl Outbox {
    fn push(&mut self, event: Event) {
        match &event {
            // Starts anew: the templates of the connection before are gone.
            Event::Up { .. } | Event::Down { .. } => self.queue.retain(Event::is_answer),
            Event::Tip(tip) => {
                let named = tip.template_id;
                self.queue.retain(|old| match old {
                    Event::Template(template) => template.id == named,
                    Event::Tip(_) => false,
                    _ => true,
                });
            }
            Event::Template(new) if !new.future => {
                self.queue.retain(|old| !matches!(old, Event::Template(template) if !template.future));
            }
            _ => {}
        }
        self.queue.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bitcoin::{BlockHash, hashes::Hash};

    use super::*;
    use crate::{CoinbaseTemplate, EVENT_QUEUE, Template, Tip};

    fn template(id: u64, future: bool) -> Event {
        let coinbase = CoinbaseTemplate {
            version: 2,
            script_sig_prefix: vec![1, 17],
            sequence: 0,
            value_remaining: 0,
            outputs_count: 0,
            outputs: vec![],
            lock_time: 0,
        };
        let id = TemplateId(id);
        Event::Template(Arc::new(Template { id, future, height: 17, version: 0, coinbase, merkle_path: vec![] }))
    }

    fn tip(id: u64) -> Event {
        let prev_hash = BlockHash::all_zeros();
        Event::Tip(Tip { template_id: TemplateId(id), prev_hash, header_timestamp: 0, nbits: 0, target: [0; 32] })
    }

    fn submitted() -> Event {
        let hash = BlockHash::all_zeros();
        Event::Submitted { hash, path: SubmitPath::RawBlock, outcome: SubmitOutcome::Accepted }
    }

    /// One word per event, for comparison.
    fn words<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
        let word = |event: &Event| match event {
            Event::Up { .. } => "up".to_owned(),
            Event::Down { .. } => "down".to_owned(),
            Event::Template(template) => format!("{}{}", if template.future { "future" } else { "now" }, template.id.0),
            Event::Tip(tip) => format!("tip{}", tip.template_id.0),
            Event::Transactions { .. } => "transactions".to_owned(),
            Event::Submitted { .. } => "submitted".to_owned(),
            Event::Confirmations { .. } => "confirmations".to_owned(),
        };
        events.into_iter().map(word).collect()
    }

    #[test]
    fn only_templates_that_matter_wait() {
        let mut outbox = Outbox::default();
        for event in [template(1, true), tip(1), template(2, false), submitted(), template(3, true), template(4, false)]
        {
            outbox.push(event);
        }
        assert_eq!(words(&outbox.queue), ["future1", "tip1", "submitted", "future3", "now4"]);
        outbox.push(tip(3));
        assert_eq!(words(&outbox.queue), ["submitted", "future3", "tip3"]);
        outbox.push(Event::Down { reason: String::new(), retry_in: Duration::ZERO });
        assert_eq!(words(&outbox.queue), ["submitted", "down"]);
    }

    #[test]
    fn what_waits_is_bounded_however_far_the_user_is_behind() {
        let mut outbox = Outbox::default();
        for round in 0..1000 {
            outbox.push(template(3 * round + 1, true));
            outbox.push(tip(3 * round + 1));
            outbox.push(template(3 * round + 2, false));
            outbox.push(template(3 * round + 3, true));
        }
        assert_eq!(words(&outbox.queue), ["future2998", "tip2998", "now2999", "future3000"]);
    }

    #[tokio::test]
    async fn a_user_who_is_behind_gets_the_newest() {
        let (events, mut user) = mpsc::channel(EVENT_QUEUE);
        let (_commands, queue) = mpsc::channel(COMMAND_QUEUE);
        let mut port = Port::new(events, queue, Constraints::default());
        for id in 0..1000 {
            port.emit(template(id, false));
        }
        let mut last = None;
        loop {
            tokio::select! {
                biased;
                event = user.recv() => last = event,
                _ = port.next() => unreachable!("no command was given"),
                () = std::future::ready(()) => break,
            }
        }
        while let Ok(event) = user.try_recv() {
            last = Some(event);
        }
        assert_eq!(words(&last), ["now999"]);
    }

    #[tokio::test]
    async fn it_ends_with_its_user_and_not_with_the_commands() {
        let (events, user) = mpsc::channel(EVENT_QUEUE);
        let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
        let mut port = Port::new(events, queue, Constraints::default());
        let wanted = Constraints { max_additional_size: 7, max_additional_sigops: 1 };
        commands.send(Command::SetConstraints(wanted)).await.unwrap();
        assert!(matches!(port.next().await, Ok(Command::SetConstraints(_))));
        assert_eq!(port.constraints, wanted);

        drop(commands);
        let waiting = tokio::time::timeout(Duration::ZERO, port.next()).await;
        assert!(waiting.is_err(), "without commands it goes on");
        drop(user);
        assert_eq!(port.next().await.err(), Some(Closed));
    }
}
