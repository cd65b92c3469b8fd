//! Atomics: the machine's, or those that loom explores all interleavings of.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};

/// Tells loom who touches a slot's bytes or the pool, and that the memory is given back. Nothing in normal builds.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct Watch;

#[cfg(not(loom))]
impl Watch {
    pub(crate) fn new(_slots: usize) -> Self {
        Self
    }

    /// The owner of a slot uses its bytes.
    #[inline]
    pub(crate) fn touch(&self, _slot: usize) {}

    /// Someone uses the pool as such.
    #[inline]
    pub(crate) fn look(&self) {}
}

/// Two touches without an order between them, an end that does not come after all of them, or none, fail the model.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Watch {
    slots: alloc::vec::Vec<loom::cell::UnsafeCell<()>>,
    pool: loom::cell::UnsafeCell<()>,
    _given_back: loom::alloc::Track<()>,
}

#[cfg(loom)]
impl Watch {
    pub(crate) fn new(slots: usize) -> Self {
        let slots = (0..slots).map(|_| loom::cell::UnsafeCell::new(())).collect();
        Self { slots, pool: loom::cell::UnsafeCell::new(()), _given_back: loom::alloc::Track::new(()) }
    }

    pub(crate) fn touch(&self, slot: usize) {
        self.slots[slot].with_mut(|_| ());
    }

    pub(crate) fn look(&self) {
        self.pool.with(|_| ());
    }
}

#[cfg(loom)]
impl Drop for Watch {
    fn drop(&mut self) {
        self.pool.with_mut(|_| ());
        (0..self.slots.len()).for_each(|slot| self.touch(slot));
    }
}
