//! The serde engine on data types and derived structs; messages are in their crates' tests.
#![allow(missing_docs, reason = "test items")]

use binary_sv2::{
    B0_16M, B0_32, B0_64K, B0_255, Decodable, Encodable, Error, Mac, Reader, Seq0_64K, Seq0_255, Signature, Str0_255,
    U24, U256, Writer, serde_engine,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// One field of every data type, a nested struct and names that are keywords.
#[derive(Encodable, Decodable, Clone, Debug, PartialEq)]
struct Everything<'wire> {
    flag: bool,
    byte: u8,
    short: u16,
    medium: U24,
    word: u32,
    long: u64,
    real: f32,
    number: U256,
    inline: B0_32,
    name: Str0_255<'wire>,
    small: B0_255<'wire>,
    large: B0_64K<'wire>,
    list: Seq0_255<'wire, U256>,
    lists: Seq0_64K<'wire, B0_16M<'wire>>,
    maybe: Option<u32>,
    optional_bytes: Option<B0_255<'wire>>,
    r#type: Mac,
    signature: Signature,
    nested: Nested,
    empty: Empty,
}

#[derive(Encodable, Decodable, Clone, Copy, Debug, PartialEq)]
struct Nested {
    a: u8,
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
        name: Str0_255::try_from(&b"nine\xff"[..]).unwrap(),
        small: B0_255::try_from(&[10]).unwrap(),
        large: B0_64K::try_from(&[11, 12]).unwrap(),
        list: Seq0_255::try_from_iter([U256::ZERO, U256::MAX]).unwrap(),
        lists: Seq0_64K::try_from_iter([B0_16M::try_from(&[1]).unwrap(), B0_16M::EMPTY]).unwrap(),
        maybe: Some(13),
        optional_bytes: None,
        r#type: [14; 16],
        signature: [15; 64],
        nested: Nested { a: 16 },
        empty: Empty {},
    }
}

#[test]
fn both_engines_write_and_read_the_same() {
    let wire = binary_sv2::to_bytes(&sample()).unwrap();
    assert_eq!(serde_engine::to_bytes(&sample()), Ok(wire.clone()));
    assert_eq!(serde_engine::from_bytes(&wire), Ok(sample()));
    for end in 0..wire.len() {
        assert!(serde_engine::from_bytes::<Everything<'_>>(&wire[..end]).is_err(), "{end}");
    }
}

#[test]
fn json_holds_the_fields_by_name() {
    let json = serde_json::to_string(&sample()).unwrap();
    assert!(json.contains(r#""inline":[8,8]"#) && json.contains(r#""type":[14,"#), "{json}");
    assert_eq!(serde_json::from_str::<Everything<'_>>(&json).unwrap(), sample());
}

#[test]
fn json_with_other_fields_is_refused() {
    let refusal = |text| serde_json::from_str::<Nested>(text).unwrap_err().to_string();
    assert!(refusal(r#"{"b":1}"#).starts_with("unknown field `b`, expected `a`"));
    assert!(refusal(r#"{"a":1,"a":1}"#).starts_with("duplicate field `a`"));
    assert!(refusal("{}").starts_with("missing field `a`"));
    assert!(refusal("[]").starts_with("invalid length 0"));
    assert!(serde_json::from_str::<B0_32>(&format!("{:?}", [0; 33])).is_err());
    assert!(serde_json::from_str::<B0_255<'_>>(&format!("{:?}", [0; 256])).is_err());
    assert!(serde_json::from_str::<Seq0_255<'_, u8>>(&format!("{:?}", [0; 256])).is_err());
    assert!(serde_json::from_str::<U24>("16777216").is_err());
    assert!(serde_json::from_str::<U256>(&format!("{:?}", [0; 31])).is_err());
}

/// Somebody else's type, who never heard of serde.
#[derive(Debug, PartialEq)]
struct ByHand;

impl Encodable for ByHand {
    fn encoded_len(&self) -> usize {
        1
    }
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        out.put(&[7])
    }
}

impl<'a> Decodable<'a> for ByHand {
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        r.take(1).map(|_| Self)
    }
}

impl binary_sv2::IntoOwned for ByHand {
    type Owned = Self;
    fn into_owned(self) -> Self {
        self
    }
}

#[derive(Encodable, Decodable, Debug, PartialEq)]
struct HoldsByHand {
    a: u8,
    b: ByHand,
}

#[test]
fn types_by_hand_keep_the_internal_engine() {
    let value = HoldsByHand { a: 1, b: ByHand };
    assert_eq!(binary_sv2::to_bytes(&value).unwrap(), [1, 7]);
    assert_eq!(binary_sv2::from_bytes::<HoldsByHand>(&[1, 7]), Ok(value));
    let refused = |error| matches!(error, serde_engine::Error::Custom(_));
    assert!(refused(serde_engine::to_bytes(&HoldsByHand { a: 1, b: ByHand }).unwrap_err()));
    assert!(refused(serde_engine::from_bytes::<HoldsByHand>(&[1, 7]).unwrap_err()));
}

/// Both engines agree on what `input` begins with, and on how much of it that is.
fn agree<'a, T>(input: &'a [u8])
where
    T: Decodable<'a> + Encodable + serde::Deserialize<'a> + serde::Serialize,
{
    let internal = binary_sv2::from_bytes_with_rest::<T>(input);
    let serde = serde_engine::from_bytes_with_rest::<T>(input);
    assert_eq!(internal.is_ok(), serde.is_ok(), "{:?} {:?}", internal.err(), serde.err());
    if let (Ok((internal, rest)), Ok((serde, serde_rest))) = (internal, serde) {
        assert_eq!(rest, serde_rest);
        let bytes = binary_sv2::to_bytes(&internal).unwrap();
        assert_eq!(binary_sv2::to_bytes(&serde).unwrap(), bytes);
        assert_eq!(serde_engine::to_bytes(&internal).unwrap(), bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_accept_the_same_bytes(input in vec(prop_oneof![0..4u8, any::<u8>()], 0..300)) {
        agree::<bool>(&input);
        agree::<u8>(&input);
        agree::<u16>(&input);
        agree::<U24>(&input);
        agree::<u32>(&input);
        agree::<u64>(&input);
        agree::<f32>(&input);
        agree::<U256>(&input);
        agree::<[u8; 16]>(&input);
        agree::<B0_32>(&input);
        agree::<B0_255<'_>>(&input);
        agree::<B0_64K<'_>>(&input);
        agree::<B0_16M<'_>>(&input);
        agree::<Str0_255<'_>>(&input);
        agree::<Option<u32>>(&input);
        agree::<Option<B0_255<'_>>>(&input);
        agree::<Seq0_255<'_, U256>>(&input);
        agree::<Seq0_64K<'_, u16>>(&input);
        agree::<Seq0_255<'_, B0_32>>(&input);
        agree::<Seq0_64K<'_, B0_16M<'_>>>(&input);
        agree::<Seq0_255<'_, Str0_255<'_>>>(&input);
        agree::<Everything<'_>>(&input);
    }

    #[test]
    fn both_engines_judge_a_changed_value_alike(at: prop::sample::Index, flip in 1..=u8::MAX) {
        let mut wire = binary_sv2::to_bytes(&sample()).unwrap();
        let at = at.index(wire.len());
        wire[at] ^= flip;
        agree::<Everything<'_>>(&wire);
    }
}
