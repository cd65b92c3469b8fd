//! Queries on the database, for APIs and reports. They never wait for a writer, and no writer for them.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use crate::{
    index::{DATABASE, DatabaseError, int, open_to_read, uint},
    record::{AccountId, BlockHash, Difficulty, Timestamp, Work, WorkerId},
};

/// Most rows that one query returns; a larger limit is taken for this one.
pub const MAX_ROWS: usize = 10_000;

/// Most points in time that one series has; a longer range is cut at its beginning. A week of minutes.
pub const MAX_POINTS: u64 = 7 * 1440;

/// Reads the database. Each thread has its own.
pub struct Reader {
    path: PathBuf,
    /// Device and inode of the file that is open: a database that was made again is another file.
    file: (u64, u64),
    connection: Connection,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The length of the periods of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Kept for [`Retention::minutes`](crate::Retention::minutes).
    Minute,
    /// Kept for [`Retention::hours`](crate::Retention::hours).
    Hour,
    /// Of UTC; kept for good.
    Day,
}

impl Period {
    /// Length in seconds.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Whose sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All of the pool.
    Pool,
    /// An account.
    Account(AccountId),
    /// A worker.
    Worker(WorkerId),
}

impl Subject {
    const fn row(self) -> (i64, u32) {
        match self {
            Self::Pool => (0, 0),
            Self::Account(id) => (1, id.0),
            Self::Worker(id) => (2, id.0),
        }
    }
}

/// Accepted shares of a period. Periods without one are left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Start, in unix seconds.
    pub start: u64,
    /// Number of shares.
    pub shares: u64,
    /// What they were credited with.
    pub work: Work,
    /// The best of them.
    pub best: Difficulty,
}

/// Refused shares of a period, by reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectPoint {
    /// Start, in unix seconds.
    pub start: u64,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// A sum of the pool (neither name), an account, or a worker (both names).
#[derive(Clone, Debug, PartialEq)]
pub struct SumRow {
    /// Name of the account.
    pub account: Option<String>,
    /// Name of the worker.
    pub worker: Option<String>,
    /// Its accepted shares.
    pub sum: Point,
}

/// Refused shares of the pool, an account or a worker, as in [`SumRow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectRow {
    /// Name of the account.
    pub account: Option<String>,
    /// Name of the worker.
    pub worker: Option<String>,
    /// How many, and why.
    pub reject: RejectPoint,
}

/// All that an account or a worker ever had accepted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Totals {
    /// First share.
    pub since: Timestamp,
    /// Last share. Older than the shares that are kept one by one, it may be given as the start of its hour or day.
    pub last_share: Timestamp,
    /// Number of shares.
    pub shares: u64,
    /// What they were credited with.
    pub work: Work,
    /// The best of them.
    pub best: Difficulty,
    /// When that was.
    pub best_at: Timestamp,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Number of its workers.
    pub workers: u64,
    /// Its sums.
    #[serde(flatten)]
    pub totals: Totals,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// Its account.
    pub account: AccountId,
    /// Its name within the account; may be empty.
    pub name: String,
    /// Its sums.
    #[serde(flatten)]
    pub totals: Totals,
}

/// A found block.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Block {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// Account and worker of the finder, where known.
    pub finder: Option<(String, String)>,
    /// What its coinbase pays, in satoshi.
    pub value: Option<u64>,
    /// The difficulty that its hash reached.
    pub reached: Option<Difficulty>,
    /// When it was found.
    pub found_at: Option<Timestamp>,
    /// `found`, `submitted`, `accepted`, `rejected`, `confirmed`, `orphaned` or `lost`.
    pub state: String,
    /// Blocks from it to the tip when last looked at, itself included; 0 when it is not confirmed.
    pub depth: u32,
}

/// How many blocks there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockCounts {
    /// By state; words as in [`Block::state`].
    pub states: Vec<(String, u64)>,
    /// When the last one was found.
    pub last_found: Option<Timestamp>,
}

/// A step in the life of a block; see [`BlockStep`](crate::BlockStep).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockLife {
    /// When.
    pub at: Timestamp,
    /// What; words as in [`Block::state`].
    pub step: String,
    /// The node, where one took part.
    pub node: String,
    /// A reason, or the depth.
    pub detail: String,
}

