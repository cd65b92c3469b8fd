//! Template sources with faults that a real node does not have on command.

use std::sync::Arc;

use template_source::{
    COMMAND_QUEUE, Capabilities, Command, Constraints, EVENT_QUEUE, Event, SubmitOutcome, SubmitPath, Subscription,
    TemplateSource,
};
use tokio::sync::mpsc;

/// A source whose solutions all fail to arrive; everything else goes to the one behind it.
#[derive(Clone)]
pub struct LosesSolutions(pub Arc<dyn TemplateSource>);

impl TemplateSource for LosesSolutions {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn subscribe(&self, constraints: Constraints) -> Subscription {
        let mut inner = self.0.subscribe(constraints);
        let (events, user_events) = mpsc::channel(EVENT_QUEUE);
        let (user_commands, mut commands) = mpsc::channel(COMMAND_QUEUE);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = inner.events.recv() => match event {
                        Some(event) => if events.send(event).await.is_err() { return },
                        None => return,
                    },
                    command = commands.recv() => match command {
                        Some(Command::SubmitSolution(solution)) => {
                            let outcome = SubmitOutcome::Failed("made to fail".to_owned());
                            let path = SubmitPath::Solution;
                            let failed = Event::Submitted { hash: solution.hash, path, outcome };
                            if events.send(failed).await.is_err() { return }
                        }
                        Some(command) => if inner.commands.send(command).await.is_err() { return },
                        None => return,
                    },
                }
            }
        });
        Subscription { events: user_events, commands: user_commands }
    }
}
