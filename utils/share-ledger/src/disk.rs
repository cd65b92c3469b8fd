//! The files of the log, behind a trait: the tests have a disk that loses power, tears writes and fails to sync.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// One folder of files. Each method may block.
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Names of all files, in any order.
    ///
    /// # Errors
    /// As the system reports; so for all methods.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file, to write. Fails when the name is taken.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// A file, to read.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Cuts a file off at `len` bytes, and syncs it.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;

    /// Removes a file. After a power cut it may be there again, until the folder was synced.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name; what had that name is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes all creations, removals and new names durable.
    fn sync_folder(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send {
    /// Writes all bytes at the end. After an error, any part of them may be there.
    ///
    /// # Errors
    /// As the system reports; so for all methods.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable. After an error nobody knows what is on the disk, and another sync does not tell:
    /// the system may have dropped the bytes.
    fn sync(&mut self) -> io::Result<()>;

    /// Reads at most `buffer.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// An existing folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for Folder {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is no UTF-8 is not ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).read(true).create_new(true).open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.path.join(name))
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
