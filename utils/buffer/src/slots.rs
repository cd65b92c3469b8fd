//! Which slots are free, where their bytes are, and when the memory goes.
//!
//! Free slots are set bits, [`PER_WORD`] to a word. The words are also the reference count of the memory: when the last
//! handle goes it marks each word as closed, and a word is *done* once it is closed and all its bits are set. Whoever does
//! the step that completes a word, the closing or the last release, sees so in the value it replaced, and exactly one
//! does. The last word to be done gives the memory back. So a buffer needs no counter of its own.

use alloc::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    boxed::Box,
    vec::Vec,
};
use core::ptr::NonNull;

use crate::sync::{AtomicUsize, Ordering, Watch};

/// Slots in a word. Under loom few, so that small models have several words.
pub(crate) const PER_WORD: usize = if cfg!(loom) { 2 } else { usize::BITS as usize - 1 };
/// Set in a word when no handle is left. Not a slot's bit.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// Slots begin at multiples of this, in bytes: no two share a cache line.
pub(crate) const ALIGN: usize = 64;

/// The shared part of a pool. Lives on the heap, behind a pointer of each handle and each buffer.
#[derive(Debug)]
pub(crate) struct Slots {
    words: Vec<AtomicUsize>,
    /// Word to look at first; only a hint.
    hint: AtomicUsize,
    handles: AtomicUsize,
    /// Words that are not done, and one more for the handles together.
    not_done: AtomicUsize,
    /// Claims without a free slot, as [`Stats`](crate::Stats) tells.
    pub(crate) exhausted: AtomicUsize,
    /// Claims for more than a slot, as [`Stats`](crate::Stats) tells.
    pub(crate) too_long: AtomicUsize,
    memory: NonNull<u8>,
    layout: Layout,
    count: usize,
    slot_len: usize,
    watch: Watch,
}

/// The bits of the slots in word `at`, of `count` slots in all.
fn mask(count: usize, at: usize) -> usize {
    let slots = count.saturating_sub(at * PER_WORD).min(PER_WORD);
    (1 << slots) - 1
}

impl Slots {
    /// Memory for `count` free slots of `slot_len` bytes, with one handle. `layout` holds them all and is not empty.
    pub(crate) fn create(count: usize, slot_len: usize, layout: Layout) -> NonNull<Self> {
        assert!(count > 0 && slot_len > 0 && count.checked_mul(slot_len) == Some(layout.size()));
        // SAFETY: the layout's size is not zero, as asserted.
        let memory = unsafe { alloc(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let words = count.div_ceil(PER_WORD);
        let slots = Self {
            words: (0..words).map(|at| AtomicUsize::new(mask(count, at))).collect(),
            hint: AtomicUsize::new(0),
            handles: AtomicUsize::new(1),
            not_done: AtomicUsize::new(words + 1),
            exhausted: AtomicUsize::new(0),
            too_long: AtomicUsize::new(0),
            memory,
            layout,
            count,
            slot_len,
            watch: Watch::new(count),
        };
        NonNull::from(Box::leak(Box::new(slots)))
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn slot_len(&self) -> usize {
        self.slot_len
    }

    /// Slots taken at some moment during the call.
    pub(crate) fn in_use(&self) -> usize {
        self.watch.look();
        let free = |word: &AtomicUsize| (word.load(Ordering::Relaxed) & !CLOSED).count_ones() as usize;
        self.count - self.words.iter().map(free).sum::<usize>()
    }

    /// Takes a free slot, if there is one.
    ///
    /// Acquire: what the slot's owner before did with its bytes, it did before this.
    #[inline]
    pub(crate) fn claim(&self) -> Option<usize> {
        self.watch.look();
        let first = self.hint.load(Ordering::Relaxed);
        let mut at = first;
        loop {
            let word = &self.words[at];
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                match word.compare_exchange_weak(bits, bits & !bit, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => {
                        if at != first {
                            self.hint.store(at, Ordering::Relaxed);
                        }
                        let slot = at * PER_WORD + bit.trailing_zeros() as usize;
                        self.watch.touch(slot);
                        return Some(slot);
                    }
                    Err(now) => bits = now,
                }
            }
            at = if at + 1 < self.words.len() { at + 1 } else { 0 };
            if at == first {
                return None;
            }
        }
    }

    /// Where the bytes of a slot begin; there are [`slot_len`](Self::slot_len) of them.
    #[inline]
    pub(crate) fn bytes(&self, slot: usize) -> NonNull<u8> {
        assert!(slot < self.count);
        // SAFETY: `memory` has `count * slot_len` bytes (asserted in `create`), and `slot < count`.
        unsafe { self.memory.add(slot * self.slot_len) }
    }

    /// Gives a slot back.
    ///
    /// # Safety
    /// The caller owns the slot (invariant 1) of the live `this`, and uses neither after this.
    #[inline]
    pub(crate) unsafe fn release(this: NonNull<Self>, slot: usize) {
        let (at, bit) = (slot / PER_WORD, 1 << (slot % PER_WORD));
        // SAFETY: alive (invariant 2) until the bit is set: its word is not done before. Not used after.
        let slots = unsafe { this.as_ref() };
        slots.watch.look();
        slots.watch.touch(slot);
        let done = mask(slots.count, at) | CLOSED;
        // Release: our use of the bytes comes before the next owner's. Acquire: everyone's comes before the memory goes.
        let before = slots.words[at].fetch_or(bit, Ordering::AcqRel);
        debug_assert!(before & bit == 0, "slot {slot} was free");
        if before | bit == done {
            // SAFETY: this was the step that completed the word.
            unsafe { Self::one_done(this) };
        }
    }

    /// Counts one more handle.
    pub(crate) fn add_handle(&self) {
        let before = self.handles.fetch_add(1, Ordering::Relaxed);
        assert!(before < usize::MAX / 2, "handles were forgotten without end");
    }

    /// Takes a handle away; with the last one, the pool is closed.
    ///
    /// # Safety
    /// The caller has a handle of the live `this`, and uses neither after this.
    pub(crate) unsafe fn drop_handle(this: NonNull<Self>) {
        // SAFETY: alive (invariant 2): the handles' own share of `not_done` is still there.
        let slots = unsafe { this.as_ref() };
        // AcqRel: what was done through other handles comes before what follows here.
        if slots.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        for (at, word) in slots.words.iter().enumerate() {
            if word.fetch_or(CLOSED, Ordering::AcqRel) == mask(slots.count, at) {
                // SAFETY: this was the step that completed the word.
                unsafe { Self::one_done(this) };
            }
        }
        // SAFETY: the share of the handles, given up once, by the last of them.
        unsafe { Self::one_done(this) };
    }

    /// One share of `not_done` is given up; with the last, the memory goes.
    ///
    /// # Safety
    /// Called once for each word, when it is done, and once for the handles. `this` is not used after.
    unsafe fn one_done(this: NonNull<Self>) {
        // SAFETY: alive: the caller's share is still counted.
        let slots = unsafe { this.as_ref() };
        if slots.not_done.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: it came from `Box::leak`, and with no share left nobody else has it (invariant 2).
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `create`, and no buffer is left (invariant 2).
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_cover_each_slot_once() {
        for count in [1, 2, PER_WORD - 1, PER_WORD, PER_WORD + 1, 3 * PER_WORD] {
            let words = count.div_ceil(PER_WORD);
            let bits: usize = (0..words).map(|at| mask(count, at).count_ones() as usize).sum();
            assert_eq!(bits, count);
            assert_eq!(mask(count, words), 0);
            assert!((0..words).all(|at| mask(count, at) & CLOSED == 0));
        }
    }
}
