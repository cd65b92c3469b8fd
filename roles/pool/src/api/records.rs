//! Queries on the ledger's database, in threads of their own and so many at a time.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use share_ledger::{BlockCounts, DatabaseError, Overview, Period, Reader, Subject};
use stratum_runtime::http::{ApiError, QUERY_THREADS};
use tokio::sync::Semaphore;

use super::dto;

/// How old a summary may be that is given out: it is asked for every few seconds by each dashboard, and takes a look at all accounts.
const FRESH: Duration = Duration::from_secs(3);
/// Shortest time that sums are divided by, in seconds.
const SHORTEST: u64 = 60;
pub(super) const HOUR: u64 = 3_600;
pub(super) const DAY: u64 = 24 * HOUR;

/// See the module's documentation. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Records {
    folder: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Reader>>>,
    places: Arc<Semaphore>,
    summary: Arc<tokio::sync::Mutex<Option<Known>>>,
}

/// The last summary, and when it was made.
type Known = (Instant, Arc<Summary>);

impl Records {
    /// Of the ledger in this folder, which need not be there yet.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder: folder.into(),
            idle: Arc::default(),
            places: Arc::new(Semaphore::new(QUERY_THREADS)),
            summary: Arc::default(),
        }
    }

    /// Runs a query.
    pub async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Reader) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self.places.clone().acquire_owned().await.map_err(ApiError::internal)?;
        let (folder, idle) = (self.folder.clone(), self.idle.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            let known = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut reader = match known.map_or_else(|| Reader::open(&folder), Ok) {
                Ok(reader) => reader,
                Err(error) => {
                    tracing::debug!("the ledger's database can not be opened: {error}");
                    return Err(ApiError::unavailable("the ledger's database is not there yet"));
                }
            };
            // After an error it may not be in order.
            let result = query(&mut reader).map_err(ApiError::internal)?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            Ok(result)
        });
        done.await.unwrap_or_else(|error| Err(ApiError::internal(error)))
    }

    /// The pool as a whole, some seconds old at most. Blocks count as final at the depth `confirmations`.
    pub async fn summary(&self, confirmations: u32) -> Result<Arc<Summary>, ApiError> {
        // Those who ask meanwhile get the same one.
        let mut known = self.summary.lock().await;
        if let Some((_, summary)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(summary.clone());
        }
        let summary = self.query(move |reader| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            Ok(Summary {
                overview: reader.overview()?,
                recorded: Recorded::of(reader, Subject::Pool, None, now)?,
                blocks: reader.block_counts(confirmations)?,
            })
        });
        let summary = Arc::new(summary.await?);
        *known = Some((Instant::now(), summary.clone()));
        Ok(summary)
    }
}

/// The pool as a whole, as the ledger has it.
#[derive(Debug)]
pub(super) struct Summary {
    pub overview: Overview,
    pub recorded: Recorded,
    pub blocks: BlockCounts,
}

impl Summary {
    pub fn shares(&self) -> dto::Shares {
        let Overview { shares, work, rejects, .. } = &self.overview;
        let rejected = rejects.iter().map(|(reason, count)| dto::Rejected { reason: reason.clone(), count: *count });
        dto::Shares { accepted: *shares, work: work.0 as f64, rejected: rejected.collect() }
    }

    pub fn blocks(&self) -> dto::BlockCounts {
        let in_state = |states: &[&str]| {
            self.blocks
                .states
                .iter()
                .filter(|(state, _)| states.contains(&state.as_str()))
                .map(|(_, count)| count)
                .sum()
        };
        dto::BlockCounts {
            found: self.blocks.states.iter().map(|(_, count)| count).sum(),
            accepted: in_state(&["accepted"]),
            confirmed: in_state(&["confirmed"]),
            orphaned: in_state(&["orphaned", "rejected", "lost"]),
            last_found_at: self.blocks.last_found.map(|at| at.0),
        }
    }
}

/// Averages over the last hour and day from the ledger's sums, which reach back over connections and processes. Of what is younger,
/// over its life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub h1: f64,
    pub h24: f64,
    /// When its life began, or what is looked at; unix seconds.
    pub since: u64,
}

impl Recorded {
    /// Where it is not known since when there are shares, the first one tells.
    pub fn of(reader: &mut Reader, of: Subject, since: Option<u64>, now: u64) -> Result<Self, DatabaseError> {
        let mut series = |period: Period, time: u64| {
            let from = now.saturating_sub(time);
            let points = reader.series(of, period, from, now.saturating_add(1))?;
            let work: f64 = points.iter().map(|point| point.work.0 as f64).sum();
            let first = points.first().map_or(now, |point| point.start);
            Ok::<_, DatabaseError>((work, first, from.div_ceil(period.seconds()) * period.seconds()))
        };
        let (minutes, first_minute, minutes_from) = series(Period::Minute, HOUR)?;
        let (hours, first_hour, hours_from) = series(Period::Hour, DAY)?;
        let first = if first_hour + HOUR > first_minute { first_minute } else { first_hour };
        let since = since.unwrap_or(first);
        let average = |work: f64, from: u64| work / now.saturating_sub(from.max(since)).max(SHORTEST) as f64;
        Ok(Self { h1: average(minutes, minutes_from), h24: average(hours, hours_from), since })
    }
}
