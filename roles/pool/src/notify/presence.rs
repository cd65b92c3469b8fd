//! Who has fallen silent, and who is back, from when each worker delivered last. Sans-io.

use std::{collections::HashMap, hash::Hash, time::Duration};

use serde_json::{Value, json};
use share_ledger::{Timestamp, WorkerId};
use stratum_notify::Kind;

use super::News;

/// A worker that has been offline for this long is forgotten: that it comes back is no news then.
pub const FORGET_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// Workers that one notification names; it counts the others.
pub const MAX_NAMED: usize = 50;

/// Workers that the text for people names.
const MAX_IN_TEXT: usize = 3;

#[derive(Debug)]
struct Seen {
    last: Timestamp,
    is_offline: bool,
}

/// All workers that have delivered lately, by some id. Bounded by the ledger's bound of workers.
#[derive(Debug)]
pub struct Presence<I = WorkerId> {
    offline_after: Duration,
    /// Silence counts from then on: before, nobody could deliver, or nobody would know.
    since: Duration,
    workers: HashMap<I, Seen>,
    /// Newest share that was seen: what to ask for next is a little older.
    newest: Timestamp,
}

/// What has changed between two looks.
#[derive(Debug, PartialEq, Eq)]
pub struct Changes<I = WorkerId> {
    /// Workers that have fallen silent, and their last shares.
    pub offline: Vec<(I, Timestamp)>,
    /// Workers that deliver again.
    pub back: Vec<(I, Timestamp)>,
}

impl<I: Copy + Ord + Hash> Presence<I> {
    /// A worker is offline when it has delivered nothing for `offline_after`.
    pub fn new(now: Duration, offline_after: Duration) -> Self {
        Self { offline_after, since: now, workers: HashMap::new(), newest: Timestamp(0) }
    }

    /// Shares up to now are not known, or could not be delivered: silence counts from now on.
    pub fn restart(&mut self, now: Duration) {
        self.since = now;
    }

    /// The time from which on shares have to be known for the next [`update`](Self::update).
    pub fn from(&self, now: Duration) -> Timestamp {
        let window = millis(now).saturating_sub(millis(self.offline_after));
        // Shares become known a little later than others that are newer.
        let overlap = millis(Duration::from_secs(60));
        Timestamp(if self.newest.0 == 0 { window } else { self.newest.0.saturating_sub(overlap).max(window) })
    }

