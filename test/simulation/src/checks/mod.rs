//! What must hold in every world, one file for each rule.
//!
//! Checkers see what happens at the pool's door, frames decoded from the very bytes that go over the wire, and compare it with the
//! [`View`]: a second, independent account of what the pool told each channel, built on the `bitcoin` crate alone.

mod blocks;
mod bounds;
mod credit;
mod drain;
mod durable;
mod first_job;
mod honest;
mod job_ids;
mod newest;
mod payee;
mod prev_hash;
mod requests;
mod search_space;
mod template_distribution;
mod view;

use std::time::Duration;

use bitcoin::BlockHash;
use mining_sv2::Mining;
use pool::hub::Load;
use template_distribution_sv2::TemplateDistribution;

use crate::chain::Verdict;
pub use view::View;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The pool ended it, and why.
    ByPool(String),
    /// The peer went away.
    ByPeer,
    /// The pool's process ended, of itself or not.
    Crash,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Observation<'a> {
    /// A connection begins.
    Connected {
        /// Its number in this world.
        conn: u64,
        /// Whether its peer keeps to the protocol.
        honest: bool,
    },
    /// A session is about to get a snapshot.
    Noticed {
        /// The connection.
        conn: u64,
        /// Counts the snapshots of the process.
        number: u64,
        /// Whether there is anything to mine on in it.
        has_job: bool,
    },
    /// A session is about to get a message.
    ToPool {
        /// The connection.
        conn: u64,
        /// The message.
        message: &'a Mining<'a>,
    },
    /// A session has handled the message.
    Handled {
        /// The connection.
        conn: u64,
        /// The message.
        message: &'a Mining<'a>,
    },
    /// A session sent a message; `None` is one of another protocol.
    FromPool {
        /// The connection.
        conn: u64,
        /// The message.
        message: Option<&'a Mining<'a>>,
    },
    /// A session is through with what was read.
    InputDone {
        /// The connection.
        conn: u64,
    },
    /// A connection ended.
    Ended {
        /// The connection.
        conn: u64,
        /// How.
        end: End,
    },
    /// A client could not follow what the pool told it.
    ClientBroken {
        /// The connection.
        conn: u64,
        /// What it says.
        reason: String,
    },
    /// A session reported a block.
    Candidate {
        /// The block.
        hash: BlockHash,
    },
    /// A block was handed to a node.
    Handed {
        /// The block.
        hash: BlockHash,
        /// What the node thinks of it.
        verdict: Verdict,
    },
    /// A found block's file was written.
    Persisted {
        /// The block.
        hash: BlockHash,
        /// With its bytes.
        raw: bool,
        /// It is no longer open what nodes think of it.
        is_decided: bool,
    },
    /// A share is in the ledger, on disk.
    Recorded {
        /// The share.
        hash: BlockHash,
    },
    /// A node stops, and forgets its templates.
    NodeStopped,
    /// The pool's process is gone, with all that it had in memory.
    Crashed,
    /// The pool's process has ended in order.
    Stopped,
    /// The pool sent a message to a Template Provider.
    ToProvider {
        /// The connection between the two.
        client: u64,
        /// The message.
        message: &'a TemplateDistribution<'a>,
    },
    /// A Template Provider sent a message.
    FromProvider {
        /// The connection.
        client: u64,
        /// The message.
        message: &'a TemplateDistribution<'a>,
    },
    /// A connection to a Template Provider is gone, and with it what its templates were.
    ProviderGone {
        /// The connection.
        client: u64,
    },
    /// One end does not put up with what the other does.
    ProviderAtOdds {
        /// The connection.
        client: u64,
        /// What it says.
        reason: String,
    },
    /// What the hub keeps after a step.
    Hub {
        /// How much of each.
        load: Load,
    },
    /// Found blocks of one client that a Template Provider still delivers.
    Pending {
        /// How many.
        count: usize,
    },
    /// A source told of a block to build on.
    Tip {
        /// The block.
        prev_hash: BlockHash,
    },
    /// What waits for a peer after a step.
    Unsent {
        /// The connection.
        conn: u64,
        /// Bytes.
        bytes: usize,
        /// What the session allows.
        limit: usize,
    },
    /// What waits for a source after a step.
    Commands {
        /// Commands.
        count: usize,
    },
    /// The world is over, and everything has had time to be done.
    Over,
}

/// A rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the checker.
    pub check: &'static str,
    /// What happened.
    pub what: String,
}

/// What checkers need to know of a world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Some node takes whole blocks of the pool.
    pub raw_path: bool,
    /// Shares are to be in the ledger before they are acknowledged.
    pub durable: bool,
}

type Outcome = Result<(), String>;

/// One rule.
trait Check {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Looks at what happens; `view` is the state before it.
    fn observe(&mut self, now: Duration, view: &View, observation: &Observation<'_>) -> Outcome;
}

/// All rules, and the state that they are checked against.
pub struct Checks {
    view: View,
    checks: Vec<Box<dyn Check>>,
    /// Shares that were acknowledged, for the counters.
    pub acknowledged: u64,
}

impl Checks {
    /// For a new world.
    pub fn new(facts: Facts) -> Self {
        let checks: Vec<Box<dyn Check>> = vec![
            Box::new(prev_hash::PrevHash),
            Box::new(job_ids::JobIds),
            Box::new(search_space::SearchSpace::default()),
            Box::new(requests::Requests::default()),
            Box::new(first_job::FirstJob::default()),
            Box::new(credit::Credit::new(facts)),
            Box::new(durable::Durable::new(facts)),
            Box::new(blocks::Blocks::new(facts)),
            Box::new(honest::Honest::default()),
            Box::new(bounds::Bounds),
            Box::new(newest::Newest::default()),
            Box::new(payee::Payee::default()),
            Box::new(template_distribution::TemplateDistributions::default()),
            Box::new(drain::Drain::default()),
        ];
        Self { view: View::default(), checks, acknowledged: 0 }
    }

    /// Names of the checkers.
    pub fn names(&self) -> Vec<&'static str> {
        self.checks.iter().map(|check| check.name()).collect()
    }

    /// Puts what happened before all checkers, then into the view.
    pub fn observe(&mut self, now: Duration, observation: &Observation<'_>) -> Result<(), Violation> {
        self.view.prepare(now, observation);
        for check in &mut self.checks {
            let name = check.name();
            check.observe(now, &self.view, observation).map_err(|what| Violation { check: name, what })?;
        }
        if let Observation::FromPool { message: Some(Mining::SubmitSharesSuccess(success)), .. } = observation {
            self.acknowledged += u64::from(success.new_submits_accepted_count);
        }
        self.view.update(now, observation);
        Ok(())
    }
}
