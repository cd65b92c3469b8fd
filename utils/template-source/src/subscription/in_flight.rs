//! What a node was asked about blocks and has not answered yet.

use std::{collections::HashMap, time::Duration};

use bitcoin::BlockHash;

use super::port::Port;
use crate::{Confirmations, Event, SubmitOutcome, SubmitPath};

/// Submissions that may wait for the node; more are answered with an error. Each block holds one or two, so an honest user has a few.
const MAX_SUBMISSIONS: usize = 64;

/// Questions about blocks that may wait for the node; more are answered with an error.
const MAX_QUESTIONS: usize = 16;

/// How long submissions may go on when the user has gone.
pub(crate) const CLOSING_GRACE: Duration = Duration::from_secs(5);

/// Every submission that was begun is answered, by the node or when it is lost.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    submissions: HashMap<u64, (BlockHash, SubmitPath)>,
    last: u64,
    questions: usize,
}

impl InFlight {
    /// A number for a submission that is about to begin; `None` when it was answered because too many wait.
    pub(crate) fn begin(&mut self, port: &mut Port, hash: BlockHash, path: SubmitPath) -> Option<u64> {
        if self.submissions.len() >= MAX_SUBMISSIONS {
            let why = format!("{MAX_SUBMISSIONS} submissions are waiting for the node already");
            port.emit(Event::Submitted { hash, path, outcome: SubmitOutcome::Failed(why) });
            return None;
        }
        self.last += 1;
        self.submissions.insert(self.last, (hash, path));
        Some(self.last)
    }

    /// The node has answered a submission.
    pub(crate) fn submitted(&mut self, port: &mut Port, number: u64, outcome: SubmitOutcome) {
        if let Some((hash, path)) = self.submissions.remove(&number) {
            port.emit(Event::Submitted { hash, path, outcome });
        }
    }

    /// A submission was answered, and nobody is there to be told.
    pub(crate) fn forget(&mut self, number: u64) {
        self.submissions.remove(&number);
    }

    /// Whether every submission has been answered.
    pub(crate) fn is_delivered(&self) -> bool {
        self.submissions.is_empty()
    }

    /// The node is gone: what was handed in may or may not have arrived.
    pub(crate) fn abandon(&mut self, port: &mut Port, error: impl std::fmt::Display) {
        for (hash, path) in std::mem::take(&mut self.submissions).into_values() {
            let outcome = SubmitOutcome::Failed(format!("the node was lost before it answered: {error}"));
            port.emit(Event::Submitted { hash, path, outcome });
        }
    }

    /// Whether the node may be asked how deep a block is; if not, that was answered because too many questions wait.
    pub(crate) fn may_ask(&mut self, port: &mut Port, hash: BlockHash) -> bool {
        let free = self.questions < MAX_QUESTIONS;
        if free {
            self.questions += 1;
        } else {
            let result = Err(format!("{MAX_QUESTIONS} questions are waiting for the node already"));
            port.emit(Event::Confirmations { hash, result });
        }
        free
    }

    /// The node has answered a question.
    pub(crate) fn answered(&mut self, port: &mut Port, hash: BlockHash, result: Result<Confirmations, String>) {
        self.questions -= 1;
        port.emit(Event::Confirmations { hash, result });
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use tokio::sync::mpsc;

    use super::*;
    use crate::Constraints;

    fn port() -> (Port, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(2 * MAX_SUBMISSIONS);
        let (_, commands) = mpsc::channel(1);
        (Port::new(events, commands, Constraints::default()), received)
    }

    fn emitted(received: &mut mpsc::Receiver<Event>) -> usize {
        std::iter::from_fn(|| received.try_recv().ok()).count()
    }

    #[test]
    fn submissions_are_bounded_and_each_is_answered_once() {
        let (mut port, mut received) = port();
        let mut flight = InFlight::default();
        let mut begin = |flight: &mut InFlight| flight.begin(&mut port, BlockHash::all_zeros(), SubmitPath::RawBlock);
        let numbers: Vec<_> = (0..MAX_SUBMISSIONS).map(|_| begin(&mut flight).unwrap()).collect();
        assert_eq!(begin(&mut flight), None, "one more is answered at once");
        assert_eq!(emitted(&mut received), 1);
        flight.submitted(&mut port, numbers[0], SubmitOutcome::Accepted);
        flight.submitted(&mut port, numbers[0], SubmitOutcome::Accepted);
        flight.forget(numbers[1]);
        assert_eq!(emitted(&mut received), 1);
        flight.abandon(&mut port, "gone");
        assert_eq!(emitted(&mut received), MAX_SUBMISSIONS - 2);
        assert!(flight.is_delivered());
    }

    #[test]
    fn questions_are_bounded_and_room_comes_back() {
        let (mut port, mut received) = port();
        let (mut flight, hash) = (InFlight::default(), BlockHash::all_zeros());
        assert!((0..MAX_QUESTIONS).all(|_| flight.may_ask(&mut port, hash)));
        assert!(!flight.may_ask(&mut port, hash));
        flight.answered(&mut port, hash, Err("no".into()));
        assert_eq!(emitted(&mut received), 2);
        assert!(flight.may_ask(&mut port, hash));
    }
}
