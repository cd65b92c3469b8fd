//! Keys of encrypted connections, from the key log of one end.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read},
};

use noise_sv2::{ACT1_LENGTH, key_log::TransportKeys};

/// Connections that a key log may name: some 100 MiB of keys.
const MAX_CONNECTIONS: usize = 500_000;
/// Longest line, in bytes; a key's has 267.
const MAX_LINE: u64 = 1024;

/// Why a key log can not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLogError {
    /// Reading it failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line that is no key line, no comment and not empty.
    #[error("key log, line {line}: {error}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        error: noise_sv2::key_log::KeyLineError,
    },
    /// Too many connections.
    #[error("expected a key log of at most {MAX_CONNECTIONS} connections")]
    TooLong,
}

/// The keys of encrypted connections, by their first message. `Debug` shows none of them.
#[derive(Debug, Default)]
pub struct KeyLog(HashMap<[u8; ACT1_LENGTH], TransportKeys>);

impl KeyLog {
    /// Reads a log as `noise_sv2::key_log` describes it. Lines that begin with `#` are comments.
    ///
    /// # Errors
    /// See [`KeyLogError`].
    pub fn read(mut input: impl BufRead) -> Result<Self, KeyLogError> {
        let mut connections = HashMap::new();
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            if Read::by_ref(&mut input).take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (act1, keys) =
                TransportKeys::from_key_log_line(text).map_err(|error| KeyLogError::Line { line, error })?;
            connections.insert(act1, keys);
            if connections.len() > MAX_CONNECTIONS {
                return Err(KeyLogError::TooLong);
            }
        }
        Ok(Self(connections))
    }

    /// Connections it has keys for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys of the connection that began with these bytes.
    pub(crate) fn keys(&self, start: &[u8]) -> Option<&TransportKeys> {
        self.0.get(start.first_chunk::<ACT1_LENGTH>()?)
    }
}
