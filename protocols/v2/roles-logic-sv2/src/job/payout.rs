//! Who is paid by a block: several outputs, by amount or by weight.

use alloc::vec::Vec;

use bitcoin::{Amount, Script, ScriptBuf, TxOut, consensus::Encodable as _};

use super::{JobError, compact_size_len};

/// Most outputs that a payout may have; what the template reserves is the tighter bound.
pub const MAX_PAYOUT_OUTPUTS: usize = 10_000;
/// The whole of a block's value, in basis points.
pub const ALL_BASIS_POINTS: u16 = 10_000;
/// What one legacy sigop costs in the block's budget of 80,000, which is the unit of sv2-spec §7.1.
const SIGOP_COST: u64 = 4;
/// Bytes of an output's amount.
const AMOUNT_LEN: usize = 8;

/// Room in the coinbase that was reserved with the template's source (`CoinbaseOutputConstraints`, sv2-spec §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Constraints {
    /// Serialised bytes of added outputs.
    pub max_additional_size: u32,
    /// Sigops of added outputs, in the unit of the block's limit of 80,000: a legacy sigop counts 4.
    pub max_additional_sigops: u16,
}

/// Where a block's value goes: fixed amounts first, then parts of what they leave, by weight; all the rest to the first script.
///
/// The rest is what the weights leave, what rounding cuts off, and parts that would be *dust*: outputs that cost more to spend
/// than they hold, at the fee rate that Bitcoin Core assumes for it (3 satoshis per virtual byte). Consensus does not mind
/// dust, so a fixed amount under the limit is refused as a mistake, while a part of a block that is worth little is only left out.
/// The first output is always there, be it zero.
///
/// ```
/// use bitcoin::{ScriptBuf, WPubkeyHash, hashes::Hash};
/// use roles_logic_sv2::job::Payout;
///
/// // A solo miner's own address, less a fee of 1.5 % for the pool.
/// let [miner, pool] = [1, 2].map(|byte| ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([byte; 20])));
/// let payout = Payout::single(miner.clone()).with_weight(pool, 150)?;
/// let outputs = payout.outputs(312_500_000)?;
/// assert_eq!(outputs.iter().map(|output| output.value.to_sat()).collect::<Vec<_>>(), [307_812_500, 4_687_500]);
/// assert_eq!(outputs[0].script_pubkey, miner);
/// # Ok::<(), roles_logic_sv2::job::JobError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    first: ScriptBuf,
    fixed: Vec<TxOut>,
    weighted: Vec<Weighted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Weighted {
    script: ScriptBuf,
    basis_points: u16,
    /// Least amount that is not dust.
    least: Amount,
}

impl Payout {
    /// Everything to one script.
    pub const fn single(script: ScriptBuf) -> Self {
        Self { first: script, fixed: Vec::new(), weighted: Vec::new() }
    }

    /// Adds an output of a fixed amount: refused if that is dust.
    pub fn with_fixed(mut self, output: TxOut) -> Result<Self, JobError> {
        self.check_room()?;
        let least = output.script_pubkey.minimal_non_dust();
        if output.value < least {
            return Err(JobError::Dust { least: least.to_sat(), value: output.value.to_sat() });
        }
        self.fixed.push(output);
        Ok(self)
    }

    /// Adds an output of this many basis points of what the fixed amounts leave, rounded down. All weights together must not be
    /// over [`ALL_BASIS_POINTS`].
    pub fn with_weight(mut self, script: ScriptBuf, basis_points: u16) -> Result<Self, JobError> {
        self.check_room()?;
        let sum =
            self.weighted.iter().map(|other| u64::from(other.basis_points)).sum::<u64>() + u64::from(basis_points);
        if sum > ALL_BASIS_POINTS.into() {
            return Err(JobError::Weights { sum });
        }
        let least = script.minimal_non_dust();
        self.weighted.push(Weighted { script, basis_points, least });
        Ok(self)
    }

    fn check_room(&self) -> Result<(), JobError> {
        let outputs = self.scripts().count() + 1;
        if outputs > MAX_PAYOUT_OUTPUTS {
            return Err(JobError::TooManyOutputs { limit: MAX_PAYOUT_OUTPUTS, outputs });
        }
        Ok(())
    }

    /// The first script, those of fixed amounts, those of weights: the order of the outputs.
    fn scripts(&self) -> impl Iterator<Item = &Script> {
        let fixed = self.fixed.iter().map(|output| &*output.script_pubkey);
        core::iter::once(&*self.first).chain(fixed).chain(self.weighted.iter().map(|other| &*other.script))
    }

    /// What to reserve for this payout; saturates at what the message can say.
    pub fn constraints(&self) -> Constraints {
        let (size, sigops) = self.cost();
        Constraints {
            max_additional_size: u32::try_from(size).unwrap_or(u32::MAX),
            max_additional_sigops: u16::try_from(sigops).unwrap_or(u16::MAX),
        }
    }

