//! All interleavings of small programs: `RUSTFLAGS="--cfg loom" cargo test -p stratum-buffer --test loom`.
//!
//! Under this cfg the library tells loom who touches a slot, and that the memory is given back once (`src/sync.rs`): two
//! owners of a slot, a missing order between them, or a leak fail a model. A word of the free list has two slots then.
#![cfg(loom)]

use buffer::{Buffer, Pool};
use loom::{model::Builder, sync::mpsc, thread};

/// Explores every schedule with up to three preemptions; more never found more, and takes minutes.
fn model(program: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(program);
}

fn pool(slots: usize) -> Pool {
    Pool::new(slots, 8).unwrap()
}

/// Takes a buffer, checks that nobody else writes to it.
fn use_one(pool: &Pool, byte: u8) -> bool {
    let mut buffer = pool.copy_of(&[byte]);
    thread::yield_now();
    assert_eq!(*buffer, [byte]);
    buffer[0] = !byte;
    assert_eq!(*buffer, [!byte]);
    buffer.is_pooled()
}

#[test]
fn a_slot_has_one_owner() {
    model(|| {
        let shared = pool(1);
        let other = shared.clone();
        let thread = thread::spawn(move || use_one(&other, 1));
        let here = use_one(&shared, 2);
        let there = thread.join().unwrap();
        assert!(here || there, "the slot was free for one of them");
        assert_eq!(shared.stats().in_use, 0);
    });
}

#[test]
fn enough_slots_for_all_leave_nobody_without() {
    model(|| {
        let shared = pool(3); // two words
        let other = shared.clone();
        let thread = thread::spawn(move || (other.copy_of(b"a"), other.copy_of(b"b")));
        let own = shared.copy_of(b"c");
        let (a, b) = thread.join().unwrap();
        assert_eq!((&*a, &*b, &*own), (&b"a"[..], &b"b"[..], &b"c"[..]));
        assert_eq!(shared.stats().in_use + shared.stats().exhausted, 3);
    });
}

#[test]
fn a_buffer_travels() {
    model(|| {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel::<Buffer>();
        let thread = thread::spawn(move || drop(receiver.recv().unwrap()));
        sender.send(pool.copy_of(b"x")).unwrap();
        let next = pool.copy_of(b"y"); // the slot of the first, or the allocator's
        thread.join().unwrap();
        assert_eq!(&*next, b"y");
    });
}

#[test]
fn the_last_buffer_gives_the_memory_back() {
    model(|| {
        let pool = pool(3); // a full word and one of a single slot
        let (a, b) = (pool.copy_of(b"a"), pool.copy_of(b"b"));
        let c = pool.copy_of(b"c");
        let first = thread::spawn(move || drop(a));
        let second = thread::spawn(move || drop((b, c)));
        drop(pool);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn the_last_handle_gives_the_memory_back() {
    model(|| {
        let pool = pool(2);
        let other = pool.clone();
        let thread = thread::spawn(move || {
            let buffer = other.copy_of(b"a");
            drop(other);
            drop(buffer);
        });
        drop(pool);
        thread.join().unwrap();
    });
}

#[test]
fn a_handle_that_only_looks_keeps_the_memory() {
    model(|| {
        let pool = pool(2);
        let other = pool.clone();
        let thread = thread::spawn(move || assert_eq!(other.stats().in_use, 0));
        drop(pool);
        thread.join().unwrap();
    });
}
