//! Headers of files and batches (`docs/operate/ledger.md`, "Format of the log").

use crate::record::Timestamp;

/// Version of the format that is written, and the only one that is read.
pub const LOG_VERSION: u16 = 1;

/// Most bytes of a batch, its header included.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

const FILE_MAGIC: [u8; 8] = *b"SV2SHARE";
const BATCH_MAGIC: [u8; 4] = *b"btch";

/// What the entries of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// As they were appended.
    Shares,
    /// Sums per worker and hour.
    Hours,
    /// Sums per worker and day (of UTC).
    Days,
}

impl Resolution {
    const fn byte(self) -> u8 {
        match self {
            Self::Shares => 0,
            Self::Hours => 1,
            Self::Days => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Shares),
            1 => Some(Self::Hours),
            2 => Some(Self::Days),
            _ => None,
        }
    }
}

/// The beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// The same for all files of a log, so that files of different logs are never mixed up.
    pub(crate) log_id: u64,
    pub(crate) resolution: Resolution,
    /// Sequence number of the first batch; in a summary, of the first that was summed up.
    pub(crate) first: u64,
    /// In a summary, sequence number of the last batch that was summed up; else 0.
    pub(crate) last: u64,
    /// When the file was begun; in a summary, when the file was begun that follows those summed up, so that all its
    /// records are older.
    pub(crate) time: Timestamp,
}

/// Why a file can not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// It is torn, damaged or of something else.
    Invalid,
    /// It has a later version.
    Version(u16),
}

impl FileHeader {
    pub(crate) const LEN: usize = 64;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..10].copy_from_slice(&LOG_VERSION.to_le_bytes());
        bytes[10] = self.resolution.byte();
        bytes[16..24].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.last.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.time.0.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, HeaderError> {
        // The checksum lies where every version has it, so that a later version is told from damage.
        if bytes[..8] != FILE_MAGIC || crc32c::crc32c(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(HeaderError::Invalid);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != LOG_VERSION {
            return Err(HeaderError::Version(version));
        }
        Ok(Self {
            log_id: u64_at(bytes, 16),
            resolution: Resolution::from_byte(bytes[10]).ok_or(HeaderError::Invalid)?,
            first: u64_at(bytes, 24),
            last: u64_at(bytes, 32),
            time: Timestamp(u64_at(bytes, 40)),
        })
    }
}

/// The beginning of a batch. Its checksum is of the log's id and all that follows it, the payload included. The id is
/// random and known to nobody outside, so that nobody can give a worker a name that would be read as a batch where a
/// log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) checksum: u32,
    /// Bytes after the header.
    pub(crate) payload: usize,
    /// Number of records, for people.
    pub(crate) records: u32,
    /// The first batch of a log has 1; in a summary they count from 1.
    pub(crate) sequence: u64,
    /// Time of the newest entry.
    pub(crate) newest: Timestamp,
}

impl BatchHeader {
    pub(crate) const LEN: usize = 32;

    /// `None` for what can not be the header of a batch.
    pub(crate) fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let payload = u32_at(bytes, 8) as usize;
        if bytes[..4] != BATCH_MAGIC || payload > MAX_BATCH_BYTES - Self::LEN {
            return None;
        }
        Some(Self {
            checksum: u32_at(bytes, 4),
            payload,
            records: u32_at(bytes, 12),
            sequence: u64_at(bytes, 16),
            newest: Timestamp(u64_at(bytes, 24)),
        })
    }
}

/// A batch that is complete, with its header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    /// Begins a batch; entries are appended with [`extend`](Self::extend), then it is sealed.
    pub(crate) fn begin(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(BatchHeader::LEN, 0);
        Self { bytes: buffer }
    }

    pub(crate) fn extend(&mut self, entries: &[u8]) {
        self.bytes.extend_from_slice(entries);
    }

    /// Whether so many more bytes of entries are allowed.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.len() + bytes <= MAX_BATCH_BYTES
    }

    pub(crate) fn seal(&mut self, log_id: u64, sequence: u64, records: u32, newest: Timestamp) {
        let payload = (self.bytes.len() - BatchHeader::LEN) as u32;
        self.bytes[..4].copy_from_slice(&BATCH_MAGIC);
        self.bytes[8..12].copy_from_slice(&payload.to_le_bytes());
        self.bytes[12..16].copy_from_slice(&records.to_le_bytes());
        self.bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
        self.bytes[24..32].copy_from_slice(&newest.0.to_le_bytes());
        let checksum = checksum(log_id, &self.bytes[8..]);
        self.bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    }

    pub(crate) fn from_sealed(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(crate) fn sequence(&self) -> u64 {
        u64_at(&self.bytes, 16)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// The header of the batch at the beginning of `bytes`, when all of it is there and right.
pub(crate) fn valid_batch(log_id: u64, bytes: &[u8]) -> Option<BatchHeader> {
    let header = BatchHeader::from_bytes(bytes.first_chunk()?)?;
    let whole = bytes.get(8..BatchHeader::LEN + header.payload)?;
    (checksum(log_id, whole) == header.checksum).then_some(header)
}

fn checksum(log_id: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&log_id.to_le_bytes()), bytes)
}

/// Where the next batch may begin at or after the first byte.
pub(crate) fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(BATCH_MAGIC.len()).position(|window| window == BATCH_MAGIC)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader { log_id: 7, resolution: Resolution::Hours, first: 3, last: 9, time: Timestamp(5) }
    }

    #[test]
    fn file_headers_come_back_and_damage_shows() {
        let bytes = header().to_bytes();
        assert_eq!(FileHeader::from_bytes(&bytes), Ok(header()));
        for at in 0..FileHeader::LEN {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert_eq!(FileHeader::from_bytes(&damaged), Err(HeaderError::Invalid), "byte {at}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = header().to_bytes();
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(FileHeader::from_bytes(&bytes), Err(HeaderError::Version(2)));
    }

    #[test]
    fn batches_come_back_and_damage_shows() {
        let mut batch = Batch::begin(Vec::new());
        batch.extend(b"entries");
        batch.seal(7, 11, 2, Timestamp(9));
        let bytes = batch.bytes().to_vec();
        let read = valid_batch(7, &bytes).unwrap();
        assert_eq!((read.payload, read.records, read.sequence, read.newest), (7, 2, 11, Timestamp(9)));
        assert_eq!(batch.sequence(), 11);
        for at in 0..bytes.len() {
            assert_eq!(valid_batch(7, &bytes[..at]), None, "cut at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(valid_batch(7, &damaged), None, "byte {at}");
        }
        assert_eq!(valid_batch(8, &bytes), None, "of another log");
    }

    #[test]
    fn a_batch_has_room_up_to_its_bound() {
        let batch = Batch::begin(Vec::new());
        assert!(batch.has_room(MAX_BATCH_BYTES - BatchHeader::LEN));
        assert!(!batch.has_room(MAX_BATCH_BYTES - BatchHeader::LEN + 1));
    }
}
