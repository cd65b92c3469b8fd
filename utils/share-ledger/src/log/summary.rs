//! Old files become sums (`docs/adr/0015-old-shares-become-sums.md`).
//!
//! Segments whose shares are old enough are replaced by a summary: the same entries, but all shares of a worker in an
//! hour are one [`Sum`]. Old summaries per hour become summaries per day in the same way. Whoever reads the log from
//! its beginning gets the same totals as before. A summary is complete and durable under its name before anything that
//! it replaces is removed.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
    time::Duration,
};

use super::{
    entry::{Encoder, Entry, Sum},
    files::{self, FileName, UNFINISHED},
    frame::{Batch, FileHeader, Resolution},
    open_file::OpenFile,
    reader::{LogReader, ReadError, Step},
};
use crate::{
    config::Retention,
    disk::{Disk, DiskFile},
    record::{Difficulty, Rejects, Timestamp, Work, WorkerId},
};

/// Segments that are summed up in one go, in bytes, so that one go is short and its sums fit into memory.
const INPUT_BYTES: u64 = 256 << 20;

/// Size from which a summary is left alone and a new one is begun, in bytes.
const SUMMARY_BYTES: u64 = 16 << 20;

/// Entries of a summary that go into one batch, in bytes.
const BATCH_BYTES: usize = 1 << 20;

impl Resolution {
    /// Start of the period in which `at` lies.
    pub(crate) fn period(self, at: Timestamp) -> Timestamp {
        let millis = match self {
            Self::Shares => 1,
            Self::Hours => 3_600_000,
            Self::Days => 86_400_000,
        };
        Timestamp(at.0 - at.0 % millis)
    }
}

/// What is to be summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) inputs: Vec<FileName>,
    resolution: Resolution,
    log_id: u64,
    /// Sequence number of the last batch before the inputs.
    position: u64,
    /// All records in the inputs are older.
    time: Timestamp,
}

#[derive(Clone, Copy)]
struct Candidate {
    name: FileName,
    header: FileHeader,
    bytes: u64,
}

/// Finds files to sum up, the oldest first. Leaves alone the segments from number `active` on, and those with batches
/// after `indexed`.
pub(crate) fn plan<D: Disk>(
    disk: &D,
    now: Timestamp,
    retention: &Retention,
    active: u64,
    indexed: u64,
) -> io::Result<Option<Plan>> {
    let mut files = Vec::new();
    for name in files::list(disk)?.0 {
        let Some(open) = OpenFile::open(disk, name, None)? else {
            // A damaged file stays, and with it all that follows: whoever repairs it must find the rest in order.
            break;
        };
        files.push(Candidate { name, header: open.header, bytes: open.size()? });
    }
    let before = |age: Duration| Timestamp(now.0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));

    let share_bytes: u64 = files.iter().filter(|file| !file.name.summary).map(|file| file.bytes).sum();
    let mut over = share_bytes.saturating_sub(retention.share_bytes);
    let old_shares = |file: &Candidate, next: &Candidate| {
        let is_old = next.header.time <= before(retention.shares) || over > 0;
        over = over.saturating_sub(file.bytes);
        is_old && next.name.first <= active && next.header.first <= indexed.saturating_add(1)
    };
    if let Some(plan) = plan_one(&files, Resolution::Shares, Resolution::Hours, old_shares) {
        return Ok(Some(plan));
    }
    let old_hours = |file: &Candidate, _: &Candidate| file.header.time <= before(retention.hours);
    Ok(plan_one(&files, Resolution::Hours, Resolution::Days, old_hours))
}

/// The first files of resolution `from` that are old, and the last summary of resolution `to` if that is small.
fn plan_one(
    files: &[Candidate],
    from: Resolution,
    to: Resolution,
    mut is_old: impl FnMut(&Candidate, &Candidate) -> bool,
) -> Option<Plan> {
    let start = files.iter().position(|file| file.header.resolution == from)?;
    let mut bytes = 0;
    let count = files[start..]
        .windows(2)
        .take_while(|pair| {
            bytes += pair[0].bytes;
            pair[0].header.resolution == from
                && is_old(&pair[0], &pair[1])
                && (bytes <= INPUT_BYTES || bytes == pair[0].bytes)
        })
        .count();
    if count == 0 {
        return None;
    }
    let end = start + count;
    let grows = |file: &Candidate| file.header.resolution == to && file.bytes < SUMMARY_BYTES;
    let begin = if start > 0 && grows(&files[start - 1]) { start - 1 } else { start };
    let inputs = &files[begin..end];
    Some(Plan {
        inputs: inputs.iter().map(|file| file.name).collect(),
        resolution: to,
        log_id: inputs[0].header.log_id,
        position: match begin.checked_sub(1) {
            Some(before) if files[before].name.summary => files[before].header.last,
            _ => inputs[0].header.first.saturating_sub(1),
        },
        time: files[end].header.time,
    })
}