    /// The outputs for a block of this value, in satoshis.
    pub fn outputs(&self, value: u64) -> Result<Vec<TxOut>, JobError> {
        let mut outputs = Vec::new();
        self.each(value, |value, script| outputs.push(TxOut { value, script_pubkey: script.into() }))?;
        Ok(outputs)
    }

    /// The same outputs serialised one after the other, and their number.
    pub(super) fn serialized(&self, value: u64) -> Result<(u64, Vec<u8>), JobError> {
        let (mut count, mut bytes) = (0, Vec::with_capacity(self.size()));
        self.each(value, |value, script| {
            count += 1;
            bytes.extend_from_slice(&value.to_sat().to_le_bytes());
            // Writing to a vector can not fail.
            let _ = script.consensus_encode(&mut bytes);
        })?;
        Ok((count, bytes))
    }

    fn each(&self, value: u64, mut output: impl FnMut(Amount, &Script)) -> Result<(), JobError> {
        let spent = self.fixed.iter().try_fold(0u64, |sum, output| sum.checked_add(output.value.to_sat()));
        let left = spent.and_then(|spent| value.checked_sub(spent)).ok_or(JobError::Overspent { value })?;
        let part = |other: &Weighted| {
            // Not over `left`, so it fits.
            let part = u128::from(left) * u128::from(other.basis_points) / u128::from(ALL_BASIS_POINTS);
            Amount::from_sat(u64::try_from(part).unwrap_or(left))
        };
        let parts =
            || self.weighted.iter().map(|other| (part(other), other)).filter(|(part, other)| *part >= other.least);
        // The weights are all of it at the most.
        let first = parts().fold(left, |rest, (part, _)| rest.saturating_sub(part.to_sat()));
        output(Amount::from_sat(first), &self.first);
        self.fixed.iter().for_each(|fixed| output(fixed.value, &fixed.script_pubkey));
        parts().for_each(|(part, other)| output(part, &other.script));
        Ok(())
    }

    /// Serialised size of all outputs, in bytes.
    fn size(&self) -> usize {
        self.scripts().map(|script| AMOUNT_LEN + compact_size_len(script.len()) + script.len()).sum()
    }

