//! Extranonce prefixes: how a server makes sure that no two channels search the same space (sv2-spec §5.1.2.1).
//!
//! The full extranonce has one size per listener class. Its first bits name the server, the start of its process (the
//! *epoch*) and the channel's *slot*, in that order; the rest of a channel's prefix is zero. `docs/spec/extranonce.md` says
//! how many channels each split holds.

use alloc::{boxed::Box, sync::Arc};
use core::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

/// Longest extranonce that the protocol can carry, in bytes (a B0_32).
pub const MAX_EXTRANONCE_SIZE: usize = 32;

/// Most bits for slots: a space keeps one bit per slot, so this is 8 MiB and 67 million channels.
pub const MAX_SLOT_BITS: u8 = 26;

/// Up to 32 bytes of extranonce: a prefix, a rolled part or the whole. Short as it is, it is copied freely.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extranonce {
    len: u8,
    bytes: [u8; MAX_EXTRANONCE_SIZE],
}

/// An extranonce, or two put together, would be longer than [`MAX_EXTRANONCE_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtranonceTooLong(
    /// The length in bytes that was asked for.
    pub usize,
);

impl fmt::Display for ExtranonceTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected an extranonce of at most {MAX_EXTRANONCE_SIZE} bytes, got {}", self.0)
    }
}

impl core::error::Error for ExtranonceTooLong {}

impl Extranonce {
    /// No bytes at all.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_EXTRANONCE_SIZE] };

    /// `len` zero bytes.
    pub const fn zeroed(len: usize) -> Result<Self, ExtranonceTooLong> {
        if len > MAX_EXTRANONCE_SIZE {
            return Err(ExtranonceTooLong(len));
        }
        Ok(Self { len: len as u8, bytes: [0; MAX_EXTRANONCE_SIZE] })
    }

    /// The low `len` bytes of `counter`, most significant first, after zeros if `len` is over 8.
    pub fn from_counter(counter: u64, len: usize) -> Result<Self, ExtranonceTooLong> {
        let mut this = Self::zeroed(len)?;
        let digits = counter.to_be_bytes();
        for (byte, digit) in this.bytes[..len].iter_mut().rev().zip(digits.iter().rev()) {
            *byte = *digit;
        }
        Ok(this)
    }

    /// The bytes in the order in which they stand in the coinbase.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// Length in bytes, at most [`MAX_EXTRANONCE_SIZE`].
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// True when there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// These bytes followed by `rest`.
    pub fn join(&self, rest: &[u8]) -> Result<Self, ExtranonceTooLong> {
        let len = self.len() + rest.len();
        let mut this = Self::zeroed(len)?;
        this.bytes[..self.len()].copy_from_slice(self.as_bytes());
        this.bytes[self.len()..len].copy_from_slice(rest);
        Ok(this)
    }
}

impl TryFrom<&[u8]> for Extranonce {
    type Error = ExtranonceTooLong;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        Self::EMPTY.join(bytes)
    }
}

impl fmt::Debug for Extranonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extranonce({self})")
    }
}

impl fmt::Display for Extranonce {
    /// Two hexadecimal digits a byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How the bits of an extranonce are split. All channels of a listener class share one layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    server_bits: u8,
    epoch_bits: u8,
    slot_bits: u8,
    full_size: u8,
}

/// Why a layout, a server id or a size is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// `slot_bits` is zero or over [`MAX_SLOT_BITS`].
    SlotBits(u8),
    /// Server and epoch bits are over 64 together.
    TooManyBits(u16),
    /// The full size is over [`MAX_EXTRANONCE_SIZE`] or shorter than the bits of the prefix.
    FullSize {
        /// Bytes that the bits take.
        needed: usize,
        /// What was asked for.
        full_size: usize,
    },
    /// The server id does not fit its bits.
    ServerId {
        /// What was asked for.
        server_id: u64,
        /// Bits that the layout has for it.
        bits: u8,
    },
    /// A client wants to roll more bytes than the prefix leaves; answer `min-extranonce-size-too-large`.
    Rollable {
        /// What was asked for, in bytes.
        wanted: usize,
        /// What can be granted, in bytes.
        available: usize,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotBits(bits) => write!(f, "expected 1 to {MAX_SLOT_BITS} bits for slots, got {bits}"),
            Self::TooManyBits(bits) => write!(f, "expected at most 64 bits for server and epoch together, got {bits}"),
            Self::FullSize { needed, full_size } => {
                write!(f, "expected a full extranonce of {needed} to {MAX_EXTRANONCE_SIZE} bytes, got {full_size}")
            }
            Self::ServerId { server_id, bits } => {
                write!(f, "expected a server id of at most {bits} bits, got {server_id}")
            }
            Self::Rollable { wanted, available } => {
                write!(f, "expected at most {available} extranonce bytes to be asked for, got {wanted}")
            }
        }
    }
}

