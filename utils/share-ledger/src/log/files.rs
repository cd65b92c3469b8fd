//! The files of a log, in their order.
//!
//! `shares-N.log` is the N-th segment; `sums-A-B.log` is the summary that took the place of files A to B. A file whose
//! numbers a summary has is done with, and removed when it is met.

use std::io;

use super::{
    frame::{FileHeader, HeaderError, LOG_VERSION, Resolution},
    open_file::OpenFile,
};
use crate::{
    disk::{Disk, DiskFile},
    record::Timestamp,
};

/// Name of a file that is being written, and removed when found.
pub(crate) const UNFINISHED: &str = "sums.tmp";

/// A file of the log, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileName {
    /// Number of the first segment in it.
    pub(crate) first: u64,
    /// Number of the last.
    pub(crate) last: u64,
    pub(crate) summary: bool,
}

impl FileName {
    pub(crate) const fn segment(number: u64) -> Self {
        Self { first: number, last: number, summary: false }
    }

    pub(crate) const fn summary(first: u64, last: u64) -> Self {
        Self { first, last, summary: true }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let parsed = if let Some(number) = name.strip_prefix("shares-") {
            Self::segment(number.strip_suffix(".log")?.parse().ok()?)
        } else {
            let (first, last) = name.strip_prefix("sums-")?.strip_suffix(".log")?.split_once('-')?;
            Self::summary(first.parse().ok()?, last.parse().ok()?)
        };
        // One way to write it, so that two files are never taken for the same.
        (parsed.first <= parsed.last && parsed.to_string() == name).then_some(parsed)
    }

    /// Whether a summary has what `other` had.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        self.summary && self != other && self.first <= other.first && other.last <= self.last
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.summary {
            write!(f, "sums-{:010}-{:010}.log", self.first, self.last)
        } else {
            write!(f, "shares-{:010}.log", self.first)
        }
    }
}

/// The files that count, in order, and those that a summary has replaced.
pub(crate) fn list<D: Disk>(disk: &D) -> io::Result<(Vec<FileName>, Vec<FileName>)> {
    let mut all: Vec<FileName> = disk.list()?.iter().filter_map(|name| FileName::parse(name)).collect();
    all.sort_unstable();
    let summaries: Vec<FileName> = all.iter().filter(|name| name.summary).copied().collect();
    Ok(all.into_iter().partition(|name| !summaries.iter().any(|summary| summary.replaces(name))))
}

/// What the files of a log hold, their sizes in bytes and when they were begun, in order. Damaged ones are left out.
pub(crate) fn file_sizes<D: Disk>(disk: &D) -> io::Result<Vec<(Resolution, u64, Timestamp)>> {
    let mut sizes = Vec::new();
    for name in list(disk)?.0 {
        if let Some(open) = OpenFile::open(disk, name, None)? {
            sizes.push((open.header.resolution, open.size()?, open.header.time));
        }
    }
    Ok(sizes)
}

/// Reads a file's header. An inner error says what is wrong with the file, the outer one is the system's.
pub(crate) fn read_header<F: DiskFile>(file: &F) -> io::Result<Result<FileHeader, HeaderError>> {
    let mut bytes = [0; FileHeader::LEN];
    let read = read_full(file, &mut bytes, 0)?;
    Ok(if read == bytes.len() { FileHeader::from_bytes(&bytes) } else { Err(HeaderError::Invalid) })
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_full<F: DiskFile>(file: &F, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// The error for a file of a later version.
pub(crate) fn later_version(name: &FileName, version: u16) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{name} has version {version} of the log's format; this program knows version {LOG_VERSION}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for name in [FileName::segment(0), FileName::segment(u64::MAX), FileName::summary(3, 12_345_678_901)] {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for other in [
            "shares-1.log",
            "shares-00000000001.log",
            "shares-+000000001.log",
            "sums-0000000002-0000000001.log",
            "sums.tmp",
            "shares-0000000001.log.tmp",
            "",
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_summary_stands_before_what_follows_it() {
        let mut names = [FileName::segment(4), FileName::summary(2, 3), FileName::summary(0, 1), FileName::segment(10)];
        names.sort_unstable();
        assert_eq!(
            names,
            [FileName::summary(0, 1), FileName::summary(2, 3), FileName::segment(4), FileName::segment(10)]
        );
    }
}
