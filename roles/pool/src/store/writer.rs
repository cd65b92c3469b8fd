//! A thread that writes found blocks, so that no disk holds anybody up who submits them.
//!
//! With each candidate comes a [`Hold`] on the acknowledgement of its share. It is let go when the block's bytes are on the disk. Where
//! they can not be, it is let go when a node has decided (the block is with somebody else, or nobody wants it), when the bytes are not
//! known for [`BYTES_PATIENCE`], and when the block makes room for others ([`MAX_WAITING`]).

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bitcoin::BlockHash;

use crate::{
    blocks::{BlockState, FoundBlock},
    hold::Hold,
};

/// Blocks that wait for the disk. Of one block only the newest state waits. When a disk hangs for so long that there are more, the
/// oldest is not written, which an error says.
pub const MAX_WAITING: usize = 256;

/// A block that could not be written is tried again after this long: the disk may have been full.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a share waits for the transactions of its block. They are asked for with each template, and come within milliseconds; a
/// source that fails may never give them, and then there is nothing to write.
pub const BYTES_PATIENCE: Duration = Duration::from_secs(10);

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
    /// The block that is being written.
    writing: Option<BlockHash>,
    holds: Vec<Waiting>,
    /// The last write failed.
    is_failing: bool,
    ended: bool,
}

