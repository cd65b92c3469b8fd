//! The format on types of its users, and what it refuses.
#![allow(missing_docs, reason = "test items")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_sv2::{Error, from_bytes, from_bytes_with_rest, to_bytes};

/// Bytes as serde's data model has them: a slice would be a sequence.
#[derive(Debug, PartialEq, Clone)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl serde::de::Visitor<'_> for Take {
            type Value = Raw;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Take)
    }
}

macro_rules! forms {
    ($($rust:ident($content:ty) = $name:literal;)*) => {$(
        #[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
        #[serde(rename = $name)]
        struct $rust($content);
    )*};
}
forms! {
    U24(u32) = "U24";
    B0_32(Raw) = "B0_32";
    B0_255(Raw) = "B0_255";
    B0_64K(Raw) = "B0_64K";
    B0_16M(Raw) = "B0_16M";
    Str(String) = "STR0_255";
    Short(Vec<u16>) = "SEQ0_255";
    Long(Vec<B0_255>) = "SEQ0_64K";
    Plain(u16) = "Anything";
    WrongNumber(u16) = "U24";
    WrongBytes(u32) = "B0_255";
    WrongSequence(Raw) = "SEQ0_255";
    WrongNesting(U24) = "SEQ0_255";
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct All {
    flag: bool,
    numbers: (u8, u16, u32, u64, f32),
    medium: U24,
    array: [u8; 4],
    inline: B0_32,
    text: Str,
    small: B0_255,
    middle: B0_64K,
    large: B0_16M,
    list: Short,
    lists: Long,
    none: Option<u32>,
    some: Option<Plain>,
    nothing: (),
}

fn sample() -> All {
    All {
        flag: true,
        numbers: (1, 2, 3, 4, 1.0),
        medium: U24(0x01_0203),
        array: [5; 4],
        inline: B0_32(Raw(vec![6])),
        text: Str("seven".into()),
        small: B0_255(Raw(vec![8])),
        middle: B0_64K(Raw(vec![])),
        large: B0_16M(Raw(vec![9, 9])),
        list: Short(vec![10, 11]),
        lists: Long(vec![B0_255(Raw(vec![12])), B0_255(Raw(vec![]))]),
        none: None,
        some: Some(Plain(13)),
        nothing: (),
    }
}

#[rustfmt::skip]
const WIRE: &[u8] = &[
    1,
    1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f,
    3, 2, 1,
    5, 5, 5, 5,
    1, 6,
    5, b's', b'e', b'v', b'e', b'n',
    1, 8,
    0, 0,
    2, 0, 0, 9, 9,
    2, 10, 0, 11, 0,
    2, 0, 1, 12, 0,
    0,
    1, 13, 0,
];

#[test]
fn every_form_is_as_specified_both_ways() {
    assert_eq!(to_bytes(&sample()).unwrap(), WIRE);
    assert_eq!(from_bytes(WIRE), Ok(sample()));
}

#[test]
fn every_prefix_and_every_surplus_is_an_error() {
    for end in 0..WIRE.len() {
        let got = from_bytes::<All>(&WIRE[..end]);
        assert!(matches!(got, Err(Error::UnexpectedEnd { .. })), "{end}: {got:?}");
    }
    let more = [WIRE, &[0]].concat();
    assert_eq!(from_bytes::<All>(&more), Err(Error::TrailingBytes { offset: WIRE.len(), got: 1 }));
    assert_eq!(from_bytes_with_rest::<All>(&more), Ok((sample(), &[0][..])));
}

#[test]
fn lengths_over_the_maximum_are_refused_both_ways() {
    let long = |data_type, max, got| Err(Error::ValueTooLong { data_type, max, got });
    assert_eq!(to_bytes(&B0_32(Raw(vec![0; 33]))), long("B0_32", 32, 33));
    assert_eq!(to_bytes(&B0_255(Raw(vec![0; 256]))), long("B0_255", 255, 256));
    assert_eq!(to_bytes(&Str("x".repeat(256))), long("STR0_255", 255, 256));
    assert_eq!(to_bytes(&B0_64K(Raw(vec![0; 65_536]))), long("B0_64K", 65_535, 65_536));
    assert_eq!(to_bytes(&B0_16M(Raw(vec![0; 1 << 24]))), long("B0_16M", 0xff_ffff, 1 << 24));
    assert_eq!(to_bytes(&Short(vec![0; 256])), long("SEQ0_255", 255, 256));
    assert_eq!(to_bytes(&U24(1 << 24)), long("U24", 0xff_ffff, 1 << 24));
    let range = |data_type, max, got| Error::LengthOutOfRange { data_type, offset: 0, max, got };
    assert_eq!(from_bytes::<B0_32>(&[33; 34]), Err(range("B0_32", 32, 33)));
    assert_eq!(from_bytes::<Option<u8>>(&[2, 0]), Err(range("OPTION", 1, 2)));
}

#[test]
fn text_for_a_string_must_be_utf_8() {
    assert_eq!(from_bytes::<(u8, Str)>(&[0, 2, b'a', 0xff]), Err(Error::NotUtf8 { offset: 2 }));
}

#[test]
fn a_high_bit_in_a_bool_is_ignored() {
    assert_eq!(from_bytes::<(bool, bool)>(&[0xfe, 0x03]), Ok((false, true)));
}

#[test]
fn a_declared_count_is_not_allocated_for() {
    let end = Error::UnexpectedEnd { offset: 3, expected: 1, got: 0 };
    assert_eq!(from_bytes::<Long>(&[0xff, 0xff, 0]), Err(end));
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Choice {
    Unit,
    Tuple(u8, u8),
    Struct { a: u8 },
    One(Plain),
}

#[test]
fn what_has_no_wire_form_is_refused_both_ways() {
    fn refused<'de, T: Serialize + Deserialize<'de> + std::fmt::Debug>(value: T) {
        assert!(matches!(to_bytes(&value), Err(Error::Unsupported(_))), "{value:?}");
        assert!(matches!(from_bytes::<T>(&[1; 64]), Err(Error::Unsupported(_))), "{value:?}");
    }
    refused(1_i8);
    refused(1_i16);
    refused(1_i32);
    refused(1_i64);
    refused(1_i128);
    refused(1_u128);
    refused(1.0_f64);
    refused('c');
    refused(String::from("bare"));
    refused(Raw(vec![1]));
    refused(vec![1_u8]);
    refused(BTreeMap::from([(1_u8, 2_u8)]));
    refused(Choice::Unit);
    refused(Choice::Tuple(1, 2));
    refused(Choice::Struct { a: 1 });
    refused(WrongNumber(1));
    refused(WrongBytes(1));
    refused(WrongSequence(Raw(vec![1])));
    refused(WrongNesting(U24(1)));
    assert!(matches!(from_bytes::<Choice>(&[1, 0]), Err(Error::Unsupported(_))));
}

#[test]
fn a_variant_with_one_value_is_written_as_the_value() {
    assert_eq!(to_bytes(&Choice::One(Plain(7))).unwrap(), [7, 0]);
}

/// Announces two elements and gives another number.
struct Liar(Vec<u8>);

impl Serialize for Liar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Two<'a>(&'a [u8]);
        impl Serialize for Two<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeSeq;
                let mut sequence = serializer.serialize_seq(Some(2))?;
                self.0.iter().try_for_each(|byte| sequence.serialize_element(byte))?;
                sequence.end()
            }
        }
        serializer.serialize_newtype_struct("SEQ0_255", &Two(&self.0))
    }
}

#[test]
fn a_sequence_must_keep_its_word() {
    assert_eq!(to_bytes(&Liar(vec![1])), Err(Error::WrongCount { expected: 2, got: 1 }));
    assert_eq!(to_bytes(&Liar(vec![1, 2])), Ok(vec![2, 1, 2]));
    assert_eq!(to_bytes(&Liar(vec![1, 2, 3])), Err(Error::WrongCount { expected: 2, got: 3 }));
}
