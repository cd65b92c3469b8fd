//! A copy of a log, while it is written.
//!
//! What is a file of the log once, and not the last one, never changes: it is copied once, also by later backups to the same
//! place. The last one is copied up to where it is; a batch that is cut off there is dropped when the copy is opened, like after a
//! power cut. Files that are summed up while they are copied are told by their names being gone, and all is looked at again.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    disk::{Disk, Folder},
    embedded::LOG_FOLDER,
    log::{FileName, list, read_header},
};

/// How often all is looked at again before giving up; files are summed up once an hour at most.
const ATTEMPTS: usize = 10;

/// Ending of a file that is being copied.
const UNFINISHED: &str = ".part";

/// A backup that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackedUp {
    /// Files of the log in the backup.
    pub files: u64,
    /// How many of them were copied now; the others were there.
    pub copied: u64,
    /// Bytes that were copied now.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// As the system reports.
    #[error("{path}: {error}")]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The place has another ledger's log.
    #[error("{0} has the log of another ledger: back up to an empty folder")]
    OtherLog(PathBuf),
    /// The log did not hold still.
    #[error("files of the log were summed up again and again while they were copied; try again")]
    Busy,
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::Io { path: path.clone(), error }
}

/// Copies the log of the ledger in `folder` to the ledger folder `to`, which is made if it is not there. Both may be used with
/// [`verify`](crate::verify) and [`rebuild`](crate::rebuild).
///
/// All that was durable before the call is in the copy, and on disk, when it returns.
///
/// # Errors
/// See [`BackupError`]. What was copied before it is whole files, which the next backup goes on with.
pub fn backup(folder: &Path, to: &Path) -> Result<BackedUp, BackupError> {
    let (source, target) = (folder.join(LOG_FOLDER), to.join(LOG_FOLDER));
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&target).map_err(at(&target))?;
    let (from, into) = (Folder::new(&source), Folder::new(&target));
    if let (Some(ours), Some(theirs)) = (log_id(&from).map_err(at(&source))?, log_id(&into).map_err(at(&target))?)
        && ours != theirs
    {
        return Err(BackupError::OtherLog(target));
    }
    let mut done = BackedUp::default();
    for _ in 0..ATTEMPTS {
        let files = list(&from).map_err(at(&source))?.0;
        if !copy_all(&source, &target, &files, &mut done)? {
            continue;
        }
        let after = list(&from).map_err(at(&source))?.0;
        if files.iter().all(|name| after.contains(name)) {
            // What a summary has replaced.
            for name in list(&into).map_err(at(&target))?.1 {
                let name = name.to_string();
                into.remove(&name).map_err(at(&target.join(name)))?;
            }
            into.sync_folder().map_err(at(&target))?;
            done.files = files.len() as u64;
            return Ok(done);
        }
    }
    Err(BackupError::Busy)
}