    /// Serialised size of all outputs and their sigops cost.
    pub(super) fn cost(&self) -> (u64, u64) {
        let sigops = self.scripts().map(|script| SIGOP_COST * script.count_sigops_legacy() as u64).sum();
        (self.size() as u64, sigops)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bitcoin::{
        PubkeyHash, WPubkeyHash, consensus::serialize, hashes::Hash, opcodes::all::OP_CHECKSIG, script::Builder,
    };
    use proptest::prelude::*;

    use super::*;

    fn script(byte: u8) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([byte; 20]))
    }

    fn output(value: u64, byte: u8) -> TxOut {
        TxOut { value: Amount::from_sat(value), script_pubkey: script(byte) }
    }

    fn amounts(payout: &Payout, value: u64) -> Vec<u64> {
        payout.outputs(value).unwrap().iter().map(|output| output.value.to_sat()).collect()
    }

    #[test]
    fn fixed_amounts_then_weights_of_what_is_left_then_the_rest_to_the_first() {
        let payout = Payout::single(script(1)).with_fixed(output(1_000, 2)).unwrap();
        let payout = payout.with_weight(script(3), 2_500).unwrap().with_weight(script(4), 1).unwrap();
        // 25 % and 0.01 % of 10,000,001, rounded down.
        let outputs = payout.outputs(10_001_001).unwrap();
        assert_eq!(outputs, [output(7_499_001, 1), output(1_000, 2), output(2_500_000, 3), output(1_000, 4)]);
        assert_eq!(payout.outputs(999), Err(JobError::Overspent { value: 999 }));
        assert_eq!(amounts(&payout, 1_000), [0, 1_000]);
        assert_eq!(payout.serialized(10_001_001).unwrap(), (4, outputs.iter().flat_map(serialize).collect()));
        assert_eq!(payout.constraints(), Constraints { max_additional_size: 4 * 31, max_additional_sigops: 0 });
    }

    #[test]
    fn a_part_that_would_be_dust_goes_to_the_first() {
        let payout = Payout::single(script(1)).with_weight(script(2), 100).unwrap();
        // 294 satoshis are the least for P2WPKH.
        assert_eq!(amounts(&payout, 29_400), [29_106, 294]);
        assert_eq!(amounts(&payout, 29_399), [29_399]);
        assert_eq!(amounts(&payout, 0), [0]);
        // The room is reserved all the same.
        assert_eq!(payout.constraints().max_additional_size, 62);
    }

    #[test]
    fn a_fixed_amount_of_dust_is_refused_unless_it_is_no_payment() {
        let single = || Payout::single(script(1));
        assert_eq!(single().with_fixed(output(293, 2)), Err(JobError::Dust { least: 294, value: 293 }));
        assert!(single().with_fixed(output(294, 2)).is_ok());
        let legacy = ScriptBuf::new_p2pkh(&PubkeyHash::all_zeros());
        let dust = TxOut { value: Amount::from_sat(545), script_pubkey: legacy };
        assert_eq!(single().with_fixed(dust), Err(JobError::Dust { least: 546, value: 545 }));
        let note = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return([1, 2, 3]) };
        assert!(single().with_fixed(note).is_ok());
    }

    #[test]
    fn all_of_it_can_be_weighed_out_and_no_more() {
        let payout = Payout::single(script(1)).with_weight(script(2), 9_999).unwrap();
        assert_eq!(payout.clone().with_weight(script(3), 2), Err(JobError::Weights { sum: 10_001 }));
        let payout = payout.with_weight(script(3), 1).unwrap();
        assert_eq!(amounts(&payout, 10_000_000), [0, 9_999_000, 1_000]);
        assert_eq!(payout.with_weight(script(4), u16::MAX), Err(JobError::Weights { sum: 75_535 }));
        // No amount overflows.
        let half = Payout::single(script(1)).with_weight(script(2), 5_000).unwrap();
        assert_eq!(amounts(&half, u64::MAX), [(u64::MAX >> 1) + 1, u64::MAX >> 1]);
        let huge = Payout::single(script(1)).with_fixed(output(u64::MAX, 2)).unwrap();
        assert_eq!(amounts(&huge, u64::MAX), [0, u64::MAX]);
        let huge = huge.with_fixed(output(u64::MAX, 2)).unwrap();
        assert_eq!(huge.outputs(u64::MAX), Err(JobError::Overspent { value: u64::MAX }));
    }

    #[test]
    fn outputs_are_bounded() {
        let fixed = vec![output(1_000, 2); MAX_PAYOUT_OUTPUTS - 2];
        let full = Payout { fixed, ..Payout::single(script(1)) }.with_fixed(output(1_000, 2)).unwrap();
        let (limit, outputs) = (MAX_PAYOUT_OUTPUTS, MAX_PAYOUT_OUTPUTS + 1);
        assert_eq!(full.clone().with_fixed(output(1_000, 2)), Err(JobError::TooManyOutputs { limit, outputs }));
        assert_eq!(full.with_weight(script(2), 0), Err(JobError::TooManyOutputs { limit, outputs }));
    }

    #[test]
    fn the_cost_is_counted_to_the_byte_and_the_sigop() {
        let pay_to_key = Builder::new().push_slice([2; 33]).push_opcode(OP_CHECKSIG).into_script();
        let long = ScriptBuf::from_bytes(vec![0x51; 253]); // so that its length takes three bytes
        let payout = Payout::single(pay_to_key.clone()).with_weight(pay_to_key, 10).unwrap();
        let payout = payout.with_fixed(TxOut { value: Amount::from_sat(10_000), script_pubkey: long }).unwrap();
        let bytes: usize = payout.outputs(1_000_000).unwrap().iter().map(|output| serialize(output).len()).sum();
        assert_eq!(payout.cost(), (bytes as u64, 8));
        assert_eq!(payout.constraints(), Constraints { max_additional_size: bytes as u32, max_additional_sigops: 8 });
        let many = Builder::new();
        let many = (0..20_000).fold(many, |script, _| script.push_opcode(OP_CHECKSIG)).into_script();
        assert_eq!(Payout::single(many).constraints().max_additional_sigops, u16::MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_satoshi_is_paid_and_nothing_that_is_dust(
            value: u64, shift in 0u32..64,
            fixed in prop::collection::vec(294u64..10_000, 0..4), weights in prop::collection::vec(0u16..2_500, 0..4),
        ) {
            let value = value >> shift;
            let payout = fixed.iter().try_fold(Payout::single(script(1)), |payout, &value| payout.with_fixed(output(value, 2)));
            let payout = weights.iter().try_fold(payout.unwrap(), |payout, &weight| payout.with_weight(script(3), weight)).unwrap();
            let spent: u64 = fixed.iter().sum();
            match payout.outputs(value) {
                Err(error) => {
                    prop_assert_eq!(error, JobError::Overspent { value });
                    prop_assert!(spent > value);
                }
                Ok(outputs) => {
                    prop_assert_eq!(outputs.iter().map(|output| u128::from(output.value.to_sat())).sum::<u128>(), value.into());
                    prop_assert!(outputs[1..].iter().all(|output| output.value.to_sat() >= 294));
                    for (output, weight) in outputs[1 + fixed.len()..].iter().zip(weights.iter().filter(|weight| {
                        u128::from(value - spent) * u128::from(**weight) / 10_000 >= 294
                    })) {
                        let exact = u128::from(value - spent) * u128::from(*weight) / 10_000;
                        prop_assert_eq!(u128::from(output.value.to_sat()), exact);
                    }
                    let (count, bytes) = payout.serialized(value).unwrap();
                    prop_assert_eq!(count as usize, outputs.len());
                    prop_assert!(bytes.len() as u64 <= payout.cost().0);
                    prop_assert_eq!(bytes, outputs.iter().flat_map(serialize).collect::<Vec<u8>>());
                }
            }
        }
    }
}
