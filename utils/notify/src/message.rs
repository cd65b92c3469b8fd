//! What is told, and what of it a receiver wants.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What has happened. The part of the name before the dot is the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Kind {
    /// A miner found a block; nodes have been asked.
    BlockFound,
    /// A node took a found block.
    BlockAccepted,
    /// A found block is so deep in the chain that it is final.
    BlockConfirmed,
    /// The best chain goes without a found block.
    BlockOrphaned,
    /// Every node refused a found block.
    BlockRejected,
    /// The chain went on before any node could be reached.
    BlockLost,
    /// A node has not answered for a while.
    NodeLost,
    /// It answers again.
    NodeBack,
    /// What must be recorded can not be.
    LedgerFailing,
    /// It can again.
    LedgerBack,
    /// Workers have delivered nothing for a while.
    WorkerOffline,
    /// They deliver again.
    WorkerBack,
    /// Somebody tries whether notifications arrive.
    Test,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::BlockFound,
        Self::BlockAccepted,
        Self::BlockConfirmed,
        Self::BlockOrphaned,
        Self::BlockRejected,
        Self::BlockLost,
        Self::NodeLost,
        Self::NodeBack,
        Self::LedgerFailing,
        Self::LedgerBack,
        Self::WorkerOffline,
        Self::WorkerBack,
        Self::Test,
    ];

    /// As receivers see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlockFound => "block.found",
            Self::BlockAccepted => "block.accepted",
            Self::BlockConfirmed => "block.confirmed",
            Self::BlockOrphaned => "block.orphaned",
            Self::BlockRejected => "block.rejected",
            Self::BlockLost => "block.lost",
            Self::NodeLost => "node.lost",
            Self::NodeBack => "node.back",
            Self::LedgerFailing => "ledger.failing",
            Self::LedgerBack => "ledger.back",
            Self::WorkerOffline => "worker.offline",
            Self::WorkerBack => "worker.back",
            Self::Test => "test",
        }
    }

    fn topic(self) -> &'static str {
        self.name().split('.').next().unwrap_or_default()
    }

    /// Whether it is worth delivering however late: news of blocks outlive a restart and make room last.
    pub fn is_kept(self) -> bool {
        self.topic() == "block"
    }
}

impl From<Kind> for &'static str {
    fn from(kind: Kind) -> Self {
        kind.name()
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| format!("no event is called {name:?}"))
    }
}

/// Events that a receiver wants: a topic (`block`) or one event (`block.found`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Selector(Vec<Kind>);

impl Selector {
    /// Whether `kind` is meant.
    pub fn selects(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }
}

impl TryFrom<String> for Selector {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_meant = |kind: &Kind| *kind != Kind::Test && (kind.topic() == name || kind.name() == name);
        let kinds: Vec<_> = Kind::ALL.into_iter().filter(is_meant).collect();
        if kinds.is_empty() {
            let known: Vec<_> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Test).map(Kind::name).collect();
            return Err(format!(
                "no event is called {name:?}; expected block, node, ledger or worker, or one of {}",
                known.join(", ")
            ));
        }
        Ok(Self(kinds))
    }
}

/// One notification, the same for all receivers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// 32 hexadecimal digits, the same each time that it is sent.
    pub id: String,
    /// When it happened, in unix milliseconds.
    pub time: u64,
    /// What happened.
    pub event: Kind,
    /// A sentence for people.
    pub text: String,
    /// What there is to know, for programs.
    pub data: Map<String, Value>,
}

/// Who tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name of the pool.
    pub pool: String,
    /// The chain, as in the configuration.
    pub network: String,
}

/// A message as a receiver gets it.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    time: u64,
    event: Kind,
    pool: &'a str,
    network: &'a str,
    text: &'a str,
    dropped: u64,
    data: &'a Map<String, Value>,
}

impl Message {
    /// The JSON that a receiver gets; `dropped` notifications before this one were lost to it.
    pub fn body(&self, origin: &Origin, dropped: u64) -> Vec<u8> {
        let Self { id, time, event, text, data } = self;
        let Origin { pool, network } = origin;
        let body = Body { id, time: *time, event: *event, pool, network, text, dropped, data };
        // Text and numbers: there is nothing that JSON can not hold.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::try_from(kind.name().to_owned()), Ok(kind));
        }
        assert!(Kind::try_from("block".to_owned()).is_err());
    }

    #[test]
    fn a_topic_is_all_of_its_events() {
        let selects = |name: &str| {
            let selector = Selector::try_from(name.to_owned()).unwrap();
            Kind::ALL.into_iter().filter(|kind| selector.selects(*kind)).map(Kind::name).collect::<Vec<_>>()
        };
        assert_eq!(selects("block.found"), ["block.found"]);
        assert_eq!(selects("worker"), ["worker.offline", "worker.back"]);
        assert_eq!(selects("block").len(), 6);
        for unknown in ["blok", "", "test", "block.", "block.mined"] {
            let error = Selector::try_from(unknown.to_owned()).unwrap_err();
            assert!(error.contains("block.found") && error.contains(unknown), "{error}");
        }
    }

    #[test]
    fn only_blocks_are_kept() {
        assert!(Kind::ALL.into_iter().all(|kind| kind.is_kept() == kind.name().starts_with("block.")));
    }
}
