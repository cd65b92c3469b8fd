//! Each data type from any bytes: what is read is written again as it was; lists agree with their elements.
//!
//! Input: number of the type, its bytes.
#![no_main]

use binary_sv2::{
    B0_16M, B0_32, B0_64K, B0_255, Decodable, Encodable, IntoOwned, Seq0_64K, Seq0_255, Str0_255, Sv2Option, U24, U256,
    from_bytes, from_bytes_with_rest, to_bytes,
};
use libfuzzer_sys::fuzz_target;

fn check<'a, T>(bytes: &'a [u8]) -> Option<T>
where
    T: Decodable<'a> + Encodable + IntoOwned + Clone + std::fmt::Debug,
    T::Owned: Encodable,
{
    let (value, rest) = from_bytes_with_rest::<T>(bytes).ok()?;
    let used = bytes.len() - rest.len();
    let written = to_bytes(&value).expect("what was read can be written");
    assert!(fuzz::same(&bytes[..used], &written));
    assert_eq!(value.encoded_len(), used);
    assert_eq!(from_bytes::<T>(bytes).is_ok(), rest.is_empty());
    if used > 0 {
        assert!(from_bytes::<T>(&bytes[..used - 1]).is_err());
    }
    let _ = format!("{value:?}");
    assert_eq!(to_bytes(&value.clone().into_owned()).expect("the same"), written);
    Some(value)
}

macro_rules! lists {
    ($bytes:expr, $($list:ty),*) => {$(
        if let Some(list) = check::<$list>($bytes) {
            let elements: Vec<_> = list.iter().collect();
            assert_eq!(elements.len(), list.len());
            let again = <$list>::try_from_iter(elements).expect("as many as before");
            assert_eq!(to_bytes(&again), to_bytes(&list));
        }
    )*};
}

fuzz_target!(|data: &[u8]| {
    let [number, bytes @ ..] = data else { return };
    match number % 18 {
        0 => drop(check::<bool>(bytes)),
        1 => drop(check::<U24>(bytes)),
        2 => drop(check::<f32>(bytes)),
        3 => drop(check::<u64>(bytes)),
        4 => drop(check::<U256>(bytes)),
        5 => drop(check::<B0_32>(bytes)),
        6 => drop(check::<B0_255<'_>>(bytes)),
        7 => drop(check::<B0_64K<'_>>(bytes)),
        8 => drop(check::<B0_16M<'_>>(bytes)),
        9 => {
            if let Some(text) = check::<Str0_255<'_>>(bytes) {
                let shown = text.to_string();
                assert!(!shown.chars().any(char::is_control), "nothing for a terminal to obey");
                assert_eq!(text.as_utf8().is_ok(), std::str::from_utf8(text.as_bytes()).is_ok());
            }
        }
        10 => drop(check::<Sv2Option<u32>>(bytes)),
        11 => lists!(bytes, Seq0_255<'_, U256>),
        12 => lists!(bytes, Seq0_64K<'_, U256>),
        13 => lists!(bytes, Seq0_64K<'_, u16>),
        14 => lists!(bytes, Seq0_64K<'_, B0_16M<'_>>),
        15 => lists!(bytes, Seq0_64K<'_, U24>),
        16 => lists!(bytes, Seq0_255<'_, Str0_255<'_>>),
        _ => lists!(bytes, Seq0_255<'_, u8>),
    }
});