/// The pool as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// Number of accounts.
    pub accounts: u64,
    /// Number of workers.
    pub workers: u64,
    /// Number of accepted shares.
    pub shares: u64,
    /// What they were credited with.
    pub work: Work,
    /// The best of them.
    pub best: Difficulty,
    /// Whose that is: account and worker.
    pub best_by: Option<(String, String)>,
    /// The last share.
    pub last_share: Timestamp,
    /// Refused shares by reason, most first.
    pub rejects: Vec<(String, u64)>,
    /// Blocks by state.
    pub blocks: Vec<(String, u64)>,
    /// Sequence number of the last batch of the log that is counted.
    pub position: u64,
    /// Batches of the log that could not be read: first and last of each gap.
    pub damage: Vec<(u64, u64)>,
}

/// How accounts are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// Most work first.
    Work,
    /// Highest best difficulty first.
    Best,
    /// Latest share first.
    LastShare,
}

const TOTALS: &str = "since, last_share, shares, work, best, best_at";

fn totals(row: &Row<'_>) -> rusqlite::Result<Totals> {
    Ok(Totals {
        since: row.get("since")?,
        last_share: row.get("last_share")?,
        shares: uint(row.get("shares")?),
        work: row.get("work")?,
        best: row.get("best")?,
        best_at: row.get("best_at")?,
    })
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: AccountId(row.get("id")?),
        name: row.get("name")?,
        workers: uint(row.get("workers")?),
        totals: totals(row)?,
    })
}

fn worker(row: &Row<'_>) -> rusqlite::Result<Worker> {
    Ok(Worker {
        id: WorkerId(row.get("id")?),
        account: AccountId(row.get("account")?),
        name: row.get("name")?,
        totals: totals(row)?,
    })
}

impl Reader {
    /// Opens the database of the ledger in `folder`.
    ///
    /// # Errors
    /// As the database reports; also when there is none, and when it is of another version.
    pub fn open(folder: &Path) -> Result<Self, DatabaseError> {
        let path = folder.join(DATABASE);
        let connection = open_to_read(&path)?;
        Ok(Self { file: identity(&path), path, connection })
    }

    /// The connection, to the file that has the name now.
    fn connection(&mut self) -> Result<&Connection, DatabaseError> {
        let file = identity(&self.path);
        if file != self.file {
            self.connection = open_to_read(&self.path)?;
            self.file = file;
        }
        Ok(&self.connection)
    }

