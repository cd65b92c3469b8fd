//! Reading: damage, live logs, positions, summaries.

use std::{io, sync::Arc, time::Duration};

use super::{power_cut::batch, *};
use crate::{config::Retention, record::Timestamp, test_disk::TestDisk};

const LOG: u64 = 7;

/// Batches 1 to `batches` of one record each, some to a segment.
fn log(batches: u64, to_a_segment: u64) -> Arc<TestDisk> {
    let disk = Arc::new(TestDisk::new());
    let mut number = 0;
    let mut writer = LogWriter::new(disk.clone(), LOG, 1 << 20, number);
    for sequence in 1..=batches {
        writer.commit(&batch(LOG, sequence, &[sequence]), Timestamp(sequence)).unwrap();
        if sequence % to_a_segment == 0 {
            number += 1;
            writer = LogWriter::new(disk.clone(), LOG, 1 << 20, number);
        }
    }
    disk
}

/// Sequence numbers of what is read; damage as a negative range.
fn read(reader: &mut LogReader<TestDisk>, limit: u64) -> Vec<i64> {
    let mut seen = Vec::new();
    while let Some(step) = reader.next(limit).unwrap() {
        match step {
            Step::Batch(batch) => seen.push(batch.sequence as i64),
            Step::Damage(damage) => seen.extend([-(damage.first as i64), -(damage.last as i64)]),
        }
    }
    seen
}

fn read_all(disk: &Arc<TestDisk>) -> Vec<i64> {
    read(&mut LogReader::open(disk.clone(), 0, Mode::AtRest).unwrap(), u64::MAX)
}

fn name(number: u64) -> String {
    FileName::segment(number).to_string()
}

const BATCH: usize = 32 + 9 + SHARE_BYTES;

#[test]
fn a_damaged_batch_is_reported_and_the_rest_is_read() {
    for (number, at) in [(0, 64), (0, 64 + BATCH + 40), (1, 64 + 2 * BATCH)] {
        let disk = log(9, 3);
        disk.flip(&name(number), at);
        let missing = (number as usize * 3 + (at - 64) / BATCH + 1) as i64;
        let mut expected: Vec<i64> = (1..=9).collect();
        expected.splice(missing as usize - 1..missing as usize, [-missing, -missing]);
        assert_eq!(read_all(&disk), expected, "file {number}, byte {at}");
        // The same while it is written, but for the last file.
        let mut live = LogReader::open(disk.clone(), 0, Mode::Live).unwrap();
        assert_eq!(read(&mut live, u64::MAX), expected);
    }
}

#[test]
fn damage_in_the_last_segment_is_not_taken_for_a_torn_write() {
    let disk = log(3, 10);
    disk.flip(&name(0), 64 + BATCH);
    let recovered = recover(&disk, 1).unwrap();
    assert_eq!((recovered.last, recovered.log_id), (3, LOG));
    assert_eq!(disk.len_of(&name(0)), 64 + 3 * BATCH, "nothing is cut off");
    assert_eq!(read_all(&disk), [1, -2, -2, 3]);
}

#[test]
fn a_torn_write_is_cut_off() {
    for torn in 1..BATCH {
        let disk = log(3, 2);
        let bytes = disk.bytes_of(&name(1));
        let more = batch(LOG, 4, &[4]);
        disk.put(&name(1), &[&bytes, &more.bytes()[..torn]].concat());
        let recovered = recover(&disk, 1).unwrap();
        assert_eq!((recovered.last, recovered.next_file), (3, 2));
        assert_eq!(recovered.superseded, Some(FileName::segment(1)));
        assert_eq!(recovered.carry.unwrap().bytes(), batch(LOG, 3, &[3]).bytes());
        assert_eq!(disk.len_of(&name(1)), bytes.len());
    }
}

#[test]
fn a_segment_that_was_only_begun_is_removed() {
    for len in [0, 10, 64, 70] {
        let disk = log(3, 3);
        let mut bytes = batch(LOG, 4, &[4]).into_buffer();
        bytes.splice(..0, disk.bytes_of(&name(0))[..64].iter().copied());
        disk.put(&name(1), &bytes[..len]);
        let recovered = recover(&disk, 1).unwrap();
        assert_eq!((recovered.last, recovered.next_file), (3, 2));
        assert_eq!(crate::disk::Disk::list(&*disk).unwrap(), [name(0)]);
    }
}

#[test]
fn lost_segments_are_damage() {
    let disk = log(9, 3);
    crate::disk::Disk::remove(&*disk, &name(1)).unwrap();
    assert_eq!(read_all(&disk), [1, 2, 3, -4, -6, 7, 8, 9]);
    disk.flip(&name(0), 5);
    assert_eq!(read_all(&disk), [-1, -6, 7, 8, 9], "without a header");
}

