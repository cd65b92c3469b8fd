//! Names of accounts and workers, and their ids.

use std::collections::HashMap;

use crate::{
    config::{MAX_WORKERS, MAX_WORKERS_PER_ACCOUNT},
    ledger::TooManyAccounts,
    log::WorkerEntry,
    record::{AccountId, MAX_NAME_BYTES, Timestamp, WorkerId, cut},
};

/// All workers that ever had an accepted share.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    accounts: HashMap<Box<str>, Account>,
    workers: usize,
    /// The largest ids in use.
    last_account: u32,
    last_worker: u32,
}

#[derive(Debug)]
struct Account {
    id: AccountId,
    workers: HashMap<Box<str>, WorkerId>,
}

impl Registry {
    /// Takes up what the log or the database knows.
    pub(crate) fn insert(&mut self, entry: &WorkerEntry) {
        let account = self
            .accounts
            .entry(entry.account.as_str().into())
            .or_insert_with(|| Account { id: entry.account_id, workers: HashMap::new() });
        if account.workers.insert(entry.worker.as_str().into(), entry.id).is_none() {
            self.workers += 1;
        }
        self.last_account = self.last_account.max(entry.account_id.0);
        self.last_worker = self.last_worker.max(entry.id.0);
    }

    /// Keeps an id from being given out.
    pub(crate) fn reserve(&mut self, id: WorkerId) {
        self.last_worker = self.last_worker.max(id.0);
    }

    /// The id of a worker, and the entry for the log when it is new.
    pub(crate) fn worker(
        &mut self,
        account: &str,
        worker: &str,
        now: Timestamp,
    ) -> Result<(WorkerId, Option<WorkerEntry>), TooManyAccounts> {
        let (account, mut worker) = (cut(account, MAX_NAME_BYTES), cut(worker, MAX_NAME_BYTES));
        let known = self.accounts.get(account);
        if let Some(id) = known.and_then(|known| known.workers.get(worker)) {
            return Ok((*id, None));
        }
        let full = self.workers >= MAX_WORKERS;
        match known {
            None if full => return Err(TooManyAccounts),
            None => {}
            Some(known) if full || known.workers.len() >= MAX_WORKERS_PER_ACCOUNT => {
                worker = "";
                if let Some(id) = known.workers.get(worker) {
                    return Ok((*id, None));
                }
            }
            Some(_) => {}
        }
        // Ids are never given out twice. There are fewer names than ids, unless a log says otherwise.
        let next_account = self.last_account.checked_add(1).map(AccountId);
        let account_id = known.map(|known| known.id).or(next_account).ok_or(TooManyAccounts)?;
        let entry = WorkerEntry {
            at: now,
            id: self.last_worker.checked_add(1).map(WorkerId).ok_or(TooManyAccounts)?,
            account_id,
            account: account.to_owned(),
            worker: worker.to_owned(),
        };
        self.insert(&entry);
        Ok((entry.id, Some(entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(registry: &mut Registry, account: &str, worker: &str) -> (u32, bool) {
        let (id, entry) = registry.worker(account, worker, Timestamp(0)).unwrap();
        (id.0, entry.is_some())
    }

    #[test]
    fn names_keep_their_ids() {
        let mut registry = Registry::default();
        assert_eq!(id(&mut registry, "alice", "rig1"), (1, true));
        assert_eq!(id(&mut registry, "alice", "rig1"), (1, false));
        assert_eq!(id(&mut registry, "bob", "rig1"), (2, true));
        let mut again = Registry::default();
        again.insert(&registry.worker("carol", "", Timestamp(0)).unwrap().1.unwrap());
        assert_eq!(id(&mut again, "carol", ""), (3, false));
        assert_eq!(id(&mut again, "dave", ""), (4, true));
    }

    #[test]
    fn past_the_bound_the_account_alone_is_credited() {
        let mut registry = Registry::default();
        for n in 0..MAX_WORKERS_PER_ACCOUNT {
            assert!(id(&mut registry, "farm", &format!("rig{n}")).1);
        }
        let (unnamed, new) = id(&mut registry, "farm", "one more");
        assert!(new);
        assert_eq!(id(&mut registry, "farm", "and another"), (unnamed, false));
        assert_eq!(id(&mut registry, "farm", ""), (unnamed, false));
        assert_eq!(id(&mut registry, "farm", "rig7").0, 8, "known ones are still told apart");
        assert!(id(&mut registry, "other farm", "rig").1);
    }

    #[test]
    fn past_the_bound_on_all_workers_new_accounts_are_refused() {
        let mut registry = Registry { workers: MAX_WORKERS - 1, ..Registry::default() };
        assert_eq!(id(&mut registry, "alice", "rig1"), (1, true));
        assert_eq!(registry.worker("bob", "", Timestamp(0)), Err(TooManyAccounts));
        assert_eq!(id(&mut registry, "alice", "rig2"), (2, true), "the worker without name");
        assert_eq!(id(&mut registry, "alice", "rig3"), (2, false));
    }

    #[test]
    fn long_names_are_one_where_they_agree_in_what_is_kept() {
        let mut registry = Registry::default();
        let long = "x".repeat(300);
        assert_eq!(id(&mut registry, &long, ""), (1, true));
        assert_eq!(id(&mut registry, &long[..255], ""), (1, false));
    }
}
