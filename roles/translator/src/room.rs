//! How the part of the extranonce below an upstream channel is split (`docs/adr/0036-extranonce1-outlives-the-upstream.md`).
//!
//! ```text
//! | upstream prefix ...... | zeros | own: slot | extranonce2 |
//! |<---- coinb1 ---->|<---- extranonce1 --->|
//!                          |<------- extranonce_size ------>|
//! ```
//! Devices take an extranonce1 of 4 bytes and an extranonce2 of 8. Whatever of the prefix has no room in extranonce1 is shown to them at
//! the end of the coinbase's first part, so that a prefix may have any length. Where the channel leaves 12 bytes, extranonce1 is all
//! ours: it stays the same whatever the upstream does.

use roles_logic_sv2::extranonce::{Extranonce, Layout, LayoutError};

/// Bytes of extranonce1 that a miner sees where the prefix is long enough.
pub const EXTRANONCE1: usize = 4;
/// Bytes that a miner rolls where there is room: some devices break with more.
pub const EXTRANONCE2: usize = 8;
/// Bytes that a miner must be able to roll: with 4 a device of 100 TH/s is busy for days.
pub const MIN_EXTRANONCE2: usize = 4;
/// Bytes of a slot.
const SLOT: usize = 3;
/// Bits of them that are used: a million connections, of which old ones rest until the jobs that they knew are forgotten.
const SLOT_BITS: u8 = 20;
/// What is asked of a server first, and from which it is worked down, in bytes.
pub const WANTED: u16 = (EXTRANONCE1 + EXTRANONCE2) as u16;

/// The numbers that tell miners apart.
///
/// # Errors
/// Never, with these sizes.
pub fn slots() -> Result<Layout, LayoutError> {
    Layout::new(0, 0, SLOT_BITS, SLOT)
}

/// Whether many miners share a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One channel for all: slots tell them apart.
    Shared,
    /// A channel each: what tells them apart is the upstream's prefix.
    Own,
}

impl Sharing {
    /// The least that a channel must leave, in bytes.
    pub const fn least(self) -> u16 {
        (self.own_least() + MIN_EXTRANONCE2) as u16
    }

    const fn own_least(self) -> usize {
        match self {
            Self::Shared => SLOT,
            // Extranonce1 has to be known before the channel is opened: none of it may be the upstream's.
            Self::Own => EXTRANONCE1,
        }
    }
}

/// The channel leaves too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an upstream that leaves at least {least} bytes of extranonce, got {got}")]
pub struct TooSmall {
    /// What is needed, in bytes.
    pub least: u16,
    /// What there is.
    pub got: usize,
}

/// The split of one channel's space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    zeros: usize,
    own: usize,
    extranonce2: usize,
}

impl Room {
    /// Splits `extranonce_size` bytes.
    ///
    /// # Errors
    /// When they are too few.
    pub const fn new(sharing: Sharing, extranonce_size: usize) -> Result<Self, TooSmall> {
        let own = if extranonce_size < WANTED as usize { sharing.own_least() } else { EXTRANONCE1 };
        let rest = extranonce_size.saturating_sub(own);
        if rest < MIN_EXTRANONCE2 {
            return Err(TooSmall { least: sharing.least(), got: extranonce_size });
        }
        let extranonce2 = if rest < EXTRANONCE2 { rest } else { EXTRANONCE2 };
        Ok(Self { zeros: rest - extranonce2, own, extranonce2 })
    }

    /// Bytes that the miner rolls.
    pub const fn extranonce2(&self) -> usize {
        self.extranonce2
    }

    /// What the upstream's prefix and we put before extranonce2.
    fn fixed(&self, prefix: &Extranonce, slot: u32) -> Vec<u8> {
        let mut fixed = prefix.as_bytes().to_vec();
        fixed.resize(prefix.len() + self.zeros, 0);
        fixed.extend_from_slice(&slot.to_be_bytes()[4 - self.own..]);
        fixed
    }

    fn extranonce1_at(&self, prefix: &Extranonce) -> usize {
        (prefix.len() + self.zeros + self.own).saturating_sub(EXTRANONCE1)
    }

