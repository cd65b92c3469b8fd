//! What the ledger remembers: shares, refused shares, and the life of blocks.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer};

/// Longest name of an account or a worker, in bytes of UTF-8; Sv2's user identities are no longer. What is longer is
/// cut at a character boundary.
pub const MAX_NAME_BYTES: usize = 255;

/// Longest reason for refused shares, in bytes; error codes of Sv2 are no longer (STR0_255, in use: up to 32). What is
/// longer is cut.
pub const MAX_REASON_BYTES: usize = 64;

/// A point in time: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds, rounded down.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }
}

/// Stands for a worker of an account in records; [`ShareLedger::worker`](crate::ShareLedger::worker) gives it out. Kept
/// for good: the same names have the same id after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkerId(pub(crate) u32);

impl WorkerId {
    /// Nobody in particular. For refused shares of those who have had none accepted: they count for the pool as a
    /// whole, so that names nobody has worked for take no space.
    pub const NOBODY: Self = Self(0);

    /// The number that files and exports show.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Stands for an account; given out with its first worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AccountId(pub(crate) u32);

impl AccountId {
    /// The number that files and exports show.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Expected number of hashes, as `Target::work` of roles-logic gives it: 2^256 / (target + 1). Counting saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(pub u128);

impl Work {
    /// The sum; at most `u128::MAX`.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number where it fits 64 bits, else its decimal digits as text: JSON readers lose larger numbers.
impl Serialize for Work {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(self.0) {
            Ok(small) => serializer.serialize_u64(small),
            Err(_) => serializer.collect_str(&self.0),
        }
    }
}

/// Difficulty, to 24 significant bits; never negative, infinite or not a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
pub struct Difficulty(f32);

impl Difficulty {
    /// The nearest that can be kept: not a number becomes 0, what is too large the largest.
    pub const fn new(difficulty: f64) -> Self {
        Self::from_f32(difficulty as f32)
    }

    pub(crate) const fn from_f32(difficulty: f32) -> Self {
        if difficulty > f32::MAX {
            Self(f32::MAX)
        } else if difficulty > 0.0 {
            Self(difficulty)
        } else {
            Self(0.0)
        }
    }

    /// Which a block or share hash reached: 0xFFFF·2^208 / hash, the hash little-endian as headers carry it.
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        let Some(top) = hash.iter().rposition(|&byte| byte != 0) else { return Self(f32::MAX) };
        // The eight highest bytes are more than a difficulty keeps.
        let mut bytes = [0; 8];
        let low = (top + 1).saturating_sub(8);
        bytes[..=top - low].copy_from_slice(&hash[low..=top]);
        let scale = 208 - 8 * low as i32;
        Self::new(65535.0 / u64::from_le_bytes(bytes) as f64 * f64::powi(2.0, scale))
    }

    /// As a number.
    pub const fn get(self) -> f64 {
        self.0 as f64
    }

    pub(crate) const fn as_f32(self) -> f32 {
        self.0
    }

    /// The larger one.
    pub const fn max(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }
}

/// The twelve low-order bytes of a share's hash, which tell shares apart: those before the zeros that all shares have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareHash(pub(crate) [u8; Self::BYTES]);

impl ShareHash {
    /// Length in bytes. Among 10^12 shares, two have the same with a probability of 10^-5.
    pub const BYTES: usize = 12;

    /// Of a whole hash, little-endian as headers carry it.
    pub const fn of(hash: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *hash;
        Self([a, b, c, d, e, f, g, h, i, j, k, l])
    }

    /// The bytes, little-endian.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// The last 24 digits of the hash as it is usually written.
impl fmt::Display for ShareHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ShareHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ShareHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An accepted share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// When it was accepted.
    pub at: Timestamp,
    /// Whose it is.
    pub worker: WorkerId,
    /// What it is credited with. A power of two takes 16 bytes less in the log than another number.
    pub work: Work,
    /// Tells it from others.
    pub hash: ShareHash,
    /// The difficulty that its hash reached.
    pub reached: Difficulty,
}

/// Refused shares, counted over some seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejects {
    /// When the count ended.
    pub at: Timestamp,
    /// Whose they are; [`WorkerId::NOBODY`] for those without an accepted share.
    pub worker: WorkerId,
    /// Why, as the error code that went out (sv2-spec §5.3.14); at most [`MAX_REASON_BYTES`].
    pub reason: Cow<'static, str>,
    /// How many.
    pub count: u64,
}