    /// Accounts whose name contains `search`, sorted, from `offset` on. The search knows lower and upper case of ASCII
    /// as the same.
    ///
    /// # Errors
    /// As the database reports; so for all queries.
    pub fn accounts(
        &mut self,
        search: &str,
        order: Order,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<Account>, DatabaseError> {
        let order = match order {
            Order::Name => "name",
            Order::Work => "work DESC, name",
            Order::Best => "best DESC, name",
            Order::LastShare => "last_share DESC, name",
        };
        let sql = format!(
            "SELECT id, name, workers, {TOTALS} FROM account WHERE instr(lower(name), lower(?1)) > 0 OR ?1 = '' \
             ORDER BY {order} LIMIT ?2 OFFSET ?3"
        );
        let mut select = self.connection()?.prepare_cached(&sql)?;
        let rows = select.query_map(params![search, rows(limit), rows_offset(offset)], account)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The account of this name.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn account(&mut self, name: &str) -> Result<Option<Account>, DatabaseError> {
        let sql = format!("SELECT id, name, workers, {TOTALS} FROM account WHERE name = ?1");
        Ok(self.connection()?.prepare_cached(&sql)?.query_row([name], account).optional()?)
    }

    /// The workers of an account, by name.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn workers(&mut self, of: AccountId, offset: usize, limit: usize) -> Result<Vec<Worker>, DatabaseError> {
        let sql = format!(
            "SELECT id, account, name, {TOTALS} FROM worker WHERE account = ?1 ORDER BY name LIMIT ?2 OFFSET ?3"
        );
        let mut select = self.connection()?.prepare_cached(&sql)?;
        let rows = select.query_map(params![of.0, rows(limit), rows_offset(offset)], worker)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The worker of this name.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn worker(&mut self, of: AccountId, name: &str) -> Result<Option<Worker>, DatabaseError> {
        let sql = format!("SELECT id, account, name, {TOTALS} FROM worker WHERE account = ?1 AND name = ?2");
        Ok(self.connection()?.prepare_cached(&sql)?.query_row(params![of.0, name], worker).optional()?)
    }

    /// Names of account and worker.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn names(&mut self, id: WorkerId) -> Result<Option<(String, String)>, DatabaseError> {
        names(self.connection()?, id)
    }

    /// Workers with an accepted share since `at`, and when the last one was. Goes through all workers.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn active_since(&mut self, at: Timestamp) -> Result<Vec<(WorkerId, Timestamp)>, DatabaseError> {
        let sql = "SELECT id, last_share FROM worker WHERE last_share >= ?1";
        let mut select = self.connection()?.prepare_cached(sql)?;
        let rows = select.query_map([at], |row| Ok((WorkerId(row.get(0)?), row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Accepted shares of each period that begins from `from` on and before `to` (unix seconds), in order.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn series(
        &mut self,
        subject: Subject,
        period: Period,
        from: u64,
        to: u64,
    ) -> Result<Vec<Point>, DatabaseError> {
        let sql = format!(
            "{TIMES} SELECT start, shares, work, best FROM times CROSS JOIN {} USING (start) WHERE scope = ?4 AND id = ?5",
            period.table()
        );
        let (scope, id) = subject.row();
        let (from, to) = range(period, from, to);
        let mut select = self.connection()?.prepare_cached(&sql)?;
        let rows = select.query_map(params![int(from), int(to), int(period.seconds()), scope, id], |row| {
            Ok(Point { start: uint(row.get(0)?), shares: uint(row.get(1)?), work: row.get(2)?, best: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Refused shares of the same periods, by reason.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn rejects(
        &mut self,
        subject: Subject,
        period: Period,
        from: u64,
        to: u64,
    ) -> Result<Vec<RejectPoint>, DatabaseError> {
        let sql = format!(
            "{TIMES} SELECT start, code, count FROM times CROSS JOIN {}_rejects AS rejects USING (start) \
             JOIN reason ON reason.id = rejects.reason WHERE scope = ?4 AND rejects.id = ?5 ORDER BY start, code",
            period.table()
        );
        let (scope, id) = subject.row();
        let (from, to) = range(period, from, to);
        let mut select = self.connection()?.prepare_cached(&sql)?;
        let rows = select.query_map(params![int(from), int(to), int(period.seconds()), scope, id], |row| {
            Ok(RejectPoint { start: uint(row.get(0)?), reason: row.get(1)?, count: uint(row.get(2)?) })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Blocks, the highest first; those that come after one, where that is given.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn blocks(&mut self, after: Option<(u32, BlockHash)>, limit: usize) -> Result<Vec<Block>, DatabaseError> {
        let connection = self.connection()?;
        let mut select = connection.prepare_cached(
            "SELECT hash, height, worker, value, reached, found_at, state, depth FROM block \
             WHERE height < ?1 OR (height = ?1 AND hash > ?2) ORDER BY height DESC, hash LIMIT ?3",
        )?;
        let (height, hash) = after.map_or((i64::MAX, [0; 32]), |(height, hash)| (height.into(), hash.0));
        let found = select.query_map(params![height, hash, rows(limit)], |row| block(connection, row))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Blocks that workers of an account found, the highest first.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn blocks_of(&mut self, account: AccountId, limit: usize) -> Result<Vec<Block>, DatabaseError> {
        let connection = self.connection()?;
        let mut select = connection.prepare_cached(
            "SELECT hash, height, worker, value, reached, found_at, state, depth FROM block \
             WHERE worker IN (SELECT id FROM worker WHERE account = ?1) ORDER BY height DESC, hash LIMIT ?2",
        )?;
        let found = select.query_map(params![account.0, rows(limit)], |row| block(connection, row))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// How many blocks there are in each state, where those that are less deep than `confirmations` count as accepted.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn block_counts(&mut self, confirmations: u32) -> Result<BlockCounts, DatabaseError> {
        let connection = self.connection()?;
        let mut select = connection.prepare_cached(
            "SELECT CASE WHEN state = 'confirmed' AND depth < ?1 THEN 'accepted' ELSE state END AS word, count(*), \
             max(found_at) FROM block GROUP BY word ORDER BY word",
        )?;
        let mut counts = BlockCounts::default();
        let mut found = select.query([confirmations])?;
        while let Some(row) = found.next()? {
            counts.states.push((row.get(0)?, uint(row.get(1)?)));
            counts.last_found = counts.last_found.max(row.get(2)?);
        }
        Ok(counts)
    }

    /// A block and the steps of its life, in order.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn block(&mut self, hash: &BlockHash) -> Result<Option<(Block, Vec<BlockLife>)>, DatabaseError> {
        let connection = self.connection()?;
        let found = connection
            .prepare_cached(
                "SELECT hash, height, worker, value, reached, found_at, state, depth FROM block WHERE hash = ?1",
            )?
            .query_row([hash.0], |row| block(connection, row))
            .optional()?;
        let Some(found) = found else { return Ok(None) };
        let mut select = connection.prepare_cached(
            "SELECT at, step, node, detail FROM block_event WHERE hash = ?1 ORDER BY at, step LIMIT ?2",
        )?;
        let life = select.query_map(params![hash.0, rows(MAX_ROWS)], |row| {
            Ok(BlockLife { at: row.get(0)?, step: row.get(1)?, node: row.get(2)?, detail: row.get(3)? })
        })?;
        Ok(Some((found, life.collect::<Result<_, _>>()?)))
    }

    /// Tells `each` of all sums of the periods that begin from `from` on and before `to` (unix seconds), in the order
    /// of time, until it says false. For exports: there may be millions.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn each_sum(
        &mut self,
        period: Period,
        from: u64,
        to: u64,
        mut each: impl FnMut(SumRow) -> bool,
    ) -> Result<(), DatabaseError> {
        let sql = format!(
            "SELECT start, coalesce(own.name, parent.name), worker.name, sums.shares, sums.work, sums.best \
             FROM {} AS sums \
             LEFT JOIN account AS own ON scope = 1 AND own.id = sums.id \
             LEFT JOIN worker ON scope = 2 AND worker.id = sums.id \
             LEFT JOIN account AS parent ON parent.id = worker.account \
             WHERE start >= ?1 AND start < ?2 ORDER BY start, scope, sums.id",
            period.table()
        );
        let mut select = self.connection()?.prepare(&sql)?;
        let mut rows = select.query(params![int(from), int(to)])?;
        while let Some(row) = rows.next()? {
            let sum = SumRow {
                account: row.get(1)?,
                worker: row.get(2)?,
                sum: Point {
                    start: uint(row.get(0)?),
                    shares: uint(row.get(3)?),
                    work: row.get(4)?,
                    best: row.get(5)?,
                },
            };
            if !each(sum) {
                break;
            }
        }
        Ok(())
    }

    /// The same for refused shares.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn each_reject(
        &mut self,
        period: Period,
        from: u64,
        to: u64,
        mut each: impl FnMut(RejectRow) -> bool,
    ) -> Result<(), DatabaseError> {
        let sql = format!(
            "SELECT start, coalesce(own.name, parent.name), worker.name, code, count \
             FROM {}_rejects AS rejects JOIN reason ON reason.id = rejects.reason \
             LEFT JOIN account AS own ON scope = 1 AND own.id = rejects.id \
             LEFT JOIN worker ON scope = 2 AND worker.id = rejects.id \
             LEFT JOIN account AS parent ON parent.id = worker.account \
             WHERE start >= ?1 AND start < ?2 ORDER BY start, scope, rejects.id, rejects.reason",
            period.table()
        );
        let mut select = self.connection()?.prepare(&sql)?;
        let mut rows = select.query(params![int(from), int(to)])?;
        while let Some(row) = rows.next()? {
            let reject = RejectRow {
                account: row.get(1)?,
                worker: row.get(2)?,
                reject: RejectPoint { start: uint(row.get(0)?), reason: row.get(3)?, count: uint(row.get(4)?) },
            };
            if !each(reject) {
                break;
            }
        }
        Ok(())
    }

    /// Where the sums per minute, hour and day begin, in unix seconds.
    pub(crate) fn starts(&mut self) -> Result<[Option<u64>; 3], DatabaseError> {
        let connection = self.connection()?;
        let first = |table| {
            connection.query_row(&format!("SELECT min(start) FROM {table}"), [], |row| row.get::<_, Option<i64>>(0))
        };
        let [minutes, hours, days] = ["minute", "hour", "day"].map(first);
        Ok([minutes?, hours?, days?].map(|start| start.map(uint)))
    }

    /// The pool as a whole.
    ///
    /// # Errors
    /// See [`accounts`](Self::accounts).
    pub fn overview(&mut self) -> Result<Overview, DatabaseError> {
        let connection = self.connection()?;
        // One state of the database for all of it.
        let transaction = connection.unchecked_transaction()?;
        let count = |sql: &str| transaction.query_row(sql, [], |row| row.get(0)).map(uint);
        let pairs = |sql: &str| -> rusqlite::Result<Vec<(String, u64)>> {
            transaction.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, uint(row.get(1)?))))?.collect()
        };
        let mut overview = Overview {
            accounts: count("SELECT count(*) FROM account")?,
            workers: count("SELECT count(*) FROM worker")?,
            shares: 0,
            work: Work(0),
            best: Difficulty::default(),
            best_by: None,
            last_share: Timestamp(0),
            rejects: pairs(
                "SELECT code, sum(count) FROM day_rejects JOIN reason ON reason.id = reason WHERE scope = 0 \
                 GROUP BY code ORDER BY 2 DESC, 1",
            )?,
            blocks: pairs("SELECT state, count(*) FROM block GROUP BY state ORDER BY state")?,
            position: uint(
                transaction.query_row("SELECT position FROM meta", [], |row| row.get(0)).optional()?.unwrap_or(0),
            ),
            damage: transaction
                .prepare("SELECT first, last FROM damage ORDER BY first LIMIT 10000")?
                .query_map([], |row| Ok((uint(row.get(0)?), uint(row.get(1)?))))?
                .collect::<Result<_, _>>()?,
        };
        let mut days = transaction.prepare("SELECT shares, work, best FROM day WHERE scope = 0 AND id = 0")?;
        let mut rows = days.query([])?;
        while let Some(row) = rows.next()? {
            overview.shares = overview.shares.saturating_add(uint(row.get(0)?));
            overview.work = overview.work.saturating_add(row.get(1)?);
            overview.best = overview.best.max(row.get(2)?);
        }
        let best = "SELECT id FROM worker ORDER BY best DESC, best_at LIMIT 1";
        if let Some(best) = transaction.query_row(best, [], |row| row.get(0)).optional()? {
            overview.best_by = names(&transaction, WorkerId(best))?;
        }
        let last = "SELECT max(last_share) FROM account";
        overview.last_share = transaction.query_row(last, [], |row| row.get::<_, Option<_>>(0))?.unwrap_or_default();
        Ok(overview)
    }
}

/// The starts of all periods from ?1 on and before ?2, ?3 seconds apart: each is looked up, whatever else the tables
/// hold for other times and others' sums.
const TIMES: &str = "WITH RECURSIVE times (start) AS \
    (SELECT ?1 WHERE ?1 < ?2 UNION ALL SELECT start + ?3 FROM times WHERE start + ?3 < ?2)";

/// The range, beginning with a period, and with [`MAX_POINTS`] at most.
fn range(period: Period, from: u64, to: u64) -> (u64, u64) {
    let seconds = period.seconds();
    let to = to.min(int(u64::MAX).cast_unsigned() - seconds);
    let from = from.max(to.saturating_sub(MAX_POINTS * seconds));
    (from.div_ceil(seconds) * seconds, to)
}

fn rows(limit: usize) -> i64 {
    limit.min(MAX_ROWS) as i64
}

fn rows_offset(offset: usize) -> i64 {
    int(offset as u64)
}

fn names(connection: &Connection, id: WorkerId) -> Result<Option<(String, String)>, DatabaseError> {
    let sql =
        "SELECT account.name, worker.name FROM worker JOIN account ON account.id = worker.account WHERE worker.id = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn block(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Block> {
    let finder: Option<u32> = row.get("worker")?;
    let finder = finder.map(|id| names(connection, WorkerId(id)));
    let value: Option<i64> = row.get("value")?;
    Ok(Block {
        hash: BlockHash(row.get("hash")?),
        height: row.get("height")?,
        finder: match finder {
            Some(Ok(names)) => names,
            Some(Err(DatabaseError::Sqlite(error))) => return Err(error),
            Some(Err(_)) | None => None,
        },
        value: value.map(uint),
        reached: row.get("reached")?,
        found_at: row.get("found_at")?,
        state: row.get("state")?,
        depth: row.get("depth")?,
    })
}

fn identity(path: &Path) -> (u64, u64) {
    std::fs::metadata(path).map_or((0, 0), |metadata| (metadata.dev(), metadata.ino()))
}
