//! Found blocks on their way to the node: tried until the node has decided.
//!
//! A solution goes to the source at once. When it is not delivered, as the node is away or has forgotten the template, it is tried
//! again: as a whole block where the source takes those and the transactions are at hand, else as the solution of its
//! template, when the source is back and then from time to time.

use std::{sync::Arc, time::Duration};

use bitcoin::BlockHash;
use template_source::{Command, Solution, SubmitOutcome, SubmitPath};

/// Found blocks of one client that wait for the node's verdict. Further ones are tried once and not remembered.
pub const PENDING_SOLUTIONS: usize = 32;

/// How long a found block is tried. After that the chain has most likely gone on without it.
pub const PATIENCE: Duration = Duration::from_secs(3600);

/// Pause before a block that was not delivered is tried again while the source is up; it doubles up to
/// [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Pending {
    solution: Solution,
    height: u32,
    block: Option<Arc<Vec<u8>>>,
    found: Duration,
    pause: Duration,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Handed over; the answer is awaited.
    Asked,
    /// To be tried again, at the latest then.
    Waiting { until: Duration },
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Solutions {
    pending: Vec<Pending>,
    up: bool,
}

impl Solutions {
    /// A client found a block: what to ask of the source. Nothing when it is being tried already.
    pub fn found(&mut self, now: Duration, solution: Solution, height: u32) -> Option<Command> {
        if self.pending.iter().any(|pending| pending.solution.hash == solution.hash) {
            return None;
        }
        tracing::info!(height, hash = %solution.hash, "block found");
        let command = Command::SubmitSolution(solution.clone());
        if self.pending.len() >= PENDING_SOLUTIONS {
            tracing::error!(
                height, hash = %solution.hash,
                "{PENDING_SOLUTIONS} found blocks wait for the node already; this one is tried only once"
            );
            return Some(command);
        }
        let state = State::Asked;
        self.pending.push(Pending { solution, height, block: None, found: now, pause: FIRST_PAUSE, state });
        Some(command)
    }

    /// The source answered: what to ask next. `whole` makes the whole block of a solution, where the source takes one.
    pub fn answered(
        &mut self,
        now: Duration,
        hash: BlockHash,
        path: SubmitPath,
        outcome: SubmitOutcome,
        whole: impl Fn(&Solution) -> Option<Vec<u8>>,
    ) -> Option<Command> {
        let index = self.pending.iter().position(|pending| pending.solution.hash == hash);
        let height = index.and_then(|index| self.pending.get(index)).map(|pending| pending.height);
        match outcome {
            SubmitOutcome::Accepted => tracing::info!(height, %hash, ?path, "block accepted"),
            SubmitOutcome::Sent => {
                tracing::info!(height, %hash, ?path, "block handed on; the next tip tells what came of it")
            }
            SubmitOutcome::Rejected(reason) => {
                tracing::error!(height, %hash, ?path, "the node refused the block: {reason}")
            }
            SubmitOutcome::Failed(reason) => {
                tracing::warn!(height, %hash, ?path, "the block was not delivered: {reason}");
                let pending = self.pending.get_mut(index?)?;
                pending.state = State::Waiting { until: now + pending.pause };
                pending.pause = (pending.pause * 2).min(LONGEST_PAUSE);
                // The solution of a template may fail where the whole block goes through, but not the other way round.
                return if self.up && path == SubmitPath::Solution { pending.as_block(&whole) } else { None };
            }
        }
        if let Some(index) = index {
            self.pending.remove(index);
        }
        None
    }

    /// The source is up: all that waits is tried again.
    pub fn up(&mut self, whole: impl Fn(&Solution) -> Option<Vec<u8>>) -> Vec<Command> {
        self.up = true;
        self.pending.iter_mut().filter(|pending| pending.state != State::Asked).map(|p| p.again(&whole)).collect()
    }

    /// The source is down. Answers to what was asked may still come, or be lost; asking twice does no harm.
    pub fn down(&mut self, now: Duration) {
        self.up = false;
        self.pending.iter_mut().for_each(|pending| pending.state = State::Waiting { until: now });
    }

    /// When [`Solutions::due`] has something to do.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = |pending: &Pending| {
            let last = pending.found + PATIENCE;
            match pending.state {
                State::Waiting { until } if self.up => until.min(last),
                State::Waiting { .. } | State::Asked => last,
            }
        };
        self.pending.iter().map(due).min()
    }

    /// What is to be tried again at `now`. Gives up what has been tried for [`PATIENCE`].
    pub fn due(&mut self, now: Duration, whole: impl Fn(&Solution) -> Option<Vec<u8>>) -> Vec<Command> {
        self.pending.retain(|pending| {
            let keep = now < pending.found + PATIENCE;
            if !keep {
                tracing::error!(height = pending.height, hash = %pending.solution.hash, "block given up: not delivered in time");
            }
            keep
        });
        if !self.up {
            return Vec::new();
        }
        let is_due = |pending: &&mut Pending| matches!(pending.state, State::Waiting { until } if now >= until);
        self.pending.iter_mut().filter(is_due).map(|pending| pending.again(&whole)).collect()
    }

    /// Found blocks that the node has not decided on.
    pub fn len(&self) -> usize {
        self.pending.len()
    }
}

impl Pending {
    fn again(&mut self, whole: impl Fn(&Solution) -> Option<Vec<u8>>) -> Command {
        if let Some(command) = self.as_block(whole) {
            return command;
        }
        self.state = State::Asked;
        Command::SubmitSolution(self.solution.clone())
    }

    fn as_block(&mut self, whole: impl Fn(&Solution) -> Option<Vec<u8>>) -> Option<Command> {
        if self.block.is_none() {
            self.block = whole(&self.solution).map(Arc::new);
        }
        let block = self.block.clone()?;
        self.state = State::Asked;
        Some(Command::SubmitBlock { hash: self.solution.hash, block })
    }
}
