//! Targets, and the work that a hash below one stands for.

use core::fmt;

use bitcoin::{BlockHash, hashes::Hash as _};

/// A 256-bit threshold: a hash, read as a little-endian number, meets it when it is not above (sv2-spec §5.3.21).
///
/// Ordered as a number: the smaller target is the harder one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    // Field order matters: the derived order compares `high` first.
    high: u128,
    low: u128,
}

/// Why a compact target (`nBits`) is not one that a block can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactError {
    /// The sign bit is set on a mantissa that is not zero.
    Negative(u32),
    /// The value does not fit 256 bits.
    Overflow(u32),
    /// The value is zero, which no hash can meet.
    Zero(u32),
}

impl fmt::Display for CompactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nbits, what) = match self {
            Self::Negative(nbits) => (nbits, "is negative"),
            Self::Overflow(nbits) => (nbits, "does not fit 256 bits"),
            Self::Zero(nbits) => (nbits, "is zero"),
        };
        write!(f, "expected a compact target between 1 and 2^256 - 1, got {nbits:#010x}, which {what}")
    }
}

impl core::error::Error for CompactError {}

/// Work of one hash of difficulty 1: 2^256 / (0xFFFF·2^208 + 1), rounded down.
pub const WORK_OF_DIFFICULTY_1: u128 = 4_295_032_833;

const TWO_POW_128: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;

impl Target {
    /// The easiest target: every hash meets it.
    pub const MAX: Self = Self { high: u128::MAX, low: u128::MAX };
    /// Met by the hash zero only.
    pub const ZERO: Self = Self { high: 0, low: 0 };
    /// Target of difficulty 1: 0xFFFF·2^208.
    pub const DIFFICULTY_1: Self = Self { high: 0xffff << 80, low: 0 };

    /// Reads the bytes as they are on the wire in a U256.
    pub const fn from_le_bytes(bytes: [u8; 32]) -> Self {
        let (mut low, mut high) = ([0; 16], [0; 16]);
        let mut i = 0;
        while i < 16 {
            low[i] = bytes[i];
            high[i] = bytes[i + 16];
            i += 1;
        }
        Self { high: u128::from_le_bytes(high), low: u128::from_le_bytes(low) }
    }

    /// The bytes as they are on the wire in a U256.
    pub const fn to_le_bytes(self) -> [u8; 32] {
        let (low, high) = (self.low.to_le_bytes(), self.high.to_le_bytes());
        let mut bytes = [0; 32];
        let mut i = 0;
        while i < 16 {
            bytes[i] = low[i];
            bytes[i + 16] = high[i];
            i += 1;
        }
        bytes
    }

    /// Expands `nBits` by Bitcoin's consensus rules; refuses what no valid header can carry.
    pub const fn from_compact(nbits: u32) -> Result<Self, CompactError> {
        let size = nbits >> 24;
        let mantissa = nbits & 0x007f_ffff;
        let (mantissa, shift) = if size <= 3 { (mantissa >> (8 * (3 - size)), 0) } else { (mantissa, 8 * (size - 3)) };
        if mantissa == 0 {
            return Err(CompactError::Zero(nbits));
        }
        if nbits & 0x0080_0000 != 0 {
            return Err(CompactError::Negative(nbits));
        }
        if shift > 256 - (32 - mantissa.leading_zeros()) {
            return Err(CompactError::Overflow(nbits));
        }
        Ok(Self { high: 0, low: mantissa as u128 }.shl(shift))
    }

