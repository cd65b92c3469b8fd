//! News of blocks that a receiver does not have yet, on disk: one small file for each receiver.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ring::digest;
use stratum_runtime::files::{Access, write_durably};

use crate::{message::Message, outbox::MAX_WAITING};

/// Folder in the data folder.
pub const FOLDER: &str = "notifications";

/// Largest file that is read: [`MAX_WAITING`] notifications of some hundred bytes each, several times over.
const MAX_FILE: u64 = 4 << 20;

/// The file of one receiver.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    path: PathBuf,
}

impl Spool {
    /// For the receiver that `identity` stands for: as long as that is the same in the configuration, its file is found again. It
    /// may be secret, and is not in the name.
    pub(crate) fn new(data_dir: &Path, identity: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, identity.as_bytes());
        let name: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { path: data_dir.join(FOLDER).join(format!("{name}.json")) }
    }

    /// What has not been delivered when the last process ended; nothing when there is no file.
    pub(crate) fn load(&self) -> io::Result<Vec<Message>> {
        let size = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if size > MAX_FILE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
        }
        let mut messages: Vec<Message> = serde_json::from_slice(&fs::read(&self.path)?)?;
        messages.truncate(MAX_WAITING);
        Ok(messages)
    }

    /// Replaces what is there. Nothing to keep is no file.
    pub(crate) fn save(&self, messages: &[Message]) -> io::Result<()> {
        if messages.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        write_durably(&self.path, &serde_json::to_vec(messages)?, Access::Secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;

    #[test]
    fn what_is_kept_is_found_again_by_the_same_receiver_alone() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), "https://a/hunter2");
        assert_eq!(spool.load().unwrap(), []);
        spool.save(&[]).unwrap();
        let data = serde_json::Map::from_iter([("height".to_owned(), 7.into())]);
        let message = Message { id: "1".into(), time: 2, event: Kind::BlockLost, text: "lost".into(), data };
        spool.save(std::slice::from_ref(&message)).unwrap();
        assert_eq!(Spool::new(folder.path(), "https://a/hunter2").load().unwrap(), [message]);
        assert_eq!(Spool::new(folder.path(), "https://b").load().unwrap(), []);
        assert!(!spool.path.to_string_lossy().contains("hunter2"));
        spool.save(&[]).unwrap();
        assert!(!spool.path.exists());
        fs::write(&spool.path, "{").unwrap();
        assert!(spool.load().is_err());
    }
}
