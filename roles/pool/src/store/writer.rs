//! A thread that writes found blocks, so that no disk holds anybody up who submits them.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::blocks::{BlockState, FoundBlock};

/// Blocks that wait for the disk. Of one block only the newest state waits. When a disk hangs for so long that there are more, the
/// oldest is not written, which an error says.
pub const MAX_WAITING: usize = 256;

/// A block that could not be written is tried again after this long: the disk may have been full.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Writes blocks in the order in which they come, on a thread of its own.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(FoundBlock, BlockState)>,
    ended: bool,
}

impl Writer {
    /// Starts the thread; `write` may block.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(write: impl FnMut(&FoundBlock, &BlockState) -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        Self::with_retry(RETRY_AFTER, write)
    }

    fn with_retry(
        retry_after: Duration,
        mut write: impl FnMut(&FoundBlock, &BlockState) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let work = queue.clone();
        let run = move || {
            while let Some((block, state)) = work.next() {
                if let Err(error) = write(&block, &state) {
                    tracing::error!(hash = %block.hash,
                        "found block not written to disk: {error}; it is submitted all the same");
                    work.failed(block, state, retry_after);
                }
            }
        };
        let thread = thread::Builder::new().name("found-blocks".into()).spawn(run)?;
        Ok(Self { queue, thread })
    }

    /// Has a block written, soon. Never waits.
    pub fn write(&self, block: FoundBlock, state: BlockState) {
        self.queue.push(block, state);
    }

    /// Waits until everything is written, or was tried once more. Blocks.
    pub fn finish(self) {
        self.queue.lock().ended = true;
        self.queue.changed.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("found blocks could not be written: the thread panicked");
        }
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, block: FoundBlock, state: BlockState) {
        let mut queue = self.lock();
        let waiting = &mut queue.waiting;
        match waiting.iter_mut().find(|(waiting, _)| waiting.hash == block.hash) {
            Some((old, old_state)) => {
                // The bytes may be dropped from memory once they have been told.
                let raw = block.raw.clone().or(old.raw.take());
                (*old, *old_state) = (FoundBlock { raw, ..block }, state);
            }
            None => {
                if waiting.len() >= MAX_WAITING
                    && let Some((oldest, _)) = waiting.pop_front()
                {
                    tracing::error!(hash = %oldest.hash, "the disk is behind: a found block is not written");
                }
                waiting.push_back((block, state));
            }
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// The next block to write; nothing at the end.
    fn next(&self) -> Option<(FoundBlock, BlockState)> {
        let mut queue = self.lock();
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                return Some(next);
            }
            if queue.ended {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a block back, unless there is news of it, and waits a while; not at the end.
    fn failed(&self, block: FoundBlock, state: BlockState, retry_after: Duration) {
        let mut queue = self.lock();
        if queue.ended {
            return;
        }
        let is_full = queue.waiting.len() >= MAX_WAITING;
        match queue.waiting.iter_mut().find(|(waiting, _)| waiting.hash == block.hash) {
            Some((newer, _)) => newer.raw = newer.raw.take().or(block.raw),
            None if is_full => tracing::error!(hash = %block.hash, "the disk is behind: a found block is not written"),
            None => queue.waiting.push_back((block, state)),
        }
        let ended = self.changed.wait_timeout_while(queue, retry_after, |queue| !queue.ended);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bitcoin::{BlockHash, hashes::Hash};

    use super::*;

    fn block(number: usize, raw: bool) -> FoundBlock {
        FoundBlock {
            hash: BlockHash::hash(&number.to_le_bytes()),
            height: 0,
            prev_hash: BlockHash::all_zeros(),
            finder: String::new(),
            found_at: number as u64,
            origin: None,
            raw: raw.then(|| Arc::new(vec![1])),
            accepted_by: Default::default(),
        }
    }

    /// A writer whose disk does one write for each word, and fails for `false`. Tells what was written.
    #[allow(clippy::type_complexity)]
    fn writer() -> (Writer, mpsc::Sender<bool>, mpsc::Receiver<(u64, bool, &'static str)>) {
        let (go, may_go) = mpsc::channel::<bool>();
        let (written, told) = mpsc::channel();
        let writer = Writer::with_retry(Duration::from_millis(1), move |block, state| match may_go.recv() {
            Ok(false) => Err(io::Error::other("full")),
            _ => {
                written.send((block.found_at, block.raw.is_some(), state.word())).expect("the test listens");
                Ok(())
            }
        });
        (writer.unwrap(), go, told)
    }

    #[test]
    fn a_disk_that_hangs_holds_nobody_up() {
        let (writer, go, told) = writer();
        for number in 0..2 * MAX_WAITING {
            writer.write(block(number, true), BlockState::Open);
            writer.write(block(number, false), BlockState::Accepted);
        }
        drop(go);
        writer.finish();
        let written: Vec<_> = told.iter().collect();
        // The one that the thread had taken, as it was then, comes first.
        assert!((MAX_WAITING..=MAX_WAITING + 2).contains(&written.len()), "{}", written.len());
        let last = &written[written.len() - MAX_WAITING..];
        let newest = (MAX_WAITING..2 * MAX_WAITING).map(|number| (number as u64, true, "accepted"));
        assert!(last.iter().copied().eq(newest), "the newest of each, with bytes that were told before");
    }

    #[test]
    fn what_fails_is_tried_again() {
        let (writer, go, told) = writer();
        writer.write(block(1, true), BlockState::Open);
        [false, false, true].iter().for_each(|word| go.send(*word).unwrap());
        assert_eq!(told.recv().unwrap(), (1, true, "open"));
        // News takes its place, and keeps the bytes.
        writer.write(block(2, true), BlockState::Open);
        writer.write(block(2, false), BlockState::Accepted);
        [false, true].iter().for_each(|word| go.send(*word).unwrap());
        assert_eq!(told.recv().unwrap(), (2, true, "accepted"));
        drop(go);
        writer.finish();
    }

    #[test]
    fn at_the_end_a_block_is_tried_once_more() {
        let (writer, go, told) = writer();
        writer.queue.lock().ended = true;
        writer.write(block(1, true), BlockState::Open);
        go.send(false).unwrap();
        drop(go);
        writer.finish();
        assert_eq!(told.iter().count(), 0);
    }
}
