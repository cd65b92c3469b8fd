//! The pool and its figures.

use alloc::{alloc::Layout, vec};
use core::{fmt, ptr::NonNull};

use crate::{
    buffer::Buffer,
    slots::{ALIGN, Slots},
    sync::Ordering,
};

/// Slots that a pool may have: more than any server has connections.
pub const MAX_SLOTS: usize = 1 << 20;
/// Bytes that a slot may have: the longest frame.
pub const MAX_SLOT_LEN: usize = 1 << 24;

/// A pool of these measures can not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 1 to {MAX_SLOTS} slots of 1 to {MAX_SLOT_LEN} bytes that fit into memory, got {slots} of {slot_len} bytes"
)]
pub struct SizeError {
    /// Slots asked for.
    pub slots: usize,
    /// Bytes per slot asked for.
    pub slot_len: usize,
}

/// Figures of a pool. The counters wrap around at `usize::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Slots there are.
    pub slots: usize,
    /// Bytes that fit into one.
    pub slot_len: usize,
    /// Slots out at the moment.
    pub in_use: usize,
    /// Buffers that came from the allocator because all slots were out: the pool is too small.
    pub exhausted: usize,
    /// Buffers that came from the allocator because they are longer than a slot.
    pub too_long: usize,
}

/// A handle of a pool; clones share the slots. The memory goes with the last handle and the last buffer.
pub struct Pool {
    slots: NonNull<Slots>,
}

// SAFETY: `Slots` is shared through atomics only, apart from bytes that have one owner (invariant 1); the memory may be
// given back by any thread.
unsafe impl Send for Pool {}
// SAFETY: as for `Send`; `&Pool` gives access to atomics and to fields that never change.
unsafe impl Sync for Pool {}

impl Pool {
    /// Allocates `slots` slots of `slot_len` bytes, rounded up to whole cache lines. The memory is touched only when used.
    pub fn new(slots: usize, slot_len: usize) -> Result<Self, SizeError> {
        let error = SizeError { slots, slot_len };
        if !(1..=MAX_SLOTS).contains(&slots) || !(1..=MAX_SLOT_LEN).contains(&slot_len) {
            return Err(error);
        }
        let slot_len = slot_len.next_multiple_of(ALIGN);
        let size = slots.checked_mul(slot_len).ok_or(error)?;
        let layout = Layout::from_size_align(size, ALIGN).map_err(|_| error)?;
        Ok(Self { slots: Slots::create(slots, slot_len, layout) })
    }

    /// A buffer with these bytes.
    #[inline]
    pub fn copy_of(&self, bytes: &[u8]) -> Buffer {
        match self.claim(bytes.len()) {
            // SAFETY: the slot was just claimed from this live pool, is ours alone, and as long as asked for.
            Some(slot) => unsafe { Buffer::copied(self.slots, slot, bytes) },
            None => bytes.to_vec().into(),
        }
    }

    /// A buffer of `len` zeroes, to be written to.
    #[inline]
    pub fn zeroed(&self, len: usize) -> Buffer {
        match self.claim(len) {
            // SAFETY: the slot was just claimed from this live pool, is ours alone, and as long as asked for.
            Some(slot) => unsafe { Buffer::zeroed(self.slots, slot, len) },
            None => vec![0; len].into(),
        }
    }

    /// What the pool has, has out, and could not give.
    pub fn stats(&self) -> Stats {
        let slots = self.slots();
        Stats {
            slots: slots.count(),
            slot_len: slots.slot_len(),
            in_use: slots.in_use(),
            exhausted: slots.exhausted.load(Ordering::Relaxed),
            too_long: slots.too_long.load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn claim(&self, len: usize) -> Option<usize> {
        let slots = self.slots();
        if len > slots.slot_len() {
            slots.too_long.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let slot = slots.claim();
        if slot.is_none() {
            slots.exhausted.fetch_add(1, Ordering::Relaxed);
        }
        slot
    }

    #[inline]
    fn slots(&self) -> &Slots {
        // SAFETY: alive while this handle is (invariant 2); never borrowed mutably before the end.
        unsafe { self.slots.as_ref() }
    }
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        self.slots().add_handle();
        Self { slots: self.slots }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: this handle was counted when it was made, and is gone now.
        unsafe { Slots::drop_handle(self.slots) };
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
