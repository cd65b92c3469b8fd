//! Slots: who has which part of the search space, from opening a channel until no job knows its prefix any more.

use alloc::{boxed::Box, sync::Arc};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use super::{Extranonce, Layout, LayoutError, MAX_EXTRANONCE_SIZE, mask};
use crate::channel::server::{RETIRED_JOB_AGE, RETIRED_JOB_TIPS};

/// No slot is free; answer `channel-capacity-exhausted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Slots of the space, all of them taken or resting.
    pub slots: u32,
    /// Those of channels that are closed, whose jobs may still be known: see [`Recycler`].
    pub resting: u32,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slots, resting } = self;
        write!(f, "expected a free extranonce slot, got all {slots} taken, {resting} of them by channels closed lately")
    }
}

impl core::error::Error for Exhausted {}

/// Bits in a word of a table of slots; 32, because small targets have no 64-bit atomics.
const WORD_BITS: u32 = u32::BITS;

/// The slots of one server process. Clones share them; any thread may allocate, without a lock.
///
/// A slot that was let go rests until its prefix can be in no job any more. Somebody has to tell of new tips for that: see
/// [`Recycler`]. Without one no slot is ever used twice.
#[derive(Clone)]
pub struct Space(Arc<Shared>);

struct Shared {
    layout: Layout,
    /// What the layer above put in front of this one's bits.
    outer: Extranonce,
    /// The slot that `outer` is the prefix of, where that layer is in this process.
    _above: Option<Slot>,
    /// Server and epoch bits.
    name: u64,
    /// One bit per slot, set while taken or resting; bits past the last slot are set for ever.
    taken: Bits,
    /// The slots that rest, by whether they began before the last turn or after it.
    resting: [Bits; 2],
    /// Which of the two takes slots up.
    young: AtomicU32,
    /// Slots taken, about to be, or resting.
    used: AtomicU32,
    /// Slots resting.
    resting_count: AtomicU32,
    /// Where the next search starts, so that a slot stays unused as long as possible before it is given out again.
    cursor: AtomicU32,
    /// Whether there is a recycler.
    has_recycler: AtomicBool,
}

impl Space {
    /// The space of the process that is start number `epoch` of server `server_id`.
    ///
    /// `epoch` must be larger by one with each start, and kept on disk. It is cut to its bits: after it wraps, a prefix
    /// of a start long ago comes again, which matters only for jobs that are still alive.
    pub fn new(layout: Layout, server_id: u64, epoch: u64) -> Result<Self, LayoutError> {
        Self::build(Extranonce::EMPTY, None, layout, server_id, epoch)
    }

    /// The space below an upstream's extended channel: `prefix` is what the upstream gave, and the layout's full size what it
    /// lets its client roll. The prefixes of slots begin with `prefix`.
    pub fn below(prefix: Extranonce, layout: Layout, server_id: u64, epoch: u64) -> Result<Self, LayoutError> {
        Self::build(prefix, None, layout, server_id, epoch)
    }

    /// The space within a slot of another space of this process. The slot is let go when this space and all its slots are.
    pub fn within(slot: Slot, layout: Layout, server_id: u64, epoch: u64) -> Result<Self, LayoutError> {
        let prefix = slot.prefix(layout.full_size())?;
        Self::build(prefix, Some(slot), layout, server_id, epoch)
    }

    fn build(
        outer: Extranonce,
        above: Option<Slot>,
        layout: Layout,
        server_id: u64,
        epoch: u64,
    ) -> Result<Self, LayoutError> {
        if server_id > mask(layout.server_bits) {
            return Err(LayoutError::ServerId { server_id, bits: layout.server_bits });
        }
        let full_size = outer.len() + layout.full_size();
        if full_size > MAX_EXTRANONCE_SIZE {
            return Err(LayoutError::FullSize { needed: outer.len() + layout.min_prefix_len(), full_size });
        }
        // The server's bits are above those of the epoch, and there are none where those take all 64.
        let name = server_id.checked_shl(layout.epoch_bits.into()).unwrap_or(0) + (epoch & mask(layout.epoch_bits));
        let taken = Bits::new(layout.slots());
        if layout.slots() < WORD_BITS {
            taken.0[0].store(u32::MAX << layout.slots(), Ordering::Relaxed);
        }
        Ok(Self(Arc::new(Shared {
            layout,
            outer,
            _above: above,
            name,
            taken,
            resting: [Bits::new(layout.slots()), Bits::new(layout.slots())],
            young: AtomicU32::new(0),
            used: AtomicU32::new(0),
            resting_count: AtomicU32::new(0),
            cursor: AtomicU32::new(0),
            has_recycler: AtomicBool::new(false),
        })))
    }

