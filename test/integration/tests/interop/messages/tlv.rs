//! The `user_identity` TLV of extension 0x0002 behind a share.
//!
//! A known difference: SRI writes and reads TLV headers little-endian, the specification's example
//! (§3.4.3, ext-0x0002 §2) is big-endian. We write the specification's form and read both.

use binary_sv2::B0_32;
use extensions_sv2::tlv::{Tlvs, append_user_identity, user_identity};
use mining_sv2::{Mining, SubmitSharesExtended};
use proptest::collection::vec;
use proptest::prelude::*;

const SHARE: u8 = const_sv2::message_type::mining::SUBMIT_SHARES_EXTENDED;

fn share() -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
        extranonce: B0_32::from_truncated(&[7; 8]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sri_names_are_read_and_ours_differ_in_byte_order_only(name in vec(any::<u8>(), 0..=32)) {
        let base = binary_sv2::to_bytes(&share()).unwrap();
        let theirs = sri_parsers_sv2::Tlv::new(0x0002, 0x01, name.clone());
        let from_sri = [&base[..], &theirs.encode().unwrap()].concat();
        let (message, rest) = Mining::decode_with_rest(SHARE, &from_sri).unwrap();
        prop_assert_eq!(&message, &Mining::from(share()));
        prop_assert_eq!(user_identity(rest), Ok(Some(&name[..])));
        // Without the extension negotiated, the field is ignored.
        prop_assert_eq!(Mining::decode(SHARE, &from_sri), Ok(message));

        let mut ours = base.clone();
        append_user_identity(&mut ours, &name).unwrap();
        let header = base.len();
        ours.swap(header, header + 1);
        ours.swap(header + 3, header + 4);
        prop_assert_eq!(ours, from_sri);
    }

    #[test]
    fn any_field_of_sri_reads_in_little_endian(
        fields in vec((any::<u16>(), any::<u8>(), vec(any::<u8>(), 0..100)), 0..5),
    ) {
        let mut theirs = Vec::new();
        for (extension_type, field_type, value) in &fields {
            let field = sri_parsers_sv2::Tlv::new(*extension_type, *field_type, value.clone());
            theirs.extend(field.encode().unwrap());
        }
        let back = Tlvs::little_endian(&theirs).map(|f| f.map(|f| (f.extension_type, f.field_type, f.value.to_vec())));
        prop_assert_eq!(back.collect::<Result<Vec<_>, _>>().unwrap(), fields);
    }
}
