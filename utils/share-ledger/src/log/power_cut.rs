//! Power cuts, torn and reordered writes, syncs that fail, full disks, killed processes: a thousand histories from a
//! seed each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Batch, Encoder, Entry, FileName, LogReader, LogWriter, Mode, Recovered, Step, recover, summary};
use crate::{
    config::Retention,
    record::{Difficulty, Share, ShareHash, Timestamp, Work, WorkerId},
    test_disk::{Random, TestDisk},
};

const SEEDS: u64 = 1000;
const LIVES: u64 = 4;
const DAY: u64 = 86_400_000;

/// Each record has a day of its own, so that sums tell them apart.
fn share(record: u64) -> Share {
    let mut hash = [0; 12];
    hash[..8].copy_from_slice(&record.to_le_bytes());
    Share {
        at: Timestamp(record * DAY),
        worker: WorkerId(1),
        work: Work(1 << (record % 60)),
        hash: ShareHash(hash),
        reached: Difficulty::new(1.0),
    }
}

struct History {
    seed: u64,
    random: Random,
    disk: TestDisk,
    now: u64,
    next_record: u64,
    /// Reported durable.
    acknowledged: BTreeSet<u64>,
    /// Of those, records that have been summed up.
    summaries: u64,
}

impl History {
    fn live(&mut self) {
        let disk = Arc::new(self.disk.clone());
        let recovered = recover(&disk, self.seed).unwrap();
        let found = self.check(&disk);
        self.make_trouble();
        let mut writer = LogWriter::new(disk.clone(), recovered.log_id, 600, recovered.next_file);
        let Recovered { mut last, carry, superseded, .. } = recovered;
        if let Some(carry) = &carry {
            if !self.commit(&mut writer, carry) {
                return;
            }
            if let Some(name) = superseded {
                let _ = crate::disk::Disk::remove(&*disk, &name.to_string());
            }
        }
        // What was found has been written again where it had to: it may not vanish any more.
        self.acknowledged.extend(found);
        loop {
            last += 1;
            let records: Vec<u64> = (0..1 + self.random.below(6)).map(|n| self.next_record + n).collect();
            self.next_record += records.len() as u64;
            let batch = batch(writer.log_id(), last, &records);
            if !self.commit(&mut writer, &batch) {
                return;
            }
            self.acknowledged.extend(records);
            if self.random.chance(10) && !self.sum_up(&disk, writer.active_file(), last) {
                return;
            }
        }
    }

    fn make_trouble(&mut self) {
        let random = Random(self.random.next());
        let (syncs, writes) = (self.random.below(30), self.random.below(20));
        self.disk.fail(random, syncs, writes);
        self.disk.cut_power_after(self.random.below(400));
    }

    /// Until it is durable, or the power is off.
    fn commit(&mut self, writer: &mut LogWriter<TestDisk>, batch: &Batch) -> bool {
        for _ in 0..100 {
            self.now += self.random.below(100);
            match writer.commit(batch, Timestamp(self.now)) {
                Ok(()) => return true,
                Err(error) if error.to_string().contains("power") => return false,
                Err(_) => {}
            }
        }
        false
    }

    fn sum_up(&mut self, disk: &Arc<TestDisk>, active: u64, indexed: u64) -> bool {
        let retention = Retention {
            shares: Duration::from_millis(self.random.below(300)),
            share_bytes: if self.random.chance(20) { 500 } else { u64::MAX },
            hours: Duration::from_millis(300 + self.random.below(1000)),
            ..Retention::default()
        };
        let plan = summary::plan(&**disk, Timestamp(self.now), &retention, active, indexed);
        match plan.map_err(Into::into).map(|plan| plan.map(|plan| summary::carry_out(disk, &plan))) {
            Ok(None) => true,
            Ok(Some(Ok(()))) => {
                self.summaries += 1;
                true
            }
            Ok(Some(Err(super::ReadError::Io(error)))) | Err(super::ReadError::Io(error)) => {
                !error.to_string().contains("power")
            }
            Ok(Some(Err(error))) | Err(error) => panic!("seed {}: {error}", self.seed),
        }
    }