    /// The layout that the space was made with.
    pub fn layout(&self) -> Layout {
        self.0.layout
    }

    /// Size of the whole extranonce, what stands in front of this space included, in bytes.
    pub fn full_size(&self) -> usize {
        self.0.outer.len() + self.0.layout.full_size()
    }

    /// Slots that are held now.
    pub fn live(&self) -> u32 {
        self.0.used.load(Ordering::Relaxed).saturating_sub(self.resting())
    }

    /// Slots that were let go and rest.
    pub fn resting(&self) -> u32 {
        self.0.resting_count.load(Ordering::Relaxed)
    }

    /// Who gives slots back after their rest; `None` from the second call on.
    pub fn recycler(&self) -> Option<Recycler> {
        let first = !self.0.has_recycler.swap(true, Ordering::Relaxed);
        first.then(|| Recycler { space: self.clone(), turned: None, tips: 0 })
    }

    /// Takes a free slot, going round: one that was just given back comes last.
    pub fn allocate(&self) -> Result<Slot, Exhausted> {
        let shared = &self.0;
        let slots = shared.layout.slots();
        let exhausted = || Exhausted { slots, resting: self.resting() };
        shared
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used != slots).then_some(used + 1))
            .map_err(|_| exhausted())?;
        // The count promises a free slot; a second round is needed only when other threads move slots meanwhile.
        match shared.claim().or_else(|| shared.claim()) {
            Some(index) => Ok(Slot(Arc::new(Held { space: self.clone(), index }))),
            None => {
                shared.used.fetch_sub(1, Ordering::Relaxed);
                Err(exhausted())
            }
        }
    }
}

impl Shared {
    /// One round over all slots, from the cursor on.
    fn claim(&self) -> Option<u32> {
        let slots = self.layout.slots();
        let start = self.cursor.load(Ordering::Relaxed) % slots;
        let words = self.taken.0.len();
        for step in 0..=words {
            let index = ((start / WORD_BITS) as usize + step) % words;
            // The first word counts from the cursor on; it comes again, whole, at the end.
            let skipped = if step == 0 { (1 << (start % WORD_BITS)) - 1 } else { 0 };
            if let Some(bit) = self.claim_in_word(index, skipped) {
                let slot = index as u32 * WORD_BITS + bit;
                self.cursor.store(slot + 1, Ordering::Relaxed);
                return Some(slot);
            }
        }
        None
    }

    fn claim_in_word(&self, index: usize, skipped: u32) -> Option<u32> {
        let word = self.taken.0.get(index)?;
        loop {
            let free = !(word.load(Ordering::Relaxed) | skipped);
            if free == 0 {
                return None;
            }
            let bit = free.trailing_zeros();
            let taken = 1 << bit;
            // Another thread may have been quicker.
            if word.fetch_or(taken, Ordering::Acquire) & taken == 0 {
                return Some(bit);
            }
        }
    }

    /// Puts a slot to rest. It stays taken.
    fn let_go(&self, slot: u32) {
        self.resting_count.fetch_add(1, Ordering::Relaxed);
        let young = self.young.load(Ordering::Acquire) as usize & 1;
        if let Some(word) = self.resting[young].0.get((slot / WORD_BITS) as usize) {
            word.fetch_or(1 << (slot % WORD_BITS), Ordering::Release);
        }
    }

