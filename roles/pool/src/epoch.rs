//! The epoch: a number that no two starts of a pool share.
//!
//! It is part of every extranonce prefix, so that a process never hands out search space that the one before it, or one
//! beside it, has handed out.

use std::{fs, io, path::Path};

use stratum_runtime::files::{Access, write_durably};

/// Takes the next epoch from `folder`: one more than the last, durably noted before it is returned. Starts at 1.
///
/// Two processes that start at the same moment are kept apart by a lock on the folder's `lock` file, which the caller holds
/// through [`lock`].
///
/// # Errors
/// When the file can not be read or written, or does not hold a number.
pub fn next(folder: &Path) -> io::Result<u64> {
    let path = folder.join("epoch");
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().map_err(|_| {
            let message =
                format!("{} should hold one number; restore it from a backup, never start over at 1", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let next = last.checked_add(1).ok_or_else(|| io::Error::other("the epochs are used up"))?;
    write_durably(&path, format!("{next}\n").as_bytes(), Access::Public)?;
    Ok(next)
}

/// Locks `folder` for this process until the file is dropped.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when another process holds it.
pub fn lock(folder: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    file.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => {
            let message = format!("another pool uses {}; stop it, or give this one its own data_dir", folder.display());
            io::Error::new(io::ErrorKind::WouldBlock, message)
        }
        fs::TryLockError::Error(error) => error,
    })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_across_starts() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            [next(folder.path()).unwrap(), next(folder.path()).unwrap(), next(folder.path()).unwrap()],
            [1, 2, 3]
        );
    }

    #[test]
    fn damage_is_an_error_not_a_new_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("epoch"), "").unwrap();
        assert_eq!(next(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        assert_eq!(lock(folder.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        lock(folder.path()).unwrap();
    }
}
