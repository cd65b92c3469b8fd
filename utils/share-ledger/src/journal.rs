//! From the queues to the log: one thread writes what has come since its last write, and reports it when it is durable.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    clock::now,
    disk::Disk,
    ledger::{Full, Health, Position, Progress, Queue},
    log::{Batch, BatchHeader, Encoder, FileName, LogWriter, MAX_BATCH_BYTES, MAX_ENTRY_BYTES, Recovered, WorkerEntry},
    record::{Record, Timestamp},
};

/// How long after a failed write the next is tried: at first, and at most. Somebody who has made room on a full disk
/// sees the pool acknowledge again within the latter.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Size from which the entries of one call are given to the writer in parts, in bytes, so that each fits a batch.
const CHUNK_BYTES: usize = MAX_BATCH_BYTES / 4;

const _: () = assert!(CHUNK_BYTES + MAX_ENTRY_BYTES + 9 + BatchHeader::LEN <= MAX_BATCH_BYTES);

/// Entries under way to the writer.
struct Chunk {
    entries: Vec<u8>,
    records: u32,
    newest: Timestamp,
    /// Of the last record in it.
    position: Position,
    /// Undurable bytes of the queue that it came through.
    undurable: Arc<AtomicUsize>,
}

enum Message {
    Chunk(Chunk),
    Close,
}

/// How far the log is, for the thread that follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    /// Sequence number of the last durable batch.
    pub(crate) sequence: u64,
    /// Of the last record in it.
    pub(crate) position: Position,
    /// Segments from this number on are the writer's own.
    pub(crate) active_file: u64,
}

/// What all queues and the writer share.
pub(crate) struct Shared {
    /// The last position that was given out. Held while a chunk is sent, so that the order of positions is that of the
    /// log.
    last: Mutex<Position>,
    sender: Sender<Message>,
    queue_bytes: usize,
    progress: watch::Sender<Progress>,
    health: watch::Sender<Health>,
    durable: Mutex<Durable>,
    closing: AtomicBool,
}

impl Shared {
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(crate) fn durable(&self) -> Durable {
        *lock(&self.durable)
    }

    /// Sends a worker's entry ahead of all that is appended after this call.
    pub(crate) fn register(&self, entry: &WorkerEntry) {
        let mut encoder = Encoder::with_capacity(MAX_ENTRY_BYTES);
        encoder.worker(entry);
        let last = lock(&self.last);
        self.send(*last, &mut encoder, 0, &Arc::default());
    }

    fn send(&self, position: Position, encoder: &mut Encoder, records: u32, undurable: &Arc<AtomicUsize>) -> bool {
        let (entries, newest) = encoder.take();
        undurable.fetch_add(entries.len(), Ordering::Relaxed);
        let chunk = Chunk { entries, records, newest, position, undurable: undurable.clone() };
        self.sender.send(Message::Chunk(chunk)).is_ok()
    }
}

/// A lock whose holder can not have panicked half-way through a change that matters.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The queue of the embedded ledger. Its only lock is held for the time of handing bytes over, once per call.
pub(crate) struct LogQueue {
    shared: Arc<Shared>,
    undurable: Arc<AtomicUsize>,
}

impl LogQueue {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, undurable: Arc::default() }
    }
}

impl Queue for LogQueue {
    fn append(&self, records: &[Record]) -> Result<Position, Full> {
        let under_way = self.undurable.load(Ordering::Relaxed);
        let has_block = || records.iter().any(|record| matches!(record, Record::Block(_)));
        // Nearly all are shares with the same time.
        let expected = 9 + records.len() * crate::log::SHARE_BYTES;
        if under_way + expected > self.shared.queue_bytes && !has_block() {
            return Err(Full);
        }
        let mut encoder = Encoder::with_capacity(expected);
        let mut parts = Vec::new();
        let mut in_part = 0;
        for record in records {
            match record {
                Record::Share(share) => encoder.share(share),
                Record::Rejects(rejects) => encoder.rejects(rejects),
                Record::Block(event) => encoder.block(event),
            }
            in_part += 1;
            if encoder.len() >= CHUNK_BYTES {
                parts.push((std::mem::take(&mut encoder), std::mem::take(&mut in_part)));
            }
        }
        if in_part > 0 {
            parts.push((encoder, in_part));
        }
        let mut last = lock(&self.shared.last);
        for (mut encoder, records) in parts {
            last.0 += u64::from(records);
            if !self.shared.send(*last, &mut encoder, records, &self.undurable) {
                return Err(Full);
            }
        }
        Ok(*last)
    }
}

