//! Writes a [`Delta`] to the database, in one transaction with the position that it reaches.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, params};

use super::{
    delta::{Bucket, Delta, HOUR, MINUTE, Period},
    schema::DatabaseError,
    values::int,
};
use crate::{
    config::Retention,
    log::WorkerEntry,
    record::{AccountId, BlockEvent, BlockStep, Timestamp, WorkerId},
};

const POOL: i64 = 0;
const ACCOUNT: i64 = 1;
const WORKER: i64 = 2;

/// Period, start, scope and id.
type Row = (Period, u64, i64, u32);

/// What the database has to know of the log before it can follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) log_id: u64,
    pub(crate) position: u64,
}

/// `None` for a new database.
pub(crate) fn meta(connection: &Connection) -> Result<Option<Meta>, DatabaseError> {
    let row = connection
        .query_row("SELECT log_id, position FROM meta", [], |row| {
            Ok(Meta { log_id: row.get::<_, i64>(0)?.cast_unsigned(), position: row.get::<_, i64>(1)?.cast_unsigned() })
        })
        .optional()?;
    Ok(row)
}

/// All workers, in the order of their ids.
pub(crate) fn workers(connection: &Connection) -> Result<Vec<WorkerEntry>, DatabaseError> {
    let mut select = connection.prepare(
        "SELECT worker.id, account.id, worker.since, account.name, worker.name \
         FROM worker JOIN account ON account.id = worker.account ORDER BY worker.id",
    )?;
    let rows = select.query_map([], |row| {
        Ok(WorkerEntry {
            id: WorkerId(row.get(0)?),
            account_id: AccountId(row.get(1)?),
            at: row.get(2)?,
            account: row.get(3)?,
            worker: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Which account a worker belongs to.
pub(crate) type Accounts = HashMap<WorkerId, AccountId>;

/// Adds all of it, or nothing.
pub(crate) fn apply(
    connection: &mut Connection,
    accounts: &mut Accounts,
    delta: &Delta,
    meta: Meta,
) -> Result<(), DatabaseError> {
    // Known before the transaction is: an account too many does no harm if that fails.
    accounts.extend(delta.workers.iter().map(|worker| (worker.id, worker.account_id)));
    let transaction = connection.transaction()?;
    add_workers(&transaction, &delta.workers)?;
    add_shares(&transaction, accounts, delta)?;
    add_rejects(&transaction, accounts, delta)?;
    for event in &delta.blocks {
        add_block(&transaction, event)?;
    }
    for (first, last) in &delta.damage {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO damage (first, last) VALUES (?1, ?2)")?
            .execute(params![int(*first), int(*last)])?;
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO meta (id, log_id, position) VALUES (0, ?1, ?2)")?
        .execute(params![meta.log_id.cast_signed(), meta.position.cast_signed()])?;
    transaction.commit()?;
    Ok(())
}

fn add_workers(transaction: &Transaction<'_>, workers: &[WorkerEntry]) -> Result<(), DatabaseError> {
    let mut account = transaction.prepare_cached(
        "INSERT INTO account (id, name, since, workers, shares, work, best, best_at, last_share) \
         VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING",
    )?;
    let mut worker = transaction.prepare_cached(
        "INSERT INTO worker (id, account, name, since, shares, work, best, best_at, last_share) \
         VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING",
    )?;
    let mut count = transaction.prepare_cached("UPDATE account SET workers = workers + 1 WHERE id = ?1")?;
    for entry in workers {
        account.execute(params![entry.account_id.0, entry.account, entry.at])?;
        if worker.execute(params![entry.id.0, entry.account_id.0, entry.worker, entry.at])? > 0 {
            count.execute([entry.account_id.0])?;
        }
    }
    Ok(())
}

/// Who else a worker's shares count for. What no account is known for, because that part of the log is damaged, counts
/// for the pool.
fn scopes(accounts: &Accounts, worker: WorkerId) -> impl Iterator<Item = (i64, u32)> {
    let account = accounts.get(&worker).map(|account| (ACCOUNT, account.0));
    let own = account.map(|_| (WORKER, worker.0));
    [Some((POOL, 0)), account, own].into_iter().flatten()
}

/// The periods of which a sum is part.
fn periods(shortest: Period) -> impl Iterator<Item = Period> {
    [Period::Minute, Period::Hour, Period::Day].into_iter().filter(move |period| *period >= shortest)
}

fn add_shares(transaction: &Transaction<'_>, accounts: &Accounts, delta: &Delta) -> Result<(), DatabaseError> {
    // In the order of the tables.
    let mut rows: BTreeMap<Row, Bucket> = BTreeMap::new();
    let mut totals: BTreeMap<(i64, u32), Bucket> = BTreeMap::new();
    for ((shortest, start, worker), bucket) in &delta.shares {
        for (scope, id) in scopes(accounts, *worker) {
            totals.entry((scope, id)).or_default().add(bucket);
            for period in periods(*shortest) {
                rows.entry((period, period.start(*start), scope, id)).or_default().add(bucket);
            }
        }
    }
    let mut inserts = PerPeriod::prepare(transaction, |table| {
        format!(
            "INSERT INTO {table} (start, scope, id, shares, work, best) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (start, scope, id) DO UPDATE SET shares = shares + excluded.shares, \
             work = add_work(work, excluded.work), best = max(best, excluded.best)"
        )
    })?;
    for ((period, start, scope, id), bucket) in rows {
        let Bucket { shares, work, best, .. } = bucket;
        inserts.of(period).execute(params![int(start), scope, id, int(shares), work, best])?;
    }
    let update = |table| {
        format!(
            "UPDATE {table} SET shares = shares + ?2, work = add_work(work, ?3), \
             best_at = iif(?4 > best OR best_at = 0, ?5, best_at), best = max(best, ?4), \
             last_share = max(last_share, ?6) WHERE id = ?1"
        )
    };
    let mut account = transaction.prepare_cached(&update("account"))?;
    let mut worker = transaction.prepare_cached(&update("worker"))?;
    for ((scope, id), bucket) in totals {
        let statement = match scope {
            ACCOUNT => &mut account,
            WORKER => &mut worker,
            _ => continue,
        };
        let Bucket { shares, work, best, best_at, last } = bucket;
        statement.execute(params![id, int(shares), work, best, best_at, last])?;
    }
    Ok(())
}

fn add_rejects(transaction: &Transaction<'_>, accounts: &Accounts, delta: &Delta) -> Result<(), DatabaseError> {
    let mut rows: BTreeMap<(Row, &Cow<'static, str>), u64> = BTreeMap::new();
    for (((shortest, start, worker), reason), count) in &delta.rejects {
        for (scope, id) in scopes(accounts, *worker) {
            for period in periods(*shortest) {
                let sum = rows.entry(((period, period.start(*start), scope, id), reason)).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
    }
    let mut reason_id = transaction.prepare_cached(
        "INSERT INTO reason (code) VALUES (?1) ON CONFLICT (code) DO UPDATE SET code = code RETURNING id",
    )?;
    let mut ids: HashMap<&str, i64> = HashMap::new();
    for (_, reason) in delta.rejects.keys() {
        if !ids.contains_key(&**reason) {
            ids.insert(reason, reason_id.query_row([&**reason], |row| row.get(0))?);
        }
    }
    let mut inserts = PerPeriod::prepare(transaction, |table| {
        format!(
            "INSERT INTO {table}_rejects (start, scope, id, reason, count) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (start, scope, id, reason) DO UPDATE SET count = count + excluded.count"
        )
    })?;
    for (((period, start, scope, id), reason), count) in rows {
        inserts.of(period).execute(params![int(start), scope, id, ids.get(&**reason), int(count)])?;
    }
    Ok(())
}

/// A statement for each table of sums.
struct PerPeriod<'a>([CachedStatement<'a>; 3]);

impl<'a> PerPeriod<'a> {
    fn prepare(transaction: &'a Transaction<'_>, sql: impl Fn(&str) -> String) -> Result<Self, DatabaseError> {
        let [minute, hour, day] = ["minute", "hour", "day"].map(|table| transaction.prepare_cached(&sql(table)));
        Ok(Self([minute?, hour?, day?]))
    }

    fn of(&mut self, period: Period) -> &mut CachedStatement<'a> {
        &mut self.0[period as usize]
    }
}

/// The words for steps and states in the database and in exports.
pub(crate) fn step_words(step: &BlockStep) -> (&'static str, &str, Cow<'_, str>) {
    match step {
        BlockStep::Found { .. } => ("found", "", "".into()),
        BlockStep::Submitted { node } => ("submitted", node, "".into()),
        BlockStep::Accepted { node } => ("accepted", node, "".into()),
        BlockStep::Rejected { node, reason } => ("rejected", node, reason.into()),
        BlockStep::Confirmed { depth } => ("confirmed", "", depth.to_string().into()),
        BlockStep::Orphaned => ("orphaned", "", "".into()),
        BlockStep::Lost => ("lost", "", "".into()),
    }
}

/// A later step replaces an earlier one only if it says more: a block that is in the chain does not become a submitted
/// one because the pool started again.
fn rank(state: &str) -> u8 {
    match state {
        "found" => 0,
        "submitted" => 1,
        "rejected" | "lost" => 2,
        "accepted" => 3,
        // Which of the two holds changes with the chain.
        "confirmed" | "orphaned" => 4,
        _ => 0,
    }
}

fn add_block(transaction: &Transaction<'_>, event: &BlockEvent) -> Result<(), DatabaseError> {
    let (step, node, detail) = step_words(&event.step);
    transaction
        .prepare_cached("INSERT OR IGNORE INTO block_event (hash, step, node, detail, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![event.hash.0, step, node, detail, event.at])?;
    let known: Option<String> = transaction
        .prepare_cached("SELECT state FROM block WHERE hash = ?1")?
        .query_row([event.hash.0], |row| row.get(0))
        .optional()?;
    if known.is_none() {
        transaction
            .prepare_cached("INSERT INTO block (hash, height, state, depth) VALUES (?1, ?2, ?3, 0)")?
            .execute(params![event.hash.0, event.height, step])?;
    }
    if let BlockStep::Found { worker, value, reached } = &event.step {
        transaction
            .prepare_cached(
                "UPDATE block SET worker = ?2, value = ?3, reached = ?4, found_at = ?5 \
                 WHERE hash = ?1 AND found_at IS NULL",
            )?
            .execute(params![event.hash.0, worker.0, int(*value), reached, event.at])?;
    }
    let depth = if let BlockStep::Confirmed { depth } = event.step { depth } else { 0 };
    if known.is_none_or(|known| rank(step) >= rank(&known)) {
        transaction.prepare_cached("UPDATE block SET state = ?2, depth = ?3 WHERE hash = ?1")?.execute(params![
            event.hash.0,
            step,
            depth
        ])?;
    }
    Ok(())
}

/// Removes sums that are older than they are kept. The end of the newest minute stands for now if it is earlier than
/// the clock, so that a clock gone wrong removes nothing.
pub(crate) fn prune(connection: &mut Connection, retention: &Retention, now: Timestamp) -> Result<(), DatabaseError> {
    let newest: Option<i64> = connection.query_row("SELECT max(start) FROM minute", [], |row| row.get(0))?;
    let Some(newest) = newest else { return Ok(()) };
    let now = int(now.secs()).min(newest.saturating_add(int(MINUTE)));
    let transaction = connection.transaction()?;
    for (table, age, period) in [("minute", retention.minutes, MINUTE), ("hour", retention.hours, HOUR)] {
        let before = now.saturating_sub(int(age.as_secs()) + int(period));
        transaction.prepare_cached(&format!("DELETE FROM {table} WHERE start < ?1"))?.execute([before])?;
        transaction.prepare_cached(&format!("DELETE FROM {table}_rejects WHERE start < ?1"))?.execute([before])?;
    }
    transaction.commit()?;
    Ok(())
}