    /// What stands at the end of the coinbase's first part, the same for all slots.
    pub fn head(&self, prefix: &Extranonce) -> Vec<u8> {
        let mut head = self.fixed(prefix, 0);
        head.truncate(self.extranonce1_at(prefix));
        head
    }

    /// What a miner has as extranonce1, at most [`EXTRANONCE1`] bytes.
    pub fn extranonce1(&self, prefix: &Extranonce, slot: u32) -> Vec<u8> {
        self.fixed(prefix, slot).split_off(self.extranonce1_at(prefix))
    }

    /// What the upstream takes for rolled: all behind its prefix. `None` when extranonce2 has not the right size.
    pub fn rolled(&self, slot: u32, extranonce2: &[u8]) -> Option<Extranonce> {
        let fixed = self.fixed(&Extranonce::EMPTY, slot);
        let whole = Extranonce::try_from(&fixed[..]).and_then(|fixed| fixed.join(extranonce2));
        whole.ok().filter(|_| extranonce2.len() == self.extranonce2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(len: usize) -> Extranonce {
        let bytes: Vec<u8> = (1..=len as u8).map(|byte| byte.wrapping_mul(17)).collect();
        Extranonce::try_from(&bytes[..]).unwrap()
    }

    #[test]
    fn with_twelve_bytes_or_more_extranonce1_is_the_same_under_every_upstream() {
        for sharing in [Sharing::Shared, Sharing::Own] {
            for (prefix_len, size) in [(0, 12), (4, 12), (8, 12), (20, 12), (6, 14), (0, 32)] {
                let room = Room::new(sharing, size).unwrap();
                assert_eq!(room.extranonce1(&prefix(prefix_len), 0x0a_0b0c), [0, 0x0a, 0x0b, 0x0c]);
                assert_eq!(room.extranonce2(), 8);
            }
        }
    }

    #[test]
    fn with_less_extranonce2_stays_long_as_long_as_it_can() {
        let shared = |size| Room::new(Sharing::Shared, size).unwrap();
        assert_eq!((shared(11).extranonce2(), shared(11).extranonce1(&prefix(4), 1)), (8, vec![0x44, 0, 0, 1]));
        assert_eq!((shared(10).extranonce2(), shared(7).extranonce2()), (7, 4));
        assert_eq!(shared(7).extranonce1(&prefix(0), 1), [0, 0, 1], "there is nothing to fill it up with");
        assert_eq!(Room::new(Sharing::Shared, 6), Err(TooSmall { least: 7, got: 6 }));
        // A miner of its own channel knows its extranonce1 before the channel.
        let own = |size| Room::new(Sharing::Own, size).unwrap();
        assert_eq!((own(8).extranonce2(), own(8).extranonce1(&prefix(9), 7)), (4, vec![0, 0, 0, 7]));
        assert_eq!(Room::new(Sharing::Own, 7), Err(TooSmall { least: 8, got: 7 }));
        assert_eq!(own(8).rolled(7, &[1; 5]), None);
    }

    proptest! {
        /// Whatever the miner is shown, the coinbase has the upstream's prefix and what we submit, and no two slots meet.
        #[test]
        fn both_sides_see_the_same_coinbase(
            prefix_len in 0usize..=20, size in 7usize..=12, shared: bool, slot in 0u32..1 << 20, other in 0u32..1 << 20, fill: u8,
        ) {
            let sharing = if shared { Sharing::Shared } else { Sharing::Own };
            let Ok(room) = Room::new(sharing, size) else {
                prop_assert!(size < usize::from(sharing.least()));
                return Ok(());
            };
            let prefix = prefix(prefix_len);
            let extranonce2 = vec![fill; room.extranonce2()];
            let miner = [room.head(&prefix), room.extranonce1(&prefix, slot), extranonce2.clone()].concat();
            let rolled = room.rolled(slot, &extranonce2).unwrap();
            prop_assert_eq!(rolled.len(), size);
            prop_assert_eq!(miner, [prefix.as_bytes(), rolled.as_bytes()].concat());
            if slot != other {
                prop_assert_ne!(room.rolled(other, &extranonce2).unwrap(), rolled);
            }
        }
    }
}