    /// Takes the workers that have delivered since [`from`](Self::from), with their last shares.
    pub fn update(&mut self, now: Duration, delivered: impl IntoIterator<Item = (I, Timestamp)>) -> Changes<I> {
        let mut changes = Changes { offline: Vec::new(), back: Vec::new() };
        for (id, last) in delivered {
            self.newest = self.newest.max(last);
            let seen = self.workers.entry(id).or_insert(Seen { last, is_offline: false });
            if last > seen.last {
                seen.last = last;
                if std::mem::take(&mut seen.is_offline) {
                    changes.back.push((id, last));
                }
            }
        }
        let (now, since) = (millis(now), millis(self.since));
        let (patience, forget) = (millis(self.offline_after), millis(FORGET_AFTER));
        self.workers.retain(|id, seen| {
            let silent = now.saturating_sub(seen.last.0.max(since));
            if silent >= patience && !std::mem::replace(&mut seen.is_offline, true) {
                changes.offline.push((*id, seen.last));
            }
            now.saturating_sub(seen.last.0) < forget
        });
        changes.offline.sort_unstable();
        changes
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Account, worker and last share of those that changed, as one notification; none for nobody.
pub(super) fn news(event: Kind, minutes: u64, workers: &[(String, String, Timestamp)]) -> Option<News> {
    let label = |(account, worker, _): &(String, String, Timestamp)| match worker.as_str() {
        "" => account.clone(),
        worker => format!("{account}.{worker}"),
    };
    let named: Vec<_> = workers.iter().take(MAX_IN_TEXT).map(label).collect();
    let rest = match workers.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = named.join(", ");
    let text = match (event, workers) {
        (_, []) => return None,
        (Kind::WorkerBack, [_]) => format!("Worker {named} delivers shares again."),
        (Kind::WorkerBack, _) => format!("{} workers deliver shares again: {named}{rest}.", workers.len()),
        (_, [_]) => format!("Worker {named} is offline: no share for {minutes} minutes."),
        _ => format!("{} workers are offline, without a share for {minutes} minutes: {named}{rest}.", workers.len()),
    };
    let list: Vec<Value> = workers
        .iter()
        .take(MAX_NAMED)
        .map(|(account, worker, last)| json!({ "account": account, "worker": worker, "last_share_at": last.0 }))
        .collect();
    Some(News::new(event, text, json!({ "count": workers.len(), "workers": list })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const NONE: Changes<u32> = Changes { offline: Vec::new(), back: Vec::new() };
    const PATIENCE: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Duration {
        NOW + Duration::from_secs(seconds)
    }

    fn share(id: u32, seconds: u64) -> (u32, Timestamp) {
        (id, Timestamp(millis(at(seconds))))
    }

    fn offline(changes: &Changes<u32>) -> Vec<u32> {
        assert_eq!(changes.back, [], "{changes:?}");
        changes.offline.iter().map(|(id, _)| *id).collect()
    }

    #[test]
    fn who_falls_silent_is_told_once_and_so_is_who_comes_back() {
        let mut presence = Presence::new(NOW, PATIENCE);
        assert_eq!(presence.update(at(10), [share(1, 5), share(2, 9)]), NONE);
        assert_eq!(presence.update(at(604), [share(2, 600)]), NONE);
        assert_eq!(offline(&presence.update(at(605), [])), [1]);
        assert_eq!(presence.update(at(700), [share(1, 5)]), NONE, "its old share again");
        let back = presence.update(at(800), [share(1, 799), share(2, 790)]);
        assert_eq!(back, Changes { offline: vec![], back: vec![share(1, 799)] });
        assert_eq!(offline(&presence.update(at(1_399), [])), [1, 2]);
        assert_eq!(presence.update(at(2_000), []), NONE);
    }

    #[test]
    fn after_a_restart_everybody_has_all_of_the_time() {
        let mut presence = Presence::new(NOW, PATIENCE);
        let before = (1, Timestamp(millis(NOW) - 500_000));
        assert_eq!(presence.from(NOW).0, millis(NOW - PATIENCE), "who worked lately counts");
        assert_eq!(presence.update(at(1), [before]), NONE);
        assert_eq!(presence.update(at(599), []), NONE);
        presence.restart(at(300));
        assert_eq!(presence.update(at(899), []), NONE);
        assert_eq!(offline(&presence.update(at(900), [])), [1]);
    }

    #[test]
    fn what_has_been_seen_is_not_asked_for_again() {
        let mut presence = Presence::new(NOW, PATIENCE);
        presence.update(at(100), [share(1, 100)]);
        assert_eq!(presence.from(at(110)).0, millis(at(40)), "but for a minute");
        assert_eq!(presence.from(at(3_600)).0, millis(at(3_000)));
    }

    #[test]
    fn who_is_gone_for_long_is_forgotten() {
        let mut presence = Presence::new(NOW, PATIENCE);
        presence.update(at(0), [share(1, 0)]);
        assert_eq!(offline(&presence.update(at(600), [])), [1]);
        assert_eq!(presence.update(NOW + FORGET_AFTER, []), NONE);
        assert!(presence.workers.is_empty());
        let late = (1, Timestamp(millis(NOW + FORGET_AFTER)));
        assert_eq!(presence.update(NOW + FORGET_AFTER, [late]), NONE);
    }

    #[test]
    fn many_are_one_notification() {
        let workers = |count: u32| {
            (0..count).map(|n| ("alice".to_owned(), format!("rig{n}"), Timestamp(n.into()))).collect::<Vec<_>>()
        };
        assert_eq!(news(Kind::WorkerOffline, 10, &[]), None);
        let one = news(Kind::WorkerOffline, 10, &workers(1)).unwrap();
        assert_eq!(one.text, "Worker alice.rig0 is offline: no share for 10 minutes.");
        assert_eq!(one.data["workers"][0], json!({"account": "alice", "worker": "rig0", "last_share_at": 0}));
        let three = news(Kind::WorkerBack, 10, &workers(3)).unwrap();
        assert_eq!(three.text, "3 workers deliver shares again: alice.rig0, alice.rig1, alice.rig2.");
        let many = news(Kind::WorkerOffline, 10, &workers(60)).unwrap();
        assert!(many.text.ends_with("alice.rig2 and 57 more."), "{}", many.text);
        assert_eq!((&many.data["count"], many.data["workers"].as_array().unwrap().len()), (&60.into(), MAX_NAMED));
        let nameless = news(Kind::WorkerBack, 10, &[("bob".into(), String::new(), Timestamp(0))]).unwrap();
        assert_eq!(nameless.text, "Worker bob delivers shares again.");
    }
}