impl core::error::Error for LayoutError {}

impl Layout {
    /// For Sv2 listeners: 256 servers, 65,536 starts, 16 million channels, and 14 of 20 bytes left to roll.
    pub const SV2_DEFAULT: Self = Self { server_bits: 8, epoch_bits: 16, slot_bits: 24, full_size: 20 };

    /// For Sv1 listeners, whose devices take 4 + 8 bytes: 4 servers, 1,024 starts, 1 million channels.
    pub const SV1_DEFAULT: Self = Self { server_bits: 2, epoch_bits: 10, slot_bits: 20, full_size: 12 };

    /// Sizes in bits, except `full_size`, which is in bytes.
    pub fn new(server_bits: u8, epoch_bits: u8, slot_bits: u8, full_size: usize) -> Result<Self, LayoutError> {
        if slot_bits == 0 || slot_bits > MAX_SLOT_BITS {
            return Err(LayoutError::SlotBits(slot_bits));
        }
        let named = u16::from(server_bits) + u16::from(epoch_bits);
        if named > 64 {
            return Err(LayoutError::TooManyBits(named));
        }
        let needed = usize::from(named + u16::from(slot_bits)).div_ceil(8);
        match u8::try_from(full_size) {
            Ok(size) if (needed..=MAX_EXTRANONCE_SIZE).contains(&full_size) => {
                Ok(Self { server_bits, epoch_bits, slot_bits, full_size: size })
            }
            _ => Err(LayoutError::FullSize { needed, full_size }),
        }
    }

    /// Size of prefix and rolled part together, in bytes.
    pub const fn full_size(&self) -> usize {
        self.full_size as usize
    }

    /// Bytes that the server's bits take at the least; the last byte is filled up with zero bits.
    pub const fn min_prefix_len(&self) -> usize {
        (self.server_bits as usize + self.epoch_bits as usize + self.slot_bits as usize).div_ceil(8)
    }

    /// Most bytes that can be granted to an extended channel.
    pub const fn max_rollable(&self) -> usize {
        self.full_size() - self.min_prefix_len()
    }

    /// Number of channels that can be open at a time.
    pub const fn slots(&self) -> u32 {
        1 << self.slot_bits
    }
}

/// No slot is free; answer `channel-capacity-exhausted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Slots of the space, all of them taken.
    pub slots: u32,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all {} extranonce slots are taken", self.slots)
    }
}

impl core::error::Error for Exhausted {}

/// Bits in a word of the table of slots; 32, because small targets have no 64-bit atomics.
const WORD_BITS: u32 = u32::BITS;

/// The slots of one server process. Clones share them; any thread may allocate, without a lock.
#[derive(Clone)]
pub struct Space(Arc<Shared>);

struct Shared {
    layout: Layout,
    /// Server and epoch bits.
    name: u64,
    /// One bit per slot, set while taken; bits past the last slot are set for ever.
    taken: Box<[AtomicU32]>,
    /// Slots taken or about to be.
    live: AtomicU32,
    /// Where the next search starts, so that a slot rests as long as possible before it is given out again.
    cursor: AtomicU32,
}

impl Space {
    /// The space of the process that is start number `epoch` of server `server_id`.
    ///
    /// `epoch` must be larger by one with each start, and kept on disk. It is cut to its bits: after it wraps, a prefix
    /// of a start long ago comes again, which matters only for jobs that are still alive.
    pub fn new(layout: Layout, server_id: u64, epoch: u64) -> Result<Self, LayoutError> {
        if server_id > mask(layout.server_bits) {
            return Err(LayoutError::ServerId { server_id, bits: layout.server_bits });
        }
        let name = server_id.checked_shl(layout.epoch_bits.into()).unwrap_or(0) | (epoch & mask(layout.epoch_bits));
        let words = (layout.slots() as usize).div_ceil(WORD_BITS as usize);
        let taken: Box<[AtomicU32]> = (0..words).map(|_| AtomicU32::new(0)).collect();
        if layout.slots() < WORD_BITS {
            taken[0].store(u32::MAX << layout.slots(), Ordering::Relaxed);
        }
        Ok(Self(Arc::new(Shared { layout, name, taken, live: AtomicU32::new(0), cursor: AtomicU32::new(0) })))
    }

    /// The layout that the space was made with.
    pub fn layout(&self) -> Layout {
        self.0.layout
    }

