//! An allocator over static memory: first fit, neighbours merged, with a high-water mark.
//!
//! There are two arenas, one for the client that is measured and one for everything else.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr::null_mut,
    sync::atomic::{AtomicBool, Ordering},
};

/// Bytes of each arena.
const SIZE: usize = 256 * 1024;
/// Blocks are multiples of this, and payloads aligned to it. Also the length of a block's header.
const UNIT: usize = 16;

/// What an arena has seen, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Asked for and not given back.
    pub held: usize,
    /// The most that was held at once.
    pub peak: usize,
    /// End of the memory that was ever used, block headers and gaps included: what a device has to set aside.
    pub extent: usize,
    /// Calls for memory.
    pub allocations: usize,
}

/// In front of each block, free or taken.
#[repr(C, align(16))]
struct Block {
    /// Bytes after this header.
    size: usize,
    /// The next free block by address, if this one is free.
    next: *mut Block,
}

#[repr(C, align(16))]
struct Arena {
    memory: [u8; SIZE],
    free: *mut Block,
    ready: bool,
    usage: Usage,
}

impl Arena {
    const NEW: Self = Self {
        memory: [0; SIZE],
        free: null_mut(),
        ready: false,
        usage: Usage { held: 0, peak: 0, extent: 0, allocations: 0 },
    };

    fn start(&self) -> usize {
        &raw const self.memory as usize
    }

    fn has(&self, pointer: *mut u8) -> bool {
        (self.start()..self.start() + SIZE).contains(&(pointer as usize))
    }

    /// # Safety
    /// Only through the arena's place in memory, which must not move afterwards.
    unsafe fn take(&mut self, layout: Layout) -> *mut u8 {
        if !self.ready {
            let first = (&raw mut self.memory).cast::<Block>();
            // SAFETY: the memory is aligned for a header and longer than one.
            unsafe { first.write(Block { size: SIZE - UNIT, next: null_mut() }) };
            (self.free, self.ready) = (first, true);
        }
        let wanted = layout.size().max(1).next_multiple_of(UNIT);
        if layout.align() > UNIT || wanted > SIZE {
            return null_mut();
        }
        let mut link = &raw mut self.free;
        // SAFETY: links lead through headers of free blocks, which nothing but this arena writes to.
        unsafe {
            while !(*link).is_null() && (**link).size < wanted {
                link = &raw mut (**link).next;
            }
            let block = *link;
            if block.is_null() {
                return null_mut();
            }
            if (*block).size > wanted + UNIT {
                let rest = block.byte_add(UNIT + wanted);
                rest.write(Block { size: (*block).size - wanted - UNIT, next: (*block).next });
                (*block).size = wanted;
                *link = rest;
            } else {
                *link = (*block).next;
            }
            let payload = block.byte_add(UNIT).cast::<u8>();
            self.count(layout.size(), payload as usize + (*block).size - self.start());
            payload
        }
    }

    fn count(&mut self, size: usize, end: usize) {
        self.usage.allocations += 1;
        self.usage.held += size;
        self.usage.peak = self.usage.peak.max(self.usage.held);
        self.usage.extent = self.usage.extent.max(end);
    }

    /// # Safety
    /// `pointer` came from [`take`](Self::take) with `layout` and is not used any more.
    unsafe fn give(&mut self, pointer: *mut u8, layout: Layout) {
        self.usage.held -= layout.size();
        let block = pointer.wrapping_sub(UNIT).cast::<Block>();
        let mut before: *mut Block = null_mut();
        let mut after = self.free;
        // SAFETY: as in `take`; `block` is a header that `take` wrote.
        unsafe {
            while !after.is_null() && after < block {
                (before, after) = (after, (*after).next);
            }
            (*block).next = after;
            if before.is_null() {
                self.free = block;
            } else {
                (*before).next = block;
            }
            merge(block);
            if !before.is_null() {
                merge(before);
            }
        }
    }
}

/// Joins a free block with the free one right behind it.
///
/// # Safety
/// `block` is the header of a free block.
unsafe fn merge(block: *mut Block) {
    // SAFETY: `next` is a header or null.
    unsafe {
        let next = (*block).next;
        if !next.is_null() && block.byte_add(UNIT + (*block).size) == next {
            (*block).size += UNIT + (*next).size;
            (*block).next = (*next).next;
        }
    }
}

/// The program's allocator.
pub struct Arenas {
    arenas: UnsafeCell<[Arena; 2]>,
    locked: AtomicBool,
    /// Which arena new memory comes from.
    measured: AtomicBool,
}

// SAFETY: the arenas are used under `locked` only.
unsafe impl Sync for Arenas {}

impl Arenas {
    /// Two empty arenas.
    pub const fn new() -> Self {
        Self {
            arenas: UnsafeCell::new([Arena::NEW, Arena::NEW]),
            locked: AtomicBool::new(false),
            measured: AtomicBool::new(false),
        }
    }

    /// From now on memory comes from the arena that is measured, or from the other.
    pub fn measure(&self, on: bool) {
        self.measured.store(on, Ordering::SeqCst);
    }

    /// What the measured arena has seen.
    pub fn usage(&self) -> Usage {
        self.with(|arenas| arenas[1].usage)
    }

    /// Begins a new count in the measured arena, which must hold nothing.
    pub fn reset(&self) {
        self.with(|arenas| {
            assert_eq!(arenas[1].usage.held, 0, "the client left memory behind");
            arenas[1].usage = Usage::default();
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut [Arena; 2]) -> T) -> T {
        while self.locked.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: the lock is ours, and `work` does not allocate.
        let result = work(unsafe { &mut *self.arenas.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

// SAFETY: `Arena` hands out disjoint blocks, aligned as asked for or null; the arenas are static and never move.
unsafe impl GlobalAlloc for Arenas {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let which = usize::from(self.measured.load(Ordering::SeqCst));
        // SAFETY: this is the arena's place.
        self.with(|arenas| unsafe { arenas[which].take(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.with(|arenas| {
            let which = usize::from(arenas[1].has(pointer));
            // SAFETY: the caller promises that it came from `alloc`, so from the arena it lies in.
            unsafe { arenas[which].give(pointer, layout) };
        });
    }
}
