//! Found blocks on disk: `blocks/<height>-<hash>.toml` says what became of a block, `….block` holds its bytes.
//!
//! The bytes are written before the description. A block whose transactions are not known yet has a description alone; if the
//! process ends before they come, nobody can submit it any more, and the next start says so once and calls it lost.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bitcoin::BlockHash;
use serde::{Deserialize, Serialize};
use stratum_runtime::files::{Access, write_durably};

use crate::blocks::{BlockState, FoundBlock};

/// Largest block file that is read back, in bytes; a block can not be larger (4,000,000 weight units).
pub const MAX_BLOCK_BYTES: u64 = 4_000_000;

/// The folder of found blocks.
#[derive(Clone, Debug)]
pub struct BlockStore {
    folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Description {
    state: String,
    reason: Option<String>,
    height: u32,
    hash: BlockHash,
    prev_hash: BlockHash,
    finder: String,
    /// Unix seconds.
    found_at: u64,
}

impl BlockStore {
    /// Opens, and makes where needed, the folder `blocks` under `data_dir`.
    ///
    /// # Errors
    /// As the system reports.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("blocks");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Writes the block, where its bytes are known, and what became of it. Blocks until both are on the disk.
    ///
    /// # Errors
    /// As the system reports.
    pub fn write(&self, block: &FoundBlock, state: &BlockState) -> io::Result<()> {
        let base = self.folder.join(format!("{}-{}", block.height, block.hash));
        if let Some(raw) = &block.raw {
            let path = base.with_extension("block");
            if !path.exists() {
                write_durably(&path, raw, Access::Public)?;
            }
        }
        let description = Description {
            state: state.word().to_owned(),
            reason: match state {
                BlockState::Rejected(reason) => Some(reason.clone()),
                _ => None,
            },
            height: block.height,
            hash: block.hash,
            prev_hash: block.prev_hash,
            finder: block.finder.clone(),
            found_at: block.found_at,
        };
        let text = toml::to_string(&description).map_err(io::Error::other)?;
        write_durably(&base.with_extension("toml"), text.as_bytes(), Access::Public)
    }

    /// Blocks that were open when the last process ended, with their bytes. What can not be read is reported and left alone.
    ///
    /// # Errors
    /// When the folder can not be listed.
    pub fn open_blocks(&self) -> io::Result<Vec<FoundBlock>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                match read_open(&path) {
                    Ok(Some(block)) if block.raw.is_none() => {
                        tracing::error!(hash = %block.hash, height = block.height, finder = block.finder,
                            "found block is lost: the last process ended before its transactions were known");
                        self.write(&block, &BlockState::Lost)?;
                    }
                    Ok(block) => found.extend(block),
                    Err(error) => tracing::error!("found block {} can not be read: {error}", path.display()),
                }
            }
        }
        found.sort_by_key(|block| block.found_at);
        Ok(found)
    }
}

fn read_open(path: &Path) -> io::Result<Option<FoundBlock>> {
    let text = fs::read_to_string(path)?;
    let description: Description = toml::from_str(&text).map_err(io::Error::other)?;
    if description.state != BlockState::Open.word() {
        return Ok(None);
    }
    let raw = read_bytes(&path.with_extension("block"), description.hash)?;
    Ok(Some(FoundBlock {
        hash: description.hash,
        height: description.height,
        prev_hash: description.prev_hash,
        finder: description.finder,
        found_at: description.found_at,
        origin: None,
        raw: raw.map(Arc::new),
    }))
}

/// The bytes of a block, where they were known.
fn read_bytes(path: &Path, hash: BlockHash) -> io::Result<Option<Vec<u8>>> {
    if !path.exists() {
        return Ok(None);
    }
    if fs::metadata(path)?.len() > MAX_BLOCK_BYTES {
        return Err(io::Error::other(format!("{} is larger than a block can be", path.display())));
    }
    let raw = fs::read(path)?;
    if crate::blocks::header_hash(&raw) != Some(hash) {
        return Err(io::Error::other(format!("{} does not hash to {hash}", path.display())));
    }
    Ok(Some(raw))
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    fn block() -> FoundBlock {
        let raw = Arc::new(vec![3; 90]);
        FoundBlock {
            hash: crate::blocks::header_hash(&raw).unwrap(),
            height: 5,
            prev_hash: BlockHash::all_zeros(),
            finder: "alice \"quoted\"\n".into(),
            found_at: 9,
            origin: None,
            raw: Some(raw),
        }
    }

    #[test]
    fn open_blocks_come_back_until_decided() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        store.write(&block(), &BlockState::Open).unwrap();
        assert_eq!(BlockStore::open(folder.path()).unwrap().open_blocks().unwrap(), [block()]);
        store.write(&block(), &BlockState::Accepted).unwrap();
        assert_eq!(store.open_blocks().unwrap(), []);
    }

    #[test]
    fn a_block_whose_transactions_never_came_is_called_lost_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        store.write(&FoundBlock { raw: None, ..block() }, &BlockState::Open).unwrap();
        assert_eq!(store.open_blocks().unwrap(), []);
        let path = folder.path().join("blocks").join(format!("5-{}.toml", block().hash));
        assert!(fs::read_to_string(path).unwrap().contains("state = \"lost\""));
    }

    #[test]
    fn damaged_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        store.write(&block(), &BlockState::Open).unwrap();
        let path = folder.path().join("blocks").join(format!("5-{}.block", block().hash));
        fs::write(&path, [4; 90]).unwrap();
        fs::write(folder.path().join("blocks/other.toml"), "state = 7").unwrap();
        assert_eq!(store.open_blocks().unwrap(), []);
        assert!(path.exists());
    }
}
