//! Found blocks on disk: `blocks/<height>-<hash>.toml` says what became of a block, `….block` holds its bytes.
//!
//! The bytes are written before the description. A block whose transactions are not known yet has a description alone; if the
//! process ends before they come, nobody can submit it any more, and the next start says so once and calls it lost.

mod writer;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bitcoin::BlockHash;
use serde::{Deserialize, Serialize};
use stratum_runtime::files::{Access, write_durably};

pub use self::writer::{BYTES_PATIENCE, MAX_WAITING, Writer};
use crate::blocks::{BlockState, FoundBlock, MAX_FOUND_BLOCKS, MAX_OPEN_BLOCKS};

/// Largest block file that is read back, in bytes; a block can not be larger (4,000,000 weight units).
pub const MAX_BLOCK_BYTES: u64 = 4_000_000;

/// Accepted blocks that a new process offers its nodes once more: a node that went down with the pool may have lost its last ones.
const OFFERED_AGAIN: usize = 16;

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
    /// Indices of the sources that have taken the block, in the configuration of the time.
    #[serde(default)]
    accepted_by: BTreeSet<usize>,
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
            accepted_by: block.accepted_by.clone(),
        };
        let text = toml::to_string(&description).map_err(io::Error::other)?;
        write_durably(&base.with_extension("toml"), text.as_bytes(), Access::Public)
    }

    /// Blocks that were undecided when the last process ended, the oldest first, with the bytes of those that nodes are to be
    /// offered. What can not be read is reported and left alone. Of very many the newest come back.
    ///
    /// # Errors
    /// When the folder can not be listed, or a lost block not be called so.
    pub fn undecided(&self) -> io::Result<Vec<(FoundBlock, BlockState)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                match read_undecided(&path) {
                    Ok(undecided) => found.extend(undecided.map(|(block, state)| (path, block, state))),
                    Err(error) => tracing::error!("found block {} can not be read: {error}", path.display()),
                }
            }
        }
        found.sort_by_key(|(_, block, _)| std::cmp::Reverse(block.found_at));
        found.truncate(MAX_FOUND_BLOCKS);
        let (mut open, mut accepted) = (0, 0);
        let mut undecided = Vec::new();
        for (path, mut block, state) in found {
            let (count, most) = match state {
                BlockState::Open => (&mut open, MAX_OPEN_BLOCKS - OFFERED_AGAIN),
                _ => (&mut accepted, OFFERED_AGAIN),
            };
            *count += 1;
            if *count <= most {
                match read_bytes(&path.with_extension("block"), block.hash) {
                    Ok(raw) => block.raw = raw.map(Arc::new),
                    Err(error) => {
                        tracing::error!("found block {} can not be read: {error}", path.display());
                        continue;
                    }
                }
            }
            match (&state, &block.raw) {
                (BlockState::Open, None) if *count > most => {
                    tracing::error!(hash = %block.hash, "too many found blocks are open; this one stays on disk");
                }
                (BlockState::Open, None) => {
                    tracing::error!(hash = %block.hash, height = block.height, finder = block.finder,
                        "found block is lost: the last process ended before its transactions were known");
                    self.write(&block, &BlockState::Lost)?;
                }
                _ => undecided.push((block, state)),
            }
        }
        undecided.reverse();
        Ok(undecided)
    }
}

fn read_undecided(path: &Path) -> io::Result<Option<(FoundBlock, BlockState)>> {
    let text = fs::read_to_string(path)?;
    let description: Description = toml::from_str(&text).map_err(io::Error::other)?;
    let states = [BlockState::Open, BlockState::Accepted, BlockState::Orphaned];
    let Some(state) = states.into_iter().find(|state| description.state == state.word()) else { return Ok(None) };
    let block = FoundBlock {
        hash: description.hash,
        height: description.height,
        prev_hash: description.prev_hash,
        finder: description.finder,
        found_at: description.found_at,
        origin: None,
        raw: None,
        accepted_by: description.accepted_by,
    };
    Ok(Some((block, state)))
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

    fn numbered(number: u8) -> FoundBlock {
        let raw = Arc::new(vec![number; 90]);
        FoundBlock {
            hash: crate::blocks::header_hash(&raw).unwrap(),
            height: 5,
            prev_hash: BlockHash::all_zeros(),
            finder: "alice \"quoted\"\n".into(),
            found_at: number.into(),
            origin: None,
            raw: Some(raw),
            accepted_by: BTreeSet::new(),
        }
    }

    fn block() -> FoundBlock {
        numbered(3)
    }

    #[test]
    fn blocks_come_back_until_their_state_is_final() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        store.write(&block(), &BlockState::Open).unwrap();
        assert_eq!(BlockStore::open(folder.path()).unwrap().undecided().unwrap(), [(block(), BlockState::Open)]);
        let accepted = FoundBlock { accepted_by: [0, 2].into(), ..block() };
        for state in [BlockState::Accepted, BlockState::Orphaned] {
            store.write(&FoundBlock { raw: None, ..accepted.clone() }, &state).unwrap();
            assert_eq!(store.undecided().unwrap(), [(accepted.clone(), state)], "the bytes are still there");
        }
        for state in [BlockState::Confirmed, BlockState::Rejected("high-hash".into()), BlockState::Lost] {
            store.write(&accepted, &state).unwrap();
            assert_eq!(store.undecided().unwrap(), []);
        }
    }

    #[test]
    fn a_block_whose_transactions_never_came_is_called_lost_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        store.write(&FoundBlock { raw: None, ..block() }, &BlockState::Open).unwrap();
        assert_eq!(store.undecided().unwrap(), []);
        let path = folder.path().join("blocks").join(format!("5-{}.toml", block().hash));
        assert!(fs::read_to_string(path).unwrap().contains("state = \"lost\""));
    }

    #[test]
    fn a_block_that_a_node_took_needs_no_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        let block = FoundBlock { raw: None, ..block() };
        store.write(&block, &BlockState::Accepted).unwrap();
        assert_eq!(store.undecided().unwrap(), [(block, BlockState::Accepted)]);
    }

    #[test]
    fn only_the_newest_are_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        let many = u8::try_from(OFFERED_AGAIN).unwrap() + 4;
        (0..many).for_each(|number| store.write(&numbered(number), &BlockState::Accepted).unwrap());
        let undecided = store.undecided().unwrap();
        let whole: Vec<_> = undecided.iter().map(|(block, _)| block.raw.is_some()).collect();
        assert_eq!(whole, [vec![false; 4], vec![true; OFFERED_AGAIN]].concat());
        assert!(undecided.is_sorted_by_key(|(block, _)| block.found_at));
    }

    #[test]
    fn damaged_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        store.write(&block(), &BlockState::Open).unwrap();
        let path = folder.path().join("blocks").join(format!("5-{}.block", block().hash));
        fs::write(&path, [4; 90]).unwrap();
        fs::write(folder.path().join("blocks/other.toml"), "state = 7").unwrap();
        assert_eq!(store.undecided().unwrap(), []);
        assert!(path.exists());
    }
}