    /// Whether `hash` is at or below the target.
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        Self::from_le_bytes(hash.to_byte_array()) <= *self
    }

    /// Hashes that it takes on average to meet the target: 2^256 / (target + 1), rounded down, at most `u128::MAX`.
    pub const fn work(&self) -> u128 {
        if self.high == 0 {
            return u128::MAX; // 2^128 or more
        }
        if self.high == u128::MAX && self.low == u128::MAX {
            return 1;
        }
        // With d = target + 1: 2^256 / d = (2^256 - d) / d + 1, and 2^256 - d is the complement of the target.
        let divisor = self.plus_one();
        let complement = Self { high: !self.high, low: !self.low };
        complement.divide(divisor).saturating_add(1)
    }

    /// Ratio to [`Target::DIFFICULTY_1`], for people; infinite for a zero target. Count in [`Target::work`] instead.
    pub fn difficulty(&self) -> f64 {
        Self::DIFFICULTY_1.to_f64() / self.to_f64()
    }

    /// 2^(256 − `bits`) − 1: the target met by hashes whose top `bits` bits are zero; over 256 counts as 256.
    ///
    /// Its work is 2^`bits` exactly (up to 127 bits).
    pub const fn from_zero_bits(bits: u32) -> Self {
        match bits {
            0..=127 => Self { high: u128::MAX >> bits, low: u128::MAX },
            128..=255 => Self { high: 0, low: u128::MAX >> (bits - 128) },
            _ => Self::ZERO,
        }
    }

    /// The target of difficulty 2^`exponent`, as miners of Stratum V1 read it: [`DIFFICULTY_1`](Self::DIFFICULTY_1), shifted. Exponents
    /// outside of −32 to 127 count as these.
    ///
    /// It is a little harder than the one of the form 2^n − 1 with as many zero bits.
    pub const fn from_difficulty_log2(exponent: i32) -> Self {
        let bits = match exponent {
            ..=-32 => 0,
            127.. => 159,
            _ => (exponent + 32) as u32,
        };
        // 0xffff with `bits` zeros before it, in 256 bits.
        match bits {
            0..=112 => Self { high: 0xffff << (112 - bits), low: 0 },
            113..=127 => Self { high: 0xffff >> (bits - 112), low: 0xffff << (240 - bits) },
            _ => Self { high: 0, low: 0xffff << (240 - bits) },
        }
    }

    /// The easiest target that has at least this difficulty, as miners of Stratum V1 compute it from `mining.set_difficulty`:
    /// [`DIFFICULTY_1`](Self::DIFFICULTY_1) divided, rounded down. [`Target::MAX`] where it is too low for any target, zero, negative or
    /// not a number.
    ///
    /// A power of two gives a target that is a little harder than the one of the form 2^n − 1 with as many zero bits.
    pub const fn from_difficulty(difficulty: f64) -> Self {
        if difficulty.is_nan() || difficulty <= 0.0 {
            return Self::MAX;
        }
        // divisor · 2^exponent. Read like the others, subnormal numbers are too low for any target, and infinity too high.
        let bits = difficulty.to_bits();
        let (divisor, exponent) = ((bits & ((1 << 52) - 1)) + (1 << 52), (bits >> 52) as i32 - 1_075);
        // Long division, a bit at a time, of 0xffff with so many zero bits behind it.
        let zeros = 208 - exponent;
        let (mut quotient, mut rest, mut bit) = (Self::ZERO, 0, zeros + 15);
        while bit >= 0 {
            rest = (rest << 1) + (bit >= zeros) as u64;
            if quotient.high >> 127 == 1 {
                return Self::MAX;
            }
            quotient = Self { high: (quotient.high << 1) + (quotient.low >> 127), low: quotient.low << 1 };
            if rest >= divisor {
                rest -= divisor;
                quotient.low |= 1;
            }
            bit -= 1;
        }
        quotient
    }

    /// The easiest target of the form 2^n − 1 that is not above `self`: a client's `max_target` rounded to the harder side.
    pub const fn round_to_harder(self) -> Self {
        if self.high == u128::MAX && self.low == u128::MAX {
            return self;
        }
        Self::from_zero_bits(self.plus_one().leading_zeros() + 1)
    }

    /// One power of two harder; rounds `self` to the harder side first.
    pub const fn harder(self) -> Self {
        Self::from_zero_bits(self.round_to_harder().leading_zeros() + 1)
    }

    /// One power of two easier, at most [`Target::MAX`]; rounds `self` to the harder side first.
    pub const fn easier(self) -> Self {
        Self::from_zero_bits(self.round_to_harder().leading_zeros().saturating_sub(1))
    }

    /// The power of two that gives about `shares_per_minute` at `hashrate` (hashes per second), within `bounds`.
    ///
    /// The rate is met within a factor of √2 where the bounds allow. A hashrate that is NaN, zero or negative gives the
    /// easiest target, an infinite one the hardest; a share rate that is not a positive number counts as 1.
    pub fn for_hashrate(hashrate: f32, shares_per_minute: f32, bounds: TargetBounds) -> Self {
        if hashrate.is_nan() || hashrate <= 0.0 {
            return bounds.clamp(Self::MAX);
        }
        let rate = if shares_per_minute.is_finite() && shares_per_minute > 0.0 { shares_per_minute } else { 1.0 };
        let hashes = f64::from(hashrate) * 60.0 / f64::from(rate);
        bounds.clamp(Self::from_zero_bits(nearest_log2(hashes)))
    }

    /// Number of zero bits before the highest one bit; 256 for zero.
    pub const fn leading_zeros(&self) -> u32 {
        if self.high == 0 { 128 + self.low.leading_zeros() } else { self.high.leading_zeros() }
    }

    /// Must not be called on `MAX`.
    const fn plus_one(self) -> Self {
        let (low, carry) = self.low.overflowing_add(1);
        Self { high: self.high.wrapping_add(carry as u128), low }
    }

    const fn shl(self, bits: u32) -> Self {
        match bits {
            0 => self,
            1..=127 => Self { high: (self.high << bits) + (self.low >> (128 - bits)), low: self.low << bits },
            128..=255 => Self { high: self.low << (bits - 128), low: 0 },
            _ => Self::ZERO,
        }
    }

    const fn less_than(&self, other: &Self) -> bool {
        self.high < other.high || (self.high == other.high && self.low < other.low)
    }

    /// Quotient by a divisor of at least 2^128, so that it fits 128 bits.
    const fn divide(self, divisor: Self) -> u128 {
        let mut remainder = self;
        let mut quotient = 0;
        let mut shift = divisor.leading_zeros();
        loop {
            let step = divisor.shl(shift);
            if !remainder.less_than(&step) {
                let (low, borrow) = remainder.low.overflowing_sub(step.low);
                remainder = Self { high: remainder.high - step.high - borrow as u128, low };
                quotient |= 1 << shift;
            }
            if shift == 0 {
                return quotient;
            }
            shift -= 1;
        }
    }

    fn to_f64(self) -> f64 {
        self.high as f64 * TWO_POW_128 + self.low as f64
    }
}

