//! Writes batches so that they are durable, or not reported.

use std::{io, sync::Arc};

use super::{
    files::FileName,
    frame::{Batch, FileHeader, Resolution},
};
use crate::{
    disk::{Disk, DiskFile},
    record::Timestamp,
};

/// A segment is followed by a new one after this long, so that small pools, too, get rid of old shares: 24 hours in
/// milliseconds.
const SEGMENT_MILLIS: u64 = 24 * 3600 * 1000;

/// Appends batches to segments.
///
/// One batch is written and synced before the next. After an error its segment is never written again: the same batch,
/// with the same sequence number, goes to a new segment, and only when that is synced the writer goes on. So at most
/// the last batch of a segment can be one that is not durable, and it is also in the next segment.
pub(crate) struct LogWriter<D: Disk> {
    disk: Arc<D>,
    log_id: u64,
    segment_bytes: u64,
    next_file: u64,
    current: Option<Current<D::File>>,
}

struct Current<F> {
    file: F,
    bytes: u64,
    begun: Timestamp,
}

impl<D: Disk> LogWriter<D> {
    pub(crate) fn new(disk: Arc<D>, log_id: u64, segment_bytes: u64, next_file: u64) -> Self {
        Self { disk, log_id, segment_bytes, next_file, current: None }
    }

    pub(crate) fn log_id(&self) -> u64 {
        self.log_id
    }

    /// Number of the segment that is being written, or would be begun: it and later ones are the writer's own.
    pub(crate) fn active_file(&self) -> u64 {
        if self.current.is_some() { self.next_file.saturating_sub(1) } else { self.next_file }
    }

    /// Returns when the batch is durable. After an error the caller gives the same batch again, until it is.
    pub(crate) fn commit(&mut self, batch: &Batch, now: Timestamp) -> io::Result<()> {
        let bytes = batch.bytes().len() as u64;
        let is_full = |current: &Current<_>| {
            current.bytes + bytes > self.segment_bytes || now.0.saturating_sub(current.begun.0) > SEGMENT_MILLIS
        };
        // Taken out, so that an error leaves none.
        match self.current.take().filter(|current| !is_full(current)) {
            Some(mut current) => {
                current.file.append(batch.bytes())?;
                current.file.sync()?;
                current.bytes += bytes;
                self.current = Some(current);
            }
            None => self.current = Some(self.begin_segment(batch, now)?),
        }
        Ok(())
    }

    /// The name is new even if the last one failed: that file may come back after a power cut.
    fn begin_segment(&mut self, batch: &Batch, now: Timestamp) -> io::Result<Current<D::File>> {
        let name = FileName::segment(self.next_file).to_string();
        let mut file = self.disk.create(&name)?;
        self.next_file += 1;
        let header = FileHeader {
            log_id: self.log_id,
            resolution: Resolution::Shares,
            first: batch.sequence(),
            last: 0,
            time: now,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(batch.bytes());
        let written = file.append(&bytes).and_then(|()| file.sync()).and_then(|()| self.disk.sync_folder());
        if let Err(error) = written {
            drop(file);
            // Or a full disk fills with beginnings of segments.
            let _ = self.disk.remove(&name);
            return Err(error);
        }
        Ok(Current { file, bytes: bytes.len() as u64, begun: now })
    }
}
