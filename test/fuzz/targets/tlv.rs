//! Bytes behind a message as TLV fields: order, lengths, the worker's name, and writing them again.
#![no_main]

use extensions_sv2::tlv::{Tlvs, append, append_user_identity, check_order, is_well_formed, user_identity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let fields: Result<Vec<_>, _> = Tlvs::new(data).collect();
    if let Ok(fields) = &fields {
        let mut again = vec![];
        for field in fields {
            append(&mut again, field).expect("a field that was read");
        }
        assert_eq!(again, data);
        let ascending = fields.is_sorted_by_key(|field| field.extension_type);
        assert_eq!(check_order(data).is_ok(), ascending);
        assert!(is_well_formed(data));
    } else {
        assert!(check_order(data).is_err());
    }
    let _ = Tlvs::little_endian(data).count();
    if let Ok(Some(name)) = user_identity(data) {
        assert!(name.len() <= 32);
        let mut own = vec![];
        append_user_identity(&mut own, name).expect("a name that was read");
        assert_eq!(user_identity(&own), Ok(Some(name)));
    }
    let mut payload = b"before".to_vec();
    let appended = append_user_identity(&mut payload, data).is_ok();
    assert_eq!(appended, data.len() <= 32);
    assert!(appended || payload == b"before");
});
