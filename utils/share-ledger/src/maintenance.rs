//! Looking at a ledger from outside, and mending it.

use std::{io, path::Path, sync::Arc};

use serde::Serialize;

use crate::{
    disk::Folder,
    embedded::{LOG_FOLDER, OpenError, open_folder, random},
    index::{self, DATABASE, IndexError},
    log::{self, Damage, Entry, LogReader, Mode, ReadError, Resolution, Step},
    query::Reader,
    record::{Timestamp, Work},
};

/// What lies in the folder of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogFiles {
    /// Files with shares one by one.
    pub segments: u64,
    /// Their size in bytes.
    pub segment_bytes: u64,
    /// When the oldest of them was begun.
    pub oldest_segment: Option<Timestamp>,
    /// Files with sums per hour or day.
    pub summaries: u64,
    /// Their size in bytes.
    pub summary_bytes: u64,
}

/// Lists the files of the log of the ledger in `folder`.
///
/// # Errors
/// As the system reports; also for files of a later version.
pub fn log_files(folder: &Path) -> io::Result<LogFiles> {
    let mut found = LogFiles::default();
    for (resolution, bytes, time) in log::file_sizes(&Folder::new(folder.join(LOG_FOLDER)))? {
        if resolution == Resolution::Shares {
            found.segments += 1;
            found.segment_bytes += bytes;
            found.oldest_segment = found.oldest_segment.or(Some(time));
        } else {
            found.summaries += 1;
            found.summary_bytes += bytes;
        }
    }
    Ok(found)
}

/// Opens the log of the ledger in `folder` to read all of it.
///
/// # Errors
/// As the system reports; also when there is no log.
pub fn read_log(folder: &Path) -> Result<LogReader<Folder>, ReadError> {
    let mode = if open_folder_unused(folder) { Mode::AtRest } else { Mode::Live };
    LogReader::open(Arc::new(Folder::new(folder.join(LOG_FOLDER))), 0, mode)
}

/// Whether no process has the ledger. One that comes a moment later does no harm: a reader takes its last write for a
/// torn one.
fn open_folder_unused(folder: &Path) -> bool {
    folder.join(LOG_FOLDER).is_dir() && open_folder(folder).is_ok()
}

/// What a look at all of a log has found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verification {
    /// Batches that are in order, those that were summed up left out.
    pub batches: u64,
    /// Accepted shares, one by one or in sums.
    pub shares: u64,
    /// What they were credited with.
    pub work: Work,
    /// Sequence number of the last batch.
    pub last: u64,
    /// Bytes of writes that failed or were torn: nothing that was acknowledged.
    pub torn_bytes: u64,
    /// What can not be read.
    pub damage: Vec<Damage>,
    /// What could not be read when it was to be summed up: first and last batch.
    pub lost: Vec<(u64, u64)>,
    /// Batches whose checksum is right but whose entries are none.
    pub malformed: Vec<u64>,
    /// The database beside it.
    pub database: DatabaseState,
}

/// Whether the database says the same as the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseState {
    /// It does, as far as it has followed the log.
    Agrees {
        /// Up to this batch.
        position: u64,
    },
    /// It has other sums. It should be made again.
    Differs {
        /// Up to this batch.
        position: u64,
        /// Shares in the log up to there.
        log_shares: u64,
        /// Shares in the database.
        database_shares: u64,
    },
    /// It can not be read. It is made again when the pool starts, or by `stratum ledger rebuild`.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// The log has been summed up past its position. It is made again when the pool starts, or by `stratum ledger
    /// rebuild`.
    #[default]
    Behind,
}

impl Verification {
    /// Whether everything is in order.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
            && self.lost.is_empty()
            && self.malformed.is_empty()
            && matches!(self.database, DatabaseState::Agrees { .. })
    }
}

