//! A file with the keys of connections, for debugging.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use noise_sv2::{ACT1_LENGTH, key_log::TransportKeys};

/// A file that gets the keys of every connection it is handed to; see `noise_sv2::key_log` for the form.
///
/// **Whoever reads it can read, and change on the way, all that goes over these connections.** For debugging only, off
/// unless asked for. One line per connection, appended; the file is not bounded.
#[derive(Debug)]
pub struct KeyLog(Mutex<File>);

impl KeyLog {
    /// Opens `path` for appending. A new file is for its owner alone (mode 0600).
    ///
    /// # Errors
    /// As the system reports, and [`io::ErrorKind::PermissionDenied`] for a file that others may read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = file.metadata()?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                let what = format!("others may read it (mode {mode:o}); run `chmod 600` on it, or name a new file");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
            }
        }
        Ok(Self(Mutex::new(file)))
    }

    /// Appends a connection's line, in one write. Blocks for as long as the disk takes.
    pub(crate) fn write(&self, act1: &[u8; ACT1_LENGTH], keys: &TransportKeys) -> io::Result<()> {
        let mut line = keys.key_log_line(act1);
        line.push('\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }
}
