//! Extranonce prefixes: how a server makes sure that no two channels search the same space (sv2-spec §5.1.2.1).
//!
//! The full extranonce has one size per listener class. Its first bits name the server, the start of its process (the
//! *epoch*) and the channel's *slot*, in that order; the rest of a channel's prefix is zero. Spaces nest: a proxy splits what
//! its upstream channel lets it roll in the same way. `docs/spec/extranonce.md` says how many channels each split holds.

mod space;

use core::fmt;

pub use space::{Exhausted, Recycler, Slot, Space};

/// Longest extranonce that the protocol can carry, in bytes (a B0_32).
pub const MAX_EXTRANONCE_SIZE: usize = 32;

/// Most bits for slots: a space keeps three bits per slot, so this is 24 MiB and 67 million channels.
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

    /// The bytes from `at` on; none when there are fewer.
    fn tail(&self, at: usize) -> Self {
        let rest = self.as_bytes().get(at..).unwrap_or_default();
        let mut tail = Self { len: rest.len() as u8, ..Self::EMPTY };
        tail.bytes[..rest.len()].copy_from_slice(rest);
        tail
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

/// The low `bits` bits set; 64 and more sets all.
const fn mask(bits: u8) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

#[cfg(test)]
mod tests;