    /// Frees the slots that rested since before the last turn; those that came later are the old ones from now on.
    fn turn(&self) -> u32 {
        let young = self.young.load(Ordering::Relaxed) & 1;
        let old = &self.resting[(young ^ 1) as usize];
        let mut freed = 0;
        for (resting, taken) in old.0.iter().zip(&self.taken.0) {
            if resting.load(Ordering::Relaxed) != 0 {
                let bits = resting.swap(0, Ordering::Acquire);
                taken.fetch_and(!bits, Ordering::Release);
                freed += bits.count_ones();
            }
        }
        self.young.store(young ^ 1, Ordering::Release);
        self.resting_count.fetch_sub(freed, Ordering::Relaxed);
        self.used.fetch_sub(freed, Ordering::Relaxed);
        freed
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("Space");
        this.field("layout", &self.0.layout).field("live", &self.live()).field("resting", &self.resting());
        this.finish_non_exhaustive()
    }
}

/// One bit per slot.
struct Bits(Box<[AtomicU32]>);

impl Bits {
    fn new(slots: u32) -> Self {
        Self((0..slots.div_ceil(WORD_BITS)).map(|_| AtomicU32::new(0)).collect())
    }
}

/// Gives slots back to a space once the jobs of their channels can be known to nobody.
///
/// The jobs that a channel had when it was closed end with the next tip, and are forgotten [`RETIRED_JOB_TIPS`] tips or
/// [`RETIRED_JOB_AGE`] later, whichever is first. Until then another channel with the same prefix would search the same space,
/// and could hand in the same shares. So a slot rests from the moment when the last holder lets go of it until the next tip,
/// and that long behind it; slots are looked at only when a tip comes, twice the time at the most.
///
/// Whoever publishes tips holds it. There is one for each space, because each tip has to be told once.
#[derive(Debug)]
pub struct Recycler {
    space: Space,
    /// When the slots that rest longest began their second half, which was with a tip.
    turned: Option<Duration>,
    /// Tips since then.
    tips: u64,
}

impl Recycler {
    /// There is a new tip, which channels hear of now or soon. Returns how many slots became free.
    pub fn on_tip(&mut self, now: Duration) -> u32 {
        self.tips += 1;
        let over = |turned| self.tips >= RETIRED_JOB_TIPS || now.saturating_sub(turned) > RETIRED_JOB_AGE;
        if !self.turned.is_none_or(over) {
            return 0;
        }
        self.turned = Some(now);
        self.tips = 0;
        self.space.0.turn()
    }
}

/// One channel's share of the search space. It goes to rest when the last clone is dropped, so that whoever still
/// accepts shares for it, a live job for example, keeps it by holding a clone.
#[derive(Clone)]
pub struct Slot(Arc<Held>);

struct Held {
    space: Space,
    index: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.space.0.let_go(self.index);
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

    /// What the upstream sees as rolled when this slot's channel rolls `rolled`: the part of the extranonce behind the
    /// upstream's own prefix (see [`Space::below`]).
    pub fn rolled_upstream(&self, rolled: &Extranonce) -> Result<Extranonce, LayoutError> {
        let prefix = self.prefix(rolled.len())?;
        let own = prefix.tail(self.0.space.0.outer.len());
        // Prefix and rolled part are the layout's full size together.
        Ok(own.join(rolled.as_bytes()).unwrap_or(own))
    }

    /// What the layer above put in front, the layout's bits, then zeros: `len` bytes behind the former, which are between the
    /// layout's prefix and full size.
    fn padded(&self, len: usize) -> Extranonce {
        let Shared { layout, outer, name, .. } = &*self.0.space.0;
        let used = u32::from(layout.server_bits) + u32::from(layout.epoch_bits) + u32::from(layout.slot_bits);
        let value = (u128::from(*name) << layout.slot_bits) + u128::from(self.index());
        let aligned = (value << (128 - used)).to_be_bytes(); // 1 to 90 bits are used
        let mut prefix = *outer;
        prefix.len += len as u8;
        for (byte, bits) in prefix.bytes.iter_mut().skip(outer.len()).zip(aligned) {
            *byte = bits;
        }
        prefix
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.index())
    }
}
