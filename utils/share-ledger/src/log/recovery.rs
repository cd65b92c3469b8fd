//! What a process finds of the log that the last one left.

use std::{io, sync::Arc};

use super::{
    files::{self, FileName, UNFINISHED},
    frame::{Batch, BatchHeader, FileHeader, Resolution},
    open_file::OpenFile,
    reader::{LogReader, ReadError, Step},
};
use crate::{disk::Disk, record::Timestamp};

/// The state of a log at rest.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log_id: u64,
    /// Sequence number of the last batch; 0 when there is none.
    pub(crate) last: u64,
    /// Number for the next segment.
    pub(crate) next_file: u64,
    /// The last batch, which may not be durable: the last process may have died before it was synced, or its sync may
    /// have failed, and what can be read comes from memory. It has to be written again before anything that follows it.
    pub(crate) carry: Option<Batch>,
    /// The segment that has nothing but `carry`; to be removed once that is written again.
    pub(crate) superseded: Option<FileName>,
}

/// Brings the log in order: what was summed up is removed, and what was torn at the end is cut off.
///
/// # Errors
/// As the system reports; also for files of a later version.
pub(crate) fn recover<D: Disk>(disk: &Arc<D>, new_log_id: u64) -> io::Result<Recovered> {
    remove_leftovers(disk)?;
    let (mut names, replaced) = files::list(&**disk)?;
    let next_file = names.iter().chain(&replaced).map(|name| name.last.saturating_add(1)).max().unwrap_or(0);
    let log_id = find_log_id(&**disk, &names)?;
    let mut recovered =
        Recovered { log_id: log_id.unwrap_or(new_log_id), last: 0, next_file, carry: None, superseded: None };
    while let Some(name) = names.pop() {
        let header = OpenFile::open(&**disk, name, log_id)?.map(|open| open.header);
        if name.summary {
            let Some(header) = header else { continue };
            recovered.last = header.last;
            break;
        }
        let Some(end) = scan(&**disk, name, header, recovered.log_id)? else {
            tracing::warn!("{name} has nothing that was written whole: removed");
            remove(&**disk, name);
            continue;
        };
        if end.torn > 0 {
            tracing::warn!("{name} ends in a torn write: {} bytes cut off", end.torn);
            if let Err(error) = disk.truncate(&name.to_string(), end.valid) {
                tracing::warn!("{name} can not be cut off, which does no harm: {error}");
            }
        }
        recovered.last = end.last;
        recovered.carry = Some(Batch::from_sealed(end.last_batch));
        recovered.superseded = (end.batches == 1).then_some(name);
        break;
    }
    Ok(recovered)
}

/// Removes what was summed up, and a summary that was never finished.
fn remove_leftovers<D: Disk>(disk: &Arc<D>) -> io::Result<()> {
    if disk.list()?.iter().any(|name| name == UNFINISHED) {
        let _ = disk.remove(UNFINISHED);
    }
    let (names, replaced) = files::list(&**disk)?;
    for summary in names.into_iter().filter(|name| name.summary) {
        let inputs: Vec<&FileName> = replaced.iter().filter(|name| summary.replaces(name)).collect();
        if inputs.is_empty() {
            continue;
        }
        if is_whole(disk, summary)? {
            inputs.into_iter().for_each(|name| remove(&**disk, *name));
        } else {
            tracing::error!("{summary} is damaged; what it was made of is still there and takes its place");
            remove(&**disk, summary);
        }
    }
    Ok(())
}

fn is_whole<D: Disk>(disk: &Arc<D>, summary: FileName) -> io::Result<bool> {
    let Some(open) = OpenFile::open(&**disk, summary, None)? else { return Ok(false) };
    let mut reader = LogReader::over(disk.clone(), &[summary], open.header.first.saturating_sub(1));
    loop {
        match reader.next(u64::MAX) {
            Ok(Some(Step::Batch(batch))) if batch.complete => return Ok(true),
            Ok(Some(Step::Batch(_))) => {}
            Ok(_) => return Ok(false),
            Err(ReadError::Io(error)) => return Err(error),
            Err(_) => return Ok(false),
        }
    }
}

fn remove<D: Disk>(disk: &D, name: FileName) {
    if let Err(error) = disk.remove(&name.to_string()) {
        tracing::warn!("{name} can not be removed, which does no harm: {error}");
    }
}

fn find_log_id<D: Disk>(disk: &D, names: &[FileName]) -> io::Result<Option<u64>> {
    for name in names {
        if let Some(open) = OpenFile::open(disk, *name, None)? {
            return Ok(Some(open.header.log_id));
        }
    }
    Ok(None)
}

/// The end of a segment.
struct End {
    batches: u64,
    last: u64,
    last_batch: Vec<u8>,
    /// Length in bytes up to the end of the last batch.
    valid: u64,
    /// Bytes after that.
    torn: u64,
}

/// Reads a segment through; `None` when it has no batch.
fn scan<D: Disk>(disk: &D, name: FileName, header: Option<FileHeader>, log_id: u64) -> io::Result<Option<End>> {
    let header_is_lost = header.is_none();
    let header =
        header.unwrap_or(FileHeader { log_id, resolution: Resolution::Shares, first: 0, last: 0, time: Timestamp(0) });
    let mut open = OpenFile::with_header(name, header, disk.open(&name.to_string())?);
    let mut end: Option<End> = None;
    loop {
        while let Some(batch) = open.find_batch()? {
            let at = open.take(&batch);
            let bytes = &open.buffer[at..at + BatchHeader::LEN + batch.payload];
            // The buffer is reused for the next one.
            let mut last_batch = end.take().map(|end| (end.batches, end.last_batch)).unwrap_or_default();
            last_batch.1.clear();
            last_batch.1.extend_from_slice(bytes);
            end = Some(End {
                batches: last_batch.0 + 1,
                last: batch.sequence,
                last_batch: last_batch.1,
                valid: open.place(),
                torn: 0,
            });
        }
        let skipped = open.resynchronise()?;
        if open.find_batch()?.is_none() {
            if let Some(end) = &mut end {
                end.torn = open.place() - end.valid;
                // With a single batch it is a first write that was torn; the batch is written again.
                if header_is_lost && end.batches > 1 {
                    tracing::error!("{name} has lost its header: its batches, up to {}, can not be read", end.last);
                }
            }
            return Ok(end);
        }
        tracing::error!("{name} is damaged: {skipped} bytes before byte {} can not be read", open.place());
    }
}