/// Logarithm to base 2 rounded to the nearest integer, between 0 and 256; `core` has no `log2`.
pub(crate) fn nearest_log2(value: f64) -> u32 {
    if value < 1.0 {
        return 0;
    }
    const SQRT_2_MANTISSA: u64 = core::f64::consts::SQRT_2.to_bits() & MANTISSA;
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let exponent = (bits >> 52).saturating_sub(1023) as u32;
    let round_up = (bits & MANTISSA) >= SQRT_2_MANTISSA;
    (exponent + u32::from(round_up)).min(256)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl fmt::Display for Target {
    /// Sixty-four hexadecimal digits, most significant first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:032x}", self.high, self.low)
    }
}

/// The range in which a server sets a channel's target; `easiest` wins where the two cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetBounds {
    /// Never easier than this.
    pub easiest: Target,
    /// Never harder than this, unless `easiest` is.
    pub hardest: Target,
}

impl TargetBounds {
    /// No bounds: from [`Target::MAX`] down to 127 zero bits, the hardest target whose work fits 128 bits.
    pub const NONE: Self = Self { easiest: Target::MAX, hardest: Target::from_zero_bits(127) };

    /// These bounds with a client's `max_target` respected, rounded to the harder side (sv2-spec §5.3.2).
    #[must_use]
    pub fn for_client(self, max_target: Target) -> Self {
        Self { easiest: self.easiest.min(max_target.round_to_harder()), ..self }
    }

    /// Whether a server with these bounds can serve a client that demands `max_target`.
    ///
    /// If not, the answer is the error `max-target-out-of-range`.
    pub fn admit(&self, max_target: Target) -> bool {
        max_target.round_to_harder() >= self.hardest
    }