/// Reads all of the log, and compares the database with it. `on_progress` is told the number of bytes read.
///
/// # Errors
/// When the log can not be read at all.
pub fn verify(folder: &Path, mut on_progress: impl FnMut(u64)) -> Result<Verification, ReadError> {
    // Before the log, which may be written meanwhile.
    let database = Reader::open(folder).and_then(|mut reader| reader.overview());
    let mut reader = read_log(folder)?;
    let mut found = Verification::default();
    let mut bytes = 0;
    // The sums up to the position of the database.
    let mut so_far = None;
    let position = database.as_ref().map_or(u64::MAX, |overview| overview.position);
    while let Some(step) = reader.next(u64::MAX)? {
        match step {
            Step::Damage(damage) => found.damage.push(damage),
            Step::Batch(batch) => {
                if batch.sequence > position && so_far.is_none() {
                    so_far = Some((found.last, found.shares, found.work));
                }
                found.batches += 1;
                found.last = batch.sequence;
                bytes += batch.bytes as u64;
                for entry in batch.entries() {
                    found.add(batch.sequence, entry);
                }
                on_progress(bytes);
            }
        }
    }
    found.torn_bytes = reader.skipped_bytes();
    let (last, shares, work) = so_far.unwrap_or((found.last, found.shares, found.work));
    found.database = match database {
        Err(error) => DatabaseState::Unreadable { reason: error.to_string() },
        Ok(overview) if (overview.shares, overview.work) == (shares, work) => {
            DatabaseState::Agrees { position: overview.position }
        }
        // Its position lies within a summary.
        Ok(overview) if last < overview.position && last < found.last => DatabaseState::Behind,
        Ok(overview) => {
            DatabaseState::Differs { position: overview.position, log_shares: shares, database_shares: overview.shares }
        }
    };
    Ok(found)
}

impl Verification {
    fn add(&mut self, sequence: u64, entry: Result<Entry, log::Malformed>) {
        let (shares, work) = match entry {
            Ok(Entry::Share(share)) => (1, share.work),
            Ok(Entry::Sum(sum)) => (sum.shares, sum.work),
            Ok(Entry::Gap { first, last }) => return self.lost.push((first, last)),
            Ok(_) => return,
            Err(_) => return self.malformed.push(sequence),
        };
        self.shares = self.shares.saturating_add(shares);
        self.work = self.work.saturating_add(work);
    }
}

/// What a rebuilt database has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Sequence number of the last batch.
    pub last: u64,
    /// Start of the first minute that has sums, in unix seconds: older shares are not in the log one by one any more.
    pub minutes_from: Option<u64>,
    /// The same for hours.
    pub hours_from: Option<u64>,
    /// The same for days.
    pub days_from: Option<u64>,
    /// Batches of the log that could not be read: first and last of each gap.
    pub damage: Vec<(u64, u64)>,
}

/// A database can not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The ledger can not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database can not be made.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Makes the database of the ledger in `folder` again, from the log. The pool must not run. `on_progress` is told the
/// last batch that is done, and the last there is.
///
/// # Errors
/// See [`RebuildError`]; the old database is as it was.
pub fn rebuild(folder: &Path, mut on_progress: impl FnMut(u64, u64)) -> Result<Rebuilt, RebuildError> {
    let (_lock, disk) = open_folder(folder)?;
    let recovered = log::recover(&disk, random()).map_err(ReadError::Io).map_err(IndexError::Log)?;
    let (last, log_id) = (recovered.last, recovered.log_id);
    let database = folder.join(DATABASE);
    index::rebuild(&database, &disk, log_id, last, |done| {
        on_progress(done, last);
        true
    })?;
    let mut reader = Reader::open(folder).map_err(IndexError::Database)?;
    let [minutes_from, hours_from, days_from] = reader.starts().map_err(IndexError::Database)?;
    let damage = reader.overview().map_err(IndexError::Database)?.damage;
    Ok(Rebuilt { last, minutes_from, hours_from, days_from, damage })
}
