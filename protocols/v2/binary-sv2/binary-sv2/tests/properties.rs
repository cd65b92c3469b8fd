//! Laws of the data types, with any bytes as input.

use binary_sv2::{
    B0_16M, B0_32, B0_64K, B0_255, Decodable, Encodable, Error, IntoOwned, Seq0_64K, Seq0_255, Str0_255, U24, U256,
    from_bytes, from_bytes_with_rest, to_bytes,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// What decodes has a wire form of the bytes it was decoded from; so has its detached copy.
fn is_canonical<'a, T>(input: &'a [u8])
where
    T: Decodable<'a> + Encodable + IntoOwned<Owned: Encodable>,
{
    let Ok((value, rest)) = from_bytes_with_rest::<T>(input) else { return };
    let used = &input[..input.len() - rest.len()];
    assert_eq!(value.encoded_len(), used.len());
    assert_eq!(to_bytes(&value).unwrap(), used);
    assert_eq!(to_bytes(&value.into_owned()).unwrap(), used);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_canonically_or_not_at_all(input in vec(prop_oneof![0..4u8, any::<u8>()], 0..300)) {
        is_canonical::<u8>(&input);
        is_canonical::<u16>(&input);
        is_canonical::<U24>(&input);
        is_canonical::<u32>(&input);
        is_canonical::<u64>(&input);
        is_canonical::<f32>(&input); // bit for bit, NaN included
        is_canonical::<U256>(&input);
        is_canonical::<[u8; 16]>(&input);
        is_canonical::<B0_32>(&input);
        is_canonical::<B0_255<'_>>(&input);
        is_canonical::<B0_64K<'_>>(&input);
        is_canonical::<B0_16M<'_>>(&input);
        is_canonical::<Str0_255<'_>>(&input);
        is_canonical::<Option<u32>>(&input);
        is_canonical::<Option<B0_255<'_>>>(&input);
        is_canonical::<Seq0_255<'_, U256>>(&input);
        is_canonical::<Seq0_64K<'_, u16>>(&input);
        is_canonical::<Seq0_255<'_, B0_32>>(&input);
        is_canonical::<Seq0_64K<'_, B0_16M<'_>>>(&input);
        is_canonical::<Seq0_255<'_, Str0_255<'_>>>(&input);
    }

    #[test]
    fn lists_give_back_what_was_put_in(parts in vec(vec(any::<u8>(), 0..40), 0..20)) {
        let elements = parts.iter().map(|p| B0_16M::try_from(&p[..]).unwrap());
        let list = Seq0_64K::<B0_16M<'_>>::try_from_iter(elements).unwrap();
        let wire = to_bytes(&list).unwrap();
        let back: Seq0_64K<'_, B0_16M<'_>> = from_bytes(&wire).unwrap();
        prop_assert_eq!(back.len(), parts.len());
        prop_assert!(back.iter().map(|e| e.to_vec()).eq(parts.iter().cloned()));
        for (i, part) in parts.iter().enumerate() {
            prop_assert_eq!(back.get(i).map(|e| e.to_vec()), Some(part.clone()));
        }
        prop_assert_eq!(back.get(parts.len()), None);
    }

    #[test]
    fn u256_orders_as_its_big_endian_bytes(a: [u8; 32], b: [u8; 32]) {
        prop_assert_eq!(U256::from_be_bytes(a).cmp(&U256::from_be_bytes(b)), a.cmp(&b));
        prop_assert_eq!(U256::from_be_bytes(a).to_be_bytes(), a);
    }

    #[test]
    fn u24_holds_what_fits(n: u32) {
        let got = U24::try_from(n).map(u32::from);
        if n < 1 << 24 {
            prop_assert_eq!(got, Ok(n));
        } else {
            let long = Error::ValueTooLong { data_type: "U24", max: (1 << 24) - 1, got: n as usize };
            prop_assert_eq!(got, Err(long));
        }
    }

    #[test]
    fn text_prints_on_one_line(bytes in vec(any::<u8>(), 0..=255)) {
        let text = Str0_255::try_from(bytes).unwrap();
        prop_assert!(!text.to_string().chars().any(char::is_control));
    }
}
