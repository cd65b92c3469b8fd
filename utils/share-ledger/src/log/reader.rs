//! Reads a log from its beginning or from a position on, while it is written or at rest.
//!
//! Each batch has a sequence number. What was seen is passed over: after a failed write, or a restart, a batch is in
//! the log twice. A number that is missing is reported as [`Damage`] and never passed over in silence. Bytes that are
//! no batch mean nothing where the numbers go on without a gap: they are a write that failed, and was repeated in the
//! next segment.

use std::{collections::VecDeque, io, sync::Arc};

use super::{
    entry::Entries,
    files::{self, FileName},
    frame::{BatchHeader, Resolution},
    open_file::OpenFile,
};
use crate::{disk::Disk, record::Timestamp};

/// Batches that can not be read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// Sequence number of the first that is missing.
    pub first: u64,
    /// Sequence number of the last that is missing.
    pub last: u64,
    /// The file in which reading goes on.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, last, file, offset } = self;
        write!(f, "batches {first} to {last} can not be read; the log goes on in {file} at byte {offset}")
    }
}

/// What comes next in a log.
#[derive(Debug)]
pub enum Step<'a> {
    /// A batch that was not seen before.
    Batch(ReadBatch<'a>),
    /// Some batches are missing.
    Damage(Damage),
}

/// A batch.
#[derive(Debug)]
pub struct ReadBatch<'a> {
    /// Where a reader that has taken this batch goes on. The batches of a summary all have the same, see `complete`.
    pub sequence: u64,
    /// Whether the position is reached: always, but within a summary only with its last batch.
    pub complete: bool,
    /// Whether these are shares or sums.
    pub resolution: Resolution,
    /// Records, as the writer counted them.
    pub records: u32,
    /// Time of the newest of them.
    pub newest: Timestamp,
    /// Size in the log, header included.
    pub bytes: usize,
    payload: &'a [u8],
}

impl<'a> ReadBatch<'a> {
    /// The entries.
    pub fn entries(&self) -> Entries<'a> {
        Entries::new(self.payload)
    }
}

/// A reader can not go on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The position lies within what has been summed up.
    #[error("what follows batch {0} has been summed up")]
    SummedUp(u64),
    /// As the system reports; also for a file of a later version.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whether the log is written while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes at its end that are no batch may be one soon.
    Live,
    /// All that will ever be there is there.
    AtRest,
}

/// Reads a log.
pub struct LogReader<D: Disk> {
    disk: Arc<D>,
    mode: Mode,
    log_id: Option<u64>,
    position: u64,
    current: Option<OpenFile<D::File>>,
    /// Name of the file that was read last.
    last_name: Option<FileName>,
    /// Files after the current one, as far as known.
    ahead: VecDeque<FileName>,
    /// There are no files but those in `ahead`.
    closed: bool,
    /// The file that was listed and could not be found.
    vanished: Option<FileName>,
    skipped: u64,
}

impl<D: Disk> LogReader<D> {
    /// Reads what follows the batch with this sequence number; 0 is the beginning.
    ///
    /// # Errors
    /// [`ReadError::SummedUp`] when that can not be told apart any more, [`ReadError::Io`].
    pub fn open(disk: Arc<D>, position: u64, mode: Mode) -> Result<Self, ReadError> {
        let (names, _) = files::list(&*disk)?;
        // The last file that begins at or before the position.
        let mut start = 0;
        for (index, name) in names.iter().enumerate().rev() {
            let open = match OpenFile::open(&*disk, *name, None) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let Some(open) = open else { continue };
            start = index;
            if open.header.first <= position.saturating_add(1) {
                break;
            }
        }
        Ok(Self::new(disk, names[start..].iter().copied().collect(), position, mode, false))
    }

    /// Reads these files and no others.
    pub(crate) fn over(disk: Arc<D>, names: &[FileName], position: u64) -> Self {
        Self::new(disk, names.iter().copied().collect(), position, Mode::AtRest, true)
    }

    fn new(disk: Arc<D>, ahead: VecDeque<FileName>, position: u64, mode: Mode, closed: bool) -> Self {
        Self {
            disk,
            mode,
            log_id: None,
            position,
            current: None,
            last_name: None,
            ahead,
            closed,
            vanished: None,
            skipped: 0,
        }
    }

