//! The derive macros on every shape of struct they take.
#![allow(missing_docs, reason = "test items")]

use binary_sv2::{
    B0_16M, B0_32, B0_64K, B0_255, Decodable, Encodable, Error, IntoOwned, Mac, Seq0_64K, Seq0_255, Str0_255,
    Sv2Option, U24, U256, from_bytes, from_bytes_with_rest, to_bytes,
};

/// One field of every data type.
#[derive(Encodable, Decodable, Clone, Debug, PartialEq)]
pub struct Everything<'wire> {
    pub flag: bool,
    pub(crate) byte: u8,
    pub short: u16,
    pub medium: U24,
    pub word: u32,
    pub long: u64,
    pub real: f32,
    pub number: U256,
    pub inline: B0_32,
    pub name: Str0_255<'wire>,
    pub small: B0_255<'wire>,
    pub large: B0_64K<'wire>,
    #[doc = "attributes, and commas inside types"]
    pub list: Seq0_255<'wire, U256>,
    pub lists: Seq0_64K<'wire, B0_16M<'wire>>,
    pub maybe: Sv2Option<u32>,
    pub r#type: Mac,
}

#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq)]
struct Nested {
    a: u8,
    b: Inner,
}

#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq)]
struct Inner {
    c: u16,
}

#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq)]
struct Empty {}

fn sample() -> Everything<'static> {
    Everything {
        flag: true,
        byte: 2,
        short: 3,
        medium: U24::try_from(4).unwrap(),
        word: 5,
        long: 6,
        real: 7.5,
        number: U256::MAX,
        inline: B0_32::try_from([8, 8]).unwrap(),
        name: Str0_255::from_truncated("nine"),
        small: B0_255::try_from(&[10]).unwrap(),
        large: B0_64K::try_from(&[11, 12]).unwrap(),
        list: Seq0_255::try_from_iter([U256::ZERO, U256::MAX]).unwrap(),
        lists: Seq0_64K::try_from_iter([B0_16M::try_from(&[1]).unwrap(), B0_16M::EMPTY]).unwrap(),
        maybe: Some(13),
        r#type: [14; 16],
    }
}

#[test]
fn every_data_type_round_trips_through_the_derives() {
    let wire = to_bytes(&sample()).unwrap();
    assert_eq!(wire.len(), sample().encoded_len());
    let back: Everything<'_> = from_bytes(&wire).unwrap();
    assert_eq!(back, sample());
    assert_eq!(back.into_owned(), sample());
}

#[test]
fn every_prefix_is_an_error_and_so_are_trailing_bytes() {
    let mut wire = to_bytes(&sample()).unwrap();
    for end in 0..wire.len() {
        let got = from_bytes::<Everything<'_>>(&wire[..end]);
        assert!(matches!(got, Err(Error::UnexpectedEnd { .. })), "{end}: {got:?}");
    }
    let len = wire.len();
    wire.push(0);
    assert_eq!(from_bytes::<Everything<'_>>(&wire), Err(Error::TrailingBytes { offset: len, got: 1 }));
    assert_eq!(from_bytes_with_rest::<Everything<'_>>(&wire), Ok((sample(), &[0][..])));
}

#[test]
fn structs_nest_and_may_be_empty() {
    let nested = Nested { a: 1, b: Inner { c: 2 } };
    assert_eq!(to_bytes(&nested).unwrap(), [1, 2, 0]);
    assert_eq!(from_bytes(&[1, 2, 0]), Ok(nested));
    assert_eq!(to_bytes(&Empty {}).unwrap(), []);
    assert_eq!(from_bytes(&[]), Ok(Empty {}));
}

#[test]
fn a_failed_encode_leaves_the_vector_as_it_was() {
    struct Liar;
    impl Encodable for Liar {
        fn encoded_len(&self) -> usize {
            1
        }
        fn encode(&self, out: &mut binary_sv2::Writer<'_>) -> Result<(), Error> {
            out.put(&[1, 2])
        }
    }
    let mut out = vec![9];
    assert!(Liar.encode_into_vec(&mut out).is_err());
    assert_eq!(out, [9]);
}