/// Acknowledgements of shares that wait for a block.
#[derive(Debug)]
struct Waiting {
    block: BlockHash,
    _hold: Hold,
    /// All that is known of the block is on disk since then, without its bytes.
    incomplete: Option<Instant>,
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
                match write(&block, &state) {
                    Ok(()) => work.written(&block, &state),
                    Err(error) => {
                        tracing::error!(hash = %block.hash,
                            "found block not written to disk: {error}; it is submitted all the same");
                        work.failed(block, state, retry_after);
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("found-blocks".into()).spawn(run)?;
        Ok(Self { queue, thread })
    }

    /// Keeps the hold until the block is on disk. To be called before [`write`](Self::write), and before it is clear whether the
    /// block is new. Never waits.
    pub fn hold(&self, block: BlockHash, hold: Hold) {
        self.queue.lock().holds.push(Waiting { block, _hold: hold, incomplete: None });
    }

    /// The block of the last hold is no news: only what is written of it now is waited for.
    pub fn is_known(&self, block: BlockHash) {
        let mut queue = self.queue.lock();
        if !queue.is_under_way(block) {
            queue.let_go(block);
        }
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
        if queue.is_failing && state != BlockState::Open {
            queue.let_go(block.hash);
        }
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
                    queue.let_go(oldest.hash);
                }
                queue.waiting.push_back((block, state));
            }
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// The next block to write; nothing at the end.
    fn next(&self) -> Option<(FoundBlock, BlockState)> {
        let mut queue = self.lock();
        queue.writing = None;
        loop {
            let patience = queue.lose_patience(Instant::now());
            if let Some((block, state)) = queue.waiting.pop_front() {
                queue.writing = Some(block.hash);
                return Some((block, state));
            }
            if queue.ended {
                return None;
            }
            queue = match patience {
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn written(&self, block: &FoundBlock, state: &BlockState) {
        let mut queue = self.lock();
        queue.is_failing = false;
        if block.raw.is_some() || *state != BlockState::Open {
            queue.let_go(block.hash);
        } else {
            let now = Instant::now();
            let holds = queue.holds.iter_mut().filter(|waiting| waiting.block == block.hash);
            holds.for_each(|waiting| waiting.incomplete = waiting.incomplete.or(Some(now)));
        }
    }

    /// Puts a block back, unless there is news of it, and waits a while; not at the end.
    fn failed(&self, block: FoundBlock, state: BlockState, retry_after: Duration) {
        let mut queue = self.lock();
        queue.is_failing = true;
        if queue.ended {
            return;
        }
        let is_full = queue.waiting.len() >= MAX_WAITING;
        let mut is_decided = state != BlockState::Open;
        let hash = block.hash;
        match queue.waiting.iter_mut().find(|(waiting, _)| waiting.hash == hash) {
            Some((newer, state)) => {
                newer.raw = newer.raw.take().or(block.raw);
                is_decided |= *state != BlockState::Open;
            }
            None if is_full => {
                tracing::error!(%hash, "the disk is behind: a found block is not written");
                is_decided = true;
            }
            None => queue.waiting.push_back((block, state)),
        }
        if is_decided {
            queue.let_go(hash);
        }
        let ended = self.changed.wait_timeout_while(queue, retry_after, |queue| !queue.ended);
        drop(ended);
    }
}

impl State {
    fn is_under_way(&self, block: BlockHash) -> bool {
        self.writing == Some(block) || self.waiting.iter().any(|(waiting, _)| waiting.hash == block)
    }

    /// Nobody waits for the block any more.
    fn let_go(&mut self, block: BlockHash) {
        self.holds.retain(|waiting| waiting.block != block);
    }

    /// Lets go of what waits for bytes that do not come. Returns when to do so again.
    fn lose_patience(&mut self, now: Instant) -> Option<Duration> {
        let left = |waiting: &Waiting| {
            waiting.incomplete.map(|since| BYTES_PATIENCE.saturating_sub(now.saturating_duration_since(since)))
        };
        self.holds.retain(|waiting| {
            let is_over = left(waiting) == Some(Duration::ZERO);
            if is_over {
                tracing::error!(hash = %waiting.block,
                    "the transactions of a found block did not come within {BYTES_PATIENCE:?}: it is not on disk");
            }
            !is_over
        });
        self.holds.iter().filter_map(left).min()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bitcoin::hashes::Hash;

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

    fn hold(writer: &Writer, number: usize) -> crate::hold::Held {
        let (hold, held) = Hold::new();
        writer.hold(block(number, false).hash, hold);
        held
    }

    /// The thread has done all that it was told so far.
    fn until_idle(writer: &Writer) {
        let is_busy = || {
            let queue = writer.queue.lock();
            queue.writing.is_some() || !queue.waiting.is_empty()
        };
        while is_busy() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_share_waits_until_the_bytes_of_its_block_are_on_disk() {
        let (writer, go, told) = writer();
        let (first, second) = (hold(&writer, 1), hold(&writer, 2));
        writer.write(block(1, true), BlockState::Open);
        // One without bytes, for which a file alone is not enough.
        writer.write(block(2, false), BlockState::Open);
        assert!(!first.is_over() && !second.is_over());
        go.send(true).unwrap();
        go.send(true).unwrap();
        until_idle(&writer);
        assert_eq!(told.iter().take(2).count(), 2);
        assert!(first.is_over() && !second.is_over());
        writer.write(block(2, true), BlockState::Open);
        go.send(true).unwrap();
        until_idle(&writer);
        assert!(second.is_over());
        // One that is known, and was written before, waits for nothing.
        let again = hold(&writer, 1);
        writer.is_known(block(1, false).hash);
        assert!(again.is_over());
        drop(go);
        writer.finish();
    }

    #[test]
    fn a_known_block_is_waited_for_while_it_is_being_written() {
        let (writer, go, _told) = writer();
        let first = hold(&writer, 1);
        writer.write(block(1, true), BlockState::Open);
        let again = hold(&writer, 1);
        writer.is_known(block(1, false).hash);
        assert!(!first.is_over() && !again.is_over());
        go.send(true).unwrap();
        until_idle(&writer);
        assert!(first.is_over() && again.is_over());
        drop(go);
        writer.finish();
    }

    #[test]
    fn where_the_disk_fails_a_node_that_took_the_block_is_enough() {
        let (writer, go, _told) = writer();
        let (open, taken) = (hold(&writer, 1), hold(&writer, 2));
        writer.write(block(1, true), BlockState::Open);
        go.send(false).unwrap();
        while !writer.queue.lock().is_failing {
            thread::yield_now();
        }
        writer.write(block(2, true), BlockState::Open);
        assert!(!open.is_over() && !taken.is_over());
        writer.write(block(2, false), BlockState::Accepted);
        assert!(!open.is_over() && taken.is_over());
        drop(go);
        writer.finish();
        assert!(open.is_over());
    }

    #[test]
    fn bytes_that_never_come_are_not_waited_for_without_end() {
        let mut state = State::default();
        let (hold, held) = Hold::new();
        let (block, since) = (block(1, false).hash, Instant::now());
        state.holds.push(Waiting { block, _hold: hold, incomplete: None });
        assert_eq!(state.lose_patience(since + 9 * BYTES_PATIENCE), None, "not on disk at all");
        state.holds[0].incomplete = Some(since);
        assert_eq!(state.lose_patience(since), Some(BYTES_PATIENCE));
        let almost = since + BYTES_PATIENCE - Duration::from_millis(1);
        assert_eq!(state.lose_patience(almost), Some(Duration::from_millis(1)));
        assert!(!held.is_over());
        assert_eq!(state.lose_patience(since + BYTES_PATIENCE), None);
        assert!(held.is_over());
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
