//! A disk in memory that loses power: what was not synced is lost, kept or torn, in any mixture.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::disk::{Disk, DiskFile};

/// A small random generator (SplitMix64), so that a run is its seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Bytes that reach the disk at once, or not.
const SECTOR: usize = 64;

#[derive(Clone, Debug, Default)]
struct Contents {
    /// What a reader sees.
    cached: Vec<u8>,
    /// What is on the disk for certain.
    durable: Vec<u8>,
    /// Writes since the last sync: where, and how many bytes.
    unsynced: Vec<(usize, usize)>,
}

impl Contents {
    /// What was written since the last sync is on the disk. Bytes whose sync failed before are not among it.
    fn flush(&mut self) {
        for (start, len) in std::mem::take(&mut self.unsynced) {
            let end = start + len;
            self.durable.resize(self.durable.len().max(end), 0);
            self.durable[start..end].copy_from_slice(&self.cached[start..end]);
        }
    }

    /// After the power came back.
    fn after_power_cut(&mut self, random: &mut Random) {
        let mut disk = self.durable.clone();
        for (start, len) in std::mem::take(&mut self.unsynced) {
            // Any sectors of it, in any order; each may be torn.
            for sector in (start..start + len).step_by(SECTOR) {
                let end = (sector + SECTOR).min(start + len);
                let kept = match random.below(4) {
                    0 | 1 => 0,
                    2 => end - sector,
                    _ => random.below((end - sector) as u64) as usize,
                };
                if kept > 0 {
                    // The file may have grown without its bytes.
                    let filler = if random.chance(50) { 0 } else { random.next() as u8 };
                    disk.resize(disk.len().max(end), filler);
                    disk[sector..sector + kept].copy_from_slice(&self.cached[sector..sector + kept]);
                }
            }
        }
        *self = Self { cached: disk.clone(), durable: disk, unsynced: Vec::new() };
    }
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Operations until the power goes; `None` is never.
    fuse: Option<u64>,
    dead: bool,
    random: Option<Random>,
    /// Percent of syncs that fail.
    failing_syncs: u64,
    /// Percent of writes for which there is no room.
    failing_writes: u64,
    /// Every write fails with this.
    refuse: Option<io::ErrorKind>,
    /// Syncs of files that were asked for.
    syncs: u64,
}

impl State {
    /// Counts an operation; the power may go.
    fn operate(&mut self) -> io::Result<()> {
        if let Some(fuse) = &mut self.fuse {
            if *fuse == 0 {
                self.dead = true;
            }
            *fuse = fuse.saturating_sub(1);
        }
        if self.dead { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn change(&mut self) -> io::Result<()> {
        self.operate()?;
        match self.refuse {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.random.get_or_insert(Random(1)).chance(percent)
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TestDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(crate) struct TestFile {
    state: Arc<Mutex<State>>,
    index: usize,
}

impl TestDisk {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// So many more operations, then none.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        self.state().fuse = Some(operations);
    }

    /// Percentages of syncs and writes that fail.
    pub(crate) fn fail(&self, random: Random, syncs: u64, writes: u64) {
        let mut state = self.state();
        (state.random, state.failing_syncs, state.failing_writes) = (Some(random), syncs, writes);
    }

    /// All changes fail, until `None`.
    pub(crate) fn refuse(&self, kind: Option<io::ErrorKind>) {
        self.state().refuse = kind;
    }

    /// The disk as it is found when the power is back. Nothing fails any more.
    pub(crate) fn restart(&self, random: &mut Random) -> Self {
        let mut old = self.state();
        old.dead = true;
        let mut names = old.durable_names.clone();
        let cached = old.names.clone();
        for name in cached.keys().chain(old.durable_names.keys()) {
            // What the folder was told since its last sync came through or not.
            if random.chance(50) {
                match cached.get(name) {
                    Some(index) => names.insert(name.clone(), *index),
                    None => names.remove(name),
                };
            }
        }
        let mut files = old.files.clone();
        files.iter_mut().for_each(|contents| contents.after_power_cut(random));
        let state = State { files, durable_names: names.clone(), names, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The process ended, and another one sees what the last one saw. Nothing fails any more.
    pub(crate) fn restart_process(&self) {
        let mut state = self.state();
        (state.fuse, state.dead, state.refuse) = (None, false, None);
        (state.failing_syncs, state.failing_writes) = (0, 0);
    }

    /// Changes a byte of a file.
    pub(crate) fn flip(&self, name: &str, at: usize) {
        let mut state = self.state();
        let index = state.find(name).unwrap();
        let contents = &mut state.files[index];
        contents.cached[at] ^= 0x10;
        contents.durable.clone_from(&contents.cached);
    }

    pub(crate) fn len_of(&self, name: &str) -> usize {
        let state = self.state();
        state.files[state.find(name).unwrap()].cached.len()
    }

    pub(crate) fn bytes_of(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.find(name).unwrap()].cached.clone()
    }

    /// A file with these bytes, durable.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let index = state.files.len();
        state.files.push(Contents { cached: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() });
        state.names.insert(name.to_owned(), index);
        state.durable_names.insert(name.to_owned(), index);
    }

    /// Syncs that were asked for.
    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }
}

impl Disk for TestDisk {
    type File = TestFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.operate()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<TestFile> {
        let mut state = self.state();
        state.change()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let index = state.files.len();
        state.files.push(Contents::default());
        state.names.insert(name.to_owned(), index);
        Ok(TestFile { state: self.state.clone(), index })
    }

    fn open(&self, name: &str) -> io::Result<TestFile> {
        let mut state = self.state();
        state.operate()?;
        let index = state.find(name)?;
        Ok(TestFile { state: self.state.clone(), index })
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let index = state.find(name)?;
        let contents = &mut state.files[index];
        contents.flush();
        contents.cached.truncate(len as usize);
        contents.durable.truncate(len as usize);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.find(name)?;
        state.names.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let index = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), index);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let percent = state.failing_syncs;
        if state.chance(percent) {
            return Err(io::Error::other("sync failed"));
        }
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl DiskFile for TestFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let died = state.change();
        let percent = state.failing_writes;
        let no_room = state.chance(percent);
        // A write that fails has written a part.
        let written = match (&died, no_room) {
            (Ok(()), false) => bytes.len(),
            _ => state.random.get_or_insert(Random(1)).below(bytes.len() as u64) as usize,
        };
        let contents = &mut state.files[self.index];
        contents.unsynced.push((contents.cached.len(), written));
        contents.cached.extend_from_slice(&bytes[..written]);
        died?;
        if no_room { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.syncs += 1;
        state.change()?;
        let percent = state.failing_syncs;
        if state.chance(percent) {
            // As Linux does it: the bytes stay readable, and the next sync does not try them again.
            let mut random = state.random.take().unwrap_or(Random(1));
            let contents = &mut state.files[self.index];
            let mut lost = contents.clone();
            lost.after_power_cut(&mut random);
            contents.durable = lost.durable;
            contents.unsynced.clear();
            state.random = Some(random);
            return Err(io::Error::other("sync failed"));
        }
        state.files[self.index].flush();
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        state.operate()?;
        let cached = &state.files[self.index].cached;
        let rest = cached.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        let mut state = self.state.lock().unwrap();
        state.operate()?;
        Ok(state.files[self.index].cached.len() as u64)
    }
}