/// The writer's thread, and how to end it.
pub(crate) struct Journal {
    pub(crate) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Starts the thread. What `recovered` carries is written before anything else.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start<D: Disk>(
        disk: Arc<D>,
        recovered: Recovered,
        segment_bytes: u64,
        queue_bytes: usize,
        commit_interval: Duration,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let carried = u64::from(recovered.carry.is_some());
        let shared = Arc::new(Shared {
            last: Mutex::default(),
            sender,
            queue_bytes,
            progress: watch::Sender::default(),
            health: watch::Sender::default(),
            durable: Mutex::new(Durable {
                sequence: recovered.last - carried,
                active_file: recovered.next_file,
                ..Durable::default()
            }),
            closing: AtomicBool::new(false),
        });
        let writer = Writer {
            writer: LogWriter::new(disk.clone(), recovered.log_id, segment_bytes, recovered.next_file),
            disk,
            shared: shared.clone(),
            receiver,
            last: recovered.last,
            commit_interval,
            held: None,
            buffer: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("ledger-log".into())
            .spawn(move || writer.run(recovered.carry, recovered.superseded))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Writes what was appended and ends. When writing fails, what is not durable is given up after one more try.
    pub(crate) fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.closing.store(true, Ordering::Release);
        let _ = self.shared.sender.send(Message::Close);
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the thread that writes shares has panicked");
        }
    }
}

struct Writer<D: Disk> {
    disk: Arc<D>,
    writer: LogWriter<D>,
    shared: Arc<Shared>,
    receiver: Receiver<Message>,
    /// Sequence number of the last batch.
    last: u64,
    commit_interval: Duration,
    /// A chunk that did not fit the last batch.
    held: Option<Chunk>,
    buffer: Vec<u8>,
}

impl<D: Disk> Writer<D> {
    fn run(mut self, carry: Option<Batch>, superseded: Option<FileName>) {
        if let Some(carry) = carry {
            if !self.make_durable(&carry) {
                return;
            }
            self.publish(self.last, Position(0));
            if let Some(name) = superseded {
                let _ = self.disk.remove(&name.to_string());
            }
        }
        let mut begun = None;
        while let Some(first) = self.held.take().or_else(|| self.wait()) {
            // Waiting for a chunk may have taken up the wake-up of a close.
            if let Some(rest) = begun.and_then(|at: Instant| self.commit_interval.checked_sub(at.elapsed()))
                && !self.shared.closing.load(Ordering::Acquire)
            {
                thread::park_timeout(rest);
            }
            begun = Some(Instant::now());
            let (batch, chunks) = self.collect(first);
            if !self.make_durable(&batch) {
                return;
            }
            for chunk in &chunks {
                chunk.undurable.fetch_sub(chunk.entries.len(), Ordering::Relaxed);
            }
            let position = chunks.last().map_or(Position(0), |chunk| chunk.position);
            self.publish(self.last, position);
            self.buffer = batch.into_buffer();
        }
    }

    /// The next chunk; `None` when the ledger is closed and all is written.
    fn wait(&self) -> Option<Chunk> {
        match self.receiver.recv() {
            Ok(Message::Chunk(chunk)) => Some(chunk),
            // What was sent before has come before.
            Ok(Message::Close) | Err(_) => None,
        }
    }