    /// Every acknowledged record is there, no record is there twice, and none that was never given.
    fn check(&self, disk: &Arc<TestDisk>) -> BTreeSet<u64> {
        let seed = self.seed;
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        let mut reader = LogReader::open(disk.clone(), 0, Mode::AtRest).unwrap();
        while let Some(step) = reader.next(u64::MAX).unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
            let batch = match step {
                Step::Batch(batch) => batch,
                Step::Damage(damage) => panic!("seed {seed}: {damage}"),
            };
            for entry in batch.entries() {
                match entry.unwrap() {
                    Entry::Share(read) => {
                        assert_eq!(read, share(read.at.0 / DAY), "seed {seed}");
                        *found.entry(read.at.0 / DAY).or_default() += 1;
                    }
                    Entry::Sum(sum) => {
                        let record = sum.start.0 / DAY;
                        assert_eq!(u128::from(sum.shares) << (record % 60), sum.work.0, "seed {seed}");
                        *found.entry(record).or_default() += sum.shares;
                    }
                    Entry::End => {}
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
        for record in &self.acknowledged {
            assert!(found.contains_key(record), "seed {seed}: acknowledged record {record} is missing");
        }
        for (record, times) in &found {
            assert_eq!(*times, 1, "seed {seed}: record {record}");
            assert!(*record < self.next_record, "seed {seed}: record {record} was never given");
        }
        found.into_keys().collect()
    }
}

pub(super) fn batch(log_id: u64, sequence: u64, records: &[u64]) -> Batch {
    let mut encoder = Encoder::default();
    records.iter().for_each(|record| encoder.share(&share(*record)));
    let (bytes, newest) = encoder.take();
    let mut batch = Batch::begin(Vec::new());
    batch.extend(&bytes);
    batch.seal(log_id, sequence, records.len() as u32, newest);
    batch
}

#[test]
fn no_acknowledged_share_is_missing_and_none_is_there_twice() {
    let (mut acknowledged, mut summaries, mut cuts) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut history = History {
            seed,
            random: Random(seed),
            disk: TestDisk::new(),
            now: 1000,
            next_record: 1,
            acknowledged: BTreeSet::new(),
            summaries: 0,
        };
        for _ in 0..LIVES {
            history.live();
            if history.random.chance(25) {
                history.disk.restart_process();
            } else {
                history.disk = history.disk.restart(&mut history.random);
                cuts += 1;
            }
        }
        recover(&Arc::new(history.disk.clone()), seed).unwrap();
        history.check(&Arc::new(history.disk.clone()));
        acknowledged += history.acknowledged.len();
        summaries += history.summaries;
    }
    // Or the test shows nothing.
    assert!(
        cuts > SEEDS && acknowledged > 20 * SEEDS as usize && summaries > SEEDS,
        "{cuts} {acknowledged} {summaries}"
    );
}

#[test]
fn a_batch_that_is_there_twice_counts_once() {
    let disk = Arc::new(TestDisk::new());
    let mut writer = LogWriter::new(disk.clone(), 7, 1 << 20, 0);
    for sequence in [1, 2, 2, 1, 3] {
        writer.commit(&batch(7, sequence, &[sequence]), Timestamp(0)).unwrap();
    }
    let mut again = LogWriter::new(disk.clone(), 7, 1 << 20, 1);
    for sequence in [2, 3, 4] {
        again.commit(&batch(7, sequence, &[sequence]), Timestamp(0)).unwrap();
    }
    let mut reader = LogReader::open(disk, 0, Mode::AtRest).unwrap();
    let mut seen = Vec::new();
    while let Some(Step::Batch(batch)) = reader.next(u64::MAX).unwrap() {
        seen.push(batch.sequence);
    }
    assert_eq!(seen, [1, 2, 3, 4]);
    assert_eq!(FileName::segment(1).to_string(), reader.file_name().unwrap());
}