    /// Slots that are taken now.
    pub fn live(&self) -> u32 {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Takes a free slot, going round: one that was just given back comes last.
    pub fn allocate(&self) -> Result<Slot, Exhausted> {
        let shared = &self.0;
        let slots = shared.layout.slots();
        let exhausted = Exhausted { slots };
        shared
            .live
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| (live < slots).then_some(live + 1))
            .map_err(|_| exhausted)?;
        // The count promises a free slot; a second round is needed only when other threads move slots meanwhile.
        match shared.claim().or_else(|| shared.claim()) {
            Some(index) => Ok(Slot(Arc::new(Held { space: self.clone(), index }))),
            None => {
                shared.live.fetch_sub(1, Ordering::Relaxed);
                Err(exhausted)
            }
        }
    }
}

impl Shared {
    /// One round over all slots, from the cursor on.
    fn claim(&self) -> Option<u32> {
        let slots = self.layout.slots();
        let start = self.cursor.load(Ordering::Relaxed) % slots;
        let words = self.taken.len();
        for step in 0..=words {
            let index = ((start / WORD_BITS) as usize + step) % words;
            // The first word counts from the cursor on; it comes again, whole, at the end.
            let skipped = if step == 0 { (1 << (start % WORD_BITS)) - 1 } else { 0 };
            if let Some(bit) = self.claim_in_word(index, skipped) {
                let slot = index as u32 * WORD_BITS + bit;
                self.cursor.store((slot + 1) % slots, Ordering::Relaxed);
                return Some(slot);
            }
        }
        None
    }

    fn claim_in_word(&self, index: usize, skipped: u32) -> Option<u32> {
        let word = self.taken.get(index)?;
        loop {
            let free = !(word.load(Ordering::Relaxed) | skipped);
            if free == 0 {
                return None;
            }
            let bit = free.trailing_zeros();
            if word.fetch_or(1 << bit, Ordering::Acquire) & (1 << bit) == 0 {
                return Some(bit);
            }
        }
    }

    fn release(&self, slot: u32) {
        if let Some(word) = self.taken.get((slot / WORD_BITS) as usize) {
            word.fetch_and(!(1 << (slot % WORD_BITS)), Ordering::Release);
        }
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("layout", &self.0.layout).field("live", &self.live()).finish_non_exhaustive()
    }
}

/// One channel's share of the search space. It is given back when the last clone is dropped, so that whoever still
/// accepts shares for it, a live job for example, keeps it by holding a clone.
#[derive(Clone)]
pub struct Slot(Arc<Held>);

struct Held {
    space: Space,
    index: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.space.0.release(self.index);
    }
}

impl Slot {
    /// Number of the slot within its space.
    pub fn index(&self) -> u32 {
        self.0.index
    }

    /// Prefix of an extended channel that may roll `rollable` bytes: what is left of the full size.
    pub fn prefix(&self, rollable: usize) -> Result<Extranonce, LayoutError> {
        let layout = self.0.space.layout();
        let available = layout.max_rollable();
        if rollable > available {
            return Err(LayoutError::Rollable { wanted: rollable, available });
        }
        Ok(self.padded(layout.full_size() - rollable))
    }

    /// Prefix of a standard channel: it has the full size (sv2-spec §5.2.3).
    pub fn full_prefix(&self) -> Extranonce {
        self.padded(self.0.space.layout().full_size())
    }

    /// The layout's bits, then zeros up to `len` bytes; `len` is between the layout's prefix and full size.
    fn padded(&self, len: usize) -> Extranonce {
        let layout = self.0.space.layout();
        let used = u32::from(layout.server_bits) + u32::from(layout.epoch_bits) + u32::from(layout.slot_bits);
        let value = (u128::from(self.0.space.0.name) << layout.slot_bits) | u128::from(self.index());
        let aligned = value << (128 - used); // 1 to 90 bits are used
        let mut bytes = [0; MAX_EXTRANONCE_SIZE];
        bytes[..16].copy_from_slice(&aligned.to_be_bytes());
        Extranonce { len: len as u8, bytes }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.index())
    }
}

