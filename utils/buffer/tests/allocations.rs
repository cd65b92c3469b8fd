//! From the wire to a frame on another thread and back, without the allocator.
#![cfg(not(loom))]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::{Mutex, mpsc},
};

use buffer::Pool;
use codec_sv2::{Encoder, StandardSv2Decoder};
use framing_sv2::{Header, PooledFrame, Sv2Frame};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator; counts what each thread asks for.
struct Counting;

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FRAMES: usize = 1_000;
/// Frames that may be on their way at once.
const QUEUED: usize = 8;

/// Receives a share again and again, makes each frame one that may travel, and gives it to `deliver`.
fn receive<T>(wire: &[u8], detach: impl Fn(Sv2Frame<'_>) -> T, mut deliver: impl FnMut(T)) -> usize {
    let mut decoder = StandardSv2Decoder::new();
    let mut before = 0;
    for round in 0..=FRAMES {
        decoder.writable()[..wire.len()].copy_from_slice(wire);
        decoder.advance(wire.len());
        deliver(detach(decoder.next_frame().unwrap()));
        if round == 0 {
            before = ALLOCATIONS.get(); // the receive buffer is there now
        }
    }
    ALLOCATIONS.get() - before
}

#[test]
fn frames_to_another_thread_cost_no_allocation() {
    let mut wire = vec![];
    let share = Sv2Frame::new(Header::new(0, true, 0x1b, 40).unwrap(), vec![3; 40]).unwrap();
    Encoder::new().encode_frame(&share, &mut wire).unwrap();

    // Two frames may be out beyond the queue: one on each side of it.
    let pool = Pool::new(QUEUED + 2, 64).unwrap();
    let (sender, receiver) = mpsc::sync_channel::<PooledFrame>(QUEUED);
    let seen = Mutex::new(0);
    let allocations = std::thread::scope(|scope| {
        scope.spawn(|| {
            for frame in receiver {
                assert_eq!(frame.payload(), [3; 40]);
                *seen.lock().unwrap() += 1;
            }
        });
        // A full queue makes a thread wait, and the first wait allocates in the standard library: yield instead.
        let deliver = |mut frame| {
            while let Err(mpsc::TrySendError::Full(back)) = sender.try_send(frame) {
                frame = back;
                std::thread::yield_now();
            }
        };
        let allocations = receive(&wire, |frame| frame.into_pooled(&pool), deliver);
        drop(sender);
        allocations
    });
    assert_eq!((allocations, *seen.lock().unwrap()), (0, FRAMES + 1));
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.exhausted, stats.too_long), (0, 0, 0));

    // The count is worth something: without a pool it is one each.
    assert_eq!(receive(&wire, |frame| frame.into_owned(), drop), FRAMES);
}