/// Makes the summary and removes what it replaces. Nothing is lost by an error or a crash at any point.
///
/// # Errors
/// As the system reports.
pub(crate) fn carry_out<D: Disk>(disk: &Arc<D>, plan: &Plan) -> Result<(), ReadError> {
    let (sums, last) = sum_up(disk, plan)?;
    let (Some(first_input), Some(last_input)) = (plan.inputs.first(), plan.inputs.last()) else { return Ok(()) };
    let header = FileHeader {
        log_id: plan.log_id,
        resolution: plan.resolution,
        first: plan.position + 1,
        last,
        time: plan.time,
    };
    let name = FileName::summary(first_input.first, last_input.last);
    if disk.list()?.iter().any(|name| name == UNFINISHED) {
        disk.remove(UNFINISHED)?;
    }
    let mut file = disk.create(UNFINISHED)?;
    file.append(&header.to_bytes())?;
    sums.write(&mut file, plan.log_id)?;
    file.sync()?;
    drop(file);
    disk.rename(UNFINISHED, &name.to_string())?;
    disk.sync_folder()?;
    // A summary per hour that becomes one per day keeps its name, and has been replaced by then.
    for input in plan.inputs.iter().filter(|input| **input != name) {
        disk.remove(&input.to_string())?;
    }
    Ok(())
}

/// What a summary has in it, in the order in which it is written.
#[derive(Default)]
struct Sums {
    workers: Vec<Entry>,
    shares: BTreeMap<(Timestamp, WorkerId), (u64, Work, Difficulty)>,
    rejects: BTreeMap<(Timestamp, WorkerId, u32), u64>,
    reasons: HashMap<Cow<'static, str>, u32>,
    others: Vec<Entry>,
}

fn sum_up<D: Disk>(disk: &Arc<D>, plan: &Plan) -> Result<(Sums, u64), ReadError> {
    let mut sums = Sums::default();
    let mut reader = LogReader::over(disk.clone(), &plan.inputs, plan.position);
    while let Some(step) = reader.next(u64::MAX)? {
        match step {
            Step::Damage(damage) => {
                tracing::error!("while old shares are summed up: {damage}");
                sums.others.push(Entry::Gap { first: damage.first, last: damage.last });
            }
            Step::Batch(batch) => {
                let sequence = batch.sequence;
                for entry in batch.entries() {
                    let Ok(entry) = entry else {
                        tracing::error!("while old shares are summed up: batch {sequence} is malformed");
                        sums.others.push(Entry::Gap { first: sequence, last: sequence });
                        break;
                    };
                    sums.add(plan.resolution, entry);
                }
            }
        }
    }
    Ok((sums, reader.position()))
}

impl Sums {
    fn add(&mut self, resolution: Resolution, entry: Entry) {
        match entry {
            Entry::Share(share) => {
                self.add_shares(resolution.period(share.at), share.worker, (1, share.work, share.reached));
            }
            Entry::Sum(Sum { start, worker, shares, work, best }) => {
                self.add_shares(resolution.period(start), worker, (shares, work, best));
            }
            Entry::Rejects(Rejects { at, worker, reason, count }) => {
                let next = self.reasons.len() as u32;
                let reason = *self.reasons.entry(reason).or_insert(next);
                let sum = self.rejects.entry((resolution.period(at), worker, reason)).or_default();
                *sum = sum.saturating_add(count);
            }
            Entry::Worker(_) => self.workers.push(entry),
            Entry::Block(_) | Entry::Gap { .. } => self.others.push(entry),
            Entry::End => {}
        }
    }

    fn add_shares(&mut self, start: Timestamp, worker: WorkerId, (shares, work, best): (u64, Work, Difficulty)) {
        let sum = self.shares.entry((start, worker)).or_default();
        *sum = (sum.0.saturating_add(shares), sum.1.saturating_add(work), sum.2.max(best));
    }

    fn write<F: DiskFile>(self, file: &mut F, log_id: u64) -> io::Result<()> {
        let mut out = Output { file, log_id, encoder: Encoder::default(), entries: 0, batches: 0 };
        for entry in &self.workers {
            if let Entry::Worker(worker) = entry {
                out.encoder.worker(worker);
                out.entry_done()?;
            }
        }
        for ((start, worker), (shares, work, best)) in self.shares {
            out.encoder.sum(&Sum { start, worker, shares, work, best });
            out.entry_done()?;
        }
        let reasons: HashMap<u32, Cow<'static, str>> =
            self.reasons.into_iter().map(|(reason, number)| (number, reason)).collect();
        for ((at, worker, reason), count) in self.rejects {
            let reason = reasons.get(&reason).cloned().unwrap_or_default();
            out.encoder.rejects(&Rejects { at, worker, reason, count });
            out.entry_done()?;
        }
        for entry in &self.others {
            match entry {
                Entry::Block(event) => out.encoder.block(event),
                Entry::Gap { first, last } => out.encoder.gap(*first, *last),
                _ => continue,
            }
            out.entry_done()?;
        }
        out.end()
    }
}

struct Output<'a, F> {
    file: &'a mut F,
    log_id: u64,
    encoder: Encoder,
    entries: u32,
    batches: u64,
}

impl<F: DiskFile> Output<'_, F> {
    fn entry_done(&mut self) -> io::Result<()> {
        self.entries += 1;
        if self.encoder.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let (entries, newest) = self.encoder.take();
        let mut batch = Batch::begin(Vec::with_capacity(entries.len() + 64));
        batch.extend(&entries);
        self.batches += 1;
        batch.seal(self.log_id, self.batches, std::mem::take(&mut self.entries), newest);
        self.file.append(batch.bytes())
    }

    /// The last batch has no records but the end.
    fn end(mut self) -> io::Result<()> {
        if !self.encoder.is_empty() {
            self.flush()?;
        }
        self.encoder.end();
        self.flush()
    }
}