/// The id of the log in a folder; none where there is none.
fn log_id(folder: &Folder) -> io::Result<Option<u64>> {
    for name in list(folder)?.0 {
        match folder.open(&name.to_string()).and_then(|file| read_header(&file)) {
            Ok(Ok(header)) => return Ok(Some(header.log_id)),
            // A damaged one is copied as it is; one that is gone was summed up.
            Ok(Err(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// False when one is gone.
fn copy_all(source: &Path, target: &Path, files: &[FileName], done: &mut BackedUp) -> Result<bool, BackupError> {
    for name in files {
        let name = name.to_string();
        let (from, to) = (source.join(&name), target.join(&name));
        let opened = match File::open(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(at(&from))?,
        };
        let metadata = opened.metadata().map_err(at(&from))?;
        if is_the_same(&metadata, &to) {
            continue;
        }
        done.bytes += copy(opened.take(metadata.len()), &to).map_err(at(&to))?;
        done.copied += 1;
    }
    Ok(true)
}

/// Whether the copy is as long as the file, and younger than the last write to it.
fn is_the_same(file: &fs::Metadata, copy: &Path) -> bool {
    fs::metadata(copy).is_ok_and(|copy| {
        let younger = copy.modified().ok().zip(file.modified().ok()).is_some_and(|(copy, file)| copy > file);
        copy.len() == file.len() && younger
    })
}

fn copy(mut from: impl Read, to: &Path) -> io::Result<u64> {
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    let bytes = io::copy(&mut from, &mut file)?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&unfinished, to)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{Config, Difficulty, Ledger, Reader, Share, ShareHash, ShareLedger, Timestamp, Work, rebuild, verify};

    const START: u64 = 1_800_000_000_000;

    fn open(folder: &Path) -> Ledger {
        // Small segments, so that there are many.
        Ledger::open(&Config { segment_bytes: 4_096, ..Config::new(folder) }).unwrap()
    }

    fn append(ledger: &Ledger, numbers: std::ops::Range<u64>) {
        let queue = ledger.queue();
        let worker = ledger.worker("alice", "rig").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for number in numbers {
            let share = Share {
                at: Timestamp(START + number),
                worker,
                work: Work(1 << 32),
                hash: ShareHash::of(&[number as u8; 32]),
                reached: Difficulty::new(1.0),
            };
            let position = queue.append(&[share.into()]).unwrap();
            let mut progress = ledger.progress();
            runtime.block_on(async { drop(progress.wait_for(|it| it.durable >= position).await.unwrap()) });
        }
    }

    fn shares(folder: &Path) -> u64 {
        let found = verify(folder, |_| {}).unwrap();
        assert!(found.damage.is_empty() && found.malformed.is_empty() && found.lost.is_empty(), "{found:?}");
        found.shares
    }

    #[test]
    fn a_backup_has_all_that_was_durable_and_the_next_one_copies_what_is_new() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ledger = open(folder.path());
        append(&ledger, 0..200);
        let first = backup(folder.path(), copy.path()).unwrap();
        assert!(first.files > 2 && first.copied == first.files, "{first:?}");
        assert_eq!(shares(copy.path()), 200);
        append(&ledger, 200..210);
        let second = backup(folder.path(), copy.path()).unwrap();
        assert!(second.copied < first.copied && second.files >= first.files, "{second:?}");
        ledger.close();
        assert_eq!(backup(folder.path(), copy.path()).unwrap().copied, 0, "nothing is new");
        assert_eq!(shares(copy.path()), 210);
        rebuild(copy.path(), |_, _| {}).unwrap();
        assert_eq!(Reader::open(copy.path()).unwrap().account("alice").unwrap().unwrap().totals.shares, 210);
        // A pool runs on it.
        append(&open(copy.path()), 210..211);
        assert_eq!(shares(copy.path()), 211);
    }

    #[test]
    fn a_backup_while_shares_come_is_whole() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ledger = open(folder.path());
        append(&ledger, 0..1);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                append(&ledger, 1..400);
                ended.store(true, Ordering::SeqCst);
            });
            let mut last = 0;
            while !ended.load(Ordering::SeqCst) {
                backup(folder.path(), copy.path()).unwrap();
                let now = shares(copy.path());
                assert!(now >= last, "{now} of {last}");
                last = now;
            }
        });
        backup(folder.path(), copy.path()).unwrap();
        assert_eq!(shares(copy.path()), 400);
    }

    #[test]
    fn what_was_summed_up_leaves_the_backup() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ledger = open(folder.path());
        append(&ledger, 0..200);
        ledger.close();
        backup(folder.path(), copy.path()).unwrap();
        // As a summary takes the place of the first two files; a copy of the third stands for it here.
        let log = folder.path().join(LOG_FOLDER);
        let files = list(&Folder::new(&log)).unwrap().0;
        let summary = FileName::summary(files[0].first, files[1].first).to_string();
        fs::copy(log.join(files[0].to_string()), log.join(&summary)).unwrap();
        fs::remove_file(log.join(files[0].to_string())).unwrap();
        fs::remove_file(log.join(files[1].to_string())).unwrap();
        let done = backup(folder.path(), copy.path()).unwrap();
        assert_eq!((done.copied, done.files), (1, files.len() as u64 - 1));
        let names = |folder: &Path| {
            let mut names = Folder::new(folder.join(LOG_FOLDER)).list().unwrap();
            names.sort();
            names
        };
        assert_eq!(names(copy.path()), names(folder.path()));
    }

    #[test]
    fn logs_are_not_mixed_up() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        append(&open(one.path()), 0..1);
        append(&open(other.path()), 0..1);
        assert!(matches!(backup(one.path(), other.path()), Err(BackupError::OtherLog(_))));
        let missing = backup(&one.path().join("missing"), other.path()).unwrap_err().to_string();
        assert!(missing.contains("missing"), "{missing}");
    }
}
