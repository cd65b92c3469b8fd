//! What a pool hands out.

use alloc::vec::Vec;
use core::{
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use crate::slots::Slots;

/// Bytes with one owner: in a slot, which goes back to its pool on drop, or from the allocator.
pub struct Buffer(Kind);

enum Kind {
    Slot(Slot),
    Heap(Vec<u8>),
}

/// A slot that is ours (invariant 1), in memory that is alive (invariant 2), written up to `len` (invariant 3).
struct Slot {
    slots: NonNull<Slots>,
    data: NonNull<u8>,
    slot: u32,
    len: u32,
}

// SAFETY: the bytes have one owner (invariant 1), and giving back is an atomic operation any thread may do.
unsafe impl Send for Slot {}
// SAFETY: `&Slot` only reads bytes that nobody writes meanwhile.
unsafe impl Sync for Slot {}

impl Buffer {
    /// # Safety
    /// `slot` was claimed from the live `slots` for this buffer alone, and is no shorter than `bytes`.
    #[inline]
    pub(crate) unsafe fn copied(slots: NonNull<Slots>, slot: usize, bytes: &[u8]) -> Self {
        // SAFETY: alive, as the caller promises.
        let data = unsafe { slots.as_ref() }.bytes(slot);
        // SAFETY: the slot has room for `bytes` and is ours, so it does not overlap what anyone else can name.
        unsafe { data.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        Self(Kind::Slot(Slot { slots, data, slot: slot as u32, len: bytes.len() as u32 }))
    }

    /// # Safety
    /// `slot` was claimed from the live `slots` for this buffer alone, and is no shorter than `len`.
    #[inline]
    pub(crate) unsafe fn zeroed(slots: NonNull<Slots>, slot: usize, len: usize) -> Self {
        // SAFETY: alive, as the caller promises.
        let data = unsafe { slots.as_ref() }.bytes(slot);
        // SAFETY: the slot has room for `len` bytes and is ours.
        unsafe { data.write_bytes(0, len) };
        Self(Kind::Slot(Slot { slots, data, slot: slot as u32, len: len as u32 }))
    }

    /// Whether it takes up a slot of a pool.
    pub fn is_pooled(&self) -> bool {
        matches!(self.0, Kind::Slot(_))
    }

    /// Shortens it to `len` bytes; does nothing when it is not longer.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.0 {
            Kind::Slot(slot) => slot.len = slot.len.min(u32::try_from(len).unwrap_or(u32::MAX)),
            Kind::Heap(bytes) => bytes.truncate(len),
        }
    }

    /// The bytes on their own. Copies them out of a slot.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Kind::Slot(slot) => slot.to_vec(),
            Kind::Heap(bytes) => bytes,
        }
    }
}

impl Deref for Slot {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: invariants 1 to 3; the borrow of `self` keeps everyone from writing.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for Slot {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: invariants 1 to 3; the borrow of `self` is the only access.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.len as usize) }
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the slot is ours and the memory alive; neither is used after a drop.
        unsafe { Slots::release(self.slots, self.slot as usize) };
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Slot(slot) => slot,
            Kind::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Kind::Slot(slot) => slot,
            Kind::Heap(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Takes over the allocation; no slot is used.
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Kind::Heap(bytes))
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

/// Without the bytes: they may be long, or secret.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len()).field("is_pooled", &self.is_pooled()).finish()
    }
}
