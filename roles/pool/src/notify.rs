//! What of all that happens operators are told (`docs/operate/notifications.md`).
//!
//! [`Watch`] turns the pool's events into news, [`presence`] what workers deliver; both are sans-io. `stratum_notify` delivers.

mod driver;
pub mod presence;

use std::time::Duration;

use serde_json::{Map, Value, json};
use stratum_notify::{Kind, Origin};

pub(crate) use self::driver::Notifications;
use crate::{
    blocks::{BlockState, FoundBlock},
    config::PoolConfig,
    hub::PoolEvent,
};

/// A node is lost when it has not answered for this long; a shorter absence is not worth waking somebody.
pub const NODE_PATIENCE: Duration = Duration::from_secs(60);

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// What happened.
    pub event: Kind,
    /// For people.
    pub text: String,
    /// For programs.
    pub data: Map<String, Value>,
}

impl News {
    pub(crate) fn new(event: Kind, text: String, data: Value) -> Self {
        let data = if let Value::Object(data) = data { data } else { Map::new() };
        Self { event, text, data }
    }
}

/// How a pool calls itself to receivers.
pub(crate) fn origin(config: &PoolConfig) -> Origin {
    let pool = config.notify.name.clone().unwrap_or_else(|| config.coinbase_tag.clone());
    Origin { pool, network: config.network.to_string() }
}

#[derive(Debug)]
struct Node {
    name: String,
    /// Since when it has not answered.
    down: Option<Duration>,
    reason: String,
    told: bool,
}

/// Remembers what was told, so that nothing is told twice, and no end without a beginning.
#[derive(Debug)]
pub struct Watch {
    nodes: Vec<Node>,
    log_failing: bool,
    database_failing: bool,
}

impl Watch {
    /// For nodes with these names, of which none has answered yet.
    pub fn new(now: Duration, nodes: Vec<String>) -> Self {
        let node = |name| Node { name, down: Some(now), reason: "not reached yet".to_owned(), told: false };
        Self { nodes: nodes.into_iter().map(node).collect(), log_failing: false, database_failing: false }
    }

    /// Whether the ledger tells who delivers shares.
    pub fn knows_shares(&self) -> bool {
        !self.log_failing && !self.database_failing
    }