    /// Makes a batch of this chunk and all that are waiting, as far as they fit.
    fn collect(&mut self, first: Chunk) -> (Batch, Vec<Chunk>) {
        let mut batch = Batch::begin(std::mem::take(&mut self.buffer));
        let (mut records, mut newest) = (0, Timestamp(0));
        let mut chunks = Vec::new();
        let mut next = Some(first);
        while let Some(chunk) = next {
            if !batch.has_room(chunk.entries.len()) {
                self.held = Some(chunk);
                break;
            }
            batch.extend(&chunk.entries);
            records += chunk.records;
            newest = newest.max(chunk.newest);
            chunks.push(chunk);
            next = match self.receiver.try_recv() {
                Ok(Message::Chunk(chunk)) => Some(chunk),
                Ok(Message::Close) => {
                    // Seen again when the batch is written.
                    let _ = self.shared.sender.send(Message::Close);
                    None
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
            };
        }
        self.last += 1;
        batch.seal(self.writer.log_id(), self.last, records, newest);
        (batch, chunks)
    }

    /// Tries until it is done; false when the ledger was closed meanwhile.
    fn make_durable(&mut self, batch: &Batch) -> bool {
        let mut pause = RETRY.0;
        loop {
            let closing = self.shared.closing.load(Ordering::Acquire);
            let Err(error) = self.writer.commit(batch, now()) else {
                self.report_ok();
                return true;
            };
            self.report_failure(&error.to_string());
            if closing {
                tracing::error!("shares that were not acknowledged are lost: {error}");
                return false;
            }
            thread::park_timeout(pause);
            pause = (pause * 2).min(RETRY.1);
        }
    }

    fn report_failure(&self, reason: &str) {
        let since = match &*self.shared.health.borrow() {
            Health::Failing { reason: known, .. } if known == reason => return,
            Health::Failing { since, .. } => *since,
            Health::Ok => now(),
        };
        tracing::error!("the share ledger can not be written, no share is acknowledged: {reason}");
        self.shared.progress.send_modify(|progress| progress.failing = true);
        self.shared.health.send_replace(Health::Failing { reason: reason.to_owned(), since });
    }

    fn report_ok(&self) {
        if !self.shared.health.borrow().is_ok() {
            tracing::info!("the share ledger can be written again");
            self.shared.health.send_replace(Health::Ok);
        }
    }

    fn publish(&self, sequence: u64, position: Position) {
        let active_file = self.writer.active_file();
        *lock(&self.shared.durable) = Durable { sequence, position, active_file };
        self.shared.progress.send_replace(Progress { durable: position, failing: false });
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        log::{Entry, LogReader, Mode, Step, recover},
        record::{BlockEvent, BlockHash, BlockStep, Difficulty, Share, ShareHash, Work, WorkerId},
        test_disk::{Random, TestDisk},
    };

    fn start(disk: &Arc<TestDisk>, queue_bytes: usize) -> Journal {
        let recovered = recover(disk, 7).unwrap();
        Journal::start(disk.clone(), recovered, 4096, queue_bytes, Duration::ZERO).unwrap()
    }

    fn share(number: u64) -> Record {
        let mut hash = [0; 12];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        Record::Share(Share {
            at: Timestamp(number),
            worker: WorkerId(1),
            work: Work(1),
            hash: ShareHash(hash),
            reached: Difficulty::new(1.0),
        })
    }

    fn shares(disk: &Arc<TestDisk>) -> Vec<u64> {
        let mut reader = LogReader::open(disk.clone(), 0, Mode::AtRest).unwrap();
        let mut found = Vec::new();
        while let Some(step) = reader.next(u64::MAX).unwrap() {
            let Step::Batch(batch) = step else { panic!("{step:?}") };
            found.extend(batch.entries().filter_map(|entry| match entry.unwrap() {
                Entry::Share(share) => Some(share.at.0),
                _ => None,
            }));
        }
        found
    }

    /// Blocks until it holds.
    fn wait_for<T: Clone>(mut receiver: watch::Receiver<T>, what: impl FnMut(&T) -> bool) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { receiver.wait_for(what).await.unwrap().clone() })
    }

    fn wait_until_durable(journal: &Journal, position: Position) {
        wait_for(journal.shared.progress(), |progress| progress.durable >= position);
    }

    #[test]
    fn queues_share_one_order_and_nothing_is_lost_at_a_close() {
        let disk = Arc::new(TestDisk::new());
        let mut journal = start(&disk, 1 << 20);
        thread::scope(|scope| {
            for queue in 0..3 {
                let shared = journal.shared.clone();
                scope.spawn(move || {
                    let queue = (LogQueue::new(shared), queue);
                    for n in 0..500 {
                        let number = queue.1 * 1000 + n;
                        queue.0.append(&[share(number * 2), share(number * 2 + 1)]).unwrap();
                    }
                });
            }
        });
        journal.close();
        let found = shares(&disk);
        assert_eq!(journal.shared.progress().borrow().durable, Position(3000));
        for queue in 0..3_u64 {
            let own: Vec<u64> = found.iter().filter(|n| **n / 2000 == queue).copied().collect();
            assert_eq!(own, (queue * 2000..queue * 2000 + 1000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn positions_count_records() {
        let disk = Arc::new(TestDisk::new());
        let journal = start(&disk, 1 << 20);
        let queue = LogQueue::new(journal.shared.clone());
        assert_eq!(queue.append(&[]), Ok(Position(0)));
        assert_eq!(queue.append(&[share(1), share(2)]), Ok(Position(2)));
        assert_eq!(queue.append(&[share(3)]), Ok(Position(3)));
        wait_until_durable(&journal, Position(3));
        assert_eq!(shares(&disk), [1, 2, 3]);
    }

    #[test]
    fn a_call_of_many_records_is_written_in_parts() {
        let disk = Arc::new(TestDisk::new());
        let mut journal = start(&disk, 64 << 20);
        let queue = LogQueue::new(journal.shared.clone());
        let records: Vec<Record> = (0..200_000).map(share).collect();
        assert_eq!(queue.append(&records), Ok(Position(200_000)));
        journal.close();
        assert_eq!(shares(&disk).len(), 200_000);
    }

    #[test]
    fn a_failing_disk_stops_acknowledging_until_it_works_again() {
        let disk = Arc::new(TestDisk::new());
        let mut journal = start(&disk, 300);
        let queue = LogQueue::new(journal.shared.clone());
        let first = queue.append(&[share(1)]).unwrap();
        wait_until_durable(&journal, first);
        disk.refuse(Some(io::ErrorKind::StorageFull));
        let second = queue.append(&[share(2)]).unwrap();
        let health = wait_for(journal.shared.health(), |health| !health.is_ok());
        assert!(matches!(health, Health::Failing { reason, .. } if reason.contains("no storage space")));
        let progress = *journal.shared.progress().borrow();
        assert_eq!((progress.durable, progress.failing), (first, true));
        // What waits is bounded, but blocks are taken.
        let mut number = 2;
        while queue.append(&[share(number + 1)]).is_ok() {
            number += 1;
        }
        assert_eq!(number, 11);
        let event = BlockEvent { at: Timestamp(0), hash: BlockHash([1; 32]), height: 1, step: BlockStep::Orphaned };
        queue.append(&[event.into()]).unwrap();
        disk.refuse(None);
        wait_until_durable(&journal, second);
        wait_for(journal.shared.health(), Health::is_ok);
        journal.close();
        let expected: Vec<u64> = (1..=11).collect();
        assert_eq!(shares(&disk), expected);
        assert!(!journal.shared.progress().borrow().failing);
    }

    #[test]
    fn failing_syncs_neither_lose_nor_double_anything() {
        let mut disk = Arc::new(TestDisk::new());
        let mut acknowledged = Vec::new();
        for life in 0..20 {
            let mut journal = start(&disk, 1 << 20);
            disk.fail(Random(life), 10, 10);
            let queue = LogQueue::new(journal.shared.clone());
            for number in life * 100..life * 100 + 50 {
                queue.append(&[share(number)]).unwrap();
            }
            wait_until_durable(&journal, Position(25));
            disk.cut_power_after(life);
            wait_for(journal.shared.progress(), |progress| progress.failing || progress.durable == Position(50));
            journal.close();
            let durable = journal.shared.progress().borrow().durable.0;
            acknowledged.extend(life * 100..life * 100 + durable);
            disk = Arc::new(disk.restart(&mut Random(life)));
        }
        recover(&disk, 7).unwrap();
        let found = shares(&disk);
        assert!(acknowledged.iter().all(|number| found.binary_search(number).is_ok()));
        assert!(found.is_sorted_by(|a, b| a < b), "in order, none twice");
    }

    #[test]
    fn a_closed_ledger_takes_nothing() {
        let disk = Arc::new(TestDisk::new());
        let mut journal = start(&disk, 1 << 20);
        journal.close();
        assert_eq!(LogQueue::new(journal.shared.clone()).append(&[share(1)]), Err(Full));
    }

    #[test]
    fn many_appends_share_few_syncs() {
        let disk = Arc::new(TestDisk::new());
        let recovered = recover(&disk, 7).unwrap();
        let mut journal = Journal::start(disk.clone(), recovered, 1 << 20, 1 << 20, Duration::from_secs(3600)).unwrap();
        let queue = LogQueue::new(journal.shared.clone());
        let first = queue.append(&[share(0)]).unwrap();
        wait_until_durable(&journal, first);
        // The writer sleeps for an hour now at most; all of these are one write. Closing does not wait for it.
        for number in 0..1000 {
            queue.append(&[share(number)]).unwrap();
        }
        assert!(disk.syncs() <= 2);
        journal.close();
        assert!(disk.syncs() <= 3);
    }
}