    /// The nearest target within the bounds.
    pub fn clamp(&self, target: Target) -> Target {
        target.max(self.hardest).min(self.easiest)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    /// Long division on bytes, the check for [`Target::work`]: 2^256 / divisor, big-endian.
    fn schoolbook(divisor_be: &[u8]) -> Vec<u8> {
        let mut quotient = Vec::new();
        let mut remainder: Vec<u8> = vec![0; 34];
        let divisor: Vec<u8> =
            core::iter::repeat_n(0, 34 - divisor_be.len()).chain(divisor_be.iter().copied()).collect();
        for digit in core::iter::once(1u8).chain(core::iter::repeat_n(0, 32)) {
            remainder.remove(0);
            remainder.push(digit);
            let mut count = 0;
            while remainder >= divisor {
                let mut borrow = 0i16;
                for i in (0..34).rev() {
                    let d = i16::from(remainder[i]) - i16::from(divisor[i]) - borrow;
                    borrow = i16::from(d < 0);
                    remainder[i] = d.rem_euclid(256) as u8;
                }
                count += 1;
            }
            quotient.push(count);
        }
        quotient
    }

    #[test]
    fn difficulties_have_their_targets() {
        assert_eq!(Target::from_difficulty(1.0), Target::DIFFICULTY_1);
        for exponent in -32..=127 {
            let target = Target::from_difficulty(2f64.powi(exponent));
            assert_eq!(target, Target::from_difficulty_log2(exponent));
            assert_eq!(target.difficulty(), 2f64.powi(exponent), "2^{exponent}");
            assert_eq!(target.leading_zeros(), (exponent + 32) as u32);
            let easier = Target::from_zero_bits((exponent + 32) as u32);
            assert!(target < easier && target > easier.harder());
        }
        assert_eq!(Target::from_difficulty_log2(i32::MIN), Target::from_difficulty_log2(-32));
        assert_eq!(Target::from_difficulty_log2(i32::MAX), Target::from_difficulty_log2(127));
        // 0xffff · 2^208 / 1,000,000, by hand.
        let million = Target::from_difficulty(1e6);
        assert_eq!(
            million.to_string(),
            ["0".repeat(12).as_str(), "10c6e6d9be4cd74927913e81450efdc9c4da9003eea209aaa3ad"].concat()
        );
        for none in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 2f64.powi(-33), f64::MIN_POSITIVE, 5e-324] {
            assert_eq!(Target::from_difficulty(none), Target::MAX, "{none}");
        }
        for all in [f64::INFINITY, f64::MAX, 2f64.powi(240)] {
            assert_eq!(Target::from_difficulty(all), Target::ZERO, "{all}");
        }
        assert_eq!(Target::from_difficulty(2f64.powi(223)), Target { high: 0, low: 1 });
    }

    fn expected_work(target: Target) -> u128 {
        let mut be: Vec<u8> = target.to_le_bytes().iter().rev().copied().collect();
        be.insert(0, 0);
        for byte in be.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        let quotient = schoolbook(&be);
        let (top, rest) = quotient.split_at(quotient.len() - 16);
        if top.iter().any(|&b| b != 0) { u128::MAX } else { u128::from_be_bytes(rest.try_into().unwrap()) }
    }

    /// Targets of every size, not only the uniformly drawn ones that are all near 2^256.
    fn targets() -> impl Strategy<Value = Target> {
        (any::<[u8; 32]>(), 0usize..=32).prop_map(|(mut bytes, keep)| {
            bytes[keep..].fill(0);
            Target::from_le_bytes(bytes)
        })
    }