    /// Something happened: what is to be told of it.
    pub fn handle(&mut self, now: Duration, event: &PoolEvent) -> Option<News> {
        match event {
            PoolEvent::BlockFound(block) => Some(found(block)),
            PoolEvent::BlockDecided(block, state) => decided(block, state),
            PoolEvent::SourceDown { source, reason } => {
                let node = self.nodes.get_mut(*source)?;
                node.down.get_or_insert(now);
                reason.clone_into(&mut node.reason);
                None
            }
            PoolEvent::SourceUp { source, description } => {
                let node = self.nodes.get_mut(*source)?;
                let down = node.down.take()?;
                std::mem::take(&mut node.told).then(|| {
                    let seconds = now.saturating_sub(down).as_secs();
                    let text = format!("Node {} answers again after {seconds} s: {description}.", node.name);
                    News::new(Kind::NodeBack, text, json!({ "node": node.name, "down_seconds": seconds }))
                })
            }
            PoolEvent::Ledger { failing } => {
                const BAD: &str = "The share ledger can not be written; miners go on, and their shares wait for their acknowledgement";
                ledger(&mut self.log_failing, failing.as_deref(), "log", BAD, "The share ledger is written again.")
            }
            PoolEvent::LedgerIndex { failing } => {
                const BAD: &str = "The ledger's database does not follow; no share is lost, but statistics stand still";
                let good = "The ledger's database follows again.";
                ledger(&mut self.database_failing, failing.as_deref(), "database", BAD, good)
            }
            _ => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to tell.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.nodes.iter().filter(|node| !node.told).filter_map(|node| Some(node.down? + NODE_PATIENCE)).min()
    }

    /// Which nodes are lost by now.
    pub fn handle_timeout(&mut self, now: Duration) -> Vec<News> {
        let left = self.nodes.iter().filter(|node| node.down.is_none()).count();
        let mut news = Vec::new();
        for node in &mut self.nodes {
            let Some(seconds) = node.down.map(|down| now.saturating_sub(down)).filter(|time| *time >= NODE_PATIENCE)
            else {
                continue;
            };
            if std::mem::replace(&mut node.told, true) {
                continue;
            }
            let Node { name, reason, .. } = node;
            let rest = match left {
                0 => "No node is left: miners keep their last jobs.".to_owned(),
                _ => format!("{left} of the others answer."),
            };
            let text = format!("Node {name} has not answered for {} s: {reason}. {rest}", seconds.as_secs());
            let data = json!({ "node": name, "reason": reason, "nodes_left": left });
            news.push(News::new(Kind::NodeLost, text, data));
        }
        news
    }
}

fn ledger(was_failing: &mut bool, failing: Option<&str>, part: &str, bad: &str, good: &str) -> Option<News> {
    let before = std::mem::replace(was_failing, failing.is_some());
    match failing {
        Some(reason) if !before => {
            let data = json!({ "part": part, "reason": reason });
            Some(News::new(Kind::LedgerFailing, format!("{bad}: {reason}."), data))
        }
        None if before => Some(News::new(Kind::LedgerBack, good.to_owned(), json!({ "part": part }))),
        _ => None,
    }
}

fn block(block: &FoundBlock) -> Value {
    json!({
        "height": block.height,
        "hash": block.hash.to_string(),
        "finder": block.finder,
        "found_at": block.found_at.saturating_mul(1000),
    })
}

fn found(found: &FoundBlock) -> News {
    let FoundBlock { height, hash, finder, .. } = found;
    News::new(Kind::BlockFound, format!("{finder} found block {height}, {hash}."), block(found))
}

fn decided(decided: &FoundBlock, state: &BlockState) -> Option<News> {
    let FoundBlock { height, hash, finder, .. } = decided;
    let mut data = block(decided);
    let (event, what) = match state {
        BlockState::Open => return None,
        BlockState::Accepted => (Kind::BlockAccepted, "was accepted"),
        BlockState::Confirmed => (Kind::BlockConfirmed, "is final"),
        BlockState::Orphaned => (Kind::BlockOrphaned, "is no longer in the best chain"),
        BlockState::Rejected(reason) => {
            data["reason"] = reason.as_str().into();
            (Kind::BlockRejected, "was rejected by every node")
        }
        BlockState::Lost => (Kind::BlockLost, "is lost: the chain went on before any node could be reached"),
    };
    Some(News::new(event, format!("Block {height} of {finder} {what}; {hash}."), data))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{NOW, hash};

    fn watch() -> Watch {
        Watch::new(NOW, vec!["one".into(), "two".into()])
    }

    fn down(source: usize) -> PoolEvent {
        PoolEvent::SourceDown { source, reason: "refused".into() }
    }

    fn up(source: usize) -> PoolEvent {
        PoolEvent::SourceUp { source, description: "a node".into() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_that_comes_back_soon_is_not_told() {
        let mut watch = watch();
        for source in [0, 1] {
            assert_eq!(watch.handle(NOW, &up(source)), None, "the start is no news");
        }
        assert_eq!(watch.poll_timeout(), None);
        assert_eq!(watch.handle(NOW, &down(0)), None);
        assert_eq!(watch.handle(NOW + seconds(30), &down(0)), None, "each attempt that fails is told by the hub");
        assert_eq!(watch.poll_timeout(), Some(NOW + NODE_PATIENCE), "from the first on");
        assert_eq!(watch.handle_timeout(NOW + NODE_PATIENCE - Duration::from_nanos(1)), []);
        assert_eq!(watch.handle(NOW + NODE_PATIENCE, &up(0)), None);
        assert_eq!(watch.handle_timeout(NOW + NODE_PATIENCE), []);
    }

    #[test]
    fn a_lost_node_is_told_once_and_so_is_its_return() {
        let mut watch = watch();
        assert_eq!(watch.handle(NOW, &up(1)), None);
        let later = NOW + NODE_PATIENCE;
        let [news] = watch.handle_timeout(later).try_into().unwrap();
        assert_eq!(news.event, Kind::NodeLost, "it has never answered since the start");
        assert!(news.text.contains("one") && news.text.contains("1 of the others"), "{news:?}");
        assert_eq!(watch.handle(later, &down(0)), None);
        assert_eq!((watch.handle_timeout(later + seconds(600)), watch.poll_timeout()), (vec![], None));
        watch.handle(later, &down(1));
        let [news] = watch.handle_timeout(later + NODE_PATIENCE).try_into().unwrap();
        assert!(news.text.contains("two") && news.text.contains("refused") && news.text.contains("No node is left"));
        let back = watch.handle(later + seconds(100), &up(1)).unwrap();
        assert_eq!((back.event, &back.data["down_seconds"]), (Kind::NodeBack, &100.into()));
        assert_eq!(watch.handle(later + seconds(100), &up(1)), None);
        assert_eq!(watch.handle(later, &down(7)), None, "no such node");
    }

    #[test]
    fn the_ledger_is_told_when_it_changes() {
        let mut watch = watch();
        let event = |failing: Option<&str>| PoolEvent::Ledger { failing: failing.map(str::to_owned) };
        assert_eq!(watch.handle(NOW, &event(None)), None);
        let news = watch.handle(NOW, &event(Some("disk full"))).unwrap();
        assert_eq!((news.event, &news.data["reason"]), (Kind::LedgerFailing, &"disk full".into()));
        assert!(!watch.knows_shares());
        assert_eq!(watch.handle(NOW, &event(Some("still full"))), None);
        let index = PoolEvent::LedgerIndex { failing: Some("locked".into()) };
        assert_eq!(watch.handle(NOW, &index).unwrap().data["part"], "database");
        assert_eq!(watch.handle(NOW, &event(None)).unwrap().event, Kind::LedgerBack);
        assert!(!watch.knows_shares(), "the database is still late");
        assert!(watch.handle(NOW, &PoolEvent::LedgerIndex { failing: None }).is_some());
        assert!(watch.knows_shares());
    }

    #[test]
    fn the_life_of_a_block_is_told() {
        let block = FoundBlock {
            hash: hash(7),
            height: 101,
            prev_hash: hash(6),
            finder: "alice.rig".into(),
            found_at: 1_800_000_000,
            origin: None,
            raw: None,
            accepted_by: BTreeSet::new(),
        };
        let mut watch = watch();
        let found = watch.handle(NOW, &PoolEvent::BlockFound(block.clone())).unwrap();
        assert_eq!(found.event, Kind::BlockFound);
        assert_eq!(found.data["hash"], hash(7).to_string());
        assert_eq!((&found.data["height"], &found.data["finder"]), (&101.into(), &"alice.rig".into()));
        assert_eq!(found.data["found_at"], 1_800_000_000_000_u64);
        for (state, event) in [
            (BlockState::Accepted, Kind::BlockAccepted),
            (BlockState::Confirmed, Kind::BlockConfirmed),
            (BlockState::Orphaned, Kind::BlockOrphaned),
            (BlockState::Rejected("high-hash".into()), Kind::BlockRejected),
            (BlockState::Lost, Kind::BlockLost),
        ] {
            let news = watch.handle(NOW, &PoolEvent::BlockDecided(block.clone(), state)).unwrap();
            assert_eq!(news.event, event);
            assert!(news.text.contains("alice.rig") && news.text.contains("101"), "{news:?}");
        }
        assert_eq!(watch.handle(NOW, &PoolEvent::BlockDecided(block, BlockState::Open)), None);
    }
}
