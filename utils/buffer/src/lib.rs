//! A bounded pool of byte buffers: taken by one thread, given back on drop by any, without the allocator.
//!
//! A [`Pool`] is one block of memory, cut into slots of one length. [`Pool::copy_of`] and [`Pool::zeroed`] hand out a
//! [`Buffer`], which is used as a `[u8]`. Taking one and giving it back are one atomic operation each; neither waits for a
//! lock, and the pool may be dropped before its buffers. `no_std` with `alloc`.
//!
//! It serves frames that outlive the receive buffer they came in, because they cross to another thread or wait in a queue
//! (`framing_sv2::PooledFrame`, feature `with_buffer`). Frames that are used where they were received need none: the codec
//! lends them (`docs/adr/0005-a-pool-for-frames-that-travel.md`).
//!
//! # Limits
//! A pool never grows: with all slots out, or for something longer than a slot, a buffer comes from the allocator instead
//! and is counted in [`Stats`]. Whoever must bound memory bounds the number of buffers; the pool bounds what is *kept*.
//! At most [`MAX_SLOTS`] slots of at most [`MAX_SLOT_LEN`] bytes.
//!
//! A buffer never shows what was in its slot before.
//!
//! # Example
//! ```
//! use buffer::Pool;
//!
//! let pool = Pool::new(64, 512)?;
//! let frame = pool.copy_of(b"a message");
//! let length = std::thread::spawn(move || frame.len()).join().unwrap(); // dropped there, back here
//! assert_eq!((length, pool.stats().in_use), (9, 0));
//!
//! let long = pool.zeroed(513);
//! assert!(!long.is_pooled());
//! assert_eq!(pool.stats().too_long, 1);
//! # Ok::<(), buffer::SizeError>(())
//! ```
//!
//! # Unsafe code
//! All of it is in the module `slots` and in `buffer`, under three invariants that each `SAFETY` comment names:
//!
//! 1. **One owner.** The bit of a slot is set while it is free. Who clears it owns the slot's bytes until it sets the bit
//!    again. A slot is never in two buffers.
//! 2. **Alive.** The memory goes when every handle and every buffer of the pool is gone, and only then.
//! 3. **Written before read.** A buffer's first `len` bytes have been written since it was taken.
//!
//! Model checking (loom), AddressSanitizer, valgrind and, where installed, Miri watch over them: `cargo xtask sanitize`.
#![no_std]

extern crate alloc;

mod buffer;
mod pool;
mod slots;
mod sync;

pub use crate::{
    buffer::Buffer,
    pool::{MAX_SLOT_LEN, MAX_SLOTS, Pool, SizeError, Stats},
};