/// The low `bits` bits set; 64 and more sets all.
const fn mask(bits: u8) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layouts_that_can_not_be() {
        assert_eq!(Layout::new(8, 8, 0, 20), Err(LayoutError::SlotBits(0)));
        assert_eq!(Layout::new(8, 8, 27, 20), Err(LayoutError::SlotBits(27)));
        assert_eq!(Layout::new(60, 5, 8, 20), Err(LayoutError::TooManyBits(65)));
        assert_eq!(Layout::new(8, 8, 1, 2), Err(LayoutError::FullSize { needed: 3, full_size: 2 }));
        assert_eq!(Layout::new(8, 8, 8, 33), Err(LayoutError::FullSize { needed: 3, full_size: 33 }));
        assert_eq!(Layout::new(8, 16, 24, 20), Ok(Layout::SV2_DEFAULT));
        assert_eq!(Layout::new(2, 10, 20, 12), Ok(Layout::SV1_DEFAULT));
        assert_eq!(Layout::SV1_DEFAULT.max_rollable(), 8);
        let space = Space::new(Layout::new(2, 0, 4, 1).unwrap(), 4, 0);
        assert_eq!(space.map(|_| ()), Err(LayoutError::ServerId { server_id: 4, bits: 2 }));
    }

    #[test]
    fn bits_are_packed_server_epoch_slot() {
        let layout = Layout::new(4, 6, 5, 8).unwrap();
        let space = Space::new(layout, 0b1010, 0b11_000011).unwrap();
        let slots: Vec<_> = (0..3).map(|_| space.allocate().unwrap()).collect();
        // 1010 000011 00010, then one zero bit; the two top bits of the epoch are cut.
        assert_eq!(slots[2].full_prefix().as_bytes(), [0b1010_0000, 0b1100_0100, 0, 0, 0, 0, 0, 0]);
        assert_eq!(slots[2].prefix(6).unwrap().as_bytes(), [0b1010_0000, 0b1100_0100]);
        assert_eq!(slots[2].prefix(7), Err(LayoutError::Rollable { wanted: 7, available: 6 }));
    }

    #[test]
    fn widest_layout_fits() {
        let layout = Layout::new(0, 64, 26, 32).unwrap();
        let space = Space::new(layout, 0, u64::MAX).unwrap();
        let prefix = space.allocate().unwrap().full_prefix();
        assert_eq!((prefix.len(), &prefix.as_bytes()[..9]), (32, &[255, 255, 255, 255, 255, 255, 255, 255, 0][..]));
        let layout = Layout::new(64, 0, 1, 9).unwrap();
        assert!(Space::new(layout, u64::MAX, 7).is_ok());
    }

    #[test]
    fn a_slot_lives_as_long_as_its_last_clone_and_comes_back_last() {
        let space = Space::new(Layout::new(0, 0, 3, 4).unwrap(), 0, 0).unwrap();
        let first = space.allocate().unwrap();
        let held_by_a_job = first.clone();
        drop(first);
        assert_eq!(space.live(), 1);
        drop(held_by_a_job);
        assert_eq!(space.live(), 0);
        let order: Vec<u32> = (0..8).map(|_| space.allocate().unwrap().index()).collect();
        assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 0]);
    }

    #[test]
    fn exhaustion_is_an_error_and_passes() {
        let space = Space::new(Layout::new(0, 0, 7, 4).unwrap(), 0, 0).unwrap();
        let mut slots: Vec<_> = (0..128).map(|_| space.allocate().unwrap()).collect();
        assert_eq!(space.allocate().map(|s| s.index()), Err(Exhausted { slots: 128 }));
        slots.remove(70);
        assert_eq!(space.allocate().map(|s| s.index()), Ok(70));
    }

    #[cfg(feature = "std")]
    #[test]
    fn threads_never_share_a_slot() {
        let space = Space::new(Layout::new(0, 0, 10, 4).unwrap(), 0, 0).unwrap();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let space = space.clone();
                std::thread::spawn(move || {
                    // Some churn, then keep a quarter of the space.
                    for _ in 0..500 {
                        drop((space.allocate(), space.allocate()));
                    }
                    (0..256).filter_map(|_| space.allocate().ok()).collect::<Vec<_>>()
                })
            })
            .collect();
        let slots: Vec<Slot> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        let distinct: BTreeSet<u32> = slots.iter().map(Slot::index).collect();
        assert_eq!(distinct.len(), slots.len());
        assert_eq!(space.live() as usize, slots.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn prefixes_of_live_slots_never_overlap(
            server in 0u64..4, epochs in prop::collection::btree_set(0u64..8, 2), sizes in prop::collection::vec(0usize..=6, 8),
        ) {
            // A prefix must not be the beginning of another one, or their channels would overlap.
            let layout = Layout::new(2, 3, 4, 8).unwrap();
            let spaces: Vec<_> = epochs.iter().map(|&epoch| Space::new(layout, server, epoch).unwrap()).collect();
            let slots: Vec<_> = sizes.iter().enumerate().map(|(i, _)| spaces[i % 2].allocate().unwrap()).collect();
            let prefixes: Vec<_> = slots.iter().zip(&sizes).map(|(slot, &size)| slot.prefix(size).unwrap()).collect();
            for (i, a) in prefixes.iter().enumerate() {
                for b in &prefixes[i + 1..] {
                    let len = a.len().min(b.len());
                    prop_assert_ne!(&a.as_bytes()[..len], &b.as_bytes()[..len]);
                }
            }
        }

        #[test]
        fn counters_are_big_endian_and_cut(counter: u64, len in 0usize..=32) {
            let extranonce = Extranonce::from_counter(counter, len).unwrap();
            let mut wide = [0u8; 40];
            wide[32..].copy_from_slice(&counter.to_be_bytes());
            prop_assert_eq!(extranonce.as_bytes(), &wide[40 - len..]);
        }
    }
}