/// Hash of a block, little-endian as headers carry it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub [u8; 32]);

/// As it is usually written, most significant byte first.
impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BlockHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A step in the life of a found block. The same step may come again, as after a restart: it counts once.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockEvent {
    /// When.
    pub at: Timestamp,
    /// Which block.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// What happened.
    pub step: BlockStep,
}

/// What happens to a block. Names of nodes and reasons are cut at [`MAX_NAME_BYTES`].
#[derive(Clone, Debug, PartialEq)]
pub enum BlockStep {
    /// A share solved it.
    Found {
        /// Whose share.
        worker: WorkerId,
        /// What its coinbase pays, in satoshi.
        value: u64,
        /// The difficulty that its hash reached.
        reached: Difficulty,
    },
    /// It went to a node.
    Submitted {
        /// The node, as the configuration names it.
        node: String,
    },
    /// A node took it.
    Accepted {
        /// The node.
        node: String,
    },
    /// A node refused it.
    Rejected {
        /// The node.
        node: String,
        /// As the node says.
        reason: String,
    },
    /// It is in the best chain, with this many blocks from it to the tip, itself included.
    Confirmed {
        /// Number of blocks.
        depth: u32,
    },
    /// The best chain has another block at its height.
    Orphaned,
    /// It can not be submitted any more, or nobody could be reached before the chain went on.
    Lost,
}

/// What is appended to the ledger.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An accepted share.
    Share(Share),
    /// Refused shares.
    Rejects(Rejects),
    /// A step in the life of a block.
    Block(Box<BlockEvent>),
}

impl From<Share> for Record {
    fn from(share: Share) -> Self {
        Self::Share(share)
    }
}

impl From<Rejects> for Record {
    fn from(rejects: Rejects) -> Self {
        Self::Rejects(rejects)
    }
}

impl From<BlockEvent> for Record {
    fn from(event: BlockEvent) -> Self {
        Self::Block(Box::new(event))
    }
}

/// The longest part of `text` of at most `limit` bytes that ends at a character boundary.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulty_of_a_hash() {
        let mut hash = [0; 32];
        // The difficulty-1 target itself: 0xFFFF·2^208.
        (hash[26], hash[27]) = (0xff, 0xff);
        assert_eq!(Difficulty::of_hash(&hash).get(), 1.0);
        (hash[26], hash[27]) = (0, 0);
        (hash[24], hash[25]) = (0xff, 0xff);
        assert_eq!(Difficulty::of_hash(&hash).get(), 65536.0);
        assert_eq!(Difficulty::of_hash(&[0; 32]).get(), f64::from(f32::MAX));
        // 2^256 / 255 and a little.
        let expected = 65535.0 * 255.0 * f64::powi(2.0, -48);
        assert!((Difficulty::of_hash(&[1; 32]).get() / expected - 1.0).abs() < 1e-6);
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(Difficulty::of_hash(&one).get(), f64::from(f32::MAX), "more than fits");
    }

    #[test]
    fn difficulties_are_numbers() {
        for odd in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            assert_eq!(Difficulty::new(odd).get(), 0.0);
        }
        assert_eq!(Difficulty::new(f64::INFINITY).get(), f64::from(f32::MAX));
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("é", 0), "");
    }

    #[test]
    fn hashes_are_written_as_usual() {
        let mut hash = [0; 32];
        (hash[0], hash[31]) = (0xab, 0x01);
        assert_eq!(ShareHash::of(&hash).to_string(), "0000000000000000000000ab");
        assert!(BlockHash(hash).to_string().starts_with("0100"));
    }
}