    /// Sequence number of the last batch that was returned, or is missing.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes met so far that are no batch: writes that failed or were torn, and damage.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped
    }

    /// The name of the file that is being read.
    pub fn file_name(&self) -> Option<String> {
        self.last_name.map(|name| name.to_string())
    }

    /// The next batch with a sequence number of at most `limit`, or the damage before it; `None` when there is none
    /// now. A limit says that everything up to it is on the disk; `u64::MAX` says nothing.
    ///
    /// # Errors
    /// [`ReadError::SummedUp`] when files were summed up since, [`ReadError::Io`].
    pub fn next(&mut self, limit: u64) -> Result<Option<Step<'_>>, ReadError> {
        loop {
            let position = self.position;
            let Some(open) = &mut self.current else {
                if self.advance()? {
                    continue;
                }
                return Ok(None);
            };
            let header = open.header;
            let found = if open.name.summary {
                if header.last <= position {
                    self.current = None;
                    continue;
                }
                if header.first <= position {
                    return Err(ReadError::SummedUp(position));
                }
                match open.find_batch()? {
                    Some(batch) if batch.sequence == open.taken_batches + 1 => Some((batch, header.first, header.last)),
                    _ => return Ok(Some(Step::Damage(self.give_summary_up()))),
                }
            } else {
                open.find_batch()?.map(|batch| (batch, batch.sequence, batch.sequence))
            };
            let Some((batch, first, last)) = found else {
                if self.leave_file(limit)? {
                    continue;
                }
                return Ok(None);
            };
            if last <= position {
                open.take(&batch);
                continue;
            }
            if last > limit {
                return Ok(None);
            }
            if first > position.saturating_add(1) {
                let damage = open.damage(position + 1, first - 1);
                self.position = first - 1;
                return Ok(Some(Step::Damage(damage)));
            }
            return Ok(self.deliver(&batch, last).map(Step::Batch));
        }
    }

    fn deliver(&mut self, batch: &BatchHeader, last: u64) -> Option<ReadBatch<'_>> {
        let open = self.current.as_mut()?;
        let at = open.take(batch);
        // The last batch of a summary holds no records, see `summary`.
        let complete = !open.name.summary || batch.records == 0;
        if complete {
            self.position = last;
        }
        Some(ReadBatch {
            sequence: last,
            complete,
            resolution: open.header.resolution,
            records: batch.records,
            newest: batch.newest,
            bytes: BatchHeader::LEN + batch.payload,
            payload: &open.buffer[at + BatchHeader::LEN..at + BatchHeader::LEN + batch.payload],
        })
    }

    /// The rest of a summary can not be read.
    fn give_summary_up(&mut self) -> Damage {
        let Some(open) = self.current.take() else {
            return Damage { first: 0, last: 0, file: String::new(), offset: 0 };
        };
        self.position = open.header.last;
        open.damage(open.header.first, open.header.last)
    }

    /// At bytes that are no batch: looks for the next batch in this file, or takes the next file. False when there is
    /// nothing for now.
    fn leave_file(&mut self, limit: u64) -> Result<bool, ReadError> {
        let more = self.look_ahead()?;
        let Some(open) = &mut self.current else { return Ok(more) };
        // It may have been completed before the next file was begun.
        if more && !open.seen_end {
            open.seen_end = true;
            open.refill();
            return Ok(true);
        }
        let expected = limit != u64::MAX && self.position < limit;
        if !(more || expected || self.mode == Mode::AtRest) {
            open.refill();
            return Ok(false);
        }
        self.skipped += open.resynchronise()?;
        if open.find_batch()?.is_some() {
            return Ok(true);
        }
        if more {
            self.current = None;
        }
        Ok(more)
    }

    /// Opens the next file; false when there is none.
    fn advance(&mut self) -> Result<bool, ReadError> {
        while self.look_ahead()? {
            let Some(name) = self.ahead.pop_front() else { break };
            self.current = match OpenFile::open(&*self.disk, name, self.log_id) {
                // Summed up since the files were listed.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && !self.closed && self.vanished != Some(name) =>
                {
                    self.vanished = Some(name);
                    self.ahead.clear();
                    continue;
                }
                opened => opened?,
            };
            if let Some(open) = &self.current {
                self.log_id = Some(open.header.log_id);
                self.last_name = Some(name);
                return Ok(true);
            }
            // The last file of a live log may just have been created, and get its header in a moment.
            if self.mode == Mode::Live && self.ahead.is_empty() {
                return Ok(false);
            }
            self.last_name = Some(name);
        }
        Ok(false)
    }

    /// Whether there is a file after the current one.
    fn look_ahead(&mut self) -> Result<bool, ReadError> {
        if !self.ahead.is_empty() || self.closed {
            return Ok(!self.ahead.is_empty());
        }
        let (names, _) = files::list(&*self.disk)?;
        self.ahead = match self.last_name {
            None => names.into(),
            Some(last) => names.into_iter().filter(|name| name.last > last.last).collect(),
        };
        Ok(!self.ahead.is_empty())
    }
}
