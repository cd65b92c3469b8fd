//! `cargo bench -p stratum-buffer`: what it costs to detach a frame's bytes, from a pool, `Vec` and `bytes`.
//!
//! "here": taken and dropped on one thread. "across": filled by one thread, dropped by another, in batches of 64.

use std::{
    hint::black_box,
    sync::mpsc,
    time::{Duration, Instant},
};

use buffer::{Buffer, Pool};
use bytes::Bytes;

const SIZES: [usize; 5] = [40, 200, 1_000, 4_000, 16_000];
const IN_FLIGHT: usize = 64;
/// The best of so many runs counts: what disturbs a run only makes it longer.
const RUNS: usize = 7;

fn main() {
    println!("{:>7} {:>8} {:>10} {:>10} {:>10}   nanoseconds each", "bytes", "", "pool", "Vec", "bytes");
    for size in SIZES {
        let source = vec![7u8; size];
        let pool = Pool::new(6 * IN_FLIGHT, size).expect("a pool of a sensible size");
        let pooled = |bytes: &[u8]| pool.copy_of(bytes);
        row(
            size,
            "here",
            [here(&source, pooled), here(&source, <[u8]>::to_vec), here(&source, Bytes::copy_from_slice)],
        );
        let pooled = |bytes: &[u8]| -> Buffer { pool.copy_of(bytes) };
        row(
            size,
            "across",
            [across(&source, pooled), across(&source, <[u8]>::to_vec), across(&source, Bytes::copy_from_slice)],
        );
        assert_eq!(pool.stats().exhausted, 0);
    }
}

fn row(size: usize, what: &str, times: [f64; 3]) {
    println!("{size:>7} {what:>8} {:>10.1} {:>10.1} {:>10.1}", times[0], times[1], times[2]);
}

fn best(mut run: impl FnMut() -> (Duration, u32)) -> f64 {
    let times = (0..RUNS).map(|_| {
        let (time, count) = run();
        time.as_secs_f64() * 1e9 / f64::from(count)
    });
    times.fold(f64::INFINITY, f64::min)
}

fn here<T>(source: &[u8], take: impl Fn(&[u8]) -> T) -> f64 {
    const COUNT: u32 = 100_000;
    best(|| {
        let start = Instant::now();
        for _ in 0..COUNT {
            black_box(take(black_box(source)));
        }
        (start.elapsed(), COUNT)
    })
}

/// Batches go back and forth, so that the queue's own cost, the same for all, is spread over many.
fn across<T: Send>(source: &[u8], take: impl Fn(&[u8]) -> T) -> f64 {
    const BATCHES: u32 = 500;
    best(|| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<T>>(2);
        let (back, empty) = mpsc::sync_channel::<Vec<T>>(4);
        for _ in 0..4 {
            back.send(Vec::with_capacity(IN_FLIGHT)).expect("room for four");
        }
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for mut batch in receiver {
                    batch.clear();
                    if back.send(batch).is_err() {
                        break;
                    }
                }
            });
            let start = Instant::now();
            for _ in 0..BATCHES {
                let mut batch = empty.recv().expect("the other side runs");
                batch.extend((0..IN_FLIGHT).map(|_| take(black_box(source))));
                sender.send(batch).expect("the other side runs");
            }
            let time = start.elapsed();
            drop(sender);
            (time, BATCHES * IN_FLIGHT as u32)
        })
    })
}
