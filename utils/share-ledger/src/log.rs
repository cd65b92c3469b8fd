//! The log: an append-only sequence of batches in files (`docs/operate/ledger.md`).

mod entry;
mod files;
mod frame;
mod open_file;
mod reader;
mod recovery;
pub(crate) mod summary;
mod writer;

#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;

pub use entry::{Entries, Entry, Malformed, SHARE_BYTES, Sum, WorkerEntry};
pub use frame::{LOG_VERSION, MAX_BATCH_BYTES, Resolution};
pub use reader::{Damage, LogReader, Mode, ReadBatch, ReadError, Step};

pub(crate) use entry::{Encoder, MAX_ENTRY_BYTES};
pub(crate) use files::{FileName, file_sizes, list, read_header};
pub(crate) use frame::{Batch, BatchHeader};
pub(crate) use recovery::{Recovered, recover};
pub(crate) use writer::LogWriter;
