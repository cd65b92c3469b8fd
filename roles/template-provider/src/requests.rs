//! Transactions of templates: the client's requests, one answer at a time, and what is fetched beforehand for found
//! blocks.

use std::collections::VecDeque;

use const_sv2::error_code::request_transaction_data::{STALE_TEMPLATE_ID, TEMPLATE_ID_NOT_FOUND};
use template_source::{Command, TemplateId, Transactions};

use crate::work::Work;

/// Requests of one client that wait for their answers; further ones are refused with [`TOO_MANY_REQUESTS`].
pub const PENDING_REQUESTS: usize = 16;

/// Templates whose transactions are still to be fetched; the oldest make room.
const WANTED: usize = 4;

/// `error_code`: [`PENDING_REQUESTS`] wait already.
pub const TOO_MANY_REQUESTS: &str = "too-many-requests";

/// `error_code`: the transactions do not fit one message.
pub const TRANSACTIONS_TOO_LARGE: &str = "transactions-too-large";

/// `error_code`: the template is current, but the node does not answer.
pub const SOURCE_UNAVAILABLE: &str = "template-source-unavailable";

/// An answer: the transactions, or an `error_code`.
pub(crate) type Answer = Result<Transactions, &'static str>;

/// See the module's documentation. At most one fetch is under way, and at most one answer waits to be sent.
#[derive(Debug)]
pub(crate) struct Requests {
    /// Fetch transactions before anyone asks.
    ahead: bool,
    up: bool,
    asked: VecDeque<TemplateId>,
    /// The answer to the first of `asked`.
    answer: Option<Answer>,
    wanted: VecDeque<TemplateId>,
    fetching: Option<TemplateId>,
}

impl Requests {
    /// `ahead`: whether transactions are fetched for whole blocks.
    pub fn new(ahead: bool) -> Self {
        Self { ahead, up: false, asked: VecDeque::new(), answer: None, wanted: VecDeque::new(), fetching: None }
    }

    /// The client asks. An error is to be answered at once.
    pub fn ask(&mut self, id: TemplateId) -> Result<(), &'static str> {
        if self.asked.len() >= PENDING_REQUESTS {
            return Err(TOO_MANY_REQUESTS);
        }
        self.asked.push_back(id);
        Ok(())
    }

    /// Miners may solve this template from now on.
    pub fn want(&mut self, id: TemplateId) {
        if !self.ahead {
            return;
        }
        if self.wanted.len() >= WANTED {
            self.wanted.pop_front();
        }
        self.wanted.push_back(id);
    }

    /// What to ask the source for next.
    pub fn poll_fetch(&mut self, work: &Work) -> Option<Command> {
        self.answer_from(work);
        if self.fetching.is_some() || !self.up {
            return None;
        }
        let asked = self.asked.front().copied().filter(|_| self.answer.is_none());
        let wanted = || {
            while let Some(id) = self.wanted.pop_back() {
                if work.knows(id) && work.transactions(id).is_none() {
                    return Some(id);
                }
            }
            None
        };
        let id = asked.or_else(wanted)?;
        self.fetching = Some(id);
        Some(Command::RequestTransactions(id))
    }

    /// Answers the first request as far as that needs no source.
    fn answer_from(&mut self, work: &Work) {
        let Some(&id) = self.asked.front().filter(|_| self.answer.is_none()) else { return };
        self.answer = if !work.knows(id) {
            Some(Err(TEMPLATE_ID_NOT_FOUND))
        } else if let Some(transactions) = work.transactions(id) {
            Some(Ok(transactions))
        } else if !self.up {
            Some(Err(SOURCE_UNAVAILABLE))
        } else {
            None
        };
    }

    /// The source answered.
    pub fn fetched(&mut self, id: TemplateId, result: Result<Transactions, String>, work: &mut Work) {
        if self.fetching == Some(id) {
            self.fetching = None;
        }
        let answer = match result {
            Ok(transactions) => {
                if self.ahead {
                    work.keep(id, transactions.clone());
                }
                Ok(transactions)
            }
            Err(reason) => {
                tracing::debug!(template = id.0, "the source has no transactions: {reason}");
                Err(if work.is_stale(id) { STALE_TEMPLATE_ID } else { TEMPLATE_ID_NOT_FOUND })
            }
        };
        if self.asked.front() == Some(&id) && self.answer.is_none() {
            self.answer = Some(answer);
        }
    }

    /// The source is up or down. While it is down, requests that need it are refused.
    pub fn set_up(&mut self, up: bool) {
        self.up = up;
        self.fetching = None;
    }

    /// The next answer.
    pub fn take_answer(&mut self, work: &Work) -> Option<(TemplateId, Answer)> {
        self.answer_from(work);
        let answer = self.answer.take()?;
        self.asked.pop_front().map(|id| (id, answer))
    }
}
