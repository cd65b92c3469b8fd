//! Buffers travel between threads; nobody ever sees another's bytes. Run under the sanitizers too.
#![cfg(not(loom))]

use std::{
    sync::{Barrier, mpsc},
    thread,
};

use buffer::{Buffer, Pool};

const THREADS: usize = 4;
/// Buffers each thread makes. Few under Miri, which runs a thousand times slower.
const ROUNDS: usize = if cfg!(miri) { 40 } else { 4_000 };
/// Fewer slots than buffers under way, so that the allocator steps in at times.
const SLOTS: usize = 12;

/// A pattern of `len` bytes that tells which buffer it is of.
fn fill(buffer: &mut Buffer, seed: usize) {
    for (i, byte) in buffer.iter_mut().enumerate() {
        *byte = (seed.wrapping_mul(31) ^ i) as u8;
    }
}

fn check(buffer: &Buffer, seed: usize) {
    assert!(buffer.iter().enumerate().all(|(i, byte)| *byte == (seed.wrapping_mul(31) ^ i) as u8), "buffer {seed}");
}

#[test]
fn each_buffer_keeps_its_own_bytes() {
    let pool = Pool::new(SLOTS, 256).unwrap();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::sync_channel(3)).unzip();
    thread::scope(|scope| {
        for (number, receiver) in receivers.into_iter().enumerate() {
            let to = senders[(number + 1) % THREADS].clone();
            let pool = pool.clone();
            scope.spawn(move || {
                // A thread of its own fills, so that neither side waits for the other in a circle.
                let filler = thread::spawn(move || {
                    for round in 0..ROUNDS {
                        let seed = number * ROUNDS + round;
                        let mut buffer = pool.zeroed(seed % 256);
                        fill(&mut buffer, seed);
                        to.send((seed, buffer)).unwrap();
                    }
                });
                for (seed, buffer) in receiver.into_iter().take(ROUNDS) {
                    check(&buffer, seed);
                }
                filler.join().unwrap();
            });
        }
        drop(senders);
    });
    assert_eq!(pool.stats().in_use, 0);
}

/// The last buffers and the last handle go at the same moment, on different threads.
#[test]
fn the_end_of_a_pool_is_orderly() {
    for round in 0..ROUNDS / 40 {
        let pool = Pool::new(70, 8).unwrap();
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            let start = &start;
            for thread in 0..THREADS {
                let last = if thread == 0 { None } else { Some(pool.clone()) };
                let buffers: Vec<Buffer> = (0..16).map(|i| pool.copy_of(&[(round + i) as u8; 8])).collect();
                scope.spawn(move || {
                    start.wait();
                    drop(last);
                    for (i, buffer) in buffers.into_iter().enumerate() {
                        assert_eq!(&*buffer, [(round + i) as u8; 8]);
                    }
                });
            }
            drop(pool);
        });
    }
}