#[test]
fn segments_of_another_log_are_not_read() {
    let disk = log(2, 2);
    let mut other = LogWriter::new(disk.clone(), 8, 1 << 20, 5);
    other.commit(&batch(8, 3, &[3]), Timestamp(3)).unwrap();
    assert_eq!(read_all(&disk), [1, 2]);
}

#[test]
fn a_later_version_is_refused() {
    let disk = log(1, 1);
    let mut bytes = disk.bytes_of(&name(0));
    bytes[8] = 9;
    let checksum = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    disk.put(&name(1), &bytes);
    let error = recover(&disk, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "shares-0000000001.log has version 9 of the log's format; this program knows version 1"
    );
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn reading_begins_behind_a_position() {
    let disk = log(9, 3);
    for position in 0..=9 {
        let mut reader = LogReader::open(disk.clone(), position, Mode::AtRest).unwrap();
        assert_eq!(read(&mut reader, u64::MAX), (position as i64 + 1..=9).collect::<Vec<_>>());
    }
}

#[test]
fn a_reader_follows_the_writer_up_to_the_limit() {
    let disk = Arc::new(TestDisk::new());
    let mut writer = LogWriter::new(disk.clone(), LOG, 300, 0);
    let mut reader = LogReader::open(disk.clone(), 0, Mode::Live).unwrap();
    for sequence in 1..50 {
        assert_eq!(read(&mut reader, sequence - 1), []);
        writer.commit(&batch(LOG, sequence, &[sequence]), Timestamp(0)).unwrap();
        assert_eq!(read(&mut reader, sequence - 1), []);
        assert_eq!(read(&mut reader, sequence), [sequence as i64]);
    }
}

#[test]
fn a_live_reader_waits_for_a_write_that_is_under_way() {
    let disk = log(2, 9);
    let bytes = disk.bytes_of(&name(0));
    let more = batch(LOG, 3, &[3]);
    let mut reader = LogReader::open(disk.clone(), 0, Mode::Live).unwrap();
    disk.put(&name(0), &[&bytes, &more.bytes()[..50]].concat());
    // The same open file has to be read on; `put` makes a new one.
    let mut reader_of_torn = LogReader::open(disk.clone(), 0, Mode::Live).unwrap();
    assert_eq!(read(&mut reader_of_torn, u64::MAX), [1, 2]);
    assert_eq!(reader_of_torn.skipped_bytes(), 0);
    assert_eq!(read(&mut reader, u64::MAX), [1, 2]);
}

#[test]
fn a_live_reader_waits_for_the_header_of_a_new_file() {
    let disk = log(3, 2);
    let whole = disk.bytes_of(&name(1));
    for len in [0, 10, 63] {
        disk.put(&name(1), &whole[..len]);
        let mut reader = LogReader::open(disk.clone(), 0, Mode::Live).unwrap();
        assert_eq!(read(&mut reader, u64::MAX), [1, 2]);
        disk.put(&name(1), &whole);
        assert_eq!(read(&mut reader, u64::MAX), [3]);
        // One that was given up is passed over when there is another.
        disk.put(&name(1), &whole[..len]);
        disk.put(&name(2), &whole);
        let mut reader = LogReader::open(disk.clone(), 0, Mode::Live).unwrap();
        assert_eq!(read(&mut reader, u64::MAX), [1, 2, 3]);
        crate::disk::Disk::remove(&*disk, &name(2)).unwrap();
    }
}

#[test]
fn a_name_that_looks_like_a_batch_is_none() {
    // Whoever knows the format but not the log's id.
    let fake = batch(LOG + 1, 3, &[99]).into_buffer();
    let disk = log(2, 9);
    let bytes = disk.bytes_of(&name(0));
    disk.put(&name(0), &[&bytes[..], b"damage", &fake, batch(LOG, 4, &[4]).bytes()].concat());
    assert_eq!(read_all(&disk), [1, 2, -3, -3, 4]);
}

fn retention(shares: u64, hours: u64) -> Retention {
    Retention {
        shares: Duration::from_millis(shares),
        hours: Duration::from_millis(hours),
        share_bytes: u64::MAX,
        ..Retention::default()
    }
}

fn sum_up(disk: &Arc<TestDisk>, now: u64, retention: &Retention, active: u64, indexed: u64) -> bool {
    let plan = summary::plan(&**disk, Timestamp(now), retention, active, indexed).unwrap();
    plan.is_some_and(|plan| {
        summary::carry_out(disk, &plan).unwrap();
        true
    })
}

fn list(disk: &Arc<TestDisk>) -> Vec<String> {
    crate::disk::Disk::list(&**disk).unwrap()
}

#[test]
fn old_segments_become_sums_of_hours_and_then_of_days() {
    // Segments begin at 1, 4, 7, 10, 13.
    let disk = log(15, 3);
    assert!(!sum_up(&disk, 6, &retention(3, 1000), 9, 99), "the next one begins at 4, which is no older than 3");
    assert!(sum_up(&disk, 8, &retention(3, 1000), 9, 99));
    assert_eq!(list(&disk)[..2], [name(1), name(2)]);
    assert_eq!(read_all(&disk), [3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    // It grows.
    assert!(sum_up(&disk, 10, &retention(0, 1000), 3, 99));
    assert_eq!(list(&disk), [name(3), name(4), FileName::summary(0, 2).to_string()]);
    assert!(!sum_up(&disk, 100, &retention(0, 1000), 3, 99), "the active segment");
    assert!(!sum_up(&disk, 100, &retention(0, 1000), 9, 8), "not indexed");
    assert!(sum_up(&disk, 10_000, &retention(9_999_999, 1000), 9, 99));
    let mut reader = LogReader::open(disk.clone(), 0, Mode::AtRest).unwrap();
    let Some(Step::Batch(first)) = reader.next(u64::MAX).unwrap() else { panic!("no batch") };
    assert_eq!((first.resolution, first.complete, first.records), (Resolution::Days, false, 9));
    assert_eq!(read_all(&disk), [9, 9, 10, 11, 12, 13, 14, 15]);
}

#[test]
fn too_many_bytes_of_shares_are_summed_up_before_their_time() {
    let disk = log(15, 3);
    let segment = disk.len_of(&name(0)) as u64;
    let retention = Retention { share_bytes: 3 * segment, ..retention(1_000_000, 1_000_000) };
    assert!(sum_up(&disk, 20, &retention, 9, 99));
    assert!(!sum_up(&disk, 20, &retention, 9, 99));
    assert_eq!(list(&disk), [name(2), name(3), name(4), FileName::summary(0, 1).to_string()]);
}

#[test]
fn a_position_within_a_summary_is_refused() {
    let disk = log(6, 3);
    assert!(sum_up(&disk, 100, &retention(0, 1000), 9, 99));
    for (position, within) in [(0, false), (1, true), (2, true), (3, false), (4, false)] {
        let mut reader = LogReader::open(disk.clone(), position, Mode::AtRest).unwrap();
        assert_eq!(matches!(reader.next(u64::MAX), Err(ReadError::SummedUp(_))), within, "{position}");
    }
}

#[test]
fn a_reader_notices_that_its_files_were_summed_up() {
    let disk = log(9, 3);
    let mut reader = LogReader::open(disk.clone(), 0, Mode::Live).unwrap();
    assert_eq!(read(&mut reader, 2), [1, 2]);
    assert!(sum_up(&disk, 100, &retention(0, 1000), 9, 99));
    // The file that it has open can be read on; then only the summary is left.
    let mut seen = Vec::new();
    let refused = loop {
        match reader.next(u64::MAX) {
            Ok(Some(Step::Batch(batch))) => seen.push(batch.sequence),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, [3]);
    assert!(matches!(refused, ReadError::SummedUp(3)));
}

#[test]
fn damage_stays_known_in_a_summary() {
    let disk = log(6, 3);
    disk.flip(&name(0), 64 + BATCH);
    assert!(sum_up(&disk, 100, &retention(0, 1000), 9, 99));
    let mut reader = LogReader::open(disk.clone(), 0, Mode::AtRest).unwrap();
    let Some(Step::Batch(batch)) = reader.next(u64::MAX).unwrap() else { panic!("no batch") };
    assert!(batch.entries().any(|entry| entry == Ok(Entry::Gap { first: 2, last: 2 })));
}

#[test]
fn a_damaged_summary_is_damage() {
    let disk = log(6, 3);
    assert!(sum_up(&disk, 100, &retention(0, 1000), 9, 99));
    let summary = FileName::summary(0, 0).to_string();
    disk.flip(&summary, disk.len_of(&summary) - 1);
    assert_eq!(read_all(&disk), [3, -1, -3, 4, 5, 6], "the sums can be read, their end can not");
}

#[test]
fn recovery_prefers_whole_files_to_a_damaged_summary() {
    for damaged in [false, true] {
        let disk = log(6, 3);
        let before: Vec<u8> = disk.bytes_of(&name(0));
        assert!(sum_up(&disk, 100, &retention(0, 1000), 9, 99));
        // As if its removal had not come through.
        disk.put(&name(0), &before);
        let summary = FileName::summary(0, 0).to_string();
        if damaged {
            disk.flip(&summary, 100);
        }
        recover(&disk, 1).unwrap();
        assert_eq!(list(&disk), if damaged { [name(0), name(1)] } else { [name(1), summary] });
    }
}
