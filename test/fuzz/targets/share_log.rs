//! Bytes as the files of a share log: reading ends, goes forward only, and finds what is in order.
//!
//! The input is a list of pieces: a kind, a length, and bytes. Some become batches with a right checksum, which a
//! fuzzer would not find by itself.
#![no_main]

use std::{io, sync::Arc};

use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use share_ledger::{
    disk::{Disk, DiskFile},
    log::{Entry, LogReader, Mode, Step},
};

const LOG_ID: u64 = 7;

/// Files that do not change.
#[derive(Default)]
struct Files(Vec<(String, Arc<Vec<u8>>)>);

struct File(Arc<Vec<u8>>);

impl Disk for Files {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.iter().map(|(name, _)| name.clone()).collect())
    }

    fn create(&self, _: &str) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, bytes)| File(bytes.clone())).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn truncate(&self, _: &str, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for File {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

fn file_header(resolution: u8, first: u64, last: u64) -> Vec<u8> {
    let mut bytes = b"SV2SHARE\x01\x00".to_vec();
    bytes.push(resolution);
    bytes.resize(16, 0);
    for number in [LOG_ID, first, last, 0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.resize(60, 0);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn batch(sequence: u64, records: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&records.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&0_u64.to_le_bytes());
    bytes.extend_from_slice(payload);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&LOG_ID.to_le_bytes()), &bytes);
    [&b"btch"[..], &checksum.to_le_bytes(), &bytes].concat()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut files = Files::default();
    let (mut name, mut bytes) = (None, Vec::new());
    let mut batches = 0;
    while !input.is_empty() {
        let kind = input.byte();
        let number = u64::from(input.byte());
        let length = usize::from(input.byte());
        match kind % 5 {
            0 => bytes.extend_from_slice(input.bytes(length)),
            1 | 2 => {
                batches += 1;
                bytes.extend_from_slice(&batch(number, u32::from(kind / 5 % 2), input.bytes(length)));
            }
            _ => {
                if let Some(name) = name.take() {
                    files.0.push((name, Arc::new(std::mem::take(&mut bytes))));
                }
                let count = files.0.len() as u64;
                name = Some(match kind % 5 {
                    3 => format!("shares-{count:010}.log"),
                    _ => format!("sums-{count:010}-{:010}.log", count + number % 3),
                });
                bytes = file_header(kind / 5 % 3, number, number + length as u64);
            }
        }
    }
    files.0.extend(name.map(|name| (name, Arc::new(bytes))));

    let files = Arc::new(files);
    for mode in [Mode::AtRest, Mode::Live] {
        let Ok(mut reader) = LogReader::open(files.clone(), 0, mode) else { return };
        let (mut position, mut steps) = (0, 0);
        while let Ok(Some(step)) = reader.next(u64::MAX) {
            steps += 1;
            match step {
                Step::Batch(batch) => {
                    assert!(batch.sequence > position, "it goes forward");
                    if batch.complete {
                        position = batch.sequence;
                    }
                    for entry in batch.entries() {
                        if let Ok(Entry::Worker(worker)) = entry {
                            assert!(worker.account.len() <= 255 && worker.worker.len() <= 255);
                        }
                    }
                }
                Step::Damage(damage) => {
                    assert!(damage.first <= damage.last && damage.last >= position);
                    position = damage.last;
                }
            }
        }
        assert_eq!(reader.position(), position);
        // A batch, and damage before it; damage at the end of each summary.
        assert!(steps <= 2 * (batches + files.0.len()), "{steps} steps of {batches} batches");
    }
});