    #[test]
    fn known_values() {
        assert_eq!(Target::MAX.work(), 1);
        assert_eq!(Target::ZERO.work(), u128::MAX);
        assert_eq!(Target::DIFFICULTY_1.work(), WORK_OF_DIFFICULTY_1);
        assert_eq!(Target::DIFFICULTY_1.difficulty(), 1.0);
        assert_eq!(Target::from_compact(0x1d00_ffff), Ok(Target::DIFFICULTY_1));
        let early = Target::from_compact(0x1b04_04cb).unwrap();
        assert!((early.difficulty() - 16_307.420_938_523_983).abs() < 1e-9, "{}", early.difficulty());
        assert_eq!(Target::ZERO.difficulty(), f64::INFINITY);
        assert_eq!(Target { high: 0, low: 1 << 100 }.difficulty(), 65_535.0 * 2f64.powi(108));
        assert_eq!(Target { high: 1, low: 1 << 127 }.difficulty(), 65_535.0 * 2f64.powi(80) / 1.5);
        // Block 800,000 of the main chain.
        let block = Target::from_compact(0x1705_3894).unwrap();
        assert!((block.difficulty() / 53_911_173_001_054.59 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn work_is_exact_where_the_halves_of_a_target_meet() {
        for high in [1, 2, 3, 0xffff, 1 << 64, u128::MAX >> 1, 1 << 127, u128::MAX - 1, u128::MAX] {
            for low in [0, 1, 1 << 127, u128::MAX - 1, u128::MAX] {
                let target = Target { high, low };
                assert_eq!(target.work(), expected_work(target), "{target}");
            }
        }
    }

    #[test]
    fn compact_rejects_what_consensus_rejects() {
        assert_eq!(Target::from_compact(0), Err(CompactError::Zero(0)));
        assert_eq!(Target::from_compact(0x0100_0000), Err(CompactError::Zero(0x0100_0000)));
        assert_eq!(Target::from_compact(0x0480_0001), Err(CompactError::Negative(0x0480_0001)));
        assert_eq!(Target::from_compact(0xff12_3456), Err(CompactError::Overflow(0xff12_3456)));
        assert_eq!(Target::from_compact(0x2300_0100), Err(CompactError::Overflow(0x2300_0100)));
        // 2^255 in its two spellings fits; one byte more does not.
        assert!(Target::from_compact(0x2100_8000).is_ok());
        assert!(Target::from_compact(0x2200_0080).is_ok());
        assert!(Target::from_compact(0x2200_0100).is_err());
        // Regtest.
        assert_eq!(
            Target::from_compact(0x207f_ffff).unwrap().to_le_bytes(),
            bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(0x207f_ffff)).to_le_bytes()
        );
    }

    #[test]
    fn compact_targets_of_every_size() {
        for size in 0..=34u32 {
            for mantissa in [1, 0x12, 0x80, 0xff, 0x1234, 0x8000, 0xffff, 0x12_3456, 0x7f_ffff] {
                let nbits = size << 24 | mantissa;
                let Ok(target) = Target::from_compact(nbits) else { continue };
                let expected = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(nbits));
                assert_eq!(target.to_le_bytes(), expected.to_le_bytes(), "{nbits:#x}");
            }
        }
        let value = |nbits| Target::from_compact(nbits).map(|target| (target.high, target.low));
        assert_eq!(value(0x0112_3456), Ok((0, 0x12)));
        assert_eq!(value(0x0212_3456), Ok((0, 0x1234)));
        assert_eq!(value(0x0312_3456), Ok((0, 0x12_3456)));
        assert_eq!(value(0x0412_3456), Ok((0, 0x1234_5600)));
    }

    #[test]
    fn shown_for_people() {
        let shown = |nbits| Target::from_compact(nbits).unwrap_err().to_string();
        assert_eq!(
            shown(0x0480_0001),
            "expected a compact target between 1 and 2^256 - 1, got 0x04800001, which is negative"
        );
        assert!(shown(0xff12_3456).ends_with("got 0xff123456, which does not fit 256 bits"));
        assert!(shown(0).ends_with("got 0x00000000, which is zero"));
        let target = Target { high: 0xab, low: 1 };
        let digits = "000000000000000000000000000000ab00000000000000000000000000000001";
        assert_eq!(
            (target.to_string(), alloc::format!("{target:?}")),
            (digits.into(), alloc::format!("Target({digits})"))
        );
    }

    #[test]
    fn powers_of_two() {
        for bits in 0..128 {
            assert_eq!(Target::from_zero_bits(bits).work(), 1 << bits);
        }
        assert_eq!(Target::from_zero_bits(256), Target::ZERO);
        assert_eq!(Target::MAX.round_to_harder(), Target::MAX);
        assert_eq!(Target::ZERO.round_to_harder(), Target::ZERO);
        assert_eq!(Target::DIFFICULTY_1.round_to_harder(), Target::from_zero_bits(33));
        assert_eq!(Target { high: u128::MAX, low: u128::MAX - 1 }.round_to_harder(), Target::from_zero_bits(1));
        assert_eq!(Target { high: 5, low: u128::MAX }.round_to_harder(), Target { high: 3, low: u128::MAX });
        assert_eq!(Target::from_zero_bits(32).harder(), Target::from_zero_bits(33));
        assert_eq!(Target::from_zero_bits(32).easier(), Target::from_zero_bits(31));
        assert_eq!(Target::MAX.easier(), Target::MAX);
        assert_eq!(Target::ZERO.harder(), Target::ZERO);
    }

    #[test]
    fn logarithms_are_rounded_to_the_nearest_and_not_below_zero() {
        for (value, log) in
            [(0.0, 0), (0.3, 0), (0.75, 0), (1.0, 0), (1.41, 0), (1.42, 1), (2.0, 1), (6.0, 3), (1e300, 256)]
        {
            assert_eq!(nearest_log2(value), log, "{value}");
        }
    }

    #[test]
    fn target_for_hashrate() {
        let bounds = TargetBounds { easiest: Target::from_zero_bits(4), hardest: Target::from_zero_bits(64) };
        let target = |hashrate: f32, rate: f32| Target::for_hashrate(hashrate, rate, bounds);
        assert_eq!(target(1e12, 6.0), Target::from_zero_bits(43)); // 1e13 hashes a share, 2^43.2
        assert_eq!(target(1e12, 60.0), Target::from_zero_bits(40)); // 2^39.9
        for odd in [f32::NAN, 0.0, -1.0, f32::NEG_INFINITY, f32::MIN_POSITIVE] {
            assert_eq!(target(odd, 6.0), bounds.easiest);
        }
        assert_eq!(target(f32::INFINITY, 6.0), bounds.hardest);
        assert_eq!(target(f32::MAX, 6.0), bounds.hardest);
        for odd in [f32::NAN, 0.0, -1.0, f32::INFINITY] {
            assert_eq!(target(1e9, odd), target(1e9, 1.0));
        }
    }

    #[test]
    fn client_bounds_round_to_the_harder_side() {
        let bounds = TargetBounds { easiest: Target::from_zero_bits(20), hardest: Target::from_zero_bits(60) };
        assert_eq!(bounds.for_client(Target::MAX), bounds);
        assert_eq!(bounds.for_client(Target::DIFFICULTY_1).easiest, Target::from_zero_bits(33));
        assert!(bounds.admit(Target::DIFFICULTY_1));
        assert!(!bounds.admit(Target::ZERO));
        // A client that demands more than our hardest gets what it demands.
        let demanding = bounds.for_client(Target::from_zero_bits(70));
        assert_eq!(demanding.clamp(Target::MAX), Target::from_zero_bits(70));
        assert_eq!(demanding.clamp(Target::ZERO), Target::from_zero_bits(70));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_difficulty_is_met_and_nothing_easier_meets_it(difficulty in 1e-9..1e30f64) {
            let target = Target::from_difficulty(difficulty);
            prop_assert!((target.difficulty() / difficulty - 1.0).abs() < 1e-12, "{difficulty}");
        }

        #[test]
        fn work_matches_schoolbook_division(target in targets()) {
            prop_assert_eq!(target.work(), expected_work(target));
        }

        #[test]
        fn bytes_round_trip_and_order(a in targets(), b in targets()) {
            prop_assert_eq!(Target::from_le_bytes(a.to_le_bytes()), a);
            let be = |t: Target| { let mut x = t.to_le_bytes(); x.reverse(); x };
            prop_assert_eq!(a.cmp(&b), be(a).cmp(&be(b)));
            prop_assert_eq!(b.is_met_by(&BlockHash::from_byte_array(a.to_le_bytes())), a <= b);
        }

        #[test]
        fn compact_matches_rust_bitcoin(nbits: u32) {
            if let Ok(target) = Target::from_compact(nbits) {
                let expected = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(nbits));
                prop_assert_eq!(target.to_le_bytes(), expected.to_le_bytes());
            }
        }

        #[test]
        fn rounding_is_the_nearest_power_below(target in targets()) {
            let rounded = target.round_to_harder();
            prop_assert!(rounded <= target);
            prop_assert!(rounded.easier() > target || target == Target::MAX);
        }

        #[test]
        fn for_hashrate_keeps_its_bounds(bits: u32, rate in 0.1f32..100.0, a in 0u32..128, b in 0u32..128) {
            let bounds = TargetBounds {
                easiest: Target::from_zero_bits(a.min(b)),
                hardest: Target::from_zero_bits(a.max(b)),
            };
            let target = Target::for_hashrate(f32::from_bits(bits), rate, bounds);
            prop_assert!(target <= bounds.easiest && target >= bounds.hardest);
        }
    }
}
