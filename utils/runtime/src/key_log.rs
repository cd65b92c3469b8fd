//! Key logs that say loudly that they are on.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use network_helpers::KeyLog;

/// Why there is no key log.
#[derive(Debug, thiserror::Error)]
#[error("debug_key_log {path}: {source}")]
pub struct KeyLogFileError {
    path: PathBuf,
    source: io::Error,
}

/// Opens a key log and warns. See [`KeyLog::open`]; `None` gives `None`, which is how it should be in production.
///
/// # Errors
/// When the file can not be opened, or others may read it.
pub fn open(path: Option<&Path>) -> Result<Option<Arc<KeyLog>>, KeyLogFileError> {
    let Some(path) = path else { return Ok(None) };
    let log = KeyLog::open(path).map_err(|source| KeyLogFileError { path: path.to_owned(), source })?;
    tracing::warn!(
        file = %path.display(),
        "THE SECRET KEYS OF ALL ENCRYPTED CONNECTIONS ARE WRITTEN TO A FILE: whoever reads it can read and forge what is \
         sent over them. This is for debugging; turn debug_key_log off and delete the file afterwards"
    );
    Ok(Some(Arc::new(log)))
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert!(open(None).unwrap().is_none());
        open(Some(&path)).unwrap().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = open(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("debug_key_log") && error.contains("mode 640"), "{error}");
    }
}
