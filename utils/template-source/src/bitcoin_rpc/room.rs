//! Room for our coinbase. `getblocktemplate` takes no constraints: the node fills its blocks up to the reserve that it was
//! started with (`-blockreservedweight`), which may be less than what we need.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::gbt::BlockTemplate;
use crate::Constraints;

/// The user wants more room than a block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coinbase needs {needed} weight units, but a block has {limit}: ask for smaller outputs")]
pub struct NoRoom {
    needed: u64,
    limit: u64,
}

/// Which transactions stay, as indices in block order. Those of the lowest fee rate that nothing else depends on go first.
///
/// # Errors
/// When the coinbase alone is too big.
pub fn select(template: &BlockTemplate, constraints: Constraints) -> Result<Vec<usize>, NoRoom> {
    let (needed, limit) = (constraints.reserved_weight(), template.weight_limit);
    let weight_left = limit.checked_sub(needed).ok_or(NoRoom { needed, limit })?;
    // As if a sigop of the constraints was a count: a legacy sigop costs 4 (`docs/spec/sigops.md`).
    let sigops_left = template.sigop_limit.saturating_sub(4 * u64::from(constraints.max_additional_sigops));
    let transactions = &template.transactions;
    let mut weight: u64 = transactions.iter().map(|one| one.weight).sum();
    let mut sigops: u64 = transactions.iter().map(|one| one.sigops).sum();
    let mut stays = vec![true; transactions.len()];
    if weight > weight_left || sigops > sigops_left {
        let mut children = vec![0_usize; transactions.len()];
        transactions.iter().flat_map(|one| &one.depends).for_each(|parent| children[*parent] += 1);
        let key = |index: usize| {
            let one = &transactions[index];
            // Of equal ones the last goes.
            Reverse(((u128::from(one.fee) << 32) / u128::from(one.weight.max(1)), Reverse(index)))
        };
        let mut leaves: BinaryHeap<_> = (0..transactions.len()).filter(|i| children[*i] == 0).map(key).collect();
        while weight > weight_left || sigops > sigops_left {
            // Dependencies point back, so that there is a leaf while there is a transaction.
            let Some(Reverse((_, Reverse(index)))) = leaves.pop() else { break };
            stays[index] = false;
            weight -= transactions[index].weight;
            sigops -= transactions[index].sigops;
            for parent in &transactions[index].depends {
                children[*parent] -= 1;
                if children[*parent] == 0 {
                    leaves.push(key(*parent));
                }
            }
        }
    }
    Ok((0..transactions.len()).filter(|index| stays[*index]).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::bitcoin_rpc::{
        gbt::Known,
        testing::{answer_with, transaction},
    };

    /// A template of transactions given by fee and dependencies.
    fn template(transactions: &[(u64, &[usize])]) -> BlockTemplate {
        let each = |(number, (fee, depends)): (usize, &(u64, &[usize]))| {
            let mut one = transaction(u32::try_from(number).unwrap(), depends);
            one["fee"] = (*fee).into();
            one
        };
        read(&answer_with(transactions.iter().enumerate().map(each).collect()))
    }

    fn read(json: &Value) -> BlockTemplate {
        BlockTemplate::from_json(json.to_string().as_bytes(), &Known::new()).unwrap()
    }

    /// With room for so many transactions, all of the same size.
    fn kept(template: &BlockTemplate, most: u64) -> Vec<usize> {
        let mut template = template.clone();
        let constraints = Constraints { max_additional_size: 1_000, max_additional_sigops: 0 };
        template.weight_limit = constraints.reserved_weight() + most * template.transactions[0].weight;
        select(&template, constraints).unwrap()
    }

    #[test]
    fn all_stay_where_there_is_room() {
        let template = template(&[(10, &[]), (9, &[]), (8, &[])]);
        assert_eq!(kept(&template, 3), [0, 1, 2]);
    }

    #[test]
    fn the_lowest_fees_go_first_and_the_order_stays() {
        let template = template(&[(10, &[]), (5, &[]), (8, &[]), (5, &[])]);
        assert_eq!(kept(&template, 3), [0, 1, 2], "of equal ones the last");
        assert_eq!(kept(&template, 2), [0, 2]);
        assert_eq!(kept(&template, 0), [0_usize; 0]);
    }

    #[test]
    fn what_others_depend_on_stays_with_them() {
        // A poor parent with a rich child.
        let template = template(&[(1, &[]), (100, &[1]), (50, &[]), (40, &[3])]);
        assert_eq!(kept(&template, 3), [0, 1, 2]);
        assert_eq!(kept(&template, 2), [0, 1]);
        assert_eq!(kept(&template, 1), [0]);
    }

    #[test]
    fn sigops_are_limited_too() {
        let template = template(&[(10, &[]), (5, &[]), (8, &[])]);
        // Each has a cost of 4.
        let sigops = |count: u16| Constraints { max_additional_size: 0, max_additional_sigops: count };
        assert_eq!(select(&template, sigops(19_997)).unwrap().len(), 3);
        assert_eq!(select(&template, sigops(19_998)).unwrap(), [0, 2]);
        assert_eq!(select(&template, sigops(u16::MAX)).unwrap(), [0_usize; 0]);
    }

    #[test]
    fn a_coinbase_that_is_larger_than_a_block_is_refused() {
        let template = template(&[(10, &[])]);
        let size = |max_additional_size| Constraints { max_additional_size, max_additional_sigops: 0 };
        let most = (4_000_000 - 1168) / 4;
        assert_eq!(select(&template, size(most)).unwrap(), [0_usize; 0]);
        let error = select(&template, size(most + 1)).unwrap_err().to_string();
        assert!(error.contains("4000004") && error.contains("4000000"), "{error}");
        assert!(select(&template, size(u32::MAX)).is_err());
    }

    proptest! {
        #[test]
        fn what_stays_fits_and_is_complete(
            shape in prop::collection::vec((0_u64..50, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..12),
            most in 0_u64..12,
        ) {
            let depends: Vec<Vec<usize>> = shape.iter().enumerate()
                .map(|(index, (_, on))| if index == 0 { vec![] } else { on.iter().map(|i| i.index(index) + 1).collect() })
                .collect();
            let transactions: Vec<(u64, &[usize])> =
                shape.iter().zip(&depends).map(|((fee, _), depends)| (*fee, depends.as_slice())).collect();
            let template = template(&transactions);
            let kept = kept(&template, most);
            prop_assert_eq!(kept.len(), shape.len().min(usize::try_from(most).unwrap()));
            prop_assert!(kept.is_sorted());
            for index in &kept {
                prop_assert!(template.transactions[*index].depends.iter().all(|parent| kept.contains(parent)));
            }
        }
    }
}
