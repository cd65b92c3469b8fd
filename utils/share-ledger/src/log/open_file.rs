//! One file of the log, read batch by batch.

use std::io;

use super::{
    files::{self, FileName, read_full},
    frame::{BatchHeader, FileHeader, HeaderError, MAX_BATCH_BYTES, find_magic, valid_batch},
    reader::Damage,
};
use crate::disk::{Disk, DiskFile};

/// How much is read at once, in bytes; more where a batch needs it.
const READ_BYTES: usize = 256 << 10;

/// Bytes whose checksum is computed while looking for the next batch behind damage. What looks like the beginning of a
/// batch may be anything, as many times as there is room; at the bound the rest of the file counts as damaged.
const SEARCH_BYTES: u64 = 1 << 30;

pub(crate) struct OpenFile<F> {
    pub(crate) name: FileName,
    pub(crate) header: FileHeader,
    file: F,
    /// Where the buffer begins in the file.
    offset: u64,
    pub(crate) buffer: Vec<u8>,
    /// Part of the buffer that was taken.
    taken: usize,
    pub(crate) taken_batches: u64,
    /// There was no further batch when last looked.
    pub(crate) seen_end: bool,
}

impl<F: DiskFile> OpenFile<F> {
    /// `None` for a file without a valid header, and one of another log than `log_id`.
    pub(crate) fn open<D: Disk<File = F>>(disk: &D, name: FileName, log_id: Option<u64>) -> io::Result<Option<Self>> {
        let file = disk.open(&name.to_string())?;
        match files::read_header(&file)? {
            Ok(header) if log_id.is_none_or(|id| id == header.log_id) => {
                Ok(Some(Self::with_header(name, header, file)))
            }
            Ok(_) | Err(HeaderError::Invalid) => Ok(None),
            Err(HeaderError::Version(version)) => Err(files::later_version(&name, version)),
        }
    }

    /// With a header that was not read from the file.
    pub(crate) fn with_header(name: FileName, header: FileHeader, file: F) -> Self {
        let offset = FileHeader::LEN as u64;
        Self { name, header, file, offset, buffer: Vec::new(), taken: 0, taken_batches: 0, seen_end: false }
    }

    /// Length in bytes.
    pub(crate) fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    /// Where the next batch begins, or should.
    pub(crate) fn place(&self) -> u64 {
        self.offset + self.taken as u64
    }

    /// The batch at the present place, if all of it is there. Reads what is needed into the buffer.
    pub(crate) fn find_batch(&mut self) -> io::Result<Option<BatchHeader>> {
        let Some(header) = self.find_header()? else { return Ok(None) };
        if !self.fill(BatchHeader::LEN + header.payload)? {
            return Ok(None);
        }
        Ok(valid_batch(self.header.log_id, self.rest()))
    }

    fn find_header(&mut self) -> io::Result<Option<BatchHeader>> {
        self.fill(BatchHeader::LEN)?;
        Ok(self.rest().first_chunk().and_then(BatchHeader::from_bytes))
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Steps over a batch; returns where in the buffer it begins.
    pub(crate) fn take(&mut self, batch: &BatchHeader) -> usize {
        let at = self.taken;
        self.taken += BatchHeader::LEN + batch.payload;
        self.taken_batches += 1;
        self.seen_end = false;
        at
    }

    /// Makes the buffer hold at least `bytes` that were not taken; false when the file has fewer.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        if self.rest().len() >= bytes {
            return Ok(true);
        }
        self.buffer.drain(..self.taken);
        self.offset += self.taken as u64;
        self.taken = 0;
        let have = self.buffer.len();
        let left = self.file.size()?.saturating_sub(self.offset);
        let left = usize::try_from(left).unwrap_or(usize::MAX).max(have);
        self.buffer.resize(bytes.max(have + READ_BYTES).min(left), 0);
        let read = read_full(&self.file, &mut self.buffer[have..], self.offset + have as u64);
        self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
        read?;
        Ok(self.buffer.len() >= bytes)
    }

    /// Forgets what was read and not taken: the file may have other bytes there by now.
    pub(crate) fn refill(&mut self) {
        self.offset += self.taken as u64;
        self.taken = 0;
        self.buffer.clear();
    }

    /// Steps over bytes that are no batch, to the next batch or the end of the file; returns how many.
    pub(crate) fn resynchronise(&mut self) -> io::Result<u64> {
        self.refill();
        let start = self.place();
        let mut budget = SEARCH_BYTES;
        loop {
            if let Some(header) = self.find_header()? {
                let needed = (BatchHeader::LEN + header.payload) as u64;
                match budget.checked_sub(needed) {
                    Some(rest) => budget = rest,
                    None => {
                        self.go_to_end()?;
                        break;
                    }
                }
                if self.find_batch()?.is_some() {
                    break;
                }
            }
            self.fill(MAX_BATCH_BYTES)?;
            let rest = self.rest();
            if rest.is_empty() {
                break;
            }
            self.taken += match find_magic(&rest[1..]) {
                Some(at) => at + 1,
                // The last bytes may be the beginning of one; at the end of the file they are not.
                None => rest.len().saturating_sub(3).max(1),
            };
        }
        Ok(self.place() - start)
    }

    fn go_to_end(&mut self) -> io::Result<()> {
        self.offset = self.file.size()?.max(self.place());
        self.taken = 0;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn damage(&self, first: u64, last: u64) -> Damage {
        Damage { first, last, file: self.name.to_string(), offset: self.place() }
    }
}
